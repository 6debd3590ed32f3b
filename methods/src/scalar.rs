//! Scalar quantization: each component on its own, on uniform or minimum-MSE levels.

use crate::batch::{decode_rows, encode_rows};
use crate::levels::{Samples, UniformLevels, lloyd_max, span, uniform_min_max, uniform_min_mse};
use crate::pack::Layout;
use crate::spec::{MethodEntry, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ParamError, Quantizer, Symbols, check_train};
use ndarray::{ArrayView2, ArrayViewMut2};
use rand::seq::index;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "scalar",
    summary: "Scalar quantizer: every component rounded to one of 2^bits levels",
    paper: "Lloyd, Least squares quantization in PCM, 1957/1982; Max, Quantizing for minimum distortion, 1960",
    rate: "dim × bits, plus 64 (affine) or 32 (symmetric) with scope: vector",
    cost: "fit: a sort of the samples, at most 2^20 per scale; encode: O(dim), times log(levels) for lloyd-max",
    examples: &[
        r#"{"bits": 8}"#,
        r#"{"bits": 4, "levels": "lloyd-max", "scope": "tensor"}"#,
        r#"{"bits": 3, "levels": "lloyd-max", "scope": "vector"}"#,
        r#"{"bits": 2, "scope": "vector", "symmetric": true}"#,
        r#"{"bits": 1, "scope": "dimension", "range": "minmax"}"#,
        r#"{"bits": 5, "scope": "vector", "range": "minmax"}"#,
    ],
    schema: schema_of::<Scalar>,
    parse: parse_params::<Scalar>,
};

/// Parameters of `scalar`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Scalar {
    /// Bits per component.
    #[schemars(range(min = 1, max = 8))]
    pub bits: u8,
    /// How the levels are placed: evenly, or where the mean squared error is least.
    pub levels: Levels,
    /// What shares one set of levels: all components, each dimension, or each vector (whose scale is stored with it).
    pub scope: Scope,
    /// What a uniform grid spans: all training values, or the span of least mean squared error.
    pub range: Range,
    /// Levels symmetric about zero; otherwise an offset (zero point) is fitted as well.
    pub symmetric: bool,
}

/// Placement of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Levels {
    /// Evenly spaced.
    Uniform,
    /// Minimum mean squared error for the training values.
    LloydMax,
}

/// What shares one set of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All components of all vectors.
    Tensor,
    /// Each dimension its own.
    Dimension,
    /// Each vector its own scale, stored with its code.
    Vector,
}

/// Span of a uniform grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// Evenly from the smallest to the largest value, both included (with 1 bit: the middles of the two halves).
    Minmax,
    /// The span of least mean squared error; values outside are clipped.
    Mse,
}

impl Default for Scalar {
    fn default() -> Scalar {
        Scalar { bits: 8, levels: Levels::Uniform, scope: Scope::Dimension, range: Range::Mse, symmetric: false }
    }
}

/// Samples that a set of levels is fitted to; more would not move the levels at any rate offered here.
const MAX_SAMPLES: usize = 1 << 20;

impl Scalar {
    fn level_count(&self) -> usize {
        1 << self.bits
    }

    fn side_values(&self) -> usize {
        match (self.scope, self.symmetric) {
            (Scope::Vector, false) => 2,
            (Scope::Vector, true) => 1,
            _ => 0,
        }
    }

    fn uniform(&self, samples: &Samples) -> Result<UniformLevels, MethodError> {
        match self.range {
            Range::Minmax => uniform_min_max(samples, self.level_count(), self.symmetric),
            Range::Mse => uniform_min_mse(samples, self.level_count(), self.symmetric),
        }
    }

    fn grid(&self, samples: &Samples) -> Result<Grid, MethodError> {
        match self.levels {
            Levels::Uniform => Ok(Grid::Uniform(self.uniform(samples)?)),
            Levels::LloydMax => Ok(Grid::from_levels(lloyd_max(samples, self.level_count())?)),
        }
    }

    /// Scale of one vector: offset and step of its uniform grid, or mean and RMS deviation for shared levels. Values
    /// beyond half the range of f32 are clipped, so that every level can be stored and computed.
    fn vector_scale(&self, row: &[f32]) -> UniformLevels {
        const LIMIT: f32 = 0.5 * f32::MAX;
        let values = row.iter().map(|x| x.clamp(-LIMIT, LIMIT));
        let full = || {
            let (low, high) = values.clone().fold((LIMIT, -LIMIT), |(l, h), x| (l.min(x), h.max(x)));
            span(f64::from(low), f64::from(high), self.level_count(), self.symmetric)
        };
        match (self.levels, self.range) {
            (Levels::Uniform, Range::Minmax) => full(),
            (Levels::Uniform, Range::Mse) => self.uniform(&Samples::new(values.clone())).unwrap_or_else(|_| full()),
            (Levels::LloydMax, _) => {
                let n = row.len() as f64;
                let values = values.map(f64::from);
                let mean = if self.symmetric { 0.0 } else { values.clone().sum::<f64>() / n };
                let variance = values.map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                UniformLevels { offset: mean as f32, step: variance.sqrt() as f32 }
            }
        }
    }
}

