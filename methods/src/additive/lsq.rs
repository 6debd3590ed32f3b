//! Local-search additive quantization (LSQ): jointly fitted codebooks of full dimension, and codes found by local
//! search.

use crate::additive::quantizer::{AdditiveQuantizer, LocalSearch, least_squares, mean_error};
use crate::additive::rvq::{Stages, train_stages};
use crate::algorithms::moments::{deviations, mean};
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Curve, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use ndarray::Array2;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "lsq",
    family: Some(Family::Additive),
    summary: "Additive quantizer (LSQ++): a sum of m codewords of full dimension, found by local search, with jointly fitted codebooks",
    paper: "Martinez, Clement, Hoos and Little, Revisiting additive quantization, 2016; Martinez, Zakhmi, Hoos and Little, LSQ++, 2018",
    rate: "m × bits",
    rate_params: &[RateParam::count("m"), RateParam::count("bits")],
    cost: "fit: per iteration, O(n · training-rounds · m² · 2^bits) and a solve of (m · 2^bits)² · dim; encode: O(dim · m · 2^bits + rounds · m² · 2^bits)",
    examples: &[r#"{"m": 3, "bits": 4, "iterations": 10}"#, r#"{"m": 1, "bits": 5, "iterations": 2, "relaxation": 0}"#],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[
        Exemption {
            law: "codes_agree_with_those_of_the_processor",
            with: "{}",
            why: "encoding is a random local search, which a single near-tie changes; the law on distortion applies",
        },
        Exemption {
            law: "scans_agree_with_those_of_the_processor",
            with: "{}",
            why: "encoding is a random local search, which a single near-tie changes",
        },
    ],
    schema: schema_of::<Lsq>,
    parse: parse_params::<Lsq>,
};

/// Parameters of `lsq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lsq {
    /// Number of codebooks. A vector is decoded to the sum of one codeword from each. More codebooks lower the
    /// distortion and raise the rate.
    #[schemars(range(min = 1, max = 64))]
    pub m: usize,
    /// Bits per codebook; each has 2^bits codewords. Raise it to lower the distortion. m × 2^bits must be at most 8192,
    /// because the search holds a matrix of that size squared.
    #[serde(default = "default_bits")]
    #[schemars(range(min = 1, max = 12))]
    pub bits: u8,
    /// Training iterations. Each one fits the codebooks to the codes of the training rows, then improves these codes.
    /// Raise it for a lower distortion at more training time. 0 leaves the codebooks as residual quantization trained
    /// them.
    #[serde(default = "default_iterations")]
    #[schemars(range(min = 0, max = 1000))]
    pub iterations: usize,
    /// Rounds of local search for each training row, in every training iteration. A round changes up to 4 symbols of a
    /// code at random, then replaces symbols one by one by better ones. More rounds lower the distortion at more
    /// training time. 0 only replaces symbols by better ones.
    #[serde(default = "default_training_rounds")]
    #[schemars(range(min = 0, max = 1000))]
    pub training_rounds: usize,
    /// Rounds of local search for each row when encoding, as in `training-rounds`. More rounds lower the distortion;
    /// encoding time grows in proportion. 0 only replaces symbols by better ones.
    #[serde(default = "default_rounds")]
    #[schemars(range(min = 0, max = 10000))]
    pub rounds: usize,
    /// Strength of the noise that is added to the codebooks while training rows are encoded, as a multiple of that of
    /// LSQ++. It falls to zero over the iterations. The noise helps the search out of poor local optima. 0 switches it
    /// off: the training distortion then never rises, but may end higher.
    #[serde(default = "default_relaxation")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub relaxation: f64,
    /// Beam width of the search that gives the local search its initial codes: how many partial codes it keeps per row.
    /// A wider beam gives better initial codes and takes more time. 1 is greedy search.
    #[serde(default = "default_beam")]
    #[schemars(range(min = 1, max = 256))]
    pub beam: usize,
}

fn default_bits() -> u8 {
    8
}

fn default_iterations() -> usize {
    50
}

fn default_training_rounds() -> usize {
    8
}

fn default_rounds() -> usize {
    32
}

fn default_relaxation() -> f64 {
    1.0
}

fn default_beam() -> usize {
    5
}

/// Maximum number of codewords: the pair terms are a matrix of this size squared.
const MAX_CODEWORDS: usize = 8192;

