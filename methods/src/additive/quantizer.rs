//! Quantizer whose codes name one codeword from each codebook and decode to their sum; shared by residual and additive
//! methods.

use crate::algorithms::codebooks::{Codebooks, symbol_bits};
use crate::algorithms::moments::mean;
use crate::algorithms::products::multiply;
use crate::backend::{
    Backend, CodeDecoder, CodeRoom, Continuations, DeviceCodes, DeviceMatrix, Join, MatrixRoom, SumCoding, SumSearch,
    keep_what_errs_less, prepared, squared_error,
};
use crate::contract::state::State;
use crate::search::additive::{AdditiveSearcher, CentredBooks};
use crate::{Curve, MethodError, ModelError, Quantizer, SearchMetric, Searcher, Symbols};
use cpu::SumTables;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip, s};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// Maximum number of rows coded at a time, and of residual values when residuals are stored for every partial code.
const ROWS: usize = 4096;
const VALUES: usize = 1 << 24;

/// Maximum size of tables for a beam search, in bytes.
const TABLE_BYTES: usize = 64 << 20;

/// The local search that improves what the beam search has found.
#[derive(Clone, Copy)]
pub(crate) struct LocalSearch {
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
}

/// A trained additive quantizer. A code is one symbol per codebook; a vector is the sum of its codewords.
pub(crate) struct AdditiveQuantizer {
    pub(crate) codebooks: Codebooks,
    beam: usize,
    local: Option<LocalSearch>,
    pub(crate) curves: Vec<Curve>,
    backend: Arc<dyn Backend>,
    /// Prepared tables; None if no search uses them.
    search: Option<Box<dyn SumSearch>>,
    /// The codebooks as the backend decodes by them, once it has.
    decoder: OnceLock<Box<dyn CodeDecoder>>,
    /// The codebooks around the origin, once codes are searched by distances.
    centred: OnceLock<CentredBooks>,
    /// Whether the beam search goes by tables.
    tables: bool,
}

impl AdditiveQuantizer {
    /// Encodes by a beam search over the codebooks in order, then by a `local` search if there is one.
    pub(crate) fn new(
        codebooks: Vec<Array2<f32>>,
        beam: usize,
        local: Option<LocalSearch>,
        backend: Arc<dyn Backend>,
    ) -> Result<AdditiveQuantizer, MethodError> {
        let tables = tables_serve(&codebooks);
        let search = match tables || local.is_some() {
            true => Some(backend.sum_search(&codebooks, local.is_some())?),
            false => None,
        };
        let codebooks = Codebooks::new(codebooks, |p, _| format!("stage {p}"));
        Ok(AdditiveQuantizer {
            codebooks,
            beam,
            local,
            curves: Vec::new(),
            backend,
            search,
            decoder: OnceLock::new(),
            centred: OnceLock::new(),
            tables,
        })
    }

    /// From what [`Quantizer::save`] put down.
    pub(crate) fn restore(
        state: &mut State,
        shape: (usize, usize, usize),
        beam: usize,
        local: Option<LocalSearch>,
        backend: Arc<dyn Backend>,
    ) -> Result<Box<dyn Quantizer>, ModelError> {
        let (count, codewords, dim) = shape;
        let books = Codebooks::take(state, count, codewords, dim)?;
        Ok(Box::new(AdditiveQuantizer::new(books, beam, local, backend)?))
    }

    /// The codes of `rows`, one symbol per codebook each.
    pub(crate) fn codes(&self, rows: &DeviceMatrix<'_>) -> Result<Vec<u16>, MethodError> {
        let m = self.codebooks.books.len();
        let mut codes = vec![0u16; rows.nrows() * m];
        let plain = (VALUES / (self.beam * self.dim())).clamp(1, ROWS);
        let at_once = if self.tables { ROWS } else { plain };
        for (part, codes) in codes.chunks_mut(at_once * m).enumerate() {
            let rows = rows.part(part * at_once, at_once);
            match &self.search {
                Some(search) if self.tables => search.beam(&rows, self.beam, codes)?,
                _ => codes.copy_from_slice(&self.beams(&rows)?.best_codes()),
            }
            if let (Some(search), Some(local)) = (&self.search, self.local) {
                let before = codes.to_vec();
                search.improve(&rows, local.rounds, local.seed, codes)?;
                keep_what_errs_less(self.backend.download(&rows)?.view(), &self.codebooks.books, &before, codes);
            }
        }
        Ok(codes)
    }

