//! How good decoded pictures and sounds are, against what they cost.

use super::Sketch;
use super::axis::Axis;
use super::chart::Chart;
use crate::ReportError;
use crate::summary::{DatasetSummary, Which};

/// A kind of signal: what its quality and its rate are measured in.
pub struct Signals {
    rate: (&'static str, &'static str),
    quality: (&'static str, &'static str),
    /// What is compared, for the caption.
    meaning: &'static str,
}

pub const IMAGES: Signals = Signals {
    rate: ("bits_per_pixel", "rate, bits per pixel"),
    quality: ("psnr_db", "PSNR, dB"),
    meaning: "Peak signal-to-noise ratio of the decoded pictures",
};

pub const SOUNDS: Signals = Signals {
    rate: ("bits_per_second", "rate, bits per second"),
    quality: ("log_mel_rmse", "RMSE of log-mel spectra"),
    meaning: "Root mean squared error of the decoded log-mel spectra",
};

pub fn draw(dataset: &DatasetSummary, signals: &Signals) -> Result<Option<Sketch>, ReportError> {
    let curves = dataset.curves_over(|point| {
        let rate = point.quality(Which::metric(signals.rate.0))?.value;
        Some((rate, point.quality(Which::metric(signals.quality.0))?)).filter(|(rate, _)| *rate > 0.0)
    });
    let points = || curves.iter().flat_map(|c| &c.points);
    let x = Axis::log2(points().map(|(rate, _)| *rate));
    let y = Axis::around(points().flat_map(|(_, e)| [e.low, e.value, e.high]));
    let Some((x, y)) = x.zip(y) else { return Ok(None) };
    let svg = Chart {
        title: dataset.name.clone(),
        x_title: signals.rate.1.into(),
        y_title: signals.quality.1.into(),
        x,
        y,
        curves,
        references: vec![],
        secondary_name: None,
    }
    .draw()?;
    let caption = format!("{} of {} against rate; means over seeds with 95% intervals.", signals.meaning, dataset.name);
    Ok(Some(Sketch { caption, svg }))
}
