//! Tasks that cannot be written, submitted, followed or carried out.

use crate::shell::run_command;
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
    /// A folder cannot be made, or a file cannot be removed.
    #[error("cannot {action} {}: {error}", .path.display())]
    Write {
        /// The operation.
        action: &'static str,
        /// Its path.
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
    /// No run in this folder, or no folder: it may be mounted elsewhere.
    #[error("there is no run in {}", .folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },
    /// A run whose trials run on the machine that plans them.
    #[error("{} has no tasks: its trials run on the machine that planned it", .folder.display())]
    NoTasks {
        /// The folder of the run.
        folder: PathBuf,
    },
    /// The program has changed since the run was planned, or this machine has another build.
    #[error(
        "{} was planned by another build: vqbench {version} (sources {sources}); this is vqbench {} (sources {here})",
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
    #[error("{command} does not answer: {reason}")]
    NoAnswer {
        /// The command.
        command: &'static str,
        /// What it said.
        reason: String,
    },
    /// The scheduler refuses.
    #[error("{command} refuses the tasks: {reason}")]
    Refused {
        /// The command.
        command: &'static str,
        /// What it said.
        reason: String,
    },
    /// An answer that cannot be read.
    #[error("{command} said {answer:?}, which is not the id of a job")]
    Unclear {
        /// The command.
        command: &'static str,
        /// What it said.
        answer: String,
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
            TaskError::Damaged { path, .. } => format!(
                "cancel what still waits or runs, delete {}, and submit the experiment again with the same `--out`; trials that \
                 have ended are kept",
                path.display()
            ),
            TaskError::NoRun { .. } => "check the path, and that its file system is mounted here".into(),
            TaskError::NoTasks { folder } => format!(
                "submit it with `cargo xtask experiments FILE --executor slurm --out {}`, or with `--executor tasks`",
                folder.display()
            ),
            TaskError::OtherBuild { folder, .. } => format!(
                "start the executable that planned it, or plan it again with this one: `cargo xtask experiments FILE --out {}`",
                folder.display()
            ),
            TaskError::UnknownTrial { .. } => {
                "the ids stand in its tasks.txt; a trial that has ended before is not among them".into()
            }
            TaskError::Alone { .. } => "name both".into(),
            TaskError::UnknownDataset { .. } => "name one of these".into(),
            TaskError::Alive { folder, .. } => {
                format!("{} follows them, and {} cancels them", run_command("attach", folder), run_command("cancel", folder))
            }
            TaskError::NoScheduler { .. } => "run this where Slurm is installed, or use `--executor tasks`".into(),
            TaskError::NoAnswer { .. } => {
                "tasks that were submitted go on; try again when the scheduler answers".into()
            }
            TaskError::Refused { .. } => {
                "correct the key of `executor` in the experiment that this names; docs/experiment-keys.md lists them".into()
            }
            TaskError::Unclear { .. } => {
                "a wrapper may print more than the id; `squeue --me` shows whether a job was submitted".into()
            }
            TaskError::Full { .. } => {
                "follow the run later with `--attach`, which submits the rest; if the scheduler never accepts it, change the \
                 settings of `executor` that it names"
                    .into()
            }
        }
    }
}
