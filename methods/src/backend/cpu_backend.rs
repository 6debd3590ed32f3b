//! The reference backend: matrices in memory, kernels of `vqbench-cpu`, the thread pool it is called in.

use super::{Assignment, Backend, CellSums, DeviceMatrix};
use crate::MethodError;
use cpu::{Isa, Nearest, Neighbor, Panels, Score, TopK};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows per task where scores of a whole codebook are held for each.
const ROWS: usize = 64;

/// Rows per task where all groups of their components are coded: few enough to stay in the second-level cache.
const GROUP_ROWS: usize = 240;

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
        CpuBackend::new(Isa::detect())
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

    fn download(&self, matrix: &DeviceMatrix) -> Result<Array2<f32>, MethodError> {
        Ok(Array2::from_shape_fn((matrix.nrows(), matrix.ncols()), |(i, j)| self.row(matrix, i)[j]))
    }

    fn assign(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        let mut nearest = vec![0u32; rows.nrows()];
        let mut squared_distance = vec![0f32; rows.nrows()];
        let packed = self.pack(codebook);
        packed.assign(self.values(rows), rows.stride(), &mut nearest, Some(&mut squared_distance));
        Ok(Assignment { nearest, squared_distance })
    }

    fn nearest(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        let mut nearest = vec![0u32; rows.nrows()];
        self.pack(codebook).assign(self.values(rows), rows.stride(), &mut nearest, None);
        Ok(nearest)
    }

    fn nearest_in_groups(
        &self,
        rows: ArrayView2<'_, f32>,
        codebooks: &[Array2<f32>],
        symbols: &mut [u16],
    ) -> Result<(), MethodError> {
        let (m, dsub) = (codebooks.len(), codebooks[0].ncols());
        let packed: Vec<Nearest> = codebooks.iter().map(|codebook| self.pack(codebook.view())).collect();
        let rows = rows.as_standard_layout();
        let values = rows.as_slice().unwrap_or_default();
        symbols.par_chunks_mut(GROUP_ROWS * m).zip(values.par_chunks(GROUP_ROWS * m * dsub)).for_each(
            |(symbols, rows)| {
                let mut nearest = [0u32; GROUP_ROWS];
                let nearest = &mut nearest[..symbols.len() / m];
                for (j, packed) in packed.iter().enumerate() {
                    packed.assign_here(&rows[j * dsub..], m * dsub, nearest);
                    symbols.iter_mut().skip(j).step_by(m).zip(&*nearest).for_each(|(symbol, &c)| *symbol = c as u16);
                }
            },
        );
        Ok(())
    }

    fn nearest_few(
        &self,
        rows: &DeviceMatrix,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Vec<Neighbor>, MethodError> {
        let (n, dim, k) = (rows.nrows(), rows.ncols(), codebook.nrows());
        let count = count.min(k);
        let codewords: Vec<f32> = codebook.iter().copied().collect();
        let panels = Panels::new(self.isa, &codewords, dim, Score::HalfDistance);
        let mut found = vec![Neighbor { score: 0.0, id: 0 }; n * count];
        found.par_chunks_mut(ROWS * count).enumerate().for_each(|(task, found)| {
            let rows: Vec<f32> =
                (0..found.len() / count).flat_map(|i| self.row(rows, task * ROWS + i).iter().copied()).collect();
            let mut scores = vec![0f32; found.len() / count * k];
            panels.scores(&rows, &mut scores);
            let mut top = TopK::new(count);
            for ((found, scores), row) in
                found.chunks_exact_mut(count).zip(scores.chunks_exact(k)).zip(rows.chunks_exact(dim))
            {
                top.push_block(scores, 0);
                for (slot, neighbor) in found.iter_mut().zip(top.drain_sorted()) {
                    // Summed directly, as `assign` does.
                    let codeword = &codewords[neighbor.id as usize * dim..][..dim];
                    *slot = Neighbor { score: cpu::squared_distance(row, codeword), id: neighbor.id };
                }
            }
        });
        Ok(found)
    }

    fn cell_sums(&self, rows: &DeviceMatrix, nearest: &[u32], k: usize) -> Result<CellSums, MethodError> {
        let dim = rows.ncols();
        let (sums, counts) = cpu::cell_sums(self.isa, self.values(rows), rows.stride(), dim, nearest, k);
        let sums = Array2::from_shape_vec((k, dim), sums).map_err(|e| MethodError::Backend(e.to_string()))?;
        Ok(CellSums { sums, counts })
    }
}
