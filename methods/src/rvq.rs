//! Residual vector quantization: each stage codes what the stages before it have left, several candidates at a time.

use crate::batch::decode_rows;
use crate::codebooks::Codebooks;
use crate::kmeans::{Stop, check_scale, lloyd, plus_plus};
use crate::lookup::AdditiveSearcher;
use crate::rotation::{balanced_axes, multiply};
use crate::spec::{MethodEntry, params_of, parse_params, schema_of};
use crate::{Backend, Context, Curve, Method, MethodError, Metric, ParamError, Quantizer, Searcher, Symbols};
use crate::{check_batch, check_train};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "rvq",
    summary: "Residual quantizer: stages of codebooks, each for what the stages before have left, with beam search",
    paper: "Juang and Gray, Multiple stage vector quantization for speech coding, 1982; Chen, Guan and Wang, Approximate nearest neighbor search by residual vector quantization, 2010",
    rate: "stages × bits",
    cost: "fit: O(n · dim · 2^bits) per stage and iteration, and once per stage and beam; encode: O(stages · beam · dim · 2^bits)",
    examples: &[
        r#"{"stages": 3, "bits": 4}"#,
        r#"{"stages": 1, "bits": 5}"#,
        r#"{"stages": 4, "bits": 3, "beam": 1, "refit": 2}"#,
    ],
    schema: schema_of::<Rvq>,
    parse: parse_params::<Rvq>,
};

/// Parameters of `rvq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rvq {
    /// Number of stages.
    #[schemars(range(min = 1, max = 256))]
    pub stages: usize,
    /// Bits per stage: each codebook has 2^bits codewords.
    #[serde(default = "default_bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u8,
    /// Partial codes kept per vector while encoding and while training; 1 is the greedy search.
    #[serde(default = "default_beam")]
    #[schemars(range(min = 1, max = 256))]
    pub beam: usize,
    /// Iterations of k-means per stage.
    #[serde(default = "default_iterations")]
    #[schemars(range(min = 0, max = 10000))]
    pub iterations: usize,
    /// Rounds in which all codebooks are fitted together by least squares and the training rows coded again.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub refit: usize,
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

/// Rows coded at a time; their residuals are held once per partial code.
const ROWS: usize = 2048;

impl Method for Rvq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        ParamError::in_range("stages", self.stages, 1, 256)?;
        ParamError::in_range("bits", self.bits, 1, 16)?;
        ParamError::in_range("beam", self.beam, 1, 256)?;
        ParamError::in_range("iterations", self.iterations, 0, 10_000)?;
        ParamError::in_range("refit", self.refit, 0, 100)
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.stages * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        let stage = dim as f64 * f64::from(1u32 << self.bits);
        n as f64 * self.stages as f64 * stage * (self.iterations + 1) as f64
            + n as f64 * self.encode_cost(dim) * (1 + self.refit) as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        (self.stages * self.beam) as f64 * dim as f64 * f64::from(1u32 << self.bits)
    }

    fn fit(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        check_train(train, cx)?;
        check_scale(train)?;
        self.check(train.ncols())?;
        let train = train.as_standard_layout();
        let stop = Stop { max_iterations: self.iterations, relative_drop: 1e-6 };
        let mut beams = Beams::new(train.view());
        let mut codebooks: Vec<Array2<f32>> = Vec::new();
        let mut mse = Vec::new();
        for stage in 0..self.stages {
            // All partial codes of a row lend their residuals: the search will meet all of them.
            let codebook = progressive(beams.view(), 1 << self.bits, stop, stage as u64, cx)?;
            beams.extend(codebook.view(), self.beam, &*cx.backend)?;
            mse.push(beams.mean_error());
            codebooks.push(codebook);
        }
        let mut best = ResidualQuantizer::new(codebooks, self.bits, self.beam, cx.backend.clone());
        let mut codes = beams.best_codes();
        let mut error = *mse.last().unwrap_or(&f64::INFINITY);
        for _ in 0..self.refit {
            cx.cancel.check()?;
            let codebooks = least_squares(train.view(), &codes, &best.codebooks.books, &*cx.backend)?;
            let candidate = ResidualQuantizer::new(codebooks, self.bits, self.beam, cx.backend.clone());
            let again = candidate.search(train.view())?;
            // A beam search is a heuristic: codebooks that it uses worse are not better.
            if again.mean_error() >= error {
                break;
            }
            (codes, error, best) = (again.best_codes(), again.mean_error(), candidate);
            mse.push(error);
        }
        best.curves = vec![Curve { name: "mse", values: mse, never_grows: true }];
        Ok(Box::new(best))
    }
}

