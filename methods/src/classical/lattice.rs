//! Lattice quantization: a fixed lattice is the codebook, so nothing is stored and arithmetic finds the nearest
//! codeword.

mod points;

pub use points::LatticeName;

use crate::algorithms::components::Components;
use crate::algorithms::moments::{deviations, mean};
use crate::contract::batch::{decode_rows, encode_rows};
use crate::registry::{Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{
    Backend, CodeRoom, Context, DeviceCodes, DeviceMatrix, MatrixRoom, Method, MethodError, ModelError, ParamError,
    Quantizer, State, Stream, Symbols, TrainingRows,
};
use points::{MAX_DIM, squared_distance};
use rand::RngExt;
use rand::seq::index;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "lattice",
    family: Some(Family::Lattice),
    summary: "Lattice quantizer: codes 2, 4 or 8 components together as one point of a fixed lattice (A2, D4 or E8), without a stored codebook",
    paper: "Conway and Sloane, Fast quantizing and decoding algorithms for lattice quantizers and codes, 1982; A fast encoding method for lattice codes and quantizers, 1983",
    rate: "bits × dim, with dim rounded up to a multiple of 2 (a2), 4 (d4) or 8 (e8)",
    rate_params: &[RateParam::count("bits")],
    cost: "fit: about 50 encodings of at most 4,000 points; encode: O(dim)",
    examples: &[r#"{"kind": "e8", "bits": 4}"#, r#"{"kind": "d4", "bits": 2}"#, r#"{"kind": "a2", "bits": 3}"#],
    tries: Tries { params: &["{}"], transforms: true },
    exempt: &[],
    schema: schema_of::<Lattice>,
    parse: parse_params::<Lattice>,
};

/// Parameters of `lattice`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Lattice {
    /// Selects the lattice, whose points are the codewords. One point codes 2 (`a2`), 4 (`d4`) or 8 (`e8`) consecutive
    /// components together. A larger number gives a lower distortion at the same rate. Choose a smaller one if the
    /// dimension is not a multiple of 8: the last point of each row is filled up with zeros, and these cost bits too.
    pub kind: LatticeName,
    /// Bits per component. The code of one point takes this many bits for each of its components. Raise it to lower the
    /// distortion.
    #[schemars(range(min = 1, max = 8))]
    pub bits: u8,
}

impl Default for Lattice {
    fn default() -> Lattice {
        Lattice { kind: LatticeName::E8, bits: 4 }
    }
}

/// Number of blocks that the scale is fitted to.
const MAX_BLOCKS: usize = 4_000;

/// Number of centres tried, at few bits and at many.
const CENTERS: [usize; 2] = [12, 4];
const FEW_BITS: u8 = 2;

/// At most this many bits per block are searched exhaustively.
const SMALL_BITS: usize = 8;

/// Codewords whose distances are computed at once.
const AT_ONCE: usize = 16;

