//! Compressed search as the runner performs it: over codes where the method can, over decoded vectors where it cannot.

use cpu::{Isa, Neighbor, Panels, Score, TopK};
use methods::{MethodError, Metric, Quantizer};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Codes scored at a time.
const CODES: usize = 4096;

/// Queries that share one decoding of the base.
const QUERIES: usize = 64;

/// Fewer queries than this do not pay for packing the decoded rows.
const FEW: usize = 8;

/// A trained quantizer and the codes of the base rows.
pub struct CodeSearch<'a> {
    quantizer: &'a dyn Quantizer,
    codes: &'a [u8],
    metric: Metric,
    isa: Isa,
    native: bool,
}

impl<'a> CodeSearch<'a> {
    /// Over `codes`, in the dataset's metric.
    pub fn new(quantizer: &'a dyn Quantizer, codes: &'a [u8], metric: datasets::Metric, isa: Isa) -> CodeSearch<'a> {
        let metric = if metric == datasets::Metric::Ip { Metric::InnerProduct } else { Metric::L2 };
        CodeSearch { quantizer, codes, metric, isa, native: quantizer.searcher(metric).is_some() }
    }

    /// `adc` when codes are scored directly, `decode` when decoded vectors are.
    pub fn path(&self) -> &'static str {
        if self.native { "adc" } else { "decode" }
    }

    /// The `k` nearest codes of each query, on the current thread pool.
    ///
    /// # Errors
    /// What the method reports.
    pub fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let threads = rayon::current_num_threads();
        let group = queries.nrows().div_ceil(threads).clamp(1, QUERIES);
        let groups: Vec<_> = queries.axis_chunks_iter(Axis(0), group).collect();
        let found: Vec<Vec<Vec<Neighbor>>> =
            groups.into_par_iter().map(|queries| self.search_sequential(queries, k)).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The same on this thread alone.
    ///
    /// # Errors
    /// What the method reports.
    pub fn search_sequential(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        match self.quantizer.searcher(self.metric) {
            Some(mut searcher) => {
                let size = self.quantizer.code_size();
                let mut scores = vec![0f32; CODES];
                let mut top = TopK::new(k);
                queries
                    .outer_iter()
                    .map(|query| {
                        searcher.set_query(&query.to_vec());
                        for (block, codes) in self.codes.chunks(CODES * size).enumerate() {
                            let scores = &mut scores[..codes.len() / size];
                            searcher.score_into(codes, scores)?;
                            top.push_block(scores, (block * CODES) as u32);
                        }
                        Ok(top.drain_sorted())
                    })
                    .collect()
            }
            None => self.search_decoded(queries, k),
        }
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
                let query = |q: usize| &queries_flat[q * dim..][..dim];
                for (q, top) in tops.iter_mut().enumerate() {
                    for (i, row) in decoded.outer_iter().enumerate() {
                        let row = row.to_slice().unwrap_or_default();
                        let score = match self.metric {
                            Metric::InnerProduct => -row.iter().zip(query(q)).map(|(a, b)| a * b).sum::<f32>(),
                            Metric::L2 => cpu::squared_distance(query(q), row),
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
