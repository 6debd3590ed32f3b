//! Which differences between methods are real: the comparisons of a report, and what their tests say.
//!
//! Methods are compared in pairs at about the same rate, in the metrics of the narrow table. One correction covers all
//! comparisons of a report. METHODOLOGY, "Is the difference real?", gives the reasons.

pub mod critical;
mod csv;
mod page;
mod savings;
mod unit;

use crate::figure::side_by_side::{by_rate, range};
use crate::statistics::{self, ALPHA, MethodComparison, Test, adjusted, deviation};
use crate::summary::{DatasetSummary, Point, Which};
use crate::table::{Column, columns};
use record::Metric;
use record::metric::{Dictionary, GAP_TO_BOUND_DB, NMSE, Noise};
use savings::SavingRow;
use std::collections::{BTreeMap, HashMap, HashSet};
use unit::Unit;

pub use csv::to_csv;
pub use page::{html, markdown};

/// Methods at one rate beyond which the number of pairs would serve nobody.
const MOST_METHODS: usize = 60;

/// All comparisons of a report.
pub struct Differences {
    /// Comparisons on one dataset, and over several.
    pub pairs: Vec<Pair>,
    /// Number of tests that share the level.
    pub tests: usize,
    /// Rate savings between curves of one dataset.
    pub savings: Vec<SavingRow>,
    /// Critical differences over datasets, or why there are none.
    pub critical: Result<Vec<critical::Diagram>, String>,
    /// What was not compared, in words.
    pub left_out: Vec<String>,
    /// Whether the report has the tables of all comparisons as CSV.
    pub csv: bool,
}

/// Two methods compared in one metric.
pub struct Pair {
    /// Name of the dataset; None over several.
    pub dataset: Option<String>,
    /// Number of datasets.
    datasets: usize,
    /// The rates of both, in words.
    rate: String,
    /// Label of the first method, the better one by its mean.
    pub a: String,
    /// Label of the second method.
    pub b: String,
    /// The metric.
    pub metric: &'static Metric,
    /// Number of neighbours requested.
    pub k: Option<usize>,
    /// Heading of the metric.
    title: String,
    unit: Unit,
    /// Standard deviation of the independent differences; None with a single one.
    deviation: Option<f64>,
    comparison: MethodComparison,
    /// The p-value after Holm's correction; None without a test.
    adjusted: Option<f64>,
    /// Whether A is the best method of its group; pages show these pairs only.
    with_best: bool,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DifferenceVerdict {
    /// The first method is better.
    A,
    /// The second method is better.
    B,
    /// No difference was seen.
    Same,
    /// Too few pairs for a test.
    NotTested,
}

impl Pair {
    /// The verdict at 5% after Holm's correction; of methods without randomness, the plain order.
    pub fn verdict(&self) -> DifferenceVerdict {
        let difference = self.comparison.difference.value;
        let larger_is_better = self.metric.larger_is_better() == Some(true);
        let better = if (difference > 0.0) == larger_is_better { DifferenceVerdict::A } else { DifferenceVerdict::B };
        match (self.comparison.test, self.adjusted) {
            (Test::Exact, _) if difference != 0.0 => better,
            (Test::TooFew { .. }, _) => DifferenceVerdict::NotTested,
            (_, Some(p)) if p <= ALPHA && difference != 0.0 => better,
            _ => DifferenceVerdict::Same,
        }
    }

    /// Number of independent pairs behind the comparison.
    fn count(&self) -> usize {
        self.comparison.difference.count
    }
}

/// Whether differences of a column are tested: quality on the method's own search path. Differences of the gap to the
/// bound are those of the distortion.
fn tested(column: &Column) -> bool {
    let metric = column.metric;
    column.essential
        && column.path.is_none()
        && metric.noise == Noise::Exact
        && metric.larger_is_better().is_some()
        && !metric.unit.starts_with("bit")
        && metric.name != GAP_TO_BOUND_DB.name
}

/// The metric whose comparisons decide a column of the narrow table; None if it is not tested.
pub fn decided_by(column: &Column) -> Option<&'static Metric> {
    if column.metric.name == GAP_TO_BOUND_DB.name { Some(&NMSE) } else { tested(column).then_some(column.metric) }
}

/// Points of one dataset that are compared with each other: of about the same rate, on the same device. Quality does
/// not depend on the number of threads, so that a label counts once.
pub fn groups(dataset: &DatasetSummary) -> Vec<Vec<&Point>> {
    let mut devices: Vec<&str> = dataset.points.iter().map(|point| point.device.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    let of_device = |device: &str| {
        let mut seen: HashSet<(&str, usize)> = HashSet::new();
        let of_device = dataset.points.iter().filter(|point| point.device == device && point.rate().is_some());
        let points: Vec<&Point> = of_device.filter(|point| seen.insert((&point.label, point.bits))).collect();
        by_rate(&points)
    };
    devices.into_iter().flat_map(of_device).filter(|group| group.len() > 1).collect()
}

/// The raw material of a comparison: both points and their differences on each dataset.
struct Draft<'a> {
    points: (&'a Point, &'a Point),
    names: Vec<&'a str>,
    bits: Vec<usize>,
    title: String,
    metric: &'static Metric,
    k: Option<usize>,
    differences: Vec<Vec<f64>>,
    with_best: bool,
}

