//! Why a run folder cannot be used.

use crate::SCHEMA;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A run folder that cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A system call failed.
    #[error("cannot {action} {}: {error}", .path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// The system error.
        error: io::Error,
    },
    /// A folder without a run in it.
    #[error("{} is not a run folder: it has no run.json", .path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that contains something other than a run.
    #[error("{} is not empty and is not a run folder", .path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// A file of somebody else at a path that this program would write.
    #[error("{} exists, and vqbench did not write it", .path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A file with invalid content.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of a newer version of this program.
    #[error("{} has schema {found}; this program reads schema {SCHEMA} and older", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: u64,
    },
    /// A run whose tables were not written, or were written without their digests.
    #[error("{} has no tables of results", .path.display())]
    NoTables {
        /// The folder.
        path: PathBuf,
    },
    /// A run without the records that its tables were made from.
    #[error("{} has no records of its trials, from which its tables were made", .path.display())]
    NoJournal {
        /// The folder.
        path: PathBuf,
    },
    /// Another process uses this folder.
    #[error("another process runs or follows {}", .path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
}

impl RecordError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
        move |error| RecordError::Io { action, path: path.to_owned(), error }
    }
}
