//! The LBG design of one codebook: split every codeword, improve by Lloyd's iteration, repeat.

use crate::codebooks::symbol_bits;
use crate::lloyd::{Stop, Trained, lloyd};
use crate::moments::mean;
use crate::product::ProductQuantizer;
use crate::spec::{MethodEntry, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, check_train};
use ndarray::{Array2, ArrayView2};
use rand::RngExt;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "lbg",
    summary: "One codebook for whole vectors, grown from the mean by splitting",
    paper: "Linde, Buzo and Gray, An algorithm for vector quantizer design, 1980",
    rate: "bits, or log2(codewords) rounded up",
    cost: "fit: O(n · dim · codewords) per iteration at the last size; encode: O(dim · codewords)",
    examples: &[r#"{"bits": 4}"#, r#"{"bits": 1}"#, r#"{"bits": 9, "tolerance": 0.01}"#, r#"{"codewords": 11}"#],
    schema: schema_of::<Lbg>,
    parse: parse_params::<Lbg>,
};

/// Parameters of `lbg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Lbg {
    /// Bits per vector: the codebook has 2^bits codewords. 8 when `codewords` is not written either.
    #[schemars(range(min = 1, max = 16))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Codewords, when they are to be another number than a power of two.
    #[schemars(range(min = 2, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codewords: Option<usize>,
    /// Size of a split, as a share of the standard deviation of the cell.
    #[schemars(range(min = 0.000001, max = 1.0))]
    pub epsilon: f64,
    /// A size is done when the relative drop in distortion falls below this.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tolerance: f64,
}

impl Default for Lbg {
    fn default() -> Lbg {
        Lbg { bits: None, codewords: None, epsilon: 0.01, tolerance: 1e-3 }
    }
}

/// Bits when neither they nor codewords are written.
const DEFAULT_BITS: u8 = 8;

/// Lloyd iterations at one size at most; the stop rule ends far earlier on all data seen.
const MAX_ITERATIONS: usize = 200;

/// Power iterations for the direction of a split.
const POWER_ITERATIONS: usize = 4;

impl Lbg {
    /// Codewords in the end.
    fn codeword_count(&self) -> usize {
        self.codewords.unwrap_or_else(|| 1 << self.bits.unwrap_or(DEFAULT_BITS))
    }
}