    /// The partial codes that a beam search by residuals ends with.
    fn beams<'a>(&self, rows: &DeviceMatrix<'a>) -> Result<Beams<'a>, MethodError> {
        let mut beams = Beams::new(rows);
        for codebook in &self.codebooks.books {
            beams.extend(codebook.view(), self.beam, &*self.backend)?;
        }
        Ok(beams)
    }
}

/// Whether a beam search can use tables: they are not too large, and their rounding error is small compared with what
/// the last codebooks contribute, and with the distances between codewords of one codebook. If a code describes a
/// vector more finely than f32 can represent its square, residuals are used.
fn tables_serve(codebooks: &[Array2<f32>]) -> bool {
    let (m, k) = (codebooks.len(), codebooks[0].nrows());
    if SumTables::bytes(m, k, false) > TABLE_BYTES {
        return false;
    }
    let power = |book: &Array2<f32>| -> f64 {
        let mean = mean(book.view());
        let squares =
            book.outer_iter().map(|c| c.iter().zip(&mean).map(|(&v, m)| (f64::from(v) - m).powi(2)).sum::<f64>());
        squares.sum::<f64>() / k as f64
    };
    let powers: Vec<f64> = codebooks.iter().map(power).filter(|&p| p > 0.0).collect();
    let least = LEAST_SHARE * powers.iter().sum::<f64>();
    powers.iter().all(|p| *p >= least) && codebooks.iter().filter_map(spacing).all(|spacing| spacing >= least)
}

/// The smallest share of the power of all codebooks that tables can resolve.
const LEAST_SHARE: f64 = 1e-4;

/// Number of codewords sampled to estimate the distances within a codebook.
const SPACING_SAMPLE: usize = 64;

/// The median of `‖c − c'‖²` over some codewords `c` and the nearest other codeword `c'` of each; None if all are equal.
fn spacing(book: &Array2<f32>) -> Option<f64> {
    let k = book.nrows();
    let mut squares: Vec<f64> = (0..k)
        .step_by(k.div_ceil(SPACING_SAMPLE))
        .filter_map(|c| {
            let codeword = book.row(c);
            let to = |other: ArrayView1<'_, f32>| -> f64 {
                codeword.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2)).sum()
            };
            book.outer_iter().map(to).filter(|&square| square > 0.0).min_by(f64::total_cmp)
        })
        .collect();
    squares.sort_unstable_by(f64::total_cmp);
    squares.get(squares.len() / 2).copied()
}

impl Quantizer for AdditiveQuantizer {
    fn dim(&self) -> usize {
        self.codebooks.dsub()
    }

    fn code_bits(&self) -> usize {
        self.codebooks.layout.bits()
    }

