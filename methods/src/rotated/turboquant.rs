//! TurboQuant: a random rotation makes all components alike, so that fixed levels are nearly optimal.

use crate::algorithms::components::Components;
use crate::algorithms::hadamard::FastRotation;
use crate::algorithms::levels::{Samples, lloyd_max};
use crate::algorithms::side::{read_side, unit_residual, write_side};
use crate::backend::CodeLayout;
use crate::contract::batch::{decode_rows, encode_rows};
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::search::level_dot::LevelDot;
use crate::{
    Backend, CodeRoom, Context, DeviceCodes, DeviceMatrix, MatrixRoom, Method, MethodError, ModelError, ParamError,
    Quantizer, SearchMetric, Searcher, State, StateError, Stream, Symbols, TrainingRows,
};
use cpu::ScanTables;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "turboquant",
    family: Some(Family::Rotated),
    summary: "TurboQuant: a random rotation, then fixed Lloyd–Max levels for each component, without training; optionally unbiased inner products",
    paper: "Zandieh, Daliri, Hadian and Mirrokni, TurboQuant: online vector quantization with near-optimal distortion rate, 2025",
    rate: "dim × bits, plus 32 (mse) or 64 (product)",
    rate_params: &[RateParam::count("bits")],
    cost: "fit: nothing; encode: O(dim · log(dim))",
    examples: &[r#"{"bits": 4}"#, r#"{"bits": 1}"#, r#"{"bits": 3, "variant": "product"}"#],
    tries: Tries { params: &["{}", r#"{"variant": "product"}"#], transforms: false },
    exempt: &[
        Exemption {
            law: "distance_from_zero_costs_nothing",
            with: "{}",
            why: "nothing is fitted: it codes directions from the origin",
        },
        Exemption {
            law: "constant_rows_lose_nothing",
            with: "{}",
            why: "nothing is fitted: its levels do not depend on rows",
        },
        Exemption {
            law: "clusters_far_apart_do_not_hide_the_nearest",
            with: "{}",
            why: "it codes directions, and stores lengths separately",
        },
    ],
    schema: schema_of::<Turboquant>,
    parse: parse_params::<Turboquant>,
};

/// Parameters of `turboquant`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Turboquant {
    /// Bits per component. Each vector also stores its norm in 32 bits. With `variant: product`, one bit per component
    /// is a sign, and a second norm takes 32 more bits per vector. Raise it to lower the distortion.
    #[schemars(range(min = 1, max = 8))]
    pub bits: u8,
    /// Chooses what the code is best at: decoded vectors with a low squared error (`mse`), or inner products without
    /// bias (`product`). Use `product` to search by inner product if the scores must be unbiased.
    pub variant: Variant,
}

/// What the code is best at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Decoded vectors with a low squared error: all bits choose levels.
    Mse,
    /// Unbiased estimates of inner products. One bit per component stores a sign of the residual (what the levels
    /// leave) after a second rotation; the other bits choose levels.
    Product,
}

impl Default for Turboquant {
    fn default() -> Turboquant {
        Turboquant { bits: 4, variant: Variant::Mse }
    }
}

impl Turboquant {
    fn level_bits(&self) -> u8 {
        self.bits - u8::from(self.variant == Variant::Product)
    }

    /// Values stored per vector: `‖x‖`, and the norm of the residual for the product variant.
    fn side_values(&self) -> usize {
        if self.variant == Variant::Product { 2 } else { 1 }
    }

    fn quantizer(
        &self,
        dim: usize,
        rotation: FastRotation,
        signs: Option<FastRotation>,
        backend: Arc<dyn Backend>,
    ) -> TurboQuantizer {
        let levels = match self.level_bits() {
            0 => vec![0.0],
            bits => sphere_levels(dim, 1 << bits),
        };
        TurboQuantizer::new(self.clone(), dim, rotation, signs, levels, backend)
    }
}

