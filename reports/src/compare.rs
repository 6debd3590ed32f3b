//! Tells whether one run is a regression of another. Quality is deterministic and compared exactly, up to a tolerance.
//! Speed is noisy and compared statistically, relative to the variation between processes of the same run.

mod builds;
mod junit;
mod markdown;
mod outcome;
mod pairs;
mod timings;
mod tolerances;

pub use builds::{Suspicions, suspect};
pub use outcome::{Change, Check, Comparison, Verdict};
pub use timings::Builds;
pub use tolerances::Tolerances;
pub(crate) use tolerances::gated;

use crate::ReportError;
use crate::number::significant;
use crate::statistics::{Estimate, median, ratio_of_timings};
use crate::values::{Series, Values, by_trial};
use pairs::{Match, Pairs};
use record::metric::{Dictionary, METRICS};
use record::{Ended, Metric, Results, Status, Trial, rerank_factor};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What to compare and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much worse metrics may be.
    pub tolerances: Tolerances,
    /// Whether to compare speed as well as quality.
    pub speed: bool,
    /// If true, trials with the same label are compared, whatever their parameters; otherwise trials of the same method
    /// with the same parameters, whatever their label.
    pub by_label: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { tolerances: Tolerances::default(), speed: true, by_label: false }
    }
}

/// Minimum number of processes behind a timing: a single one cannot separate noise from change.
const MIN_PROCESSES: usize = 2;

fn name(metric: &Metric, series: &Series) -> String {
    let k = series.k.map(|k| format!(" k={k}")).unwrap_or_default();
    let path = series.path.as_ref().map(|p| format!(" {p}")).unwrap_or_default();
    format!("{}{k}{path}", metric.name)
}

/// A trial and its values of the compared metrics.
#[derive(Clone, Copy)]
struct Tried<'a> {
    ended: &'a Ended,
    values: &'a Values,
}

impl<'a> Tried<'a> {
    fn all(run: &'a Results, values: &'a [Values]) -> Vec<Tried<'a>> {
        run.ended.iter().zip(values).map(|(ended, values)| Tried { ended, values }).collect()
    }
}

/// Compares `new` with `base`.
///
/// # Errors
/// Frames without the required columns.
pub fn compare(base: &Results, new: &Results, options: &Options) -> Result<Comparison, ReportError> {
    compare_with(base, new, options, METRICS)
}

/// As `compare`, with a dictionary of metrics other than that of this program.
///
/// # Errors
/// Frames without the required columns.
pub fn compare_with(
    base: &Results,
    new: &Results,
    options: &Options,
    dictionary: &Dictionary,
) -> Result<Comparison, ReportError> {
    let mut out = Comparison::default();
    let wanted: HashSet<&str> = dictionary.iter().filter(|m| m.tolerance.is_some()).map(|m| m.name).collect();
    let of = |run: &Results| by_trial(std::slice::from_ref(run), |metric| wanted.contains(metric));
    let (before, after) = (of(base)?.concat(), of(new)?.concat());
    let (before, after) = (Tried::all(base, &before), Tried::all(new, &after));
    let pairs = Pairs::new((base, &before), (new, &after), options.by_label);
    let tolerances = &options.tolerances;
    let mut timed: BTreeMap<String, (Vec<Tried<'_>>, Vec<Tried<'_>>)> = BTreeMap::new();
    for &old in before.iter().filter(|tried| tried.ended.status == Status::Ok) {
        let subject = format!("{} · seed {}", pairs.subject(old.ended), old.ended.trial.seed);
        match pairs.of(old.ended) {
            Match::None(reason) => out.unknown.push(format!("{subject} {reason}")),
            Match::One(Tried { ended, .. }) if ended.status != Status::Ok => {
                let detail =
                    format!("it {}: {}", ended.status.as_str(), ended.reason.as_deref().unwrap_or("no reason"));
                out.checks.push(Check {
                    dataset: old.ended.trial.dataset.clone(),
                    label: old.ended.trial.label.clone(),
                    device: old.ended.trial.device.clone(),
                    threads: old.ended.trial.threads,
                    subject,
                    metric: "status".into(),
                    change: Change::Worse,
                    base: None,
                    new: None,
                    ratio: None,
                    tolerance: 0.0,
                    smallest: None,
                    detail,
                });
            }
            Match::One(fresh) => {
                quality(&subject, old, fresh, (tolerances, dictionary), &mut out);
                let group = timed.entry(pairs.subject(old.ended)).or_default();
                group.0.push(old);
                group.1.push(fresh);
            }
        }
    }
    if base.ended.is_empty() {
        out.unknown.push("the base run has no trials".into());
    }
    if options.speed {
        for (subject, (old, fresh)) in &timed {
            timing(subject, old, fresh, (tolerances, dictionary), &mut out);
        }
    }
    Ok(out)
}

