//! Iterated local search over additive codes: each symbol in turn takes its best value for the others as they are (iterated
//! conditional modes); then a few symbols are thrown anew, and what ends up better is kept (Martinez, Clement, Hoos and
//! Little 2016).
//!
//! With `u_i[c] = ‖c‖² − 2·x·c` and `g_ij[c, c'] = 2·c·c'`, the error of a code is
//!
//! ```text
//! ‖x − Σ_i c_i‖² = ‖x‖² + Σ_i u_i[c_i] + Σ_{i<j} g_ij[c_i, c_j]
//! ```

use crate::moments::mean;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut1, Axis, s};
use rayon::prelude::*;

/// Rows searched by one task: their unary terms and codes share a pass over the pair terms.
const ROWS: usize = 64;

/// Symbols thrown anew in a round.
const THROWN: usize = 4;

/// Sweeps over all symbols in a round, at most.
const SWEEPS: usize = 4;

/// Codebooks prepared for the search.
pub(crate) struct LocalSearch {
    /// Sum of the means of all codebooks, which rows and codewords are taken relative to.
    center: Array1<f32>,
    /// Codebooks side by side, `dim×(m·K)`, times −2.
    columns: Array2<f32>,
    /// `‖c‖²` of each codeword.
    norms: Vec<f32>,
    /// `g`, `(m·K)×(m·K)`.
    pairs: Array2<f32>,
    m: usize,
    k: usize,
    rounds: usize,
    seed: u64,
}

impl LocalSearch {
    /// Over codebooks of one shape. The codes thrown depend on `seed` and on the row's own code, so that neither its
    /// neighbours nor the threads decide anything.
    pub(crate) fn new(codebooks: &[Array2<f32>], rounds: usize, seed: u64) -> LocalSearch {
        let (k, dim) = codebooks[0].dim();
        let m = codebooks.len();
        let mut stacked = Array2::<f32>::zeros((m * k, dim));
        let mut center = Array1::<f32>::zeros(dim);
        for (i, codebook) in codebooks.iter().enumerate() {
            // About the mean of each codebook, so that nothing cancels where the data is far from zero.
            let mean: Array1<f32> = mean(codebook.view()).into_iter().map(|m| m as f32).collect();
            stacked.slice_mut(s![i * k..(i + 1) * k, ..]).assign(&(codebook - &mean));
            center += &mean;
        }
        let norms = stacked.outer_iter().map(|c| c.iter().map(|v| v * v).sum()).collect();
        let columns = stacked.t().mapv(|v| -2.0 * v);
        let pairs = crate::rotation::multiply(stacked.view(), columns.view()).mapv_into(|v| -v);
        LocalSearch { center, columns, norms, pairs, m, k, rounds, seed }
    }

    /// Improves `codes`, one per row; none becomes worse.
    pub(crate) fn improve(&self, rows: ArrayView2<'_, f32>, codes: &mut [Vec<u16>]) {
        codes.par_chunks_mut(ROWS).zip(rows.axis_chunks_iter(Axis(0), ROWS)).for_each(|(codes, rows)| {
            let mut unary = Array2::zeros((rows.nrows(), self.m * self.k));
            let rows = &rows - &self.center;
            ndarray::linalg::general_mat_mul(1.0, &rows, &self.columns, 0.0, &mut unary);
            for mut row in unary.outer_iter_mut() {
                row.iter_mut().zip(&self.norms).for_each(|(u, norm)| *u += norm);
            }
            let mut sums = vec![0f32; self.k];
            for (unary, code) in unary.outer_iter_mut().zip(codes) {
                self.improve_row(unary, code, &mut sums);
            }
        });
    }

    fn improve_row(&self, unary: ArrayViewMut1<'_, f32>, code: &mut Vec<u16>, sums: &mut [f32]) {
        let unary = unary.as_slice().unwrap_or_default();
        let mut random = SplitMix(code.iter().fold(self.seed, |h, &c| SplitMix(h ^ u64::from(c)).next()));
        self.settle(unary, code, sums);
        let mut best = self.error(unary, code);
        let mut trial = code.clone();
        for _ in 0..self.rounds {
            trial.clone_from(code);
            for _ in 0..THROWN.min(self.m) {
                trial[random.below(self.m)] = random.below(self.k) as u16;
            }
            self.settle(unary, &mut trial, sums);
            let error = self.error(unary, &trial);
            if error < best {
                best = error;
                code.clone_from(&trial);
            }
        }
    }

