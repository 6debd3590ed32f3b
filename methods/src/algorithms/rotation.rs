//! Orthonormal rotations: random ones, principal axes, and fitted ones.

use crate::algorithms::moments::{covariance, mean};
use crate::algorithms::polar::polar;
use crate::algorithms::products::multiply;
use cpu::{Eigen, Isa};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// A uniformly random orthonormal matrix: the polar factor of a Gaussian one.
pub fn random(isa: Isa, dim: usize, rng: &mut impl Rng) -> Array2<f32> {
    let gaussian = Array2::from_shape_fn((dim, dim), |_| StandardNormal.sample(rng));
    polar(isa, &gaussian, &Array2::eye(dim))
}

/// The principal axes of `rows` (centred), largest variance first.
pub struct PrincipalAxes {
    /// Variance of the rows along each.
    pub variances: Vec<f64>,
    /// `dim×dim`; columns are the axes.
    pub axes: Array2<f32>,
}

/// Principal axes of `rows`, which need not be centred.
pub fn principal_axes(isa: Isa, rows: ArrayView2<'_, f32>) -> PrincipalAxes {
    let dim = rows.ncols();
    let covariance = covariance(rows, &mean(rows)).into_iter().collect();
    let Eigen { values, vectors } = cpu::symmetric_eigen(isa, covariance, dim);
    let mut axes = Array2::<f32>::zeros((dim, dim));
    if let Some(axes) = axes.as_slice_mut() {
        axes.par_iter_mut().zip(vectors).for_each(|(axis, value)| *axis = value as f32);
    }
    PrincipalAxes { variances: values.into_iter().map(|value| value.max(0.0)).collect(), axes }
}

/// About the first `count` principal axes of `rows`, which need not be centred, as columns: good enough to begin a clustering
/// with, at `O(n·dim·count)`. By subspace iteration from fixed random directions (Halko, Martinsson and Tropp 2011).
pub fn leading_axes(isa: Isa, rows: ArrayView2<'_, f32>, count: usize) -> Array2<f32> {
    const ITERATIONS: usize = 3;
    let dim = rows.ncols();
    let tried = (count + count / 8 + 4).min(dim);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let centre: Array1<f32> = mean(rows).into_iter().map(|m| m as f32).collect();
    let centred = &rows - &centre;
    let gaussian = Array2::from_shape_fn((dim, tried), |_| StandardNormal.sample(&mut rng));
    // Without the columns that are not tried.
    let eye = Array2::from_shape_fn((dim, tried), |(i, j)| if i == j { 1.0 } else { 0.0 });
    let mut axes = polar(isa, &gaussian, &eye);
    for _ in 0..ITERATIONS {
        let seen = multiply(isa, centred.view(), axes.view());
        axes = polar(isa, &multiply(isa, centred.t(), seen.view()), &axes);
    }
    let seen = multiply(isa, centred.view(), axes.view());
    let PrincipalAxes { axes: within, .. } = principal_axes(isa, seen.view());
    multiply(isa, axes.view(), within.slice(s![.., ..count]))
}

/// Assigns axes, in order of falling variance, to `groups` groups of equal size so that the products of their variances
/// are as equal as possible (eigenvalue allocation, Ge, He, Ke and Sun 2013). Returns axis numbers, group by group.
///
/// Each axis goes to the group with free places whose product is smallest so far. Variances are divided by the smallest
/// one, so that no factor is below 1. Otherwise the product of a group would fall with every axis, and the first group
/// would get all the large ones. The unit of the rows thus has no influence.
pub fn deal(variances: &[f64], groups: usize) -> Vec<usize> {
    let floor = LEAST_SHARE * variances.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let least = variances.iter().copied().fold(f64::INFINITY, f64::min).max(floor);
    let size = variances.len() / groups;
    let mut dealt: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new()); groups];
    for (axis, variance) in variances.iter().enumerate() {
        let open = dealt.iter_mut().filter(|(_, axes)| axes.len() < size);
        if let Some(group) = open.min_by(|a, b| a.0.total_cmp(&b.0)) {
            group.0 += (variance.max(least) / least).ln();
            group.1.push(axis);
        }
    }
    dealt.into_iter().flat_map(|(_, axes)| axes).collect()
}

