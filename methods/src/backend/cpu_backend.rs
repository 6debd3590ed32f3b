//! The reference backend: matrices in host memory, kernels of `vqbench-cpu`, and the caller's thread pool.

use super::cpu_codes::{CodewordDecoder, Groups, Logits};
use super::cpu_levels::{LevelCoder, Uniform};
use super::cpu_network::{Network, Product};
use super::cpu_scan::{self, CpuBitScan, CpuTableScan, PackedRows};
use super::cpu_sums::{self, CpuSums};
use super::{
    AffineMap, Assignment, Backend, BitScan, BranchLayer, CellSums, CodeDecoder, CodeLayout, CodeRoom, Continuations,
    DeviceCodes, DeviceMatrix, Fill, FillRows, Join, LevelGrid, MatrixRoom, NearestSearch, RowEncoder, RowMap,
    RowScale, RowSearch, ScalarCoder, SumSearch, TableScan, UniformGrid, WriteCodes, WriteRows,
};
use crate::algorithms::moments::sum;
use crate::{Cancel, MethodError, Neighbor, SearchMetric};
use cpu::{Isa, Nearest, Score};
use ndarray::{Array2, ArrayView2, CowArray, Ix2, ShapeBuilder};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Values per task of elementwise operations.
const VALUES: usize = 1 << 14;

/// Rows per task of k-means++; constant, so that results do not depend on the number of threads.
const SPREAD_ROWS: usize = 8192;

/// Computes on the CPU.
#[derive(Clone, Debug)]
pub struct CpuBackend {
    isa: Isa,
}

impl CpuBackend {
    /// With the given instruction set.
    pub fn new(isa: Isa) -> CpuBackend {
        CpuBackend { isa }
    }

    /// With the widest instruction set of this CPU.
    pub fn detect() -> CpuBackend {
        CpuBackend::new(Isa::widest())
    }

    fn pack(&self, codebook: ArrayView2<'_, f32>) -> Nearest {
        Nearest::new(self.isa, codebook.iter().copied().collect(), codebook.ncols(), Score::HalfDistance)
    }
}

struct PackedCodebook(Nearest);

impl NearestSearch for PackedCodebook {
    fn nearest(&self, rows: &DeviceMatrix<'_>) -> Result<Vec<u32>, MethodError> {
        let mut nearest = vec![0u32; rows.nrows()];
        self.0.assign(values(rows), rows.stride(), &mut nearest, None);
        Ok(nearest)
    }
}

/// The values from the start of the window; row `i` starts at `i·stride`.
pub(super) fn values<'m>(matrix: &'m DeviceMatrix<'_>) -> &'m [f32] {
    match matrix.host_values() {
        Some(values) => values,
        None => unreachable!("a matrix is used with the backend that made it"),
    }
}

fn row<'m>(matrix: &'m DeviceMatrix<'_>, i: usize) -> &'m [f32] {
    &values(matrix)[i * matrix.stride()..][..matrix.ncols()]
}

/// The rows as an `ndarray` view.
pub(crate) fn view<'m>(matrix: &'m DeviceMatrix<'_>) -> ArrayView2<'m, f32> {
    let (n, dim, stride) = (matrix.nrows(), matrix.ncols(), matrix.stride());
    let end = if n == 0 { 0 } else { (n - 1) * stride + dim };
    match ArrayView2::from_shape((n, dim).strides((stride.max(1), 1)), &values(matrix)[..end]) {
        Ok(view) => view,
        Err(error) => unreachable!("rows lie at equal distances: {error}"),
    }
}

/// The memory that the rows are written to.
pub(super) fn place<'m>(rows: &'m mut MatrixRoom<'_>) -> &'m mut [f32] {
    match rows.host_values() {
        Some(values) => values,
        None => unreachable!("room is used with the backend that made it"),
    }
}

/// The bytes of codes.
pub(super) fn bytes<'c>(codes: &'c DeviceCodes<'_>) -> &'c [u8] {
    match codes.host_bytes() {
        Some(bytes) => bytes,
        None => unreachable!("codes are used with the backend that made them"),
    }
}

