//! Codes whose vector is the sum of one codeword from each codebook: what residual and additive quantizers share.

use crate::backend::Backend;
use crate::batch::decode_rows;
use crate::codebooks::Codebooks;
use crate::local_search::LocalSearch;
use crate::lookup::AdditiveSearcher;
use crate::state::{State, StateError};
use crate::{Curve, MethodError, Metric, Quantizer, Searcher, Symbols, check_batch};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Zip, s};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows coded at a time, at most, and values of their residuals, which are held once per partial code.
const ROWS: usize = 2048;
const VALUES: usize = 1 << 24;

/// A trained additive quantizer. A code is one symbol per codebook; a vector is the sum of its codewords.
pub(crate) struct AdditiveQuantizer {
    pub(crate) codebooks: Codebooks,
    beam: usize,
    search: Option<LocalSearch>,
    pub(crate) curves: Vec<Curve>,
    backend: Arc<dyn Backend>,
}

impl AdditiveQuantizer {
    /// Encodes by a beam search over the codebooks in order, then by `search` if there is one.
    pub(crate) fn new(
        codebooks: Vec<Array2<f32>>,
        beam: usize,
        search: Option<LocalSearch>,
        backend: Arc<dyn Backend>,
    ) -> AdditiveQuantizer {
        let codebooks = Codebooks::new(codebooks, |p, _| format!("stage {p}"));
        AdditiveQuantizer { codebooks, beam, search, curves: Vec::new(), backend }
    }

    /// From what [`Quantizer::save`] put down.
    pub(crate) fn restore(
        state: &mut State,
        shape: (usize, usize, usize),
        beam: usize,
        search: impl FnOnce(&[Array2<f32>]) -> Option<LocalSearch>,
        backend: Arc<dyn Backend>,
    ) -> Result<Box<dyn Quantizer>, StateError> {
        let (count, codewords, dim) = shape;
        let books = Codebooks::take(state, count, codewords, dim)?;
        let search = search(&books);
        Ok(Box::new(AdditiveQuantizer::new(books, beam, search, backend)))
    }

    /// The partial codes that a beam search ends with.
    pub(crate) fn beams(&self, rows: ArrayView2<'_, f32>) -> Result<Beams, MethodError> {
        let mut beams = Beams::new(rows);
        for codebook in &self.codebooks.books {
            beams.extend(codebook.view(), self.beam, &*self.backend)?;
        }
        Ok(beams)
    }
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

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        let size = self.code_size();
        check_batch(self.dim(), size, rows.dim(), codes.len())?;
        let at_once = (VALUES / (self.beam * self.dim())).clamp(1, ROWS);
        for (chunk, codes) in codes.chunks_mut(at_once * size).enumerate() {
            let count = codes.len() / size;
            let rows = rows.slice(s![chunk * at_once..chunk * at_once + count, ..]);
            let mut found = self.beams(rows)?.best_codes();
            if let Some(search) = &self.search {
                search.improve(rows, &mut found);
            }
            for (code, symbols) in codes.chunks_exact_mut(size).zip(&found) {
                self.codebooks.layout.pack(symbols, code);
            }
        }
        Ok(())
    }

    fn decode_into(&self, codes: &[u8], rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        let scratch = || vec![0u16; self.codebooks.books.len()];
        decode_rows(self.dim(), self.code_size(), codes, rows, scratch, |code, row, symbols| {
            self.codebooks.select(code, symbols)?;
            row.fill(0.0);
            for (codebook, &symbol) in self.codebooks.books.iter().zip(&*symbols) {
                row.iter_mut().zip(codebook.row(usize::from(symbol))).for_each(|(x, y)| *x += y);
            }
            Ok(())
        })
    }

    /// Inner products add up over codebooks; distances would need the norm of the sum, which the code does not hold.
    fn searcher(&self, metric: Metric) -> Option<Box<dyn Searcher + '_>> {
        (metric == Metric::InnerProduct).then(|| Box::new(AdditiveSearcher::new(&self.codebooks)) as Box<dyn Searcher>)
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
pub(crate) struct Beams {
    n: usize,
    dim: usize,
    /// Partial codes per row.
    pub(crate) width: usize,
    /// `n·width` residuals of `dim`.
    residuals: Vec<f32>,
    /// `n·width` partial codes.
    codes: Vec<Vec<u16>>,
    /// `‖residual‖²` of each.
    pub(crate) errors: Vec<f32>,
}

