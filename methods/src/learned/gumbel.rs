//! Gumbel-softmax bottleneck: logits choose codewords softly and at random in training, by the largest logit
//! afterwards.

use crate::algorithms::codebooks::{Codebooks, symbol_bits};
use crate::backend::{AffineMap, Backend, CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom, RowEncoder, prepared};
use crate::learned::shared::estimator::gumbel_softmax;
use crate::learned::shared::{
    Bottleneck, CodebookInit, Encoder, ForwardPass, LatentWidth, Loss, Spread, Temperature, Training, TrainingStep,
    fit, restore,
};
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{
    Context, Method, MethodError, ModelError, ParamError, Quantizer, SearchMetric, Searcher, State, Stream, Symbols,
    TrainingRows,
};
use cpu::Isa;
use gradients::Matrix;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "gumbel",
    family: Some(Family::Learned),
    summary: "Gumbel-softmax: a random soft choice of codewords, annealed to a hard choice",
    paper: "Jang, Gu and Poole, Categorical reparameterization with Gumbel-softmax, 2017; Maddison, Mnih and Teh, The concrete distribution, 2017; Ramesh et al., Zero-shot text-to-image generation, 2021 (schedules)",
    rate: "groups × log2(codewords), rounded up",
    rate_params: &[RateParam::count("groups"), RateParam::power("codewords")],
    cost: "fit: epochs × n × 3 times encoding and decoding, with O(latent · codewords) for all logits; encode: the encoder and O(latent · codewords)",
    examples: &[
        r#"{"codewords": 16, "training": {"epochs": 8, "batch": 128}}"#,
        r#"{"codewords": 12, "groups": 3, "hard": true, "learnable-temperature": true, "kl-weight": 0.001, "encoder": {"mlp": {"hidden": 16}}, "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"codewords": 8, "groups": 4, "encoder": "identity", "start": "kmeans", "temperature": {"start": 0.5, "end": 0.1, "schedule": "exponential"}, "training": {"epochs": 4, "batch": 128}}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "the encoder decides which codeword is nearest, since distances are between latents",
    }],
    schema: schema_of::<Gumbel>,
    parse: parse_params::<Gumbel>,
};

/// Parameters of `gumbel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Gumbel {
    /// Codewords per codebook. A symbol takes log2 of it bits, rounded up.
    #[schemars(range(min = 2, max = 65536))]
    pub codewords: usize,
    /// Number of groups that the components of a latent are divided into. Each group has its own logits and codebook,
    /// and gives one symbol. More groups raise the rate.
    #[schemars(range(min = 1, max = 4096))]
    pub groups: usize,
    /// Temperature of the softmax during training. A low temperature makes the choice close to one codeword, with
    /// noisier gradients.
    pub temperature: Temperature,
    /// Learns the temperature by gradients, starting at `temperature.start`. `temperature.end` and
    /// `temperature.schedule` then have no effect.
    pub learnable_temperature: bool,
    /// Chooses a single codeword in the forward pass of training and uses the gradient of the soft choice (the
    /// straight-through variant).
    pub hard: bool,
    /// Weight of the loss KL(softmax(logits) ‖ uniform), in nats per group. Raise it if codewords go unused.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub kl_weight: f64,
    /// The initial codewords. The initial logits choose the nearest of them.
    pub start: CodebookInit,
    /// The encoder, which maps vectors to latents, and the decoder, which maps quantized latents back.
    pub encoder: Encoder,
    /// How encoder, bottleneck and decoder are trained.
    pub training: Training,
}

impl Default for Gumbel {
    fn default() -> Gumbel {
        Gumbel {
            codewords: 256,
            groups: 1,
            temperature: Temperature::default(),
            learnable_temperature: false,
            hard: false,
            kl_weight: 0.0,
            start: CodebookInit::Kmeans,
            encoder: Encoder::default(),
            training: Training::default(),
        }
    }
}

impl Gumbel {
    fn width(&self) -> LatentWidth {
        LatentWidth::MultipleOf(self.groups)
    }
}

