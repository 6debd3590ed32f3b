//! Adam (Kingma and Ba 2015) over the parameter matrices of networks and bottlenecks.

use cpu::{AdamStep, Isa};
use ndarray::Array2;
use rayon::prelude::*;

/// Decay of the moving mean of gradients, and of their squares.
const BETA: [f64; 2] = [0.9, 0.99];
const EPSILON: f64 = 1e-8;

/// Values that one task moves.
const VALUES: usize = 1 << 13;

/// Moving means of the gradients of each parameter, and of their squares.
#[derive(Default)]
pub(super) struct Adam {
    moments: Vec<[Array2<f32>; 2]>,
    steps: i32,
}

impl Adam {
    /// One step against the gradients. Says whether all of them were finite.
    ///
    /// ```text
    /// m ← β₁·m + (1−β₁)·g      v ← β₂·v + (1−β₂)·g²      θ ← θ − rate·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)
    /// ```
    pub(super) fn step(
        &mut self,
        isa: Isa,
        parameters: Vec<&mut Array2<f32>>,
        gradients: &[Array2<f32>],
        rate: f64,
    ) -> bool {
        self.steps = self.steps.saturating_add(1);
        let zeros = |g: &Array2<f32>| [Array2::zeros(g.dim()), Array2::zeros(g.dim())];
        let known = self.moments.len();
        self.moments.extend(gradients.iter().skip(known).map(zeros));
        let whole = BETA.map(|beta| 1.0 - beta.powi(self.steps));
        let keep = BETA.map(|beta| beta as f32);
        let (step, spread, epsilon) = ((rate / whole[0]) as f32, (1.0 / whole[1]) as f32, EPSILON as f32);
        let of = AdamStep { keep, step, spread, epsilon };
        let mut tasks = Vec::new();
        for ((parameter, gradient), [mean, square]) in parameters.into_iter().zip(gradients).zip(&mut self.moments) {
            let moved = (parameter.as_slice_mut(), gradient.as_slice(), mean.as_slice_mut(), square.as_slice_mut());
            let (Some(values), Some(gradients), Some(mean), Some(square)) = moved else {
                unreachable!("parameters and gradients are made row by row")
            };
            let means = mean.chunks_mut(VALUES).zip(square.chunks_mut(VALUES));
            tasks.extend(values.chunks_mut(VALUES).zip(gradients.chunks(VALUES)).zip(means));
        }
        let moved = tasks.into_par_iter().map(|((x, g), (mean, square))| of.apply(isa, x, g, [mean, square]));
        moved.reduce(|| true, |a, b| a && b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn two_steps_by_hand() {
        let (mut adam, mut x) = (Adam::default(), arr2(&[[1.0f32, -2.0]]));
        adam.step(Isa::widest(), vec![&mut x], &[arr2(&[[0.5, -4.0]])], 0.1);
        // The first step has the length of the rate, whatever the gradient.
        assert!((x[(0, 0)] - 0.9).abs() < 1e-6 && (x[(0, 1)] + 1.9).abs() < 1e-6, "{x}");
        adam.step(Isa::widest(), vec![&mut x], &[arr2(&[[-0.5, -4.0]])], 0.1);
        // m = .9·.05 − .05 = −.005, over 1 − .81; v = .25 either way, over 1: a step of .1·(.005/.19)/.5 upwards.
        assert!((x[(0, 0)] - (0.9 + 0.1 * (0.005 / 0.19) / 0.5)).abs() < 1e-5, "{x}");
        assert!((x[(0, 1)] + 1.8).abs() < 1e-5, "{x}");
    }
}
