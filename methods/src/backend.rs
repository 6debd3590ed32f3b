//! The few coarse operations that a method does its heavy work with, on matrices that may live on a device.
//!
//! A method is written once over [`Backend`] and runs wherever one exists. Every operation exists on every backend; that of
//! [`CpuBackend`] is the reference. Operations are of arithmetic (nearest codewords, thresholds, products, sums), not of methods. What one
//! of them gives stays where it is until it is asked for: rows are uploaded once, and only codes come back.

mod cpu_backend;
mod cpu_codes;
mod cpu_network;
mod cpu_sums;
mod cuda_backend;
mod cuda_codes;
mod error;
mod matrix;

pub use cpu_backend::CpuBackend;
pub(crate) use cpu_codes::largest;
pub(crate) use cpu_network::Network as PlainNetwork;
pub(crate) use cpu_sums::{keep_what_errs_less, squared_error};
pub use cuda_backend::CudaBackend;
pub use error::{BackendError, Unavailable};
pub use matrix::{CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom};

use crate::algorithms::moments::sum;
use crate::search::scan::{BitQuery, Held};
use crate::{Cancel, MethodError, Metric, Neighbor};
use cpu::{Isa, ScanTables};
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What a process computes on, chosen where it starts and passed down from there: nothing below looks around by itself.
#[derive(Clone, Debug)]
pub struct Devices {
    /// The instruction set of the processor's kernels.
    pub isa: Isa,
    /// Where the parts of CUDA are.
    pub toolkit: cuda::Toolkit,
}

impl Default for Devices {
    /// The widest instruction set of this processor.
    fn default() -> Devices {
        Devices { isa: Isa::widest(), toolkit: cuda::Toolkit::default() }
    }
}

impl Devices {
    /// Opens a device by the name that experiments use: `cpu`, `cuda`, or `auto` for the best that is present.
    ///
    /// # Errors
    /// A device that is not there, or that this version cannot use.
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
                Err(Unavailable { reason: format!("`{other}` is no device"), help: "use cpu, cuda or auto".into() })
            }
        }
    }
}

/// The nearest codeword of each row, and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// Index of the nearest codeword per row; the lowest among equals.
    pub nearest: Vec<u32>,
    /// `‖x−c‖²` to it, per row.
    pub squared_distance: Vec<f32>,
}

impl Assignment {
    /// Mean of the squared distances, in f64.
    pub fn mean(&self) -> f64 {
        sum(&self.squared_distance) / self.squared_distance.len().max(1) as f64
    }
}

/// An [`Assignment`] wherever its backend keeps it, and the mean of its distances.
#[derive(Clone)]
pub struct Assigned {
    storage: Arc<dyn Any + Send + Sync>,
    mean: f64,
}

impl Assigned {
    /// Wraps what a backend keeps; for implementors of [`Backend`].
    pub fn from_storage(storage: Arc<dyn Any + Send + Sync>, mean: f64) -> Assigned {
        Assigned { storage, mean }
    }

    /// The storage, for the backend that made it.
    ///
    /// # Panics
    /// When another did.
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

/// Sums and counts of the rows of each cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellSums {
    /// `K×dim` sums of the rows assigned to each codeword.
    pub sums: Array2<f64>,
    /// Rows per codeword.
    pub counts: Vec<usize>,
}

/// How a code of several symbols is searched for, whose codewords add up to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumCoding {
    /// Partial codes that the beam search keeps.
    pub beam: usize,
    /// Rounds and seed of a local search behind it, if there is one.
    pub local: Option<(usize, u64)>,
    /// Bits of each symbol, packed least significant first.
    pub bits: u8,
}

