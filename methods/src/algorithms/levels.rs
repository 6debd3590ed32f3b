//! Levels of a scalar quantizer, fitted to samples of one variable.
//!
//! Samples are sorted once, with prefix sums; the count and sum of any cell then cost two binary searches, so
//! Lloyd's iteration runs on thresholds alone, exactly and fast.

mod uniform;

pub use uniform::{
    SHARES, UniformLevels, best_share, span, span_errors, uniform_min_max, uniform_min_mse, uniform_moved,
    uniform_percentile, uniform_threshold,
};

use crate::MethodError;

/// Samples of one variable, sorted, with prefix sums. Values are kept relative to their mean, so that sums of
/// squares do not cancel when the data sits far from zero.
#[derive(Clone, Debug)]
pub struct Samples {
    center: f64,
    /// Ascending, relative to `center`.
    values: Vec<f64>,
    /// `sums[i] = Σ values[..i]`.
    sums: Vec<f64>,
    squares: f64,
}

impl Samples {
    /// Sorts finite samples.
    ///
    /// # Panics
    /// When there are none.
    pub fn new(samples: impl IntoIterator<Item = f32>) -> Samples {
        let mut values: Vec<f64> = samples.into_iter().map(f64::from).collect();
        assert!(!values.is_empty(), "levels need samples");
        let center = values.iter().sum::<f64>() / values.len() as f64;
        values.iter_mut().for_each(|v| *v -= center);
        values.sort_unstable_by(f64::total_cmp);
        let mut sums = Vec::with_capacity(values.len() + 1);
        let (mut sum, mut squares) = (0.0, 0.0);
        sums.push(0.0);
        for &v in &values {
            sum += v;
            squares += v * v;
            sums.push(sum);
        }
        Samples { center, values, sums, squares }
    }

    /// The median.
    pub fn median(&self) -> f32 {
        let n = self.values.len();
        (self.center + 0.5 * (self.values[(n - 1) / 2] + self.values[n / 2])) as f32
    }

    fn len(&self) -> f64 {
        self.values.len() as f64
    }

    fn min(&self) -> f64 {
        self.values[0]
    }

