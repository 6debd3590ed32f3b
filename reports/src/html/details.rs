//! What the dialogs about methods and failed trials show, as far as a page has room for it.

use super::embedded::{Embedded, embedded, rounded};
use super::logs::{LogPart, PhaseNames};
use super::repeat;
use super::tables::failures;
use crate::machines::called;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use record::metric::Dictionary;
use record::{Ended, Results};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};

/// Bytes that tables and details may take together, and the details alone; if they need more, some are left out.
const DATA: usize = 1_000_000;
const DETAILS: usize = 600_000;

/// Points of a training curve.
const CURVE: usize = 40;

/// What a dialog about a point or a failed trial shows.
#[derive(Serialize)]
pub struct Details<'a> {
    /// What there was no room for, in words.
    left_out: String,
    /// Names of the phases of trials.
    phases: Vec<Vec<&'a str>>,
    datasets: Vec<DetailsPart<'a>>,
    /// The log of each trial that did not succeed, in the order of their table.
    failed: Vec<Option<LogPart<'a>>>,
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
    /// The log of each trial.
    logs: Vec<Option<LogPart<'a>>>,
}

type CurvePart<'a> = (&'a str, Vec<usize>, Vec<f64>, Vec<f64>, Vec<f64>);

/// A part of the details that a page may leave out; the first ones matter most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Phases,
    Words,
    Values,
    Stages,
    Curves,
}

impl Part {
    const ALL: [Part; 5] = [Part::Phases, Part::Words, Part::Values, Part::Stages, Part::Curves];

    fn name(self) -> &'static str {
        match self {
            Part::Phases => "how long the phases of trials took, and remarks on trials",
            Part::Words => "what trials wrote on standard error",
            Part::Values => "values that are no column of the table",
            Part::Stages => "values of single parts of the code",
            Part::Curves => "training curves",
        }
    }
}

/// The parts that a page holds, and those that it lacks although there is something to show.
struct Extent {
    held: BTreeSet<Part>,
    left_out: BTreeSet<Part>,
}

impl Extent {
    /// Whether the page holds this part, of which there is something.
    fn holds(&mut self, part: Part) -> bool {
        let holds = self.held.contains(&part);
        if !holds {
            self.left_out.insert(part);
        }
        holds
    }
}

/// Builds the details.
struct Builder<'a> {
    extent: Extent,
    phases: PhaseNames<'a>,
}

impl<'a> Builder<'a> {
    fn dataset(
        &mut self,
        runs: &'a [Results],
        dataset: &'a DatasetSummary,
        dictionary: &Dictionary,
    ) -> DetailsPart<'a> {
        let mut known: HashMap<(&str, String), usize> = HashMap::new();
        let mut quantities: Vec<QuantityPart<'a>> = Vec::new();
        let mut points = Vec::new();
        let several = dataset.timed_on().len() > 1;
        for point in &dataset.points {
            let mut values = Vec::new();
            for (quantity, e) in point.quantities(dictionary) {
                if quantity.stage.is_some() && !self.extent.holds(Part::Stages) || !self.extent.holds(Part::Values) {
                    continue;
                }
                let k = quantity.k.map(|k| format!("k = {k}"));
                let machine = quantity.machine.filter(|_| several).map(|class| called(dataset.number(class)));
                let of = [quantity.stage, k.as_deref(), quantity.path, machine.as_deref()];
                let of = of.into_iter().flatten().collect::<Vec<&str>>().join(", ");
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
            let learns = !point.courses().is_empty();
            let curves = if learns && self.extent.holds(Part::Curves) { curves(point) } else { vec![] };
            let trials: Vec<&Ended> =
                point.places.iter().filter_map(|place| runs.get(point.run)?.ended.get(*place)).collect();
            let mut logs: Vec<_> = trials.iter().map(|ended| self.log(ended)).collect();
            if logs.iter().all(Option::is_none) {
                logs.clear();
            }
            let yaml = trials.first().map_or(String::new(), |ended| repeat::method(&ended.trial));
            points.push(PointDetails { yaml, values, curves, logs });
        }
        DetailsPart { quantities, points }
    }

    /// The log of a trial, as far as there is room for it.
    fn log(&mut self, ended: &'a Ended) -> Option<LogPart<'a>> {
        let log = ended.log.as_ref().filter(|log| !log.is_empty())?;
        let has_words = !log.standard_error.is_empty();
        if !self.extent.holds(Part::Phases) {
            // Words stand below the phases.
            self.extent.left_out.extend(has_words.then_some(Part::Words));
            return None;
        }
        let words = has_words && self.extent.holds(Part::Words);
        self.phases.part(log, words)
    }
}

impl<'a> Details<'a> {
    /// What stands in a page that has no room for details.
    fn none() -> Details<'a> {
        let left_out = format!("parameters; the experiment that repeats a trial; {}", listed(Part::ALL));
        Details { left_out, phases: vec![], datasets: vec![], failed: vec![] }
    }

    fn new(
        runs: &'a [Results],
        datasets: &'a [DatasetSummary],
        dictionary: &Dictionary,
        held: &BTreeSet<Part>,
    ) -> Details<'a> {
        let digits = if held.len() == Part::ALL.len() { 3 } else { 2 };
        let extent = Extent { held: held.clone(), left_out: BTreeSet::new() };
        let mut builder = Builder { extent, phases: PhaseNames::new(digits) };
        let datasets = datasets.iter().map(|dataset| builder.dataset(runs, dataset, dictionary)).collect();
        let failed = failures(runs).map(|(_, ended)| builder.log(ended)).collect();
        let left_out = listed(builder.extent.left_out);
        Details { left_out, phases: builder.phases.finish(), datasets, failed }
    }

    /// As much as there is room for beside the tables: everything, or the parts that matter most.
    pub fn fitting(
        runs: &'a [Results],
        datasets: &'a [DatasetSummary],
        dictionary: &Dictionary,
        tables: &Embedded,
    ) -> Embedded {
        let room = DATA.saturating_sub(tables.len()).min(DETAILS);
        let with = |held: &BTreeSet<Part>| {
            Some(embedded(&Details::new(runs, datasets, dictionary, held))).filter(|found| found.len() <= room)
        };
        if let Some(everything) = with(&BTreeSet::from(Part::ALL)) {
            return everything;
        }
        let mut held = BTreeSet::new();
        let Some(mut best) = with(&held) else { return embedded(&Details::none()) };
        for part in Part::ALL {
            held.insert(part);
            // All parts together have been tried above.
            let found = if held.len() < Part::ALL.len() { with(&held) } else { None };
            if let Some(found) = found {
                best = found;
                continue;
            }
            held.remove(&part);
            // What follows the values takes more room than they do.
            if part >= Part::Values {
                break;
            }
        }
        best
    }
}

/// The names of parts, in words.
fn listed(parts: impl IntoIterator<Item = Part>) -> String {
    parts.into_iter().map(Part::name).collect::<Vec<_>>().join("; ")
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
