//! Pairs that computed in turn as a LaTeX table (booktabs).

use super::PairReport;
use super::page::{HEAD, table as words};
use crate::latex::{breakable, escape, fitted};

/// A complete `table` environment that is at most as wide as a line of text.
pub fn table(pairs: &[PairReport]) -> String {
    let table = words(pairs);
    let mut processors: Vec<&str> = pairs.iter().flat_map(|pair| &pair.processors).map(String::as_str).collect();
    processors.sort_unstable();
    processors.dedup();
    let measured =
        if processors.is_empty() { String::new() } else { format!(" Measured on {}.", processors.join("; ")) };
    let caption = format!(
        "Pairs of methods that computed in turn. 2× means twice as good: ours / theirs, or theirs / ours where less is \
         better.{measured}"
    );
    let mut body =
        format!("{} \\\\\n\\midrule\n", HEAD.iter().map(|title| escape(title)).collect::<Vec<_>>().join(" & "));
    let mut last = None;
    for row in &table.rows {
        if last.is_some_and(|last| last != &row[..2]) {
            body += "\\addlinespace\n";
        }
        last = Some(&row[..2]);
        let cells: Vec<String> =
            row.iter().enumerate().map(|(i, cell)| if i < 2 { breakable(cell) } else { escape(cell) }).collect();
        body += &format!("{} \\\\\n", cells.join(" & "));
    }
    fitted(&escape(&caption), "in-turn", "lllrrrrrll", &body)
}
