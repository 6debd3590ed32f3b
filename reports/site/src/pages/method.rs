//! The page of a method: its points on every dataset, and how they changed over source revisions.

use super::data::Board;
use super::frame::{self, link};
use super::rows::{Columns, table};
use maud::html;
use record::metric::NMSE;
use reports::number::significant;
use reports::summary::Which;
use std::collections::{BTreeMap, BTreeSet};

/// A configuration at a time.
struct Moment {
    label: String,
    date: String,
    revision: String,
    submission: usize,
    value: Option<f64>,
}

pub fn page(board: &Board, method: &str) -> String {
    // Datasets of one name may have other vectors, and labels may stand for other parameters: neither is a key.
    let mut history: BTreeMap<(&str, &str, &str), Vec<Moment>> = BTreeMap::new();
    let mut sections = Vec::new();
    for dataset in &board.datasets {
        let points: Vec<usize> =
            (0..dataset.summary.points.len()).filter(|at| dataset.summary.points[*at].method == method).collect();
        for at in &points {
            let (point, source) = (&dataset.summary.points[*at], &dataset.sources[*at]);
            let key = (dataset.summary.name.as_str(), dataset.path.as_str(), source.configuration.as_str());
            history.entry(key).or_default().push(Moment {
                label: if point.device == "cpu" {
                    point.label.clone()
                } else {
                    format!("{}, {}", point.label, point.device)
                },
                date: board.submissions.get(source.submission).map_or_else(String::new, |e| e.manifest.date.clone()),
                revision: source.revision.clone(),
                submission: source.submission,
                value: point.estimate(Which::metric(&NMSE)).map(|e| e.value),
            });
        }
        if !points.is_empty() {
            sections.push((dataset, points));
        }
    }
    // A history needs two revisions.
    history.retain(|_, moments| moments.iter().map(|m| &m.revision).collect::<BTreeSet<_>>().len() > 1);
    history
        .values_mut()
        .for_each(|moments| moments.sort_by(|a, b| (&a.date, &a.revision).cmp(&(&b.date, &b.revision))));
    let content = html! {
        @for (dataset, points) in &sections {
            section {
                h2 { a href={ "../" (dataset.path) } { (dataset.summary.name) } }
                (table(board, dataset, points, Columns::Quality, "../"))
            }
        }
        section {
            h2 id="history" { "History over revisions" }
            @if history.is_empty() { p { "No configuration was submitted with two source revisions yet." } }
            @else {
                p.hint { "The same configuration on the same vectors, by the date of the submission. The change is that of NMSE against the row above." }
                div.scroll { table.words {
                    thead { tr { th { "dataset" } th { "configuration" } th { "date" } th { "revision" } th { "NMSE" } th { "change" } th { "submission" } } }
                    tbody { @for ((dataset, path, _), moments) in &history {
                        @for (at, moment) in moments.iter().enumerate() { tr {
                            td { a href={ "../" (path) } { (dataset) } } td { (moment.label) }
                            td { (moment.date) } td { code { (moment.revision) } }
                            td { (moment.value.map_or_else(|| "–".to_owned(), |v| significant(v, 4))) }
                            td { (change(at.checked_sub(1).and_then(|before| moments[before].value), moment.value)) }
                            td { (link(board, moment.submission, "../")) }
                        } }
                    } }
                } }
            }
        }
    };
    frame::page(method, "../", &content)
}

/// The relative change of a value.
fn change(before: Option<f64>, now: Option<f64>) -> String {
    match (before, now) {
        (Some(before), Some(now)) if before == now => "none".to_owned(),
        (Some(before), Some(now)) if before != 0.0 => format!("{:+.3}%", 100.0 * (now / before - 1.0)),
        _ => String::new(),
    }
}
