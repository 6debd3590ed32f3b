//! How a search over codes is done: by the backend where scores are sums of table entries or Hamming distances, by the
//! method otherwise.

use super::wide::WideCodes;
use crate::backend::{Backend, BitScan, TableScan};
use crate::{MethodError, Neighbor, Searcher};
use ndarray::{ArrayView2, Axis, CowArray, s};
use rayon::prelude::*;
use std::ops::Range;

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

/// How codes are searched.
pub enum Holding<'a> {
    /// As they are held.
    Held(HeldCodes<'a>),
    /// By the searcher, because their scores are neither sums of table entries nor Hamming distances.
    Searcher,
    /// By their decoded rows, because scores cancel in f32 ([`Searcher::factors`]).
    Decoded,
}

/// Holds codes of `code_size` bytes, by the backend unless their symbols are wider than a byte, if they can be searched so.
///
/// # Errors
/// A number of bytes that is no multiple of the size, symbols or side values that no encoder writes, or out of device memory.
pub fn hold<'a>(
    searcher: &dyn Searcher,
    codes: &'a [u8],
    code_size: usize,
    backend: &dyn Backend,
) -> Result<Holding<'a>, MethodError> {
    check_whole(codes, code_size)?;
    if searcher.bit_query().is_some() {
        return Ok(Holding::Held(HeldCodes { form: Form::Bits(backend.bit_scan(codes, code_size)?), bytes: 0 }));
    }
    let count = codes.len() / code_size;
    if let Some(wide) = WideCodes::new(codes, code_size, |codes| searcher.wide_symbols(codes))? {
        let Some(factors) = searcher.factors(codes, code_size)? else { return Ok(Holding::Decoded) };
        let wide = wide.with_factors(factors);
        let bytes = wide.bytes();
        return Ok(Holding::Held(HeldCodes { form: Form::Wide(wide), bytes }));
    }
    let Some(layout) = searcher.code_layout().filter(|layout| layout.positions > 0) else {
        return Ok(Holding::Searcher);
    };
    let laid_out = searcher.laid_out(codes)?;
    if laid_out.len() != count * layout.bytes() {
        return Ok(Holding::Searcher);
    }
    let Some(factors) = searcher.factors(codes, code_size)? else { return Ok(Holding::Decoded) };
    let scan = backend.table_scan(laid_out, layout, factors)?;
    let bytes = scan.bytes();
    Ok(Holding::Held(HeldCodes { form: Form::Tables(scan), bytes }))
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
    /// Equals [`Searcher::top_k`] query by query, up to the rounding of scores. Each part of the queries asks `searcher` for one of
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
        for range in even_parts(queries.nrows(), QUERIES * threads) {
            let queries = queries.slice(s![range, ..]);
            found.extend(match &self.form {
                Form::Wide(_) => Vec::new(),
                Form::Tables(scan) => {
                    let tables = |searcher: &mut dyn Searcher| known(searcher.scan_tables());
                    match scan.queries_of_part(queries.nrows()) {
                        Some(size) => of_parts(searcher, queries, size, tables, |t| scan.top_k_of_part(&t, k))?,
                        None => scan.top_k(&of_each(searcher, queries, threads, tables)?, k)?,
                    }
                }
                Form::Bits(scan) => scan.top_k(&of_each(searcher, queries, threads, |s| known(s.bit_query()))?, k)?,
            });
        }
        Ok(found)
    }
}

/// Divides `0..count` into the fewest parts of at most `most`, whose lengths differ by one at most. So no part is small because a number
/// of threads leaves it over: a search over few queries may round scores otherwise than one over many.
fn even_parts(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = count.div_ceil(most);
    (0..parts).map(move |part| part * count / parts..(part + 1) * count / parts)
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
    of_parts(searcher, queries, queries.nrows().div_ceil(tasks), of_query, Ok)
}

