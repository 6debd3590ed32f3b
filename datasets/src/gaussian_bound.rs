//! The Gaussian rate–distortion bound of a covariance, by reverse water-filling.
//!
//! For eigenvalues `λ_i` and water level `θ`: `D(θ) = Σ min(θ, λ_i)` and `R(θ) = Σ max(0, ½·log2(λ_i/θ))` bits per
//! vector (Cover and Thomas, theorem 10.3.3). Among all sources with that covariance the Gaussian is the hardest, so
//! for real data this is an upper bound on the distortion that the best code needs, and a good code may go below it.

fn rate(spectrum: &[f64], theta: f64) -> f64 {
    spectrum.iter().map(|&l| if l > theta { 0.5 * (l / theta).log2() } else { 0.0 }).sum()
}

fn nmse(spectrum: &[f64], theta: f64) -> f64 {
    let total: f64 = spectrum.iter().sum();
    spectrum.iter().map(|&l| l.min(theta)).sum::<f64>() / total
}

/// Normalized MSE of the bound at `bits` per vector; `None` for data without variance.
pub fn at_rate(spectrum: &[f64], bits: f64) -> Option<f64> {
    let largest = spectrum.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return None;
    }
    // R falls with θ, from any rate down to 0 at the largest eigenvalue: bisect its logarithm.
    let (mut low, mut high) = (largest.ln() - 1.4 * (bits + 8.0), largest.ln());
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if rate(spectrum, middle.exp()) > bits { low = middle } else { high = middle }
    }
    Some(nmse(spectrum, high.exp())).filter(|v| *v > 0.0)
}

/// Points of the bound for drawing: from a fraction of a bit per vector to beyond 16 bits per dimension.
pub fn curve(spectrum: &[f64], points: usize) -> Vec<(f64, f64)> {
    let highest = 17.0 * spectrum.len() as f64;
    let lowest: f64 = 0.5;
    (0..points)
        .map(|i| lowest * (highest / lowest).powf(i as f64 / (points - 1) as f64))
        .filter_map(|bits| Some((bits, at_rate(spectrum, bits)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_white_source_follows_four_to_the_minus_rate() {
        for bits_per_dim in [0.5, 1.0, 3.0, 8.0] {
            let found = at_rate(&[2.0; 16], 16.0 * bits_per_dim).expect("has variance");
            assert!((found / 4f64.powf(-bits_per_dim) - 1.0).abs() < 1e-6, "{bits_per_dim}: {found}");
        }
    }

    #[test]
    fn two_unequal_components_share_the_water() {
        // θ = 1 gives R = ½·log2(4/1) = 1 bit for the first, 0 for the second, D = 1 + ½.
        let found = at_rate(&[4.0, 0.5], 1.0).expect("has variance");
        assert!((found - 1.5 / 4.5).abs() < 1e-9, "{found}");
        assert!((at_rate(&[4.0, 0.5], 0.0).expect("has variance") - 1.0).abs() < 1e-9);
    }

    #[test]
    fn degenerate_spectra_are_handled() {
        assert_eq!(at_rate(&[0.0, 0.0], 3.0), None);
        assert!(at_rate(&[1.0, 0.0], 3.0).is_some_and(|v| (v - 1.0 / 64.0).abs() < 1e-9));
        assert!(curve(&[0.0], 10).is_empty());
        let curve = curve(&[3.0, 1.0, 0.1], 50);
        assert!(curve.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 > w[1].1));
    }
}
