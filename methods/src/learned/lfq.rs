//! Lookup-free and binary spherical quantization: codes are the signs of learned components.

use crate::learned::shared::{
    Bottleneck, Encoder, ForwardPass, GridQuantizer, LatentWidth, Loss, Spread, Steps, Training, TrainingStep, fit,
    restore, unit_rows,
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
    name: "lfq",
    family: Some(Family::Learned),
    summary: "Lookup-free quantization (LFQ): stores the sign of each latent component; an entropy loss keeps both signs in use; optionally spherical (BSQ)",
    paper: "Yu et al., Language model beats diffusion: tokenizer is key to visual generation (MAGVIT-v2), 2023; Zhao, Xiong and Krähenbühl, Image and video tokenization with binary spherical quantization, 2024",
    rate: "bits",
    rate_params: &[RateParam::count("bits")],
    cost: "fit: epochs × n × 3 times encoding and decoding; encode: the encoder",
    examples: &[
        r#"{"bits": 12, "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"bits": 8, "spherical": true, "encoder": {"mlp": {"hidden": 16}}, "training": {"epochs": 6, "batch": 128}}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "the encoder decides which codeword is nearest, since distances are between latents",
    }],
    schema: schema_of::<Lfq>,
    parse: parse_params::<Lfq>,
};

/// Parameters of `lfq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lfq {
    /// Bits per vector, one for the sign of each latent component. Raise it to lower the distortion. Bits are packed
    /// into equal groups of at most 16, and each group is one symbol. If the number is a prime above 16, each bit is a
    /// symbol of its own.
    #[schemars(range(min = 1, max = 65536))]
    pub bits: usize,
    /// Scales latents, and the vectors of signs, to unit length. True gives binary spherical quantization (BSQ), false
    /// plain lookup-free quantization.
    #[serde(default)]
    pub spherical: bool,
    /// Weight of the entropy loss, which makes signs certain and keeps both signs in use. The loss is H(row) −
    /// diversity · H(mean), in nats per component. H(row) is the entropy of each sign, averaged over rows; H(mean) is
    /// the entropy of the average sign. Both are computed over the 64 rows of one gradient, at temperature 1/2. Raise
    /// it if bits stay undecided or always have the same value. 0 switches the loss off.
    #[serde(default = "default_entropy_weight")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub entropy_weight: f64,
    /// Weight of H(mean) in the entropy loss, the term that rewards using both signs equally often. Raise it if some
    /// bits almost always have the same value. 0 switches the term off.
    #[serde(default = "default_diversity")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub diversity: f64,
    /// Weight β of the commitment loss: the mean squared distance of latents from their signs. Raise it if latents move
    /// far away from their signs. 0 switches the loss off.
    #[serde(default = "default_beta")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub beta: f64,
    /// The encoder, which maps vectors to latents, and the decoder, which maps quantized latents back to vectors.
    /// `identity` is refused, because only a decoder can give signs the size of the data.
    #[serde(default)]
    pub encoder: Encoder,
    /// How encoder, bottleneck and decoder are trained.
    #[serde(default)]
    pub training: Training,
}

fn default_entropy_weight() -> f64 {
    0.02
}

fn default_diversity() -> f64 {
    1.0
}

fn default_beta() -> f64 {
    0.25
}

/// Maximum number of bits of a symbol.
const SYMBOL_BITS: usize = 16;

impl Lfq {
    /// The smallest number of equal groups that symbols allow.
    fn groups(&self) -> usize {
        (self.bits.div_ceil(SYMBOL_BITS)..=self.bits).find(|g| self.bits.is_multiple_of(*g)).unwrap_or(1)
    }

    /// What the components of a code are, but for their sign.
    fn value(&self) -> f32 {
        if self.spherical { (self.bits as f32).sqrt().recip() } else { 1.0 }
    }

    /// One bit per component: `+value` for what is above zero, `−value` elsewhere.
    fn quantizer(&self, cx: &Context) -> GridQuantizer {
        let least_above_zero = 0f32.next_up();
        let steps = Steps { thresholds: vec![least_above_zero], values: vec![-self.value(), self.value()] };
        GridQuantizer::new(vec![steps; self.bits / self.groups()], self.groups(), cx.backend.clone())
    }
}

impl Method for Lfq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        self.encoder.needs_decoder()?;
        self.encoder.latent(dim, LatentWidth::Exactly(self.bits)).map(|_| ())
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.bits
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        self.training.cost(n, self.encode_cost(dim))
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.bits)
    }

    fn query_cost(&self, dim: usize) -> f64 {
        let groups = self.groups();
        self.encoder.query_cost(dim, self.bits, groups << (self.bits / groups))
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.bits)
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let shape = (LatentWidth::Exactly(self.bits), Spread::Even(1.0));
        fit(&self.encoder, &self.training, shape, LookupFree { spec: self.clone() }, train, cx)
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        restore(&self.encoder, dim, self.bits, state, cx, |_| Ok(Box::new(self.quantizer(cx))))
    }
}