impl Method for Lattice {
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
        dim.next_multiple_of(self.kind.dim()) * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        let blocks = (n * dim.div_ceil(self.kind.dim())).min(MAX_BLOCKS);
        60.0 * blocks as f64 * self.encode_cost(self.kind.dim())
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        let bits = usize::from(self.bits) * self.kind.dim();
        dim as f64 * if bits <= SMALL_BITS { (1 << bits) as f64 } else { 40.0 }
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let train = train.host()?;
        let (n, dim) = train.dim();
        let mean = mean(train);
        let offset: Vec<f32> = mean.iter().map(|m| *m as f32).collect();
        let deviation: Vec<f32> = deviations(train, &mean).into_iter().map(|d| d as f32).collect();
        let k = self.kind.dim();
        let per_row = dim.div_ceil(k);
        let unit = LatticeQuantizer::new(self.clone(), offset, deviation, vec![0.0; k], cx.backend.clone());
        let picks = index::sample(&mut cx.rng(Stream::Part(0)), n * per_row, MAX_BLOCKS.min(n * per_row)).into_vec();
        let blocks: Vec<[f64; MAX_DIM]> =
            picks.iter().map(|&i| unit.block(&train.row(i / per_row).to_vec(), i % per_row)).collect();
        let error = |code: &Code| -> f64 {
            let errors: Vec<f64> = blocks.par_iter().map(|x| code.error(&x[..k])).collect();
            errors.iter().sum()
        };
        // Any centre in the cell of the origin is valid; the one with the least error is kept. It matters at few bits.
        let mut rng = cx.rng(Stream::Part(1));
        let mut center = vec![0f64; k];
        let mut best = (f64::INFINITY, Code::new(self.kind, self.bits, center.clone(), 1.0));
        for candidate in 0..CENTERS[usize::from(self.bits > FEW_BITS)] {
            cx.cancel.check()?;
            let at = |scale: f64| Code::new(self.kind, self.bits, center.clone(), scale);
            let scale = best_scale(best.1.scale, candidate == 0, self.bits, |scale| error(&at(scale)));
            let code = at(scale);
            let found = error(&code);
            if found < best.0 {
                best = (found, code);
            }
            let anywhere: Vec<f64> = (0..k).map(|_| 4.0 * rng.random::<f64>()).collect();
            self.kind.nearest(&anywhere, &mut center);
            center.iter_mut().zip(&anywhere).for_each(|(c, x)| *c = x - *c);
        }
        let code = best.1;
        let spread: Vec<f32> = unit.spread.iter().map(|d| d * code.scale as f32).collect();
        if spread.iter().chain(&unit.offset).any(|v| !v.is_finite()) {
            let magnitude = train.iter().fold(0f32, |m, v| m.max(v.abs()));
            return Err(MethodError::Overflow { what: "the spacing of the lattice", magnitude });
        }
        let center = code.center.iter().map(|c| *c as f32).collect();
        Ok(Box::new(LatticeQuantizer::new(self.clone(), unit.offset, spread, center, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let (offset, spread) = (state.take("offset", dim)?, state.take("spread", dim)?);
        let center = state.take("center", self.kind.dim())?;
        Ok(Box::new(LatticeQuantizer::new(self.clone(), offset, spread, center, cx.backend.clone())))
    }
}

/// The scale of least error: a coarse grid over all plausible scales, or around a known good one, then a finer grid.
fn best_scale(known: f64, first: bool, bits: u8, error: impl Fn(f64) -> f64) -> f64 {
    // At b bits, 2^b steps cover about 3 to 9 deviations of a unit-variance source.
    let (mut middle, mut ratio, steps) = if first { (5.0 / f64::from(1u32 << bits), 1.35, 7) } else { (known, 1.1, 1) };
    let mut steps = steps;
    for _ in 0..if first { 4 } else { 2 } {
        let scales = (-steps..=steps).map(|i| middle * f64::powi(ratio, i));
        let scored: Vec<(f64, f64)> = scales.map(|scale| (error(scale), scale)).collect();
        middle = scored.iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(middle, |(_, scale)| *scale);
        ratio = f64::powf(ratio, 0.4);
        steps = 2;
    }
    middle
}

/// A Voronoi code: the point nearest to `center` of each class of `Λ/2^b·Λ`, so that the symbols are the coordinates of
/// a point modulo `2^b`, and every combination of symbols is a codeword.
struct Code {
    kind: LatticeName,
    bits: u8,
    center: Vec<f64>,
    scale: f64,
    /// All codewords relative to the centre, if there are few: first component of each, then the second of each, ….
    all: Vec<f64>,
}

impl Code {
    fn new(kind: LatticeName, bits: u8, center: Vec<f64>, scale: f64) -> Code {
        let mut code = Code { kind, bits, center, scale, all: Vec::new() };
        let k = kind.dim();
        let word = usize::from(bits) * k;
        if word <= SMALL_BITS {
            let count = 1usize << word;
            let mut all = vec![0.0; count * k];
            let (mut z, mut point) = (vec![0; k], vec![0.0; k]);
            for index in 0..count {
                z.iter_mut()
                    .enumerate()
                    .for_each(|(i, z)| *z = (index >> (i * usize::from(bits))) as i64 & code.mask());
                code.decode(&z, &mut point);
                point.iter().enumerate().for_each(|(i, p)| all[i * count + index] = *p);
            }
            code.all = all;
        }
        code
    }

    fn mask(&self) -> i64 {
        (1 << self.bits) - 1
    }

    /// The codeword of symbols `z`, relative to the centre.
    fn decode(&self, z: &[i64], point: &mut [f64]) {
        let k = self.kind.dim();
        let modulus = f64::from(1u32 << self.bits);
        let (mut shrunk, mut whole) = ([0f64; MAX_DIM], [0f64; MAX_DIM]);
        self.kind.point(z, point);
        for ((s, p), c) in shrunk.iter_mut().zip(&*point).zip(&self.center) {
            *s = (p - c) / modulus;
        }
        self.kind.nearest(&shrunk[..k], &mut whole[..k]);
        point.iter_mut().zip(&whole).zip(&self.center).for_each(|((p, w), c)| *p -= modulus * w + c);
    }

    /// Symbols of a codeword for `x`: the nearest codeword if there are few codewords, or if the nearest lattice point
    /// is a codeword; otherwise the last codeword on the way from the centre to `x`.
    fn encode(&self, x: &[f64], z: &mut [i64]) {
        let k = self.kind.dim();
        if !self.all.is_empty() {
            // ‖x/s − p‖² for a few codewords p at once, one component after the other.
            let count = self.all.len() / k;
            let mut scaled = [0f64; MAX_DIM];
            scaled.iter_mut().zip(x).for_each(|(y, x)| *y = x / self.scale);
            let mut best = (f64::INFINITY, 0);
            for start in (0..count).step_by(AT_ONCE) {
                let mut distances = [0f64; AT_ONCE];
                let end = (start + AT_ONCE).min(count);
                for (component, y) in self.all.chunks_exact(count).zip(&scaled) {
                    distances.iter_mut().zip(&component[start..end]).for_each(|(d, p)| *d += (y - p).powi(2));
                }
                for (index, distance) in distances[..end - start].iter().enumerate() {
                    if *distance < best.0 {
                        best = (*distance, start + index);
                    }
                }
            }
            let bits = usize::from(self.bits);
            z.iter_mut().enumerate().for_each(|(i, z)| *z = (best.1 >> (i * bits)) as i64 & self.mask());
            return;
        }
        if self.try_encode(x, 1.0, z) {
            return;
        }
        let (mut low, mut high) = (0.0, 1.0);
        let mut found = [0i64; MAX_DIM];
        self.try_encode(x, 0.0, z);
        for _ in 0..PULLS {
            let middle = 0.5 * (low + high);
            if self.try_encode(x, middle, &mut found[..k]) {
                low = middle;
                z.copy_from_slice(&found[..k]);
            } else {
                high = middle;
            }
        }
    }

    /// Symbols of the lattice point nearest to `share·x`. Returns whether it is the codeword of its class.
    fn try_encode(&self, x: &[f64], share: f64, z: &mut [i64]) -> bool {
        const FAR: f64 = 1e9;
        let k = self.kind.dim();
        let (mut y, mut point) = ([0f64; MAX_DIM], [0f64; MAX_DIM]);
        for ((y, x), c) in y.iter_mut().zip(x).zip(&self.center) {
            *y = (share * x / self.scale).clamp(-FAR, FAR) + c;
        }
        self.kind.nearest(&y[..k], &mut point[..k]);
        self.kind.coordinates(&point[..k], z);
        z.iter_mut().for_each(|z| *z &= self.mask());
        let mut own = [0f64; MAX_DIM];
        self.decode(z, &mut own[..k]);
        own[..k].iter_mut().zip(&self.center).for_each(|(p, c)| *p += c);
        squared_distance(&own[..k], &point[..k]) < 1e-6
    }

    fn error(&self, x: &[f64]) -> f64 {
        let k = self.kind.dim();
        let (mut z, mut point) = ([0i64; MAX_DIM], [0f64; MAX_DIM]);
        self.encode(x, &mut z[..k]);
        self.decode(&z[..k], &mut point[..k]);
        x.iter().zip(&point).map(|(x, p)| (x - self.scale * p).powi(2)).sum()
    }
}

/// Bisection steps between the centre and a point outside the code.
const PULLS: usize = 14;

/// A lattice quantizer over standardized components: `y = (x − offset)/spread`. A code holds the symbols of each block
/// of components; the last block is padded with zeros.
struct LatticeQuantizer {
    backend: Arc<dyn Backend>,
    spec: Lattice,
    components: Components,
    offset: Vec<f32>,
    spread: Vec<f32>,
    code: Code,
}

impl LatticeQuantizer {
    fn new(
        spec: Lattice,
        offset: Vec<f32>,
        spread: Vec<f32>,
        center: Vec<f32>,
        backend: Arc<dyn Backend>,
    ) -> LatticeQuantizer {
        let count = offset.len().next_multiple_of(spec.kind.dim());
        let components = Components::new(count, spec.bits, 0, "coordinate");
        let code = Code::new(spec.kind, spec.bits, center.into_iter().map(f64::from).collect(), 1.0);
        LatticeQuantizer { backend, spec, components, offset, spread, code }
    }

    /// Block `b` of a row, standardized.
    fn block(&self, row: &[f32], b: usize) -> [f64; MAX_DIM] {
        let k = self.spec.kind.dim();
        let mut block = [0f64; MAX_DIM];
        for (y, j) in block.iter_mut().zip(b * k..row.len().min((b + 1) * k)) {
            let spread = f64::from(self.spread[j]);
            *y = if spread > 0.0 { (f64::from(row[j]) - f64::from(self.offset[j])) / spread } else { 0.0 };
        }
        block
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8], symbols: &mut [u16]) {
        let k = self.spec.kind.dim();
        let mut z = [0i64; MAX_DIM];
        for (b, symbols) in symbols.chunks_exact_mut(k).enumerate() {
            self.code.encode(&self.block(row, b)[..k], &mut z[..k]);
            symbols.iter_mut().zip(&z).for_each(|(symbol, z)| *symbol = *z as u16);
        }
        self.components.layout.pack(symbols, code);
    }

    fn decode_row(&self, code: &[u8], row: &mut [f32], symbols: &mut [u16]) -> Result<(), MethodError> {
        self.components.layout.unpack(code, symbols)?;
        let k = self.spec.kind.dim();
        let (mut z, mut point) = ([0i64; MAX_DIM], [0f64; MAX_DIM]);
        let scales = self.offset.chunks(k).zip(self.spread.chunks(k));
        for ((row, symbols), (offset, spread)) in row.chunks_mut(k).zip(symbols.chunks_exact(k)).zip(scales) {
            z.iter_mut().zip(symbols).for_each(|(z, &symbol)| *z = symbol.into());
            self.code.decode(&z[..k], &mut point[..k]);
            for (((x, p), offset), spread) in row.iter_mut().zip(&point).zip(offset).zip(spread) {
                let value = f64::from(*offset) + f64::from(*spread) * p;
                *x = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
            }
        }
        Ok(())
    }
}

impl Quantizer for LatticeQuantizer {
    fn dim(&self) -> usize {
        self.offset.len()
    }

