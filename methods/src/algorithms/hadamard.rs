//! Fast random rotations: random signs and fast Hadamard transforms. They cost O(d·log d) for long vectors.

use crate::algorithms::rotation::random;
use crate::contract::state::{State, StateError};
use cpu::Isa;
use ndarray::{Array2, ArrayView1};
use rand::{Rng, RngExt};

/// A random orthonormal map of `dim` components.
///
/// Up to [`DENSE`] components it is a matrix, uniform over all rotations. Above, it is [`ROUNDS`] rounds of random signs
/// and a normalized Hadamard transform (Ailon and Chazelle 2006) of the longest window of a power of two, at the front and
/// at the back in turn, so that no component needs padding.
#[derive(Clone, Debug)]
pub(crate) enum FastRotation {
    Dense(Array2<f32>),
    /// `ROUNDS×dim` of ±1.
    Hadamard(Array2<f32>),
}

/// Number of components up to which a matrix is used.
const DENSE: usize = 64;

/// Rounds of signs and transforms.
const ROUNDS: usize = 4;

impl FastRotation {
    pub(crate) fn random(isa: Isa, dim: usize, rng: &mut impl Rng) -> FastRotation {
        if dim <= DENSE {
            return FastRotation::Dense(random(isa, dim, rng));
        }
        FastRotation::Hadamard(Array2::from_shape_fn((ROUNDS, dim), |_| if rng.random() { 1.0 } else { -1.0 }))
    }

    pub(crate) fn save(&self, name: &str, state: &mut State) {
        let (FastRotation::Dense(matrix) | FastRotation::Hadamard(matrix)) = self;
        state.put_matrix(name, matrix.view());
    }

    pub(crate) fn take(name: &str, dim: usize, state: &mut State) -> Result<FastRotation, StateError> {
        if dim <= DENSE {
            return state.take_matrix(name, dim, dim).map(FastRotation::Dense);
        }
        let signs = state.take_matrix(name, ROUNDS, dim)?;
        if signs.iter().any(|s| s.abs() != 1.0) {
            return Err(StateError::Value(name.to_owned()));
        }
        Ok(FastRotation::Hadamard(signs))
    }

    /// Bytes: four per entry of a matrix, a bit per sign.
    pub(crate) fn model_size(&self) -> usize {
        match self {
            FastRotation::Dense(matrix) => 4 * matrix.len(),
            FastRotation::Hadamard(signs) => signs.len().div_ceil(8),
        }
    }

    /// Multiply-adds per vector of `dim` components.
    pub(crate) fn cost(dim: usize) -> f64 {
        if dim <= DENSE { (dim * dim) as f64 } else { ROUNDS as f64 * dim as f64 * (dim as f64).log2() }
    }

    pub(crate) fn forward(&self, x: &mut [f32]) {
        match self {
            FastRotation::Dense(matrix) => {
                let y = ArrayView1::from(&*x).dot(matrix);
                x.iter_mut().zip(y).for_each(|(x, y)| *x = y);
            }
            FastRotation::Hadamard(signs) => {
                for (round, signs) in signs.outer_iter().enumerate() {
                    x.iter_mut().zip(signs).for_each(|(x, s)| *x *= s);
                    transform(window(x, round));
                }
            }
        }
    }

    pub(crate) fn backward(&self, x: &mut [f32]) {
        match self {
            FastRotation::Dense(matrix) => {
                let y = matrix.dot(&ArrayView1::from(&*x));
                x.iter_mut().zip(y).for_each(|(x, y)| *x = y);
            }
            FastRotation::Hadamard(signs) => {
                for (round, signs) in signs.outer_iter().enumerate().rev() {
                    // The normalized transform is its own inverse.
                    transform(window(x, round));
                    x.iter_mut().zip(signs).for_each(|(x, s)| *x *= s);
                }
            }
        }
    }
}

/// The longest window of a power of two, at the front in even rounds and at the back in odd ones.
fn window(x: &mut [f32], round: usize) -> &mut [f32] {
    let length = 1 << x.len().ilog2();
    let start = if round.is_multiple_of(2) { 0 } else { x.len() - length };
    &mut x[start..start + length]
}

/// `x ← H·x/√n` for `n` a power of two, by butterflies.
fn transform(x: &mut [f32]) {
    let n = x.len();
    let mut half = 1;
    while half < n {
        for block in x.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (n as f32).sqrt();
    x.iter_mut().for_each(|v| *v *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn rotations_keep_lengths_spread_axes_and_come_back() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for dim in [1, 2, 12, 64, 65, 96, 100, 128, 384, 1000] {
            let rotation = FastRotation::random(Isa::widest(), dim, &mut rng);
            for axis in [0, dim / 2, dim - 1] {
                let mut x = vec![0f32; dim];
                x[axis] = 3.0;
                rotation.forward(&mut x);
                let power: f32 = x.iter().map(|v| v * v).sum();
                assert!((power - 9.0).abs() < 1e-4, "d={dim}: {power}");
                if dim > DENSE {
                    let largest = x.iter().fold(0f32, |m, v| m.max(v.abs()));
                    assert!(largest < 3.0 * 6.0 / (dim as f32).sqrt(), "d={dim}: {largest} of 3 on one axis");
                }
                rotation.backward(&mut x);
                for (i, v) in x.iter().enumerate() {
                    let expected = if i == axis { 3.0 } else { 0.0 };
                    assert!((v - expected).abs() < 1e-4, "d={dim}");
                }
            }
        }
    }

    #[test]
    fn the_transform_is_the_matrix() {
        let mut x = [1.0, 2.0, 3.0, 4.0];
        transform(&mut x);
        assert_eq!(x, [5.0, -1.0, -2.0, 0.0]);
    }
}
