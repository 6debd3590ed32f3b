//! What the dialog about a method shows, as far as a page has room for it.

use super::embedded::{Embedded, embedded, rounded};
use super::repeat;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use record::Results;
use record::metric::Dictionary;
use serde::Serialize;
use std::collections::HashMap;

/// Bytes that tables and details may take together, and the details alone; if they need more, some are left out.
const DATA: usize = 1_000_000;
const DETAILS: usize = 600_000;

/// Points of a training curve.
const CURVE: usize = 40;

/// What a dialog about a point shows.
#[derive(Serialize)]
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
    /// What stands in a page that has no room for details.
    fn none() -> Details<'a> {
        let left_out = "parameters, the experiment that repeats a trial, training curves, and values that are no column of the table";
        Details { left_out, datasets: vec![] }
    }

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
        all().find(|found| found.len() <= room).unwrap_or_else(|| embedded(&Details::none()))
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