impl Beams {
    pub(crate) fn new(rows: ArrayView2<'_, f32>) -> Beams {
        let (n, dim) = rows.dim();
        let residuals: Vec<f32> = rows.iter().copied().collect();
        let zero = vec![0f32; dim];
        let errors = residuals.chunks_exact(dim).map(|r| cpu::squared_distance(r, &zero)).collect();
        Beams { n, dim, width: 1, residuals, codes: vec![Vec::new(); n], errors }
    }

    pub(crate) fn view(&self) -> ArrayView2<'_, f32> {
        // The lengths are kept in step by construction.
        ArrayView2::from_shape((self.n * self.width, self.dim), &self.residuals).unwrap_or_else(|_| unreachable!())
    }

    pub(crate) fn best_codes(&self) -> Vec<Vec<u16>> {
        self.codes.iter().step_by(self.width).cloned().collect()
    }

    pub(crate) fn mean_error(&self) -> f64 {
        let best = self.errors.iter().step_by(self.width).map(|&e| f64::from(e));
        best.sum::<f64>() / self.n.max(1) as f64
    }

    /// Adds a stage: of the `width·K` continuations of each row's partial codes, the `beam` with the least `‖residual‖²`
    /// stay. The best `beam` of all are among the best `beam` of each.
    pub(crate) fn extend(
        &mut self,
        codebook: ArrayView2<'_, f32>,
        beam: usize,
        backend: &dyn Backend,
    ) -> Result<(), MethodError> {
        let few = beam.min(codebook.nrows());
        let found = backend.nearest_few(&backend.upload(self.view())?, codebook, few)?;
        let (width, dim) = (self.width, self.dim);
        let next = beam.min(width * few);
        let mut residuals = vec![0f32; self.n * next * dim];
        let mut codes = vec![Vec::new(); self.n * next];
        let mut errors = vec![0f32; self.n * next];
        residuals
            .par_chunks_mut(next * dim)
            .zip(codes.par_chunks_mut(next))
            .zip(errors.par_chunks_mut(next))
            .enumerate()
            .for_each(|(i, ((residuals, codes), errors))| {
                let found = &found[i * width * few..][..width * few];
                let mut order: Vec<usize> = (0..found.len()).collect();
                order.sort_by(|&a, &b| found[a].score.total_cmp(&found[b].score).then(a.cmp(&b)));
                for (slot, &pick) in order.iter().take(next).enumerate() {
                    let from = i * width + pick / few;
                    let codeword = codebook.row(found[pick].id as usize);
                    let old = &self.residuals[from * dim..][..dim];
                    let new = &mut residuals[slot * dim..][..dim];
                    new.iter_mut().zip(old).zip(codeword).for_each(|((r, o), c)| *r = o - c);
                    codes[slot] = self.codes[from].iter().copied().chain([found[pick].id as u16]).collect();
                    errors[slot] = found[pick].score;
                }
            });
        (self.width, self.residuals, self.codes, self.errors) = (next, residuals, codes, errors);
        Ok(())
    }
}

