//! The page of a submission: who, when and with what, its verification, and all its points.

use super::data::{Board, Entry};
use super::frame::{self, state};
use super::rows::{Columns, table};
use crate::verification::Verification;
use maud::{Markup, html};

/// Path of the page of a submission.
pub fn path(entry: &Entry) -> String {
    format!("submissions/{}.html", entry.manifest.id)
}

pub fn page(board: &Board, entry: &Entry) -> String {
    let manifest = &entry.manifest;
    let number = board.submissions.iter().position(|other| other.manifest.id == manifest.id);
    let content = html! {
        table.words.facts {
            tr { th { "who vouches" } td { (state(entry)) } }
            tr { th { "submitted by" } td { (manifest.name) @if let Some(contact) = &manifest.contact { " (" (contact) ")" } } }
            tr { th { "date" } td { (manifest.date) } }
            tr { th { "experiment" } td { (manifest.experiment) ", " (manifest.trials) " trials" } }
            tr { th { "vqbench" } td { "version " (manifest.version) ", revision " (entry.revisions.join(", ")) } }
            tr { th { "machine" } td { @for class in &entry.classes { @if let Some(path) = board.classes.get(class) { a href={ "../" (path) } { (class) } } " " } } }
            tr { th { "licence" } td { (manifest.licence) } }
        }
        section {
            h2 id="verification" { "Verification" }
            @match &entry.verification {
                Some(found) => (verification(found, entry)),
                None => p { "Nobody has run a sample of these trials again. " code { "cargo xtask verify " (manifest.id) " --sample 20" } " does." },
            }
        }
        @for dataset in &board.datasets {
            @let points: Vec<usize> = (0..dataset.sources.len()).filter(|at| Some(dataset.sources[*at].submission) == number).collect();
            @if !points.is_empty() {
                section {
                    h2 { a href={ "../" (dataset.path) } { (dataset.summary.name) } }
                    (table(board, dataset, &points, Columns::All(&entry.classes), "../"))
                }
            }
        }
    };
    frame::page(&manifest.id, "../", &content)
}

fn verification(found: &Verification, entry: &Entry) -> Markup {
    html! {
        p {
            "By " (found.by) " on " (found.date) ", version " (found.version) ", revision " (found.revision.as_deref().unwrap_or("unknown"))
            ", on " (found.machine) ", sample of seed " (found.seed) ". " (found.meaning())
        }
        @if !entry.is_current {
            p { strong { "It does not count: " } "it is about other files than these." }
        } @else if found.passed && entry.reproduced.is_none() {
            p { strong { "It does not count as reproduced: " } "it was made by the submitter or by somebody without a name." }
        }
        @if !found.disagreements.is_empty() { ul { @for line in &found.disagreements { li { (line) } } } }
        details { summary { (found.sample.len()) " trials ran again" } div.scroll { table.words {
            thead { tr { th { "trial" } th { "verdict" } th { "codes" } th { "quality" } } }
            tbody { @for trial in &found.sample {
                @let (codes, quality) = trial.words();
                tr { td { code { (trial.trial) } } td { (trial.verdict.as_str()) } td { (codes) } td { (quality) } }
            } }
        } } }
    }
}
