//! Searches over sums of codewords, one from each of `m` codebooks, by tables instead of vectors.
//!
//! With everything taken relative to the sum of the codebooks' means, so that nothing cancels where the data sits far
//! from zero, `u_i[c] = ‖c‖² − 2·x·c` and `g_ij[c, c'] = 2·c·c'`, the error of a code is
//!
//! ```text
//! ‖x − Σ_i c_i‖² = ‖x‖² + Σ_i u_i[c_i] + Σ_{i<j} g_ij[c_i, c_j]
//! ```
//!
//! So what the codewords `c` of codebook `i` would add to a code is one row of `u` and, for every other symbol, one row of
//! `g`: additions of `K` values in place of `K·dim` products. The beam search sums the rows of the codebooks before,
//! the descent those of all others. `‖x‖²` is left out throughout.

mod beam;
mod descent;

pub use beam::{BeamScratch, least_few};
pub use descent::MAX_DESCENT;

use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::panels::{Panels, Score, mean};

/// Table rows are padded to a multiple of this many values: whole registers of every set.
const ALIGN: usize = 32;

/// Number of registers of sums per pass over the rows.
const BLOCK: usize = 8;

/// Codebooks prepared for searches over their sums.
#[derive(Clone, Debug)]
pub struct SumTables {
    isa: Isa,
    m: usize,
    k: usize,
    dim: usize,
    /// `k` rounded up; the padding never wins.
    width: usize,
    /// Sum of the means of the codebooks.
    center: Vec<f32>,
    /// All centred codewords times 2, for `−2·x·c`.
    products: Panels,
    /// `‖c‖²`, infinite where there is no codeword.
    norms: Vec<f32>,
    /// `g`, one slab of `k×width` per pair of codebooks: the row of symbol `c` of codebook `j` over codebook `i`.
    pairs: Vec<f32>,
    /// `pairs` as 16-bit integers for a faster descent, if these are accurate enough.
    short: Option<Vec<i16>>,
    /// The scale of the integers, per codebook.
    steps: Vec<f32>,
    /// Whether slabs with `j > i` are stored as well; the descent needs them, the beam search does not.
    whole: bool,
}

impl SumTables {
    /// Bytes of the tables of `m` codebooks of `k` codewords, to decide whether to build them.
    pub fn bytes(m: usize, k: usize, whole: bool) -> usize {
        let slabs = if whole { m.saturating_mul(m) } else { m.saturating_mul(m.saturating_sub(1)) / 2 };
        slabs.saturating_mul(k).saturating_mul(k.next_multiple_of(ALIGN)).saturating_mul(4)
    }

    /// Prepares `m` codebooks of `k` codewords of `dim` components. The descent needs `whole` tables.
    ///
    /// # Panics
    /// If lengths do not match, or a symbol does not fit into 16 bits.
    pub fn new(isa: Isa, codebooks: &[f32], m: usize, dim: usize, whole: bool) -> SumTables {
        assert!(m > 0 && dim > 0 && codebooks.len().is_multiple_of(m * dim), "m codebooks of whole codewords");
        let k = codebooks.len() / (m * dim);
        assert!((1..=1 << 16).contains(&k), "1 to 65536 codewords per codebook");
        let width = k.next_multiple_of(ALIGN);
        let mut center = vec![0f32; dim];
        // Centred codewords times 2, padded with zero rows.
        let mut doubled = vec![0f32; m * width * dim];
        let mut norms = vec![f32::INFINITY; m * width];
        for (i, codebook) in codebooks.chunks_exact(k * dim).enumerate() {
            let mean = mean(codebook, dim);
            center.iter_mut().zip(&mean).for_each(|(c, m)| *c += m);
            for (c, codeword) in codebook.chunks_exact(dim).enumerate() {
                let out = &mut doubled[(i * width + c) * dim..][..dim];
                out.iter_mut().zip(codeword).zip(&mean).for_each(|((o, v), m)| *o = 2.0 * (v - m));
                norms[i * width + c] = 0.25 * out.iter().map(|v| v * v).sum::<f32>();
            }
        }
        let slabs = if whole { m * m } else { m * (m - 1) / 2 };
        let mut pairs = vec![0f32; slabs * k * width];
        let slab_of = |i: usize, j: usize| if whole { i * m + j } else { i * i.saturating_sub(1) / 2 + j };
        for i in 0..m {
            // −(2·c)·(−c'), which is 2·c·c'.
            let negated: Vec<f32> = doubled[i * width * dim..][..width * dim].iter().map(|v| -0.5 * v).collect();
            let panels = Panels::new(isa, &negated, dim, Score::NegatedDot);
            for j in (0..if whole { m } else { i }).filter(|&j| j != i) {
                let rows = &doubled[j * width * dim..][..k * dim];
                panels.scores(rows, &mut pairs[slab_of(i, j) * k * width..][..k * width]);
            }
        }
        let products = Panels::new(isa, &doubled, dim, Score::NegatedDot);
        let mut tables =
            SumTables { isa, m, k, dim, width, center, products, norms, pairs, short: None, steps: Vec::new(), whole };
        if whole {
            tables.add_short();
        }
        tables
    }

