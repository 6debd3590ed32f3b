//! Product quantization: consecutive groups of components, each with a k-means codebook of its own.

use crate::algorithms::lloyd::{Stop, Trained, lloyd, refine};
use crate::classical::kmeans::KmeansInit;
use crate::contract::curve::Course;
use crate::product::quantizer::ProductQuantizer;
use crate::registry::{Family, MethodEntry, RateParam, Tries, params_of, parse_params, schema_of};
use crate::{
    Context, DeviceMatrix, Method, MethodError, ModelError, ParamError, Quantizer, State, Stream, TrainingRows,
};
use ndarray::Array2;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strict::check_ranges;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "pq",
    family: Some(Family::Product),
    summary: "Product quantizer: m groups of components, each with its own codebook of 2^bits codewords",
    paper: "Jégou, Douze and Schmid, Product quantization for nearest neighbor search, 2011",
    rate: "m × bits",
    rate_params: &[RateParam::count("m"), RateParam::count("bits")],
    cost: "fit: O(n · dim · 2^bits) per iteration; encode: O(dim · 2^bits)",
    examples: &[r#"{"m": 4}"#, r#"{"m": 1, "bits": 5}"#, r#"{"m": 12, "bits": 3}"#],
    tries: Tries { params: &["{}", r#"{"bits": 4}"#], transforms: true },
    exempt: &[],
    schema: schema_of::<Pq>,
    parse: parse_params::<Pq>,
};

/// Parameters of `pq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pq {
    /// Number of sub-quantizers (groups of consecutive components); must divide the dimension.
    #[schemars(range(min = 1))]
    pub m: usize,
    /// Bits per sub-quantizer; each codebook has 2^bits codewords.
    #[serde(default = "default_bits")]
    #[schemars(range(min = 1, max = 16))]
    pub bits: u8,
    /// Iterations of k-means per codebook, at most; see `iterations` of `kmeans`.
    #[serde(default = "default_iterations")]
    #[schemars(range(min = 0, max = 10000))]
    pub iterations: usize,
    /// How the initial codewords of k-means are chosen.
    #[serde(default)]
    pub init: KmeansInit,
}

fn default_bits() -> u8 {
    8
}

fn default_iterations() -> usize {
    25
}

/// k-means has converged when the distortion changes by less than this fraction.
pub(crate) const RELATIVE_DROP: f64 = 1e-6;

impl Method for Pq {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, dim: usize) -> Result<(), ParamError> {
        check_ranges(self)?;
        check_groups(self.m, dim)
    }

    fn code_bits(&self, _dim: usize) -> usize {
        self.m * usize::from(self.bits)
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        (self.iterations + 1) as f64 * n as f64 * self.encode_cost(dim)
    }

    fn query_cost(&self, dim: usize) -> f64 {
        dim as f64 * f64::from(1u32 << self.bits)
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64 * f64::from(1u32 << self.bits)
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let stop = Stop { max_iterations: self.iterations, relative_drop: RELATIVE_DROP };
        let trained = train_groups(train.matrix()?, Starts::From(self.init), self.m, self.bits, stop, cx)?;
        let history = course(&trained);
        let codebooks = trained.into_iter().map(|t| t.codebook).collect();
        Ok(Box::new(ProductQuantizer::trained(codebooks, history, cx.backend.clone())))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        Ok(ProductQuantizer::restore(state, self.m, 1 << self.bits, dim, cx.backend.clone())?)
    }
}

/// The initial codebooks of k-means.
pub(crate) enum Starts {
    /// The given codebooks, one per group.
    Given(Vec<Array2<f32>>),
    /// The given codebooks, which are nearly right: all iterations are run, whatever they gain.
    Near(Vec<Array2<f32>>),
    /// Rows chosen in this way.
    From(KmeansInit),
}

/// Trains the codebook of each of `m` groups of components.
pub(crate) fn train_groups(
    train: &DeviceMatrix<'_>,
    starts: Starts,
    m: usize,
    bits: u8,
    stop: Stop,
    cx: &Context,
) -> Result<Vec<Trained>, MethodError> {
    let dsub = train.ncols() / m;
    (0..m)
        .into_par_iter()
        .map(|j| {
            // A copy of its own: rows of a few components lie closer together than they do in whole vectors.
            let mut rows = cx.backend.room(train.nrows(), dsub)?;
            cx.backend.copy(&train.columns(j * dsub..(j + 1) * dsub), &mut rows)?;
            let rows = rows.into_matrix();
            let start = match &starts {
                Starts::Given(starts) | Starts::Near(starts) => starts[j].clone(),
                Starts::From(init) => init.codebook(&rows, 1 << bits, &mut cx.rng(Stream::Part(j as u32)), cx)?,
            };
            match &starts {
                Starts::Near(_) => refine(&rows, start, stop.max_iterations, cx),
                Starts::Given(_) | Starts::From(_) => lloyd(&rows, start, stop, cx),
            }
        })
        .collect()
}

/// MSE per whole vector at each iteration. Groups may stop at different iterations; a stopped group keeps its last
/// distortion.
pub(crate) fn course(trained: &[Trained]) -> Course {
    Course::sum(trained.iter().map(|t| &t.course))
}

/// Checks that a vector divides into `m` groups of equal size.
///
/// # Errors
/// The dimension is not divisible by `m`; the error names the nearest divisors.
pub(crate) fn check_groups(m: usize, dim: usize) -> Result<(), ParamError> {
    if m > 0 && dim.is_multiple_of(m) {
        return Ok(());
    }
    let help = format!("m must divide the dimension; try {}", nearest_divisors(dim, m));
    Err(ParamError::new("m", format!("d={dim} is not divisible by m={m}"), help))
}

/// At most three divisors of `dim` near `m`, as text.
fn nearest_divisors(dim: usize, m: usize) -> String {
    let divisors: Vec<usize> = (1..=dim).filter(|d| dim.is_multiple_of(*d)).collect();
    let above = divisors.partition_point(|&d| d < m);
    let range = above.saturating_sub(1)..(above + 2).min(divisors.len());
    let names: Vec<String> = divisors[range].iter().map(usize::to_string).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.join(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_m_names_the_divisors_around_it() {
        let error = Pq { m: 16, bits: 8, iterations: 25, init: KmeansInit::Auto }
            .check(100)
            .expect_err("16 does not divide 100");
        assert_eq!(error.message, "d=100 is not divisible by m=16");
        assert_eq!(error.help.as_deref(), Some("m must divide the dimension; try 10, 20 or 25"));
        assert_eq!(nearest_divisors(7, 0), "1 or 7");
        assert_eq!(nearest_divisors(384, 1000), "384");
    }
}
