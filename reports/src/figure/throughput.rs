//! How fast training, encoding, decoding and search are.

use super::Sketch;
use super::bars::{Bars, Panel};
use crate::ReportError;
use crate::number::{engineering, significant};
use crate::stats::Estimate;
use crate::summary::{DatasetSummary, Which};

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let seconds: fn(f64) -> String = |v| significant(v, 2);
    let quantities = [
        ("training, s", "train_seconds", seconds),
        ("encoded vectors/s", "encode_vectors_per_second", engineering),
        ("decoded vectors/s", "decode_vectors_per_second", engineering),
        ("queries/s", "search_queries_per_second", engineering),
    ];
    let panels: Vec<Panel> = quantities
        .into_iter()
        .map(|(title, metric, show)| {
            let values: Vec<Option<Estimate>> =
                dataset.points.iter().map(|p| p.timing(Which::metric(metric))).collect();
            Panel { title: title.into(), values, show, full: None }
        })
        .filter(|panel| panel.values.iter().any(Option::is_some))
        .collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let svg = Bars { title: format!("{}: speed", dataset.name), rows: dataset.coloured_rows(), panels }.draw()?;
    let caption = format!(
        "Speed on {}: median of each seed with 95% intervals over seeds. Bars start at zero; each panel has its own scale.",
        dataset.name
    );
    Ok(Some(Sketch { caption, svg }))
}
