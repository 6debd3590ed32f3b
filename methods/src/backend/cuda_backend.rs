//! Matrices and kernels on an NVIDIA device (`vqbench-cuda`).

use super::cpu_sums::{SWEEPS, THROWN};
use super::{
    AffineMap, Assigned, Assignment, Backend, BranchLayer, CellSums, CodeScan, DeviceMatrix, GroupSearch, Join, RowMap,
    RowSearch, SumSearch, Unavailable, UniformGrid,
};
use crate::contract::batch::row_major;
use crate::search::scan::{BitQuery, CodeLayout, Held};
use crate::{Cancel, MethodError, Metric, Neighbor};
use cpu::{Isa, ScanTables, SymbolWidth};
use cuda::{
    Base, Buffer, Codebooks, Codes, Codewords, CudaError, Device, FiniteScalars, GroupCodebooks, Pass, Proximity, Rows,
    SumTables, Terms, UniformScalars,
};
use ndarray::{Array2, ArrayView2, Axis};
use std::borrow::Cow;
use std::sync::Arc;

/// Rows that go to the device at a time, at most.
const ROWS_AT_ONCE: u64 = 1 << 20;

/// Computes on a device.
#[derive(Clone, Debug)]
pub struct CudaBackend {
    device: Device,
    isa: Isa,
}

impl From<CudaError> for MethodError {
    fn from(error: CudaError) -> MethodError {
        MethodError::Backend(error.to_string())
    }
}

