//! Where the errors lie, for methods of nearly one rate: in few vectors or in all, in dimensions of small or of large
//! variance, in long or in short vectors.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::one_rate::OneRate;
use super::panels::{Panel, PanelFigure};
use super::plot::Plot;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Point};
use record::Metric;
use record::anatomy::{DIMENSION_GROUPS, QUANTILES, groups};
use record::metric::{BASE_NORM, DIMENSION_ERROR, IP_BIAS_BY_NORM, IP_STD_BY_NORM, VECTOR_ERROR};

/// How far intervals extend an axis around zero, as a multiple of the largest mean.
const BANDS: f64 = 2.0;

/// Quantiles of the squared error over vectors.
pub fn vectors(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(shown) = shown(dataset, &VECTOR_ERROR) else { return Ok(None) };
    let curves = shown.curves(|point| course(point, &VECTOR_ERROR, |i| QUANTILES.get(i).copied()));
    let meaning = "Squared error of single vectors over the variance of the base vectors, by the share of vectors with a \
                   smaller error; a flat curve means that all vectors have about the same error";
    let x = Axis::percent();
    chart(&shown, "share of vectors", x, &VECTOR_ERROR, curves, vec![], meaning)
}

/// The error of dimensions, ordered by variance.
pub fn dimensions(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(shown) = shown(dataset, &DIMENSION_ERROR) else { return Ok(None) };
    let dim = dataset.facts.dim;
    let centres: Vec<f64> =
        groups(dim, DIMENSION_GROUPS).map(|group| (group.start + group.end + 1) as f64 / 2.0).collect();
    if centres.len() < 2 {
        return Ok(None);
    }
    let curves = shown.curves(|point| course(point, &DIMENSION_ERROR, |i| centres.get(i).copied()));
    let meaning = "Squared error in groups of dimensions over the variance of these dimensions, from the dimensions of \
                   the largest variance to those of the smallest; above 1, the mean of the dimension would be a better value \
                   than the decoded one";
    let x = Axis::linear(0.0, dim as f64);
    let one = ReferenceLine {
        name: "no better than the mean".into(),
        points: vec![(x.low(), 1.0), (x.high(), 1.0)],
        side: Side::Above,
    };
    chart(&shown, "dimensions by falling variance", x, &DIMENSION_ERROR, curves, vec![one], meaning)
}

/// Bias and spread of inner products against the norm of the vector.
pub fn inner_products(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(shown) = shown(dataset, &IP_BIAS_BY_NORM) else { return Ok(None) };
    let panel = |metric: &'static Metric, zero: bool| {
        let curves = shown.curves(|point| {
            let norms = point.course(BASE_NORM.name);
            course(point, metric, |i| norms.iter().find(|(index, _)| *index == i).map(|(_, norm)| norm.value))
        });
        let values = || curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::around(values().map(|(x, _)| *x))?;
        // With few seeds, intervals are so wide that they would hide what the means say.
        let most = BANDS * values().map(|(_, e)| e.value.abs()).fold(0.0, f64::max);
        let ends = values().flat_map(|(_, e)| [e.value, e.low.max(-most), e.high.min(most)]);
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

/// The points that have values of a metric.
fn shown<'a>(dataset: &'a DatasetSummary, metric: &Metric) -> Option<OneRate<'a>> {
    OneRate::of(dataset, dataset.points.iter().filter(|point| point.course(metric.name).len() > 1).collect())
}

/// The values of a metric at the places of their indices.
fn course(point: &Point, metric: &Metric, x: impl Fn(usize) -> Option<f64>) -> Vec<(f64, Estimate)> {
    point.course(metric.name).into_iter().filter_map(|(i, e)| Some((x(i)?, e))).collect()
}

fn chart(
    shown: &OneRate<'_>,
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
    let drawing =
        Drawing::Chart(Chart { x_title, y_title, x, y, curves, references, secondary_name: None, inset: false });
    Ok(Some(Sketch { caption: shown.caption(meaning), drawing }))
}