    fn model_size(&self) -> usize {
        self.codebooks.model_size()
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn bytes_per_row(&self) -> usize {
        let residuals = if self.tables { 0 } else { 8 * self.beam * self.dim() };
        4 * self.codebooks.books.len() + residuals
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let bits = symbol_bits(self.codebooks.codewords());
        if let Some(search) = self.search.as_ref().filter(|_| self.tables) {
            let local = self.local.map(|local| (local.rounds, local.seed));
            return search.encode(rows, SumCoding { beam: self.beam, local, bits }, codes);
        }
        let (found, size) = (self.codes(rows)?, codes.size());
        self.backend.fill_codes(codes, &mut |codes| {
            for (code, symbols) in codes.chunks_exact_mut(size).zip(found.chunks_exact(self.codebooks.books.len())) {
                self.codebooks.layout.pack(symbols, code);
            }
            Ok(())
        })
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let bits = symbol_bits(self.codebooks.codewords());
        let decoder = prepared(&self.decoder, || self.backend.codewords(&self.codebooks.books, bits, Join::Added))?;
        decoder.decode(codes, rows)
    }

    /// Inner products add up over codebooks; distances need the norm of the sum besides, which the search keeps.
    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        let centred = match metric {
            SearchMetric::InnerProduct => None,
            SearchMetric::L2 if !self.backend.scans_on_host() => return None,
            SearchMetric::L2 => Some(self.centred.get_or_init(|| CentredBooks::new(&self.codebooks))),
        };
        Some(Box::new(AdditiveSearcher::new(self, &self.codebooks, centred, self.backend.isa())))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.codebooks)
    }

    fn save(&self, state: &mut State) {
        self.codebooks.save(state);
    }

    fn curves(&self) -> &[Curve] {
        &self.curves
    }
}

/// The partial codes of a batch of rows, the best first, each with what it leaves.
pub(crate) struct Beams<'a> {
    n: usize,
    /// Partial codes per row, and symbols of each.
    pub(crate) width: usize,
    stages: usize,
    /// `n·width` residuals of `dim`.
    pub(crate) residuals: DeviceMatrix<'a>,
    /// `n·width` partial codes.
    codes: Vec<u16>,
    /// `‖residual‖²` of each, once there is a stage.
    pub(crate) errors: Vec<f32>,
}

