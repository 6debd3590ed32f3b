//! The run folder: the paths of its files, and how they are written so that none is ever incomplete.

use crate::atomic::{partial_of, remove_abandoned, write_atomically};
use crate::frame::sha256;
use crate::{RecordError, Run, RunInfo, SCHEMA, Status, Trial, TrialRecord, is_there, regular};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    root: PathBuf,
}

/// Maximum length of a trial id; this program creates ids of 16 digits.
const MAX_ID: usize = 64;

/// Maximum size of a JSON file that is read, in bytes: a thousand times that of a large run.
const MAX_JSON: u64 = 1 << 32;

/// Whether this is a valid trial id: hexadecimal digits only, so that it cannot name a file in another folder.
pub fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The id of what a value describes: the first 16 hexadecimal digits of the SHA-256 of the value as JSON.
pub fn id_of(value: &Value) -> String {
    let mut digits = sha256(value.to_string().as_bytes());
    digits.truncate(16);
    digits
}

/// The lock of a run folder, held while a process writes to it.
#[derive(Debug)]
pub struct RunLock(#[allow(dead_code)] File);

impl RunFolder {
    /// Refers to a folder, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> RunFolder {
        RunFolder { root: root.into() }
    }

    /// Path of the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of the plan.
    pub fn run_file(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// Path of the record of a trial; `id` must be valid by [`is_id`].
    pub fn trial_file(&self, id: &str) -> PathBuf {
        self.root.join("trials").join(format!("{id}.json"))
    }

    /// Path of the trained quantizer of a trial, if it is saved.
    pub fn model_file(&self, id: &str) -> PathBuf {
        self.root.join("models").join(format!("{id}.vqb"))
    }

    /// Path of a file about a dataset; `extension` distinguishes facts from neighbours.
    pub fn dataset_file(&self, key: &str, extension: &str) -> PathBuf {
        self.root.join("datasets").join(format!("{key}.{extension}"))
    }

    /// Path of the reports.
    pub fn report(&self) -> PathBuf {
        self.root.join("report")
    }

    /// Prepares the folder for a run and locks it against other processes.
    ///
    /// # Errors
    /// A folder that cannot be written, contains something other than a run, contains symbolic links to other folders,
    /// or is in use.
    pub fn prepare(&self) -> Result<RunLock, RecordError> {
        self.refuse_links()?;
        if let Ok(mut entries) = fs::read_dir(&self.root)
            && !is_there(&self.run_file())
            && entries.any(|entry| entry.is_ok_and(|e| !self.is_ours(&e.file_name().to_string_lossy())))
        {
            return Err(RecordError::Foreign { path: self.root.clone() });
        }
        for folder in [self.root.clone(), self.root.join("trials"), self.root.join("datasets")] {
            fs::create_dir_all(&folder).map_err(RecordError::io("create", &folder))?;
        }
        let path = self.root.join(".lock");
        let file = regular::open_or_create(&path).map_err(RecordError::io("use", &path))?;
        match file.try_lock() {
            Ok(()) => {
                self.remove_partial_files();
                Ok(RunLock(file))
            }
            Err(TryLockError::WouldBlock) => Err(RecordError::Busy { path: self.root.clone() }),
            Err(TryLockError::Error(error)) => Err(RecordError::Io { action: "lock", path, error }),
        }
    }

    /// Refuses subfolders that are symbolic links: their content does not belong to this run, so it must not be read,
    /// written or removed.
    fn refuse_links(&self) -> Result<(), RecordError> {
        let pictures = self.root.join("pictures");
        let fixed = ["trials", "datasets", "models"].map(|name| self.root.join(name));
        let fixed = fixed.into_iter().chain([pictures.clone(), pictures.join("original")]);
        let refuse = |path: PathBuf| regular::refuse_link(&path).map_err(RecordError::io("use", &path));
        fixed.into_iter().try_for_each(refuse)?;
        self.picture_folders().into_iter().try_for_each(refuse)
    }

    /// Removes temporary files that a killed run left.
    fn remove_partial_files(&self) {
        let folders =
            [self.root.clone(), self.root.join("trials"), self.root.join("datasets"), self.root.join("models")];
        folders.into_iter().chain(self.picture_folders()).for_each(|folder| remove_abandoned(&folder, |_| true));
    }

    /// Undoes [`RunFolder::prepare`] if nothing was added to the folder since.
    pub fn withdraw(&self) {
        if is_there(&self.run_file()) {
            return;
        }
        let _ = fs::remove_dir(self.root.join("trials"));
        let _ = fs::remove_dir(self.root.join("datasets"));
        // Either only the lock is left, or the folder has other content and stays.
        if fs::read_dir(&self.root).is_ok_and(|entries| entries.count() == 1) {
            let _ = fs::remove_file(self.root.join(".lock"));
            let _ = fs::remove_dir(&self.root);
        }
    }

    /// Whether a run that was killed before it wrote its plan may have left this file.
    fn is_ours(&self, name: &str) -> bool {
        // The plan is the first file that a run writes.
        matches!(name, ".lock" | "trials" | "datasets" | "tasks" | "tasks.txt") || partial_of(name) == Some("run.json")
    }

    /// The record of a trial; returns None if the trial has not ended, or if the record is damaged, so that the trial
    /// runs again.
    pub fn trial(&self, id: &str) -> Option<TrialRecord> {
        self.check_id(id).ok()?;
        read_json::<TrialRecord>(&self.record_file(id)).ok().filter(|record| record.trial.id == id)
    }

    /// Saves the record of a trial.
    ///
    /// # Errors
    /// A system error; an id that is not valid by [`is_id`].
    pub fn save_trial(&self, record: &TrialRecord) -> Result<(), RecordError> {
        self.check_id(&record.trial.id)?;
        write_json(&self.trial_file(&record.trial.id), record)
    }

    /// Saves the plan.
    ///
    /// # Errors
    /// A system error.
    pub fn save_run(&self, info: &RunInfo) -> Result<(), RecordError> {
        write_json(&self.run_file(), info)?;
        write_json(&self.root.join("machine.json"), &info.machine)
    }

    /// Reads the run from its journal, the records of its trials.
    ///
    /// # Errors
    /// No run in this folder; a file that is damaged, of a newer version, or not a regular file (the error names it).
    pub fn load(&self) -> Result<Run, RecordError> {
        let info = self.load_info()?;
        let journal = self.journal(&info)?;
        // Names may have changed since the trial ended: use those of the plan. A rate may have been measured.
        let named = |trial: &Trial, record: &TrialRecord| Trial {
            bits_per_vector: record.trial.bits_per_vector,
            ..trial.clone()
        };
        let records: Vec<TrialRecord> =
            journal.into_iter().map(|(trial, record)| TrialRecord { trial: named(trial, &record), ..record }).collect();
        let succeeded = records.iter().filter(|record| record.status == Status::Ok).map(|record| &record.trial);
        let pictures = self.load_pictures(&info, succeeded);
        Ok(Run { info, records, pictures })
    }

    /// The trials of the plan that have ended, each with its record as it was written.
    pub(crate) fn journal<'a>(&self, info: &'a RunInfo) -> Result<Vec<(&'a Trial, TrialRecord)>, RecordError> {
        let files = info.trials.iter().map(|trial| (trial, self.record_file(&trial.id)));
        files.filter(|(_, path)| is_there(path)).map(|(trial, path)| Ok((trial, read_json(&path)?))).collect()
    }

    /// Reads the plan, and checks that its ids are valid.
    pub(crate) fn load_info(&self) -> Result<RunInfo, RecordError> {
        if !is_there(&self.run_file()) {
            return Err(RecordError::NoRun { path: self.root.clone() });
        }
        self.refuse_links()?;
        let info: RunInfo = read_json(&self.run_file())?;
        let mut seen = HashSet::new();
        for trial in &info.trials {
            self.check_id(&trial.id)?;
            if !seen.insert(trial.id.as_str()) {
                let reason = format!("the trial {} stands in it twice", trial.id);
                return Err(RecordError::Damaged { path: self.run_file(), reason });
            }
        }
        drop(seen);
        Ok(info)
    }

    pub(crate) fn check_id(&self, id: &str) -> Result<(), RecordError> {
        if is_id(id) {
            return Ok(());
        }
        let reason = format!("the trial id {id:?} is not 1 to {MAX_ID} hexadecimal digits");
        Err(RecordError::Damaged { path: self.run_file(), reason })
    }
}

