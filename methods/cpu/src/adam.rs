//! A step of Adam over the values of one parameter, in one pass.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// What all values of a step share.
///
/// ```text
/// m ← keep₀·m + (1−keep₀)·g      v ← keep₁·v + (1−keep₁)·g²      θ ← θ − step·m / (√(spread·v) + ε)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Decay of the mean of gradients, and of that of their squares.
    pub keep: [f32; 2],
    /// The learning rate, over what the mean of gradients lacks since it began with zero.
    pub step: f32,
    /// One over what the mean of squares lacks.
    pub spread: f32,
    /// ε, which keeps the quotient finite.
    pub epsilon: f32,
}

impl AdamStep {
    /// Moves `values` against `gradients`, and updates both means. Says whether all gradients were finite. Runs on the current
    /// thread; the result is the same on every instruction set.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn apply(self, isa: Isa, values: &mut [f32], gradients: &[f32], means: [&mut [f32]; 2]) -> bool {
        let n = values.len();
        assert!(gradients.len() == n && means.iter().all(|mean| mean.len() == n), "as many of each");
        let mut finite = true;
        dispatch(isa, Values { of: self, values, gradients, means, finite: &mut finite });
        finite
    }
}

struct Values<'a> {
    of: AdamStep,
    values: &'a mut [f32],
    gradients: &'a [f32],
    means: [&'a mut [f32]; 2],
    finite: &'a mut bool,
}

/// Values that one round of the loop takes: a register or some.
const ROUND: usize = 16;

impl Kernel for Values<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Values { of, values, gradients, means: [mean, square], finite } = self;
        let (values, values_tail) = values.as_chunks_mut::<ROUND>();
        let (gradients, gradients_tail) = gradients.as_chunks::<ROUND>();
        let (mean, mean_tail) = mean.as_chunks_mut::<ROUND>();
        let (square, square_tail) = square.as_chunks_mut::<ROUND>();
        // A product with zero is zero, or no number.
        let mut sums = [0f32; ROUND];
        for (((x, g), m), v) in values.iter_mut().zip(gradients).zip(mean).zip(square) {
            for l in 0..ROUND {
                sums[l] += g[l] * 0.0;
                one(of, &mut x[l], g[l], &mut m[l], &mut v[l]);
            }
        }
        let rest = values_tail.iter_mut().zip(gradients_tail).zip(mean_tail).zip(square_tail);
        for (((x, g), m), v) in rest {
            sums[0] += *g * 0.0;
            one(of, x, *g, m, v);
        }
        *finite = sums.iter().all(|sum| *sum == 0.0);
    }
}

#[inline(always)]
fn one(of: AdamStep, x: &mut f32, g: f32, m: &mut f32, v: &mut f32) {
    let [keep_mean, keep_square] = of.keep;
    *m = keep_mean * *m + (1.0 - keep_mean) * g;
    *v = keep_square * *v + (1.0 - keep_square) * g * g;
    *x -= of.step * *m / ((of.spread * *v).sqrt() + of.epsilon);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 37 values: rounds and a tail.
    #[test]
    fn every_set_gives_the_formula_to_the_last_bit() {
        let of = AdamStep { keep: [0.9, 0.99], step: 0.01, spread: 3.0, epsilon: 1e-8 };
        let start: Vec<[f32; 4]> = (0..37u8)
            .map(|i| {
                let i = f32::from(i);
                [i * 0.37 - 4.0, (i * 1.3).sin(), (i * 0.7).cos(), i * 0.01]
            })
            .collect();
        for isa in Isa::available() {
            let [mut x, g, mut m, mut v] = [0, 1, 2, 3].map(|a| start.iter().map(|s| s[a]).collect::<Vec<f32>>());
            assert!(of.apply(isa, &mut x, &g, [&mut m, &mut v]), "{isa}: finite");
            for (i, [x0, g, m0, v0]) in start.iter().copied().enumerate() {
                let mean = 0.9 * m0 + (1.0 - 0.9) * g;
                let square = 0.99 * v0 + (1.0 - 0.99f32) * g * g;
                let moved = x0 - 0.01 * mean / ((3.0 * square).sqrt() + 1e-8);
                assert_eq!([x[i], m[i], v[i]], [moved, mean, square], "{isa}: value {i}");
            }
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_told() {
        let of = AdamStep { keep: [0.9, 0.99], step: 0.01, spread: 1.0, epsilon: 1e-8 };
        for isa in Isa::available() {
            for (place, wrong) in [(0, f32::NAN), (15, f32::INFINITY), (16, f32::NEG_INFINITY), (18, f32::NAN)] {
                let mut g = [1e30f32; 19];
                g[place] = wrong;
                let told = of.apply(isa, &mut [0.0; 19], &g, [&mut [0.0; 19], &mut [0.0; 19]]);
                assert!(!told, "{isa}: {wrong} at {place}");
            }
        }
    }
}
