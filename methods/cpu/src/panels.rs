//! Dense products of rows with a packed set of vectors, fused with what follows: argmin for k-means and encoding,
//! a block of scores for exact search.
//!
//! The squared distance splits as `½‖x−c‖² = ½‖x‖² + (½‖c‖² − x·c)`, so the nearest `c` minimizes `½‖c‖² − x·c`. The
//! split cancels when data sits far from zero, so rows and vectors are taken relative to the mean of the vectors. It still
//! cancels where vectors are far from each other and a row is near one of them. So every score comes with a bound on its
//! rounding, and a row whose two least scores are closer than that is reported as open: distances must decide it.
//!
//! Vectors are packed column-wise in panels of `W` so that one broadcast of `x_j` meets `W` contiguous `c_j`; a tile of `R×W`
//! sums stays in registers over the whole dimension.

use crate::isa::Isa;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::isa::Set;
#[cfg(target_arch = "aarch64")]
use crate::lanes::Neon;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Lanes, Portable};

#[cfg(test)]
mod tests;

/// The meaning of the scores of [`Panels::scores`]; smaller is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// `½‖x−c‖²`.
    HalfDistance,
    /// `−x·c`.
    NegatedDot,
}

/// `k` vectors of `dim` components, packed for one instruction set.
#[derive(Clone, Debug)]
pub struct Panels {
    isa: Isa,
    k: usize,
    dim: usize,
    score: Score,
    /// The origin: the mean of the vectors, or zero for products.
    center: Vec<f32>,
    /// `⌈k/W⌉` negated panels of `dim×W`; missing columns are zero.
    packed: Vec<f32>,
    /// The bias added to `−x·c`; infinite for missing columns, so that they never win.
    bias: Vec<f32>,
    /// Largest `‖c‖²` relative to the center.
    largest_square: f32,
}

