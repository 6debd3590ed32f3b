//! Compares the record of a trial with that of the same trial run again: codes, quality, and speed without judgement.

use crate::number::significant;
use crate::statistics::median;
use record::metric::{self, CODEWORD_FREQUENCY, Noise};
use record::{Measured, Metric, Status, TrialRecord, ranks};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// Deviation of a quality metric that is still within tolerance on the same arithmetic, as a fraction of its value: the
/// last digits of sums of f64. The dictionary's tolerance takes its place where it has one.
const ROUNDING: f64 = 1e-6;

/// The same on other arithmetic (another instruction set or GPU). Training may then end in another optimum of about the
/// same quality: METHODOLOGY.md says how far apart they were measured.
const ELSEWHERE: f64 = 0.02;

/// The same for shares (recall, accuracy, usage), in absolute terms: few queries or codewords decide them.
const ELSEWHERE_SHARE: f64 = 0.15;

/// What became of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codes {
    /// The same bytes.
    Equal,
    /// Other bytes.
    Different,
    /// The record has no digest.
    Unknown,
}

impl Codes {
    /// One word, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Codes::Equal => "equal",
            Codes::Different => "different",
            Codes::Unknown => "unknown",
        }
    }
}

/// How the values of a metric compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Agreement {
    /// The same numbers.
    Equal,
    /// They differ by at most the tolerance, or are not judged.
    Within,
    /// They differ by more, or one side lacks a value.
    Different,
}

impl Agreement {
    /// As in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Agreement::Equal => "equal",
            Agreement::Within => "within tolerance",
            Agreement::Different => "different",
        }
    }
}

/// All values of a quality metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedMetric {
    /// Its name.
    pub metric: String,
    /// Number of values in the record.
    pub values: usize,
    /// The worst of them.
    pub agreement: Agreement,
    /// The allowed deviation, as a fraction of the value; for shares, in absolute terms on other arithmetic. None if the
    /// metric is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// The value with the largest deviation, if any deviates: where it stands, and both numbers as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<String>,
}

/// A speed or a time, which is shown and not judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedSpeed {
    /// The metric and what distinguishes its values.
    pub metric: String,
    /// Median in the record.
    pub recorded: f64,
    /// Median now.
    pub now: f64,
}

/// A trial that ran again, beside its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerunComparison {
    /// Whether instruction set and GPU are those of the record, so that codes must be equal.
    pub same_arithmetic: bool,
    /// Why the trial failed when it ran again; None if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What became of the codes.
    pub codes: Codes,
    /// Quality metrics, in the order of the record.
    pub metrics: Vec<ComparedMetric>,
    /// Speeds, in the order of the record.
    pub speeds: Vec<ComparedSpeed>,
}

impl RerunComparison {
    /// Whether the trial gave again what its record says: the same codes on the same arithmetic, and quality within
    /// tolerance.
    pub fn agrees(&self) -> bool {
        let codes = self.codes == Codes::Equal || !self.same_arithmetic || self.codes == Codes::Unknown;
        self.failure.is_none() && codes && self.metrics.iter().all(|m| m.agreement != Agreement::Different)
    }

    /// The worst agreement of any quality metric.
    pub fn worst_metric(&self) -> Agreement {
        self.metrics.iter().map(|m| m.agreement).max().unwrap_or(Agreement::Equal)
    }
}

/// Whether codes must be equal: the instruction set is the same, and the GPU if the trial ran on one.
pub fn same_arithmetic(recorded: &TrialRecord, now: &TrialRecord) -> bool {
    let gpu = recorded.trial.device == "cpu" || recorded.machine.gpu == now.machine.gpu;
    recorded.machine.simd == now.machine.simd && gpu
}

/// Compares a record with the record of the same trial run again.
pub fn compare_records(recorded: &TrialRecord, now: &TrialRecord) -> RerunComparison {
    let comparable = with_common_ranks(recorded, now);
    let (recorded, now) = comparable.as_ref().map_or((recorded, now), |(recorded, now)| (recorded, now));
    let same_arithmetic = same_arithmetic(recorded, now);
    let codes = match (&recorded.codes_sha256, &now.codes_sha256) {
        (None, _) => Codes::Unknown,
        (Some(recorded), Some(now)) if recorded == now => Codes::Equal,
        _ => Codes::Different,
    };
    let failure =
        (now.status != Status::Ok).then(|| now.reason.clone().unwrap_or_else(|| now.status.as_str().to_owned()));
    let (mut metrics, mut speeds) = (Vec::new(), Vec::new());
    if failure.is_none() {
        for name in names(&recorded.values).into_iter().chain(names(&now.values)) {
            let noise = metric::find(name).map_or(Noise::Exact, |metric| metric.noise);
            match noise {
                Noise::Exact if metrics.iter().all(|m: &ComparedMetric| m.metric != name) => {
                    metrics.push(compare_metric(name, recorded, now, same_arithmetic));
                }
                Noise::Timed if speeds.iter().all(|(known, _)| *known != name) => {
                    speeds.push((name, compare_speed(name, recorded, now)));
                }
                _ => {}
            }
        }
    }
    let speeds = speeds.into_iter().flat_map(|(_, speeds)| speeds).collect();
    RerunComparison { same_arithmetic, failure, codes, metrics, speeds }
}

