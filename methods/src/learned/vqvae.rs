//! Vector quantization of latents, the bottleneck of a VQ-VAE, with remedies against collapse.

use crate::algorithms::codebooks::symbol_bits;
use crate::learned::shared::{
    Bottleneck, Choice, CodebookInit, Encoder, Estimator, ForwardPass, LatentWidth, LearnedCodebook, Rules, Spread,
    Temperature, Training, TrainingStep, Update, fit, restore, to_unit_length,
};
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use gradients::Matrix;
use ndarray::{Array2, ArrayView2, s};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "vqvae",
    family: Some(Family::Learned),
    summary: "VQ-VAE: codebooks learned together with encoder and decoder; optional moving averages, resets, rotation trick and cosine codes",
    paper: "van den Oord, Vinyals and Kavukcuoglu, Neural discrete representation learning, 2017; Fifty et al., Restructuring vector quantization with the rotation trick, 2024; Dhariwal et al., Jukebox, 2020 (reset); Yu et al., Vector-quantized image modeling with improved VQGAN, 2021 (cosine); Jang, Gu and Poole, 2017 (Gumbel)",
    rate: "groups × log2(codewords), rounded up",
    rate_params: &[RateParam::count("groups"), RateParam::power("codewords")],
    cost: "fit: epochs × n × 3 times encoding and decoding; encode: the encoder and O(latent · codewords)",
    examples: &[
        r#"{"codewords": 16, "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"codewords": 20, "groups": 3, "update": "gradient", "reset": 0, "estimator": "rotation", "start": "uniform", "encoder": {"mlp": {"hidden": 16, "latent": 9}}, "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"codewords": 8, "groups": 2, "cosine": true, "update": "gradient", "start": "kmeans", "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"codewords": 16, "groups": 4, "estimator": "gumbel", "encoder": "identity", "training": {"epochs": 3}}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "the encoder decides which codeword is nearest, since distances are between latents",
    }],
    schema: schema_of::<Vqvae>,
    parse: parse_params::<Vqvae>,
};

/// Parameters of `vqvae`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Vqvae {
    /// Codewords per codebook. A symbol takes log2 of it bits, rounded up.
    #[schemars(range(min = 2, max = 65536))]
    pub codewords: usize,
    /// Number of groups that the components of a latent are divided into. Each group has its own codebook and gives one
    /// symbol. More groups raise the rate.
    #[schemars(range(min = 1, max = 4096))]
    pub groups: usize,
    /// Weight β of the commitment loss, which keeps latents close to their codewords.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub beta: f64,
    /// How codewords are learned.
    pub update: Update,
    /// Decay γ of the moving averages: after each batch, average ← γ·average + (1−γ)·batch. Used with `update: ema`,
    /// and to track usage for `reset`.
    #[schemars(range(min = 0.0, max = 0.99999))]
    pub decay: f64,
    /// Resets a codeword whose average usage falls below this fraction of even usage (each codeword used equally
    /// often): it is placed next to a codeword that is in use, a tenth of the way to a row (Jukebox places it on the
    /// row). 0 turns resets off, so that dead codewords stay dead.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub reset: f64,
    /// How gradients pass through the choice of a codeword.
    pub estimator: Estimator,
    /// Temperature with `estimator: gumbel`, in units of the mean squared distance to the nearest codeword.
    pub temperature: Temperature,
    /// Scales latents and codewords to unit length, so that codewords are chosen by cosine similarity.
    pub cosine: bool,
    /// The initial codewords.
    pub start: CodebookInit,
    /// The encoder, which maps vectors to latents, and the decoder, which maps quantized latents back.
    pub encoder: Encoder,
    /// How encoder, bottleneck and decoder are trained.
    pub training: Training,
}

impl Default for Vqvae {
    fn default() -> Vqvae {
        Vqvae {
            codewords: 256,
            groups: 1,
            beta: 0.25,
            update: Update::Ema,
            decay: 0.99,
            reset: 0.1,
            estimator: Estimator::StraightThrough,
            temperature: Temperature::default(),
            cosine: false,
            start: CodebookInit::Rows,
            encoder: Encoder::default(),
            training: Training::default(),
        }
    }
}

