//! Whether the tables of a run say what the records of its trials say.
//!
//! Reports are rendered from the tables. So a report can be believed only if its tables agree with the records, which the
//! trials themselves wrote.

use crate::frame::{self, RESULTS, TRIALS};
use crate::results::{CSV_FILE, RESULTS_FILE, TRIALS_FILE};
use crate::{RecordError, Results, Run, RunFolder, Trial, TrialRecord, VALUES, regular};
use polars::prelude::{AnyValue, DataFrame, DataType};
use std::fmt;

/// Characters of a line that are shown.
const SHOWN: usize = 200;

/// Maximum size of the table as CSV, in bytes.
const MAX_CSV: u64 = 1 << 34;

/// A file of a run that does not say what the records of the trials say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Path relative to the run folder.
    pub file: String,
    /// The first place where it differs, with both values.
    pub place: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.place)
    }
}

/// The tables of a run, checked against the records of its trials.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedTables {
    /// What the tables say, even where the records say something else.
    pub results: Results,
    /// Number of records.
    pub records: usize,
    /// Number of measured values in the records.
    pub values: usize,
    /// Files that do not agree with the records.
    pub disagreements: Vec<Disagreement>,
}

impl RunFolder {
    /// Reads the tables as they were written, and compares every cell with the records of the trials. Writes nothing.
    ///
    /// # Errors
    /// No run in this folder; no tables; no records; a file that is damaged, of a newer version, or not a regular file
    /// (the error names it).
    pub fn checked_tables(&self) -> Result<CheckedTables, RecordError> {
        let mut checked = self.checked_parquet()?;
        let unusable = |reason| RecordError::Damaged { path: self.table_file(CSV_FILE), reason };
        let recorded = frame::results(&self.load()?).and_then(|results| frame::to_csv(&results)).map_err(unusable)?;
        checked.disagreements.extend(self.different_csv(&recorded)?);
        Ok(checked)
    }

    /// As [`RunFolder::checked_tables`], for a folder without the table for spreadsheets.
    ///
    /// # Errors
    /// As [`RunFolder::checked_tables`].
    pub fn checked_parquet(&self) -> Result<CheckedTables, RecordError> {
        // Read the plan first, so that a folder without a run is called that.
        self.load_info()?;
        let tables = self.written_tables()?;
        let run = self.load()?;
        if run.records.is_empty() && tables.trials.height() > 0 {
            return Err(RecordError::NoJournal { path: self.root().to_owned() });
        }
        let unusable = |name: &str| {
            let path = self.table_file(name);
            move |reason: String| RecordError::Damaged { path, reason }
        };
        let mut disagreements = Vec::new();
        let recorded = frame::results(&run).map_err(unusable(RESULTS_FILE))?;
        disagreements.extend(self.misplaced(&run)?);
        disagreements.extend(first_difference(RESULTS_FILE, &tables.results, &recorded, &RESULTS));
        let trials = frame::trials(&run).map_err(unusable(TRIALS_FILE))?;
        disagreements.extend(first_difference(TRIALS_FILE, &tables.trials, &trials, &TRIALS));
        let values = run.records.iter().map(|record| record.values.len()).sum();
        let frame = tables.results.select(VALUES).map_err(|error| unusable(RESULTS_FILE)(error.to_string()))?;
        let records = run.records.len();
        let results = self.results_of(run.info, &tables.trials, frame)?;
        Ok(CheckedTables { results, records, values, disagreements })
    }

    /// Records of another trial than that of their name.
    fn misplaced(&self, run: &Run) -> Result<Vec<Disagreement>, RecordError> {
        let journal = self.journal(&run.info)?;
        let wrong = journal.iter().filter_map(|(trial, record)| {
            let (name, planned, found) = other_trial(trial, record)?;
            let place = format!("its trial has the {name} {found}; run.json says {planned}");
            Some(Disagreement { file: format!("trials/{}.json", trial.id), place })
        });
        Ok(wrong.collect())
    }

    /// Compares the table for spreadsheets.
    fn different_csv(&self, expected: &[u8]) -> Result<Option<Disagreement>, RecordError> {
        let path = self.table_file(CSV_FILE);
        let found = regular::read(&path, MAX_CSV).map_err(RecordError::io("read", &path))?;
        if found == expected {
            return Ok(None);
        }
        let mut lines = found.split(|b| *b == b'\n').zip(expected.split(|b| *b == b'\n'));
        let place = match lines.clone().position(|(found, expected)| found != expected) {
            Some(at) => {
                let (found, expected) = lines.nth(at).unwrap_or_default();
                format!("line {} is `{}`; the records give `{}`", at + 1, start_of(found), start_of(expected))
            }
            None => format!("it has {} bytes; the records give {}", found.len(), expected.len()),
        };
        Ok(Some(Disagreement { file: CSV_FILE.to_owned(), place }))
    }
}

/// The start of a line that may hold anything, fit for a terminal.
fn start_of(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN)]);
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > shown.len() {
        shown.push('…');
    }
    shown
}

/// What distinguishes the trial of a record from the planned one: the name of the fact, and both values. Labels may
/// have changed since.
fn other_trial(planned: &Trial, record: &TrialRecord) -> Option<(&'static str, String, String)> {
    let facts = |t: &Trial| {
        [
            ("id", t.id.clone()),
            ("method", t.method.clone()),
            ("parameters", t.params.to_string()),
            ("seed", t.seed.to_string()),
        ]
    };
    let mut both = facts(planned).into_iter().zip(facts(&record.trial));
    let ((name, planned), (_, found)) = both.find(|(planned, found)| planned != found)?;
    Some((name, planned, found))
}