/// Both records with the frequencies of codewords at the ranks that both have, if one of them is of an older build, which
/// recorded other ranks. None if they can be compared as they are: of two records of one build, ranks that only one of them
/// has are a difference, and so are frequencies that only one of them has at all.
fn with_common_ranks(recorded: &TrialRecord, now: &TrialRecord) -> Option<(TrialRecord, TrialRecord)> {
    let is_frequency = |value: &&Measured| value.metric == CODEWORD_FREQUENCY.name;
    let older = |record: &TrialRecord| record.values.iter().find(is_frequency).map(|value| value.repeat == Some(0));
    if older(recorded)? == older(now)? {
        return None;
    }
    let of = |record: &TrialRecord| -> Vec<(u64, Measured)> {
        let frequencies = record.values.iter().filter(is_frequency);
        ranks::read(frequencies.map(|value| (value.repeat.unwrap_or(0), value.clone())).collect())
    };
    let both = [of(recorded), of(now)];
    let kept = |record: &TrialRecord, own: &[(u64, Measured)], other: &[(u64, Measured)]| {
        let mut record = record.clone();
        let first = record.values.iter().take_while(|value| !is_frequency(value)).count();
        record.values.retain(|value| !is_frequency(&value));
        let common = own.iter().filter(|(rank, _)| other.iter().any(|(known, _)| known == rank));
        record.values.splice(first..first, common.map(|(rank, value)| value.clone().repeat(*rank as usize)));
        record
    };
    Some((kept(recorded, &both[0], &both[1]), kept(now, &both[1], &both[0])))
}

/// The distinct names of metrics, in order.
fn names(values: &[Measured]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for value in values {
        if names.last() != Some(&value.metric.as_str()) && !names.contains(&value.metric.as_str()) {
            names.push(&value.metric);
        }
    }
    names
}

/// The allowed deviation of two values.
struct Tolerance {
    /// None if the metric is not judged.
    amount: Option<f64>,
    absolute: bool,
}

impl Tolerance {
    fn of(metric: Option<&Metric>, same_arithmetic: bool) -> Tolerance {
        if same_arithmetic {
            let amount = metric.and_then(|m| m.tolerance).unwrap_or(ROUNDING);
            return Tolerance { amount: Some(amount), absolute: false };
        }
        // Only what the gate compares is close on other arithmetic. The rest follows from it, or is an error near zero.
        let judged = metric.is_some_and(|m| m.tolerance.is_some());
        let share = metric.is_some_and(|m| m.range == (0.0, 1.0));
        let amount = if share { ELSEWHERE_SHARE } else { ELSEWHERE };
        Tolerance { amount: judged.then_some(amount), absolute: share }
    }

    /// By how much two values deviate, in the unit of the tolerance.
    fn deviation(&self, a: f64, b: f64) -> f64 {
        let apart = (a - b).abs();
        if apart == 0.0 || self.absolute { apart } else { apart / a.abs().max(b.abs()) }
    }
}

/// What distinguishes a value from others of its metric.
type Key<'a> = (Option<&'a str>, Option<usize>, Option<&'a str>, Option<usize>);

fn key(value: &Measured) -> Key<'_> {
    (value.stage.as_deref(), value.k, value.path.as_deref(), value.repeat)
}

