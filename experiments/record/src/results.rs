//! A run as input of reports: the plan, how each trial ended, and the measured values as a data frame.
//!
//! The records of trials are the engine's journal. When a run ends, the tables of its folder are written from them, and
//! reports read only the tables. If the tables are missing or older than the journal (because the run was killed, or an
//! older version of this program wrote no tables), they are built from the journal again.

use crate::frame::{self, RESULTS, TRIALS};
use crate::journal::{JournalState, modified};
use crate::regular::is_there;
use crate::{
    Cause, InTurn, Limits, Machine, PictureFile, RecordError, Run, RunFolder, RunInfo, Status, Trial, TrialLog,
    parquet, regular, write_atomically,
};
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::PathBuf;

/// A trial that has ended, without its measured values.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The trial.
    pub trial: Trial,
    /// How it ended.
    pub status: Status,
    /// Why it did not succeed.
    pub reason: Option<String>,
    /// The cause of a failure, if it is known.
    pub cause: Option<Cause>,
    /// The limits of the trial.
    pub limits: Limits,
    /// The machine it ran on.
    pub machine: Machine,
    /// Wall-clock seconds from start to end of its process.
    pub wall_seconds: f64,
    /// How it went; None if its record does not say.
    pub log: Option<TrialLog>,
}

impl Ended {
    /// The pair that it ran in; None if it ran in none.
    pub fn in_turn(&self) -> Option<&InTurn> {
        self.log.as_ref()?.in_turn.as_ref()
    }
}

/// A run with its values in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The plan.
    pub info: RunInfo,
    /// The plan's trials that have ended, in the order of the plan.
    pub ended: Vec<Ended>,
    /// A frame with at least the columns [`VALUES`] of the table `results`.
    pub values: DataFrame,
    /// Pictures in the run folder; within each dataset, the originals come first.
    pub pictures: Vec<PictureFile>,
}

/// The columns that identify a value in its run, and the value. Other facts about a trial are in [`Ended`].
pub const VALUES: [&str; 7] = ["trial", "metric", "stage", "k", "path", "repeat", "value"];

impl Results {
    /// The results of a run that was read from its journal.
    ///
    /// # Errors
    /// None in practice; an error of the table library.
    pub fn of(run: &Run) -> Result<Results, String> {
        let ended = run.records.iter().map(|record| Ended {
            trial: record.trial.clone(),
            status: record.status,
            reason: record.reason.clone(),
            cause: record.cause,
            limits: record.limits,
            machine: record.machine.clone(),
            wall_seconds: record.wall_seconds,
            log: record.log.clone(),
        });
        Ok(Results {
            info: run.info.clone(),
            ended: ended.collect(),
            values: frame::results(run)?,
            pictures: run.pictures.clone(),
        })
    }

    /// Number of trials that have not ended.
    pub fn missing(&self) -> usize {
        self.info.trials.len().saturating_sub(self.ended.len())
    }

    /// The distinct machines that trials ran on; the machine of the plan if no trial has ended.
    pub fn machines(&self) -> Vec<&Machine> {
        let mut machines: Vec<&Machine> = Vec::new();
        for ended in &self.ended {
            if !machines.contains(&&ended.machine) {
                machines.push(&ended.machine);
            }
        }
        if machines.is_empty() { vec![&self.info.machine] } else { machines }
    }

    /// Failed trials.
    pub fn failures(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().filter(|ended| ended.status != Status::Ok)
    }
}

/// Both tables of a run, with all columns.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTables {
    /// One row per measured value.
    pub results: DataFrame,
    /// One row per trial that has ended.
    pub trials: DataFrame,
}

