//! The values of a run for services that track benchmarks over time: Bencher and github-action-benchmark. Such a service
//! keeps the baseline itself, and needs only the values of the newest run.
//!
//! Only metrics that the gate compares are written: they have a direction, and a change of them means something.

use crate::Artifact;
use crate::compare::gated;
use crate::number::significant;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Path, Point, Which};
use record::Metric;
use record::metric::Dictionary;
use serde::Serialize;
use std::collections::BTreeMap;

/// One tracked value.
struct Tracked<'a> {
    /// Dataset and method.
    subject: String,
    metric: &'static Metric,
    k: Option<usize>,
    path: Option<&'a str>,
    estimate: Estimate,
    seeds: usize,
}

impl Tracked<'_> {
    /// Name of the metric with its `k` and search path, joined by `separator`.
    fn measure(&self, separator: &str) -> String {
        let k = self.k.map(|k| format!("{separator}k{k}")).unwrap_or_default();
        let path = self.path.map(|path| format!("{separator}{path}")).unwrap_or_default();
        format!("{}{k}{path}", self.metric.name)
    }
}

/// All gated values, by dataset and point, in the order of the dictionary.
fn tracked<'a>(datasets: &'a [DatasetSummary], dictionary: &Dictionary) -> Vec<Tracked<'a>> {
    let mut all = Vec::new();
    for dataset in datasets {
        let classes = dataset.timed_on();
        let several = classes.len() > 1;
        for point in &dataset.points {
            let alike = dataset.points.iter().filter(|other| other.label == point.label).count();
            let threads = if alike > 1 { format!(" · {} threads", point.threads) } else { String::new() };
            let subject = format!("{} · {}{threads}", dataset.name, point.label);
            for timed in [false, true] {
                for (metric, _) in gated(dictionary, timed) {
                    all.extend(of_point(point, metric, &subject, None).into_iter().filter(|_| !timed || !several));
                    // A service compares everything of one name: times of other machines have another one.
                    for class in classes.iter().filter(|_| timed && several) {
                        all.extend(of_point(point, metric, &format!("{subject} · {class}"), Some(class)));
                    }
                }
            }
        }
    }
    all
}

/// The values of a metric for one point: one for each `k` and each search path. `machine` is the class of machines of a time,
/// if there are several.
fn of_point<'a>(point: &'a Point, metric: &'static Metric, subject: &str, machine: Option<&str>) -> Vec<Tracked<'a>> {
    let mut kinds: Vec<(Option<usize>, Option<&str>)> = Vec::new();
    for trial in 0..point.seed_count() {
        for series in point.values(trial, metric).iter().filter(|series| series.stage.is_none()) {
            let kind = (series.k, series.path.as_deref());
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
    let estimate = |(k, path): (Option<usize>, Option<&'a str>)| {
        let which = Which { metric, k, path: path.map_or(Path::Native, Path::Named), machine };
        let estimate = point.estimate(which).filter(|estimate| estimate.value.is_finite())?;
        let seeds = point.machines.iter().filter(|name| machine.is_none_or(|machine| machine == &***name)).count();
        Some(Tracked { subject: subject.to_owned(), metric, k, path, estimate, seeds })
    };
    kinds.into_iter().filter_map(estimate).collect()
}

/// A metric of Bencher's format (<https://bencher.dev/docs/reference/bencher-metric-format>). The bounds are those of
/// the 95% interval over seeds.
#[derive(Serialize)]
struct BencherMetric {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

/// An entry of github-action-benchmark (<https://github.com/benchmark-action/github-action-benchmark>).
#[derive(Serialize)]
struct ActionEntry {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

/// The file for Bencher: benchmarks by dataset and method, their measures by metric.
///
/// # Errors
/// None in practice; an error of the serializer.
pub fn bencher(datasets: &[DatasetSummary], dictionary: &Dictionary) -> Result<Artifact, serde_json::Error> {
    let mut benchmarks: BTreeMap<String, BTreeMap<String, BencherMetric>> = BTreeMap::new();
    for tracked in tracked(datasets, dictionary) {
        // The slug of a measure.
        let measure = tracked.measure("-").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let bounds = (tracked.seeds > 1).then_some(tracked.estimate);
        let metric = BencherMetric {
            value: tracked.estimate.value,
            lower_value: bounds.map(|estimate| estimate.low).filter(|low| low.is_finite()),
            upper_value: bounds.map(|estimate| estimate.high).filter(|high| high.is_finite()),
        };
        benchmarks.entry(tracked.subject).or_default().insert(measure, metric);
    }
    Ok(Artifact { path: "bencher.json".into(), bytes: serde_json::to_vec_pretty(&benchmarks)? })
}

/// The two files for github-action-benchmark: one for its tool `customSmallerIsBetter`, one for `customBiggerIsBetter`.
///
/// # Errors
/// None in practice; an error of the serializer.
pub fn benchmark_action(
    datasets: &[DatasetSummary],
    dictionary: &Dictionary,
) -> Result<[Artifact; 2], serde_json::Error> {
    let all = tracked(datasets, dictionary);
    let file = |larger_is_better: bool, path: &str| {
        let wanted = all.iter().filter(|tracked| tracked.metric.larger_is_better() == Some(larger_is_better));
        let entries: Vec<ActionEntry> = wanted
            .map(|tracked| {
                let Estimate { value, low, high, .. } = tracked.estimate;
                let half = 0.5 * (high - low);
                ActionEntry {
                    name: format!("{} · {}", tracked.subject, tracked.measure(" ")),
                    unit: tracked.metric.unit,
                    value,
                    range: (tracked.seeds > 1 && half.is_finite()).then(|| format!("± {}", significant(half, 3))),
                    extra: format!("{}, {} seeds", tracked.metric.noise.as_str(), tracked.seeds),
                }
            })
            .collect();
        Ok(Artifact { path: path.into(), bytes: serde_json::to_vec_pretty(&entries)? })
    };
    Ok([file(false, "benchmark-action/smaller-is-better.json")?, file(true, "benchmark-action/bigger-is-better.json")?])
}
