//! Search over codes and rows on the CPU: the reference of every backend.

#[cfg(test)]
mod tests;

use super::cpu_backend::view;
use super::{BitQuery, BitScan, CodeLayout, DeviceMatrix, FillRows, RowSearch, TableScan};
use crate::contract::batch::row_major;
use crate::{MethodError, Neighbor, SearchMetric};
use cpu::{CodeBlock, Isa, Nearest, ScanTables, Score, Shortlist, SteppedTables, TopK};
use rayon::prelude::*;
use std::borrow::Cow;

/// Codes or rows scored at a time: few enough to stay in the second-level cache while all queries pass over them.
const BLOCK: usize = 2048;

/// Maximum number of bytes of codes that stay laid out for scans between searches.
const HELD_BYTES: usize = 1 << 26;

/// Bytes of laid out codes that stay in the first-level cache while queries pass over them one after the other.
const PASS_BYTES: usize = 1 << 14;

/// With fewer queries than this, rearranging codes or packing rows does not pay off.
const FEW: usize = 8;

/// Maximum number of queries that share one pass over codes or rows.
const QUERIES: usize = 256;

/// Values of a block of rows.
const BLOCK_VALUES: usize = 1 << 19;

/// Values of rows that are best searched at a time by many queries: so many rows that starting a search over them costs
/// little, and so few that they need little memory.
const MANY_VALUES: usize = 1 << 23;

/// Gives each thread some queries. The result does not depend on how many: every query is searched alone, and whether
/// there are [`FEW`] is decided before.
fn queries_per_task(queries: usize) -> usize {
    if queries < FEW {
        return 1;
    }
    let tasks = (2 * rayon::current_num_threads()).min(queries / FEW).max(queries.div_ceil(QUERIES));
    queries.div_ceil(tasks)
}

/// Codes that are searched by tables.
pub(super) struct CpuTableScan<'a> {
    isa: Isa,
    /// The symbols of all codes, without the bytes before them.
    codes: Cow<'a, [u8]>,
    /// That of `codes`.
    layout: CodeLayout,
    /// Offset and slope of each code; empty if codes have none of their own.
    factors: Vec<[f32; 2]>,
    /// All codes laid out, if they are few enough. More are laid out block by block in every search.
    held: Option<CodeBlock>,
}

impl TableScan for CpuTableScan<'_> {
    fn top_k(&self, tables: &[ScanTables], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let CodeLayout { width, positions, .. } = self.layout;
        let block = match &self.held {
            None if tables.len() >= FEW => CodeBlock::new(self.isa, width, positions),
            _ => None,
        };
        let of_task = |tables: &[ScanTables]| match (&self.held, block.clone()) {
            (Some(held), _) => self.top_k_held(held, tables, k),
            (None, Some(block)) => self.top_k_by_blocks(block, tables, k),
            (None, None) => tables.iter().map(|tables| self.top_k_of_one(tables, k)).collect(),
        };
        Ok(tables.par_chunks(queries_per_task(tables.len())).flat_map_iter(of_task).collect())
    }

    fn queries_of_part(&self, queries: usize) -> Option<usize> {
        self.held.is_some().then(|| queries_per_task(queries))
    }

    fn top_k_of_part(&self, tables: &[ScanTables], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        match &self.held {
            Some(held) => Ok(self.top_k_held(held, tables, k)),
            None => self.top_k(tables, k),
        }
    }

    fn bytes(&self) -> usize {
        let copied = match &self.codes {
            Cow::Borrowed(_) => 0,
            Cow::Owned(codes) => codes.len(),
        };
        copied + size_of_val(&self.factors[..]) + self.held.as_ref().map_or(0, CodeBlock::bytes)
    }
}

