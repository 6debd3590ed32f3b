//! Checks, on a sample, that the neighbours in a file are the nearest by its metric. Files whose neighbours were
//! computed with another metric are common.

use crate::format::{self, Blocks};
use crate::{DatasetError, MetricSpace};
use std::collections::HashSet;
use std::path::Path;

/// Number of queries checked, and of neighbours of each.
const QUERIES: usize = 16;
const NEIGHBOURS: usize = 10;

/// Below `CONTRADICTS`, the neighbours contradict the metric; from `EXPLAINS` on, a metric explains them. Rounding in
/// f32 swaps a few neighbours.
const CONTRADICTS: f64 = 0.9;
const EXPLAINS: f64 = 0.99;

/// Scores with a smaller relative difference may be a tie, because files are made in f32.
const TIE: f64 = 1e-5;

/// Row numbers are read as f32, which is exact up to this number.
const MOST_ROWS: usize = 1 << 24;

/// Rows read at a time.
const BLOCK_ROWS: usize = 4096;

/// Result of checking the neighbours in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TruthCheck {
    /// Queries looked at.
    pub queries: usize,
    /// Neighbours of each.
    pub neighbours: usize,
    /// The share of them that are nearest by the metric of the dataset.
    pub agreement: f64,
    /// Another metric by which they are nearest, if there is one.
    pub explained_by: Option<MetricSpace>,
}

impl TruthCheck {
    /// Whether the neighbours contradict the vectors.
    pub fn contradicts(&self) -> bool {
        self.agreement < CONTRADICTS
    }
}

const METRICS: [MetricSpace; 3] = [MetricSpace::L2, MetricSpace::Cosine, MetricSpace::Ip];

/// For one query and one metric: the smallest scores so far, and the scores of the neighbours that the file names.
#[derive(Clone)]
struct Scores {
    least: Vec<f64>,
    named: Vec<f64>,
}

/// Compares the first neighbours of some queries with the exact ones. Returns None if there is nothing to compare.
///
/// # Errors
/// Files that cannot be read.
pub fn check(
    base: &Path,
    queries: &Path,
    neighbours: &Path,
    metric: MetricSpace,
) -> Result<Option<TruthCheck>, DatasetError> {
    let mut rows = Blocks::open(base)?;
    let (n, dim) = rows.shape();
    let mut asked = Vec::new();
    let count = Blocks::open(queries)?.next(QUERIES, &mut asked)?;
    let named = format::read(neighbours)?;
    let depth = NEIGHBOURS.min(named.ncols()).min(n);
    if n > MOST_ROWS || asked.len() != count * dim || named.nrows() < count || depth == 0 {
        return Ok(None);
    }
    let named: Vec<HashSet<usize>> =
        named.outer_iter().take(count).map(|row| row.iter().take(depth).map(|&id| id as usize).collect()).collect();
    // Indexed by query, then by metric.
    let mut scores = vec![[const { Scores { least: Vec::new(), named: Vec::new() } }; METRICS.len()]; count];
    let (mut first, mut block) = (0, Vec::new());
    while rows.next(BLOCK_ROWS, &mut block)? > 0 {
        for (i, row) in block.chunks_exact(dim).enumerate() {
            for (q, query) in asked.chunks_exact(dim).enumerate() {
                for (found, score) in scores[q].iter_mut().zip(all_scores(query, row)) {
                    insert(&mut found.least, score, depth);
                    if named[q].contains(&(first + i)) {
                        found.named.push(score);
                    }
                }
            }
        }
        first += block.len() / dim;
    }
    let agreement = |m: usize| {
        let near = |of_query: &[Scores; METRICS.len()]| {
            let found = &of_query[m];
            let farthest = found.least.last().copied().unwrap_or(0.0);
            let bound = farthest + TIE * farthest.abs();
            found.named.iter().filter(|score| **score <= bound).count()
        };
        scores.iter().map(near).sum::<usize>() as f64 / (count * depth) as f64
    };
    let agreements: Vec<(MetricSpace, f64)> =
        METRICS.into_iter().enumerate().map(|(m, metric)| (metric, agreement(m))).collect();
    let own = agreements.iter().find(|(other, _)| *other == metric).map_or(0.0, |(_, share)| *share);
    let best = agreements.iter().filter(|(other, share)| *other != metric && *share >= EXPLAINS);
    let explained_by = best.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(other, _)| *other);
    Ok(Some(TruthCheck {
        queries: count,
        neighbours: depth,
        agreement: own,
        explained_by: explained_by.filter(|_| own < CONTRADICTS),
    }))
}

/// Scores of a pair by each of [`METRICS`], smaller is nearer.
fn all_scores(query: &[f32], row: &[f32]) -> [f64; METRICS.len()] {
    let (mut distance, mut dot, mut q2, mut x2) = (0.0, 0.0, 0.0, 0.0);
    for (&q, &x) in query.iter().zip(row) {
        let (q, x) = (f64::from(q), f64::from(x));
        distance += (q - x) * (q - x);
        dot += q * x;
        q2 += q * q;
        x2 += x * x;
    }
    let norms = f64::sqrt(q2 * x2);
    [distance, if norms > 0.0 { 1.0 - dot / norms } else { 1.0 }, -dot]
}

/// Keeps the `depth` smallest scores in ascending order.
fn insert(least: &mut Vec<f64>, score: f64, depth: usize) {
    if least.len() == depth && least.last().is_some_and(|last| score >= *last) {
        return;
    }
    least.insert(least.partition_point(|other| *other <= score), score);
    least.truncate(depth);
}
