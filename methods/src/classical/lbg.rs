//! LBG design of one codebook: split codewords and run Lloyd's iteration until the size is reached, then move codewords
//! of low utility.

use crate::algorithms::codebooks::symbol_bits;
use crate::algorithms::lloyd::{Stop, Trained, lloyd_from_sample};
use crate::algorithms::moments::mean;
use crate::algorithms::utility::{LEAST_GAIN, move_codewords, principal};
use crate::product::pq::RELATIVE_DROP;
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use ndarray::{Array2, ArrayView2};
use rand::RngExt;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "lbg",
    family: Some(Family::Vector),
    summary: "LBG: one codebook for whole vectors, grown from the mean by splitting codewords; those of little use are then moved",
    paper: "Linde, Buzo and Gray, An algorithm for vector quantizer design, 1980; Patanè and Russo, The enhanced LBG algorithm, 2001",
    rate: "bits, or log2(codewords) rounded up",
    rate_params: &[RateParam::count("bits")],
    cost: "fit: O(n · dim · codewords) per iteration at the last size, about 30 iterations without moves and up to 200 with; encode: O(dim · codewords)",
    examples: &[
        r#"{"bits": 4}"#,
        r#"{"bits": 1}"#,
        r#"{"bits": 9, "tolerance": 0.01, "moves": 0}"#,
        r#"{"codewords": 11}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[],
    schema: schema_of::<Lbg>,
    parse: parse_params::<Lbg>,
};

/// Parameters of `lbg`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Lbg {
    /// Bits per vector; the codebook has 2^bits codewords. Raise it to lower the distortion; each bit about doubles the
    /// time of training and encoding. Default: 8, unless `codewords` is given.
    #[schemars(range(min = 1, max = 16))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Number of codewords. Give it instead of `bits` for a number that is not a power of two. A code takes log2 of the
    /// number in bits, rounded up.
    #[schemars(range(min = 2, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codewords: Option<usize>,
    /// How far the two codewords of a split are moved from the one that they replace, in opposite directions. The unit
    /// is the standard deviation of the rows in its cell, along the direction in which they vary most. Raise it if
    /// iterations end right after a split, before the two have moved apart.
    #[schemars(range(min = 0.000001, max = 1.0))]
    pub epsilon: f64,
    /// Ends the iterations at one codebook size when the distortion falls by less than this fraction. Lower it for a
    /// slightly lower distortion at more training time. With `moves`, the final iterations use a hundredth of it. 0
    /// iterates until the distortion no longer falls, at most 200 times.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tolerance: f64,
    /// Ends training after this many consecutive moves of codewords that do not lower the distortion. After the last
    /// split, codewords of little use are moved to cells with a large distortion (Patanè and Russo 2001). Raise it for
    /// a slightly lower distortion at more training time. 0 switches moves off, which gives the algorithm of 1980 and
    /// trains several times faster.
    #[schemars(range(min = 0, max = 1000))]
    pub moves: usize,
}

impl Default for Lbg {
    fn default() -> Lbg {
        Lbg { bits: None, codewords: None, epsilon: 0.01, tolerance: 1e-3, moves: 8 }
    }
}

/// Default bits, if neither `bits` nor `codewords` is given.
const DEFAULT_BITS: u8 = 8;

/// Maximum number of Lloyd iterations at one size; the stopping rule ends far earlier on all data seen.
const MAX_ITERATIONS: usize = 200;

/// Fractions of the tolerance: after a move, and at the end.
const MOVE_TOLERANCE: f64 = 0.3;
const LAST_TOLERANCE: f64 = 0.01;

/// Power iterations for the direction of a split.
const POWER_ITERATIONS: usize = 4;

impl Lbg {
    /// Final number of codewords.
    fn codeword_count(&self) -> usize {
        self.codewords.unwrap_or_else(|| 1 << self.bits.unwrap_or(DEFAULT_BITS))
    }
}

