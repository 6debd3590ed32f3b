//! Search over the codes of a quantizer: by its own searcher if it has one, otherwise by decoding.

use super::distinct::{DistinctCodes, is_one_symbol};
use super::scan::{HeldCodes, Holding, check_whole, hold, of_each};
use crate::backend::{DeviceMatrix, RowSearch};
use crate::external::Program;
use crate::{MethodError, Neighbor, Quantizer, SearchMetric, Searcher};
use adapters::Held;
use cpu::TopK;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// A trained quantizer and the codes of the base rows.
pub struct CodeSearch<'a> {
    quantizer: &'a dyn Quantizer,
    codes: &'a [u8],
    metric: SearchMetric,
    path: &'static str,
    scoring: Scoring<'a>,
}

/// Name of the search of an outside program.
const PROGRAM_PATH: &str = "program";

/// Name of the search over decoded rows, whether they are held or decoded for each call.
const DECODE_PATH: &str = "decode";

/// Most bytes of decoded rows that a search holds if nothing else is said. More are decoded part by part for each call. Packed for many
/// searches, rows take up to twice as many.
pub const HELD_BYTES: usize = 512 << 20;

/// What scores codes.
enum Scoring<'a> {
    /// The backend, by tables or bits of the method's searcher.
    Held(HeldCodes<'a>),
    /// The method's searcher.
    Searcher,
    /// The backend, over rows that have been decoded once.
    Rows(DeviceMatrix<'static>),
    /// The same over rows that it has prepared for many searches.
    Prepared(Box<dyn RowSearch>),
    /// The same over the distinct codes, decoded.
    Distinct(DistinctCodes, Box<dyn RowSearch>),
    /// The backend, after decoding part by part for each call.
    Decoded,
    /// The outside program, which holds the codes or rows.
    Program(&'a Program),
}

impl<'a> CodeSearch<'a> {
    /// Prepares a search over `codes`. The quantizer's backend holds them if their scores are sums of table entries or
    /// Hamming distances.
    ///
    /// # Errors
    /// A number of bytes that is no multiple of the code size, side values that no encoder writes, or out of device
    /// memory.
    pub fn new(
        quantizer: &'a dyn Quantizer,
        codes: &'a [u8],
        metric: SearchMetric,
    ) -> Result<CodeSearch<'a>, MethodError> {
        CodeSearch::within(quantizer, codes, metric, HELD_BYTES)
    }

    /// [`CodeSearch::new`] with a limit on the bytes of decoded rows that are held; 0 if a single search follows.
    ///
    /// # Errors
    /// As [`CodeSearch::new`].
    pub fn within(
        quantizer: &'a dyn Quantizer,
        codes: &'a [u8],
        metric: SearchMetric,
        most_bytes: usize,
    ) -> Result<CodeSearch<'a>, MethodError> {
        let size = quantizer.code_size();
        if let Some(program) = quantizer.program()
            && program.abilities().search
            && program.can_search(metric)
        {
            program.hold(Held::Codes(codes, size))?;
            return Ok(CodeSearch { quantizer, codes, metric, path: PROGRAM_PATH, scoring: Scoring::Program(program) });
        }
        check_whole(codes, size)?;
        let on_host = quantizer.backend().scans_on_host();
        // Only the processor scans symbols wider than a byte.
        let searcher = quantizer.searcher(metric).filter(|searcher| on_host || searcher.wide_tables().is_none());
        if searcher.as_ref().is_none_or(|searcher| is_one_symbol(&**searcher))
            && let Some(scoring) = distinct(quantizer, codes, metric, most_bytes)?
        {
            let path = searcher.map_or(DECODE_PATH, |searcher| searcher.path());
            return Ok(CodeSearch { quantizer, codes, metric, path, scoring });
        }
        // Where the searcher leaves it to decoded rows, scores are the same but for rounding.
        let path = searcher.as_ref().map_or(DECODE_PATH, |searcher| searcher.path());
        let holding = match searcher {
            Some(searcher) if !decoding_is_less(&*searcher, codes.len() / size, quantizer, most_bytes) => {
                hold(&*searcher, codes, size, quantizer.backend())?
            }
            _ => Holding::Decoded,
        };
        let scoring = match holding {
            Holding::Held(held) => Scoring::Held(held),
            Holding::Searcher => Scoring::Searcher,
            Holding::Decoded => decoded(quantizer, codes, metric, most_bytes)?,
        };
        Ok(CodeSearch { quantizer, codes, metric, path, scoring })
    }

    /// Prepares a search over rows that an outside program stores in its own way; None if it has no such search for `metric`.
    ///
    /// # Errors
    /// Errors of the program.
    pub fn over_rows(
        quantizer: &'a dyn Quantizer,
        rows: ArrayView2<'_, f32>,
        metric: SearchMetric,
    ) -> Result<Option<CodeSearch<'a>>, MethodError> {
        let searches = |program: &&Program| program.abilities().search_base && program.can_search(metric);
        let Some(program) = quantizer.program().filter(searches) else { return Ok(None) };
        program.hold(Held::Base(rows))?;
        let scoring = Scoring::Program(program);
        Ok(Some(CodeSearch { quantizer, codes: &[], metric, path: PROGRAM_PATH, scoring }))
    }

    /// The outside program that searches, if one does.
    pub fn program(&self) -> Option<&'a Program> {
        match self.scoring {
            Scoring::Program(program) => Some(program),
            _ => None,
        }
    }

    /// Name of the method's own search over codes (`adc`, `program`), or `decode` if decoded vectors are scored.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Bytes that the search holds besides the codes: codes laid out anew, norms and other factors of rows, decoded rows. They belong to
    /// no code. 0 for an outside program, which does not say.
    pub fn held_bytes(&self) -> usize {
        match &self.scoring {
            Scoring::Held(held) => held.bytes(),
            Scoring::Rows(rows) => 4 * rows.nrows() * rows.ncols(),
            Scoring::Prepared(rows) => rows.bytes(),
            Scoring::Distinct(distinct, rows) => distinct.bytes() + rows.bytes(),
            Scoring::Searcher | Scoring::Decoded | Scoring::Program(_) => 0,
        }
    }

    /// The `k` nearest codes of each query, on the current thread pool.
    ///
    /// # Errors
    /// Errors of the method.
    pub fn search(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        match &self.scoring {
            Scoring::Held(held) => held.top_k(&|| self.searcher(), queries, k),
            Scoring::Searcher => {
                let size = self.quantizer.code_size();
                // More parts than threads balance the load.
                let tasks = 4 * rayon::current_num_threads();
                of_each(&|| self.searcher(), queries, tasks, |searcher| searcher.top_k(self.codes, size, k))
            }
            Scoring::Rows(rows) => self.search_rows(rows, queries, k),
            Scoring::Prepared(rows) => rows.top_k(&self.quantizer.backend().upload(queries)?, k),
            Scoring::Distinct(distinct, rows) => distinct.top_k(&**rows, &self.quantizer.backend().upload(queries)?, k),
            Scoring::Decoded => self.search_decoded(queries, k),
            Scoring::Program(program) => program.search(queries, k),
        }
    }

    fn searcher(&self) -> Result<Box<dyn Searcher + 'a>, MethodError> {
        let lost = || MethodError::Broken("a method lost its search over codes".into());
        self.quantizer.searcher(self.metric).ok_or_else(lost)
    }

    /// Finds the nearest of rows that are decoded already, part by part.
    fn search_rows(
        &self,
        rows: &DeviceMatrix<'static>,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let backend = self.quantizer.backend();
        let part_rows = backend.base_rows_at_once(rows.ncols(), queries.nrows());
        let queries = backend.upload(queries)?;
        if rows.nrows() <= part_rows {
            return backend.nearest_rows(rows, &queries, self.metric, k);
        }
        let mut tops: Vec<TopK> = (0..queries.nrows()).map(|_| TopK::new(k)).collect();
        for first in (0..rows.nrows()).step_by(part_rows) {
            let found = backend.nearest_rows(&rows.part(first, part_rows), &queries, self.metric, k)?;
            push_all(&mut tops, found, first);
        }
        Ok(tops.iter_mut().map(TopK::drain_sorted).collect())
    }

    /// Decodes part by part, and finds the nearest rows of each part.
    fn search_decoded(&self, queries: ArrayView2<'_, f32>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let (size, dim, backend) = (self.quantizer.code_size(), self.quantizer.dim(), self.quantizer.backend());
        let bytes = 8 * dim + size + self.quantizer.bytes_per_row();
        let part_rows = backend.base_rows_at_once(dim, queries.nrows()).min(self.quantizer.rows_at_once());
        let part_rows = part_rows.min(backend.rows_at_once(bytes)?);
        let queries = backend.upload(queries)?;
        let mut tops: Vec<TopK> = (0..queries.nrows()).map(|_| TopK::new(k)).collect();
        for (part, codes) in self.codes.chunks(part_rows * size).enumerate() {
            let codes = backend.upload_codes(codes, size)?;
            let mut decoded = backend.room(codes.count(), dim)?;
            self.quantizer.decode(&codes, &mut decoded)?;
            let found = backend.nearest_rows(&decoded.into_matrix(), &queries, self.metric, k)?;
            push_all(&mut tops, found, part * part_rows);
        }
        Ok(tops.iter_mut().map(TopK::drain_sorted).collect())
    }
}

