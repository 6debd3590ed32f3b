//! Levels of a scalar quantizer, fitted to samples of one variable.
//!
//! Samples are sorted once, with prefix sums of `x` and `x²`; the sums of any cell then cost two binary searches, so
//! Lloyd's iteration runs on thresholds alone, exactly and fast.

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

/// Evenly spaced levels `offset + i·step`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UniformLevels {
    /// The lowest level.
    pub offset: f32,
    /// Distance between neighbouring levels; 0 when all samples are equal.
    pub step: f32,
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
/// cell, each threshold half-way between levels, iterated from the companding density `f^(1/3)` of Panter and Dite.
/// For log-concave densities the optimum is unique (Fleischer 1964). Ascending.
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
        for (level, edge) in levels.iter_mut().zip(starts.windows(2)) {
            let (n, sum) = samples.cell(edge[0], edge[1]);
            if n > 0.0 {
                *level = sum / n;
                explained += sum * sum / n;
            }
        }
        levels.sort_unstable_by(f64::total_cmp);
        let squared_error = (samples.squares - explained).max(0.0);
        if previous - squared_error <= RELATIVE_DROP * squared_error {
            break;
        }
        previous = squared_error;
    }
    levels.into_iter().map(|level| finite((level + samples.center) as f32, samples)).collect()
}

/// Quantiles of the density `f^(1/3)`, estimated on a histogram.
fn companding_start(samples: &Samples, count: usize) -> Vec<f64> {
    let (low, high) = (samples.min(), samples.max());
    if low == high {
        return vec![low; count];
    }
    let bins = 1024.min(samples.values.len()).max(2 * count);
    let width = (high - low) / bins as f64;
    let mut below = Vec::with_capacity(bins + 1);
    below.push(0.0f64);
    let mut from = 0;
    for b in 1..=bins {
        let to = if b == bins { samples.values.len() } else { samples.rank(low + b as f64 * width) };
        below.push(below[b - 1] + ((to - from) as f64).cbrt());
        from = to;
    }
    let total = below[bins];
    (0..count)
        .map(|i| {
            let target = total * (i as f64 + 0.5) / count as f64;
            let b = below.partition_point(|&m| m < target).clamp(1, bins);
            let within = (target - below[b - 1]) / (below[b] - below[b - 1]).max(f64::MIN_POSITIVE);
            low + (b as f64 - 1.0 + within) * width
        })
        .collect()
}

/// Uniform levels that span the samples: `count` equal cells from the smallest to the largest, or from `−max|x|` to
/// `max|x|`, each with its level in the middle.
///
/// # Errors
/// [`MethodError::Overflow`] when the span leaves the range of f32.
pub fn uniform_min_max(samples: &Samples, count: usize, symmetric: bool) -> Result<UniformLevels, MethodError> {
    span(samples.min() + samples.center, samples.max() + samples.center, count, symmetric)
}

/// [`uniform_min_max`] of values whose smallest and largest are known.
///
/// # Errors
/// [`MethodError::Overflow`] when the span leaves the range of f32.
pub fn span(mut low: f64, mut high: f64, count: usize, symmetric: bool) -> Result<UniformLevels, MethodError> {
    let magnitude = high.abs().max(low.abs()) as f32;
    if symmetric {
        high = high.abs().max(low.abs());
        low = -high;
    }
    let step = (high - low) / count as f64;
    if ((high - low) as f32).is_finite() {
        return Ok(UniformLevels { offset: (low + 0.5 * step) as f32, step: step as f32 });
    }
    Err(MethodError::Overflow { what: "a quantization level", magnitude })
}

