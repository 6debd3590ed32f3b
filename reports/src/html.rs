//! The report as one self-contained page: inline figures, embedded font, and a small script for sorting.

use crate::differences::{self, Differences};
use crate::figure::style::{Column, REGULAR};
use crate::markdown::machine;
use crate::number::significant;
use crate::pictures;
use crate::provenance::Origins;
use crate::sampling::Sampled;
use crate::statistics::Estimate;
use crate::summary::DatasetSummary;
use crate::table::columns;
use crate::{Drawn, title};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use record::metric::Dictionary;
use record::{Results, Trial};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page; `files` are the extensions of the formats in which figures are also written.
pub fn page(
    runs: &[Results],
    datasets: &[DatasetSummary],
    figures: &[Drawn],
    pictures: &[pictures::PictureRow<'_>],
    files: &[&str],
    differences: &Differences,
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
    let origins = Origins::new(runs);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – vqbench" }
                style { (PreEscaped(font)) (PreEscaped(STYLE)) }
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
                        nav {
                            @for (i, d) in datasets.iter().enumerate() { a href=(format!("#d{i}")) { (d.name) } " " }
                            @if !differences.pairs.is_empty() { a href="#differences" { "Is the difference real?" } }
                        }
                    }
                }
                main {
                    (shown(figures, None, files))
                    @for (i, dataset) in datasets.iter().enumerate() {
                        section id=(format!("d{i}")) {
                            h2 { (dataset.name) }
                            p.facts {
                                (dataset.facts.train) " training, " (dataset.facts.base) " base and " (dataset.facts.queries)
                                " query vectors of " (dataset.facts.dim) " components, metric " (dataset.facts.metric_space)
                                ", variance " (significant(dataset.facts.variance, 4)) "."
                            }
                            @for remark in dataset.facts.remarks() { p.facts { strong { "Note: " } (remark) } }
                            @if dataset.points.is_empty() { p { "No trial on these vectors has succeeded." } }
                            @else { (leaderboard(dataset, dictionary, &origins)) }
                            (shown(figures, Some(&dataset.name), files))
                            (pictures::html(pictures, &dataset.name))
                        }
                    }
                    (differences::html(differences))
                    @if !failures.is_empty() {
                        section id="failures" {
                            h2 { "Failed trials" }
                            div.scroll { table {
                                thead { tr { th { "dataset" } th { "method" } th { "device" } th { "seed" } th { "status" } th { "reason" } } }
                                tbody { @for record in &failures { tr {
                                    td { (record.trial.dataset) } td { (record.trial.label) } td { (record.trial.device) }
                                    td { (record.trial.seed) } td { (record.status.as_str()) } td.reason { (record.reason.as_deref().unwrap_or("")) }
                                } } }
                            } }
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
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// Number of lines that are shown without a click.
const OPEN_LINES: usize = 3;

/// What was left out of a run, or found for it: a few lines at once, many on a click.
fn remarks(what: &str, lines: &[&str]) -> Markup {
    html! {
        @if lines.len() > OPEN_LINES {
            details { summary { (what) ": " (lines.len()) } ul.facts { @for line in lines { li { (line) } } } }
        } @else {
            @for line in lines { p.facts { strong { (what) ": " } (line) } }
        }
    }
}

/// The figures about a dataset, or about all datasets together.
fn shown(figures: &[Drawn], about: Option<&str>, files: &[&str]) -> Markup {
    html! {
        div.figures {
            @for figure in figures.iter().filter(|f| f.dataset.as_deref() == about) {
                figure class=(if figure.shown == Column::Single { "single" } else { "double" }) {
                    (PreEscaped(figure.page_svg()))
                    figcaption {
                        (figure.caption)
                        @for (column, _) in figure.widths.iter().filter(|_| !files.is_empty()) {
                            @if *column == Column::Single { " One column:" } @else { " Two columns:" }
                            @for file in files { " " a href=(format!("figures/{}.{file}", figure.file(*column))) { (file.to_uppercase()) } }
                        }
                    }
                }
            }
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

fn leaderboard(dataset: &DatasetSummary, dictionary: &Dictionary, origins: &Origins<'_>) -> Markup {
    let columns = columns(dataset, dictionary);
    let front = dataset.rate_distortion_front();
    html! {
        p.hint { "Click a heading to sort. " span.front { "●" } " marks methods on the Pareto front: no other has a lower distortion at the same or a lower rate. Hover over a value for its 95% interval, and over a method for its run, trials and source revision." }
        p.filter hidden {
            input type="search" placeholder="Show only methods with these words" aria-label=(format!("Show only methods with these words on {}", dataset.name));
            output {}
        }
        div.scroll {
            table.sortable {
                thead { tr {
                    th scope="col" data-kind="text" aria-sort="none" { button { "method" } }
                    @for column in &columns {
                        th scope="col" data-kind="number" data-first=(if column.metric.larger_is_better() == Some(true) { "descending" } else { "ascending" }) aria-sort="none" title=(column.meaning) { button { (column.title) } }
                    }
                } }
                tbody {
                    @for (point, on_front) in dataset.points.iter().zip(front) {
                        tr {
                            th scope="row" title=(format!("{} seeds, {}, {} threads; {}", point.seed_count(), point.device, point.threads, origins.describe(&point.trials))) {
                                span.front { @if on_front { "●" } } " " (point.label)
                            }
                            @for column in &columns {
                                @let cell = column.cell(point);
                                @match cell.estimate {
                                    Some(e) => td data-value=(e.value) title=(intervals(e, column.sampled(point, dataset))) { (cell.text) },
                                    None => td { (cell.text) },
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
