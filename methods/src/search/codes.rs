//! Search over the codes of a quantizer: by its own searcher if it has one, otherwise by decoding.

use super::scan::{HeldCodes, check_whole, hold, of_each};
use crate::external::Program;
use crate::{MethodError, Neighbor, Quantizer, SearchMetric, Searcher};
use adapters::Held;
use cpu::TopK;
use ndarray::ArrayView2;

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

/// What scores codes.
enum Scoring<'a> {
    /// The backend, by tables or bits of the method's searcher.
    Held(HeldCodes<'a>),
    /// The method's searcher.
    Searcher,
    /// The backend, after decoding.
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
        let size = quantizer.code_size();
        if let Some(program) = quantizer.program()
            && program.abilities().search
            && program.can_search(metric)
        {
            program.hold(Held::Codes(codes, size))?;
            return Ok(CodeSearch { quantizer, codes, metric, path: PROGRAM_PATH, scoring: Scoring::Program(program) });
        }
        check_whole(codes, size)?;
        let (path, scoring) = match quantizer.searcher(metric) {
            Some(searcher) => match hold(&*searcher, codes, size, quantizer.backend())? {
                Some(held) => (searcher.path(), Scoring::Held(held)),
                None => (searcher.path(), Scoring::Searcher),
            },
            None => ("decode", Scoring::Decoded),
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
            Scoring::Decoded => self.search_decoded(queries, k),
            Scoring::Program(program) => program.search(queries, k),
        }
    }

    fn searcher(&self) -> Result<Box<dyn Searcher + 'a>, MethodError> {
        let lost = || MethodError::Broken("a method lost its search over codes".into());
        self.quantizer.searcher(self.metric).ok_or_else(lost)
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
            for (top, found) in tops.iter_mut().zip(found) {
                found.into_iter().for_each(|n| top.push(n.score, (part * part_rows) as u32 + n.id));
            }
        }
        Ok(tops.iter_mut().map(TopK::drain_sorted).collect())
    }
}