impl Method for Lbg {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        // Written out when neither is.
        let bits = self.bits.or(self.codewords.is_none().then_some(DEFAULT_BITS));
        params_of(&Lbg { bits, ..self.clone() })
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        if let (Some(_), Some(codewords)) = (self.bits, self.codewords) {
            let message = "`bits` and `codewords` say the same thing twice";
            return Err(ParamError::new("codewords", message, format!("keep `bits`, or `codewords: {codewords}`")));
        }
        ParamError::in_range("bits", self.bits.unwrap_or(DEFAULT_BITS), 1, 16)?;
        ParamError::in_range("codewords", self.codewords.unwrap_or(2), 2, 1 << 16)?;
        ParamError::in_range("epsilon", self.epsilon, 1e-6, 1.0)?;
        ParamError::in_range("tolerance", self.tolerance, 0.0, 1.0)
    }

    fn code_bits(&self, _dim: usize) -> usize {
        symbol_bits(self.codeword_count()).into()
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        // About a dozen iterations per size; the sizes add up to twice the last.
        12.0 * 2.0 * n as f64 * dim as f64 * self.codeword_count() as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64 * self.codeword_count() as f64
    }

    fn fit(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        self.check(train.ncols())?;
        check_train(train, cx)?;
        let train = train.as_standard_layout();
        let rows = cx.backend.upload(train.view())?;
        let stop = Stop { max_iterations: MAX_ITERATIONS, relative_drop: self.tolerance };
        // The mean, in f64: the best codebook of one.
        let mean = mean(train.view());
        let mut codebook = Array2::from_shape_fn((1, train.ncols()), |(_, j)| mean[j] as f32);
        let mut trained = lloyd(&rows, codebook.clone(), Stop { max_iterations: 0, relative_drop: 0.0 }, cx)?;
        let mut history = trained.mse.clone();
        while trained.codebook.nrows() < self.codeword_count() {
            let more = trained.codebook.nrows().min(self.codeword_count() - trained.codebook.nrows());
            codebook = split(train.view(), &trained, more, self.epsilon, cx)?;
            trained = lloyd(&rows, codebook, stop, cx)?;
            history.extend(&trained.mse);
        }
        Ok(Box::new(ProductQuantizer::trained(vec![trained.codebook], history, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        Ok(ProductQuantizer::restore(state, 1, self.codeword_count(), dim, cx.backend.clone())?)
    }
}

/// Replaces each of the `more` codewords with the largest distortion, all of them if need be, by `y ± ε·σ·v`. The paper leaves the perturbation free. A fixed vector moves so little
/// distortion in the first iteration in high dimension that the stop rule ends it there, so `v` is the principal
/// direction of the cell (power iterations from a seeded start) and `σ` the standard deviation along it.
fn split(
    train: ArrayView2<'_, f32>,
    trained: &Trained,
    more: usize,
    epsilon: f64,
    cx: &Context,
) -> Result<Array2<f32>, MethodError> {
    let (k, dim) = trained.codebook.dim();
    let mut order: Vec<usize> = (0..k).collect();
    if more < k {
        let mut distortion = vec![0f64; k];
        for (row, &c) in train.outer_iter().zip(&trained.nearest) {
            let errors = row.into_iter().zip(trained.codebook.row(c as usize)).map(|(x, y)| f64::from(x - y).powi(2));
            distortion[c as usize] += errors.sum::<f64>();
        }
        order.sort_by(|&a, &b| distortion[b].total_cmp(&distortion[a]).then(a.cmp(&b)));
    }
    let split: Vec<bool> = order.iter().take(more).fold(vec![false; k], |mut split, &c| {
        split[c] = true;
        split
    });
    let mut members = vec![Vec::new(); k];
    for (i, &c) in trained.nearest.iter().enumerate() {
        members[c as usize].push(i);
    }
    let mut rng = cx.rng(k as u64);
    let starts: Vec<Vec<f64>> = (0..k).map(|_| (0..dim).map(|_| rng.random::<f64>() - 0.5).collect()).collect();
    let offsets: Vec<Vec<f64>> = members
        .into_par_iter()
        .zip(starts)
        .enumerate()
        .map(|(c, (members, start))| {
            cx.cancel.check()?;
            if !split[c] {
                return Ok(vec![0.0; dim]);
            }
            let rows = members.iter().map(|&i| train.row(i));
            let (direction, deviation) = principal(rows, trained.codebook.row(c), start);
            Ok(direction.into_iter().map(|v| v * epsilon * deviation).collect())
        })
        .collect::<Result<_, MethodError>>()?;
    // What each new codeword comes of, and which way it is moved.
    let sources: Vec<(usize, f64)> =
        (0..k).flat_map(|c| if split[c] { vec![(c, 1.0), (c, -1.0)] } else { vec![(c, 0.0)] }).collect();
    Ok(Array2::from_shape_fn((k + more, dim), |(i, j)| {
        let (c, sign) = sources[i];
        (f64::from(trained.codebook[(c, j)]) + sign * offsets[c][j]) as f32
    }))
}

/// Unit vector along the largest spread of `rows` about `center`, and the standard deviation along it.
fn principal<'a>(
    rows: impl Iterator<Item = ndarray::ArrayView1<'a, f32>> + Clone,
    center: ndarray::ArrayView1<'_, f32>,
    start: Vec<f64>,
) -> (Vec<f64>, f64) {
    let unit = |mut v: Vec<f64>| {
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter_mut().for_each(|x| *x /= norm.max(f64::MIN_POSITIVE));
        (v, norm)
    };
    let (mut direction, _) = unit(start);
    let mut deviation = 0.0;
    for _ in 0..POWER_ITERATIONS {
        let mut image = vec![0f64; direction.len()];
        let mut count = 0.0;
        for row in rows.clone() {
            let along: f64 = row.iter().zip(center).zip(&direction).map(|((x, y), v)| f64::from(x - y) * v).sum();
            row.iter().zip(center).zip(&mut image).for_each(|((x, y), w)| *w += along * f64::from(x - y));
            count += 1.0;
        }
        if !image.iter().any(|&w| w != 0.0) {
            return (direction, 0.0);
        }
        let (next, norm) = unit(image);
        deviation = (norm / count).sqrt();
        direction = next;
    }
    (direction, deviation)
}
