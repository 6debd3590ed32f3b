//! Search over codes whose score is a sum of table entries, one per symbol (Jégou, Douze and Schmid 2011, ADC).

use crate::algorithms::codebooks::{Codebooks, check_symbols};
use crate::algorithms::pack::SymbolLayout;
use crate::backend::CodeLayout;
use crate::{MethodError, SearchMetric, Searcher};
use cpu::{Isa, ScanTables, SymbolWidth};

/// Rows unpacked at a time, when symbols are not whole bytes.
const ROWS: usize = 256;

/// The tables of one query, one per symbol of a code, with buffers for reading codes.
pub(crate) struct Tables {
    /// All tables in sequence, `alphabet` entries each.
    entries: Vec<f32>,
    alphabet: usize,
    /// For symbols of half a byte: the sums of two entries for each value of a byte, 256 per byte of a code.
    pairs: Vec<f32>,
    symbols: Vec<u16>,
}

impl Tables {
    pub(crate) fn new(positions: usize, alphabet: usize) -> Tables {
        Tables { entries: vec![0.0; positions * alphabet], alphabet, pairs: Vec::new(), symbols: Vec::new() }
    }

    /// The tables, to be filled for another query.
    pub(crate) fn tables_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.pairs.clear();
        self.entries.chunks_exact_mut(self.alphabet)
    }

    /// The layout of codes for these tables, if many can be scanned at a time.
    pub(crate) fn code_layout(&self, layout: &SymbolLayout) -> Option<CodeLayout> {
        let width = match (layout.common_width()?, self.alphabet) {
            (4, 16) => SymbolWidth::Nibble,
            (8, 256) => SymbolWidth::Byte,
            _ => return None,
        };
        Some(CodeLayout { width, positions: layout.positions(), skip: 0, has_factors: false })
    }

    /// The tables of the current query for such a scan.
    pub(crate) fn scan_tables(&self, layout: &SymbolLayout) -> Option<ScanTables> {
        Some(ScanTables::new(self.code_layout(layout)?.width, self.entries.clone(), 0.0))
    }

    /// Fills `pairs` for the current query, unless it is filled already.
    fn add_pairs(&mut self) {
        if !self.pairs.is_empty() {
            return;
        }
        self.pairs.extend(cpu::pairs_of_nibbles(&self.entries));
    }

    /// `scores[i] = Σ_j table_j[symbol j of code i]`.
    pub(crate) fn scan(&mut self, layout: &SymbolLayout, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        let (size, m) = (layout.bytes(), layout.positions());
        if codes.len() != size * scores.len() {
            return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
        }
        match self.code_layout(layout).map(|layout| layout.width) {
            Some(SymbolWidth::Byte) => {
                cpu::scan_byte_tables(&self.entries, codes, scores);
                return Ok(());
            }
            Some(SymbolWidth::Nibble) => {
                self.add_pairs();
                cpu::scan_byte_tables(&self.pairs, codes, scores);
                return Ok(());
            }
            None => {}
        }
        for (codes, scores) in codes.chunks(ROWS * size).zip(scores.chunks_mut(ROWS)) {
            self.symbols.resize(scores.len() * m, 0);
            for (code, symbols) in codes.chunks_exact(size).zip(self.symbols.chunks_exact_mut(m)) {
                layout.unpack(code, symbols)?;
                check_symbols(symbols, self.alphabet)?;
            }
            cpu::scan_tables(&self.entries, self.alphabet, &self.symbols, scores);
        }
        Ok(())
    }
}

/// The table of `part` of a query and a codebook given by its columns.
fn fill(isa: Isa, part: &[f32], columns: &[f32], metric: SearchMetric, table: &mut [f32]) {
    match metric {
        SearchMetric::L2 => cpu::squared_distances_to_columns(isa, part, columns, table),
        SearchMetric::InnerProduct => cpu::negated_products_with_columns(isa, part, columns, table),
    }
}

/// Inner products with sums of codewords, one from each codebook: tables `t_s[c] = −q·c` of whole vectors.
pub(crate) struct AdditiveSearcher<'a> {
    codebooks: &'a Codebooks,
    isa: Isa,
    tables: Tables,
}

impl<'a> AdditiveSearcher<'a> {
    pub(crate) fn new(codebooks: &'a Codebooks, isa: Isa) -> AdditiveSearcher<'a> {
        let tables = Tables::new(codebooks.books.len(), codebooks.codewords());
        AdditiveSearcher { codebooks, isa, tables }
    }
}

impl Searcher for AdditiveSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        for (columns, table) in self.codebooks.columns().iter().zip(self.tables.tables_mut()) {
            fill(self.isa, query, columns, SearchMetric::InnerProduct, table);
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.tables.scan(&self.codebooks.layout, codes, scores)
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        self.tables.code_layout(&self.codebooks.layout)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.tables.scan_tables(&self.codebooks.layout)
    }
}

/// Tables `t_j[c] = ‖q_j − c‖²` or `−q_j·c` of one query, one per group of consecutive components.
pub(crate) struct LookupSearcher<'a> {
    codebooks: &'a Codebooks,
    isa: Isa,
    metric: SearchMetric,
    tables: Tables,
}

impl<'a> LookupSearcher<'a> {
    pub(crate) fn new(codebooks: &'a Codebooks, metric: SearchMetric, isa: Isa) -> LookupSearcher<'a> {
        let tables = Tables::new(codebooks.books.len(), codebooks.codewords());
        LookupSearcher { codebooks, isa, metric, tables }
    }
}

impl Searcher for LookupSearcher<'_> {
    fn set_query(&mut self, query: &[f32]) {
        let parts = query.chunks_exact(self.codebooks.dsub());
        for ((columns, table), part) in self.codebooks.columns().iter().zip(self.tables.tables_mut()).zip(parts) {
            fill(self.isa, part, columns, self.metric, table);
        }
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.tables.scan(&self.codebooks.layout, codes, scores)
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        self.tables.code_layout(&self.codebooks.layout)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.tables.scan_tables(&self.codebooks.layout)
    }
}
