//! The nearest codeword of each row (`kernels/assign.cu`).

use crate::device::{Argument, Buffer, Device, Launch, launch};
use crate::{CudaError, DeviceRows};

/// Rows and codewords per tile, and threads per block in f32 and in f16; the same as in the kernels.
const TILE: usize = 128;
const TILE_THREADS: u32 = 256;
const HALF_THREADS: u32 = 128;
const TILE_STRIDE: usize = 132;
const DEPTH: usize = 16;
const STAGE: usize = 32;
const STAGE_STRIDE: usize = 40;
const STAGES: usize = 3;

/// One warp per row.
pub(crate) const ROW_THREADS: u32 = 256;
pub(crate) const ROWS_PER_BLOCK: usize = 8;

/// Maximum number of candidates for the nearest codeword per row, and the fraction of rows with space for candidates
/// (one in so many); the same as in the kernels.
const CANDIDATES: usize = 32;
const PLACES_SHARE: usize = 8;

/// Blocks per multiprocessor of kernels whose amount of work only the device knows.
const SHARING_BLOCKS: usize = 8;

/// Maximum number of components with which a block keeps its rows in shared memory.
const RESIDENT: usize = 256;

/// Minimum number of codewords and of components for which tensor cores are faster.
const TENSOR_FROM: (usize, usize) = (64, 16);

/// Maximum number of rows per launch: memory also holds their f16 copies.
const AT_ONCE: usize = 1 << 22;

/// The largest codeword component in f16.
const LARGEST_HALF: f32 = 4096.0;

/// Bytes of shared memory of kernels with f32 tiles.
pub(crate) const FLOAT_TILES: usize = 4 * 2 * DEPTH * TILE_STRIDE;

/// How the nearest codeword is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssignPass {
    /// Tensor cores if they are faster, otherwise distances in f32.
    #[default]
    Auto,
    /// Distances in f32 only.
    Floats,
    /// Tensor cores first, then distances in f32 for the rows that they leave undecided.
    Halves,
}

/// Number of rows that the first pass, on tensor cores, did not decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecided {
    /// All such rows.
    pub open: usize,
    /// Rows with so many candidates that all codewords were searched in f32.
    pub searched: usize,
}

/// A codebook on a device, prepared for assignments.
#[derive(Debug)]
pub struct Codewords {
    device: Device,
    k: usize,
    dim: usize,
    codewords: Buffer<f32>,
    halves: Option<Halves>,
}

/// Rows that tensor cores left undecided.
struct UndecidedRows {
    open: Buffer<u32>,
    open_count: Buffer<u32>,
    /// Maximum number of rows with space for candidates.
    places: usize,
    candidates: Buffer<u32>,
    counts: Buffer<u32>,
    /// Rows for which all codewords are searched in f32.
    rest: Buffer<u32>,
    rest_count: Buffer<u32>,
}

/// The codebook in f16, for tensor cores.
#[derive(Debug)]
struct Halves {
    codewords: Buffer<u16>,
    mean: Buffer<f32>,
    /// `½‖c−μ‖²`, padded to whole tiles with infinity.
    norms: Buffer<f32>,
    /// Number of components, padded with zeros to whole stages.
    padded: usize,
    scale: f32,
    bounds: Buffer<u32>,
}

impl Halves {
    fn new(device: &Device, codewords: &[f32], on_device: &Buffer<f32>, dim: usize) -> Result<Halves, CudaError> {
        let mean = mean_of(codewords, dim);
        let largest = codewords
            .chunks_exact(dim)
            .flat_map(|c| c.iter().zip(&mean))
            .fold(0f32, |most, (v, m)| most.max((v - m).abs()));
        let exponent = (LARGEST_HALF / largest.max(f32::MIN_POSITIVE)).log2().floor().clamp(-60.0, 60.0);
        let (k, padded) = (codewords.len() / dim, dim.next_multiple_of(STAGE));
        let padded_k = k.next_multiple_of(TILE);
        let halves = Halves {
            codewords: device.room(padded_k * padded)?,
            mean: device.upload(&mean)?,
            norms: device.room(padded_k)?,
            padded,
            scale: exponent.exp2(),
            bounds: device.filled(2, 0)?,
        };
        // SAFETY: norms and halves have space for `padded_k` rows of `padded` values; the other buffers match k and
        // dim.
        unsafe {
            launch!(device, prepare_codewords, Launch::of(padded_k.div_ceil(ROWS_PER_BLOCK), ROW_THREADS);
                on_device, &halves.mean, k as u32, padded_k as u32, dim as u32, padded as u32, halves.scale, &halves.norms,
                &halves.codewords, &halves.bounds)?;
        }
        Ok(halves)
    }
}

