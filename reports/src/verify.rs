//! Compares the files of a report with what its runs give now, byte by byte: rendering is deterministic, so every
//! difference is a change of the report, of the runs or of this program.

use crate::Artifact;
use polars::prelude::*;
use record::{GeneratedFolder, contained};
use std::collections::BTreeSet;
use std::fmt;
use std::io::Cursor;

/// Characters of a line that are shown before and after the first difference.
const AROUND: usize = 30;

/// A file of a report that is not as it was rendered again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The file has other content.
    Changed {
        /// Path relative to the report folder.
        path: String,
        /// The first place that differs, with both texts.
        place: String,
    },
    /// The report lacks the file.
    Missing(String),
    /// The report has the file, and the runs do not give it.
    Additional(String),
    /// The folder's list of generated files lacks the file.
    Unlisted(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Changed { path, place } => write!(f, "{path} differs: {place}"),
            Difference::Missing(path) => write!(f, "{path} is missing"),
            Difference::Additional(path) => write!(f, "{path} is not part of this report: the runs do not give it"),
            Difference::Unlisted(path) => write!(f, "{path} is not on the folder's list of generated files"),
        }
    }
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Number of files that were rendered again.
    pub files: usize,
    /// Number of CSV tables among them.
    pub tables: usize,
    /// Number of cells in these tables that are numbers.
    pub values: usize,
    /// What differs, by path.
    pub differences: Vec<Difference>,
}

/// Compares the files that were found with the files that the runs give now.
pub fn verify(found: &GeneratedFolder, rendered: &[Artifact]) -> Verification {
    let mut differences = Vec::new();
    let mut sorted: Vec<&Artifact> = rendered.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    for Artifact { path, bytes } in &sorted {
        match found.files.get(path) {
            None => differences.push(Difference::Missing(path.clone())),
            Some(existing) if existing != bytes => {
                differences.push(Difference::Changed { path: path.clone(), place: place(path, existing, bytes) });
            }
            Some(_) if !found.listed.contains(path) => differences.push(Difference::Unlisted(path.clone())),
            Some(_) => {}
        }
    }
    let expected: BTreeSet<&String> = rendered.iter().map(|artifact| &artifact.path).collect();
    let additional = found.files.keys().chain(&found.listed).filter(|path| !expected.contains(path));
    let additional: BTreeSet<&String> = additional.collect();
    differences.extend(additional.into_iter().cloned().map(Difference::Additional));
    let tables: Vec<&Artifact> = sorted.into_iter().filter(|artifact| is_csv(&artifact.path)).collect();
    let values = tables.iter().filter_map(|table| read_csv(&table.bytes).ok()).map(|frame| numbers(&frame)).sum();
    Verification { files: rendered.len(), tables: tables.len(), values, differences }
}

fn is_csv(path: &str) -> bool {
    path.ends_with(".csv")
}

/// The first place where a file differs.
fn place(path: &str, existing: &[u8], rendered: &[u8]) -> String {
    let cell = if is_csv(path) { differing_cell(existing, rendered) } else { None };
    let line = || differing_line(std::str::from_utf8(existing).ok()?, std::str::from_utf8(rendered).ok()?);
    cell.or_else(line).unwrap_or_else(|| differing_byte(existing, rendered))
}

/// Reads a CSV table, with all cells as texts.
fn read_csv(bytes: &[u8]) -> Result<DataFrame, String> {
    let options =
        CsvReadOptions::default().with_has_header(true).with_infer_schema_length(Some(0)).with_n_threads(Some(1));
    contained(|| {
        let reader = options.into_reader_with_file_handle(Cursor::new(bytes.to_vec()));
        reader.finish().map_err(|error| error.to_string())
    })
}

/// Number of cells that are numbers.
fn numbers(frame: &DataFrame) -> usize {
    let texts = frame.columns().iter().filter_map(|column| column.str().ok());
    texts.flat_map(|column| column.iter().flatten()).filter(|text| text.parse::<f64>().is_ok()).count()
}

/// The first cell of a table that differs; returns None if a table cannot be read, or if both differ in their rows and
/// columns and not in a cell.
fn differing_cell(existing: &[u8], rendered: &[u8]) -> Option<String> {
    let (existing, rendered) = (read_csv(existing).ok()?, read_csv(rendered).ok()?);
    if existing.get_column_names() != rendered.get_column_names() {
        return None;
    }
    let cell = |frame: &DataFrame, column: usize, row: usize| -> Option<String> {
        frame.columns().get(column)?.str().ok()?.get(row).map(str::to_owned)
    };
    for row in 0..existing.height().min(rendered.height()) {
        for (column, name) in rendered.get_column_names().into_iter().enumerate() {
            let (old, new) = (cell(&existing, column, row), cell(&rendered, column, row));
            if old != new {
                let first = cell(&rendered, 0, row).unwrap_or_default();
                let [old, new] = [old, new].map(Option::unwrap_or_default);
                let at = format!("row {} ({first}), column `{name}`", row + 1);
                return Some(format!("{at} has `{old}`; the run gives `{new}`"));
            }
        }
    }
    None
}

/// The first line that differs; returns None if the texts are equal.
fn differing_line(existing: &str, rendered: &str) -> Option<String> {
    let (mut old, mut new) = (existing.split('\n'), rendered.split('\n'));
    let mut number = 0;
    loop {
        number += 1;
        match (old.next(), new.next()) {
            (None, None) => return None,
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => {
                let same = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
                let (old, new) = (excerpt(old, same), excerpt(new, same));
                return Some(format!("line {number} has `{old}`; the run gives `{new}`"));
            }
            (Some(old), None) => {
                return Some(format!("line {number} has `{}`; the run gives no such line", excerpt(old, 0)));
            }
            (None, Some(new)) => {
                return Some(format!("it has no line {number}; the run gives `{}`", excerpt(new, 0)));
            }
        }
    }
}

