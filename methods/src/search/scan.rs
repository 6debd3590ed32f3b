//! Search of several queries at a time over many codes, where scores are sums of table entries.

use crate::backend::{Backend, CodeScan};
use crate::{MethodError, Neighbor, Searcher};
use cpu::{CodeBlock, Isa, ScanTables, Shortlist, SymbolWidth, TopK};
use ndarray::ArrayView2;

/// The layout of the symbols in codes that are searched by tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLayout {
    /// Bits of each symbol.
    pub width: SymbolWidth,
    /// Symbols of a code, packed least significant first.
    pub positions: usize,
    /// Bytes of a code before its symbols.
    pub skip: usize,
    /// Whether each row has its own offset and slope, see [`Searcher::row_factors`].
    pub has_factors: bool,
}

/// A query that is itself a code: a score is `offset + slope·h`, where `h` is the number of bits in which query and
/// code differ.
#[derive(Clone, Debug, PartialEq)]
pub struct BitQuery {
    /// The code of the query.
    pub code: Vec<u8>,
    /// The offset.
    pub offset: f32,
    /// The slope, which is positive.
    pub slope: f32,
}

/// How codes that a backend holds will be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// By tables.
    Tables(CodeLayout),
    /// By Hamming distance, over this many bytes each.
    Bits(usize),
}

/// Lets the backend hold codes if it can scan them and they are searched by tables or Hamming distance alone.
///
/// # Errors
/// Out of device memory.
pub fn hold(
    searcher: &dyn Searcher,
    codes: &[u8],
    code_size: usize,
    backend: &dyn Backend,
) -> Result<Option<Box<dyn CodeScan>>, MethodError> {
    let plain = |layout: &CodeLayout| !layout.has_factors && code_size == layout.width.bytes(layout.positions);
    let bits = searcher.bit_query().map(|_| Held::Bits(code_size));
    let held = bits.or(searcher.code_layout().filter(plain).map(Held::Tables));
    held.map_or(Ok(None), |held| backend.hold_codes(codes, held))
}

/// [`top_k_of_many`] over codes that a backend holds; None if it cannot find this many.
///
/// # Errors
/// A device failure.
pub fn top_k_of_held(
    searcher: &mut dyn Searcher,
    queries: ArrayView2<'_, f32>,
    held: &dyn CodeScan,
    k: usize,
) -> Result<Option<Vec<Vec<Neighbor>>>, MethodError> {
    let (mut tables, mut bits): (Vec<ScanTables>, Vec<BitQuery>) = Default::default();
    for query in queries.outer_iter() {
        searcher.set_query(&query.to_vec());
        match searcher.bit_query() {
            Some(query) => bits.push(query),
            None => tables.extend(searcher.scan_tables()),
        }
    }
    match queries.nrows() {
        n if n == tables.len() => held.top_k(&tables, k),
        n if n == bits.len() => held.top_k_by_bits(&bits, k),
        _ => Ok(None),
    }
}

/// Codes processed at a time: few enough to stay in the second-level cache while all queries pass over them.
const BLOCK: usize = 2048;

/// With fewer queries than this, rearranging the codes does not pay off.
const FEW: usize = 4;

/// The `k` codes with the smallest scores for each query, nearest first, ties by number. Equals [`Searcher::top_k`]
/// query by query, up to the rounding of scores.
///
/// # Errors
/// What the searcher reports.
pub fn top_k_of_many(
    searcher: &mut dyn Searcher,
    queries: ArrayView2<'_, f32>,
    codes: &[u8],
    code_size: usize,
    k: usize,
    isa: Isa,
) -> Result<Vec<Vec<Neighbor>>, MethodError> {
    if code_size == 0 || !codes.len().is_multiple_of(code_size) {
        let expected = code_size * (codes.len() / code_size.max(1));
        return Err(MethodError::CodeLength { expected, found: codes.len() });
    }
    let fits = |layout: &CodeLayout| code_size == layout.skip + layout.width.bytes(layout.positions);
    let layout = searcher.code_layout().filter(|layout| queries.nrows() >= FEW && fits(layout));
    let block = layout.and_then(|layout| Some((layout, CodeBlock::new(isa, layout.width, layout.positions)?)));
    let mut tables: Vec<ScanTables> = Vec::new();
    if block.is_some() {
        for query in queries.outer_iter() {
            searcher.set_query(&query.to_vec());
            tables.extend(searcher.scan_tables());
        }
    }
    let Some((layout, mut block)) = block.filter(|_| tables.len() == queries.nrows()) else {
        let mut one = |query: ndarray::ArrayView1<'_, f32>| {
            searcher.set_query(&query.to_vec());
            searcher.top_k(codes, code_size, k)
        };
        return queries.outer_iter().map(&mut one).collect();
    };
    let mut lists = vec![Shortlist::new(k); tables.len()];
    for (b, codes) in codes.chunks(BLOCK * code_size).enumerate() {
        let factors: Vec<[f32; 2]> = match layout.has_factors {
            true => codes.chunks_exact(code_size).map(|code| searcher.row_factors(code)).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        block.fill(codes, code_size, layout.skip, &factors);
        for (tables, list) in tables.iter().zip(&mut lists) {
            block.scan(tables, (b * BLOCK) as u32, list);
        }
    }
    let best = |(tables, mut list): (&ScanTables, Shortlist)| {
        let mut top = TopK::new(k);
        for id in list.drain() {
            let code = &codes[id as usize * code_size..][..code_size];
            let factors = if layout.has_factors { searcher.row_factors(code)? } else { [0.0, 1.0] };
            // NaN is not a neighbour.
            let score = tables.score(&code[layout.skip..], factors);
            if !score.is_nan() {
                top.push(score, id);
            }
        }
        Ok(top.drain_sorted())
    };
    tables.iter().zip(lists).map(best).collect()
}