impl<'a> CpuTableScan<'a> {
    pub(super) fn new(isa: Isa, codes: Cow<'a, [u8]>, layout: CodeLayout, factors: Vec<[f32; 2]>) -> CpuTableScan<'a> {
        let bytes = layout.bytes();
        assert!(bytes > layout.skip && codes.len().is_multiple_of(bytes), "whole codes of {bytes} bytes with symbols");
        let expected = if layout.has_factors { codes.len() / bytes } else { 0 };
        assert_eq!(factors.len(), expected, "factors for each code if the layout has them");
        let codes = match layout.skip {
            0 => codes,
            skip => {
                let mut symbols = Vec::with_capacity(codes.len() / bytes * (bytes - skip));
                codes.chunks_exact(bytes).for_each(|code| symbols.extend_from_slice(&code[skip..]));
                Cow::Owned(symbols)
            }
        };
        let layout = CodeLayout { skip: 0, ..layout };
        let mut held = CodeBlock::new(isa, layout.width, layout.positions);
        held = held.filter(|block| codes.len() / layout.bytes() * block.bytes_per_code() <= HELD_BYTES);
        if let Some(block) = &mut held {
            block.fill(&codes, layout.bytes(), 0, &factors);
        }
        CpuTableScan { isa, codes, layout, factors, held }
    }

    /// Codes and their factors, block by block, with the index of the first of each block.
    fn blocks(&self) -> impl Iterator<Item = (u32, &[u8], &[[f32; 2]])> {
        let blocks = self.codes.chunks(BLOCK * self.layout.bytes()).enumerate();
        blocks.map(|(b, codes)| {
            let first = b * BLOCK;
            let count = codes.len() / self.layout.bytes();
            let factors = self.factors.get(first..first + count).unwrap_or_default();
            (first as u32, codes, factors)
        })
    }

    /// Scores of all codes, by one lookup per byte of a code.
    fn top_k_of_one(&self, tables: &ScanTables, k: usize) -> Vec<Neighbor> {
        let of_bytes = tables.of_bytes();
        let mut scores = vec![0f32; BLOCK];
        let mut top = TopK::new(k);
        for (first, codes, factors) in self.blocks() {
            let scores = &mut scores[..codes.len() / self.layout.bytes()];
            cpu::scan_byte_tables(&of_bytes, codes, scores);
            for (score, [offset, slope]) in scores.iter_mut().zip(factors) {
                *score = offset + slope * *score;
            }
            top.push_block(scores, first);
        }
        let mut found = top.drain_sorted();
        cpu::add_to_scores(tables.constant(), &mut found);
        found
    }

    /// Selects candidates by tables rounded to bytes, and scores these exactly.
    fn top_k_held(&self, held: &CodeBlock, tables: &[ScanTables], k: usize) -> Vec<Vec<Neighbor>> {
        let rows = (PASS_BYTES / held.bytes_per_code() / CodeBlock::GROUP).max(4) * CodeBlock::GROUP;
        if let Some(found) = held.top_k_of_nibbles(&self.codes, tables, k) {
            return found;
        }
        if let Some(found) = held.top_k_in_pairs(tables, k, rows) {
            return found;
        }
        let stepped: Vec<SteppedTables<'_>> = tables.iter().map(|tables| held.step(tables)).collect();
        let mut searches = vec![Search::new(k); tables.len()];
        for from in (0..held.len()).step_by(rows) {
            let to = held.len().min(from + rows);
            for ((search, stepped), tables) in searches.iter_mut().zip(&stepped).zip(tables) {
                held.scan(stepped, from..to, 0, &mut search.list);
                self.thin_out(tables, search);
            }
        }
        self.best(tables, searches)
    }

    /// As [`CpuTableScan::top_k_held`], for codes that are not laid out.
    fn top_k_by_blocks(&self, mut block: CodeBlock, tables: &[ScanTables], k: usize) -> Vec<Vec<Neighbor>> {
        let stepped: Vec<SteppedTables<'_>> = tables.iter().map(|tables| block.step(tables)).collect();
        let mut searches = vec![Search::new(k); tables.len()];
        for (first, codes, factors) in self.blocks() {
            block.fill(codes, self.layout.bytes(), 0, factors);
            for ((search, stepped), tables) in searches.iter_mut().zip(&stepped).zip(tables) {
                block.scan(stepped, 0..block.len(), first, &mut search.list);
                self.thin_out(tables, search);
            }
        }
        self.best(tables, searches)
    }

    /// Scores the candidates of a crowded list, so that however many scores are equal, few candidates are held.
    fn thin_out(&self, tables: &ScanTables, search: &mut Search) {
        let Search { list, top } = search;
        let taken = list.thin_out(0);
        if taken.is_empty() {
            return;
        }
        taken.into_iter().for_each(|id| top.push(self.score(tables, id), id));
        // Codes come in ascending order: a later one of the same score as the worst wins no tie.
        let (worst, constant) = (top.bound(), tables.constant());
        list.lower_to(worst + constant + f32::EPSILON * (worst.abs() + constant.abs()));
    }

    /// The exact score of a code, without the constant of the query.
    fn score(&self, tables: &ScanTables, id: u32) -> f32 {
        let (id, size) = (id as usize, self.layout.bytes());
        let sum = tables.sum(&self.codes[id * size..][..size]);
        self.factors.get(id).map_or(sum, |[offset, slope]| offset + slope * sum)
    }

    /// The best of each search, by their exact scores.
    fn best(&self, tables: &[ScanTables], searches: Vec<Search>) -> Vec<Vec<Neighbor>> {
        let best = |(tables, Search { mut list, mut top }): (&ScanTables, Search)| {
            for id in list.drain() {
                top.push(self.score(tables, id), id);
            }
            let mut found = top.drain_sorted();
            cpu::add_to_scores(tables.constant(), &mut found);
            found
        };
        tables.iter().zip(searches).map(best).collect()
    }
}

/// What a query has found so far.
#[derive(Clone)]
struct Search {
    /// Codes that may be among the best.
    list: Shortlist,
    /// The best of those whose exact scores are known.
    top: TopK,
}

impl Search {
    fn new(k: usize) -> Search {
        Search { list: Shortlist::new(k), top: TopK::new(k) }
    }
}

/// Codes that are searched by Hamming distance.
pub(super) struct CpuBitScan<'a> {
    isa: Isa,
    codes: &'a [u8],
    size: usize,
}

