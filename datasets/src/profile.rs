//! What vectors are like, in one pass over blocks of rows: norms, mean and spread, constant components, copies, zero
//! rows, intrinsic dimension, and how near queries are to them.
//!
//! Memory is bounded for any number of rows: about 64 MiB for copies, 64 MiB for a sample of the rows, and a table of
//! norms. The figures do not depend on how the rows are divided into blocks.

mod copies;
mod neighbourhood;
mod sample;

use crate::outliers::{LongRows, Norms};
use copies::{Copies, hash};
use cpu::Isa;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};
use sample::RowSample;
use std::collections::HashMap;

pub use neighbourhood::{NEIGHBOURS, Nearness};

/// Most rows that are compared with the sample, of the base and of the queries each.
const ASKED: usize = 1000;

/// What vectors are like.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Number of rows.
    pub rows: usize,
    /// Smallest, median and largest norm. The median is exact to 1 part in 4096.
    pub norms: [f64; 3],
    /// Rows whose norm is far from the median; None if there are none.
    pub far: Option<LongRows>,
    /// Number of rows that are zero.
    pub zeros: usize,
    /// Mean of each component.
    pub mean: Vec<f64>,
    /// Variance of each component.
    pub variances: Vec<f64>,
    /// The components that have the same value in all rows, counted from 0.
    pub constant: Vec<usize>,
    /// Number of rows that are copies of an earlier row.
    pub copies: usize,
    /// Whether `copies` was counted; otherwise it is an estimate, because there are too many distinct rows.
    pub copies_counted: bool,
    /// Intrinsic dimension of the sample, see [`NEIGHBOURS`]; None if too few rows are distinct.
    pub intrinsic_dimension: Option<f64>,
    /// The queries beside the rows; None without queries.
    pub queries: Option<QueryProfile>,
    /// A random sample of the rows; all of them, in order, if there are at most 16,384, and at most 2²⁴ values.
    pub sample: Array2<f32>,
}

/// How queries lie among the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryProfile {
    /// Number of queries that are copies of a row.
    pub copies: usize,
    /// How near they are; None if most rows are copies of each other, or there are too few rows.
    pub nearness: Option<Nearness>,
}

impl Profile {
    /// `mean ‖x−mean‖²`.
    pub fn variance(&self) -> f64 {
        self.variances.iter().sum()
    }

    /// Norm of the mean over the root of the variance; None if all rows are equal.
    pub fn off_centre(&self) -> Option<f64> {
        let spread = self.variance().sqrt();
        (spread > 0.0).then(|| self.mean.iter().map(|m| m * m).sum::<f64>().sqrt() / spread)
    }
}

/// Collects the figures of a [`Profile`] from blocks of rows.
pub struct Profiler {
    rows: usize,
    norms: Norms,
    /// The first row: sums of differences from it stay precise if the rows are far from zero.
    first: Vec<f32>,
    /// Sums of these differences, and of their squares.
    sums: Vec<f64>,
    squares: Vec<f64>,
    copies: Copies,
    /// The hash of each query, with the number of queries that have it, and whether a row has it too.
    asked: HashMap<u64, (usize, bool)>,
    queries: Option<Array2<f32>>,
    sample: RowSample,
}

impl Profiler {
    /// For rows of `dim` components, and the queries that will be searched for among them.
    pub fn new(dim: usize, queries: Option<ArrayView2<'_, f32>>) -> Profiler {
        let queries = queries.filter(|queries| queries.nrows() > 0);
        let mut asked: HashMap<u64, (usize, bool)> = HashMap::new();
        for query in queries.iter().flat_map(|queries| queries.outer_iter()) {
            asked.entry(hash(query)).or_default().0 += 1;
        }
        Profiler {
            rows: 0,
            norms: Norms::default(),
            first: Vec::new(),
            sums: vec![0.0; dim],
            squares: vec![0.0; dim],
            copies: Copies::default(),
            asked,
            queries: queries.map(|queries| sample::spread(queries, ASKED)),
            sample: RowSample::new(dim),
        }
    }

