//! Records put together: one point per method, parameters and device on each dataset, over all its seeds.

use crate::stats::{self, Estimate, mean};
use record::{DatasetFacts, Measured, Run, Status, TrialRecord, rerank_factor};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Mutex;

/// Everything a report says about one dataset.
pub struct DatasetSummary {
    /// Name.
    pub name: String,
    /// What is known of the vectors.
    pub facts: DatasetFacts,
    /// One per method, parameters and device, by ascending rate within a series.
    pub points: Vec<Point>,
}

/// What the seeds of one configuration measured.
pub struct Point {
    /// Name of its curve.
    pub series: String,
    /// Its own name.
    pub label: String,
    /// Where it ran.
    pub device: String,
    /// Threads it used.
    pub threads: usize,
    /// Bits stored per vector.
    pub bits: usize,
    /// Ids of its trials, one per seed.
    pub trials: Vec<String>,
    /// Values of each seed.
    seeds: Vec<Vec<Measured>>,
    /// Estimates made so far: a report asks for each of them several times, and a bootstrap is work.
    estimates: Mutex<HashMap<String, Option<Estimate>>>,
}

/// Which values: a metric, and what tells them from their siblings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which<'a> {
    /// Metric name.
    pub metric: &'a str,
    /// Neighbours asked for.
    pub k: Option<usize>,
    /// Search path, where searches are measured.
    pub path: Path<'a>,
}

/// A search path.
#[derive(Clone, Copy, Debug, Default)]
pub enum Path<'a> {
    /// The method's own path: neither re-ranked nor on raw vectors. Values of no search have this one.
    #[default]
    Native,
    /// Exactly this one.
    Named(&'a str),
}

