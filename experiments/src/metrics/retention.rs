//! How much of a score codes keep, with an interval over what was drawn: queries, or rows that a classifier is tested on.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use record::{Measured, Metric};

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

/// The ends of the interval, as shares of the resamples.
const ENDS: [f64; 2] = [0.025, 0.975];

/// The mean score on codes over the mean score on raw vectors, and the ends of its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retention {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// The metrics that a retention is written to: the value, and the ends of its interval.
pub struct RetentionMetrics {
    pub value: &'static Metric,
    pub low: &'static Metric,
    pub high: &'static Metric,
}

/// The mean; 0 without any.
pub fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// The retention of paired scores: of the same query or row, on raw vectors and on codes. The interval is that of the
/// percentile bootstrap over pairs, with a fixed seed. Returns None if the mean score on raw vectors is 0.
pub fn retention(raw: &[f64], coded: &[f64]) -> Option<Retention> {
    let (below, above): (f64, f64) = (raw.iter().sum(), coded.iter().sum());
    if below <= 0.0 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut ratios = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let (mut below, mut above) = (0.0, 0.0);
        for _ in 0..raw.len() {
            let at = rng.random_range(0..raw.len());
            below += raw[at];
            above += coded[at];
        }
        // A resample of queries that nothing was found for has no ratio.
        if below > 0.0 {
            ratios.push(above / below);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let value = above / below;
    let end = |share: f64| ratios.get((share * (ratios.len().max(1) - 1) as f64).round() as usize).copied();
    let [low, high] = ENDS.map(|share| end(share).unwrap_or(value));
    Some(Retention { value, low, high })
}

impl RetentionMetrics {
    /// The values, before a search path or a number of neighbours is added.
    pub fn measured(&self, found: Retention) -> [Measured; 3] {
        [(self.value, found.value), (self.low, found.low), (self.high, found.high)]
            .map(|(metric, value)| Measured::new(metric, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_scores_are_kept_for_certain() {
        let scores: Vec<f64> = (0..50).map(|i| f64::from(i % 7) / 7.0).collect();
        assert_eq!(retention(&scores, &scores), Some(Retention { value: 1.0, low: 1.0, high: 1.0 }));
        assert_eq!(retention(&[0.0, 0.0], &[0.5, 0.5]), None);
        assert_eq!(retention(&[], &[]), None);
    }

    #[test]
    fn the_interval_is_that_of_theory() {
        // One query in ten is lost, independently: the share kept has a standard deviation of √(0.9·0.1/1000).
        let raw = vec![1.0; 1000];
        let coded: Vec<f64> = (0..1000).map(|i| if i % 10 == 0 { 0.0 } else { 1.0 }).collect();
        let found = retention(&raw, &coded).expect("a ratio");
        let half = 1.96 * (0.9 * 0.1 / 1000.0_f64).sqrt();
        assert!((found.value - 0.9).abs() < 1e-12);
        assert!((found.low - (0.9 - half)).abs() < 0.002 && (found.high - (0.9 + half)).abs() < 0.002, "{found:?}");
        assert_eq!(retention(&raw, &coded), Some(found), "the draws are the same each time");
    }

    #[test]
    fn pairs_stay_together() {
        // Every query loses exactly half: nothing depends on which are drawn.
        let raw: Vec<f64> = (1..40).map(f64::from).collect();
        let coded: Vec<f64> = raw.iter().map(|score| score / 2.0).collect();
        let found = retention(&raw, &coded).expect("a ratio");
        assert!((found.low - 0.5).abs() < 1e-12 && (found.high - 0.5).abs() < 1e-12, "{found:?}");
    }
}
