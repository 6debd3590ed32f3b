//! Finite scalar quantization: each latent component is bounded and rounded to a few levels; the grid of levels is the
//! codebook.

use crate::learned::shared::{
    Bottleneck, Encoder, ForwardPass, GridQuantizer, LatentWidth, Spread, Steps, Training, TrainingStep, fit, restore,
};
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, TrainingRows};
use gradients::Matrix;
use ndarray::{Array2, ArrayView2};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "fsq",
    family: Some(Family::Learned),
    summary: "Finite scalar quantization: bounds each latent component and rounds it to a few fixed levels; no codebook, straight-through gradients",
    paper: "Mentzer, Minnen, Agustsson and Tschannen, Finite scalar quantization: VQ-VAE made simple, 2023",
    rate: "groups × log2(product of levels), rounded up",
    rate_params: &[RateParam::count("groups")],
    cost: "fit: epochs × n × 3 times encoding and decoding; encode: the encoder",
    examples: &[
        r#"{"levels": [8, 5, 5, 5], "training": {"epochs": 10, "batch": 128}}"#,
        r#"{"preset": 8, "groups": 2, "encoder": {"mlp": {"hidden": 16}}, "training": {"epochs": 6, "batch": 128}}"#,
        r#"{"levels": [4, 3, 2], "groups": 4, "training": {"epochs": 6, "batch": 128}}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[Exemption {
        law: "clusters_far_apart_do_not_hide_the_nearest",
        with: "{}",
        why: "the encoder decides which codeword is nearest, since distances are between latents",
    }],
    schema: schema_of::<Fsq>,
    parse: parse_params::<Fsq>,
};

/// Parameters of `fsq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Fsq {
    /// Number of levels of each component in a group, 2 to 256 each; the paper advises at least 5. A group has as many
    /// codewords as the product of its levels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub levels: Option<Vec<usize>>,
    /// The levels that the paper advises for about 2^preset codewords per group: 8, 10, 12, 14 or 16. Default: 8,
    /// unless `levels` is given. Preset 12 has 4375 codewords, which take 13 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<u8>,
    /// Number of groups of latent components; each gives one symbol. More groups raise the rate.
    #[schemars(range(min = 1, max = 4096))]
    pub groups: usize,
    /// The encoder, which maps vectors to latents, and the decoder, which maps quantized latents back.
    pub encoder: Encoder,
    /// How encoder, bottleneck and decoder are trained.
    pub training: Training,
}

impl Default for Fsq {
    fn default() -> Fsq {
        Fsq { levels: None, preset: None, groups: 1, encoder: Encoder::default(), training: Training::default() }
    }
}

/// Advised levels by bits (arXiv 2309.15505, table 1).
const PRESETS: [(u8, &[usize]); 5] =
    [(8, &[8, 6, 5]), (10, &[8, 5, 5, 5]), (12, &[7, 5, 5, 5, 5]), (14, &[8, 8, 8, 6, 5]), (16, &[8, 8, 8, 5, 5, 5])];

/// Initial standard deviation of latents: that of a variable whose tanh is uniform.
const DEVIATION: f64 = 0.9069;

impl Fsq {
    fn levels(&self) -> Result<Vec<usize>, ParamError> {
        let advised = |bits: u8| PRESETS.iter().find(|(b, _)| *b == bits).map(|(_, levels)| levels.to_vec());
        match (&self.levels, self.preset) {
            (Some(_), Some(_)) => {
                Err(ParamError::new("preset", "`levels` and `preset` both set the levels", "write one of them"))
            }
            (Some(levels), None) => Ok(levels.clone()),
            (None, bits) => advised(bits.unwrap_or(8)).ok_or_else(|| {
                let message = format!("there is no preset of {} bits", bits.unwrap_or(8));
                ParamError::new("preset", message, "use 8, 10, 12, 14 or 16, or write `levels`")
            }),
        }
    }

    fn width(&self, levels: &[usize]) -> LatentWidth {
        LatentWidth::Exactly(self.groups * levels.len())
    }
}