impl<'a> Which<'a> {
    /// All values of a metric; of searches, over the method's own path.
    pub fn metric(metric: &'a str) -> Which<'a> {
        Which { metric, ..Which::default() }
    }

    /// Of a search for `k` neighbours over the method's own path.
    pub fn native(metric: &'a str, k: usize) -> Which<'a> {
        Which { metric, k: Some(k), path: Path::Native }
    }

    fn fits(&self, value: &Measured) -> bool {
        let path = value.path.as_deref();
        value.metric == self.metric
            && value.stage.is_none()
            && (self.k.is_none() || self.k == value.k)
            && match self.path {
                Path::Named(name) => path == Some(name),
                Path::Native => path.is_none_or(|path| path != "raw" && rerank_factor(path).is_none()),
            }
    }
}

impl Point {
    /// What `estimate` finds, once for each `key`.
    fn once(&self, key: String, estimate: impl FnOnce() -> Option<Estimate>) -> Option<Estimate> {
        let mut known = self.estimates.lock().unwrap_or_else(|e| e.into_inner());
        *known.entry(key).or_insert_with(estimate)
    }

    /// Mean over seeds, each seed the mean of its own values.
    pub fn quality(&self, which: Which<'_>) -> Option<Estimate> {
        self.once(format!("mean {which:?}"), || self.mean_over_seeds(which))
    }

    fn mean_over_seeds(&self, which: Which<'_>) -> Option<Estimate> {
        let per_seed: Vec<f64> = self
            .seeds
            .iter()
            .filter_map(|values| {
                let found: Vec<f64> = values.iter().filter(|v| which.fits(v)).map(|v| v.value).collect();
                mean(&found).map(|e| e.value)
            })
            .collect();
        let estimate = mean(&per_seed)?;
        if !is_share(which.metric) {
            return Some(estimate);
        }
        Some(within_share(estimate))
    }

    /// Centre of the medians of all seeds, each a process of its own.
    pub fn timing(&self, which: Which<'_>) -> Option<Estimate> {
        let of_seed = |values: &Vec<Measured>| values.iter().filter(|v| which.fits(v)).map(|v| v.value).collect();
        self.once(format!("timing {which:?}"), || {
            let groups: Vec<Vec<f64>> = self.seeds.iter().map(of_seed).collect();
            stats::timing(&groups)
        })
    }

    /// What one seed wrote at each iteration or epoch, by its number; empty where it wrote nothing. Values with a mark (`path`) are of a
    /// sample of the rows or of attempts that were not kept: no part of the way to the quantizer.
    fn trace(values: &[Measured], metric: &str) -> BTreeMap<usize, f64> {
        let of_metric = values.iter().filter(|v| v.metric == metric && v.stage.is_none() && v.path.is_none());
        // A run folder may say anything; nothing here goes on for so long.
        let numbered = of_metric.filter(|v| v.value.is_finite()).filter_map(|v| Some((v.repeat?, v.value)));
        numbered.filter(|(number, _)| *number < MOST_ITERATIONS).collect()
    }

    /// Mean over seeds at each iteration or epoch that all seeds wrote of, with its number: a mean over ever fewer seeds would jump
    /// where one of them ends.
    pub fn course(&self, metric: &str) -> Vec<(usize, Estimate)> {
        let traces: Vec<BTreeMap<usize, f64>> =
            self.seeds.iter().map(|values| Point::trace(values, metric)).filter(|t| !t.is_empty()).collect();
        let Some(first) = traces.first() else { return Vec::new() };
        let share = |e: Estimate| if is_share(metric) { within_share(e) } else { e };
        let at = |number: usize| {
            let values: Option<Vec<f64>> = traces.iter().map(|trace| trace.get(&number).copied()).collect();
            mean(&values?).map(|estimate| (number, share(estimate)))
        };
        first.keys().filter_map(|&number| at(number)).collect()
    }

    /// Names of what training wrote at each iteration or epoch, in the order it wrote them.
    pub fn courses(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let written = self.seeds.iter().flatten().filter(|v| v.repeat.is_some() && v.stage.is_none());
        let names = written.map(|v| v.metric.as_str()).filter(|name| name.starts_with(TRAINING));
        names.filter(|name| seen.insert(*name)).collect()
    }

    /// Whether training wrote more than its distortion, as methods do that learn over epochs; classical ones do not.
    pub fn learns(&self) -> bool {
        self.courses().iter().any(|name| *name != "training_mse")
    }

    /// Codewords of the largest codebook, and how many codebooks of that size the rate pays for.
    pub fn codebooks(&self) -> Option<(f64, f64)> {
        let codewords = self.quality(Which::metric("codewords"))?.value;
        (codewords >= 2.0).then(|| (codewords, (self.bits as f64 / codewords.log2()).round().max(1.0)))
    }

    /// Everything that one of [`Point::trials`] measured.
    pub fn values(&self, trial: usize) -> &[Measured] {
        self.seeds.get(trial).map(Vec::as_slice).unwrap_or_default()
    }

    /// Seeds that succeeded.
    pub fn seed_count(&self) -> usize {
        self.seeds.len()
    }

    /// How many times as many candidates a metric was measured with.
    fn rerank_factors(&self, metric: &str) -> impl Iterator<Item = usize> {
        let of_metric = self.seeds.iter().flatten().filter(move |v| v.metric == metric);
        of_metric.filter_map(|v| v.path.as_deref()).filter_map(rerank_factor)
    }
}

/// Iterations of a training, at most.
const MOST_ITERATIONS: usize = 1_000_000_000;

/// How the names of what training wrote begin.
pub const TRAINING: &str = "training_";

/// Student's interval knows no bounds; a share does.
fn within_share(estimate: Estimate) -> Estimate {
    Estimate { low: estimate.low.max(0.0), high: estimate.high.min(1.0), ..estimate }
}

/// Whether a metric lies between 0 and 1 by definition.
fn is_share(metric: &str) -> bool {
    ["usage", "training_usage", "knn_accuracy"].contains(&metric) || metric.starts_with("recall_")
}

impl DatasetSummary {
    /// Names of the curves, in order of first appearance.
    pub fn series(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.points.iter().map(|point| point.series.as_str()).filter(|name| seen.insert(*name)).collect()
    }

    /// The `k` that recall is shown at: 10 if it was measured, else the largest.
    pub fn recall_k(&self) -> Option<usize> {
        let values = self.points.iter().flat_map(|p| p.seeds.iter().flatten());
        let ks: Vec<usize> = values.filter(|v| v.metric == "recall_k_at_k").filter_map(|v| v.k).collect();
        if ks.contains(&10) { Some(10) } else { ks.into_iter().max() }
    }

    /// The `k` that search was timed with.
    pub fn timed_k(&self) -> Option<usize> {
        let mut values = self.points.iter().flat_map(|p| p.seeds.iter().flatten());
        values.find(|v| v.metric == "search_queries_per_second").and_then(|v| v.k)
    }

    /// Whether k-recall@k was measured for this `k`.
    pub fn has_recall_at(&self, k: usize) -> bool {
        let mut values = self.points.iter().flat_map(|p| p.seeds.iter().flatten());
        values.any(|v| v.metric == "recall_k_at_k" && v.k == Some(k))
    }

    /// How many times as many candidates were fetched and re-ranked where a metric was measured, in ascending order.
    pub fn rerank_factors(&self, metric: &str) -> Vec<usize> {
        let factors: BTreeSet<usize> = self.points.iter().flat_map(|point| point.rerank_factors(metric)).collect();
        factors.into_iter().collect()
    }

    /// Points that no other point of at most their rate beats in distortion.
    pub fn rate_distortion_front(&self) -> Vec<bool> {
        let nmse: Vec<Option<f64>> =
            self.points.iter().map(|p| p.quality(Which::metric("nmse")).map(|e| e.value)).collect();
        let coordinates: Vec<Option<(f64, f64)>> =
            self.points.iter().zip(&nmse).map(|(p, nmse)| Some((-(p.bits as f64), -(*nmse)?))).collect();
        pareto(&coordinates)
    }
}

/// Marks the points that no other point equals or beats in both coordinates while beating it in one; larger is better.
pub fn pareto(points: &[Option<(f64, f64)>]) -> Vec<bool> {
    points
        .iter()
        .map(|point| {
            let Some((x, y)) = *point else { return false };
            !points.iter().flatten().any(|&(a, b)| a >= x && b >= y && (a > x || b > y))
        })
        .collect()
}

/// Puts the successful trials of all runs together.
pub fn summarize(runs: &[Run]) -> Vec<DatasetSummary> {
    let mut datasets: Vec<DatasetSummary> = Vec::new();
    let several_devices = {
        let mut devices: Vec<&str> = runs.iter().flat_map(|r| &r.info.trials).map(|t| t.device.as_str()).collect();
        devices.sort_unstable();
        devices.dedup();
        devices.len() > 1
    };
    for run in runs {
        for facts in &run.info.datasets {
            // Equal names with other vectors behind them are other datasets.
            let position = datasets.iter().position(|d| d.facts.fingerprint == facts.fingerprint);
            let index = position.unwrap_or_else(|| {
                let taken = datasets.iter().any(|d| d.name == facts.name);
                let name = if taken { format!("{} ({})", facts.name, run.info.name) } else { facts.name.clone() };
                datasets.push(DatasetSummary { name, facts: facts.clone(), points: Vec::new() });
                datasets.len() - 1
            });
            let points = &mut datasets[index].points;
            // Points of several runs stay apart, told by the names of their runs.
            let mut known: HashMap<(String, &str, usize), usize> = HashMap::new();
            let suffix =
                |name: &str| if runs.len() > 1 { format!("{name} [{}]", run.info.name) } else { name.to_owned() };
            let succeeded = |r: &&TrialRecord| r.status == Status::Ok && r.trial.dataset == facts.name;
            for record in run.records.iter().filter(succeeded) {
                let trial = &record.trial;
                let device = if several_devices { format!(", {}", trial.device) } else { String::new() };
                // A label such as "VQ, {codewords}" leaves its comma to the series.
                let named = trial.series.trim_end_matches([',', ';', ':', ' ']);
                let (label, series) = (suffix(&trial.label) + &device, suffix(named) + &device);
                // Method, parameters, device and threads make a point; its seeds are put together.
                let identity = (format!("{} {}", trial.method, trial.params), trial.device.as_str(), trial.threads);
                let at = *known.entry(identity).or_insert(points.len());
                if at == points.len() {
                    points.push(Point {
                        series,
                        label,
                        device: trial.device.clone(),
                        threads: trial.threads,
                        bits: trial.bits_per_vector,
                        trials: Vec::new(),
                        seeds: Vec::new(),
                        estimates: Mutex::default(),
                    });
                }
                points[at].trials.push(trial.id.clone());
                points[at].seeds.push(record.values.clone());
            }
        }
    }
    for dataset in &mut datasets {
        let order: HashMap<String, usize> =
            dataset.series().into_iter().enumerate().map(|(rank, name)| (name.to_owned(), rank)).collect();
        dataset.points.sort_by_key(|point| (order.get(&point.series).copied(), point.bits));
    }
    datasets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_keeps_what_nothing_beats() {
        let points = [Some((1.0, 5.0)), Some((2.0, 4.0)), Some((2.0, 3.0)), None, Some((0.5, 5.0)), Some((1.0, 5.0))];
        assert_eq!(pareto(&points), [true, true, false, false, false, true]);
    }
}
