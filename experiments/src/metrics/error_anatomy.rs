//! Where do the errors of decoded vectors lie: in few vectors, in few dimensions, in long or in short vectors?

use super::inner_products::{InnerProducts, mean_and_deviation};
use super::pass::{Accumulate, Outline, Pass, TASK_ROWS};
use super::{Ability, Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
use methods::registry::schema_of;
use ndarray::{ArrayView2, Axis, s};
use rayon::prelude::*;
use record::Measured;
use record::anatomy::{DIMENSION_GROUPS, NORM_GROUPS, QUANTILES, groups};
use record::metric::{BASE_NORM, DIMENSION_ERROR, IP_BIAS_BY_NORM, IP_STD_BY_NORM, VECTOR_ERROR};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "error_anatomy",
    summary: "Quantiles of the squared error over vectors, the error of dimensions by their variance, and errors of inner products by the norm of the vector",
    always: false,
    schema: schema_of::<ErrorAnatomy>,
    parse: parse_params::<ErrorAnatomy>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ErrorAnatomy {}

/// Norms that differ by less than this fraction are equal: there are no long and short vectors.
const EQUAL_NORMS: f64 = 0.01;

impl Measure for ErrorAnatomy {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn needs(&self) -> &'static [Ability] {
        &[Ability::Decode]
    }

    fn bytes_per_row(&self) -> usize {
        // Error (and a sorted copy), norm, two sums of inner products, and the order by norm.
        6 * size_of::<f64>() + size_of::<u32>()
    }

    fn watch(&self, outline: &Outline<'_>, pass: &mut Pass) {
        pass.want(Anatomy::default);
        pass.want(|| InnerProducts::new(outline)).keep_rows();
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let anatomy: &Anatomy = subject.sum()?;
        let variance = subject.facts.variance;
        let mut out = Vec::new();
        if variance > 0.0 {
            let quantiles = quantiles(anatomy.errors.clone()).into_iter().enumerate();
            out.extend(quantiles.map(|(i, error)| Measured::new(&VECTOR_ERROR, error / variance).repeat(i)));
        }
        let dimensions = anatomy.dimension_errors().into_iter().enumerate();
        out.extend(dimensions.filter_map(|(i, error)| Some(Measured::new(&DIMENSION_ERROR, error?).repeat(i))));
        let products: &InnerProducts = subject.sum()?;
        let order = by_length(&anatomy.norms);
        for (i, (members, norm)) in by_norm(&order, &anatomy.norms).into_iter().enumerate() {
            let sums = members.iter().map(|&row| products.rows()[row as usize]);
            let sums = sums.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            let (bias, deviation) = mean_and_deviation(sums, members.len() * products.of_row);
            out.push(Measured::new(&BASE_NORM, norm).repeat(i));
            out.push(Measured::new(&IP_BIAS_BY_NORM, bias).repeat(i));
            out.push(Measured::new(&IP_STD_BY_NORM, deviation).repeat(i));
        }
        Ok(out)
    }
}

/// Squared error and norm of every row, and sums over the rows for every dimension.
#[derive(Default)]
struct Anatomy {
    errors: Vec<f64>,
    norms: Vec<f64>,
    dimensions: Vec<DimensionSums>,
}

/// Sums over the rows.
#[derive(Clone, Copy, Default)]
struct DimensionSums {
    values: f64,
    squares: f64,
    errors: f64,
}

impl Accumulate for Anatomy {
    fn add(&mut self, base: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) {
        self.dimensions.resize(base.ncols(), DimensionSums::default());
        let tasks = base.axis_chunks_iter(Axis(0), TASK_ROWS).zip(decoded.axis_chunks_iter(Axis(0), TASK_ROWS));
        let tasks: Vec<_> = tasks.collect();
        let of_rows = |(rows, decoded): (ArrayView2<'_, f32>, ArrayView2<'_, f32>)| -> Vec<(f64, f64)> {
            let pairs = rows.outer_iter().zip(decoded.outer_iter());
            pairs.map(|(x, y)| (squared_error(x.iter().zip(y)), squares(x.iter().copied()).sqrt())).collect()
        };
        for part in tasks.into_par_iter().map(of_rows).collect::<Vec<_>>() {
            self.errors.extend(part.iter().map(|(error, _)| error));
            self.norms.extend(part.iter().map(|(_, norm)| norm));
        }
        // Of each dimension in the order of the rows, so that no sum depends on the number of threads.
        self.dimensions.par_chunks_mut(TASK_DIMENSIONS).enumerate().for_each(|(i, sums)| {
            let dimensions = s![.., i * TASK_DIMENSIONS..i * TASK_DIMENSIONS + sums.len()];
            let (base, decoded) = (base.slice(dimensions), decoded.slice(dimensions));
            for (x, y) in base.outer_iter().zip(decoded.outer_iter()) {
                for ((&x, &y), sums) in x.iter().zip(y).zip(&mut *sums) {
                    let (x, y) = (f64::from(x), f64::from(y));
                    sums.values += x;
                    sums.squares += x * x;
                    sums.errors += (x - y) * (x - y);
                }
            }
        });
    }
}

