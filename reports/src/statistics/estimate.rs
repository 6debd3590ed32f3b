//! Estimates with intervals, from several seeds and repeats.

use super::distributions::t95;
use serde::Serialize;

/// A central value with a 95% interval around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean or median.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Number of observations.
    pub count: usize,
}

/// The mean, and the sum of squared deviations from it.
pub(super) fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum())
}

/// Mean of independent repetitions (seeds) with Student's 95% interval. A single value has no interval.
pub fn mean(values: &[f64]) -> Option<Estimate> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (mean, squares) = moments(values);
    let half = if n < 2 { 0.0 } else { t95(n - 1) * (squares / (n - 1) as f64 / n as f64).sqrt() };
    Some(Estimate { value: mean, low: mean - half, high: mean + half, count: n })
}

/// A mean over `count` independent draws with this standard deviation, with its 95% interval. Returns None for fewer
/// than two draws.
pub fn of_sample(value: f64, deviation: f64, count: usize) -> Option<Estimate> {
    let half = t95(count.checked_sub(1).filter(|df| *df > 0)?) * deviation / (count as f64).sqrt();
    Some(Estimate { value, low: value - half, high: value + half, count })
}

/// The median; for an even number of values, the mean of the two middle ones.
pub fn median(values: &[f64]) -> Option<f64> {
    let (mut values, n) = (values.to_vec(), values.len());
    if n == 0 {
        return None;
    }
    // Selection takes linear time; sorting would not.
    let (below, &mut middle, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return Some(middle);
    }
    below.iter().copied().max_by(f64::total_cmp).map(|left| 0.5 * (left + middle))
}

/// Logarithms of the median timing of each process. Repeats within a process are not independent, so only processes
/// count as observations. Medians ignore single repeats that were disturbed, and logarithms turn factors into
/// differences, symmetric up and down. Values that are not positive are not timings and are ignored.
fn logarithms(groups: &[Vec<f64>]) -> Vec<f64> {
    groups.iter().filter_map(|group| median(group)).map(f64::ln).filter(|log| log.is_finite()).collect()
}

/// Centre of timings, grouped by process: the geometric mean of the medians of the processes, with Student's 95%
/// interval over processes. A single process has no interval. Returns None if there are no timings.
pub fn timing(groups: &[Vec<f64>]) -> Option<Estimate> {
    let of_logarithms = mean(&logarithms(groups))?;
    let [value, low, high] = [of_logarithms.value, of_logarithms.low, of_logarithms.high].map(f64::exp);
    Some(Estimate { value, low, high, count: groups.iter().map(Vec::len).sum() })
}

/// Ratio of two sets of timings, grouped by process, with Student's 95% interval for the difference of two means of
/// logarithms. Both sets are assumed to have the same variance, since the same machine ran nearly the same program. If
/// processes have a log-normal distribution, which is nearly true, the interval contains the true ratio in 95% of all
/// cases even for few processes. Returns None if a set is empty or neither has two processes.
pub fn ratio_of_timings(numerator: &[Vec<f64>], denominator: &[Vec<f64>]) -> Option<Estimate> {
    let (above, below) = (logarithms(numerator), logarithms(denominator));
    if above.is_empty() || below.is_empty() {
        return None;
    }
    let (n, m) = (above.len(), below.len());
    let ((above, first), (below, second)) = (moments(&above), moments(&below));
    let df = n + m - 2;
    if df == 0 {
        return None;
    }
    let variance = (first + second) / df as f64;
    let half = t95(df) * (variance * (1.0 / n as f64 + 1.0 / m as f64)).sqrt();
    let difference = above - below;
    let [value, low, high] = [difference, difference - half, difference + half].map(f64::exp);
    let count = numerator.iter().chain(denominator).map(Vec::len).sum();
    Some(Estimate { value, low, high, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::difference::standard_normal;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_interval_of_three_seeds_is_students() {
        let e = mean(&[1.0, 2.0, 3.0]).expect("values");
        assert_eq!(e.value, 2.0);
        assert!((e.high - (2.0 + 4.302_653 / 3f64.sqrt())).abs() < 1e-5);
        assert_eq!(mean(&[5.0]).map(|e| (e.low, e.high)), Some((5.0, 5.0)));
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn medians_by_hand() {
        assert_eq!(median(&[10.0, 2.0, 1.0, 3.0]), Some(2.5));
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[7.0]), median(&[])), (Some(2.0), Some(7.0), None));
    }

    #[test]
    fn a_timing_passes_over_a_disturbed_repeat_and_counts_processes() {
        let disturbed = vec![10.0, 10.1, 9.9, 100.0, 10.0];
        let alone = timing(std::slice::from_ref(&disturbed)).expect("values");
        assert!(
            (alone.value - 10.0).abs() < 1e-9 && alone.low == alone.value && alone.high == alone.value,
            "{alone:?}"
        );
        // Processes that differ widen the interval, even if the repeats of each are alike and many.
        let apart = |repeats: usize| timing(&[10.0, 11.0, 12.1].map(|v| vec![v; repeats])).expect("values");
        assert!((apart(3).value - 11.0).abs() < 1e-9 && apart(3).high > 12.5, "{:?}", apart(3));
        assert_eq!((apart(3).low, apart(3).high), (apart(300).low, apart(300).high));
        assert_eq!(
            timing(&[vec![], disturbed]).map(|e| e.value),
            Some(alone.value),
            "a process without timings is none"
        );
        assert_eq!((timing(&[]), ratio_of_timings(&[vec![1.0]], &[vec![1.0]])), (None, None));
    }

    /// Timings of several processes that differ by `between`, with repeats that differ by `within`, as fractions.
    fn processes(count: usize, between: f64, within: f64, rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
        let mut normal = || standard_normal(rng);
        let mut process = || {
            let centre = between * normal();
            (0..5).map(|_| (centre + within * normal()).exp()).collect()
        };
        (0..count).map(|_| process()).collect()
    }

    /// The meaning of "95%": of all intervals between runs of the same program, 95 of 100 contain 1, with few processes
    /// as with many. Percentiles of a bootstrap over three processes contain it in 88 of 100.
    #[test]
    fn intervals_cover_what_they_say() {
        const COMPARISONS: usize = 4000;
        for (count, between) in [(2, 0.03), (3, 0.03), (3, 0.10), (5, 0.03), (10, 0.05)] {
            let mut rng = ChaCha8Rng::seed_from_u64(7);
            let (mut ratios, mut timings) = (0, 0);
            for _ in 0..COMPARISONS {
                let mut draw = || processes(count, between, 0.01, &mut rng);
                let (before, after) = (draw(), draw());
                let holds = |e: Option<Estimate>| e.is_some_and(|e| e.low <= 1.0 && 1.0 <= e.high);
                ratios += usize::from(holds(ratio_of_timings(&after, &before)));
                timings += usize::from(holds(timing(&after)));
            }
            // Over 4000 comparisons the standard deviation of the fraction is .0034; allow four times that.
            for covered in [ratios, timings] {
                let share = covered as f64 / COMPARISONS as f64;
                assert!((share - 0.95).abs() < 0.014, "{count} processes apart by {between}: {share}");
            }
        }
    }
}
