//! Aggregates records: one point per dataset, method, parameters and device, over all its seeds.

use crate::ReportError;
use crate::machines::Classes;
use crate::pareto::pareto;
use crate::provenance::Origins;
use crate::statistics::{self, Estimate, mean};
use crate::values::{Series, Values, by_trial};
use record::metric::{self, CODEWORDS, Dictionary, NMSE, Noise, TRAINING, TRAINING_MSE};
use record::{DatasetFacts, Ended, Metric, Results, Status, rerank_factor};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// All results for one dataset.
pub struct DatasetSummary {
    /// Name.
    pub name: String,
    /// Facts about the vectors.
    pub facts: DatasetFacts,
    /// One point per method, parameters and device, by ascending rate within a series.
    pub points: Vec<Point>,
    /// The classes of machines of the whole report, in order.
    pub machines: Vec<Arc<str>>,
}

/// The results of one configuration, over all its seeds.
pub struct Point {
    /// Name of its curve.
    pub series: String,
    /// Name of its method.
    pub method: String,
    /// Family of its method; None if its records do not say.
    pub family: Option<String>,
    /// Its label.
    pub label: String,
    /// The device it ran on.
    pub device: String,
    /// Number of threads.
    pub threads: usize,
    /// Bits stored per vector.
    pub bits: usize,
    /// Index of its run among those of the report.
    pub run: usize,
    /// Ids of its trials, one per seed.
    pub trials: Vec<String>,
    /// The place of each trial among those of its run that have ended.
    pub places: Vec<usize>,
    /// The class of machines that each trial ran on.
    pub machines: Vec<Arc<str>>,
    /// Run, trials and source revision, in words.
    pub origin: String,
    /// The seed of each trial.
    numbers: Vec<u64>,
    /// The values of each seed.
    seeds: Vec<Values>,
    /// Cache of estimates: a report uses each of them several times.
    estimates: Mutex<HashMap<EstimateKey, Option<Estimate>>>,
}

impl Clone for Point {
    fn clone(&self) -> Point {
        Point {
            series: self.series.clone(),
            method: self.method.clone(),
            family: self.family.clone(),
            label: self.label.clone(),
            device: self.device.clone(),
            threads: self.threads,
            bits: self.bits,
            run: self.run,
            trials: self.trials.clone(),
            places: self.places.clone(),
            machines: self.machines.clone(),
            origin: self.origin.clone(),
            numbers: self.numbers.clone(),
            seeds: self.seeds.clone(),
            estimates: Mutex::default(),
        }
    }
}

/// Key of an estimate: the metric, the number of neighbours, the name of the search path, and the class of machines.
type EstimateKey = (&'static str, Option<usize>, Option<String>, Option<String>);

/// Selects values: a metric, and the columns that distinguish its values.
#[derive(Clone, Copy, Debug)]
pub struct Which<'a> {
    /// The metric.
    pub metric: &'static Metric,
    /// Number of neighbours requested.
    pub k: Option<usize>,
    /// Search path, for metrics of searches.
    pub path: Path<'a>,
    /// Only trials on this class of machines. Without it, times of several classes have no estimate.
    pub machine: Option<&'a str>,
}

/// A search path.
#[derive(Clone, Copy, Debug, Default)]
pub enum Path<'a> {
    /// The method's own path: neither re-ranked nor on raw vectors. Also selects values that are not of a search.
    #[default]
    Native,
    /// The path with this name.
    Named(&'a str),
}

