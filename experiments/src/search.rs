//! Compressed search as the runner performs it: in the metric of the dataset, and with raw rows to re-order what was found.

use crate::machine::available_memory_bytes;
use crate::memory::decoded_bytes;
use cpu::TopK;
use datasets::{BaseRows, DatasetError};
use methods::search::codes::CodeSearch;
use methods::{MethodError, Neighbor, Quantizer, SearchMetric, row_major};
use ndarray::ArrayView2;
use rayon::prelude::*;

/// A search over codes in the metric of the dataset, of which only inner products are searched as such. It holds decoded rows only as far
/// as the memory that is available now allows.
///
/// # Errors
/// As [`CodeSearch::new`].
pub fn code_search<'a>(
    quantizer: &'a dyn Quantizer,
    codes: &'a [u8],
    metric: datasets::MetricSpace,
) -> Result<CodeSearch<'a>, MethodError> {
    let most_bytes = decoded_bytes(Some(available_memory_bytes()), &[]);
    CodeSearch::within(quantizer, codes, search_metric(metric), most_bytes)
}

/// The same for a single search, which holds no decoded rows.
fn single_search<'a>(
    quantizer: &'a dyn Quantizer,
    codes: &'a [u8],
    metric: datasets::MetricSpace,
) -> Result<CodeSearch<'a>, MethodError> {
    CodeSearch::within(quantizer, codes, search_metric(metric), 0)
}

/// How a dataset is searched: only inner products are searched as such.
pub fn search_metric(metric: datasets::MetricSpace) -> SearchMetric {
    if metric == datasets::MetricSpace::Ip { SearchMetric::InnerProduct } else { SearchMetric::L2 }
}

/// Codes that are searched at a time. A search may lay them out anew, which takes as much memory as they do. A constant,
/// so that no result depends on a limit of memory.
pub const CODES_AT_ONCE: usize = 1 << 20;

/// Searches codes part by part. Returns the search path, and the `k` nearest codes of each query, nearest first, ties by
/// number.
///
/// # Errors
/// As [`CodeSearch::new`] and [`CodeSearch::search`].
pub fn search_in_parts(
    quantizer: &dyn Quantizer,
    codes: &[u8],
    metric: datasets::MetricSpace,
    queries: ArrayView2<'_, f32>,
    k: usize,
) -> Result<(&'static str, Vec<Vec<Neighbor>>), MethodError> {
    let part_bytes = CODES_AT_ONCE * quantizer.code_size();
    // A program searches everything at once, and its scores are places.
    if codes.len() <= part_bytes || quantizer.program().is_some_and(|program| program.can_search(search_metric(metric)))
    {
        let search = single_search(quantizer, codes, metric)?;
        return Ok((search.path(), search.search(queries, k)?));
    }
    let mut path = "";
    let mut tops = vec![TopK::new(k); queries.nrows()];
    for (part, codes) in codes.chunks(part_bytes).enumerate() {
        let search = single_search(quantizer, codes, metric)?;
        path = search.path();
        let first = (part * CODES_AT_ONCE) as u32;
        for (top, found) in tops.iter_mut().zip(search.search(queries, k)?) {
            found.into_iter().for_each(|neighbor| top.push(neighbor.score, first + neighbor.id));
        }
    }
    Ok((path, tops.iter_mut().map(TopK::drain_sorted).collect()))
}

/// The exact scores of candidates against the raw rows, in one pass over these.
///
/// # Errors
/// Rows that cannot be read.
pub fn exact_scores(
    base: &BaseRows,
    queries: ArrayView2<'_, f32>,
    metric: datasets::MetricSpace,
    candidates: &[Vec<Neighbor>],
) -> Result<Vec<Vec<f64>>, DatasetError> {
    let mut scores: Vec<Vec<f64>> = candidates.iter().map(|row| vec![0.0; row.len()]).collect();
    // By row: its number, the query, and the place among the candidates of that query.
    let of_query = |(q, row): (usize, &Vec<Neighbor>)| -> Vec<(u32, u32, u32)> {
        row.iter().zip(0..).map(|(neighbor, place)| (neighbor.id, q as u32, place)).collect()
    };
    let mut wanted: Vec<(u32, u32, u32)> = candidates.iter().enumerate().flat_map(of_query).collect();
    wanted.par_sort_unstable();
    let ids: Vec<u32> = wanted.iter().map(|(id, ..)| *id).collect();
    let queries = row_major(&queries);
    let dim = base.ncols();
    base.visit(&ids, |at, row| {
        let (_, q, place) = wanted[at];
        let query = &queries[q as usize * dim..][..dim];
        scores[q as usize][place as usize] = datasets::truth::exact_score(query, row.into(), metric);
    })?;
    Ok(scores)
}

/// As [`rerank_all`], by the exact scores of the candidates.
pub fn by_scores(candidates: &[Vec<Neighbor>], scores: &[Vec<f64>], depth: usize, k: usize) -> Vec<Vec<u32>> {
    let one = |(row, scores): (&Vec<Neighbor>, &Vec<f64>)| {
        nearest(row.iter().zip(scores).take(depth).map(|(neighbor, score)| (*score, neighbor.id)).collect(), k)
    };
    candidates.par_iter().zip(scores).map(one).collect()
}

/// The `k` nearest of rows with their scores.
fn nearest(mut exact: Vec<(f64, u32)>, k: usize) -> Vec<u32> {
    exact.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    exact.into_iter().take(k).map(|(_, id)| id).collect()
}

/// k-recall@k of each query: the share of the true `k` nearest rows among those returned.
pub fn k_recalls(truth: &[Vec<u32>], returned: &[Vec<u32>], k: usize) -> Vec<f64> {
    let share = |(truth, returned): (&Vec<u32>, &Vec<u32>)| {
        let true_k = &truth[..k.min(truth.len())];
        true_k.iter().filter(|id| returned.contains(id)).count() as f64 / true_k.len().max(1) as f64
    };
    truth.iter().zip(returned).map(share).collect()
}

