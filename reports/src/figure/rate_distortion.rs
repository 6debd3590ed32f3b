//! Distortion against rate, with the Gaussian bound of the data's own covariance.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::style::Column;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::summary::{DatasetSummary, Which};
use record::metric::{BITS_PER_VECTOR, NMSE};

/// Name of the Gaussian bound in charts.
pub const GAUSSIAN_BOUND: &str = "Gaussian bound";

/// Lowest distortion on the axis: below it, f32 has no precision left, and the logarithmic axis would never end.
const LOSSLESS: f64 = 1e-10;

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let curves: Vec<PlotSeries> =
        dataset.curves(|point| point.estimate(Which::metric(&NMSE)).filter(|e| e.value > LOSSLESS));
    let drawn: usize = curves.iter().map(|c| c.points.len()).sum();
    let lossless = dataset.points.iter().filter(|p| p.estimate(Which::metric(&NMSE)).is_some()).count() - drawn;
    let points = || curves.iter().flat_map(|c| &c.points);
    let Some(x) = Axis::log2(points().map(|(x, _)| *x)) else { return Ok(None) };
    // Only values set the range. With few seeds an interval can extend below zero, which a logarithmic axis cannot show.
    // The bound may leave the plot: at high rates it lies far below all points, which would crowd in one corner.
    let Some(y) = Axis::log10(points().map(|(_, e)| e.value)) else { return Ok(None) };
    let chart = Chart {
        x_title: BITS_PER_VECTOR.axis(),
        y_title: NMSE.axis(),
        x,
        y,
        curves,
        references: vec![ReferenceLine {
            name: GAUSSIAN_BOUND.into(),
            points: dataset.facts.bound.clone(),
            side: Side::Below,
        }],
        secondary_name: None,
        inset: true,
    };
    // In two columns, the distance to the bound stands beside the distortion.
    let beside = super::rate_gap::chart(dataset);
    let mut said = String::new();
    if chart.has_inset(Column::Single) {
        said += match beside {
            Some(_) => " In the figure for one column, the inset enlarges the part in the grey frame.",
            None => " The inset enlarges the part in the grey frame.",
        };
    }
    if beside.is_some() {
        said += " In the figure for two columns, the distance to that line in decibels stands beside it.";
    }
    let drawing = match beside {
        Some(gap) => Drawing::Beside(Box::new([chart, gap])),
        None => Drawing::Chart(chart),
    };
    let left_out = match lossless {
        0 => String::new(),
        1 => " One configuration without distortion is left out.".to_owned(),
        n => format!(" {n} configurations without distortion are left out."),
    };
    let caption = format!(
        "Distortion against rate on {}. Points are means over seeds with 95% intervals; the dashed line is the \
         rate–distortion function of a Gaussian with the covariance of the base vectors, which a good code for real \
         data may undercut, as far as it lies within the range of the points.{said}{left_out}",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing }))
}
