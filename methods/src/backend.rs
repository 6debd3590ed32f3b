//! The coarse operations that methods use for their heavy work, on matrices that may be in device memory.
//!
//! A method is written once over [`Backend`] and runs on every backend. Every backend implements every operation;
//! [`CpuBackend`] is the reference. Operations are arithmetic (nearest codewords, thresholds, products, sums), not
//! methods. A result stays on the device until the caller downloads it: rows are uploaded once, and only codes are
//! copied back.

mod cpu_backend;
mod cpu_codes;
mod cpu_levels;
mod cpu_network;
mod cpu_scan;
mod cpu_sums;
mod cuda_backend;
mod cuda_codes;
mod cuda_scan;
mod devices;
mod error;
mod matrix;
mod operations;
mod windows;

pub use cpu_backend::CpuBackend;
pub(crate) use cpu_backend::view as host_view;
pub(crate) use cpu_codes::largest;
pub(crate) use cpu_network::Network as PlainNetwork;
pub(crate) use cpu_sums::{keep_what_errs_less, squared_error};
pub use cuda_backend::CudaBackend;
pub use devices::Devices;
pub use error::{BackendError, Unavailable};
pub use matrix::{CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom};
pub(crate) use operations::prepared;
pub use operations::{
    AffineMap, Assigned, Assignment, BitQuery, BitScan, BranchLayer, CellSums, CodeDecoder, CodeLayout, Continuations,
    Fill, FillRows, Join, LevelGrid, NearestSearch, RowEncoder, RowMap, RowScale, RowSearch, ScalarCoder, SumCoding,
    SumSearch, TableScan, UniformGrid, WriteCodes, WriteRows,
};
pub(crate) use windows::Runs;

use crate::{Cancel, MethodError, Neighbor, SearchMetric};
use cpu::Isa;
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

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

    /// Prepares a codebook for repeated use by [`Backend::nearest`]; None if the backend gains nothing by it.
    fn nearest_search(&self, codebook: ArrayView2<'_, f32>) -> Option<Box<dyn NearestSearch>> {
        let _ = codebook;
        None
    }

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
        codes: Cow<'a, [u8]>,
        layout: CodeLayout,
        factors: Vec<[f32; 2]>,
    ) -> Result<Box<dyn TableScan + 'a>, MethodError>;

    /// Whether scans of the processor serve this backend, which take factors of rows and symbols wider than a byte. A device decodes
    /// such codes and searches the rows.
    fn scans_on_host(&self) -> bool {
        true
    }

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

    /// Prepares `rows` of `columns` components for many searches by `metric`, each of which then gives what [`Backend::nearest_rows`]
    /// does; None if the backend gains nothing by it. `fill` writes the rows, part by part and in order, so that all of them are in
    /// memory only once.
    ///
    /// # Errors
    /// A device failure; errors of `fill`.
    fn hold_rows(
        &self,
        (_rows, _columns): (usize, usize),
        _metric: SearchMetric,
        _fill: FillRows<'_>,
    ) -> Result<Option<Box<dyn RowSearch>>, MethodError> {
        Ok(None)
    }

    /// The `k` rows of `base` nearest to each query, nearest first; ties go to the lower index. A score is `‖q−x‖²`, or
    /// `−q·x` for inner products; NaN is no neighbour. Fewer than `k` if there are fewer rows.
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
