//! What all pages share: their head, the links between them, and the words for who vouches for a number.

use super::data::{Board, Entry};
use maud::{DOCTYPE, Markup, html};

/// A page in the folder `up` leads out of: `""` at the top, `"../"` one below.
pub fn page(title: &str, up: &str, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – vqbench submissions" }
                link rel="stylesheet" href={ (up) "style.css" };
            }
            body {
                header {
                    nav.site aria-label="Site" {
                        a href={ (up) "index.html" } { "Submissions" }
                        a href={ (up) "index.html#datasets" } { "Datasets" }
                        a href={ (up) "index.html#methods" } { "Methods" }
                        a href={ (up) "index.html#machines" } { "Machines" }
                        a href={ (up) "bias.html" } { "Bias" }
                    }
                    h1 { (title) }
                }
                main { (content) }
                footer {
                    p {
                        "Numbers come from the records of the trials in each submission. “Self-reported”: only the submitter vouches for them. \
                         “Reproduced”: somebody else ran a random sample of the trials again and got the same codes and the same quality."
                    }
                }
            }
        }
    }
    .into_string()
}

/// Who vouches for a submission.
pub fn state(entry: &Entry) -> Markup {
    html! {
        @match (&entry.reproduced, &entry.verification) {
            (Some(found), _) => span.reproduced title=(found.meaning()) { "reproduced (" (found.sample.len()) " of " (found.trials) ")" },
            (None, Some(found)) if entry.is_current && found.failed() => span.self title=(found.meaning()) { "self-reported; verification failed" },
            (None, Some(found)) if entry.is_current && !found.passed => span.self title=(found.meaning()) { "self-reported; part of a sample could not run elsewhere" },
            (None, _) => span.self { "self-reported" },
        }
    }
}

/// A link to the page of a submission.
pub fn link(board: &Board, submission: usize, up: &str) -> Markup {
    html! {
        @if let Some(entry) = board.submissions.get(submission) {
            a href={ (up) (super::submission::path(entry)) } { (entry.manifest.id) }
        }
    }
}
