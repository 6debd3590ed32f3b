//! The few coarse operations that a method does its heavy work with, on matrices that may live on a device.
//!
//! A method is written once over [`Backend`] and runs wherever one exists. A tuned kernel becomes one more operation
//! with a CPU reference beside it, never a second copy of a method.

mod cpu_backend;
mod cpu_sums;
mod cuda_backend;

pub use cpu_backend::CpuBackend;
pub use cuda_backend::CudaBackend;

use crate::algorithms::moments::sum;
use crate::algorithms::rotation;
use crate::search::scan::{BitQuery, Held};
use crate::{Cancel, MethodError, Metric, Neighbor};
use cpu::{Isa, ScanTables};
use ndarray::{Array2, ArrayView2};
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

/// Why a device cannot be used, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// What is missing.
    pub reason: String,
    /// What to do.
    pub help: String,
}

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

/// An immutable row-major f32 matrix wherever its backend keeps matrices, or a window of columns of one.
#[derive(Clone)]
pub struct DeviceMatrix {
    storage: Arc<dyn Any + Send + Sync>,
    rows: usize,
    stride: usize,
    columns: Range<usize>,
}

impl DeviceMatrix {
    /// Wraps a backend's storage of `rows×columns` values; for implementors of [`Backend`].
    pub fn from_storage(storage: Arc<dyn Any + Send + Sync>, rows: usize, columns: usize) -> DeviceMatrix {
        DeviceMatrix { storage, rows, stride: columns, columns: 0..columns }
    }

    /// The storage, for the backend that made it.
    pub fn storage<T: 'static>(&self) -> Option<&T> {
        self.storage.downcast_ref()
    }

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.rows
    }

    /// Number of columns of this window.
    pub fn ncols(&self) -> usize {
        self.columns.len()
    }

    /// Distance between the starts of two rows, in values.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// First column of the window in its storage.
    pub fn first_column(&self) -> usize {
        self.columns.start
    }

    /// Every `step`-th row from the first on; shares the storage.
    ///
    /// # Panics
    /// When `step` is 0.
    pub fn every(&self, step: usize) -> DeviceMatrix {
        DeviceMatrix { rows: self.rows.div_ceil(step), stride: self.stride * step, ..self.clone() }
    }

    /// A window of this window's columns; shares the storage.
    ///
    /// # Panics
    /// When the range reaches past the last column.
    pub fn columns(&self, range: Range<usize>) -> DeviceMatrix {
        assert!(range.start <= range.end && range.end <= self.ncols(), "columns {range:?} of {}", self.ncols());
        let start = self.columns.start;
        DeviceMatrix { columns: start + range.start..start + range.end, ..self.clone() }
    }
}

impl fmt::Debug for DeviceMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceMatrix({}×{})", self.rows, self.ncols())
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

/// Searches for the sum of codewords, one from each of `m` codebooks, that is nearest to a row. What is found for a row does
/// not depend on the rows beside it.
pub trait SumSearch: Send + Sync {
    /// Codes of `m` symbols per row by a beam search over the codebooks in order, which keeps `beam` partial codes.
    ///
    /// # Errors
    /// A device failure.
    fn beam(&self, rows: ArrayView2<'_, f32>, beam: usize, codes: &mut [u16]) -> Result<(), MethodError>;

    /// Improves codes by `rounds` of iterated local search; none becomes worse. The random numbers of a row depend on `seed`
    /// and its code alone.
    ///
    /// # Errors
    /// A device failure, or a search that was not prepared for this.
    fn improve(
        &self,
        rows: ArrayView2<'_, f32>,
        rounds: usize,
        seed: u64,
        codes: &mut [u16],
    ) -> Result<(), MethodError>;
}

/// Finds a symbol for each group of components, of which all have the same number: that of the nearest codeword, or of the largest logit.
pub trait GroupSearch: Send + Sync {
    /// Writes the codes of rows, a symbol of `bits` bits for each group, packed least significant first.
    ///
    /// # Errors
    /// A device failure.
    fn encode(&self, rows: ArrayView2<'_, f32>, bits: u8, codes: &mut [u8]) -> Result<(), MethodError>;
}

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
    /// The images of rows.
    ///
    /// # Errors
    /// A device failure.
    fn apply(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, MethodError>;
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

/// How the codewords of a code make a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One after the other.
    Beside,
    /// As their sum.
    Added,
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
        base: ArrayView2<'_, f32>,
        queries: ArrayView2<'_, f32>,
        metric: Metric,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError>;
}

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

