//! Evenly spaced levels: spans, least MSE, quantiles, and spans that are cross-validated.

use super::{Samples, finite};
use crate::MethodError;

/// Evenly spaced levels `offset + i·step`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UniformLevels {
    /// The lowest level.
    pub offset: f32,
    /// Distance between neighbouring levels; 0 when all samples are equal.
    pub step: f32,
}

/// Uniform levels that span the samples: from the smallest to the largest, or from `−max|x|` to `max|x|`, both ends
/// included, as in post-training quantization. With one bit, two levels at the very ends would ignore everything
/// between, so the levels are the midpoints of the two halves.
///
/// # Errors
/// [`MethodError::Overflow`] when the span leaves the range of f32.
pub fn uniform_min_max(samples: &Samples, count: usize, symmetric: bool) -> Result<UniformLevels, MethodError> {
    let levels = span(samples.min() + samples.center, samples.max() + samples.center, count, symmetric);
    // The top level is computed from the others, so the whole span must be finite.
    finite(levels.step * (count - 1) as f32, samples)?;
    Ok(levels)
}

/// [`uniform_min_max`] of values whose smallest and largest are known.
pub fn span(mut low: f64, mut high: f64, count: usize, symmetric: bool) -> UniformLevels {
    if symmetric {
        high = high.abs().max(low.abs());
        low = -high;
    }
    if count == 2 {
        let step = 0.5 * (high - low);
        return UniformLevels { offset: (low + 0.5 * step) as f32, step: step as f32 };
    }
    UniformLevels { offset: low as f32, step: ((high - low) / (count - 1) as f64) as f32 }
}

/// Uniform levels of least MSE. For fixed cells, the best `offset` and `step` are the linear regression of the samples
/// on their indices. Alternating regression and nearest-level cells never increases the MSE, but converges slowly when
/// there are many levels. Therefore: a few regressions from several spans, then a golden-section search over the step
/// (and the midpoint) of the best, then regressions until they converge. `symmetric` holds the levels at
/// `±step/2, ±3·step/2, …`.
///
/// # Errors
/// [`MethodError::Overflow`] when a level leaves the range of f32.
pub fn uniform_min_mse(samples: &Samples, count: usize, symmetric: bool) -> Result<UniformLevels, MethodError> {
    let full = uniform_min_max(samples, count, symmetric)?;
    if full.step == 0.0 {
        return Ok(full);
    }
    let anchor = symmetric.then_some(-samples.center);
    let mut best = (f64::INFINITY, CenteredGrid { low: 0.0, step: 0.0 });
    for start in starting_grids(samples, count, full, symmetric) {
        let (error, grid) = regressions(samples, start, count, anchor, 8);
        if error < best.0 && grid.step > 0.0 {
            best = (error, grid);
        }
    }
    if best.1.step == 0.0 {
        return Ok(full);
    }
    for _ in 0..3 {
        let before = best.0;
        let middle = best.1.low + 0.5 * best.1.step * (count - 1) as f64;
        let about = |step: f64, middle: f64| CenteredGrid { low: middle - 0.5 * step * (count - 1) as f64, step };
        let step =
            golden_section(0.5 * best.1.step, 2.0 * best.1.step, |step| about(step, middle).error(samples, count));
        let mut candidates = vec![about(step, middle)];
        if anchor.is_none() {
            let reach = 0.25 * step * (count - 1) as f64;
            let shift = golden_section(-reach, reach, |shift| about(step, middle + shift).error(samples, count));
            candidates.push(about(step, middle + shift));
        }
        for candidate in candidates {
            let (error, grid) = regressions(samples, candidate, count, anchor, 60);
            if error < best.0 && grid.step > 0.0 {
                best = (error, grid);
            }
        }
        if before - best.0 <= 1e-4 * best.0 {
            break;
        }
    }
    let CenteredGrid { low, step } = best.1;
    Ok(UniformLevels { offset: finite((low + samples.center) as f32, samples)?, step: finite(step as f32, samples)? })
}

