//! Compressed search as the runner performs it: over codes where the method can, over decoded vectors where it cannot.

use cpu::{Isa, Nearest, Neighbor, Score, Shortlist, TopK};
use methods::backend::{CodeScan, RowSearch};
use methods::search::scan::{hold, top_k_of_held, top_k_of_many};
use methods::{Backend, MethodError, Metric, Quantizer, row_major};
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Maximum number of queries that share one decoding of the base rows, or one rearrangement of their codes.
const QUERIES: usize = 256;

/// Codes decoded at a time.
const BLOCK: usize = 4096;

/// Maximum number of codes decoded at a time for a device, and of decoded values.
const PART: usize = 1 << 16;
const PART_VALUES: usize = 1 << 26;

/// With fewer queries than this, packing the decoded rows does not pay off.
const FEW: usize = 8;

/// A trained quantizer and the codes of the base rows.
pub struct CodeSearch<'a> {
    quantizer: &'a dyn Quantizer,
    codes: &'a [u8],
    metric: Metric,
    isa: Isa,
    path: &'static str,
    /// The codes on a device that scans them, or the reason why it cannot hold them.
    held: Result<Option<Box<dyn CodeScan>>, MethodError>,
    /// Finds the nearest decoded rows on a device.
    rows: Option<Box<dyn RowSearch>>,
}

impl<'a> CodeSearch<'a> {
    /// Creates a search over `codes` by the metric of the dataset. `backend` may scan codes that are searched by tables
    /// alone or decoded.
    pub fn new(
        quantizer: &'a dyn Quantizer,
        codes: &'a [u8],
        metric: datasets::Metric,
        backend: &dyn Backend,
    ) -> CodeSearch<'a> {
        let isa = backend.isa();
        let metric = if metric == datasets::Metric::Ip { Metric::InnerProduct } else { Metric::L2 };
        let searcher = quantizer.searcher(metric);
        let path = searcher.as_ref().map_or("decode", |searcher| searcher.path());
        let rows = if searcher.is_none() { backend.row_search() } else { None };
        let held = searcher.map_or(Ok(None), |searcher| hold(&*searcher, codes, quantizer.code_size(), backend));
        CodeSearch { quantizer, codes, metric, isa, path, held, rows }
    }

    /// The name of the method's own search over codes (`adc`), or `decode` if decoded vectors are scored.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The `k` nearest codes of each query, on the current thread pool.
    ///
    /// # Errors
    /// What the method reports.
    pub fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        if let Some(held) = self.held.as_ref().map_err(Clone::clone)?
            && let Some(mut searcher) = self.quantizer.searcher(self.metric)
        {
            let groups = queries.axis_chunks_iter(Axis(0), QUERIES);
            let found = groups.map(|queries| top_k_of_held(&mut *searcher, queries, &**held, k));
            if let Some(found) = found.collect::<Result<Option<Vec<_>>, _>>()? {
                return Ok(found.into_iter().flatten().collect());
            }
        }
        if let Some(rows) = self.rows.as_ref().filter(|rows| rows.finds(k, self.quantizer.dim())) {
            return self.search_decoded_by(&**rows, queries, k);
        }
        // Work for every thread. Results do not depend on it: either all groups are large enough for the code that
        // serves several queries, or none is.
        let n = queries.nrows();
        let groups = if n < FEW { n } else { (2 * rayon::current_num_threads()).min(n / FEW).max(n.div_ceil(QUERIES)) };
        let groups: Vec<_> = (0..groups).map(|g| queries.slice(s![g * n / groups..(g + 1) * n / groups, ..])).collect();
        let found: Vec<Vec<Vec<Neighbor>>> =
            groups.into_par_iter().map(|queries| self.search_group(queries, k)).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn search_group(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        match self.quantizer.searcher(self.metric) {
            Some(mut searcher) => {
                top_k_of_many(&mut *searcher, queries, self.codes, self.quantizer.code_size(), k, self.isa)
            }
            None => self.search_decoded(queries, k),
        }
    }

    /// Decodes part by part, and finds the nearest rows of each part on the device.
    fn search_decoded_by(
        &self,
        search: &dyn RowSearch,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let (size, dim) = (self.quantizer.code_size(), self.quantizer.dim());
        let part_rows = (PART_VALUES / dim).clamp(1, PART);
        let mut tops: Vec<TopK> = (0..queries.nrows()).map(|_| TopK::new(k)).collect();
        for (part, codes) in self.codes.chunks(part_rows * size).enumerate() {
            let mut decoded = Array2::<f32>::zeros((codes.len() / size, dim));
            self.quantizer.decode_into(codes, decoded.view_mut())?;
            let found = search.nearest_rows(decoded.view(), queries, self.metric, k)?;
            for (top, found) in tops.iter_mut().zip(found) {
                found.into_iter().for_each(|n| top.push(n.score, (part * part_rows) as u32 + n.id));
            }
        }
        Ok(tops.iter_mut().map(TopK::drain_sorted).collect())
    }

    /// Decodes block by block, selects the candidates for the nearest rows, and scores these exactly.
    fn search_decoded(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let (size, dim) = (self.quantizer.code_size(), self.quantizer.dim());
        let queries = &*row_major(&queries);
        let mut decoded = Array2::<f32>::zeros((BLOCK.min(self.codes.len() / size), dim));
        if queries.len() < FEW * dim {
            let mut scores = vec![0f32; BLOCK];
            let mut tops: Vec<TopK> = queries.chunks_exact(dim).map(|_| TopK::new(k)).collect();
            for (block, codes) in self.codes.chunks(BLOCK * size).enumerate() {
                let rows = self.decode(codes, &mut decoded)?;
                for (query, top) in queries.chunks_exact(dim).zip(&mut tops) {
                    let scores = &mut scores[..rows.len() / dim];
                    self.score(query, rows, scores);
                    top.push_block(scores, (block * BLOCK) as u32);
                }
            }
            return Ok(tops.iter_mut().map(TopK::drain_sorted).collect());
        }
        let score = if self.metric == Metric::InnerProduct { Score::NegatedDot } else { Score::HalfDistance };
        let mut lists = vec![Shortlist::new(k); queries.len() / dim];
        for (block, codes) in self.codes.chunks(BLOCK * size).enumerate() {
            let rows = self.decode(codes, &mut decoded)?.to_vec();
            Nearest::new(self.isa, rows, dim, score).shortlist(queries, (block * BLOCK) as u32, &mut lists);
        }
        let exact = |(query, mut list): (&[f32], Shortlist)| {
            let ids = list.drain();
            let mut top = TopK::new(k);
            let mut scores = vec![0f32; ids.len().min(BLOCK)];
            for ids in ids.chunks(BLOCK) {
                let codes: Vec<u8> =
                    ids.iter().flat_map(|&id| &self.codes[id as usize * size..][..size]).copied().collect();
                let rows = self.decode(&codes, &mut decoded)?;
                let scores = &mut scores[..ids.len()];
                self.score(query, rows, scores);
                ids.iter().zip(scores).for_each(|(&id, score)| top.push(*score, id));
            }
            Ok(top.drain_sorted())
        };
        queries.chunks_exact(dim).zip(lists).map(exact).collect()
    }

    /// Decodes at most a block of codes.
    fn decode<'d>(&self, codes: &[u8], decoded: &'d mut Array2<f32>) -> Result<&'d [f32], MethodError> {
        let count = codes.len() / self.quantizer.code_size();
        self.quantizer.decode_into(codes, decoded.slice_mut(s![..count, ..]))?;
        match decoded.as_slice() {
            Some(rows) => Ok(&rows[..count * self.quantizer.dim()]),
            None => unreachable!("the buffer was made row by row"),
        }
    }

    fn score(&self, query: &[f32], rows: &[f32], scores: &mut [f32]) {
        match self.metric {
            Metric::InnerProduct => cpu::negated_products(self.isa, query, rows, scores),
            Metric::L2 => cpu::squared_distances(self.isa, query, rows, scores),
        }
    }
}

