//! Matrices and kernels on an NVIDIA device (`vqbench-cuda`).

use super::{Assignment, Backend, CellSums, DeviceMatrix, SumSearch, Unavailable};
use crate::{MethodError, Neighbor};
use cuda::{Buffer, Codewords, CudaError, Device, GroupCodebooks, Pass, Rows, SumTables};
use ndarray::{Array2, ArrayView2};
use std::borrow::Cow;
use std::sync::Arc;

/// Of a local search: symbols thrown anew in a round, and sweeps over all symbols, at most; as on the processor.
const THROWN: usize = 4;
const SWEEPS: usize = 4;

/// Computes on a device.
#[derive(Clone, Debug)]
pub struct CudaBackend {
    device: Device,
}

impl From<CudaError> for MethodError {
    fn from(error: CudaError) -> MethodError {
        MethodError::Backend(error.to_string())
    }
}

impl CudaBackend {
    /// On the first of the devices that this machine shows.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn open() -> Result<CudaBackend, Unavailable> {
        match Device::open(0) {
            Ok(device) => Ok(CudaBackend { device }),
            Err(error) => Err(Unavailable { help: error.help().to_owned(), reason: error.to_string() }),
        }
    }

    /// On a device that is open.
    pub fn on(device: Device) -> CudaBackend {
        CudaBackend { device }
    }

    /// Rows of a matrix of this backend.
    fn rows<'m>(&self, matrix: &'m DeviceMatrix) -> Rows<'m> {
        match matrix.storage::<Buffer<f32>>() {
            Some(values) => Rows::new(values, matrix.first_column(), matrix.stride(), matrix.nrows(), matrix.ncols()),
            None => unreachable!("a matrix is used with the backend that made it"),
        }
    }

    fn assign_on_device(
        &self,
        rows: Rows<'_>,
        codebook: ArrayView2<'_, f32>,
    ) -> Result<(Codewords, Buffer<u32>), CudaError> {
        let codewords = Codewords::new(&self.device, &contiguous(&codebook), codebook.ncols(), Pass::Auto)?;
        let mut nearest = self.device.room(rows.count())?;
        codewords.assign(rows, &mut nearest)?;
        Ok((codewords, nearest))
    }

    fn sums(&self, rows: Rows<'_>, nearest: &Buffer<u32>, k: usize) -> Result<CellSums, MethodError> {
        let cuda::CellSums { sums, counts } = cuda::cell_sums(rows, nearest, k)?;
        let sums = Array2::from_shape_vec((k, rows.dim()), sums).map_err(|e| MethodError::Backend(e.to_string()))?;
        Ok(CellSums { sums, counts: counts.into_iter().map(|count| count as usize).collect() })
    }
}