/// The first cell where a table differs from what the records give; returns None if all cells are equal.
fn first_difference(
    file: &str,
    table: &DataFrame,
    recorded: &DataFrame,
    schema: &[(&str, DataType)],
) -> Option<Disagreement> {
    let at = |frame: &DataFrame, name: &str, row: usize| -> String {
        frame.column(name).and_then(|column| column.get(row).map(shown)).unwrap_or_default()
    };
    let rows = table.height().min(recorded.height());
    let differing = schema.iter().filter_map(|(name, _)| {
        let (a, b) = (table.column(name).ok()?, recorded.column(name).ok()?);
        let row = (0..rows).find(|&row| a.get(row).ok() != b.get(row).ok())?;
        Some((row, *name))
    });
    let place = match differing.min_by_key(|(row, _)| *row) {
        Some((row, name)) => {
            let metric = at(recorded, "metric", row);
            let about = format!("trial {} {metric}", at(recorded, "trial", row));
            let (found, expected) = (at(table, name, row), at(recorded, name, row));
            format!(
                "row {} ({}): the column `{name}` has {found}; the records give {expected}",
                row + 1,
                about.trim_end()
            )
        }
        None if table.height() == recorded.height() => return None,
        None => format!("it has {} rows; the records give {}", table.height(), recorded.height()),
    };
    Some(Disagreement { file: file.to_owned(), place })
}

/// A cell as text. Numbers are the shortest decimals that parse to the same value.
fn shown(cell: AnyValue<'_>) -> String {
    match cell {
        AnyValue::Null => "nothing".to_owned(),
        AnyValue::Float64(number) => number.to_string(),
        AnyValue::String(text) => text.to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use crate::store::tests::{record, tabled};
    use std::fs;

    /// A run with a trial that failed.
    fn folder() -> (tempfile::TempDir, RunFolder) {
        tabled(TrialRecord { status: Status::Failed, reason: Some("no memory".into()), ..record("b2") })
    }

    fn texts(folder: &RunFolder) -> Vec<String> {
        folder.checked_tables().expect("tables").disagreements.iter().map(Disagreement::to_string).collect()
    }

    fn replace(folder: &RunFolder, file: &str, from: &str, to: &str) {
        let path = folder.root().join(file);
        let text = fs::read_to_string(&path).expect("reads");
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replacen(from, to, 1)).expect("writes");
    }

    #[test]
    fn tables_agree_with_the_records_that_they_were_made_from() {
        let (_dir, folder) = folder();
        let checked = folder.checked_tables().expect("tables");
        assert_eq!((checked.records, checked.values, &checked.disagreements[..]), (2, 2, &[][..]));
        assert_eq!(checked.results, folder.results().expect("results"));
    }

    #[test]
    fn one_changed_value_in_a_record_is_found_and_the_tables_still_say_what_they_said() {
        let (_dir, folder) = folder();
        replace(&folder, "trials/a1.json", "0.25", "0.26");
        let expected = [
            "results.parquet: row 1 (trial a1 nmse): the column `value` has 0.25; the records give 0.26",
            "results.csv: line 2 is `e,a1,d,2,3,l2,m,{},l,cpu,1,1,ok,8,nmse,,,,,0.25,1,`; the records give \
             `e,a1,d,2,3,l2,m,{},l,cpu,1,1,ok,8,nmse,,,,,0.26,1,`",
        ];
        assert_eq!(texts(&folder), expected);
        let values = folder.checked_tables().expect("tables").results.values;
        assert_eq!(values.column("value").expect("values").f64().expect("numbers").get(0), Some(0.25));
    }

    #[test]
    fn facts_of_trials_and_their_number_are_compared_too() {
        let (_dir, wall) = folder();
        replace(&wall, "trials/b2.json", "0.5", "0.75");
        let expected = ["trials.parquet: row 2 (trial b2): the column `wall_seconds` has 0.5; the records give 0.75"];
        assert_eq!(texts(&wall), expected);
        let (_dir, seed) = folder();
        replace(&seed, "trials/a1.json", "\"seed\": 1", "\"seed\": 2");
        assert_eq!(texts(&seed), ["trials/a1.json: its trial has the seed 2; run.json says 1"]);
        let (_dir, more) = folder();
        more.save_trial(&record("c3")).expect("saves");
        let found = texts(&more);
        assert!(found.contains(&"trials.parquet: it has 2 rows; the records give 3".to_owned()), "{found:?}");
        let (_dir, fewer) = folder();
        fs::remove_file(fewer.trial_file("b2")).expect("removes");
        let found = texts(&fewer);
        assert!(found.contains(&"trials.parquet: it has 2 rows; the records give 1".to_owned()), "{found:?}");
        let (_dir, csv) = folder();
        replace(&csv, "results.csv", "0.25", "0.24");
        assert!(texts(&csv)[0].starts_with("results.csv: line 2 is `e,a1"), "{:?}", texts(&csv));
    }

    #[test]
    fn without_tables_or_records_nothing_can_be_checked() {
        let (_dir, tables) = folder();
        fs::remove_file(tables.root().join("tables.json")).expect("removes");
        assert!(matches!(tables.checked_tables(), Err(RecordError::NoTables { .. })));
        let (_dir, journal) = folder();
        fs::remove_dir_all(journal.root().join("trials")).expect("removes");
        assert!(matches!(journal.checked_tables(), Err(RecordError::NoJournal { .. })));
        let (_dir, damaged) = folder();
        fs::write(damaged.root().join(RESULTS_FILE), "no Parquet").expect("writes");
        assert!(matches!(damaged.checked_tables(), Err(RecordError::Damaged { .. })));
        let nothing = RunFolder::new(damaged.root().join("trials"));
        assert!(matches!(nothing.checked_tables(), Err(RecordError::NoRun { .. })));
    }
}