impl Vqvae {
    fn width(&self) -> LatentWidth {
        LatentWidth::MultipleOf(self.groups)
    }

    fn rules(&self) -> Rules {
        Rules {
            update: self.update,
            estimator: self.estimator,
            decay: self.decay,
            reset: self.reset,
            beta: self.beta,
            cosine: self.cosine,
            temperature: self.temperature.clone(),
        }
    }
}

impl Method for Vqvae {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        if self.cosine && self.encoder == Encoder::Identity {
            let message = "cosine codes keep no lengths, and without a decoder nothing brings them back";
            return Err(ParamError::new("cosine", message, "use `encoder: { linear: {} }`"));
        }
        let latent = self.encoder.latent(dim, self.width())?;
        if self.cosine && latent / self.groups < 2 {
            let message = format!(
                "a latent of {latent} components in {} groups leaves one each, which has two directions",
                self.groups
            );
            return Err(ParamError::new("cosine", message, "use fewer groups or more components"));
        }
        Ok(())
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
        let bottleneck = Grouped { spec: self.clone(), books: Vec::new() };
        fit(&self.encoder, &self.training, shape, bottleneck, train, cx)
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let latent = self.encoder.latent(dim, self.width())?;
        restore(&self.encoder, dim, latent, state, cx, |state| {
            Ok(ProductQuantizer::restore(state, self.groups, self.codewords, latent, cx.backend.clone())?)
        })
    }
}

struct Grouped {
    spec: Vqvae,
    books: Vec<LearnedCodebook>,
}

impl Bottleneck for Grouped {
    fn start(&mut self, latents: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError> {
        let size = latents.ncols() / self.spec.groups;
        for g in 0..self.spec.groups {
            let mut part = latents.slice(s![.., g * size..(g + 1) * size]).as_standard_layout().into_owned();
            if self.spec.cosine {
                to_unit_length(&mut part);
            }
            let mut rng = cx.rng(Stream::LearnedCodebook(g as u32));
            let codewords = self.spec.start.codewords(part.view(), self.spec.codewords, cx, &mut rng)?;
            self.books.push(LearnedCodebook::new(codewords, self.spec.rules()));
        }
        Ok(())
    }

    fn has_own_scale(&self) -> bool {
        self.spec.cosine
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        self.books.iter_mut().filter_map(LearnedCodebook::parameter).collect()
    }

    fn pass(
        &self,
        latents: &Matrix,
        parameters: &[Matrix],
        moment: &TrainingStep<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        let size = latents.dim().1 / self.books.len();
        let choices: Vec<Choice> = self
            .books
            .iter()
            .enumerate()
            .map(|(g, book)| book.choose(&latents.columns(g * size..(g + 1) * size), parameters.get(g), moment, rng))
            .collect::<Result<_, _>>()?;
        let outputs: Vec<Matrix> = choices.iter().map(|choice| choice.output.clone()).collect();
        let losses = self.spec.rules().losses(&choices);
        let chosen = choices.into_iter().map(|choice| choice.chosen).collect();
        Ok(ForwardPass { latents: Matrix::beside(&outputs), losses, chosen })
    }

    fn after_step(
        &mut self,
        latents: ArrayView2<'_, f32>,
        chosen: &[Vec<u32>],
        cx: &Context,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), MethodError> {
        let size = latents.ncols() / self.books.len();
        for (g, (book, chosen)) in self.books.iter_mut().zip(chosen).enumerate() {
            book.after_step(latents.slice(s![.., g * size..(g + 1) * size]), chosen, cx, rng)?;
        }
        Ok(())
    }

    fn prepare(&self, cx: &Context) {
        self.books.par_iter().for_each(|book| book.prepare(cx));
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let books = self.books.iter().map(LearnedCodebook::codewords).collect();
        Ok(Box::new(ProductQuantizer::new(books, Vec::new(), cx.backend.clone())))
    }
}
