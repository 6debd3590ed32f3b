//! Why something could not be fetched.

use datasets::DatasetError;
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// A file that could not be fetched. Nothing was put under its name.
#[derive(Debug, Error)]
pub enum FetchError {
    /// None of its addresses gave the right file.
    #[error("{file} could not be fetched:{}", .tried.iter().map(|tried| format!("\n  {tried}")).collect::<String>())]
    Failed {
        /// Its path below the folder of datasets.
        file: String,
        /// Each address that was asked, and what went wrong.
        tried: Vec<Tried>,
    },
    /// The fetching was interrupted. What has arrived is kept, and the next call continues from there.
    #[error("interrupted; {} of {file} are kept", datasets::catalog::write_bytes(*.kept))]
    Interrupted {
        /// Its path below the folder of datasets.
        file: String,
        /// Bytes of it that are here.
        kept: u64,
    },
    /// A file of this machine that cannot be read or written.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// Another process fetches the same file.
    #[error("{} is being fetched by another process", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The record of what was fetched cannot be used.
    #[error("{} cannot be used: {reason}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that is here is not the one that was recorded.
    #[error("{file} is here, but not as {} records it: its SHA-256 is {found}, not {recorded}", .lock.display())]
    Differs {
        /// Its path below the folder of datasets.
        file: String,
        /// The record.
        lock: PathBuf,
        /// The digest that it records.
        recorded: String,
        /// The digest of the file, or of the archive that it comes from.
        found: String,
    },
    /// Files of an archive are here, and nothing says which archive it was.
    #[error("the files of {file} are here, but nothing tells whether they are those that {} records", .lock.display())]
    Unrecorded {
        /// The path of the archive below the folder of datasets.
        file: String,
        /// The record.
        lock: PathBuf,
    },
    /// The first rows of a file are wanted, but the catalog does not say how many, or they are more than the format can state.
    #[error("{file} cannot be cut: its rows of {dim} components are unknown or too many")]
    Cut {
        /// Its path below the folder of datasets.
        file: String,
        /// The rows that are wanted.
        rows: Option<usize>,
        /// Their components.
        dim: usize,
    },
    /// What was fetched cannot be unpacked, or does not hold what it should.
    #[error("{file} was fetched, but cannot be unpacked: {reason}")]
    Archive {
        /// Its path below the folder of datasets.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// An address that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The address, without user and password.
    pub address: String,
    /// What went wrong.
    pub reason: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.reason)
    }
}

impl FetchError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> FetchError {
        let path = path.into();
        |error| FetchError::Io { path, error }
    }

    pub(crate) fn archive(file: &str) -> impl Fn(DatasetError) -> FetchError + '_ {
        |error| FetchError::Archive { file: file.to_owned(), reason: error.to_string() }
    }

    /// A suggested fix, if the message does not contain it.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            FetchError::Failed { .. } => {
                "the same command continues where this one stopped; a mirror can be named in VQBENCH_MIRROR, a proxy in HTTPS_PROXY"
            }
            FetchError::Interrupted { .. } => "the same command continues where this one stopped",
            FetchError::Io { .. } => "make room, or choose another folder with XDG_CACHE_HOME",
            FetchError::Busy { .. } => "wait for it",
            FetchError::Lock { .. } => "correct the file, or delete it: it then holds what is fetched from now on",
            FetchError::Differs { .. } | FetchError::Unrecorded { .. } => {
                "remove the dataset with `cargo xtask datasets prune` and fetch it again, or delete its lines in this file to accept what is here"
            }
            FetchError::Cut { .. } => "this is a bug in the catalog of vqbench: please report it",
            FetchError::Archive { .. } => "it was removed: fetch it again, and report it if this repeats",
        })
    }
}