impl Panels {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.packed[..]) + size_of_val(&self.bias[..])
    }

    /// Packs `vectors` (`k×dim`, row-major) for `isa`.
    ///
    /// # Panics
    /// When the length is no multiple of `dim`.
    pub fn new(isa: Isa, vectors: &[f32], dim: usize, score: Score) -> Panels {
        assert!(dim > 0 && vectors.len().is_multiple_of(dim), "vectors must hold whole rows of {dim}");
        let k = vectors.len() / dim;
        let width = isa.panel_width();
        let panels = k.div_ceil(width);
        let mut packed = vec![0f32; panels * width * dim];
        let mut bias = vec![f32::INFINITY; panels * width];
        let center = match score {
            Score::HalfDistance => mean(vectors, dim),
            Score::NegatedDot => vec![0.0; dim],
        };
        let mut largest_square = 0f32;
        for (c, vector) in vectors.chunks_exact(dim).enumerate() {
            let panel = &mut packed[c / width * width * dim..][..width * dim];
            let mut norm = 0f32;
            for (j, (&v, &m)) in vector.iter().zip(&center).enumerate() {
                let v = v - m;
                panel[j * width + c % width] = -v;
                norm += v * v;
            }
            largest_square = larger(largest_square, norm);
            bias[c] = if score == Score::HalfDistance { 0.5 * norm } else { 0.0 };
        }
        Panels { isa, k, dim, score, center, packed, bias, largest_square }
    }

    /// Number of packed vectors.
    pub fn len(&self) -> usize {
        self.k
    }

    /// Whether no vector is packed.
    pub fn is_empty(&self) -> bool {
        self.k == 0
    }

    /// Writes to `nearest[i]` the packed vector with the smallest score for row `i`. Row `i` is
    /// `rows[i·stride..][..dim]`. Appends to `open`, in ascending order, the rows that rounding may have decided
    /// wrongly: the score of another vector is within twice the margin of the smallest, or no score is finite. Runs on
    /// the current thread.
    ///
    /// # Panics
    /// When nothing is packed or `rows` is too short.
    pub fn assign(&self, rows: &[f32], stride: usize, nearest: &mut [u32], open: &mut Vec<usize>) {
        assert!(self.k > 0, "no vectors to assign to");
        self.dispatch(Argmin { rows, stride, nearest, open });
    }

    /// Writes the `n×k` scores of `n` rows of `dim` components, row-major, on the current thread.
    ///
    /// # Panics
    /// When the lengths do not fit together.
    pub fn scores(&self, rows: &[f32], scores: &mut [f32]) {
        assert_eq!(rows.len() / self.dim * self.k, scores.len(), "one score per row and vector");
        self.dispatch(WriteScores { rows, scores });
    }

    /// Bound on the error of every score of a row.
    pub fn margin_of(&self, row: &[f32]) -> f32 {
        let (row, row_tail) = row.as_chunks::<8>();
        let (center, center_tail) = self.center.as_chunks::<8>();
        let mut sums = [0f32; 8];
        for (x, m) in row.iter().zip(center) {
            for l in 0..8 {
                sums[l] += (x[l] - m[l]) * (x[l] - m[l]);
            }
        }
        let tail: f32 = row_tail.iter().zip(center_tail).map(|(x, m)| (x - m) * (x - m)).sum();
        self.margin(sums.iter().sum::<f32>() + tail)
    }

    /// Bound on the error of the scores of a row with `‖x‖² = square` relative to the centre:
    ///
    /// ```text
    /// (dim + 16)·u·(‖x‖² + 2·max‖c‖²) + dim·2⁻¹⁴⁸        u = 2⁻²⁴, distances
    /// (dim + 16)·u·2·‖x‖·max‖c‖ + dim·2⁻¹⁴⁸              products
    /// ```
    ///
    /// A sum of `n` rounded terms is off by at most `n·u` times the sum of their sizes (Higham, Accuracy and Stability of
    /// Numerical Algorithms, 2002, equation 3.5). Here the terms are products, `Σ|x_j·c_j| ≤ ‖x‖·‖c‖ ≤ ½‖x‖² + ½‖c‖²`, and for distances
    /// squares, each with an error of its own from the center; the last part is what gradual underflow takes. Norms of products are
    /// rounded too, and squares that are too small for f32 count as zero in them.
    #[inline(always)]
    fn margin(&self, square: f32) -> f32 {
        let dim = self.dim as f32;
        let sizes = match self.score {
            Score::HalfDistance => square + 2.0 * self.largest_square,
            Score::NegatedDot => {
                let vanished = (dim * f32::from_bits(1)).sqrt();
                2.0 * (square.sqrt() + vanished) * (self.largest_square.sqrt() + vanished)
            }
        };
        let margin = (dim + 16.0) * (0.5 * f32::EPSILON) * sizes + dim * TINIEST_STEP;
        if margin.is_nan() { f32::INFINITY } else { margin }
    }

    fn dispatch<T: TileTask>(&self, task: T) {
        match self.isa.set() {
            // SAFETY: an `Isa` exists only for a set that the processor has.
            // Measured gain over the portable path: see `cargo bench -p vqbench-cpu`.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni | Set::Avx512 => unsafe { run_avx512(task, self) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { run_avx2(task, self) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Set::NeonDot | Set::Neon => unsafe { run_neon(task, self) },
            _ => run::<Portable, 4, T>(task, self),
        }
    }
}

/// Twice the distance between two f32 next to zero.
pub(crate) const TINIEST_STEP: f32 = f32::from_bits(2);

/// The maximum; NaN if one of them is, which `f32::max` would ignore.
fn larger(most: f32, value: f32) -> f32 {
    if most >= value || most.is_nan() { most } else { value }
}