    /// Most bytes that it holds for this many rows of `dim` components, and this many queries.
    pub fn bytes(rows: usize, dim: usize, queries: usize) -> u64 {
        let (sampled, asked) = (rows.min(sample::most(dim)), queries.min(ASKED));
        16 * rows.min(copies::MOST) as u64 + 4 * dim as u64 * (sampled + asked) as u64 + 32 * queries as u64
    }

    /// Adds the next rows. All values must be finite.
    pub fn add(&mut self, rows: ArrayView2<'_, f32>) {
        if self.rows == 0
            && let Some(first) = rows.outer_iter().next()
        {
            self.first = first.to_vec();
        }
        let norm_and_hash = |row: ndarray::ArrayView1<'_, f32>| {
            (row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt(), hash(row))
        };
        let mut found = Vec::new();
        rows.axis_iter(Axis(0)).into_par_iter().map(norm_and_hash).collect_into_vec(&mut found);
        let Profiler { norms, first, sums, squares, copies, asked, sample, .. } = self;
        // Side by side, and each in the order of the rows, so that no figure depends on the number of threads.
        rayon::scope(|scope| {
            let found = &found;
            scope.spawn(move |_| found.iter().for_each(|(norm, _)| norms.add(*norm)));
            scope.spawn(move |_| found.iter().for_each(|(_, hash)| copies.add(*hash)));
            scope.spawn(move |_| {
                for (_, hash) in found {
                    if let Some((_, met)) = asked.get_mut(hash) {
                        *met = true;
                    }
                }
            });
            scope.spawn(move |_| rows.outer_iter().for_each(|row| sample.offer(row)));
            let columns = sums.chunks_mut(COLUMNS).zip(squares.chunks_mut(COLUMNS)).zip(first.chunks(COLUMNS));
            for (i, ((sums, squares), first)) in columns.enumerate() {
                scope.spawn(move |_| {
                    let columns = rows.slice(s![.., i * COLUMNS..i * COLUMNS + first.len()]);
                    add_differences(columns, first, sums, squares);
                });
            }
        });
        self.rows += rows.nrows();
    }

    /// The figures of all rows so far; None without rows. Finds neighbours with kernels of `isa`.
    pub fn finish(self, isa: Isa) -> Option<Profile> {
        let (norms, n) = (self.norms.quantiles()?, self.rows as f64);
        let shifts: Vec<f64> = self.sums.iter().map(|sum| sum / n).collect();
        let constant = |(j, square): (usize, &f64)| (*square == 0.0).then_some(j);
        let sample = self.sample.into_rows();
        let around = neighbourhood::Neighbourhood::new(sample.view(), ASKED, isa);
        let queries = self.queries.map(|queries| QueryProfile {
            copies: self.asked.values().filter(|(_, met)| *met).map(|(count, _)| count).sum(),
            nearness: around.as_ref().and_then(|around| around.nearness(queries.view(), isa)),
        });
        let (copies, copies_counted) = self.copies.count();
        Some(Profile {
            rows: self.rows,
            norms,
            far: self.norms.far(),
            zeros: self.norms.zeros(),
            mean: self.first.iter().zip(&shifts).map(|(&first, shift)| f64::from(first) + shift).collect(),
            variances: self.squares.iter().zip(&shifts).map(|(square, s)| (square / n - s * s).max(0.0)).collect(),
            constant: self.squares.iter().enumerate().filter_map(constant).collect(),
            copies,
            copies_counted,
            intrinsic_dimension: around.and_then(|around| around.dimension()),
            queries,
            sample,
        })
    }
}

/// Components whose sums are one task.
const COLUMNS: usize = 32;

/// Adds the differences of rows from `first` and their squares, by component.
fn add_differences(rows: ArrayView2<'_, f32>, first: &[f32], sums: &mut [f64], squares: &mut [f64]) {
    for row in rows.outer_iter() {
        let sums = sums.iter_mut().zip(squares.iter_mut());
        for ((&value, &first), (sum, square)) in row.iter().zip(first).zip(sums) {
            let difference = f64::from(value) - f64::from(first);
            *sum += difference;
            *square += difference * difference;
        }
    }
}

#[cfg(test)]
mod tests;
