//! Where the errors lie, for methods of nearly one rate: in few vectors or in all, in dimensions of small or of large
//! variance, in long or in short vectors.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::hover::Origin;
use super::panels::{Panel, PanelFigure};
use super::plot::Plot;
use super::side_by_side::{by_rate, evenly};
use super::style::looks;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use record::Metric;
use record::anatomy::{DIMENSION_GROUPS, QUANTILES, groups};
use record::metric::{BASE_NORM, DIMENSION_ERROR, IP_BIAS_BY_NORM, IP_STD_BY_NORM, VECTOR_ERROR};
use std::collections::BTreeSet;

/// Maximum number of curves: more cannot be told apart.
const MOST_CURVES: usize = 8;

/// Quantiles of the squared error over vectors.
pub fn vectors(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(shown) = Shown::of(dataset, &VECTOR_ERROR) else { return Ok(None) };
    let curves = shown.curves(&VECTOR_ERROR, |_, i| QUANTILES.get(i).copied());
    let meaning = "Squared error of single vectors over the variance of the base vectors, by the share of vectors with a \
                   smaller error; a flat curve means that all vectors have about the same error";
    let x = Axis::percent();
    shown.chart("share of vectors", x, &VECTOR_ERROR, curves, vec![], meaning)
}

/// The error of dimensions, ordered by variance.
pub fn dimensions(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(shown) = Shown::of(dataset, &DIMENSION_ERROR) else { return Ok(None) };
    let dim = dataset.facts.dim;
    let centres: Vec<f64> =
        groups(dim, DIMENSION_GROUPS).map(|group| (group.start + group.end + 1) as f64 / 2.0).collect();
    if centres.len() < 2 {
        return Ok(None);
    }
    let curves = shown.curves(&DIMENSION_ERROR, |_, i| centres.get(i).copied());
    let meaning = "Squared error in groups of dimensions over the variance of these dimensions, from the dimensions of \
                   the largest variance to those of the smallest; above 1 (dashed), the mean of the dimension would be a \
                   better value than the decoded one";
    let x = Axis::linear(0.0, dim as f64);
    let one = ReferenceLine {
        name: "no better than the mean".into(),
        points: vec![(x.low(), 1.0), (x.high(), 1.0)],
        side: Side::Legend,
    };
    shown.chart("dimensions by falling variance", x, &DIMENSION_ERROR, curves, vec![one], meaning)
}

/// Bias and spread of inner products against the norm of the vector.
pub fn inner_products(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(shown) = Shown::of(dataset, &IP_BIAS_BY_NORM) else { return Ok(None) };
    let norm = |point: &Point, i: usize| {
        let norms = point.course(BASE_NORM.name);
        norms.into_iter().find(|(index, _)| *index == i).map(|(_, norm)| norm.value)
    };
    let panel = |metric: &'static Metric, zero: bool| {
        let curves = shown.curves(metric, norm);
        let values = || curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::around(values().map(|(x, _)| *x))?;
        let ends = values().flat_map(|(_, e)| [e.value, e.low, e.high]);
        let y = if zero { Axis::around(ends.chain([0.0]))? } else { Axis::fitted(values().map(|(_, e)| e.value))? };
        let references = if zero {
            let points = vec![(x.low(), 0.0), (x.high(), 0.0)];
            vec![ReferenceLine { name: "no bias".into(), points, side: Side::Legend }]
        } else {
            vec![]
        };
        Some(Panel { name: metric.axis(), plot: Plot::new(x, y, curves, references) })
    };
    let panels: Option<Vec<Panel>> =
        [panel(&IP_BIAS_BY_NORM, true), panel(&IP_STD_BY_NORM, false)].into_iter().collect();
    let Some(panels) = panels else { return Ok(None) };
    let figure = PanelFigure { x_title: BASE_NORM.axis(), y_title: String::new(), panels, shared: false };
    let meaning = "Mean and standard deviation of the errors of inner products between queries and decoded vectors, for \
                   ten groups of vectors by norm; a mean that moves away from zero with the norm is a bias that changes \
                   the order of inner-product search";
    Ok(Some(Sketch { caption: shown.caption(meaning), drawing: Drawing::Panels(figure) }))
}

