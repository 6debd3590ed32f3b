//! Recall against queries per second: the trade-off in search.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries, ReferenceLine, Side};
use super::style::looks;
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::pareto::pareto;
use crate::summary::{DatasetSummary, Path, Point, Which};
use crate::table::of_k;
use record::metric::{RECALL_K_AT_K, SEARCH_QUERIES_PER_SECOND};
use record::rerank_path;

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    // Recall at the k that was timed, if it was measured.
    let timed = dataset.first_k(&SEARCH_QUERIES_PER_SECOND);
    let Some(k) = timed.filter(|k| dataset.has_k(&RECALL_K_AT_K, *k)).or_else(|| dataset.shown_k(&RECALL_K_AT_K))
    else {
        return Ok(None);
    };
    let place = |p: &Point, path: Path<'_>| {
        let recall = p.estimate(Which { path, ..Which::native(&RECALL_K_AT_K, k) })?.value;
        Some((recall, p.estimate(Which { path, ..Which::metric(&SEARCH_QUERIES_PER_SECOND) })?))
    };
    let coordinates: Vec<Option<(f64, f64)>> =
        dataset.points.iter().map(|p| place(p, Path::Native).map(|(recall, speed)| (recall, speed.value))).collect();
    // The gain and cost of re-ranking, at the largest factor for which both were measured.
    let timed_factors = dataset.rerank_factors(&SEARCH_QUERIES_PER_SECOND);
    let factor = dataset.rerank_factors(&RECALL_K_AT_K).into_iter().rfind(|factor| timed_factors.contains(factor));
    let reranked = factor.map(|factor| {
        let path = rerank_path(factor);
        let curves = dataset.curves_over(|p| place(p, Path::Named(&path)));
        curves.into_iter().map(|curve| PlotSeries { secondary: true, joined: false, ..curve }).collect::<Vec<_>>()
    });
    let reranked = reranked.unwrap_or_default();
    let speeds = coordinates.iter().flatten().map(|(_, speed)| *speed);
    let reranked_speeds = reranked.iter().flat_map(|curve| &curve.points).map(|(_, speed)| speed.value);
    let Some(y) = Axis::log10(speeds.chain(reranked_speeds)) else { return Ok(None) };
    let front = pareto(&coordinates);
    let mut curves: Vec<PlotSeries> = Vec::new();
    let names = dataset.series();
    for (series, index) in names.iter().zip(looks(&names)) {
        let of_series = || dataset.points.iter().enumerate().filter(|(_, p)| p.series == *series);
        let points = of_series().filter_map(|(_, p)| place(p, Path::Native));
        let strong = of_series().filter(|(i, _)| coordinates[*i].is_some()).map(|(i, _)| front[i]);
        curves.push(PlotSeries {
            name: (*series).to_owned(),
            index,
            points: points.collect(),
            origins: dataset.origins_of(series, |p| place(p, Path::Native)),
            strong: strong.collect(),
            ..PlotSeries::default()
        });
    }
    curves.extend(reranked);
    let mut line: Vec<(f64, f64)> =
        coordinates.iter().zip(&front).filter(|(_, f)| **f).filter_map(|(c, _)| *c).collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    let drawing = Drawing::Chart(Chart {
        x_title: of_k(&RECALL_K_AT_K.axis(), k),
        y_title: SEARCH_QUERIES_PER_SECOND.axis(),
        x: Axis::linear(0.0, 1.02),
        y,
        curves,
        references: vec![ReferenceLine { name: "Pareto front".into(), points: line, side: Side::Above }],
        secondary_name: factor.map(|f| format!("open: {f}× candidates re-ranked")),
        inset: false,
    });
    let threads = dataset.points.iter().map(|p| p.threads).max().unwrap_or(1);
    let other = match timed {
        Some(timed) if timed != k => format!(" Speed was measured for {timed} neighbours."),
        _ => String::new(),
    };
    let again = factor.map_or(String::new(), |f| {
        format!(" Open: {f} times as many candidates are fetched and re-ranked by their raw vectors.")
    });
    let caption = format!(
        "Search over all {} codes of {} on {threads} thread{}: queries per second (median of each seed, 95% interval over \
         seeds) against recall. The dashed line joins the Pareto front; points that another one beats in both are small.{again}{other}",
        dataset.facts.base,
        dataset.name,
        if threads == 1 { "" } else { "s" }
    );
    Ok(Some(Sketch { caption, drawing }))
}
