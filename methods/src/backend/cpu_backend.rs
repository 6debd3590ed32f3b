//! The reference backend: matrices in memory, kernels of `vqbench-cpu`, the thread pool it is called in.

use super::cpu_sums::{self, CpuSums};
use super::{Assignment, Backend, CellSums, DeviceMatrix, GroupSearch, SumSearch};
use crate::algorithms::moments::sum;
use crate::algorithms::pack::Layout;
use crate::contract::batch::row_major;
use crate::{Cancel, MethodError};
use cpu::{Isa, Nearest, Neighbor, Score};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows per task where all groups of their components are coded: few enough to stay in the second-level cache.
const GROUP_ROWS: usize = 240;

/// Rows per task of k-means++; a constant, so that no result depends on the number of threads.
const SPREAD_ROWS: usize = 8192;

/// Computes on the processor.
#[derive(Clone, Debug)]
pub struct CpuBackend {
    isa: Isa,
}

impl CpuBackend {
    /// With a given instruction set.
    pub fn new(isa: Isa) -> CpuBackend {
        CpuBackend { isa }
    }

    /// With the widest instruction set that this processor has.
    pub fn detect() -> CpuBackend {
        CpuBackend::new(Isa::widest())
    }

    /// The values from the first value of the window on; row `i` starts at `i·stride`.
    fn values<'m>(&self, matrix: &'m DeviceMatrix) -> &'m [f32] {
        match matrix.storage::<Vec<f32>>() {
            Some(values) => &values[matrix.first_column().min(values.len())..],
            None => unreachable!("a matrix is used with the backend that made it"),
        }
    }

    fn pack(&self, codebook: ArrayView2<'_, f32>) -> Nearest {
        Nearest::new(self.isa, codebook.iter().copied().collect(), codebook.ncols(), Score::HalfDistance)
    }

    fn row<'m>(&self, matrix: &'m DeviceMatrix, i: usize) -> &'m [f32] {
        &self.values(matrix)[i * matrix.stride()..][..matrix.ncols()]
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn isa(&self) -> Isa {
        self.isa
    }

    fn upload(&self, rows: ArrayView2<'_, f32>) -> Result<DeviceMatrix, MethodError> {
        let (n, dim) = rows.dim();
        let values = match rows.as_slice() {
            Some(values) => values.to_vec(),
            None => {
                let mut values = Vec::with_capacity(rows.len());
                for row in rows.outer_iter() {
                    match row.as_slice() {
                        Some(row) => values.extend_from_slice(row),
                        None => values.extend(row),
                    }
                }
                values
            }
        };
        Ok(DeviceMatrix::from_storage(Arc::new(values), n, dim))
    }

    fn upload_owned(&self, rows: Array2<f32>) -> Result<DeviceMatrix, MethodError> {
        let (n, dim) = rows.dim();
        if !rows.is_standard_layout() || rows.len() != n * dim {
            return self.upload(rows.view());
        }
        match rows.into_raw_vec_and_offset() {
            (values, None | Some(0)) => Ok(DeviceMatrix::from_storage(Arc::new(values), n, dim)),
            (values, Some(offset)) => Ok(DeviceMatrix::from_storage(Arc::new(values[offset..].to_vec()), n, dim)),
        }
    }

    fn download(&self, matrix: &DeviceMatrix) -> Result<Array2<f32>, MethodError> {
        Ok(Array2::from_shape_fn((matrix.nrows(), matrix.ncols()), |(i, j)| self.row(matrix, i)[j]))
    }

    fn rows_at(&self, matrix: &DeviceMatrix, numbers: &[usize]) -> Result<Array2<f32>, MethodError> {
        Ok(Array2::from_shape_fn((numbers.len(), matrix.ncols()), |(i, j)| self.row(matrix, numbers[i])[j]))
    }

    fn assign(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        let mut nearest = vec![0u32; rows.nrows()];
        let mut squared_distance = vec![0f32; rows.nrows()];
        let packed = self.pack(codebook);
        packed.assign(self.values(rows), rows.stride(), &mut nearest, Some(&mut squared_distance));
        Ok(Assignment { nearest, squared_distance })
    }

    fn spread_rows(
        &self,
        rows: &DeviceMatrix,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError> {
        let n = rows.nrows();
        // Component by component, in blocks that the tasks share.
        let (values, stride) = (self.values(rows), rows.stride());
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
            let codeword = self.row(rows, last);
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
            // A point on [0, total) falls into the stretch of the row it chooses.
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

    fn nearest(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        let mut nearest = vec![0u32; rows.nrows()];
        self.pack(codebook).assign(self.values(rows), rows.stride(), &mut nearest, None);
        Ok(nearest)
    }

    fn group_search(&self, codebooks: &[Array2<f32>]) -> Result<Box<dyn GroupSearch>, MethodError> {
        let packed = codebooks.iter().map(|codebook| self.pack(codebook.view())).collect();
        Ok(Box::new(CpuGroups { packed, size: codebooks.first().map_or(0, Array2::ncols) }))
    }

    fn nearest_of_groups(
        &self,
        rows: &DeviceMatrix,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Vec<Neighbor>, MethodError> {
        let row = |i: usize| self.row(rows, i);
        Ok(cpu_sums::nearest_of_groups(self.isa, (rows.nrows(), row), group, codebook, count))
    }

    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError> {
        Ok(Box::new(CpuSums::new(self.isa, codebooks, local)))
    }

    fn cell_sums(&self, rows: &DeviceMatrix, nearest: &[u32], k: usize) -> Result<CellSums, MethodError> {
        let dim = rows.ncols();
        let (sums, counts) = cpu::cell_sums(self.isa, self.values(rows), rows.stride(), dim, nearest, k);
        let sums = Array2::from_shape_vec((k, dim), sums).map_err(|e| MethodError::Backend(e.to_string()))?;
        Ok(CellSums { sums, counts })
    }
}

/// The stretch that `point` falls into, of stretches laid end to end; `point` is then relative to its start. Where rounding has brought it
/// beyond the end, the last of any length.
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

/// Codebooks of groups of components, as the kernel that scores rows wants them.
struct CpuGroups {
    packed: Vec<Nearest>,
    /// Components of a group.
    size: usize,
}

impl GroupSearch for CpuGroups {
    fn encode(&self, rows: ArrayView2<'_, f32>, bits: u8, codes: &mut [u8]) -> Result<(), MethodError> {
        let (m, dim) = (self.packed.len(), self.packed.len() * self.size);
        let layout = Layout::uniform(m, bits);
        let size = layout.bytes();
        let values = row_major(&rows);
        codes.par_chunks_mut(GROUP_ROWS * size).zip(values.par_chunks(GROUP_ROWS * dim)).for_each_init(
            || (vec![0u16; GROUP_ROWS * m], vec![0u32; GROUP_ROWS]),
            |(symbols, nearest), (codes, rows)| {
                let n = rows.len() / dim;
                let (symbols, nearest) = (&mut symbols[..n * m], &mut nearest[..n]);
                for (j, packed) in self.packed.iter().enumerate() {
                    packed.assign_here(&rows[j * self.size..], dim, nearest);
                    symbols.iter_mut().skip(j).step_by(m).zip(&*nearest).for_each(|(symbol, &c)| *symbol = c as u16);
                }
                for (code, symbols) in codes.chunks_exact_mut(size).zip(symbols.chunks_exact(m)) {
                    layout.pack(symbols, code);
                }
            },
        );
        Ok(())
    }
}
