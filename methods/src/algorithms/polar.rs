//! The orthonormal factor of a matrix, by products alone.

use crate::algorithms::products::{multiply, symmetric_product};
use cpu::Isa;
use ndarray::{Array2, ArrayView1, ArrayViewMut1, Axis, Zip};
use rayon::prelude::*;

/// The orthonormal `R` that maximizes `tr(Rᵀ·M)`, which for `M = U·S·Vᵀ` is `U·Vᵀ` (Schönemann 1966). `fallback`, orthonormal
/// itself, decides directions about which `M` says nothing.
pub fn polar(isa: Isa, matrix: &Array2<f32>, fallback: &Array2<f32>) -> Array2<f32> {
    pulled(isa, matrix, fallback, NOTHING)
}

/// The polynomials are steep at the end of their interval, so rounding must not carry a value beyond it.
const SAFETY: f64 = 1.01;

/// Singular values below this share of the largest are left to the fallback.
const NOTHING: f64 = 1e-6;

/// The orthonormal `R` that maximizes `tr(Rᵀ·(M/σ + pull·R_0))`, with `σ` about the largest singular value of `M` (1 to 1.7 times
/// it) and `R_0` the given orthonormal matrix. It never has a smaller `tr(Rᵀ·M)` than `R_0`. The larger `pull`, the fewer
/// products are needed, and the less the directions of small singular values turn.
///
/// Steps `X ← X·(a·I + b·G + c·G²)` with `G = XᵀX` apply the same odd polynomial to every singular value. Each polynomial is
/// the one that brings all values of the interval in which they are now as near to 1 as possible (Amsel, Persson, Musco and Gower
/// 2025, Polar Express). At last the Newton–Schulz iteration `X ← 1.5·X − 0.5·X·G` squares the remaining errors.
pub fn pulled(isa: Isa, matrix: &Array2<f32>, fallback: &Array2<f32>, pull: f64) -> Array2<f32> {
    // Entries are multiplied four at a time, so they are scaled by a power of two near the largest one to stay in range.
    let most = matrix.iter().fold(0f32, |most, v| most.max(v.abs()));
    let matrix = &(matrix * power_of_two_at(most).recip());
    let size = largest_singular_value(isa, matrix);
    if size <= 0.0 || !size.is_finite() {
        return fallback.clone();
    }
    let of = |m: &f32, f: &f32| (f64::from(*m) / size + pull * f64::from(*f)) as f32;
    raised(isa, Zip::from(matrix).and(fallback).par_map_collect(of), None, pull, 1.0 + pull)
}

/// The polar factor of a matrix whose singular values are between `least` and `most`; its `XᵀX` if it is known.
fn raised(isa: Isa, mut x: Array2<f32>, mut gram: Option<Array2<f32>>, mut least: f64, mut most: f64) -> Array2<f32> {
    while least < NEAR {
        let [a, b, c] = best_quintic(least, SAFETY * most);
        let gram = gram.take().unwrap_or_else(|| symmetric_product(isa, x.t(), x.view(), |_, _| ()));
        let factor = symmetric_product(isa, gram.view(), gram.view(), |i, row| {
            let of = |square: f32, g: f32| (b * f64::from(g) + c * f64::from(square)) as f32;
            row.iter_mut().zip(gram.row(i)).for_each(|(square, g)| *square = of(*square, *g));
            row[i] += a as f32;
        });
        x = multiply(isa, x.view(), factor.view());
        let value = |x: f64| x * (a + x * x * (b + x * x * c));
        (least, most) = (value(least), 2.0 - value(least));
    }
    orthonormalized(isa, x)
}

/// The polar factor of a matrix whose singular values are between 0.5 and 1.4, by the Newton–Schulz iteration.
pub fn orthonormalized(isa: Isa, mut x: Array2<f32>) -> Array2<f32> {
    for _ in 0..CUBIC_STEPS {
        let mut factor = symmetric_product(isa, x.t(), x.view(), |_, _| ());
        let of_row = |(i, mut row): (usize, ArrayViewMut1<'_, f32>)| {
            row[i] -= 1.0;
            let error = row.iter().fold(0f32, |most, g| most.max(g.abs()));
            row.mapv_inplace(|g| -0.5 * g);
            row[i] += 1.0;
            error
        };
        let rows = factor.axis_iter_mut(Axis(0)).into_par_iter().enumerate().with_min_len(16);
        let error = rows.map(of_row).reduce(|| 0.0, f32::max);
        x = multiply(isa, x.view(), factor.view());
        if error < NEARLY {
            break;
        }
    }
    x
}

