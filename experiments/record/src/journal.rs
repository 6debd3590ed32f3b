//! The journal of a run: one record for each trial that has ended. The first complete record of a trial stands, whoever wrote
//! it, and a record that is to be replaced counts until there is a new one.

use crate::atomic::write_first;
use crate::results::DIGESTS_FILE;
use crate::store::{is_id, to_json};
use crate::{RecordError, RunFolder, RunInfo, TrialRecord, is_there};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a look at the journal of a run tells.
pub(crate) struct JournalState<'a> {
    /// When the plan or a record that counts was last changed.
    pub(crate) newest: Option<SystemTime>,
    /// The trials of the plan that have a record.
    pub(crate) recorded: HashSet<&'a str>,
}

/// Modification time of a file; returns `None` if it does not exist.
pub(crate) fn modified(path: &Path) -> Option<SystemTime> {
    path.symlink_metadata().and_then(|found| found.modified()).ok()
}

impl RunFolder {
    /// Path of the record of a trial that is to run again: it counts until there is a new one.
    fn earlier_file(&self, id: &str) -> PathBuf {
        self.root().join("trials").join(format!("{id}.before.json"))
    }

    /// Path of the record of a trial that counts: the new one, or else the one that was set aside.
    pub(crate) fn record_file(&self, id: &str) -> PathBuf {
        let (new, earlier) = (self.trial_file(id), self.earlier_file(id));
        if !is_there(&new) && is_there(&earlier) { earlier } else { new }
    }

    /// Saves the record of a trial if it has none but one that was set aside, which is then removed. Returns whether it was
    /// saved. Several processes, on several machines, may save the record of a trial: the first complete one stands.
    ///
    /// # Errors
    /// A system error; an id that is not valid by [`is_id`].
    pub fn save_first(&self, record: &TrialRecord) -> Result<bool, RecordError> {
        let id = &record.trial.id;
        self.check_id(id)?;
        let path = self.trial_file(id);
        let first = write_first(&path, &to_json(&path, record)?)?;
        if first {
            let _ = fs::remove_file(self.earlier_file(id));
        }
        Ok(first)
    }

    /// Sets the record of a trial aside, which is to run again. It counts until there is a new one.
    ///
    /// # Errors
    /// A system error; an id that is not valid by [`is_id`].
    pub fn set_aside(&self, id: &str) -> Result<(), RecordError> {
        self.check_id(id)?;
        let path = self.trial_file(id);
        match fs::rename(&path, self.earlier_file(id)) {
            // Tables that hold it are no longer current, whatever the clock of the machine says that writes the new one.
            Ok(()) => {
                let _ = fs::remove_file(self.root().join(DIGESTS_FILE));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RecordError::io("set aside", &path)(error)),
        }
    }

    /// Brings back the record of a trial that was set aside and has not run again.
    ///
    /// # Errors
    /// A system error; an id that is not valid by [`is_id`].
    pub fn bring_back(&self, id: &str) -> Result<(), RecordError> {
        self.check_id(id)?;
        let (path, earlier) = (self.trial_file(id), self.earlier_file(id));
        if !is_there(&earlier) {
            return Ok(());
        }
        let done = if is_there(&path) { fs::remove_file(&earlier) } else { fs::rename(&earlier, &path) };
        done.map_err(RecordError::io("bring back", &earlier))
    }

    /// Whether a trial has a record that was not set aside.
    pub fn has_record(&self, id: &str) -> bool {
        self.check_id(id).is_ok() && is_there(&self.trial_file(id))
    }