    /// Copies rows to the backend.
    ///
    /// # Errors
    /// Out of device memory.
    fn upload(&self, rows: ArrayView2<'_, f32>) -> Result<DeviceMatrix, MethodError>;

    /// Hands a matrix over, without a copy where that is possible.
    ///
    /// # Errors
    /// Out of device memory.
    fn upload_owned(&self, rows: Array2<f32>) -> Result<DeviceMatrix, MethodError> {
        self.upload(rows.view())
    }

    /// Copies a matrix back.
    ///
    /// # Errors
    /// A device failure.
    fn download(&self, matrix: &DeviceMatrix) -> Result<Array2<f32>, MethodError>;

    /// Copies some rows of a matrix back, by their numbers.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// When there is no such row.
    fn rows_at(&self, matrix: &DeviceMatrix, numbers: &[usize]) -> Result<Array2<f32>, MethodError>;

    /// For each row `x` the codeword `c` that minimizes `‖x−c‖²`.
    ///
    /// # Errors
    /// A device failure.
    fn assign(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError>;

    /// [`Backend::assign`], of which the result stays where the rows are.
    ///
    /// # Errors
    /// A device failure.
    fn assigned(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assigned, MethodError> {
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
    fn assigned_cell_sums(&self, rows: &DeviceMatrix, assigned: &Assigned, k: usize) -> Result<CellSums, MethodError> {
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
        rows: &DeviceMatrix,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError>;

    /// Only the indices of [`Backend::assign`].
    ///
    /// # Errors
    /// A device failure.
    fn nearest(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError>;

    /// Prepares codebooks of one shape and at most 2^16 codewords to code rows by.
    ///
    /// # Errors
    /// Out of device memory.
    fn group_search(&self, codebooks: &[Array2<f32>]) -> Result<Box<dyn GroupSearch>, MethodError>;

    /// Prepares linear maps of groups of components to code rows by: the symbol of a group is the output that is largest. Nothing where
    /// the caller's own loop is to be used.
    ///
    /// # Errors
    /// Out of device memory.
    fn logit_search(&self, maps: &[AffineMap<'_>]) -> Result<Option<Box<dyn GroupSearch>>, MethodError> {
        let _ = maps;
        Ok(None)
    }

    /// Prepares `x·A + b + branch(x)` to be computed of many rows; nothing where the caller's own loop is to be used.
    ///
    /// # Errors
    /// Out of device memory.
    fn network(
        &self,
        straight: AffineMap<'_>,
        branch: &[BranchLayer<'_>],
    ) -> Result<Option<Box<dyn RowMap>>, MethodError> {
        let _ = (straight, branch);
        Ok(None)
    }

    /// For each `group` of consecutive rows the `count` pairs of a row `x_b` of the group and a codeword `c` with the least
    /// `‖x_b−c‖²`, nearest first, ties by id; `rows/group · min(count, group·K)` in all. The id is `b·K + c`, the score
    /// that squared distance.
    ///
    /// # Errors
    /// A device failure.
    fn nearest_of_groups(
        &self,
        rows: &DeviceMatrix,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Vec<Neighbor>, MethodError>;

    /// Prepares searches over sums of codewords, one from each codebook; `local` ones too if asked for.
    ///
    /// # Errors
    /// Out of device memory.
    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError>;

    /// `rows · matrix`.
    ///
    /// # Errors
    /// A device failure.
    fn multiply(&self, rows: ArrayView2<'_, f32>, matrix: ArrayView2<'_, f32>) -> Result<Array2<f32>, MethodError> {
        Ok(rotation::multiply(self.isa(), rows, matrix))
    }

    /// Writes the codes of rows on a uniform grid, `clamp(⌊(x − offset_j)/step_j + ½⌋, 0, 2^bits − 1)`, packed least significant first.
    /// Whether it did: where nothing is gained, the caller's own loop is to be used.
    ///
    /// # Errors
    /// A device failure.
    fn encode_uniform(
        &self,
        rows: ArrayView2<'_, f32>,
        grid: &UniformGrid,
        codes: &mut [u8],
    ) -> Result<bool, MethodError> {
        let _ = (rows, grid, codes);
        Ok(false)
    }

    /// Writes `offset_j + step_j·symbol` of such codes, row by row. Whether it did.
    ///
    /// # Errors
    /// A device failure.
    fn decode_uniform(&self, codes: &[u8], grid: &UniformGrid, rows: &mut [f32]) -> Result<bool, MethodError> {
        let _ = (codes, grid, rows);
        Ok(false)
    }

    /// Writes the codes of rows of `groups` groups on the grid of finite scalar quantization (see [`crate::learned::fsq`]). Whether it did.
    ///
    /// # Errors
    /// A device failure.
    fn encode_finite(
        &self,
        rows: ArrayView2<'_, f32>,
        levels: &[usize],
        groups: usize,
        codes: &mut [u8],
    ) -> Result<bool, MethodError> {
        let _ = (rows, levels, groups, codes);
        Ok(false)
    }

    /// Writes the codewords that codes select, of one codebook for each symbol of `bits` bits, row by row. Whether it did; not where a
    /// symbol names no codeword.
    ///
    /// # Errors
    /// A device failure.
    fn decode_codewords(
        &self,
        codes: &[u8],
        bits: u8,
        codebooks: &[Array2<f32>],
        join: Join,
        rows: &mut [f32],
    ) -> Result<bool, MethodError> {
        let _ = (codes, bits, codebooks, join, rows);
        Ok(false)
    }

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

    /// Sums the rows of each of `k` cells.
    ///
    /// # Errors
    /// A device failure.
    fn cell_sums(&self, rows: &DeviceMatrix, nearest: &[u32], k: usize) -> Result<CellSums, MethodError>;

    /// [`Backend::cell_sums`] of the cells that [`Backend::nearest`] finds, which need not leave the device in between.
    ///
    /// # Errors
    /// A device failure.
    fn nearest_cell_sums(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<CellSums, MethodError> {
        let nearest = self.nearest(rows, codebook)?;
        self.cell_sums(rows, &nearest, codebook.nrows())
    }

    /// Waits until all work handed over has finished.
    ///
    /// # Errors
    /// A failure of that work.
    fn synchronize(&self) -> Result<(), MethodError> {
        Ok(())
    }
}