/// A consumer of score tiles, compiled for each instruction set.
trait TileTask {
    /// Number of rows.
    fn rows(&self, dim: usize) -> usize;
    /// Components of one row.
    fn row(&self, i: usize, dim: usize) -> &[f32];
    /// Handles rows `first..first + R`, which are `xs` relative to the center.
    fn block<L: Lanes, const R: usize>(&mut self, panels: &Panels, xs: [&[f32]; R], first: usize);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn run_avx512<T: TileTask>(task: T, panels: &Panels) {
    // With short rows, the work after the products weighs more: four rows leave registers for it.
    if panels.dim <= SHORT { run::<Avx512, 4, T>(task, panels) } else { run::<Avx512, 8, T>(task, panels) }
}

/// Maximum number of components of a short row.
#[cfg(target_arch = "x86_64")]
const SHORT: usize = 32;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: TileTask>(task: T, panels: &Panels) {
    run::<Avx2, 6, T>(task, panels);
}

/// Twenty-four of the 32 registers hold sums, four a column of the panel.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn run_neon<T: TileTask>(task: T, panels: &Panels) {
    run::<Neon, 6, T>(task, panels);
}

/// Processes `R` rows at a time, the last ones singly.
#[inline(always)]
fn run<L: Lanes, const R: usize, T: TileTask>(mut task: T, panels: &Panels) {
    let (n, dim) = (task.rows(panels.dim), panels.dim);
    let whole = n / R * R;
    let mut centred = vec![0f32; R * dim];
    for first in (0..whole).step_by(R) {
        for (r, x) in centred.chunks_exact_mut(dim).enumerate() {
            centre(task.row(first + r, dim), &panels.center, x);
        }
        task.block::<L, R>(panels, std::array::from_fn(|r| &centred[r * dim..][..dim]), first);
    }
    for i in whole..n {
        centre(task.row(i, dim), &panels.center, &mut centred[..dim]);
        task.block::<L, 1>(panels, [&centred[..dim]], i);
    }
}

/// `x − m`, eight components at a time, so that short rows are vectorized too. A function, since closures are not compiled for the set.
#[inline(always)]
fn centre(row: &[f32], center: &[f32], centred: &mut [f32]) {
    let dim = centred.len();
    let (row, center) = (&row[..dim], &center[..dim]);
    let (whole, tail) = centred.as_chunks_mut::<8>();
    for ((x, value), m) in whole.iter_mut().zip(row.as_chunks::<8>().0).zip(center.as_chunks::<8>().0) {
        for l in 0..8 {
            x[l] = value[l] - m[l];
        }
    }
    let first = dim - tail.len();
    tail.iter_mut().zip(&row[first..]).zip(&center[first..]).for_each(|((x, value), m)| *x = value - m);
}

/// `bias[c] − Σ_j x_j·c_j` for `R` rows and one panel of two registers of vectors, which is packed with its sign turned.
#[inline(always)]
fn tile<L: Lanes, const R: usize>(xs: &[&[f32]; R], panel: &[f32], bias: &[f32]) -> [[L; 2]; R] {
    let mut sums = [[L::load(bias), L::load(&bias[L::N..])]; R];
    let dim = xs[0].len();
    // Once here, so that the loop below needs no checks.
    assert!(xs.iter().all(|x| x.len() == dim));
    for (j, column) in panel.chunks_exact(2 * L::N).take(dim).enumerate() {
        let c = [L::load(column), L::load(&column[L::N..])];
        for r in 0..R {
            let value = L::splat(xs[r][j]);
            sums[r][0] = value.mul_add(c[0], sums[r][0]);
            sums[r][1] = value.mul_add(c[1], sums[r][1]);
        }
    }
    sums
}

impl Panels {
    /// Each panel with its biases.
    #[inline(always)]
    fn panels(&self, width: usize) -> impl Iterator<Item = (&[f32], &[f32])> {
        self.packed.chunks_exact(width * self.dim).zip(self.bias.chunks_exact(width))
    }
}

struct Argmin<'a> {
    rows: &'a [f32],
    stride: usize,
    nearest: &'a mut [u32],
    open: &'a mut Vec<usize>,
}

