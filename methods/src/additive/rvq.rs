//! Residual vector quantization: each stage codes the residual of the stages before it, with beam search.

use crate::additive::quantizer::{AdditiveQuantizer, Beams, least_squares, mean_error};
use crate::additive::shrinkage::shrunk;
use crate::algorithms::lloyd::{Stop, Trained, lloyd, lloyd_from_sample, plus_plus, random_rows_of};
use crate::algorithms::products::multiply;
use crate::algorithms::rotation::{balanced_axes, leading_axes};
use crate::contract::curve::{Course, Seen};
use crate::registry::{Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{
    Context, DeviceMatrix, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows,
};
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "rvq",
    family: Some(Family::Additive),
    summary: "Residual quantizer: each stage codes the residual of the stages before it, with beam search",
    paper: "Juang and Gray, Multiple stage vector quantization for speech coding, 1982; Chen, Guan and Wang, Approximate nearest neighbor search by residual vector quantization, 2010",
    rate: "stages × bits",
    rate_params: &[RateParam::count("stages"), RateParam::count("bits")],
    cost: "fit: O(n · beam · dim · 2^bits) per stage and iteration; encode: O(stages · dim · 2^bits) products and O(stages² · beam · 2^bits) additions, or O(stages · beam · dim · 2^bits) where tables would exceed 64 MiB",
    examples: &[
        r#"{"stages": 3, "bits": 4}"#,
        r#"{"stages": 1, "bits": 5}"#,
        r#"{"stages": 4, "bits": 3, "beam": 1, "refit": 2}"#,
        r#"{"stages": 2, "bits": 3, "shrink": true}"#,
    ],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[],
    schema: schema_of::<Rvq>,
    parse: parse_params::<Rvq>,
};

/// Parameters of `rvq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rvq {
    /// Number of stages, each with its own codebook. Each stage codes the residual: the vector minus the codewords of
    /// the stages before it. More stages lower the distortion and raise the rate.
    #[schemars(range(min = 1, max = 256))]
    pub stages: usize,
    /// Bits per stage; each codebook has 2^bits codewords. Raise it to lower the distortion; each bit about doubles the
    /// time of training and encoding.
    #[serde(default = "default_bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u8,
    /// Beam width: how many partial codes the search keeps per row, in encoding and in training. A wider beam lowers
    /// the distortion and takes more time. 1 is greedy search: each stage takes the codeword nearest to the residual.
    #[serde(default = "default_beam")]
    #[schemars(range(min = 1, max = 256))]
    pub beam: usize,
    /// Iterations of k-means per stage, at most. Raise it for a slightly lower distortion at more training time. 0
    /// leaves the codewords as they were initialized.
    #[serde(default = "default_iterations")]
    #[schemars(range(min = 0, max = 10000))]
    pub iterations: usize,
    /// Rounds of joint refinement after the last stage, at most. A round fits all codebooks together by least squares,
    /// then encodes the training rows again. Raise it for a lower distortion at more training time. Rounds end early
    /// when one does not lower the distortion. 0 switches refinement off.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub refit: usize,
    /// Moves each codeword towards the mean of its stage, by the noise that its few training rows leave in it. Set it where a codebook
    /// has fewer than about 50 training rows per codeword of several hundred components: there it lowers the distortion of
    /// other vectors by 1 to 4%. Recall may change by 2% either way. `refit` computes the codewords anew, without this.
    #[serde(default)]
    pub shrink: bool,
}

fn default_bits() -> u8 {
    8
}

fn default_beam() -> usize {
    5
}

fn default_iterations() -> usize {
    10
}

