//! Exact search for the nearest rows of a base (`kernels/exact.cu`).

use crate::assign::{FLOAT_TILES, ROW_THREADS, ROWS_PER_BLOCK};
use crate::device::{Argument, Buffer, Device, Launch, launch};
use crate::select::{THREADS, capacity, lists_of, selection_bytes};
use crate::{CudaError, DeviceRows, SelectedRow};

const TILE: usize = 128;
const TILE_THREADS: u32 = 256;

/// Minimum number of rows that are scored directly before there is a limit; it is at least twice the number of
/// neighbours.
const FIRST: usize = 256;

/// Maximum number of queries per launch, of rows per part, and of bytes of the lists of rows.
const QUERIES: usize = 4096;
const STRETCH: usize = 1 << 20;
const LIST_BYTES: u64 = 1 << 28;

/// Maximum number of rows for computing the mean.
const SAMPLES: usize = 4096;

/// Maximum relative rounding error of an f32 operation, 2^-24, enlarged slightly for second-order terms.
const ROUNDING: f64 = 1.02 / (1 << 24) as f64;

/// Maximum number of components for which this bound is sufficient.
pub const MAX_DIM: usize = 1 << 18;

/// The measure of proximity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proximity {
    /// `‖x−q‖²` is small.
    SquaredDistance,
    /// `x·q` is large; scores are `−x·q`.
    InnerProduct,
}

/// Rows on a device, prepared for search.
#[derive(Debug)]
pub struct Base<'a> {
    device: Device,
    rows: DeviceRows<'a>,
    proximity: Proximity,
    /// The mean, subtracted from rows and queries for distances, so that there is less cancellation.
    mean: Option<Buffer<f32>>,
    halves: Buffer<f32>,
    norms: Buffer<f32>,
}

/// Bounds of the rounding error, relative to `‖x‖·‖q‖`, to `½‖x‖² + ½‖q‖²` and to a score.
#[derive(Clone, Copy, Debug)]
struct Margins {
    product: f64,
    half: f64,
    score: f64,
}

impl Margins {
    /// A product in a tile rounds `dim` times, and twice more for the subtraction of the mean. For direct sums and
    /// norms, each lane adds a 32nd of the components, and then 5 more steps combine the lanes. The rest covers the
    /// combination of the terms.
    fn of(dim: usize, proximity: Proximity) -> Margins {
        let (all, lane) = (dim as f64, dim as f64 / 32.0);
        match proximity {
            Proximity::SquaredDistance => Margins {
                product: (all + 8.0) * ROUNDING,
                half: (lane + 16.0) * ROUNDING,
                score: (lane + 16.0) * ROUNDING,
            },
            Proximity::InnerProduct => Margins { product: (all + lane + 16.0) * ROUNDING, half: 1.0, score: 0.0 },
        }
    }
}

impl<'a> Base<'a> {
    /// Prepares rows.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If rows have no components, or more than 2^18.
    pub fn new(rows: DeviceRows<'a>, proximity: Proximity) -> Result<Base<'a>, CudaError> {
        let (device, dim) = (rows.buffer().device(), rows.dim());
        assert!((1..=MAX_DIM).contains(&dim), "1 to {MAX_DIM} components");
        let mean = match proximity {
            Proximity::SquaredDistance => {
                let mean = device.room(dim)?;
                // SAFETY: samples are indices of rows, and there is a mean for each component.
                unsafe {
                    launch!(device, sample_mean, Launch::of(dim.div_ceil(THREADS as usize), THREADS);
                        rows.start(), rows.stride(), rows.n(), dim as u32, rows.count().min(SAMPLES) as u32, &mean)?;
                }
                Some(mean)
            }
            Proximity::InnerProduct => None,
        };
        let (halves, norms) = (device.room(rows.count())?, device.room(rows.count())?);
        let base = Base { device: device.clone(), rows, proximity, mean, halves, norms };
        base.terms(rows, 1.0, &base.halves, &base.norms)?;
        Ok(base)
    }

    /// `(1 − a)·½‖x−μ‖²` and `norm_factor·‖x−μ‖` of each row.
    fn terms(
        &self,
        rows: DeviceRows<'_>,
        norm_factor: f64,
        halves: &Buffer<f32>,
        norms: &Buffer<f32>,
    ) -> Result<(), CudaError> {
        let half_factor = 1.0 - Margins::of(rows.dim(), self.proximity).half;
        // SAFETY: there is a place in the outputs for each row, and a mean for each component.
        unsafe {
            launch!(self.device, row_terms, Launch::of(rows.count().div_ceil(ROWS_PER_BLOCK), ROW_THREADS);
                rows.start(), rows.stride(), rows.n(), self.mean.as_ref(), rows.dim() as u32, half_factor as f32,
                norm_factor as f32, halves, norms)
        }
    }

    /// The `k` rows with the lowest scores for each query, ascending; ties go to the lower index. Returns fewer if
    /// there are fewer rows. Scores are summed directly in f32; rows with a NaN score are never returned.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If dimensions differ, or `k` exceeds [`crate::MAX_K`].
    pub fn nearest(&self, queries: DeviceRows<'_>, k: usize) -> Result<Vec<Vec<SelectedRow<f32>>>, CudaError> {
        let (n, dim) = (self.rows.count(), self.rows.dim());
        assert!(queries.dim() == dim, "queries of {dim} components");
        if n == 0 || k == 0 || queries.count() == 0 {
            return Ok((0..queries.count()).map(|_| Vec::new()).collect());
        }
        let at_once = queries.count().min(QUERIES);
        let list_bytes = LIST_BYTES.min(self.device.spare_bytes()? / 2) as usize;
        let first = FIRST.max(2 * k).min(n);
        let stretch = (list_bytes / 4 / at_once).clamp(TILE, STRETCH).min(n - first);
        let search = ExactSearch {
            base: self,
            k,
            first,
            stretch,
            halves: self.device.room(at_once)?,
            weights: self.device.room(at_once)?,
            limits: self.device.room(at_once)?,
            lists: self.device.room(at_once * stretch)?,
            counts: self.device.room(at_once)?,
            least: self.device.room(at_once * k)?,
        };
        let mut keys = vec![0u64; at_once * k];
        let mut found = Vec::with_capacity(queries.count());
        for from in (0..queries.count()).step_by(at_once) {
            let queries = queries.part(from, at_once);
            search.run(queries)?;
            search.least.read(0, &mut keys[..queries.count() * k])?;
            found.extend(lists_of(&keys[..queries.count() * k], k));
        }
        Ok(found)
    }
}

/// The buffers of a search for one batch of queries.
struct ExactSearch<'a> {
    base: &'a Base<'a>,
    k: usize,
    first: usize,
    stretch: usize,
    halves: Buffer<f32>,
    weights: Buffer<f32>,
    limits: Buffer<f32>,
    lists: Buffer<u32>,
    counts: Buffer<u32>,
    least: Buffer<u64>,
}