/// Uniform levels of least MSE. For fixed cells the best `offset` and `step` are the linear regression of the samples
/// on their indices; regression and nearest-level cells alternate until the MSE stands still, from several spans,
/// and the best is kept. `symmetric` holds the levels at `±step/2, ±3·step/2, …`.
///
/// # Errors
/// [`MethodError::Overflow`] when a level leaves the range of f32.
pub fn uniform_min_mse(samples: &Samples, count: usize, symmetric: bool) -> Result<UniformLevels, MethodError> {
    let full = uniform_min_max(samples, count, symmetric)?;
    if full.step == 0.0 {
        return Ok(full);
    }
    let middle = (count - 1) as f64 / 2.0;
    let anchor = if symmetric { -samples.center } else { 0.0 };
    let mut best = (f64::INFINITY, full);
    for (mut offset, mut step) in starting_grids(samples, count, full, symmetric) {
        let mut error = f64::INFINITY;
        for _ in 0..MAX_REGRESSIONS {
            let starts = samples.cells((0..count).map(|i| offset + i as f64 * step));
            let fit = regress(samples, &starts, middle, symmetric.then_some(anchor));
            let done = error - fit.error <= 1e-5 * fit.error;
            (error, offset, step) = (fit.error, fit.offset, fit.step);
            if done {
                break;
            }
        }
        if error < best.0 && step > 0.0 {
            let levels = UniformLevels {
                offset: finite((offset + samples.center) as f32, samples)?,
                step: finite(step as f32, samples)?,
            };
            best = (error, levels);
        }
    }
    Ok(best.1)
}

const MAX_REGRESSIONS: usize = 60;

/// Offsets (relative to the mean) and steps to start from. The full span is among them, so that the result is never
/// worse than it; spans of 1.5 to 9 deviations about the middle hold the optimum of light and heavy tails, and shares of
/// the full span from either end that of lopsided samples.
fn starting_grids(samples: &Samples, count: usize, full: UniformLevels, symmetric: bool) -> Vec<(f64, f64)> {
    let middle = (count - 1) as f64 / 2.0;
    let low = f64::from(full.offset) - samples.center;
    let span = f64::from(full.step) * (count - 1) as f64;
    let spread = (samples.squares / samples.len() + if symmetric { samples.center.powi(2) } else { 0.0 }).sqrt();
    let anchor = if symmetric { -samples.center } else { 0.0 };
    let about = |span: f64| (anchor - 0.5 * span, span / (2.0 * middle));
    let mut grids = vec![(low, f64::from(full.step))];
    grids.extend([1.5, 2.2, 3.0, 4.0, 5.0, 6.5, 9.0].map(|k| about(k * spread)));
    if !symmetric {
        for share in [0.75, 0.5, 0.3] {
            let step = share * span / (2.0 * middle);
            grids.extend([(low, step), (low + (1.0 - share) * span, step)]);
        }
    }
    grids
}

struct Regression {
    error: f64,
    offset: f64,
    step: f64,
}

/// Least squares of the samples on `u = i − middle`: `x ≈ a + step·u`, with `a` held at `anchor` when given.
fn regress(samples: &Samples, starts: &[usize], middle: f64, anchor: Option<f64>) -> Regression {
    let n = samples.len();
    let (mut su, mut suu, mut sxu) = (0.0, 0.0, 0.0);
    for (i, edge) in starts.windows(2).enumerate() {
        let (count, sum) = samples.cell(edge[0], edge[1]);
        let u = i as f64 - middle;
        su += u * count;
        suu += u * u * count;
        sxu += u * sum;
    }
    let sx = samples.sums[samples.values.len()];
    let (a, step) = match anchor {
        Some(a) => (a, (sxu - a * su) / suu.max(f64::MIN_POSITIVE)),
        None => {
            let spread = suu - su * su / n;
            let step = if spread > 0.0 { (sxu - sx * su / n) / spread } else { 0.0 };
            (sx / n - step * su / n, step)
        }
    };
    let error = samples.squares - 2.0 * (a * sx + step * sxu) + n * a * a + 2.0 * a * step * su + step * step * suu;
    Regression { error: error.max(0.0), offset: a - middle * step, step }
}

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
            // Odd and even powers give heavy tails and lopsided samples.
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
        let error = uniform_min_max(&samples, 2, false).expect_err("6e38 is no f32");
        assert!(error.to_string().contains("rescale"), "{error}");
    }
}