/// k-means from few principal components to all of them. In high dimension k-means from single rows as codewords ends in
/// poor optima and follows the noise of late stages; cells found where the variance is are good cells to start from
/// (progressive-dimension clustering, as in FAISS).
fn progressive(
    rows: ArrayView2<'_, f32>,
    k: usize,
    stop: Stop,
    stream: u64,
    cx: &Context,
) -> Result<Array2<f32>, MethodError> {
    let (n, dim) = rows.dim();
    let every = n.div_ceil(AXES_ROWS) as isize;
    let axes = balanced_axes(rows.slice(s![..;every, ..]), 1);
    let rotated = multiply(rows, axes.view());
    let device = cx.backend.upload(rotated.view())?;
    let mut dims = dim.min(FIRST_DIMS);
    let mut codebook = plus_plus(rotated.slice(s![.., ..dims]), k, &mut cx.rng(stream), cx)?;
    loop {
        let last = dims == dim;
        let step = if last { stop } else { Stop { max_iterations: stop.max_iterations.min(10), ..stop } };
        let trained = lloyd(&device.columns(0..dims), codebook, step, cx)?;
        if last {
            return Ok(trained.codebook.dot(&axes.t()));
        }
        // The same cells, seen in twice as many dimensions.
        dims = (2 * dims).min(dim);
        let cells = cx.backend.cell_sums(&device.columns(0..dims), &trained.nearest, k)?;
        codebook = Array2::from_shape_fn((k, dims), |(c, j)| match cells.counts[c] {
            0 => trained.codebook.get((c, j)).copied().unwrap_or(0.0),
            count => (cells.sums[(c, j)] / count as f64) as f32,
        });
    }
}

/// Principal components that clustering begins with, and rows that they are found from.
const FIRST_DIMS: usize = 4;
const AXES_ROWS: usize = 20_000;

/// The partial codes of a batch of rows, the best first, each with what it leaves.
struct Beams {
    n: usize,
    dim: usize,
    /// Partial codes per row.
    width: usize,
    /// `n·width` residuals of `dim`.
    residuals: Vec<f32>,
    /// `n·width` partial codes.
    codes: Vec<Vec<u16>>,
    /// `‖residual‖²` of each.
    errors: Vec<f32>,
}

impl Beams {
    fn new(rows: ArrayView2<'_, f32>) -> Beams {
        let (n, dim) = rows.dim();
        let residuals: Vec<f32> = rows.iter().copied().collect();
        let zero = vec![0f32; dim];
        let errors = residuals.chunks_exact(dim).map(|r| cpu::squared_distance(r, &zero)).collect();
        Beams { n, dim, width: 1, residuals, codes: vec![Vec::new(); n], errors }
    }

    fn view(&self) -> ArrayView2<'_, f32> {
        // The lengths are kept in step by construction.
        ArrayView2::from_shape((self.n * self.width, self.dim), &self.residuals).unwrap_or_else(|_| unreachable!())
    }

    fn best_codes(&self) -> Vec<Vec<u16>> {
        self.codes.iter().step_by(self.width).cloned().collect()
    }

    fn mean_error(&self) -> f64 {
        let best = self.errors.iter().step_by(self.width).map(|&e| f64::from(e));
        best.sum::<f64>() / self.n.max(1) as f64
    }

    /// Adds a stage: of the `width·K` continuations of each row's partial codes, the `beam` with the least `‖residual‖²`
    /// stay. The best `beam` of all are among the best `beam` of each.
    fn extend(&mut self, codebook: ArrayView2<'_, f32>, beam: usize, backend: &dyn Backend) -> Result<(), MethodError> {
        let few = beam.min(codebook.nrows());
        let found = backend.nearest_few(&backend.upload(self.view())?, codebook, few)?;
        let (width, dim) = (self.width, self.dim);
        let next = beam.min(width * few);
        let mut residuals = vec![0f32; self.n * next * dim];
        let mut codes = vec![Vec::new(); self.n * next];
        let mut errors = vec![0f32; self.n * next];
        residuals
            .par_chunks_mut(next * dim)
            .zip(codes.par_chunks_mut(next))
            .zip(errors.par_chunks_mut(next))
            .enumerate()
            .for_each(|(i, ((residuals, codes), errors))| {
                let found = &found[i * width * few..][..width * few];
                let mut order: Vec<usize> = (0..found.len()).collect();
                order.sort_by(|&a, &b| found[a].score.total_cmp(&found[b].score).then(a.cmp(&b)));
                for (slot, &pick) in order.iter().take(next).enumerate() {
                    let from = i * width + pick / few;
                    let codeword = codebook.row(found[pick].id as usize);
                    let old = &self.residuals[from * dim..][..dim];
                    let new = &mut residuals[slot * dim..][..dim];
                    new.iter_mut().zip(old).zip(codeword).for_each(|((r, o), c)| *r = o - c);
                    codes[slot] = self.codes[from].iter().copied().chain([found[pick].id as u16]).collect();
                    errors[slot] = found[pick].score;
                }
            });
        (self.width, self.residuals, self.codes, self.errors) = (next, residuals, codes, errors);
        Ok(())
    }
}