/// Re-orders the first `depth` candidates of each query by their exact score against the raw rows and keeps `k`, on the current
/// thread pool.
pub fn rerank_all(
    queries: ArrayView2<'_, f32>,
    base: ArrayView2<'_, f32>,
    metric: datasets::Metric,
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
    metric: datasets::Metric,
    candidates: &[Neighbor],
    k: usize,
) -> Vec<u32> {
    let mut exact: Vec<(f64, u32)> = candidates
        .iter()
        .map(|n| (datasets::truth::exact_score(query, base.row(n.id as usize), metric), n.id))
        .collect();
    exact.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    exact.into_iter().take(k).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::Metric as Space;
    use methods::backend::CpuBackend;
    use methods::{Context, parse};
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
                let search = CodeSearch::new(&*quantizer, &codes, space, &CpuBackend::detect());
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
            let search = CodeSearch::new(&*quantizer, &codes, Space::L2, &CpuBackend::detect());
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
            signal: None,
        };
        let method = parse("lbg", json!({ "bits": 2 })).expect("parses");
        let quantizer = method.fit(base.train.view(), &Context::cpu(1)).expect("fits");
        let mut codes = vec![0; 4];
        quantizer.encode_into(base.base.view(), &mut codes).expect("encodes");
        let found =
            CodeSearch::new(&*quantizer, &codes, base.metric, &CpuBackend::detect()).search(base.queries.view(), 1);
        let ids: Vec<u32> = found.expect("finds").iter().map(|row| row[0].id).collect();
        assert_eq!(ids, [0, 1, 2, 3], "four codewords for four rows lose nothing");
    }
}