    /// Rounds the pairs to 16 bits. Each codebook has its own step, such that the sum of one entry per codebook and a
    /// `u` of the same size stays in range. Returns None if such a step is coarse relative to the power of the
    /// codebook.
    fn add_short(&mut self) {
        let (m, k, width) = (self.m, self.k, self.width);
        let largest = |values: &[f32]| values.iter().fold(0f32, |m, v| m.max(v.abs()));
        self.steps.clear();
        for i in 0..m {
            let norms = &self.norms[i * width..][..k];
            let slabs = self.pairs[i * m * k * width..][..m * k * width].chunks_exact(k * width);
            let bound = slabs.map(largest).sum::<f32>() + 4.0 * largest(norms);
            let step = 2.0 * bound / SHORT_RANGE;
            let power = norms.iter().sum::<f32>() / k as f32;
            if !(bound < f32::MAX && step <= COARSEST * power && step > f32::MIN_POSITIVE) {
                return;
            }
            self.steps.push(step);
        }
        let mut short = vec![0i16; self.pairs.len()];
        for (i, step) in self.steps.iter().enumerate() {
            let slabs = i * m * k * width..(i + 1) * m * k * width;
            round(&self.pairs[slabs.clone()], step.recip(), &mut short[slabs]);
        }
        self.short = Some(short);
    }

    /// Codebooks.
    pub fn codebooks(&self) -> usize {
        self.m
    }

    /// Codewords per codebook.
    pub fn codewords(&self) -> usize {
        self.k
    }

    /// Values that [`SumTables::unary`] writes per row.
    pub fn unary_len(&self) -> usize {
        self.m * self.width
    }

    /// `u` of rows of `dim` components, [`SumTables::unary_len`] values each; centres the rows first.
    ///
    /// # Panics
    /// When the lengths do not fit together.
    pub fn unary(&self, rows: &mut [f32], out: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.dim) {
            row.iter_mut().zip(&self.center).for_each(|(x, c)| *x -= c);
        }
        self.products.scores(rows, out);
        for out in out.chunks_exact_mut(self.unary_len()) {
            out.iter_mut().zip(&self.norms).for_each(|(u, norm)| *u += norm);
        }
    }

    /// `‖x − x̂‖² − ‖x‖²`, summed in f64.
    ///
    /// # Panics
    /// When the tables are not whole or a symbol names no codeword.
    pub fn error(&self, unary: &[f32], code: &[u16]) -> f64 {
        assert!(self.whole, "whole tables");
        let mut error = 0f64;
        for (i, &c) in code.iter().enumerate() {
            error += f64::from(unary[i * self.width + usize::from(c)]);
            for (j, &other) in code[..i].iter().enumerate() {
                error += f64::from(self.pairs[self.offset(i, j, other) + usize::from(c)]);
            }
        }
        error
    }

    /// Offset of the row of symbol `c` of codebook `j` over codebook `i`.
    #[inline(always)]
    fn offset(&self, i: usize, j: usize, c: u16) -> usize {
        let slab = if self.whole { i * self.m + j } else { i * (i - 1) / 2 + j };
        (slab * self.k + usize::from(c)) * self.width
    }
}

/// Half of the 16-bit range, minus one rounding per codebook.
const SHORT_RANGE: f32 = 32_600.0;

/// Maximum step, as a fraction of a codebook's mean `‖c‖²`.
const COARSEST: f32 = 0.01;

