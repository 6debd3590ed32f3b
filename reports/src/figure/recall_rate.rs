//! Recall against rate, with and without re-ranking.

use super::axis::Axis;
use super::chart::{Chart, PlotSeries};
use super::{Drawing, Sketch};
use crate::ReportError;
use crate::summary::{DatasetSummary, Path, Which};
use crate::table::of_k;
use record::metric::{BITS_PER_VECTOR, RECALL_K_AT_K};
use record::rerank_path;

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(k) = dataset.shown_k(&RECALL_K_AT_K) else { return Ok(None) };
    let mut curves: Vec<PlotSeries> = dataset.curves(|point| point.estimate(Which::native(&RECALL_K_AT_K, k)));
    // Show only one re-ranking factor, so that there is one dashed curve per method; the table has all factors.
    let factor = dataset.rerank_factors(&RECALL_K_AT_K).pop();
    if let Some(factor) = factor {
        let path = rerank_path(factor);
        let which = Which { path: Path::Named(&path), ..Which::native(&RECALL_K_AT_K, k) };
        let reranked = dataset.curves(|point| point.estimate(which));
        curves.extend(reranked.into_iter().map(|curve| PlotSeries { secondary: true, ..curve }));
    }
    let Some(x) = Axis::log2(curves.iter().flat_map(|c| &c.points).map(|(x, _)| *x)) else { return Ok(None) };
    let drawing = Drawing::Chart(Chart {
        x_title: BITS_PER_VECTOR.axis(),
        y_title: of_k(&RECALL_K_AT_K.axis(), k),
        x,
        y: Axis::linear(0.0, 1.02),
        curves,
        references: vec![],
        secondary_name: factor.map(|f| format!("dashed: {f}× candidates re-ranked")),
        inset: false,
    });
    let again = factor.map_or(String::new(), |f| {
        format!(" Dashed: {f} times as many candidates are fetched and re-ranked by their raw vectors.")
    });
    let caption = format!(
        "Share of the true {k} nearest neighbours among the {k} returned by search over codes on {}, against rate; \
         means over seeds with 95% intervals.{again}",
        dataset.name
    );
    Ok(Some(Sketch { caption, drawing }))
}
