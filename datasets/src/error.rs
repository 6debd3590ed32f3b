//! Errors of datasets; each says what is wrong, where, and what would be right.

use std::path::PathBuf;
use thiserror::Error;

/// A dataset that cannot be used.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The name is unknown.
    #[error("unknown dataset `{name}`")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names that exist, nearest first where one is near.
        help: String,
    },
    /// The dataset is known, but its files are not on this machine.
    #[error("dataset `{name}` is not on this machine: `{file}` was not found in {}", if .searched.is_empty() { "any folder".to_owned() } else { .searched.join(", ") })]
    Absent {
        /// The dataset.
        name: String,
        /// The file that is missing.
        file: String,
        /// Folders that were searched.
        searched: Vec<String>,
        /// How to get it.
        help: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The content of a file does not match its format.
    #[error("{} is not a usable {format} file: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format it was read as.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A pickle, of PyTorch or plain.
    #[error("{} is a pickle, which can run any program when it is opened; it is not read", .path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// The command that converts it.
        python: String,
    },
    /// The extension of a file is unknown.
    #[error("the format of {} is unknown", .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Extensions that are known.
        known: String,
    },
    /// The format of an output file cannot hold the rows.
    #[error("{} cannot be written: {reason}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The digest of a file differs from that in the catalog.
    #[error("{} is damaged or not the original: its SHA-256 is {found}; the catalog states {expected}", .path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest found.
        found: String,
        /// The digest in the catalog.
        expected: String,
    },
    /// The parts do not fit together.
    #[error("dataset `{name}`: {reason}")]
    Shape {
        /// The dataset.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// Rows whose squared distances f32 cannot hold.
    #[error("dataset `{name}`, {part} rows: {reason}")]
    Range {
        /// The dataset.
        name: String,
        /// `train`, `base` or `queries`.
        part: &'static str,
        /// The bound that is exceeded.
        reason: cpu::OutOfRange,
    },
    /// A NaN, an infinity, or a value beyond f32.
    #[error("{}: row {row} has the value {value} in column {column}, which is not finite as f32{}", .path.display(), such_rows(*.count))]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// Zero-based row of the file.
        row: usize,
        /// Zero-based column.
        column: usize,
        /// The value.
        value: f32,
        /// How many such rows were seen.
        count: usize,
        /// Whether the key `drop` of the dataset can leave such rows out.
        droppable: bool,
    },
    /// A zero row with the metric cosine.
    #[error("dataset `{name}`: {row} is all zeros; the metric cosine needs nonzero rows{}", such_rows(*.count))]
    ZeroRow {
        /// The dataset.
        name: String,
        /// The first such row, with its zero-based number in its file: `row 3 of words.npy`.
        row: String,
        /// How many there are.
        count: usize,
        /// Whether the key `drop` of the dataset can leave such rows out.
        droppable: bool,
    },
}

fn such_rows(count: usize) -> String {
    if count > 1 { format!(" ({count} such rows)") } else { String::new() }
}

impl DatasetError {
    /// Whether the only problem is that the files are not on this machine.
    pub fn is_missing(&self) -> bool {
        match self {
            DatasetError::Absent { .. } => true,
            DatasetError::Io { error, .. } => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// A suggested fix, if the message does not contain it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            DatasetError::Unknown { help, .. } | DatasetError::Absent { help, .. } => help.clone(),
            DatasetError::Io { .. } => {
                "relative paths start at the experiment file, or at the current folder on the command line".to_owned()
            }
            DatasetError::Malformed { .. } => return None,
            DatasetError::Pickle { python, .. } => format!("if you trust it, convert it: {python}"),
            DatasetError::UnknownFormat { known, .. } => format!("known extensions: {known}"),
            DatasetError::Unwritable { .. } => "write .npy, which knows no such limit".to_owned(),
            DatasetError::Digest { .. } => {
                "restore the file (`git checkout` for an embedded one) or fetch it again".to_owned()
            }
            DatasetError::Shape { .. } => return None,
            DatasetError::Range { .. } => {
                "multiply all vectors by one factor so that their norms are near 1; codes do not change".to_owned()
            }
            DatasetError::NonFinite { droppable: true, .. } => {
                "quantizers need finite vectors: fix such rows; in an experiment, `drop: [non-finite]` leaves them out"
                    .to_owned()
            }
            DatasetError::NonFinite { .. } => "quantizers need finite vectors: remove or fix the row".to_owned(),
            DatasetError::ZeroRow { droppable: true, .. } => {
                "leave such rows out with `drop: [zeros]`, or use `metric: l2`".to_owned()
            }
            DatasetError::ZeroRow { .. } => "remove such rows, or use `metric: l2`".to_owned(),
        })
    }
}
