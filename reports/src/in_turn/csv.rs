//! Pairs that computed in turn as CSV.

use super::{Compared, PairReport, PairRow};
use crate::ReportError;
use polars::prelude::{Column, DataFrame};
use record::frame;

/// One row for each pair, dataset, place and metric.
///
/// # Errors
/// An error of the table library.
pub fn to_csv(pairs: &[PairReport]) -> Result<Vec<u8>, ReportError> {
    let rows: Vec<(&PairReport, &PairRow)> =
        pairs.iter().flat_map(|pair| pair.rows.iter().map(move |row| (pair, row))).collect();
    let text = |name: &str, of: fn(&PairReport, &PairRow) -> String| {
        Column::new(name.into(), rows.iter().map(|(pair, row)| of(pair, row)).collect::<Vec<_>>())
    };
    let number = |name: &str, of: &dyn Fn(&PairRow) -> Option<f64>| {
        Column::new(name.into(), rows.iter().map(|(_, row)| of(row)).collect::<Vec<_>>())
    };
    let value =
        |name: &str, of: fn(&Compared) -> Option<f64>| number(name, &move |row| row.compared.as_ref().and_then(of));
    let count = |name: &str, of: fn(&PairReport, &PairRow) -> Option<usize>| {
        let counts = rows.iter().map(|(pair, row)| of(pair, row).map(|count| count as u64));
        Column::new(name.into(), counts.collect::<Vec<_>>())
    };
    let columns = vec![
        text("pair", |pair, _| pair.pair.clone()),
        text("dataset", |pair, _| pair.dataset.clone()),
        text("place", |pair, _| pair.place.clone()),
        text("ours", |pair, _| pair.labels[0].clone()),
        text("theirs", |pair, _| pair.labels[1].clone()),
        text("metric", |_, row| row.key.clone()),
        count("k", |_, row| row.k),
        count("seeds", |pair, _| Some(pair.seeds)),
        count("rounds", |_, row| row.compared.as_ref().map(|compared| compared.rounds)),
        value("ours_value", |compared| Some(compared.ours.value)),
        value("theirs_value", |compared| Some(compared.theirs.value)),
        value("ratio", |compared| compared.ratio.map(|ratio| ratio.value)),
        value("ratio_low", |compared| compared.ratio.map(|ratio| ratio.low)),
        value("ratio_high", |compared| compared.ratio.map(|ratio| ratio.high)),
        value("difference", |compared| Some(compared.difference.value)),
        value("difference_low", |compared| Some(compared.difference.low)),
        value("difference_high", |compared| Some(compared.difference.high)),
        number("aim_ratio", &|row| row.aim.as_ref().and_then(|aim| aim.ratio)),
        number("aim_difference", &|row| row.aim.as_ref().and_then(|aim| aim.difference)),
        Column::new("reached".into(), rows.iter().map(|(_, row)| row.reached()).collect::<Vec<_>>()),
        text("processors", |pair, _| pair.processors.join("; ")),
    ];
    frame::to_csv(&DataFrame::new(rows.len(), columns)?).map_err(ReportError::Table)
}
