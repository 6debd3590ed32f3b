//! The share of each codebook that is in use.

use super::bars::{BarPanel, Bars};
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Which};
use record::metric::{ENTROPY_BITS_PER_VECTOR, USAGE};

fn percent(value: f64) -> String {
    format!("{:.1}%", 100.0 * value)
}

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let usage: Vec<Option<Estimate>> = dataset.points.iter().map(|p| p.estimate(Which::metric(&USAGE))).collect();
    if usage.iter().all(Option::is_none) {
        return Ok(None);
    }
    // Entropy divided by nominal bits: how evenly the codewords are used, comparable across codebook sizes.
    let evenness = dataset
        .points
        .iter()
        .map(|p| {
            let entropy = p.estimate(Which::metric(&ENTROPY_BITS_PER_VECTOR))?;
            let bits = p.bits as f64;
            Some(Estimate {
                value: entropy.value / bits,
                low: entropy.low / bits,
                high: entropy.high / bits,
                ..entropy
            })
        })
        .collect();
    let drawing = Drawing::Bars(Bars {
        rows: dataset.coloured_rows(),
        origins: dataset.origins(),
        panels: vec![
            BarPanel { title: USAGE.axis(), values: usage, show: percent, full: Some(1.0), reference: None },
            BarPanel {
                title: "entropy / rate".into(),
                values: evenness,
                show: percent,
                full: Some(1.0),
                reference: None,
            },
        ],
    });
    let caption = format!(
        "Use of the codebooks on the base vectors of {}: share of codewords hit at least once, and entropy of the symbols \
         over the bits spent on them (100%: all codewords equally often).",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing }))
}