fn quality<'a>(
    subject: &str,
    old: Tried<'a>,
    fresh: Tried<'a>,
    (tolerances, dictionary): (&Tolerances, &Dictionary),
    out: &mut Comparison,
) {
    for (metric, usual) in gated(dictionary, false) {
        let larger_is_better = metric.larger_is_better() == Some(true);
        let tolerance = tolerances.quality.get(metric.name).copied().unwrap_or(usual);
        let whole = |tried: Tried<'a>| tried.values.of(metric.name).iter().filter(|series| series.stage.is_none());
        for before in whole(old) {
            let name = name(metric, before);
            let Some(after) = whole(fresh).find(|s| (s.k, &s.path) == (before.k, &before.path)) else {
                out.unknown.push(format!("{subject}: {name} is not in the new run"));
                continue;
            };
            // If there are several values of one name, compare the first of the new run with all.
            let Some(&now) = after.values.first() else { continue };
            for &value in &before.values {
                let gain = if larger_is_better { now - value } else { value - now };
                let change = match gain.abs() > tolerance * value.abs() {
                    false => Change::None,
                    true if gain < 0.0 => Change::Worse,
                    true => Change::Better,
                };
                out.checks.push(Check {
                    dataset: old.ended.trial.dataset.clone(),
                    label: old.ended.trial.label.clone(),
                    device: old.ended.trial.device.clone(),
                    threads: old.ended.trial.threads,
                    subject: subject.to_owned(),
                    metric: name.clone(),
                    change,
                    base: Some(value),
                    new: Some(now),
                    ratio: None,
                    tolerance,
                    smallest: None,
                    detail: format!("{} → {}", significant(value, 6), significant(now, 6)),
                });
            }
        }
    }
}

/// Timings by process: of the method's own search, or of the search that re-ranks with this factor.
fn values(trials: &[Tried<'_>], metric: &str, reranked: Option<usize>) -> Vec<Vec<f64>> {
    let wanted = |series: &&Series| series.path.as_deref().and_then(rerank_factor) == reranked;
    let of = |tried: &Tried<'_>| -> Vec<f64> {
        tried.values.of(metric).iter().filter(wanted).flat_map(|series| &series.values).copied().collect()
    };
    trials.iter().map(of).filter(|values| !values.is_empty()).collect()
}

/// The largest relative deviation of the median of one process from the median of all: the same code, measured again.
fn noise_floor(groups: &[Vec<f64>]) -> f64 {
    let Some(center) = median(&groups.concat()) else { return 0.0 };
    groups.iter().filter_map(|group| median(group)).map(|m| (m / center - 1.0).abs()).fold(0.0, f64::max)
}

/// The smallest loss, as a fraction, at which an interval of this width would lie entirely beyond the tolerance.
fn smallest_loss(ratio: Estimate, tolerance: f64, larger_is_better: bool) -> f64 {
    if larger_is_better {
        1.0 - (1.0 - tolerance).max(0.0) * ratio.value / ratio.high
    } else {
        (1.0 + tolerance) * ratio.value / ratio.low - 1.0
    }
}

/// A timed metric, with the re-ranking factor of a search.
fn timing_name(metric: &str, reranked: Option<usize>) -> String {
    reranked.map_or(metric.to_owned(), |factor| format!("{metric}, re-ranked ×{factor}"))
}

/// A ratio of timings with its interval and what is allowed, in words.
fn ratio_text(ratio: Estimate, tolerance: f64) -> String {
    format!(
        "{} times the base, 95% interval {} to {}, {:.0}% allowed",
        significant(ratio.value, 3),
        significant(ratio.low, 3),
        significant(ratio.high, 3),
        100.0 * tolerance
    )
}

/// Where a trial was timed: the class of its machine, and its number of threads.
type Place = (String, usize);

fn place(tried: &Tried<'_>) -> Place {
    (tried.ended.machine.class(), tried.ended.trial.threads)
}

/// The trials that were timed at one place.
fn here<'a>(all: &[Tried<'a>], at: &Place) -> Vec<Tried<'a>> {
    all.iter().copied().filter(|tried| place(tried) == *at).collect()
}

