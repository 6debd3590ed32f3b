//! Has a run regressed against another one? Quality is deterministic and compared exactly, up to a tolerance; speed is
//! noisy and compared statistically, against the noise that the base run shows when it is compared with itself.

use crate::number::significant;
use crate::stats::{median, ratio_of_medians};
use record::{Measured, Run, Status, TrialRecord};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How much worse a metric may be, as a share of its value; the more specific of the two tables wins over the defaults.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerances {
    /// Of deterministic metrics, by name; default 1e-6.
    pub quality: BTreeMap<String, f64>,
    /// Of speed, by name; default 0.05, and never below the noise floor.
    pub speed: BTreeMap<String, f64>,
}

/// Metrics that are compared, and whether larger is better.
const QUALITY: [(&str, bool); 9] = [
    ("nmse", false),
    ("mse", false),
    ("cosine", true),
    ("recall_1_at_r", true),
    ("recall_k_at_k", true),
    ("knn_accuracy", true),
    ("bits_per_vector", false),
    ("model_bytes", false),
    ("usage", true),
];
const SPEED: [(&str, bool); 5] = [
    ("train_seconds", false),
    ("encode_vectors_per_second", true),
    ("decode_vectors_per_second", true),
    ("search_queries_per_second", true),
    ("search_latency_p50_us", false),
];

const QUALITY_TOLERANCE: f64 = 1e-6;
const SPEED_TOLERANCE: f64 = 0.05;

/// Processes that a timing must come from: one alone cannot tell noise from change.
const MIN_PROCESSES: usize = 2;

/// What a comparison says as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is worse.
    NoRegression,
    /// Something is worse.
    Regression,
    /// There is too little to compare.
    CannotTell,
}

/// One thing that was compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Dataset, method, and seed where it matters.
    pub subject: String,
    /// Metric with its `k` and path.
    pub metric: String,
    /// In words: both values and what is allowed.
    pub detail: String,
}

/// The outcome.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// What is worse.
    pub regressions: Vec<Finding>,
    /// What is better by more than its tolerance.
    pub improvements: Vec<Finding>,
    /// Why something could not be compared that should be.
    pub unknown: Vec<String>,
    /// What was left out on purpose.
    pub notes: Vec<String>,
    /// Values compared.
    pub compared: usize,
}

impl Comparison {
    /// A regression outweighs what could not be compared.
    pub fn verdict(&self) -> Verdict {
        if !self.regressions.is_empty() {
            Verdict::Regression
        } else if !self.unknown.is_empty() || self.compared == 0 {
            Verdict::CannotTell
        } else {
            Verdict::NoRegression
        }
    }

    /// As Markdown.
    pub fn to_markdown(&self) -> String {
        let verdict = match self.verdict() {
            Verdict::NoRegression => "no regression",
            Verdict::Regression => "**regression**",
            Verdict::CannotTell => "cannot tell",
        };
        let mut out = format!("# Comparison: {verdict}\n\n{} values compared.\n", self.compared);
        for (title, findings) in [("Worse", &self.regressions), ("Better", &self.improvements)] {
            if !findings.is_empty() {
                out += &format!("\n## {title}\n\n| what | metric | change |\n|--|--|--|\n");
                for f in findings {
                    out += &format!("| {} | {} | {} |\n", f.subject, f.metric, f.detail);
                }
            }
        }
        for (title, lines) in [("Not comparable", &self.unknown), ("Left out", &self.notes)] {
            if !lines.is_empty() {
                out += &format!("\n## {title}\n\n");
                lines.iter().for_each(|line| out += &format!("- {line}\n"));
            }
        }
        out
    }
}

/// What two runs must share for their trials to be compared.
fn key(record: &TrialRecord, fingerprint: &str) -> String {
    let t = &record.trial;
    format!("{fingerprint} {} {} {} {}", t.method, t.params, t.device, t.seed)
}

fn by_key(run: &Run) -> BTreeMap<String, &TrialRecord> {
    let fingerprint =
        |name: &str| run.info.datasets.iter().find(|d| d.name == name).map_or("", |d| d.fingerprint.as_str());
    run.records.iter().map(|r| (key(r, fingerprint(&r.trial.dataset)), r)).collect()
}

fn name(value: &Measured) -> String {
    let k = value.k.map(|k| format!(" k={k}")).unwrap_or_default();
    let path = value.path.as_ref().map(|p| format!(" {p}")).unwrap_or_default();
    format!("{}{k}{path}", value.metric)
}

/// Compares `new` with `base`. Without `speed`, only quality is looked at.
pub fn compare(base: &Run, new: &Run, tolerances: &Tolerances, speed: bool) -> Comparison {
    let mut out = Comparison::default();
    let (base_trials, new_trials) = (by_key(base), by_key(new));
    let mut timed: BTreeMap<String, (Vec<&TrialRecord>, Vec<&TrialRecord>)> = BTreeMap::new();
    for (key, old) in base_trials.iter().filter(|(_, r)| r.status == Status::Ok) {
        let t = &old.trial;
        let subject = format!("{} · {} · seed {}", t.dataset, t.label, t.seed);
        match new_trials.get(key) {
            None => out.unknown.push(format!("{subject} is not in the new run")),
            Some(fresh) if fresh.status != Status::Ok => {
                let detail =
                    format!("it {}: {}", fresh.status.as_str(), fresh.reason.as_deref().unwrap_or("no reason"));
                out.regressions.push(Finding { subject, metric: "status".into(), detail });
            }
            Some(fresh) => {
                quality(&subject, old, fresh, tolerances, &mut out);
                let group = timed.entry(format!("{} · {}", t.dataset, t.label)).or_default();
                group.0.push(old);
                group.1.push(fresh);
            }
        }
    }
    if base_trials.is_empty() {
        out.unknown.push("the base run has no trials".into());
    }
    if speed {
        for (subject, (old, fresh)) in &timed {
            timing(subject, old, fresh, tolerances, &mut out);
        }
    }
    out
}