/// Re-orders the first `depth` candidates of each query by their exact score against the raw rows and keeps `k`, on the current
/// thread pool.
pub fn rerank_all(
    queries: ArrayView2<'_, f32>,
    base: ArrayView2<'_, f32>,
    metric: datasets::MetricSpace,
    candidates: &[Vec<Neighbor>],
    depth: usize,
    k: usize,
) -> Vec<Vec<u32>> {
    let one = |(q, row): (usize, &Vec<Neighbor>)| {
        rerank(&queries.row(q).to_vec(), base, metric, &row[..row.len().min(depth)], k)
    };
    candidates.par_iter().enumerate().map(one).collect()
}

/// Re-orders candidates by their exact score against the raw rows and keeps `k`.
fn rerank(
    query: &[f32],
    base: ArrayView2<'_, f32>,
    metric: datasets::MetricSpace,
    candidates: &[Neighbor],
    k: usize,
) -> Vec<u32> {
    let score = |n: &Neighbor| (datasets::truth::exact_score(query, base.row(n.id as usize), metric), n.id);
    nearest(candidates.iter().map(score).collect(), k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpu::Isa;
    use datasets::MetricSpace as Space;
    use methods::{Context, parse};
    use ndarray::{Array2, s};
    use serde_json::json;
    use std::path::Path;

    /// Results depend on codes alone: not on the number of threads, nor on the grouping of queries.
    #[test]
    fn searches_agree_over_threads_batches_and_a_full_sort() {
        let source = datasets::Source::parse(&json!({ "synthetic": "gaussian", "dim": 12, "n": 3000, "queries": 70 }));
        let resolved = source.expect("a source").resolve(Path::new("."), &datasets::SearchPath::default());
        let data = resolved.expect("resolves").load().expect("draws");
        for (name, params, path) in [
            ("pq", json!({ "m": 4, "bits": 5 }), "adc"),
            ("pq", json!({ "m": 4, "bits": 4 }), "adc"),
            ("binary", json!({ "search": "asymmetric" }), "adc"),
            ("scalar", json!({ "bits": 3 }), "decode"),
        ] {
            let method = parse(name, params).expect("parses");
            let quantizer = method.fit(data.train.view(), &Context::cpu(1)).expect("fits");
            let mut codes = vec![0; data.base.nrows() * quantizer.code_size()];
            quantizer.encode_into(data.base.view(), &mut codes).expect("encodes");
            let mut decoded = Array2::zeros(data.base.dim());
            quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
            for space in [Space::L2, Space::Ip] {
                let search = code_search(&*quantizer, &codes, space).expect("holds codes");
                assert_eq!(search.path(), path);
                let on = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                    pool.install(|| search.search(data.queries.view(), 10)).expect("finds")
                };
                let found = on(1);
                assert_eq!(on(3), found, "{name} {space}: threads decide nothing");
                let exact =
                    datasets::truth::exact_neighbors(decoded.view(), data.queries.view(), space, 10, Isa::widest());
                for (found, exact) in found.iter().zip(&exact) {
                    // Equal codes and near-ties may swap; nothing farther than the true tenth may be returned.
                    let limit = exact[9].score + 1e-4 * exact[9].score.abs().max(1.0);
                    assert!(found.iter().all(|n| n.score <= limit), "{name} {space}");
                }
            }
        }
    }

    /// Few queries, so that groups of a thread are few as well: all of them are searched in the same way.
    #[test]
    fn few_queries_are_answered_alike_by_any_number_of_threads() {
        let source = datasets::Source::parse(&json!({ "synthetic": "gaussian", "dim": 16, "n": 5000, "queries": 17 }));
        let resolved = source.expect("a source").resolve(Path::new("."), &datasets::SearchPath::default());
        let data = resolved.expect("resolves").load().expect("draws");
        for (name, params) in [("pq", json!({ "m": 8, "bits": 4 })), ("rabitq", json!({ "bits": 1 }))] {
            let quantizer =
                parse(name, params).expect("parses").fit(data.train.view(), &Context::cpu(1)).expect("fits");
            let mut codes = vec![0; data.base.nrows() * quantizer.code_size()];
            quantizer.encode_into(data.base.view(), &mut codes).expect("encodes");
            let search = code_search(&*quantizer, &codes, Space::L2).expect("holds codes");
            for count in [1, 7, 8, 9, 17] {
                let on = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                    pool.install(|| search.search(data.queries.slice(s![..count, ..]), 10)).expect("finds")
                };
                assert_eq!(on(1), on(5), "{name}: {count} queries");
            }
        }
    }

    #[test]
    fn search_path_of_cosine_is_that_of_l2() {
        let base = datasets::Dataset {
            name: "t".into(),
            metric: Space::Cosine,
            train: Array2::eye(4),
            base: Array2::eye(4),
            queries: Array2::eye(4),
            labels: None,
            judgments: None,
            signal: None,
        };
        let method = parse("lbg", json!({ "bits": 2 })).expect("parses");
        let quantizer = method.fit(base.train.view(), &Context::cpu(1)).expect("fits");
        let mut codes = vec![0; 4];
        quantizer.encode_into(base.base.view(), &mut codes).expect("encodes");
        let search = code_search(&*quantizer, &codes, base.metric).expect("holds codes");
        let found = search.search(base.queries.view(), 1);
        let ids: Vec<u32> = found.expect("finds").iter().map(|row| row[0].id).collect();
        assert_eq!(ids, [0, 1, 2, 3], "four codewords for four rows lose nothing");
    }
}
