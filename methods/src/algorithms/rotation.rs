//! Orthonormal rotations: random ones, principal axes, and fitted ones.

use crate::algorithms::moments::{covariance, mean};
use cpu::{Isa, Panels, Score};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Rows multiplied by one task; a constant, so that no result depends on the thread count.
const ROWS: usize = 64;

/// `rows · matrix`, on the current thread pool.
pub fn multiply(isa: Isa, rows: ArrayView2<'_, f32>, matrix: ArrayView2<'_, f32>) -> Array2<f32> {
    multiply_packed(rows, matrix, &PackedMatrix::new(isa, matrix))
}

/// A matrix packed for the scoring kernel, for matrices that many rows are multiplied by.
#[derive(Clone, Debug)]
pub struct PackedMatrix(Option<Panels>);

impl PackedMatrix {
    /// Packs nothing if the processor has no wide registers.
    pub fn new(isa: Isa, matrix: ArrayView2<'_, f32>) -> PackedMatrix {
        if isa == Isa::PORTABLE || matrix.is_empty() {
            return PackedMatrix(None);
        }
        // The kernel computes negated products.
        let columns: Vec<f32> = matrix.t().iter().map(|v| -v).collect();
        PackedMatrix(Some(Panels::new(isa, &columns, matrix.nrows(), Score::NegatedDot)))
    }
}

/// `rows · matrix` with the result of [`PackedMatrix::new`]. If nothing was packed, `ndarray` computes the product; it is the
/// reference.
pub fn multiply_packed(rows: ArrayView2<'_, f32>, matrix: ArrayView2<'_, f32>, packed: &PackedMatrix) -> Array2<f32> {
    let mut out = Array2::zeros((rows.nrows(), matrix.ncols()));
    if let Some(out) = out.as_slice_mut() {
        multiply_packed_into(rows, matrix, packed, out);
    }
    out
}

/// [`multiply_packed`], of which the result is written one row after the other.
///
/// # Panics
/// When there is no room for as many values.
pub fn multiply_packed_into(
    rows: ArrayView2<'_, f32>,
    matrix: ArrayView2<'_, f32>,
    packed: &PackedMatrix,
    out: &mut [f32],
) {
    let k = matrix.ncols();
    assert!(out.len() == rows.nrows() * k, "a place for each product");
    if out.is_empty() {
        return;
    }
    let tasks = out.par_chunks_mut(ROWS * k).zip(rows.axis_chunks_iter(Axis(0), ROWS));
    tasks.for_each(|(out, rows)| match &packed.0 {
        Some(panels) => {
            let rows = rows.as_standard_layout();
            if let Some(rows) = rows.as_slice() {
                panels.scores(rows, out);
            }
        }
        None => {
            if let Ok(mut out) = ArrayViewMut2::from_shape((rows.nrows(), k), out) {
                ndarray::linalg::general_mat_mul(1.0, &rows, &matrix, 0.0, &mut out);
            }
        }
    });
}

/// A uniformly random orthonormal matrix: the polar factor of a Gaussian one.
pub fn random(isa: Isa, dim: usize, rng: &mut impl Rng) -> Array2<f32> {
    let gaussian = Array2::from_shape_fn((dim, dim), |_| StandardNormal.sample(rng));
    polar(isa, &gaussian, &Array2::eye(dim))
}

/// The orthonormal `R` that maximizes `tr(Rᵀ·M)`, which for `M = U·S·Vᵀ` is `U·Vᵀ` (Schönemann 1966).
///
/// Computed by products alone: steps `X ← X·(3.4445 − 4.775·G + 2.0315·G²)` with `G = XᵀX` raise small singular values more
/// than threefold each and leave none outside of about (0.68, 1.13) (Jordan et al. 2024, Muon); then the Newton–Schulz
/// iteration `X ← 1.5·X − 0.5·X·G` pulls every value in `(0, √3)` to 1. `fallback`, orthonormal itself, decides directions about which `M` says nothing.
pub fn polar(isa: Isa, matrix: &Array2<f32>, fallback: &Array2<f32>) -> Array2<f32> {
    // Its entries are squared, so they are scaled by a power of two near the largest entry to stay in range.
    let most = matrix.iter().fold(0f32, |most, v| most.max(v.abs()));
    let matrix = &(matrix * power_of_two_at(most).recip());
    let largest = largest_singular_value(matrix);
    if largest <= 0.0 || !largest.is_finite() {
        return fallback.clone();
    }
    // The estimate may be slightly too small.
    let mut x = matrix / (1.1 * largest) + fallback * 1e-6;
    let gram_of = |x: &Array2<f32>| multiply(isa, x.t(), x.view());
    for _ in 0..QUINTIC_STEPS {
        let gram = gram_of(&x);
        let factor = &gram * -4.775
            + multiply(isa, gram.view(), gram.view()) * 2.0315
            + Array2::<f32>::eye(gram.nrows()) * 3.4445;
        x = multiply(isa, x.view(), factor.view());
    }
    for _ in 0..CUBIC_STEPS {
        let gram = gram_of(&x);
        let error = distance_from_identity(&gram);
        x = &x * 1.5 - multiply(isa, x.view(), gram.view()) * 0.5;
        if error < 1e-4 {
            // One more step has squared the remaining error.
            break;
        }
    }
    x
}