/// The memory that the codes are written to.
pub(super) fn code_place<'c>(codes: &'c mut CodeRoom<'_>) -> &'c mut [u8] {
    match codes.host_bytes() {
        Some(bytes) => bytes,
        None => unreachable!("room is used with the backend that made it"),
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn isa(&self) -> Isa {
        self.isa
    }

    fn rows_at_once(&self, _bytes_per_row: usize) -> Result<usize, MethodError> {
        Ok(usize::MAX)
    }

    fn upload<'a>(&self, rows: ArrayView2<'a, f32>) -> Result<DeviceMatrix<'a>, MethodError> {
        let (n, dim) = rows.dim();
        if let Some(values) = rows.to_slice() {
            return Ok(DeviceMatrix::borrowed(values, n, dim));
        }
        let mut values = Vec::with_capacity(rows.len());
        for row in rows.outer_iter() {
            match row.as_slice() {
                Some(row) => values.extend_from_slice(row),
                None => values.extend(row),
            }
        }
        Ok(DeviceMatrix::from_storage(Arc::new(values), n, dim))
    }

    fn upload_owned(&self, rows: Array2<f32>) -> Result<DeviceMatrix<'static>, MethodError> {
        let (n, dim) = rows.dim();
        let rows = if rows.is_standard_layout() { rows } else { rows.as_standard_layout().into_owned() };
        match rows.into_raw_vec_and_offset() {
            (values, None | Some(0)) if values.len() == n * dim => {
                Ok(DeviceMatrix::from_storage(Arc::new(values), n, dim))
            }
            (values, offset) => {
                let values = values[offset.unwrap_or(0)..][..n * dim].to_vec();
                Ok(DeviceMatrix::from_storage(Arc::new(values), n, dim))
            }
        }
    }

    fn download<'m>(&self, matrix: &'m DeviceMatrix<'_>) -> Result<CowArray<'m, f32, Ix2>, MethodError> {
        Ok(CowArray::from(view(matrix)))
    }

    fn rows_at(&self, matrix: &DeviceMatrix<'_>, numbers: &[usize]) -> Result<Array2<f32>, MethodError> {
        Ok(Array2::from_shape_fn((numbers.len(), matrix.ncols()), |(i, j)| row(matrix, numbers[i])[j]))
    }

    fn upload_codes<'a>(&self, codes: &'a [u8], size: usize) -> Result<DeviceCodes<'a>, MethodError> {
        Ok(DeviceCodes::borrowed(codes, size))
    }

    fn download_codes<'c>(&self, codes: &'c DeviceCodes<'_>) -> Result<Cow<'c, [u8]>, MethodError> {
        Ok(Cow::Borrowed(bytes(codes)))
    }

    fn room(&self, rows: usize, columns: usize) -> Result<MatrixRoom<'static>, MethodError> {
        Ok(MatrixRoom::from_storage(Box::new(vec![0f32; rows * columns]), rows, columns))
    }

    fn write_rows(&self, host: &mut [f32], columns: usize, write: WriteRows<'_>) -> Result<(), MethodError> {
        let rows = host.len() / columns.max(1);
        write(&mut MatrixRoom::borrowed(host, rows, columns))
    }

    fn write_codes(&self, host: &mut [u8], size: usize, write: WriteCodes<'_>) -> Result<(), MethodError> {
        write(&mut CodeRoom::borrowed(host, size))
    }

    fn fill_rows(&self, rows: &mut MatrixRoom<'_>, fill: Fill<'_, f32>) -> Result<(), MethodError> {
        fill(place(rows))
    }

    fn fill_codes(&self, codes: &mut CodeRoom<'_>, fill: Fill<'_, u8>) -> Result<(), MethodError> {
        fill(code_place(codes))
    }

    fn assign(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        let mut nearest = vec![0u32; rows.nrows()];
        let mut squared_distance = vec![0f32; rows.nrows()];
        let packed = self.pack(codebook);
        packed.assign(values(rows), rows.stride(), &mut nearest, Some(&mut squared_distance));
        Ok(Assignment { nearest, squared_distance })
    }

    fn spread_rows(
        &self,
        rows: &DeviceMatrix<'_>,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError> {
        let n = rows.nrows();
        // The rows component by component (transposed), in blocks that are divided among the tasks.
        let (values, stride) = (values(rows), rows.stride());
        let block = |from: usize| -> Vec<f32> {
            let to = n.min(from + SPREAD_ROWS);
            let mut block = Vec::with_capacity((to - from) * rows.ncols());
            (0..rows.ncols()).for_each(|j| block.extend((from..to).map(|i| values[i * stride + j])));
            block
        };
        let starts: Vec<usize> = (0..n).step_by(SPREAD_ROWS).collect();
        let blocks: Vec<Vec<f32>> = starts.into_par_iter().map(block).collect();
        let mut distance = vec![f32::INFINITY; n];
        let mut chosen = vec![first];
        let mut last = first;
        for point in points {
            cancel.check()?;
            let codeword = row(rows, last);
            let parts = distance.par_chunks_mut(SPREAD_ROWS).zip(&blocks);
            let totals: Vec<f64> = parts
                .map_init(
                    || vec![0f32; SPREAD_ROWS],
                    |fresh, (distance, block)| {
                        let fresh = &mut fresh[..distance.len()];
                        cpu::squared_distances_to_columns(self.isa, codeword, block, fresh);
                        distance.iter_mut().zip(&*fresh).for_each(|(d, f)| *d = if *f < *d { *f } else { *d });
                        sum(distance)
                    },
                )
                .collect();
            // A point in [0, total) selects the row whose interval contains it.
            let mut point = point * totals.iter().sum::<f64>();
            let block = stretch(totals.iter().copied(), &mut point);
            let next = block.and_then(|block| {
                let first = block * SPREAD_ROWS;
                let block = &distance[first..n.min(first + SPREAD_ROWS)];
                stretch(block.iter().map(|&d| f64::from(d)), &mut point).map(|i| first + i)
            });
            let Some(next) = next else { break };
            chosen.push(next);
            last = next;
        }
        Ok(chosen)
    }

    fn nearest(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        let mut nearest = vec![0u32; rows.nrows()];
        self.pack(codebook).assign(values(rows), rows.stride(), &mut nearest, None);
        Ok(nearest)
    }

    fn nearest_search(&self, codebook: ArrayView2<'_, f32>) -> Option<Box<dyn NearestSearch>> {
        Some(Box::new(PackedCodebook(self.pack(codebook))))
    }

    fn cell_sums(&self, rows: &DeviceMatrix<'_>, nearest: &[u32], k: usize) -> Result<CellSums, MethodError> {
        let dim = rows.ncols();
        let (sums, counts) = cpu::cell_sums(self.isa, values(rows), rows.stride(), dim, nearest, k);
        let sums = Array2::from_shape_vec((k, dim), sums).map_err(|e| MethodError::Broken(e.to_string()))?;
        Ok(CellSums { sums, counts })
    }

    fn continuations(
        &self,
        rows: &DeviceMatrix<'_>,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Continuations, MethodError> {
        let of = |i: usize| row(rows, i);
        let chosen = cpu_sums::nearest_of_groups(self.isa, (rows.nrows(), of), group, codebook, count);
        let (k, dim) = codebook.dim();
        let per_group = count.min(group * k);
        let mut residuals = vec![0f32; chosen.len() * dim];
        let targets = residuals.par_chunks_mut(per_group * dim).zip(chosen.par_chunks(per_group));
        targets.enumerate().with_min_len(64).for_each(|(g, (residuals, chosen))| {
            for (residual, pick) in residuals.chunks_exact_mut(dim).zip(chosen) {
                let (b, c) = (pick.id as usize / k, pick.id as usize % k);
                let old = row(rows, g * group + b);
                residual.iter_mut().zip(old).zip(codebook.row(c)).for_each(|((r, o), c)| *r = o - c);
            }
        });
        let residuals = DeviceMatrix::from_storage(Arc::new(residuals), chosen.len(), dim);
        Ok(Continuations { chosen, residuals })
    }

    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError> {
        Ok(Box::new(CpuSums::new(self.isa, codebooks, local)))
    }

    fn group_search(&self, codebooks: &[Array2<f32>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError> {
        let packed = codebooks.iter().map(|codebook| self.pack(codebook.view())).collect();
        Ok(Box::new(Groups::new(packed, codebooks.first().map_or(0, Array2::ncols), bits)))
    }

    fn logit_search(&self, maps: &[AffineMap<'_>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError> {
        Ok(Box::new(Logits::new(self.isa, maps, bits)))
    }

    fn codewords(&self, codebooks: &[Array2<f32>], bits: u8, join: Join) -> Result<Box<dyn CodeDecoder>, MethodError> {
        Ok(Box::new(CodewordDecoder::new(self.isa, codebooks, bits, join)))
    }

    fn uniform(&self, grid: &UniformGrid) -> Result<Box<dyn ScalarCoder>, MethodError> {
        Ok(Box::new(Uniform::new(self.isa, grid.clone())))
    }

    fn levels(&self, grid: &LevelGrid) -> Result<Box<dyn ScalarCoder>, MethodError> {
        Ok(Box::new(LevelCoder::new(self.isa, grid.clone())))
    }

    fn product(&self, matrix: ArrayView2<'_, f32>) -> Result<Box<dyn RowMap>, MethodError> {
        Ok(Box::new(Product::new(self.isa, matrix)))
    }

    fn network(&self, straight: AffineMap<'_>, branch: &[BranchLayer<'_>]) -> Result<Box<dyn RowMap>, MethodError> {
        Ok(Box::new(Network::new(self.isa, straight, branch)))
    }

    fn scale(&self, centre: &[f32], factor: f32, back: f32) -> Result<Box<dyn RowScale>, MethodError> {
        Ok(Box::new(Scale { centre: centre.to_vec(), factor, back }))
    }

    fn copy(&self, rows: &DeviceMatrix<'_>, to: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let dim = rows.ncols();
        let each = place(to).par_chunks_mut(dim.max(1)).enumerate().with_min_len((VALUES / dim.max(1)).max(1));
        each.for_each(|(i, to)| to.copy_from_slice(row(rows, i)));
        Ok(())
    }

    fn table_scan<'a>(
        &self,
        codes: Cow<'a, [u8]>,
        layout: CodeLayout,
        factors: Vec<[f32; 2]>,
    ) -> Result<Box<dyn TableScan + 'a>, MethodError> {
        Ok(Box::new(CpuTableScan::new(self.isa, codes, layout, factors)))
    }

    fn bit_scan<'a>(&self, codes: &'a [u8], size: usize) -> Result<Box<dyn BitScan + 'a>, MethodError> {
        Ok(Box::new(CpuBitScan::new(self.isa, codes, size)))
    }

    fn base_rows_at_once(&self, dim: usize, queries: usize) -> usize {
        cpu_scan::base_rows_at_once(dim, queries)
    }

    fn hold_rows(
        &self,
        rows: (usize, usize),
        metric: SearchMetric,
        fill: FillRows<'_>,
    ) -> Result<Option<Box<dyn RowSearch>>, MethodError> {
        Ok(Some(Box::new(PackedRows::filled(self.isa, rows, metric, fill)?)))
    }

    fn nearest_rows(
        &self,
        base: &DeviceMatrix<'_>,
        queries: &DeviceMatrix<'_>,
        metric: SearchMetric,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        Ok(cpu_scan::nearest_rows(self.isa, base, queries, metric, k))
    }
}

