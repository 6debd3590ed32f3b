//! What the script of the page knows: the tables of all methods, and the details of each, in a form that a page of ten
//! thousand trials has room for.

use super::repeat::{self, Frame};
use crate::markdown::machine;
use crate::provenance::revision;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use crate::table::{Column, columns};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use maud::{Markup, PreEscaped, html};
use record::metric::Dictionary;
use record::{Ended, Results};
use serde::Serialize;
use std::collections::HashMap;
use std::io::Write;

/// Data of more bytes than this is packed.
const PLAIN: usize = 150_000;

/// Bytes that the tables may take, as they stand in the page; if they need more, their numbers have fewer digits.
const TABLES: usize = 800_000;

/// Bytes that tables and details may take together, and the details alone; if they need more, some are left out.
const DATA: usize = 1_000_000;
const DETAILS: usize = 600_000;

/// Points of a training curve.
const CURVE: usize = 40;

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
    device: &'a str,
    threads: usize,
    bits: usize,
    trial: TrialPart<'a>,
    status: &'a str,
    reason: &'a str,
    yaml: String,
}

/// What a dialog about a point shows.
#[derive(Serialize, Default)]
pub struct Details<'a> {
    /// What there was no room for, in words.
    left_out: &'static str,
    datasets: Vec<DetailsPart<'a>>,
}

#[derive(Serialize)]
struct DetailsPart<'a> {
    quantities: Vec<QuantityPart<'a>>,
    points: Vec<PointDetails<'a>>,
}

#[derive(Serialize)]
struct QuantityPart<'a> {
    metric: &'a str,
    unit: &'a str,
    meaning: &'a str,
    of: String,
}

#[derive(Serialize)]
struct PointDetails<'a> {
    yaml: String,
    /// Index of a quantity, its value, the ends of its interval, and the number of observations.
    values: Vec<(usize, f64, f64, f64, usize)>,
    /// Name of a training metric; iterations; values; lower and upper ends of the intervals.
    curves: Vec<CurvePart<'a>>,
}

type CurvePart<'a> = (&'a str, Vec<usize>, Vec<f64>, Vec<f64>, Vec<f64>);

/// Significant digits of the values of tables, and of the ends of intervals; without digits there are no intervals. Cells
/// are shown with the same text in any case.
type Digits = (usize, usize);

/// From exact to short.
const DIGITS: [Digits; 4] = [(6, 5), (5, 3), (4, 0), (3, 0)];

/// A value with this many significant digits.
fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

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
        let failed = runs.iter().enumerate().flat_map(|(number, run)| run.failures().map(move |ended| (number, ended)));
        let failed = failed.map(|(run, ended)| FailedPart {
            run,
            dataset: &ended.trial.dataset,
            label: &ended.trial.label,
            method: &ended.trial.method,
            device: &ended.trial.device,
            threads: ended.trial.threads,
            bits: ended.trial.bits_per_vector,
            trial: machines.trial(ended),
            status: ended.status.as_str(),
            reason: ended.reason.as_deref().unwrap_or(""),
            yaml: repeat::method(&ended.trial),
        });
        let failed = failed.collect();
        let runs = runs.iter().map(|run| RunPart { name: &run.info.name, repeat: Frame::new(run) }).collect();
        Tables { runs, machines: machines.texts, datasets, failed }
    }
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

/// How much of the details a page holds.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Extent {
    Parameters,
    Whole,
    Stages,
    Curves,
}

impl Extent {
    const ALL: [Extent; 4] = [Extent::Curves, Extent::Stages, Extent::Whole, Extent::Parameters];

    fn left_out(self) -> &'static str {
        match self {
            Extent::Curves => "",
            Extent::Stages => "training curves",
            Extent::Whole => "training curves and values of single parts of the code",
            Extent::Parameters => "training curves and values that are no column of the table",
        }
    }
}

