//! Mean, variance and covariance of rows, in f64 and without an f64 copy of the rows.

use nalgebra::DMatrix;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Rows centred at a time, so that the copy in f64 stays small.
const ROWS: usize = 4096;

/// Sum of values, in f64. Eight independent partial sums let additions overlap.
pub fn sum(values: &[f32]) -> f64 {
    let (chunks, tail) = values.as_chunks::<8>();
    let mut sums = [0f64; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    sums.iter().sum::<f64>() + tail.iter().map(|v| f64::from(*v)).sum::<f64>()
}

/// Mean of the rows; zeros if there are no rows.
pub fn mean(rows: ArrayView2<'_, f32>) -> Vec<f64> {
    let mut sums = vec![0f64; rows.ncols()];
    add_to_sums(rows, &mut sums);
    mean_of_sums(sums, rows.nrows())
}

/// Adds rows to the sums of their components. Block after block gives the same as all rows at once.
pub fn add_to_sums(rows: ArrayView2<'_, f32>, sums: &mut [f64]) {
    for row in rows.outer_iter() {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
}

/// The mean of `n` rows with these sums.
pub fn mean_of_sums(sums: Vec<f64>, n: usize) -> Vec<f64> {
    let count = n.max(1) as f64;
    sums.into_iter().map(|sum| sum / count).collect()
}

/// `mean ‖x − mean‖²`: the trace of [`covariance`] without its cost.
pub fn variance(rows: ArrayView2<'_, f32>, mean: &[f64]) -> f64 {
    let mut squares = 0.0;
    add_to_squares(rows, mean, &mut squares);
    squares / rows.nrows().max(1) as f64
}

/// Adds `‖x − mean‖²` of rows to a sum.
pub fn add_to_squares(rows: ArrayView2<'_, f32>, mean: &[f64], squares: &mut f64) {
    for row in rows.outer_iter() {
        *squares += row.iter().zip(mean).map(|(&x, m)| (f64::from(x) - m).powi(2)).sum::<f64>();
    }
}

/// Standard deviation of each component about `mean`.
pub fn deviations(rows: ArrayView2<'_, f32>, mean: &[f64]) -> Vec<f64> {
    let mut squares = vec![0f64; mean.len()];
    for row in rows.outer_iter() {
        row.iter().zip(mean).zip(&mut squares).for_each(|((&x, m), sum)| *sum += (f64::from(x) - m).powi(2));
    }
    let count = rows.nrows().max(1) as f64;
    squares.into_iter().map(|sum| (sum / count).sqrt()).collect()
}

/// Rows of the covariance that one task computes.
const PANEL: usize = 48;

/// `mean (x − mean)·(x − mean)ᵀ`, `dim×dim`. Runs on the current thread pool.
pub fn covariance(rows: ArrayView2<'_, f32>, mean: &[f64]) -> DMatrix<f64> {
    let mut sum = CovarianceSum::new(rows.nrows(), mean);
    sum.add(rows);
    sum.finish()
}

/// The [`covariance`] of rows that come in blocks. Blocks of a multiple of 4096 rows give the same as all rows at once.
pub struct CovarianceSum<'a> {
    n: usize,
    mean: &'a [f64],
    sum: Array2<f64>,
}

impl<'a> CovarianceSum<'a> {
    /// Of `n` rows with this mean.
    pub fn new(n: usize, mean: &'a [f64]) -> CovarianceSum<'a> {
        CovarianceSum { n, mean, sum: Array2::zeros((mean.len(), mean.len())) }
    }

    /// The next rows. Runs on the current thread pool.
    pub fn add(&mut self, rows: ArrayView2<'_, f32>) {
        for block in rows.axis_chunks_iter(Axis(0), ROWS) {
            let centred = Array2::from_shape_fn(block.dim(), |(i, j)| f64::from(block[(i, j)]) - self.mean[j]);
            // Each task computes complete sums, so that no result depends on the number of threads.
            self.sum.axis_chunks_iter_mut(Axis(0), PANEL).into_par_iter().enumerate().for_each(|(p, mut panel)| {
                let columns = centred.slice(s![.., p * PANEL..p * PANEL + panel.nrows()]);
                general_mat_mul(1.0 / self.n as f64, &columns.t(), &centred, 1.0, &mut panel);
            });
        }
    }

    /// The covariance, once all rows were added.
    pub fn finish(self) -> DMatrix<f64> {
        DMatrix::from_row_iterator(self.mean.len(), self.mean.len(), self.sum)
    }
}

/// The eigenvalues of a covariance, largest first. Rounding makes none of them negative.
pub fn eigenvalues(covariance: &DMatrix<f64>) -> Vec<f64> {
    let mut values: Vec<f64> = covariance.symmetric_eigenvalues().iter().map(|v| v.max(0.0)).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_by_hand() {
        let rows = ndarray::arr2(&[[1.0f32, 10.0], [3.0, 10.0], [1.0, 14.0], [3.0, 14.0]]);
        let mean = mean(rows.view());
        assert_eq!(mean, [2.0, 12.0]);
        assert_eq!(variance(rows.view(), &mean), 5.0);
        assert_eq!(deviations(rows.view(), &mean), [1.0, 2.0]);
        let covariance = covariance(rows.view(), &mean);
        assert_eq!((covariance[(0, 0)], covariance[(1, 1)], covariance[(0, 1)]), (1.0, 4.0, 0.0));
    }
}
