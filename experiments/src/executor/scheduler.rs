//! The seam to schedulers: what a run asks of one. A scheduler distributes, places, restarts and cancels tasks; it knows
//! nothing of trials.

use super::TaskError;
use super::task::Need;
use record::RunFolder;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Tasks of one kind, to submit together.
pub(crate) struct Array {
    /// Names it in the scheduler's lists and in the files of the run.
    pub(crate) name: String,
    pub(crate) need: Need,
    /// The commands, one a line, from the first one on.
    pub(crate) file: PathBuf,
    /// Number of tasks.
    pub(crate) count: usize,
    /// The largest estimate of the memory of a task, in bytes.
    pub(crate) bytes: u64,
    /// Threads of a task.
    pub(crate) threads: usize,
}

/// What a submitted task does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    /// Prepares a dataset.
    Prepare(String),
    /// Runs trials, by their ids.
    Trials(Vec<String>),
    /// Makes the report.
    Finish,
}

/// How a task that is not active any more has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    /// All that it was to do is done.
    Done,
    /// Some of it is done.
    Partial,
    /// Nothing of it is done.
    Nothing,
}

/// A task that a scheduler has accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubmittedTask {
    pub(crate) content: Content,
    /// None as long as it may be active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ending: Option<Ending>,
}

/// An array that a scheduler has accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Submitted {
    /// Name of the array.
    pub(crate) name: String,
    /// The scheduler's id.
    pub(crate) id: String,
    /// Its tasks. The scheduler counts them from 1.
    pub(crate) tasks: Vec<SubmittedTask>,
}

/// The place of a task: its array, and its number in it.
pub(crate) type Place = (usize, usize);

/// All tasks, with the place of their array and their number in it.
pub(crate) fn places(arrays: &[Submitted]) -> impl Iterator<Item = (Place, &SubmittedTask)> {
    arrays
        .iter()
        .enumerate()
        .flat_map(|(at, array)| array.tasks.iter().enumerate().map(move |(index, task)| ((at, index + 1), task)))
}

/// A task that waits or runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Active {
    /// The scheduler's id of its array.
    pub(crate) id: String,
    /// Its number in the array, from 1; None if it stands for all of them that are not listed.
    pub(crate) number: Option<usize>,
    pub(crate) activity: Activity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It waits, for this reason.
    Waits(String),
    /// It runs on this node.
    Runs(String),
}

/// Somebody who runs tasks on the machines of a cluster.
pub(crate) trait Scheduler {
    /// Most tasks of an array.
    fn most_tasks(&mut self) -> usize;

    /// Submits tasks that start when those of `after` have ended. Returns the scheduler's id.
    ///
    /// # Errors
    /// The scheduler refuses, or accepts no more for now.
    fn submit(&mut self, folder: &RunFolder, array: &Array, after: &[&str]) -> Result<String, TaskError>;

    /// Which tasks of these arrays wait or run.
    ///
    /// # Errors
    /// The scheduler does not answer, which says nothing about the tasks.
    fn active(&mut self, folder: &RunFolder, arrays: &[Submitted]) -> Result<Vec<Active>, TaskError>;

    /// The ids of arrays of this run that wait or run and are not among these: whoever submitted them was killed before writing
    /// them down.
    ///
    /// # Errors
    /// The scheduler does not answer.
    fn strays(&mut self, folder: &RunFolder, arrays: &[Submitted]) -> Result<Vec<String>, TaskError>;

    /// How a task ended, in words; None if the scheduler does not tell.
    fn fate(&mut self, id: &str, number: usize) -> Option<String>;

    /// Where the output of a task goes.
    fn log(&self, folder: &RunFolder, array: &Submitted, number: usize) -> PathBuf;

    /// Cancels all tasks of these arrays that belong to the run.
    ///
    /// # Errors
    /// The scheduler does not answer.
    fn cancel(&mut self, folder: &RunFolder, ids: &[&str]) -> Result<(), TaskError>;
}

/// The last lines of a log; empty if there is none.
pub(crate) fn last_words(log: &Path) -> String {
    const MOST: usize = 300;
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let words: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let words = words[words.len().saturating_sub(3)..].join(" ");
    let plain: String = words.chars().filter(|c| !c.is_control()).collect();
    plain.chars().skip(plain.chars().count().saturating_sub(MOST)).collect()
}
