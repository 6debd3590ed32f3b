//! A codebook learned from batches by moving averages (van den Oord, Vinyals and Kavukcuoglu 2017, appendix A.1), with
//! reset of unused codewords (Dhariwal et al. 2020).

use ndarray::{Array2, ArrayView1, ArrayView2};
use rand::{Rng, RngExt};

/// ε of the Laplace smoothing.
const SMOOTHING: f64 = 1e-5;

/// A codebook as moving averages:
///
/// ```text
/// N ← γ·N + (1−γ)·n      m ← γ·m + (1−γ)·Σx      N̂ = (N+ε)/(ΣN+K·ε)·ΣN      e = m/N̂
/// ```
///
/// Both averages start at zero; a codeword stays where it is until it gets its first row. The smoothing uses counts
/// without the bias of the zero start, `N/(1−γᵗ)`, so that it weighs the same at the first batch as later.
pub(crate) struct MovingCodebook {
    pub(crate) codewords: Array2<f32>,
    decay: f64,
    steps: i32,
    counts: Vec<f64>,
    sums: Array2<f64>,
}

impl MovingCodebook {
    /// Starts from the given codewords; `decay` is γ.
    pub(crate) fn new(codewords: Array2<f32>, decay: f64) -> MovingCodebook {
        let (counts, sums) = (vec![0.0; codewords.nrows()], Array2::zeros(codewords.dim()));
        MovingCodebook { codewords, decay, steps: 0, counts, sums }
    }

    /// Updates the averages with a batch: the number of rows of each codeword, and the sums of these rows.
    pub(crate) fn update(&mut self, counts: &[usize], sums: &Array2<f64>) {
        self.count(counts);
        let keep = self.decay;
        let whole = 1.0 - keep.powi(self.steps);
        let total: f64 = self.counts.iter().sum::<f64>() / whole;
        let smoothed = total + self.counts.len() as f64 * SMOOTHING;
        for (c, &count) in self.counts.iter().enumerate() {
            // Once per codeword, so that its sums are still in the cache when it is computed from them.
            let mut moved = self.sums.row_mut(c);
            moved.zip_mut_with(&sums.row(c), |m, new| *m = keep * *m + (1.0 - keep) * new);
            if count > f64::MIN_POSITIVE {
                let count = (count / whole + SMOOTHING) / smoothed * total;
                let inverse = 1.0 / (whole * count);
                self.codewords.row_mut(c).zip_mut_with(&moved, |e, m| *e = (m * inverse) as f32);
            }
        }
    }

    /// Updates only the counts, if codewords are learned in another way.
    pub(crate) fn count(&mut self, counts: &[usize]) {
        let keep = self.decay;
        self.steps = self.steps.saturating_add(1);
        self.counts.iter_mut().zip(counts).for_each(|(n, &new)| *n = keep * *n + (1.0 - keep) * new as f64);
    }

    /// Whether the average rows per batch of codeword `c` are fewer than `share` times `even`, the rows per batch at
    /// even usage. Every codeword starts with a credit of one row over as many batches as even usage needs for one row,
    /// because a batch or two say nothing about the unused codewords of a large codebook.
    pub(crate) fn is_used_less(&self, c: usize, share: f64, even: f64) -> bool {
        let start = self.decay.powi(self.steps);
        let (rows, batches) = (self.counts[c] / (1.0 - self.decay), (1.0 - start) / (1.0 - self.decay));
        rows + start < share * even * (batches + start / even)
    }

    /// Moves every codeword that is used less than `share` of even usage next to the codeword of a random row of the
    /// batch, if that codeword is used enough itself.
    pub(crate) fn reset_unused(&mut self, share: f64, rows: ArrayView2<'_, f32>, nearest: &[u32], rng: &mut impl Rng) {
        if share <= 0.0 || nearest.is_empty() {
            return;
        }
        let even = nearest.len() as f64 / self.counts.len() as f64;
        for c in 0..self.counts.len() {
            if !self.is_used_less(c, share, even) {
                continue;
            }
            let row = rng.random_range(0..nearest.len());
            let source = nearest[row] as usize;
            if !self.is_used_less(source, 2.0 * share, even) {
                self.reset(c, rows.row(row), source);
            }
        }
    }

