//! Scalar quantization: each component is rounded separately, to uniform or minimum-MSE levels.

mod quantizer;

use crate::algorithms::levels::{
    SHARES, Samples, UniformLevels, best_share, lloyd_max, span, span_errors, uniform_min_max, uniform_min_mse,
    uniform_moved, uniform_percentile, uniform_threshold,
};
use crate::backend::Backend;
use crate::contract::state::StateError;
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use ndarray::{Array2, ArrayView1, ArrayView2};
use quantizer::{Grid, ScalarQuantizer};
use rand::seq::index;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "scalar",
    family: Some(Family::Scalar),
    summary: "Scalar quantizer: rounds every component to one of 2^bits levels",
    paper: "Lloyd, Least squares quantization in PCM, 1957/1982; Max, Quantizing for minimum distortion, 1960",
    rate: "dim × bits, plus 64 (affine) or 32 (symmetric) per vector or per block with such a scope",
    rate_params: &[RateParam::count("bits")],
    cost: "fit: a sort of the samples, at most 2^20 per scale; encode: O(dim), times log(levels) for lloyd-max",
    examples: &[
        r#"{"bits": 8}"#,
        r#"{"bits": 4, "levels": "lloyd-max", "scope": "tensor"}"#,
        r#"{"bits": 3, "levels": "lloyd-max", "scope": "vector"}"#,
        r#"{"bits": 2, "scope": "vector", "symmetric": true}"#,
        r#"{"bits": 1, "scope": "dimension", "range": "minmax"}"#,
        r#"{"bits": 5, "scope": "vector", "range": "minmax"}"#,
        r#"{"bits": 4, "scope": {"block": 5}, "symmetric": true}"#,
        r#"{"bits": 3, "scope": {"block": 4}, "levels": "lloyd-max"}"#,
        r#"{"bits": 6, "scope": "tensor", "range": {"percentile": 99.9}}"#,
        r#"{"bits": 4, "scope": "tensor", "levels": {"uniform-threshold": 0.5}}"#,
        r#"{"preset": "int8"}"#,
        r#"{"preset": "binary"}"#,
    ],
    tries: Tries {
        params: &["{}", r#"{"levels": "lloyd-max"}"#, r#"{"levels": "lloyd-max", "scope": "vector"}"#],
        transforms: true,
    },
    exempt: &[
        Exemption {
            law: "distance_from_zero_costs_nothing",
            with: r#"{"symmetric": true}"#,
            why: "its levels are symmetric about zero",
        },
        Exemption {
            law: "no_stream_is_drawn_from_twice",
            with: r#"{"levels": "uniform", "range": "mse"}"#,
            why: "a span is chosen and then fitted on the same sample, which is drawn again instead of stored",
        },
    ],
    schema: schema_of::<Scalar>,
    parse,
};

/// Parameters of `scalar`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Scalar {
    /// A common combination of settings under its usual name. Parameters written beside it take precedence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Bits per component; every component is rounded to one of 2^bits levels.
    #[schemars(range(min = 1, max = 8))]
    pub bits: u8,
    /// How the levels are placed. `uniform` needs no table of levels; `lloyd-max` has the least distortion at a fixed
    /// rate; `uniform-threshold` is for codes that will be entropy-coded.
    pub levels: Levels,
    /// Which values share one set of levels. `tensor` and `dimension` store nothing per vector. `vector` and `block`
    /// store a scale with every vector or block: 64 bits, or 32 with `symmetric: true`.
    pub scope: Scope,
    /// The span of a uniform grid. Used by `levels: uniform` only.
    pub range: Range,
    /// Whether levels are symmetric about zero. If false, an offset (zero point) is fitted as well. Use it for data
    /// centred on zero, or to save the 32 bits of the offset with `scope: vector` or `block`.
    pub symmetric: bool,
}

/// How levels are placed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Levels {
    /// Evenly spaced levels.
    Uniform,
    /// The levels that minimize the mean squared error on the training values (Lloyd–Max).
    LloydMax,
    /// Evenly spaced decision thresholds; each level is the centroid of its cell. The value N is the distance between
    /// thresholds in standard deviations of the training values, and the mean lies in the middle of a cell. Nearly
    /// optimal when symbols are entropy-coded (Gish and Pierce 1968).
    UniformThreshold(#[schemars(range(min = 0.001, max = 10.0))] f64),
}