/// A rotation `Q` with `tr(QᵀM) > tr(M)`, at half the cost of the best one: the polar factor of `I + Ω`, where `Ω_ij` is the
/// tangent of the angle that would be best for axes `i` and `j` alone (as in Kogbetliantz' method). It is nearly the best one if
/// the diagonal of `M` dominates. None if that gains less than a quarter of what pairs would gain if they did not interfere.
pub fn turn_of_pairs(isa: Isa, m: &Array2<f32>) -> Option<Array2<f32>> {
    let diagonal: Vec<f32> = m.diag().iter().map(|v| v.max(0.0)).collect();
    let floor = 1e-6 * diagonal.iter().fold(0f32, |most, v| most.max(*v));
    if floor <= 0.0 || !floor.is_finite() {
        return None;
    }
    let turned = m.t();
    let mut x = Array2::<f32>::zeros(m.dim());
    let rows = x.axis_iter_mut(Axis(0)).into_par_iter().enumerate().with_min_len(16);
    let of_row = |(i, mut row): (usize, ArrayViewMut1<'_, f32>)| -> f64 {
        let mut gain = 0.0;
        for (j, tangent) in row.iter_mut().enumerate() {
            let weight = diagonal[i] + diagonal[j] + floor;
            *tangent = (m[(i, j)] - turned[(i, j)]) / weight;
            // Each pair is met twice.
            gain += 0.5 * f64::from(weight * ((1.0 + *tangent * *tangent).sqrt() - 1.0));
        }
        gain
    };
    let gains: Vec<f64> = rows.map(of_row).collect();
    let hoped: f64 = gains.into_iter().sum();
    // (I + Ω)ᵀ·(I + Ω) = I + ΩᵀΩ, so singular values are at least 1.
    let mut gram = symmetric_product(isa, x.t(), x.view(), |_, _| ());
    let square = frobenius(&gram);
    if !square.is_finite() || square <= 0.0 {
        return None;
    }
    // Turns that are too far are shortened.
    let shorter = (LARGEST_TURN / square).min(1.0).sqrt();
    let least = (1.0 + square * shorter * shorter).sqrt().recip();
    x.par_mapv_inplace(|v| (f64::from(v) * shorter * least) as f32);
    x.diag_mut().fill(least as f32);
    gram.par_mapv_inplace(|v| (f64::from(v) * (shorter * least).powi(2)) as f32);
    gram.diag_mut().mapv_inplace(|v| v + (least * least) as f32);
    let turn = raised(isa, x, Some(gram), least, 1.0);
    let of_row = |(i, row): (usize, ArrayView1<'_, f32>)| -> f64 {
        let gain: f64 = row.iter().zip(m.row(i)).map(|(q, m)| f64::from(*q) * f64::from(*m)).sum();
        gain - f64::from(m[(i, i)])
    };
    let gains: Vec<f64> = turn.axis_iter(Axis(0)).into_par_iter().enumerate().map(of_row).collect();
    let gained: f64 = gains.into_iter().sum();
    (gained > 0.25 * shorter * hoped).then_some(turn)
}

/// The largest `‖ΩᵀΩ‖` of a turn: three products raise the singular values of `I + Ω` from a tenth to 1.
const LARGEST_TURN: f64 = 99.0;

/// `‖M‖`, the root of the sum of all squares.
fn frobenius(matrix: &Array2<f32>) -> f64 {
    let square = |row: ArrayView1<'_, f32>| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    let rows: Vec<f64> = matrix.axis_iter(Axis(0)).into_par_iter().map(square).collect();
    rows.into_iter().sum::<f64>().sqrt()
}

/// Below this distance of `XᵀX` from `I`, one more step leaves rounding only.
const NEARLY: f32 = 3e-4;

/// From here on, Newton–Schulz steps are as good: they are cheaper, and leave 1 as it is.
const NEAR: f64 = 0.9;

/// Newton–Schulz steps, at most: two from [`NEAR`], and more where singular values were smaller than supposed.
const CUBIC_STEPS: usize = 30;

/// The largest power of two at most as large as a positive value, restricted to those with an inverse in f32. 1 for
/// values that are not positive and finite.
fn power_of_two_at(value: f32) -> f32 {
    if value > 0.0 && value.is_finite() { value.log2().floor().clamp(-120.0, 120.0).exp2() } else { 1.0 }
}

