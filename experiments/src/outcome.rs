//! How a run ends, and why it cannot start.

use crate::fault::Fault;
use crate::task_error::TaskError;
use datasets::DatasetError;
use record::RecordError;
use thiserror::Error;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Trials that succeeded, now or before.
    pub ok: usize,
    /// Trials that failed or timed out, now or before.
    pub failed: usize,
    /// Of these, the number that failed for an external reason: the next run tries them again.
    pub passing: usize,
    /// Trials that had ended before and were reused.
    pub reused: usize,
    /// Trials that were not run, because the run was interrupted or filtered.
    pub left: usize,
    /// Of these, the number that an executor was to run and could not.
    pub unfinished: usize,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// What the user should know or do, one line each.
    pub remarks: Vec<String>,
}

/// A run that could not start.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The run folder cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A dataset cannot be used.
    #[error(transparent)]
    Dataset(#[from] Fault),
    /// Threads could not be started.
    #[error("threads could not be started: {0}")]
    Threads(String),
    /// A dataset cannot be used on the machine of a task.
    #[error(transparent)]
    Unusable(#[from] DatasetError),
    /// A task was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// Tasks cannot be written, submitted or carried out.
    #[error(transparent)]
    Task(#[from] TaskError),
}
