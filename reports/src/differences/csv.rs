//! All comparisons and rate savings as CSV.

use super::{DifferenceVerdict, Differences, Pair};
use crate::ReportError;
use crate::differences::page::test_name;
use polars::prelude::{Column, DataFrame};
use record::frame;

/// All pairs, those that the page leaves out included; then the rate savings. Returns both tables.
///
/// # Errors
/// An error of the table library.
pub fn to_csv(differences: &Differences) -> Result<(Vec<u8>, Vec<u8>), ReportError> {
    let pairs = &differences.pairs;
    let text = |name: &str, of: &dyn Fn(&Pair) -> String| {
        Column::new(name.into(), pairs.iter().map(of).collect::<Vec<String>>())
    };
    let number = |name: &str, of: &dyn Fn(&Pair) -> Option<f64>| {
        Column::new(name.into(), pairs.iter().map(of).collect::<Vec<Option<f64>>>())
    };
    let count =
        |name: &str, of: &dyn Fn(&Pair) -> u64| Column::new(name.into(), pairs.iter().map(of).collect::<Vec<u64>>());
    let verdict = |pair: &Pair| {
        match pair.verdict() {
            DifferenceVerdict::A => "A is better",
            DifferenceVerdict::B => "B is better",
            DifferenceVerdict::Same => "no difference seen",
            DifferenceVerdict::NotTested => "not tested",
        }
        .to_owned()
    };
    let all = vec![
        text("dataset", &|pair| pair.dataset.clone().unwrap_or_default()),
        count("datasets", &|pair| pair.datasets as u64),
        text("rate", &|pair| pair.rate.clone()),
        text("metric", &|pair| pair.metric.name.to_owned()),
        Column::new("k".into(), pairs.iter().map(|pair| pair.k.map(|k| k as u64)).collect::<Vec<_>>()),
        text("a", &|pair| pair.a.clone()),
        text("b", &|pair| pair.b.clone()),
        text("unit", &|pair| pair.unit.name().to_owned()),
        number("difference", &|pair| Some(pair.comparison.difference.value)),
        number("difference_low", &|pair| pair.interval().map(|(low, _)| low)),
        number("difference_high", &|pair| pair.interval().map(|(_, high)| high)),
        count("pairs", &|pair| pair.count() as u64),
        text("test", &|pair| test_name(pair.comparison.test).to_owned()),
        number("p", &|pair| pair.comparison.p),
        number("p_holm", &|pair| pair.adjusted),
        text("verdict", &verdict),
    ];
    let pairs = DataFrame::new(pairs.len(), all)?;
    let rows = &differences.savings;
    let of = |part: fn(&crate::statistics::Saving) -> Option<f64>| -> Vec<Option<f64>> {
        rows.iter().map(|row| row.saving.as_ref().ok().and_then(part)).collect()
    };
    let words = |of: &dyn Fn(&super::SavingRow) -> String| rows.iter().map(of).collect::<Vec<String>>();
    let refused = |row: &super::SavingRow| row.saving.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let columns = vec![
        Column::new("dataset".into(), words(&|row| row.dataset.clone())),
        Column::new("a".into(), words(&|row| row.a.clone())),
        Column::new("b".into(), words(&|row| row.b.clone())),
        Column::new("rate_of_b_over_a_minus_1".into(), of(|saving| Some(saving.rate.value))),
        Column::new("low".into(), of(|saving| saving.has_interval.then_some(saving.rate.low))),
        Column::new("high".into(), of(|saving| saving.has_interval.then_some(saving.rate.high))),
        Column::new("overlap_low_db".into(), of(|saving| Some(saving.overlap_db.0))),
        Column::new("overlap_high_db".into(), of(|saving| Some(saving.overlap_db.1))),
        Column::new("refused".into(), words(&refused)),
    ];
    let savings = DataFrame::new(rows.len(), columns)?;
    let written = |frame: &DataFrame| frame::to_csv(frame).map_err(ReportError::Table);
    Ok((written(&pairs)?, written(&savings)?))
}
