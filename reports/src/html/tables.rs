//! The tables of all methods for the script of the page, in a form that a page of ten thousand trials has room for.

use super::embedded::{Embedded, embedded, rounded};
use super::logs::start;
use super::repeat::{self, Frame};
use crate::markdown::machine;
use crate::provenance::revision;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use crate::table::{Column, columns};
use record::metric::Dictionary;
use record::{Ended, Results};
use serde::Serialize;
use std::collections::HashMap;

/// Bytes that the tables may take, as they stand in the page; if they need more, their numbers have fewer digits.
const TABLES: usize = 700_000;

/// Characters of the reason why a trial failed, and those if there are very many such trials.
const REASON: usize = 4000;
const SHORT_REASON: usize = 200;
const MANY_FAILED: usize = 500;

/// What the tables show.
#[derive(Serialize)]
pub struct Tables<'a> {
    runs: Vec<RunPart<'a>>,
    machines: Vec<String>,
    datasets: Vec<DatasetPart<'a>>,
    failed: Vec<FailedPart<'a>>,
}

#[derive(Serialize)]
struct RunPart<'a> {
    name: &'a str,
    repeat: Option<Frame>,
}

#[derive(Serialize)]
struct DatasetPart<'a> {
    name: &'a str,
    remarks: Vec<String>,
    columns: Vec<ColumnPart>,
    points: Vec<PointPart<'a>>,
}

/// A column with the cells of all points: by column, because equal things beside each other pack well.
#[derive(Serialize)]
struct ColumnPart {
    key: String,
    title: String,
    meaning: String,
    /// The order that a click on the heading gives first.
    first: &'static str,
    essential: bool,
    text: Vec<String>,
    value: Vec<Option<f64>>,
    /// Ends of the interval over seeds and the number of observations; empty where there is none.
    interval: Vec<Option<(f64, f64, usize)>>,
    /// The interval over vectors or queries.
    sampled: Vec<Option<(f64, f64, usize)>>,
    /// What they are.
    of: &'static str,
}

#[derive(Serialize)]
struct PointPart<'a> {
    label: &'a str,
    series: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'a str>,
    device: &'a str,
    threads: usize,
    bits: usize,
    front: bool,
    run: usize,
    trials: Vec<TrialPart<'a>>,
}

/// A trial: id, seed, seconds, and the index of its machine.
type TrialPart<'a> = (&'a str, u64, f64, usize);

#[derive(Serialize)]
struct FailedPart<'a> {
    run: usize,
    dataset: &'a str,
    label: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'a str>,
    device: &'a str,
    threads: usize,
    bits: usize,
    trial: TrialPart<'a>,
    status: &'a str,
    reason: &'a str,
    yaml: String,
}

/// Significant digits of the values of tables, and of the ends of intervals; without digits there are no intervals. Cells
/// are shown with the same text in any case.
type Digits = (usize, usize);

/// From exact to short.
const DIGITS: [Digits; 4] = [(6, 5), (5, 3), (4, 0), (3, 0)];

impl<'a> Tables<'a> {
    /// The tables of a report with as many digits as there is room for; `fronts` are the points of each dataset on its
    /// front.
    pub fn fitting(
        runs: &'a [Results],
        datasets: &'a [DatasetSummary],
        fronts: &[Vec<bool>],
        dictionary: &Dictionary,
    ) -> Embedded {
        let with = |digits| embedded(&Tables::new(runs, datasets, fronts, dictionary, digits));
        let mut found = with(DIGITS[0]);
        for digits in &DIGITS[1..] {
            if found.len() > TABLES {
                found = with(*digits);
            }
        }
        found
    }