/// Reads the record of a trial from a file, which may stand anywhere.
///
/// # Errors
/// No such file; a file that is damaged, of a newer version, or not a regular file (the error names it).
pub fn read_trial(path: &Path) -> Result<TrialRecord, RecordError> {
    let record: TrialRecord = read_json(path)?;
    if is_id(&record.trial.id) {
        return Ok(record);
    }
    let reason = format!("the trial id {:?} is not 1 to {MAX_ID} hexadecimal digits", record.trial.id);
    Err(RecordError::Damaged { path: path.to_owned(), reason })
}

/// Writes a value as JSON.
pub(crate) fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    write_atomically(path, &to_json(path, value)?)
}

/// A value as the JSON that stands in a file.
pub(crate) fn to_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec_pretty(value).map_err(|e| RecordError::Damaged { path: path.to_owned(), reason: e.to_string() })
}

/// Reads a value that has a schema version.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let bytes = regular::read(path, MAX_JSON).map_err(RecordError::io("read", path))?;
    let damaged = |e: serde_json::Error| RecordError::Damaged { path: path.to_owned(), reason: e.to_string() };
    // A newer version may look different, which is said before it is called damaged.
    match serde_json::from_slice(&bytes) {
        Ok(Versioned { schema: Some(found) }) if found > u64::from(SCHEMA) => {
            Err(RecordError::Newer { path: path.to_owned(), found })
        }
        _ => serde_json::from_slice(&bytes).map_err(damaged),
    }
}

