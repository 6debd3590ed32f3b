//! What a task does, on whatever machine it runs: prepares a dataset, runs trials of a planned run with the local engine, or
//! saves the finished run. Running a task twice, or two at once, is harmless: the first complete record of a trial stands.

use super::local::Local;
use super::saved_plan::{self, SavedPlan};
use super::saved_run::conclude;
use super::unit::{ended, is_damaged};
use super::{Executor, TaskError, Work};
use crate::child::Launcher;
use crate::job::Job;
use crate::machine;
use crate::observer::Observer;
use crate::outcome::{EngineError, Outcome};
use crate::surroundings::Surroundings;
use record::{RunFolder, is_there};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a task runs.
pub struct Node<'a> {
    /// The folder of the run.
    pub folder: &'a RunFolder,
    /// How to start a trial.
    pub launcher: &'a Launcher,
    /// What this machine computes with, and where it finds vectors.
    pub surroundings: &'a Surroundings,
    /// Root of the source tree, for its revision.
    pub source_tree: &'a Path,
    /// Set from outside to end the task.
    pub interrupt: &'a AtomicBool,
}

/// What became of the trials of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskOutcome {
    /// Trials that have a record, from this task or from another one.
    pub ended: usize,
    /// Trials without one.
    pub left: usize,
    /// Datasets that have not been prepared, for which trials are left.
    pub unprepared: Vec<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

impl Node<'_> {
    /// Prepares a dataset, by its name.
    ///
    /// # Errors
    /// No such dataset, or none that can be used here; an interrupt.
    pub fn prepare(&self, dataset: &str, observer: &mut dyn Observer) -> Result<(), EngineError> {
        let saved = SavedPlan::load(self.folder)?;
        let Some(job) = saved.datasets.iter().find(|job| job.name == dataset) else {
            let known = saved.datasets.iter().map(|job| job.name.clone()).collect();
            let (name, folder) = (dataset.to_owned(), self.folder.root().to_owned());
            return Err(TaskError::UnknownDataset { name, known, folder }.into());
        };
        if job.kept().is_some() {
            return Ok(());
        }
        let resolved = job.resolve(self.surroundings)?;
        job.prepare(&resolved, self.surroundings, self.interrupt, observer)?;
        Ok(())
    }

    /// Runs trials, by their ids. Those that have a record are left alone.
    ///
    /// # Errors
    /// An unknown trial; a folder that cannot be used.
    pub fn trials(&self, ids: &[String], observer: &mut dyn Observer) -> Result<TaskOutcome, EngineError> {
        SavedPlan::load(self.folder)?;
        let jobs = saved_plan::jobs(self.folder, Some(ids))?;
        let partner = |job: &Job| job.in_turn.as_ref().map(|turn| turn.partner.clone());
        let alone = |job: &&Job| partner(job).is_some_and(|partner| jobs.iter().all(|other| other.id() != partner));
        if let Some((id, partner)) = jobs.iter().find(alone).and_then(|job| Some((job.id().to_owned(), partner(job)?)))
        {
            return Err(TaskError::Alone { id, partner }.into());
        }
        // Trials of one dataset need the same files, and every look at one is a message where the folder is on a server.
        let mut known: HashMap<&Path, bool> = HashMap::new();
        let (mut unprepared, mut to_run): (BTreeSet<&str>, Vec<&Job>) = Default::default();
        for job in &jobs {
            if !*known.entry(&job.request.facts).or_insert_with(|| is_prepared(job)) {
                unprepared.insert(&job.trial().dataset);
            } else if ended(self.folder, job).is_none() {
                // A trial of a pair may have a record and yet have to run again. Any other one that can be read and is here by now
                // is of another task, and stands.
                if job.in_turn.is_some() || is_damaged(self.folder, job) {
                    self.folder.set_aside(job.id())?;
                }
                to_run.push(job);
            }
        }
        let mut local = Local {
            launcher: self.launcher,
            surroundings: self.surroundings,
            machine: machine::describe(self.source_tree, self.surroundings.devices.isa),
            allowance: None,
            one_by_one: true,
        };
        let work =
            Work { folder: self.folder, plan: None, jobs: &to_run, ended: &[], reused: 0, interrupt: self.interrupt };
        local.run(&work, observer)?;
        let ended = jobs.iter().filter(|job| self.folder.has_record(job.id())).count();
        Ok(TaskOutcome {
            ended,
            left: jobs.len() - ended,
            unprepared: unprepared.into_iter().map(str::to_owned).collect(),
            interrupted: self.interrupt.load(Ordering::SeqCst),
        })
    }
}

/// Saves a run whose trials have run elsewhere, as far as they have ended. Returns its outcome, and the formats of its
/// report.
///
/// # Errors
/// A run without tasks; a folder that cannot be written.
pub fn finish(folder: &RunFolder) -> Result<(Outcome, Vec<String>), EngineError> {
    let mut saved = SavedPlan::load(folder)?;
    let outcome = conclude(folder, &mut saved)?;
    Ok((outcome, saved.formats))
}

fn is_prepared(job: &Job) -> bool {
    is_there(&job.request.facts) && job.request.truth.as_ref().is_none_or(|file| is_there(file))
}