/// The part of a line around a character. Lines of pages can be very long.
fn excerpt(line: &str, at: usize) -> String {
    let start = at.saturating_sub(AROUND);
    let mut rest = line.chars().skip(start);
    let part: String = rest.by_ref().take(at - start + AROUND).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if rest.next().is_some() { "…" } else { "" };
    format!("{before}{part}{after}")
}

/// The first byte that differs.
fn differing_byte(existing: &[u8], rendered: &[u8]) -> String {
    let at = existing.iter().zip(rendered).take_while(|(a, b)| a == b).count();
    if at == existing.len() {
        return format!("it ends after {at} bytes; the run gives {}", rendered.len());
    }
    format!("byte {} of {}; the run gives {} bytes", at + 1, existing.len(), rendered.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(path: &str, bytes: &[u8]) -> Artifact {
        Artifact { path: path.into(), bytes: bytes.into() }
    }

    /// A report and the folder it was written into.
    fn report() -> (GeneratedFolder, Vec<Artifact>) {
        let artifacts = vec![
            artifact("report.md", "one\ntwo 0.25 three\n".as_bytes()),
            artifact("figures/a.png", b"\x89PNG\xff\x00\x01"),
            artifact("tables/a.csv", b"method,nmse\n\"PQ, small\",0.25\nLBG,\n"),
        ];
        let files = artifacts.iter().map(|a| (a.path.clone(), a.bytes.clone())).collect();
        let listed = artifacts.iter().map(|a| a.path.clone()).collect();
        (GeneratedFolder { files, listed }, artifacts)
    }

    fn changed(path: &str, bytes: &[u8]) -> Vec<String> {
        let (mut found, artifacts) = report();
        found.files.insert(path.into(), bytes.into());
        verify(&found, &artifacts).differences.iter().map(Difference::to_string).collect()
    }

    #[test]
    fn an_unchanged_report_is_verified_and_counted() {
        let (found, artifacts) = report();
        let expected = Verification { files: 3, tables: 1, values: 1, differences: vec![] };
        assert_eq!(verify(&found, &artifacts), expected);
    }

    #[test]
    fn the_first_difference_of_a_file_is_named() {
        assert_eq!(
            changed("tables/a.csv", b"method,nmse\n\"PQ, small\",0.26\nLBG,\n"),
            ["tables/a.csv differs: row 1 (PQ, small), column `nmse` has `0.26`; the run gives `0.25`"]
        );
        assert_eq!(
            changed("tables/a.csv", b"method,nmse\n\"PQ, small\",0.25\nLBG,1\n"),
            ["tables/a.csv differs: row 2 (LBG), column `nmse` has `1`; the run gives ``"]
        );
        // What is no cell is a line: a heading, a row too many, other quotes.
        assert_eq!(
            changed("tables/a.csv", b"method,mse\n\"PQ, small\",0.25\nLBG,\n"),
            ["tables/a.csv differs: line 1 has `method,mse`; the run gives `method,nmse`"]
        );
        assert_eq!(
            changed("tables/a.csv", b"method,nmse\n\"PQ, small\",0.25\n\"LBG\",\n"),
            ["tables/a.csv differs: line 3 has `\"LBG\",`; the run gives `LBG,`"]
        );
        assert_eq!(
            changed("report.md", b"one\ntwo 0.26 three\n"),
            ["report.md differs: line 2 has `two 0.26 three`; the run gives `two 0.25 three`"]
        );
        assert_eq!(
            changed("report.md", b"one"),
            ["report.md differs: it has no line 2; the run gives `two 0.25 three`"]
        );
        assert_eq!(
            changed("report.md", b"one\ntwo 0.25 three\n\nmore"),
            ["report.md differs: line 4 has `more`; the run gives no such line"]
        );
        assert_eq!(
            changed("figures/a.png", b"\x89PNG\xff\x00\x02"),
            ["figures/a.png differs: byte 7 of 7; the run gives 7 bytes"]
        );
        assert_eq!(
            changed("figures/a.png", b"\x89PNG"),
            ["figures/a.png differs: it ends after 4 bytes; the run gives 7"]
        );
        // Bytes that no table and no text has.
        assert!(changed("tables/a.csv", b"\xff\xfe\"")[0].starts_with("tables/a.csv differs: byte 1 of 3"));
        assert_eq!(changed("tables/a.csv", b""), ["tables/a.csv differs: line 1 has ``; the run gives `method,nmse`"]);
    }

    #[test]
    fn long_lines_are_shown_around_their_difference() {
        let line = |digit: char| format!("{}{digit}{}", "<td>".repeat(100), "</td>".repeat(100));
        let text = differing_line(&line('1'), &line('2')).expect("differs");
        assert!(text.contains("td><td>1</td>") && text.contains("td><td>2</td>"), "{text}");
        assert!(text.chars().count() < 200 && text.contains('…'), "{text}");
    }

    #[test]
    fn missing_additional_and_unlisted_files_are_found() {
        let (mut found, artifacts) = report();
        found.files.remove("figures/a.png");
        found.files.insert("figures/b.png".into(), vec![]);
        found.listed.remove("report.md");
        found.listed.insert("notes.txt".into());
        let differences = verify(&found, &artifacts).differences;
        let expected = [
            Difference::Missing("figures/a.png".into()),
            Difference::Unlisted("report.md".into()),
            Difference::Additional("figures/b.png".into()),
            Difference::Additional("notes.txt".into()),
        ];
        assert_eq!(differences, expected);
    }
}