/// The schema version of a file, whatever else is in it.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    schema: Option<u64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::*;

    pub(crate) fn record(id: &str) -> TrialRecord {
        TrialRecord {
            schema: SCHEMA,
            trial: Trial {
                id: id.into(),
                experiment: "e".into(),
                dataset: "d".into(),
                dim: 2,
                n: 3,
                metric_space: "l2".into(),
                method: "m".into(),
                family: None,
                params: serde_json::json!({}),
                label: "l".into(),
                series: "s".into(),
                device: "cpu".into(),
                threads: 1,
                seed: 1,
                bits_per_vector: 8,
            },
            status: Status::Ok,
            reason: None,
            cause: None,
            limits: Limits { timeout_seconds: 1.0, memory_bytes: None },
            machine: Machine::default(),
            wall_seconds: 0.5,
            recipe: None,
            codes_sha256: None,
            log: None,
            values: vec![Measured::new(&metric::NMSE, 0.25)],
        }
    }

    /// A run of three trials, with its tables; `a1` has ended well, and `b2` as this record says.
    pub(crate) fn tabled(b2: TrialRecord) -> (tempfile::TempDir, RunFolder) {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(dir.path().join("run"));
        drop(folder.prepare().expect("fresh"));
        folder.save_run(&info(&["a1", "b2", "c3"])).expect("saves");
        folder.save_trial(&record("a1")).expect("saves");
        folder.save_trial(&b2).expect("saves");
        folder.save_tables(&folder.load().expect("a run")).expect("saves");
        (dir, folder)
    }

    #[test]
    fn a_run_comes_back_as_it_was_written_and_damage_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(dir.path().join("run"));
        let lock = folder.prepare().expect("fresh");
        assert!(matches!(folder.prepare(), Err(RecordError::Busy { .. })), "one writer at a time");
        drop(lock);
        let info = info(&["a", "b"]);
        folder.save_run(&info).expect("saves");
        folder.save_trial(&record("a")).expect("saves");
        let run = folder.load().expect("loads");
        assert_eq!((run.info.trials.len(), &run.records[..]), (2, &[record("a")][..]));

        fs::write(folder.trial_file("b"), "{\"half").expect("writes");
        assert!(folder.trial("b").is_none(), "a damaged record does not count");
        assert!(folder.load().expect_err("damaged").to_string().contains("b.json is damaged"));
        fs::write(folder.trial_file("b"), "{\"schema\": 99}").expect("writes");
        assert!(matches!(folder.load(), Err(RecordError::Newer { found: 99, .. })));
    }

    #[test]
    fn folders_of_others_are_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("thesis.tex"), "years of work").expect("writes");
        assert!(matches!(RunFolder::new(dir.path()).prepare(), Err(RecordError::Foreign { .. })));
        assert!(matches!(RunFolder::new(dir.path()).load(), Err(RecordError::NoRun { .. })));
        fs::remove_file(dir.path().join("thesis.tex")).expect("removes");
        fs::write(dir.path().join("film.mkv.partial"), "half a download").expect("writes");
        assert!(matches!(RunFolder::new(dir.path()).prepare(), Err(RecordError::Foreign { .. })));
        assert!(dir.path().join("film.mkv.partial").exists());
    }

    pub(crate) fn info(ids: &[&str]) -> RunInfo {
        RunInfo {
            schema: SCHEMA,
            name: "e".into(),
            analysis: String::new(),
            experiment: serde_json::json!({}),
            machine: Machine::default(),
            datasets: vec![],
            skipped: vec![],
            trials: ids.iter().map(|id| record(id).trial).collect(),
        }
    }

    /// A run folder may come from a stranger: the ids in it must not lead to files elsewhere.
    #[test]
    fn ids_that_are_paths_are_refused_before_anything_is_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(dir.path().join("run"));
        drop(folder.prepare().expect("fresh"));
        write_json(&dir.path().join("secret.json"), &record("a")).expect("writes");
        let absolute = dir.path().join("secret").display().to_string();
        for id in ["../../secret", &absolute, "", "A0", "a/b", "..", "g1", &"a".repeat(65)] {
            folder.save_run(&info(&[id])).expect("saves");
            let error = folder.load().expect_err(id).to_string();
            assert!(error.contains("run.json is damaged: the trial id"), "{error}");
            assert!(folder.trial(id).is_none() && folder.save_trial(&record(id)).is_err(), "{id}");
        }
        folder.save_run(&info(&["0123456789abcdef"])).expect("saves");
        assert!(folder.load().expect("loads").records.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_run_folder_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let elsewhere = tempfile::tempdir().expect("a folder");
        let victim = elsewhere.path().join("victim");
        let fresh = || {
            fs::write(&victim, "years of work").expect("writes");
            let dir = tempfile::tempdir().expect("a folder");
            let folder = RunFolder::new(dir.path().join("run"));
            drop(folder.prepare().expect("fresh"));
            folder.save_run(&info(&["a"])).expect("saves");
            (dir, folder)
        };
        // The lock: opening it must not truncate the link's target.
        let (_dir, folder) = fresh();
        fs::remove_file(folder.root().join(".lock")).expect("removes");
        symlink(&victim, folder.root().join(".lock")).expect("links");
        let error = folder.prepare().expect_err("a link").to_string();
        assert!(error.contains(".lock: it is a symbolic link"), "{error}");
        assert_eq!(fs::read(&victim).expect("reads"), b"years of work");
        // A folder of the run: nothing is read, written or removed through the link.
        for name in ["trials", "datasets", "models", "pictures"] {
            let (_dir, folder) = fresh();
            let behind = elsewhere.path().join("behind");
            fs::create_dir_all(&behind).expect("a folder");
            fs::write(behind.join("a.json.1.partial"), "of others").expect("writes");
            let _ = fs::remove_dir_all(folder.root().join(name));
            symlink(&behind, folder.root().join(name)).expect("links");
            assert!(folder.prepare().expect_err(name).to_string().contains("symbolic link"));
            assert!(folder.load().expect_err(name).to_string().contains("symbolic link"));
            assert!(behind.join("a.json.1.partial").exists(), "{name}");
        }
        // A record.
        let (_dir, folder) = fresh();
        write_json(&victim, &record("a")).expect("writes");
        symlink(&victim, folder.trial_file("a")).expect("links");
        assert!(folder.trial("a").is_none());
        assert!(folder.load().expect_err("a link").to_string().contains("a.json: it is a symbolic link"));
    }

    /// Opening a pipe could block, and a device may be endless.
    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(dir.path().join("run"));
        drop(folder.prepare().expect("fresh"));
        folder.save_run(&info(&["a"])).expect("saves");
        let made = std::process::Command::new("mkfifo").arg(folder.trial_file("a")).status().expect("mkfifo");
        assert!(made.success());
        assert!(folder.load().expect_err("a pipe").to_string().contains("a.json: it is not a regular file"));
    }
}
