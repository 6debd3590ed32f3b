//! Exact nearest neighbours: the ground truth of recall.

use crate::MetricSpace;
use cpu::{Isa, Nearest, Neighbor, Score, Shortlist};
use ndarray::{ArrayView1, ArrayView2, s};
use rayon::prelude::*;
use std::borrow::Cow;

/// Base rows packed at a time: limits the memory besides the base rows, and fits the second-level cache.
const BASE_BLOCK: usize = 4096;

/// Queries per task. A constant, so that no result depends on the number of threads.
const QUERY_BLOCK: usize = 120;

/// The `k` nearest base rows of each query, nearest first, ties by row number. A fast pass selects all candidates that
/// its error bound cannot rule out; their scores are then computed in f64: `‖q−x‖²` ([`MetricSpace::L2`] and
/// [`MetricSpace::Cosine`]) or `−q·x`.
pub fn exact_neighbors(
    base: ArrayView2<'_, f32>,
    queries: ArrayView2<'_, f32>,
    metric: MetricSpace,
    k: usize,
    isa: Isa,
) -> Vec<Vec<Neighbor>> {
    let dim = base.ncols();
    let k = k.min(base.nrows());
    let score = if metric == MetricSpace::Ip { Score::NegatedDot } else { Score::HalfDistance };
    let queries = match queries.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(queries.iter().copied().collect()),
    };
    let mut lists: Vec<Shortlist> = (0..queries.len() / dim).map(|_| Shortlist::new(k)).collect();
    for start in (0..base.nrows()).step_by(BASE_BLOCK) {
        let end = (start + BASE_BLOCK).min(base.nrows());
        let block = base.slice(s![start..end, ..]);
        let block = block.as_slice().map_or_else(|| block.iter().copied().collect(), <[f32]>::to_vec);
        let packed = Nearest::new(isa, block, dim, score);
        let tasks = lists.par_chunks_mut(QUERY_BLOCK).zip(queries.par_chunks(QUERY_BLOCK * dim));
        tasks.for_each(|(lists, queries)| packed.shortlist(queries, start as u32, lists));
    }
    lists
        .into_par_iter()
        .zip(queries.par_chunks_exact(dim))
        .map(|(mut list, query)| {
            let score = |id: u32| (exact_score(query, base.row(id as usize), metric), id);
            let mut exact: Vec<(f64, u32)> = list.drain().into_iter().map(score).collect();
            exact.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            exact.truncate(k);
            exact.into_iter().map(|(score, id)| Neighbor { score: score as f32, id }).collect()
        })
        .collect()
}

/// The score of one pair in f64; smaller is nearer. Eight partial sums let the compiler vectorize.
pub fn exact_score(query: &[f32], row: ArrayView1<'_, f32>, metric: MetricSpace) -> f64 {
    let copy;
    let row = match row.as_slice() {
        Some(row) => row,
        None => {
            copy = row.to_vec();
            &copy
        }
    };
    match metric {
        MetricSpace::Ip => -sum_of_pairs(query, row, |q, x| q * x),
        MetricSpace::L2 | MetricSpace::Cosine => sum_of_pairs(query, row, |q, x| (q - x) * (q - x)),
    }
}

#[inline(always)]
fn sum_of_pairs(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let (a8, a_tail) = a.as_chunks::<8>();
    let (b8, b_tail) = b.as_chunks::<8>();
    let mut sums = [0f64; 8];
    for (a, b) in a8.iter().zip(b8) {
        for l in 0..8 {
            sums[l] += term(f64::from(a[l]), f64::from(b[l]));
        }
    }
    let tail: f64 = a_tail.iter().zip(b_tail).map(|(a, b)| term(f64::from(*a), f64::from(*b))).sum();
    sums.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn agrees_with_a_full_sort_in_f64_with_duplicates() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut base = Array2::from_shape_fn((500, 7), |_| rng.random::<f32>());
        for i in 0..60 {
            let copy = base.row(3).to_owned();
            base.row_mut(100 + i).assign(&copy);
        }
        let queries = Array2::from_shape_fn((30, 7), |(i, j)| if i == 0 { base[(3, j)] } else { rng.random::<f32>() });
        for metric in [MetricSpace::L2, MetricSpace::Ip] {
            for isa in Isa::available() {
                let found = exact_neighbors(base.view(), queries.view(), metric, 10, isa);
                for (query, found) in queries.outer_iter().zip(&found) {
                    let query = query.to_vec();
                    let mut all: Vec<(f64, u32)> =
                        base.outer_iter().zip(0..).map(|(row, id)| (exact_score(&query, row, metric), id)).collect();
                    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                    let expected: Vec<u32> = all[..10].iter().map(|(_, id)| *id).collect();
                    assert_eq!(found.iter().map(|n| n.id).collect::<Vec<_>>(), expected, "{metric} {isa}");
                }
            }
        }
    }

    #[test]
    fn fewer_rows_than_k_are_all_returned() {
        let base = Array2::from_shape_fn((3, 2), |(i, _)| i as f32);
        let found = exact_neighbors(base.view(), base.view(), MetricSpace::L2, 10, Isa::widest());
        assert_eq!(found[2].iter().map(|n| n.id).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