/// An upper bound on the largest singular value: with `G = MᵀM`, the root of the Frobenius norm of `G`, which is `(Σσ⁴)^(1/4)`. If
/// it is far above the longest column, which is a lower bound, the fourth root of that of `G²`, `(Σσ⁸)^(1/8)`.
fn largest_singular_value(isa: Isa, matrix: &Array2<f32>) -> f64 {
    let gram = symmetric_product(isa, matrix.t(), matrix.view(), |_, _| ());
    let most = gram.diag().iter().fold(0f32, |most, v| most.max(*v));
    let bound = frobenius(&gram).sqrt();
    if bound < 1.5 * f64::from(most).sqrt() {
        return (1.0 + 1e-4) * bound;
    }
    let unit = f64::from(power_of_two_at(most));
    let gram = gram / unit as f32;
    let squared = symmetric_product(isa, gram.view(), gram.view(), |_, _| ());
    (1.0 + 1e-4) * (frobenius(&squared).sqrt() * unit).sqrt()
}

/// `a`, `b`, `c` of the polynomial `a·x + b·x³ + c·x⁵` with the least largest distance from 1 between `least` and `most`, by Remez'
/// algorithm.
fn best_quintic(least: f64, most: f64) -> [f64; 3] {
    if most - least < 1e-6 * most {
        // The limit of a narrow interval.
        let x = most.recip();
        return [1.875 * x, -1.25 * x.powi(3), 0.375 * x.powi(5)];
    }
    let (mut q, mut r) = ((3.0 * least + most) / 4.0, (least + 3.0 * most) / 4.0);
    let mut found = [1.875, -1.25, 0.375];
    for _ in 0..100 {
        // At four points in order, the polynomial is 1 − e, 1 + e, 1 − e, 1 + e.
        let row = |x: f64, sign: f64| [x, x.powi(3), x.powi(5), sign, 1.0];
        let Some([a, b, c, _]) = solve([row(least, 1.0), row(q, -1.0), row(r, 1.0), row(most, -1.0)]) else { break };
        found = [a, b, c];
        // Where its slope a + 3b·x² + 5c·x⁴ is zero.
        let root = 9.0 * b * b - 20.0 * a * c;
        if root <= 0.0 || c == 0.0 {
            break;
        }
        let at = |sign: f64| ((-3.0 * b + sign * root.sqrt()) / (10.0 * c)).max(0.0).sqrt();
        let (low, high) = (at(-1.0).min(at(1.0)), at(-1.0).max(at(1.0)));
        let settled = (low - q).abs() + (high - r).abs() < 1e-14;
        (q, r) = (low, high);
        if settled {
            break;
        }
    }
    found
}

