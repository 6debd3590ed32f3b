//! How many times as fast one side of each pair is as the other, with the aims, for the pairs that computed in turn.

use super::bars::{BarPanel, Bars, Reference};
use super::style::looks;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::in_turn::{PairReport, PairRow};
use crate::number::significant;
use crate::statistics::Estimate;
use crate::summary::DatasetSummary;
use record::metric::Noise;

pub fn draw(dataset: &DatasetSummary, pairs: &[PairReport]) -> Result<Option<Sketch>, ReportError> {
    let here: Vec<&PairReport> = pairs.iter().filter(|pair| pair.dataset == dataset.name).collect();
    let timed = |row: &&PairRow| row.metric.noise == Noise::Timed && ratio(row).is_some();
    // Headings tell numbers of neighbours and re-ranking apart.
    let mut quantities: Vec<&str> = Vec::new();
    for row in here.iter().flat_map(|pair| &pair.rows).filter(timed) {
        if !quantities.contains(&row.title.as_str()) {
            quantities.push(&row.title);
        }
    }
    if quantities.is_empty() {
        return Ok(None);
    }
    let panel = |title: &&str| {
        let rows: Vec<Option<&PairRow>> =
            here.iter().map(|pair| pair.rows.iter().find(|row| row.title == *title)).collect();
        let aims = rows.iter().map(|row| row.and_then(|row| row.aim.as_ref()?.ratio)).collect();
        BarPanel {
            title: format!("{title}, ×"),
            values: rows.iter().map(|row| row.and_then(ratio)).collect(),
            show: |value| significant(value, 2),
            full: None,
            reference: Some(Reference { value: 1.0, aims }),
        }
    };
    let panels = quantities.iter().map(panel).collect();
    let several = here.iter().any(|pair| pair.place != here[0].place);
    let names: Vec<String> = here
        .iter()
        .map(|pair| if several { format!("{} ({})", pair.pair, pair.place) } else { pair.pair.clone() })
        .collect();
    let same: Vec<&str> = names.iter().map(String::as_str).collect();
    let origin = |pair: &&PairReport| format!("{} compared with {}, {}", pair.labels[0], pair.labels[1], pair.place);
    let origins = here.iter().map(origin).collect();
    let looks = looks(&same);
    let rows = names.iter().cloned().zip(looks).collect();
    let caption = format!(
        "How many times as good the first side of each pair is as the second, on {}: both sides computed in turn. Less time and more \
         vectors per second are better. The line stands at equal speed, and a short stroke at the aim of a pair. Intervals of 95% are over \
         seeds, and with one seed over rounds.",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Bars(Bars { rows, origins, panels }) }))
}

/// How many times as good ours is.
fn ratio(row: &PairRow) -> Option<Estimate> {
    row.compared?.ratio.filter(|ratio| ratio.value > 0.0 && ratio.value.is_finite())
}