/// Codebooks that minimize `‖X − Σ_s C_s[codes_s]‖²` for given codes: the normal equations `(AᵀA + λI)·C = AᵀX` by
/// conjugate gradients, one system per component, all at once, from the present codebooks. `A` selects codewords: `AᵀA`
/// counts how often two go together, `AᵀX` sums rows over cells. The error never grows.
pub(crate) fn least_squares(
    rows: ArrayView2<'_, f32>,
    codes: &[Vec<u16>],
    codebooks: &[Array2<f32>],
    iterations: usize,
    backend: &dyn Backend,
) -> Result<Vec<Array2<f32>>, MethodError> {
    const RIDGE: f64 = 1e-3;
    let (k, dim) = codebooks[0].dim();
    let size = codebooks.len() * k;
    let picks: Vec<Vec<u32>> = (0..codebooks.len()).map(|s| codes.iter().map(|c| u32::from(c[s])).collect()).collect();
    // Aᵀ·Y, codebooks one below the other.
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
        out.outer_iter_mut().into_par_iter().zip(codes.par_iter()).with_min_len(256).for_each(|(mut row, code)| {
            for (stage, &symbol) in code.iter().enumerate() {
                row.iter_mut().zip(c.row(stage * k + usize::from(symbol))).for_each(|(x, y)| *x += *y as f32);
            }
        });
        out
    };
    let counts = (size <= DENSE).then(|| pair_counts(codes, k));
    // AᵀA·C, by the counts of pairs where they fit into memory, else by way of the rows.
    let normal = |c: &Array2<f64>| match &counts {
        Some(counts) => Ok(product(counts, c)),
        None => gather(decode(c).view()),
    };
    let mut solution = Array2::<f64>::zeros((size, dim));
    for (stage, codebook) in codebooks.iter().enumerate() {
        solution.slice_mut(s![stage * k..(stage + 1) * k, ..]).assign(&codebook.mapv(f64::from));
    }
    let start = solution.clone();
    // The ridge pulls towards the present codewords, so that one without rows stays where it is.
    let mut residual = gather((&rows - &decode(&solution)).view())?;
    let mut direction = residual.clone();
    let column_sums = |a: &Array2<f64>, b: &Array2<f64>| (a * b).sum_axis(Axis(0));
    let mut square = column_sums(&residual, &residual);
    for _ in 0..iterations {
        let image = normal(&direction)? + &direction * RIDGE;
        let curvature = column_sums(&direction, &image);
        let step = Zip::from(&square).and(&curvature).map_collect(|r, c| if *c > 0.0 { r / c } else { 0.0 });
        solution += &(&direction * &step);
        residual -= &(&image * &step);
        let next = column_sums(&residual, &residual);
        let keep = Zip::from(&next).and(&square).map_collect(|n, s| if *s > 0.0 { n / s } else { 0.0 });
        direction = &residual + &(&direction * &keep);
        square = next;
    }
    if solution.iter().any(|v| !v.is_finite()) {
        solution = start;
    }
    Ok((0..codebooks.len()).map(|s| solution.slice(s![s * k..(s + 1) * k, ..]).mapv(|v| v as f32)).collect())
}

/// Codewords in all up to which the counts of pairs are held as a matrix (128 MiB).
const DENSE: usize = 4096;

/// `AᵀA`: how many codes hold both of two codewords.
fn pair_counts(codes: &[Vec<u16>], k: usize) -> Array2<f64> {
    let size = codes.first().map_or(0, Vec::len) * k;
    let mut counts = Array2::zeros((size, size));
    counts.axis_chunks_iter_mut(Axis(0), k).into_par_iter().enumerate().for_each(|(stage, mut counts)| {
        for code in codes {
            let mut row = counts.row_mut(usize::from(code[stage]));
            code.iter().enumerate().for_each(|(other, &symbol)| row[other * k + usize::from(symbol)] += 1.0);
        }
    });
    counts
}

/// `a·b`, rows of `a` shared out among the threads.
fn product(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::zeros((a.nrows(), b.ncols()));
    let tasks = out.axis_chunks_iter_mut(Axis(0), 128).into_par_iter().zip(a.axis_chunks_iter(Axis(0), 128));
    tasks.for_each(|(mut out, a)| ndarray::linalg::general_mat_mul(1.0, &a, b, 0.0, &mut out));
    out
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
        let codes: Vec<Vec<u16>> = (0..200).map(|_| vec![rng.random_range(0..4), rng.random_range(0..4)]).collect();
        let rows =
            Array2::from_shape_fn((200, 3), |(i, j)| (0..2).map(|s| truth[s][(usize::from(codes[i][s]), j)]).sum());
        let start = vec![Array2::zeros((4, 3)); 2];
        let fitted = least_squares(rows.view(), &codes, &start, 30, &*Context::cpu(1).backend).expect("solves");
        for (i, code) in codes.iter().enumerate() {
            for j in 0..3 {
                let value: f32 = (0..2).map(|s| fitted[s][(usize::from(code[s]), j)]).sum();
                assert!((value - rows[(i, j)]).abs() < 1e-3, "row {i}: {value} for {}", rows[(i, j)]);
            }
        }
    }
}
