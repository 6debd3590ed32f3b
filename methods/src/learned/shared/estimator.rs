//! Gradient estimators for discrete choices: the forward pass gives the chosen codewords, the backward pass something
//! differentiable.

use crate::backend::largest;
use cpu::Isa;
use gradients::Matrix;
use ndarray::{Array2, ArrayView2};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How gradients pass through the choice of a codeword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// The gradient at the codeword is copied to the latent unchanged (Bengio, Léonard and Courville 2013).
    StraightThrough,
    /// The gradient is rotated and scaled so that it makes the same angle with the latent as it made with the codeword:
    /// the rotation trick (Fifty et al. 2024).
    Rotation,
    /// The gradient of a weighted mean of codewords. The weights are a softmax of negative squared distances with
    /// Gumbel noise (Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017).
    Gumbel,
}

/// With `u = e/‖e‖`, `v = q/‖q‖` and `r = (u+v)/‖u+v‖` taken for constants:
///
/// ```text
/// out = (‖q‖/‖e‖)·(e − 2·r·(rᵀe) + 2·v·(uᵀe)) = q
/// ```
///
/// so that the gradient with respect to `e` is rotated and scaled as `e` is. A row whose latent or codeword is zero has
/// no direction; its gradient passes straight through.
pub(crate) fn rotate(e: &Matrix, q: ArrayView2<'_, f32>) -> Matrix {
    let values = e.values();
    let (n, dim) = values.dim();
    let zeros = || Array2::<f32>::zeros((n, dim));
    let (mut u, mut v, mut r, mut ratio) = (zeros(), zeros(), zeros(), Array2::<f32>::ones((n, 1)));
    let norm = |row: ndarray::ArrayView1<'_, f32>| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    for i in 0..n {
        let (of_e, of_q) = (norm(values.row(i)), norm(q.row(i)));
        if of_e < f64::from(f32::MIN_POSITIVE) || of_q < f64::from(f32::MIN_POSITIVE) {
            continue;
        }
        ratio[(i, 0)] = (of_q / of_e) as f32;
        let units: Vec<[f64; 2]> =
            (0..dim).map(|j| [f64::from(values[(i, j)]) / of_e, f64::from(q[(i, j)]) / of_q]).collect();
        let length = units.iter().map(|[u, v]| (u + v).powi(2)).sum::<f64>().sqrt();
        for (j, [of_u, of_v]) in units.into_iter().enumerate() {
            (u[(i, j)], v[(i, j)]) = (of_u as f32, of_v as f32);
            // Opposite directions: the last term alone rotates by half a turn.
            r[(i, j)] = if length > 1e-6 { ((of_u + of_v) / length) as f32 } else { 0.0 };
        }
    }
    let [u, v, r, ratio] = [u, v, r, ratio].map(|c| Matrix::constant(c.view()));
    let reflected = r.by(&r.by(e).row_sums()).scaled(-2.0);
    let turned = e.plus(&reflected).plus(&v.by(&u.by(e).row_sums()).scaled(2.0)).by(&ratio);
    // Replaces rounded values by exact ones, also for rows without a direction.
    turned.straight_through(q)
}

/// `n×k` of Gumbel noise, `−ln(−ln u)` with `u` uniform in (0, 1).
pub(crate) fn gumbel_noise(n: usize, k: usize, isa: Isa, rng: &mut impl Rng) -> Array2<f32> {
    // The midpoints of 2^23 equal parts of the interval: never 0 or 1, and exact in f32.
    let mut noise = Array2::from_shape_simple_fn((n, k), || ((rng.next_u32() >> 9) as f32 + 0.5) / (1u32 << 23) as f32);
    if let Some(values) = noise.as_slice_mut() {
        for _ in 0..2 {
            cpu::ln(isa, values);
            values.iter_mut().for_each(|v| *v = -*v);
        }
    }
    noise
}

/// Rows of `k` with a one where `chosen` says.
pub(crate) fn one_hot(chosen: &[u32], k: usize) -> Array2<f32> {
    let mut rows = Array2::zeros((chosen.len(), k));
    chosen.iter().enumerate().for_each(|(i, &c)| rows[(i, c as usize)] = 1.0);
    rows
}