impl ExactSearch<'_> {
    fn run(&self, queries: DeviceRows<'_>) -> Result<(), CudaError> {
        let n = self.base.rows.count();
        let margins = Margins::of(queries.dim(), self.base.proximity);
        self.base.terms(queries, margins.product, &self.halves, &self.weights)?;
        self.least.fill(0xff)?;
        self.counts.fill(0)?;
        self.score(queries, 0, None)?;
        let mut from = self.first;
        while from < n {
            // As many rows as were scored so far: then each list has about `k` rows.
            let here = from.min(self.stretch).min(n - from);
            self.list(queries, from, here)?;
            self.score(queries, from, Some(&self.lists))?;
            from += here;
        }
        Ok(())
    }

    /// Lists the candidates among `count` rows, starting with row `from`.
    fn list(&self, queries: DeviceRows<'_>, from: usize, count: usize) -> Result<(), CudaError> {
        let Base { device, rows, mean, halves, norms, .. } = self.base;
        let launch =
            Launch::of(count.div_ceil(TILE), TILE_THREADS).by(queries.count().div_ceil(TILE)).shared(FLOAT_TILES);
        let rows = rows.part(from, count);
        // SAFETY: rows and queries have their terms, and the lists have space for this many rows.
        unsafe {
            launch!(device, list_near, launch;
                queries.start(), queries.stride(), queries.n(), rows.start(), rows.stride(), from as u32, rows.n(),
                mean.as_ref(), rows.dim() as u32, halves.at(from), norms.at(from), &self.weights, &self.limits, &self.lists,
                self.stretch as u64, &self.counts)
        }
    }

    /// Scores the listed rows, or the first rows if there are no lists.
    fn score(&self, queries: DeviceRows<'_>, from: usize, lists: Option<&Buffer<u32>>) -> Result<(), CudaError> {
        let Base { device, rows, proximity, .. } = self.base;
        let dim = rows.dim();
        let limit_factor = 1.0 + Margins::of(dim, *proximity).score;
        // Absolute rounding error of operations on values near the smallest f32, where relative bounds do not hold.
        let least_limit = (dim as f64 + 64.0) * f64::from(-146).exp2();
        let room = if lists.is_some() { self.stretch } else { self.first };
        let launch = Launch::of(queries.count(), THREADS).shared(selection_bytes(1, self.k));
        // SAFETY: the lists have indices of rows, or there are this many rows; the outputs have space for each query.
        unsafe {
            launch!(device, score_near, launch;
                queries.start(), queries.stride(), queries.n(), rows.start(), rows.stride(), from as u32, dim as u32,
                u32::from(*proximity == Proximity::SquaredDistance), lists.map_or(Argument::NULL, Argument::from),
                room as u64, &self.counts, self.k as u32, capacity(self.k) as u32, &self.halves, limit_factor as f32,
                least_limit as f32, &self.least, &self.limits)
        }
    }
}
