//! Dense products of rows with a packed set of vectors, fused with what follows: argmin for k-means and encoding,
//! a block of scores for exact search.
//!
//! The squared distance splits as `‖x−c‖² = ‖x‖² + 2·(½‖c‖² − x·c)`, so the nearest `c` minimizes
//! `s(x,c) = ½‖c‖² − x·c`. Vectors are packed column-wise in panels of `W` so that one broadcast of `x_j` meets `W`
//! contiguous `c_j`; a tile of `R×W` sums stays in registers over the whole dimension.

use crate::isa::Isa;
use crate::topk::TopK;
use rayon::prelude::*;

/// What the scores of [`Panels::scores`] mean; smaller is nearer in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// `½‖c‖² − x·c`: orders like the squared distance to `x`.
    HalfDistance,
    /// `−x·c`.
    NegatedDot,
}

/// Rows handled by one task: a constant, so that no result depends on the number of threads.
const ROWS_PER_TASK: usize = 256;

/// `k` vectors of `dim` components, packed for one instruction set.
#[derive(Clone, Debug)]
pub struct Panels {
    isa: Isa,
    k: usize,
    dim: usize,
    /// `⌈k/W⌉` panels of `dim×W`; missing columns are zero.
    packed: Vec<f32>,
    /// What is added to `−x·c`; infinite for missing columns, so that they never win.
    bias: Vec<f32>,
}

impl Panels {
    /// Packs `vectors` (`k×dim`, row-major) for `isa`.
    ///
    /// # Panics
    /// When the length is no multiple of `dim`, or `isa` is not available here.
    pub fn new(isa: Isa, vectors: &[f32], dim: usize, score: Score) -> Panels {
        assert!(dim > 0 && vectors.len().is_multiple_of(dim), "vectors must hold whole rows of {dim}");
        assert!(isa.is_available(), "{isa} is not available on this processor");
        let k = vectors.len() / dim;
        let width = isa.panel_width();
        let panels = k.div_ceil(width);
        let mut packed = vec![0f32; panels * width * dim];
        let mut bias = vec![f32::INFINITY; panels * width];
        for (c, vector) in vectors.chunks_exact(dim).enumerate() {
            let panel = &mut packed[c / width * width * dim..][..width * dim];
            for (j, &v) in vector.iter().enumerate() {
                panel[j * width + c % width] = v;
            }
            bias[c] = match score {
                Score::HalfDistance => 0.5 * vector.iter().map(|v| v * v).sum::<f32>(),
                Score::NegatedDot => 0.0,
            };
        }
        Panels { isa, k, dim, packed, bias }
    }

    /// Number of packed vectors.
    pub fn len(&self) -> usize {
        self.k
    }

    /// Whether no vector is packed.
    pub fn is_empty(&self) -> bool {
        self.k == 0
    }

    /// Writes to `nearest[i]` the packed vector with the smallest score for row `i`, the lowest index among equals.
    /// Row `i` is `rows[i·stride..][..dim]`. Runs on the current thread pool.
    ///
    /// # Panics
    /// When nothing is packed or `rows` is too short.
    pub fn assign(&self, rows: &[f32], stride: usize, nearest: &mut [u32]) {
        assert!(self.k > 0, "no vectors to assign to");
        nearest.par_chunks_mut(ROWS_PER_TASK).enumerate().for_each(|(task, nearest)| {
            let rows = &rows[task * ROWS_PER_TASK * stride..];
            self.dispatch(Argmin { rows, stride, nearest });
        });
    }

    /// Writes the `n×k` scores of `n` rows of `dim` components, row-major, on the current thread.
    ///
    /// # Panics
    /// When the lengths do not fit together.
    pub fn scores(&self, rows: &[f32], scores: &mut [f32]) {
        assert_eq!(rows.len() / self.dim * self.k, scores.len(), "one score per row and vector");
        self.dispatch(WriteScores { rows, scores });
    }

    /// The `k` packed vectors with the smallest scores for one row, nearest first.
    pub fn top_k(&self, row: &[f32], k: usize) -> Vec<crate::Neighbor> {
        let mut scores = vec![0f32; self.k];
        self.scores(row, &mut scores);
        let mut top = TopK::new(k);
        top.push_block(&scores, 0);
        top.drain_sorted()
    }