/// Compares all pairs of methods of a report.
pub fn compare_all(datasets: &[DatasetSummary], dictionary: &Dictionary) -> Differences {
    let mut left_out = Vec::new();
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for dataset in datasets {
        let columns: Vec<Column> = columns(dataset, dictionary).into_iter().filter(tested).collect();
        for group in groups(dataset) {
            if group.len() > MOST_METHODS {
                let rate = range(group.iter().map(|p| p.bits as f64), "bit");
                left_out.push(format!(
                    "{}: the {} methods at {rate} are more than {MOST_METHODS}, too many for pairs",
                    dataset.name,
                    group.len()
                ));
                continue;
            }
            for column in &columns {
                drafts.extend(pairs_of(dataset, &group, column));
            }
        }
    }
    drafts.extend(over_datasets(&drafts));
    finished(drafts, datasets, left_out)
}

/// All pairs of a group in one metric; the better one by its mean comes first.
fn pairs_of<'a>(dataset: &'a DatasetSummary, group: &[&'a Point], column: &Column) -> Vec<Draft<'a>> {
    let which = Which { k: column.k, ..Which::metric(column.metric) };
    let larger_is_better = column.metric.larger_is_better() == Some(true);
    // The values of each seed are read once per point, not once per pair.
    let measured = |point: &&'a Point| {
        let seeds: BTreeMap<u64, f64> = point.per_seed(which).into_iter().collect();
        Some((*point, point.estimate(which)?.value, seeds))
    };
    let mut order: Vec<(&Point, f64, BTreeMap<u64, f64>)> = group.iter().filter_map(measured).collect();
    order.sort_by(|a, b| if larger_is_better { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
    let mut drafts = Vec::new();
    for (first, (a, _, ours)) in order.iter().enumerate() {
        for (b, _, theirs) in &order[first + 1..] {
            let differences = differences(ours, theirs, Unit::of(column.metric));
            if !differences.is_empty() {
                drafts.push(Draft {
                    points: (a, b),
                    names: vec![&dataset.name],
                    bits: vec![a.bits, b.bits],
                    title: column.title.clone(),
                    metric: column.metric,
                    k: column.k,
                    differences: vec![differences],
                    with_best: first == 0,
                });
            }
        }
    }
    drafts
}

/// Differences of one method from another for each seed that both have, in the unit of comparisons.
fn differences(ours: &BTreeMap<u64, f64>, theirs: &BTreeMap<u64, f64>, unit: Unit) -> Vec<f64> {
    let of_seed = |(seed, value): (&u64, &f64)| Some(unit.difference(*value, *theirs.get(seed)?));
    ours.iter().filter_map(of_seed).filter(|difference| difference.is_finite()).collect()
}

/// What methods are, across datasets: both labels in alphabetical order, device, metric and number of neighbours.
type Identity<'a> = (&'a str, &'a str, &'a str, &'static str, Option<usize>);

/// Comparisons of the same two methods on several datasets together.
fn over_datasets<'a>(drafts: &[Draft<'a>]) -> Vec<Draft<'a>> {
    let mut found: BTreeMap<Identity<'a>, Vec<(usize, bool)>> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        let (a, b) = draft.points;
        let turned = a.label > b.label;
        let (first, second) = if turned { (b, a) } else { (a, b) };
        let identity = (&first.label[..], &second.label[..], &a.device[..], draft.metric.name, draft.k);
        found.entry(identity).or_default().push((at, turned));
    }
    let mut together: Vec<Draft<'a>> = Vec::new();
    for members in found.into_values().filter(|members| members.len() > 1) {
        let sign = |turned: bool| if turned { -1.0 } else { 1.0 };
        let differences: Vec<Vec<f64>> = members
            .iter()
            .map(|&(at, turned)| drafts[at].differences[0].iter().map(|d| sign(turned) * d).collect())
            .collect();
        let (first, turned) = (&drafts[members[0].0], members[0].1);
        let points = if turned { (first.points.1, first.points.0) } else { first.points };
        together.push(Draft {
            points,
            names: members.iter().map(|&(at, _)| drafts[at].names[0]).collect(),
            bits: members.iter().flat_map(|&(at, _)| drafts[at].bits.clone()).collect(),
            title: first.title.clone(),
            metric: first.metric,
            k: first.k,
            differences,
            with_best: false,
        });
    }
    for draft in &mut together {
        // The better one first.
        let mean = draft.differences.iter().flatten().sum::<f64>();
        if (mean > 0.0) != (draft.metric.larger_is_better() == Some(true)) {
            draft.points = (draft.points.1, draft.points.0);
            draft.differences.iter_mut().flatten().for_each(|difference| *difference = -*difference);
        }
    }
    mark_best(&mut together);
    together
}

