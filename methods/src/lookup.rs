//! Search over codes whose score is a sum of one table entry per symbol (Jégou, Douze and Schmid 2011, ADC).

use crate::pack::Layout;
use crate::{MethodError, Metric, Searcher};
use ndarray::Array2;

/// Rows unpacked at a time, when symbols are not whole bytes.
const ROWS: usize = 256;

/// Tables `t_j[c] = ‖q_j − c‖²` or `−q_j·c` of one query, one per group of consecutive components.
pub(crate) struct LookupSearcher<'a> {
    codebooks: &'a [Array2<f32>],
    layout: &'a Layout,
    metric: Metric,
    alphabet: usize,
    tables: Vec<f32>,
    symbols: Vec<u16>,
}

impl<'a> LookupSearcher<'a> {
    pub(crate) fn new(codebooks: &'a [Array2<f32>], layout: &'a Layout, metric: Metric) -> LookupSearcher<'a> {
        let alphabet = codebooks[0].nrows();
        let tables = vec![0.0; codebooks.len() * alphabet];
        LookupSearcher { codebooks, layout, metric, alphabet, tables, symbols: Vec::new() }
    }
}

impl Searcher for LookupSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let dsub = self.codebooks[0].ncols();
        for ((table, part), codebook) in
            self.tables.chunks_exact_mut(self.alphabet).zip(query.chunks_exact(dsub)).zip(self.codebooks)
        {
            for (entry, codeword) in table.iter_mut().zip(codebook.outer_iter()) {
                let codeword = codeword.to_slice().unwrap_or_default();
                *entry = match self.metric {
                    Metric::L2 => cpu::squared_distance(part, codeword),
                    Metric::InnerProduct => -part.iter().zip(codeword).map(|(a, b)| a * b).sum::<f32>(),
                };
            }
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        let size = self.layout.bytes();
        if codes.len() != size * scores.len() {
            return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
        }
        if self.layout.common_width() == Some(8) {
            cpu::scan_byte_tables(&self.tables, codes, scores);
            return Ok(());
        }
        let m = self.layout.positions();
        for (codes, scores) in codes.chunks(ROWS * size).zip(scores.chunks_mut(ROWS)) {
            self.symbols.resize(scores.len() * m, 0);
            for (code, symbols) in codes.chunks_exact(size).zip(self.symbols.chunks_exact_mut(m)) {
                self.layout.unpack(code, symbols)?;
            }
            cpu::scan_tables(&self.tables, self.alphabet, &self.symbols, scores);
        }
        Ok(())
    }
}