impl Method for Fsq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        let levels = self.levels()?;
        if levels.is_empty() || levels.iter().any(|l| !(2..=256).contains(l)) {
            let message = format!("`levels: {levels:?}` must be one or more numbers from 2 to 256");
            return Err(ParamError::new("levels", message, "use for example [8, 5, 5, 5]"));
        }
        let codewords = levels.iter().try_fold(1usize, |product, &l| product.checked_mul(l));
        if codewords.is_none_or(|codewords| codewords > 1 << 16) {
            let message = format!("`levels: {levels:?}` make more than 65536 codewords");
            return Err(ParamError::new("levels", message, "use fewer components, and `groups` for more bits"));
        }
        self.encoder.needs_decoder()?;
        self.encoder.latent(dim, self.width(&levels)).map(|_| ())
    }

    fn code_bits(&self, _dim: usize) -> usize {
        let codewords: usize = self.levels().unwrap_or_default().iter().product();
        self.groups * usize::from(crate::algorithms::codebooks::symbol_bits(codewords))
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        self.training.cost(n, self.encode_cost(dim))
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.groups * self.levels().map_or(1, |levels| levels.len()))
    }

    fn query_cost(&self, dim: usize) -> f64 {
        let levels = self.levels().unwrap_or_default();
        let codewords: usize = levels.iter().product();
        self.encoder.query_cost(dim, self.groups * levels.len(), self.groups * codewords)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        self.encoder.cost(dim, self.groups * self.levels().map_or(1, |levels| levels.len()))
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let levels = self.levels()?;
        let shape = (self.width(&levels), Spread::Even(DEVIATION));
        let bottleneck = FiniteScalars { grid: FiniteGrid::new(levels), groups: self.groups };
        fit(&self.encoder, &self.training, shape, bottleneck, train, cx)
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let levels = self.levels()?;
        let latent = self.encoder.latent(dim, self.width(&levels))?;
        let quantizer = FiniteGrid::new(levels).quantizer(self.groups, cx);
        restore(&self.encoder, dim, latent, state, cx, |_| Ok(Box::new(quantizer)))
    }
}

/// Keeps the outermost levels within reach of the bounded value.
const MARGIN: f64 = 1e-3;

/// ```text
/// h = (L−1)(1+η)/2      o = ½ where L is even, 0 elsewhere      z' = tanh(z + atanh(o/h))·h − o
/// ```
///
/// `round(z')` is one of the integers from `−⌊L/2⌋` to `L−1−⌊L/2⌋`; the value of a level is this integer divided by
/// `⌊L/2⌋`.
#[derive(Clone)]
struct FiniteGrid {
    levels: Vec<usize>,
    /// `h`, `o` and `atanh(o/h)` of each component.
    bounds: Vec<[f32; 3]>,
}

impl FiniteGrid {
    fn new(levels: Vec<usize>) -> FiniteGrid {
        let bound = |&l: &usize| {
            let half = (l as f64 - 1.0) * (1.0 + MARGIN) / 2.0;
            let offset: f64 = if l % 2 == 0 { 0.5 } else { 0.0 };
            // With two levels the offset nearly is the half-width.
            [half, offset, (offset / half).min(1.0 - 1e-7).atanh()].map(|v| v as f32)
        };
        FiniteGrid { bounds: levels.iter().map(bound).collect(), levels }
    }

    fn half_width(&self, j: usize) -> usize {
        self.levels[j] / 2
    }

    fn bounded(&self, j: usize, z: f32) -> f32 {
        let [half, offset, shift] = self.bounds[j];
        (z + shift).tanh() * half - offset
    }

    /// The number of the level of component `j` that a latent takes.
    fn digit(&self, j: usize, z: f32) -> usize {
        let lowest = self.half_width(j) as f32;
        // NaN takes the first level: conversion saturates.
        ((self.bounded(j, z).round_ties_even() + lowest) as usize).min(self.levels[j] - 1)
    }

    /// Component `j` as any backend codes it: from which latent on each digit is taken, and what it stands for.
    fn steps(&self, j: usize) -> Steps {
        let half = self.half_width(j) as f32;
        let thresholds = (1..self.levels[j]).map(|digit| first_latent(|z| self.digit(j, z) >= digit)).collect();
        Steps { thresholds, values: (0..self.levels[j]).map(|digit| (digit as f32 - half) / half).collect() }
    }

    fn quantizer(&self, groups: usize, cx: &Context) -> GridQuantizer {
        GridQuantizer::new((0..self.levels.len()).map(|j| self.steps(j)).collect(), groups, cx.backend.clone())
    }
}