/// What `of_part` makes of what `of_query` finds for each of `size` queries, as [`of_each`] finds it.
fn of_parts<'s, T, P: Send>(
    searcher: NewSearcher<'_, 's>,
    queries: ArrayView2<'_, f32>,
    size: usize,
    of_query: impl Fn(&mut dyn Searcher) -> Result<T, MethodError> + Sync,
    of_part: impl Fn(Vec<T>) -> Result<Vec<P>, MethodError> + Sync,
) -> Result<Vec<P>, MethodError> {
    let queries = searcher()?.prepare(CowArray::from(queries))?;
    let queries = queries.as_standard_layout();
    let parts: Vec<_> = queries.axis_chunks_iter(Axis(0), size.max(1)).collect();
    let found = |queries: ArrayView2<'_, f32>| -> Result<Vec<P>, MethodError> {
        let mut searcher = searcher()?;
        let found = queries.outer_iter().map(|query| {
            searcher.set_prepared(query.as_slice().unwrap_or_default());
            of_query(&mut *searcher)
        });
        of_part(found.collect::<Result<_, _>>()?)
    };
    let parts: Vec<Vec<P>> = parts.into_par_iter().map(found).collect::<Result<_, _>>()?;
    Ok(parts.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws::{encode, gaussian};
    use crate::{Context, SearchMetric, parse};
    use cpu::ScanTables;
    use std::sync::Mutex;

    #[test]
    fn parts_are_even_and_cover_everything() {
        for (count, most) in [(0, 3), (1, 3), (7, 7), (8, 7), (256 * 299 + 1, 256), (1000, 64), (5, 1)] {
            let parts: Vec<Range<usize>> = even_parts(count, most).collect();
            assert_eq!(parts.len(), count.div_ceil(most));
            let mut next = 0;
            for part in &parts {
                assert!(part.start == next && part.len() <= most && part.len() >= count / parts.len(), "{parts:?}");
                next = part.end;
            }
            assert_eq!(next, count);
        }
    }

    /// Remembers how many queries it is asked for at a time.
    struct Asked<'a>(&'a Mutex<Vec<usize>>);

    impl TableScan for Asked<'_> {
        fn top_k(&self, tables: &[ScanTables], _k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
            self.0.lock().expect("no panic").push(tables.len());
            Ok(vec![Vec::new(); tables.len()])
        }

        fn bytes(&self) -> usize {
            0
        }
    }

    /// Parts have from one query to many, and a scan treats few otherwise than many.
    #[test]
    fn parts_of_queries_find_what_each_finds_alone() {
        let (rows, queries) = (gaussian(700, 8, 1), gaussian(100, 8, 2));
        for bits in [4, 8] {
            let method = parse("pq", serde_json::json!({ "m": 4, "bits": bits })).expect("parses");
            let cx = Context::cpu(1);
            let quantizer = method.fit(rows.view(), &cx).expect("fits");
            let codes = encode(&*quantizer, rows.view());
            let searcher = || {
                let lost = || MethodError::Broken("no searcher".into());
                quantizer.searcher(SearchMetric::L2).ok_or_else(lost)
            };
            let of_codes = searcher().expect("a searcher");
            let holding = hold(&*of_codes, &codes, quantizer.code_size(), &*cx.backend).expect("holds");
            let Holding::Held(held) = holding else { panic!("sums of table entries") };
            let found = |part: Range<usize>| held.top_k(&searcher, queries.slice(s![part, ..]), 5).expect("searches");
            let alone: Vec<Vec<Neighbor>> = (0..100).flat_map(|query| found(query..query + 1)).collect();
            for threads in 1..=3 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                for n in [1, 7, 8, 9, 17, 100] {
                    assert_eq!(pool.install(|| found(0..n)), alone[..n], "{bits} bits, {n} queries, {threads} threads");
                }
            }
        }
    }

    /// A scan treats few queries otherwise than many, and rounds their scores otherwise.
    #[test]
    fn no_number_of_threads_leaves_few_of_many_queries_over() {
        let rows = gaussian(300, 8, 1);
        let method = parse("pq", serde_json::json!({ "m": 2, "bits": 4 })).expect("parses");
        let quantizer = method.fit(rows.view(), &Context::cpu(1)).expect("fits");
        let codes = encode(&*quantizer, rows.view());
        for threads in 1..=3 {
            // One more than fit into a part, and into two.
            for n in [1, 5, QUERIES * threads + 1, 2 * QUERIES * threads + 3] {
                let (asked, queries) = (Mutex::default(), gaussian(n, 8, 2));
                let held = HeldCodes { form: Form::Tables(Box::new(Asked(&asked))), bytes: codes.len() };
                let searcher = || {
                    let lost = || MethodError::Broken("no searcher".into());
                    quantizer.searcher(SearchMetric::L2).ok_or_else(lost)
                };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
                let found = pool.install(|| held.top_k(&searcher, queries.view(), 3)).expect("searches");
                assert_eq!(found.len(), n);
                let asked = asked.lock().expect("no panic").clone();
                assert_eq!(asked.iter().sum::<usize>(), n);
                assert!(n < 8 || asked.iter().all(|part| (8..=QUERIES * threads).contains(part)), "{asked:?} of {n}");
            }
        }
    }
}
