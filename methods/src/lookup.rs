//! Search over codes whose score is a sum of one table entry per symbol (Jégou, Douze and Schmid 2011, ADC).

use crate::pack::Layout;
use crate::{MethodError, Metric, Searcher};
use ndarray::Array2;

/// Rows unpacked at a time, when symbols are not whole bytes.
const ROWS: usize = 256;

/// Adds up table entries over packed codes.
fn scan(
    layout: &Layout,
    tables: &[f32],
    symbols: &mut Vec<u16>,
    codes: &[u8],
    scores: &mut [f32],
) -> Result<(), MethodError> {
    let (size, m) = (layout.bytes(), layout.positions());
    if codes.len() != size * scores.len() {
        return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
    }
    if layout.common_width() == Some(8) {
        cpu::scan_byte_tables(tables, codes, scores);
        return Ok(());
    }
    for (codes, scores) in codes.chunks(ROWS * size).zip(scores.chunks_mut(ROWS)) {
        symbols.resize(scores.len() * m, 0);
        for (code, symbols) in codes.chunks_exact(size).zip(symbols.chunks_exact_mut(m)) {
            layout.unpack(code, symbols)?;
        }
        cpu::scan_tables(tables, tables.len() / m, symbols, scores);
    }
    Ok(())
}

/// `−q·c`, the inner product turned so that smaller is nearer.
fn negated_product(query: &[f32], codeword: &[f32]) -> f32 {
    -query.iter().zip(codeword).map(|(a, b)| a * b).sum::<f32>()
}

/// Inner products with sums of codewords, one from each codebook: tables `t_s[c] = −q·c` of whole vectors.
pub(crate) struct AdditiveSearcher<'a> {
    codebooks: &'a [Array2<f32>],
    layout: &'a Layout,
    tables: Vec<f32>,
    symbols: Vec<u16>,
}

impl<'a> AdditiveSearcher<'a> {
    pub(crate) fn new(codebooks: &'a [Array2<f32>], layout: &'a Layout) -> AdditiveSearcher<'a> {
        let entries = codebooks.iter().map(Array2::nrows).sum();
        AdditiveSearcher { codebooks, layout, tables: vec![0.0; entries], symbols: Vec::new() }
    }
}

impl Searcher for AdditiveSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let codewords = self.codebooks.iter().flat_map(|codebook| codebook.outer_iter());
        for (entry, codeword) in self.tables.iter_mut().zip(codewords) {
            *entry = negated_product(query, codeword.to_slice().unwrap_or_default());
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        scan(self.layout, &self.tables, &mut self.symbols, codes, scores)
    }
}

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
                    Metric::InnerProduct => negated_product(part, codeword),
                };
            }
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        scan(self.layout, &self.tables, &mut self.symbols, codes, scores)
    }
}