/// The least number of f32 for which `holds`, which then holds for all greater ones; NaN if there is none. Found by bisection of bit
/// patterns, so that it is exact.
fn first_latent(holds: impl Fn(f32) -> bool) -> f32 {
    // Numbers in the order of their keys, −∞ to ∞.
    let number = |key: i64| f32::from_bits(if key < 0 { (1 << 31) | (-1 - key) as u32 } else { key as u32 });
    let infinity = i64::from(f32::INFINITY.to_bits());
    let (mut low, mut high) = (-1 - infinity, infinity + 1);
    while low < high {
        let middle = (low + high).div_euclid(2);
        if holds(number(middle)) { high = middle } else { low = middle + 1 }
    }
    if low > infinity { f32::NAN } else { number(low) }
}

struct FiniteScalars {
    grid: FiniteGrid,
    groups: usize,
}

impl FiniteScalars {
    /// One value per component, the same for every group.
    fn per_component(&self, value: impl Fn(usize) -> f32) -> Matrix {
        let width = self.grid.levels.len();
        Matrix::constant(Array2::from_shape_fn((1, self.groups * width), |(_, j)| value(j % width)).view())
    }

    /// `round(z')/⌊L/2⌋` with the gradient of `z'/⌊L/2⌋`.
    fn quantize(&self, latents: &Matrix) -> Matrix {
        let part = |i: usize| self.per_component(|j| self.grid.bounds[j][i]);
        let bounded = latents.plus(&part(2)).tanh().by(&part(0)).minus(&part(1));
        let rounded = bounded.values().mapv(f32::round_ties_even);
        bounded.straight_through(rounded.view()).by(&self.per_component(|j| 1.0 / self.grid.half_width(j) as f32))
    }
}

impl Bottleneck for FiniteScalars {
    fn start(&mut self, _latents: ArrayView2<'_, f32>, _cx: &Context) -> Result<(), MethodError> {
        Ok(())
    }

    fn has_own_scale(&self) -> bool {
        true
    }

    /// The middle of the bounds: `tanh` is steepest there, and an even number of levels is divided equally on both
    /// sides.
    fn centre(&self, j: usize) -> f32 {
        -self.grid.bounds[j % self.grid.levels.len()][2]
    }

    fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        Vec::new()
    }

    fn pass(
        &self,
        latents: &Matrix,
        _parameters: &[Matrix],
        _moment: &TrainingStep<'_>,
        _rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError> {
        Ok(ForwardPass { latents: self.quantize(latents), losses: Vec::new(), chosen: Vec::new() })
    }

    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        Ok(Box::new(self.grid.quantizer(self.groups, cx)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradients::{Parameter, gradients};
    use ndarray::arr2;

    /// Worked by hand from the formula, with η = 10⁻³.
    #[test]
    fn bounds_and_levels_of_odd_and_even_numbers() {
        let grid = FiniteGrid::new(vec![5, 8]);
        // L = 5: h = 2.002, no shift. tanh(0.5)·2.002 = 0.92516, tanh(−3)·2.002 = −1.99209.
        assert!((grid.bounded(0, 0.5) - 0.925_16).abs() < 1e-4 && (grid.bounded(0, -3.0) + 1.992_10).abs() < 1e-4);
        // L = 8: h = 3.5035, o = ½, atanh(o/h) = 0.143695; zero stays zero; tanh(1.143695)·3.5035 − ½ = 2.3576.
        assert!(grid.bounded(1, 0.0).abs() < 1e-6 && (grid.bounded(1, 1.0) - 2.3576).abs() < 1e-4);
        let digits = |latents: [f32; 2]| [grid.digit(0, latents[0]), grid.digit(1, latents[1])];
        assert_eq!(digits([0.5, 0.0]), [3, 4], "1 and 0, counted from −2 and −4");
        assert_eq!(digits([-99.0, -99.0]), [0, 0]);
        assert_eq!(digits([99.0, 99.0]), [4, 7]);
        assert_eq!(digits([f32::NAN, 0.0])[0], 0);
        assert_eq!(grid.steps(1).values, [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75]);
        assert_eq!(grid.steps(0).values, [-1.0, -0.5, 0.0, 0.5, 1.0]);
    }

    /// What thresholds say is what the formula says, at each threshold, beside it, and far from all.
    #[test]
    fn thresholds_tell_the_digits_of_the_formula() {
        for levels in 2..=256usize {
            let grid = FiniteGrid::new(vec![levels]);
            let Steps { thresholds, values } = grid.steps(0);
            assert_eq!((thresholds.len(), values.len()), (levels - 1, levels));
            assert!(thresholds.is_sorted(), "{levels}: {thresholds:?}");
            let check = |z: f32| {
                let told = thresholds.partition_point(|t| *t <= z);
                assert_eq!(told, grid.digit(0, z), "{levels} levels at {z:e}");
            };
            for &t in &thresholds {
                let (mut below, mut above) = (t, t);
                for _ in 0..64 {
                    check(above);
                    (below, above) = (below.next_down(), above.next_up());
                    check(below);
                }
            }
            let odd = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, f32::MIN, f32::MAX, 0.0, -0.0, 1e-45, -1e-45];
            odd.into_iter().chain((-300..300).map(|i| i as f32 * 0.017)).for_each(check);
        }
    }

    #[test]
    fn every_index_of_every_preset_goes_round() {
        for (bits, levels) in PRESETS.into_iter().chain([(3, &[2usize, 3][..]), (1, &[2])]) {
            let grid = FiniteGrid::new(levels.to_vec());
            let quantizer = grid.quantizer(1, &Context::cpu(1));
            let codewords: usize = levels.iter().product();
            // "About": 7·5⁴ is 4375, and takes 13 bits.
            let expected = [(8, 240), (10, 1000), (12, 4375), (14, 15360), (16, 64000), (3, 6), (1, 2)];
            assert!(expected.contains(&(bits, codewords)), "{levels:?}");
            let codes: Vec<u8> =
                (0..codewords).flat_map(|c| (c as u16).to_le_bytes()[..quantizer.code_size()].to_vec()).collect();
            let mut points = Array2::zeros((codewords, levels.len()));
            quantizer.decode_into(&codes, points.view_mut()).expect("every index is a code");
            // Mixed radix with basis Π_{j<i} L_j: the first component moves fastest.
            let half = (levels[0] / 2) as f32;
            assert!((points[(1, 0)] - (1.0 - half) / half).abs() < 1e-6 && points[(1, 0)] > points[(0, 0)]);
            // Latents that lie on a point: the inverse of the bound.
            let latents = Array2::from_shape_fn(points.dim(), |(i, j)| {
                let [half, offset, shift] = grid.bounds[j];
                let whole = points[(i, j)] * (levels[j] / 2) as f32;
                ((f64::from(whole + offset) / f64::from(half)).clamp(-0.999_999, 0.999_999).atanh() - f64::from(shift))
                    as f32
            });
            let mut again = vec![0; codes.len()];
            quantizer.encode_into(latents.view(), &mut again).expect("encodes");
            assert_eq!(again, codes, "{levels:?}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_bound() {
        let bottleneck = FiniteScalars { grid: FiniteGrid::new(vec![8, 5]), groups: 2 };
        let z = arr2(&[[0.3f32, -0.8, 1.4, 0.1]]);
        let leaf = Parameter::new(z.view()).leaf();
        let out = bottleneck.quantize(&leaf);
        // 0.3: tanh(.443695)·3.5035 − ½ = .960; −.8: −1.329; 1.4: 2.69; .1: .1995.
        assert_eq!(out.values(), arr2(&[[0.25f32, -0.5, 0.75, 0.0]]));
        let found = gradients(&out.mean().scaled(4.0), &[leaf]).remove(0);
        for (j, z) in z.iter().enumerate() {
            let [half, _, shift] = bottleneck.grid.bounds[j % 2];
            let expected = (1.0 - (z + shift).tanh().powi(2)) * half / bottleneck.grid.half_width(j % 2) as f32;
            assert!((found[(0, j)] - expected).abs() < 1e-5, "{found}: {expected} at {j}");
        }
    }

    #[test]
    fn levels_that_cannot_be_are_told() {
        let told = |levels: &[usize]| Fsq { levels: Some(levels.to_vec()), ..Fsq::default() }.check(12).is_err();
        assert!(told(&[]) && told(&[1, 5]) && told(&[257]) && told(&[256, 256, 2]) && told(&[1 << 40, 1 << 40]));
        assert!(!told(&[256, 256]) && !told(&[2]));
        assert!(Fsq { preset: Some(9), ..Fsq::default() }.check(12).is_err());
        assert_eq!(Fsq { preset: Some(10), groups: 3, ..Fsq::default() }.code_bits(99), 30);
    }
}