/// The largest power of two at most as large as a positive value, restricted to those with an inverse in f32. 1 for
/// values that are not positive and finite.
fn power_of_two_at(value: f32) -> f32 {
    if value > 0.0 && value.is_finite() { value.log2().floor().clamp(-120.0, 120.0).exp2() } else { 1.0 }
}

/// Largest entry of `|G − I|`.
fn distance_from_identity(gram: &Array2<f32>) -> f32 {
    let of = |((i, j), g): ((usize, usize), &f32)| (g - if i == j { 1.0 } else { 0.0 }).abs();
    gram.indexed_iter().map(of).fold(0.0, f32::max)
}

/// By power iterations from the row of the largest norm; never too large.
fn largest_singular_value(matrix: &Array2<f32>) -> f32 {
    const ITERATIONS: usize = 20;
    let norm = |v: &Array1<f32>| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let rows = matrix.outer_iter().map(|row| row.to_owned());
    let Some(mut v) = rows.max_by(|a, b| norm(a).total_cmp(&norm(b))) else { return 0.0 };
    let mut found = 0.0;
    for _ in 0..ITERATIONS {
        let length = norm(&v);
        if length <= 0.0 || !length.is_finite() {
            return length as f32;
        }
        v.mapv_inplace(|x| (f64::from(x) / length) as f32);
        let image = matrix.dot(&v);
        found = norm(&image);
        v = matrix.t().dot(&image);
    }
    found as f32
}

/// From singular values of 4e-4 to 0.7: `ln(1700)/ln(3.44)`.
const QUINTIC_STEPS: usize = 6;

/// Each step squares the error of values near 1; from 1e-6 there, `ln(1e6/1700)/ln(1.5)` and a few to settle.
const CUBIC_STEPS: usize = 24;

/// The principal axes of `rows` (centred), largest variance first.
pub struct PrincipalAxes {
    /// Variance of the rows along each.
    pub variances: Vec<f64>,
    /// `dim×dim`; columns are the axes.
    pub axes: Array2<f32>,
}

/// Principal axes of `rows`, which need not be centred.
pub fn principal_axes(rows: ArrayView2<'_, f32>) -> PrincipalAxes {
    let dim = rows.ncols();
    let eigen = covariance(rows, &mean(rows)).symmetric_eigen();
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
    let axes = Array2::from_shape_fn((dim, dim), |(i, j)| eigen.eigenvectors[(i, order[j])] as f32);
    PrincipalAxes { variances: order.iter().map(|&j| eigen.eigenvalues[j].max(0.0)).collect(), axes }
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
pub fn balanced_axes(rows: ArrayView2<'_, f32>, groups: usize) -> Array2<f32> {
    let PrincipalAxes { variances, axes } = principal_axes(rows);
    axes.select(Axis(1), &deal(&variances, groups)).as_standard_layout().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn distance_from_orthonormal(r: &Array2<f32>) -> f32 {
        (r.t().dot(r) - Array2::<f32>::eye(r.ncols())).iter().fold(0.0, |m, v| m.max(v.abs()))
    }

    #[test]
    fn the_packed_product_is_the_plain_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for (n, inner, columns) in [(0, 3, 2), (1, 1, 1), (3, 0, 4), (300, 7, 33), (513, 40, 5)] {
            let mut random = |n: usize, m: usize| Array2::from_shape_fn((n, m), |_| StandardNormal.sample(&mut rng));
            let (a, b): (Array2<f32>, Array2<f32>) = (random(inner, n), random(inner, columns));
            let gap = multiply(Isa::widest(), a.t(), b.view()) - multiply_packed(a.t(), b.view(), &PackedMatrix(None));
            assert!(gap.iter().all(|v| v.abs() < 1e-4), "{n}×{inner} by {inner}×{columns}");
        }
    }

    #[test]
    fn the_polar_factor_of_a_stretched_rotation_is_the_rotation() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rotation = random(Isa::widest(), 20, &mut rng);
        assert!(distance_from_orthonormal(&rotation) < 1e-5);
        // R·S with S symmetric positive definite has the polar factor R.
        let half = random(Isa::widest(), 20, &mut rng);
        let scales = Array2::from_diag(&Array1::from_shape_fn(20, |i| 10f32.powi(i as i32 % 4 - 2)));
        let stretch = half.dot(&scales).dot(&half.t());
        let found = polar(Isa::widest(), &rotation.dot(&stretch), &Array2::eye(20));
        let gap = (&found - &rotation).iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(gap < 1e-3, "{gap}");
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
    fn balanced_axes_are_orthonormal_and_share_the_variance() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rows = Array2::from_shape_fn((2000, 8), |(_, j)| {
            let x: f32 = StandardNormal.sample(&mut rng);
            x * 2f32.powi(j as i32)
        });
        // In any unit: below, about and above 1.
        for unit in [2f32.powi(-20), 1.0, 2f32.powi(20)] {
            let rows = &rows * unit;
            let axes = balanced_axes(rows.view(), 4);
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