/// Which values share one set of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One set of levels for all components of all vectors.
    Tensor,
    /// One set of levels per dimension.
    Dimension,
    /// One scale per vector, stored with its code.
    Vector,
    /// One scale per block of N consecutive components of a vector, stored with its code. The last block of a vector
    /// may be shorter.
    Block(#[schemars(range(min = 1))] usize),
}

/// Span of a uniform grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// From the smallest to the largest training value, both of which are levels. With 1 bit, the levels are the
    /// midpoints of the two halves of this span.
    Minmax,
    /// The span that minimizes the mean squared error; values outside are clipped.
    Mse,
    /// The middle N percent of the training values; values outside are clipped.
    Percentile(#[schemars(range(min = 1.0, max = 100.0))] f64),
}

/// Common settings by the names they go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// 8 bits; each dimension has a uniform grid from its smallest to its largest training value (zero point and
    /// scale).
    Int8,
    /// 4 bits; each dimension has the uniform grid that minimizes its mean squared error.
    Int4,
    /// The sign of each component, decoded to plus or minus one magnitude shared by all components.
    Binary,
}

impl Preset {
    fn values(self) -> Value {
        match self {
            Preset::Int8 => serde_json::json!({ "bits": 8, "scope": "dimension", "range": "minmax" }),
            Preset::Int4 => serde_json::json!({ "bits": 4, "scope": "dimension", "range": "mse" }),
            Preset::Binary => serde_json::json!({ "bits": 1, "scope": "tensor", "symmetric": true }),
        }
    }
}

/// Reads the parameters; a preset gives those that are not written.
fn parse(params: Value) -> Result<Box<dyn Method>, ParamError> {
    let written = params.as_object().and_then(|params| params.get("preset")).cloned();
    let preset = written.and_then(|preset| serde_json::from_value::<Preset>(preset).ok());
    let params = match (preset.map(Preset::values), params) {
        (Some(Value::Object(mut values)), Value::Object(written)) => {
            values.extend(written);
            Value::Object(values)
        }
        (_, params) => params,
    };
    parse_params::<Scalar>(params)
}

impl Default for Scalar {
    fn default() -> Scalar {
        Scalar {
            preset: None,
            bits: 8,
            levels: Levels::Uniform,
            scope: Scope::Dimension,
            range: Range::Mse,
            symmetric: false,
        }
    }
}

/// Maximum number of samples that a set of levels is fitted to; more would not change the levels at any rate offered
/// here.
const MAX_SAMPLES: usize = 1 << 20;

impl Scalar {
    fn level_count(&self) -> usize {
        1 << self.bits
    }

    /// Number of components that share a scale stored with the code; None if the scope stores none.
    fn block(&self, dim: usize) -> Option<usize> {
        match self.scope {
            Scope::Tensor | Scope::Dimension => None,
            Scope::Vector => Some(dim),
            Scope::Block(size) => Some(size.min(dim)),
        }
    }

    /// Side values per vector: step and, unless symmetric, offset of each block.
    fn side_values(&self, dim: usize) -> usize {
        self.block(dim).map_or(0, |size| dim.div_ceil(size) * self.values_per_block())
    }

    fn values_per_block(&self) -> usize {
        if self.symmetric { 1 } else { 2 }
    }

    fn uniform(&self, samples: &Samples) -> Result<UniformLevels, MethodError> {
        let count = self.level_count();
        match self.range {
            Range::Minmax => uniform_min_max(samples, count, self.symmetric),
            Range::Mse => uniform_min_mse(samples, count, self.symmetric),
            Range::Percentile(share) => uniform_percentile(samples, count, self.symmetric, share),
        }
    }

    /// One set of levels for each of `sets` variables; `values` returns the samples of a variable in any order.
    fn grids(
        &self,
        sets: usize,
        values: impl Fn(usize) -> Vec<f32> + Sync,
        cx: &Context,
    ) -> Result<Vec<Grid>, MethodError> {
        let mut share = 0.0;
        if (self.levels, self.range) == (Levels::Uniform, Range::Mse) {
            let errors = (0..sets).into_par_iter().map(|set| {
                cx.cancel.check()?;
                span_errors(&values(set), self.level_count(), self.symmetric)
            });
            // Summed in order, so that the sum does not depend on the number of threads.
            let errors = errors.collect::<Result<Vec<_>, MethodError>>()?;
            let sum = errors.iter().fold([0.0; SHARES.len()], |sum, e| std::array::from_fn(|i| sum[i] + e[i]));
            share = best_share(&sum);
        }
        let grids = (0..sets).into_par_iter().map(|set| {
            cx.cancel.check()?;
            self.grid(&values(set), share)
        });
        grids.collect()
    }

