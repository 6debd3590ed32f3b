//! Wilcoxon's signed-rank test of paired differences, and the Hodges–Lehmann estimate that belongs to it.

use super::Estimate;
use super::distributions::{normal_quantile, normal_two_sided};
use super::estimate::median;
use super::friedman::ranks;

/// Largest number of pairs that are tested exactly.
const EXACT: usize = 60;

/// The result of a signed-rank test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedRank {
    /// Two-sided p-value.
    pub p: f64,
    /// Sum of the ranks of positive differences.
    pub positive: f64,
    /// Sum of the ranks of negative differences.
    pub negative: f64,
    /// Whether the p-value is exact; otherwise it is a normal approximation.
    pub exact: bool,
}

/// Wilcoxon's signed-rank test (Wilcoxon 1945) of the hypothesis that differences are symmetric around zero.
///
/// Equal absolute differences share the mean of their ranks. Differences of zero take part in the ranking, and their
/// ranks are then dropped (Pratt 1959). With at most 60 pairs the p-value is exact: it is the share of all assignments
/// of signs to these very ranks whose rank sum is at least as far from its mean. With more it comes from a normal
/// distribution, whose variance Σr²/4 holds with ties too, and with a continuity correction. If all differences are
/// zero, p is 1.
pub fn signed_rank(differences: &[f64]) -> SignedRank {
    let size: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    let ranked: Vec<(f64, bool)> = ranks(&size)
        .into_iter()
        .zip(differences)
        .filter(|(_, d)| **d != 0.0)
        .map(|(rank, d)| (rank, *d > 0.0))
        .collect();
    let sum = |sign: bool| ranked.iter().filter(|(_, s)| *s == sign).map(|(rank, _)| rank).sum::<f64>();
    let (positive, negative) = (sum(true), sum(false));
    let ranks: Vec<f64> = ranked.iter().map(|(rank, _)| *rank).collect();
    let exact = ranks.len() <= EXACT;
    let p = if ranks.is_empty() {
        1.0
    } else if exact {
        let counts = rank_sums(&ranks);
        let smaller = (2.0 * positive.min(negative)).round() as usize;
        let tail: f64 = counts.iter().take(smaller + 1).sum();
        (2.0 * tail / 2f64.powi(ranks.len() as i32)).min(1.0)
    } else {
        let deviation = 0.5 * ranks.iter().map(|rank| rank * rank).sum::<f64>().sqrt();
        normal_two_sided((0.5 * (positive - negative).abs() - 0.5).max(0.0) / deviation)
    };
    SignedRank { p, positive, negative, exact }
}

/// For each sum of doubled ranks from 0 up, the number of assignments of signs that give it. Mean ranks of ties are
/// multiples of a half, so doubled ranks are integers. Counts are exact: they are at most 2⁶⁰, and sums of terms far
/// below that.
fn rank_sums(ranks: &[f64]) -> Vec<f64> {
    let doubled: Vec<usize> = ranks.iter().map(|rank| (2.0 * rank).round() as usize).collect();
    let mut counts = vec![0.0; doubled.iter().sum::<usize>() + 1];
    counts[0] = 1.0;
    let mut reached = 0;
    for rank in doubled {
        reached += rank;
        for sum in (rank..=reached).rev() {
            counts[sum] += counts[sum - rank];
        }
    }
    counts
}

/// The median of all means of two differences, each with itself included (Hodges and Lehmann 1963): the shift that the
/// signed-rank test fits best. Its interval is the set of shifts that the exact test does not reject at
/// 1 − `confidence`; None if there are too few differences for one. The value is exact in the presence of ties; the
/// interval is then at least as wide as needed.
pub fn hodges_lehmann(differences: &[f64], confidence: f64) -> Option<Estimate> {
    let n = differences.len();
    if n == 0 || n > LARGEST {
        return None;
    }
    let mut walsh = Vec::with_capacity(n * (n + 1) / 2);
    for (i, a) in differences.iter().enumerate() {
        walsh.extend(differences[i..].iter().map(|b| 0.5 * (a + b)));
    }
    walsh.sort_by(f64::total_cmp);
    let value = median(&walsh)?;
    // The interval runs from the (c+1)-th smallest to the (c+1)-th largest mean, where c is the largest rank sum with
    // P(W ≤ c) ≤ (1 − confidence)/2.
    let below = 0.5 * (1.0 - confidence);
    let critical = below_critical(n, below);
    let (low, high) = (*walsh.get(critical.checked_sub(1)?)?, *walsh.get(walsh.len().checked_sub(critical)?)?);
    Some(Estimate { value, low, high, count: n })
}

/// Number of rank sums of n pairs without ties, counted from 0, whose probabilities add up to at most `below`: rank sums
/// smaller than it are significant at 2·`below`.
pub(super) fn below_critical(n: usize, below: f64) -> usize {
    if n > EXACT {
        let n = n as f64;
        let deviation = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
        let z = normal_quantile(1.0 - below);
        return (n * (n + 1.0) / 4.0 - z * deviation).floor().max(0.0) as usize;
    }
    let plain: Vec<f64> = (1..=n).map(|rank| rank as f64).collect();
    let all = 2f64.powi(n as i32);
    let mut tail = 0.0;
    let within = |count: &&f64| {
        tail += **count / all;
        tail <= below
    };
    // Doubled sums of plain ranks are even.
    rank_sums(&plain).iter().step_by(2).take_while(within).count()
}

