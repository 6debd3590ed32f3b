//! Files of vectors to files of codes by a trained quantizer, and back, or to another format, within a budget of memory. A file may be larger than the budget, and
//! than the machine's memory: one thread reads ahead, the others compute, and what they make is written as it comes.
//!
//! ```no_run
//! use experiments::ByteSize;
//! use experiments::coding::Coding;
//! use methods::Context;
//! use methods::contract::model;
//! use std::path::Path;
//! use std::sync::atomic::AtomicBool;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let quantizer = model::read(&std::fs::read("pq.vqb")?, &Context::cpu(0))?.quantizer;
//! let coded = Coding {
//!     input: Path::new("vectors.npy"),
//!     output: Path::new("codes.npy"),
//!     memory: ByteSize(512 << 20),
//!     interrupt: &AtomicBool::new(false),
//!     progress: &mut |done, all| eprintln!("{done} of {all} rows"),
//! }
//! .encode(&*quantizer)?;
//! println!("{} codes in {} s", coded.rows, coded.seconds);
//! # Ok(())
//! # }
//! ```

mod pace;
mod stream;

use crate::units::ByteSize;
use datasets::DatasetError;
use datasets::format::{self, OutputType};
use methods::{MethodError, Quantizer};
use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;
use record::RecordError;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use stream::{Job, stream};
use thiserror::Error;

/// A file to encode or decode, with its settings. It runs on the current thread pool.
pub struct Coding<'a> {
    /// The file to read.
    pub input: &'a Path,
    /// The output file, which appears under its name when it is complete. Its extension determines the format.
    pub output: &'a Path,
    /// Memory limit of this process, in bytes.
    pub memory: ByteSize,
    /// Stops the work soon after it is set.
    pub interrupt: &'a AtomicBool,
    /// Called with the number of finished rows and of all rows, before the first block and after each block.
    pub progress: &'a mut (dyn FnMut(usize, usize) + Send),
}

/// Summary of the work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coded {
    /// Vectors encoded, or codes decoded.
    pub rows: usize,
    /// Seconds, without the check of the budget.
    pub seconds: f64,
    /// Peak memory of this process in bytes, if the system reports it.
    pub peak_bytes: Option<u64>,
}

/// Why a file was not encoded or decoded. The output file does not exist, or is unchanged.
#[derive(Debug, Error)]
pub enum CodingError {
    /// The input cannot be read, or the extension of the output names no format.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The output cannot be created or renamed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The output cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The quantizer refused rows or codes.
    #[error("{}: {error}", path.display())]
    Method {
        /// The input.
        path: PathBuf,
        /// The quantizer's reason.
        error: MethodError,
    },
    /// The number of rows of the input has changed.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The input.
        path: PathBuf,
    },
    /// The dimension of the vectors differs from that of the quantizer.
    #[error("{} has vectors of {found} components; the model needs {dim}", path.display())]
    Dimension {
        /// The input.
        path: PathBuf,
        /// Components of its vectors.
        found: usize,
        /// Components that the quantizer needs.
        dim: usize,
    },
    /// The input does not have the requested rows.
    #[error("{} has {rows} rows; the range {start}..{end} does not lie within them", path.display())]
    Rows {
        /// The input.
        path: PathBuf,
        /// The first requested row.
        start: usize,
        /// The row after the last.
        end: usize,
        /// Rows of the input.
        rows: usize,
    },
    /// The size of the codes differs from that of the quantizer.
    #[error("{} holds codes of {found} bytes; those of this model have {size}", path.display())]
    CodeSize {
        /// The input.
        path: PathBuf,
        /// Bytes of each of its codes.
        found: usize,
        /// Bytes that the quantizer needs.
        size: usize,
    },
    /// A code has a value that is not an integer from 0 to 255.
    #[error("{} holds values that are not bytes", path.display())]
    NotBytes {
        /// The input.
        path: PathBuf,
    },
    /// A code decodes to NaN or an infinity.
    #[error("code {code} of {} decodes to {value}, which is not finite", path.display())]
    NotFinite {
        /// The input.
        path: PathBuf,
        /// Number of the code, from 0.
        code: usize,
        /// The value.
        value: f32,
    },
    /// The budget is too small even for small blocks.
    #[error(
        "a memory budget of {budget} is too little: the program and the model take {}, reading {} takes {}, blocks of rows at least {}",
        mebibytes(*program), path.display(), mebibytes(*reading), mebibytes(*blocks)
    )]
    Budget {
        /// The input.
        path: PathBuf,
        /// The budget.
        budget: ByteSize,
        /// Bytes in use.
        program: u64,
        /// Bytes that the reader of the input needs.
        reading: u64,
        /// Bytes of the first blocks.
        blocks: u64,
        /// Bytes that would be enough.
        needed: u64,
    },
    /// The quantizer needed more than the budget.
    #[error("a memory budget of {budget} is too little: {} were used", mebibytes(*needed))]
    Exceeded {
        /// The budget.
        budget: ByteSize,
        /// Bytes that were used.
        needed: u64,
    },
    /// [`Coding::interrupt`] was set.
    #[error("interrupted: {} was not written", path.display())]
    Interrupted {
        /// The output.
        path: PathBuf,
    },
}

