//! How a search over codes is done: by the backend where scores are sums of table entries or Hamming distances, by the
//! method otherwise.

use super::wide::WideCodes;
use crate::backend::{Backend, BitScan, TableScan};
use crate::{MethodError, Neighbor, Searcher};
use ndarray::{ArrayView2, Axis, CowArray};
use rayon::prelude::*;

/// Maximum number of queries per thread whose tables are in memory at a time.
const QUERIES: usize = 256;

/// Codes as they are held for searches.
pub struct HeldCodes<'a> {
    form: Form<'a>,
    bytes: usize,
}

enum Form<'a> {
    /// Scores are sums of table entries.
    Tables(Box<dyn TableScan + 'a>),
    /// The same for symbols wider than a byte.
    Wide(WideCodes),
    /// Scores are Hamming distances up to offset and slope.
    Bits(Box<dyn BitScan + 'a>),
}

/// Holds codes of `code_size` bytes, by the backend unless their symbols are wider than a byte; None if their scores are neither sums of
/// table entries nor Hamming distances, so that only the searcher itself computes them.
///
/// # Errors
/// A number of bytes that is no multiple of the size, symbols or side values that no encoder writes, or out of device memory.
pub fn hold<'a>(
    searcher: &dyn Searcher,
    codes: &'a [u8],
    code_size: usize,
    backend: &dyn Backend,
) -> Result<Option<HeldCodes<'a>>, MethodError> {
    check_whole(codes, code_size)?;
    if searcher.bit_query().is_some() {
        return Ok(Some(HeldCodes { form: Form::Bits(backend.bit_scan(codes, code_size)?), bytes: 0 }));
    }
    let count = codes.len() / code_size;
    if let Some(wide) = WideCodes::new(codes, code_size, |codes| searcher.wide_symbols(codes))? {
        let wide = wide.with_factors(searcher.factors(codes, code_size)?);
        let bytes = wide.bytes();
        return Ok(Some(HeldCodes { form: Form::Wide(wide), bytes }));
    }
    let Some(layout) = searcher.code_layout().filter(|layout| layout.positions > 0) else { return Ok(None) };
    let laid_out = searcher.laid_out(codes)?;
    if laid_out.len() != count * layout.bytes() {
        return Ok(None);
    }
    let factors = searcher.factors(codes, code_size)?;
    let scan = backend.table_scan(laid_out, layout, factors)?;
    let bytes = scan.bytes();
    Ok(Some(HeldCodes { form: Form::Tables(scan), bytes }))
}

/// Checks that the bytes are a whole number of codes.
pub(super) fn check_whole(codes: &[u8], code_size: usize) -> Result<(), MethodError> {
    if code_size == 0 || !codes.len().is_multiple_of(code_size) {
        let expected = code_size * (codes.len() / code_size.max(1));
        return Err(MethodError::CodeLength { expected, found: codes.len() });
    }
    Ok(())
}

impl HeldCodes<'_> {
    /// Bytes of memory that the search takes besides the codes: codes laid out anew, norms and other factors of rows.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The `k` codes with the smallest scores for each query, nearest first, ties by number, on the current thread pool.
    /// Equals [`Searcher::top_k`] query by query, up to the rounding of scores. Each thread asks `searcher` for one of
    /// its own; they must be of the kind that the codes are held for.
    ///
    /// # Errors
    /// A device failure, errors of `searcher`.
    pub fn top_k<'s>(
        &self,
        searcher: NewSearcher<'_, 's>,
        queries: ArrayView2<'_, f32>,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let threads = rayon::current_num_threads();
        if let Form::Wide(wide) = &self.form {
            // More parts than threads balance the load.
            return of_each(searcher, queries, 4 * threads, |s| Ok(wide.top_k(known(s.wide_tables())?, k)));
        }
        let mut found = Vec::with_capacity(queries.nrows());
        for queries in queries.axis_chunks_iter(Axis(0), QUERIES * threads) {
            found.extend(match &self.form {
                Form::Wide(_) => Vec::new(),
                Form::Tables(scan) => {
                    scan.top_k(&of_each(searcher, queries, threads, |s| known(s.scan_tables()))?, k)?
                }
                Form::Bits(scan) => scan.top_k(&of_each(searcher, queries, threads, |s| known(s.bit_query()))?, k)?,
            });
        }
        Ok(found)
    }
}

/// Makes a searcher; each thread has its own, because it holds the tables of one query.
pub(super) type NewSearcher<'f, 's> = &'f (dyn Fn() -> Result<Box<dyn Searcher + 's>, MethodError> + Sync);

fn known<T>(of_query: Option<T>) -> Result<T, MethodError> {
    of_query.ok_or_else(|| MethodError::Broken("a searcher lost the tables that its codes are held for".into()))
}

/// What `of_query` finds for each query, which the searcher has taken. Queries are prepared together, then divided into at
/// most `tasks` parts, each with a searcher of its own.
pub(super) fn of_each<'s, T: Send>(
    searcher: NewSearcher<'_, 's>,
    queries: ArrayView2<'_, f32>,
    tasks: usize,
    of_query: impl Fn(&mut dyn Searcher) -> Result<T, MethodError> + Sync,
) -> Result<Vec<T>, MethodError> {
    let queries = searcher()?.prepare(CowArray::from(queries))?;
    let queries = queries.as_standard_layout();
    let parts: Vec<_> = queries.axis_chunks_iter(Axis(0), queries.nrows().div_ceil(tasks).max(1)).collect();
    let of_part = |queries: ArrayView2<'_, f32>| -> Result<Vec<T>, MethodError> {
        let mut searcher = searcher()?;
        let found = queries.outer_iter().map(|query| {
            searcher.set_prepared(query.as_slice().unwrap_or_default());
            of_query(&mut *searcher)
        });
        found.collect()
    };
    let parts: Vec<Vec<T>> = parts.into_par_iter().map(of_part).collect::<Result<_, _>>()?;
    Ok(parts.into_iter().flatten().collect())
}