/// Iterations of k-means per codebook before the joint fit, which needs only a rough start.
const STAGE_ITERATIONS: usize = 5;

/// Iterations of the least-squares solver, which starts from the previous codebooks.
const SOLVER_ITERATIONS: usize = 5;

/// Seed of the encoder's local search: part of the method, so that a restored quantizer gives the same codes.
const ENCODER_SEED: u64 = 0x5eed;

impl Method for Lsq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        let codewords = self.m << self.bits;
        if codewords > MAX_CODEWORDS {
            let message = format!("m × 2^bits is {codewords}; the local search holds a matrix of that size squared");
            return Err(ParamError::new("m", message, format!("keep m × 2^bits at {MAX_CODEWORDS} or below")));
        }
        Ok(())
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.m * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        let codewords = (self.m << self.bits) as f64;
        let start = n as f64 * self.beam as f64 * dim as f64 * codewords * (STAGE_ITERATIONS + 1) as f64;
        let search = n as f64 * self.search_cost(dim, self.training_rounds);
        let solve = SOLVER_ITERATIONS as f64 * codewords * codewords * dim as f64;
        start + self.iterations as f64 * (search + solve)
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        (self.m * dim) as f64
    }

    fn query_cost(&self, dim: usize) -> f64 {
        (dim * (self.m << self.bits)) as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        self.search_cost(dim, self.rounds) + (self.beam * dim * (self.m << self.bits)) as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let rows = train.matrix()?;
        let Stages { mut codebooks, mut codes, mse } =
            train_stages(rows, self.m, 1 << self.bits, self.beam, STAGE_ITERATIONS, false, cx)?;
        let mut history: Vec<f64> = mse.last().copied().into_iter().collect();
        let deviation = deviations(train.host()?, &mean(train.host()?));
        for iteration in 0..self.iterations {
            cx.cancel.check()?;
            codebooks = least_squares(train.host()?, &codes, &codebooks, SOLVER_ITERATIONS, &*cx.backend)?;
            let relaxed = self.relax(&codebooks, &deviation, iteration, cx);
            let search = cx.backend.sum_search(&relaxed, true)?;
            search.improve(rows, self.training_rounds, cx.seed ^ ((iteration as u64) << 32), &mut codes)?;
            history.push(mean_error(train.host()?, &codebooks, &codes));
        }
        let local = Some(LocalSearch { rounds: self.rounds, seed: ENCODER_SEED });
        let mut quantizer = AdditiveQuantizer::new(codebooks, self.beam, local, cx.backend.clone())?;
        quantizer.curves = vec![Curve::of("mse", history, self.relaxation == 0.0)];
        Ok(Box::new(quantizer))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let shape = (self.m, 1 << self.bits, dim);
        let local = Some(LocalSearch { rounds: self.rounds, seed: ENCODER_SEED });
        AdditiveQuantizer::restore(state, shape, self.beam, local, cx.backend.clone())
    }
}

impl Lsq {
    /// Codebooks with Gaussian noise of `T·σ_j/m` on component `j`, where `T = relaxation·√(1 − (i+1)/iterations)` (Martinez,
    /// Zakhmi, Hoos and Little 2018, SR-D). None in the last iteration.
    fn relax(&self, codebooks: &[Array2<f32>], deviation: &[f64], iteration: usize, cx: &Context) -> Vec<Array2<f32>> {
        let left = 1.0 - (iteration + 1) as f64 / self.iterations as f64;
        let scale = self.relaxation * left.max(0.0).sqrt() / self.m as f64;
        let mut rng = cx.rng(Stream::Noise(iteration as u32));
        let mut noisy = codebooks.to_vec();
        if scale > 0.0 {
            for mut codeword in noisy.iter_mut().flat_map(|book| book.outer_iter_mut()) {
                for (c, deviation) in codeword.iter_mut().zip(deviation) {
                    let noise: f64 = StandardNormal.sample(&mut rng);
                    *c += (scale * deviation * noise) as f32;
                }
            }
        }
        noisy
    }

    /// Multiply-adds per row: the unary terms, and `rounds` of up to four sweeps.
    fn search_cost(&self, dim: usize, rounds: usize) -> f64 {
        let alphabet = f64::from(1u32 << self.bits);
        let m = self.m as f64;
        m * alphabet * dim as f64 + 4.0 * (rounds + 1) as f64 * m * m * alphabet
    }
}
