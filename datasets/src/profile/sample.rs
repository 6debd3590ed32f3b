//! A random sample of rows whose number is not known in advance.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Most rows, and most values, of a sample.
const ROWS: usize = 16_384;
const VALUES: usize = 1 << 24;

/// Most rows of a sample of rows of `dim` components.
pub(super) fn most(dim: usize) -> usize {
    ROWS.min(VALUES / dim.max(1)).max(1)
}

/// Every row that was offered is in the sample with the same probability (algorithm R, Vitter 1985).
pub struct RowSample {
    dim: usize,
    most: usize,
    seen: u64,
    values: Vec<f32>,
    rng: ChaCha8Rng,
}

impl RowSample {
    /// A sample of rows of `dim` components. The choice is the same in every run.
    pub fn new(dim: usize) -> RowSample {
        RowSample { dim, most: most(dim), seen: 0, values: Vec::new(), rng: ChaCha8Rng::seed_from_u64(0) }
    }

    /// Offers the next row.
    pub fn offer(&mut self, row: ArrayView1<'_, f32>) {
        self.seen += 1;
        if self.seen <= self.most as u64 {
            self.values.extend(row);
            return;
        }
        let at = self.rng.random_range(0..self.seen) as usize;
        if at < self.most {
            self.values[at * self.dim..][..self.dim].iter_mut().zip(row).for_each(|(old, new)| *old = *new);
        }
    }

    /// The rows of the sample.
    pub fn into_rows(self) -> Array2<f32> {
        let rows = self.values.len().checked_div(self.dim).unwrap_or(0);
        Array2::from_shape_vec((rows, self.dim), self.values).unwrap_or_default()
    }
}

/// At most `most` of the rows, evenly spread over them.
pub fn spread(rows: ArrayView2<'_, f32>, most: usize) -> Array2<f32> {
    rows.select(Axis(0), &places(rows.nrows(), most))
}

/// At most `most` of `n` places, evenly spread.
pub fn places(n: usize, most: usize) -> Vec<usize> {
    (0..n.min(most)).map(|i| (i as u128 * n as u128 / n.min(most) as u128) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_all_taken_and_of_many_each_with_the_same_probability() {
        let mut all = RowSample::new(1);
        (0..5).for_each(|i| all.offer(ndarray::arr1(&[i as f32]).view()));
        assert_eq!(all.into_rows(), ndarray::arr2(&[[0.0], [1.0], [2.0], [3.0], [4.0]]));
        let mut part = RowSample::new(1);
        (0..100_000).for_each(|i| part.offer(ndarray::arr1(&[i as f32]).view()));
        let rows = part.into_rows();
        assert_eq!(rows.nrows(), ROWS);
        // The standard error of the mean is 206.
        let mean = rows.iter().map(|&v| f64::from(v)).sum::<f64>() / ROWS as f64;
        assert!((mean - 49_999.5).abs() < 800.0, "{mean}");
        assert_eq!(places(10, 4), [0, 2, 5, 7]);
        assert_eq!(places(3, 4), [0, 1, 2]);
    }
}
