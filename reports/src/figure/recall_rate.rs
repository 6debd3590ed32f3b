//! Recall against rate, with and without re-ranking.

use super::Sketch;
use super::axis::Axis;
use super::chart::{Chart, Curve};
use crate::ReportError;
use crate::summary::{DatasetSummary, Path, Which};
use record::rerank_path;

pub fn draw(dataset: &DatasetSummary) -> Result<Option<Sketch>, ReportError> {
    let Some(k) = dataset.recall_k() else { return Ok(None) };
    let mut curves: Vec<Curve> = dataset.curves(|point| point.quality(Which::native("recall_k_at_k", k)));
    // One dashed curve for each method can be told from the others; the table has them all.
    let factor = dataset.rerank_factors("recall_k_at_k").pop();
    if let Some(factor) = factor {
        let path = rerank_path(factor);
        let which = Which { metric: "recall_k_at_k", k: Some(k), path: Path::Named(&path) };
        let reranked = dataset.curves(|point| point.quality(which));
        curves.extend(reranked.into_iter().map(|curve| Curve { secondary: true, ..curve }));
    }
    let Some(x) = Axis::log2(curves.iter().flat_map(|c| &c.points).map(|(x, _)| *x)) else { return Ok(None) };
    let svg = Chart {
        title: dataset.name.clone(),
        x_title: "rate, bits per vector".into(),
        y_title: format!("{k}-recall@{k}"),
        x,
        y: Axis::linear(0.0, 1.02),
        curves,
        references: vec![],
        secondary_name: factor.map(|f| format!("dashed: {f}× candidates re-ranked")),
    }
    .draw()?;
    let again = factor.map_or(String::new(), |f| {
        format!(" Dashed: {f} times as many candidates are fetched and re-ranked by their raw vectors.")
    });
    let caption = format!(
        "Share of the true {k} nearest neighbours among the {k} returned by search over codes on {}, against rate; \
         means over seeds with 95% intervals.{again}",
        dataset.name
    );
    Ok(Some(Sketch { caption, svg }))
}
