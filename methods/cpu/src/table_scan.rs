//! Search by tables over many codes and several queries at a time: sums of table entries, first in bytes, then exactly.
//!
//! A score is `constant + offset_i + slope_i·Σ_p table_p[symbol p of code i]`. Entries are rounded down to whole steps above the least
//! of their table, so that they fit into bytes and tables into registers:
//!
//! ```text
//! Σ_p low_p + step·S ≤ Σ_p table_p[s_p] ≤ Σ_p low_p + step·(S + m),     S = Σ_p ⌊(table_p[s_p] − low_p)/step⌋
//! ```
//!
//! Codes whose lower bound lies above the k-th smallest upper bound are not among the best (André, Kermarrec and Le Scouarnec 2015
//! hold tables in registers; here the bounds make the result exact). The rest are summed in f32.

use crate::isa::{Isa, Set};
use crate::shortlist::Shortlist;
#[cfg(target_arch = "x86_64")]
use crate::table_scan_vbmi as vbmi;
use std::borrow::Cow;
use std::sync::OnceLock;

/// Number of rows summed side by side.
pub(crate) const LANE_ROWS: usize = 128;

/// Number of positions summed side by side for nibbles: four tables of 16 entries fill a register.
pub(crate) const QUAD: usize = 4;

/// Maximum number of byte positions: sums of values up to 255 stay below 2^16.
const MAX_BYTES: usize = 257;

/// Width of the symbols of a code, packed least significant first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolWidth {
    /// Half a byte; tables of 16.
    Nibble,
    /// A byte; tables of 256.
    Byte,
}

impl SymbolWidth {
    /// Bytes of the given number of symbols.
    pub fn bytes(self, positions: usize) -> usize {
        match self {
            SymbolWidth::Nibble => positions.div_ceil(2),
            SymbolWidth::Byte => positions,
        }
    }

    /// Entries of a table.
    pub fn alphabet(self) -> usize {
        match self {
            SymbolWidth::Nibble => 16,
            SymbolWidth::Byte => 256,
        }
    }
}

/// The tables of one query.
#[derive(Clone, Debug)]
pub struct ScanTables {
    width: SymbolWidth,
    /// One after the other.
    entries: Vec<f32>,
    constant: f32,
    /// Once codes are scanned in blocks.
    stepped: OnceLock<SteppedTables>,
}

/// Tables rounded down to whole steps.
#[derive(Clone, Debug)]
struct SteppedTables {
    /// Entries in integer steps above the minimum of each table; for nibbles, padded with zero tables to a multiple of
    /// four.
    steps: Vec<u8>,
    /// Sum of the minima, and the step.
    low: f32,
    step: f32,
    /// Rounding error bound of a sum in f32.
    rounding: f32,
}

impl SteppedTables {
    fn new(width: SymbolWidth, entries: &[f32]) -> SteppedTables {
        let alphabet = width.alphabet();
        let tables = || entries.chunks_exact(alphabet);
        let least = |table: &[f32]| table.iter().fold(f32::INFINITY, |m, v| m.min(*v));
        let most = |table: &[f32]| table.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
        let range = tables().map(|table| most(table) - least(table)).fold(0f32, f32::max);
        let largest: f32 = tables().map(|table| most(table).abs().max(least(table).abs())).sum();
        // If there is no such step, or none that can be divided by, everything is within one step.
        let (step, inverse) = match range / 255.0 {
            step if step > 0.0 && step.is_finite() && (1.0 / step).is_finite() => (step, 1.0 / step),
            _ => (range, 0.0),
        };
        let positions = entries.len() / alphabet;
        let mut steps = vec![0u8; positions.next_multiple_of(QUAD) * alphabet];
        for (table, steps) in tables().zip(steps.chunks_exact_mut(alphabet)) {
            let least = least(table);
            // The conversion saturates.
            steps.iter_mut().zip(table).for_each(|(step, v)| *step = ((v - least) * inverse) as u8);
        }
        let low = tables().map(least).sum();
        // Sums of `positions` terms, and steps that rounding made one too large.
        let rounding = (positions + 8) as f32 * f32::EPSILON * largest + step;
        SteppedTables { steps, low, step, rounding }
    }
}

