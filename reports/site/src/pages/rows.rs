//! A table of points with the columns of leaderboards, and who vouches for each.

use super::data::{Board, Dataset};
use super::frame::{link, state};
use maud::{Markup, html};
use record::metric::{METRICS, Noise};
use reports::summary::DatasetSummary;
use reports::table::{Column, columns_on};

/// Most rows of a table. Pages of submissions have the others.
pub const MOST_ROWS: usize = 1000;

/// Which columns a table has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Columns<'a> {
    /// Quality and rate: the same on every machine.
    Quality,
    /// Times and speeds, and the rate: within this class of machines. Nobody vouches for them but the submitter.
    Speed(&'a str),
    /// All, of one submission, whose trials ran on these classes of machines: who vouches for it stands elsewhere on its page.
    All(&'a [String]),
}

impl<'a> Columns<'a> {
    fn has(self, column: &Column) -> bool {
        let timed = column.metric.noise == Noise::Timed;
        let rate = column.metric.name == record::metric::BITS_PER_VECTOR.name;
        match self {
            Columns::Quality => column.metric.noise == Noise::Exact,
            Columns::Speed(_) => timed || rate,
            Columns::All(_) => true,
        }
    }

    /// The columns of a dataset.
    fn of(self, dataset: &DatasetSummary) -> Vec<Column> {
        let all = match self {
            Columns::Quality => columns_on(dataset, METRICS, None),
            Columns::Speed(class) => columns_on(dataset, METRICS, Some(class)),
            Columns::All([class]) => columns_on(dataset, METRICS, Some(class)),
            Columns::All(classes) => {
                let mut all = columns_on(dataset, METRICS, None);
                for class in classes {
                    let timed = columns_on(dataset, METRICS, Some(class)).into_iter().filter(|c| c.machine.is_some());
                    all.extend(timed.map(|column| Column { title: format!("{}, on {class}", column.title), ..column }));
                }
                all
            }
        };
        all.into_iter().filter(|column| self.has(column)).collect()
    }
}

/// The points of a dataset with these indices. Nothing if none of them has such a column.
pub fn table(board: &Board, dataset: &Dataset, points: &[usize], which: Columns<'_>, up: &str) -> Markup {
    let columns: Vec<Column> = which.of(&dataset.summary);
    let any = |column: &&Column| points.iter().any(|at| column.cell(&dataset.summary.points[*at]).estimate.is_some());
    let columns: Vec<&Column> = columns.iter().filter(any).collect();
    let rest = points.len().saturating_sub(MOST_ROWS);
    html! {
        div.scroll { table {
            thead { tr {
                th scope="col" { "method" }
                @for column in &columns { th scope="col" title=(column.meaning) { (column.title) } }
                @if which == Columns::Quality { th.state scope="col" { "who vouches" } }
                @if !matches!(which, Columns::All(_)) { th.state scope="col" { "submission" } }
            } }
            tbody {
                @for at in points.iter().take(MOST_ROWS) {
                    @let point = &dataset.summary.points[*at];
                    @let source = &dataset.sources[*at];
                    tr {
                        th scope="row" title=(format!("{} seeds, {}, {} threads; {}", point.seed_count(), point.device, point.threads, point.origin)) { (point.label) }
                        @for column in &columns { td { (column.cell(point).text) } }
                        @if which == Columns::Quality {
                            td.state { @if let Some(entry) = board.submissions.get(source.submission) { (state(entry)) } }
                        }
                        @if !matches!(which, Columns::All(_)) { td.state { (link(board, source.submission, up)) } }
                    }
                }
            }
        } }
        @if rest > 0 { p.hint { (rest) " more rows are on the pages of the submissions." } }
    }
}
