//! Matrices and kernels on an NVIDIA device (`vqbench-cuda`).

use super::cpu_codes::Logits;
use super::cuda_codes::{
    CudaCodewords, CudaGroups, CudaLevels, CudaLogitsOnHost, CudaNetwork, CudaProduct, CudaScale, CudaSums, CudaUniform,
};
use super::cuda_scan::{CudaBitScan, CudaTableScan};
use super::{
    AffineMap, Assigned, Assignment, Backend, BackendError, BitScan, BranchLayer, CellSums, CodeDecoder, CodeLayout,
    CodeRoom, Continuations, CpuBackend, DeviceCodes, DeviceMatrix, Fill, Join, LevelGrid, MatrixRoom, RowEncoder,
    RowMap, RowScale, ScalarCoder, SumSearch, TableScan, Unavailable, UniformGrid, WriteCodes, WriteRows,
};
use crate::contract::batch::row_major;
use crate::{Cancel, MethodError, Neighbor, SearchMetric};
use cpu::Isa;
use cuda::{
    AssignPass, Base, Buffer, Codes, Codewords, CudaError, Device, DeviceCodebooks, DeviceRows, DeviceSumTables,
    GroupCodebooks, LevelScalars, Proximity, UniformScalars,
};
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use std::borrow::Cow;
use std::sync::Arc;

/// Maximum number of rows uploaded at a time.
const ROWS_AT_ONCE: u64 = 1 << 20;

/// Maximum number of rows, and of their values, that are searched at a time.
const BASE_ROWS: usize = 1 << 16;
const BASE_VALUES: usize = 1 << 26;

/// Computes on a device.
#[derive(Clone, Debug)]
pub struct CudaBackend {
    device: Device,
    /// Name of the device in errors.
    label: Arc<str>,
    isa: Isa,
}

