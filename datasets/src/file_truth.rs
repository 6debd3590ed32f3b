//! Neighbours that come with vectors: checked on a sample against the exact ones, and used as ground truth where they
//! can be. Files whose neighbours were computed with another metric are common.

use crate::format::{self, Blocks, Place};
use crate::row_set::RowSet;
use crate::{DatasetError, MetricSpace};
use ndarray::Array2;
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Number of queries checked, and of neighbours of each, unless more are needed.
const QUERIES: usize = 16;
const NEIGHBOURS: usize = 10;

/// From `AGREES` on, neighbours are those of a metric; rounding in f32 swaps a few. Those below it contradict the
/// dataset's metric if they are those of another one, or below `CONTRADICTS`.
const CONTRADICTS: f64 = 0.9;
const AGREES: f64 = 0.99;

/// Scores with a smaller relative difference may be a tie, because files are made in f32.
const TIE: f64 = 1e-5;

/// Rows read at a time.
const BLOCK_ROWS: usize = 4096;

/// Neighbours in a file, one row of them for each query of a file.
#[derive(Clone, Debug)]
pub(crate) struct TruthFile {
    /// The file.
    pub path: PathBuf,
    /// The file of the rows that they number.
    pub base: PathBuf,
    /// The file of the queries.
    pub queries: PathBuf,
    /// The queries that are used.
    pub query_rows: RowSet,
    /// Why row numbers of the file are not those of base rows; None if they are.
    pub renumbered: Option<String>,
}

/// Neighbours that were read from a file, and how they compare with the exact ones.
#[derive(Clone, Debug)]
pub struct FileTruth {
    /// The check of a sample.
    pub check: TruthCheck,
    /// The neighbours of each query that is used; empty unless they are used.
    ids: Array2<u32>,
}

/// Result of checking the neighbours in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TruthCheck {
    /// Name of the file, with the array in it.
    pub file: String,
    /// Queries looked at.
    pub queries: usize,
    /// Neighbours of each.
    pub neighbours: usize,
    /// The share of them that are nearest by the metric of the dataset. Equal distances count as nearest.
    pub agreement: f64,
    /// Another metric by which they are nearest, if there is one.
    pub explained_by: Option<MetricSpace>,
    /// Why they are not used as ground truth; None if they are.
    pub unused: Option<Unused>,
}

/// Why neighbours in a file are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unused {
    /// They contradict the vectors: many of them are not nearest by the metric of the dataset.
    Contradiction,
    /// Another reason, in words that follow "because".
    Because(String),
}

const METRICS: [MetricSpace; 3] = [MetricSpace::L2, MetricSpace::Cosine, MetricSpace::Ip];

/// For one query and one metric: the smallest scores so far, and the scores of the neighbours that the file names.
#[derive(Clone)]
struct Scores {
    least: Vec<f64>,
    named: Vec<f64>,
}

impl TruthFile {
    /// Reads the neighbours and compares those of some queries with the exact ones. `depth` is how many are needed of
    /// each query.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn check(&self, metric: MetricSpace, depth: usize) -> Result<FileTruth, DatasetError> {
        let all = format::read_ids(&self.path)?;
        let (base_rows, _) = format::shape(&self.base)?;
        let mut check = TruthCheck {
            file: name_of(&self.path),
            queries: 0,
            neighbours: 0,
            agreement: 0.0,
            explained_by: None,
            unused: None,
        };
        if self.query_rows.iter().any(|row| row >= all.nrows()) {
            let reason = "it has fewer rows than when its header was read".to_owned();
            return Err(DatasetError::Malformed { path: self.path.clone(), format: "ground truth", reason });
        }
        let step = self.query_rows.len().div_ceil(QUERIES).max(1);
        let sample: Vec<usize> = self.query_rows.iter().step_by(step).collect();
        check.queries = sample.len();
        check.neighbours = NEIGHBOURS.max(depth).min(all.ncols()).min(base_rows);
        let agreements = self.agreements(&all, &sample, check.neighbours)?;
        check.agreement = agreements.iter().find(|(other, _)| *other == metric).map_or(0.0, |(_, share)| *share);
        if check.agreement < AGREES {
            let others = agreements.iter().filter(|(_, share)| *share >= AGREES);
            check.explained_by = others.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(other, _)| *other);
        }
        check.unused = self.unusable(&all, base_rows, &check, depth);
        let rows: Vec<usize> = self.query_rows.iter().filter(|_| check.unused.is_none()).collect();
        let ids = all.select(ndarray::Axis(0), &rows);
        Ok(FileTruth { check, ids })
    }

    /// Why neighbours cannot be the ground truth.
    fn unusable(&self, ids: &Array2<u32>, base_rows: usize, check: &TruthCheck, depth: usize) -> Option<Unused> {
        let (agreement, because) = (check.agreement, |reason| Some(Unused::Because(reason)));
        if let Some(((row, _), id)) = ids.indexed_iter().find(|(_, id)| **id as usize >= base_rows) {
            let base = name_of(&self.base);
            return because(format!("its row {row} names row {id}, and {base} has only {base_rows} rows"));
        }
        if agreement < CONTRADICTS || check.explained_by.is_some() {
            return Some(Unused::Contradiction);
        }
        if agreement < AGREES {
            return because(format!("only {:.1}% of those in a sample are true nearest neighbours", 100.0 * agreement));
        }
        if let Some(reason) = &self.renumbered {
            return because(reason.clone());
        }
        let needed = depth.min(base_rows);
        let different = |row: ndarray::ArrayView1<'_, u32>| row.iter().collect::<HashSet<_>>().len();
        let least = self.query_rows.iter().map(|row| different(ids.row(row))).min().unwrap_or(0);
        if least < needed {
            return because(format!("it names {least} different neighbours of a query, and {needed} are needed"));
        }
        None
    }

    /// The share of the first `depth` neighbours of the `sample` that are nearest, by each metric.
    fn agreements(
        &self,
        ids: &Array2<u32>,
        sample: &[usize],
        depth: usize,
    ) -> Result<Vec<(MetricSpace, f64)>, DatasetError> {
        let mut rows = Blocks::open(&self.base)?;
        let (_, dim) = rows.shape();
        let asked = chosen_rows(&self.queries, sample)?;
        let named: Vec<HashSet<usize>> =
            sample.iter().map(|&row| ids.row(row).iter().take(depth).map(|&id| id as usize).collect()).collect();
        // Indexed by query, then by metric.
        let nothing = || Scores { least: Vec::new(), named: Vec::new() };
        let mut scores = vec![METRICS.map(|_| nothing()); sample.len()];
        let (mut first, mut block) = (0, Vec::new());
        while rows.next_of_any(BLOCK_ROWS, &mut block)? > 0 {
            scores.par_iter_mut().zip(asked.par_chunks_exact(dim)).zip(&named).for_each(|((found, query), named)| {
                for (i, row) in block.chunks_exact(dim).enumerate() {
                    for (found, score) in found.iter_mut().zip(all_scores(query, row)) {
                        insert(&mut found.least, score, depth);
                        if named.contains(&(first + i)) {
                            found.named.push(score);
                        }
                    }
                }
            });
            first += block.len() / dim;
        }
        let agreement = |m: usize| {
            let near = |of_query: &[Scores; METRICS.len()]| {
                let found = &of_query[m];
                let farthest = found.least.last().copied().unwrap_or(0.0);
                let bound = farthest + TIE * farthest.abs();
                found.named.iter().filter(|score| **score <= bound).count()
            };
            scores.iter().map(near).sum::<usize>() as f64 / (sample.len() * depth).max(1) as f64
        };
        Ok(METRICS.into_iter().enumerate().map(|(m, metric)| (metric, agreement(m))).collect())
    }
}