impl Method for Gumbel {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        self.encoder.latent(dim, self.width()).map(|_| ())
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.groups * usize::from(symbol_bits(self.codewords))
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        self.training.cost(n, self.encode_cost(dim))
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.encoder.latent(dim, self.width()).unwrap_or(dim))
    }

    fn query_cost(&self, dim: usize) -> f64 {
        let latent = self.encoder.latent(dim, self.width()).unwrap_or(dim);
        self.encoder.query_cost(dim, latent, latent * self.codewords)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        let latent = self.encoder.latent(dim, self.width()).unwrap_or(dim);
        self.encoder.cost(dim, latent) + (latent * self.codewords) as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let shape = (self.width(), Spread::Natural(self.groups));
        let inverse_temperature = Array2::from_elem((1, 1), -self.temperature.start.ln() as f32);
        let bottleneck =
            Relaxed { spec: self.clone(), groups: Vec::new(), log_inverse_temperature: inverse_temperature };
        fit(&self.encoder, &self.training, shape, bottleneck, train, cx)
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let latent = self.encoder.latent(dim, self.width())?;
        restore(&self.encoder, dim, latent, state, cx, |state| {
            let (size, k) = (latent / self.groups, self.codewords);
            let books = Codebooks::take(state, self.groups, k, size)?;
            let mut logits = Vec::new();
            for g in 0..self.groups {
                let weights = state.take_matrix(&format!("logits {g}"), size, k)?;
                logits.push((weights, state.take_matrix(&format!("logits bias {g}"), 1, k)?));
            }
            Ok(Box::new(LogitQuantizer::new(books, logits, cx)))
        })
    }
}

/// The arrays of one group, in the order of parameters.
struct Group {
    /// `size×K`.
    weights: Array2<f32>,
    /// `1×K`.
    bias: Array2<f32>,
    /// `K×size`.
    codewords: Array2<f32>,
}

struct Relaxed {
    spec: Gumbel,
    groups: Vec<Group>,
    log_inverse_temperature: Array2<f32>,
}

impl Bottleneck for Relaxed {
    /// Initial logits are `(2·zᵀe − ‖e‖²)/s`, so that the largest logit is that of the nearest codeword. `s` is the
    /// mean squared distance to it, so that a temperature means the same for latents of any scale.
    fn start(&mut self, latents: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError> {
        let size = latents.ncols() / self.spec.groups;
        for g in 0..self.spec.groups {
            let part = latents.slice(s![.., g * size..(g + 1) * size]).as_standard_layout().into_owned();
            let mut rng = cx.rng(Stream::LearnedCodebook(g as u32));
            let codewords = self.spec.start.codewords(part.view(), self.spec.codewords, cx, &mut rng)?;
            let assignment = cx.backend.assign(&cx.backend.upload(part.view())?, codewords.view())?;
            let scale = assignment.mean();
            // Latents that all lie on codewords have no scale.
            let scale = if scale > 1e-9 { (1.0 / scale) as f32 } else { 1.0 };
            let powers = codewords.map_axis(Axis(1), |e| e.dot(&e)).insert_axis(Axis(0));
            let weights = (&codewords.t() * (2.0 * scale)).as_standard_layout().into_owned();
            self.groups.push(Group { weights, bias: powers * -scale, codewords });
        }
        Ok(())
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        let groups =
            self.groups.iter_mut().flat_map(|group| [&mut group.weights, &mut group.bias, &mut group.codewords]);
        let temperature = self.spec.learnable_temperature.then_some(&mut self.log_inverse_temperature);
        groups.chain(temperature).collect()
    }

    fn pass(
        &self,
        latents: &Matrix,
        parameters: &[Matrix],
        moment: &TrainingStep<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        let size = latents.dim().1 / self.groups.len();
        let inverse = match parameters.get(3 * self.groups.len()) {
            Some(log) => log.exp(),
            None => {
                let inverse = 1.0 / self.spec.temperature.at(moment.progress);
                Matrix::constant(Array2::from_elem((1, 1), inverse as f32).view())
            }
        };
        let isa = moment.cx.backend.isa();
        let mut outputs = Vec::with_capacity(self.groups.len());
        let mut divergence: Option<Matrix> = None;
        for (g, of_group) in parameters.chunks_exact(3).enumerate().take(self.groups.len()) {
            let [weights, bias, codewords] = of_group else { continue };
            let logits = latents.columns(g * size..(g + 1) * size).times(weights, isa).plus(bias);
            outputs.push(gumbel_softmax(&logits, &inverse, self.spec.hard, isa, rng).times(codewords, isa));
            if self.spec.kl_weight > 0.0 {
                let of_group = from_uniform(&logits, isa);
                divergence = Some(divergence.map_or_else(|| of_group.clone(), |sum| sum.plus(&of_group)));
            }
        }
        let share = 1.0 / self.groups.len() as f32;
        let loss = |value: Matrix| Loss { name: "kl_loss", weight: self.spec.kl_weight, value: value.scaled(share) };
        Ok(ForwardPass {
            latents: Matrix::beside(&outputs),
            losses: divergence.map(loss).into_iter().collect(),
            chosen: Vec::new(),
        })
    }

    fn followed(&self, progress: f64) -> Vec<(&'static str, f64)> {
        let learned = (-f64::from(self.log_inverse_temperature[(0, 0)])).exp();
        let temperature = if self.spec.learnable_temperature { learned } else { self.spec.temperature.at(progress) };
        vec![("temperature", temperature)]
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let books = self.groups.iter().map(|group| group.codewords.clone()).collect();
        let logits = self.groups.iter().map(|group| (group.weights.clone(), group.bias.clone())).collect();
        Ok(Box::new(LogitQuantizer::new(books, logits, cx)))
    }
}

/// Mean over rows of `KL(softmax(logits) ‖ uniform) = Σ p·ln p + ln K`.
fn from_uniform(logits: &Matrix, isa: Isa) -> Matrix {
    let (_, k) = logits.dim();
    let log = logits.log_softmax(isa);
    log.exp().by(&log).row_sums().mean().shifted((k as f32).ln())
}

/// Encodes latents by the largest logit in each group; decodes like a product quantizer.
struct LogitQuantizer {
    product: ProductQuantizer,
    /// `size×K` weights and `1×K` bias of each group.
    logits: Vec<(Array2<f32>, Array2<f32>)>,
    backend: Arc<dyn Backend>,
    /// The logits on the backend, once rows have been encoded.
    search: OnceLock<Box<dyn RowEncoder>>,
}

impl LogitQuantizer {
    fn new(books: Vec<Array2<f32>>, logits: Vec<(Array2<f32>, Array2<f32>)>, cx: &Context) -> LogitQuantizer {
        let product = ProductQuantizer::new(books, Vec::new(), cx.backend.clone());
        LogitQuantizer { product, logits, backend: cx.backend.clone(), search: OnceLock::new() }
    }
}

impl Quantizer for LogitQuantizer {
    fn dim(&self) -> usize {
        self.product.dim()
    }