/// Number of cache lines of a row to prefetch; the hardware prefetcher does the rest.
const PREFETCHED: usize = 8;

/// `values·scale`, rounded to the nearest integer.
#[inline(always)]
fn round(values: &[f32], scale: f32, out: &mut [i16]) {
    // 1.5·2²³: f32 are integers there, and their low 16 bits are those of the rounded value.
    const WHOLE: f32 = 12_582_912.0;
    out.iter_mut().zip(values).for_each(|(out, v)| *out = (v * scale + WHOLE).to_bits() as i16);
}

/// `R` registers of `start + row + row + …` from value `at` on.
#[inline(always)]
fn sums<L: Lanes, const R: usize>(start: &[f32], pairs: &[f32], offsets: &[usize], at: usize) -> [L; R] {
    let start = &start[at..][..R * L::N];
    let mut sums = [L::splat(0.0); R];
    for (r, sum) in sums.iter_mut().enumerate() {
        *sum = L::load(&start[r * L::N..]);
    }
    for &offset in offsets {
        let row = &pairs[offset + at..][..R * L::N];
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = sum.add(L::load(&row[r * L::N..]));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// `‖x − Σ c‖²`, by vectors, in f64.
    fn plain_error(row: &[f32], books: &[f32], k: usize, code: &[u16]) -> f64 {
        let dim = row.len();
        let left = |j: usize| {
            let sum: f64 =
                code.iter().enumerate().map(|(i, &c)| f64::from(books[(i * k + usize::from(c)) * dim + j])).sum();
            f64::from(row[j]) - sum
        };
        (0..dim).map(|j| left(j).powi(2)).sum()
    }

    /// The beam search by vectors; the first of equals.
    fn plain_beam(row: &[f32], books: &[f32], m: usize, k: usize, beam: usize) -> Vec<u16> {
        let mut kept: Vec<Vec<u16>> = vec![Vec::new()];
        for _ in 0..m {
            let mut all: Vec<(f64, Vec<u16>)> = Vec::new();
            for code in &kept {
                for c in 0..k {
                    let code: Vec<u16> = code.iter().copied().chain([c as u16]).collect();
                    all.push((plain_error(row, books, k, &code), code));
                }
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            kept = all.into_iter().take(beam).map(|(_, code)| code).collect();
        }
        kept.swap_remove(0)
    }

    /// Codebooks of small integers with mean zero: all sums are exact, even after centring, and there are ties.
    fn whole_numbers(rng: &mut ChaCha8Rng, m: usize, k: usize, dim: usize) -> Vec<f32> {
        let mut books: Vec<f32> = (0..m * k * dim).map(|_| rng.random_range(-3i32..=3) as f32).collect();
        for book in books.chunks_exact_mut(k * dim) {
            for j in 0..dim {
                book[j] -= book.iter().skip(j).step_by(dim).sum::<f32>();
            }
        }
        books
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_beam_search_by_tables_is_the_one_by_vectors(
            m in 1usize..5, k in 1usize..150, dim in 1usize..9, beam in 1usize..7, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let books = whole_numbers(&mut rng, m, k, dim);
            let row: Vec<f32> = (0..dim).map(|_| rng.random_range(-5i32..=5) as f32).collect();
            let plain = plain_beam(&row, &books, m, k, beam);
            for (isa, whole) in Isa::available().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
                let tables = SumTables::new(isa, &books, m, dim, whole);
                let mut unary = vec![f32::NAN; tables.unary_len()];
                tables.unary(&mut row.clone(), &mut unary);
                let mut code = vec![u16::MAX; m];
                tables.beam(&unary, beam, &mut BeamScratch::default(), &mut code);
                prop_assert_eq!(&code, &plain, "{}", isa);
            }
        }

        #[test]
        fn the_descent_takes_the_best_symbol_each_time(
            m in 1usize..5, k in 1usize..300, dim in 1usize..6, sweeps in 0usize..4, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let books = whole_numbers(&mut rng, m, k, dim);
            let row: Vec<f32> = (0..dim).map(|_| rng.random_range(-5i32..=5) as f32).collect();
            let start: Vec<u16> = (0..m).map(|_| rng.random_range(0..k) as u16).collect();
            let mut plain = start.clone();
            for _ in 0..sweeps {
                for i in 0..m {
                    let errors: Vec<f64> = (0..k)
                        .map(|c| {
                            plain[i] = c as u16;
                            plain_error(&row, &books, k, &plain)
                        })
                        .collect();
                    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
                    plain[i] = errors.iter().position(|&e| e == least).expect("there is one") as u16;
                }
            }
            let zero: f64 = row.iter().map(|&x| f64::from(x * x)).sum();
            for isa in Isa::available() {
                let tables = SumTables::new(isa, &books, m, dim, true);
                let mut unary = vec![f32::NAN; tables.unary_len()];
                tables.unary(&mut row.clone(), &mut unary);
                let mut code = start.clone();
                tables.descend(&unary, sweeps, &mut code);
                prop_assert_eq!(&code, &plain, "{}", isa);
                prop_assert_eq!(tables.error(&unary, &code) + zero, plain_error(&row, &books, k, &code));
                let mut short = Vec::new();
                if tables.shorten(&unary, &mut short) {
                    let mut quick = start.clone();
                    tables.descend_quickly(&short, sweeps, &mut quick);
                    prop_assert!(quick.iter().all(|&c| usize::from(c) < k));
                    if sweeps > 0 {
                        // The last symbol has just been chosen: it is the best but for what rounding can do.
                        let last = |c: usize| {
                            let code: Vec<u16> = quick[..m - 1].iter().copied().chain([c as u16]).collect();
                            plain_error(&row, &books, k, &code)
                        };
                        let least = (0..k).map(last).fold(f64::INFINITY, f64::min);
                        let gap = f64::from(tables.steps[m - 1]) * (m as f64 + 1.0);
                        prop_assert!(last(quick[m - 1].into()) <= least + gap, "{isa}");
                    }
                }
            }
        }

        #[test]
        fn the_least_few_are_those_of_a_sort(
            groups in 0usize..4, scores in prop::collection::vec(0u8..9, 1..90), count in 1usize..12
        ) {
            let group = scores.len();
            let count = count.min(group);
            let value = |s: u8| if s == 8 { f32::INFINITY } else { f32::from(s) };
            let mut sorted: Vec<(f32, u32)> = scores.iter().enumerate().map(|(i, &s)| (value(s), i as u32)).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let all: Vec<f32> = (0..groups).flat_map(|_| scores.iter().map(|&s| value(s))).collect();
            for isa in Isa::available() {
                let mut found = vec![(f32::NAN, u32::MAX); groups * count];
                least_few(isa, &all, group, count, &mut found);
                for found in found.chunks_exact(count) {
                    prop_assert_eq!(found, &sorted[..count]);
                }
            }
        }
    }

    /// At 10⁴ squares are 10⁸, whose f32 spacing is 8.
    #[test]
    fn data_far_from_zero_keeps_its_codes() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let near = whole_numbers(&mut rng, 3, 30, 5);
        let far: Vec<f32> = near.iter().map(|v| v + 1e4).collect();
        for isa in Isa::available() {
            let [a, b] = [(&near, 0.25), (&far, 3e4 + 0.25)].map(|(books, x)| {
                let tables = SumTables::new(isa, books, 3, 5, true);
                let mut unary = vec![0.0; tables.unary_len()];
                tables.unary(&mut [x; 5], &mut unary);
                let mut code = [0; 3];
                tables.beam(&unary, 4, &mut BeamScratch::default(), &mut code);
                tables.descend(&unary, 3, &mut code);
                plain_error(&[0.25; 5], &near, 30, &code)
            });
            assert!((a - b).abs() < 1e-3, "{isa}: {a} and {b}");
        }
    }

    /// Rows that overflow or hold NaN get some code and cause no panic.
    #[test]
    fn rows_beyond_all_numbers_get_a_code() {
        let books: Vec<f32> = (0..3 * 20 * 4).map(|i| i as f32).collect();
        for isa in Isa::available() {
            let tables = SumTables::new(isa, &books, 3, 4, true);
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                let mut unary = vec![0.0; tables.unary_len()];
                tables.unary(&mut [value; 4], &mut unary);
                let mut code = [9u16; 3];
                tables.beam(&unary, 5, &mut BeamScratch::default(), &mut code);
                assert!(code.iter().all(|&c| c < 20));
                tables.descend(&unary, 2, &mut code);
                assert!(code.iter().all(|&c| c < 20));
            }
        }
    }
}
