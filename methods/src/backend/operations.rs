//! What the operations of a backend take and give, and what a backend prepares for many rows: searches, coders, maps, scans.

use super::{CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom};
use crate::algorithms::moments::sum;
use crate::{MethodError, Neighbor};
use cpu::{ScanTables, SymbolWidth};
use ndarray::{Array2, ArrayView2};
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The nearest codeword of each row and its distance.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Index of the nearest codeword per row; ties go to the lowest index.
    pub nearest: Vec<u32>,
    /// Squared distance `‖x−c‖²` to that codeword, per row.
    pub squared_distance: Vec<f32>,
}

impl Assignment {
    /// Mean of the squared distances, in f64.
    pub fn mean(&self) -> f64 {
        sum(&self.squared_distance) / self.squared_distance.len().max(1) as f64
    }
}

/// An [`Assignment`] in its backend's storage, and the mean of its squared distances.
#[derive(Clone)]
pub struct Assigned {
    pub(super) storage: Arc<dyn Any + Send + Sync>,
    mean: f64,
}

impl Assigned {
    /// Wraps a backend's storage; for implementors of [`Backend`](super::Backend).
    pub fn from_storage(storage: Arc<dyn Any + Send + Sync>, mean: f64) -> Assigned {
        Assigned { storage, mean }
    }

    /// The storage, for the backend that created it.
    ///
    /// # Panics
    /// If another backend created it.
    pub fn storage<T: 'static>(&self) -> &T {
        match self.storage.downcast_ref() {
            Some(storage) => storage,
            None => unreachable!("an assignment is used with the backend that made it"),
        }
    }

    /// Mean of the squared distances.
    pub fn mean(&self) -> f64 {
        self.mean
    }
}

/// Sum and number of the rows in each cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellSums {
    /// `K×dim` sums of the rows assigned to each codeword.
    pub sums: Array2<f64>,
    /// Number of rows per codeword.
    pub counts: Vec<usize>,
}

/// How to search for a code of several symbols whose codewords add up to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumCoding {
    /// Number of partial codes that the beam search keeps.
    pub beam: usize,
    /// Rounds and seed of the local search that follows; None without local search.
    pub local: Option<(usize, u64)>,
    /// Number of bits of each symbol, packed least significant bit first.
    pub bits: u8,
}

/// Searches for the sum of codewords, one from each of `m` codebooks, that is nearest to a row. The code of a row does
/// not depend on other rows.
pub trait SumSearch: Send + Sync {
    /// Finds codes of `m` symbols per row by a beam search over the codebooks in order, which keeps `beam` partial
    /// codes.
    ///
    /// # Errors
    /// A device failure.
    fn beam(&self, rows: &DeviceMatrix<'_>, beam: usize, codes: &mut [u16]) -> Result<(), MethodError>;

    /// Improves codes by `rounds` of iterated local search. No code becomes worse. The random numbers for a row depend
    /// only on `seed` and its code.
    ///
    /// # Errors
    /// A device failure, or a search that was not prepared for local search.
    fn improve(&self, rows: &DeviceMatrix<'_>, rounds: usize, seed: u64, codes: &mut [u16]) -> Result<(), MethodError>;

    /// Runs both searches and packs the codes. Keeps the code of each row whose error, computed by a plain sum, is
    /// smaller: tables round on the scale of the rows, which may be too coarse to choose the last codewords.
    ///
    /// # Errors
    /// A device failure, or a search that was not prepared for local search.
    fn encode(&self, rows: &DeviceMatrix<'_>, how: SumCoding, codes: &mut CodeRoom<'_>) -> Result<(), MethodError>;
}

/// Encodes rows. The code of a row does not depend on other rows.
pub trait RowEncoder: Send + Sync {
    /// Writes the code of each row.
    ///
    /// # Errors
    /// A device failure.
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError>;
}

/// Decodes codes.
pub trait CodeDecoder: Send + Sync {
    /// Writes the decoded row of each code.
    ///
    /// # Errors
    /// A symbol outside its alphabet; a device failure.
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError>;
}

/// Encodes components one by one, and decodes them.
pub trait ScalarCoder: RowEncoder + CodeDecoder {}

impl<T: RowEncoder + CodeDecoder> ScalarCoder for T {}

/// The affine map `x·weights + bias`, as passed to a backend.
#[derive(Clone, Copy, Debug)]
pub struct AffineMap<'a> {
    /// Shape: inputs × outputs.
    pub weights: ArrayView2<'a, f32>,
    /// Shape: 1 × outputs.
    pub bias: ArrayView2<'a, f32>,
}

/// A codebook that is searched more than once.
pub trait NearestSearch: Send + Sync {
    /// As [`Backend::nearest`](super::Backend::nearest).
    ///
    /// # Errors
    /// A device failure.
    fn nearest(&self, rows: &DeviceMatrix<'_>) -> Result<Vec<u32>, MethodError>;
}

/// A step in the branch of a network.
#[derive(Clone, Copy, Debug)]
pub enum BranchLayer<'a> {
    /// An affine map of all inputs.
    Affine(AffineMap<'a>),
    /// The same affine map applied to every window; the results are concatenated.
    Windows {
        /// Indices of inputs, window by window; an index equal to the number of inputs stands for the value 0.
        inputs: &'a [u32],
        /// The affine map of a window.
        map: AffineMap<'a>,
    },
    /// `max(x, 0)`.
    Rectifier,
}

/// A map from rows to rows, prepared by a backend.
pub trait RowMap: Send + Sync {
    /// Number of columns of an output row.
    fn outputs(&self) -> usize;