impl ScanTables {
    /// Creates tables from entries, [`SymbolWidth::alphabet`] per table, and a constant that is added to every sum.
    ///
    /// # Panics
    /// If the last table is incomplete.
    pub fn new(width: SymbolWidth, entries: Vec<f32>, constant: f32) -> ScanTables {
        let alphabet = width.alphabet();
        assert!(entries.len().is_multiple_of(alphabet), "tables must hold {alphabet} entries each");
        ScanTables { width, entries, constant, stepped: OnceLock::new() }
    }

    fn stepped(&self) -> &SteppedTables {
        self.stepped.get_or_init(|| SteppedTables::new(self.width, &self.entries))
    }

    fn bounds(&self, limit: f32) -> Bounds {
        let SteppedTables { low, step, rounding, .. } = *self.stepped();
        let half = 0.5 * step * self.positions() as f32;
        Bounds {
            middle: low + half,
            step,
            margin: half + rounding,
            rounding: rounded_off(self.constant),
            limit: limit - self.constant,
        }
    }

    /// The largest sum in steps whose lower bound may be at most the limit.
    fn highest_sum(&self, limit: f32) -> u32 {
        let SteppedTables { low, step, rounding, .. } = *self.stepped();
        let room = limit - self.constant - low + 2.0 * (rounding + rounded_off(self.constant));
        // The conversion saturates.
        let steps = room / step.max(f32::MIN_POSITIVE);
        if steps.is_nan() { u32::MAX } else { steps as u32 }
    }

    /// One table after the other.
    pub fn entries(&self) -> &[f32] {
        &self.entries
    }

    /// Tables for whole bytes of a code, 256 entries each, for [`scan_byte_tables`](crate::scan_byte_tables): for
    /// nibbles, the sums of two entries for each value of a byte. The last of an odd number of nibbles shares its byte
    /// with zeros.
    pub fn of_bytes(&self) -> Cow<'_, [f32]> {
        match self.width {
            SymbolWidth::Byte => Cow::Borrowed(&self.entries),
            SymbolWidth::Nibble => Cow::Owned(pairs_of_nibbles(&self.entries).collect()),
        }
    }

    /// What is added to every sum.
    pub fn constant(&self) -> f32 {
        self.constant
    }

    /// With `offset` added to every sum.
    pub fn plus(self, offset: f32) -> ScanTables {
        ScanTables { constant: self.constant + offset, ..self }
    }

    /// Number of tables, and symbols of a code.
    pub fn positions(&self) -> usize {
        self.entries.len() / self.width.alphabet()
    }

    /// `Σ_p table_p[s_p]` in f32 of a code without its side values.
    pub fn sum(&self, code: &[u8]) -> f32 {
        match self.width {
            SymbolWidth::Byte => {
                let tables = self.entries.as_chunks::<256>().0;
                tables.iter().zip(code).map(|(table, &symbol)| table[usize::from(symbol)]).sum()
            }
            SymbolWidth::Nibble => {
                let tables = self.entries.as_chunks::<16>().0;
                let of = |(p, table): (usize, &[f32; 16])| table[usize::from(code[p / 2] >> (p % 2 * 4) & 15)];
                tables.iter().enumerate().map(of).sum()
            }
        }
    }

    /// The score of a code without its side values, whose offset and slope these are.
    pub fn score(&self, code: &[u8], factors: [f32; 2]) -> f32 {
        self.constant + (factors[0] + factors[1] * self.sum(code))
    }
}

/// Tables of two nibbles: `table[l + 16·h] = low[l] + high[h]` for each two tables of 16 entries.
pub fn pairs_of_nibbles(entries: &[f32]) -> impl Iterator<Item = f32> + '_ {
    const NONE: [f32; 16] = [0.0; 16];
    entries.chunks(32).flat_map(|pair| {
        let (low, high) = pair.split_at(16);
        let high = if high.is_empty() { &NONE } else { high };
        high.iter().flat_map(move |h| low.iter().map(move |l| l + h))
    })
}

/// A block of codes, rearranged for the scan.
#[derive(Clone, Debug)]
pub struct CodeBlock {
    isa: Isa,
    width: SymbolWidth,
    positions: usize,
    rows: usize,
    /// Groups of [`LANE_ROWS`] rows. Nibbles: per group and four positions, each row's four symbols in as many bytes, 16 apart from table to
    /// table. Bytes: per group and position, one symbol of each row.
    pub(crate) symbols: Vec<u8>,
    /// `offset` and `slope` of each row; empty when they are 0 and 1.
    offsets: Vec<f32>,
    slopes: Vec<f32>,
}

