//! The page of a dataset: its quality figures and all points, whoever submitted them.

use super::data::{Board, Dataset};
use super::frame;
use super::rows::{Columns, table};
use maud::{PreEscaped, html};
use reports::summary::DatasetSummary;
use reports::{ReportError, page_figures};
use std::collections::HashSet;

/// The figures, by name.
const FIGURES: [&str; 3] = ["rate-distortion", "rate-gap", "recall-rate"];

/// Most curves of a figure that a reader can tell apart.
const MOST_CURVES: usize = 24;

pub fn page(board: &Board, dataset: &Dataset) -> Result<String, ReportError> {
    let facts = &dataset.summary.facts;
    let all: Vec<usize> = (0..dataset.summary.points.len()).collect();
    // A figure has one point per configuration: that of a reproduced submission if there is one, otherwise the newest.
    let mut order = all.clone();
    order.sort_by_key(|at| {
        let submission = dataset.sources[*at].submission;
        (board.submissions.get(submission).is_none_or(|entry| entry.reproduced.is_none()), submission)
    });
    let mut seen = HashSet::new();
    let chosen: HashSet<usize> =
        order.into_iter().filter(|at| seen.insert(dataset.sources[*at].configuration.as_str())).collect();
    let shown = DatasetSummary {
        name: dataset.summary.name.clone(),
        facts: facts.clone(),
        machines: dataset.summary.machines.clone(),
        points: all.iter().filter(|at| chosen.contains(at)).map(|at| dataset.summary.points[*at].clone()).collect(),
    };
    let many = shown.series().len() > MOST_CURVES;
    let figures = if many { vec![] } else { page_figures(&shown, &FIGURES)? };
    let content = html! {
        p.facts {
            (facts.train) " training, " (facts.base) " base and " (facts.queries) " query vectors of " (facts.dim)
            " components, metric " (facts.metric_space) "."
        }
        p.facts { "Digest of the vectors and their split: " code { (facts.fingerprint) } }
        @for remark in facts.remarks() { p.facts { strong { "Note: " } (remark) } }
        @if many { p.hint { "There are too many curves for a figure; the pages of methods have fewer." } }
        div.figures {
            @for figure in &figures {
                figure.single { (PreEscaped(&figure.svg)) figcaption { (figure.caption) } }
            }
        }
        section {
            h2 { "All submitted points" }
            (table(board, dataset, &all, Columns::Quality, "../"))
        }
    };
    Ok(frame::page(&dataset.summary.name, "../", &content))
}