    /// Bytes of device memory that a row needs for intermediate values, without its input and output.
    fn bytes_per_row(&self) -> usize {
        0
    }

    /// Writes the output of each row. It does not depend on other rows.
    ///
    /// # Errors
    /// A device failure.
    fn apply(&self, rows: &DeviceMatrix<'_>, images: &mut MatrixRoom<'_>) -> Result<(), MethodError>;
}

/// A centre and a factor, prepared by a backend.
pub trait RowScale: Send + Sync {
    /// Computes `(x − centre)·factor` of every row.
    ///
    /// # Errors
    /// A device failure.
    fn forward(&self, rows: &DeviceMatrix<'_>) -> Result<DeviceMatrix<'static>, MethodError>;

    /// Computes `x·back + centre` of every row, in place.
    ///
    /// # Errors
    /// A device failure.
    fn back(&self, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError>;
}

/// Returns what the backend has prepared, or prepares it now. After a failure, the next call tries again.
pub(crate) fn prepared<T>(
    once: &OnceLock<T>,
    prepare: impl FnOnce() -> Result<T, MethodError>,
) -> Result<&T, MethodError> {
    match once.get() {
        Some(prepared) => Ok(prepared),
        None => {
            let fresh = prepare()?;
            Ok(once.get_or_init(|| fresh))
        }
    }
}

/// A uniform grid for each component.
#[derive(Clone, Debug, PartialEq)]
pub struct UniformGrid {
    /// Lowest level of each component.
    pub offsets: Vec<f32>,
    /// Distance between adjacent levels of each component.
    pub steps: Vec<f32>,
    /// Bits per symbol, 1 to 8; a component has `2^bits` levels.
    pub bits: u8,
}

/// A few levels per component, separated by thresholds: the digit of a component is the number of its thresholds that
/// are at most `x` (0 for NaN), and each digit has a value. `width` consecutive components form one symbol,
/// `Σ_j digit_j·Π_{i<j} levels_i`; all symbols have the same alphabet.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelGrid {
    /// Ascending thresholds, one fewer than values. Component `j` uses list `j` modulo the number of lists, which is a
    /// multiple of `width`.
    pub thresholds: Vec<Vec<f32>>,
    /// The value of each digit.
    pub values: Vec<Vec<f32>>,
    /// Components per symbol.
    pub width: usize,
    /// Symbols per code, packed least significant bit first.
    pub symbols: usize,
}

impl LevelGrid {
    /// Number of values of a symbol.
    pub fn alphabet(&self) -> usize {
        self.values.iter().take(self.width).map(Vec::len).product()
    }
}

/// How the codewords of a code form a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Concatenated.
    Beside,
    /// Added up.
    Added,
}

/// The partial codes that a beam search keeps: the best continuations of each group of rows, and their residuals.
pub struct Continuations {
    /// `‖x_b − c‖²` and the index `b·K + c` for a row `x_b` of the group and a codeword `c`, nearest first; ties go to
    /// the lower index.
    pub chosen: Vec<Neighbor>,
    /// The residual `x_b − c` of each continuation.
    pub residuals: DeviceMatrix<'static>,
}

/// The layout of the symbols in codes that are searched by tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLayout {
    /// Bits of each symbol.
    pub width: SymbolWidth,
    /// Symbols of a code, packed least significant first.
    pub positions: usize,
    /// Bytes of a code before its symbols.
    pub skip: usize,
    /// Whether each row has its own offset and slope, see [`Searcher::row_factors`](crate::Searcher::row_factors).
    pub has_factors: bool,
}

impl CodeLayout {
    /// Bytes of a code.
    pub fn bytes(&self) -> usize {
        self.skip + self.width.bytes(self.positions)
    }
}

/// A query that is itself a code: a score is `offset + slope·h`, where `h` is the number of bits in which query and
/// code differ.
#[derive(Clone, Debug, PartialEq)]
pub struct BitQuery {
    /// The code of the query.
    pub code: Vec<u8>,
    /// The offset.
    pub offset: f32,
    /// The slope, which is positive.
    pub slope: f32,
}

/// Codes in a backend's memory whose scores are sums of table entries.
pub trait TableScan: Send + Sync {
    /// For the tables of each query, the `k` codes with the lowest scores, nearest first; ties go to the lower index,
    /// and NaN is no neighbour. Fewer than `k` if there are fewer codes.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If the tables have another layout than the codes.
    fn top_k(&self, tables: &[ScanTables], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError>;

    /// Into parts of how many queries so many may be divided, with the same results; None if they are searched together only. Whoever divides
    /// queries so makes the tables of a part and searches for it in one thread, which finds them in its cache.
    fn queries_of_part(&self, _queries: usize) -> Option<usize> {
        None
    }

    /// [`TableScan::top_k`] for a part of the queries, on the current thread. Called only if [`TableScan::queries_of_part`] gives a size.
    ///
    /// # Errors
    /// As [`TableScan::top_k`].
    fn top_k_of_part(&self, tables: &[ScanTables], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        self.top_k(tables, k)
    }

    /// Bytes of memory that the search takes besides the codes it was lent: codes laid out anew, factors of each.
    fn bytes(&self) -> usize;
}

/// Rows that a backend has prepared for many searches.
pub trait RowSearch: Send + Sync {
    /// As [`Backend::nearest_rows`](super::Backend::nearest_rows) over these rows.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If rows and queries have different numbers of components.
    fn top_k(&self, queries: &DeviceMatrix<'_>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError>;

    /// Bytes of memory that the rows take, prepared.
    fn bytes(&self) -> usize;
}

/// Codes in a backend's memory that are compared by their bits.
pub trait BitScan: Send + Sync {
    /// The `k` codes nearest to the code of each query by Hamming distance, nearest first; ties go to the lower index.
    /// Fewer than `k` if there are fewer codes.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If the code of a query has another length.
    fn top_k(&self, queries: &[BitQuery], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError>;
}

/// Fills host memory.
pub type Fill<'f, T> = &'f mut dyn FnMut(&mut [T]) -> Result<(), MethodError>;

/// Fills the host memory of the rows of a range.
pub type FillRows<'f> = &'f mut dyn FnMut(Range<usize>, &mut [f32]) -> Result<(), MethodError>;

/// Writes rows to a backend.
pub type WriteRows<'f> = &'f mut dyn FnMut(&mut MatrixRoom<'_>) -> Result<(), MethodError>;

/// Writes codes to a backend.
pub type WriteCodes<'f> = &'f mut dyn FnMut(&mut CodeRoom<'_>) -> Result<(), MethodError>;