impl<'a> Beams<'a> {
    pub(crate) fn new(rows: &DeviceMatrix<'a>) -> Beams<'a> {
        let (n, residuals) = (rows.nrows(), rows.clone());
        Beams { n, width: 1, stages: 0, residuals, codes: Vec::new(), errors: Vec::new() }
    }

    pub(crate) fn best_codes(&self) -> Vec<u16> {
        let each = self.codes.chunks_exact(self.stages.max(1)).step_by(self.width);
        each.flatten().copied().collect()
    }

    pub(crate) fn mean_error(&self) -> f64 {
        let best = self.errors.iter().step_by(self.width).map(|&e| f64::from(e));
        best.sum::<f64>() / self.n.max(1) as f64
    }

    /// Adds a stage: of the `width·K` continuations of each row's partial codes, the `beam` codes with the least
    /// `‖residual‖²` are kept.
    pub(crate) fn extend(
        &mut self,
        codebook: ArrayView2<'_, f32>,
        beam: usize,
        backend: &dyn Backend,
    ) -> Result<(), MethodError> {
        let (width, stages, k) = (self.width, self.stages, codebook.nrows());
        let next = beam.min(width * k);
        let Continuations { chosen, residuals } = backend.continuations(&self.residuals, width, codebook, next)?;
        let mut codes = vec![0u16; self.n * next * (stages + 1)];
        let targets = codes.par_chunks_mut(next * (stages + 1)).zip(chosen.par_chunks(next));
        targets.enumerate().with_min_len(64).for_each(|(i, (codes, chosen))| {
            for (code, pick) in codes.chunks_exact_mut(stages + 1).zip(chosen) {
                let (from, symbol) = (i * width + pick.id as usize / k, pick.id as usize % k);
                code[..stages].copy_from_slice(&self.codes[from * stages..][..stages]);
                code[stages] = symbol as u16;
            }
        });
        self.errors = chosen.iter().map(|pick| pick.score).collect();
        (self.width, self.stages, self.residuals, self.codes) = (next, stages + 1, residuals, codes);
        Ok(())
    }
}

/// `mean ‖x − Σ_s C_s[codes_s]‖²`.
pub(crate) fn mean_error(rows: ArrayView2<'_, f32>, codebooks: &[Array2<f32>], codes: &[u16]) -> f64 {
    let m = codebooks.len();
    let each = codes.par_chunks_exact(m).enumerate().with_min_len(64);
    let each = each.map_init(Vec::new, |left, (i, code)| squared_error(rows.row(i), codebooks, code, left));
    let errors: Vec<f64> = each.collect();
    errors.iter().sum::<f64>() / errors.len().max(1) as f64
}

/// Codebooks that minimize `‖X − Σ_s C_s[codes_s]‖²` for given codes: the normal equations `(AᵀA + λI)·C = AᵀX`, solved
/// by conjugate gradients from the present codebooks, for all components at once. `A` selects codewords: `AᵀA` counts
/// how often two occur together, `AᵀX` sums rows over cells. The error never grows.
pub(crate) fn least_squares(
    rows: ArrayView2<'_, f32>,
    codes: &[u16],
    codebooks: &[Array2<f32>],
    iterations: usize,
    backend: &dyn Backend,
) -> Result<Vec<Array2<f32>>, MethodError> {
    const RIDGE: f64 = 1e-3;
    let (k, dim) = codebooks[0].dim();
    let m = codebooks.len();
    let size = m * k;
    let picks: Vec<Vec<u32>> =
        (0..m).map(|s| codes.iter().skip(s).step_by(m).map(|&c| u32::from(c)).collect()).collect();
    // Aᵀ·Y, with the codebooks stacked.
    let gather = |y: ArrayView2<'_, f32>| -> Result<Array2<f64>, MethodError> {
        let y = backend.upload(y)?;
        let mut out = Array2::zeros((size, dim));
        for (stage, picks) in picks.iter().enumerate() {
            out.slice_mut(s![stage * k..(stage + 1) * k, ..]).assign(&backend.cell_sums(&y, picks, k)?.sums);
        }
        Ok(out)
    };
    // A·C.
    let decode = |c: &Array2<f64>| -> Array2<f32> {
        let mut out = Array2::<f32>::zeros(rows.dim());
        out.outer_iter_mut().into_par_iter().zip(codes.par_chunks_exact(m)).with_min_len(256).for_each(
            |(mut row, code)| {
                for (stage, &symbol) in code.iter().enumerate() {
                    row.iter_mut().zip(c.row(stage * k + usize::from(symbol))).for_each(|(x, y)| *x += *y as f32);
                }
            },
        );
        out
    };
    let counts = (size <= DENSE).then(|| pair_counts(codes, m, k));
    // AᵀA·C, from the pair counts if they fit into memory, otherwise from the rows.
    let normal = |c: &Array2<f64>| match &counts {
        Some(counts) => Ok(multiply(backend.isa(), counts.view(), c.mapv(|v| v as f32).view()).mapv(f64::from)),
        None => gather(decode(c).view()),
    };
    let mut solution = Array2::<f64>::zeros((size, dim));
    for (stage, codebook) in codebooks.iter().enumerate() {
        solution.slice_mut(s![stage * k..(stage + 1) * k, ..]).assign(&codebook.mapv(f64::from));
    }
    let start = solution.clone();
    // The diagonal blocks of AᵀA hold the number of rows of each codeword. Used as a preconditioner, they let two steps
    // do the work of three. The ridge pulls towards the present codewords, so that a codeword without rows stays where
    // it is.
    let mut inverse = Array2::from_elem((size, 1), RIDGE);
    for (stage, picks) in picks.iter().enumerate() {
        picks.iter().for_each(|&c| inverse[(stage * k + c as usize, 0)] += 1.0);
    }
    inverse.mapv_inplace(f64::recip);
    let mut residual = gather((&rows - &decode(&solution)).view())?;
    let mut direction = &residual * &inverse;
    let mut square = column_sums(&residual, &direction);
    for _ in 0..iterations {
        let mut image = normal(&direction)?;
        image.scaled_add(RIDGE, &direction);
        let curvature = column_sums(&direction, &image);
        let step = Zip::from(&square).and(&curvature).map_collect(|r, c| if *c > 0.0 { r / c } else { 0.0 });
        for (mut row, direction) in solution.outer_iter_mut().zip(direction.outer_iter()) {
            Zip::from(&mut row).and(&direction).and(&step).for_each(|s, d, a| *s += d * a);
        }
        for (mut row, image) in residual.outer_iter_mut().zip(image.outer_iter()) {
            Zip::from(&mut row).and(&image).and(&step).for_each(|r, i, a| *r -= i * a);
        }
        let scaled = &residual * &inverse;
        let next = column_sums(&residual, &scaled);
        let keep = Zip::from(&next).and(&square).map_collect(|n, s| if *s > 0.0 { n / s } else { 0.0 });
        for (mut direction, scaled) in direction.outer_iter_mut().zip(scaled.outer_iter()) {
            Zip::from(&mut direction).and(&scaled).and(&keep).for_each(|d, z, b| *d = z + *d * b);
        }
        square = next;
    }
    if solution.iter().any(|v| !v.is_finite()) {
        solution = start;
    }
    Ok((0..codebooks.len()).map(|s| solution.slice(s![s * k..(s + 1) * k, ..]).mapv(|v| v as f32)).collect())
}