impl Method for Scalar {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        ParamError::in_range("bits", self.bits, 1, 8)?;
        if self.levels == Levels::LloydMax && self.symmetric && self.scope != Scope::Vector {
            return Err(ParamError::new(
                "symmetric",
                "`symmetric: true` has no meaning for lloyd-max levels, which follow the data",
                "leave it out, or use `levels: uniform`",
            ));
        }
        Ok(())
    }

    fn code_bits(&self, dim: usize) -> usize {
        dim * usize::from(self.bits) + 32 * self.side_values()
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
            (Scope::Vector, Levels::Uniform) if self.range == Range::Mse => dim as f64 * 600.0,
            (_, Levels::LloydMax) => dim as f64 * (4.0 + 2.0 * f64::from(self.bits)),
            _ => dim as f64 * 4.0,
        }
    }

    fn fit(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let (n, dim) = train.dim();
        self.check(dim)?;
        check_train(train, cx)?;
        let grids = match self.scope {
            Scope::Tensor => {
                let picked = pick(n * dim, cx, 0).into_iter().map(|i| train[(i / dim, i % dim)]);
                vec![self.grid(&Samples::new(picked))?]
            }
            Scope::Dimension => (0..dim)
                .into_par_iter()
                .map(|j| {
                    cx.cancel.check()?;
                    self.grid(&Samples::new(pick(n, cx, j as u64).into_iter().map(|i| train[(i, j)])))
                })
                .collect::<Result<_, _>>()?,
            Scope::Vector if self.levels == Levels::Uniform => Vec::new(),
            Scope::Vector => {
                let rows = pick_at_most(n, MAX_SAMPLES.div_ceil(dim), cx, 0);
                let scales: Vec<UniformLevels> =
                    rows.iter().map(|&i| self.vector_scale(&train.row(i).to_vec())).collect();
                let normalized = rows.iter().zip(&scales).flat_map(|(&i, scale)| {
                    train.row(i).into_iter().map(|&x| normalize(x, scale)).collect::<Vec<f32>>()
                });
                vec![self.grid(&Samples::new(normalized))?]
            }
        };
        Ok(Box::new(ScalarQuantizer { layout: Layout::uniform(dim, self.bits), spec: self.clone(), grids }))
    }
}

/// Indices of the samples to fit to: all, or a seeded choice of [`MAX_SAMPLES`].
fn pick(n: usize, cx: &Context, stream: u64) -> Vec<usize> {
    pick_at_most(n, MAX_SAMPLES, cx, stream)
}

fn pick_at_most(n: usize, most: usize, cx: &Context, stream: u64) -> Vec<usize> {
    if n <= most { (0..n).collect() } else { index::sample(&mut cx.rng(stream), n, most).into_vec() }
}

fn normalize(x: f32, scale: &UniformLevels) -> f32 {
    if scale.step > 0.0 { (x - scale.offset) / scale.step } else { 0.0 }
}

/// Levels in the form that encoding uses.
#[derive(Clone, Debug)]
enum Grid {
    Uniform(UniformLevels),
    /// Ascending levels and the thresholds half-way between them.
    Levels {
        levels: Vec<f32>,
        thresholds: Vec<f32>,
    },
}

impl Grid {
    fn from_levels(levels: Vec<f32>) -> Grid {
        let thresholds = levels.windows(2).map(|pair| 0.5 * pair[0] + 0.5 * pair[1]).collect();
        Grid::Levels { levels, thresholds }
    }

    #[inline]
    fn encode(&self, x: f32, count: usize) -> u16 {
        match self {
            Grid::Uniform(grid) => encode_uniform(x, grid, count),
            Grid::Levels { thresholds, .. } => thresholds.partition_point(|&t| t < x) as u16,
        }
    }

    #[inline]
    fn decode(&self, symbol: u16) -> f32 {
        match self {
            Grid::Uniform(grid) => grid.offset + f32::from(symbol) * grid.step,
            Grid::Levels { levels, .. } => levels[usize::from(symbol)],
        }
    }

    fn model_size(&self) -> usize {
        match self {
            Grid::Uniform(_) => 8,
            Grid::Levels { levels, .. } => 4 * levels.len(),
        }
    }
}

