//! A dataset whose base rows need not fit into memory, and the checks that all rows must pass.

use crate::base_rows::BaseRows;
use crate::{Dataset, DatasetError, Judgments, Labels, MetricSpace, Part, Resolved, Signal, ZeroRows};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Vectors to be used: training and query rows in memory, base rows held or read block by block. Rows are finite, and
/// scaled to unit length with the metric cosine.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Name in tables and figures.
    pub name: String,
    /// How rows are compared.
    pub metric: MetricSpace,
    /// Rows to fit on, `n×dim`.
    pub train: Array2<f32>,
    /// Rows to encode, measure distortion on, and search in.
    pub base: BaseRows,
    /// Rows to search for.
    pub queries: Array2<f32>,
    /// Classes of base and query rows, where known.
    pub labels: Option<Labels>,
    /// Which base rows are relevant to which queries, where known.
    pub judgments: Option<Judgments>,
    /// What the base rows are pieces of, where that is known.
    pub signal: Option<Signal>,
}

impl Opened {
    /// Components per vector.
    pub fn dim(&self) -> usize {
        self.base.ncols()
    }
}

/// Scales a row to unit length; a row of zeros remains as it is.
pub(crate) fn to_unit_length(row: &mut [f32]) {
    let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    if norm != 0.0 {
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
}

/// Rows that one task checks.
const CHECKED_ROWS: usize = 1024;

/// Checks rows of a part as they pass by: with the metric cosine none may be zero, and f32 must hold their squared
/// distances.
pub(crate) struct RangeCheck {
    shape: (usize, usize),
    magnitude: f32,
    zeros: ZeroRows,
    /// The rows whose differences are looked at, and their values.
    looked_at: Vec<usize>,
    values: Vec<f32>,
}

impl RangeCheck {
    pub(crate) fn new(shape: (usize, usize)) -> RangeCheck {
        let looked_at = cpu::rows_of_range_check(shape.0);
        RangeCheck { shape, magnitude: 0.0, zeros: ZeroRows::default(), looked_at, values: Vec::new() }
    }

    /// The next rows.
    pub(crate) fn add(&mut self, part: Part, metric: MetricSpace, first: usize, rows: ArrayView2<'_, f32>) {
        let largest = |rows: ArrayView2<'_, f32>| rows.iter().fold(0f32, |most, v| most.max(v.abs()));
        let parts: Vec<_> = rows.axis_chunks_iter(Axis(0), CHECKED_ROWS).collect();
        self.magnitude = self.magnitude.max(parts.into_par_iter().map(largest).reduce(|| 0.0, f32::max));
        if metric == MetricSpace::Cosine {
            let is_zero = |row: ArrayView2<'_, f32>| row.iter().all(|v| *v == 0.0);
            for (i, row) in rows.axis_chunks_iter(Axis(0), 1).enumerate() {
                if is_zero(row) {
                    self.zeros.add(part, first + i);
                }
            }
        }
        let dim = self.shape.1.max(1);
        while let Some(row) = self.looked_at.get(self.values.len() / dim)
            && *row < first + rows.nrows()
        {
            self.values.extend(rows.row(row - first));
        }
    }

    fn finish(&self, name: &str, part: &'static str) -> Result<(), DatasetError> {
        let (n, dim) = self.shape;
        let step = self.looked_at.get(1).copied().unwrap_or(1);
        cpu::check_range(n, dim, self.magnitude, |i, j| self.values[i / step * dim + j])
            .map_err(|reason| DatasetError::Range { name: name.to_owned(), part, reason })
    }
}

/// The checks that need all base rows, which see them as they pass by.
pub struct BaseCheck {
    base: RangeCheck,
    metric: MetricSpace,
}

impl BaseCheck {
    /// Of the base rows of a dataset.
    pub fn new(data: &Opened) -> BaseCheck {
        BaseCheck { base: RangeCheck::new((data.base.nrows(), data.base.ncols())), metric: data.metric }
    }

    /// The next base rows, and the number of the first of them.
    pub fn add(&mut self, first: usize, rows: ArrayView2<'_, f32>) {
        self.base.add(Part::Base, self.metric, first, rows);
    }

    /// What is wrong with the rows of any part, once all base rows were seen.
    ///
    /// # Errors
    /// A row of zeros with the metric cosine; values whose squared distances f32 cannot hold.
    pub fn finish(self, data: &Opened, resolved: &Resolved) -> Result<(), DatasetError> {
        let of = |part: Part, rows: &Array2<f32>| {
            let mut check = RangeCheck::new(rows.dim());
            check.add(part, self.metric, 0, rows.view());
            check
        };
        let (train, queries) = (of(Part::Train, &data.train), of(Part::Queries, &data.queries));
        let parts = [(&train, "train"), (&self.base, "base"), (&queries, "queries")];
        // Training rows that are base rows are not counted twice.
        let counted = if resolved.trains_on_base() { &parts[1..] } else { &parts[..] };
        let count = counted.iter().map(|(check, _)| check.zeros.count).sum();
        let zeros = ZeroRows { first: counted.iter().find_map(|(check, _)| check.zeros.first), count };
        if count > 0 {
            return Err(resolved.refuse(zeros));
        }
        parts.into_iter().try_for_each(|(check, part)| check.finish(&data.name, part))
    }
}

/// Reads all base rows once for [`BaseCheck`].
pub(crate) fn check(data: &Opened, resolved: &Resolved) -> Result<(), DatasetError> {
    let mut check = BaseCheck::new(data);
    data.base.blocks(|first, rows| {
        check.add(first, rows);
        Ok::<_, DatasetError>(())
    })?;
    check.finish(data, resolved)
}

/// All rows in memory.
pub(crate) fn into_dataset(data: Opened) -> Result<Dataset, DatasetError> {
    let Opened { name, metric, train, base, queries, labels, judgments, signal } = data;
    let base = match base.into_held() {
        Ok(rows) => rows,
        Err(base) => base.range(0..base.nrows())?,
    };
    Ok(Dataset { name, metric, train, base, queries, labels, judgments, signal })
}