struct LookupFree {
    spec: Lfq,
}

/// `4/τ`, if codewords are chosen with probabilities `∝ exp(−‖z−c‖²/τ)`: of two signs `±1`, the positive one then has
/// probability `σ(4z/τ)`.
const SHARPNESS: f32 = 8.0;

impl Bottleneck for LookupFree {
    fn start(&mut self, _latents: ArrayView2<'_, f32>, _cx: &Context) -> Result<(), MethodError> {
        Ok(())
    }

    fn has_own_scale(&self) -> bool {
        true
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        Vec::new()
    }

    fn pass(
        &self,
        latents: &Matrix,
        _parameters: &[Matrix],
        _moment: &TrainingStep<'_>,
        _rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        let (latents, value) = match self.spec.spherical {
            true => (unit_rows(latents), self.spec.value()),
            false => (latents.clone(), 1.0),
        };
        let signs = latents.values().mapv(|z| if z > 0.0 { value } else { -value });
        let gap = latents.minus(&Matrix::constant(signs.view()));
        let commitment = gap.by(&gap).mean().scaled(1.0 / (value * value));
        let entropy = entropy_loss(&latents.scaled(1.0 / value), self.spec.diversity as f32);
        let losses = vec![
            Loss { name: "entropy_loss", weight: self.spec.entropy_weight, value: entropy },
            Loss { name: "commitment_loss", weight: self.spec.beta, value: commitment },
        ];
        Ok(ForwardPass { latents: latents.straight_through(signs.view()), losses, chosen: Vec::new() })
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        Ok(Box::new(self.spec.quantizer(cx)))
    }
}

/// `E[H(p(c|z))] − γ·H(E[p(c|z)])` per component, in nats. Given the latent, the components of a code are chosen
/// independently, so the first entropy is a sum over components. The second is not: the sum is an upper bound of it
/// (Zhao, Xiong and Krähenbühl 2024). Averages are over the rows of one gradient.
fn entropy_loss(latents: &Matrix, diversity: f32) -> Matrix {
    let positive = latents.scaled(SHARPNESS).sigmoid();
    binary_entropy(&positive).mean().minus(&binary_entropy(&positive.column_means()).mean().scaled(diversity))
}

/// `−p·ln p − (1−p)·ln(1−p)` of each entry.
fn binary_entropy(p: &Matrix) -> Matrix {
    // Keeps away from 0 and 1, where the logarithm is not finite.
    const EDGE: f32 = 1e-6;
    let p = p.scaled(1.0 - 2.0 * EDGE).shifted(EDGE);
    let rest = p.scaled(-1.0).shifted(1.0);
    p.by(&p.ln()).plus(&rest.by(&rest.ln())).scaled(-1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::{Parameter, gradients};
    use ndarray::arr2;

    #[test]
    fn entropies_by_hand() {
        // One component undecided in both rows, one decided and even, one decided and the same.
        let latents = arr2(&[[0.0f32, 9.0, 9.0], [0.0, -9.0, 9.0]]);
        let found = entropy_loss(&Matrix::constant(latents.view()), 1.0).scalar();
        let expected = (2f32.ln() - (2f32.ln() + 2f32.ln())) / 3.0;
        assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    }

    #[test]
    fn the_entropy_loss_decides_single_signs_and_evens_them_out() {
        let of = |z: Array2<f32>, diversity| {
            let leaf = Parameter::new(z.view()).leaf();
            gradients(&entropy_loss(&leaf, diversity), &[leaf]).remove(0)
        };
        let single = of(arr2(&[[0.05f32], [-0.05]]), 0.0);
        assert!(single[(0, 0)] < 0.0 && single[(1, 0)] > 0.0, "descending moves both away from zero: {single}");
        let even = of(arr2(&[[0.3f32], [0.02]]), 10.0);
        assert!(even[(1, 0)] > 0.0, "descending turns the less decided of two equal signs: {even}");
        // By hand, at one row without diversity: dH/dz = s·p(1−p)·ln((1−p)/p) with p = σ(s·z), ln((1−p)/p) = −s·z.
        let z = 0.1f32;
        let p = 1.0 / (1.0 + (-SHARPNESS * z).exp());
        let expected = SHARPNESS * p * (1.0 - p) * (-SHARPNESS * z);
        let found = of(arr2(&[[z]]), 0.0)[(0, 0)];
        assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    }

    #[test]
    fn bits_are_shared_out_evenly() {
        for (bits, groups) in [(1, 1), (16, 1), (17, 17), (18, 2), (32, 2), (64, 4), (100, 10), (384, 24)] {
            let lfq = Lfq {
                bits,
                spherical: false,
                entropy_weight: 0.0,
                diversity: 0.0,
                beta: 0.0,
                encoder: Encoder::default(),
                training: Training::default(),
            };
            assert_eq!(lfq.groups(), groups, "{bits} bits");
        }
    }
}
