//! Quantiles and tail probabilities of the distributions that reports use.
//!
//! A parameter outside the domain of a distribution gives NaN, never a panic.

use statrs::distribution::{ChiSquared, ContinuousCDF, FisherSnedecor, Normal, StudentsT};
use std::sync::OnceLock;

/// Largest number of degrees of freedom whose quantile is kept for reuse.
const KEPT: usize = 64;

/// Two-sided 95% quantile of Student's t for `df` degrees of freedom, from 12.706 for 1 down to 1.960 for many.
///
/// `df` is at least 1.
pub fn t95(df: usize) -> f64 {
    static TABLE: [OnceLock<f64>; KEPT] = [const { OnceLock::new() }; KEPT];
    let compute = || t_quantile(0.975, df as f64);
    TABLE.get(df).map_or_else(compute, |kept| *kept.get_or_init(compute))
}

/// From this number of degrees of freedom on, quantiles are those of the normal distribution with corrections: those of
/// the library are wrong in the fifth digit for a million, and its search does not end for tens of millions.
const NEARLY_NORMAL: f64 = 1e4;

/// Quantile of Student's t: the value that t stays below with probability `p`. `df` need not be an integer.
///
/// For many degrees of freedom ν it is `z + (z³ + z)/4ν + (5z⁵ + 16z³ + 3z)/96ν² + O(ν⁻³)` with the normal quantile z
/// (Abramowitz and Stegun 26.7.5).
pub(super) fn t_quantile(p: f64, df: f64) -> f64 {
    if df >= NEARLY_NORMAL && p > 0.0 && p < 1.0 {
        let z = normal_quantile(p);
        let cube = z.powi(3);
        return z + (cube + z) / (4.0 * df) + (5.0 * z.powi(5) + 16.0 * cube + 3.0 * z) / (96.0 * df * df);
    }
    // The library asserts that p is a probability.
    let distribution = StudentsT::new(0.0, 1.0, df).ok().filter(|_| (0.0..=1.0).contains(&p));
    distribution.map_or(f64::NAN, |t| t.inverse_cdf(p))
}

/// The t that Student's t with `df` degrees of freedom is above with probability `p`; `df` is at least 1.
pub fn t_above(p: f64, df: usize) -> f64 {
    -t_quantile(p, df as f64)
}

/// Probability that Student's t with `df` degrees of freedom is above `t`; `df` is at least 1.
pub fn above(t: f64, df: usize) -> f64 {
    StudentsT::new(0.0, 1.0, df as f64).map_or(f64::NAN, |distribution| distribution.sf(t))
}

/// Probability that the absolute value of Student's t is at least `t`.
pub(super) fn t_two_sided(t: f64, df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |distribution| (2.0 * distribution.sf(t.abs())).min(1.0))
}

/// Probability that a standard normal variable is below `z`.
pub fn normal_below(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// Quantile of the standard normal distribution.
pub(super) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// Probability that the absolute value of a standard normal variable is at least `z`.
pub(super) fn normal_two_sided(z: f64) -> f64 {
    (2.0 * Normal::standard().sf(z.abs())).min(1.0)
}

/// Probability that a χ² variable with `df` degrees of freedom is at least `x`.
pub(super) fn chi_squared_above(x: f64, df: f64) -> f64 {
    ChiSquared::new(df).map_or(f64::NAN, |distribution| distribution.sf(x))
}

/// Probability that an F variable is at least `x`.
pub(super) fn f_above(x: f64, numerator_df: f64, denominator_df: f64) -> f64 {
    FisherSnedecor::new(numerator_df, denominator_df).map_or(f64::NAN, |distribution| distribution.sf(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed tables have three decimals.
    #[test]
    fn quantiles_of_student_are_those_of_the_tables() {
        let table = [
            (1, 12.706),
            (2, 4.303),
            (3, 3.182),
            (4, 2.776),
            (5, 2.571),
            (10, 2.228),
            (29, 2.045),
            (30, 2.042),
            (31, 2.040),
            (40, 2.021),
            (60, 2.000),
            (120, 1.980),
            (100_000, 1.960),
        ];
        for (df, expected) in table {
            assert!((t95(df) - expected).abs() < 6e-4, "{df}: {} for {expected}", t95(df));
        }
        assert!((1..200).all(|df| t95(df) > t95(df + 1)), "no jump where a table would end");
        assert!((t95(9_999) - t95(10_000)).abs() < 1e-6, "{} {}", t95(9_999), t95(10_000));
        // The normal quantile is 1.959963984540054.
        assert!((t95(19_899_900) - 1.959963984540054 - 1.192e-7).abs() < 1e-10, "{}", t95(19_899_900));
    }

    /// Values of scipy 1.17: `t.ppf(.975, df)`, `2*t.sf(t, df)`, `2*norm.sf(z)`, `chi2.sf`, `f.sf`.
    #[test]
    fn values_are_those_of_scipy() {
        for (found, expected) in [
            (t95(1), 12.706204736175),
            (t95(2), 4.3026527297495),
            (t95(3), 3.1824463052837),
            (t95(4), 2.7764451051978),
            (t95(7), 2.3646242515928),
            (t95(29), 2.0452296421327),
            (t_two_sided(35.0, 2.0), 0.00081532830514296),
            (t_two_sided(2.5, 7.5), 0.038820258273626),
            (t_two_sided(4.3, 2.0), 0.050057154117092),
            (normal_two_sided(1.7), 0.089130925517086),
            (normal_quantile(0.9), 1.2815515655446),
            (chi_squared_above(9.28, 3.0), 0.025790724198757),
            (f_above(3.69, 3.0, 39.0), 0.019744099689489),
        ] {
            let expected: f64 = expected;
            assert!((found - expected).abs() <= 1e-9 * expected, "{found} for {expected}");
        }
    }

    #[test]
    fn parameters_outside_the_domain_give_nan() {
        assert!([-0.1, 1.1, f64::NAN].into_iter().all(|p| t_quantile(p, 3.0).is_nan()));
        assert!(
            t_two_sided(1.0, 0.0).is_nan() && chi_squared_above(1.0, -1.0).is_nan() && f_above(1.0, 0.0, 3.0).is_nan()
        );
    }
}