    /// Places codeword `c` next to `source`, the codeword of a row, slightly towards that row, and divides the count of
    /// `source` between the two. In high dimension a codeword on the row itself would be far from all other rows and
    /// stay unused; the mean of a cell is nearer to them.
    fn reset(&mut self, c: usize, row: ArrayView1<'_, f32>, source: usize) {
        const TOWARD_ROW: f32 = 0.1;
        if c == source {
            return;
        }
        let moved = &self.codewords.row(source) * (1.0 - TOWARD_ROW) + &row * TOWARD_ROW;
        // The initial credit needs no division: `is_used_less` adds the same to every codeword.
        self.counts[source] *= 0.5;
        self.counts[c] = self.counts[source];
        let halved = &self.sums.row(source) * 0.5;
        self.sums.row_mut(source).assign(&halved);
        let count = self.counts[c];
        self.sums.row_mut(c).iter_mut().zip(&moved).for_each(|(m, &x)| *m = count * f64::from(x));
        self.codewords.row_mut(c).assign(&moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Two updates by hand: γ = ½, one codeword used twice and one never.
    #[test]
    fn moving_averages_follow_the_formula() {
        let mut book = MovingCodebook::new(ndarray::arr2(&[[9.0f32], [5.0]]), 0.5);
        book.update(&[2, 0], &ndarray::arr2(&[[2.0], [0.0]]));
        // N = 1, m = 1; without the start's share N = 2, m = 2; N̂ = (2+ε)/(2+2ε)·2.
        let expected = 2.0 / ((2.0 + 1e-5) / (2.0 + 2e-5) * 2.0);
        assert!((f64::from(book.codewords[(0, 0)]) - expected).abs() < 1e-6);
        assert_eq!(book.codewords[(1, 0)], 5.0, "no row, no move");
        book.update(&[1, 1], &ndarray::arr2(&[[3.0], [7.0]]));
        // N = (1, ½), m = (2, 3.5); over 1 − ¼: N = (4/3, 2/3), m = (8/3, 14/3).
        let total = 2.0;
        let smoothed = |n: f64| (n + 1e-5) / (total + 2e-5) * total;
        assert!((f64::from(book.codewords[(0, 0)]) - 8.0 / 3.0 / smoothed(4.0 / 3.0)).abs() < 1e-6);
        assert!((f64::from(book.codewords[(1, 0)]) - 14.0 / 3.0 / smoothed(2.0 / 3.0)).abs() < 1e-5);
        // 2 and 1 rows in 1½ batches, of an even use of 1, and a quarter of a row and of a batch from the start: 1.29 and .71.
        assert!(!book.is_used_less(0, 1.0, 1.0) && book.is_used_less(1, 1.0, 1.0) && !book.is_used_less(1, 0.7, 1.0));
        let source = book.codewords[(0, 0)];
        book.reset(1, ndarray::arr1(&[12.0f32]).view(), 0);
        assert!((book.codewords[(1, 0)] - (0.9 * source + 1.2)).abs() < 1e-6, "a tenth of the way to the row");
        assert_eq!(book.counts, [0.5, 0.5], "half of 1 each");
    }

    #[test]
    fn what_a_large_codebook_has_not_met_yet_is_not_unused() {
        let rows = Array2::from_shape_fn((16, 2), |(i, j)| (i * 2 + j) as f32);
        let start = Array2::from_shape_fn((1000, 2), |(i, j)| (i + j) as f32);
        let mut book = MovingCodebook::new(start.clone(), 0.9);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut batch = |book: &mut MovingCodebook| {
            let mut counts = vec![0; 1000];
            counts[..16].fill(1);
            book.count(&counts);
            let nearest: Vec<u32> = (0..16).collect();
            book.reset_unused(0.1, rows.view(), &nearest, &mut rng);
        };
        batch(&mut book);
        assert_eq!(book.codewords, start, "one batch tells nothing of 984 codewords");
        // Even usage is 0.016 rows per batch: a codeword without rows falls to a tenth of it after 39 batches.
        (0..45).for_each(|_| batch(&mut book));
        let moved = book.codewords.outer_iter().zip(start.outer_iter()).filter(|(a, b)| a != b).count();
        assert!(moved > 700, "{moved}");
        assert!(book.codewords.slice(ndarray::s![..16, ..]) == start.slice(ndarray::s![..16, ..]), "used ones stay");
    }
}
