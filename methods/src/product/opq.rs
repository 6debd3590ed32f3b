//! Optimized product quantization: a rotation fitted together with the codebooks.

use crate::algorithms::lloyd::{Stop, Trained};
use crate::algorithms::moments::mean;
use crate::algorithms::polar::{orthonormalized, pulled, turn_of_pairs};
use crate::algorithms::products::multiply;
use crate::algorithms::rotation::{balanced_axes, principal_axes, random};
use crate::classical::kmeans::KmeansInit;
use crate::contract::curve::Course;
use crate::contract::training_rows::check_train;
use crate::product::pq::{RELATIVE_DROP, Starts, check_groups, course, train_groups};
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Exemption, Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::transform::{AffineTransform, TransformedQuantizer};
use crate::{Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows};
use cpu::Isa;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "opq",
    family: Some(Family::Product),
    summary: "Optimized product quantizer: a learned rotation that minimizes the distortion of the product quantizer behind it",
    paper: "Ge, He, Ke and Sun, Optimized product quantization for approximate nearest neighbor search, 2013",
    rate: "m × bits",
    rate_params: &[RateParam::count("m"), RateParam::count("bits")],
    cost: "fit: iterations × (pq with 3 iterations, and O(n · dim²)); encode: O(dim² + dim · 2^bits)",
    examples: &[
        r#"{"m": 4}"#,
        r#"{"m": 2, "bits": 5, "start": "random", "iterations": 5}"#,
        r#"{"m": 3, "bits": 4, "start": "pca"}"#,
        r#"{"m": 3, "bits": 4, "dim": 6}"#,
    ],
    tries: Tries { params: &["{}", r#"{"bits": 4}"#], transforms: false },
    exempt: &[Exemption {
        law: "no_stream_is_drawn_from_twice",
        with: r#"{"start": "auto"}"#,
        why: "starts are tried with the random numbers that the fit then draws, so that the chosen start is the one that is used",
    }],
    schema: schema_of::<Opq>,
    parse: parse_params::<Opq>,
};

/// Parameters of `opq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Opq {
    /// Number of sub-quantizers; must divide the number of components that are coded (`dim`, or the dimension of the
    /// vectors).
    #[schemars(range(min = 1))]
    pub m: usize,
    /// Bits per sub-quantizer; each codebook has 2^bits codewords.
    #[serde(default = "default_bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u8,
    /// Number of components that are coded: those of the largest variance along principal axes. Default: all. A smaller
    /// number leaves more bits per component, but loses the variance of the components that are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub dim: Option<usize>,
    /// Alternations between fitting the rotation and fitting the codebooks, at most. Training ends earlier when the
    /// distortion no longer falls.
    #[serde(default = "default_iterations")]
    #[schemars(range(min = 0, max = 1000))]
    pub iterations: usize,
    /// The initial rotation.
    #[serde(default)]
    pub start: RotationInit,
}

/// The initial rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RotationInit {
    /// Tries the others for three iterations on a sample of the training rows, and keeps the one with the least
    /// error.
    #[default]
    Auto,
    /// No rotation. It suits vectors whose neighbouring components belong together, such as SIFT.
    Identity,
    /// Principal axes, assigned to the groups so that each group gets an equal share of the variance.
    Pca,
    /// A random rotation.
    Random,
}

pub(crate) fn default_bits() -> u8 {
    8
}

fn default_iterations() -> usize {
    50
}

/// Training ends when the distortion falls by less than this fraction per iteration, and by less than this share of `dim/n`:
/// with few rows for its many values, a rotation goes on to learn them by heart. On 10,000 rows of MiniLM (384 components,
/// `m: 16`), the error of other rows is 0.45227 after 12 iterations, 0.45227 after 25, and 0.45228 after 50.
const SETTLED: f64 = 3e-5;
const BY_HEART: f64 = 5e-3;

/// Number of rows for comparing starts; at least 10 per codeword.
const TRIAL_ROWS: usize = 2500;

/// Maximum number of alternations in that comparison.
const TRIAL_ITERATIONS: usize = 3;

/// k-means iterations between two rotations, and before the first and after the last.
const INNER_ITERATIONS: usize = 3;
const OUTER_ITERATIONS: usize = 10;

