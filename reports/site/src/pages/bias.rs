//! The page on bias: whose interests are behind these numbers, and which vectors they are about.

use super::data::Board;
use super::frame;
use maud::html;
use std::collections::BTreeMap;

pub fn page(board: &Board) -> String {
    let mut people: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for entry in &board.submissions {
        let counts = people.entry(&entry.manifest.name).or_default();
        counts.0 += 1;
        counts.1 += usize::from(entry.reproduced.is_some());
    }
    let content = html! {
        p.analysis { "Every benchmark favours something. This page says what we know of it, so that readers can allow for it." }
        section {
            h2 { "Whose interests" }
            ul {
                li { "Those who wrote vqbench also wrote every method in it. A method of theirs had more of their attention than one that they took from a paper: a bad result of the latter may be their mistake." }
                li { "Whoever submits chooses the experiment: the methods, their parameters, and which runs are never shown. A submission of one's own method beside others with default parameters favours one's own." }
                li { "“Reproduced” says that the numbers are true of this program. It does not say that the experiment was a fair one." }
            }
            h3 { "Who has submitted" }
            table.words {
                thead { tr { th { "name" } th { "submissions" } th { "reproduced by others" } } }
                tbody { @for (name, (count, reproduced)) in &people { tr { td { (name) } td { (count) } td { (reproduced) } } } }
            }
        }
        section {
            h2 { "Which vectors" }
            ul {
                li { "The catalog of vqbench holds what may be passed on freely and is small enough to try: mostly embeddings of English words and sentences, and image descriptors. Vectors of other languages, of sound, of users and goods, and whatever companies search in, are rare or missing." }
                li { "Most sets have some ten thousand vectors. Codebooks that need millions of training vectors cannot show what they can do." }
                li { "Queries mostly come from the same distribution as the base vectors. Real queries often come from another." }
                li { "Public vectors are known to those who design methods: methods may have been designed with them in mind." }
            }
            h3 { "What was measured on" }
            table.words {
                thead { tr { th { "dataset" } th { "base vectors" } th { "components" } th { "points" } } }
                tbody { @for dataset in &board.datasets { tr {
                    td { a href=(dataset.path) { (dataset.summary.name) } } td { (dataset.summary.facts.base) }
                    td { (dataset.summary.facts.dim) } td { (dataset.summary.points.len()) }
                } } }
            }
        }
        section {
            h2 { "Which questions" }
            ul {
                li { "vqbench measures codes and scans all of them. Methods whose strength is an index, and systems that fetch raw vectors from a disk, look worse here than they are." }
                li { "Rate counts every bit per vector, and the model apart. With few vectors, a large model is cheap in these tables and dear in practice." }
                li { "Distortion is the squared error. Methods made for inner products or for an application's own loss are judged by what they were not made for." }
                li { "Speed is that of this implementation on an otherwise idle machine, mostly on a CPU." }
            }
            p { "Corrections and additions to this page are welcome: it is written in " code { "reports/site/src/pages/bias.rs" } "." }
        }
    };
    frame::page("Bias", "", &content)
}