/// Dimensions whose sums one task computes.
const TASK_DIMENSIONS: usize = 32;

fn squares(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum()
}

fn squared_error<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    pairs.map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum()
}

/// The [`QUANTILES`] of the errors, with linear interpolation between order statistics.
fn quantiles(mut errors: Vec<f64>) -> Vec<f64> {
    errors.par_sort_unstable_by(f64::total_cmp);
    let Some(last) = errors.len().checked_sub(1) else { return Vec::new() };
    let quantile = |share: f64| {
        let place = share * last as f64;
        let (below, above) = (errors[place.floor() as usize], errors[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    QUANTILES.into_iter().map(quantile).collect()
}

impl Anatomy {
    /// The squared error of each group of dimensions over the variance of that group; None where there is no variance.
    /// The dimensions with the largest variance come first.
    fn dimension_errors(&self) -> Vec<Option<f64>> {
        let dim = self.dimensions.len();
        // n times the variance, as the errors are n times their mean.
        let n = self.norms.len() as f64;
        let variance = |sums: &DimensionSums| (sums.squares - sums.values * sums.values / n).max(0.0);
        let variances: Vec<f64> = self.dimensions.iter().map(variance).collect();
        let errors: Vec<f64> = self.dimensions.iter().map(|sums| sums.errors).collect();
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]).then(a.cmp(&b)));
        let total: f64 = variances.iter().sum();
        groups(dim, DIMENSION_GROUPS)
            .map(|group| {
                let of = |values: &[f64]| order[group.clone()].iter().map(|&d| values[d]).sum::<f64>();
                let variance = of(&variances);
                // A constant dimension has a variance of rounding errors.
                (variance > 1e-12 * total).then(|| of(&errors) / variance)
            })
            .collect()
    }
}

/// Row numbers, the shortest rows first.
fn by_length(norms: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..norms.len() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| norms[a as usize].total_cmp(&norms[b as usize]).then(a.cmp(&b)));
    order
}

/// Groups of rows by norm, each with its mean norm, the shortest rows first; none if all rows have nearly the same norm.
fn by_norm<'a>(order: &'a [u32], norms: &[f64]) -> Vec<(&'a [u32], f64)> {
    let mean = |rows: &[u32]| rows.iter().map(|&row| norms[row as usize]).sum::<f64>() / rows.len() as f64;
    let found: Vec<(&[u32], f64)> =
        groups(norms.len(), NORM_GROUPS).map(|group| (&order[group.clone()], mean(&order[group]))).collect();
    match (found.first(), found.last()) {
        (Some((_, shortest)), Some((_, longest))) if longest - shortest > EQUAL_NORMS * longest => found,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn anatomy(rows: &Array2<f32>, decoded: &Array2<f32>) -> Anatomy {
        let mut anatomy = Anatomy::default();
        anatomy.add(rows.view(), decoded.view());
        anatomy
    }

    #[test]
    fn quantiles_by_hand() {
        // Squared errors 0, 1, 4, …, 100² of 101 rows: quantile p is at row 100 p.
        let rows = Array2::from_shape_fn((101, 1), |(i, _)| i as f32);
        let errors = quantiles(anatomy(&rows, &Array2::zeros((101, 1))).errors);
        let expected = QUANTILES.map(|p| (100.0 * p).round().powi(2));
        errors.iter().zip(expected).for_each(|(e, x)| assert!((e - x).abs() < 1e-6 * x, "{e} is not {x}"));
        assert_eq!(errors.len(), QUANTILES.len());
        assert_eq!(quantiles(anatomy(&array![[3f32]], &array![[1f32]]).errors), [4.0; 9]);
    }

    #[test]
    fn dimensions_are_ordered_by_variance_and_constant_ones_left_out() {
        let rows = array![[1f32, 10.0, 7.0], [3.0, 30.0, 7.0]];
        let decoded = array![[1f32, 20.0, 7.0], [2.0, 20.0, 7.0]];
        // Variances 1, 100 and 0; mean squared errors 0.5, 100 and 0.
        assert_eq!(anatomy(&rows, &decoded).dimension_errors(), [Some(1.0), Some(0.5), None]);
    }

    #[test]
    fn rows_are_grouped_by_norm_unless_all_are_alike() {
        let norms: Vec<f64> = (0..20).map(|i| f64::from((i * 7) % 20 + 1)).collect();
        let order = by_length(&norms);
        let found = by_norm(&order, &norms);
        let means: Vec<f64> = found.iter().map(|(_, norm)| *norm).collect();
        assert_eq!(means, (0..10).map(|i| f64::from(2 * i) + 1.5).collect::<Vec<_>>());
        assert!(found.iter().all(|(rows, _)| rows.len() == 2));
        assert!(by_norm(&[1, 0, 2], &[1.0, 0.999, 1.001]).is_empty());
        assert!(by_norm(&[], &[]).is_empty());
    }
}
