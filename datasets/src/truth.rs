//! Exact nearest neighbours: the ground truth of every recall.

use crate::Metric;
use cpu::{Isa, Neighbor, Panels, Score, TopK};
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

/// Base rows packed at a time; bounds memory beside the base itself.
const BASE_BLOCK: usize = 8192;

/// Queries per task.
const QUERY_BLOCK: usize = 24;

/// Candidates kept beyond `k` before the exact pass, for ties that the fast pass may order differently.
const MARGIN: usize = 32;

/// The `k` nearest base rows of each query, nearest first, ties by row number. A fast pass in f32 selects candidates,
/// whose scores are then computed in f64: `‖q−x‖²` ([`Metric::L2`] and [`Metric::Cosine`]) or `−q·x`.
pub fn exact_neighbors(
    base: ArrayView2<'_, f32>,
    queries: ArrayView2<'_, f32>,
    metric: Metric,
    k: usize,
    isa: Isa,
) -> Vec<Vec<Neighbor>> {
    let dim = base.ncols();
    let k = k.min(base.nrows());
    let score = if metric == Metric::Ip { Score::NegatedDot } else { Score::HalfDistance };
    let queries = queries.as_standard_layout();
    let queries = queries.as_slice().unwrap_or_default();
    let mut selections: Vec<TopK> = (0..queries.len() / dim).map(|_| TopK::new(k + MARGIN)).collect();
    for start in (0..base.nrows()).step_by(BASE_BLOCK) {
        let end = (start + BASE_BLOCK).min(base.nrows());
        let block = base.slice(s![start..end, ..]);
        let block = block.as_standard_layout();
        let panels = Panels::new(isa, block.as_slice().unwrap_or_default(), dim, score);
        selections.par_chunks_mut(QUERY_BLOCK).zip(queries.par_chunks(QUERY_BLOCK * dim)).for_each(
            |(tops, queries)| {
                let mut scores = vec![0f32; tops.len() * panels.len()];
                panels.scores(queries, &mut scores);
                for (top, scores) in tops.iter_mut().zip(scores.chunks_exact(panels.len())) {
                    top.push_block(scores, start as u32);
                }
            },
        );
    }
    selections
        .into_par_iter()
        .zip(queries.par_chunks_exact(dim))
        .map(|(mut top, query)| {
            let candidates = top.drain_sorted().into_iter().map(|n| n.id);
            let mut exact: Vec<(f64, u32)> =
                candidates.map(|id| (exact_score(query, base.row(id as usize).iter(), metric), id)).collect();
            exact.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            exact.truncate(k);
            exact.into_iter().map(|(score, id)| Neighbor { score: score as f32, id }).collect()
        })
        .collect()
}

/// The score of one pair in f64; smaller is nearer.
pub fn exact_score<'a>(query: &[f32], row: impl Iterator<Item = &'a f32>, metric: Metric) -> f64 {
    let pairs = query.iter().zip(row).map(|(&q, &x)| (f64::from(q), f64::from(x)));
    match metric {
        Metric::Ip => -pairs.map(|(q, x)| q * x).sum::<f64>(),
        Metric::L2 | Metric::Cosine => pairs.map(|(q, x)| (q - x).powi(2)).sum(),
    }
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
        for metric in [Metric::L2, Metric::Ip] {
            for isa in Isa::available() {
                let found = exact_neighbors(base.view(), queries.view(), metric, 10, isa);
                for (query, found) in queries.outer_iter().zip(&found) {
                    let query = query.to_vec();
                    let mut all: Vec<(f64, u32)> = base
                        .outer_iter()
                        .zip(0..)
                        .map(|(row, id)| (exact_score(&query, row.iter(), metric), id))
                        .collect();
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
        let found = exact_neighbors(base.view(), base.view(), Metric::L2, 10, Isa::detect());
        assert_eq!(found[2].iter().map(|n| n.id).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
