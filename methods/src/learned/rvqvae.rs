//! Residual quantization of latents, the bottleneck of neural audio codecs.

use crate::additive::quantizer::AdditiveQuantizer;
use crate::algorithms::codebooks::symbol_bits;
use crate::learned::shared::estimator::rotate;
use crate::learned::shared::{
    Bottleneck, CodebookInit, Encoder, Estimator, ForwardPass, LatentWidth, LearnedCodebook, Rules, Spread,
    Temperature, Training, TrainingStep, Update, fit, restore,
};
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use gradients::Matrix;
use ndarray::{Array2, ArrayView2};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "rvqvae",
    family: Some(Family::Learned),
    summary: "RVQ-VAE: a residual quantizer of latents, learned together with encoder and decoder; optional quantizer dropout",
    paper: "Zeghidour et al., SoundStream: an end-to-end neural audio codec, 2021; Défossez et al., High fidelity neural audio compression (EnCodec), 2022",
    rate: "stages × log2(codewords), rounded up",
    rate_params: &[RateParam::count("stages"), RateParam::power("codewords")],
    cost: "fit: epochs × n × 3 times encoding and decoding; encode: the encoder and O(stages · beam · latent · codewords)",
    examples: &[
        r#"{"stages": 3, "codewords": 16, "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"stages": 2, "codewords": 12, "update": "gradient", "quantizer-dropout": 0.5, "estimator": "rotation", "beam": 3, "encoder": {"mlp": {"hidden": 16}}, "training": {"epochs": 6, "batch": 128}}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "the encoder decides which codeword is nearest, since distances are between latents",
    }],
    schema: schema_of::<Rvqvae>,
    parse: parse_params::<Rvqvae>,
};

/// Parameters of `rvqvae`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rvqvae {
    /// Number of stages. Each stage codes the residual that the stages before it leave.
    #[schemars(range(min = 1, max = 256))]
    pub stages: usize,
    /// Codewords per stage. A symbol takes log2 of it bits, rounded up.
    #[serde(default = "default_codewords")]
    #[schemars(range(min = 2, max = 65536))]
    pub codewords: usize,
    /// Fraction of the gradients (each covers 64 rows) that are computed with only the first few stages; their number
    /// is random. A higher value puts more information into the first stages.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub quantizer_dropout: f64,
    /// Beam width: partial codes kept per vector when encoding. 1 is greedy search, which training always uses. A wider
    /// beam lowers the distortion and slows down encoding.
    #[serde(default = "default_beam")]
    #[schemars(range(min = 1, max = 256))]
    pub beam: usize,
    /// Weight β of the commitment loss, which keeps the input of each stage close to its codeword.
    #[serde(default = "default_beta")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub beta: f64,
    /// How codewords are learned.
    #[serde(default = "default_update")]
    pub update: Update,
    /// Decay γ of the moving averages: after each batch, average ← γ·average + (1−γ)·batch. Used with `update: ema`,
    /// and to track usage for `reset`.
    #[serde(default = "default_decay")]
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub decay: f64,
    /// Resets a codeword whose average usage falls below this fraction of even usage (each codeword used equally
    /// often): it is placed next to a codeword that is in use, a tenth of the way to a row (Jukebox places it on the
    /// row). 0 turns resets off, so that dead codewords stay dead.
    #[serde(default = "default_reset")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reset: f64,
    /// How gradients pass through the choice of codewords. `gumbel` is not available here.
    #[serde(default = "default_estimator")]
    pub estimator: Estimator,
    /// The initial codewords of each stage.
    #[serde(default = "default_start")]
    pub start: CodebookInit,
    /// The encoder, which maps vectors to latents, and the decoder, which maps quantized latents back.
    #[serde(default)]
    pub encoder: Encoder,
    /// How encoder, bottleneck and decoder are trained.
    #[serde(default)]
    pub training: Training,
}

fn default_codewords() -> usize {
    256
}

fn default_beam() -> usize {
    1
}

fn default_beta() -> f64 {
    0.25
}

fn default_update() -> Update {
    Update::Ema
}

fn default_decay() -> f64 {
    0.99
}

fn default_reset() -> f64 {
    0.1
}

fn default_estimator() -> Estimator {
    Estimator::StraightThrough
}

fn default_start() -> CodebookInit {
    CodebookInit::Kmeans
}

const WIDTH: LatentWidth = LatentWidth::MultipleOf(1);