    fn code_bits(&self) -> usize {
        self.components.layout.bits()
    }

    fn model_size(&self) -> usize {
        4 * (2 * self.dim() + self.code.center.len())
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let scratch = || vec![0u16; self.components.layout.positions()];
        encode_rows(&*self.backend, rows, codes, scratch, |r, c, s| self.encode_row(r, c, s))
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let scratch = || vec![0u16; self.components.layout.positions()];
        decode_rows(&*self.backend, codes, rows, scratch, |c, r, s| self.decode_row(c, r, s))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.components)
    }

    fn save(&self, state: &mut State) {
        state.put("offset", self.offset.clone());
        state.put("spread", self.spread.clone());
        state.put("center", self.code.center.iter().map(|c| *c as f32).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of symbols is a different codeword, and each codeword encodes to its symbols.
    #[test]
    fn codewords_and_symbols_are_one_to_one() {
        for (kind, bits) in [
            (LatticeName::A2, 1),
            (LatticeName::A2, 4),
            (LatticeName::D4, 2),
            (LatticeName::D4, 3),
            (LatticeName::E8, 1),
        ] {
            let k = kind.dim();
            let center: Vec<f64> = (0..k).map(|i| 0.11 + 0.07 * i as f64).collect();
            let code = Code::new(kind, bits, center, 1.0);
            for index in 0..1usize << (usize::from(bits) * k) {
                let z: Vec<i64> = (0..k).map(|i| (index >> (i * usize::from(bits))) as i64 & code.mask()).collect();
                let (mut point, mut back) = (vec![0.0; k], vec![0; k]);
                code.decode(&z, &mut point);
                code.encode(&point, &mut back);
                assert_eq!(back, z, "{kind:?} at {bits} bits");
            }
        }
    }
}
