//! The page of a class of machines: the only place where speeds stand beside each other.

use super::data::Board;
use super::frame;
use super::rows::{Columns, table};
use maud::html;

pub fn page(board: &Board, class: &str) -> String {
    let content = html! {
        p.analysis {
            "Speeds on machines with this processor, number of cores, instruction set and GPU. They compare with each other, as far as \
             the machines were idle; speeds of other classes do not. All speeds are self-reported: a verification covers codes and quality."
        }
        @for dataset in &board.datasets {
            @let points: Vec<usize> = (0..dataset.sources.len()).filter(|at| dataset.sources[*at].classes.iter().any(|own| own == class)).collect();
            @if !points.is_empty() {
                section {
                    h2 { a href={ "../" (dataset.path) } { (dataset.summary.name) } }
                    (table(board, dataset, &points, Columns::Speed(class), "../"))
                }
            }
        }
    };
    frame::page(class, "../", &content)
}