impl Rvqvae {
    fn rules(&self) -> Rules {
        Rules {
            update: self.update,
            estimator: self.estimator,
            decay: self.decay,
            reset: self.reset,
            beta: self.beta,
            cosine: false,
            temperature: Temperature::default(),
        }
    }
}

impl Method for Rvqvae {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        if self.estimator == Estimator::Gumbel {
            let message = "stages cannot choose codewords at random: the next stage would code noise";
            return Err(ParamError::new("estimator", message, "use `straight-through` or `rotation`"));
        }
        self.encoder.latent(dim, WIDTH).map(|_| ())
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.stages * usize::from(symbol_bits(self.codewords))
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        self.training.cost(n, self.encode_cost(dim))
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        let latent = self.encoder.latent(dim, WIDTH).unwrap_or(dim);
        self.encoder.cost(dim, latent) + (self.stages * latent) as f64
    }

    fn query_cost(&self, dim: usize) -> f64 {
        let latent = self.encoder.latent(dim, WIDTH).unwrap_or(dim);
        self.encoder.query_cost(dim, latent, self.stages * latent * self.codewords)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        let latent = self.encoder.latent(dim, WIDTH).unwrap_or(dim);
        self.encoder.cost(dim, latent) + (self.stages * self.beam * latent * self.codewords) as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let bottleneck = ResidualBottleneck { spec: self.clone(), books: Vec::new() };
        fit(&self.encoder, &self.training, (WIDTH, Spread::Natural(1)), bottleneck, train, cx)
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let latent = self.encoder.latent(dim, WIDTH)?;
        restore(&self.encoder, dim, latent, state, cx, |state| {
            let shape = (self.stages, self.codewords, latent);
            AdditiveQuantizer::restore(state, shape, self.beam, None, cx.backend.clone())
        })
    }
}

/// Stages whose codebooks are updated at once. Each holds residuals of a whole batch meanwhile.
const STAGES_AT_ONCE: usize = 8;

struct ResidualBottleneck {
    spec: Rvqvae,
    books: Vec<LearnedCodebook>,
}

/// `rows` minus their codewords.
fn subtract(rows: &mut Array2<f32>, codewords: ArrayView2<'_, f32>, chosen: &[u32]) {
    for (mut row, &c) in rows.outer_iter_mut().zip(chosen) {
        row -= &codewords.row(c as usize);
    }
}