/// Codebooks that minimize `‖X − Σ_s C_s[codes_s]‖²` for given codes: the normal equations `(AᵀA + λI)·C = AᵀX` by
/// conjugate gradients, one system per component, all at once, from the present codebooks. `A` selects codewords, so its
/// products are sums of rows and sums over cells.
fn least_squares(
    rows: ArrayView2<'_, f32>,
    codes: &[Vec<u16>],
    codebooks: &[Array2<f32>],
    backend: &dyn Backend,
) -> Result<Vec<Array2<f32>>, MethodError> {
    const ITERATIONS: usize = 30;
    const RIDGE: f64 = 1e-3;
    let (k, dim) = codebooks[0].dim();
    let picks: Vec<Vec<u32>> = (0..codebooks.len()).map(|s| codes.iter().map(|c| u32::from(c[s])).collect()).collect();
    // Aᵀ·Y, stages one below the other.
    let gather = |y: ArrayView2<'_, f32>| -> Result<Array2<f64>, MethodError> {
        let y = backend.upload(y)?;
        let mut out = Array2::zeros((codebooks.len() * k, dim));
        for (stage, picks) in picks.iter().enumerate() {
            out.slice_mut(s![stage * k..(stage + 1) * k, ..]).assign(&backend.cell_sums(&y, picks, k)?.sums);
        }
        Ok(out)
    };
    // A·C.
    let decode = |c: &Array2<f64>| -> Array2<f32> {
        let mut out = Array2::<f32>::zeros(rows.dim());
        out.outer_iter_mut().into_par_iter().zip(codes.par_iter()).with_min_len(256).for_each(|(mut row, code)| {
            for (stage, &symbol) in code.iter().enumerate() {
                row.iter_mut().zip(c.row(stage * k + usize::from(symbol))).for_each(|(x, y)| *x += *y as f32);
            }
        });
        out
    };
    let mut solution = Array2::<f64>::zeros((codebooks.len() * k, dim));
    for (stage, codebook) in codebooks.iter().enumerate() {
        solution.slice_mut(s![stage * k..(stage + 1) * k, ..]).assign(&codebook.mapv(f64::from));
    }
    let start = solution.clone();
    // The ridge pulls towards the present codewords, so that one without rows stays where it is.
    let mut residual = gather((&rows - &decode(&solution)).view())?;
    let mut direction = residual.clone();
    let column_sums = |a: &Array2<f64>, b: &Array2<f64>| (a * b).sum_axis(ndarray::Axis(0));
    let mut square = column_sums(&residual, &residual);
    for _ in 0..ITERATIONS {
        let image = gather(decode(&direction).view())? + &direction * RIDGE;
        let curvature = column_sums(&direction, &image);
        let step = ndarray::Zip::from(&square).and(&curvature).map_collect(|r, c| if *c > 0.0 { r / c } else { 0.0 });
        solution += &(&direction * &step);
        residual -= &(&image * &step);
        let next = column_sums(&residual, &residual);
        let keep = ndarray::Zip::from(&next).and(&square).map_collect(|n, s| if *s > 0.0 { n / s } else { 0.0 });
        direction = &residual + &(&direction * &keep);
        square = next;
    }
    if solution.iter().any(|v| !v.is_finite()) {
        solution = start;
    }
    Ok((0..codebooks.len()).map(|s| solution.slice(s![s * k..(s + 1) * k, ..]).mapv(|v| v as f32)).collect())
}

/// A trained residual quantizer. A code is one symbol per stage; a vector is the sum of its codewords, so the first stages
/// of a code are a code of lower rate.
struct ResidualQuantizer {
    codebooks: Codebooks,
    beam: usize,
    curves: Vec<Curve>,
    backend: Arc<dyn Backend>,
}

