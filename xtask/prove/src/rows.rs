//! Vectors that checks use, each with the words by which anyone can make them again.

use methods::laws::gaussian;
use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Deref;

/// Vectors, and how they were made.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `n×dim`.
    pub rows: Array2<f32>,
    /// How they were made.
    pub words: String,
}

impl Sample {
    /// Divides every row by its length.
    pub fn scale_to_unit(&mut self) {
        for mut row in self.rows.rows_mut() {
            let length = row.dot(&row).sqrt();
            if length > 0.0 {
                row /= length;
            }
        }
        self.words += ", scaled to length 1";
    }
}

impl Deref for Sample {
    type Target = Array2<f32>;

    fn deref(&self) -> &Array2<f32> {
        &self.rows
    }
}

/// Shapes of data that quantizers meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Independent standard Gaussian components.
    Gaussian,
    /// The same, moved by a different multiple of 100 in each component.
    OffCentre,
    /// Squares of Gaussians: positive, with a long tail.
    Skewed,
    /// Gaussian, with a deviation of 1, 1/2, 1/3, … per component.
    Falling,
    /// Each component follows the one before (ρ = 0.9).
    Correlated,
    /// Gaussian with lengths that differ by factors, around 1.5 in every component.
    Uneven,
    /// Uniform between 0 and 1.
    Uniform,
    /// Gaussian around a common value of deviation 3, which is the same for all components of a row.
    Common,
    /// Eight clusters, a few deviations apart.
    Clusters,
}

impl Shape {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Gaussian => "Gaussian",
            Shape::OffCentre => "off-centre",
            Shape::Skewed => "skewed",
            Shape::Falling => "falling",
            Shape::Correlated => "correlated",
            Shape::Uneven => "uneven",
            Shape::Uniform => "uniform",
            Shape::Common => "common-factor",
            Shape::Clusters => "clusters",
        }
    }

    /// `n×dim` rows of this shape. The distribution is the same for every seed.
    pub fn draw(self, n: usize, dim: usize, seed: u64) -> Sample {
        let mut rows = gaussian(n, dim, seed);
        match self {
            Shape::Gaussian => {}
            Shape::OffCentre => rows.indexed_iter_mut().for_each(|((_, j), v)| *v += 100.0 * ((j % 5) as f32 - 1.0)),
            Shape::Skewed => rows.mapv_inplace(|v| v * v),
            Shape::Falling => rows.indexed_iter_mut().for_each(|((_, j), v)| *v /= 1.0 + j as f32),
            Shape::Correlated => {
                for mut row in rows.rows_mut() {
                    for j in 1..dim {
                        row[j] = 0.9 * row[j - 1] + (1.0f32 - 0.81).sqrt() * row[j];
                    }
                }
            }
            Shape::Uneven => {
                let lengths = gaussian(n, 1, seed ^ 0x1e57).mapv(|v| (0.5 * v).exp());
                rows = &rows * &lengths + 1.5;
            }
            Shape::Common => {
                let common = gaussian(n, 1, seed ^ 0x5eed) * 3.0;
                rows += &common;
            }
            Shape::Uniform => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rows.mapv_inplace(|_| rng.random::<f32>());
            }
            Shape::Clusters => {
                let centres = gaussian(8, dim, 7) * 3.0;
                for (i, mut row) in rows.rows_mut().into_iter().enumerate() {
                    row += &centres.row(i % 8);
                }
            }
        }
        Sample { rows, words: format!("{n} × {dim} {} rows, seed {seed}", self.name()) }
    }
}

/// The numbers below `n` in a random order.
pub fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

/// These rows, in this order.
pub fn select(rows: &Array2<f32>, order: &[usize]) -> Array2<f32> {
    rows.select(Axis(0), order)
}

/// Squared error of each row.
pub fn errors(rows: &Array2<f32>, decoded: &Array2<f32>) -> Vec<f64> {
    let pairs = rows.outer_iter().zip(decoded.outer_iter());
    pairs.map(|(a, b)| a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()).collect()
}

/// Mean, and the standard error of the mean.
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

/// Mean squared distance of the rows from their mean.
pub fn variance(rows: &Array2<f32>) -> f64 {
    let n = rows.nrows().max(1) as f64;
    let mut mean = vec![0f64; rows.ncols()];
    rows.outer_iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v) / n));
    rows.outer_iter()
        .map(|row| row.iter().zip(&mean).map(|(v, m)| (f64::from(*v) - m).powi(2)).sum::<f64>())
        .sum::<f64>()
        / n
}

/// Mean squared length of the rows.
pub fn power(rows: &Array2<f32>) -> f64 {
    rows.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / rows.nrows().max(1) as f64
}

/// The first components of a row, for messages.
pub fn first_values(row: ndarray::ArrayView1<'_, f32>) -> String {
    let shown: Vec<String> = row.iter().take(4).map(|v| format!("{v}")).collect();
    format!("[{}{}]", shown.join(", "), if row.len() > 4 { ", …" } else { "" })
}

/// Whether a value is a number and at most the limit.
pub fn below(value: f64, limit: f64) -> bool {
    value <= limit
}