    /// Levels fitted to `samples`.
    fn grid(&self, samples: &[f32], share: f64) -> Result<Grid, MethodError> {
        let count = self.level_count();
        match (self.levels, self.range) {
            (Levels::Uniform, Range::Mse) => {
                let samples = Samples::new(samples.iter().copied());
                Ok(Grid::Uniform(uniform_moved(&samples, count, self.symmetric, share)?))
            }
            (Levels::Uniform, _) => Ok(Grid::Uniform(self.uniform(&Samples::new(samples.iter().copied()))?)),
            (Levels::LloydMax, _) => Ok(Grid::from_levels(lloyd_max(&Samples::new(samples.iter().copied()), count)?)),
            (Levels::UniformThreshold(step), _) => {
                let (levels, thresholds) = uniform_threshold(&Samples::new(samples.iter().copied()), count, step)?;
                Ok(Grid::Levels { levels, thresholds })
            }
        }
    }

    /// The scale of one vector or block: offset and step of its uniform grid, or mean and RMS deviation for shared
    /// levels. Values beyond half the range of f32 are clipped, so that every level is finite.
    fn own_scale(&self, values: &[f32]) -> UniformLevels {
        const LIMIT: f32 = 0.5 * f32::MAX;
        let n = values.len() as f64;
        let values = values.iter().map(|x| x.clamp(-LIMIT, LIMIT));
        let full = || {
            let (low, high) = values.clone().fold((LIMIT, -LIMIT), |(l, h), x| (l.min(x), h.max(x)));
            span(f64::from(low), f64::from(high), self.level_count(), self.symmetric)
        };
        match (self.levels, self.range) {
            (Levels::Uniform, Range::Minmax) => full(),
            (Levels::Uniform, _) => self.uniform(&Samples::new(values.clone())).unwrap_or_else(|_| full()),
            (Levels::LloydMax | Levels::UniformThreshold(_), _) => {
                let values = values.map(f64::from);
                let mean = if self.symmetric { 0.0 } else { values.clone().sum::<f64>() / n };
                let variance = values.map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                UniformLevels { offset: mean as f32, step: variance.sqrt() as f32 }
            }
        }
    }
}

/// Uniform grids of least mean squared error, one per dimension, as a starting point for training.
pub(crate) fn uniform_grids(
    bits: u8,
    rows: ArrayView2<'_, f32>,
    cx: &Context,
) -> Result<Vec<UniformLevels>, MethodError> {
    let spec = Scalar { bits, ..Scalar::default() };
    let column = |j: usize| rows.column(j).iter().copied().collect();
    let levels = |grid| match grid {
        Grid::Uniform(levels) => levels,
        Grid::Levels { .. } => unreachable!("uniform levels were asked for"),
    };
    Ok(spec.grids(rows.ncols(), column, cx)?.into_iter().map(levels).collect())
}

/// The quantizer of one uniform grid per dimension.
pub(crate) fn on_uniform_grids(bits: u8, grids: Vec<UniformLevels>, backend: Arc<dyn Backend>) -> Box<dyn Quantizer> {
    let spec = Scalar { bits, ..Scalar::default() };
    let grids: Vec<Grid> = grids.into_iter().map(Grid::Uniform).collect();
    Box::new(ScalarQuantizer::new(spec, grids.len(), grids, backend))
}

