//! Quantization-aware training of the scalar quantizer: fake quantization with learned steps.

use crate::algorithms::levels::UniformLevels;
use crate::classical::scalar::{Scalar, on_uniform_grids, uniform_grids};
use crate::learned::shared::{
    Bottleneck, Encoder, ForwardPass, LatentWidth, Spread, Training, TrainingStep, fit, restore,
};
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, TrainingRows};
use gradients::Matrix;
use ndarray::{Array2, ArrayView2};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "qat",
    family: Some(Family::Learned),
    summary: "Quantization-aware training: a scalar quantizer of latents; its steps and offsets are learned together with encoder and decoder",
    paper: "Esser et al., Learned step size quantization, 2020; Bhalgat et al., LSQ+, 2020 (learned offsets)",
    rate: "latent × bits",
    rate_params: &[RateParam::count("bits")],
    cost: "fit: epochs × n × 3 times encoding and decoding; encode: the encoder",
    examples: &[
        r#"{"bits": 4, "training": {"epochs": 4, "batch": 128}}"#,
        r#"{"bits": 2, "encoder": {"mlp": {"hidden": 16, "latent": 6}}, "training": {"epochs": 5, "batch": 128}}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "the encoder decides which codeword is nearest, since distances are between latents",
    }],
    schema: schema_of::<Qat>,
    parse: parse_params::<Qat>,
};

/// Parameters of `qat`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Qat {
    /// Bits per latent component; each is rounded to one of 2^bits levels.
    #[schemars(range(min = 1, max = 8))]
    pub bits: u8,
    /// The encoder and decoder. With `identity`, only the steps and offsets of the levels are learned.
    pub encoder: Encoder,
    /// How encoder, steps, offsets and decoder are trained.
    pub training: Training,
}

impl Default for Qat {
    fn default() -> Qat {
        Qat { bits: 8, encoder: Encoder::Identity, training: Training::default() }
    }
}

const WIDTH: LatentWidth = LatentWidth::MultipleOf(1);

impl Qat {
    fn latent(&self, dim: usize) -> usize {
        self.encoder.latent(dim, WIDTH).unwrap_or(dim)
    }
}

impl Method for Qat {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        self.encoder.latent(dim, WIDTH).map(|_| ())
    }

    fn code_bits(&self, dim: usize) -> usize {
        self.latent(dim) * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        self.training.cost(n, self.encode_cost(dim))
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.latent(dim))
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.latent(dim))
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let bottleneck = FakeQuantization {
            bits: self.bits,
            start: Array2::zeros((2, 0)),
            log_step: Array2::zeros((1, 0)),
            offset: Array2::zeros((1, 0)),
        };
        fit(&self.encoder, &self.training, (WIDTH, Spread::Natural(1)), bottleneck, train, cx)
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let latent = self.encoder.latent(dim, WIDTH)?;
        let scalar = Scalar { bits: self.bits, ..Scalar::default() };
        restore(&self.encoder, dim, latent, state, cx, |state| scalar.restore(latent, state, cx))
    }
}

/// With `s = s₀·e^θ` and `o = o₀ + s₀·φ`, where `s₀` and `o₀` are the grid of least error before training:
///
/// ```text
/// v = clamp((z − o)/s, 0, 2^bits − 1)      ẑ = s·round(v) + o
/// ```
///
/// Gradients pass straight through the rounding, so `∂ẑ/∂s` is `round(v) − v` inside the range and the bound outside
/// (Esser et al. 2020, equation 3).
struct FakeQuantization {
    bits: u8,
    /// `s₀` above `o₀`.
    start: Array2<f32>,
    /// `θ`, `1×latent`.
    log_step: Array2<f32>,
    /// `φ`, `1×latent`.
    offset: Array2<f32>,
}

impl FakeQuantization {
    fn quantize(&self, z: &Matrix, log_step: &Matrix, offset: &Matrix) -> Matrix {
        let part = |i: usize| Matrix::constant(self.start.row(i).insert_axis(ndarray::Axis(0)));
        let top = (1u32 << self.bits) as f32 - 1.0;
        let step = log_step.exp().by(&part(0));
        let offset = part(1).plus(&part(0).by(offset));
        let v = z.minus(&offset).over(&step).rectified();
        // min(v, top)
        let v = v.scaled(-1.0).shifted(top).rectified().scaled(-1.0).shifted(top);
        let rounded = v.values().mapv(f32::round);
        v.straight_through(rounded.view()).by(&step).plus(&offset)
    }
}

impl Bottleneck for FakeQuantization {
    fn start(&mut self, latents: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError> {
        let grids = uniform_grids(self.bits, latents, cx)?;
        // A component that never varies is at its offset, for any step.
        let step = |grid: &UniformLevels| if grid.step > 0.0 { grid.step } else { 1e-6 };
        self.start = Array2::from_shape_fn((2, grids.len()), |(i, j)| [step(&grids[j]), grids[j].offset][i]);
        self.log_step = Array2::zeros((1, grids.len()));
        self.offset = Array2::zeros((1, grids.len()));
        Ok(())
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        vec![&mut self.log_step, &mut self.offset]
    }

    fn pass(
        &self,
        latents: &Matrix,
        parameters: &[Matrix],
        _moment: &TrainingStep<'_>,
        _rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        let [log_step, offset] = parameters else { unreachable!("the parameters given above") };
        Ok(ForwardPass { latents: self.quantize(latents, log_step, offset), losses: Vec::new(), chosen: Vec::new() })
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let grid = |j: usize| {
            let step = self.start[(0, j)] * self.log_step[(0, j)].exp();
            UniformLevels { step, offset: self.start[(1, j)] + self.start[(0, j)] * self.offset[(0, j)] }
        };
        Ok(on_uniform_grids(self.bits, (0..self.start.ncols()).map(grid).collect(), cx.backend.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::{Parameter, gradients};
    use ndarray::arr2;

    /// Two bits: levels 0 to 3, step ½, offset −¾.
    #[test]
    fn values_and_gradients_of_fake_quantization_by_hand() {
        let zeros = || Array2::zeros((1, 4));
        let bottleneck =
            FakeQuantization { bits: 2, start: arr2(&[[0.5f32; 4], [-0.75; 4]]), log_step: zeros(), offset: zeros() };
        let z = Parameter::new(arr2(&[[-2.0f32, -0.3, 0.1, 5.0]]).view()).leaf();
        let (log_step, offset) = (Parameter::new(zeros().view()).leaf(), Parameter::new(zeros().view()).leaf());
        let out = bottleneck.quantize(&z, &log_step, &offset);
        // v = (−2.5, .9, 1.7, 11.5), clamped to (0, .9, 1.7, 3), rounded to (0, 1, 2, 3).
        assert_eq!(out.values(), arr2(&[[-0.75f32, -0.25, 0.25, 0.75]]));
        let found = gradients(&out.mean().scaled(4.0), &[z, log_step, offset]);
        let near = |found: &Array2<f32>, expected: [f32; 4]| {
            let gap = found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0f32, f32::max);
            assert!(gap < 1e-5, "{found} for {expected:?}");
        };
        near(&found[0], [0.0, 1.0, 1.0, 0.0]);
        // s·(round(v) − v) inside, s times the bound outside.
        near(&found[1], [0.0, 0.05, 0.15, 1.5]);
        // Inside, what the offset adds is taken away again by the rounding that passes it.
        near(&found[2], [0.5, 0.0, 0.0, 0.5]);
    }
}