impl Method for Turboquant {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        check_ranges(self)
    }

    fn code_bits(&self, dim: usize) -> usize {
        dim * usize::from(self.bits) + 32 * self.side_values()
    }

    fn fit_cost(&self, _n: usize, dim: usize) -> f64 {
        2.0 * FastRotation::cost(dim)
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        FastRotation::cost(dim) + dim as f64
    }

    fn query_cost(&self, dim: usize) -> f64 {
        FastRotation::cost(dim)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        2.0 * FastRotation::cost(dim) + dim as f64 * f64::from(self.bits)
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let dim = train.ncols();
        let signs = (self.variant == Variant::Product)
            .then(|| FastRotation::random(cx.backend.isa(), dim, &mut cx.rng(Stream::Part(1))));
        Ok(Box::new(self.quantizer(
            dim,
            FastRotation::random(cx.backend.isa(), dim, &mut cx.rng(Stream::Part(0))),
            signs,
            cx.backend.clone(),
        )))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let rotation = FastRotation::take("rotation", dim, state)?;
        let signs = match self.variant {
            Variant::Mse => None,
            Variant::Product => Some(FastRotation::take("rotation of the residual", dim, state)?),
        };
        let levels = state.take("levels", 1 << self.level_bits())?;
        if levels.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(StateError::Value("levels".into()).into());
        }
        Ok(Box::new(TurboQuantizer::new(self.clone(), dim, rotation, signs, levels, cx.backend.clone())))
    }
}

