//! A random source whose rows resemble embeddings of text: few directions hold most of the variance, no component lies along one of
//! them, and all rows point somewhat the same way.
//!
//! ```text
//! x = y/‖y‖,   y = μ + Q·(s ∘ g),   s_j² ∝ 1/j,   ‖μ‖² = 0.3,   Σ s_j² = 0.7
//! ```
//!
//! with independent standard normal `g`, a mean `μ` in a random direction, and an orthonormal `Q` made of random signs and Hadamard
//! transforms, which costs `d·log d` per row where a dense rotation costs `d²`.

use super::normal;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Share of a row's power that is the mean's, before its length becomes 1.
pub(super) const MEAN_POWER: f64 = 0.3;

/// Passes of signs and Hadamard transforms. Two spread each direction over all components.
const PASSES: usize = 2;

/// The mean, the scales and the signs of a seed, `(2 + PASSES)·dim` values in this order.
pub(super) fn parameters(dim: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let direction: Vec<f64> = (0..dim).map(|_| normal(rng)).collect();
    let norm = direction.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let harmonic: f64 = (1..=dim).map(|j| 1.0 / j as f64).sum();
    let scale = |j: usize| ((1.0 - MEAN_POWER) / (harmonic * j as f64)).sqrt();
    let mut values: Vec<f32> = direction.iter().map(|v| (v / norm * MEAN_POWER.sqrt()) as f32).collect();
    values.extend((1..=dim).map(|j| scale(j) as f32));
    values.extend((0..PASSES * dim).map(|_| if rng.random::<bool>() { 1f32 } else { -1.0 }));
    values
}

/// Draws a row with what [`parameters`] gave for its dimension.
pub(super) fn draw(row: &mut [f32], parameters: &[f32], rng: &mut ChaCha8Rng) {
    let dim = row.len();
    let (mean, rest) = parameters.split_at(dim);
    let (scales, signs) = rest.split_at(dim);
    row.iter_mut().zip(scales).for_each(|(x, s)| *x = normal(rng) as f32 * s);
    rotate(row, signs);
    row.iter_mut().zip(mean).for_each(|(x, m)| *x += m);
    let norm = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
}

/// Multiplies by `Q`: in each pass the signs, then a Hadamard transform of the first components and one of the last, each of as many as
/// the largest power of two that there is room for.
fn rotate(row: &mut [f32], signs: &[f32]) {
    let width = 1usize << row.len().ilog2();
    for signs in signs.chunks_exact(row.len()) {
        row.iter_mut().zip(signs).for_each(|(x, sign)| *x *= sign);
        hadamard(&mut row[..width]);
        let first_of_last = row.len() - width;
        if first_of_last > 0 {
            hadamard(&mut row[first_of_last..]);
        }
    }
}

/// The orthonormal Hadamard transform of a power of two of values.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            low.iter_mut().zip(high).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        half *= 2;
    }
    let scale = (values.len() as f32).sqrt().recip();
    values.iter_mut().for_each(|v| *v *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// The columns of `Q`.
    fn axes(dim: usize, parameters: &[f32]) -> Vec<Vec<f32>> {
        let axis = |j: usize| {
            let mut unit = vec![0f32; dim];
            unit[j] = 1.0;
            rotate(&mut unit, &parameters[2 * dim..]);
            unit
        };
        (0..dim).map(axis).collect()
    }

    fn product(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    #[test]
    fn rows_have_unit_length_a_mean_and_a_variance_that_falls_like_one_over_j() {
        let (dim, n) = (48, 20_000);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let parameters = parameters(dim, &mut rng);
        let rows: Vec<Vec<f32>> = (0..n)
            .map(|_| {
                let mut row = vec![0f32; dim];
                draw(&mut row, &parameters, &mut rng);
                row
            })
            .collect();
        assert!(rows.iter().all(|row| (product(row, row) - 1.0).abs() < 1e-5));
        let mean: Vec<f32> = (0..dim).map(|j| rows.iter().map(|row| row[j]).sum::<f32>() / n as f32).collect();
        let power = product(&mean, &mean);
        // Lengths before the division vary, so the share is not exact.
        assert!((MEAN_POWER - 0.05..MEAN_POWER + 0.1).contains(&power), "the mean's share is {power}");
        let variance = |axis: &Vec<f32>| {
            let centre = product(axis, &mean);
            rows.iter().map(|row| (product(axis, row) - centre).powi(2)).sum::<f64>() / n as f64
        };
        let variances: Vec<f64> = axes(dim, &parameters).iter().map(variance).collect();
        // The first axes lose some by the division: a large value along one of them makes a row long.
        let shares: Vec<f64> = variances.iter().zip(1..).map(|(v, j)| v * f64::from(j)).collect();
        let share = shares[8..].iter().sum::<f64>() / (dim - 8) as f64;
        for (j, found) in shares.iter().enumerate() {
            let range = if j < 8 { 0.4..1.1 } else { 0.8..1.25 };
            assert!(range.contains(&(found / share)), "axis {j}: {} of what 1/j says", found / share);
        }
    }

    #[test]
    fn the_rotation_is_orthonormal_and_spreads_each_direction() {
        for dim in [1, 2, 3, 96, 384] {
            let mut rng = ChaCha8Rng::seed_from_u64(dim as u64);
            let parameters = parameters(dim, &mut rng);
            let columns = axes(dim, &parameters);
            for (j, a) in columns.iter().enumerate() {
                for (i, b) in columns.iter().enumerate() {
                    let product: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-4, "columns {i} and {j} of {dim}: {product}");
                }
                let most = a.iter().fold(0f32, |most, x| most.max(x.abs()));
                assert!(dim < 96 || most < 0.6, "column {j} of {dim} has a component of {most}");
            }
        }
    }
}
