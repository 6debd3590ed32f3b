//! Holm's correction for many comparisons.

/// Holm's adjusted p-values (Holm 1979): for p(1) ≤ … ≤ p(m), the adjusted value of p(i) is the largest of
/// (m − j + 1)·p(j) over j ≤ i, at most 1. To call differences real where the adjusted value is at most α keeps the
/// probability of any false alarm at α, whatever the dependence between the tests.
pub fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut out = vec![1.0; p.len()];
    let mut largest = 0.0f64;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max(((p.len() - rank) as f64 * p[at]).min(1.0));
        out[at] = largest;
    }
    out
}

/// The fewest pairs with which an exact two-sided signed-rank test can reach `alpha` as one of `comparisons` tests. The
/// smallest p-value of n pairs is 2^(1−n): all differences have the same sign.
pub fn fewest_pairs(comparisons: usize, alpha: f64) -> usize {
    let needed = alpha / comparisons.max(1) as f64;
    (1..).find(|&n| 2f64.powi(1 - n) <= needed).map_or(usize::MAX, |n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R 4: `p.adjust(c(.01, .04, .03, .005), "holm")`.
    #[test]
    fn adjusted_values_are_those_of_r() {
        let found = adjusted(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(adjusted(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(adjusted(&[]), Vec::<f64>::new());
    }

    #[test]
    fn more_comparisons_need_more_pairs() {
        // 2/2⁶ = .031 and 2/2⁵ = .0625; three comparisons: 3·2/2⁷ = .047.
        assert_eq!([1, 3, 6, 10].map(|m| fewest_pairs(m, 0.05)), [6, 7, 8, 9]);
    }
}