/// Column-wise inner products of `a` and `b`.
fn column_sums(a: &Array2<f64>, b: &Array2<f64>) -> Array1<f64> {
    let mut sums = Array1::zeros(a.ncols());
    for (a, b) in a.outer_iter().zip(b.outer_iter()) {
        Zip::from(&mut sums).and(&a).and(&b).for_each(|sum, a, b| *sum += a * b);
    }
    sums
}

/// Maximum number of codewords for which pair counts are stored as a matrix (64 MiB).
const DENSE: usize = 4096;

/// `AᵀA`: the number of codes of `m` symbols that contain both of two codewords.
fn pair_counts(codes: &[u16], m: usize, k: usize) -> Array2<f32> {
    let mut counts = Array2::zeros((m * k, m * k));
    counts.axis_chunks_iter_mut(Axis(0), k).into_par_iter().enumerate().for_each(|(stage, mut counts)| {
        for code in codes.chunks_exact(m) {
            let mut row = counts.row_mut(usize::from(code[stage]));
            code.iter().enumerate().for_each(|(other, &symbol)| row[other * k + usize::from(symbol)] += 1.0);
        }
    });
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, n: usize, dim: usize) -> Array2<f32> {
        Array2::from_shape_fn((n, dim), |_| rng.random::<f32>() - 0.5)
    }

    #[test]
    fn least_squares_recovers_codebooks_from_their_codes() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let truth: Vec<Array2<f32>> = (0..2).map(|_| random(&mut rng, 4, 3)).collect();
        let codes: Vec<u16> = (0..400).map(|_| rng.random_range(0..4)).collect();
        let rows = Array2::from_shape_fn((200, 3), |(i, j)| {
            (0..2).map(|s| truth[s][(usize::from(codes[2 * i + s]), j)]).sum()
        });
        let start = vec![Array2::zeros((4, 3)); 2];
        let fitted = least_squares(rows.view(), &codes, &start, 30, &*Context::cpu(1).backend).expect("solves");
        for (i, code) in codes.chunks_exact(2).enumerate() {
            for j in 0..3 {
                let value: f32 = (0..2).map(|s| fitted[s][(usize::from(code[s]), j)]).sum();
                assert!((value - rows[(i, j)]).abs() < 1e-3, "row {i}: {value} for {}", rows[(i, j)]);
            }
        }
    }

    #[test]
    fn least_squares_never_makes_codebooks_worse_for_their_codes() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let rows = random(&mut rng, 300, 5);
        let start: Vec<Array2<f32>> = (0..3).map(|_| random(&mut rng, 8, 5)).collect();
        let codes: Vec<u16> = (0..900).map(|_| rng.random_range(0..8)).collect();
        let backend = &*Context::cpu(1).backend;
        let mut error = mean_error(rows.view(), &start, &codes);
        let mut books = start;
        for iterations in [1, 2, 5, 30] {
            books = least_squares(rows.view(), &codes, &books, iterations, backend).expect("solves");
            let after = mean_error(rows.view(), &books, &codes);
            assert!(after <= error * (1.0 + 1e-6), "{after} after {error}");
            error = after;
        }
    }
}