impl Bottleneck for ResidualBottleneck {
    fn start(&mut self, latents: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError> {
        let mut residuals = latents.to_owned();
        for stage in 0..self.spec.stages {
            cx.cancel.check()?;
            let mut rng = cx.rng(Stream::LearnedCodebook(stage as u32));
            let codewords = self.spec.start.codewords(residuals.view(), self.spec.codewords, cx, &mut rng)?;
            let nearest = cx.backend.nearest(&cx.backend.upload(residuals.view())?, codewords.view())?;
            subtract(&mut residuals, codewords.view(), &nearest);
            self.books.push(LearnedCodebook::new(codewords, self.spec.rules()));
        }
        Ok(())
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        self.books.iter_mut().filter_map(LearnedCodebook::parameter).collect()
    }

    /// Each stage quantizes the residual that the codewords before it leave of the latents. The sum of all codewords
    /// replaces the latents; the losses are means over the stages that take part.
    fn pass(
        &self,
        latents: &Matrix,
        parameters: &[Matrix],
        moment: &TrainingStep<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        let stages = self.books.len();
        let dropped = rng.random::<f64>() < self.spec.quantizer_dropout;
        let taken = if dropped { rng.random_range(1..=stages) } else { stages };
        let mut residual = latents.clone();
        let mut choices = Vec::with_capacity(taken);
        for (stage, book) in self.books.iter().enumerate().take(taken) {
            let choice = book.choose(&residual, parameters.get(stage), moment, rng)?;
            residual = residual.minus(&Matrix::constant(choice.codewords.view()));
            choices.push(choice);
        }
        let sum = choices.iter().fold(Array2::zeros(latents.dim()), |sum: Array2<f32>, c| sum + &c.codewords);
        let output = match self.spec.estimator {
            Estimator::Rotation => rotate(latents, sum.view()),
            _ => latents.straight_through(sum.view()),
        };
        let losses = self.spec.rules().losses(&choices);
        // Dropped stages have chosen nothing.
        let mut chosen: Vec<Vec<u32>> = choices.into_iter().map(|choice| choice.chosen).collect();
        chosen.resize(stages, Vec::new());
        Ok(ForwardPass { latents: output, losses, chosen })
    }

    fn after_step(
        &mut self,
        latents: ArrayView2<'_, f32>,
        chosen: &[Vec<u32>],
        cx: &Context,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), MethodError> {
        if self.spec.update == Update::Gradient && self.spec.reset == 0.0 {
            return Ok(());
        }
        let mut residuals = latents.to_owned();
        for (books, chosen) in self.books.chunks_mut(STAGES_AT_ONCE).zip(chosen.chunks(STAGES_AT_ONCE)) {
            // What each stage has seen, and the codewords that it has chosen.
            let mut seen = Vec::with_capacity(books.len());
            for (book, chosen) in books.iter().zip(chosen) {
                // With dropout a stage has seen some of the rows, and it is unknown which: all rows are assigned again.
                let all = if chosen.len() == residuals.nrows() {
                    chosen.clone()
                } else {
                    cx.backend.nearest(&cx.backend.upload(residuals.view())?, book.present().view())?
                };
                let rows = residuals.clone();
                subtract(&mut residuals, book.present().view(), &all);
                seen.push((rows, all));
            }
            let of_books = books.par_iter_mut().zip(&seen);
            of_books.try_for_each(|(book, (rows, all))| book.update(rows.view(), all, cx))?;
            // One after the other: they draw from the same random numbers.
            for (book, (rows, all)) in books.iter_mut().zip(&seen) {
                book.reset(rows.view(), all, rng);
            }
        }
        Ok(())
    }

    fn prepare(&self, cx: &Context) {
        self.books.par_iter().for_each(|book| book.prepare(cx));
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let books = self.books.iter().map(LearnedCodebook::codewords).collect();
        Ok(Box::new(AdditiveQuantizer::new(books, self.spec.beam, None, cx.backend.clone())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::{Parameter, gradients};
    use ndarray::arr2;
    use rand::SeedableRng;

    /// Three stages of three codewords, whose sums f32 holds exactly.
    fn stages(dropout: f64, estimator: &str, count: usize) -> ResidualBottleneck {
        let json = serde_json::json!({
            "stages": count, "codewords": 3, "quantizer-dropout": dropout, "estimator": estimator, "update": "gradient"
        });
        let spec: Rvqvae = serde_json::from_value(json).expect("parameters");
        let books = [
            arr2(&[[0.0f32, 0.0], [4.0, 4.0], [-4.0, 3.0]]),
            arr2(&[[0.0f32, 0.5], [1.0, 0.0], [-0.5, -1.0]]),
            arr2(&[[0.25f32, 0.0], [0.0, 0.25], [-0.25, -0.25]]),
        ];
        let books = books.into_iter().take(count).map(|book| LearnedCodebook::new(book, spec.rules())).collect();
        ResidualBottleneck { spec, books }
    }

    fn latents() -> Array2<f32> {
        arr2(&[[0.3f32, -0.2], [4.75, 4.1], [-4.3, 3.75], [3.2, 2.8]])
    }

    /// What each stage sees, and the codewords it chooses, by plain search.
    fn by_hand(bottleneck: &ResidualBottleneck) -> Vec<[Array2<f32>; 2]> {
        let mut residual = latents();
        let of_stage = |book: &LearnedCodebook| {
            let (codewords, mut chosen) = (book.codewords(), residual.clone());
            for (z, mut q) in residual.outer_iter().zip(chosen.outer_iter_mut()) {
                let distance = |c: &usize| (&z - &codewords.row(*c)).mapv(|v| v * v).sum();
                let best = (0..3).min_by(|a, b| distance(a).total_cmp(&distance(b))).expect("three codewords");
                q.assign(&codewords.row(best));
            }
            let left = &residual - &chosen;
            [std::mem::replace(&mut residual, left), chosen]
        };
        bottleneck.books.iter().map(of_stage).collect()
    }

    fn pass(bottleneck: &ResidualBottleneck, seed: u64) -> (ForwardPass, Vec<Matrix>) {
        let cx = Context::cpu(1);
        let mut leaves = vec![Parameter::new(latents().view()).leaf()];
        leaves.extend(bottleneck.books.iter().map(|book| Parameter::new(book.codewords().view()).leaf()));
        let moment = TrainingStep { progress: 0.0, cx: &cx };
        let pass = bottleneck.pass(&leaves[0], &leaves[1..], &moment, &mut ChaCha8Rng::seed_from_u64(seed));
        (pass.expect("passes"), leaves)
    }

    #[test]
    fn dropout_takes_the_first_few_stages() {
        for estimator in ["straight-through", "rotation"] {
            let bottleneck = stages(1.0, estimator, 3);
            let expected = by_hand(&bottleneck);
            let mut times = [0; 4];
            for seed in 0..60 {
                let (pass, _) = pass(&bottleneck, seed);
                assert_eq!(pass.chosen.len(), 3, "stages left out have an empty list");
                let taken = pass.chosen.iter().take_while(|chosen| !chosen.is_empty()).count();
                assert!(pass.chosen[taken..].iter().all(Vec::is_empty), "none after one that is left out");
                let sum = expected[..taken].iter().fold(Array2::<f32>::zeros((4, 2)), |sum, [_, q]| sum + q);
                assert_eq!(pass.latents.values(), sum, "{taken} stages");
                let gaps = expected[..taken].iter().map(|[z, q]| (z - q).mapv(|v| v * v).mean().expect("entries"));
                let mean = gaps.sum::<f32>() / taken as f32;
                for loss in &pass.losses {
                    assert!((loss.value.scalar() - mean).abs() < 1e-6, "{}, {taken} stages", loss.name);
                }
                times[taken] += 1;
            }
            assert!(times[0] == 0 && times[1..].iter().all(|&t| t >= 8), "each number is drawn: {times:?}");
        }
    }

    #[test]
    fn without_dropout_all_stages_are_summed_and_passed_straight_through() {
        let bottleneck = stages(0.0, "straight-through", 3);
        let sum = by_hand(&bottleneck).iter().fold(Array2::<f32>::zeros((4, 2)), |sum, [_, q]| sum + q);
        let w = arr2(&[[1.0f32, -2.0], [0.5, 3.0], [-1.5, 0.7], [0.1, 0.2]]);
        for seed in 0..5 {
            let (pass, leaves) = pass(&bottleneck, seed);
            assert_eq!(pass.latents.values(), sum);
            let loss = pass.latents.by(&Matrix::constant(w.view())).mean().scaled(w.len() as f32);
            let found = gradients(&loss, &leaves);
            assert_eq!(found[0], w, "the identity");
            assert!(found[1..].iter().all(|g| g.iter().all(|&v| v == 0.0)), "codewords have a loss of their own");
        }
    }

    #[test]
    fn losses_are_means_over_stages_by_hand() {
        let bottleneck = stages(0.0, "straight-through", 2);
        let expected = by_hand(&bottleneck);
        let (found, leaves) = pass(&bottleneck, 1);
        let told: Vec<_> = found.losses.iter().map(|loss| (loss.name, loss.weight)).collect();
        assert_eq!(told, [("codebook_loss", 1.0), ("commitment_loss", 0.25)]);
        // Each is a mean over two stages of means over eight entries.
        let gaps: Vec<Array2<f32>> = expected.iter().map(|[z, q]| z - q).collect();
        let value = gaps.iter().flatten().map(|v| v * v).sum::<f32>() / 16.0;
        assert!(found.losses.iter().all(|loss| (loss.value.scalar() - value).abs() < 1e-6));
        let near = |found: &Array2<f32>, expected: &Array2<f32>| {
            let gap = (found - expected).iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!(gap < 1e-6, "{found} for {expected}");
        };
        let of_commitment = gradients(&found.losses[1].value, &leaves);
        near(&of_commitment[0], &((&gaps[0] + &gaps[1]) / 8.0));
        assert!(of_commitment[1..].iter().all(|g| g.iter().all(|&v| v == 0.0)));
        let (found, leaves) = pass(&bottleneck, 1);
        let of_codebook = gradients(&found.losses[0].value, &leaves);
        assert!(of_codebook[0].iter().all(|&v| v == 0.0));
        for (stage, gap) in gaps.iter().enumerate() {
            let mut by_codewords = Array2::<f32>::zeros((3, 2));
            for (gap, &c) in gap.outer_iter().zip(&found.chosen[stage]) {
                by_codewords.row_mut(c as usize).scaled_add(-1.0 / 8.0, &gap);
            }
            near(&of_codebook[1 + stage], &by_codewords);
        }
    }

    #[test]
    fn residuals_are_what_codewords_leave() {
        let mut rows = arr2(&[[1.0f32, 2.0], [3.0, 4.0]]);
        subtract(&mut rows, arr2(&[[1.0f32, 1.0], [3.0, 5.0]]).view(), &[0, 1]);
        assert_eq!(rows, arr2(&[[0.0, 1.0], [0.0, -1.0]]));
    }
}