/// Searches for the sum of codewords, one from each of `m` codebooks, that is nearest to a row. What is found for a row does
/// not depend on the rows beside it.
pub trait SumSearch: Send + Sync {
    /// Codes of `m` symbols per row by a beam search over the codebooks in order, which keeps `beam` partial codes.
    ///
    /// # Errors
    /// A device failure.
    fn beam(&self, rows: &DeviceMatrix<'_>, beam: usize, codes: &mut [u16]) -> Result<(), MethodError>;

    /// Improves codes by `rounds` of iterated local search; none becomes worse. The random numbers of a row depend on `seed`
    /// and its code alone.
    ///
    /// # Errors
    /// A device failure, or a search that was not prepared for this.
    fn improve(&self, rows: &DeviceMatrix<'_>, rounds: usize, seed: u64, codes: &mut [u16]) -> Result<(), MethodError>;

    /// Both in turn, to packed codes. Of the two codes of a row that which errs less by a plain sum is kept: tables round on the scale of
    /// the rows, which may be coarser than what their last codewords decide.
    ///
    /// # Errors
    /// A device failure, or a search that was not prepared for this.
    fn encode(&self, rows: &DeviceMatrix<'_>, how: SumCoding, codes: &mut CodeRoom<'_>) -> Result<(), MethodError>;
}

/// Codes rows. What is found for a row does not depend on the rows beside it.
pub trait RowEncoder: Send + Sync {
    /// Writes the code of each row.
    ///
    /// # Errors
    /// A device failure.
    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError>;
}

/// Decodes codes.
pub trait CodeDecoder: Send + Sync {
    /// Writes the row of each code.
    ///
    /// # Errors
    /// A symbol outside its alphabet; a device failure.
    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError>;
}

/// Codes components one by one, and decodes them.
pub trait ScalarCoder: RowEncoder + CodeDecoder {}

impl<T: RowEncoder + CodeDecoder> ScalarCoder for T {}

/// `x·weights + bias`, as a backend is told of it.
#[derive(Clone, Copy, Debug)]
pub struct AffineMap<'a> {
    /// Inputs × outputs.
    pub weights: ArrayView2<'a, f32>,
    /// 1 × outputs.
    pub bias: ArrayView2<'a, f32>,
}

/// A step of a branch of a network.
#[derive(Clone, Copy, Debug)]
pub enum BranchLayer<'a> {
    /// An affine map of everything.
    Affine(AffineMap<'a>),
    /// The same affine map of every window; the results side by side.
    Windows {
        /// Numbers of inputs, window by window; the number of inputs stands for 0.
        inputs: &'a [u32],
        /// The map of a window.
        map: AffineMap<'a>,
    },
    /// `max(x, 0)`.
    Rectifier,
}

/// A map of rows to rows that a backend has prepared.
pub trait RowMap: Send + Sync {
    /// Columns of an image.
    fn outputs(&self) -> usize;

    /// Bytes of a device's memory that a row takes on its way, beside itself and its image.
    fn bytes_per_row(&self) -> usize {
        0
    }

    /// Writes the image of each row. It does not depend on the rows beside it.
    ///
    /// # Errors
    /// A device failure.
    fn apply(&self, rows: &DeviceMatrix<'_>, images: &mut MatrixRoom<'_>) -> Result<(), MethodError>;
}

/// A centre and a factor that a backend has prepared.
pub trait RowScale: Send + Sync {
    /// `(x − centre)·factor` of every row.
    ///
    /// # Errors
    /// A device failure.
    fn forward(&self, rows: &DeviceMatrix<'_>) -> Result<DeviceMatrix<'static>, MethodError>;

    /// `x·back + centre` of every row, in place.
    ///
    /// # Errors
    /// A device failure.
    fn back(&self, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError>;
}

/// What a backend has prepared, or prepares now; a failure is tried again the next time.
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
    /// The lowest level of each component.
    pub offsets: Vec<f32>,
    /// The distance between its levels.
    pub steps: Vec<f32>,
    /// Bits of a symbol, 1 to 8; there are as many levels as these can name.
    pub bits: u8,
}

/// A few levels for each component, told apart by thresholds: the digit of a component is the number of its thresholds that are at most
/// `x` (0 for NaN), and each digit has a value. `width` consecutive components make one symbol, `Σ_j digit_j·Π_{i<j} levels_i`; all symbols
/// have the same alphabet.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelGrid {
    /// Ascending, one less than there are values; component `j` has the list of number `j` modulo their number, a multiple of `width`.
    pub thresholds: Vec<Vec<f32>>,
    /// What each digit stands for.
    pub values: Vec<Vec<f32>>,
    /// Components of a symbol.
    pub width: usize,
    /// Symbols of a code, packed least significant first.
    pub symbols: usize,
}

impl LevelGrid {
    /// Values of a symbol.
    pub fn alphabet(&self) -> usize {
        self.values.iter().take(self.width).map(Vec::len).product()
    }
}

/// How the codewords of a code make a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One after the other.
    Beside,
    /// As their sum.
    Added,
}

/// Partial codes that a beam search goes on with: for each group of rows the best continuations, and what they leave.
pub struct Continuations {
    /// `‖x_b − c‖²` and `b·K + c` of a row `x_b` of the group and a codeword `c`, nearest first, ties by that number.
    pub chosen: Vec<Neighbor>,
    /// `x_b − c` of each.
    pub residuals: DeviceMatrix<'static>,
}

/// Codes that a backend holds, to be scanned for many queries.
pub trait CodeScan: Send + Sync {
    /// The `k` codes of least score for each query's tables, nearest first, ties by number; nothing where it cannot find so many.
    ///
    /// # Errors
    /// A device failure.
    fn top_k(&self, tables: &[ScanTables], k: usize) -> Result<Option<Vec<Vec<Neighbor>>>, MethodError>;

