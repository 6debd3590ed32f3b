//! Training curves over epochs: one panel per codebook size, with one curve per method.

use super::axis::Axis;
use super::hover::Origin;
use super::panels::{Panel, PanelFigure};
use super::plot::{Plot, PlotSeries, ReferenceLine, Side};
use super::side_by_side::{PointGroup, PointGroups, grouped};
use super::style::looks_of_methods;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use record::Metric;
use record::metric::{TRAINING, TRAINING_MSE, TRAINING_PERPLEXITY, TRAINING_USAGE};

/// The shown metric.
#[derive(Clone, Copy, PartialEq)]
pub enum TrainingMetric {
    Usage,
    Perplexity,
    Distortion,
}

impl TrainingMetric {
    fn metric(self) -> &'static Metric {
        match self {
            TrainingMetric::Usage => &TRAINING_USAGE,
            TrainingMetric::Perplexity => &TRAINING_PERPLEXITY,
            TrainingMetric::Distortion => &TRAINING_MSE,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            TrainingMetric::Usage => "Share of the codewords that at least one training vector is assigned to",
            TrainingMetric::Perplexity => {
                "Perplexity of the codewords that the training vectors go to, which is at most the size of the codebook"
            }
            TrainingMetric::Distortion => "Squared error of the training vectors over the variance of the base vectors",
        }
    }
}

/// Metrics that have their own figure.
const KNOWN: [TrainingMetric; 3] = [TrainingMetric::Usage, TrainingMetric::Perplexity, TrainingMetric::Distortion];

/// Maximum number of loss panels in one figure.
const MOST_LOSSES: usize = 8;

pub fn draw(dataset: &DatasetSummary, course: TrainingMetric) -> Result<Option<Sketch>, ReportError> {
    // Distortion is shown as a fraction of the variance, comparable across datasets and with the leaderboard.
    let unit = if course == TrainingMetric::Distortion { dataset.facts.variance } else { 1.0 };
    let points: Vec<&Point> = dataset.points.iter().filter(|p| p.course(course.metric().name).len() > 1).collect();
    if points.is_empty() || !(unit > 0.0 && unit.is_finite()) {
        return Ok(None);
    }
    let groups = grouped(&points);
    let names = Names::new(dataset, &groups);
    let curves: Vec<Vec<PlotSeries>> =
        groups.all.iter().map(|group| names.curves(group, |point| point.course(course.metric().name), unit)).collect();
    let values = || curves.iter().flatten().flat_map(|c| &c.points).map(|(_, e)| e.value);
    let y = match course {
        TrainingMetric::Usage => Some(Axis::percent()),
        TrainingMetric::Perplexity => {
            Axis::powers_of_two(values().chain(groups.all.iter().filter_map(|g| g.codewords)))
        }
        TrainingMetric::Distortion => Axis::fitted(values()),
    };
    let Some(y) = y else { return Ok(None) };
    let (x, x_title) = epochs(&points, curves.iter().flatten());
    let panels = groups.all.iter().zip(curves).map(|(group, curves)| {
        let size = group.codewords.filter(|_| course == TrainingMetric::Perplexity);
        let references = size.map(|size| ReferenceLine {
            name: "all codewords equally often".into(),
            points: vec![(x.low(), size), (x.high(), size)],
            side: Side::Legend,
        });
        let plot = Plot::new(x.clone(), y.clone(), curves, references.into_iter().collect());
        Panel { name: group.name.clone(), plot }
    });
    let panels = PanelFigure {
        x_title: x_title.into(),
        y_title: course.metric().axis(),
        panels: panels.collect(),
        shared: true,
    };
    let left_out = match groups.found - groups.all.len() {
        0 => String::new(),
        n => format!(" {n} of {} panels are left out, evenly.", groups.found),
    };
    let caption = format!(
        "{}, on {}, at the end of each {x_title}. Means over seeds with 95% intervals as bands, as far as \
         all seeds went.{left_out}",
        course.meaning(),
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Panels(panels) }))
}

