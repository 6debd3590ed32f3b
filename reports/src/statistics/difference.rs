//! Paired comparison of two methods: which test, how large the difference, and which difference would have been seen.

use super::distributions::{t_quantile, t_two_sided};
use super::estimate::{mean, moments};
use super::friedman::ranks;
use super::holm::fewest_pairs;
use super::signed_rank::{below_critical, hodges_lehmann, signed_rank};
use super::{ALPHA, Estimate};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The test that a comparison can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Test {
    /// Neither method is random: the difference is the same for every seed, and nothing is left to test.
    Exact,
    /// Student's t of paired differences, where a signed-rank test cannot reach significance with so few pairs.
    Student,
    /// Wilcoxon's signed-rank test.
    SignedRank {
        /// Whether its p-value is exact; otherwise it is a normal approximation.
        exact: bool,
    },
    /// There are too few pairs for any test.
    TooFew {
        /// Pairs that a test would need.
        needed: usize,
    },
}

/// The comparison of two methods in one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MethodComparison {
    /// The difference with its 95% interval, which is that of this comparison alone. The interval has zero width with a
    /// single pair.
    pub difference: Estimate,
    /// The test.
    pub test: Test,
    /// The p-value of this test alone; None without a test.
    pub p: Option<f64>,
}

/// Fewest seeds for Student's t.
pub const FEWEST_SEEDS: usize = 3;

/// Whether several seeds have the same difference, up to rounding.
fn same(values: &[f64]) -> bool {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (v.min(a), v.max(b)));
    values.len() > 1 && high - low <= ROUNDING * high.abs().max(low.abs())
}

/// The differences that count as independent pairs: one of each dataset whose seeds all have the same.
fn independent(differences: &[Vec<f64>]) -> Vec<f64> {
    differences.iter().flat_map(|values| if same(values) { &values[..1] } else { &values[..] }).copied().collect()
}

/// Differences that agree to this share of their size differ by rounding only.
const ROUNDING: f64 = 1e-9;

/// Compares two methods by the differences of their values with equal seeds, `differences[dataset][seed]`. `comparisons`
/// is the number of tests that share the level, this one included. Returns None without any difference.
///
/// Where a dataset has the same difference for every seed, its seeds are no independent pairs and count as one. The
/// signed-rank test is used where it has pairs enough to reach significance after a correction for the number of
/// comparisons, and then the difference is the estimate of Hodges and Lehmann. On one dataset, with fewer but at least
/// three seeds, Student's t is used, which assumes that differences over seeds are normal, as intervals over seeds do.
/// Over several datasets it is not: differences between datasets are not normal.
pub fn compare(differences: &[Vec<f64>], comparisons: usize) -> Option<MethodComparison> {
    let pairs = independent(differences);
    let plain = mean(&pairs)?;
    let single = differences.iter().filter(|values| !values.is_empty()).count() == 1;
    let n = pairs.len();
    if single && differences.iter().any(|values| same(values)) {
        return Some(MethodComparison { difference: plain, test: Test::Exact, p: None });
    }
    let needed = fewest_pairs(comparisons, ALPHA);
    if n >= needed {
        let found = signed_rank(&pairs);
        let difference = hodges_lehmann(&pairs, 1.0 - ALPHA).unwrap_or(plain);
        return Some(MethodComparison { difference, test: Test::SignedRank { exact: found.exact }, p: Some(found.p) });
    }
    if single && n >= FEWEST_SEEDS {
        let (_, squares) = moments(&pairs);
        let error = (squares / (n - 1) as f64 / n as f64).sqrt();
        let p = t_two_sided(plain.value / error, (n - 1) as f64);
        return Some(MethodComparison { difference: plain, test: Test::Student, p: Some(p) });
    }
    let needed = if single { FEWEST_SEEDS } else { needed };
    // Pairs of several datasets have no common distribution that an interval could rest on.
    let bare = Estimate { low: plain.value, high: plain.value, ..plain };
    let difference = if single { plain } else { bare };
    Some(MethodComparison { difference, test: Test::TooFew { needed }, p: None })
}

/// When a test calls differences real: its critical value.
enum Rule {
    /// |t| is at least this.
    Student { critical: f64 },
    /// The smaller sum of ranks is below this.
    SignedRank { critical: f64 },
}

impl Rule {
    fn rejects(&self, values: &[f64]) -> bool {
        let n = values.len();
        match self {
            Rule::Student { critical } => {
                let (mean, squares) = moments(values);
                mean.abs() >= critical * (squares / (n - 1) as f64 / n as f64).sqrt()
            }
            Rule::SignedRank { critical } => {
                let size: Vec<f64> = values.iter().map(|value| value.abs()).collect();
                let positive = ranks(&size).into_iter().zip(values).filter(|(_, value)| **value > 0.0);
                let positive: f64 = positive.map(|(rank, _)| rank).sum();
                positive.min((n * (n + 1)) as f64 / 2.0 - positive) < *critical
            }
        }
    }
}

