//! The reference backend: matrices in memory, kernels of `vqbench-cpu`, the thread pool it is called in.

use super::cpu_sums::{self, CpuSums};
use super::{Assignment, Backend, CellSums, DeviceMatrix, SumSearch};
use crate::MethodError;
use cpu::{Isa, Neighbor, Panels, Score};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::sync::Arc;

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
        let values: Vec<f32> = rows.iter().copied().collect();
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

    fn assign(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        let (n, dim) = (rows.nrows(), rows.ncols());
        let nearest = self.nearest(rows, codebook)?;
        let codewords = codebook.as_standard_layout();
        let codewords = codewords.as_slice().unwrap_or_default();
        // The kernel orders by ½‖c‖²−x·c, which cancels; the distance itself is summed directly.
        let mut squared_distance = vec![0f32; n];
        squared_distance.par_iter_mut().with_min_len(256).enumerate().for_each(|(i, d)| {
            *d = cpu::squared_distance(self.row(rows, i), &codewords[nearest[i] as usize * dim..][..dim]);
        });
        Ok(Assignment { nearest, squared_distance })
    }

    fn nearest(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        let codewords: Vec<f32> = codebook.iter().copied().collect();
        let panels = Panels::new(self.isa, &codewords, rows.ncols(), Score::HalfDistance);
        let mut nearest = vec![0u32; rows.nrows()];
        panels.assign(self.values(rows), rows.stride(), &mut nearest);
        Ok(nearest)
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
        let mut counts = vec![0usize; k];
        for &c in nearest {
            counts[c as usize] += 1;
        }
        // Members of each cell in row order: every sum has one order of additions, whatever the thread count.
        let mut starts = Vec::with_capacity(k + 1);
        starts.push(0usize);
        for &count in &counts {
            starts.push(starts[starts.len() - 1] + count);
        }
        let mut next = starts.clone();
        let mut members = vec![0u32; nearest.len()];
        for (i, &c) in nearest.iter().enumerate() {
            members[next[c as usize]] = i as u32;
            next[c as usize] += 1;
        }
        let mut sums = Array2::<f64>::zeros((k, dim));
        if let Some(values) = sums.as_slice_mut() {
            values.par_chunks_mut(dim.max(1)).with_min_len(16).enumerate().for_each(|(c, sum)| {
                for &i in &members[starts[c]..starts[c + 1]] {
                    for (s, &x) in sum.iter_mut().zip(self.row(rows, i as usize)) {
                        *s += f64::from(x);
                    }
                }
            });
        }
        Ok(CellSums { sums, counts })
    }
}