impl Method for Lbg {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        // Written out if neither is given.
        let bits = self.bits.or(self.codewords.is_none().then_some(DEFAULT_BITS));
        params_of(&Lbg { bits, ..self.clone() })
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        if let (Some(_), Some(codewords)) = (self.bits, self.codewords) {
            let message = "`bits` and `codewords` both set the size of the codebook";
            return Err(ParamError::new("codewords", message, format!("keep `bits`, or `codewords: {codewords}`")));
        }
        Ok(())
    }

    fn code_bits(&self, _dim: usize) -> usize {
        symbol_bits(self.codeword_count()).into()
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        // About twelve iterations per size, and the sizes add up to twice the last; as many for each move, of which
        // some are kept.
        12.0 * (2 + self.moves) as f64 * n as f64 * dim as f64 * self.codeword_count() as f64
    }

    fn query_cost(&self, dim: usize) -> f64 {
        dim as f64 * self.codeword_count() as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64 * self.codeword_count() as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let (train, rows) = (train.host()?, train.matrix()?);
        let stop = Stop { max_iterations: MAX_ITERATIONS, relative_drop: self.tolerance };
        // The mean, in f64: the best codebook of one.
        let mean = mean(train);
        let mut codebook = Array2::from_shape_fn((1, train.ncols()), |(_, j)| mean[j] as f32);
        // The stopping rule needs all rows: no iteration uses a sample.
        let lloyd = |codebook, stop| lloyd_from_sample(rows, codebook, stop, 0.0, cx);
        let mut trained = lloyd(codebook.clone(), Stop { max_iterations: 0, relative_drop: 0.0 })?;
        let mut history = trained.course.clone();
        while trained.codebook.nrows() < self.codeword_count() {
            let more = trained.codebook.nrows().min(self.codeword_count() - trained.codebook.nrows());
            codebook = split(train, &trained, more, self.epsilon, cx)?;
            trained = lloyd(codebook, stop)?;
            history.advance();
            history.append(&trained.course);
        }
        if self.moves > 0 {
            // Lower bounds on the tolerance: a move must gain more than the first, and k-means ends at the second.
            let until = |share: f64, least: f64| Stop { relative_drop: (share * self.tolerance).max(least), ..stop };
            trained.course = history;
            let moved = move_codewords(train, rows, trained, self.moves, until(MOVE_TOLERANCE, LEAST_GAIN), cx)?;
            trained = lloyd(moved.codebook, until(LAST_TOLERANCE, RELATIVE_DROP))?;
            history = moved.course;
            history.append(&trained.course);
        }
        Ok(Box::new(ProductQuantizer::trained(vec![trained.codebook], history, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        Ok(ProductQuantizer::restore(state, 1, self.codeword_count(), dim, cx.backend.clone())?)
    }
}

/// Replaces each of the `more` codewords with the largest distortion (all, if necessary) by the pair `y ± ε·σ·v`. The
/// paper leaves the perturbation open. In high dimension a fixed vector changes the distortion so little in the first
/// iteration that the stopping rule ends it there. So `v` is the principal direction of the cell (power iterations from
/// a seeded start) and `σ` the standard deviation along it.
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
    let mut rng = cx.rng(Stream::Part(k as u32));
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
            let (direction, deviation) = principal(rows, trained.codebook.row(c), start, POWER_ITERATIONS);
            Ok(direction.into_iter().map(|v| v * epsilon * deviation).collect())
        })
        .collect::<Result<_, MethodError>>()?;
    // The source of each new codeword, and the sign of its shift.
    let sources: Vec<(usize, f64)> =
        (0..k).flat_map(|c| if split[c] { vec![(c, 1.0), (c, -1.0)] } else { vec![(c, 0.0)] }).collect();
    Ok(Array2::from_shape_fn((k + more, dim), |(i, j)| {
        let (c, sign) = sources[i];
        (f64::from(trained.codebook[(c, j)]) + sign * offsets[c][j]) as f32
    }))
}