/// All other training metrics: a panel per metric, for the methods of one codebook size.
pub fn draw_losses(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let is_loss = |name: &&str| KNOWN.iter().all(|course| course.metric().name != *name);
    let mut names: Vec<&str> = Vec::new();
    for name in dataset.points.iter().flat_map(|p| p.courses()).filter(is_loss) {
        if !names.contains(&name) && dataset.points.iter().any(|p| p.course(name).len() > 1) {
            names.push(name);
        }
    }
    let found = names.len();
    names.truncate(MOST_LOSSES);
    let points: Vec<&Point> =
        dataset.points.iter().filter(|p| names.iter().any(|name| p.course(name).len() > 1)).collect();
    let groups = grouped(&points);
    // All sizes together would give too many curves: take the group with the most methods, and of several such groups
    // the largest size.
    let Some(group) = groups.all.iter().max_by_key(|group| group.points.len()) else { return Ok(None) };
    let curves_of = Names::new(dataset, &groups);
    let curves: Vec<Vec<PlotSeries>> =
        names.iter().map(|name| curves_of.curves(group, |point| point.course(name), 1.0)).collect();
    let (x, x_title) = epochs(&group.points, curves.iter().flatten());
    let panels = names.iter().zip(curves).filter_map(|(name, curves)| {
        let y = Axis::fitted(curves.iter().flat_map(|c| &c.points).map(|(_, e)| e.value))?;
        let name = name.trim_start_matches(TRAINING.family().unwrap_or_default()).replace('_', " ");
        Some(Panel { name, plot: Plot::new(x.clone(), y, curves, vec![]) })
    });
    let panels: Vec<Panel> = panels.collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let shown = if panels.len() < found {
        format!(" {} of {found} quantities are shown.", panels.len())
    } else {
        String::new()
    };
    let panels = PanelFigure { x_title: x_title.into(), y_title: String::new(), panels, shared: false };
    let caption = format!(
        "What else methods with {} wrote while training on {}, at the end of each {x_title}; each panel has its own \
         scale. Means over seeds with 95% intervals as bands.{shown}",
        group.name, dataset.name
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Panels(panels) }))
}

/// The axis of epochs and its name; classical methods have iterations instead.
fn epochs<'a>(points: &[&Point], curves: impl Iterator<Item = &'a PlotSeries>) -> (Axis, &'static str) {
    let learned = |point: &&&Point| point.learns();
    let title = match points.iter().filter(learned).count() {
        0 => "iteration",
        n if n == points.len() => "epoch",
        _ => "epoch or iteration",
    };
    let last = curves.filter_map(|c| c.points.last()).map(|(number, _)| *number as usize).max();
    (Axis::counts(last.unwrap_or(1)), title)
}

/// Names and colours of curves: those of the series, as in other figures; those of the points if a panel has several
/// points of one series.
struct Names<'a> {
    /// Whether curves have the names of their series.
    series: bool,
    /// Series and name of each curve.
    names: Vec<(&'a str, &'a str)>,
    looks: Vec<usize>,
}

impl<'a> Names<'a> {
    fn new(dataset: &'a DatasetSummary, groups: &PointGroups<'a>) -> Names<'a> {
        let names: Vec<(&str, &str)> = if groups.apart {
            dataset.series().into_iter().map(|series| (series, series)).collect()
        } else {
            groups.all.iter().flat_map(|group| &group.points).map(|p| (p.series.as_str(), p.label.as_str())).collect()
        };
        Names { series: groups.apart, looks: looks_of_methods(&names), names }
    }

    fn curves(
        &self,
        group: &PointGroup<'_>,
        course: impl Fn(&Point) -> Vec<(usize, Estimate)>,
        unit: f64,
    ) -> Vec<PlotSeries> {
        let curve = |point: &&Point| {
            let name = if self.series { &point.series } else { &point.label };
            let index = self.names.iter().position(|(_, other)| other == name).map_or(0, |at| self.looks[at]);
            let scaled = |e: Estimate| Estimate { value: e.value / unit, low: e.low / unit, high: e.high / unit, ..e };
            let points = course(point).into_iter().map(|(i, e)| ((i + 1) as f64, scaled(e))).collect();
            let origins = vec![Origin { at: None, text: point.origin.clone() }];
            let name = name.clone();
            PlotSeries { name, index, points, joined: true, trace: true, origins, ..PlotSeries::default() }
        };
        group.points.iter().map(curve).filter(|curve| curve.points.len() > 1).collect()
    }
}
