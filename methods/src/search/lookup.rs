//! Search over codes whose score is a sum of table entries, one per symbol (Jégou, Douze and Schmid 2011, ADC).

use super::tables::Tables;
use super::wide::WideTables;
use crate::algorithms::codebooks::Codebooks;
use crate::backend::CodeLayout;
use crate::{MethodError, SearchMetric, Searcher};
use cpu::{Isa, ScanTables};
use std::borrow::Cow;

/// The table of `part` of a query and a codebook given by its columns.
pub(super) fn fill(isa: Isa, part: &[f32], columns: &[f32], metric: SearchMetric, table: &mut [f32]) {
    match metric {
        SearchMetric::L2 => cpu::squared_distances_to_columns(isa, part, columns, table),
        SearchMetric::InnerProduct => cpu::negated_products_with_columns(isa, part, columns, table),
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
        let products = self.metric == SearchMetric::InnerProduct;
        cpu::tables_of_parts(self.isa, query, self.codebooks.columns(), products, self.tables.all_mut());
    }

    fn score_into(&mut self, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        self.tables.scan(&self.codebooks.layout, codes, scores)
    }

    fn code_layout(&self) -> Option<CodeLayout> {
        self.tables.code_layout(&self.codebooks.layout)
    }

    fn laid_out<'c>(&self, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        self.tables.laid_out(&self.codebooks.layout, codes)
    }

    fn scan_tables(&self) -> Option<ScanTables> {
        self.tables.scan_tables(&self.codebooks.layout, 0.0)
    }

    fn wide_symbols(&self, codes: &[u8]) -> Result<Option<Vec<u16>>, MethodError> {
        self.tables.wide_symbols(&self.codebooks.layout, codes)
    }

    fn wide_tables(&self) -> Option<WideTables<'_>> {
        self.tables.wide_tables(&self.codebooks.layout, 0.0)
    }
}
