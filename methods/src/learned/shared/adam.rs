//! Adam (Kingma and Ba 2015) over the parameter matrices of networks and bottlenecks.

use ndarray::{Array2, Zip};

/// Decay of the moving mean of gradients, and of their squares.
const BETA: [f64; 2] = [0.9, 0.99];
const EPSILON: f64 = 1e-8;

/// Moving means of the gradients of each parameter, and of their squares.
#[derive(Default)]
pub(super) struct Adam {
    moments: Vec<[Array2<f32>; 2]>,
    steps: i32,
}

impl Adam {
    /// One step against the gradients:
    ///
    /// ```text
    /// m ← β₁·m + (1−β₁)·g      v ← β₂·v + (1−β₂)·g²      θ ← θ − rate·(m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)
    /// ```
    pub(super) fn step(&mut self, parameters: Vec<&mut Array2<f32>>, gradients: &[Array2<f32>], rate: f64) {
        self.steps = self.steps.saturating_add(1);
        let zeros = |g: &Array2<f32>| [Array2::zeros(g.dim()), Array2::zeros(g.dim())];
        let known = self.moments.len();
        self.moments.extend(gradients.iter().skip(known).map(zeros));
        let whole = BETA.map(|beta| 1.0 - beta.powi(self.steps));
        let [keep_mean, keep_square] = BETA.map(|beta| beta as f32);
        let (step, spread, epsilon) = ((rate / whole[0]) as f32, (1.0 / whole[1]) as f32, EPSILON as f32);
        for ((parameter, gradient), [mean, square]) in parameters.into_iter().zip(gradients).zip(&mut self.moments) {
            Zip::from(parameter).and(gradient).and(mean).and(square).par_for_each(|x, &g, m, v| {
                *m = keep_mean * *m + (1.0 - keep_mean) * g;
                *v = keep_square * *v + (1.0 - keep_square) * g * g;
                *x -= step * *m / ((spread * *v).sqrt() + epsilon);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn two_steps_by_hand() {
        let (mut adam, mut x) = (Adam::default(), arr2(&[[1.0f32, -2.0]]));
        adam.step(vec![&mut x], &[arr2(&[[0.5, -4.0]])], 0.1);
        // The first step has the length of the rate, whatever the gradient.
        assert!((x[(0, 0)] - 0.9).abs() < 1e-6 && (x[(0, 1)] + 1.9).abs() < 1e-6, "{x}");
        adam.step(vec![&mut x], &[arr2(&[[-0.5, -4.0]])], 0.1);
        // m = .9·.05 − .05 = −.005, over 1 − .81; v = .25 either way, over 1: a step of .1·(.005/.19)/.5 upwards.
        assert!((x[(0, 0)] - (0.9 + 0.1 * (0.005 / 0.19) / 0.5)).abs() < 1e-5, "{x}");
        assert!((x[(0, 1)] + 1.8).abs() < 1e-5, "{x}");
    }
}
