//! The range of vectors that f32 can compare: kernels square differences, and squares must neither overflow nor
//! underflow.

use std::fmt;

/// The largest norm of a vector. Distances between two such vectors are at most four times its square, with room for sums of several.
pub const LARGEST_NORM: f32 = 1e18;

/// The smallest difference between different vectors, in the component in which they differ most. Its square, and a
/// millionth of that, are f32 values of full precision.
pub const LEAST_DIFFERENCE: f32 = 1e-15;

/// Number of pairs that are compared to estimate the differences between vectors.
const PAIRS: usize = 1000;

/// Vectors whose distances f32 cannot hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutOfRange {
    /// A vector is too large.
    Large {
        /// The largest absolute value of a component.
        magnitude: f32,
        /// The largest that is allowed in this dimension.
        limit: f32,
    },
    /// Vectors are too close to each other.
    Close {
        /// The median, over pairs of different vectors, of the largest difference between their components.
        difference: f32,
    },
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutOfRange::Large { magnitude, limit } => write!(
                f,
                "squared distances overflow f32: the largest value is {magnitude:e}, and {limit:e} is the most in this dimension; \
                 rescale the vectors"
            ),
            OutOfRange::Close { difference } => write!(
                f,
                "squared distances vanish in f32: vectors differ by {difference:e}, and {LEAST_DIFFERENCE:e} is the least; \
                 rescale the vectors"
            ),
        }
    }
}

impl std::error::Error for OutOfRange {}

/// Checks `n` vectors of `dim` components. `magnitude` is the largest absolute value, and `value(i, j)` returns
/// component `j` of vector `i`. Equal vectors are in range. Check for NaN beforehand.
///
/// # Errors
/// Names the bound that the vectors exceed.
pub fn check_range(
    n: usize,
    dim: usize,
    magnitude: f32,
    value: impl Fn(usize, usize) -> f32,
) -> Result<(), OutOfRange> {
    let limit = LARGEST_NORM / (dim.max(1) as f32).sqrt();
    if magnitude > limit {
        return Err(OutOfRange::Large { magnitude, limit });
    }
    match median_difference(n, dim, value) {
        Some(difference) if difference < LEAST_DIFFERENCE => Err(OutOfRange::Close { difference }),
        _ => Ok(()),
    }
}

/// The vectors among `n` whose differences [`check_range`] looks at.
pub fn rows_of_range_check(n: usize) -> Vec<usize> {
    (0..n).step_by((n / PAIRS).max(1)).collect()
}

/// The median of `max_j |x_j − y_j|` over pairs of vectors, evenly spread, that are not equal; None if there is none.
fn median_difference(n: usize, dim: usize, value: impl Fn(usize, usize) -> f32) -> Option<f32> {
    let chosen = rows_of_range_check(n);
    let difference =
        |pair: &[usize]| (0..dim).map(|j| (value(pair[0], j) - value(pair[1], j)).abs()).fold(0f32, f32::max);
    let mut differences: Vec<f32> = chosen.windows(2).map(difference).filter(|&d| d > 0.0).collect();
    differences.sort_unstable_by(f32::total_cmp);
    differences.get(differences.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[[f32; 2]]) -> Result<(), OutOfRange> {
        let magnitude = rows.iter().flatten().fold(0f32, |m, v| m.max(v.abs()));
        check_range(rows.len(), 2, magnitude, |i, j| rows[i][j])
    }

    #[test]
    fn what_f32_can_square_is_in_range() {
        for unit in [1e-14, 1e-3, 1.0, 1e17] {
            assert_eq!(check(&[[unit, 0.0], [0.0, -unit], [unit, unit]]), Ok(()), "{unit:e}");
        }
        // All vectors are equal.
        for same in [0.0, 1e-40, 1e17] {
            assert_eq!(check(&[[same; 2]; 3]), Ok(()), "{same:e}");
        }
        assert_eq!(check(&[]), Ok(()));
    }

    #[test]
    fn what_overflows_or_vanishes_is_told_apart() {
        let large = check(&[[8e17, 0.0], [0.0, 1.0]]).expect_err("its norm may be beyond the limit");
        assert!(matches!(large, OutOfRange::Large { magnitude: 8e17, .. }), "{large}");
        let close = check(&[[1e-40, 0.0], [0.0, 2e-40]]).expect_err("squares of it are zero");
        assert!(matches!(close, OutOfRange::Close { .. }), "{close}");
        // One component that all share, or one vector far away, hides nothing.
        check(&[[1.0, 1e-25], [1.0, 2e-25], [1.0, 3e-25]]).expect_err("a constant component");
        check(&[[1e-25, 0.0], [0.0, 2e-25], [3e-25, 0.0], [0.0, 1.0], [0.0, 2e-25], [1e-25, 0.0]])
            .expect_err("an outlier");
        for error in [large, close] {
            assert!(error.to_string().contains("rescale"), "{error}");
        }
    }
}
