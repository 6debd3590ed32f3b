//! Tables in words, for sections of a page that are no leaderboard.

use maud::{Markup, html as markup};

/// A table in words.
pub(crate) struct WordTable {
    /// What it is about.
    pub(crate) heading: String,
    /// Headings of its columns.
    pub(crate) head: &'static [&'static str],
    /// Its cells, by rows.
    pub(crate) rows: Vec<Vec<String>>,
}

impl WordTable {
    /// As HTML, without its heading.
    pub(crate) fn html(&self) -> Markup {
        markup! {
            div.scroll tabindex="0" role="region" aria-label=(self.heading) { table.words aria-label=(self.heading) {
                thead { tr { @for title in self.head { th scope="col" { (title) } } } }
                tbody { @for row in &self.rows { tr { @for cell in row { td { (cell) } } } } }
            } }
        }
    }

    /// As Markdown, without its heading.
    pub(crate) fn markdown(&self, escape: fn(&str) -> String) -> String {
        let row = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        let mut out = row(&mut self.head.iter().map(|title| escape(title)));
        out += &format!("|{}\n", "--|".repeat(self.head.len()));
        for cells in &self.rows {
            out += &row(&mut cells.iter().map(|cell| escape(cell)));
        }
        out
    }
}