impl<'a> Details<'a> {
    fn new(
        runs: &'a [Results],
        datasets: &'a [DatasetSummary],
        dictionary: &Dictionary,
        extent: Extent,
    ) -> Details<'a> {
        let part = |dataset: &'a DatasetSummary| {
            let mut known: HashMap<(&str, String), usize> = HashMap::new();
            let mut quantities: Vec<QuantityPart<'a>> = Vec::new();
            let points = dataset.points.iter().map(|point| {
                let mut values = Vec::new();
                let wanted = extent > Extent::Parameters;
                for (quantity, e) in point.quantities(dictionary).into_iter().filter(|_| wanted) {
                    if quantity.stage.is_some() && extent < Extent::Stages {
                        continue;
                    }
                    let k = quantity.k.map(|k| format!("k = {k}"));
                    let of: Vec<&str> = [quantity.stage, k.as_deref(), quantity.path].into_iter().flatten().collect();
                    let of = of.join(", ");
                    let next = quantities.len();
                    let at = *known.entry((quantity.metric.name, of.clone())).or_insert(next);
                    if at == next {
                        let metric = quantity.metric;
                        quantities.push(QuantityPart {
                            metric: metric.name,
                            unit: if metric.unit == "1" { "" } else { metric.unit },
                            meaning: metric.meaning,
                            of,
                        });
                    }
                    values.push((at, rounded(e.value, 6), rounded(e.low, 5), rounded(e.high, 5), e.count));
                }
                let curves = if extent < Extent::Curves { vec![] } else { curves(point) };
                let first = point.places.first().and_then(|place| runs.get(point.run)?.ended.get(*place));
                PointDetails { yaml: first.map_or(String::new(), |ended| repeat::method(&ended.trial)), values, curves }
            });
            let points = points.collect();
            DetailsPart { quantities, points }
        };
        Details { left_out: extent.left_out(), datasets: datasets.iter().map(part).collect() }
    }

    /// As much as there is room for beside the tables.
    pub fn fitting(
        runs: &'a [Results],
        datasets: &'a [DatasetSummary],
        dictionary: &Dictionary,
        tables: &Embedded,
    ) -> Embedded {
        let room = DATA.saturating_sub(tables.len()).min(DETAILS);
        let all = || Extent::ALL.into_iter().map(|extent| embedded(&Details::new(runs, datasets, dictionary, extent)));
        all().find(|found| found.len() <= room).unwrap_or_else(|| embedded(&Details::default()))
    }
}

/// The training curves of a point, each with a few of its points.
fn curves(point: &Point) -> Vec<CurvePart<'_>> {
    let thinned = |name| {
        let course = point.course(name);
        let last = course.len().saturating_sub(1);
        let count = course.len().min(CURVE);
        let at = (0..count).map(|i| if count > 1 { i * last / (count - 1) } else { 0 });
        let chosen: Vec<_> = at.filter_map(|i| course.get(i)).collect();
        let part = |of: fn(&Estimate) -> f64| chosen.iter().map(|(_, e)| rounded(of(e), 4)).collect::<Vec<f64>>();
        let bands = chosen.iter().any(|(_, e)| e.count > 1);
        let ends = |of: fn(&Estimate) -> f64| if bands { part(of) } else { vec![] };
        (name, chosen.iter().map(|(i, _)| i + 1).collect(), part(|e| e.value), ends(|e| e.low), ends(|e| e.high))
    };
    point.courses().into_iter().map(thinned).filter(|curve: &CurvePart<'_>| curve.1.len() > 1).collect()
}

/// Data as it stands in a page.
pub struct Embedded {
    /// JSON, or JSON that is deflated and written in base64.
    text: String,
    packed: bool,
}

/// Data as text: plain JSON if it is short, otherwise packed.
pub fn embedded(data: &impl Serialize) -> Embedded {
    // Plain structures of numbers and texts: there is nothing that JSON cannot hold.
    let json = serde_json::to_string(data).unwrap_or_default();
    if json.len() <= PLAIN {
        // Within a script element, `</script>` and `<!--` would have a meaning.
        return Embedded { text: json.replace('<', "\\u003c"), packed: false };
    }
    Embedded { text: packed(json.as_bytes()), packed: true }
}

/// Bytes deflated, in base64.
pub fn packed(bytes: &[u8]) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to a vector cannot fail.
    let deflated = encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default();
    STANDARD.encode(deflated)
}

impl Embedded {
    /// Its bytes in the page.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// The element that holds it.
    pub fn element(&self, id: &str) -> Markup {
        let kind = if self.packed { "text/plain" } else { "application/json" };
        html! { script id=(id) type=(kind) { (PreEscaped(&self.text)) } }
    }
}