/// Compares timings of all seeds, each from its own process.
fn timing(
    subject: &str,
    old: &[Tried<'_>],
    fresh: &[Tried<'_>],
    (tolerances, dictionary): (&Tolerances, &Dictionary),
    out: &mut Comparison,
) {
    // All of them are of one dataset, label and device.
    let Some(first) = old.first().map(|tried| &tried.ended.trial) else { return };
    // Everything that was timed, each search with its re-ranking factor.
    let of_trial = |tried: &Tried<'_>| {
        let of = |(metric, all): (&str, &[Series])| {
            let how = |series: &Series| (metric.to_owned(), series.path.as_deref().and_then(rerank_factor));
            all.iter().map(how).collect::<Vec<_>>()
        };
        tried.values.metrics().flat_map(of).collect::<Vec<_>>()
    };
    let timed: BTreeSet<(String, Option<usize>)> = old.iter().flat_map(of_trial).collect();
    let timed = gated(dictionary, true).flat_map(|(metric, usual)| {
        let of_metric = timed.iter().filter(move |(name, _)| name == metric.name);
        of_metric.map(move |(_, reranked)| (metric, *reranked, usual))
    });
    let timed: Vec<Timed> = timed.collect();
    if timed.is_empty() {
        return;
    }
    // Times are compared where both runs were timed: on one class of machines, with one number of threads.
    let places = |tried: &[Tried<'_>]| tried.iter().map(place).collect::<BTreeSet<_>>();
    let (before, after) = (places(old), places(fresh));
    let common: Vec<&Place> = before.intersection(&after).collect();
    let listed = |places: &BTreeSet<Place>| {
        let words = |(class, threads): &Place| format!("{class} ({threads} threads)");
        places.iter().map(words).collect::<Vec<_>>().join(" and ")
    };
    if common.is_empty() {
        out.unknown.push(format!("{subject}: speed was measured on {} and on {}", listed(&before), listed(&after)));
        return;
    }
    if before != after {
        let only = before.symmetric_difference(&after).cloned().collect();
        out.unknown.push(format!("{subject}: speed on {} was measured in one of the runs only", listed(&only)));
    }
    for at in &common {
        let subject = if before.len() > 1 { format!("{subject}, on {}", at.0) } else { subject.to_owned() };
        timing_at(&subject, first, (&here(old, at), &here(fresh, at)), (&timed, tolerances), out);
    }
}

/// A metric of speed, how many candidates were ordered by their raw vectors, and the usual tolerance.
type Timed = (&'static Metric, Option<usize>, f64);

/// Compares timings of trials that ran on machines of one class with one number of threads.
fn timing_at(
    subject: &str,
    first: &Trial,
    (old, fresh): (&[Tried<'_>], &[Tried<'_>]),
    (timed, tolerances): (&[Timed], &Tolerances),
    out: &mut Comparison,
) {
    for &(metric, reranked, usual) in timed {
        let (metric, larger_is_better) = (metric.name, metric.larger_is_better() == Some(true));
        let (before, after) = (values(old, metric, reranked), values(fresh, metric, reranked));
        let name = timing_name(metric, reranked);
        if after.is_empty() {
            out.unknown.push(format!("{subject}: {name} is not in the new run"));
            continue;
        }
        if before.len() < MIN_PROCESSES || after.len() < MIN_PROCESSES {
            let count = before.len().min(after.len());
            out.notes.push(format!(
                "{subject}: {name} comes from {count} process, {MIN_PROCESSES} are needed to know its noise"
            ));
            continue;
        }
        let floor = noise_floor(&before).max(noise_floor(&after));
        let tolerance = tolerances.speed.get(metric).copied().unwrap_or(usual).max(floor);
        let Some(ratio) = ratio_of_timings(&after, &before) else { continue };
        // The whole interval must be beyond the tolerance.
        let (slower, faster) = if larger_is_better {
            (ratio.high < 1.0 - tolerance, ratio.low > 1.0 + tolerance)
        } else {
            (ratio.low > 1.0 + tolerance, ratio.high < 1.0 - tolerance)
        };
        let change = match (slower, faster) {
            (true, _) => Change::Worse,
            (_, true) => Change::Better,
            _ => Change::None,
        };
        out.checks.push(Check {
            dataset: first.dataset.clone(),
            label: first.label.clone(),
            device: first.device.clone(),
            threads: first.threads,
            subject: subject.to_owned(),
            metric: name,
            change,
            base: crate::statistics::timing(&before).map(|estimate| estimate.value),
            new: crate::statistics::timing(&after).map(|estimate| estimate.value),
            ratio: Some(ratio),
            tolerance,
            smallest: Some(smallest_loss(ratio, tolerance, larger_is_better)),
            detail: ratio_text(ratio, tolerance),
        });
    }
}
