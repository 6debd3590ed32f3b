//! Optimized product quantization: a rotation fitted together with the codebooks behind it.

use crate::lloyd::{Stop, check_scale};
use crate::pq::{RELATIVE_DROP, check_groups, total_mse, train_groups};
use crate::product::ProductQuantizer;
use crate::rotation::{balanced_axes, multiply, polar, random};
use crate::spec::{MethodEntry, params_of, parse_params, schema_of};
use crate::transform::{Affine, TransformedQuantizer};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, check_train};
use ndarray::{Array2, ArrayView2, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "opq",
    summary: "Optimized product quantizer: a rotation that makes product quantization lose least, then pq",
    paper: "Ge, He, Ke and Sun, Optimized product quantization for approximate nearest neighbor search, 2013",
    rate: "m × bits",
    cost: "fit: iterations × (pq with 4 iterations, and O(n · dim²)); encode: O(dim² + dim · 2^bits)",
    examples: &[r#"{"m": 4}"#, r#"{"m": 2, "bits": 5, "start": "random", "iterations": 5}"#],
    schema: schema_of::<Opq>,
    parse: parse_params::<Opq>,
};

/// Parameters of `opq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Opq {
    /// Number of sub-quantizers; must divide the dimension.
    #[schemars(range(min = 1))]
    pub m: usize,
    /// Bits per sub-quantizer: each codebook has 2^bits codewords.
    #[serde(default = "default_bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u8,
    /// Times that rotation and codebooks are fitted to each other, at most: it ends when the distortion stands still.
    #[serde(default = "default_iterations")]
    #[schemars(range(min = 0, max = 1000))]
    pub iterations: usize,
    /// Rotation to start from.
    #[serde(default)]
    pub start: Start,
}

/// Rotation to start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Principal axes, dealt to the groups so that each gets an equal share of the variance.
    #[default]
    Pca,
    /// A random rotation.
    Random,
}

pub(crate) fn default_bits() -> u8 {
    8
}

fn default_iterations() -> usize {
    50
}

/// Relative drop of the distortion below which another rotation is not worth its time.
const SETTLED: f64 = 1e-4;

/// k-means iterations between two rotations, and before the first and after the last.
const INNER_ITERATIONS: usize = 4;
const OUTER_ITERATIONS: usize = 25;

impl Method for Opq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        ParamError::in_range("bits", self.bits, 1, 16)?;
        ParamError::in_range("iterations", self.iterations, 0, 1000)?;
        check_groups(self.m, dim)
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.m * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        let lloyd = dim as f64 * f64::from(1u32 << self.bits);
        let iterations = self.iterations as f64;
        n as f64 * ((INNER_ITERATIONS + 1) as f64 * iterations + 2.0 * OUTER_ITERATIONS as f64) * lloyd
            + iterations * (2.0 * n as f64 * (dim * dim) as f64 + 40.0 * (dim as f64).powi(3))
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        (dim * dim) as f64 + dim as f64 * f64::from(1u32 << self.bits)
    }

    fn fit(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let Fitted { rotation, codebooks, mut history } = self.fit_rotation(train, cx)?;
        let rotated = multiply(train, rotation.view());
        let rows = cx.backend.upload(rotated.view())?;
        let stop = Stop { max_iterations: OUTER_ITERATIONS, relative_drop: RELATIVE_DROP };
        let trained = train_groups(rotated.view(), &rows, codebooks, self.m, self.bits, stop, cx)?;
        history.extend(total_mse(&trained));
        let codebooks = trained.into_iter().map(|t| t.codebook).collect();
        let product = ProductQuantizer::trained(codebooks, history, cx.backend.clone());
        Ok(Box::new(TransformedQuantizer::new(train.ncols(), rotated_by(rotation), Box::new(product))))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let rotation = state.take_matrix("transform axes", dim, dim)?;
        let product = ProductQuantizer::restore(state, self.m, 1 << self.bits, dim, cx.backend.clone())?;
        Ok(Box::new(TransformedQuantizer::new(dim, rotated_by(rotation), product)))
    }
}

fn rotated_by(rotation: Array2<f32>) -> Affine {
    Affine { mean: None, axes: Some(rotation) }
}

/// A rotation, the codebooks last seen behind it, and the MSE on the way.
pub(crate) struct Fitted {
    pub(crate) rotation: Array2<f32>,
    codebooks: Option<Vec<Array2<f32>>>,
    history: Vec<f64>,
}

impl Opq {
    /// With `m` sub-quantizers and every default.
    pub fn of(m: usize) -> Opq {
        Opq { m, bits: default_bits(), iterations: default_iterations(), start: Start::default() }
    }

    /// The non-parametric algorithm of the paper: `min ‖X·R − Y‖` over codebooks for a fixed `R`, then over `R` for fixed
    /// codes, which is the polar factor of `Xᵀ·Y`.
    pub(crate) fn fit_rotation(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Fitted, MethodError> {
        let dim = train.ncols();
        check_train(train, cx)?;
        check_scale(train)?;
        self.check(dim)?;
        let mut rotation = match self.start {
            Start::Pca => balanced_axes(train, self.m),
            // A stream that no group uses.
            Start::Random => random(dim, &mut cx.rng(u64::MAX)),
        };
        let stop = |iterations| Stop { max_iterations: iterations, relative_drop: RELATIVE_DROP };
        let mut history: Vec<f64> = Vec::new();
        let mut codebooks = None;
        for _ in 0..self.iterations {
            let rotated = multiply(train, rotation.view());
            let rows = cx.backend.upload(rotated.view())?;
            let inner = if codebooks.is_none() { OUTER_ITERATIONS } else { INNER_ITERATIONS };
            let trained = train_groups(rotated.view(), &rows, codebooks, self.m, self.bits, stop(inner), cx)?;
            let before = history.last().copied();
            history.extend(total_mse(&trained));
            let settled = before.zip(history.last()).is_some_and(|(before, now)| before - now <= SETTLED * now);
            let dsub = dim / self.m;
            let mut decoded = Array2::<f32>::zeros(rotated.dim());
            for (j, group) in trained.iter().enumerate() {
                let mut part = decoded.slice_mut(s![.., j * dsub..(j + 1) * dsub]);
                for (mut row, &c) in part.outer_iter_mut().zip(&group.nearest) {
                    row.assign(&group.codebook.row(c as usize));
                }
            }
            rotation = polar(&train.t().dot(&decoded), &rotation);
            codebooks = Some(trained.into_iter().map(|t| t.codebook).collect());
            if settled {
                break;
            }
        }
        Ok(Fitted { rotation, codebooks, history })
    }
}