impl CudaBackend {
    /// On the first of the devices that this machine shows; what is left to the processor uses `isa`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn open(isa: Isa, toolkit: &cuda::Toolkit) -> Result<CudaBackend, Unavailable> {
        match Device::open(0, toolkit) {
            Ok(device) => Ok(CudaBackend { device, isa }),
            Err(error) => Err(Unavailable { help: error.help().to_owned(), reason: error.to_string() }),
        }
    }

    /// On a device that is open.
    pub fn on(device: Device, isa: Isa) -> CudaBackend {
        CudaBackend { device, isa }
    }

    /// Rows of a matrix of this backend.
    fn rows<'m>(&self, matrix: &'m DeviceMatrix) -> Rows<'m> {
        match matrix.storage::<Buffer<f32>>().filter(|values| values.device().is(&self.device)) {
            Some(values) => Rows::new(values, matrix.first_column(), matrix.stride(), matrix.nrows(), matrix.ncols()),
            None => unreachable!("a matrix is used with the backend that made it"),
        }
    }

    /// Codes rows part by part, as many at a time as there is room for; each takes so many bytes more.
    fn encode(
        &self,
        rows: ArrayView2<'_, f32>,
        size: usize,
        codes: &mut [u8],
        bytes_beside: usize,
        encode: impl Fn(Rows<'_>, &mut Buffer<u8>) -> Result<(), CudaError>,
    ) -> Result<bool, MethodError> {
        let (n, dim) = rows.dim();
        let at_once = self.at_once(4 * dim + size + bytes_beside)?.min(n.max(1));
        let mut found = self.device.room(at_once * size)?;
        for (rows, codes) in rows.axis_chunks_iter(Axis(0), at_once).zip(codes.chunks_mut(at_once * size)) {
            let on_device = self.device.upload(&row_major(&rows))?;
            encode(Rows::all(&on_device, dim), &mut found)?;
            found.read(0, codes)?;
        }
        Ok(true)
    }

    /// Decodes codes part by part; whether none was strange to `decode`, which returns how many were. It takes so many bytes more per code.
    fn decode(
        &self,
        codes: &[u8],
        size: usize,
        dim: usize,
        rows: &mut [f32],
        bytes_beside: usize,
        decode: impl Fn(Codes<'_>, &mut Buffer<f32>) -> Result<usize, CudaError>,
    ) -> Result<bool, MethodError> {
        let at_once = self.at_once(4 * dim + size + bytes_beside)?.min((codes.len() / size).max(1));
        let mut found = self.device.room(at_once * dim)?;
        for (codes, rows) in codes.chunks(at_once * size).zip(rows.chunks_mut(at_once * dim)) {
            let on_device = self.device.upload(codes)?;
            if decode(Codes::all(&on_device, size), &mut found)? > 0 {
                return Ok(false);
            }
            found.read(0, rows)?;
        }
        Ok(true)
    }

    /// The images of rows of so many outputs, part by part, as many at a time as there is room for; each takes so many bytes more.
    fn map(
        &self,
        rows: ArrayView2<'_, f32>,
        outputs: usize,
        bytes_beside: usize,
        map: impl Fn(Rows<'_>, &mut Buffer<f32>) -> Result<(), CudaError>,
    ) -> Result<Array2<f32>, MethodError> {
        let (n, dim) = rows.dim();
        let mut out = Array2::zeros((n, outputs));
        if dim == 0 || out.is_empty() {
            return Ok(out);
        }
        let at_once = self.at_once(4 * (dim + outputs) + bytes_beside)?.min(n);
        let mut found = self.device.room(at_once * outputs)?;
        for (rows, mut out) in rows.axis_chunks_iter(Axis(0), at_once).zip(out.axis_chunks_iter_mut(Axis(0), at_once)) {
            let on_device = self.device.upload(&row_major(&rows))?;
            map(Rows::all(&on_device, dim), &mut found)?;
            if let Some(out) = out.as_slice_mut() {
                found.read(0, out)?;
            }
        }
        Ok(out)
    }

    /// Rows that there is room for, each with so many bytes.
    fn at_once(&self, bytes_per_row: usize) -> Result<usize, MethodError> {
        Ok((self.device.spare_bytes()? / 2 / bytes_per_row.max(1) as u64).clamp(1, ROWS_AT_ONCE) as usize)
    }

    fn assign_on_device(
        &self,
        rows: Rows<'_>,
        codebook: ArrayView2<'_, f32>,
    ) -> Result<(Codewords, Buffer<u32>), CudaError> {
        let codewords = Codewords::new(&self.device, &row_major(&codebook), codebook.ncols(), Pass::Auto)?;
        let mut nearest = self.device.room(rows.count())?;
        codewords.assign(rows, &mut nearest)?;
        Ok((codewords, nearest))
    }

    fn assigned_on_device(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<OnDevice, MethodError> {
        let rows = self.rows(rows);
        let (codewords, nearest) = self.assign_on_device(rows, codebook)?;
        let mut distances = self.device.room(rows.count())?;
        codewords.distances(rows, &nearest, &mut distances)?;
        Ok(OnDevice { nearest, distances })
    }

    fn sums(&self, rows: Rows<'_>, nearest: &Buffer<u32>, k: usize) -> Result<CellSums, MethodError> {
        let cuda::CellSums { sums, counts } = cuda::cell_sums(rows, nearest, k)?;
        let sums = Array2::from_shape_vec((k, rows.dim()), sums).map_err(|e| MethodError::Backend(e.to_string()))?;
        Ok(CellSums { sums, counts: counts.into_iter().map(|count| count as usize).collect() })
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

    fn upload(&self, rows: ArrayView2<'_, f32>) -> Result<DeviceMatrix, MethodError> {
        let (n, dim) = rows.dim();
        Ok(DeviceMatrix::from_storage(Arc::new(self.device.upload(&row_major(&rows))?), n, dim))
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

    fn rows_at(&self, matrix: &DeviceMatrix, numbers: &[usize]) -> Result<Array2<f32>, MethodError> {
        let values = cuda::rows_at(self.rows(matrix), numbers)?;
        Array2::from_shape_vec((numbers.len(), matrix.ncols()), values).map_err(|e| MethodError::Backend(e.to_string()))
    }

    fn assign(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assignment, MethodError> {
        self.assigned_on_device(rows, codebook)?.download()
    }

    fn assigned(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Assigned, MethodError> {
        let assigned = self.assigned_on_device(rows, codebook)?;
        let mean = cuda::total(&assigned.distances, rows.nrows())? / rows.nrows().max(1) as f64;
        Ok(Assigned::from_storage(Arc::new(assigned), mean))
    }

    fn assignment(&self, assigned: &Assigned) -> Result<Arc<Assignment>, MethodError> {
        Ok(Arc::new(assigned.storage::<OnDevice>().download()?))
    }

    fn assigned_cell_sums(&self, rows: &DeviceMatrix, assigned: &Assigned, k: usize) -> Result<CellSums, MethodError> {
        self.sums(self.rows(rows), &assigned.storage::<OnDevice>().nearest, k)
    }

    fn spread_rows(
        &self,
        rows: &DeviceMatrix,
        first: usize,
        points: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<usize>, MethodError> {
        cuda::spread_rows(self.rows(rows), first, points, || cancel.check())
    }

    fn nearest(&self, rows: &DeviceMatrix, codebook: ArrayView2<'_, f32>) -> Result<Vec<u32>, MethodError> {
        Ok(self.assign_on_device(self.rows(rows), codebook)?.1.download()?)
    }

    fn group_search(&self, codebooks: &[Array2<f32>]) -> Result<Box<dyn GroupSearch>, MethodError> {
        let books: Vec<Cow<'_, [f32]>> = codebooks.iter().map(row_major).collect();
        let books: Vec<&[f32]> = books.iter().map(|book| &**book).collect();
        let books = GroupCodebooks::new(&self.device, &books, codebooks[0].ncols())?;
        Ok(Box::new(CudaGroups { backend: self.clone(), books, m: codebooks.len() }))
    }

    fn logit_search(&self, maps: &[AffineMap<'_>]) -> Result<Option<Box<dyn GroupSearch>>, MethodError> {
        let weights: Vec<Vec<f32>> = maps.iter().map(|map| map.weights.t().iter().copied().collect()).collect();
        let biases: Vec<Cow<'_, [f32]>> = maps.iter().map(|map| row_major(&map.bias)).collect();
        let weights: Vec<&[f32]> = weights.iter().map(|weights| &**weights).collect();
        let biases: Vec<&[f32]> = biases.iter().map(|bias| &**bias).collect();
        let size = maps.first().map_or(0, |map| map.weights.nrows());
        let books = GroupCodebooks::with_biases(&self.device, &weights, &biases, size)?;
        Ok(books.map(|books| -> Box<dyn GroupSearch> {
            Box::new(CudaGroups { backend: self.clone(), books, m: maps.len() })
        }))
    }

    fn network(
        &self,
        straight: AffineMap<'_>,
        branch: &[BranchLayer<'_>],
    ) -> Result<Option<Box<dyn RowMap>>, MethodError> {
        let map = |AffineMap { weights, bias }: &AffineMap<'_>| {
            let weights: Vec<f32> = weights.t().iter().copied().collect();
            cuda::AffineMap::new(&self.device, &weights, &row_major(bias))
        };
        let layer = |layer: &BranchLayer<'_>| {
            Ok(match layer {
                BranchLayer::Affine(affine) => cuda::Layer::Affine(map(affine)?),
                BranchLayer::Windows { inputs, map: of_window } => {
                    cuda::Layer::Windows { inputs: self.device.upload(inputs)?, map: map(of_window)? }
                }
                BranchLayer::Rectifier => cuda::Layer::Rectifier,
            })
        };
        let branch: Vec<cuda::Layer> = branch.iter().map(layer).collect::<Result<_, CudaError>>()?;
        let network = cuda::Network::new(map(&straight)?, branch);
        Ok(Some(Box::new(CudaNetwork { backend: self.clone(), network })))
    }

    fn nearest_of_groups(
        &self,
        rows: &DeviceMatrix,
        group: usize,
        codebook: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<Vec<Neighbor>, MethodError> {
        let (places, distances) =
            cuda::nearest_of_groups(&self.device, self.rows(rows), group, &row_major(&codebook), count)?;
        Ok(places.into_iter().zip(distances).map(|(id, score)| Neighbor { score, id }).collect())
    }

    fn sum_search(&self, codebooks: &[Array2<f32>], local: bool) -> Result<Box<dyn SumSearch>, MethodError> {
        let values: Vec<f32> = codebooks.iter().flat_map(|book| book.iter().copied()).collect();
        let dim = codebooks.first().map_or(1, Array2::ncols);
        let tables = SumTables::new(&self.device, &values, codebooks.len(), dim, local)?;
        Ok(Box::new(CudaSums { device: self.device.clone(), tables }))
    }

    fn multiply(&self, rows: ArrayView2<'_, f32>, matrix: ArrayView2<'_, f32>) -> Result<Array2<f32>, MethodError> {
        let others: Vec<f32> = matrix.t().iter().copied().collect();
        let others = self.device.upload(&others)?;
        self.map(rows, matrix.ncols(), 0, |rows, out| cuda::products(rows, &others, 1.0, Terms::default(), out))
    }

    fn encode_uniform(
        &self,
        rows: ArrayView2<'_, f32>,
        grid: &UniformGrid,
        codes: &mut [u8],
    ) -> Result<bool, MethodError> {
        let scalars = UniformScalars::new(&self.device, &grid.offsets, &grid.steps, grid.bits.into())?;
        self.encode(rows, scalars.code_size(), codes, 0, |rows, codes| scalars.encode(rows, codes))
    }

    fn decode_uniform(&self, codes: &[u8], grid: &UniformGrid, rows: &mut [f32]) -> Result<bool, MethodError> {
        let scalars = UniformScalars::new(&self.device, &grid.offsets, &grid.steps, grid.bits.into())?;
        self.decode(codes, scalars.code_size(), grid.offsets.len(), rows, 0, |codes, rows| {
            scalars.decode(codes, rows).map(|()| 0)
        })
    }

    fn encode_finite(
        &self,
        rows: ArrayView2<'_, f32>,
        levels: &[usize],
        groups: usize,
        codes: &mut [u8],
    ) -> Result<bool, MethodError> {
        if levels.iter().any(|&l| l < 2) {
            return Ok(false);
        }
        let scalars = FiniteScalars::new(&self.device, levels, groups)?;
        self.encode(rows, scalars.code_size(), codes, 0, |rows, codes| scalars.encode(rows, codes))
    }

    fn decode_codewords(
        &self,
        codes: &[u8],
        bits: u8,
        codebooks: &[Array2<f32>],
        join: Join,
        rows: &mut [f32],
    ) -> Result<bool, MethodError> {
        let (m, width) = (codebooks.len(), codebooks[0].ncols());
        let books: Vec<Cow<'_, [f32]>> = codebooks.iter().map(row_major).collect();
        let books = Codebooks::new(&self.device, &books.iter().map(|book| &**book).collect::<Vec<_>>(), width)?;
        let size = (m * usize::from(bits)).div_ceil(8);
        let dim = if join == Join::Beside { m * width } else { width };
        self.decode(codes, size, dim, rows, 2 * m, |codes, rows| {
            let n = codes.count();
            let mut symbols = self.device.room(n * m)?;
            cuda::unpack_symbols(codes, m, bits.into(), &mut symbols)?;
            match join {
                Join::Beside => books.decode_groups(&symbols, n, rows),
                Join::Added => books.decode_sums(&symbols, n, rows),
            }
        })
    }

    fn hold_codes(&self, codes: &[u8], held: Held) -> Result<Option<Box<dyn CodeScan>>, MethodError> {
        let (size, tables) = match held {
            Held::Bits(size) => (size, None),
            Held::Tables(CodeLayout { width, positions, skip: 0, has_factors: false }) => {
                (width.bytes(positions), Some((width, positions)))
            }
            Held::Tables(_) => return Ok(None),
        };
        if codes.is_empty() || size == 0 || !codes.len().is_multiple_of(size) {
            return Ok(None);
        }
        Ok(Some(Box::new(CudaCodes { codes: self.device.upload(codes)?, size, tables })))
    }

    fn row_search(&self) -> Option<Box<dyn RowSearch>> {
        Some(Box::new(self.clone()))
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

impl RowSearch for CudaBackend {
    fn finds(&self, k: usize, dim: usize) -> bool {
        k <= cuda::MAX_K && (1..=cuda::MAX_DIM).contains(&dim)
    }

    fn nearest_rows(
        &self,
        base: ArrayView2<'_, f32>,
        queries: ArrayView2<'_, f32>,
        metric: Metric,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let dim = base.ncols();
        let proximity = match metric {
            Metric::L2 => Proximity::SquaredDistance,
            Metric::InnerProduct => Proximity::InnerProduct,
        };
        let neighbor = |n: cuda::Neighbor<f32>| Neighbor { score: n.score, id: n.id };
        let base = self.device.upload(&row_major(&base))?;
        let base = Base::new(Rows::all(&base, dim), proximity)?;
        let mut all = Vec::with_capacity(queries.nrows());
        for queries in queries.axis_chunks_iter(Axis(0), self.at_once(4 * dim + 12 * k)?) {
            let queries = self.device.upload(&row_major(&queries))?;
            let found = base.nearest(Rows::all(&queries, dim), k)?;
            all.extend(found.into_iter().map(|list| list.into_iter().map(neighbor).collect()));
        }
        Ok(all)
    }
}

/// An assignment on a device.
struct OnDevice {
    nearest: Buffer<u32>,
    distances: Buffer<f32>,
}

impl OnDevice {
    fn download(&self) -> Result<Assignment, MethodError> {
        Ok(Assignment { nearest: self.nearest.download()?, squared_distance: self.distances.download()? })
    }
}

/// Codebooks of groups of components on a device.
struct CudaGroups {
    backend: CudaBackend,
    books: GroupCodebooks,
    m: usize,
}

impl GroupSearch for CudaGroups {
    fn encode(&self, rows: ArrayView2<'_, f32>, bits: u8, codes: &mut [u8]) -> Result<(), MethodError> {
        let (m, size) = (self.m, (self.m * usize::from(bits)).div_ceil(8));
        self.backend.encode(rows, size, codes, 2 * m, |rows, codes| {
            let mut symbols = self.backend.device.room(rows.count() * m)?;
            self.books.nearest(rows, &mut symbols)?;
            cuda::pack_symbols(&symbols, (rows.count(), m), bits.into(), codes)
        })?;
        Ok(())
    }
}

/// A network on a device.
struct CudaNetwork {
    backend: CudaBackend,
    network: cuda::Network,
}

impl RowMap for CudaNetwork {
    fn apply(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, MethodError> {
        let (_, outputs) = self.network.dim();
        self.backend.map(rows, outputs, self.network.bytes_per_row(), |rows, out| self.network.apply(rows, out))
    }
}

/// Codes on a device.
struct CudaCodes {
    codes: Buffer<u8>,
    size: usize,
    /// How they are made of symbols, where they are searched by tables.
    tables: Option<(SymbolWidth, usize)>,
}

impl CodeScan for CudaCodes {
    fn top_k(&self, tables: &[ScanTables], k: usize) -> Result<Option<Vec<Vec<Neighbor>>>, MethodError> {
        let Some((width, positions)) = self.tables.filter(|_| k <= cuda::MAX_K) else { return Ok(None) };
        let entries: Vec<f32> = tables.iter().flat_map(|tables| tables.entries().iter().copied()).collect();
        let found = cuda::scan_tables(Codes::all(&self.codes, self.size), width, positions, &entries, k)?;
        let of_query = |(found, tables): (Vec<cuda::Neighbor<f32>>, &ScanTables)| -> Vec<Neighbor> {
            let with_constant = |n: cuda::Neighbor<f32>| Neighbor { score: n.score + tables.constant(), id: n.id };
            let mut found: Vec<Neighbor> = found.into_iter().map(with_constant).collect();
            // Two sums may have become one score.
            found.sort_unstable();
            found
        };
        Ok(Some(found.into_iter().zip(tables).map(of_query).collect()))
    }

    fn top_k_by_bits(&self, queries: &[BitQuery], k: usize) -> Result<Option<Vec<Vec<Neighbor>>>, MethodError> {
        if k > cuda::MAX_K {
            return Ok(None);
        }
        let codes: Vec<u8> = queries.iter().flat_map(|query| query.code.iter().copied()).collect();
        let found = cuda::scan_hamming(Codes::all(&self.codes, self.size), &codes, k)?;
        let of_query = |(found, query): (Vec<cuda::Neighbor<u32>>, &BitQuery)| -> Vec<Neighbor> {
            let scored =
                |n: cuda::Neighbor<u32>| Neighbor { score: query.offset + query.slope * n.score as f32, id: n.id };
            found.into_iter().map(scored).collect()
        };
        Ok(Some(found.into_iter().zip(queries).map(of_query).collect()))
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
        let on_device = self.device.upload(&row_major(&rows))?;
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
