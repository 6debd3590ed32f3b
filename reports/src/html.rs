//! The report as one self-contained page: figures, embedded font, data, and the script that works on them. Nothing of it
//! is fetched from anywhere.

mod details;
mod embedded;
mod figures;
mod logs;
mod repeat;
mod tables;

use crate::advice;
use crate::differences::{self, Differences};
use crate::figure::style::REGULAR;
use crate::in_turn::{self, PairReport};
use crate::machines::{self, Classes};
use crate::markdown::machine;
use crate::number::significant;
use crate::pictures;
use crate::provenance::Origins;
use crate::sampling::Sampled;
use crate::statistics::Estimate;
use crate::summary::DatasetSummary;
use crate::table::columns;
use crate::{Drawn, spent, title, vectors};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use details::Details;
use figures::Figures;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use record::metric::Dictionary;
use record::{Ended, Results, Trial};
use tables::Tables;

/// The looks of pages.
pub const STYLE: &str = include_str!("page.css");

/// The script of the page. Its names are not those of other scripts.
const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("page/state.js"),
    include_str!("page/filters.js"),
    include_str!("page/table.js"),
    include_str!("page/trial.js"),
    include_str!("page/figures.js"),
    include_str!("advice/advice.js"),
    include_str!("page.js"),
    "})();\n"
);

/// Zoom of figures (MIT licence, see `vendor/panzoom-MIT-License.txt`).
const PANZOOM: &str = include_str!("../vendor/panzoom-4.6.2.min.js");

/// What the page may do: run what stands in it, and fetch nothing.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; font-src data:; img-src data:; form-action 'none'";

/// Rows of a table that stand in the page as they are, and of all tables together; the script adds the others.
const ROWS: usize = 100;
const ALL_ROWS: usize = 200;

/// Bytes of data, figures, pictures and advice. With all other parts, the page stays below 2 MB, unless pictures alone take
/// all of it.
const ROOM: usize = 1_400_000;

/// Bytes that figures may take if pictures alone take the room: such a page is larger than 2 MB, and still shows its figures.
const BESIDE_PICTURES: usize = 600_000;

