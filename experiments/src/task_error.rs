//! Tasks that cannot be written, submitted, followed or carried out.

use record::RecordError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A task, or the tasks of a run, that cannot go on.
#[derive(Debug, Error)]
pub enum TaskError {
    /// The folder of the run cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A folder cannot be made.
    #[error("cannot create {}: {error}", .path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// The system error.
        error: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system error.
        error: io::Error,
    },
    /// A file with invalid content.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A run whose trials run here, or no run at all.
    #[error("{} has no tasks: its trials were not handed to an executor", .folder.display())]
    NoTasks {
        /// The folder of the run.
        folder: PathBuf,
    },
    /// The program has changed since the run was planned, or this machine has another build.
    #[error(
        "the tasks of {} are those of another build: vqbench {version} with sources {sources}, and this is {} with {here}",
        .folder.display(), env!("CARGO_PKG_VERSION")
    )]
    OtherBuild {
        /// The folder of the run.
        folder: PathBuf,
        /// Version of the build that planned it.
        version: String,
        /// Fingerprint of its sources.
        sources: String,
        /// Fingerprint of the sources of this program.
        here: String,
    },
    /// An id that no trial of the run has.
    #[error("{} has no trial {id} to run", .folder.display())]
    UnknownTrial {
        /// The id.
        id: String,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// One side of a pair without the other.
    #[error("trial {id} takes turns with trial {partner}, which is not among those to run")]
    Alone {
        /// The id.
        id: String,
        /// The id of the other side.
        partner: String,
    },
    /// A name that no dataset of the run has.
    #[error("{} has no dataset `{name}`; it has {}", .folder.display(), .known.join(", "))]
    UnknownDataset {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
        /// The folder of the run.
        folder: PathBuf,
    },
    /// Tasks of an earlier submission may still run.
    #[error("tasks of an earlier submission of {} are waiting or running: {}", .folder.display(), .jobs.join(", "))]
    Alive {
        /// The folder of the run.
        folder: PathBuf,
        /// The ids of the scheduler.
        jobs: Vec<String>,
    },
    /// A command of the scheduler cannot be started.
    #[error("{command} could not be started: {error}")]
    NoScheduler {
        /// The command.
        command: &'static str,
        /// The system error.
        error: io::Error,
    },
    /// A scheduler that does not answer, which says nothing about its tasks.
    #[error("{command} failed: {reason}")]
    NoAnswer {
        /// The command.
        command: &'static str,
        /// What it said.
        reason: String,
    },
    /// The scheduler refuses.
    #[error("{command} failed: {reason}")]
    Refused {
        /// The command.
        command: &'static str,
        /// What it said.
        reason: String,
    },
    /// The scheduler accepts no more tasks for now.
    #[error("{command} accepts no more tasks for now: {reason}")]
    Full {
        /// The command.
        command: &'static str,
        /// What it said.
        reason: String,
    },
}

impl TaskError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            TaskError::Record(_) => String::new(),
            TaskError::Write { .. } | TaskError::Read { .. } => {
                "check that the folder of the run is mounted here and that you may use it".into()
            }
            TaskError::Damaged { .. } => "submit the run again: `cargo xtask experiments FILE`".into(),
            TaskError::NoTasks { .. } => {
                "submit it with `cargo xtask experiments FILE --executor slurm`, or `--executor tasks`".into()
            }
            TaskError::OtherBuild { .. } => {
                "use the program that submitted the run, or submit it again with this one".into()
            }
            TaskError::UnknownTrial { .. } => {
                "the ids stand in its tasks.txt; a trial that has ended before is not among them".into()
            }
            TaskError::Alone { .. } => "name both".into(),
            TaskError::UnknownDataset { .. } => "name one of these".into(),
            TaskError::Alive { folder, .. } => {
                let folder = folder.display();
                format!(
                    "`cargo xtask experiments --attach {folder}` follows them, and `--cancel {folder}` cancels them"
                )
            }
            TaskError::NoScheduler { .. } => "run this where Slurm is installed, or use `--executor tasks`".into(),
            TaskError::NoAnswer { .. } => {
                "tasks that were submitted go on; try again when the scheduler answers".into()
            }
            TaskError::Refused { .. } => "check the settings of the executor in the experiment".into(),
            TaskError::Full { .. } => "`cargo xtask experiments --attach RUN` submits the rest later".into(),
        }
    }
}
