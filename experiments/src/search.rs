//! Compressed search as the runner performs it: over codes where the method can, over decoded vectors where it cannot.

use cpu::{Isa, Neighbor, Panels, Score, TopK};
use methods::{MethodError, Metric, Quantizer};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Queries that share one decoding of the base. A constant, so that no result depends on the number of threads.
const QUERIES: usize = 32;

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