    /// Looks at the records of a plan: one look at the folder, and one at each record that counts.
    pub(crate) fn look_at_journal<'a>(&self, info: &'a RunInfo) -> JournalState<'a> {
        let planned: HashSet<&str> = info.trials.iter().map(|trial| trial.id.as_str()).collect();
        let mut newest = modified(&self.run_file());
        let mut recorded = HashSet::new();
        let mut earlier = Vec::new();
        let mut note = |id: &'a str, entry: &fs::DirEntry| {
            if recorded.insert(id) {
                newest = newest.max(entry.metadata().and_then(|found| found.modified()).ok());
            }
        };
        for entry in fs::read_dir(self.root().join("trials")).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
            match (planned.get(name), name.strip_suffix(".before").and_then(|id| planned.get(id))) {
                (Some(id), _) => note(id, &entry),
                (None, Some(id)) => earlier.push((*id, entry)),
                (None, None) => {}
            }
        }
        earlier.iter().for_each(|(id, entry)| note(id, entry));
        JournalState { newest, recorded }
    }

    /// The ids of all trials that have such a record, from one look at the folder.
    pub fn ended_ids(&self) -> Vec<String> {
        let names = fs::read_dir(self.root().join("trials")).into_iter().flatten().flatten();
        let id = |name: &str| name.strip_suffix(".json").filter(|id| is_id(id)).map(str::to_owned);
        names.filter_map(|entry| id(entry.file_name().to_str()?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{info, record};

    #[test]
    fn tables_follow_a_record_that_a_machine_with_a_slow_clock_writes() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(dir.path().join("run"));
        drop(folder.prepare().expect("fresh"));
        folder.save_run(&info(&["a1"])).expect("saves");
        let of = |seconds: f64| TrialRecord { wall_seconds: seconds, ..record("a1") };
        folder.save_first(&of(1.0)).expect("saves");
        folder.refresh_tables().expect("writes");
        folder.set_aside("a1").expect("sets aside");
        folder.save_first(&of(2.0)).expect("saves");
        let hour_ago = SystemTime::now() - std::time::Duration::from_secs(3600);
        let file = fs::File::options().write(true).open(folder.trial_file("a1")).expect("opens");
        file.set_modified(hour_ago).expect("sets its time");
        folder.refresh_tables().expect("writes");
        assert_eq!(folder.results().expect("a run").ended[0].wall_seconds, 2.0);
    }

    #[test]
    fn the_first_record_stands_and_an_earlier_one_counts_until_then() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(dir.path().join("run"));
        drop(folder.prepare().expect("fresh"));
        folder.save_run(&info(&["a1", "b2"])).expect("saves");
        let of = |seconds: f64| TrialRecord { wall_seconds: seconds, ..record("a1") };
        let now = || folder.trial("a1").map(|record| record.wall_seconds);
        folder.set_aside("a1").expect("there is nothing to set aside");
        assert!(folder.save_first(&of(1.0)).expect("saves"));
        assert!(!folder.save_first(&of(2.0)).expect("is no error"), "the first one stands");
        assert_eq!((now(), folder.has_record("a1"), folder.ended_ids()), (Some(1.0), true, vec!["a1".to_owned()]));

        folder.set_aside("a1").expect("sets aside");
        assert_eq!((now(), folder.has_record("a1"), folder.ended_ids()), (Some(1.0), false, vec![]));
        assert_eq!(folder.load().expect("a run").records, [of(1.0)], "it counts until there is a new one");
        folder.bring_back("a1").expect("brings back");
        assert!(folder.has_record("a1"));

        folder.set_aside("a1").expect("sets aside");
        assert!(folder.save_first(&of(3.0)).expect("saves"));
        assert_eq!(now(), Some(3.0));
        assert_eq!(
            fs::read_dir(dir.path().join("run/trials")).expect("a folder").count(),
            1,
            "the earlier one is gone"
        );
        // Killed between the new record and the removal of the earlier one.
        fs::write(folder.earlier_file("a1"), "{\"half").expect("writes");
        assert_eq!((now(), folder.load().expect("a run").records.len()), (Some(3.0), 1));
        folder.bring_back("a1").expect("there is a new one");
        assert!(!folder.earlier_file("a1").exists() && now() == Some(3.0));
        for id in ["../x", "A", ""] {
            let bad = TrialRecord { trial: crate::Trial { id: id.into(), ..record("a1").trial }, ..record("a1") };
            assert!(
                folder.save_first(&bad).is_err() && folder.set_aside(id).is_err() && folder.bring_back(id).is_err()
            );
        }
    }
}
