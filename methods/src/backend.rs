//! The coarse operations that methods use for their heavy work, on matrices that may be in device memory.
//!
//! A method is written once over [`Backend`] and runs on every backend. Every backend implements every operation;
//! [`CpuBackend`] is the reference. Operations are arithmetic (nearest codewords, thresholds, products, sums), not
//! methods. A result stays on the device until the caller downloads it: rows are uploaded once, and only codes are
//! copied back.

mod cpu_backend;
mod cpu_codes;
mod cpu_network;
mod cpu_scan;
mod cpu_sums;
mod cuda_backend;
mod cuda_codes;
mod cuda_scan;
mod error;
mod matrix;

pub use cpu_backend::CpuBackend;
pub(crate) use cpu_backend::view as host_view;
pub(crate) use cpu_codes::largest;
pub(crate) use cpu_network::Network as PlainNetwork;
pub(crate) use cpu_sums::{keep_what_errs_less, squared_error};
pub use cuda_backend::CudaBackend;
pub use error::{BackendError, Unavailable};
pub use matrix::{CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom};

use crate::algorithms::moments::sum;
use crate::{Cancel, MethodError, Neighbor, SearchMetric};
use cpu::{Isa, ScanTables, SymbolWidth};
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The hardware that a process uses. The entry point chooses it and passes it down; no code below detects hardware
/// itself.
#[derive(Clone, Debug)]
pub struct Devices {
    /// The instruction set of the CPU kernels.
    pub isa: Isa,
    /// Where to find the parts of CUDA.
    pub toolkit: cuda::Toolkit,
}

impl Default for Devices {
    /// The widest instruction set of this CPU.
    fn default() -> Devices {
        Devices { isa: Isa::widest(), toolkit: cuda::Toolkit::default() }
    }
}

impl Devices {
    /// Opens a device by its name in experiments: `cpu`, `cuda`, or `auto` for the best one that is present.
    ///
    /// # Errors
    /// A device that is missing, or that this version cannot use.
    pub fn open(&self, device: &str) -> Result<Arc<dyn Backend>, Unavailable> {
        let isa = self.isa;
        match device {
            "cpu" => Ok(Arc::new(CpuBackend::new(isa))),
            "cuda" => Ok(Arc::new(CudaBackend::open(isa, &self.toolkit)?)),
            "auto" => match CudaBackend::open(isa, &self.toolkit) {
                Ok(backend) => Ok(Arc::new(backend)),
                Err(_) => Ok(Arc::new(CpuBackend::new(isa))),
            },
            other => {
                Err(Unavailable { reason: format!("`{other}` is not a device"), help: "use cpu, cuda or auto".into() })
            }
        }
    }
}

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
    storage: Arc<dyn Any + Send + Sync>,
    mean: f64,
}