impl<'a> CpuBitScan<'a> {
    pub(super) fn new(isa: Isa, codes: &'a [u8], size: usize) -> CpuBitScan<'a> {
        assert!(size > 0 && codes.len().is_multiple_of(size), "whole codes of {size} bytes");
        CpuBitScan { isa, codes, size }
    }
}

impl BitScan for CpuBitScan<'_> {
    fn top_k(&self, queries: &[BitQuery], k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        let of_one = |query: &BitQuery| {
            let (mut distances, mut scores) = (vec![0u32; BLOCK], vec![0f32; BLOCK]);
            let mut top = TopK::new(k);
            for (block, codes) in self.codes.chunks(BLOCK * self.size).enumerate() {
                let (distances, scores) = (&mut distances[..codes.len() / self.size], &mut scores[..]);
                cpu::hamming(self.isa, &query.code, codes, distances);
                let scores = &mut scores[..distances.len()];
                scores.iter_mut().zip(distances).for_each(|(score, d)| *score = query.offset + query.slope * *d as f32);
                top.push_block(scores, (block * BLOCK) as u32);
            }
            top.drain_sorted()
        };
        Ok(queries.par_iter().map(of_one).collect())
    }
}

/// Rows to search at a time, see [`Backend::base_rows_at_once`](super::Backend::base_rows_at_once).
pub(super) fn base_rows_at_once(dim: usize, queries: usize) -> usize {
    // A block for each thread stays in its cache after it has been decoded.
    let values = if queries < FEW { BLOCK_VALUES * rayon::current_num_threads() } else { MANY_VALUES };
    (values / dim.max(1)).max(FEW)
}