impl TileTask for Argmin<'_> {
    #[inline(always)]
    fn rows(&self, _dim: usize) -> usize {
        self.nearest.len()
    }

    #[inline(always)]
    fn row(&self, i: usize, dim: usize) -> &[f32] {
        &self.rows[i * self.stride..][..dim]
    }

    #[inline(always)]
    fn block<L: Lanes, const R: usize>(&mut self, panels: &Panels, xs: [&[f32]; R], first: usize) {
        // For each lane the smallest score so far and its panel, and the second smallest score.
        let mut best = [[L::splat(f32::INFINITY); 2]; R];
        let mut from = [[L::splat_index(0); 2]; R];
        let mut next = [L::splat(f32::INFINITY); R];
        let mut index = L::splat_index(0);
        for (panel, bias) in panels.panels(2 * L::N) {
            let scores = tile::<L, R>(&xs, panel, bias);
            for r in 0..R {
                for half in 0..2 {
                    next[r] = scores[r][half].max(best[r][half]).min(next[r]);
                    scores[r][half].keep_smaller(&mut best[r][half], &mut from[r][half], index);
                }
            }
            index = L::next_index(index);
        }
        for r in 0..R {
            let least = best[r][0].min(best[r][1]).least();
            // The next f32 above, so that "smaller than" includes the limit itself.
            let limit = L::splat((least + 2.0 * panels.margin(2.0 * half_square(xs[r]))).next_up());
            let near = best[r][0].below(limit) | best[r][1].below(limit) << L::N;
            let mut origins = [0u32; 32];
            L::store_index(from[r][0], &mut origins);
            L::store_index(from[r][1], &mut origins[L::N..]);
            let lane = near.trailing_zeros() as usize % 32;
            // No vector if no score is finite.
            self.nearest[first + r] = (origins[lane] * 2 * L::N as u32 + lane as u32).min(panels.k as u32 - 1);
            if near.count_ones() != 1 || next[r].below(limit) != 0 {
                self.open.push(first + r);
            }
        }
    }
}

struct WriteScores<'a> {
    rows: &'a [f32],
    scores: &'a mut [f32],
}

impl TileTask for WriteScores<'_> {
    #[inline(always)]
    fn rows(&self, dim: usize) -> usize {
        self.rows.len() / dim
    }

    #[inline(always)]
    fn row(&self, i: usize, dim: usize) -> &[f32] {
        &self.rows[i * dim..][..dim]
    }

    #[inline(always)]
    fn block<L: Lanes, const R: usize>(&mut self, panels: &Panels, xs: [&[f32]; R], first: usize) {
        let (k, width) = (panels.k, 2 * L::N);
        let mut buffer = [0f32; 32];
        // The term that the split omits, so that scores of different packings are comparable.
        let mut half_norm = [0f32; R];
        if panels.score == Score::HalfDistance {
            for (half_norm, x) in half_norm.iter_mut().zip(&xs) {
                *half_norm = half_square(x);
            }
        }
        for (p, (panel, bias)) in panels.panels(width).enumerate() {
            let scores = tile::<L, R>(&xs, panel, bias);
            let count = width.min(k - p * width);
            for (r, halves) in scores.iter().enumerate() {
                halves[0].store(&mut buffer);
                halves[1].store(&mut buffer[L::N..]);
                let out = &mut self.scores[(first + r) * k + p * width..][..count];
                out.iter_mut().zip(&buffer).for_each(|(score, b)| *score = b + half_norm[r]);
            }
        }
    }
}

/// `½‖x‖²`; partial sums let the compiler vectorize.
#[inline(always)]
fn half_square(x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<8>();
    let mut sums = [0f32; 8];
    for chunk in chunks {
        for l in 0..8 {
            sums[l] += chunk[l] * chunk[l];
        }
    }
    0.5 * (sums.iter().sum::<f32>() + tail.iter().map(|v| v * v).sum::<f32>())
}

/// Mean of the rows of `vectors`.
pub(crate) fn mean(vectors: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0f64; dim];
    for vector in vectors.chunks_exact(dim) {
        sums.iter_mut().zip(vector).for_each(|(s, &v)| *s += f64::from(v));
    }
    let count = (vectors.len() / dim).max(1) as f64;
    sums.into_iter().map(|s| (s / count) as f32).collect()
}