impl Assigned {
    /// Wraps a backend's storage; for implementors of [`Backend`].
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

/// Writes rows to a backend.
pub type WriteRows<'f> = &'f mut dyn FnMut(&mut MatrixRoom<'_>) -> Result<(), MethodError>;

/// Writes codes to a backend.
pub type WriteCodes<'f> = &'f mut dyn FnMut(&mut CodeRoom<'_>) -> Result<(), MethodError>;

/// A place to compute. Results do not depend on the number of threads.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Name in records: `cpu` or `cuda`.
    fn name(&self) -> &'static str;

    /// Instruction set of the CPU part of the work.
    fn isa(&self) -> Isa;

    /// Name of the device; None for the CPU.
    fn device_name(&self) -> Option<String> {
        None
    }

    /// Peak device memory in use, in bytes; None if the backend has no memory of its own.
    fn peak_device_bytes(&self) -> Option<u64> {
        None
    }

    /// Number of rows that fit into free memory if each needs this many bytes.
    ///
    /// # Errors
    /// A device failure.
    fn rows_at_once(&self, bytes_per_row: usize) -> Result<usize, MethodError>;

    /// Makes rows available to the backend. A CPU backend borrows contiguous rows and copies other rows, because
    /// kernels need a constant stride.
    ///
    /// # Errors
    /// Out of device memory.
    fn upload<'a>(&self, rows: ArrayView2<'a, f32>) -> Result<DeviceMatrix<'a>, MethodError>;

    /// Transfers ownership of a matrix to the backend, without a copy if possible.
    ///
    /// # Errors
    /// Out of device memory.
    fn upload_owned(&self, rows: Array2<f32>) -> Result<DeviceMatrix<'static>, MethodError>;

    /// The rows in host memory, borrowed if they are there already.
    ///
    /// # Errors
    /// A device failure.
    fn download<'m>(&self, matrix: &'m DeviceMatrix<'_>) -> Result<CowArray<'m, f32, Ix2>, MethodError>;

    /// Copies the rows with the given indices to the host.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If an index is out of range.
    fn rows_at(&self, matrix: &DeviceMatrix<'_>, numbers: &[usize]) -> Result<Array2<f32>, MethodError>;

    /// Makes codes of `size` bytes each available to the backend; a CPU backend borrows them.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If the bytes are not a whole number of codes.
    fn upload_codes<'a>(&self, codes: &'a [u8], size: usize) -> Result<DeviceCodes<'a>, MethodError>;

    /// The bytes of codes in host memory, borrowed if they are there already.
    ///
    /// # Errors
    /// A device failure.
    fn download_codes<'c>(&self, codes: &'c DeviceCodes<'_>) -> Result<Cow<'c, [u8]>, MethodError>;

    /// Allocates an output of `rows×columns` values.
    ///
    /// # Errors
    /// Out of device memory.
    fn room(&self, rows: usize, columns: usize) -> Result<MatrixRoom<'static>, MethodError>;

    /// Lets `write` write rows whose destination is `host`, contiguously; without a copy if the backend works on the
    /// host.
    ///
    /// # Errors
    /// A device failure; errors of `write`.
    fn write_rows(&self, host: &mut [f32], columns: usize, write: WriteRows<'_>) -> Result<(), MethodError>;

    /// Lets `write` write codes whose destination is `host`, contiguously; without a copy if the backend works on the
    /// host.
    ///
    /// # Errors
    /// A device failure; errors of `write`.
    fn write_codes(&self, host: &mut [u8], size: usize, write: WriteCodes<'_>) -> Result<(), MethodError>;

    /// Fills rows on the host, for values that only the host computes.
    ///
    /// # Errors
    /// A device failure; errors of `fill`.
    fn fill_rows(&self, rows: &mut MatrixRoom<'_>, fill: Fill<'_, f32>) -> Result<(), MethodError>;

    /// Fills codes on the host, for values that only the host computes.
    ///
    /// # Errors
    /// A device failure; errors of `fill`.
    fn fill_codes(&self, codes: &mut CodeRoom<'_>, fill: Fill<'_, u8>) -> Result<(), MethodError>;

    /// Finds, for each row `x`, the codeword `c` that minimizes `‖x−c‖²`.
    ///
    /// # Errors
    /// A device failure.
    fn assign(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError>;

    /// As [`Backend::assign`], but the result stays where the rows are.
    ///
    /// # Errors
    /// A device failure.
    fn assigned(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assigned, MethodError> {
        let assignment = self.assign(rows, codebook)?;
        let mean = assignment.mean();
        Ok(Assigned::from_storage(Arc::new(assignment), mean))
    }

    /// Copies an assignment to the host.
    ///
    /// # Errors
    /// A device failure.
    fn assignment(&self, assigned: &Assigned) -> Result<Arc<Assignment>, MethodError> {
        match assigned.storage.clone().downcast() {
            Ok(assignment) => Ok(assignment),
            Err(_) => unreachable!("an assignment is used with the backend that made it"),
        }
    }

    /// As [`Backend::cell_sums`], for an assignment that is in the backend's storage.
    ///
    /// # Errors
    /// A device failure.
    fn assigned_cell_sums(
        &self,
        rows: &DeviceMatrix<'_>,
        assigned: &Assigned,
        k: usize,
    ) -> Result<CellSums, MethodError> {
        self.cell_sums(rows, &assigned.storage::<Assignment>().nearest, k)
    }

    /// Indices of the initial rows for k-means++ (Arthur and Vassilvitskii 2007). The first is `first`. For each of
    /// `points`, a fraction of 1, the next is the row at that fraction of the cumulative squared distances of all rows
    /// to their nearest chosen row. Stops early if all distances are 0.
    ///
    /// # Errors
    /// Cancellation, a device failure.
    ///
    /// # Panics
    /// If the index `first` is out of range.
    fn spread_rows(
        &self,
        rows: &DeviceMatrix<'_>,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError>;

    /// Only the indices of [`Backend::assign`].
    ///
    /// # Errors
    /// A device failure.
    fn nearest(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError>;

    /// Sums the rows in each of `k` cells.
    ///
    /// # Errors
    /// A device failure.
    fn cell_sums(&self, rows: &DeviceMatrix<'_>, nearest: &[u32], k: usize) -> Result<CellSums, MethodError>;

    /// As [`Backend::cell_sums`] for the cells that [`Backend::nearest`] finds; the indices can stay on the device.
    ///
    /// # Errors
    /// A device failure.
    fn nearest_cell_sums(
        &self,
        rows: &DeviceMatrix<'_>,
        codebook: ArrayView2<'_, f32>,
    ) -> Result<CellSums, MethodError> {
        let nearest = self.nearest(rows, codebook)?;
        self.cell_sums(rows, &nearest, codebook.nrows())
    }

    /// For each `group` consecutive rows, finds the `min(count, group·K)` nearest pairs of a row of the group and a
    /// codeword, and their residuals.
    ///
    /// # Errors
    /// A device failure.
    fn continuations(
        &self,
        rows: &DeviceMatrix<'_>,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Continuations, MethodError>;

    /// Prepares searches over sums of codewords, one from each codebook; with `local`, local search too.
    ///
    /// # Errors
    /// Out of device memory.
    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError>;

    /// Prepares codebooks of one shape for encoding: the symbol of each group of components, of `bits` bits, is the
    /// index of its nearest codeword.
    ///
    /// # Errors
    /// Out of device memory.
    fn group_search(&self, codebooks: &[Array2<f32>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError>;

    /// Prepares linear maps of groups of components for encoding: the symbol of a group, of `bits` bits, is the index
    /// of the largest output.
    ///
    /// # Errors
    /// Out of device memory.
    fn logit_search(&self, maps: &[AffineMap<'_>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError>;

    /// Prepares codebooks of one shape for decoding, one per symbol of `bits` bits.
    ///
    /// # Errors
    /// Out of device memory.
    fn codewords(&self, codebooks: &[Array2<f32>], bits: u8, join: Join) -> Result<Box<dyn CodeDecoder>, MethodError>;

    /// Prepares a uniform grid, with symbols packed least significant bit first.
    /// Encoding: `symbol = clamp(⌊(x − offset_j)/step_j + ½⌋, 0, 2^bits − 1)`, where `0/0` counts as 0.
    /// Decoding: `offset_j + step_j·symbol`.
    ///
    /// # Errors
    /// Out of device memory.
    fn uniform(&self, grid: &UniformGrid) -> Result<Box<dyn ScalarCoder>, MethodError>;

    /// Prepares levels that are separated by thresholds.
    ///
    /// # Errors
    /// Out of device memory.
    fn levels(&self, grid: &LevelGrid) -> Result<Box<dyn ScalarCoder>, MethodError>;

    /// Prepares `x·A` for many rows `x`.
    ///
    /// # Errors
    /// Out of device memory.
    fn product(&self, matrix: ArrayView2<'_, f32>) -> Result<Box<dyn RowMap>, MethodError>;

    /// Prepares `x·A + b + branch(x)` for many rows `x`.
    ///
    /// # Errors
    /// Out of device memory.
    fn network(&self, straight: AffineMap<'_>, branch: &[BranchLayer<'_>]) -> Result<Box<dyn RowMap>, MethodError>;

    /// Prepares `(x − centre)·factor` for many rows `x`, and the inverse step `x·back + centre`.
    ///
    /// # Errors
    /// Out of device memory.
    fn scale(&self, centre: &[f32], factor: f32, back: f32) -> Result<Box<dyn RowScale>, MethodError>;

    /// Copies rows to an output of the same shape.
    ///
    /// # Errors
    /// A device failure.
    fn copy(&self, rows: &DeviceMatrix<'_>, to: &mut MatrixRoom<'_>) -> Result<(), MethodError>;

    /// Prepares a search over codes by tables: the score of code `i` is
    ///
    /// ```text
    /// constant + offset_i + slope_i·Σ_p table_p[symbol p of code i]
    /// ```
    ///
    /// where `factors` holds offset and slope of each code if the layout has them, and offsets are 0 and slopes 1
    /// otherwise.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If the bytes are not a whole number of codes, or factors and codes do not fit together.
    fn table_scan<'a>(
        &self,
        codes: &'a [u8],
        layout: CodeLayout,
        factors: Vec<[f32; 2]>,
    ) -> Result<Box<dyn TableScan + 'a>, MethodError>;

    /// Prepares a search over codes of `size` bytes by Hamming distance.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If the bytes are not a whole number of codes.
    fn bit_scan<'a>(&self, codes: &'a [u8], size: usize) -> Result<Box<dyn BitScan + 'a>, MethodError>;

    /// The number of base rows of `dim` components for which a call of [`Backend::nearest_rows`] with this many queries is
    /// fastest per row.
    fn base_rows_at_once(&self, dim: usize, queries: usize) -> usize;

    /// The `k` rows of `base` nearest to each query, nearest first; ties go to the lower index. A score is `‖q−x‖²`, or
    /// `−q·x` for inner products. Fewer than `k` if there are fewer rows.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If rows and queries have different numbers of components.
    fn nearest_rows(
        &self,
        base: &DeviceMatrix<'_>,
        queries: &DeviceMatrix<'_>,
        metric: SearchMetric,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError>;

    /// Waits until all submitted work has finished.
    ///
    /// # Errors
    /// A failure of that work.
    fn synchronize(&self) -> Result<(), MethodError> {
        Ok(())
    }
}