impl Method for Rvq {
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
        self.stages * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        // Each k-means uses the residuals of all partial codes.
        let stages = (self.stages * self.beam) as f64 * dim as f64 * f64::from(1u32 << self.bits);
        n as f64 * (stages * (self.iterations + 2) as f64 + self.encode_cost(dim) * self.refit as f64)
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        (self.stages * dim) as f64
    }

    fn query_cost(&self, dim: usize) -> f64 {
        (self.stages * dim) as f64 * f64::from(1u32 << self.bits)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        let (stages, beam, codewords) = (self.stages as f64, self.beam as f64, f64::from(1u32 << self.bits));
        // Products with all codewords plus sums of table rows, or products with each residual.
        stages * codewords * (dim as f64 + 0.5 * beam * stages).min(beam * dim as f64)
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let rows = train.matrix()?;
        let Stages { codebooks, codes, mse } =
            train_stages(rows, self.stages, 1 << self.bits, self.beam, self.iterations, self.shrink, cx)?;
        let mut best = AdditiveQuantizer::new(codebooks, self.beam, None, cx.backend.clone())?;
        let (mut codes, mut error) = (codes, *mse.last().unwrap_or(&f64::INFINITY));
        let mut course = Course::default();
        for after_stage in mse {
            course.see(after_stage, Seen::AllRows);
            course.advance();
        }
        for _ in 0..self.refit {
            cx.cancel.check()?;
            let books = least_squares(train.host()?, &codes, &best.codebooks.books, REFIT_ITERATIONS, &*cx.backend)?;
            let candidate = AdditiveQuantizer::new(books, self.beam, None, cx.backend.clone())?;
            let again = candidate.codes(rows)?;
            let left = mean_error(train.host()?, &candidate.codebooks.books, &again);
            // Beam search is a heuristic, so better codebooks may still give a larger error.
            let kept = left < error;
            course.see(left, if kept { Seen::AllRows } else { Seen::Rejected });
            course.advance();
            if !kept {
                break;
            }
            (codes, error, best) = (again, left, candidate);
        }
        // Shrunk codewords give up some of the error of the training rows.
        best.curves = vec![course.into_curve(!self.shrink)];
        Ok(Box::new(best))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let shape = (self.stages, 1 << self.bits, dim);
        AdditiveQuantizer::restore(state, shape, self.beam, None, cx.backend.clone())
    }
}

/// Iterations of the least-squares solver between two searches.
const REFIT_ITERATIONS: usize = 30;

/// Maximum size of the residuals of all partial codes of the training rows; there are up to four copies at a time.
const MAX_BEAM_BYTES: f64 = 4.0 * (1u64 << 30) as f64;

/// Codebooks trained stage by stage, the resulting codes, and the MSE after each stage.
pub(crate) struct Stages {
    pub(crate) codebooks: Vec<Array2<f32>>,
    pub(crate) codes: Vec<u16>,
    pub(crate) mse: Vec<f64>,
}

/// Trains `stages` codebooks of `codewords` codewords, each on the residuals of the `beam` best partial codes of every
/// row; with `shrink`, against the noise of few rows ([`shrunk`]).
pub(crate) fn train_stages(
    train: &DeviceMatrix<'_>,
    stages: usize,
    codewords: usize,
    beam: usize,
    iterations: usize,
    shrink: bool,
    cx: &Context,
) -> Result<Stages, MethodError> {
    let bytes = 4.0 * (train.nrows() * train.ncols()) as f64 * beam as f64;
    if bytes > MAX_BEAM_BYTES {
        let gib = bytes / f64::from(1 << 30);
        let message = format!("`beam: {beam}` holds {gib:.0} GiB of residuals of {} training rows", train.nrows());
        return Err(ParamError::new("beam", message, "use a narrower beam or fewer training rows").into());
    }
    let stop = Stop { max_iterations: iterations, relative_drop: 1e-6 };
    let mut beams = Beams::new(train);
    let (mut codebooks, mut mse) = (Vec::new(), Vec::new());
    for stage in 0..stages {
        // All partial codes of a row lend their residuals: the search will meet all of them.
        let trained = progressive(&beams.residuals, codewords, stop, stage as u32, cx)?;
        let codebook = match shrink {
            true => shrunk(&beams.residuals, trained, beams.width, cx)?,
            false => trained.codebook,
        };
        beams.extend(codebook.view(), beam, &*cx.backend)?;
        mse.push(beams.mean_error());
        codebooks.push(codebook);
    }
    Ok(Stages { codebooks, codes: beams.best_codes(), mse })
}

