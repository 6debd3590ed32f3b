//! Compressed search as the runner performs it: over codes where the method can, over decoded vectors where it cannot.

use cpu::{Isa, Neighbor, Panels, Score, TopK};
use methods::{MethodError, Metric, Quantizer};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Queries that share one decoding of the base. A constant, so that no result depends on the number of threads.
const QUERIES: usize = 64;

/// Fewer queries than this do not pay for packing the decoded rows.
const FEW: usize = 8;

/// A trained quantizer and the codes of the base rows.
pub struct CodeSearch<'a> {
    quantizer: &'a dyn Quantizer,
    codes: &'a [u8],
    metric: Metric,
    isa: Isa,
    path: &'static str,
}

impl<'a> CodeSearch<'a> {
    /// Over `codes`, in the dataset's metric.
    pub fn new(quantizer: &'a dyn Quantizer, codes: &'a [u8], metric: datasets::Metric, isa: Isa) -> CodeSearch<'a> {
        let metric = if metric == datasets::Metric::Ip { Metric::InnerProduct } else { Metric::L2 };
        let path = quantizer.searcher(metric).map_or("decode", |searcher| searcher.path());
        CodeSearch { quantizer, codes, metric, isa, path }
    }

    /// What the method calls its own search over codes (`adc`), or `decode` when decoded vectors are scored.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The `k` nearest codes of each query, on the current thread pool.
    ///
    /// # Errors
    /// What the method reports.
    pub fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let groups: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERIES).collect();
        let found: Vec<Vec<Vec<Neighbor>>> =
            groups.into_par_iter().map(|queries| self.search_group(queries, k)).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn search_group(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let Some(mut searcher) = self.quantizer.searcher(self.metric) else { return self.search_decoded(queries, k) };
        let size = self.quantizer.code_size();
        let mut answer = |query: ndarray::ArrayView1<'_, f32>| {
            searcher.set_query(&query.to_vec());
            searcher.top_k(self.codes, size, k)
        };
        queries.outer_iter().map(&mut answer).collect()
    }

    /// Decodes block by block and scores decoded rows exactly.
    fn search_decoded(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        const BLOCK: usize = 1024;
        let (size, dim) = (self.quantizer.code_size(), self.quantizer.dim());
        let queries = queries.as_standard_layout();
        let queries_flat = queries.as_slice().unwrap_or_default();
        let score = if self.metric == Metric::InnerProduct { Score::NegatedDot } else { Score::HalfDistance };
        let mut tops: Vec<TopK> = (0..queries.nrows()).map(|_| TopK::new(k)).collect();
        for (block, codes) in self.codes.chunks(BLOCK * size).enumerate() {
            let mut decoded = Array2::<f32>::zeros((codes.len() / size, dim));
            self.quantizer.decode_into(codes, decoded.view_mut())?;
            if tops.len() < FEW {
                for (query, top) in queries_flat.chunks_exact(dim).zip(&mut tops) {
                    for (i, row) in decoded.as_slice().unwrap_or_default().chunks_exact(dim).enumerate() {
                        // On the scales of the panels.
                        let score = match self.metric {
                            Metric::InnerProduct => -query.iter().zip(row).map(|(a, b)| a * b).sum::<f32>(),
                            Metric::L2 => 0.5 * cpu::squared_distance(query, row),
                        };
                        top.push(score, (block * BLOCK + i) as u32);
                    }
                }
                continue;
            }
            let panels = Panels::new(self.isa, decoded.as_slice().unwrap_or_default(), dim, score);
            let mut scores = vec![0f32; tops.len() * panels.len()];
            panels.scores(queries_flat, &mut scores);
            for (top, scores) in tops.iter_mut().zip(scores.chunks_exact(panels.len())) {
                top.push_block(scores, (block * BLOCK) as u32);
            }
        }
        Ok(tops.iter_mut().map(TopK::drain_sorted).collect())
    }
}

/// Re-orders candidates by their exact score against the raw rows and keeps `k`.
pub fn rerank(
    query: &[f32],
    base: ArrayView2<'_, f32>,
    metric: datasets::Metric,
    candidates: &[Neighbor],
    k: usize,
) -> Vec<u32> {
    let mut exact: Vec<(f64, u32)> = candidates
        .iter()
        .map(|n| (datasets::truth::exact_score(query, base.row(n.id as usize).iter(), metric), n.id))
        .collect();
    exact.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    exact.into_iter().take(k).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::Metric as Space;
    use methods::{Context, parse};
    use serde_json::json;
    use std::path::Path;

    /// What a search finds depends on codes alone: not on the number of threads, nor on how queries come in.
    #[test]
    fn searches_agree_over_threads_batches_and_a_full_sort() {
        let source =
            crate::plan::parse_source(&json!({ "synthetic": "gaussian", "dim": 12, "n": 3000, "queries": 70 }));
        let resolved = source.expect("a source").resolve(Path::new("."), &datasets::SearchPath::default());
        let data = resolved.expect("resolves").load().expect("draws");
        for (name, params, path) in
            [("pq", json!({ "m": 4, "bits": 5 }), "adc"), ("scalar", json!({ "bits": 3 }), "decode")]
        {
            let method = parse(name, params).expect("parses");
            let quantizer = method.fit(data.train.view(), &Context::cpu(1)).expect("fits");
            let mut codes = vec![0; data.base.nrows() * quantizer.code_size()];
            quantizer.encode_into(data.base.view(), &mut codes).expect("encodes");
            let mut decoded = Array2::zeros(data.base.dim());
            quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
            for space in [Space::L2, Space::Ip] {
                let search = CodeSearch::new(&*quantizer, &codes, space, Isa::detect());
                assert_eq!(search.path(), path);
                let on = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                    pool.install(|| search.search(data.queries.view(), 10)).expect("finds")
                };
                let found = on(1);
                assert_eq!(on(3), found, "{name} {space}: threads decide nothing");
                let exact =
                    datasets::truth::exact_neighbors(decoded.view(), data.queries.view(), space, 10, Isa::detect());
                let scale = if path == "decode" && space == Space::L2 { 2.0 } else { 1.0 };
                for (found, exact) in found.iter().zip(&exact) {
                    // Equal codes and near ties may swap; nothing farther than the true tenth may come in.
                    let limit = exact[9].score + 1e-4 * exact[9].score.abs().max(1.0);
                    assert!(found.iter().all(|n| scale * n.score <= limit), "{name} {space}");
                }
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
        };
        let method = parse("lbg", json!({ "bits": 2 })).expect("parses");
        let quantizer = method.fit(base.train.view(), &Context::cpu(1)).expect("fits");
        let mut codes = vec![0; 4];
        quantizer.encode_into(base.base.view(), &mut codes).expect("encodes");
        let found = CodeSearch::new(&*quantizer, &codes, base.metric, Isa::detect()).search(base.queries.view(), 1);
        let ids: Vec<u32> = found.expect("finds").iter().map(|row| row[0].id).collect();
        assert_eq!(ids, [0, 1, 2, 3], "four codewords for four rows lose nothing");
    }
}