/// Largest number of differences whose pairs are all averaged.
const LARGEST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// The definition: all signs of these ranks, one after the other.
    fn enumerated(differences: &[f64]) -> f64 {
        let size: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
        let ranks: Vec<f64> =
            ranks(&size).into_iter().zip(differences).filter(|(_, d)| **d != 0.0).map(|(r, _)| r).collect();
        let signs: Vec<bool> = differences.iter().filter(|d| **d != 0.0).map(|d| *d > 0.0).collect();
        let far = |signs: &dyn Fn(usize) -> bool| {
            let of = |i: usize| if signs(i) { ranks[i] } else { -ranks[i] };
            (0..ranks.len()).map(of).sum::<f64>().abs()
        };
        let own = far(&|i| signs[i]);
        let all = 1usize << ranks.len();
        let as_far = (0..all).filter(|bits| far(&|i| bits >> i & 1 == 1) >= own - 1e-9).count();
        as_far as f64 / all as f64
    }

    #[test]
    fn exact_values_are_those_of_full_enumeration_with_ties_and_zeros() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for n in 1..=11 {
            for _ in 0..30 {
                // Few distinct values: many ties and zeros.
                let differences: Vec<f64> = (0..n).map(|_| f64::from(rng.random_range(-3..=4))).collect();
                let (found, expected) = (signed_rank(&differences), enumerated(&differences));
                assert!(found.exact && (found.p - expected).abs() < 1e-12, "{differences:?}: {found:?} for {expected}");
            }
        }
    }

    /// Wilcoxon's table, as in Demšar (2006) and textbooks: the largest sum of ranks that is significant at 5%, two-sided.
    #[test]
    fn critical_values_are_those_of_the_tables() {
        let table = [
            (6, 0),
            (7, 2),
            (8, 3),
            (9, 5),
            (10, 8),
            (11, 10),
            (12, 13),
            (13, 17),
            (14, 21),
            (15, 25),
            (20, 52),
            (25, 89),
        ];
        for (n, critical) in table {
            // Negative differences at ranks that add up to the wanted sum.
            let with_sum = |mut sum: usize| {
                let mut differences: Vec<f64> = (1..=n).map(|rank| rank as f64).collect();
                for rank in (1..=n).rev() {
                    if rank <= sum {
                        sum -= rank;
                        differences[rank - 1] = -(rank as f64);
                    }
                }
                differences
            };
            assert!(signed_rank(&with_sum(critical)).p <= 0.05, "{n} pairs, {critical}");
            assert!(signed_rank(&with_sum(critical + 1)).p > 0.05, "{n} pairs, {}", critical + 1);
        }
    }

    #[test]
    fn the_approximation_meets_the_exact_value_where_it_takes_over() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for shift in [0.0, 0.5, 1.0, 2.0] {
            let differences: Vec<f64> =
                (0..EXACT + 1).map(|_| (rng.random_range(-5.0..5.0f64) + shift).round() + 0.5).collect();
            let approximate = signed_rank(&differences);
            assert!(!approximate.exact);
            let sums = rank_sums(&ranks(&differences.iter().map(|d| d.abs()).collect::<Vec<_>>()));
            let smaller = (2.0 * approximate.positive.min(approximate.negative)) as usize;
            let exact = (2.0 * sums.iter().take(smaller + 1).sum::<f64>() / 2f64.powi(EXACT as i32 + 1)).min(1.0);
            assert!((approximate.p - exact).abs() < 0.004, "{} for {exact}", approximate.p);
        }
    }

    /// Values of scipy 1.17, `wilcoxon(d, zero_method="pratt", correction=True, mode="approx")`, in [`SCIPY`].
    #[test]
    fn large_samples_with_ties_and_zeros_are_those_of_scipy() {
        for (multiplier, offset, expected) in SCIPY {
            let differences: Vec<f64> = (0..80).map(|i| f64::from((i * multiplier) % 17) - offset).collect();
            let found = signed_rank(&differences).p;
            assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
        }
    }

    /// Multiplier and offset of a sequence of differences, and its p-value.
    const SCIPY: [(i32, f64, f64); 3] = [(5, 7.0, 0.10808411891367), (3, 8.0, 1.0), (7, 6.0, 0.0021626919566307)];

    #[test]
    fn nothing_and_zeros_are_no_difference() {
        assert_eq!((signed_rank(&[]).p, signed_rank(&[0.0; 9]).p, signed_rank(&[1.0]).p), (1.0, 1.0, 1.0));
        assert_eq!(hodges_lehmann(&[], 0.95), None);
        assert_eq!(hodges_lehmann(&[1.0; 5], 0.95), None, "five pairs allow no interval of 95%");
    }

    /// R 4: `wilcox.test(d, conf.int = TRUE)` for the differences of Hollander and Wolfe (1973), table 3.1 (depression
    /// scores of nine patients): estimate −0.46, interval −0.786 to −0.010 at 96.1%.
    #[test]
    fn the_estimate_of_a_textbook() {
        // In thousandths.
        let first = [1830, 500, 1620, 2480, 1680, 1880, 1550, 3060, 1300];
        let second = [878, 647, 598, 2050, 1060, 1290, 1060, 3140, 1290];
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| f64::from(b - a) / 1000.0).collect();
        let found = hodges_lehmann(&differences, 0.95).expect("nine pairs");
        assert!(
            (found.value + 0.46).abs() < 1e-9 && (found.low + 0.786).abs() < 1e-9 && (found.high + 0.01).abs() < 1e-9,
            "{found:?}"
        );
        // The published p-value of the two-sided test is 0.03906.
        assert!((signed_rank(&differences).p - 0.0390625).abs() < 1e-12);
    }
}
