//! Errors of methods; each says what is wrong and what would be right.

use crate::backend::BackendError;
use strict::ParamError;
use thiserror::Error;

/// A failure while fitting, encoding, decoding or searching.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MethodError {
    /// The parameters are wrong.
    #[error(transparent)]
    Param(#[from] ParamError),
    /// There are no training rows.
    #[error("there are no training rows; at least one is needed")]
    NoRows,
    /// A NaN or an infinity in the data.
    #[error("row {row} has the non-finite value {value} in column {column}; quantizers need finite vectors")]
    NonFinite {
        /// Zero-based row.
        row: usize,
        /// Zero-based column.
        column: usize,
        /// The value found.
        value: f32,
    },
    /// Rows of the wrong width.
    #[error("rows have {found} components; this quantizer was trained on {expected}")]
    Dimension {
        /// Components of the quantizer.
        expected: usize,
        /// Components found.
        found: usize,
    },
    /// A code buffer of the wrong length.
    #[error("the code buffer holds {found} bytes; {expected} are needed")]
    CodeLength {
        /// Bytes needed.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A symbol that this quantizer cannot have written.
    #[error("symbol {symbol} at position {position} is outside its alphabet of {alphabet}")]
    Symbol {
        /// The symbol found.
        symbol: usize,
        /// Its position in the code.
        position: usize,
        /// The size of the alphabet there.
        alphabet: usize,
    },
    /// A norm, scale or factor that an encoder cannot have written.
    #[error(
        "the value {value} at position {position} before the symbols of a code is not finite; this is not a code of this quantizer"
    )]
    Side {
        /// Which of the values before the symbols.
        position: usize,
        /// The value found.
        value: f32,
    },
    /// A result outside the range of f32.
    #[error(
        "{what} overflowed f32: the training values are too large (largest magnitude {magnitude:e}); rescale the data"
    )]
    Overflow {
        /// What was being computed.
        what: &'static str,
        /// The largest absolute value of the training rows.
        magnitude: f32,
    },
    /// Rows whose squared distances f32 cannot hold.
    #[error("{0}")]
    Range(cpu::OutOfRange),
    /// The place to compute refused or failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Something that holds by construction does not: a mistake of this version.
    #[error("{0}; this is a mistake in vqbench")]
    Broken(String),
    /// An outside program failed.
    #[error(transparent)]
    Program(#[from] adapters::AdapterError),
    /// Rows that were to be read again cannot be read.
    #[error("{0}")]
    Unread(String),
    /// Training left the numbers that mean something.
    #[error("training diverged: {0}")]
    Diverged(String),
    /// Training ended with the same code for all rows.
    #[error(
        "the codebook collapsed: after {epochs} epochs all {rows} training rows have the same code; start from rows, reset \
         unused codewords, or lower the learning rate"
    )]
    Collapsed {
        /// Epochs of training.
        epochs: usize,
        /// Training rows.
        rows: usize,
    },
    /// A stop was requested.
    #[error("cancelled")]
    Cancelled,
}