/// A centre and a factor.
struct Scale {
    centre: Vec<f32>,
    factor: f32,
    back: f32,
}

impl RowScale for Scale {
    fn forward(&self, rows: &DeviceMatrix<'_>) -> Result<DeviceMatrix<'static>, MethodError> {
        let (n, dim) = (rows.nrows(), rows.ncols());
        let mut out = vec![0f32; n * dim];
        let at_once = (VALUES / dim.max(1)).max(1);
        out.par_chunks_mut((at_once * dim).max(1)).enumerate().for_each(|(task, out)| {
            for (i, out) in out.chunks_exact_mut(dim).enumerate() {
                let row = row(rows, task * at_once + i);
                out.iter_mut().zip(row).zip(&self.centre).for_each(|((y, x), c)| *y = (x - c) * self.factor);
            }
        });
        Ok(DeviceMatrix::from_storage(Arc::new(out), n, dim))
    }

    fn back(&self, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let dim = rows.ncols();
        let at_once = (VALUES / dim.max(1)).max(1);
        place(rows).par_chunks_mut((at_once * dim).max(1)).for_each(|rows| {
            for row in rows.chunks_exact_mut(dim) {
                row.iter_mut().zip(&self.centre).for_each(|(x, c)| *x = *x * self.back + c);
            }
        });
        Ok(())
    }
}

/// The interval that contains `point`, where intervals of the given lengths follow each other. `point` becomes relative
/// to its start. If rounding moved `point` past the end, this is the last interval of nonzero length.
fn stretch(lengths: impl Iterator<Item = f64>, point: &mut f64) -> Option<usize> {
    let mut last = None;
    for (i, length) in lengths.enumerate() {
        if *point < length {
            return Some(i);
        }
        *point -= length;
        if length > 0.0 {
            last = Some(i);
        }
    }
    last
}
