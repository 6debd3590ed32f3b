//! Quality of decoded pictures and sounds against their rate.

use super::axis::Axis;
use super::chart::Chart;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::summary::{DatasetSummary, Which};
use record::Metric;
use record::metric::{BITS_PER_PIXEL, BITS_PER_SECOND, LOG_MEL_RMSE, PSNR_DB};

/// A kind of signal, with the metrics of its quality and its rate.
pub struct Signals {
    rate: &'static Metric,
    quality: &'static Metric,
    /// The compared quality, for the caption.
    meaning: &'static str,
}

pub const IMAGES: Signals =
    Signals { rate: &BITS_PER_PIXEL, quality: &PSNR_DB, meaning: "Peak signal-to-noise ratio of the decoded pictures" };

pub const SOUNDS: Signals = Signals {
    rate: &BITS_PER_SECOND,
    quality: &LOG_MEL_RMSE,
    meaning: "Root mean squared error of the decoded log-mel spectra",
};

pub fn draw(dataset: &DatasetSummary, signals: &Signals) -> Result<Option<Sketch>, ReportError> {
    let curves = dataset.curves_over(|point| {
        let rate = point.estimate(Which::metric(signals.rate))?.value;
        Some((rate, point.estimate(Which::metric(signals.quality))?)).filter(|(rate, _)| *rate > 0.0)
    });
    let points = || curves.iter().flat_map(|c| &c.points);
    let x = Axis::log2(points().map(|(rate, _)| *rate));
    let y = Axis::around(points().flat_map(|(_, e)| [e.low, e.value, e.high]));
    let Some((x, y)) = x.zip(y) else { return Ok(None) };
    let drawing = Drawing::Chart(Chart {
        x_title: signals.rate.axis(),
        y_title: signals.quality.axis(),
        x,
        y,
        curves,
        references: vec![],
        secondary_name: None,
        inset: false,
    });
    let caption = format!("{} of {} against rate; means over seeds with 95% intervals.", signals.meaning, dataset.name);
    Ok(Some(Sketch { caption, drawing }))
}
