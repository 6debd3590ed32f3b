//! Estimates with intervals: what several seeds and repeats say together.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A central value with a 95% interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Mean or median.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Observations behind it.
    pub count: usize,
}

/// Two-sided 95% quantiles of Student's t for 1 to 30 degrees of freedom.
const T95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// Mean of independent repetitions (seeds) with Student's 95% interval. A single one has no interval.
pub fn mean(values: &[f64]) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let half = if n < 2 {
        0.0
    } else {
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
        T95.get(n - 2).copied().unwrap_or(1.96) * (variance / n as f64).sqrt()
    };
    Some(Estimate { value: mean, low: mean - half, high: mean + half, count: n })
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    median_in_place(&mut values.to_vec())
}

/// [`median`], which leaves the values in another order: selection takes linear time, where sorting does not.
fn median_in_place(values: &mut [f64]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, &mut middle, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return Some(middle);
    }
    below.iter().copied().max_by(f64::total_cmp).map(|left| 0.5 * (left + middle))
}

const RESAMPLES: usize = 1000;

/// Seed of all resampling: the same data gives the same interval.
const SEED: u64 = 0x5eed;

/// The median of a resample in two steps, as the values came about: processes with replacement, then repeats of each.
/// Repeats of one process are alike; drawing them as if they were independent would make intervals too narrow.
/// `resample` is scratch.
fn resampled_median(groups: &[Vec<f64>], rng: &mut ChaCha8Rng, resample: &mut Vec<f64>) -> Option<f64> {
    resample.clear();
    for _ in groups {
        let group = &groups[rng.random_range(0..groups.len())];
        resample.extend((0..group.len()).map(|_| group[rng.random_range(0..group.len())]));
    }
    median_in_place(resample)
}

/// The middle 95% of resampled statistics around the value itself.
fn percentile_interval(value: f64, mut resampled: Vec<f64>, count: usize) -> Estimate {
    resampled.sort_by(f64::total_cmp);
    let at = |share: f64| resampled[((resampled.len() - 1) as f64 * share).round() as usize];
    Estimate { value, low: at(0.025), high: at(0.975), count }
}

fn without_empty(groups: &[Vec<f64>]) -> Vec<Vec<f64>> {
    groups.iter().filter(|group| !group.is_empty()).cloned().collect()
}

/// Quotient of the medians of two sets of timings, grouped by process, with its 95% percentile-bootstrap interval.
pub fn ratio_of_medians(numerator: &[Vec<f64>], denominator: &[Vec<f64>]) -> Option<Estimate> {
    let (numerator, denominator) = (without_empty(numerator), without_empty(denominator));
    let (above, below) = (numerator.concat(), denominator.concat());
    let value = median(&above)? / median(&below)?;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut scratch = Vec::new();
    let mut draw = |groups: &[Vec<f64>]| resampled_median(groups, &mut rng, &mut scratch);
    let ratios = (0..RESAMPLES).filter_map(|_| Some(draw(&numerator)? / draw(&denominator)?)).collect();
    Some(percentile_interval(value, ratios, above.len() + below.len()))
}

/// Median of timings, grouped by process, with the 95% percentile-bootstrap interval (Efron 1979), from a fixed seed.
pub fn median_bootstrap(groups: &[Vec<f64>]) -> Option<Estimate> {
    let groups = without_empty(groups);
    let all = groups.concat();
    let value = median(&all)?;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut scratch = Vec::new();
    let medians = (0..RESAMPLES).filter_map(|_| resampled_median(&groups, &mut rng, &mut scratch)).collect();
    Some(percentile_interval(value, medians, all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_three_seeds_is_students() {
        let e = mean(&[1.0, 2.0, 3.0]).expect("values");
        assert_eq!(e.value, 2.0);
        assert!((e.high - (2.0 + 4.303 / 3f64.sqrt())).abs() < 1e-12);
        assert_eq!(mean(&[5.0]).map(|e| (e.low, e.high)), Some((5.0, 5.0)));
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn the_bootstrap_interval_holds_the_median_and_ignores_an_outlier() {
        let values = [10.0, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98, 100.0];
        let one = [values.to_vec()];
        let e = median_bootstrap(&one).expect("values");
        assert!(e.low <= e.value && e.value <= e.high && e.high < 11.0, "{e:?}");
        assert_eq!(median_bootstrap(&one), Some(e), "deterministic");
        // Processes that differ widen the interval, however alike the repeats of each are.
        let apart = [vec![10.0; 20], vec![11.0; 20], vec![12.0; 20]];
        let e = median_bootstrap(&apart).expect("values");
        assert_eq!((e.low, e.value, e.high), (10.0, 11.0, 12.0));
        assert_eq!(median(&[10.0, 2.0, 1.0, 3.0]), Some(2.5));
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[7.0]), median(&[])), (Some(2.0), Some(7.0), None));
    }
}
