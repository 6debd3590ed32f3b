//! Recall against queries per second: what a search user trades.

use super::Sketch;
use super::axis::Axis;
use super::chart::{Chart, Curve, Reference, Side};
use crate::ReportError;
use crate::summary::{DatasetSummary, Which, pareto};

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    // Recall at the k that was timed, where it was measured.
    let timed = dataset.timed_k();
    let Some(k) = timed.filter(|k| dataset.has_recall_at(*k)).or_else(|| dataset.recall_k()) else { return Ok(None) };
    let coordinates: Vec<Option<(f64, f64)>> = dataset
        .points
        .iter()
        .map(|p| {
            let recall = p.quality(Which::native("recall_k_at_k", k))?.value;
            let speed = p.timing(Which::metric("search_queries_per_second"))?.value;
            Some((recall, speed))
        })
        .collect();
    let Some(y) = Axis::log10(coordinates.iter().flatten().map(|(_, speed)| *speed)) else { return Ok(None) };
    let front = pareto(&coordinates);
    let mut curves: Vec<Curve> = Vec::new();
    for (index, series) in dataset.series().into_iter().enumerate() {
        let of_series = || dataset.points.iter().enumerate().filter(|(_, p)| p.series == series);
        let points = of_series()
            .filter_map(|(i, p)| Some((coordinates[i]?.0, p.timing(Which::metric("search_queries_per_second"))?)));
        let strong = of_series().filter(|(i, _)| coordinates[*i].is_some()).map(|(i, _)| front[i]);
        curves.push(Curve {
            name: series.to_owned(),
            index,
            points: points.collect(),
            strong: strong.collect(),
            ..Curve::default()
        });
    }
    let mut line: Vec<(f64, f64)> =
        coordinates.iter().zip(&front).filter(|(_, f)| **f).filter_map(|(c, _)| *c).collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    let svg = Chart {
        title: dataset.name.clone(),
        x_title: format!("{k}-recall@{k}"),
        y_title: "queries per second".into(),
        x: Axis::linear(0.0, 1.02),
        y,
        curves,
        references: vec![Reference { name: "Pareto front".into(), points: line, side: Side::Above }],
        secondary_name: None,
    }
    .draw()?;
    let threads = dataset.points.iter().map(|p| p.threads).max().unwrap_or(1);
    let other = match timed {
        Some(timed) if timed != k => format!(" Speed was measured for {timed} neighbours."),
        _ => String::new(),
    };
    let caption = format!(
        "Search over all {} codes of {} on {threads} thread{}: queries per second (median of all repeats, 95% bootstrap \
         interval) against recall. The dashed line joins the Pareto front; points that another one beats in both are pale.{other}",
        dataset.facts.base,
        dataset.name,
        if threads == 1 { "" } else { "s" }
    );
    Ok(Some(Sketch { caption, svg }))
}
