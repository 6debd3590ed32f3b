//! RaBitQ: a random rotation, the grid point of largest cosine per vector, and an unbiased estimate of inner products.

use crate::algorithms::components::Components;
use crate::algorithms::hadamard::FastRotation;
use crate::algorithms::moments::mean;
use crate::algorithms::side::{read_side, unit_residual, write_side};
use crate::backend::CodeLayout;
use crate::contract::batch::{decode_rows, encode_rows};
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::search::level_dot::LevelDot;
use crate::{
    Backend, CodeRoom, Context, DeviceCodes, DeviceMatrix, MatrixRoom, Method, MethodError, ModelError, ParamError,
    Quantizer, SearchMetric, Searcher, State, Stream, Symbols, TrainingRows,
};
use cpu::ScanTables;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "rabitq",
    family: Some(Family::Rotated),
    summary: "RaBitQ: a random rotation, then 1 to 8 bits per component, with unbiased distance estimates",
    paper: "Gao and Long, RaBitQ, 2024; Gao, Gou, Xu, Yang, Long and Wong, Practical and asymptotically optimal quantization of high-dimensional vectors, 2024",
    rate: "dim × bits, plus 64",
    rate_params: &[RateParam::count("bits")],
    cost: "fit: O(n · dim), for the mean; encode: O(dim · log(dim))",
    examples: &[r#"{"bits": 4}"#, r#"{"bits": 1}"#, r#"{"bits": 3, "decode": "unbiased"}"#],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "it codes directions, and stores lengths separately",
    }],
    schema: schema_of::<Rabitq>,
    parse: parse_params::<Rabitq>,
};

/// Parameters of `rabitq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Rabitq {
    /// Bits per component.
    #[schemars(range(min = 1, max = 8))]
    pub bits: u8,
    /// The length of decoded vectors. It affects distortion, not search.
    pub decode: Decode,
}

/// The length of decoded vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// The length that minimizes the squared error: shorter than the original vector.
    Mse,
    /// The length that makes inner products with decoded vectors unbiased: longer than the original vector.
    Unbiased,
}

impl Default for Rabitq {
    fn default() -> Rabitq {
        Rabitq { bits: 1, decode: Decode::Mse }
    }
}

/// Side values per vector: `‖x−c‖` and `⟨ū,o⟩`.
const SIDE: usize = 2;