/// Formats bytes for people.
pub fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

impl Coding<'_> {
    /// Encodes the vectors of the input. Each row of the output is the code of one vector, padded to whole bytes.
    ///
    /// # Errors
    /// See [`CodingError`].
    pub fn encode(self, quantizer: &dyn Quantizer) -> Result<Coded, CodingError> {
        let (vectors, output) = (self.input, self.output);
        let (n, found) = format::shape(vectors)?;
        let (dim, size) = (quantizer.dim(), quantizer.code_size());
        if found != dim {
            return Err(CodingError::Dimension { path: vectors.to_owned(), found, dim });
        }
        let layout = format::layout(output, OutputType::U8, (n, size))?;
        let job = Job { shape: (n, dim), rows: 0..n, layout: &layout, made_bytes: size };
        let mut codes = Vec::new();
        stream(self, &job, |block, file| {
            codes.resize(block.count * size, 0);
            let shape = (block.count, dim);
            let rows = ArrayView2::from_shape(shape, block.values).map_err(|_| changed(vectors))?;
            quantizer.encode_into(rows, &mut codes).map_err(refused(vectors))?;
            layout.write_codes(block.first, &codes, size, file).map_err(unwritten(output))
        })
    }

    /// Decodes the codes of the input to vectors.
    ///
    /// # Errors
    /// See [`CodingError`].
    pub fn decode(self, quantizer: &dyn Quantizer) -> Result<Coded, CodingError> {
        let (codes, output) = (self.input, self.output);
        let (n, found) = format::shape(codes)?;
        let (dim, size) = (quantizer.dim(), quantizer.code_size());
        if found != size {
            return Err(CodingError::CodeSize { path: codes.to_owned(), found, size });
        }
        let layout = format::layout(output, OutputType::F32, (n, dim))?;
        let job = Job { shape: (n, size), rows: 0..n, layout: &layout, made_bytes: size + 4 * dim };
        let (mut bytes, mut decoded) = (Vec::new(), Vec::new());
        stream(self, &job, |block, file| {
            bytes.resize(block.values.len(), 0);
            if !to_bytes(block.values, &mut bytes) {
                return Err(CodingError::NotBytes { path: codes.to_owned() });
            }
            decoded.resize(block.count * dim, 0.0);
            let shape = (block.count, dim);
            let rows = ArrayViewMut2::from_shape(shape, &mut decoded).map_err(|_| changed(codes))?;
            quantizer.decode_into(&bytes, rows).map_err(refused(codes))?;
            let not_finite = || decoded.iter().enumerate().find(|(_, v)| !v.is_finite());
            if !are_finite(&decoded)
                && let Some((at, &value)) = not_finite()
            {
                return Err(CodingError::NotFinite { path: codes.to_owned(), code: block.first + at / dim, value });
            }
            layout.write_vectors(block.first, &decoded, dim, file).map_err(unwritten(output))
        })
    }

    /// Writes the vectors of the input, or some rows of it, in the format of the output.
    ///
    /// # Errors
    /// See [`CodingError`].
    pub fn convert(self, rows: Option<Range<usize>>) -> Result<Coded, CodingError> {
        let (vectors, output) = (self.input, self.output);
        let (n, dim) = format::shape(vectors)?;
        let rows = rows.unwrap_or(0..n);
        if rows.is_empty() || rows.end > n {
            return Err(CodingError::Rows { path: vectors.to_owned(), start: rows.start, end: rows.end, rows: n });
        }
        let layout = format::layout(output, OutputType::F32, (rows.len(), dim))?;
        let job = Job { shape: (n, dim), rows, layout: &layout, made_bytes: 4 * dim };
        stream(self, &job, |block, file| {
            layout.write_vectors(block.first, block.values, dim, file).map_err(unwritten(output))
        })
    }
}

/// Values that one task checks.
const CHECKED: usize = 1 << 14;

/// Writes values as bytes. False if one of them is not an integer from 0 to 255.
fn to_bytes(values: &[f32], bytes: &mut [u8]) -> bool {
    let parts = values.par_chunks(CHECKED).zip(bytes.par_chunks_mut(CHECKED));
    let convert = |(values, bytes): (&[f32], &mut [u8])| {
        bytes.iter_mut().zip(values).fold(true, |all, (byte, value)| {
            *byte = *value as u8;
            all & (f32::from(*byte) == *value)
        })
    };
    parts.map(convert).reduce(|| true, |a, b| a & b)
}

fn are_finite(values: &[f32]) -> bool {
    values.par_chunks(CHECKED).all(|values| values.iter().fold(true, |all, value| all & value.is_finite()))
}

fn refused(path: &Path) -> impl Fn(MethodError) -> CodingError {
    move |error| CodingError::Method { path: path.to_owned(), error }
}

fn unwritten(path: &Path) -> impl Fn(io::Error) -> CodingError {
    move |error| CodingError::Write { path: path.to_owned(), error }
}

fn changed(path: &Path) -> CodingError {
    CodingError::Changed { path: path.to_owned() }
}
