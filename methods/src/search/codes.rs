//! Search over the codes of a quantizer: by its own searcher if it has one, otherwise by decoding.

use super::scan::{hold, top_k_of_held, top_k_of_many};
use crate::backend::{CodeScan, RowSearch};
use crate::contract::batch::row_major;
use crate::{MethodError, Metric, Neighbor, Quantizer};
use cpu::{Nearest, Score, Shortlist, TopK};
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Maximum number of queries that share one decoding of the base, or one layout of its codes.
const QUERIES: usize = 256;

/// Number of codes decoded at a time.
const BLOCK: usize = 4096;

/// Maximum number of codes decoded at a time for a device, and of the values they decode to.
const PART: usize = 1 << 16;
const PART_VALUES: usize = 1 << 26;

/// With fewer queries than this, packing the decoded rows costs more than it saves.
const FEW: usize = 8;

/// A trained quantizer and the codes of the base rows.
pub struct CodeSearch<'a> {
    quantizer: &'a dyn Quantizer,
    codes: &'a [u8],
    metric: Metric,
    path: &'static str,
    /// The codes, if a device scans them; or the reason why it cannot hold them.
    held: Result<Option<Box<dyn CodeScan>>, MethodError>,
    /// The device's search over decoded rows.
    rows: Option<Box<dyn RowSearch>>,
}

impl<'a> CodeSearch<'a> {
    /// Prepares a search over `codes`. The quantizer's backend may scan them if they are decoded or searched only by
    /// tables.
    pub fn new(quantizer: &'a dyn Quantizer, codes: &'a [u8], metric: Metric) -> CodeSearch<'a> {
        let backend = quantizer.backend();
        let searcher = quantizer.searcher(metric);
        let path = searcher.as_ref().map_or("decode", |searcher| searcher.path());
        let rows = if searcher.is_none() { backend.row_search() } else { None };
        let held = searcher.map_or(Ok(None), |searcher| hold(&*searcher, codes, quantizer.code_size(), backend));
        CodeSearch { quantizer, codes, metric, path, held, rows }
    }

    /// Name of the method's own search over codes (`adc`), or `decode` if decoded vectors are scored.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// The `k` nearest codes of each query, on the current thread pool.
    ///
    /// # Errors
    /// Errors of the method.
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
        // Gives every thread work. Results do not depend on the number of threads: either all groups are large enough
        // for the work that several queries share, or none is.
        let n = queries.nrows();
        let groups = if n < FEW { n } else { (2 * rayon::current_num_threads()).min(n / FEW).max(n.div_ceil(QUERIES)) };
        let groups: Vec<_> = (0..groups).map(|g| queries.slice(s![g * n / groups..(g + 1) * n / groups, ..])).collect();
        let found: Vec<Vec<Vec<Neighbor>>> =
            groups.into_par_iter().map(|queries| self.search_group(queries, k)).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn search_group(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let isa = self.quantizer.backend().isa();
        match self.quantizer.searcher(self.metric) {
            Some(mut searcher) => {
                top_k_of_many(&mut *searcher, queries, self.codes, self.quantizer.code_size(), k, isa)
            }
            None => self.search_decoded(queries, k),
        }
    }

    /// Decodes part by part, and finds the nearest rows of each part.
    fn search_decoded_by(
        &self,
        search: &dyn RowSearch,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let (size, dim, backend) = (self.quantizer.code_size(), self.quantizer.dim(), self.quantizer.backend());
        let bytes = 8 * dim + size + self.quantizer.bytes_per_row();
        let part_rows = (PART_VALUES / dim).clamp(1, PART).min(self.quantizer.rows_at_once());
        let part_rows = part_rows.min(backend.rows_at_once(bytes)?);
        let queries = backend.upload(queries)?;
        let mut tops: Vec<TopK> = (0..queries.nrows()).map(|_| TopK::new(k)).collect();
        for (part, codes) in self.codes.chunks(part_rows * size).enumerate() {
            let codes = backend.upload_codes(codes, size)?;
            let mut decoded = backend.room(codes.count(), dim)?;
            self.quantizer.decode(&codes, &mut decoded)?;
            let found = search.nearest_rows(&decoded.into_matrix(), &queries, self.metric, k)?;
            for (top, found) in tops.iter_mut().zip(found) {
                found.into_iter().for_each(|n| top.push(n.score, (part * part_rows) as u32 + n.id));
            }
        }
        Ok(tops.iter_mut().map(TopK::drain_sorted).collect())
    }

    /// Decodes block by block, selects candidates for the nearest rows, and scores those exactly.
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
            Nearest::new(self.quantizer.backend().isa(), rows, dim, score).shortlist(
                queries,
                (block * BLOCK) as u32,
                &mut lists,
            );
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

    /// Decodes at most one block of codes.
    fn decode<'d>(&self, codes: &[u8], decoded: &'d mut Array2<f32>) -> Result<&'d [f32], MethodError> {
        let count = codes.len() / self.quantizer.code_size();
        self.quantizer.decode_into(codes, decoded.slice_mut(s![..count, ..]))?;
        match decoded.as_slice() {
            Some(rows) => Ok(&rows[..count * self.quantizer.dim()]),
            None => unreachable!("the buffer was made row by row"),
        }
    }

    fn score(&self, query: &[f32], rows: &[f32], scores: &mut [f32]) {
        let isa = self.quantizer.backend().isa();
        match self.metric {
            Metric::InnerProduct => cpu::negated_products(isa, query, rows, scores),
            Metric::L2 => cpu::squared_distances(isa, query, rows, scores),
        }
    }
}
