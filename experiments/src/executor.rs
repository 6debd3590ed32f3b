//! Where the trials of a run are carried out: on this machine, or by a scheduler on others. An executor takes trials that
//! are ready to run, has them run, follows them, and returns when they have ended or can be left to themselves.
//!
//! What an executor need not care about: a record is in the folder of the run once its trial has ended, whoever ran it, and
//! the first complete record of a trial stands.

mod budget;
mod fates;
mod following;
pub(crate) mod local;
mod node;
mod queue;
mod remote;
mod saved_plan;
pub(crate) mod saved_run;
mod scheduler;
mod slurm;
mod task;
mod unit;

pub use crate::executor_choice::{ExecutorChoice, SlurmSettings, TaskSettings};
pub use crate::task_error::TaskError;
pub use node::{Node, TaskOutcome, finish};
pub use saved_plan::SavedPlan;

use crate::job::Job;
use crate::observer::Observer;
use crate::outcome::{EngineError, Outcome};
use crate::plan::Plan;
use crate::preparation::{NotPrepared, PreparationJob};
use record::{DatasetFacts, Machine, RunFolder, TrialRecord};
use remote::Remote;
use saved_run::conclude;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Trials to run.
pub(crate) struct Work<'a> {
    /// Where the records go.
    pub(crate) folder: &'a RunFolder,
    /// The plan that they belong to; None within a task.
    pub(crate) plan: Option<&'a SavedPlan>,
    /// The trials, in order. Of a pair, both are among them.
    pub(crate) jobs: &'a [&'a Job],
    /// The records of those that have ended before, for whoever divides a budget of time.
    pub(crate) ended: &'a [TrialRecord],
    /// Number of trials that have ended before.
    pub(crate) reused: usize,
    /// Set from outside to end the run.
    pub(crate) interrupt: &'a AtomicBool,
}

impl Work<'_> {
    /// Estimated time of all trials, one after the other.
    fn estimated_seconds(&self) -> f64 {
        self.jobs.iter().map(|job| job.estimated_seconds).sum()
    }
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// Trials that a used-up budget of time left out, one line each.
    pub(crate) left_out: Vec<String>,
    /// Trials that were to run and could not.
    pub(crate) unfinished: usize,
    /// What the user should know or do, one line each.
    pub(crate) remarks: Vec<String>,
}

/// Somebody who carries out trials.
pub(crate) trait Executor {
    /// The machine that trials run on, if they all run on the same one. Then times that another machine measured do not
    /// count as those of this run.
    fn machine(&self) -> Option<&Machine>;

    /// Has datasets prepared before any trial runs. Returns None if that is a task like others, which comes first.
    ///
    /// # Errors
    /// The number of the dataset that cannot be used, and why.
    fn prepare(
        &mut self,
        plan: &Plan,
        datasets: &[PreparationJob],
        interrupt: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<DatasetFacts>>, (usize, NotPrepared)>;

    /// Has trials run. A failing trial is a record, not an error.
    ///
    /// # Errors
    /// The folder cannot be used; the scheduler refuses.
    fn run(&mut self, work: &Work<'_>, observer: &mut dyn Observer) -> Result<Ran, EngineError>;
}

/// Who carries out the trials of a choice; None if it is this machine. `program` is the executable that tasks start.
fn elsewhere<'a>(choice: &ExecutorChoice, program: &'a Path) -> Option<Remote<'a>> {
    match choice {
        ExecutorChoice::Here => None,
        ExecutorChoice::Tasks(settings) => {
            Some(Remote { program, task_time: settings.task_time, tries: 1, scheduler: None })
        }
        ExecutorChoice::Slurm(settings) => Some(Remote {
            program,
            task_time: settings.task_time,
            tries: settings.tries,
            scheduler: Some(Box::new(slurm::Slurm::new(settings.clone()))),
        }),
    }
}

/// Who carries out the trials of a choice, if it is not this machine.
pub(crate) fn executor<'a>(choice: &ExecutorChoice, program: &'a Path) -> Option<Box<dyn Executor + 'a>> {
    elsewhere(choice, program).map(|remote| Box::new(remote) as Box<dyn Executor>)
}

/// Follows a run whose trials were handed to others, submits what is missing, and saves what has ended. Returns its outcome,
/// and the formats of its report.
///
/// # Errors
/// A run without tasks, or of another build; a folder that cannot be used, or that another process follows.
pub fn attach(
    folder: &RunFolder,
    program: &Path,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(Outcome, Vec<String>), EngineError> {
    let mut saved = SavedPlan::load(folder)?;
    let Some(mut remote) = elsewhere(&saved.executor, program) else {
        return Err(TaskError::NoTasks { folder: folder.root().to_owned() }.into());
    };
    let _lock = folder.prepare()?;
    let jobs = saved_plan::jobs(folder, None)?;
    let left: Vec<&Job> = jobs.iter().filter(|job| unit::ended(folder, job).is_none()).collect();
    let reused = jobs.len() - left.len();
    let work = Work { folder, plan: Some(&saved), jobs: &left, ended: &[], reused, interrupt };
    let Ran { unfinished, remarks, .. } = remote.attach(&work, observer)?;
    let outcome = conclude(folder, &mut saved)?;
    let interrupted = interrupt.load(Ordering::SeqCst);
    Ok((Outcome { reused, unfinished, interrupted, remarks, ..outcome }, saved.formats))
}

/// Refuses a run folder in which tasks of an earlier submission wait or run, before anything in it changes.
///
/// # Errors
/// Such tasks; a scheduler that does not answer.
pub(crate) fn refuse_living_tasks(folder: &RunFolder, program: &Path) -> Result<(), TaskError> {
    if !saved_plan::is_there(folder) {
        return Ok(());
    }
    elsewhere(&SavedPlan::executor_of(folder)?, program).map_or(Ok(()), |mut remote| remote.refuse_living(folder))
}

/// Cancels the tasks of a run that wait or run. Returns the ids that the scheduler has given them; None if no scheduler was
/// given any.
///
/// # Errors
/// A run without tasks; a scheduler that does not answer.
pub fn cancel(folder: &RunFolder, program: &Path) -> Result<Option<Vec<String>>, EngineError> {
    match elsewhere(&SavedPlan::executor_of(folder)?, program) {
        Some(mut remote) => Ok(remote.cancel(folder)?),
        None => Err(TaskError::NoTasks { folder: folder.root().to_owned() }.into()),
    }
}
