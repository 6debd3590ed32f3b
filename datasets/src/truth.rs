//! Exact nearest neighbours: the ground truth of recall.

use crate::MetricSpace;
use cpu::{Isa, Nearest, Neighbor, Score, Shortlist};
use ndarray::{ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

/// Values of base rows that are packed as one task, and most rows of them: they fit the second-level cache.
const PACKED_VALUES: usize = 1 << 19;
const PACKED_ROWS: usize = 4096;

/// Values of base rows that are packed at a time: limits the memory besides the base rows.
const GROUP_VALUES: usize = 1 << 21;

/// Most queries of a task. Few queries are divided too, so that all threads have some.
const QUERY_BLOCK: usize = 120;
const LEAST_QUERY_BLOCK: usize = 16;
const TASKS: usize = 8;

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
    let mut search = NeighborSearch::new(queries, metric, k.min(base.nrows()), isa);
    search.select(0, base);
    let mut ranking = search.into_ranking();
    ranking.score(0, base);
    ranking.finish()
}

/// The first of two passes over the base rows, which come in blocks: selects the candidates of each query. Runs on the
/// current thread pool.
pub struct NeighborSearch {
    queries: Vec<f32>,
    dim: usize,
    metric: MetricSpace,
    k: usize,
    isa: Isa,
    lists: Vec<Shortlist>,
    /// Of each query, the nearest of the rows whose scores are known.
    known: Vec<Candidates>,
}

impl NeighborSearch {
    /// Of `k` neighbours each, with kernels of `isa`.
    pub fn new(queries: ArrayView2<'_, f32>, metric: MetricSpace, k: usize, isa: Isa) -> NeighborSearch {
        let lists = vec![Shortlist::new(k); queries.nrows()];
        let (known, dim) = (vec![Vec::new(); lists.len()], queries.ncols());
        NeighborSearch { queries: queries.iter().copied().collect(), dim, metric, k, isa, lists, known }
    }

    /// The next base rows, and the number of the first of them.
    pub fn select(&mut self, first: usize, base: ArrayView2<'_, f32>) {
        let dim = self.dim;
        let score = if self.metric == MetricSpace::Ip { Score::NegatedDot } else { Score::HalfDistance };
        let (isa, metric, k, at_once) = (self.isa, self.metric, self.k, packed_rows(dim));
        let group = (GROUP_VALUES / dim.max(1) / at_once).max(1) * at_once;
        let query_block = self.lists.len().div_ceil(TASKS).clamp(LEAST_QUERY_BLOCK, QUERY_BLOCK);
        let pack = |(i, block): (usize, ArrayView2<'_, f32>)| {
            let values = block.as_slice().map_or_else(|| block.iter().copied().collect(), <[f32]>::to_vec);
            (i * at_once, Nearest::new(isa, values, dim, score))
        };
        for (g, rows) in base.axis_chunks_iter(Axis(0), group).enumerate() {
            let blocks: Vec<_> = rows.axis_chunks_iter(Axis(0), at_once).enumerate().collect();
            let packed: Vec<_> = blocks.into_par_iter().map(pack).collect();
            let lists = self.lists.par_chunks_mut(query_block).zip(self.known.par_chunks_mut(query_block));
            let tasks = lists.zip(self.queries.par_chunks(query_block * dim));
            tasks.for_each(|((lists, known), queries)| {
                for (at, packed) in &packed {
                    packed.shortlist(queries, (first + g * group + at) as u32, lists);
                    let queries = queries.chunks_exact(dim.max(1));
                    for ((list, known), query) in lists.iter_mut().zip(&mut *known).zip(queries) {
                        let taken = list.thin_out(first as u32);
                        if !taken.is_empty() {
                            let score = |id: u32| exact_score(query, base.row(id as usize - first), metric);
                            known.extend(taken.into_iter().map(|id| (id, score(id))));
                            keep_nearest(known, k);
                            list.lower_to(NeighborSearch::limit(metric, k, known));
                        }
                    }
                }
            });
        }
    }

    /// A score in the lists that no row exceeds which is as near as the worst of `k` known ones; later rows of the same score are no nearer.
    fn limit(metric: MetricSpace, k: usize, known: &Candidates) -> f32 {
        let worst = known.get(k.wrapping_sub(1)).map_or(f64::INFINITY, |(_, score)| *score);
        let worst = if metric == MetricSpace::Ip { worst } else { 0.5 * worst };
        (worst as f32).next_up()
    }

    /// The second pass.
    pub fn into_ranking(self) -> NeighborRanking {
        let NeighborSearch { queries, dim, metric, k, mut lists, known, .. } = self;
        let of_query = |(list, known): (&mut Shortlist, Candidates)| {
            let mut ids = list.drain();
            ids.extend(known.into_iter().map(|(id, _)| id));
            ids
        };
        let candidates = lists.par_iter_mut().zip(known).map(of_query).collect();
        NeighborRanking::of(queries, dim, metric, k, candidates)
    }
}

/// Keeps the `k` nearest rows, nearest first, ties by row number.
fn keep_nearest(rows: &mut Candidates, k: usize) {
    rows.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    rows.truncate(k);
}