/// Lloyd–Max levels of one component of a uniformly random unit vector times `√dim`: the density
/// `(1 − t²/dim)^((dim−3)/2)`, represented by its quantiles.
fn sphere_levels(dim: usize, count: usize) -> Vec<f32> {
    const QUANTILES: usize = 1 << 16;
    let radius = (dim as f64).sqrt();
    let mut samples: Vec<f32> = if dim == 1 {
        vec![1.0, -1.0]
    } else {
        // By the angle, t = r·sin φ, the density is cos^(dim−2) φ: bounded for every dimension.
        let reach = std::f64::consts::FRAC_PI_2.min(9.0 / radius);
        let steps = QUANTILES;
        let width = 2.0 * reach / steps as f64;
        let mass = |i: usize| (-reach + (i as f64 + 0.5) * width).cos().max(0.0).powf(dim as f64 - 2.0);
        let total: f64 = (0..steps).map(mass).sum();
        let (mut below, mut step) = (0.0, 0);
        (0..QUANTILES)
            .map(|q| {
                let target = total * (q as f64 + 0.5) / QUANTILES as f64;
                while step + 1 < steps && below + mass(step) < target {
                    below += mass(step);
                    step += 1;
                }
                let share = ((target - below) / mass(step).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
                (radius * (-reach + (step as f64 + share) * width).sin()) as f32
            })
            .collect()
    };
    // Symmetric to the last bit.
    let mirrored: Vec<f32> = samples.iter().map(|s| -s).collect();
    samples.extend(mirrored);
    match lloyd_max(&Samples::new(samples), count) {
        Ok(levels) => levels,
        Err(error) => unreachable!("coordinates of unit vectors, of order one, do not overflow: {error}"),
    }
}

/// `E⟨sign(o)/√d, o⟩` over the unit sphere: `√d·Γ(d/2)/(√π·Γ((d+1)/2))`.
fn cosine_of_signs(dim: usize) -> f64 {
    // Γ(d/2)/Γ((d+1)/2) by its recurrence from d = 1 (√π) or d = 2 (2/√π): g(d+2) = g(d)·d/(d+1).
    let pi = std::f64::consts::PI.sqrt();
    let (first, start) = if dim.is_multiple_of(2) { (2.0 / pi, 2) } else { (pi, 1) };
    let ratio = (start..dim).step_by(2).fold(first, |g, d| g * d as f64 / (d as f64 + 1.0));
    (dim as f64).sqrt() * ratio / pi
}

/// A code is `‖x‖` (and `γ`, the norm of the residual), then a symbol per component: the index of its level, and in the
/// product variant below it, as the lowest bit, the sign of a component of the rotated residual.
///
/// With `y = P·x/‖x‖`, levels `l` of `√d·y` and the residual `r = y − l/√d`, `γ = ‖r‖`, signs `z = sign(S·r)`.
struct TurboQuantizer {
    backend: Arc<dyn Backend>,
    spec: Turboquant,
    dim: usize,
    rotation: FastRotation,
    /// `S`: a second rotation. The paper takes a Gaussian matrix; orthonormal rows give the same expectation with less
    /// variance, at O(d·log d).
    signs: Option<FastRotation>,
    /// On the scale of `√d·y`.
    levels: Vec<f32>,
    thresholds: Vec<f32>,
    components: Components,
    /// Level of each symbol, and sign of each.
    level_of: Vec<f32>,
    sign_of: Vec<f32>,
    /// `E⟨z/√d, S·r/γ⟩`.
    cosine: f32,
}

impl TurboQuantizer {
    fn new(
        spec: Turboquant,
        dim: usize,
        rotation: FastRotation,
        signs: Option<FastRotation>,
        levels: Vec<f32>,
        backend: Arc<dyn Backend>,
    ) -> TurboQuantizer {
        let shift = usize::from(signs.is_some());
        TurboQuantizer {
            backend,
            thresholds: levels.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect(),
            components: Components::new(dim, spec.bits, spec.side_values(), "dim"),
            level_of: (0..1usize << spec.bits).map(|u| levels[u >> shift]).collect(),
            sign_of: (0..1usize << spec.bits).map(|u| if u & 1 == 1 { 1.0 } else { -1.0 }).collect(),
            cosine: cosine_of_signs(dim) as f32,
            spec,
            dim,
            rotation,
            signs,
            levels,
        }
    }

    fn root_dim(&self) -> f32 {
        (self.dim as f32).sqrt()
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8], (y, symbols): &mut (Vec<f32>, Vec<u16>)) {
        let norm = unit_residual(row, None, y);
        self.rotation.forward(y);
        let root = self.root_dim();
        for (u, v) in symbols.iter_mut().zip(&*y) {
            *u = self.thresholds.partition_point(|&t| t < v * root) as u16;
        }
        let mut gamma = 0.0;
        if let Some(signs) = &self.signs {
            y.iter_mut().zip(&*symbols).for_each(|(v, &u)| *v -= self.levels[usize::from(u)] / root);
            gamma = y.iter().map(|v| v * v).sum::<f32>().sqrt();
            signs.forward(y);
            symbols.iter_mut().zip(&*y).for_each(|(u, v)| *u = *u << 1 | u16::from(*v >= 0.0));
        }
        let (side, packed) = code.split_at_mut(self.components.side_bytes());
        write_side(side, &[norm, gamma][..self.spec.side_values()]);
        self.components.layout.pack(symbols, packed);
    }

    fn side(&self, code: &[u8]) -> Result<(f32, f32), MethodError> {
        let side = &code[..self.components.side_bytes()];
        Ok(match self.spec.variant {
            Variant::Mse => (read_side::<1>(side)?[0], 0.0),
            Variant::Product => read_side::<2>(side)?.into(),
        })
    }

    fn decode_row(
        &self,
        code: &[u8],
        row: &mut [f32],
        (residual, symbols): &mut (Vec<f32>, Vec<u16>),
    ) -> Result<(), MethodError> {
        let (norm, gamma) = self.side(code)?;
        self.components.layout.unpack(&code[self.components.side_bytes()..], symbols)?;
        let root = self.root_dim();
        row.iter_mut().zip(&*symbols).for_each(|(x, &u)| *x = self.level_of[usize::from(u)] / root);
        if let Some(signs) = &self.signs {
            // The projection of the residual onto the direction of its signs, on average: the least squared error.
            let length = gamma * self.cosine / root;
            residual.iter_mut().zip(&*symbols).for_each(|(v, &u)| *v = length * self.sign_of[usize::from(u)]);
            signs.backward(residual);
            row.iter_mut().zip(&*residual).for_each(|(x, v)| *x += v);
        }
        self.rotation.backward(row);
        row.iter_mut().for_each(|x| *x = (*x * norm).clamp(f32::MIN, f32::MAX));
        Ok(())
    }

    fn scratch(&self) -> (Vec<f32>, Vec<u16>) {
        (vec![0.0; self.dim], vec![0; self.dim])
    }
}

impl Quantizer for TurboQuantizer {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_bits(&self) -> usize {
        self.components.code_bits()
    }