    fn dispatch<T: TileTask>(&self, task: T) {
        match self.isa {
            // SAFETY: `Panels::new` refuses an instruction set that the processor lacks.
            // Gain, 2 cores, 10k×8 to 256: portable 1×, AVX2 3.6×, AVX-512 6.2× (`cargo bench -p vqbench-cpu`).
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { run_avx512(task, self) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { run_avx2(task, self) },
            _ => task.run::<4, 8, false>(self),
        }
    }
}

/// A consumer of score tiles; the trait exists so that each is compiled for each instruction set.
trait TileTask {
    fn run<const R: usize, const W: usize, const FMA: bool>(self, panels: &Panels);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn run_avx512<T: TileTask>(task: T, panels: &Panels) {
    task.run::<6, 32, true>(panels);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<T: TileTask>(task: T, panels: &Panels) {
    task.run::<6, 16, true>(panels);
}

/// `bias[c] − Σ_j x_j·c_j` for `R` rows and one panel of `W` vectors.
#[inline(always)]
fn tile<const R: usize, const W: usize, const FMA: bool>(
    rows: [&[f32]; R],
    panel: &[f32],
    bias: &[f32],
) -> [[f32; W]; R] {
    let mut sums = [[0f32; W]; R];
    let (columns, _) = panel.as_chunks::<W>();
    for (j, column) in columns.iter().enumerate() {
        for r in 0..R {
            let x = rows[r][j];
            for w in 0..W {
                sums[r][w] = if FMA { x.mul_add(column[w], sums[r][w]) } else { sums[r][w] + x * column[w] };
            }
        }
    }
    for sum in &mut sums {
        for w in 0..W {
            sum[w] = bias[w] - sum[w];
        }
    }
    sums
}

struct Argmin<'a> {
    rows: &'a [f32],
    stride: usize,
    nearest: &'a mut [u32],
}

impl Argmin<'_> {
    #[inline(always)]
    fn block<const R: usize, const W: usize, const FMA: bool>(&mut self, panels: &Panels, first: usize) {
        let dim = panels.dim;
        let rows: [&[f32]; R] = std::array::from_fn(|r| &self.rows[(first + r) * self.stride..][..dim]);
        let mut best = [[f32::INFINITY; W]; R];
        let mut best_panel = [[0u32; W]; R];
        for (p, (panel, bias)) in panels.packed.chunks_exact(W * dim).zip(panels.bias.chunks_exact(W)).enumerate() {
            let scores = tile::<R, W, FMA>(rows, panel, bias);
            for r in 0..R {
                for w in 0..W {
                    let closer = scores[r][w] < best[r][w];
                    best[r][w] = if closer { scores[r][w] } else { best[r][w] };
                    best_panel[r][w] = if closer { p as u32 } else { best_panel[r][w] };
                }
            }
        }
        for r in 0..R {
            let mut winner = (f32::INFINITY, 0u32);
            for w in 0..W {
                let candidate = (best[r][w], best_panel[r][w] * W as u32 + w as u32);
                if candidate.0 < winner.0 || (candidate.0 == winner.0 && candidate.1 < winner.1) {
                    winner = candidate;
                }
            }
            self.nearest[first + r] = winner.1;
        }
    }
}

impl TileTask for Argmin<'_> {
    #[inline(always)]
    fn run<const R: usize, const W: usize, const FMA: bool>(mut self, panels: &Panels) {
        let n = self.nearest.len();
        let whole = n / R * R;
        for first in (0..whole).step_by(R) {
            self.block::<R, W, FMA>(panels, first);
        }
        for first in whole..n {
            self.block::<1, W, FMA>(panels, first);
        }
    }
}

struct WriteScores<'a> {
    rows: &'a [f32],
    scores: &'a mut [f32],
}

impl WriteScores<'_> {
    #[inline(always)]
    fn block<const R: usize, const W: usize, const FMA: bool>(&mut self, panels: &Panels, first: usize) {
        let (dim, k) = (panels.dim, panels.k);
        let rows: [&[f32]; R] = std::array::from_fn(|r| &self.rows[(first + r) * dim..][..dim]);
        for (p, (panel, bias)) in panels.packed.chunks_exact(W * dim).zip(panels.bias.chunks_exact(W)).enumerate() {
            let scores = tile::<R, W, FMA>(rows, panel, bias);
            let count = W.min(k - p * W);
            for r in 0..R {
                self.scores[(first + r) * k + p * W..][..count].copy_from_slice(&scores[r][..count]);
            }
        }
    }
}