/// The key in words.
fn place(key: Key<'_>) -> String {
    let (stage, k, path, repeat) = key;
    let parts = [
        stage.map(|stage| format!("stage {stage}")),
        k.map(|k| format!("k={k}")),
        path.map(|path| format!("path {path}")),
        repeat.map(|repeat| format!("repeat {repeat}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn of_metric<'a>(record: &'a TrialRecord, name: &str) -> Vec<&'a Measured> {
    record.values.iter().filter(|value| value.metric == name).collect()
}

fn compare_metric(name: &str, recorded: &TrialRecord, now: &TrialRecord, same_arithmetic: bool) -> ComparedMetric {
    let tolerance = Tolerance::of(metric::find(name), same_arithmetic);
    let (old, new) = (of_metric(recorded, name), of_metric(now, name));
    let mut worst: Option<(f64, String)> = None;
    let mut agreement = Agreement::Equal;
    let mut note = |deviation: f64, text: String| {
        let found = if deviation == 0.0 {
            Agreement::Equal
        } else if deviation.is_finite() && tolerance.amount.is_none_or(|amount| deviation <= amount) {
            Agreement::Within
        } else {
            Agreement::Different
        };
        agreement = agreement.max(found);
        if deviation > 0.0 && worst.as_ref().is_none_or(|(largest, _)| deviation > *largest) {
            worst = Some((deviation, text));
        }
    };
    let at = |value: &Measured| {
        let place = place(key(value));
        if place.is_empty() { place } else { format!("{place}: ") }
    };
    // Values of one key stand in the same order on both sides. On other arithmetic, training may take other numbers of
    // steps: there, a curve may have other values than the record, but none of its metrics may be missing.
    let curve = !same_arithmetic && tolerance.amount.is_none() && !old.is_empty() && !new.is_empty();
    let missing = if curve { 0.0 } else { f64::INFINITY };
    let mut left: HashMap<Key<'_>, VecDeque<f64>> = HashMap::new();
    new.iter().for_each(|value| left.entry(key(value)).or_default().push_back(value.value));
    for value in &old {
        let recorded = format!("{}{} recorded", at(value), value.value);
        match left.get_mut(&key(value)).and_then(VecDeque::pop_front) {
            Some(again) => note(tolerance.deviation(value.value, again), format!("{recorded}, {again} now")),
            None => note(missing, format!("{recorded}, nothing now")),
        }
    }
    for value in new {
        if let Some(again) = left.get_mut(&key(value)).and_then(VecDeque::pop_front) {
            note(missing, format!("{}nothing recorded, {again} now", at(value)));
        }
    }
    let tolerance = tolerance.amount;
    let worst = worst.map(|(_, text)| text);
    ComparedMetric { metric: name.to_owned(), values: old.len(), agreement, tolerance, worst }
}

/// The medians of the repeats of a speed, for each combination of stage, k and path.
fn compare_speed(name: &str, recorded: &TrialRecord, now: &TrialRecord) -> Vec<ComparedSpeed> {
    let without_repeat = |value: &Measured| {
        let (stage, k, path, _) = key(value);
        place((stage, k, path, None))
    };
    let (old, new) = (of_metric(recorded, name), of_metric(now, name));
    let mut places: Vec<String> = Vec::new();
    old.iter().map(|value| without_repeat(value)).for_each(|place| {
        if !places.contains(&place) {
            places.push(place);
        }
    });
    let middle = |values: &[&Measured], place: &str| {
        let values: Vec<f64> = values.iter().filter(|v| without_repeat(v) == place).map(|v| v.value).collect();
        median(&values)
    };
    let compared = places.into_iter().filter_map(|place| {
        let (recorded, now) = (middle(&old, &place)?, middle(&new, &place)?);
        let metric = if place.is_empty() { name.to_owned() } else { format!("{name} ({place})") };
        Some(ComparedSpeed { metric, recorded, now })
    });
    compared.collect()
}

impl RerunComparison {
    /// The comparison as lines of text.
    pub fn lines(&self) -> Vec<String> {
        if let Some(failure) = &self.failure {
            return vec![format!("the trial failed: {failure}")];
        }
        let mut lines = vec![match (self.codes, self.same_arithmetic) {
            (Codes::Equal, _) => "codes: equal".to_owned(),
            (Codes::Different, true) => "codes: different".to_owned(),
            (Codes::Different, false) => {
                "codes: different, as can be with another instruction set or GPU; quality decides".to_owned()
            }
            (Codes::Unknown, _) => "codes: the record has no digest of them; quality decides".to_owned(),
        }];
        let width = self.metrics.iter().map(|m| m.metric.len()).chain(["quality".len()]).max().unwrap_or(0);
        if !self.metrics.is_empty() {
            lines.push(format!("{:<width$}  values  result", "quality"));
        }
        for m in &self.metrics {
            let worst = m.worst.as_ref().map(|worst| format!(" ({worst})")).unwrap_or_default();
            let result = match (m.agreement, m.tolerance) {
                (Agreement::Within, None) => "other, not judged",
                (agreement, _) => agreement.as_str(),
            };
            lines.push(format!("{:<width$}  {:>6}  {result}{worst}", m.metric, m.values));
        }
        let width = self.speeds.iter().map(|s| s.metric.len()).chain(["speed, not judged".len()]).max().unwrap_or(0);
        if !self.speeds.is_empty() {
            lines.push(format!("{:<width$}  {:>10}  {:>10}  now/recorded", "speed, not judged", "recorded", "now"));
        }
        for s in &self.speeds {
            let (recorded, now) = (significant(s.recorded, 4), significant(s.now, 4));
            let ratio = significant(s.now / s.recorded, 3);
            lines.push(format!("{:<width$}  {recorded:>10}  {now:>10}  {ratio}", s.metric));
        }
        lines
    }
}