impl CodeBlock {
    /// An empty block for codes of this many symbols; None if the processor or the code does not support this scan.
    pub fn new(isa: Isa, width: SymbolWidth, positions: usize) -> Option<CodeBlock> {
        let suits = isa.set() == Set::Avx512Vnni && (width == SymbolWidth::Nibble || positions <= MAX_BYTES);
        let empty =
            CodeBlock { isa, width, positions, rows: 0, symbols: Vec::new(), offsets: Vec::new(), slopes: Vec::new() };
        (suits && positions > 0).then_some(empty)
    }

    /// Adds codes of `size` bytes whose symbols begin after `skip` bytes, with an offset and a slope for each, or none.
    ///
    /// # Panics
    /// When lengths do not fit together.
    pub fn fill(&mut self, codes: &[u8], size: usize, skip: usize, factors: &[[f32; 2]]) {
        let bytes = self.width.bytes(self.positions);
        assert!(codes.len().is_multiple_of(size) && skip + bytes <= size, "whole codes with their symbols");
        self.rows = codes.len() / size;
        assert!(factors.is_empty() || factors.len() == self.rows, "factors for every row or for none");
        self.offsets = factors.iter().map(|f| f[0]).collect();
        self.slopes = factors.iter().map(|f| f[1]).collect();
        if !factors.is_empty() {
            let padded = self.rows.next_multiple_of(LANE_ROWS);
            self.offsets.resize(padded, 0.0);
            self.slopes.resize(padded, 0.0);
        }
        self.symbols.clear();
        self.symbols.resize(self.rows.next_multiple_of(LANE_ROWS) * self.row_bytes(), 0);
        let group_bytes = LANE_ROWS * self.row_bytes();
        let groups = self.symbols.chunks_exact_mut(group_bytes).zip(codes.chunks(LANE_ROWS * size));
        for (symbols, codes) in groups {
            for (r, code) in codes.chunks_exact(size).enumerate() {
                let code = &code[skip..skip + bytes];
                match self.width {
                    SymbolWidth::Byte => {
                        symbols.iter_mut().skip(r).step_by(LANE_ROWS).zip(code).for_each(|(to, from)| *to = *from);
                    }
                    SymbolWidth::Nibble => {
                        let quads = symbols.as_chunks_mut::<QUAD>().0.iter_mut().skip(r).step_by(LANE_ROWS);
                        let (pairs, last) = code.as_chunks::<2>();
                        let pairs = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
                        let pairs = pairs.chain(last.first().map(|byte| u16::from(*byte)));
                        quads.zip(pairs).for_each(|(quad, pair)| *quad = spread(pair).to_le_bytes());
                    }
                }
            }
        }
    }

    fn row_bytes(&self) -> usize {
        match self.width {
            SymbolWidth::Nibble => self.positions.next_multiple_of(QUAD),
            SymbolWidth::Byte => self.positions,
        }
    }

    /// Offers the codes that may be among the best of a query to its list, with their index plus `first_id`.
    ///
    /// # Panics
    /// If the tables have another shape.
    pub fn scan(&self, tables: &ScanTables, first_id: u32, list: &mut Shortlist) {
        assert!(tables.width == self.width && tables.positions() == self.positions, "tables for these codes");
        if list.limit() == f32::NEG_INFINITY {
            return;
        }
        let mut sums = [0u32; LANE_ROWS];
        for (group, symbols) in self.symbols.chunks_exact(LANE_ROWS * self.row_bytes()).enumerate() {
            self.sums(symbols, &tables.stepped().steps, &mut sums);
            let first = group * LANE_ROWS;
            let count = LANE_ROWS.min(self.rows - first);
            let factors = (!self.slopes.is_empty()).then(|| Factors {
                offsets: &self.offsets[first..first + LANE_ROWS],
                slopes: &self.slopes[first..first + LANE_ROWS],
            });
            let bounds = tables.bounds(list.limit());
            let mut within = match &factors {
                None => self.at_most(&sums, tables.highest_sum(list.limit())),
                Some(factors) => self.at_most_with(&sums, factors, &bounds),
            };
            within &= u128::MAX >> (LANE_ROWS - count);
            while within != 0 {
                let r = within.trailing_zeros() as usize;
                within &= within - 1;
                let sum = bounds.middle + bounds.step * sums[r] as f32;
                let (offset, slope) = factors.as_ref().map_or((0.0, 1.0), |f| (f.offsets[r], f.slopes[r]));
                let margin = slope.abs() * bounds.margin + (bounds.rounding + rounded_off(offset));
                list.offer(tables.constant + (offset + slope * sum), margin, first_id + (first + r) as u32);
            }
        }
    }