/// The whole page; `files` are the extensions of the formats in which figures are also written.
pub fn page(
    runs: &[Results],
    datasets: &[DatasetSummary],
    figures: &[Drawn],
    pictures: &[pictures::PictureRow<'_>],
    files: &[&str],
    (pairs, differences): (&[PairReport], &Differences),
    dictionary: &Dictionary,
) -> String {
    let title = title(runs);
    let font = format!(
        "@font-face{{font-family:Inter;src:url(data:font/otf;base64,{}) format('opentype')}}",
        STANDARD.encode(REGULAR)
    );
    let failures: Vec<_> = runs.iter().flat_map(Results::failures).collect();
    let succeeded: usize = runs.iter().map(|r| r.ended.len()).sum::<usize>() - failures.len();
    let missing: usize = runs.iter().map(Results::missing).sum();
    let origins = Origins::new(runs, &Classes::of(runs));
    let fronts: Vec<Vec<bool>> = datasets.iter().map(DatasetSummary::rate_distortion_front).collect();
    let tables = Tables::fitting(runs, datasets, &fronts, dictionary);
    let details = Details::fitting(runs, datasets, dictionary, &tables);
    let advice: Vec<Markup> = datasets.iter().enumerate().map(|(i, dataset)| advice::panel(dataset, i)).collect();
    let advised: usize = advice.iter().map(|panel| panel.0.len()).sum();
    let left = ROOM.saturating_sub(tables.len() + details.len() + advised);
    let beside = match left.saturating_sub(pictures::bytes(pictures)) {
        0 => left.min(BESIDE_PICTURES),
        room => room,
    };
    let figures = Figures::new(figures, beside);
    let rows = (ALL_ROWS / datasets.len().max(1)).clamp(1, ROWS);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – vqbench" }
                style { (PreEscaped(font)) (PreEscaped(STYLE)) }
                style { (PreEscaped(advice::STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    @for run in runs {
                        @if !run.info.analysis.is_empty() { p.analysis { (run.info.analysis) } }
                        (remarks("Left out", &run.info.skipped.iter().map(String::as_str).collect::<Vec<_>>()))
                        (remarks("Found", &run.info.found().collect::<Vec<_>>()))
                    }
                    p.counts {
                        (succeeded) " trials succeeded"
                        @if !failures.is_empty() { ", " a href="#failures" { (failures.len()) " did not" } }
                        @if missing > 0 { ", " (missing) " not run" }
                        ". All bits stored per vector are counted; distortion is measured on vectors not trained on; every method was trained again for every seed."
                    }
                    @if datasets.len() > 1 {
                        nav aria-label="Sections" {
                            @for (i, d) in datasets.iter().enumerate() { a href=(format!("#d{i}")) { (d.name) } " " }
                            @if !pairs.is_empty() { a href="#in-turn" { "In turn" } " " }
                            @if !differences.pairs.is_empty() { a href="#differences" { "Is the difference real?" } }
                        }
                    }
                    form id="filters" role="search" aria-label="Filter" hidden {}
                }
                main {
                    (figures.about(None, files))
                    @for (i, dataset) in datasets.iter().enumerate() {
                        section id=(format!("d{i}")) {
                            h2 { (dataset.name) }
                            p.facts {
                                (dataset.facts.train) " training, " (dataset.facts.base) " base and " (dataset.facts.queries)
                                " query vectors of " (dataset.facts.dim) " components, metric " (dataset.facts.metric_space)
                                ", variance " (significant(dataset.facts.variance, 4)) "."
                            }
                            @for remark in dataset.facts.remarks() { p.facts { strong { "Note: " } (remark) } }
                            (vectors::html(&dataset.facts))
                            @if dataset.points.is_empty() { p { "No trial on these vectors has succeeded." } }
                            @if let Some(note) = machines::note(dataset) { p.facts { strong { "Note: " } (note) } }
                            @if !dataset.points.is_empty() { (advice[i]) (leaderboard(dataset, &fronts[i], dictionary, &origins, rows)) }
                            (figures.about(Some(&dataset.name), files))
                            (pictures::html(pictures, &dataset.name))
                        }
                    }
                    (in_turn::html(pairs))
                    (differences::html(differences))
                    (spent::html(runs, datasets))
                    (machines::html(runs))
                    @if !failures.is_empty() {
                        section id="failures" {
                            h2 { "Failed trials" }
                            (failed(&failures))
                        }
                    }
                }
                footer {
                    @for run in runs {
                        p {
                            strong { (run.info.name) } ": "
                            @for found in run.machines() { (machine(found)) ". " }
                            (listed(run, |t| t.threads as u64)) " threads per trial, seeds " (listed(run, |t| t.seed)) "."
                        }
                    }
                }
                dialog id="trial" aria-labelledby="trial-title" {}
                div id="tip" role="status" {}
                (tables.element("report-tables"))
                (details.element("report-details"))
                script { (PreEscaped(PANZOOM)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// Number of lines that are shown without a click.
const OPEN_LINES: usize = 3;

/// Characters of the reason why a trial failed, in a row.
const REASON: usize = 1000;

/// Number of lines that a page repeats; the run has all of them.
const MOST_LINES: usize = 300;

/// What was left out of a run, or found for it: a few lines at once, many on a click.
fn remarks(what: &str, lines: &[&str]) -> Markup {
    html! {
        @if lines.len() > OPEN_LINES {
            details { summary { (what) ": " (lines.len()) } ul.facts {
                @for line in lines.iter().take(MOST_LINES) { li { (line) } }
                @if lines.len() > MOST_LINES { li { "… and " (lines.len() - MOST_LINES) " more, which are in run.json" } }
            } }
        } @else {
            @for line in lines { p.facts { strong { (what) ": " } (line) } }
        }
    }
}

/// The distinct values of the trials, in order.
fn listed(run: &Results, of: fn(&Trial) -> u64) -> String {
    let mut values: Vec<u64> = run.info.trials.iter().map(of).collect();
    values.sort_unstable();
    values.dedup();
    values.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// The intervals of a value, in words.
fn intervals(estimate: Estimate, sampled: Option<Sampled>) -> String {
    let observed = format!(
        "{} to {} ({} observations)",
        significant(estimate.low, 4),
        significant(estimate.high, 4),
        estimate.count
    );
    match sampled {
        Some(Sampled { low, high, count, of }) => {
            let (low, high) = (significant(low, 4), significant(high, 4));
            format!("over seeds: {observed}; over {count} {of}: {low} to {high}")
        }
        None => observed,
    }
}

fn leaderboard(
    dataset: &DatasetSummary,
    front: &[bool],
    dictionary: &Dictionary,
    origins: &Origins<'_>,
    rows: usize,
) -> Markup {
    let columns = columns(dataset, dictionary);
    let label = format!("Methods on {}", dataset.name);
    html! {
        p.hint {
            "Click a heading to sort, and a method for its parameters, all its values, and the experiment that repeats it. "
            span.front { "●" } " marks methods on the Pareto front: no other has a lower distortion at the same or a lower rate. \
             Point at a value for its 95% interval, and at a method for its run, trials and source revision."
        }
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table.sortable aria-label=(label) {
                thead { tr {
                    th scope="col" data-kind="text" aria-sort="none" { button type="button" { "method" } }
                    @for column in &columns {
                        th scope="col" data-kind="number" data-first=(if column.metric.larger_is_better() == Some(true) { "descending" } else { "ascending" }) aria-sort="none" title=(column.meaning) { button type="button" { (column.title) } }
                    }
                } }
                tbody {
                    @for (point, on_front) in dataset.points.iter().zip(front).take(rows) {
                        tr {
                            th scope="row" title=(format!("{} seeds, {}, {} threads; {}", point.seed_count(), point.device, point.threads, origins.describe(&point.trials))) {
                                span.front { @if *on_front { "●" } } " " (point.label)
                            }
                            @for column in &columns {
                                @let cell = column.cell(point);
                                @match cell.estimate {
                                    Some(e) => td title=(intervals(e, column.sampled(point, dataset))) { (cell.text) },
                                    None => td { (cell.text) },
                                }
                            }
                        }
                    }
                }
            }
        }
        (more_rows(dataset.points.len(), rows))
    }
}

/// What a table does not show without the script.
fn more_rows(all: usize, shown: usize) -> Markup {
    html! {
        @if all > shown { noscript { p.hint { "The first " (shown) " of " (all) " rows. The others need the script of this page." } } }
    }
}

/// The trials that did not succeed.
fn failed(failures: &[&Ended]) -> Markup {
    let heading = |title: &str, kind: &str| {
        html! { th scope="col" data-kind=(kind) aria-sort="none" { button type="button" { (title) } } }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Failed trials" {
            table aria-label="Failed trials" {
                thead { tr {
                    (heading("method", "text")) (heading("dataset", "text")) (heading("device", "text"))
                    (heading("seed", "number")) (heading("status", "text")) (heading("reason", "text"))
                } }
                tbody { @for ended in failures.iter().take(ROWS) { tr {
                    th scope="row" { (ended.trial.label) } td { (ended.trial.dataset) } td { (ended.trial.device) }
                    td { (ended.trial.seed) } td { (ended.status.as_str()) } td.reason { (ended.reason.as_deref().unwrap_or("").chars().take(REASON).collect::<String>()) }
                } } }
            }
        }
        (more_rows(failures.len(), ROWS))
    }
}