impl Method for Rabitq {
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
        dim * usize::from(self.bits) + 32 * SIDE
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        (n * dim) as f64
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        FastRotation::cost(dim) + dim as f64
    }

    fn query_cost(&self, dim: usize) -> f64 {
        FastRotation::cost(dim)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        FastRotation::cost(dim) + dim as f64 * if self.bits == 1 { 2.0 } else { 8.0 * SCALES as f64 }
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let center = mean(train.host()?).into_iter().map(|m| m as f32).collect();
        let rotation = FastRotation::random(cx.backend.isa(), train.ncols(), &mut cx.rng(Stream::Part(0)));
        Ok(Box::new(RabitqQuantizer::new(self.clone(), center, rotation, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let center = state.take("center", dim)?;
        let rotation = FastRotation::take("rotation", dim, state)?;
        Ok(Box::new(RabitqQuantizer::new(self.clone(), center, rotation, cx.backend.clone())))
    }
}

/// With `o = P·(x−c)/‖x−c‖`, a code holds `‖x−c‖` and `⟨ū,o⟩` (f32, little-endian), then the symbols `u` of the grid
/// point `ū = u − (2^B−1)/2` that has the largest cosine with `o`.
struct RabitqQuantizer {
    backend: Arc<dyn Backend>,
    spec: Rabitq,
    center: Vec<f32>,
    rotation: FastRotation,
    components: Components,
    /// Value of each symbol on the grid.
    grid: Vec<f32>,
}

impl RabitqQuantizer {
    fn new(spec: Rabitq, center: Vec<f32>, rotation: FastRotation, backend: Arc<dyn Backend>) -> RabitqQuantizer {
        let count = 1usize << spec.bits;
        let grid = (0..count).map(|u| u as f32 - 0.5 * (count - 1) as f32).collect();
        RabitqQuantizer {
            backend,
            components: Components::new(center.len(), spec.bits, SIDE, "dim"),
            grid,
            spec,
            center,
            rotation,
        }
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8], scratch: &mut EncodeScratch) {
        let EncodeScratch { direction, symbols, trial, edges } = scratch;
        let norm = unit_residual(row, Some(&self.center), direction);
        self.rotation.forward(direction);
        best_cosine(direction, self.spec.bits, symbols, trial, edges);
        let product: f32 = symbols.iter().zip(&*direction).map(|(&u, o)| self.grid[usize::from(u)] * o).sum();
        let (side, packed) = code.split_at_mut(self.components.side_bytes());
        write_side(side, &[norm, product]);
        self.components.layout.pack(symbols, packed);
    }

    fn decode_row(&self, code: &[u8], row: &mut [f32], symbols: &mut [u16]) -> Result<(), MethodError> {
        let (side, packed) = code.split_at(self.components.side_bytes());
        let [norm, product] = read_side(side)?;
        self.components.layout.unpack(packed, symbols)?;
        row.iter_mut().zip(&*symbols).for_each(|(x, &u)| *x = self.grid[usize::from(u)]);
        let power: f32 = row.iter().map(|x| x * x).sum();
        let length = match self.spec.decode {
            // ⟨ō,o⟩·ō with ō = ū/‖ū‖.
            Decode::Mse => norm * (product / power),
            // ō/⟨ō,o⟩; a zero residual has no direction.
            Decode::Unbiased if product > 0.0 => (norm / product).min(f32::MAX),
            Decode::Unbiased => 0.0,
        };
        self.rotation.backward(row);
        row.iter_mut().zip(&self.center).for_each(|(x, c)| *x = (*c + length * *x).clamp(f32::MIN, f32::MAX));
        Ok(())
    }
}

struct EncodeScratch {
    direction: Vec<f32>,
    symbols: Vec<u16>,
    trial: Vec<u16>,
    edges: Vec<u64>,
}

/// If there are at most this many changes of magnitude, all are tried, in the order of their scales.
const FEW_EDGES: usize = 2048;

/// Number of scales tried per vector otherwise.
const SCALES: usize = 24;

/// The symbols whose grid point has the largest cosine with `o`, or practically so.
///
/// The best point for a scale `t` has the magnitudes `min(⌊t·|o_j|⌋, kmax) + ½` and the signs of `o`. The paper tries
/// every `t` at which a magnitude changes, `d·2^(B−1)` of them. If these are many, only a few scales are tried here.
/// Then single components are changed by single steps until no step improves the cosine.
fn best_cosine(o: &[f32], bits: u8, symbols: &mut [u16], trial: &mut [u16], edges: &mut Vec<u64>) {
    let top = (1u16 << (bits - 1)) - 1;
    let largest = o.iter().fold(0f32, |m, v| m.max(v.abs()));
    if top == 0 || largest <= 0.0 {
        symbols.fill(0);
    } else {
        if o.len() * usize::from(top) <= FEW_EDGES {
            walk(o, top, symbols, edges);
        } else {
            few_scales(o, top, f32::from(top + 1) / largest, symbols, trial);
        }
        step_by_step(o, top, symbols);
    }
    // From magnitudes to symbols: ū = k+½ is u = k+2^(B−1), ū = −(k+½) is u = 2^(B−1)−1−k.
    for (u, v) in symbols.iter_mut().zip(o) {
        *u = if *v < 0.0 { top - *u } else { top + 1 + *u };
    }
}

/// The magnitudes with the largest cosine over all scales, as in the paper: from one scale to the next a single magnitude grows
/// by one, from k − ½ to k + ½. So the inner product grows by `|o_j|`, and the squared norm by 2k.
fn walk(o: &[f32], top: u16, magnitudes: &mut [u16], edges: &mut Vec<u64>) {
    edges.clear();
    for (j, v) in o.iter().enumerate().filter(|(_, v)| **v != 0.0) {
        // Positive floats are in the order of their bits.
        edges.extend((1..=top).map(|k| u64::from((f32::from(k) / v.abs()).to_bits()) << 32 | j as u64));
    }
    edges.sort_unstable();
    let component = |edge: &u64| (*edge & u64::from(u32::MAX)) as usize;
    magnitudes.fill(0);
    let (mut product, mut power) = (o.iter().map(|v| 0.5 * f64::from(v.abs())).sum::<f64>(), 0.25 * o.len() as f64);
    let (mut best, mut steps) = (product * product / power, 0);
    for (step, edge) in edges.iter().enumerate() {
        let j = component(edge);
        magnitudes[j] += 1;
        product += f64::from(o[j].abs());
        power += 2.0 * f64::from(magnitudes[j]);
        if product * product > best * power {
            (best, steps) = (product * product / power, step + 1);
        }
    }
    magnitudes.fill(0);
    edges[..steps].iter().for_each(|edge| magnitudes[component(edge)] += 1);
}

/// The magnitudes with the largest cosine over some scales, from 0.4 to 4 times `full`, at which every magnitude just fits.
fn few_scales(o: &[f32], top: u16, full: f32, magnitudes: &mut [u16], trial: &mut [u16]) {
    let mut best = (-1f64, 0f32);
    let mut attempt = |t: f32| {
        let (mut product, mut power) = (0f64, 0f64);
        for (k, v) in trial.iter_mut().zip(o) {
            *k = ((t * v.abs()) as u16).min(top);
            let magnitude = f64::from(*k) + 0.5;
            product += magnitude * f64::from(v.abs());
            power += magnitude * magnitude;
        }
        let cosine = product / power.sqrt();
        if cosine > best.0 {
            best = (cosine, t);
            magnitudes.copy_from_slice(trial);
        }
        best.1
    };
    let coarse = |i: usize| full * 0.4 * 10f32.powf(i as f32 / (SCALES - 1) as f32);
    let near = (0..SCALES).fold(0.0, |_, i| attempt(coarse(i)));
    // Again around the best scale: its neighbours are about a tenth away.
    for i in 1..SCALES {
        attempt(near * (0.9 + 0.2 * i as f32 / SCALES as f32));
    }
}

/// Raises or lowers single magnitudes while the cosine grows.
fn step_by_step(o: &[f32], top: u16, magnitudes: &mut [u16]) {
    let value = |k: u16| f64::from(k) + 0.5;
    let (mut product, mut power) = (0f64, 0f64);
    for (&k, v) in magnitudes.iter().zip(o) {
        product += value(k) * f64::from(v.abs());
        power += value(k).powi(2);
    }
    for _ in 0..8 {
        let mut changed = false;
        for (k, v) in magnitudes.iter_mut().zip(o) {
            let size = f64::from(v.abs());
            let next = |to: u16| {
                let product = product + (value(to) - value(*k)) * size;
                let power = power + value(to).powi(2) - value(*k).powi(2);
                (product, power)
            };
            let gain = |(p, w): (f64, f64)| p * p / w;
            let now = gain((product, power));
            let candidates = [(*k < top).then(|| *k + 1), k.checked_sub(1)];
            let better = candidates.into_iter().flatten().find(|&to| gain(next(to)) > now * (1.0 + 1e-12));
            if let Some(to) = better {
                (product, power) = next(to);
                *k = to;
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

impl Quantizer for RabitqQuantizer {
    fn dim(&self) -> usize {
        self.center.len()
    }

    fn code_bits(&self) -> usize {
        self.components.code_bits()
    }

    fn model_size(&self) -> usize {
        4 * self.center.len() + self.rotation.model_size()
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let dim = self.dim();
        let scratch = || EncodeScratch {
            direction: vec![0.0; dim],
            symbols: vec![0; dim],
            trial: vec![0; dim],
            edges: Vec::new(),
        };
        encode_rows(&*self.backend, rows, codes, scratch, |r, c, s| self.encode_row(r, c, s))
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let dim = self.dim();
        decode_rows(&*self.backend, codes, rows, || vec![0; dim], |c, r, s| self.decode_row(c, r, s))
    }

    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        let dot = LevelDot::new(&self.components.layout, &self.grid);
        Some(Box::new(RabitqSearcher { quantizer: self, metric, dot, constant: 0.0 }))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.components)
    }

    fn save(&self, state: &mut State) {
        state.put("center", self.center.clone());
        self.rotation.save("rotation", state);
    }
}

/// `⟨o,q′⟩ ≈ ⟨ū,q′⟩/⟨ū,o⟩`, unbiased over rotations (Gao and Long 2024, theorem 3.2), so that
///
/// ```text
/// ‖q−x‖² ≈ ‖x−c‖² + ‖q−c‖² − 2·‖x−c‖·⟨ū,q′⟩/⟨ū,o⟩     with q′ = P·(q−c)
/// −q·x   ≈ −q·c − ‖x−c‖·⟨ū,q′⟩/⟨ū,o⟩                    with q′ = P·q
/// ```
struct RabitqSearcher<'a> {
    quantizer: &'a RabitqQuantizer,
    metric: SearchMetric,
    dot: LevelDot<'a>,
    /// `‖q−c‖²` or `−q·c`.
    constant: f32,
}

impl Searcher for RabitqSearcher<'_> {
    fn is_estimate(&self) -> bool {
        true
    }

    fn is_unbiased(&self) -> bool {
        true
    }

    fn set_query(&mut self, query: &[f32]) {
        let center = &self.quantizer.center;
        let mut seen: Vec<f32> = match self.metric {
            SearchMetric::L2 => query.iter().zip(center).map(|(q, c)| q - c).collect(),
            SearchMetric::InnerProduct => query.to_vec(),
        };
        let sum: f64 = match self.metric {
            SearchMetric::L2 => seen.iter().map(|q| f64::from(*q).powi(2)).sum(),
            SearchMetric::InnerProduct => {
                -query.iter().zip(center).map(|(q, c)| f64::from(*q) * f64::from(*c)).sum::<f64>()
            }
        };
        self.constant = sum as f32;
        self.quantizer.rotation.forward(&mut seen);
        self.dot.set_query(&seen);
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        let size = self.quantizer.code_size();
        if codes.len() != size * scores.len() {
            return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
        }
        for (code, score) in codes.chunks_exact(size).zip(scores) {
            let [offset, slope] = self.row_factors(code)?;
            *score =
                self.constant + (offset + slope * self.dot.dot(&code[self.quantizer.components.side_bytes()..])?);
        }
        Ok(())
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        self.dot.code_layout(self.quantizer.components.side_bytes(), true)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.dot.scan_tables(self.constant)
    }

    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        self.dot.laid_out(codes, self.quantizer.components.side_bytes())
    }

    /// `‖x−c‖²` and `−2·‖x−c‖/⟨ū,o⟩`, or 0 and half of that.
    fn row_factors(&self, code: &[u8]) -> Result<[f32; 2], MethodError> {
        let [norm, product] = read_side(&code[..self.quantizer.components.side_bytes()])?;
        let slope = if product > 0.0 { -norm / product } else { 0.0 };
        Ok(match self.metric {
            SearchMetric::L2 => [norm * norm, 2.0 * slope],
            SearchMetric::InnerProduct => [0.0, slope],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// Cosine of the best grid point, by the walk of the paper.
    fn exhaustive(o: &[f32], bits: u8) -> f64 {
        let top = (1u16 << (bits - 1)) - 1;
        let mut edges: Vec<f32> =
            o.iter().flat_map(|v| (0..=top).map(move |k| f32::from(k) / v.abs() * 1.000_001)).collect();
        edges.sort_by(f32::total_cmp);
        let cosine = |t: f32| {
            let magnitude = |v: f32| f64::from((((t * v.abs()) as u16).min(top)) as f32 + 0.5);
            let product: f64 = o.iter().map(|&v| magnitude(v) * f64::from(v.abs())).sum();
            product / o.iter().map(|&v| magnitude(v).powi(2)).sum::<f64>().sqrt()
        };
        edges.into_iter().map(cosine).fold(0.0, f64::max)
    }

    #[test]
    fn few_scales_and_single_steps_find_what_the_full_walk_finds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for dim in [2, 7, 32, 128] {
            for bits in 1..=8u8 {
                let mut worst = 1f64;
                for _ in 0..40 {
                    let x: Vec<f32> = (0..dim).map(|_| StandardNormal.sample(&mut rng)).collect();
                    let mut o = vec![0.0; dim];
                    unit_residual(&x, None, &mut o);
                    let (mut symbols, mut trial) = (vec![0; dim], vec![0; dim]);
                    best_cosine(&o, bits, &mut symbols, &mut trial, &mut Vec::new());
                    let middle = 0.5 * f64::from((1u32 << bits) - 1);
                    let grid: Vec<f64> = symbols.iter().map(|&u| f64::from(u) - middle).collect();
                    let product: f64 = grid.iter().zip(&o).map(|(g, o)| g * f64::from(*o)).sum();
                    let cosine = product / grid.iter().map(|g| g * g).sum::<f64>().sqrt();
                    worst = worst.min((1.0 - exhaustive(&o, bits) + 1e-5) / (1.0 - cosine + 1e-5));
                }
                // The squared error is 2·(1 − cosine) for all practical purposes. With many bits and few components, chance
                // finds better points among thousands of scales than among dozens.
                let walked = dim * ((1 << (bits - 1)) - 1) <= FEW_EDGES;
                let least = match (bits, dim) {
                    _ if walked => 0.999_99,
                    (..7, _) => 0.97,
                    (_, 128..) => 0.93,
                    _ => 0.7,
                };
                assert!(worst > least, "d={dim}, {bits} bits: {worst}");
            }
        }
    }

    #[test]
    fn damaged_factors_are_errors() {
        let rows = Array2::from_shape_fn((20, 70), |(i, j)| (i * j % 7) as f32);
        let quantizer = Rabitq::default().fit(rows.view(), &Context::cpu(1)).expect("fits");
        let mut codes = vec![0; 20 * quantizer.code_size()];
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        codes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        let mut decoded = Array2::zeros((20, 70));
        assert!(matches!(quantizer.decode_into(&codes, decoded.view_mut()), Err(MethodError::Side { .. })));
        let mut searcher = quantizer.searcher(SearchMetric::L2).expect("searches");
        searcher.set_query(&[0.0; 70]);
        assert!(searcher.score_into(&codes, &mut [0.0; 20]).is_err());
    }
}