    fn max(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    /// Index of the first sample above `threshold`.
    fn rank(&self, threshold: f64) -> usize {
        self.values.partition_point(|&v| v <= threshold)
    }

    /// Count and sum of the samples with ranks `from..to`.
    fn cell(&self, from: usize, to: usize) -> (f64, f64) {
        ((to - from) as f64, self.sums[to] - self.sums[from])
    }

    /// Ranks at which cells begin when each sample goes to the nearest of the ascending `levels`; one more at the end.
    fn cells(&self, levels: impl ExactSizeIterator<Item = f64>) -> Vec<usize> {
        let mut starts = Vec::with_capacity(levels.len() + 1);
        starts.push(0);
        let mut previous: Option<f64> = None;
        for level in levels {
            if let Some(previous) = previous {
                starts.push(self.rank(0.5 * (previous + level)));
            }
            previous = Some(level);
        }
        starts.push(self.values.len());
        starts
    }
}

/// Where Lloyd's iteration on levels stops: a relative drop of the MSE too small to matter at any rate in use.
const RELATIVE_DROP: f64 = 1e-6;
const MAX_ITERATIONS: usize = 2000;

/// Minimum-MSE levels for the samples: the conditions of Lloyd (1957) and Max (1960), each level the centroid of its
/// cell, each threshold half-way between levels, iterated from the companding density `f^(1/3)` of Panter and Dite. A
/// level without samples splits the worst cell. For log-concave densities the optimum is unique (Fleischer 1964).
/// Ascending.
///
/// # Errors
/// [`MethodError::Overflow`] when a level leaves the range of f32.
pub fn lloyd_max(samples: &Samples, count: usize) -> Result<Vec<f32>, MethodError> {
    let mut levels = companding_start(samples, count);
    let mut previous = f64::INFINITY;
    for _ in 0..MAX_ITERATIONS {
        let starts = samples.cells(levels.iter().copied());
        // Σ(x−l)² = Σx² − Σ_cells (Σ_cell x)²/n once levels are centroids.
        let mut explained = 0.0;
        let mut empty = Vec::new();
        for (i, edge) in starts.windows(2).enumerate() {
            let (n, sum) = samples.cell(edge[0], edge[1]);
            if n > 0.0 {
                levels[i] = sum / n;
                explained += sum * sum / n;
            } else {
                empty.push(i);
            }
        }
        let moved = split_worst_cells(samples, &starts, &empty, &mut levels);
        levels.sort_unstable_by(f64::total_cmp);
        let squared_error = (samples.squares - explained).max(0.0);
        if !moved && previous - squared_error <= RELATIVE_DROP * squared_error {
            break;
        }
        previous = squared_error;
    }
    levels.into_iter().map(|level| finite((level + samples.center) as f32, samples)).collect()
}

/// Moves the `empty` levels into the cells of largest squared error, half-way between the level and the far edge.
/// Returns whether any level moved.
fn split_worst_cells(samples: &Samples, starts: &[usize], empty: &[usize], levels: &mut [f64]) -> bool {
    if empty.is_empty() {
        return false;
    }
    let spread = |i: usize| {
        let values = &samples.values[starts[i]..starts[i + 1]];
        // The range of a cell bounds its error; exact sums of squares are not needed to rank cells.
        values.last().zip(values.first()).map_or(0.0, |(high, low)| (high - low).powi(2) * values.len() as f64)
    };
    let mut worst: Vec<(f64, usize)> = (0..levels.len()).map(|i| (spread(i), i)).filter(|(s, _)| *s > 0.0).collect();
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (&target, &(_, cell)) in empty.iter().zip(&worst) {
        let (low, high) = (samples.values[starts[cell]], samples.values[starts[cell + 1] - 1]);
        let far = if high - levels[cell] > levels[cell] - low { high } else { low };
        levels[target] = 0.5 * (levels[cell] + far);
    }
    !worst.is_empty()
}

/// Quantiles of the density `f^(1/3)`, estimated by a histogram. The outermost thousandth at either end is left out if
/// outliers there would make the bins ten times as wide.
fn companding_start(samples: &Samples, count: usize) -> Vec<f64> {
    let n = samples.values.len();
    let inner = |trimmed: usize| (samples.values[trimmed], samples.values[n - 1 - trimmed]);
    let (trimmed_low, trimmed_high) = inner(n / 1000);
    let stretched = samples.max() - samples.min() > 10.0 * (trimmed_high - trimmed_low);
    let trimmed = if stretched { n / 1000 } else { 0 };
    let (low, high) = inner(trimmed);
    if low == high {
        return vec![low; count];
    }
    // Bins of equal width are joined until each holds a few samples: ∫f^(1/3) over a bin of width w with c samples is
    // w^(2/3)·c^(1/3), and with few samples the cube root of the count is far too small on average.
    let bins = 1024.min(n).max(2 * count);
    let width = (high - low) / bins as f64;
    let mut edges = vec![(low, 0.0f64)];
    let (mut from, mut left, mut mass) = (trimmed, low, 0.0);
    for b in 1..=bins {
        let last = b == bins;
        let right = if last { high } else { low + b as f64 * width };
        let to = if last { n - trimmed } else { samples.rank(right).max(from) };
        if to - from >= MIN_BIN_SAMPLES || last {
            mass += (right - left).powi(2).cbrt() * ((to - from) as f64).cbrt();
            edges.push((right, mass));
            (from, left) = (to, right);
        }
    }
    (0..count)
        .map(|i| {
            let target = mass * (i as f64 + 0.5) / count as f64;
            let b = edges.partition_point(|(_, below)| *below < target).clamp(1, edges.len() - 1);
            let ((x0, m0), (x1, m1)) = (edges[b - 1], edges[b]);
            x0 + (x1 - x0) * (target - m0) / (m1 - m0).max(f64::MIN_POSITIVE)
        })
        .collect()
}

/// Minimum number of samples in a bin of the companding density.
const MIN_BIN_SAMPLES: usize = 12;

fn finite(value: f32, samples: &Samples) -> Result<f32, MethodError> {
    if value.is_finite() {
        return Ok(value);
    }
    let magnitude = (samples.min() + samples.center).abs().max((samples.max() + samples.center).abs()) as f32;
    Err(MethodError::Overflow { what: "a quantization level", magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn constant_samples_give_their_value_as_every_level() {
        let samples = Samples::new(vec![3.5; 10]);
        assert_eq!(lloyd_max(&samples, 4).expect("finite"), vec![3.5; 4]);
        let uniform = uniform_min_mse(&samples, 4, false).expect("finite");
        assert_eq!((uniform.offset, uniform.step), (3.5, 0.0));
    }

    #[test]
    fn as_many_levels_as_distinct_values_lose_nothing() {
        let samples = Samples::new([-1.0, 0.25, 7.0, 0.25, -1.0]);
        let levels = lloyd_max(&samples, 8).expect("finite");
        for value in [-1.0, 0.25, 7.0] {
            assert!(levels.contains(&value), "{value} in {levels:?}");
        }
    }

    #[test]
    fn an_outlier_costs_one_level_at_most() {
        // Quantiles of the logistic density, which is log-concave, and one value far away.
        let logit = |u: f32| (u / (1.0 - u)).ln();
        let mut values: Vec<f32> = (0..20_000).map(|i| logit((i as f32 + 0.5) / 20_000.0)).collect();
        let without = Samples::new(values.iter().copied());
        let near = lloyd_max(&without, 15).expect("finite");
        values.push(1e5);
        let with = lloyd_max(&Samples::new(values.iter().copied()), 16).expect("finite");
        assert_eq!(with[15], 1e5);
        let error = |levels: &[f32]| -> f64 {
            let nearest = |x: f32| levels.iter().map(|l| f64::from((x - l).powi(2))).fold(f64::INFINITY, f64::min);
            values[..20_000].iter().map(|&x| nearest(x)).sum()
        };
        assert!(error(&with) <= 1.02 * error(&near), "{} and {}", error(&with), error(&near));
    }

    #[test]
    fn a_far_offset_does_not_cost_precision() {
        let near = Samples::new((0..1000).map(|i| (i % 16) as f32));
        let far = Samples::new((0..1000).map(|i| (i % 16) as f32 + 1e6));
        let (near, far) = (lloyd_max(&near, 4).expect("finite"), lloyd_max(&far, 4).expect("finite"));
        for (a, b) in near.iter().zip(&far) {
            assert!((a + 1e6 - b).abs() <= 0.0625, "{a} and {b}");
        }
    }

    fn squared_error(samples: &[f32], levels: UniformLevels, count: usize) -> f64 {
        let nearest = |x: f32| ((x - levels.offset) / levels.step).round().clamp(0.0, (count - 1) as f32);
        samples.iter().map(|&x| f64::from(x - levels.offset - levels.step * nearest(x)).powi(2)).sum()
    }

    proptest! {
        #[test]
        fn the_fitted_span_is_never_worse_than_the_full_one(
            samples in prop::collection::vec(-3.0f32..3.0, 2..300), power in 1i32..6, bits in 1u32..6, symmetric in any::<bool>()
        ) {
            // Odd and even powers give heavy tails and skewed samples.
            let samples: Vec<f32> = samples.into_iter().map(|x| x.powi(power)).collect();
            let count = 1 << bits;
            let sorted = Samples::new(samples.iter().copied());
            let full = uniform_min_max(&sorted, count, symmetric).expect("finite");
            let fitted = uniform_min_mse(&sorted, count, symmetric).expect("finite");
            prop_assume!(full.step > 0.0);
            let (full, fitted) = (squared_error(&samples, full, count), squared_error(&samples, fitted, count));
            prop_assert!(fitted <= full * 1.0001 + 1e-6, "{fitted} after {full}");
        }
    }

    #[test]
    fn a_span_beyond_f32_is_an_error() {
        let samples = Samples::new([-3.0e38, 3.0e38]);
        let error = uniform_min_max(&samples, 16, false).expect_err("6e38 is no f32");
        assert!(error.to_string().contains("rescale"), "{error}");
    }
}
