//! `budget`: how a limited time is spent on the trials of a run, and what is left out when it is used up.
//!
//! Trials of the first seed come first. Further seeds go where the interval of the main quality metric over the seeds so
//! far is widest relative to its mean. The time that earlier calls spent on the same run counts.

use crate::units::Seconds;
use record::metric::{KNN_ACCURACY, Metric, NMSE, RECALL_1_AT_R, RECALL_K_AT_K};
use record::{Status, Trial, TrialRecord};
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// The main quality metric of a trial: the first of these that it measured.
const QUALITY: [&Metric; 4] = [&NMSE, &RECALL_K_AT_K, &RECALL_1_AT_R, &KNN_ACCURACY];

/// Confidence of the intervals, as in reports.
const CONFIDENCE: f64 = 0.95;

/// The time of a run, and what is known about its trials so far.
pub(super) struct Budget {
    budget: Seconds,
    /// Seconds that earlier calls spent.
    before: f64,
    started: Instant,
    first_seed: u64,
    /// The values of the main quality metric, by what trials have in common that differ only in the seed.
    values: HashMap<String, Vec<f64>>,
    /// Where a trial has failed: with another seed it would probably fail as well.
    failed: HashSet<String>,
}

impl Budget {
    /// Creates the budget of a run. `ended` are the trials that ended before; `lanes` of them ran at a time.
    pub(super) fn new<'r>(
        budget: Seconds,
        first_seed: u64,
        ended: impl Iterator<Item = &'r TrialRecord>,
        lanes: usize,
    ) -> Budget {
        let (values, failed) = (HashMap::new(), HashSet::new());
        let mut new = Budget { budget, before: 0.0, started: Instant::now(), first_seed, values, failed };
        for record in ended {
            new.before += record.wall_seconds / lanes as f64;
            new.note(record);
        }
        new
    }

    /// Takes note of the result of a trial.
    pub(super) fn note(&mut self, record: &TrialRecord) {
        if record.status != Status::Ok {
            self.failed.insert(group(&record.trial));
            return;
        }
        let value = QUALITY.iter().find_map(|metric| {
            let mut values = record.values.iter();
            values.find(|v| v.metric == metric.name && v.stage.is_none()).map(|v| v.value)
        });
        self.values.entry(group(&record.trial)).or_default().extend(value);
    }

    /// Seconds that are left. At 0, no further trial starts.
    pub(super) fn left(&self) -> f64 {
        (self.budget.0 - self.before - self.started.elapsed().as_secs_f64()).max(0.0)
    }

    /// How urgent a trial is; the most urgent one runs next. Last come those whose method has failed with another seed.
    pub(super) fn urgency(&self, trial: &Trial) -> f64 {
        if trial.seed == self.first_seed {
            return f64::INFINITY;
        }
        let group = group(trial);
        if self.failed.contains(&group) {
            return -1.0;
        }
        self.values.get(&group).map_or(f64::MAX, |values| relative_width(values))
    }
}

/// What the trials of one method on one dataset have in common.
fn group(trial: &Trial) -> String {
    format!("{}\n{}\n{}\n{}", trial.dataset, trial.label, trial.device, trial.threads)
}

/// Half the width of the interval of a mean, relative to the mean. Of one value, the interval is unknown and so the
/// widest.
fn relative_width(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    if values.len() < 2 {
        return f64::MAX;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    if variance == 0.0 {
        return 0.0;
    }
    let quantile = StudentsT::new(0.0, 1.0, n - 1.0).map_or(f64::MAX, |t| t.inverse_cdf(0.5 + CONFIDENCE / 2.0));
    let width = quantile * (variance / n).sqrt() / mean.abs();
    if width.is_finite() { width } else { f64::MAX }
}

/// Lines that say what a used-up budget left out, one for each method and dataset.
pub(super) fn left_out(budget: Seconds, trials: &[&Trial]) -> Vec<String> {
    let mut groups: Vec<(String, &Trial, Vec<String>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for trial in trials {
        let key = group(trial);
        let place = *places.entry(key.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((key, trial, Vec::new()));
        }
        groups[place].2.push(trial.seed.to_string());
    }
    let one_count = trials.iter().all(|trial| trial.threads == trials[0].threads);
    let line = |(_, trial, seeds): &(String, &Trial, Vec<String>)| {
        let several = if seeds.len() == 1 { "seed" } else { "seeds" };
        let Trial { dataset, label, device, threads, .. } = trial;
        let threads = if one_count { String::new() } else { format!(" · threads {threads}") };
        let seeds = seeds.join(", ");
        format!("{dataset} · {label} · {device}{threads} · {several} {seeds}: the budget of {budget} was used up")
    };
    groups.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_interval_relative_to_its_mean_is_the_most_urgent() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6 * b;
        // Two values: 12.7062 times the standard error.
        assert!(close(relative_width(&[1.0, 3.0]), 12.706_204_7 / 2.0), "{}", relative_width(&[1.0, 3.0]));
        assert!(close(relative_width(&[10.0, 30.0]), relative_width(&[1.0, 3.0])), "it is relative");
        assert!(relative_width(&[1.0, 3.0, 2.0]) < relative_width(&[1.0, 3.0]), "more seeds, less width");
        assert_eq!(relative_width(&[2.0, 2.0]), 0.0);
        assert_eq!([relative_width(&[]), relative_width(&[1.0]), relative_width(&[-1.0, 1.0])], [f64::MAX; 3]);
    }
}