impl FileTruth {
    /// The rows among which the nearest of each query are; None if the neighbours in the file are not used.
    pub fn candidates(&self) -> Option<Vec<Vec<u32>>> {
        self.check.unused.is_none().then(|| self.ids.outer_iter().map(|ids| ids.to_vec()).collect())
    }
}

/// Some rows of a file, in ascending order, one after the other.
fn chosen_rows(path: &Path, rows: &[usize]) -> Result<Vec<f32>, DatasetError> {
    let mut wanted = rows.to_vec();
    wanted.sort_unstable();
    let mut blocks = Blocks::open(path)?;
    let (_, dim) = blocks.shape();
    let mut found = vec![0.0; rows.len() * dim];
    let (mut first, mut block) = (0, Vec::new());
    while first <= wanted.last().copied().unwrap_or(0) && blocks.next_of_any(BLOCK_ROWS, &mut block)? > 0 {
        let end = first + block.len() / dim;
        for (place, &row) in found.chunks_exact_mut(dim).zip(rows).filter(|(_, row)| (first..end).contains(row)) {
            place.copy_from_slice(&block[(row - first) * dim..(row - first + 1) * dim]);
        }
        first = end;
    }
    Ok(found)
}

/// Name of a file without its folder, with the array in it.
pub(crate) fn name_of(path: &Path) -> String {
    let place = Place::of(path);
    let file = place.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let array = place.part.map_or_else(String::new, |part| format!("#{part}"));
    format!("{file}{array}")
}

/// Scores of a pair by each of [`METRICS`], smaller is nearer. Partial sums let the compiler vectorize.
fn all_scores(query: &[f32], row: &[f32]) -> [f64; METRICS.len()] {
    let mut sums = [[0.0; 8]; 4];
    let mut add = |lane: usize, q: f32, x: f32| {
        let (q, x) = (f64::from(q), f64::from(x));
        sums[0][lane] += (q - x) * (q - x);
        sums[1][lane] += q * x;
        sums[2][lane] += q * q;
        sums[3][lane] += x * x;
    };
    let ((q8, q_tail), (x8, x_tail)) = (query.as_chunks::<8>(), row.as_chunks::<8>());
    for (q, x) in q8.iter().zip(x8) {
        (0..8).for_each(|lane| add(lane, q[lane], x[lane]));
    }
    q_tail.iter().zip(x_tail).enumerate().for_each(|(lane, (&q, &x))| add(lane, q, x));
    let [distance, dot, q2, x2] = sums.map(|lanes| lanes.iter().sum::<f64>());
    let norms = f64::sqrt(q2 * x2);
    [distance, if norms > 0.0 { 1.0 - dot / norms } else { 1.0 }, -dot]
}

/// Keeps the `depth` smallest scores in ascending order.
fn insert(least: &mut Vec<f64>, score: f64, depth: usize) {
    if score.is_nan() || least.len() == depth && least.last().is_some_and(|last| score >= *last) {
        return;
    }
    least.insert(least.partition_point(|other| *other <= score), score);
    least.truncate(depth);
}