/// Adds what was found in the part that begins with row `first`.
fn push_all(tops: &mut [TopK], found: Vec<Vec<Neighbor>>, first: usize) {
    for (top, found) in tops.iter_mut().zip(found) {
        found.into_iter().for_each(|n| top.push(n.score, first as u32 + n.id));
    }
}

/// Rows that stay decoded and are scored by products of bytes in the time that filling as many entries of tables takes at least. (Of
/// single queries 7 at 128 components, of many queries 20.)
const HELD_ROWS_PER_ENTRY: usize = 4;

/// Whether scoring decoded rows takes less than filling the tables of a query and scoring codes by them. Symbols of up to a byte have
/// tables too small for that to matter.
fn decoding_is_less(searcher: &dyn Searcher, codes: usize, quantizer: &dyn Quantizer, most_bytes: usize) -> bool {
    let Some(tables) = searcher.wide_tables() else { return false };
    let is_held = codes.saturating_mul(4 * quantizer.dim()) <= most_bytes;
    let by_bytes = is_held && quantizer.backend().isa().has_byte_products();
    if by_bytes { codes < HELD_ROWS_PER_ENTRY * tables.alphabet } else { codes < tables.alphabet }
}

/// Prepares a search over the distinct codes; None if codes are long, hardly any are equal, or the backend prepares no rows.
fn distinct(
    quantizer: &dyn Quantizer,
    codes: &[u8],
    metric: SearchMetric,
    most_bytes: usize,
) -> Result<Option<Scoring<'static>>, MethodError> {
    let size = quantizer.code_size();
    let Some(distinct) = DistinctCodes::new(codes, size).filter(|distinct| 2 * distinct.count() <= distinct.rows())
    else {
        return Ok(None);
    };
    Ok(match decoded(quantizer, distinct.codes(), metric, most_bytes)? {
        Scoring::Prepared(rows) => Some(Scoring::Distinct(distinct, rows)),
        _ => None,
    })
}