    fn code_bits(&self) -> usize {
        self.product.code_bits()
    }

    fn model_size(&self) -> usize {
        let logits: usize = self.logits.iter().map(|(weights, bias)| 4 * (weights.len() + bias.len())).sum();
        self.product.model_size() + logits
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn bytes_per_row(&self) -> usize {
        self.product.bytes_per_row()
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let search = prepared(&self.search, || {
            let maps = self.logits.iter().map(|(w, b)| AffineMap { weights: w.view(), bias: b.view() });
            self.backend.logit_search(&maps.collect::<Vec<_>>(), symbol_bits(self.logits[0].1.len()))
        })?;
        search.encode(rows, codes)
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        self.product.decode(codes, rows)
    }

    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        self.product.searcher(metric)
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        self.product.symbols()
    }

    fn save(&self, state: &mut State) {
        self.product.save(state);
        for (g, (weights, bias)) in self.logits.iter().enumerate() {
            state.put_matrix(format!("logits {g}"), weights.view());
            state.put_matrix(format!("logits bias {g}"), bias.view());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::{Parameter, gradients};
    use ndarray::arr2;
    use rand::SeedableRng;

    /// Two groups of two components, three codewords each.
    fn relaxed(hard: bool) -> Relaxed {
        let group = |turn: f32| Group {
            weights: arr2(&[[0.7f32, -0.4, turn], [0.2, 0.9, -0.8]]),
            bias: arr2(&[[0.1f32, turn, -0.3]]),
            codewords: arr2(&[[1.0f32, turn], [-0.5, 2.0], [0.4, -1.2]]),
        };
        let spec =
            Gumbel { codewords: 3, groups: 2, learnable_temperature: true, hard, kl_weight: 0.5, ..Gumbel::default() };
        Relaxed { spec, groups: vec![group(0.3), group(-0.6)], log_inverse_temperature: arr2(&[[0.4f32]]) }
    }

    fn latents() -> Array2<f32> {
        arr2(&[[0.6f32, -0.4, 1.1, 0.2], [-0.9, 0.8, 0.3, -0.7], [0.1, 0.5, -1.2, 0.9]])
    }

    /// Everything that has a gradient: the parameters in their order, then the latents.
    fn values(bottleneck: &mut Relaxed) -> Vec<Array2<f32>> {
        bottleneck.parameters().into_iter().map(|p| p.to_owned()).chain([latents()]).collect()
    }

    /// `Σ w·latents` and the divergence, always with the same noise.
    fn losses(bottleneck: &Relaxed, matrices: &[Matrix]) -> [Matrix; 2] {
        let (latents, parameters) = matrices.split_last().expect("latents come last");
        let cx = Context::cpu(1);
        let moment = TrainingStep { progress: 0.5, cx: &cx };
        let pass = bottleneck.pass(latents, parameters, &moment, &mut ChaCha8Rng::seed_from_u64(6)).expect("passes");
        assert_eq!(pass.losses.iter().map(|loss| (loss.name, loss.weight)).collect::<Vec<_>>(), [("kl_loss", 0.5)]);
        let w = Array2::from_shape_fn(pass.latents.dim(), |(i, j)| 1.0 + 0.4 * i as f32 - 0.7 * j as f32);
        [pass.latents.by(&Matrix::constant(w.view())).mean(), pass.losses[0].value.clone()]
    }

    #[test]
    fn every_parameter_and_the_temperature_have_the_gradient_that_differences_show() {
        let mut bottleneck = relaxed(false);
        let at = values(&mut bottleneck);
        assert_eq!(at.len(), 8, "three of each group, the temperature, the latents");
        for which in 0..2 {
            let leaves: Vec<Matrix> = at.iter().map(|values| Parameter::new(values.view()).leaf()).collect();
            let found = gradients(&losses(&bottleneck, &leaves)[which], &leaves);
            for (p, found) in found.iter().enumerate() {
                for (ij, &found) in found.indexed_iter() {
                    let moved = |by: f32| {
                        let mut at = at.clone();
                        at[p][ij] += by;
                        let constants: Vec<Matrix> = at.iter().map(|values| Matrix::constant(values.view())).collect();
                        losses(&bottleneck, &constants)[which].scalar()
                    };
                    let expected = (moved(4e-3) - moved(-4e-3)) / 8e-3;
                    let gap = (found - expected).abs();
                    assert!(gap < 5e-4 * (1.0 + expected.abs()), "loss {which}, {p}, {ij:?}: {found} for {expected}");
                }
            }
            if which == 0 {
                assert!(found[6][(0, 0)].abs() > 1e-3, "the temperature matters: {}", found[6]);
            } else {
                assert!([2, 5, 6].iter().all(|&p: &usize| found[p].iter().all(|&v| v == 0.0)), "logits alone diverge");
            }
        }
    }

    #[test]
    fn a_hard_choice_passes_codewords_and_still_trains_the_temperature() {
        let mut bottleneck = relaxed(true);
        let leaves: Vec<Matrix> =
            values(&mut bottleneck).iter().map(|values| Parameter::new(values.view()).leaf()).collect();
        let cx = Context::cpu(1);
        let moment = TrainingStep { progress: 0.5, cx: &cx };
        let pass = bottleneck.pass(&leaves[7], &leaves[..7], &moment, &mut cx.rng(Stream::Part(3))).expect("passes");
        for row in pass.latents.values().outer_iter() {
            for (g, group) in bottleneck.groups.iter().enumerate() {
                let part = row.slice(s![2 * g..2 * g + 2]);
                assert!(group.codewords.outer_iter().any(|e| (&e - &part).iter().all(|v| v.abs() < 1e-6)), "{part}");
            }
        }
        let found = gradients(&losses(&bottleneck, &leaves)[0], &leaves);
        assert!(found[6][(0, 0)].abs() > 1e-4, "{}", found[6]);
        // What is followed is the temperature itself: e^−0.4.
        assert_eq!(bottleneck.followed(0.0)[0].0, "temperature");
        assert!((bottleneck.followed(0.0)[0].1 - (-0.4f64).exp()).abs() < 1e-6);
    }

    #[test]
    fn the_divergence_from_a_uniform_choice_by_hand() {
        let logits = arr2(&[[0.0f32, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]]);
        let found = from_uniform(&Matrix::constant(logits.view()), Isa::widest()).scalar();
        assert!((found - 0.5 * 4f32.ln()).abs() < 1e-5, "none, and ln 4: {found}");
    }

    #[test]
    fn codes_are_the_largest_logits() {
        let book = arr2(&[[1.0f32, 0.0], [0.0, 1.0], [5.0, 5.0]]);
        let weights = arr2(&[[1.0f32, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        let quantizer = LogitQuantizer::new(vec![book], vec![(weights, arr2(&[[0.0f32, 0.0, 0.7]]))], &Context::cpu(1));
        let rows = arr2(&[[2.0f32, 1.0], [0.1, 0.9], [0.5, 0.6]]);
        let mut codes = [0; 3];
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        // The third logit does not depend on the row: it wins where the others are below 0.7.
        assert_eq!(codes, [0, 1, 2]);
        let mut decoded = Array2::zeros((3, 2));
        quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
        assert_eq!(decoded, arr2(&[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]));
    }
}
