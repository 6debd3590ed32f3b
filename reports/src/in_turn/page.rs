//! The section "In turn" of a report, as HTML and as Markdown.

use super::PairReport;
use crate::words::WordTable;
use maud::{Markup, html as markup};

/// Heading of the section.
const TITLE: &str = "In turn";

/// Headings of the table.
pub(super) const HEAD: &[&str] =
    &["pair", "dataset", "metric", "ours", "theirs", "ours is better by", "95% interval", "rounds", "aim", "reached"];

/// The section as HTML; empty without pairs.
pub fn html(pairs: &[PairReport]) -> Markup {
    if pairs.is_empty() {
        return markup! {};
    }
    markup! {
        section id="in-turn" {
            h2 { (TITLE) }
            @for text in introduction(pairs) { p.facts { (text) } }
            (table(pairs).html())
        }
    }
}

/// The section as Markdown; empty without pairs.
pub fn markdown(pairs: &[PairReport], escape: fn(&str) -> String) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let texts: String = introduction(pairs).iter().map(|text| format!("\n{}\n", escape(text))).collect();
    format!("\n## {TITLE}\n{texts}\n{}", table(pairs).markdown(escape))
}

fn introduction(pairs: &[PairReport]) -> Vec<String> {
    let mut processors: Vec<&str> = pairs.iter().flat_map(|pair| &pair.processors).map(String::as_str).collect();
    processors.sort_unstable();
    processors.dedup();
    let mut texts = vec![
        "The two trials of a pair ran at the same time, and only one of them computed at a time: both met the same conditions. \
         A round is one repeat of each side, directly after each other; their order alternates. “2×” means twice as good: ours / \
         theirs, or theirs / ours where less is better. A ratio is the median over rounds, and over several seeds the geometric \
         mean of their medians; its interval is over seeds, and with one seed over its rounds. A difference is the mean over seeds, and \
         has an interval if there are several."
            .to_owned(),
    ];
    let labels = pairs.iter().map(|pair| (&pair.pair, &pair.labels));
    let mut named: Vec<String> = Vec::new();
    for (pair, [ours, theirs]) in labels {
        let line = format!("{pair}: {ours} compared with {theirs}");
        if !named.contains(&line) {
            named.push(line);
        }
    }
    texts.push(format!("{}.", named.join("; ")));
    if !processors.is_empty() {
        texts.push(format!("Measured on {}.", processors.join("; ")));
    }
    let aims: Vec<bool> = pairs.iter().flat_map(|pair| &pair.rows).filter_map(|row| row.reached()).collect();
    if !aims.is_empty() {
        texts.push(format!(
            "Aims that are reached: {} of {}.",
            aims.iter().filter(|reached| **reached).count(),
            aims.len()
        ));
    }
    texts
}

/// All rows of all pairs, in words.
pub(super) fn table(pairs: &[PairReport]) -> WordTable {
    let several = pairs.iter().any(|pair| pair.place != pairs[0].place);
    let mut rows = Vec::new();
    for pair in pairs {
        let dataset = if several { format!("{} ({})", pair.dataset, pair.place) } else { pair.dataset.clone() };
        for row in &pair.rows {
            let reached = match row.reached() {
                Some(true) => "yes",
                Some(false) => "no",
                None => "",
            };
            let mut cells = vec![pair.pair.clone(), dataset.clone(), row.title.clone()];
            cells.extend(row.words());
            cells.extend([row.aim_words(), reached.to_owned()]);
            rows.push(cells);
        }
    }
    WordTable { heading: TITLE.to_owned(), head: HEAD, rows }
}