impl Codewords {
    /// Prepares `k` codewords of `dim` components.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If there is no codeword, or the values are not whole codewords.
    pub fn new(device: &Device, codewords: &[f32], dim: usize, pass: AssignPass) -> Result<Codewords, CudaError> {
        assert!(dim > 0 && !codewords.is_empty() && codewords.len().is_multiple_of(dim), "whole codewords of {dim}");
        let k = codewords.len() / dim;
        let tensor = match pass {
            AssignPass::Auto => k >= TENSOR_FROM.0 && dim >= TENSOR_FROM.1,
            AssignPass::Floats => false,
            AssignPass::Halves => true,
        };
        let on_device = device.upload(codewords)?;
        let halves = if tensor { Some(Halves::new(device, codewords, &on_device, dim)?) } else { None };
        Ok(Codewords { device: device.clone(), k, dim, codewords: on_device, halves })
    }

    /// Number of codewords.
    pub fn count(&self) -> usize {
        self.k
    }

    /// The device they are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Writes the index of the nearest codeword of each row; ties go to the lower index. Codewords at distances that
    /// f32 cannot distinguish may be exchanged.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If dimensions or lengths do not match.
    pub fn assign(&self, rows: DeviceRows<'_>, nearest: &mut Buffer<u32>) -> Result<Undecided, CudaError> {
        assert!(rows.dim() == self.dim && nearest.len() >= rows.count(), "rows of {}, a place for each", self.dim);
        assert!(rows.buffer().device().is(&self.device), "rows and codewords on one device");
        let Some(halves) = &self.halves else {
            self.assign_floats(rows, nearest, 0, None)?;
            return Ok(Undecided::default());
        };
        // Per row: the f16 copy, a factor, a margin and two list entries; for some rows also candidates.
        let per_row = (2 * halves.padded + 16 + 4 * (CANDIDATES + 1) / PLACES_SHARE + 1) as u64;
        let room = (self.device.spare_bytes()? / 2 / per_row) as usize;
        let at_once = room.clamp(TILE, AT_ONCE).min(rows.count().max(1));
        let row_halves = self.device.room(at_once * halves.padded)?;
        let (factors, margins) = (self.device.room(at_once)?, self.device.room(at_once)?);
        let places = at_once.div_ceil(PLACES_SHARE);
        let left = UndecidedRows {
            open: self.device.room(at_once)?,
            open_count: self.device.room(1)?,
            places,
            candidates: self.device.room(places * CANDIDATES)?,
            counts: self.device.room(places)?,
            rest: self.device.room(at_once)?,
            rest_count: self.device.room(1)?,
        };
        let mut undecided = Undecided::default();
        for from in (0..rows.count()).step_by(at_once) {
            let rows = rows.part(from, at_once);
            left.open_count.fill(0)?;
            left.counts.fill(0)?;
            left.rest_count.fill(0)?;
            self.prepare(halves, rows, &row_halves, &factors, &margins)?;
            self.assign_halves(halves, rows, (&row_halves, &factors, &margins), (nearest, from), &left)?;
            self.assign_floats(rows, nearest, from, Some((&left.rest, &left.rest_count)))?;
            undecided.open += left.open_count.download()?[0] as usize;
            undecided.searched += left.rest_count.download()?[0] as usize;
        }
        Ok(undecided)
    }

    fn prepare(
        &self,
        halves: &Halves,
        rows: DeviceRows<'_>,
        row_halves: &Buffer<u16>,
        factors: &Buffer<f32>,
        margins: &Buffer<f32>,
    ) -> Result<(), CudaError> {
        let blocks = rows.count().div_ceil(ROWS_PER_BLOCK);
        // SAFETY: every buffer has space for its values of each row.
        unsafe {
            launch!(self.device, prepare_rows, Launch::of(blocks, ROW_THREADS);
                rows.start(), rows.stride(), rows.n(), &halves.mean, self.dim as u32, halves.padded as u32, halves.scale,
                &halves.bounds, row_halves, factors, margins)
        }
    }

