//! The spectrum of the vectors: how their variance is divided among principal components.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::style::Column;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::number::significant;
use crate::statistics::Estimate;
use crate::summary::DatasetSummary;
use record::DatasetFacts;

/// Smallest share of the variance on the axis: below it there is nothing but rounding.
const LEAST: f64 = 1e-9;

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let facts = &dataset.facts;
    let Some(chart) = chart(facts) else { return Ok(None) };
    let effective = facts.effective_dimension().map_or_else(String::new, |dimension| {
        format!("; the effective dimension is {} of {}", significant(dimension, 3), facts.dim)
    });
    let caption = format!(
        "Spectrum of the base vectors of {}: share of their variance in each principal component, the largest first; the \
         dashed line is where all components would have the same share{effective}.",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing: Drawing::Chart(chart) }))
}

/// The figure in one column, as SVG; None without a spectrum.
pub fn svg(facts: &DatasetFacts) -> Result<Option<String>, ReportError> {
    chart(facts).map(|chart| chart.draw(Column::Single)).transpose()
}

fn chart(facts: &DatasetFacts) -> Option<Chart> {
    let total: f64 = facts.spectrum.iter().sum();
    let (count, even) = (facts.spectrum.len(), 1.0 / facts.spectrum.len().max(1) as f64);
    if count < 2 || !(total > 0.0 && total.is_finite()) {
        return None;
    }
    let shares = facts.spectrum.iter().map(|value| value / total).zip(1..).filter(|(share, _)| *share > LEAST);
    let points: Vec<(f64, Estimate)> = shares
        .map(|(share, number)| (f64::from(number), Estimate { value: share, low: share, high: share, count: 1 }))
        .collect();
    let y = Axis::log10(points.iter().map(|(_, share)| share.value).chain([even]))?;
    let line = vec![(1.0, even), (count as f64, even)];
    Some(Chart {
        x_title: "principal component".into(),
        y_title: "share of the variance".into(),
        x: Axis::counts(count),
        y,
        curves: vec![PlotSeries {
            name: "spectrum".into(),
            points,
            joined: true,
            trace: true,
            ..PlotSeries::default()
        }],
        references: vec![ReferenceLine { name: "equal shares".into(), points: line, side: Side::Above }],
        secondary_name: None,
        inset: false,
    })
}