impl CudaBackend {
    /// Opens the first device that this machine exposes; CPU work uses `isa`.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(isa: Isa, toolkit: &cuda::Toolkit) -> Result<CudaBackend, Unavailable> {
        match Device::open(0, toolkit) {
            Ok(device) => {
                let label = format!("cuda:0 ({})", device.facts().name).into();
                Ok(CudaBackend { device, label, isa })
            }
            Err(error) => Err(Unavailable { help: error.help().to_owned(), reason: error.to_string() }),
        }
    }

    /// Uses a device that is already open.
    pub fn on(device: Device, isa: Isa) -> CudaBackend {
        let label = format!("cuda ({})", device.facts().name).into();
        CudaBackend { device, label, isa }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// An error that names the failed operation and the device.
    pub(super) fn failed(&self, operation: &'static str) -> impl Fn(CudaError) -> MethodError + '_ {
        move |error| BackendError { operation, device: self.label.to_string(), reason: error.to_string() }.into()
    }

    /// Rows of a matrix of this backend.
    pub(super) fn rows<'m>(&self, matrix: &'m DeviceMatrix<'_>) -> DeviceRows<'m> {
        match matrix.storage::<Buffer<f32>>().filter(|values| values.device().is(&self.device)) {
            Some(values) => DeviceRows::new(values, matrix.first(), matrix.stride(), matrix.nrows(), matrix.ncols()),
            None => unreachable!("a matrix is used with the backend that made it"),
        }
    }

    /// The buffer that the rows are written to.
    pub(super) fn place<'m>(&self, rows: &'m mut MatrixRoom<'_>) -> &'m mut Buffer<f32> {
        match rows.storage::<Buffer<f32>>().filter(|values| values.device().is(&self.device)) {
            Some(values) => values,
            None => unreachable!("room is used with the backend that made it"),
        }
    }

    /// Codes of this backend.
    pub(super) fn codes<'c>(&self, codes: &'c DeviceCodes<'_>) -> Codes<'c> {
        match codes.storage::<Buffer<u8>>().filter(|bytes| bytes.device().is(&self.device)) {
            Some(bytes) => Codes::all(bytes, codes.size()),
            None => unreachable!("codes are used with the backend that made them"),
        }
    }

    /// The buffer that the codes are written to.
    pub(super) fn code_place<'c>(&self, codes: &'c mut CodeRoom<'_>) -> &'c mut Buffer<u8> {
        match codes.storage::<Buffer<u8>>().filter(|bytes| bytes.device().is(&self.device)) {
            Some(bytes) => bytes,
            None => unreachable!("room is used with the backend that made it"),
        }
    }

    /// The reference, for what no kernel supports.
    fn on_host(&self) -> CpuBackend {
        CpuBackend::new(self.isa)
    }

    /// Number of rows that fit into free memory if each needs this many bytes.
    fn at_once(&self, bytes_per_row: usize) -> Result<usize, CudaError> {
        Ok((self.device.spare_bytes()? / 2 / bytes_per_row.max(1) as u64).clamp(1, ROWS_AT_ONCE) as usize)
    }

    fn assign_on_device(
        &self,
        rows: DeviceRows<'_>,
        codebook: ArrayView2<'_, f32>,
    ) -> Result<(Codewords, Buffer<u32>), CudaError> {
        let codewords = Codewords::new(&self.device, &row_major(&codebook), codebook.ncols(), AssignPass::Auto)?;
        let mut nearest = self.device.room(rows.count())?;
        codewords.assign(rows, &mut nearest)?;
        Ok((codewords, nearest))
    }

    fn assigned_on_device(
        &self,
        rows: &DeviceMatrix<'_>,
        codebook: ArrayView2<'_, f32>,
    ) -> Result<OnDevice, CudaError> {
        let rows = self.rows(rows);
        let (codewords, nearest) = self.assign_on_device(rows, codebook)?;
        let mut distances = self.device.room(rows.count())?;
        codewords.distances(rows, &nearest, &mut distances)?;
        Ok(OnDevice { nearest, distances })
    }

    fn sums(&self, rows: DeviceRows<'_>, nearest: &Buffer<u32>, k: usize) -> Result<CellSums, MethodError> {
        let cuda::CountedSums { sums, counts } = cuda::cell_sums(rows, nearest, k).map_err(self.failed("cell_sums"))?;
        let sums = Array2::from_shape_vec((k, rows.dim()), sums).map_err(|e| MethodError::Broken(e.to_string()))?;
        Ok(CellSums { sums, counts: counts.into_iter().map(|count| count as usize).collect() })
    }
}

/// Why the choice of rows for k-means++ stopped.
enum Stopped {
    Device(CudaError),
    Caller(MethodError),
}

impl From<CudaError> for Stopped {
    fn from(error: CudaError) -> Stopped {
        Stopped::Device(error)
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn isa(&self) -> Isa {
        self.isa
    }

    fn device_name(&self) -> Option<String> {
        Some(self.device.facts().name.clone())
    }

    fn peak_device_bytes(&self) -> Option<u64> {
        Some(self.device.peak_bytes())
    }

    fn rows_at_once(&self, bytes_per_row: usize) -> Result<usize, MethodError> {
        self.at_once(bytes_per_row).map_err(self.failed("rows_at_once"))
    }

    fn upload<'a>(&self, rows: ArrayView2<'a, f32>) -> Result<DeviceMatrix<'a>, MethodError> {
        let (n, dim) = rows.dim();
        let values = self.device.upload(&row_major(&rows)).map_err(self.failed("upload"))?;
        Ok(DeviceMatrix::from_storage(Arc::new(values), n, dim))
    }

    fn upload_owned(&self, rows: Array2<f32>) -> Result<DeviceMatrix<'static>, MethodError> {
        let (n, dim) = rows.dim();
        let values = self.device.upload(&row_major(&rows)).map_err(self.failed("upload"))?;
        Ok(DeviceMatrix::from_storage(Arc::new(values), n, dim))
    }

    fn download<'m>(&self, matrix: &'m DeviceMatrix<'_>) -> Result<CowArray<'m, f32, Ix2>, MethodError> {
        let (n, dim, stride) = (matrix.nrows(), matrix.ncols(), matrix.stride());
        let end = if n == 0 { 0 } else { (n - 1) * stride + dim };
        let mut all = vec![0f32; end];
        let values = self.rows(matrix).buffer();
        values.read(matrix.first().min(values.len()), &mut all).map_err(self.failed("download"))?;
        let rows = match stride == dim {
            true => Array2::from_shape_vec((n, dim), all).map_err(|e| MethodError::Broken(e.to_string()))?,
            false => Array2::from_shape_fn((n, dim), |(i, j)| all[i * stride + j]),
        };
        Ok(CowArray::from(rows))
    }

    fn rows_at(&self, matrix: &DeviceMatrix<'_>, numbers: &[usize]) -> Result<Array2<f32>, MethodError> {
        let values = cuda::rows_at(self.rows(matrix), numbers).map_err(self.failed("rows_at"))?;
        Array2::from_shape_vec((numbers.len(), matrix.ncols()), values).map_err(|e| MethodError::Broken(e.to_string()))
    }

    fn upload_codes<'a>(&self, codes: &'a [u8], size: usize) -> Result<DeviceCodes<'a>, MethodError> {
        let bytes = self.device.upload(codes).map_err(self.failed("upload_codes"))?;
        Ok(DeviceCodes::from_storage(Arc::new(bytes), codes.len() / size, size))
    }

    fn download_codes<'c>(&self, codes: &'c DeviceCodes<'_>) -> Result<Cow<'c, [u8]>, MethodError> {
        let bytes = self.codes(codes).buffer().download();
        Ok(Cow::Owned(bytes.map_err(self.failed("download_codes"))?))
    }

    fn room(&self, rows: usize, columns: usize) -> Result<MatrixRoom<'static>, MethodError> {
        let values = self.device.room::<f32>(rows * columns).map_err(self.failed("room"))?;
        Ok(MatrixRoom::from_storage(Box::new(values), rows, columns))
    }

    fn write_rows(&self, host: &mut [f32], columns: usize, write: WriteRows<'_>) -> Result<(), MethodError> {
        let mut room = self.room(host.len() / columns.max(1), columns)?;
        write(&mut room)?;
        self.place(&mut room).read(0, host).map_err(self.failed("download"))
    }

    fn write_codes(&self, host: &mut [u8], size: usize, write: WriteCodes<'_>) -> Result<(), MethodError> {
        let bytes = self.device.room::<u8>(host.len()).map_err(self.failed("room"))?;
        let mut room = CodeRoom::from_storage(Box::new(bytes), host.len() / size.max(1), size);
        write(&mut room)?;
        self.code_place(&mut room).read(0, host).map_err(self.failed("download_codes"))
    }

    fn fill_rows(&self, rows: &mut MatrixRoom<'_>, fill: Fill<'_, f32>) -> Result<(), MethodError> {
        let mut values = vec![0f32; rows.nrows() * rows.ncols()];
        fill(&mut values)?;
        self.place(rows).write(0, &values).map_err(self.failed("upload"))
    }

    fn fill_codes(&self, codes: &mut CodeRoom<'_>, fill: Fill<'_, u8>) -> Result<(), MethodError> {
        let mut bytes = vec![0u8; codes.count() * codes.size()];
        fill(&mut bytes)?;
        self.code_place(codes).write(0, &bytes).map_err(self.failed("upload_codes"))
    }

    fn assign(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        let assigned = self.assigned_on_device(rows, codebook);
        assigned.and_then(|assigned| assigned.download()).map_err(self.failed("assign"))
    }

    fn assigned(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Assigned, MethodError> {
        let assigned = self.assigned_on_device(rows, codebook).map_err(self.failed("assigned"))?;
        let total = cuda::total(&assigned.distances, rows.nrows()).map_err(self.failed("assigned"))?;
        Ok(Assigned::from_storage(Arc::new(assigned), total / rows.nrows().max(1) as f64))
    }

    fn assignment(&self, assigned: &Assigned) -> Result<Arc<Assignment>, MethodError> {
        Ok(Arc::new(assigned.storage::<OnDevice>().download().map_err(self.failed("assignment"))?))
    }

    fn assigned_cell_sums(
        &self,
        rows: &DeviceMatrix<'_>,
        assigned: &Assigned,
        k: usize,
    ) -> Result<CellSums, MethodError> {
        self.sums(self.rows(rows), &assigned.storage::<OnDevice>().nearest, k)
    }

    fn spread_rows(
        &self,
        rows: &DeviceMatrix<'_>,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError> {
        let chosen = cuda::spread_rows(self.rows(rows), first, points, || cancel.check().map_err(Stopped::Caller));
        chosen.map_err(|stopped| match stopped {
            Stopped::Device(error) => self.failed("spread_rows")(error),
            Stopped::Caller(error) => error,
        })
    }

    fn nearest(&self, rows: &DeviceMatrix<'_>, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        let assigned = self.assign_on_device(self.rows(rows), codebook);
        assigned.and_then(|(_, nearest)| nearest.download()).map_err(self.failed("nearest"))
    }

    fn cell_sums(&self, rows: &DeviceMatrix<'_>, nearest: &[u32], k: usize) -> Result<CellSums, MethodError> {
        assert!(nearest.iter().all(|&c| (c as usize) < k), "cells below {k}");
        self.sums(self.rows(rows), &self.device.upload(nearest).map_err(self.failed("cell_sums"))?, k)
    }

    fn nearest_cell_sums(
        &self,
        rows: &DeviceMatrix<'_>,
        codebook: ArrayView2<'_, f32>,
    ) -> Result<CellSums, MethodError> {
        let rows = self.rows(rows);
        let (_, nearest) = self.assign_on_device(rows, codebook).map_err(self.failed("nearest_cell_sums"))?;
        self.sums(rows, &nearest, codebook.nrows())
    }

    fn continuations(
        &self,
        rows: &DeviceMatrix<'_>,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Continuations, MethodError> {
        let found = cuda::continuations(&self.device, self.rows(rows), group, &row_major(&codebook), count);
        let ((places, distances), residuals) = found.map_err(self.failed("continuations"))?;
        let chosen: Vec<Neighbor> =
            places.into_iter().zip(distances).map(|(id, score)| Neighbor { score, id }).collect();
        let residuals = DeviceMatrix::from_storage(Arc::new(residuals), chosen.len(), rows.ncols());
        Ok(Continuations { chosen, residuals })
    }

    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError> {
        let values: Vec<f32> = codebooks.iter().flat_map(|book| book.iter().copied()).collect();
        let dim = codebooks.first().map_or(1, Array2::ncols);
        let tables = DeviceSumTables::new(&self.device, &values, codebooks.len(), dim, local);
        let tables = tables.map_err(self.failed("sum_search"))?;
        Ok(Box::new(CudaSums { backend: self.clone(), tables, m: codebooks.len() }))
    }

    fn group_search(&self, codebooks: &[Array2<f32>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError> {
        let books: Vec<Cow<'_, [f32]>> = codebooks.iter().map(row_major).collect();
        let books: Vec<&[f32]> = books.iter().map(|book| &**book).collect();
        let books = GroupCodebooks::new(&self.device, &books, codebooks[0].ncols());
        let books = books.map_err(self.failed("group_search"))?;
        Ok(Box::new(CudaGroups { backend: self.clone(), books, m: codebooks.len(), bits }))
    }

    fn logit_search(&self, maps: &[AffineMap<'_>], bits: u8) -> Result<Box<dyn RowEncoder>, MethodError> {
        let weights: Vec<Vec<f32>> = maps.iter().map(|map| map.weights.t().iter().copied().collect()).collect();
        let biases: Vec<Cow<'_, [f32]>> = maps.iter().map(|map| row_major(&map.bias)).collect();
        let weights: Vec<&[f32]> = weights.iter().map(|weights| &**weights).collect();
        let biases: Vec<&[f32]> = biases.iter().map(|bias| &**bias).collect();
        let size = maps.first().map_or(0, |map| map.weights.nrows());
        let books = GroupCodebooks::with_biases(&self.device, &weights, &biases, size);
        Ok(match books.map_err(self.failed("logit_search"))? {
            Some(books) => Box::new(CudaGroups { backend: self.clone(), books, m: maps.len(), bits }),
            // No kernel supports groups of this many components, so the reference handles them.
            None => Box::new(CudaLogitsOnHost { backend: self.clone(), reference: Logits::new(self.isa, maps, bits) }),
        })
    }

    fn codewords(&self, codebooks: &[Array2<f32>], bits: u8, join: Join) -> Result<Box<dyn CodeDecoder>, MethodError> {
        let books: Vec<Cow<'_, [f32]>> = codebooks.iter().map(row_major).collect();
        let books: Vec<&[f32]> = books.iter().map(|book| &**book).collect();
        let books =
            DeviceCodebooks::new(&self.device, &books, codebooks[0].ncols()).map_err(self.failed("codewords"))?;
        let codewords = codebooks[0].nrows();
        Ok(Box::new(CudaCodewords { backend: self.clone(), books, m: codebooks.len(), codewords, bits, join }))
    }

    fn uniform(&self, grid: &UniformGrid) -> Result<Box<dyn ScalarCoder>, MethodError> {
        let scalars = UniformScalars::new(&self.device, &grid.offsets, &grid.steps, grid.bits.into());
        Ok(Box::new(CudaUniform { backend: self.clone(), scalars: scalars.map_err(self.failed("uniform"))? }))
    }

    fn levels(&self, grid: &LevelGrid) -> Result<Box<dyn ScalarCoder>, MethodError> {
        let scalars = LevelScalars::new(&self.device, &grid.thresholds, &grid.values, grid.width, grid.symbols);
        let scalars = scalars.map_err(self.failed("levels"))?;
        Ok(Box::new(CudaLevels { backend: self.clone(), scalars, positions: grid.symbols, alphabet: grid.alphabet() }))
    }

    fn product(&self, matrix: ArrayView2<'_, f32>) -> Result<Box<dyn RowMap>, MethodError> {
        let others: Vec<f32> = matrix.t().iter().copied().collect();
        let others = self.device.upload(&others).map_err(self.failed("product"))?;
        Ok(Box::new(CudaProduct { backend: self.clone(), others, outputs: matrix.ncols() }))
    }

    fn network(&self, straight: AffineMap<'_>, branch: &[BranchLayer<'_>]) -> Result<Box<dyn RowMap>, MethodError> {
        let map = |AffineMap { weights, bias }: &AffineMap<'_>| {
            let weights: Vec<f32> = weights.t().iter().copied().collect();
            cuda::DeviceAffineMap::new(&self.device, &weights, &row_major(bias))
        };
        let layer = |layer: &BranchLayer<'_>| -> Result<cuda::DeviceLayer, CudaError> {
            Ok(match layer {
                BranchLayer::Affine(affine) => cuda::DeviceLayer::Affine(map(affine)?),
                BranchLayer::Windows { inputs, map: of_window } => {
                    cuda::DeviceLayer::Windows { inputs: self.device.upload(inputs)?, map: map(of_window)? }
                }
                BranchLayer::Rectifier => cuda::DeviceLayer::Rectifier,
            })
        };
        let prepare = || -> Result<cuda::DeviceNetwork, CudaError> {
            let branch = branch.iter().map(layer).collect::<Result<_, _>>()?;
            Ok(cuda::DeviceNetwork::new(map(&straight)?, branch))
        };
        let network = prepare().map_err(self.failed("network"))?;
        Ok(Box::new(CudaNetwork { backend: self.clone(), network }))
    }

    fn scale(&self, centre: &[f32], factor: f32, back: f32) -> Result<Box<dyn RowScale>, MethodError> {
        let centre = self.device.upload(centre).map_err(self.failed("scale"))?;
        Ok(Box::new(CudaScale { backend: self.clone(), centre, factor, back }))
    }

    fn copy(&self, rows: &DeviceMatrix<'_>, to: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        cuda::standardize(self.rows(rows), None, 1.0, self.place(to)).map_err(self.failed("copy"))
    }

    fn scans_on_host(&self) -> bool {
        false
    }

    fn table_scan<'a>(
        &self,
        codes: Cow<'a, [u8]>,
        layout: CodeLayout,
        factors: Vec<[f32; 2]>,
    ) -> Result<Box<dyn TableScan + 'a>, MethodError> {
        // The kernel knows neither side values nor factors.
        if layout.skip > 0 || layout.has_factors || codes.is_empty() {
            return self.on_host().table_scan(codes, layout, factors);
        }
        let on_device = self.device.upload(&codes).map_err(self.failed("table_scan"))?;
        let on_host = self.on_host().table_scan(codes, layout, factors)?;
        Ok(Box::new(CudaTableScan { backend: self.clone(), codes: on_device, layout, on_host }))
    }

    fn bit_scan<'a>(&self, codes: &'a [u8], size: usize) -> Result<Box<dyn BitScan + 'a>, MethodError> {
        let on_host = self.on_host().bit_scan(codes, size)?;
        if codes.is_empty() {
            return Ok(on_host);
        }
        let codes = self.device.upload(codes).map_err(self.failed("bit_scan"))?;
        Ok(Box::new(CudaBitScan { backend: self.clone(), codes, size, on_host }))
    }

    fn base_rows_at_once(&self, dim: usize, _queries: usize) -> usize {
        (BASE_VALUES / dim.max(1)).clamp(1, BASE_ROWS)
    }

    fn nearest_rows(
        &self,
        base: &DeviceMatrix<'_>,
        queries: &DeviceMatrix<'_>,
        metric: SearchMetric,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        if !(1..=cuda::MAX_K).contains(&k) || !(1..=cuda::MAX_DIM).contains(&base.ncols()) || base.nrows() == 0 {
            let [base, queries] = [self.download(base)?, self.download(queries)?];
            let cpu = self.on_host();
            return cpu.nearest_rows(&cpu.upload(base.view())?, &cpu.upload(queries.view())?, metric, k);
        }
        let proximity = match metric {
            SearchMetric::L2 => Proximity::SquaredDistance,
            SearchMetric::InnerProduct => Proximity::InnerProduct,
        };
        let neighbor = |n: cuda::SelectedRow<f32>| Neighbor { score: n.score, id: n.id };
        let find = || Base::new(self.rows(base), proximity)?.nearest(self.rows(queries), k);
        let found = find().map_err(self.failed("nearest_rows"))?;
        Ok(found.into_iter().map(|list| list.into_iter().map(neighbor).collect()).collect())
    }

    fn synchronize(&self) -> Result<(), MethodError> {
        self.device.synchronize().map_err(self.failed("synchronize"))
    }
}

/// An assignment on a device.
struct OnDevice {
    nearest: Buffer<u32>,
    distances: Buffer<f32>,
}

impl OnDevice {
    fn download(&self) -> Result<Assignment, CudaError> {
        Ok(Assignment { nearest: self.nearest.download()?, squared_distance: self.distances.download()? })
    }
}