/// The power at which a difference counts as visible.
const POWER: f64 = 0.8;

/// Draws of the simulation of power.
const DRAWS: usize = 1000;

/// Standard deviation of the independent pairs among differences; None with fewer than two.
pub fn deviation(differences: &[Vec<f64>]) -> Option<f64> {
    let pairs = independent(differences);
    let (_, squares) = moments(&pairs);
    (pairs.len() > 1).then(|| (squares / (pairs.len() - 1) as f64).sqrt())
}

/// The smallest true difference that a test of `n` pairs finds in 80% of all cases, in standard deviations of normal
/// differences, at the level of the first step of Holm's correction, ALPHA over the number of comparisons. (Later steps
/// are less strict, so a smaller difference may be found too.) None without a test.
pub fn least_visible(n: usize, comparisons: usize, test: Test) -> Option<f64> {
    if n < 2 {
        return None;
    }
    let level = ALPHA / comparisons.max(1) as f64;
    let rule = match test {
        Test::Student => Rule::Student { critical: t_quantile(1.0 - 0.5 * level, (n - 1) as f64) },
        Test::SignedRank { .. } => Rule::SignedRank { critical: below_critical(n, 0.5 * level) as f64 },
        Test::Exact | Test::TooFew { .. } => return None,
    };
    // The same draws for every difference: power then grows with the difference.
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let normal: Vec<Vec<f64>> = (0..DRAWS).map(|_| (0..n).map(|_| standard_normal(&mut rng)).collect()).collect();
    let power = |shift: f64| {
        let shifted = |values: &Vec<f64>| rule.rejects(&values.iter().map(|v| v + shift).collect::<Vec<_>>());
        normal.iter().filter(|values| shifted(values)).count() as f64 / DRAWS as f64
    };
    let (mut low, mut high) = (0.0, 1.0);
    while power(high) < POWER {
        if high > 1e6 {
            return None;
        }
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..10 {
        let middle = 0.5 * (low + high);
        if power(middle) < POWER { low = middle } else { high = middle }
    }
    Some(high)
}

/// A standard normal number (Box and Muller 1958).
pub(super) fn standard_normal(rng: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_follows_from_what_was_measured() {
        let test = |differences: &[Vec<f64>], comparisons| compare(differences, comparisons).map(|c| c.test);
        assert_eq!(test(&[], 1), None);
        assert_eq!(test(&[vec![1.0]], 1), Some(Test::TooFew { needed: 3 }), "one seed");
        assert_eq!(test(&[vec![1.0, 2.0]], 1), Some(Test::TooFew { needed: 3 }));
        assert_eq!(test(&[vec![1.0, 2.0, 4.0]], 1), Some(Test::Student));
        assert_eq!(test(&[vec![2.0; 3]], 1), Some(Test::Exact), "methods without randomness");
        assert_eq!(test(&[vec![2.0, 2.0 + 1e-15, 2.0]], 1), Some(Test::Exact), "rounding is no spread");
        assert_eq!(test(&[vec![1.0, 2.0, 4.0, 5.0, 3.0, 0.5]], 1), Some(Test::SignedRank { exact: true }));
        assert_eq!(test(&[vec![1.0, 2.0, 4.0, 5.0, 3.0, 0.5]], 3), Some(Test::Student), "cannot reach .05/3");
        assert_eq!(test(&[vec![1.0, 2.0], vec![1.5, 3.0]], 1), Some(Test::TooFew { needed: 6 }), "several datasets");
        assert_eq!(test(&[vec![1.0, 2.0, 3.0], vec![1.5, 3.0, 2.0]], 1), Some(Test::SignedRank { exact: true }));
        assert_eq!(
            test(&[vec![1.0; 3], vec![2.0; 3]], 1),
            Some(Test::TooFew { needed: 6 }),
            "the same difference three times is one pair"
        );
    }

    /// scipy 1.17: `ttest_1samp([1, 2, 4], 0)`.
    #[test]
    fn students_test_by_hand() {
        let found = compare(&[vec![1.0, 2.0, 4.0]], 1).expect("differences");
        let expected = 0.118082896312;
        assert!((found.p.expect("a test") - expected).abs() < 1e-9, "{found:?}");
        assert!((found.difference.value - 7.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn more_comparisons_hide_more() {
        let at = |pairs, comparisons| least_visible(pairs, comparisons, Test::Student).expect("a test");
        assert!(at(3, 1) < at(3, 10) && at(3, 10) < at(3, 100) && at(5, 100) < at(3, 100));
        assert_eq!((least_visible(3, 1, Test::TooFew { needed: 6 }), least_visible(1, 1, Test::Student)), (None, None));
        assert_eq!(deviation(&[vec![1.0, 3.0]]), Some(2f64.sqrt()));
        assert_eq!((deviation(&[vec![2.0; 3]]), deviation(&[])), (None, None), "one pair");
    }
}