fn quality(subject: &str, old: &TrialRecord, fresh: &TrialRecord, tolerances: &Tolerances, out: &mut Comparison) {
    for (metric, larger_is_better) in QUALITY {
        let tolerance = tolerances.quality.get(metric).copied().unwrap_or(QUALITY_TOLERANCE);
        for value in old.values.iter().filter(|v| v.metric == metric && v.stage.is_none()) {
            let Some(now) = fresh.values.iter().find(|v| name(v) == name(value) && v.stage.is_none()) else {
                out.unknown.push(format!("{subject}: {} is not in the new run", name(value)));
                continue;
            };
            out.compared += 1;
            let allowed = tolerance * value.value.abs();
            let gain = if larger_is_better { now.value - value.value } else { value.value - now.value };
            if gain.abs() > allowed {
                let detail = format!("{} → {}", significant(value.value, 6), significant(now.value, 6));
                let finding = Finding { subject: subject.to_owned(), metric: name(value), detail };
                if gain < 0.0 { out.regressions.push(finding) } else { out.improvements.push(finding) }
            }
        }
    }
}

fn values(records: &[&TrialRecord], metric: &str) -> Vec<Vec<f64>> {
    let of = |r: &&TrialRecord| r.values.iter().filter(|v| v.metric == metric).map(|v| v.value).collect();
    records.iter().map(of).filter(|values: &Vec<f64>| !values.is_empty()).collect()
}

/// How far medians of single processes lie from that of all of them: the same code, measured again.
fn noise_floor(groups: &[Vec<f64>]) -> f64 {
    let Some(center) = median(&groups.concat()) else { return 0.0 };
    groups.iter().filter_map(|group| median(group)).map(|m| (m / center - 1.0).abs()).fold(0.0, f64::max)
}

/// Compares timings of all seeds, each from a process of its own.
fn timing(subject: &str, old: &[&TrialRecord], fresh: &[&TrialRecord], tolerances: &Tolerances, out: &mut Comparison) {
    let like = |a: &&TrialRecord, b: &&TrialRecord| a.machine.is_like(&b.machine) && a.trial.threads == b.trial.threads;
    let measured = SPEED.iter().any(|(metric, _)| !values(old, metric).is_empty());
    if !measured {
        return;
    }
    if let Some((a, b)) = old.iter().flat_map(|a| fresh.iter().map(move |b| (a, b))).find(|(a, b)| !like(a, b)) {
        let place = |r: &TrialRecord| format!("{} ({} threads)", r.machine.cpu, r.trial.threads);
        out.unknown.push(format!("{subject}: speed was measured on {} and on {}", place(a), place(b)));
        return;
    }
    for (metric, larger_is_better) in SPEED {
        let (before, after) = (values(old, metric), values(fresh, metric));
        if before.is_empty() {
            continue;
        }
        if before.len() < MIN_PROCESSES || after.len() < MIN_PROCESSES {
            let count = before.len().min(after.len());
            out.notes.push(format!(
                "{subject}: {metric} comes from {count} process, {MIN_PROCESSES} are needed to know its noise"
            ));
            continue;
        }
        let floor = noise_floor(&before).max(noise_floor(&after));
        let tolerance = tolerances.speed.get(metric).copied().unwrap_or(SPEED_TOLERANCE).max(floor);
        let Some(ratio) = ratio_of_medians(&after, &before) else { continue };
        out.compared += 1;
        // The whole interval must lie beyond the tolerance.
        let (slower, faster) = if larger_is_better {
            (ratio.high < 1.0 - tolerance, ratio.low > 1.0 + tolerance)
        } else {
            (ratio.low > 1.0 + tolerance, ratio.high < 1.0 - tolerance)
        };
        if slower || faster {
            let detail = format!(
                "{} times the base, 95% interval {} to {}, {:.0}% allowed",
                significant(ratio.value, 3),
                significant(ratio.low, 3),
                significant(ratio.high, 3),
                100.0 * tolerance
            );
            let finding = Finding { subject: subject.to_owned(), metric: metric.to_owned(), detail };
            if slower { out.regressions.push(finding) } else { out.improvements.push(finding) }
        }
    }
}

impl Tolerances {
    /// Checks names and values.
    ///
    /// # Errors
    /// Says which is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        for (table, given, known) in [("quality", &self.quality, &QUALITY[..]), ("speed", &self.speed, &SPEED[..])] {
            for (name, value) in given {
                if !known.iter().any(|(metric, _)| metric == name) {
                    let names: Vec<&str> = known.iter().map(|(metric, _)| *metric).collect();
                    return Err(format!("[{table}] has no metric `{name}`; it compares {}", names.join(", ")));
                }
                if !(0.0..f64::INFINITY).contains(value) {
                    return Err(format!("[{table}] {name} = {value} is no tolerance; use a share such as 0.05"));
                }
            }
        }
        Ok(())
    }
}
