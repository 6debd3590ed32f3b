//! Speed of training, encoding, decoding and search.

use super::bars::{BarPanel, Bars};
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::number::{engineering, significant};
use crate::statistics::Estimate;
use crate::summary::{DatasetSummary, Which};
use record::metric::{DECODE_VECTORS_PER_SECOND, ENCODE_VECTORS_PER_SECOND, SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS};

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    // Bars leave less space than a table.
    let seconds: fn(f64) -> String = |v| significant(v, 2);
    let quantities = [
        (&TRAIN_SECONDS, seconds),
        (&ENCODE_VECTORS_PER_SECOND, engineering),
        (&DECODE_VECTORS_PER_SECOND, engineering),
        (&SEARCH_QUERIES_PER_SECOND, engineering),
    ];
    let panels: Vec<BarPanel> = quantities
        .into_iter()
        .map(|(metric, show)| {
            let values: Vec<Option<Estimate>> =
                dataset.points.iter().map(|p| p.estimate(Which::metric(metric))).collect();
            BarPanel { title: metric.axis(), values, show, full: None, reference: None }
        })
        .filter(|panel| panel.values.iter().any(Option::is_some))
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let drawing = Drawing::Bars(Bars { rows: dataset.coloured_rows(), origins: dataset.origins(), panels });
    let caption = format!(
        "Speed on {}: median of each seed with 95% intervals over seeds. Bars start at zero; values that span more than a factor of ten are points on a logarithmic axis. Each panel has its own scale.",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing }))
}