/// The values row by row, without a copy where they lie so.
fn contiguous<'v>(rows: &'v ArrayView2<'_, f32>) -> Cow<'v, [f32]> {
    match rows.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(rows.iter().copied().collect()),
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn device_name(&self) -> Option<String> {
        Some(self.device.facts().name.clone())
    }

    fn peak_device_bytes(&self) -> Option<u64> {
        Some(self.device.peak_bytes())
    }

    fn upload(&self, rows: ArrayView2<'_, f32>) -> Result<DeviceMatrix, MethodError> {
        let (n, dim) = rows.dim();
        Ok(DeviceMatrix::from_storage(Arc::new(self.device.upload(&contiguous(&rows))?), n, dim))
    }

    fn download(&self, matrix: &DeviceMatrix) -> Result<Array2<f32>, MethodError> {
        let (n, dim, stride) = (matrix.nrows(), matrix.ncols(), matrix.stride());
        let Some(values) = matrix.storage::<Buffer<f32>>() else {
            unreachable!("a matrix is used with the backend that made it")
        };
        let end = if n == 0 { 0 } else { (n - 1) * stride + dim };
        let mut all = vec![0f32; end];
        values.read(matrix.first_column().min(values.len()), &mut all)?;
        Ok(Array2::from_shape_fn((n, dim), |(i, j)| all[i * stride + j]))
    }

    fn assign(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        let rows = self.rows(rows);
        let (codewords, nearest) = self.assign_on_device(rows, codebook)?;
        let mut distances = self.device.room(rows.count())?;
        codewords.distances(rows, &nearest, &mut distances)?;
        Ok(Assignment { nearest: nearest.download()?, squared_distance: distances.download()? })
    }

    fn nearest(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        Ok(self.assign_on_device(self.rows(rows), codebook)?.1.download()?)
    }

    fn nearest_in_groups(
        &self,
        rows: ArrayView2<'_, f32>,
        codebooks: &[Array2<f32>],
        symbols: &mut [u16],
    ) -> Result<(), MethodError> {
        let views: Vec<ArrayView2<'_, f32>> = codebooks.iter().map(|book| book.view()).collect();
        let books: Vec<Cow<'_, [f32]>> = views.iter().map(contiguous).collect();
        let books: Vec<&[f32]> = books.iter().map(|book| &**book).collect();
        let books = GroupCodebooks::new(&self.device, &books, codebooks[0].ncols())?;
        let on_device = self.device.upload(&contiguous(&rows))?;
        let mut found = self.device.room(symbols.len())?;
        books.nearest(Rows::new(&on_device, 0, rows.ncols(), rows.nrows(), rows.ncols()), &mut found)?;
        Ok(found.read(0, symbols)?)
    }

    fn nearest_of_groups(
        &self,
        rows: &DeviceMatrix,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Vec<Neighbor>, MethodError> {
        let (places, distances) =
            cuda::nearest_of_groups(&self.device, self.rows(rows), group, &contiguous(&codebook), count)?;
        Ok(places.into_iter().zip(distances).map(|(id, score)| Neighbor { score, id }).collect())
    }

    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError> {
        let values: Vec<f32> = codebooks.iter().flat_map(|book| book.iter().copied()).collect();
        let dim = codebooks.first().map_or(1, Array2::ncols);
        let tables = SumTables::new(&self.device, &values, codebooks.len(), dim, local)?;
        Ok(Box::new(CudaSums { device: self.device.clone(), tables }))
    }

    fn cell_sums(&self, rows: &DeviceMatrix, nearest: &[u32], k: usize) -> Result<CellSums, MethodError> {
        assert!(nearest.iter().all(|&c| (c as usize) < k), "cells below {k}");
        self.sums(self.rows(rows), &self.device.upload(nearest)?, k)
    }

    fn nearest_cell_sums(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<CellSums, MethodError> {
        let rows = self.rows(rows);
        let (_, nearest) = self.assign_on_device(rows, codebook)?;
        self.sums(rows, &nearest, codebook.nrows())
    }

    fn synchronize(&self) -> Result<(), MethodError> {
        Ok(self.device.synchronize()?)
    }
}

/// Searches over sums of codewords on a device.
struct CudaSums {
    device: Device,
    tables: SumTables,
}

impl CudaSums {
    fn with_rows(
        &self,
        rows: ArrayView2<'_, f32>,
        search: impl FnOnce(Rows<'_>) -> Result<(), CudaError>,
    ) -> Result<(), MethodError> {
        let on_device = self.device.upload(&contiguous(&rows))?;
        Ok(search(Rows::new(&on_device, 0, rows.ncols(), rows.nrows(), rows.ncols()))?)
    }
}

impl SumSearch for CudaSums {
    fn beam(&self, rows: ArrayView2<'_, f32>, beam: usize, codes: &mut [u16]) -> Result<(), MethodError> {
        self.with_rows(rows, |rows| self.tables.beam(rows, beam, codes))
    }

    fn improve(
        &self,
        rows: ArrayView2<'_, f32>,
        rounds: usize,
        seed: u64,
        codes: &mut [u16],
    ) -> Result<(), MethodError> {
        self.with_rows(rows, |rows| self.tables.improve(rows, (rounds, SWEEPS, THROWN), seed, codes))
    }
}
