//! Distance to the Gaussian bound in decibels against rate: curves that crowd in a plot of distortion separate here.

use super::axis::Axis;
use super::chart::{Chart, ReferenceLine, Side};
use super::rate_distortion::GAUSSIAN_BOUND;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::summary::{DatasetSummary, Which};
use record::metric::{BITS_PER_VECTOR, GAP_TO_BOUND_DB};

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(chart) = chart(dataset) else { return Ok(None) };
    let caption = format!(
        "Distance of the distortion to the Gaussian bound at the same rate on {}, in decibels; means over seeds with 95% \
         intervals. Lower is better: 3 dB are a factor of two.",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Chart(chart) }))
}

/// The chart; None if there is no bound.
pub fn chart(dataset: &DatasetSummary) -> Option<Chart> {
    let curves = dataset.curves(|point| point.estimate(Which::metric(&GAP_TO_BOUND_DB)));
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let x = Axis::log2(points().map(|(x, _)| *x))?;
    let y = Axis::around(points().map(|(_, e)| e.value).chain([0.0]))?;
    let ends = vec![(x.low(), 0.0), (x.high(), 0.0)];
    Some(Chart {
        x_title: BITS_PER_VECTOR.axis(),
        y_title: GAP_TO_BOUND_DB.axis(),
        x,
        y,
        curves,
        references: vec![ReferenceLine { name: GAUSSIAN_BOUND.into(), points: ends, side: Side::Rising }],
        secondary_name: None,
        inset: false,
    })
}