impl ResidualQuantizer {
    fn new(codebooks: Vec<Array2<f32>>, bits: u8, beam: usize, backend: Arc<dyn Backend>) -> ResidualQuantizer {
        let codebooks = Codebooks::new(codebooks, bits, |p, _| format!("stage {p}"));
        ResidualQuantizer { codebooks, beam, curves: Vec::new(), backend }
    }

    fn search(&self, rows: ArrayView2<'_, f32>) -> Result<Beams, MethodError> {
        let mut beams = Beams::new(rows);
        for codebook in &self.codebooks.books {
            beams.extend(codebook.view(), self.beam, &*self.backend)?;
        }
        Ok(beams)
    }
}

impl Quantizer for ResidualQuantizer {
    fn dim(&self) -> usize {
        self.codebooks.dsub()
    }

    fn code_bits(&self) -> usize {
        self.codebooks.layout.bits()
    }

    fn model_size(&self) -> usize {
        self.codebooks.model_size()
    }

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        let size = self.code_size();
        check_batch(self.dim(), size, rows.dim(), codes.len())?;
        for (chunk, codes) in codes.chunks_mut(ROWS * size).enumerate() {
            let count = codes.len() / size;
            let beams = self.search(rows.slice(s![chunk * ROWS..chunk * ROWS + count, ..]))?;
            for (code, symbols) in codes.chunks_exact_mut(size).zip(beams.codes.iter().step_by(beams.width)) {
                self.codebooks.layout.pack(symbols, code);
            }
        }
        Ok(())
    }

    fn decode_into(&self, codes: &[u8], rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        let scratch = || vec![0u16; self.codebooks.books.len()];
        decode_rows(self.dim(), self.code_size(), codes, rows, scratch, |code, row, symbols| {
            self.codebooks.layout.unpack(code, symbols)?;
            row.fill(0.0);
            for (codebook, &symbol) in self.codebooks.books.iter().zip(&*symbols) {
                row.iter_mut().zip(codebook.row(usize::from(symbol))).for_each(|(x, y)| *x += y);
            }
            Ok(())
        })
    }

    /// Inner products add up over stages; distances would need the norm of the sum, which the code does not hold.
    fn searcher(&self, metric: Metric) -> Option<Box<dyn Searcher + '_>> {
        (metric == Metric::InnerProduct).then(|| {
            Box::new(AdditiveSearcher::new(&self.codebooks.books, &self.codebooks.layout)) as Box<dyn Searcher>
        })
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.codebooks)
    }

    fn curves(&self) -> &[Curve] {
        &self.curves
    }
}

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
        let quantizer = ResidualQuantizer::new(codebooks.clone(), 2, 16, cx.backend.clone());
        let found = quantizer.search(rows.view()).expect("searches");
        for (i, row) in rows.outer_iter().enumerate() {
            let error = |code: usize| -> f32 {
                let sum = &codebooks[0].row(code % 4) + &codebooks[1].row(code / 4 % 4) + codebooks[2].row(code / 16);
                (&row - &sum).mapv(|v| v * v).sum()
            };
            let best = (0..64).map(error).fold(f32::INFINITY, f32::min);
            assert!((found.errors[i * found.width] - best).abs() < 1e-5, "row {i}");
        }
    }

    #[test]
    fn least_squares_recovers_codebooks_from_their_codes() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let truth: Vec<Array2<f32>> = (0..2).map(|_| random(&mut rng, 4, 3)).collect();
        let codes: Vec<Vec<u16>> = (0..200).map(|_| vec![rng.random_range(0..4), rng.random_range(0..4)]).collect();
        let rows =
            Array2::from_shape_fn((200, 3), |(i, j)| (0..2).map(|s| truth[s][(usize::from(codes[i][s]), j)]).sum());
        let start = vec![Array2::zeros((4, 3)); 2];
        let fitted = least_squares(rows.view(), &codes, &start, &*Context::cpu(1).backend).expect("solves");
        for (i, code) in codes.iter().enumerate() {
            for j in 0..3 {
                let value: f32 = (0..2).map(|s| fitted[s][(usize::from(code[s]), j)]).sum();
                assert!((value - rows[(i, j)]).abs() < 1e-3, "row {i}: {value} for {}", rows[(i, j)]);
            }
        }
    }

    #[test]
    fn the_first_stages_of_a_code_are_a_coarser_code() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rows = random(&mut rng, 500, 6);
        let method = Rvq { stages: 4, bits: 3, beam: 4, iterations: 10, refit: 0 };
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
