//! Distortion against costs other than bits: training time, the memory of the model that all vectors share, or the
//! speed of encoding.

use super::axis::Axis;
use super::panels::{Panel, PanelFigure};
use super::plot::{Plot, PlotSeries, ReferenceLine, Side};
use super::side_by_side::{bits, by_rate, range, split};
use super::style::looks;
use super::{Drawing, Sketch, origin};
use crate::ReportError;
use crate::pareto::pareto;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point, Which};
use record::Metric;
use record::metric::{ENCODE_VECTORS_PER_SECOND, MODEL_BYTES, NMSE, TRAIN_SECONDS};
use std::collections::BTreeSet;

/// The kind of cost.
#[derive(Clone, Copy, PartialEq)]
pub enum Cost {
    Training,
    Model,
    Encoding,
}

impl Cost {
    fn of(self, point: &Point) -> Option<f64> {
        let found = point.estimate(Which::metric(self.metric()));
        // A logarithmic axis cannot show zero.
        found.map(|e| e.value).filter(|cost| *cost > 0.0)
    }

    fn metric(self) -> &'static Metric {
        match self {
            Cost::Training => &TRAIN_SECONDS,
            Cost::Model => &MODEL_BYTES,
            Cost::Encoding => &ENCODE_VECTORS_PER_SECOND,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Cost::Training => "the time of one training (median)",
            Cost::Model => "the bytes that all vectors share",
            Cost::Encoding => "the vectors encoded per second (median of each seed)",
        }
    }

    /// A number that is larger where the cost is lower.
    fn merit(self, cost: f64) -> f64 {
        if self.metric().larger_is_better() == Some(true) { cost } else { -cost }
    }

    /// Whether the cost is a choice on this dataset. If no method learns over epochs, training time is none, and models
    /// differ only by their codebooks.
    fn matters(self, dataset: &DatasetSummary) -> bool {
        match self {
            Cost::Training | Cost::Model => dataset.points.iter().any(Point::learns) && dataset.has(&TRAIN_SECONDS),
            Cost::Encoding => true,
        }
    }
}

/// Maximum number of panels; with more rates, all points are in one panel.
const MOST_RATES: usize = 6;

/// A point's cost and distortion.
fn place(point: &Point, cost: Cost) -> Option<(f64, Estimate)> {
    let nmse = point.estimate(Which::metric(&NMSE)).filter(|e| e.value > 0.0)?;
    Some((cost.of(point)?, nmse))
}

pub fn draw<'a>(dataset: &'a DatasetSummary, cost: Cost) -> Result<Option<Sketch>, ReportError> {
    let points: Vec<&'a Point> = dataset.points.iter().filter(|p| place(p, cost).is_some()).collect();
    if !cost.matters(dataset) || points.len() < 2 {
        return Ok(None);
    }
    // Methods are compared at equal or nearly equal rates if there are a few rates with several methods each.
    let compared = |mut groups: Vec<Vec<&'a Point>>| {
        groups.retain(|group| several_series(group));
        groups
    };
    let (equal, nearly) = (compared(split(&points, bits)), compared(by_rate(&points)));
    let held = |groups: &[Vec<&Point>]| groups.iter().map(Vec::len).sum::<usize>();
    let rates = if held(&nearly) > held(&equal) { nearly } else { equal };
    let apart = (1..=MOST_RATES).contains(&rates.len());
    let groups = if apart { rates } else { vec![points.clone()] };
    let alone = points.len() - held(&groups);
    let points: Vec<&Point> = groups.concat();
    let places: Vec<(f64, Estimate)> = points.iter().filter_map(|p| place(p, cost)).collect();
    let x = Axis::log10(places.iter().map(|(x, _)| *x));
    let y = Axis::fitted(places.iter().map(|(_, e)| e.value));
    let Some((x, y)) = x.zip(y) else { return Ok(None) };
    let panels: Vec<Panel> = groups
        .iter()
        .map(|group| {
            let (curves, front) = clouds(dataset, group, cost);
            let reference = ReferenceLine { name: "Pareto front".into(), points: front, side: Side::Legend };
            let references = if reference.points.len() > 1 { vec![reference] } else { vec![] };
            let name = range(group.iter().map(|p| p.bits as f64), "bit");
            Panel { name, plot: Plot::new(x.clone(), y.clone(), curves, references) }
        })
        .collect();
    let panels = PanelFigure { x_title: cost.metric().axis(), y_title: NMSE.axis(), panels, shared: true };
    let beside = if apart { " at each rate" } else { ", whatever the rate" };
    let left_out = match alone {
        0 => String::new(),
        1 => " One point is left out, because no other has its rate.".to_owned(),
        n => format!(" {n} points are left out, at whose rates nothing compares."),
    };
    let caption = format!(
        "Distortion on {} against {}{beside}; means over seeds with 95% intervals. The dashed line joins the Pareto \
         front; points that another one beats in both are small.{left_out}",
        dataset.name,
        cost.meaning()
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Panels(panels) }))
}

fn several_series(group: &[&Point]) -> bool {
    group.iter().map(|p| &p.series).collect::<BTreeSet<_>>().len() > 1
}

/// The markers of each series, and the line through the Pareto-optimal points.
fn clouds(dataset: &DatasetSummary, group: &[&Point], cost: Cost) -> (Vec<PlotSeries>, Vec<(f64, f64)>) {
    let places: Vec<Option<(f64, Estimate)>> = group.iter().map(|p| place(p, cost)).collect();
    let better: Vec<Option<(f64, f64)>> = places.iter().map(|at| at.map(|(x, e)| (cost.merit(x), -e.value))).collect();
    let front = pareto(&better);
    let mut line: Vec<(f64, f64)> =
        places.iter().zip(&front).filter(|(_, f)| **f).filter_map(|(at, _)| at.map(|(x, e)| (x, e.value))).collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    let series = dataset.series();
    let curves = series.iter().zip(looks(&series)).map(|(name, index)| {
        let of_series = || group.iter().zip(&places).zip(&front).filter(|((p, _), _)| p.series == **name);
        PlotSeries {
            name: (*name).to_owned(),
            index,
            points: of_series().filter_map(|((_, at), _)| *at).collect(),
            origins: of_series().filter_map(|((point, at), _)| Some(origin(point, (*at)?))).collect(),
            strong: of_series().filter(|((_, at), _)| at.is_some()).map(|(_, front)| *front).collect(),
            ..PlotSeries::default()
        }
    });
    (curves.filter(|curve| !curve.points.is_empty()).collect(), line)
}