/// Marks the comparisons of the best methods over several datasets: those that are worse, by their means, than at most as
/// many others as each method that they were compared with. (Means over different datasets need not agree in one order.)
fn mark_best(together: &mut [Draft<'_>]) {
    let place =
        |draft: &Draft<'_>, label: &str| (label.to_owned(), draft.points.0.device.clone(), draft.metric.name, draft.k);
    let mut losses: HashMap<_, usize> = HashMap::new();
    for draft in together.iter() {
        losses.entry(place(draft, &draft.points.0.label)).or_default();
        *losses.entry(place(draft, &draft.points.1.label)).or_default() += 1;
    }
    let mut fewest = losses.clone();
    for draft in together.iter() {
        let (a, b) = (place(draft, &draft.points.0.label), place(draft, &draft.points.1.label));
        let (of_a, of_b) = (losses[&a], losses[&b]);
        fewest.entry(a).and_modify(|least| *least = (*least).min(of_b));
        fewest.entry(b).and_modify(|least| *least = (*least).min(of_a));
    }
    for draft in together.iter_mut() {
        let a = place(draft, &draft.points.0.label);
        draft.with_best = losses[&a] == fewest[&a];
    }
}

/// Tests the drafts, all at one level.
fn finished(drafts: Vec<Draft<'_>>, datasets: &[DatasetSummary], mut left_out: Vec<String>) -> Differences {
    // Whether a comparison can have a test does not depend on its values.
    let testable = |draft: &&Draft<'_>| {
        let alone = statistics::compare(&draft.differences, 1);
        alone.is_some_and(|c| matches!(c.test, Test::Student | Test::SignedRank { .. }))
    };
    let tests = drafts.iter().filter(testable).count();
    let mut pairs: Vec<Pair> = Vec::new();
    for draft in drafts {
        let Some(comparison) = statistics::compare(&draft.differences, tests) else { continue };
        let single = draft.names.len() == 1;
        pairs.push(Pair {
            dataset: single.then(|| draft.names[0].to_owned()),
            datasets: draft.names.len(),
            rate: range(draft.bits.iter().map(|bits| *bits as f64), "bit"),
            a: draft.points.0.label.clone(),
            b: draft.points.1.label.clone(),
            metric: draft.metric,
            k: draft.k,
            title: draft.title,
            unit: Unit::of(draft.metric),
            deviation: deviation(&draft.differences),
            comparison,
            adjusted: None,
            with_best: draft.with_best,
        });
    }
    let with_test: Vec<usize> = (0..pairs.len()).filter(|&at| pairs[at].comparison.p.is_some()).collect();
    let mut p: Vec<f64> = with_test.iter().filter_map(|&at| pairs[at].comparison.p).collect();
    // Comparisons that could have a test and got none count as not significant.
    p.resize(tests.max(p.len()), 1.0);
    for (&at, p) in with_test.iter().zip(adjusted(&p)) {
        pairs[at].adjusted = Some(p);
    }
    let mut savings = Vec::new();
    for dataset in datasets {
        let (rows, notes) = savings::of(dataset);
        savings.extend(rows);
        left_out.extend(notes);
    }
    Differences { pairs, tests, savings, critical: critical::diagrams(datasets), left_out, csv: false }
}

/// A metric with its number of neighbours, and the labels of two methods.
pub type Question<'a> = (&'static str, Option<usize>, &'a str, &'a str);

impl Differences {
    /// What the comparisons of methods on a dataset say, from the point of view of the first method; each pair is there
    /// in both orders.
    pub fn verdicts(&self, dataset: &str) -> HashMap<Question<'_>, DifferenceVerdict> {
        let turned = |verdict| match verdict {
            DifferenceVerdict::A => DifferenceVerdict::B,
            DifferenceVerdict::B => DifferenceVerdict::A,
            other => other,
        };
        let mut verdicts = HashMap::new();
        for pair in self.pairs.iter().filter(|pair| pair.dataset.as_deref() == Some(dataset)) {
            let (name, verdict) = (pair.metric.name, pair.verdict());
            verdicts.insert((name, pair.k, &pair.a[..], &pair.b[..]), verdict);
            verdicts.insert((name, pair.k, &pair.b[..], &pair.a[..]), turned(verdict));
        }
        verdicts
    }
}
