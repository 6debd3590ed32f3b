//! Search over codes whose score is a sum of one table entry per symbol (Jégou, Douze and Schmid 2011, ADC).

use crate::codebooks::{Codebooks, check_symbols};
use crate::pack::Layout;
use crate::{MethodError, Metric, Searcher};

/// Rows unpacked at a time, when symbols are not whole bytes.
const ROWS: usize = 256;

/// Tables of one query, one per symbol of a code, and the room to read codes by them.
pub(crate) struct Tables {
    /// One after the other, `alphabet` entries each.
    pub(crate) entries: Vec<f32>,
    alphabet: usize,
    symbols: Vec<u16>,
}

impl Tables {
    pub(crate) fn new(positions: usize, alphabet: usize) -> Tables {
        Tables { entries: vec![0.0; positions * alphabet], alphabet, symbols: Vec::new() }
    }

    /// `scores[i] = Σ_j table_j[symbol j of code i]`. A code is `offset` bytes of something else, then the packed symbols.
    pub(crate) fn scan(
        &mut self,
        layout: &Layout,
        offset: usize,
        codes: &[u8],
        scores: &mut [f32],
    ) -> Result<(), MethodError> {
        let (size, m) = (layout.bytes() + offset, layout.positions());
        if codes.len() != size * scores.len() {
            return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
        }
        if layout.common_width() == Some(8) && self.alphabet == 256 && offset == 0 {
            cpu::scan_byte_tables(&self.entries, codes, scores);
            return Ok(());
        }
        for (codes, scores) in codes.chunks(ROWS * size).zip(scores.chunks_mut(ROWS)) {
            self.symbols.resize(scores.len() * m, 0);
            for (code, symbols) in codes.chunks_exact(size).zip(self.symbols.chunks_exact_mut(m)) {
                layout.unpack(&code[offset..], symbols)?;
                check_symbols(symbols, self.alphabet)?;
            }
            cpu::scan_tables(&self.entries, self.alphabet, &self.symbols, scores);
        }
        Ok(())
    }
}

/// `−q·c`, the inner product turned so that smaller is nearer.
fn negated_product(query: &[f32], codeword: &[f32]) -> f32 {
    -query.iter().zip(codeword).map(|(a, b)| a * b).sum::<f32>()
}

/// Inner products with sums of codewords, one from each codebook: tables `t_s[c] = −q·c` of whole vectors.
pub(crate) struct AdditiveSearcher<'a> {
    codebooks: &'a Codebooks,
    tables: Tables,
}

impl<'a> AdditiveSearcher<'a> {
    pub(crate) fn new(codebooks: &'a Codebooks) -> AdditiveSearcher<'a> {
        AdditiveSearcher { codebooks, tables: Tables::new(codebooks.books.len(), codebooks.codewords()) }
    }
}

impl Searcher for AdditiveSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let codewords = self.codebooks.books.iter().flat_map(|codebook| codebook.outer_iter());
        for (entry, codeword) in self.tables.entries.iter_mut().zip(codewords) {
            *entry = negated_product(query, codeword.to_slice().unwrap_or_default());
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.tables.scan(&self.codebooks.layout, 0, codes, scores)
    }
}

/// Tables `t_j[c] = ‖q_j − c‖²` or `−q_j·c` of one query, one per group of consecutive components.
pub(crate) struct LookupSearcher<'a> {
    codebooks: &'a Codebooks,
    metric: Metric,
    tables: Tables,
}

impl<'a> LookupSearcher<'a> {
    pub(crate) fn new(codebooks: &'a Codebooks, metric: Metric) -> LookupSearcher<'a> {
        LookupSearcher { codebooks, metric, tables: Tables::new(codebooks.books.len(), codebooks.codewords()) }
    }
}

impl Searcher for LookupSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let (alphabet, dsub) = (self.codebooks.codewords(), self.codebooks.dsub());
        let tables = self.tables.entries.chunks_exact_mut(alphabet);
        for ((table, part), codebook) in tables.zip(query.chunks_exact(dsub)).zip(&self.codebooks.books) {
            for (entry, codeword) in table.iter_mut().zip(codebook.outer_iter()) {
                let codeword = codeword.to_slice().unwrap_or_default();
                *entry = match self.metric {
                    Metric::L2 => cpu::squared_distance(part, codeword),
                    Metric::InnerProduct => negated_product(part, codeword),
                };
            }
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.tables.scan(&self.codebooks.layout, 0, codes, scores)
    }
}