/// Uniform levels between two quantiles, so that `share` percent of the samples lie inside. With `symmetric`, between
/// plus and minus a quantile of the absolute values.
///
/// # Errors
/// [`MethodError::Overflow`] when the span leaves the range of f32.
pub fn uniform_percentile(
    samples: &Samples,
    count: usize,
    symmetric: bool,
    share: f64,
) -> Result<UniformLevels, MethodError> {
    let quantile = |sorted: &[f64], p: f64| {
        let place = p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    let outside = 1.0 - share / 100.0;
    let (low, high) = if symmetric {
        let mut magnitudes: Vec<f64> = samples.values.iter().map(|v| (v + samples.center).abs()).collect();
        magnitudes.sort_unstable_by(f64::total_cmp);
        let high = quantile(&magnitudes, 1.0 - outside);
        (-high, high)
    } else {
        let at = |p| quantile(&samples.values, p) + samples.center;
        (at(0.5 * outside), at(1.0 - 0.5 * outside))
    };
    let levels = span(low, high, count, symmetric);
    finite(levels.offset + levels.step * (count - 1) as f32, samples)?;
    Ok(levels)
}

/// Centroids of evenly spaced cells that are `step` RMS deviations wide, with the mean in the middle of one, and the
/// thresholds between the cells. The outermost cells are open. The level of a cell without samples is its midpoint.
///
/// # Errors
/// [`MethodError::Overflow`] when a threshold leaves the range of f32.
pub fn uniform_threshold(samples: &Samples, count: usize, step: f64) -> Result<(Vec<f32>, Vec<f32>), MethodError> {
    let width = step * (samples.squares / samples.len()).sqrt();
    let edge = |i: usize| (i as f64 + 0.5 - (count / 2) as f64) * width;
    let edges: Vec<f64> = (0..count - 1).map(edge).collect();
    let ranks = edges.iter().map(|&t| samples.rank(t));
    let starts: Vec<usize> = std::iter::once(0).chain(ranks).chain([samples.values.len()]).collect();
    let levels = starts.windows(2).enumerate().map(|(i, edge)| {
        let (n, sum) = samples.cell(edge[0], edge[1]);
        if n > 0.0 { sum / n } else { (i as f64 - (count / 2) as f64) * width }
    });
    let place = |value: f64| finite((value + samples.center) as f32, samples);
    Ok((levels.map(place).collect::<Result<_, _>>()?, edges.iter().map(|&t| place(t)).collect::<Result<_, _>>()?))
}

/// Cross-validated errors of spans: the summed squared error of uniform levels that are fitted to one half of the
/// values and applied to the other half, and vice versa, for each of [`SHARES`]. A share says how far the span of least
/// MSE is moved towards the full span, or beyond it. With many levels the tails decide, and few samples say little
/// about them: the span that is best for the samples clips later values. A single variable would leave the choice to a
/// few outliers; sums over several variables are more reliable.
///
/// `values` may have any order. All errors are zero if there are few levels or values, where no cross-validation is
/// needed.
///
/// # Errors
/// [`MethodError::Overflow`] when a level leaves the range of f32.
pub fn span_errors(values: &[f32], count: usize, symmetric: bool) -> Result<[f64; SHARES.len()], MethodError> {
    let mut errors = [0f64; SHARES.len()];
    if count < MANY_LEVELS || values.len() < MANY_LEVELS {
        return Ok(errors);
    }
    let half = |parity: usize| Samples::new(values.iter().copied().skip(parity).step_by(2));
    let halves = [half(0), half(1)];
    for (mine, other) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
        let (best, full) = (uniform_min_mse(mine, count, symmetric)?, uniform_min_max(mine, count, symmetric)?);
        for (error, share) in errors.iter_mut().zip(SHARES) {
            let levels = between(best, full, count, share);
            let grid = CenteredGrid { low: f64::from(levels.offset) - other.center, step: f64::from(levels.step) };
            *error += grid.error(other, count);
        }
    }
    Ok(errors)
}

/// The share of least error; the first one on a tie.
pub fn best_share(errors: &[f64; SHARES.len()]) -> f64 {
    let least = errors.iter().zip(SHARES).min_by(|a, b| a.0.total_cmp(b.0));
    least.map_or(0.0, |(_, share)| share)
}

/// [`uniform_min_mse`] with its span moved by `share` towards the full one.
///
/// # Errors
/// [`MethodError::Overflow`] when a level leaves the range of f32.
pub fn uniform_moved(
    samples: &Samples,
    count: usize,
    symmetric: bool,
    share: f64,
) -> Result<UniformLevels, MethodError> {
    let best = uniform_min_mse(samples, count, symmetric)?;
    let levels = between(best, uniform_min_max(samples, count, symmetric)?, count, share);
    finite(levels.offset + levels.step * (count - 1) as f32, samples)?;
    Ok(levels)
}