impl TileTask for WriteScores<'_> {
    #[inline(always)]
    fn run<const R: usize, const W: usize, const FMA: bool>(mut self, panels: &Panels) {
        let n = self.rows.len() / panels.dim;
        let whole = n / R * R;
        for first in (0..whole).step_by(R) {
            self.block::<R, W, FMA>(panels, first);
        }
        for first in whole..n {
            self.block::<1, W, FMA>(panels, first);
        }
    }
}

/// `‖a−b‖²`, summed directly: exact where the split form cancels. Eight partial sums let the compiler vectorize.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let (a8, a_tail) = a.as_chunks::<8>();
    let (b8, b_tail) = b.as_chunks::<8>();
    let mut sums = [0f32; 8];
    for (x, y) in a8.iter().zip(b8) {
        for l in 0..8 {
            let delta = x[l] - y[l];
            sums[l] += delta * delta;
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(x, y)| (x - y) * (x - y)).sum();
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect()
    }

    fn plain_score(x: &[f32], c: &[f32], score: Score) -> f64 {
        let dot: f64 = x.iter().zip(c).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let norm: f64 = c.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        match score {
            Score::HalfDistance => norm / 2.0 - dot,
            Score::NegatedDot => -dot,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_instruction_set_finds_a_nearest_vector(
            n in 0usize..40, k in 1usize..70, dim in 1usize..40, slack in 0usize..3, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let stride = dim + slack;
            let rows = random(&mut rng, n * stride);
            let vectors = random(&mut rng, k * dim);
            for isa in Isa::available() {
                let panels = Panels::new(isa, &vectors, dim, Score::HalfDistance);
                let mut nearest = vec![u32::MAX; n];
                panels.assign(&rows, stride, &mut nearest);
                for i in 0..n {
                    let x = &rows[i * stride..][..dim];
                    let score = |c: usize| plain_score(x, &vectors[c * dim..][..dim], Score::HalfDistance);
                    let best = (0..k).map(score).fold(f64::INFINITY, f64::min);
                    prop_assert!((nearest[i] as usize) < k);
                    prop_assert!(score(nearest[i] as usize) <= best + 1e-5 * dim as f64, "{isa} row {i}");
                }
            }
        }

        #[test]
        fn every_instruction_set_gives_the_plain_scores(
            n in 0usize..20, k in 0usize..70, dim in 1usize..40, dot in any::<bool>(), seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let kind = if dot { Score::NegatedDot } else { Score::HalfDistance };
            let rows = random(&mut rng, n * dim);
            let vectors = random(&mut rng, k * dim);
            for isa in Isa::available() {
                let mut scores = vec![f32::NAN; n * k];
                Panels::new(isa, &vectors, dim, kind).scores(&rows, &mut scores);
                for i in 0..n {
                    for c in 0..k {
                        let plain = plain_score(&rows[i * dim..][..dim], &vectors[c * dim..][..dim], kind);
                        prop_assert!((f64::from(scores[i * k + c]) - plain).abs() < 1e-5 * dim as f64);
                    }
                }
            }
        }
    }

    #[test]
    fn equal_vectors_go_to_the_lowest_index() {
        for isa in Isa::available() {
            let panels = Panels::new(isa, &[1.0; 3 * 50], 3, Score::HalfDistance);
            let mut nearest = vec![9; 7];
            panels.assign(&[0.25; 21], 3, &mut nearest);
            assert_eq!(nearest, vec![0; 7], "{isa}");
        }
    }

    #[test]
    fn wide_sets_agree_to_the_last_bit() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (rows, vectors) = (random(&mut rng, 11 * 37), random(&mut rng, 45 * 37));
        let scores: Vec<Vec<f32>> = Isa::available()
            .into_iter()
            .filter(|isa| *isa != Isa::Portable)
            .map(|isa| {
                let mut scores = vec![0.0; 11 * 45];
                Panels::new(isa, &vectors, 37, Score::HalfDistance).scores(&rows, &mut scores);
                scores
            })
            .collect();
        assert!(scores.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn squared_distance_covers_every_tail() {
        for n in 0..40 {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let b: Vec<f32> = (0..n).map(|i| (i * 2) as f32).collect();
            let plain: f32 = (0..n).map(|i| (i * i) as f32).sum();
            assert_eq!(squared_distance(&a, &b), plain);
        }
    }
}