impl<'a> Which<'a> {
    /// All values of a metric; for metrics of searches, on the method's own path.
    pub fn metric(metric: &'static Metric) -> Which<'a> {
        Which { metric, k: None, path: Path::Native, machine: None }
    }

    /// The values of a search for `k` neighbours on the method's own path.
    pub fn native(metric: &'static Metric, k: usize) -> Which<'a> {
        Which { metric, k: Some(k), path: Path::Native, machine: None }
    }

    /// The selected values of a trial.
    fn values_of(self, values: &Values) -> Vec<f64> {
        let series = values.of(self.metric.name).iter().filter(|series| self.fits(series));
        series.flat_map(|series| &series.values).copied().collect()
    }

    fn key(&self) -> EstimateKey {
        let path = match self.path {
            Path::Native => None,
            Path::Named(name) => Some(name.to_owned()),
        };
        (self.metric.name, self.k, path, self.machine.map(str::to_owned))
    }

    fn fits(&self, series: &Series) -> bool {
        let path = series.path.as_deref();
        series.stage.is_none()
            && (self.k.is_none() || self.k == series.k)
            && match self.path {
                Path::Named(name) => path == Some(name),
                Path::Native => path.is_none_or(|path| path != "raw" && rerank_factor(path).is_none()),
            }
    }
}

impl Point {
    /// Bits per vector; None of an outside program whose rate cannot be measured.
    pub fn rate(&self) -> Option<f64> {
        (self.bits > 0).then_some(self.bits as f64)
    }

    /// The centre over all seeds with its interval, clipped to the range of the metric. For timings: the geometric mean
    /// of the medians of the seeds, each from its own process. For all other metrics: the mean over seeds, where each
    /// seed contributes the mean of its values. Returns `None` if no seed has a value, or if they are times of several classes
    /// of machines: a mean of these would say nothing of either.
    pub fn estimate(&self, which: Which<'_>) -> Option<Estimate> {
        let mut known = self.estimates.lock().unwrap_or_else(|e| e.into_inner());
        *known.entry(which.key()).or_insert_with(|| {
            let all = self.machines.iter().zip(&self.seeds).map(|(machine, values)| (machine, which.values_of(values)));
            let wanted = |machine: &str| which.machine.is_none_or(|wanted| wanted == machine);
            let found: Vec<(&Arc<str>, Vec<f64>)> =
                all.filter(|(machine, values)| wanted(machine) && !values.is_empty()).collect();
            let apart = found.windows(2).any(|pair| pair[0].0 != pair[1].0);
            if which.metric.noise == Noise::Timed && apart {
                return None;
            }
            let groups: Vec<Vec<f64>> = found.into_iter().map(|(_, values)| values).collect();
            over_seeds(&groups, which.metric)
        })
    }

    /// Everything that was measured, except for the course of training, each with its estimate over all seeds, and times for
    /// each class of machines by itself: in the order in which it was written. Values of metrics that the dictionary does not have are left out.
    pub fn quantities<'a>(&'a self, dictionary: &Dictionary) -> Vec<(Quantity<'a>, Estimate)> {
        let mut order: Vec<(Quantity<'a>, Vec<Vec<f64>>)> = Vec::new();
        let mut known: HashMap<QuantityKey<'_>, usize> = HashMap::new();
        let in_training = |name: &str| TRAINING.family().is_some_and(|start| name.starts_with(start));
        for (seed, values) in self.seeds.iter().enumerate() {
            for (name, all) in values.metrics().filter(|(name, _)| !in_training(name)) {
                let Some(metric) = metric::find_in(dictionary, name) else { continue };
                let machine = self.machines.get(seed).filter(|_| metric.noise == Noise::Timed).map(|name| &**name);
                for series in all {
                    let (stage, k, path) = (series.stage.as_deref(), series.k, series.path.as_deref());
                    let at = *known.entry((name, stage, k, path, machine)).or_insert(order.len());
                    if at == order.len() {
                        order.push((Quantity { metric, stage, k, path, machine }, vec![Vec::new(); self.seeds.len()]));
                    }
                    order[at].1[seed].extend(&series.values);
                }
            }
        }
        let estimated =
            |(quantity, groups): (Quantity<'a>, Vec<Vec<f64>>)| Some((quantity, over_seeds(&groups, quantity.metric)?));
        order.into_iter().filter_map(estimated).collect()
    }

    /// The seed of each trial.
    pub fn seeds(&self) -> &[u64] {
        &self.numbers
    }

    /// The mean of the selected values of each seed that has any, with the number of the seed.
    pub fn per_seed(&self, which: Which<'_>) -> Vec<(u64, f64)> {
        let of_seed = |(seed, values): (&u64, &Values)| Some((*seed, mean(&which.values_of(values))?.value));
        self.numbers.iter().zip(&self.seeds).filter_map(of_seed).collect()
    }

    /// The values that one seed wrote at each iteration or epoch, by its index; empty if there are none. Values with a
    /// `path` are skipped: they were computed on a sample of the rows or belong to rejected attempts.
    fn trace(values: &Values, metric: &str) -> BTreeMap<usize, f64> {
        let unmarked = values.of(metric).iter().filter(|series| series.stage.is_none() && series.path.is_none());
        let written = unmarked.flat_map(|series| series.repeats.iter().zip(&series.values));
        // A run folder may contain any number of iterations, so limit them.
        let numbered = written.filter(|(_, v)| v.is_finite()).filter_map(|(number, v)| Some(((*number)?, *v)));
        numbered.filter(|(number, _)| *number < MOST_ITERATIONS).collect()
    }

    /// Mean over seeds at each iteration or epoch that all seeds reached, with its index. A mean over fewer and fewer
    /// seeds would jump where one of them ends.
    pub fn course(&self, metric: &str) -> Vec<(usize, Estimate)> {
        let traces: Vec<BTreeMap<usize, f64>> =
            self.seeds.iter().map(|values| Point::trace(values, metric)).filter(|t| !t.is_empty()).collect();
        let Some(first) = traces.first() else { return Vec::new() };
        let entry = metric::find(metric);
        let at = |number: usize| {
            let values: Option<Vec<f64>> = traces.iter().map(|trace| trace.get(&number).copied()).collect();
            mean(&values?).map(|estimate| (number, entry.map_or(estimate, |metric| within(estimate, metric))))
        };
        first.keys().filter_map(|&number| at(number)).collect()
    }

    /// Names of the metrics that training wrote at each iteration or epoch, in that order.
    pub fn courses(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let of_training = |name: &&str| TRAINING.family().is_some_and(|start| name.starts_with(start));
        let numbered = |series: &Series| series.stage.is_none() && series.repeats.iter().any(Option::is_some);
        let written = self.seeds.iter().flat_map(Values::metrics);
        let names = written.filter(|(_, all)| all.iter().any(numbered)).map(|(name, _)| name);
        names.filter(of_training).filter(|name| seen.insert(*name)).collect()
    }

    /// Whether training wrote metrics other than distortion, as methods do that learn over epochs; classical methods do
    /// not.
    pub fn learns(&self) -> bool {
        self.courses().iter().any(|name| *name != TRAINING_MSE.name)
    }

    /// Number of codewords of the largest codebook, and the number of such codebooks that would give the same rate.
    pub fn codebooks(&self) -> Option<(f64, f64)> {
        let codewords = self.estimate(Which::metric(&CODEWORDS))?.value;
        (codewords >= 2.0).then(|| (codewords, (self.bits as f64 / codewords.log2()).round().max(1.0)))
    }

    /// The values of a metric for one trial of [`Point::trials`].
    pub fn values(&self, trial: usize, metric: &Metric) -> &[Series] {
        self.seeds.get(trial).map(|values| values.of(metric.name)).unwrap_or_default()
    }

    /// Without the trials on other classes of machines; None if none is left.
    fn on(&self, machine: &str) -> Option<Point> {
        let kept: Vec<usize> = (0..self.seeds.len()).filter(|&at| &*self.machines[at] == machine).collect();
        if kept.is_empty() {
            return None;
        }
        Some(Point {
            trials: kept.iter().map(|&at| self.trials[at].clone()).collect(),
            places: kept.iter().map(|&at| self.places[at]).collect(),
            machines: kept.iter().map(|&at| self.machines[at].clone()).collect(),
            numbers: kept.iter().map(|&at| self.numbers[at]).collect(),
            seeds: kept.iter().map(|&at| self.seeds[at].clone()).collect(),
            ..self.clone()
        })
    }

    /// Number of seeds that succeeded.
    pub fn seed_count(&self) -> usize {
        self.seeds.len()
    }

    /// All values of a metric, of all seeds.
    fn all<'a>(&'a self, metric: &'a Metric) -> impl Iterator<Item = &'a Series> {
        self.seeds.iter().flat_map(|values| values.of(metric.name))
    }
}

/// What a value is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity<'a> {
    /// The metric.
    pub metric: &'static Metric,
    /// Position in the code, or part of the data; None for the whole.
    pub stage: Option<&'a str>,
    /// Number of neighbours requested.
    pub k: Option<usize>,
    /// The search path.
    pub path: Option<&'a str>,
    /// The class of machines that a time was measured on.
    pub machine: Option<&'a str>,
}

/// A metric by name, and what its value is of.
type QuantityKey<'a> = (&'a str, Option<&'a str>, Option<usize>, Option<&'a str>, Option<&'a str>);

/// The centre over seeds with its interval, from the values of each seed; see [`Point::estimate`].
pub(crate) fn over_seeds(groups: &[Vec<f64>], metric: &Metric) -> Option<Estimate> {
    let estimate = match metric.noise {
        Noise::Timed => statistics::timing(groups)?,
        Noise::Exact | Noise::Varies => {
            let per_seed: Vec<f64> = groups.iter().filter_map(|group| Some(mean(group)?.value)).collect();
            mean(&per_seed)?
        }
    };
    Some(within(estimate, metric))
}

/// Maximum number of training iterations.
const MOST_ITERATIONS: usize = 1_000_000_000;

/// Student's interval is unbounded, but a metric may have a limited range.
fn within(estimate: Estimate, metric: &Metric) -> Estimate {
    Estimate { low: metric.clip(estimate.low), high: metric.clip(estimate.high), ..estimate }
}

impl DatasetSummary {
    /// The classes of machines that something was timed on, in order.
    pub fn timed_on(&self) -> Vec<&str> {
        let mut timed: HashSet<&str> = HashSet::new();
        for point in &self.points {
            for (machine, values) in point.machines.iter().zip(&point.seeds) {
                let is_timed = |name: &str| metric::find(name).is_some_and(|metric| metric.noise == Noise::Timed);
                if !timed.contains(&**machine) && values.metrics().any(|(name, _)| is_timed(name)) {
                    timed.insert(machine);
                }
            }
        }
        self.machines.iter().map(|name| &**name).filter(|name| timed.contains(name)).collect()
    }

    /// The number of a class of machines in the report, from 1.
    pub fn number(&self, machine: &str) -> usize {
        self.machines.iter().position(|name| &**name == machine).unwrap_or(self.machines.len()) + 1
    }

    /// Without the trials on other classes of machines.
    pub fn on(&self, machine: &str) -> DatasetSummary {
        DatasetSummary {
            name: self.name.clone(),
            facts: self.facts.clone(),
            points: self.points.iter().filter_map(|point| point.on(machine)).collect(),
            machines: self.machines.clone(),
        }
    }

    /// Whether a metric was measured.
    pub fn has(&self, metric: &Metric) -> bool {
        self.all(metric).next().is_some()
    }

    /// Names of the curves, in order of first appearance.
    pub fn series(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.points.iter().map(|point| point.series.as_str()).filter(|name| seen.insert(*name)).collect()
    }

    fn all<'a>(&'a self, metric: &'a Metric) -> impl Iterator<Item = &'a Series> {
        self.points.iter().flat_map(move |point| point.all(metric))
    }

    /// The `k` at which a search metric is shown: 10 if it was measured, otherwise the largest.
    pub fn shown_k(&self, metric: &Metric) -> Option<usize> {
        let ks: BTreeSet<usize> = self.all(metric).filter_map(|series| series.k).collect();
        if ks.contains(&10) { Some(10) } else { ks.last().copied() }
    }

    /// The first `k` that a search metric was measured with.
    pub fn first_k(&self, metric: &Metric) -> Option<usize> {
        self.all(metric).next().and_then(|series| series.k)
    }

    /// Whether a search metric was measured for this `k`.
    pub fn has_k(&self, metric: &Metric, k: usize) -> bool {
        self.all(metric).any(|series| series.k == Some(k))
    }

    /// Re-ranking factors that a metric was measured with, in ascending order.
    pub fn rerank_factors(&self, metric: &Metric) -> Vec<usize> {
        let factors: BTreeSet<usize> =
            self.all(metric).filter_map(|series| rerank_factor(series.path.as_deref()?)).collect();
        factors.into_iter().collect()
    }

    /// Points for which no other point of at most the same rate has a lower distortion.
    pub fn rate_distortion_front(&self) -> Vec<bool> {
        let nmse: Vec<Option<f64>> =
            self.points.iter().map(|p| p.estimate(Which::metric(&NMSE)).map(|e| e.value)).collect();
        let coordinates: Vec<Option<(f64, f64)>> =
            self.points.iter().zip(&nmse).map(|(p, nmse)| Some((-(p.bits as f64), -(*nmse)?))).collect();
        pareto(&coordinates)
    }
}

/// Aggregates the successful trials of all runs.
///
/// # Errors
/// Frames without the required columns.
pub fn summarize(runs: &[Results]) -> Result<Vec<DatasetSummary>, ReportError> {
    let mut measured = by_trial(runs, |_| true)?;
    let classes = Classes::of(runs);
    let mut datasets: Vec<DatasetSummary> = Vec::new();
    let several_devices = {
        let mut devices: Vec<&str> = runs.iter().flat_map(|r| &r.info.trials).map(|t| t.device.as_str()).collect();
        devices.sort_unstable();
        devices.dedup();
        devices.len() > 1
    };
    for (number, (run, measured)) in runs.iter().zip(&mut measured).enumerate() {
        for facts in &run.info.datasets {
            // Datasets of the same name with different vectors are different datasets.
            let position = datasets.iter().position(|d| d.facts.fingerprint == facts.fingerprint);
            let index = position.unwrap_or_else(|| {
                let taken = datasets.iter().any(|d| d.name == facts.name);
                let name = if taken { format!("{} ({})", facts.name, run.info.name) } else { facts.name.clone() };
                datasets.push(DatasetSummary {
                    name,
                    facts: facts.clone(),
                    points: Vec::new(),
                    machines: classes.names().to_vec(),
                });
                datasets.len() - 1
            });
            let points = &mut datasets[index].points;
            // Points of several runs stay separate; the names of their runs distinguish them.
            let mut known: HashMap<(String, &str, usize), usize> = HashMap::new();
            let suffix =
                |name: &str| if runs.len() > 1 { format!("{name} [{}]", run.info.name) } else { name.to_owned() };
            let succeeded = |e: &Ended| e.status == Status::Ok && e.trial.dataset == facts.name;
            let all = run.ended.iter().zip(measured.iter_mut()).enumerate();
            for (place, (ended, values)) in all.filter(|(_, (ended, _))| succeeded(ended)) {
                let trial = &ended.trial;
                let device = if several_devices { format!(", {}", trial.device) } else { String::new() };
                // The comma of a label such as "VQ, {codewords}" goes to the series.
                let named = trial.series.trim_end_matches([',', ';', ':', ' ']);
                let (label, series) = (suffix(&trial.label) + &device, suffix(named) + &device);
                // A point is one combination of method, parameters, device and threads; its seeds are aggregated.
                let identity = (format!("{} {}", trial.method, trial.params), trial.device.as_str(), trial.threads);
                let at = *known.entry(identity).or_insert(points.len());
                if at == points.len() {
                    points.push(Point {
                        series,
                        method: trial.method.clone(),
                        family: trial.family.clone(),
                        label,
                        device: trial.device.clone(),
                        threads: trial.threads,
                        bits: trial.bits_per_vector,
                        run: number,
                        trials: Vec::new(),
                        places: Vec::new(),
                        machines: Vec::new(),
                        origin: String::new(),
                        numbers: Vec::new(),
                        seeds: Vec::new(),
                        estimates: Mutex::default(),
                    });
                }
                points[at].trials.push(trial.id.clone());
                points[at].places.push(place);
                points[at].machines.push(classes.name(&ended.machine));
                points[at].numbers.push(trial.seed);
                points[at].seeds.push(std::mem::take(values));
            }
        }
    }
    let origins = Origins::new(runs, &classes);
    for dataset in &mut datasets {
        for point in &mut dataset.points {
            point.origin = origins.describe(&point.trials);
        }
        let order: HashMap<String, usize> =
            dataset.series().into_iter().enumerate().map(|(rank, name)| (name.to_owned(), rank)).collect();
        dataset.points.sort_by_key(|point| (order.get(&point.series).copied(), point.bits));
    }
    Ok(datasets)
}
