//! Friedman's test of several methods on several datasets.

use super::distributions::{chi_squared_above, f_above};

/// Ranks of values from 1 for the smallest; equal values share the mean of their ranks.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        // Ranks start+1 to start+len.
        let rank = start as f64 + 0.5 * (group.len() as f64 + 1.0);
        group.iter().for_each(|&at| ranks[at] = rank);
        start += group.len();
    }
    ranks
}

/// The result of Friedman's test.
#[derive(Clone, Debug, PartialEq)]
pub struct Friedman {
    /// Mean rank of each method over the datasets; 1 is best.
    pub mean_ranks: Vec<f64>,
    /// Friedman's statistic, corrected for ties.
    pub chi_squared: f64,
    /// p-value of the statistic of Iman and Davenport.
    pub p: f64,
    /// p-value of `chi_squared` by the χ² distribution, which is too large for few datasets.
    pub p_chi_squared: f64,
}

/// Friedman's test (Friedman 1937) of `losses[dataset][method]`, smaller values being better, with the F statistic of
/// Iman and Davenport (1980), as Demšar (2006) recommends:
///
/// χ² = 12N/(k(k+1))·(ΣR² − k(k+1)²/4), divided by 1 − Σ(t³−t)/(N(k³−k)) for ties of t methods; F = (N−1)χ²/(N(k−1)−χ²)
/// with k−1 and (k−1)(N−1) degrees of freedom.
///
/// Returns None with fewer than two datasets or two methods, with rows of different lengths, or if all methods tie on
/// every dataset.
pub fn friedman(losses: &[Vec<f64>]) -> Option<Friedman> {
    let (n, k) = (losses.len(), losses.first()?.len());
    if n < 2 || k < 2 || losses.iter().any(|row| row.len() != k) {
        return None;
    }
    let ranked: Vec<Vec<f64>> = losses.iter().map(|row| ranks(row)).collect();
    let (datasets, methods) = (n as f64, k as f64);
    let mean_ranks: Vec<f64> = (0..k).map(|j| ranked.iter().map(|row| row[j]).sum::<f64>() / datasets).collect();
    // Σr² of a row without ties is k(k+1)(2k+1)/6; ties of t lower it by (t³−t)/12.
    let squares: f64 = ranked.iter().flatten().map(|rank| rank * rank).sum();
    let untied = datasets * methods * (methods + 1.0) * (2.0 * methods + 1.0) / 6.0;
    let tied = 1.0 - 12.0 * (untied - squares) / (datasets * (methods.powi(3) - methods));
    if tied <= 1e-12 {
        return None;
    }
    let spread = mean_ranks.iter().map(|rank| rank * rank).sum::<f64>() - methods * (methods + 1.0).powi(2) / 4.0;
    let chi_squared = 12.0 * datasets / (methods * (methods + 1.0)) * spread / tied;
    let rest = datasets * (methods - 1.0) - chi_squared;
    // The same order of methods on all datasets leaves no rest: F is infinite.
    let f = if rest > 1e-9 { (datasets - 1.0) * chi_squared / rest } else { f64::INFINITY };
    let p = if f.is_finite() { f_above(f, methods - 1.0, (methods - 1.0) * (datasets - 1.0)) } else { 0.0 };
    Some(Friedman { mean_ranks, chi_squared, p, p_chi_squared: chi_squared_above(chi_squared, methods - 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Demšar (2006), table 6: areas under the ROC curve of C4.5 with and without two parameters on 14 datasets.
    /// The table prints .975 twice for the last but one, but ranks them 2 and 3: they differ behind the last digit.
    const DEMSAR: [[f64; 4]; 14] = [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.97501, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ];

    /// The paper prints mean ranks 3.143, 2.000, 2.893 and 1.964, χ² = 9.28 and F = 3.69, without the correction for
    /// ties; the critical value of F at 5% is 2.85.
    #[test]
    fn the_example_of_demsar() {
        let losses: Vec<Vec<f64>> = DEMSAR.iter().map(|row| row.iter().map(|auc| -auc).collect()).collect();
        let found = friedman(&losses).expect("a table");
        for (rank, printed) in found.mean_ranks.iter().zip([3.143, 2.000, 2.893, 1.964]) {
            assert!((rank - printed).abs() < 5.1e-4, "{rank} for {printed}");
        }
        let spread: f64 = found.mean_ranks.iter().map(|r| r * r).sum::<f64>() - 4.0 * 25.0 / 4.0;
        let uncorrected = 12.0 * 14.0 / 20.0 * spread;
        assert!((uncorrected - 9.28).abs() < 5e-3, "{uncorrected}");
        assert!((13.0 * uncorrected / (42.0 - uncorrected) - 3.69).abs() < 5e-3);
        // scipy 1.17: `friedmanchisquare`, which corrects for ties.
        assert!(
            (found.chi_squared - 10.2283464567).abs() < 1e-9 && (found.p_chi_squared - 0.0167215803284).abs() < 1e-9,
            "{found:?}"
        );
        assert!(found.p < 0.05);
    }

    #[test]
    fn ties_share_ranks_and_too_little_has_no_test() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(
            (friedman(&[]), friedman(&[vec![1.0, 2.0]]), friedman(&[vec![1.0; 3], vec![1.0; 3]])),
            (None, None, None)
        );
        let same_order = friedman(&vec![vec![1.0, 2.0, 3.0]; 4]).expect("a table");
        assert_eq!((same_order.p, same_order.chi_squared), (0.0, 8.0));
    }
}