/// Smallest share of the total variance that counts for an axis: anything below is rounding.
const LEAST_SHARE: f64 = 1e-12;

/// Principal axes of `rows`, assigned to `groups` groups by [`deal`]. Columns are the new axes, group by group.
pub fn balanced_axes(isa: Isa, rows: ArrayView2<'_, f32>, groups: usize) -> Array2<f32> {
    let PrincipalAxes { variances, axes } = principal_axes(isa, rows);
    axes.select(Axis(1), &deal(&variances, groups)).as_standard_layout().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance_from_orthonormal(r: &Array2<f32>) -> f32 {
        (r.t().dot(r) - Array2::<f32>::eye(r.ncols())).iter().fold(0.0, |m, v| m.max(v.abs()))
    }

    #[test]
    fn leading_axes_are_orthonormal_and_keep_the_variance_of_the_principal_ones() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut rows = Array2::from_shape_fn((400, 60), |(_, j)| {
            let x: f32 = StandardNormal.sample(&mut rng);
            x * (1.0 + j as f32).powf(-0.6)
        });
        rows = multiply(Isa::widest(), rows.view(), random(Isa::widest(), 60, &mut rng).view()) + 5.0;
        let kept = |axes: &Array2<f32>, rows: &Array2<f32>| -> f64 {
            let seen = rows.dot(axes);
            let centre = mean(seen.view());
            crate::algorithms::moments::variance(seen.view(), &centre)
        };
        for count in [1, 8, 60] {
            let axes = leading_axes(Isa::widest(), rows.view(), count);
            assert!(distance_from_orthonormal(&axes) < 1e-5);
            let best: f64 = principal_axes(Isa::widest(), rows.view()).variances[..count].iter().sum();
            assert!(kept(&axes, &rows) > 0.98 * best, "{count}");
        }
        // Rows of fewer dimensions than axes.
        let flat = Array2::from_shape_fn((50, 20), |(i, _)| i as f32);
        assert!(distance_from_orthonormal(&leading_axes(Isa::widest(), flat.view(), 5)) < 1e-5);
    }

    #[test]
    fn balanced_axes_are_orthonormal_and_share_the_variance() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rows = Array2::from_shape_fn((2000, 8), |(_, j)| {
            let x: f32 = StandardNormal.sample(&mut rng);
            x * 2f32.powi(j as i32)
        });
        // In any unit: below, about and above 1.
        for unit in [2f32.powi(-20), 1.0, 2f32.powi(20)] {
            let rows = &rows * unit;
            let axes = balanced_axes(Isa::widest(), rows.view(), 4);
            assert!(distance_from_orthonormal(&axes) < 1e-5);
            let rotated = multiply(Isa::widest(), rows.view(), axes.view());
            let variance =
                |j: usize| rotated.column(j).iter().map(|x| f64::from(*x / unit).powi(2)).sum::<f64>() / 2000.0;
            let products: Vec<f64> = (0..4).map(|g| variance(2 * g) * variance(2 * g + 1)).collect();
            let spread =
                products.iter().fold(0f64, |m, p| m.max(*p)) / products.iter().fold(f64::INFINITY, |m, p| m.min(*p));
            assert!(spread < 1.5, "variances 4^0 … 4^7 pair up to 4^7 each, unit {unit}: {products:?}");
        }
    }

    #[test]
    fn axes_are_dealt_alike_in_any_unit() {
        // A spectrum that falls by a power law, as those of embeddings do, and one with axes that say nothing.
        let spectrum: Vec<f64> = (1..=24).map(|j| f64::from(j).powf(-1.2)).collect();
        let flat: Vec<f64> = (0..24).map(|j| if j < 10 { 1.0 / f64::from(j + 1) } else { 0.0 }).collect();
        for variances in [spectrum, flat] {
            let dealt = deal(&variances, 4);
            for unit in [1e-30, 1e-6, 1e6, 1e30] {
                let scaled: Vec<f64> = variances.iter().map(|v| v * unit).collect();
                assert_eq!(deal(&scaled, 4), dealt, "unit {unit}");
            }
            // The largest axis of each group is one of the four largest of all.
            assert!(dealt.chunks_exact(6).all(|group| group.iter().any(|&axis| axis < 4)), "{dealt:?}");
        }
    }
}