/// Scores of rows for a query, by `metric`.
fn score(isa: Isa, metric: SearchMetric, query: &[f32], rows: &[f32], scores: &mut [f32]) {
    match metric {
        SearchMetric::InnerProduct => cpu::negated_products(isa, query, rows, scores),
        SearchMetric::L2 => cpu::squared_distances(isa, query, rows, scores),
    }
}

/// Rows of a block that is searched by all queries.
fn block_rows(dim: usize) -> usize {
    (BLOCK_VALUES / dim).clamp(FEW, 2 * BLOCK)
}

/// See [`Backend::nearest_rows`](super::Backend::nearest_rows).
pub(super) fn nearest_rows(
    isa: Isa,
    base: &DeviceMatrix<'_>,
    queries: &DeviceMatrix<'_>,
    metric: SearchMetric,
    k: usize,
) -> Vec<Vec<Neighbor>> {
    let dim = base.ncols();
    if queries.nrows() >= FEW {
        return PackedRows::of(isa, base, metric).nearest(queries, k);
    }
    let (base, queries) = (view(base), view(queries));
    let base = row_major(&base);
    let blocks: Vec<&[f32]> = base.chunks(block_rows(dim) * dim).collect();
    nearest_to_few(isa, &blocks, &row_major(&queries), dim, metric, k)
}

/// The search of few queries, without anything prepared; all blocks but the last have [`block_rows`].
fn nearest_to_few(
    isa: Isa,
    blocks: &[&[f32]],
    queries: &[f32],
    dim: usize,
    metric: SearchMetric,
    k: usize,
) -> Vec<Vec<Neighbor>> {
    let of_block = |(b, rows): (usize, &&[f32])| -> Vec<TopK> {
        let mut scores = vec![0f32; rows.len() / dim];
        let of_query = |query: &[f32]| {
            let mut top = TopK::new(k);
            score(isa, metric, query, rows, &mut scores);
            top.push_block(&scores, (b * block_rows(dim)) as u32);
            top
        };
        queries.chunks_exact(dim).map(of_query).collect()
    };
    merged(blocks.par_iter().enumerate().map(of_block).collect(), queries.len() / dim, k)
}

/// The best for each query of what was found in parts of the rows.
fn merged(parts: Vec<Vec<TopK>>, queries: usize, k: usize) -> Vec<Vec<Neighbor>> {
    let mut tops = vec![TopK::new(k); queries];
    for part in parts {
        for (top, mut found) in tops.iter_mut().zip(part) {
            found.drain_sorted().into_iter().for_each(|neighbor| top.push(neighbor.score, neighbor.id));
        }
    }
    tops.iter_mut().map(TopK::drain_sorted).collect()
}

/// Rows that stay packed between searches.
pub(super) struct PackedRows {
    isa: Isa,
    dim: usize,
    metric: SearchMetric,
    /// Of [`block_rows`] each.
    blocks: Vec<Nearest>,
}

/// A block of rows of `dim` components, packed.
fn pack(isa: Isa, rows: Vec<f32>, dim: usize, metric: SearchMetric) -> Nearest {
    let kind = if metric == SearchMetric::InnerProduct { Score::NegatedDot } else { Score::HalfDistance };
    Nearest::new(isa, rows, dim, kind).prepared()
}

impl PackedRows {
    fn of(isa: Isa, base: &DeviceMatrix<'_>, metric: SearchMetric) -> PackedRows {
        let dim = base.ncols();
        let base = view(base);
        let pack = |rows: &[f32]| pack(isa, rows.to_vec(), dim, metric);
        let blocks = row_major(&base).par_chunks(block_rows(dim) * dim).map(pack).collect();
        PackedRows { isa, dim, metric, blocks }
    }