impl RunFolder {
    /// The file of a table.
    pub(crate) fn table_file(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes the tables of a run: `results.parquet`, `results.csv` and `trials.parquet`.
    ///
    /// # Errors
    /// A system error.
    pub fn save_tables(&self, run: &Run) -> Result<(), RecordError> {
        let damaged = |name: &str| {
            let path = self.table_file(name);
            move |reason: String| RecordError::Damaged { path, reason }
        };
        let csv = frame::results(run).and_then(|results| frame::to_csv(&results)).map_err(damaged(CSV_FILE))?;
        write_atomically(&self.table_file(CSV_FILE), &csv)?;
        let files = table_files(run).map_err(damaged(RESULTS_FILE))?;
        files.iter().try_for_each(|(name, bytes)| write_atomically(&self.table_file(name), bytes))
    }

    /// The digests recorded when the tables were written; returns None if there are none, or if the tables are to be
    /// built again.
    fn digests(&self) -> Option<TableDigests> {
        let text = regular::read(&self.table_file(DIGESTS_FILE), MAX_DIGESTS).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes the tables if they are missing or older than the journal.
    ///
    /// # Errors
    /// No run in this folder; a file that is damaged, of a newer version, or not a regular file (the error names it); a
    /// system error.
    pub fn refresh_tables(&self) -> Result<(), RecordError> {
        let info = self.load_info()?;
        let journal = self.look_at_journal(&info);
        if self.current_trials(&info, &journal)?.is_some() && self.is_as_new_as(&journal, CSV_FILE) {
            return Ok(());
        }
        self.save_tables(&self.load()?)
    }

    /// Reads the run from its tables, or from its journal if the tables are missing or older. Writes nothing.
    ///
    /// # Errors
    /// No run in this folder; a file that is damaged, of a newer version, or not a regular file (the error names it).
    pub fn results(&self) -> Result<Results, RecordError> {
        let info = self.load_info()?;
        let Some((trials, digest)) = self.current_trials(&info, &self.look_at_journal(&info))? else {
            let run = self.load()?;
            let unusable = |reason| RecordError::Damaged { path: self.table_file(RESULTS_FILE), reason };
            return Results::of(&run).map_err(unusable);
        };
        let wanted = |name: &str| VALUES.contains(&name);
        let values = parquet::read(&self.table_file(RESULTS_FILE), &digest, &RESULTS, wanted)?;
        self.results_of(info, &trials, values)
    }

    /// The results that both tables of a run give.
    pub(crate) fn results_of(
        &self,
        info: RunInfo,
        trials: &DataFrame,
        values: DataFrame,
    ) -> Result<Results, RecordError> {
        let path = self.table_file(TRIALS_FILE);
        let ended = frame::ended(trials, &info.trials);
        let ended = ended.map_err(|reason| RecordError::Damaged { path, reason })?;
        let succeeded = ended.iter().filter(|e| e.status == Status::Ok).map(|e| &e.trial);
        let pictures = self.load_pictures(&info, succeeded);
        Ok(Results { info, ended, values, pictures })
    }

    /// Reads both tables with all columns, or builds them from the journal if they are missing or older. Writes
    /// nothing.
    ///
    /// # Errors
    /// No run in this folder; a file that is damaged, of a newer version, or not a regular file (the error names it).
    pub fn tables(&self) -> Result<RunTables, RecordError> {
        let info = self.load_info()?;
        if let Some((trials, digest)) = self.current_trials(&info, &self.look_at_journal(&info))? {
            let results = parquet::read(&self.table_file(RESULTS_FILE), &digest, &RESULTS, |_| true)?;
            return Ok(RunTables { results, trials });
        }
        let run = self.load()?;
        let made = frame::results(&run).and_then(|results| Ok(RunTables { results, trials: frame::trials(&run)? }));
        made.map_err(|reason| RecordError::Damaged { path: self.table_file(RESULTS_FILE), reason })
    }

    /// Both tables as they were written, even if they are older than the journal.
    pub(crate) fn written_tables(&self) -> Result<RunTables, RecordError> {
        let digests =
            self.digests().filter(|_| [RESULTS_FILE, TRIALS_FILE].iter().all(|f| is_there(&self.table_file(f))));
        let digests = digests.ok_or_else(|| RecordError::NoTables { path: self.root().to_owned() })?;
        let results = parquet::read(&self.table_file(RESULTS_FILE), &digests.results, &RESULTS, |_| true)?;
        let trials = parquet::read(&self.table_file(TRIALS_FILE), &digests.trials, &TRIALS, |_| true)?;
        Ok(RunTables { results, trials })
    }

    /// The table `trials` and the digest of the table `results`; returns None if a table is missing or older than the
    /// journal.
    fn current_trials(
        &self,
        info: &RunInfo,
        journal: &JournalState<'_>,
    ) -> Result<Option<(DataFrame, String)>, RecordError> {
        if ![RESULTS_FILE, TRIALS_FILE].iter().all(|file| self.is_as_new_as(journal, file)) {
            return Ok(None);
        }
        let Some(digests) = self.digests() else { return Ok(None) };
        let trials = parquet::read(&self.table_file(TRIALS_FILE), &digests.trials, &TRIALS, |_| true)?;
        // A trial whose record was deleted is to run again, so it no longer counts. A folder without any records was
        // copied without its journal.
        let recorded = &journal.recorded;
        let ids = trials.column("trial").ok().and_then(|ids| ids.str().ok());
        let known: HashSet<&str> = ids.into_iter().flat_map(|ids| ids.iter()).flatten().collect();
        let complete = recorded.is_empty()
            || info.trials.iter().all(|t| recorded.contains(t.id.as_str()) == known.contains(t.id.as_str()));
        Ok(complete.then_some((trials, digests.results)))
    }

    /// Whether a table exists and is at least as new as the plan and all records of the journal.
    fn is_as_new_as(&self, journal: &JournalState<'_>, file: &str) -> bool {
        modified(&self.table_file(file)).is_some_and(|written| journal.newest.is_none_or(|newest| newest <= written))
    }
}

/// File name of the table of values.
pub(crate) const RESULTS_FILE: &str = "results.parquet";

/// File name of the same table for spreadsheets.
pub(crate) const CSV_FILE: &str = "results.csv";

/// File name of the table of trials.
pub(crate) const TRIALS_FILE: &str = "trials.parquet";

/// File name of the SHA-256 digests of both tables, which reveal damage before a library reads them.
pub(crate) const DIGESTS_FILE: &str = "tables.json";

/// Maximum size of the file of digests, in bytes.
const MAX_DIGESTS: u64 = 4096;

/// The tables of a run as files, each with its name; the file of their digests is the last.
///
/// # Errors
/// An error of the table library.
pub fn table_files(run: &Run) -> Result<[(&'static str, Vec<u8>); 3], String> {
    let results = frame::results(run).and_then(frame::to_parquet)?;
    let trials = frame::trials(run).and_then(frame::to_parquet)?;
    let digests = TableDigests { results: frame::sha256(&results), trials: frame::sha256(&trials) };
    let digests = serde_json::to_vec_pretty(&digests).map_err(|error| error.to_string())?;
    Ok([(RESULTS_FILE, results), (TRIALS_FILE, trials), (DIGESTS_FILE, digests)])
}

/// The SHA-256 of each table, in hexadecimal.
#[derive(Serialize, Deserialize)]
struct TableDigests {
    results: String,
    trials: String,
}

/// Concatenates the rows of several frames with equal columns, and adds a first column with the name from `names` of
/// each row's frame.
///
/// # Errors
/// Frames with different columns.
pub fn stacked(frames: Vec<DataFrame>, column: &str, names: &[String]) -> Result<DataFrame, String> {
    let mut all: Option<DataFrame> = None;
    for (mut frame, name) in frames.into_iter().zip(names) {
        let texts = Series::new(column.into(), vec![name.as_str(); frame.height()]);
        frame.insert_column(0, texts.into_column()).map_err(|e| e.to_string())?;
        match &mut all {
            None => all = Some(frame),
            Some(all) => {
                all.vstack_mut(&frame).map_err(|e| e.to_string())?;
            }
        }
    }
    Ok(all.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{record, tabled};
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    fn folder() -> (tempfile::TempDir, RunFolder) {
        tabled(record("b2"))
    }

    /// Sets the modification time of a file, relative to now.
    fn age(path: &Path, seconds: u64) {
        let file = fs::File::options().write(true).open(path).expect("opens");
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("sets");
    }

    fn heights(folder: &RunFolder) -> (usize, usize) {
        let results = folder.results().expect("results");
        assert_eq!(results.values.height(), folder.tables().expect("tables").results.height());
        (results.ended.len(), results.values.height())
    }

    #[test]
    fn results_are_read_from_the_tables_and_not_from_the_journal() {
        let (_dir, folder) = folder();
        assert_eq!(heights(&folder), (2, 2));
        let from_journal = Results::of(&folder.load().expect("a run")).expect("frames");
        let read = folder.results().expect("results");
        assert_eq!((&read.info, &read.ended), (&from_journal.info, &from_journal.ended));
        assert_eq!(read.missing(), 1);
        // A folder that was copied without its journal.
        fs::remove_dir_all(folder.root().join("trials")).expect("removes");
        assert_eq!(heights(&folder), (2, 2));
        folder.refresh_tables().expect("nothing to do");
        assert_eq!(heights(&folder), (2, 2));
    }

    #[test]
    fn tables_that_are_missing_or_old_are_made_from_the_journal() {
        for file in [RESULTS_FILE, TRIALS_FILE] {
            let (_dir, folder) = folder();
            fs::remove_file(folder.root().join(file)).expect("removes");
            assert_eq!(heights(&folder), (2, 2), "without {file}");
            assert!(!folder.root().join(file).exists(), "reading writes nothing");
            folder.refresh_tables().expect("writes");
            assert!(folder.root().join(file).exists());
        }
        // A trial that ended after the tables were written, but whose file is older, as after a copy.
        let (_dir, one_more) = folder();
        one_more.save_trial(&record("c3")).expect("saves");
        age(&one_more.trial_file("c3"), 3600);
        assert_eq!(heights(&one_more), (3, 3));
        // A record that was replaced, and one that was deleted.
        let (_dir, again) = folder();
        let mut other = record("b2");
        other.values.clear();
        again.save_trial(&other).expect("saves");
        for file in [RESULTS_FILE, TRIALS_FILE] {
            age(&again.root().join(file), 60);
        }
        assert_eq!(heights(&again), (2, 1));
        let (_dir, deleted) = folder();
        fs::remove_file(deleted.trial_file("b2")).expect("removes");
        assert_eq!(heights(&deleted), (1, 1));
    }

    #[test]
    fn damaged_tables_are_named() {
        let (_dir, folder) = folder();
        for file in [RESULTS_FILE, TRIALS_FILE] {
            let path = folder.root().join(file);
            let whole = fs::read(&path).expect("reads");
            fs::write(&path, "no Parquet").expect("writes");
            let error = folder.results().expect_err("damaged").to_string();
            assert!(error.contains(&format!("{file} is damaged")), "{error}");
            fs::write(&path, whole).expect("writes");
        }
    }

    /// A flipped bit in a page could make the library request any amount of memory.
    #[test]
    fn a_flipped_bit_is_found_before_the_table_is_read() {
        let (_dir, folder) = folder();
        let path = folder.root().join(RESULTS_FILE);
        let whole = fs::read(&path).expect("reads");
        for at in [4, whole.len() / 3, whole.len() / 2, whole.len() - 9] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).expect("writes");
            let error = folder.results().expect_err("damaged").to_string();
            assert!(error.contains("results.parquet is damaged: its SHA-256 is not"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn linked_tables_and_pipes_are_not_read() {
        let (_dir, folder) = folder();
        let path = folder.root().join(RESULTS_FILE);
        let elsewhere = tempfile::tempdir().expect("a folder");
        fs::rename(&path, elsewhere.path().join("t")).expect("moves");
        std::os::unix::fs::symlink(elsewhere.path().join("t"), &path).expect("links");
        assert!(folder.results().expect_err("a link").to_string().contains("it is a symbolic link"));
        fs::remove_file(&path).expect("removes");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        assert!(folder.results().expect_err("a pipe").to_string().contains("it is not a regular file"));
    }

    #[test]
    fn rows_of_several_runs_say_which_they_are_from() {
        let (_dir, folder) = folder();
        let frames = || vec![folder.tables().expect("tables").results; 2];
        let all = stacked(frames(), "run", &["x".into(), "y".into()]).expect("a frame");
        assert_eq!((all.height(), all.get_column_names()[0].as_str()), (4, "run"));
        assert_eq!(stacked(vec![], "run", &[]).expect("nothing").height(), 0);
    }
}
