//! Facts of a dataset that do not depend on a method: variance, Gaussian bound, exact neighbours. They are computed
//! once per run and kept in the run folder.

use cpu::Isa;
use datasets::gaussian_bound;
use datasets::outliers::{self, FAR};
use datasets::{Dataset, DatasetError, FileTruth, Part, Resolved, Unused};
use methods::algorithms::moments;
use ndarray::ArrayView2;
use record::{DatasetFacts, FileTruthFacts, OutlierFacts};

/// Number of points of the bound that are kept for drawing.
const BOUND_POINTS: usize = 160;

/// Largest file of facts that is read, in bytes.
pub(crate) const MAX_FACTS: u64 = 1 << 30;

/// The exact neighbours of each query, by row number, nearest first.
pub type Truth = Vec<Vec<u32>>;

/// Computes facts and the `depth` nearest neighbours of each query, by kernels of `isa`. `resolved` is what the vectors were loaded from.
///
/// # Errors
/// Neighbours that come with the vectors and cannot be read.
pub fn compute(
    data: &Dataset,
    resolved: &Resolved,
    depth: usize,
    isa: Isa,
) -> Result<(DatasetFacts, Truth), DatasetError> {
    let (variance, spectrum) = spectrum(data.base.view());
    let file_truth = resolved.file_truth(depth)?;
    let truth = truth(data, file_truth.as_ref(), depth, isa);
    let facts = DatasetFacts {
        name: data.name.clone(),
        dim: data.dim(),
        train: data.train.nrows(),
        base: data.base.nrows(),
        queries: data.queries.nrows(),
        metric_space: data.metric.to_string(),
        fingerprint: resolved.summary.fingerprint.clone(),
        variance,
        bound: gaussian_bound::curve(&spectrum, BOUND_POINTS),
        spectrum,
        signal: data.signal.as_ref().map(recorded),
        train_on_base: resolved.trains_on_base(),
        outliers: outliers(data, resolved),
        file_truth: file_truth.and_then(|truth| file_truth_facts(truth, depth)),
    };
    Ok((facts, truth))
}

/// The `depth` nearest neighbours of each query: those in the files if they are used, otherwise computed.
fn truth(data: &Dataset, file_truth: Option<&FileTruth>, depth: usize, isa: Isa) -> Truth {
    let (base, queries) = (data.base.view(), data.queries.view());
    if let Some(truth) = file_truth.and_then(|truth| truth.neighbours(base, queries, data.metric, depth)) {
        return truth;
    }
    let neighbors = datasets::truth::exact_neighbors(base, queries, data.metric, depth, isa);
    neighbors.into_iter().map(|row| row.into_iter().map(|n| n.id).collect()).collect()
}

/// Training rows that are much longer than the others.
fn outliers(data: &Dataset, resolved: &Resolved) -> Option<OutlierFacts> {
    let found = outliers::find(data.train.view())?;
    let first = resolved.place(Part::Train, found.first);
    Some(OutlierFacts { count: found.count, first, factor: found.factor, from: FAR })
}

/// What became of the neighbours in the files; None if there are none, or they agree and none are needed.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn file_truth(resolved: &Resolved, depth: usize) -> Result<Option<FileTruthFacts>, DatasetError> {
    Ok(resolved.file_truth(depth)?.and_then(|truth| file_truth_facts(truth, depth)))
}

fn file_truth_facts(truth: FileTruth, depth: usize) -> Option<FileTruthFacts> {
    let check = truth.check;
    (depth > 0 || check.unused == Some(Unused::Contradiction)).then(|| FileTruthFacts {
        file: check.file,
        queries: check.queries,
        agreement: check.agreement,
        explained_by: check.explained_by.map(|metric| metric.to_string()),
        used: check.unused.is_none(),
        unused_because: match check.unused {
            Some(Unused::Because(reason)) => Some(reason),
            Some(Unused::Contradiction) | None => None,
        },
    })
}

/// Converted to the result schema, which does not depend on datasets.
fn recorded(signal: &datasets::Signal) -> record::SignalFacts {
    match signal {
        datasets::Signal::Frames { per_second } => record::SignalFacts::Frames { per_second: *per_second },
        datasets::Signal::Images { patch, channels, pictures } => {
            let picture = |p: &datasets::Picture| record::PictureFacts {
                name: p.name.clone(),
                width: p.width,
                height: p.height,
                first_row: p.first_row,
            };
            record::SignalFacts::Images {
                patch: *patch,
                channels: *channels,
                pictures: pictures.iter().map(picture).collect(),
            }
        }
    }
}

/// Above this dimension, eigenvalues and the bound are not computed, because their cost grows with the cube of the
/// dimension.
pub(crate) const MAX_SPECTRUM_DIM: usize = 2048;

/// `mean ‖x−mean‖²` and the eigenvalues of the covariance, largest first; no eigenvalues in very high dimension.
fn spectrum(rows: ArrayView2<'_, f32>) -> (f64, Vec<f64>) {
    let mean = moments::mean(rows);
    if rows.ncols() > MAX_SPECTRUM_DIM {
        return (moments::variance(rows, &mean), Vec::new());
    }
    let covariance = moments::covariance(rows, &mean);
    let variance = covariance.trace();
    let mut eigenvalues: Vec<f64> = covariance.symmetric_eigenvalues().iter().map(|v| v.max(0.0)).collect();
    eigenvalues.sort_by(|a, b| b.total_cmp(a));
    (variance, eigenvalues)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn the_spectrum_of_scaled_axes_is_their_variances() {
        // Each axis takes ±its scale equally often, independently of the others.
        let rows = Array2::from_shape_fn((64, 3), |(i, j)| {
            let sign = if i >> j & 1 == 0 { 1.0 } else { -1.0 };
            10.0 + sign * [1.0f32, 3.0, 2.0][j]
        });
        let (variance, spectrum) = spectrum(rows.view());
        assert!((variance - 14.0).abs() < 1e-9, "{variance}");
        for (found, expected) in spectrum.iter().zip([9.0, 4.0, 1.0]) {
            assert!((found - expected).abs() < 1e-9, "{spectrum:?}");
        }
    }
}
