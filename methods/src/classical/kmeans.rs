//! k-means as a method: one codebook for whole vectors.

use crate::algorithms::codebooks::symbol_bits;
use crate::algorithms::lloyd::{Stop, Trained, lloyd, plus_plus, random_rows_of};
use crate::backend::DeviceMatrix;
use crate::product::pq::RELATIVE_DROP;
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use ndarray::Array2;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "kmeans",
    family: Some(Family::Vector),
    summary: "k-means: one codebook for whole vectors",
    paper: "Lloyd, Least squares quantization in PCM, 1957/1982; Arthur and Vassilvitskii, k-means++, 2007; Lee, Baek and Sung, Modified K-means algorithm for vector quantizer design, 1997",
    rate: "log2(codewords), rounded up",
    rate_params: &[RateParam::power("codewords")],
    cost: "fit: O(n · dim · codewords) per iteration and restart; encode: O(dim · codewords)",
    examples: &[
        r#"{"codewords": 16}"#,
        r#"{"codewords": 37, "init": "kmeans++", "restarts": 3}"#,
        r#"{"codewords": 2, "iterations": 3}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[],
    schema: schema_of::<Kmeans>,
    parse: parse_params::<Kmeans>,
};

/// Parameters of `kmeans`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Kmeans {
    /// Number of codewords. A code takes log2 of it bits, rounded up.
    #[schemars(range(min = 2, max = 65536))]
    pub codewords: usize,
    /// How the initial codewords are chosen.
    pub init: KmeansInit,
    /// Iterations, at most. Training ends earlier when the distortion no longer falls. With 20 or more, the first 72%
    /// of the iterations use a sample of about 64 rows per codeword; this applies to rows of more than 4 components,
    /// and only if there are at least twice as many rows as the sample needs.
    #[schemars(range(min = 0, max = 10000))]
    pub iterations: usize,
    /// Number of independent starts; the one with the lowest distortion is kept. Training time grows in proportion.
    #[schemars(range(min = 1, max = 1000))]
    pub restarts: usize,
}

/// How the initial codewords of k-means are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KmeansInit {
    /// `kmeans++` for at most 4 components, where it ends with 10% less error on SIFT; `random` for more, where the
    /// error is the same and random starts find more of the true neighbours.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// Training rows drawn at random, without repetition while there are enough.
    #[serde(rename = "random")]
    Random,
    /// Training rows drawn one after the other, each with a probability proportional to its squared distance from those
    /// already drawn (Arthur and Vassilvitskii 2007). It finds well-separated clusters more reliably; without clusters
    /// it spends codewords on outliers.
    #[serde(rename = "kmeans++")]
    PlusPlus,
}

impl KmeansInit {
    /// The codebook to start from.
    ///
    /// # Errors
    /// Cancellation, a backend failure.
    pub fn codebook(
        self,
        rows: &DeviceMatrix,
        codewords: usize,
        rng: &mut impl Rng,
        cx: &Context,
    ) -> Result<Array2<f32>, MethodError> {
        const FEW_DIMS: usize = 4;
        match self {
            KmeansInit::Auto if rows.ncols() <= FEW_DIMS => plus_plus(rows, codewords, rng, cx),
            KmeansInit::Auto | KmeansInit::Random => random_rows_of(rows, codewords, rng, cx),
            KmeansInit::PlusPlus => plus_plus(rows, codewords, rng, cx),
        }
    }
}

impl Default for Kmeans {
    fn default() -> Kmeans {
        Kmeans { codewords: 256, init: KmeansInit::PlusPlus, iterations: 25, restarts: 1 }
    }
}

impl Method for Kmeans {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        check_ranges(self)
    }

    fn code_bits(&self, _dim: usize) -> usize {
        symbol_bits(self.codewords).into()
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        (self.restarts * (self.iterations + 2)) as f64 * n as f64 * self.encode_cost(dim)
    }

    fn query_cost(&self, dim: usize) -> f64 {
        dim as f64 * self.codewords as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64 * self.codewords as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let rows = train.matrix()?;
        let stop = Stop { max_iterations: self.iterations, relative_drop: RELATIVE_DROP };
        let mut best: Option<Trained> = None;
        for restart in 0..self.restarts {
            let rng = &mut cx.rng(Stream::Part(restart as u32));
            let start = self.init.codebook(rows, self.codewords, rng, cx)?;
            let trained = lloyd(rows, start, stop, cx)?;
            if best.as_ref().is_none_or(|best| trained.mse < best.mse) {
                best = Some(trained);
            }
        }
        let Some(best) = best else { return Err(MethodError::NoRows) };
        Ok(Box::new(ProductQuantizer::trained(vec![best.codebook], best.course, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        Ok(ProductQuantizer::restore(state, 1, self.codewords, dim, cx.backend.clone())?)
    }
}