/// Decodes all codes once, in the backend's memory, which prepares the rows for many searches as they come. Leaves it to each search if
/// the rows take more bytes than `most_bytes` or than there are.
fn decoded(
    quantizer: &dyn Quantizer,
    codes: &[u8],
    metric: SearchMetric,
    most_bytes: usize,
) -> Result<Scoring<'static>, MethodError> {
    let (size, dim, backend) = (quantizer.code_size(), quantizer.dim(), quantizer.backend());
    let count = codes.len() / size;
    // A device needs room beside them for queries and for what decoding takes.
    let fits = count.saturating_mul(4 * dim) <= most_bytes && count <= backend.rows_at_once(8 * dim)? / 2;
    if count == 0 || !fits {
        return Ok(Scoring::Decoded);
    }
    let mut fill = |rows: Range<usize>, values: &mut [f32]| {
        let values = ArrayViewMut2::from_shape((rows.len(), dim), values);
        let values = values.map_err(|e| MethodError::Broken(e.to_string()))?;
        quantizer.decode_into(&codes[rows.start * size..rows.end * size], values)
    };
    if let Some(prepared) = backend.hold_rows((count, dim), metric, &mut fill)? {
        return Ok(Scoring::Prepared(prepared));
    }
    let at_once = quantizer.rows_at_once().min(backend.rows_at_once(8 * dim + size + quantizer.bytes_per_row())?);
    Ok(Scoring::Rows(if count <= at_once {
        let mut rows = backend.room(count, dim)?;
        quantizer.decode(&backend.upload_codes(codes, size)?, &mut rows)?;
        rows.into_matrix()
    } else {
        let mut all = Array2::zeros((count, dim));
        quantizer.decode_into(codes, all.view_mut())?;
        backend.upload_owned(all)?
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::CpuBackend;
    use crate::{Context, METHODS};
    use cpu::Isa;
    use serde_json::json;
    use std::sync::Arc;

    /// Whether tables are filled or rows decoded, the same codes are found.
    #[test]
    fn wide_symbols_are_decoded_where_that_is_less() {
        let (alphabet, dim) = (512, 32);
        let value = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1009) as f32;
        let params = json!({ "m": 2, "bits": 9, "iterations": 1 });
        let method = METHODS.iter().find(|entry| entry.name == "pq").expect("it is registered");
        for isa in Isa::available() {
            let cx = Context::on(Arc::new(CpuBackend::new(isa)), 1);
            let train = Array2::from_shape_fn((600, dim), |(i, j)| value(i, j));
            let quantizer = (method.parse)(params.clone()).expect("parameters").fit(train.view(), &cx).expect("fits");
            let queries = Array2::from_shape_fn((9, dim), |(i, j)| value(i + 5000, j));
            for count in [500, 2047, 2048] {
                let rows = Array2::from_shape_fn((count, dim), |(i, j)| value(i + 77, j));
                let mut codes = vec![0; count * quantizer.code_size()];
                quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
                let find = |most_bytes| {
                    let search =
                        CodeSearch::within(&*quantizer, &codes, SearchMetric::L2, most_bytes).expect("a search");
                    let ids = |found: Vec<Neighbor>| found.into_iter().map(|n| n.id).collect::<Vec<u32>>();
                    let found = search.search(queries.view(), 5).expect("finds");
                    (matches!(search.scoring, Scoring::Prepared(_)), found.into_iter().map(ids).collect::<Vec<_>>())
                };
                let ((is_decoded, found), (is_held, same)) = (find(HELD_BYTES), find(0));
                let rows_per_entry = if isa.has_byte_products() { HELD_ROWS_PER_ENTRY } else { 1 };
                assert_eq!(is_decoded, count < rows_per_entry * alphabet, "{isa}, {count} rows");
                assert!(!is_held && found == same, "{isa}, {count} rows");
            }
        }
    }
}