    /// One bit per row: whether its sum is at most `highest`.
    fn at_most(&self, sums: &[u32; LANE_ROWS], highest: u32) -> u128 {
        match self.isa.set() {
            // SAFETY: an `Isa` exists only for a set that the processor has.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { vbmi::at_most(sums, highest) },
            _ => plain_at_most(sums, highest),
        }
    }

    /// One bit per row: whether its lower bound is at most the limit.
    fn at_most_with(&self, sums: &[u32; LANE_ROWS], factors: &Factors<'_>, bounds: &Bounds) -> u128 {
        match self.isa.set() {
            // SAFETY: an `Isa` exists only for a set that the processor has.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { vbmi::at_most_with(sums, factors, bounds) },
            _ => plain_at_most_with(sums, factors, bounds),
        }
    }

    fn sums(&self, symbols: &[u8], steps: &[u8], sums: &mut [u32; LANE_ROWS]) {
        match (self.isa.set(), self.width) {
            // SAFETY: an `Isa` exists only for a set that the processor has.
            #[cfg(target_arch = "x86_64")]
            (Set::Avx512Vnni, SymbolWidth::Nibble) => unsafe { vbmi::nibble_sums(symbols, steps, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            (Set::Avx512Vnni, SymbolWidth::Byte) => unsafe { vbmi::byte_sums(symbols, steps, sums) },
            _ => plain_sums(self.width, symbols, steps, sums),
        }
    }
}

/// Offsets and slopes of a group of rows, [`LANE_ROWS`] of each.
pub(crate) struct Factors<'a> {
    pub(crate) offsets: &'a [f32],
    pub(crate) slopes: &'a [f32],
}

/// Converts a sum in steps into bounds of a score: `offset + slope·(middle + step·S)` ± `|slope|·margin`, without the
/// constant of the query, plus the rounding error of adding numbers of these sizes.
pub(crate) struct Bounds {
    pub(crate) middle: f32,
    pub(crate) step: f32,
    pub(crate) margin: f32,
    pub(crate) rounding: f32,
    /// The limit of the list, minus the constant.
    pub(crate) limit: f32,
}

/// Relative rounding error of an addition.
pub(crate) const ROUNDED_OFF: f32 = 4.0 * f32::EPSILON;

fn rounded_off(value: f32) -> f32 {
    ROUNDED_OFF * value.abs()
}

fn plain_at_most(sums: &[u32; LANE_ROWS], highest: u32) -> u128 {
    sums.iter().enumerate().fold(0, |bits, (r, sum)| bits | u128::from(*sum <= highest) << r)
}

fn plain_at_most_with(sums: &[u32; LANE_ROWS], factors: &Factors<'_>, bounds: &Bounds) -> u128 {
    sums.iter().enumerate().fold(0, |bits, (r, sum)| {
        let (offset, slope) = (factors.offsets[r], factors.slopes[r]);
        let score = offset + slope * (bounds.middle + bounds.step * *sum as f32);
        let margin = slope.abs() * bounds.margin + (bounds.rounding + rounded_off(offset));
        // NaN is not above.
        let above = score - margin > bounds.limit;
        bits | u128::from(!above) << r
    })
}

/// The four nibbles of two bytes as bytes, each with the place of its table in four times sixteen entries.
fn spread(pair: u16) -> u32 {
    let wide = u32::from(pair);
    let bytes = (wide | wide << 8) & 0x00ff_00ff;
    let nibbles = (bytes | bytes << 4) & 0x0f0f_0f0f;
    nibbles | 0x3020_1000
}

/// `sums[r] = Σ_p steps_p[symbol p of row r]`, as defined.
fn plain_sums(width: SymbolWidth, symbols: &[u8], steps: &[u8], sums: &mut [u32; LANE_ROWS]) {
    for (r, sum) in sums.iter_mut().enumerate() {
        *sum = match width {
            SymbolWidth::Byte => {
                let tables = symbols.chunks_exact(LANE_ROWS).zip(steps.chunks_exact(256));
                tables.map(|(symbols, steps)| u32::from(steps[usize::from(symbols[r])])).sum()
            }
            SymbolWidth::Nibble => {
                let quads = symbols.chunks_exact(LANE_ROWS * QUAD).zip(steps.chunks_exact(64));
                quads
                    .map(|(symbols, steps)| {
                        symbols[r * QUAD..][..QUAD].iter().map(|&s| u32::from(steps[usize::from(s)])).sum::<u32>()
                    })
                    .sum()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn plain_median(sums: &[u32; LANE_ROWS]) -> u32 {
        let mut sorted = *sums;
        sorted.sort_unstable();
        sorted[LANE_ROWS / 2]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sums_in_registers_are_the_plain_sums(
            nibble in any::<bool>(), positions in 1usize..70, rows in 0usize..300, skip in 0usize..5, seed in any::<u64>()
        ) {
            let width = if nibble { SymbolWidth::Nibble } else { SymbolWidth::Byte };
            let Some(mut block) = CodeBlock::new(Isa::widest(), width, positions) else { return Ok(()) };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let bytes = if nibble { positions.div_ceil(2) } else { positions };
            let size = skip + bytes;
            let codes: Vec<u8> = (0..rows * size).map(|_| rng.random()).collect();
            block.fill(&codes, size, skip, &[]);
            let entries = (0..positions * width.alphabet()).map(|_| rng.random::<f32>()).collect();
            let tables = ScanTables::new(width, entries, 0.0);
            let group = LANE_ROWS * block.row_bytes();
            for (g, symbols) in block.symbols.chunks_exact(group).enumerate() {
                let (mut fast, mut plain) = ([0; LANE_ROWS], [0; LANE_ROWS]);
                block.sums(symbols, &tables.stepped().steps, &mut fast);
                for highest in [0, 100, plain_median(&fast), u32::MAX] {
                    prop_assert_eq!(block.at_most(&fast, highest), plain_at_most(&fast, highest));
                }
                plain_sums(width, symbols, &tables.stepped().steps, &mut plain);
                let count = LANE_ROWS.min(rows - g * LANE_ROWS);
                prop_assert_eq!(&fast[..count], &plain[..count]);
                // And the plain sums are those of the codes.
                for (r, sum) in plain[..count].iter().enumerate() {
                    let code = &codes[(g * LANE_ROWS + r) * size + skip..][..bytes];
                    let symbol = |p: usize| usize::from(if nibble { code[p / 2] >> (p % 2 * 4) & 15 } else { code[p] });
                    let steps = (0..positions).map(|p| u32::from(tables.stepped().steps[p * width.alphabet() + symbol(p)]));
                    prop_assert_eq!(*sum, steps.sum::<u32>());
                }
            }
        }

        #[test]
        fn the_best_are_on_the_list(
            nibble in any::<bool>(), positions in 1usize..40, rows in 0usize..400, k in 1usize..12,
            with_factors in any::<bool>(), size_of_terms in prop_oneof![4 => -10i32..10, 1 => -140i32..-100], constant in -1e3f32..1e3, seed in any::<u64>()
        ) {
            let width = if nibble { SymbolWidth::Nibble } else { SymbolWidth::Byte };
            let Some(mut block) = CodeBlock::new(Isa::widest(), width, positions) else { return Ok(()) };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let size = if nibble { positions.div_ceil(2) } else { positions };
            let codes: Vec<u8> = (0..rows * size).map(|_| rng.random()).collect();
            let mut random = |scale: f32| (rng.random::<f32>() - 0.5) * scale;
            let factors: Vec<[f32; 2]> = (0..if with_factors { rows } else { 0 }).map(|_| [random(20.0), random(3.0)]).collect();
            let entries = (0..positions * width.alphabet()).map(|_| random(2f32.powi(size_of_terms))).collect();
            let tables = ScanTables::new(width, entries, constant);
            let mut list = Shortlist::new(k);
            // In two blocks, the second of which begins in the middle of a group.
            let cut = rows / 3;
            for (range, first) in [(0..cut, 0), (cut..rows, cut)] {
                let factors = factors.get(range.clone()).unwrap_or(&[]);
                block.fill(&codes[range.start * size..range.end * size], size, 0, factors);
                block.scan(&tables, first as u32, &mut list);
            }
            let short = list.drain();
            let score = |i: usize| tables.score(&codes[i * size..][..size], *factors.get(i).unwrap_or(&[0.0, 1.0]));
            let mut all: Vec<(f32, u32)> = (0..rows).map(|i| (score(i), i as u32)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (score, id) in all.iter().take(k) {
                prop_assert!(short.contains(id), "code {id} of score {score}");
            }
        }
    }
}