    /// The same by the Hamming distance to each query's code.
    ///
    /// # Errors
    /// A device failure.
    fn top_k_by_bits(&self, queries: &[BitQuery], k: usize) -> Result<Option<Vec<Vec<Neighbor>>>, MethodError>;
}

/// Finds the nearest of rows that come and go.
pub trait RowSearch: Send + Sync {
    /// Whether it finds so many among rows of so many components.
    fn finds(&self, k: usize, dim: usize) -> bool;

    /// The `k` rows of `base` that are nearest to each query, nearest first, ties by number; scores are those of searches by decoding.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// Where it does not find so many.
    fn nearest_rows(
        &self,
        base: &DeviceMatrix<'_>,
        queries: &DeviceMatrix<'_>,
        metric: Metric,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError>;
}

/// Fills memory of the host.
pub type Fill<'f, T> = &'f mut dyn FnMut(&mut [T]) -> Result<(), MethodError>;

/// Writes rows on a backend.
pub type WriteRows<'f> = &'f mut dyn FnMut(&mut MatrixRoom<'_>) -> Result<(), MethodError>;

/// Writes codes on a backend.
pub type WriteCodes<'f> = &'f mut dyn FnMut(&mut CodeRoom<'_>) -> Result<(), MethodError>;

/// A place to compute. Results do not depend on the number of threads.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Name in records: `cpu` or `cuda`.
    fn name(&self) -> &'static str;

    /// The instruction set of what is computed on the processor.
    fn isa(&self) -> Isa;

    /// What the device is called, where it is not the processor.
    fn device_name(&self) -> Option<String> {
        None
    }

    /// The most bytes of its memory that were in use at a time, where it has its own.
    fn peak_device_bytes(&self) -> Option<u64> {
        None
    }

    /// Rows that there is room for beside what is held, each with so many bytes.
    ///
    /// # Errors
    /// A device failure.
    fn rows_at_once(&self, bytes_per_row: usize) -> Result<usize, MethodError>;

    /// Takes rows to the backend. Where that is the host, they are borrowed if they lie one after the other; others are copied, since
    /// kernels read rows at equal distances.
    ///
    /// # Errors
    /// Out of device memory.
    fn upload<'a>(&self, rows: ArrayView2<'a, f32>) -> Result<DeviceMatrix<'a>, MethodError>;

    /// Hands a matrix over, without a copy where that is possible.
    ///
    /// # Errors
    /// Out of device memory.
    fn upload_owned(&self, rows: Array2<f32>) -> Result<DeviceMatrix<'static>, MethodError>;

    /// The rows on the host, borrowed where they are there.
    ///
    /// # Errors
    /// A device failure.
    fn download<'m>(&self, matrix: &'m DeviceMatrix<'_>) -> Result<CowArray<'m, f32, Ix2>, MethodError>;

    /// Copies some rows of a matrix back, by their numbers.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// When there is no such row.
    fn rows_at(&self, matrix: &DeviceMatrix<'_>, numbers: &[usize]) -> Result<Array2<f32>, MethodError>;

    /// Takes codes of `size` bytes each to the backend; borrowed where that is the host.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// When they are not whole.
    fn upload_codes<'a>(&self, codes: &'a [u8], size: usize) -> Result<DeviceCodes<'a>, MethodError>;

    /// The bytes of codes on the host, borrowed where they are there.
    ///
    /// # Errors
    /// A device failure.
    fn download_codes<'c>(&self, codes: &'c DeviceCodes<'_>) -> Result<Cow<'c, [u8]>, MethodError>;

    /// Room for `rows×columns` values.
    ///
    /// # Errors
    /// Out of device memory.
    fn room(&self, rows: usize, columns: usize) -> Result<MatrixRoom<'static>, MethodError>;

    /// Writes rows that end up in `host`, one after the other; without a copy where the backend works on the host.
    ///
    /// # Errors
    /// A device failure; what `write` reports.
    fn write_rows(&self, host: &mut [f32], columns: usize, write: WriteRows<'_>) -> Result<(), MethodError>;

    /// Writes codes that end up in `host`, one after the other; without a copy where the backend works on the host.
    ///
    /// # Errors
    /// A device failure; what `write` reports.
    fn write_codes(&self, host: &mut [u8], size: usize, write: WriteCodes<'_>) -> Result<(), MethodError>;

    /// Has rows filled on the host, for what only the host computes.
    ///
    /// # Errors
    /// A device failure; what `fill` reports.
    fn fill_rows(&self, rows: &mut MatrixRoom<'_>, fill: Fill<'_, f32>) -> Result<(), MethodError>;

    /// Has codes filled on the host, for what only the host computes.
    ///
    /// # Errors
    /// A device failure; what `fill` reports.
    fn fill_codes(&self, codes: &mut CodeRoom<'_>, fill: Fill<'_, u8>) -> Result<(), MethodError>;

    /// For each row `x` the codeword `c` that minimizes `‖x−c‖²`.
    ///
    /// # Errors
    /// A device failure.
    fn assign(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError>;

    /// [`Backend::assign`], of which the result stays where the rows are.
    ///
    /// # Errors
    /// A device failure.
    fn assigned(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assigned, MethodError> {
        let assignment = self.assign(rows, codebook)?;
        let mean = assignment.mean();
        Ok(Assigned::from_storage(Arc::new(assignment), mean))
    }

    /// Copies an assignment back.
    ///
    /// # Errors
    /// A device failure.
    fn assignment(&self, assigned: &Assigned) -> Result<Arc<Assignment>, MethodError> {
        match assigned.storage.clone().downcast() {
            Ok(assignment) => Ok(assignment),
            Err(_) => unreachable!("an assignment is used with the backend that made it"),
        }
    }

    /// [`Backend::cell_sums`] of rows that were assigned.
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

    /// Numbers of rows for k-means++ to start from (Arthur and Vassilvitskii 2007): `first`, then for each of `points`, shares of 1,
    /// the row into whose stretch that share falls when the squared distances of all rows to the nearest row so far are laid end to
    /// end. Ends where no row is at a distance.
    ///
    /// # Errors
    /// Cancellation, a device failure.
    ///
    /// # Panics
    /// When there is no row `first`.
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

    /// Sums the rows of each of `k` cells.
    ///
    /// # Errors
    /// A device failure.
    fn cell_sums(&self, rows: &DeviceMatrix<'_>, nearest: &[u32], k: usize) -> Result<CellSums, MethodError>;

    /// [`Backend::cell_sums`] of the cells that [`Backend::nearest`] finds, which need not leave the device in between.
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

    /// For each `group` of consecutive rows the `min(count, group·K)` pairs of a row of the group and a codeword that are nearest to each
    /// other, and what the codewords leave of the rows.
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

    /// Prepares searches over sums of codewords, one from each codebook; `local` ones too if asked for.
    ///
    /// # Errors
    /// Out of device memory.
    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError>;

    /// Prepares codebooks of one shape to code rows by: the symbol of each group of components, of `bits` bits, is that of its nearest
    /// codeword.
    ///
    /// # Errors
    /// Out of device memory.
    fn group_search(&self, codebooks: &[Array2<f32>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError>;

    /// Prepares linear maps of groups of components to code rows by: the symbol of a group, of `bits` bits, is the output that is largest.
    ///
    /// # Errors
    /// Out of device memory.
    fn logit_search(&self, maps: &[AffineMap<'_>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError>;

    /// Prepares codebooks of one shape to decode by, one for each symbol of `bits` bits.
    ///
    /// # Errors
    /// Out of device memory.
    fn codewords(&self, codebooks: &[Array2<f32>], bits: u8, join: Join) -> Result<Box<dyn CodeDecoder>, MethodError>;

    /// Prepares a uniform grid: `symbol = clamp(⌊(x − offset_j)/step_j + ½⌋, 0, 2^bits − 1)`, where `0/0` is 0, and back
    /// `offset_j + step_j·symbol`; packed least significant first.
    ///
    /// # Errors
    /// Out of device memory.
    fn uniform(&self, grid: &UniformGrid) -> Result<Box<dyn ScalarCoder>, MethodError>;

    /// Prepares levels told apart by thresholds.
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

    /// Prepares `(x − centre)·factor` for many rows `x`, and its counterpart `x·back + centre`.
    ///
    /// # Errors
    /// Out of device memory.
    fn scale(&self, centre: &[f32], factor: f32, back: f32) -> Result<Box<dyn RowScale>, MethodError>;

    /// Copies rows to room of their shape.
    ///
    /// # Errors
    /// A device failure.
    fn copy(&self, rows: &DeviceMatrix<'_>, to: &mut MatrixRoom<'_>) -> Result<(), MethodError>;

    /// Holds codes for scans; nothing where the processor's own scan is to be used.
    ///
    /// # Errors
    /// Out of device memory.
    fn hold_codes(&self, codes: &[u8], held: Held) -> Result<Option<Box<dyn CodeScan>>, MethodError> {
        let _ = (codes, held);
        Ok(None)
    }

    /// Finds nearest rows; nothing where the processor's own search is to be used.
    fn row_search(&self) -> Option<Box<dyn RowSearch>> {
        None
    }

    /// Waits until all work handed over has finished.
    ///
    /// # Errors
    /// A failure of that work.
    fn synchronize(&self) -> Result<(), MethodError> {
        Ok(())
    }
}