/// `clamp(round((x − offset)/step), 0, count−1)`; the conversion saturates and sends 0/0 to 0.
#[inline]
fn encode_uniform(x: f32, grid: &UniformLevels, count: usize) -> u16 {
    (((x - grid.offset) / grid.step + 0.5) as u16).min((count - 1) as u16)
}

/// A fitted scalar quantizer. A code is the side values of its vector, if any (f32, little-endian: offset or mean
/// unless symmetric, then step or deviation), followed by the packed symbols.
struct ScalarQuantizer {
    spec: Scalar,
    layout: Layout,
    /// One grid, or one per dimension; none when each vector brings its own uniform grid.
    grids: Vec<Grid>,
}

impl ScalarQuantizer {
    fn side_bytes(&self) -> usize {
        4 * self.spec.side_values()
    }

    fn grid(&self, j: usize) -> &Grid {
        if self.grids.len() == 1 { &self.grids[0] } else { &self.grids[j] }
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8], symbols: &mut [u16]) {
        let count = self.spec.level_count();
        let (side, packed) = code.split_at_mut(self.side_bytes());
        if self.spec.scope == Scope::Vector {
            let scale = self.spec.vector_scale(row);
            // The offset of a symmetric grid follows from its step.
            let values = &[scale.offset, scale.step][usize::from(self.spec.symmetric)..];
            for (stored, value) in side.chunks_exact_mut(4).zip(values) {
                stored.copy_from_slice(&value.to_le_bytes());
            }
            let scale = self.scale_of(side);
            for (symbol, &x) in symbols.iter_mut().zip(row) {
                *symbol = match self.grids.first() {
                    Some(grid) => grid.encode(normalize(x, &scale), count),
                    None => encode_uniform(x, &scale, count),
                };
            }
        } else if let [grid] = &self.grids[..] {
            symbols.iter_mut().zip(row).for_each(|(symbol, &x)| *symbol = grid.encode(x, count));
        } else {
            symbols.iter_mut().zip(row).zip(&self.grids).for_each(|((s, &x), grid)| *s = grid.encode(x, count));
        }
        self.layout.pack(symbols, packed);
    }

    /// Reads the scale of a vector back from its side bytes.
    fn scale_of(&self, side: &[u8]) -> UniformLevels {
        let (values, _) = side.as_chunks::<4>();
        match *values {
            [offset, step] => UniformLevels { offset: f32::from_le_bytes(offset), step: f32::from_le_bytes(step) },
            [step] => {
                let step = f32::from_le_bytes(step);
                let levels_start = -0.5 * step * (self.spec.level_count() - 1) as f32;
                UniformLevels { offset: if self.grids.is_empty() { levels_start } else { 0.0 }, step }
            }
            _ => UniformLevels { offset: 0.0, step: 0.0 },
        }
    }

    fn decode_row(&self, code: &[u8], row: &mut [f32], symbols: &mut [u16]) -> Result<(), MethodError> {
        let (side, packed) = code.split_at(self.side_bytes());
        self.layout.unpack(packed, symbols)?;
        if self.spec.scope == Scope::Vector {
            let scale = self.scale_of(side);
            for (x, &symbol) in row.iter_mut().zip(&*symbols) {
                let unit = self.grids.first().map_or(f32::from(symbol), |grid| grid.decode(symbol));
                *x = (scale.offset + unit * scale.step).clamp(f32::MIN, f32::MAX);
            }
        } else {
            row.iter_mut().zip(&*symbols).enumerate().for_each(|(j, (x, &s))| *x = self.grid(j).decode(s));
        }
        Ok(())
    }
}

impl Quantizer for ScalarQuantizer {
    fn dim(&self) -> usize {
        self.layout.positions()
    }

    fn code_bits(&self) -> usize {
        self.spec.code_bits(self.dim())
    }

    fn model_size(&self) -> usize {
        self.grids.iter().map(Grid::model_size).sum()
    }

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        let dim = self.dim();
        encode_rows(dim, self.code_size(), rows, codes, || vec![0; dim], |r, c, s| self.encode_row(r, c, s))
    }

    fn decode_into(&self, codes: &[u8], rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        let dim = self.dim();
        decode_rows(dim, self.code_size(), codes, rows, || vec![0; dim], |c, r, s| self.decode_row(c, r, s))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(self)
    }
}

impl Symbols for ScalarQuantizer {
    fn alphabets(&self) -> Vec<usize> {
        vec![self.spec.level_count(); self.dim()]
    }

    fn position_name(&self, p: usize) -> String {
        format!("dim {p}")
    }

    fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        if code.len() != self.code_size() {
            return Err(MethodError::CodeLength { expected: self.code_size(), found: code.len() });
        }
        self.layout.unpack(&code[self.side_bytes()..], symbols)
    }

    fn side_bits(&self) -> usize {
        8 * self.side_bytes()
    }
}