impl Method for Scalar {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        if self.levels != Levels::Uniform && self.symmetric && self.block(1).is_none() {
            return Err(ParamError::new(
                "symmetric",
                "`symmetric: true` has no effect on levels that are fitted to the data",
                "leave it out, or use `levels: uniform`",
            ));
        }
        Ok(())
    }

    fn code_bits(&self, dim: usize) -> usize {
        dim * usize::from(self.bits) + 32 * self.side_values(dim)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        let values = match self.scope {
            Scope::Dimension => (n.min(MAX_SAMPLES) * dim) as f64,
            _ => (n * dim).min(MAX_SAMPLES) as f64,
        };
        values * 60.0
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        match (self.scope, self.levels) {
            (Scope::Vector | Scope::Block(_), Levels::Uniform) if self.range == Range::Mse => dim as f64 * 600.0,
            (_, Levels::LloydMax | Levels::UniformThreshold(_)) => dim as f64 * (4.0 + 2.0 * f64::from(self.bits)),
            _ => dim as f64 * 4.0,
        }
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let train = train.host()?;
        let (n, dim) = train.dim();
        let grids = match self.scope {
            Scope::Tensor => {
                let picked = || pick(n * dim, cx, 0).into_iter().map(|i| train[(i / dim, i % dim)]).collect();
                self.grids(1, |_| picked(), cx)?
            }
            Scope::Dimension => {
                let picked = |j: usize| pick(n, cx, j as u32).into_iter().map(|i| train[(i, j)]).collect();
                self.grids(dim, picked, cx)?
            }
            Scope::Vector | Scope::Block(_) if self.levels == Levels::Uniform => Vec::new(),
            Scope::Vector | Scope::Block(_) => {
                let rows = pick_at_most(n, MAX_SAMPLES.div_ceil(dim), cx, 0);
                let size = self.block(dim).unwrap_or(dim);
                let normalized: Vec<f32> = rows
                    .iter()
                    .flat_map(|&i| {
                        let row = train.row(i).to_vec();
                        let of_block = |block: &[f32]| {
                            let scale = self.own_scale(block);
                            block.iter().map(|&x| normalize(x, &scale)).collect::<Vec<f32>>()
                        };
                        row.chunks(size).flat_map(of_block).collect::<Vec<f32>>()
                    })
                    .collect();
                self.grids(1, |_| normalized.clone(), cx)?
            }
        };
        Ok(Box::new(ScalarQuantizer::new(self.clone(), dim, grids, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let count = match (self.scope, self.levels) {
            (Scope::Dimension, _) => dim,
            (Scope::Vector | Scope::Block(_), Levels::Uniform) => 0,
            _ => 1,
        };
        let ascending = |name: &str, rows: &Array2<f32>| {
            let falls = rows.outer_iter().any(|row| row.iter().zip(row.iter().skip(1)).any(|(a, b)| a > b));
            if falls { Err(StateError::Value(name.to_owned())) } else { Ok(()) }
        };
        let grids = match self.levels {
            Levels::Uniform => {
                let grids = state.take_matrix("offset and step", count, 2)?;
                let top = |g: ArrayView1<'_, f32>| g[0] + g[1] * (self.level_count() - 1) as f32;
                if grids.outer_iter().any(|g| g[1] < 0.0 || !top(g).is_finite()) {
                    return Err(StateError::Value("offset and step".into()).into());
                }
                grids.outer_iter().map(|g| Grid::Uniform(UniformLevels { offset: g[0], step: g[1] })).collect()
            }
            Levels::LloydMax => {
                let levels = state.take_matrix("levels", count, self.level_count())?;
                ascending("levels", &levels)?;
                levels.outer_iter().map(|row| Grid::from_levels(row.to_vec())).collect()
            }
            Levels::UniformThreshold(_) => {
                let levels = state.take_matrix("levels", count, self.level_count())?;
                let thresholds = state.take_matrix("thresholds", count, self.level_count() - 1)?;
                ascending("thresholds", &thresholds)?;
                let rows = levels.outer_iter().zip(thresholds.outer_iter());
                rows.map(|(l, t)| Grid::Levels { levels: l.to_vec(), thresholds: t.to_vec() }).collect()
            }
        };
        Ok(Box::new(ScalarQuantizer::new(self.clone(), dim, grids, cx.backend.clone())))
    }
}

/// Indices of the samples to fit to, in random order: all, or [`MAX_SAMPLES`] of them.
fn pick(n: usize, cx: &Context, part: u32) -> Vec<usize> {
    pick_at_most(n, MAX_SAMPLES, cx, part)
}

fn pick_at_most(n: usize, most: usize, cx: &Context, part: u32) -> Vec<usize> {
    // In random order, so that any subset is representative.
    index::sample(&mut cx.rng(Stream::Part(part)), n, n.min(most)).into_vec()
}

fn normalize(x: f32, scale: &UniformLevels) -> f32 {
    if scale.step > 0.0 { (x - scale.offset) / scale.step } else { 0.0 }
}