    fn new(
        runs: &'a [Results],
        datasets: &'a [DatasetSummary],
        fronts: &[Vec<bool>],
        dictionary: &Dictionary,
        digits: Digits,
    ) -> Tables<'a> {
        let mut machines = Machines::default();
        let parts = datasets.iter().zip(fronts).map(|(dataset, front)| {
            let point = |(point, on_front): (&'a Point, &bool)| PointPart {
                label: &point.label,
                series: &point.series,
                method: &point.method,
                family: point.family.as_deref(),
                device: &point.device,
                threads: point.threads,
                bits: point.bits,
                front: *on_front,
                run: point.run,
                trials: point
                    .places
                    .iter()
                    .filter_map(|place| runs.get(point.run)?.ended.get(*place))
                    .map(|ended| machines.trial(ended))
                    .collect(),
            };
            DatasetPart {
                name: &dataset.name,
                remarks: dataset.facts.remarks(),
                columns: columns(dataset, dictionary).iter().map(|column| filled(column, dataset, digits)).collect(),
                points: dataset.points.iter().zip(front).map(point).collect(),
            }
        });
        let datasets = parts.collect();
        let failed: Vec<(usize, &Ended)> = failures(runs).collect();
        let most = if failed.len() > MANY_FAILED { SHORT_REASON } else { REASON };
        let failed = failed.into_iter().map(|(run, ended)| FailedPart {
            run,
            dataset: &ended.trial.dataset,
            label: &ended.trial.label,
            method: &ended.trial.method,
            family: ended.trial.family.as_deref(),
            device: &ended.trial.device,
            threads: ended.trial.threads,
            bits: ended.trial.bits_per_vector,
            trial: machines.trial(ended),
            status: ended.status.as_str(),
            reason: start(ended.reason.as_deref().unwrap_or(""), most),
            yaml: repeat::method(&ended.trial),
        });
        let failed = failed.collect();
        let runs = runs.iter().map(|run| RunPart { name: &run.info.name, repeat: Frame::new(run) }).collect();
        Tables { runs, machines: machines.texts, datasets, failed }
    }
}

/// The trials that did not succeed, in the order of the table, each with the number of its run.
pub fn failures(runs: &[Results]) -> impl Iterator<Item = (usize, &Ended)> {
    runs.iter().enumerate().flat_map(|(number, run)| run.failures().map(move |ended| (number, ended)))
}

/// The distinct machines and revisions, as texts.
#[derive(Default)]
struct Machines {
    known: HashMap<String, usize>,
    texts: Vec<String>,
}

impl Machines {
    fn trial<'a>(&mut self, ended: &'a Ended) -> TrialPart<'a> {
        let text = format!("{}; revision {}", machine(&ended.machine), revision(&ended.machine));
        let next = self.texts.len();
        let at = *self.known.entry(text.clone()).or_insert(next);
        if at == next {
            self.texts.push(text);
        }
        (&ended.trial.id, ended.trial.seed, rounded(ended.wall_seconds, 3), at)
    }
}

/// A column with its cells.
fn filled(column: &Column, dataset: &DatasetSummary, (digits, ends): Digits) -> ColumnPart {
    let cells: Vec<_> = dataset.points.iter().map(|point| column.cell(point)).collect();
    let seeds =
        |e: &Estimate| (e.count > 1 && ends > 0).then(|| (rounded(e.low, ends), rounded(e.high, ends), e.count));
    let interval: Vec<_> = cells.iter().map(|cell| cell.estimate.as_ref().and_then(seeds)).collect();
    let mut of = "";
    let sampled = dataset.points.iter().map(|point| {
        let sampled = column.sampled(point, dataset).filter(|_| ends > 0)?;
        of = sampled.of;
        Some((rounded(sampled.low, ends), rounded(sampled.high, ends), sampled.count))
    });
    let sampled: Vec<_> = sampled.collect();
    fn unless_empty<T>(all: Vec<Option<T>>) -> Vec<Option<T>> {
        if all.iter().any(Option::is_some) { all } else { Vec::new() }
    }
    ColumnPart {
        key: column.key.clone(),
        title: column.title.clone(),
        meaning: column.meaning.clone(),
        first: if column.metric.larger_is_better() == Some(true) { "descending" } else { "ascending" },
        essential: column.essential,
        value: cells.iter().map(|cell| cell.estimate.map(|e| rounded(e.value, digits))).collect(),
        text: cells.into_iter().map(|cell| cell.text).collect(),
        interval: unless_empty(interval),
        sampled: unless_empty(sampled),
        of,
    }
}