    fn model_size(&self) -> usize {
        let rotations = self.rotation.model_size() + self.signs.as_ref().map_or(0, FastRotation::model_size);
        rotations + 4 * self.levels.len()
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        encode_rows(&*self.backend, rows, codes, || self.scratch(), |r, c, s| self.encode_row(r, c, s))
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        decode_rows(&*self.backend, codes, rows, || self.scratch(), |c, r, s| self.decode_row(c, r, s))
    }

    /// Only inner products are what this code estimates without bias; distances to decoded vectors need their norms, which
    /// the code does not hold.
    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        if metric != SearchMetric::InnerProduct {
            return None;
        }
        let levels = LevelDot::new(&self.components.layout, &self.level_of);
        let signs =
            self.signs.as_ref().map(|rotation| (rotation, LevelDot::new(&self.components.layout, &self.sign_of)));
        Some(Box::new(TurboSearcher { quantizer: self, levels, signs }))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.components)
    }

    fn save(&self, state: &mut State) {
        self.rotation.save("rotation", state);
        if let Some(signs) = &self.signs {
            signs.save("rotation of the residual", state);
        }
        state.put("levels", self.levels.clone());
    }
}

/// `−q·x ≈ −‖x‖·(⟨l,q′⟩/√d + γ·⟨z,S·q′⟩/(√d·κ))` with `q′ = P·q` and `κ = E⟨z/√d, S·r/γ⟩`, unbiased over `S`; without the
/// second term it is the inner product with the decoded vector.
struct TurboSearcher<'a> {
    quantizer: &'a TurboQuantizer,
    levels: LevelDot<'a>,
    signs: Option<(&'a FastRotation, LevelDot<'a>)>,
}

impl Searcher for TurboSearcher<'_> {
    fn is_estimate(&self) -> bool {
        self.signs.is_some()
    }

    fn is_unbiased(&self) -> bool {
        self.signs.is_some()
    }

    fn set_query(&mut self, query: &[f32]) {
        let mut seen = query.to_vec();
        self.quantizer.rotation.forward(&mut seen);
        self.levels.set_query(&seen);
        if let Some((rotation, signs)) = &mut self.signs {
            rotation.forward(&mut seen);
            signs.set_query(&seen);
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        let quantizer = self.quantizer;
        let size = quantizer.code_size();
        if codes.len() != size * scores.len() {
            return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
        }
        let root = quantizer.root_dim();
        for (code, score) in codes.chunks_exact(size).zip(scores) {
            let (norm, gamma) = quantizer.side(code)?;
            let packed = &code[quantizer.components.side_bytes()..];
            let mut product = self.levels.dot(packed)?;
            if let Some((_, signs)) = &mut self.signs {
                product += gamma / quantizer.cosine * signs.dot(packed)?;
            }
            *score = -norm * (product / root);
        }
        Ok(())
    }

    /// Signs of the residual have a slope of their own.
    fn code_layout(&self) -> Option<CodeLayout> {
        let layout = self.levels.code_layout(self.quantizer.components.side_bytes(), true);
        layout.filter(|_| self.signs.is_none())
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.levels.scan_tables(0.0)
    }

    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        self.levels.laid_out(codes, self.quantizer.components.side_bytes())
    }

    fn row_factors(&self, code: &[u8]) -> Result<[f32; 2], MethodError> {
        let (norm, _) = self.quantizer.side(code)?;
        Ok([0.0, -norm / self.quantizer.root_dim()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_of_signs_is_the_published_one() {
        for (dim, expected) in [(1, 1.0), (128, 0.79944), (1024, 0.79808)] {
            assert!((cosine_of_signs(dim) - expected).abs() < 1e-5, "d={dim}");
        }
        assert!((cosine_of_signs(1_000_000) - (2.0 / std::f64::consts::PI).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn levels_of_the_sphere_become_those_of_a_gaussian() {
        let levels = sphere_levels(100_000, 4);
        for (found, expected) in levels.iter().zip([-1.510418, -0.452780, 0.452780, 1.510418]) {
            assert!((f64::from(*found) - expected).abs() < 2e-3, "{levels:?}");
        }
        assert_eq!(sphere_levels(1, 2), [-1.0, 1.0]);
        // On a circle, t = √2·sin φ with φ uniform: the mean over the upper half is √2·2/π.
        assert!((sphere_levels(2, 2)[1] - 0.900316).abs() < 1e-3);
    }
}
