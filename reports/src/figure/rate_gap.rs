//! Distance to the Gaussian bound in decibels against rate: curves that crowd in a plot of distortion separate here.

use super::axis::Axis;
use super::chart::{Chart, ReferenceLine, Side};
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::summary::{DatasetSummary, Which};
use record::metric::{BITS_PER_VECTOR, GAP_TO_BOUND_DB};

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let curves = dataset.curves(|point| point.estimate(Which::metric(&GAP_TO_BOUND_DB)));
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (Some(x), Some(y)) =
        (Axis::log2(points().map(|(x, _)| *x)), Axis::around(points().map(|(_, e)| e.value).chain([0.0])))
    else {
        return Ok(None);
    };
    let ends = [(x.low(), 0.0), (x.high(), 0.0)];
    let drawing = Drawing::Chart(Chart {
        x_title: BITS_PER_VECTOR.axis(),
        y_title: GAP_TO_BOUND_DB.axis(),
        x,
        y,
        curves,
        references: vec![ReferenceLine { name: "Gaussian bound".into(), points: ends.to_vec(), side: Side::Rising }],
        secondary_name: None,
    });
    let caption = format!(
        "Distance of the distortion to the Gaussian bound at the same rate on {}, in decibels; means over seeds with 95% \
         intervals. Lower is better: 3 dB are a factor of two.",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing }))
}
