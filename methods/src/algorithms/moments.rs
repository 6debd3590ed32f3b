//! Mean, variance and covariance of rows, in f64 and without an f64 copy of the rows.

use cpu::Isa;
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
pub fn covariance(rows: ArrayView2<'_, f32>, mean: &[f64]) -> Array2<f64> {
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
            // Each task computes complete sums, so that no result depends on the number of threads. What lies left of the
            // diagonal is mirrored at the end.
            self.sum.axis_chunks_iter_mut(Axis(0), PANEL).into_par_iter().enumerate().for_each(|(p, mut panel)| {
                let first = p * PANEL;
                let columns = centred.slice(s![.., first..first + panel.nrows()]);
                let mut panel = panel.slice_mut(s![.., first..]);
                general_mat_mul(1.0 / self.n as f64, &columns.t(), &centred.slice(s![.., first..]), 1.0, &mut panel);
            });
        }
    }

    /// The covariance, once all rows were added.
    pub fn finish(mut self) -> Array2<f64> {
        let dim = self.mean.len();
        for from in (0..dim).step_by(PANEL) {
            let to = dim.min(from + PANEL);
            for i in from..to {
                for j in from..i {
                    self.sum[(i, j)] = self.sum[(j, i)];
                }
            }
            let (above, mut below) = self.sum.view_mut().split_at(Axis(0), to);
            below.slice_mut(s![.., from..to]).assign(&above.slice(s![from.., to..]).t());
        }
        self.sum
    }
}

/// The eigenvalues of a covariance, largest first. Rounding makes none of them negative. Runs on the current thread pool.
pub fn eigenvalues(isa: Isa, covariance: Array2<f64>) -> Vec<f64> {
    let dim = covariance.nrows();
    let values = cpu::symmetric_eigenvalues(isa, covariance.into_iter().collect(), dim);
    values.into_iter().map(|value| value.max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every spectrum that `nalgebra` finds, and axes whose images are multiples of themselves: of rows in clusters, of fewer rows
    /// than components, of copies of a component, of tiny and huge units.
    #[test]
    fn eigenvalues_and_axes_are_those_of_the_reference() {
        for (name, n, dim) in [("many rows", 200, 40), ("few rows", 9, 40), ("one row", 1, 7), ("one component", 30, 1)]
        {
            for (unit, copies) in [(1.0f32, false), (1e-18, false), (1e15, false), (1.0, true)] {
                let mut rows = crate::laws::gaussian(n, dim, 5) * unit + 3.0 * unit;
                rows.columns_mut().into_iter().enumerate().for_each(|(j, mut column)| column /= 1.0 + j as f32);
                if copies && dim > 4 {
                    let first = rows.column(0).to_owned();
                    (1..dim / 2).for_each(|j| rows.column_mut(j).assign(&first));
                }
                let covariance = covariance(rows.view(), &mean(rows.view()));
                let reference = nalgebra::DMatrix::from_iterator(dim, dim, covariance.iter().copied());
                let mut expected: Vec<f64> = reference.symmetric_eigenvalues().iter().copied().collect();
                expected.sort_by(|a, b| b.total_cmp(a));
                let size = expected[0].max(f64::MIN_POSITIVE);
                for isa in Isa::available() {
                    let found = eigenvalues(isa, covariance.clone());
                    for (x, y) in found.iter().zip(&expected) {
                        assert!((x - y.max(0.0)).abs() <= 1e-12 * size, "{name}, unit {unit}: {x}, not {y}");
                    }
                    let cpu::Eigen { values, vectors } =
                        cpu::symmetric_eigen(isa, covariance.iter().copied().collect(), dim);
                    let vectors = Array2::from_shape_vec((dim, dim), vectors).expect("square");
                    let images = covariance.dot(&vectors);
                    let gap = &images - &(&vectors * &ndarray::Array1::from(values));
                    assert!(gap.iter().all(|v| v.abs() <= 1e-12 * size), "{name}, unit {unit}: A·V is V·Λ");
                    let gap = vectors.t().dot(&vectors) - Array2::<f64>::eye(dim);
                    assert!(gap.iter().all(|v| v.abs() <= 1e-12), "{name}, unit {unit}: orthonormal");
                }
            }
        }
    }

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