    fn assign_halves(
        &self,
        halves: &Halves,
        rows: DeviceRows<'_>,
        (row_halves, factors, margins): (&Buffer<u16>, &Buffer<f32>, &Buffer<f32>),
        (nearest, from): (&Buffer<u32>, usize),
        left: &UndecidedRows,
    ) -> Result<(), CudaError> {
        let n = rows.count();
        let k_padded = self.k.next_multiple_of(TILE) as u32;
        let padded = halves.padded;
        let shared_with = |row_values: usize| 2 * (STAGES * TILE * STAGE_STRIDE + row_values) + 12 * 2 * TILE;
        let all = shared_with(TILE * (padded + 8));
        let resident = padded <= RESIDENT && all <= self.device.facts().shared_bytes as usize;
        let shared = if resident { all } else { shared_with(STAGES * TILE * STAGE_STRIDE) };
        // SAFETY: rows after the last are not read, codewords are padded to whole tiles, and the outputs have space for
        // each row.
        unsafe {
            launch!(self.device, assign_halves, Launch::of(n.div_ceil(TILE), HALF_THREADS).shared(shared);
                row_halves, rows.n(), &halves.codewords, &halves.norms, k_padded, padded as u32, u32::from(resident), factors,
                margins, nearest.at(from), &left.open, &left.open_count)?;
        }
        let sharing = self.device.facts().multiprocessors as usize * SHARING_BLOCKS;
        let (tiles, blocks) = (left.places.min(n).div_ceil(TILE), n.div_ceil(ROWS_PER_BLOCK));
        // SAFETY: only listed rows are read; the first `places` of them have space for candidates, and `rest` has space
        // for all.
        unsafe {
            launch!(self.device, list_candidates, Launch::of(tiles.min(sharing), HALF_THREADS).shared(shared);
                row_halves, &halves.codewords, &halves.norms, k_padded, padded as u32, u32::from(resident), factors, margins,
                &left.open, &left.open_count, left.places as u32, &left.candidates, &left.counts)?;
        }
        // SAFETY: as above.
        unsafe {
            launch!(self.device, decide_candidates, Launch::of(blocks.min(sharing), ROW_THREADS);
                rows.start(), rows.stride(), self.dim as u32, &self.codewords, self.k as u32, &left.open, &left.open_count,
                left.places as u32, &left.candidates, &left.counts, nearest.at(from), &left.rest, &left.rest_count)
        }
    }

    /// Assigns all rows, or only the listed ones.
    fn assign_floats(
        &self,
        rows: DeviceRows<'_>,
        nearest: &Buffer<u32>,
        from: usize,
        list: Option<(&Buffer<u32>, &Buffer<u32>)>,
    ) -> Result<(), CudaError> {
        let blocks = rows.count().div_ceil(TILE);
        // Only the device knows the length of the list, so launch as many blocks as run at a time; they share the work.
        let blocks = if list.is_some() { blocks.min(2 * self.device.facts().multiprocessors as usize) } else { blocks };
        let shared = FLOAT_TILES + 8 * 16 * TILE;
        let (list, count) = match list {
            Some((list, count)) => (list.into(), count.into()),
            None => (Argument::NULL, Argument::NULL),
        };
        // SAFETY: the list has indices of rows, and `nearest` has space for each row.
        unsafe {
            launch!(self.device, assign_floats, Launch::of(blocks, TILE_THREADS).shared(shared);
                rows.start(), rows.stride(), rows.n(), list, count, &self.codewords, self.k as u32, self.dim as u32,
                nearest.at(from))
        }
    }

    /// Writes `‖x−c‖²` for the codeword assigned to each row; infinity if the index is not that of a codeword.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If dimensions or lengths do not match.
    pub fn distances(
        &self,
        rows: DeviceRows<'_>,
        nearest: &Buffer<u32>,
        distances: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        assert!(
            rows.dim() == self.dim && nearest.len() >= rows.count() && distances.len() >= rows.count(),
            "a place per row"
        );
        let blocks = rows.count().div_ceil(ROWS_PER_BLOCK);
        // SAFETY: the buffers have a value per row, and indices that are not of codewords are not read.
        unsafe {
            launch!(self.device, distances_to, Launch::of(blocks, ROW_THREADS);
                rows.start(), rows.stride(), rows.n(), self.dim as u32, &self.codewords, self.k as u32, nearest, &*distances)
        }
    }
}

/// Codewords minus their mean, whose products with rows lose less precision.
pub(crate) struct Centred {
    pub(crate) codewords: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    /// `½‖c−μ‖²`.
    pub(crate) half_norms: Vec<f32>,
}

impl Centred {
    pub(crate) fn new(codewords: &[f32], dim: usize) -> Centred {
        let mean = mean_of(codewords, dim);
        let codewords: Vec<f32> =
            codewords.chunks_exact(dim).flat_map(|c| c.iter().zip(&mean)).map(|(v, m)| v - m).collect();
        let half_norms = codewords.chunks_exact(dim).map(|c| 0.5 * c.iter().map(|v| v * v).sum::<f32>()).collect();
        Centred { codewords, mean, half_norms }
    }
}

/// The mean of the rows, computed in f64.
fn mean_of(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0f64; dim];
    for row in rows.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    let scale = 1.0 / (rows.len() / dim).max(1) as f64;
    sums.into_iter().map(|sum| (sum * scale) as f32).collect()
}