    /// Rows that `fill` writes, packed block by block: as many blocks at a time as there are threads.
    pub(super) fn filled(
        isa: Isa,
        (count, dim): (usize, usize),
        metric: SearchMetric,
        fill: FillRows<'_>,
    ) -> Result<PackedRows, MethodError> {
        let at_once = block_rows(dim) * rayon::current_num_threads();
        let mut blocks = Vec::with_capacity(count.div_ceil(block_rows(dim)));
        for from in (0..count).step_by(at_once) {
            let to = count.min(from + at_once);
            let of_block = |first: usize| -> Result<Vec<f32>, MethodError> {
                let range = first..to.min(first + block_rows(dim));
                let mut rows = vec![0f32; range.len() * dim];
                fill(range, &mut rows)?;
                Ok(rows)
            };
            let rows: Vec<Vec<f32>> = (from..to).step_by(block_rows(dim)).map(of_block).collect::<Result<_, _>>()?;
            blocks.par_extend(rows.into_par_iter().map(|rows| pack(isa, rows, dim, metric)));
        }
        Ok(PackedRows { isa, dim, metric, blocks })
    }

    fn row(&self, id: u32) -> &[f32] {
        let (block, row) = (id as usize / block_rows(self.dim), id as usize % block_rows(self.dim));
        &self.blocks[block].vectors()[row * self.dim..][..self.dim]
    }

    fn nearest(&self, queries: &DeviceMatrix<'_>, k: usize) -> Vec<Vec<Neighbor>> {
        let PackedRows { isa, dim, metric, .. } = *self;
        let queries = view(queries);
        let queries = &*row_major(&queries);
        let n = queries.len() / dim;
        if n < FEW && !self.blocks.first().is_some_and(Nearest::has_bytes) {
            let blocks: Vec<&[f32]> = self.blocks.iter().map(Nearest::vectors).collect();
            return nearest_to_few(isa, &blocks, queries, dim, metric, k);
        }
        // The best of some blocks.
        let of_task = |queries: &[f32], blocks: &[Nearest], first: usize| -> Vec<TopK> {
            let mut lists = vec![Shortlist::new(k); queries.len() / dim];
            let mut tops = vec![TopK::new(k); lists.len()];
            let add = |top: &mut TopK, query: &[f32], ids: Vec<u32>| {
                for id in ids {
                    let mut exact = [0f32];
                    score(isa, metric, query, self.row(id), &mut exact);
                    top.push(exact[0], id);
                }
            };
            for (b, rows) in blocks.iter().enumerate() {
                rows.shortlist(queries, ((first + b) * block_rows(dim)) as u32, &mut lists);
                for ((top, query), list) in tops.iter_mut().zip(queries.chunks_exact(dim)).zip(&mut lists) {
                    add(top, query, list.thin_out(0));
                }
            }
            for ((top, query), list) in tops.iter_mut().zip(queries.chunks_exact(dim)).zip(&mut lists) {
                add(top, query, list.drain());
            }
            tops
        };
        if n < FEW {
            // Each thread has some blocks. What is best by exact scores does not depend on how many.
            let at_once = self.blocks.len().div_ceil(rayon::current_num_threads()).max(1);
            let parts = self.blocks.par_chunks(at_once).enumerate();
            let found = parts.map(|(part, blocks)| of_task(queries, blocks, part * at_once)).collect();
            return merged(found, n, k);
        }
        let of_queries = |queries: &[f32]| -> Vec<Vec<Neighbor>> {
            of_task(queries, &self.blocks, 0).iter_mut().map(TopK::drain_sorted).collect()
        };
        queries.par_chunks(queries_per_task(n) * dim).flat_map_iter(of_queries).collect()
    }
}

impl RowSearch for PackedRows {
    fn top_k(&self, queries: &DeviceMatrix<'_>, k: usize) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        Ok(self.nearest(queries, k))
    }

    fn bytes(&self) -> usize {
        self.blocks.iter().map(Nearest::bytes).sum()
    }
}