/// `softmax((logits + noise)/τ)`, with `1/τ` as a matrix of one entry; `hard` makes it one-hot in the forward pass.
pub(crate) fn gumbel_softmax(
    logits: &Matrix,
    inverse_temperature: &Matrix,
    hard: bool,
    isa: Isa,
    rng: &mut impl Rng,
) -> Matrix {
    let (n, k) = logits.dim();
    let noisy = logits.plus(&Matrix::constant(gumbel_noise(n, k, isa, rng).view()));
    let soft = noisy.by(inverse_temperature).softmax(isa);
    if !hard {
        return soft;
    }
    soft.straight_through(one_hot(&largest(soft.values().view()), k).view())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::{Parameter, gradients};
    use ndarray::{Array1, arr2};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// The gradient of `Σ w·out` by the latents.
    fn gradient(out: impl Fn(&Matrix) -> Matrix, e: &Array2<f32>, w: &Array2<f32>) -> Array2<f32> {
        let leaf = Parameter::new(e.view()).leaf();
        let loss = out(&leaf).by(&Matrix::constant(w.view())).mean().scaled(e.len() as f32);
        gradients(&loss, &[leaf]).remove(0)
    }

    #[test]
    fn the_rotation_trick_gives_the_codeword_and_turns_the_gradient() {
        let e = arr2(&[[3.0f32, 4.0, 0.0], [1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]);
        let q = arr2(&[[0.0f32, 0.0, 10.0], [0.8, -1.7, 0.9], [1.0, 2.0, 3.0], [-2.0, 0.0, 0.0]]);
        let out = rotate(&Matrix::constant(e.view()), q.view()).values();
        assert_eq!(out, q, "exactly");
        let w = arr2(&[[0.3f32, -1.1, 0.7], [0.5, 0.2, -0.9], [1.0, 2.0, 3.0], [0.5, 1.0, -1.0]]);
        let found = gradient(|e| rotate(e, q.view()), &e, &w);
        // By hand: the map is A = (‖q‖/‖e‖)(I − 2rrᵀ + 2vuᵀ), the gradient Aᵀw.
        for i in [0, 1] {
            let column = |a: &Array2<f32>| a.row(i).to_owned().mapv(f64::from);
            let (e, q, w) = (column(&e), column(&q), column(&w));
            let norm = |x: &Array1<f64>| x.dot(x).sqrt();
            let (u, v) = (&e / norm(&e), &q / norm(&q));
            let sum = &u + &v;
            let r = &sum / norm(&sum);
            let expected = (&w - &(&r * (2.0 * r.dot(&w))) + &(&u * (2.0 * v.dot(&w)))) * (norm(&q) / norm(&e));
            for j in 0..3 {
                assert!((f64::from(found[(i, j)]) - expected[j]).abs() < 1e-5, "{found}, row {i}: {expected}");
            }
            // The angle between gradient and latent is kept: what it is between w and q.
            let kept = expected.dot(&e) / norm(&e) / (norm(&expected)) - w.dot(&q) / norm(&q) / norm(&w);
            assert!(kept.abs() < 1e-9, "{kept}");
        }
        assert_eq!(found.row(2), w.row(2), "no direction: straight through");
        // Half a turn in the plane of e and any other: I + 2vuᵀ, stretched by 2.
        assert!(
            (found[(3, 0)] - 2.0 * (0.5 - 2.0 * 0.5)).abs() < 1e-6 && (found[(3, 1)] - 2.0).abs() < 1e-6,
            "{found}"
        );
    }

    /// χ² of 20,000 draws over 5 classes: 4 degrees of freedom, 18.47 at 99.9%.
    #[test]
    fn gumbel_samples_follow_the_softmax() {
        let logits = [0.5f32, -1.0, 2.0, 0.0, 1.3];
        let draws = 20_000;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rows = Array2::from_shape_fn((draws, 5), |(_, j)| logits[j]);
        let hard = gumbel_softmax(
            &Matrix::constant(rows.view()),
            &Matrix::constant(arr2(&[[2.0f32]]).view()),
            true,
            Isa::widest(),
            &mut rng,
        );
        let total: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let statistic: f64 = logits
            .iter()
            .zip(hard.values().columns())
            .map(|(logit, column)| {
                let expected = draws as f64 * f64::from(*logit).exp() / total;
                (f64::from(column.sum()) - expected).powi(2) / expected
            })
            .sum();
        assert!(statistic < 18.47, "χ² = {statistic}");
    }

    #[test]
    fn a_hard_choice_has_the_gradient_of_the_soft_one() {
        let (logits, w) = (arr2(&[[0.2f32, 0.9, -0.4]]), arr2(&[[1.0f32, -2.0, 0.5]]));
        let half = Matrix::constant(arr2(&[[0.5f32]]).view());
        let of = |hard| {
            gradient(|l| gumbel_softmax(l, &half, hard, Isa::widest(), &mut ChaCha8Rng::seed_from_u64(4)), &logits, &w)
        };
        assert_eq!(of(true), of(false));
        // By hand: y = softmax((l+g)/2), dΣwy/dl = y∘(w − Σwy)/2.
        let noise = gumbel_noise(1, 3, Isa::widest(), &mut ChaCha8Rng::seed_from_u64(4));
        let powers = (&logits + &noise).mapv(|x| (0.5 * x).exp());
        let y = &powers / powers.sum();
        let mean = (&y * &w).sum();
        let expected = (&w - mean) * &y * 0.5;
        assert!((of(true) - expected).iter().all(|d| d.abs() < 1e-6));
    }

    #[test]
    fn the_largest_of_each_row() {
        assert_eq!(largest(arr2(&[[1.0f32, 3.0, 3.0], [f32::NAN, -1.0, -2.0]]).view()), [1, 1]);
        assert_eq!(one_hot(&[1, 0], 3), arr2(&[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]));
    }
}