/// k-means in few principal components first, then in more and finally in all (progressive-dimension clustering, as in
/// FAISS). In high dimension, k-means from single rows ends in poor optima and fits the noise of late stages; cells
/// found where the variance is are good initial cells. A sample of the rows finds them as well.
fn progressive(
    rows: &DeviceMatrix<'_>,
    k: usize,
    stop: Stop,
    stage: u32,
    cx: &Context,
) -> Result<Trained, MethodError> {
    let (n, dim, backend) = (rows.nrows(), rows.ncols(), &*cx.backend);
    // In high dimension only the first axes: cells hardly depend on the others.
    let seen = if dim > 2 * LEADING { LEADING } else { dim };
    let all_axes = |rows: ArrayView2<'_, f32>| match seen < dim {
        true => leading_axes(backend.isa(), rows, seen),
        false => balanced_axes(backend.isa(), rows, 1),
    };
    let axes = match n.div_ceil(AXES_ROWS.max(8 * seen)) {
        0 | 1 => all_axes(backend.download(rows)?.view()),
        every => all_axes(backend.rows_at(rows, &(0..n).step_by(every).collect::<Vec<_>>())?.view()),
    };
    let mut rng = cx.rng(Stream::Part(stage));
    let sample = match n > SAMPLE * k {
        true => backend.upload_owned(random_rows_of(rows, SAMPLE * k, &mut rng, cx)?)?,
        false => rows.clone(),
    };
    let mut rotated = backend.room(sample.nrows(), seen)?;
    backend.product(axes.view())?.apply(&sample, &mut rotated)?;
    let rotated = rotated.into_matrix();
    let mut dims = seen.min(FIRST_DIMS);
    let mut codebook = plus_plus(&rotated.columns(0..dims), k, &mut rng, cx)?;
    while dims < seen {
        let step = Stop { max_iterations: stop.max_iterations.min(10), ..stop };
        let trained = lloyd(&rotated.columns(0..dims), codebook, step, cx)?;
        // The same cells in twice as many dimensions.
        dims = (2 * dims).min(seen);
        codebook = means(&rotated.columns(0..dims), &trained, k, cx)?;
    }
    let codebook = match seen < dim {
        true => {
            let step = Stop { max_iterations: stop.max_iterations.min(10), ..stop };
            let mut trained = lloyd(&rotated, codebook, step, cx)?;
            trained.codebook = multiply(backend.isa(), trained.codebook.view(), axes.t());
            means(&sample, &trained, k, cx)?
        }
        false => multiply(backend.isa(), codebook.view(), axes.t()),
    };
    lloyd_from_sample(rows, codebook, stop, EARLY_SHARE, cx)
}

/// Principal components in which cells are looked for, where there are more than twice as many.
const LEADING: usize = 128;

/// The means of rows in cells that were found from other components of theirs; codewords of empty cells stay, as far as they go.
fn means(rows: &DeviceMatrix<'_>, trained: &Trained, k: usize, cx: &Context) -> Result<Array2<f32>, MethodError> {
    let cells = cx.backend.cell_sums(rows, &trained.nearest, k)?;
    Ok(Array2::from_shape_fn((k, rows.ncols()), |(c, j)| match cells.counts[c] {
        0 => trained.codebook.get((c, j)).copied().unwrap_or(0.0),
        count => (cells.sums[(c, j)] / count as f64) as f32,
    }))
}

/// Rows per codeword for clustering in all but the last number of dimensions.
const SAMPLE: usize = 128;