/// Rows of `dim` components that one task packs. However base rows are divided, the neighbours are the same.
fn packed_rows(dim: usize) -> usize {
    (PACKED_VALUES / dim.max(1)).next_multiple_of(64).min(PACKED_ROWS)
}

/// Rows with their scores.
type Candidates = Vec<(u32, f64)>;

/// The second of two passes over the base rows, which come in blocks: scores the candidates.
pub struct NeighborRanking {
    queries: Vec<f32>,
    dim: usize,
    metric: MetricSpace,
    k: usize,
    /// By query, in ascending order of the rows.
    candidates: Vec<Candidates>,
    /// Number of candidates of each query that are scored.
    seen: Vec<usize>,
}

impl NeighborRanking {
    /// Of the `k` nearest of some candidates of each query, by row number.
    pub fn new(
        queries: ArrayView2<'_, f32>,
        metric: MetricSpace,
        k: usize,
        candidates: Vec<Vec<u32>>,
    ) -> NeighborRanking {
        NeighborRanking::of(queries.iter().copied().collect(), queries.ncols(), metric, k, candidates)
    }

    fn of(queries: Vec<f32>, dim: usize, metric: MetricSpace, k: usize, candidates: Vec<Vec<u32>>) -> NeighborRanking {
        let ascending = |mut ids: Vec<u32>| {
            ids.sort_unstable();
            ids.dedup();
            ids.into_iter().map(|id| (id, 0.0)).collect()
        };
        let candidates: Vec<Candidates> = candidates.into_par_iter().map(ascending).collect();
        NeighborRanking { queries, dim, metric, k, seen: vec![0; candidates.len()], candidates }
    }

    /// The next base rows, and the number of the first of them.
    pub fn score(&mut self, first: usize, base: ArrayView2<'_, f32>) {
        let (end, metric) = (first + base.nrows(), self.metric);
        let of_query = |((candidates, seen), query): ((&mut Candidates, &mut usize), &[f32])| {
            let here = candidates[*seen..].iter_mut().take_while(|(id, _)| (*id as usize) < end);
            for (id, score) in here {
                *score = exact_score(query, base.row(*id as usize - first), metric);
                *seen += 1;
            }
        };
        let queries = self.queries.par_chunks_exact(self.dim);
        self.candidates.par_iter_mut().zip(&mut self.seen).zip(queries).for_each(of_query);
    }

    /// The neighbours of each query, once all base rows were seen.
    pub fn finish(self) -> Vec<Vec<Neighbor>> {
        let nearest = |mut exact: Candidates| {
            keep_nearest(&mut exact, self.k);
            exact.into_iter().map(|(id, score)| Neighbor { score: score as f32, id }).collect()
        };
        self.candidates.into_par_iter().map(nearest).collect()
    }
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
                // The same in blocks.
                let blocks = || base.axis_chunks_iter(Axis(0), 130).enumerate().map(|(i, rows)| (i * 130, rows));
                let mut search = NeighborSearch::new(queries.view(), metric, 10, isa);
                blocks().for_each(|(first, rows)| search.select(first, rows));
                let mut ranking = search.into_ranking();
                blocks().for_each(|(first, rows)| ranking.score(first, rows));
                assert_eq!(ranking.finish(), found, "{metric} {isa}");
            }
        }
    }

    #[test]
    fn fewer_rows_than_k_are_all_returned() {
        let base = Array2::from_shape_fn((3, 2), |(i, _)| i as f32);
        let found = exact_neighbors(base.view(), base.view(), MetricSpace::L2, 10, Isa::widest());
        assert_eq!(found[2].iter().map(|n| n.id).collect::<Vec<_>>(), [2, 1, 0]);
    }

    #[test]
    fn equal_rows_are_found_without_holding_them_all() {
        // Two kinds of rows far from the query, so that many scores are equal, and a few nearer ones late.
        let near = [20_123, 29_999];
        let row = |i: usize| if near.contains(&i) { 2.0 } else { 3.0 + (i % 2) as f32 };
        let base = Array2::from_shape_fn((30_000, 30), |(i, j)| row(i) + j as f32);
        let queries = Array2::from_shape_fn((20, 30), |(i, j)| (i + j) as f32 * 0.01);
        for isa in Isa::available() {
            for at_once in [30_000, 7_001] {
                let blocks =
                    || base.axis_chunks_iter(Axis(0), at_once).enumerate().map(|(b, rows)| (b * at_once, rows));
                let mut search = NeighborSearch::new(queries.view(), MetricSpace::L2, 5, isa);
                blocks().for_each(|(first, rows)| search.select(first, rows));
                let mut ranking = search.into_ranking();
                let most = ranking.candidates.iter().map(Vec::len).max();
                assert!(most < Some(10_000), "{isa}: {most:?} candidates are held");
                blocks().for_each(|(first, rows)| ranking.score(first, rows));
                for found in ranking.finish() {
                    assert_eq!(found.iter().map(|n| n.id).collect::<Vec<_>>(), [20_123, 29_999, 0, 2, 4], "{isa}");
                }
            }
        }
    }
}