/// Minimum numbers of levels and of samples for cross-validation.
const MANY_LEVELS: usize = 32;

/// Candidates for how far the span is moved from the best span for the samples (0) to the full span (1).
pub const SHARES: [f64; 7] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.15, 1.3];

/// Interpolates between two sets of levels.
fn between(a: UniformLevels, b: UniformLevels, count: usize, share: f64) -> UniformLevels {
    if share == 0.0 {
        return a;
    }
    let intervals = (count - 1) as f64;
    let ends = |l: UniformLevels| (f64::from(l.offset), f64::from(l.offset) + f64::from(l.step) * intervals);
    let ((a0, a1), (b0, b1)) = (ends(a), ends(b));
    let (low, high) = (a0 + share * (b0 - a0), a1 + share * (b1 - a1));
    UniformLevels { offset: low as f32, step: ((high - low) / intervals) as f32 }
}

/// Levels `low + i·step`, relative to the mean of the samples.
#[derive(Clone, Copy, Debug)]
struct CenteredGrid {
    low: f64,
    step: f64,
}

impl CenteredGrid {
    fn cells(&self, samples: &Samples, count: usize) -> Vec<usize> {
        samples.cells((0..count).map(|i| self.low + i as f64 * self.step))
    }

    /// `Σ(x−l)² = Σx² − 2·Σ l·Σ_cell x + Σ n·l²`.
    fn error(&self, samples: &Samples, count: usize) -> f64 {
        let starts = self.cells(samples, count);
        let terms = starts.windows(2).enumerate().map(|(i, edge)| {
            let (n, sum) = samples.cell(edge[0], edge[1]);
            let level = self.low + i as f64 * self.step;
            level * (n * level - 2.0 * sum)
        });
        samples.squares + terms.sum::<f64>()
    }
}

/// Alternates cells and regression until the error no longer falls.
fn regressions(
    samples: &Samples,
    start: CenteredGrid,
    count: usize,
    anchor: Option<f64>,
    most: usize,
) -> (f64, CenteredGrid) {
    let (mut grid, mut error) = (start, f64::INFINITY);
    for _ in 0..most {
        let fit = regress(samples, &grid.cells(samples, count), (count - 1) as f64 / 2.0, anchor);
        let done = error - fit.error <= 1e-5 * fit.error;
        (error, grid) = (fit.error, CenteredGrid { low: fit.offset, step: fit.step });
        if done {
            break;
        }
    }
    (error, grid)
}

/// Golden-section search: the minimum of a unimodal function between `low` and `high`, to a thousandth of the interval.
fn golden_section(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let ratio = 0.5 * (5f64.sqrt() - 1.0);
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut fa, mut fb) = (f(a), f(b));
    for _ in 0..16 {
        if fa < fb {
            (high, b, fb) = (b, a, fa);
            a = high - ratio * (high - low);
            fa = f(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + ratio * (high - low);
            fb = f(b);
        }
    }
    0.5 * (low + high)
}

/// Initial grids. The full span is among them, so the result is never worse than it. Spans of 1.5 to 9 deviations about
/// the middle cover the optimum for light and heavy tails; fractions of the full span from either end cover skewed
/// samples.
fn starting_grids(samples: &Samples, count: usize, full: UniformLevels, symmetric: bool) -> Vec<CenteredGrid> {
    let intervals = (count - 1) as f64;
    let low = f64::from(full.offset) - samples.center;
    let span = f64::from(full.step) * intervals;
    let spread = (samples.squares / samples.len() + if symmetric { samples.center.powi(2) } else { 0.0 }).sqrt();
    let anchor = if symmetric { -samples.center } else { 0.0 };
    let mut grids = vec![CenteredGrid { low, step: f64::from(full.step) }];
    grids.extend([1.5, 2.2, 3.0, 4.0, 5.0, 6.5, 9.0].map(|k| {
        let span = k * spread;
        CenteredGrid { low: anchor - 0.5 * span, step: span / intervals }
    }));
    if !symmetric {
        for share in [0.75, 0.5, 0.3] {
            let step = share * span / intervals;
            grids.extend([CenteredGrid { low, step }, CenteredGrid { low: low + (1.0 - share) * span, step }]);
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