/// Share of the iterations in all dimensions that use a sample. With 8 stages of 8 bits the training error is 1.5%
/// above that of using all rows throughout, at 0.7 times the time, and still 1 to 2% below that of FAISS (uniform,
/// SIFT, MiniLM).
const EARLY_SHARE: f64 = 0.6;

/// Number of principal components at the start, and least number of rows that they are computed from.
const FIRST_DIMS: usize = 4;
const AXES_ROWS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, n: usize, dim: usize) -> Array2<f32> {
        Array2::from_shape_fn((n, dim), |_| rng.random::<f32>() - 0.5)
    }

    #[test]
    fn a_beam_as_wide_as_all_codes_finds_the_best_code() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let codebooks: Vec<Array2<f32>> = (0..3).map(|_| random(&mut rng, 4, 5)).collect();
        let rows = random(&mut rng, 40, 5);
        let cx = Context::cpu(1);
        let quantizer = AdditiveQuantizer::new(codebooks.clone(), 16, None, cx.backend.clone()).expect("prepares");
        let device = cx.backend.upload(rows.view()).expect("uploads");
        let found = quantizer.codes(&device).expect("searches");
        let mut beams = Beams::new(&device);
        codebooks.iter().for_each(|book| beams.extend(book.view(), 16, &*cx.backend).expect("extends"));
        assert_eq!(found, beams.best_codes(), "by tables and by residuals");
        for (i, row) in rows.outer_iter().enumerate() {
            let error = |code: usize| -> f32 {
                let sum = &codebooks[0].row(code % 4) + &codebooks[1].row(code / 4 % 4) + codebooks[2].row(code / 16);
                (&row - &sum).mapv(|v| v * v).sum()
            };
            let best = (0..64).map(error).fold(f32::INFINITY, f32::min);
            assert!((beams.errors[i * beams.width] - best).abs() < 1e-5, "row {i}");
        }
    }

    #[test]
    fn shrunk_codewords_suit_other_rows_better() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (rows, others) = (random(&mut rng, 400, 48), random(&mut rng, 400, 48));
        let errors = [false, true].map(|shrink| {
            let method = Rvq { stages: 4, bits: 5, beam: 3, iterations: 10, refit: 0, shrink };
            let quantizer = method.fit(rows.view(), &Context::cpu(1)).expect("fits");
            [&rows, &others].map(|rows| {
                let mut codes = vec![0; 400 * quantizer.code_size()];
                quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
                let mut decoded = Array2::zeros(rows.dim());
                quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
                (rows - &decoded).mapv(|v| f64::from(v * v)).sum() / 400.0
            })
        });
        let [[train, other], [train_shrunk, other_shrunk]] = errors;
        assert!(train_shrunk > train && other_shrunk < 0.97 * other, "{errors:?}");
    }

    #[test]
    fn the_first_stages_of_a_code_are_a_coarser_code() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rows = random(&mut rng, 500, 6);
        let method = Rvq { stages: 4, bits: 3, beam: 4, iterations: 10, refit: 0, shrink: false };
        let quantizer = method.fit(rows.view(), &Context::cpu(1)).expect("fits");
        let symbols = quantizer.symbols().expect("has symbols");
        let mut codes = vec![0; 500 * quantizer.code_size()];
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        let error_after = |stages: usize| -> f64 {
            let mut unpacked = [0u16; 4];
            let each = rows.outer_iter().zip(codes.chunks_exact(quantizer.code_size())).map(|(row, code)| {
                symbols.unpack(code, &mut unpacked).expect("unpacks");
                let mut left = row.to_owned();
                (0..stages)
                    .for_each(|s| left -= &symbols.codebook(s).expect("a codebook").row(usize::from(unpacked[s])));
                f64::from(left.mapv(|v| v * v).sum())
            });
            each.sum()
        };
        let errors: Vec<f64> = (0..=4).map(error_after).collect();
        assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
    }
}