/// The points that one figure compares.
struct Shown<'a> {
    dataset: &'a DatasetSummary,
    points: Vec<&'a Point>,
    /// Number of points that could have been shown.
    found: usize,
    /// The rates, as text.
    rates: String,
}

impl<'a> Shown<'a> {
    /// The points of the rate at which most methods are, of several such rates the largest; all points if no rate has
    /// more than one. Returns None if nothing was measured.
    fn of(dataset: &'a DatasetSummary, metric: &Metric) -> Option<Shown<'a>> {
        let measured: Vec<&Point> = dataset.points.iter().filter(|p| p.course(metric.name).len() > 1).collect();
        let richest = by_rate(&measured).into_iter().max_by_key(|group| group.len())?;
        let points = if richest.len() > 1 { richest } else { measured };
        let kept = evenly(points.len(), MOST_CURVES);
        let found = points.len();
        let points: Vec<&Point> =
            points.into_iter().enumerate().filter(|(i, _)| kept.contains(i)).map(|(_, point)| point).collect();
        let bits = || points.iter().map(|p| p.bits);
        let (low, high) = (bits().min()?, bits().max()?);
        let rates = if low == high { format!("{low}") } else { format!("{low} to {high}") };
        Some(Shown { dataset, points, found, rates })
    }

    /// A curve for each point, named and coloured by its series as in other figures, or by its label if a series has
    /// several points here. `x` gives the horizontal place of an index.
    fn curves(&self, metric: &Metric, x: impl Fn(&Point, usize) -> Option<f64>) -> Vec<PlotSeries> {
        let series: BTreeSet<&str> = self.points.iter().map(|point| point.series.as_str()).collect();
        let apart = series.len() == self.points.len();
        let name = |point: &'a Point| if apart { point.series.as_str() } else { point.label.as_str() };
        let names = if apart { self.dataset.series() } else { self.points.iter().map(|point| name(point)).collect() };
        let looks = looks(&names);
        let curve = |point: &&'a Point| {
            let name = name(point);
            let index = names.iter().position(|other| *other == name).map_or(0, |at| looks[at]);
            let course = point.course(metric.name).into_iter();
            let points: Vec<(f64, Estimate)> = course.filter_map(|(i, e)| Some((x(point, i)?, e))).collect();
            let origins = vec![Origin { at: None, text: point.origin.clone() }];
            let name = name.to_owned();
            PlotSeries { name, index, points, joined: true, trace: true, origins, ..PlotSeries::default() }
        };
        self.points.iter().map(curve).collect()
    }

    fn chart(
        &self,
        x_title: &str,
        x: Axis,
        metric: &Metric,
        curves: Vec<PlotSeries>,
        references: Vec<ReferenceLine>,
        meaning: &str,
    ) -> Result<Option<Sketch>, ReportError> {
        let values = curves.iter().flat_map(|curve| &curve.points).map(|(_, e)| e.value);
        let Some(y) = Axis::fitted(values) else { return Ok(None) };
        // A line that no curve comes near would set the range.
        let references = references.into_iter().filter(|line| line.points.iter().all(|(_, value)| y.holds(*value)));
        let references = references.collect();
        let y_title = metric.axis();
        let x_title = x_title.to_owned();
        let drawing = Drawing::Chart(Chart { x_title, y_title, x, y, curves, references, secondary_name: None });
        Ok(Some(Sketch { caption: self.caption(meaning), drawing }))
    }

    fn caption(&self, meaning: &str) -> String {
        let left_out = match self.found - self.points.len() {
            0 => String::new(),
            n => format!(" {n} of {} methods are left out, evenly.", self.found),
        };
        format!(
            "{meaning}. On {}, methods with {} bits per vector. Means over seeds with 95% intervals as bands.{left_out}",
            self.dataset.name, self.rates
        )
    }
}