/// The solution of four linear equations, each given as its coefficients and its right side.
fn solve(mut rows: [[f64; 5]; 4]) -> Option<[f64; 4]> {
    for i in 0..4 {
        let pivot = (i..4).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs()))?;
        rows.swap(i, pivot);
        let lead = rows[i];
        if lead[i] == 0.0 {
            return None;
        }
        for (j, row) in rows.iter_mut().enumerate() {
            if j != i {
                let factor = row[i] / lead[i];
                row.iter_mut().zip(lead).for_each(|(value, lead)| *value -= factor * lead);
            }
        }
    }
    Some([0, 1, 2, 3].map(|i| rows[i][4] / rows[i][i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::rotation::random;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn distance_from_orthonormal(r: &Array2<f32>) -> f32 {
        (r.t().dot(r) - Array2::<f32>::eye(r.ncols())).iter().fold(0.0, |m, v| m.max(v.abs()))
    }

    /// A stretch along random axes by the given factors, and a rotation: the latter is the polar factor of their product.
    fn stretched(n: usize, factors: impl Fn(usize) -> f32, seed: u64) -> (Array2<f32>, Array2<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (rotation, half) = (random(Isa::widest(), n, &mut rng), random(Isa::widest(), n, &mut rng));
        let scales = Array2::from_diag(&ndarray::Array1::from_shape_fn(n, factors));
        (rotation.dot(&half.dot(&scales).dot(&half.t())), rotation)
    }

    #[test]
    fn the_polar_factor_of_a_stretched_rotation_is_the_rotation() {
        for isa in Isa::available() {
            for unit in [1e-18, 1.0, 1e15] {
                let (matrix, rotation) = stretched(20, |i| unit * 10f32.powi(i as i32 % 4 - 2), 1);
                assert!(distance_from_orthonormal(&rotation) < 1e-5);
                let found = polar(isa, &matrix, &Array2::eye(20));
                let gap = (&found - &rotation).iter().fold(0f32, |m, v| m.max(v.abs()));
                assert!(gap < 1e-3, "{isa}: {gap}");
            }
        }
    }

    #[test]
    fn the_factor_is_orthonormal_whatever_the_singular_values() {
        for (name, factors) in [
            ("a power law", Box::new(|i: usize| (1.0 + i as f32).powf(-2.0)) as Box<dyn Fn(usize) -> f32>),
            ("few", Box::new(|i| if i < 3 { 1.0 } else { 0.0 })),
            ("graded", Box::new(|i| 0.5f32.powi(i as i32))),
            ("equal", Box::new(|_| 3.0)),
        ] {
            let (matrix, _) = stretched(60, factors, 3);
            for pull in [NOTHING, 1e-3, 0.1] {
                let found = pulled(Isa::widest(), &matrix, &Array2::eye(60), pull);
                let gap = distance_from_orthonormal(&found);
                assert!(gap < 5e-6, "{name}, pull {pull}: {gap}");
                let trace = |r: &Array2<f32>| (r * &matrix).sum();
                assert!(trace(&found) >= trace(&Array2::eye(60)), "{name}, pull {pull}");
            }
        }
    }

    /// Values come near the ends of the intervals at every step, and rounding must not carry them away.
    #[test]
    fn gaussian_matrices_have_orthonormal_factors() {
        for (n, seed) in [(64, 1), (200, 2), (201, 3), (330, 4)] {
            let rotation = random(Isa::widest(), n, &mut ChaCha8Rng::seed_from_u64(seed));
            let gap = distance_from_orthonormal(&rotation);
            assert!(gap < 5e-6, "n = {n}: {gap}");
        }
    }

    #[test]
    fn a_matrix_that_says_nothing_leaves_the_fallback() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let fallback = random(Isa::widest(), 7, &mut rng);
        assert_eq!(polar(Isa::widest(), &Array2::zeros((7, 7)), &fallback), fallback);
        let mut rank_one = Array2::zeros((7, 7));
        rank_one[(0, 0)] = 3.0;
        assert!(distance_from_orthonormal(&polar(Isa::widest(), &rank_one, &Array2::eye(7))) < 1e-4);
    }

    #[test]
    fn pairs_turn_towards_the_best_rotation() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let scales = Array2::from_diag(&ndarray::Array1::from_shape_fn(40, |i| (1.0 + i as f32).powf(-1.5)));
        let slight = random(Isa::widest(), 40, &mut rng) * 0.02 + Array2::<f32>::eye(40);
        let truth = polar(Isa::widest(), &slight, &Array2::eye(40));
        let m = truth.dot(&scales);
        let trace = |r: &Array2<f32>| f64::from((r * &m).sum());
        let best = trace(&polar(Isa::widest(), &m, &Array2::eye(40)));
        let start = trace(&Array2::eye(40));
        let found = orthonormalized(Isa::widest(), turn_of_pairs(Isa::widest(), &m).expect("gains"));
        assert!(distance_from_orthonormal(&found) < 1e-5);
        assert!(trace(&found) - start > 0.9 * (best - start), "{start}, {}, {best}", trace(&found));
        // Far from symmetric, pairs interfere; and a matrix of zeros says nothing.
        let far = random(Isa::widest(), 40, &mut rng);
        if let Some(found) = turn_of_pairs(Isa::widest(), &far) {
            assert!((&orthonormalized(Isa::widest(), found) * &far).sum() > far.diag().sum());
        }
        assert!(turn_of_pairs(Isa::widest(), &Array2::zeros((4, 4))).is_none());
    }

    #[test]
    fn quintics_keep_their_interval_near_one() {
        for (least, most) in [(1e-6, 1.0), (1e-3, 1.0), (0.3, 1.7), (0.9, 1.1), (0.999_999_9, 1.0)] {
            let [a, b, c] = best_quintic(least, most);
            let value = |x: f64| x * (a + x * x * (b + x * x * c));
            let error = 1.0 - value(least);
            for i in 0..=1000 {
                let x = least + (most - least) * f64::from(i) / 1000.0;
                assert!((value(x) - 1.0).abs() <= error + 1e-9, "{least} to {most}: {} at {x}", value(x));
            }
            assert!(value(least) > 1.5 * least || least >= 0.3, "{least} to {most}");
        }
    }
}