    /// Sweeps until nothing changes.
    fn settle(&self, unary: &[f32], code: &mut [u16], sums: &mut [f32]) {
        for _ in 0..SWEEPS {
            let mut changed = false;
            for i in 0..self.m {
                sums.copy_from_slice(&unary[i * self.k..(i + 1) * self.k]);
                for (j, &c) in code.iter().enumerate().filter(|(j, _)| *j != i) {
                    let pair = self.pairs_of(j, c, i);
                    sums.iter_mut().zip(pair).for_each(|(sum, g)| *sum += g);
                }
                let found = least(sums) as u16;
                changed |= found != code[i];
                code[i] = found;
            }
            if !changed {
                return;
            }
        }
    }

    /// `‖x − x̂‖² − ‖x‖²`.
    fn error(&self, unary: &[f32], code: &[u16]) -> f64 {
        let mut error = 0f64;
        for (i, &c) in code.iter().enumerate() {
            error += f64::from(unary[i * self.k + usize::from(c)]);
            for (j, &other) in code[..i].iter().enumerate() {
                error += f64::from(self.pairs_of(j, other, i)[usize::from(c)]);
            }
        }
        error
    }

    /// `g` between codeword `c` of codebook `j` and all of codebook `i`.
    fn pairs_of(&self, j: usize, c: u16, i: usize) -> &[f32] {
        let row = (j * self.k + usize::from(c)) * self.m * self.k;
        &self.pairs.as_slice().unwrap_or_default()[row + i * self.k..][..self.k]
    }
}

/// Index of the smallest value, the lowest among equals. Eight running minima let the compiler use wide registers.
fn least(values: &[f32]) -> usize {
    let (lanes, rest) = values.as_chunks::<8>();
    let mut minima = [f32::INFINITY; 8];
    for lane in lanes {
        minima.iter_mut().zip(lane).for_each(|(m, v)| *m = if *v < *m { *v } else { *m });
    }
    let smallest = minima.iter().chain(rest).fold(f32::INFINITY, |m, v| if *v < m { *v } else { m });
    values.iter().position(|v| *v == smallest).unwrap_or(0)
}

/// SplitMix64 (Steele, Lea and Flood 2014): a generator small enough to have one per row.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is far below 2^32.
    fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// With few codes in all, enough rounds find the best of them; and no code becomes worse on the way.
    #[test]
    fn it_finds_the_best_code_where_all_can_be_tried() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random = |n: usize| Array2::from_shape_fn((n, 5), |_| rng.random::<f32>() - 0.5);
        let codebooks: Vec<Array2<f32>> = (0..3).map(|_| random(6)).collect();
        let rows = random(100);
        let error = |i: usize, code: &[u16]| -> f32 {
            let mut left = rows.row(i).to_owned();
            code.iter().zip(&codebooks).for_each(|(&c, book)| left -= &book.row(c.into()));
            left.mapv(|v| v * v).sum()
        };
        let mut codes = vec![vec![0u16; 3]; 100];
        let before: Vec<f32> = codes.iter().enumerate().map(|(i, code)| error(i, code)).collect();
        LocalSearch::new(&codebooks, 300, 7).improve(rows.view(), &mut codes);
        for (i, code) in codes.iter().enumerate() {
            let all = (0..216u16).map(|c| error(i, &[c % 6, c / 6 % 6, c / 36]));
            let best = all.fold(f32::INFINITY, f32::min);
            assert!(error(i, code) <= best + 1e-5, "row {i}: {} of {best}", error(i, code));
            assert!(error(i, code) <= before[i]);
        }
    }

    #[test]
    fn the_least_value_is_found_at_any_length() {
        for n in 1..40 {
            for at in 0..n {
                let values: Vec<f32> = (0..n).map(|i| if i == at { -1.0 } else { i as f32 }).collect();
                assert_eq!(least(&values), at);
            }
        }
        assert_eq!(least(&[2.0; 20]), 0);
    }
}