impl Method for Opq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        if let Some(kept) = self.dim {
            ParamError::in_range("dim", kept, 1, dim)?;
        }
        check_groups(self.m, self.coded(dim))
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.m * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        let lloyd = dim as f64 * f64::from(1u32 << self.bits);
        let iterations = self.iterations as f64;
        n as f64 * ((INNER_ITERATIONS + 1) as f64 * iterations + 2.0 * OUTER_ITERATIONS as f64) * lloyd
            + iterations * (2.0 * n as f64 * (dim * dim) as f64 + 40.0 * (dim as f64).powi(3))
    }

    fn decode_cost(&self, dim: usize) -> f64 {
        (dim * dim) as f64
    }

    fn query_cost(&self, dim: usize) -> f64 {
        self.encode_cost(dim)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        (dim * dim) as f64 + dim as f64 * f64::from(1u32 << self.bits)
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let Fitted { affine, codebooks, mut history } = self.fit_affine(train.host()?, cx)?;
        let backend = &*cx.backend;
        let rotated = affine.on(backend)?.forward(train.matrix()?, backend)?;
        let stop = Stop { max_iterations: OUTER_ITERATIONS, relative_drop: RELATIVE_DROP };
        let trained = train_groups(&rotated, starts(codebooks), self.m, self.bits, stop, cx)?;
        history.append(&course(&trained));
        let codebooks = trained.into_iter().map(|t| t.codebook).collect();
        let product = ProductQuantizer::trained(codebooks, history, cx.backend.clone());
        Ok(Box::new(TransformedQuantizer::new(train.ncols(), affine, Box::new(product), cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let coded = self.coded(dim);
        let affine = AffineTransform::take(state, dim, coded, true, true)?;
        let product = ProductQuantizer::restore(state, self.m, 1 << self.bits, coded, cx.backend.clone())?;
        Ok(Box::new(TransformedQuantizer::new(dim, affine, product, cx.backend.clone())))
    }
}

fn starts(codebooks: Option<Vec<Array2<f32>>>) -> Starts {
    codebooks.map_or(Starts::From(KmeansInit::default()), Starts::Given)
}

/// How much the rotation that was there counts where pairs of axes cannot turn alone, see [`pulled`]: the new one needs three fifths of the
/// products that it would need without, and directions of a thousandth of the largest singular value still turn half of the way.
const PULL: f64 = 1e-3;

/// Iterations after which the rotation is made orthonormal again.
const ORTHONORMALIZED: usize = 4;

/// Rows whose products are summed in f32 before they are added in f64: few enough for the second-level cache.
const CORRELATION_ROWS: usize = 2048;

/// Components per group from which sums over cells are faster than a dense product.
const MANY_PER_GROUP: usize = 32;

/// `Xᵀ·Y` for the decoded rows `Y`. A dense product costs `n·d²` multiply-adds. Summing the rows of each codeword first costs
/// only `n·d·m` additions, but reads all rows once per group.
fn correlation(isa: Isa, rows: ArrayView2<'_, f32>, groups: &[Trained]) -> Array2<f32> {
    let dim = rows.ncols();
    match rows.to_slice() {
        Some(values) if dim >= MANY_PER_GROUP * groups.len() => correlation_by_cells(isa, values, dim, groups),
        _ => dense_correlation(isa, rows, groups),
    }
}

/// By `X_gᵀ·Y_g = Σ_c (Σ_{i in c} x_i)·cᵀ` for the codewords `c` of group `g`.
fn correlation_by_cells(isa: Isa, values: &[f32], dim: usize, groups: &[Trained]) -> Array2<f32> {
    let mut all = Array2::<f32>::zeros((dim, dim));
    for (group, mut columns) in groups.iter().zip(all.axis_chunks_iter_mut(Axis(1), dim / groups.len())) {
        let (sums, _) = cpu::cell_sums(isa, values, dim, dim, &group.nearest, group.codebook.nrows());
        let sums: Vec<f32> = sums.into_iter().map(|sum| sum as f32).collect();
        if let Ok(sums) = ArrayView2::from_shape((group.codebook.nrows(), dim), &sums) {
            columns.assign(&multiply(isa, sums.t(), group.codebook.view()));
        }
    }
    all
}

fn dense_correlation(isa: Isa, rows: ArrayView2<'_, f32>, groups: &[Trained]) -> Array2<f32> {
    let dim = rows.ncols();
    let mut sum = Array2::<f64>::zeros((dim, dim));
    for start in (0..rows.nrows()).step_by(CORRELATION_ROWS) {
        let end = (start + CORRELATION_ROWS).min(rows.nrows());
        let mut decoded = Array2::<f32>::zeros((end - start, dim));
        decoded.outer_iter_mut().into_par_iter().enumerate().for_each(|(i, mut row)| {
            let parts = row.exact_chunks_mut(dim / groups.len()).into_iter().zip(groups);
            parts.for_each(|(mut part, group)| part.assign(&group.codebook.row(group.nearest[start + i] as usize)));
        });
        let product = multiply(isa, rows.slice(s![start..end, ..]).t(), decoded.view());
        sum.zip_mut_with(&product, |sum, &p| *sum += f64::from(p));
    }
    sum.mapv(|v| v as f32)
}

/// A rotation of rows about their mean, the last codebooks behind it, and the course of the MSE.
pub(crate) struct Fitted {
    pub(crate) affine: AffineTransform,
    codebooks: Option<Vec<Array2<f32>>>,
    history: Course,
}

impl Opq {
    /// `m` sub-quantizers and default parameters.
    pub fn of(m: usize) -> Opq {
        Opq { m, bits: default_bits(), dim: None, iterations: default_iterations(), start: RotationInit::default() }
    }

    /// Number of components that are coded, of rows of `dim`.
    fn coded(&self, dim: usize) -> usize {
        self.dim.unwrap_or(dim)
    }

    /// [`Opq::fit_rotation`] after the projection onto the kept principal axes, as one map:
    /// `((x − μ)·P − ν)·R = (x − μ − ν·Pᵀ)·(P·R)`, since `PᵀP = I`.
    fn fit_affine(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Fitted, MethodError> {
        let Some(kept) = self.dim.filter(|&kept| kept < train.ncols()) else { return self.fit_rotation(train, cx) };
        let axes = principal_axes(cx.backend.isa(), train).axes.slice_move(s![.., ..kept]);
        let mut projection =
            AffineTransform { mean: Some(mean(train).into_iter().map(|m| m as f32).collect()), axes: Some(axes) };
        let backend = &*cx.backend;
        let projected = projection.on(backend)?.forward(&backend.upload(train)?, backend)?;
        let fitted = self.fit_rotation(backend.download(&projected)?.view(), cx)?;
        if let (Some(mean), Some(axes)) = (&mut projection.mean, &mut projection.axes) {
            if let Some(nu) = &fitted.affine.mean {
                mean.iter_mut().zip(axes.dot(&ArrayView1::from(nu))).for_each(|(mean, shift)| *mean += shift);
            }
            if let Some(rotation) = &fitted.affine.axes {
                *axes = multiply(cx.backend.isa(), axes.view(), rotation.view());
            }
        }
        Ok(Fitted { affine: projection, ..fitted })
    }

    /// The start that ends with the least error after a few iterations on some of the rows.
    fn best_start(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<RotationInit, MethodError> {
        let wanted = TRIAL_ROWS.max(10 << self.bits);
        let some = train.slice(s![..;train.nrows().div_ceil(wanted) as isize, ..]);
        // At least one iteration: its error is that of codebooks behind the start itself.
        let iterations = self.iterations.clamp(1, TRIAL_ITERATIONS);
        let mut best = (f64::INFINITY, RotationInit::Random);
        for start in [RotationInit::Random, RotationInit::Pca, RotationInit::Identity] {
            let history = Opq { start, iterations, ..self.clone() }.alternate(some, true, cx)?.history;
            let error = history.last().unwrap_or(f64::INFINITY);
            if error < best.0 {
                best = (error, start);
            }
        }
        Ok(best.1)
    }

    /// The non-parametric algorithm of the paper: alternately lowers `‖X·R − Y‖` over codebooks for fixed `R`, and
    /// over `R` for fixed codes. The best `R` is the polar factor of `Xᵀ·Y`. As codes change with it, it need not be found
    /// each time: with `Z = X·R`, a turn of `Z` towards `Y` that raises `tr(Qᵀ·Zᵀ·Y)` lowers the error, and ends at the same place.
    pub(crate) fn fit_rotation(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Fitted, MethodError> {
        check_train(train, cx)?;
        self.check(train.ncols())?;
        match self.start {
            RotationInit::Auto => {
                Opq { start: self.best_start(train, cx)?, ..self.clone() }.alternate(train, false, cx)
            }
            _ => self.alternate(train, false, cx),
        }
    }

    /// [`Opq::fit_rotation`] from a start that is no longer to be chosen. A trial needs no rotation after its last error.
    fn alternate(&self, train: ArrayView2<'_, f32>, is_trial: bool, cx: &Context) -> Result<Fitted, MethodError> {
        let dim = train.ncols();
        // Relative to the mean: the mean says nothing about which directions belong together, and would dominate those
        // that do.
        let mean: Vec<f32> = mean(train).into_iter().map(|m| m as f32).collect();
        let centred = &train - &ArrayView1::from(&mean);
        let train = centred.view();
        let rows = cx.backend.upload(train)?;
        let mut rotation = match self.start {
            RotationInit::Identity => Array2::eye(dim),
            RotationInit::Pca => balanced_axes(cx.backend.isa(), train, self.m),
            RotationInit::Random | RotationInit::Auto => random(cx.backend.isa(), dim, &mut cx.rng(Stream::Rotation)),
        };
        let isa = cx.backend.isa();
        let least_share = SETTLED.max(BY_HEART * dim as f64 / train.nrows() as f64);
        let stop = |iterations| Stop { max_iterations: iterations, relative_drop: RELATIVE_DROP };
        let mut history = Course::default();
        let mut codebooks: Option<Vec<Array2<f32>>> = None;
        for iteration in 1..=self.iterations {
            let mut rotated = cx.backend.room(rows.nrows(), dim)?;
            cx.backend.product(rotation.view())?.apply(&rows, &mut rotated)?;
            let rotated = rotated.into_matrix();
            let inner = if codebooks.is_none() { OUTER_ITERATIONS } else { INNER_ITERATIONS };
            let starts = codebooks.map_or(Starts::From(KmeansInit::default()), Starts::Near);
            let trained = train_groups(&rotated, starts, self.m, self.bits, stop(inner), cx)?;
            let seen = course(&trained);
            let drop = history.last().zip(seen.last()).map(|(before, now)| (before - now, least_share * now));
            history.append(&seen);
            let settled = drop.is_some_and(|(drop, least)| drop <= least);
            let last = settled || iteration == self.iterations;
            if last && is_trial {
                codebooks = None;
                break;
            }
            let towards = correlation(isa, cx.backend.download(&rotated)?.view(), &trained);
            let turn = turn_of_pairs(isa, &towards).unwrap_or_else(|| pulled(isa, &towards, &Array2::eye(dim), PULL));
            rotation = multiply(isa, rotation.view(), turn.view());
            if last || iteration % ORTHONORMALIZED == 0 {
                rotation = orthonormalized(isa, rotation);
            }
            history.advance();
            codebooks = Some(trained.into_iter().map(|t| t.codebook).collect());
            if last {
                break;
            }
        }
        Ok(Fitted { affine: AffineTransform { mean: Some(mean), axes: Some(rotation) }, codebooks, history })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::{decode, encode, gaussian, mse};

    /// `n×16` rows far from zero whose principal axes, of falling variance, lie anywhere.
    fn with_a_spectrum(n: usize) -> Array2<f32> {
        let isa = Isa::widest();
        let mut rows = gaussian(n, 16, 1);
        rows.columns_mut().into_iter().zip(1u8..).for_each(|(mut column, j)| column /= f32::from(j));
        multiply(isa, rows.view(), random(isa, 16, &mut Context::cpu(2).rng(Stream::Rotation)).view()) + 3.0
    }

    /// `n×16` rows in groups of four components that depend on each other, each group on a ring about its mean.
    fn with_groups(n: usize) -> Array2<f32> {
        let mut rows = gaussian(n, 16, 3);
        for mut group in rows.exact_chunks_mut((1, 4)) {
            let norm = group.mapv(|v| v * v).sum().sqrt();
            group /= norm;
        }
        rows
    }

    #[test]
    fn sums_over_cells_give_the_dense_correlation() {
        let rows = with_a_spectrum(300);
        let random = |seed: u64| gaussian(5, 8, seed);
        let groups = [1, 2].map(|seed| Trained {
            codebook: random(seed),
            mse: 0.0,
            course: Course::default(),
            nearest: (0..300).map(|i| (i * i + i / 7) as u32 % 5).collect(),
        });
        for isa in Isa::available() {
            let dense = dense_correlation(isa, rows.view(), &groups);
            let by_cells = correlation_by_cells(isa, rows.as_slice().expect("in order"), 16, &groups);
            let size = dense.iter().fold(0f32, |m, v| m.max(v.abs()));
            assert!((&dense - &by_cells).iter().all(|gap| gap.abs() < 1e-5 * size), "{isa}");
        }
    }

    #[test]
    fn auto_is_as_good_as_the_best_start() {
        for (name, rows, best) in [
            ("spectrum", with_a_spectrum(2000), RotationInit::Pca),
            ("groups", with_groups(2000), RotationInit::Identity),
        ] {
            for iterations in [0, 10] {
                let error = |start: RotationInit| {
                    let opq = Opq { bits: 4, iterations, start, ..Opq::of(4) };
                    let quantizer = opq.fit(rows.view(), &Context::cpu(1)).expect("fits");
                    mse(rows.view(), decode(&*quantizer, &encode(&*quantizer, rows.view())).view())
                };
                let least = [RotationInit::Random, RotationInit::Pca, RotationInit::Identity]
                    .map(error)
                    .into_iter()
                    .fold(f64::INFINITY, f64::min);
                let auto = error(RotationInit::Auto);
                assert!(auto <= 1.01 * least, "{name}, {iterations} iterations: {auto} with auto, {least} at best");
                // Theory: axes of unequal variance must be shared among groups, and dependent groups must stay
                // together.
                assert!(error(best) <= 1.01 * least, "{name}, {iterations} iterations: {best:?} does best");
            }
        }
    }
}
