//! Median and spread of repeated timings.

use super::estimate::median;

/// The median of some times; NaN if there are none.
pub fn middle(seconds: &[f64]) -> f64 {
    median(seconds).unwrap_or(f64::NAN)
}

/// Half the distance between the shortest and the longest time, as a fraction of the median.
pub fn spread(seconds: &[f64]) -> f64 {
    let (low, high) = range(seconds.iter().copied());
    0.5 * (high - low) / middle(seconds)
}

/// The smallest and the largest value.
pub fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_distance_around_the_middle() {
        assert_eq!(middle(&[1.0, 3.0, 2.0]), 2.0);
        assert_eq!(spread(&[1.0, 2.0, 3.0]), 0.5);
    }
}
