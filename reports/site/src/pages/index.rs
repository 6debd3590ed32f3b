//! The first page: the submissions, what they are about, and what was left out.

use super::data::{Board, Dataset};
use super::frame::{self, state};
use super::rows::{Columns, table};
use super::submission;
use maud::html;

/// Most rows of a leaderboard on the first page.
const TOP: usize = 12;

/// The points that no other beats in rate and distortion, evenly thinned if there are many. Of equal ones, the newest.
fn best(dataset: &Dataset) -> Vec<usize> {
    let front = dataset.summary.rate_distortion_front();
    let mut points: Vec<usize> = (0..front.len()).filter(|at| front[*at]).collect();
    points.sort_by_key(|at| dataset.summary.points[*at].bits);
    points.dedup_by_key(|at| (dataset.summary.points[*at].bits, dataset.summary.points[*at].label.clone()));
    let step = points.len().div_ceil(TOP).max(1);
    points.into_iter().step_by(step).collect()
}

pub fn page(board: &Board, left_out: &[(String, String)]) -> String {
    let content = html! {
        p.analysis {
            "Results of vector quantizers on public and private vectors, submitted by those who ran them. Quality compares across \
             machines; speed compares only within a class of machines, on the pages of machines."
        }
        section {
            h2 { "Submissions" }
            @if board.submissions.is_empty() { p { "There is none yet." } }
            @else { div.scroll { table.words {
                thead { tr { th { "submission" } th { "who vouches" } th { "by" } th { "date" } th { "experiment" } th { "trials" } th { "revision" } th { "machine" } } }
                tbody { @for entry in &board.submissions { tr {
                    td { a href=(submission::path(entry)) { (entry.manifest.id) } }
                    td { (state(entry)) }
                    td { (entry.manifest.name) } td { (entry.manifest.date) } td { (entry.manifest.experiment) }
                    td { (entry.manifest.trials) }
                    td { (entry.revisions.join(", ")) }
                    td { @for class in &entry.classes { @if let Some(path) = board.classes.get(class) { a href=(path) { (class) } } " " } }
                } } }
            } } }
            @if !left_out.is_empty() {
                h2 id="left-out" { "Left out" }
                p { "These folders are no submissions, or do not hold together. The other submissions do not depend on them." }
                ul { @for (folder, reason) in left_out { li { strong { (folder) } ": " (reason) } } }
            }
        }
        section {
            h2 id="datasets" { "Leaderboards" }
            p.hint { "Per dataset: the methods that no other beats, neither with fewer bits at the same distortion nor with less distortion at the same rate. Of more than " (TOP) ", only some are shown, evenly over the rates; the page of the dataset has all." }
            @for dataset in &board.datasets {
                h3 { a href=(dataset.path) { (dataset.summary.name) } }
                (table(board, dataset, &best(dataset), Columns::Quality, ""))
            }
        }
        section {
            h2 id="methods" { "Methods" }
            ul { @for (name, path) in &board.methods { li { a href=(path) { (name) } } } }
        }
        section {
            h2 id="machines" { "Classes of machines" }
            ul { @for (name, path) in &board.classes { li { a href=(path) { (name) } } } }
        }
    };
    frame::page("vqbench submissions", "", &content)
}
