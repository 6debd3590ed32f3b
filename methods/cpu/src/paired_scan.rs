//! Search by tables of bytes for two queries at a time: one look-up finds the steps of both, half a byte each.
//!
//! Where a table of 256 entries is looked up sixteen at a time, almost all of the work finds the entry, and little adds it up. Two tables of
//! coarse steps therefore share it. Steps are rounded down, and those above the fifteenth count as fifteen, so that
//!
//! ```text
//! Σ_p table_p[s_p] ≥ Σ_p low_p + step·S,     S = Σ_p min(15, ⌊(table_p[s_p] − low_p)/step⌋)
//! ```
//!
//! is a lower bound. Codes whose bound lies above the score of the `k`-th best until now are left out; all others are summed in f32 at
//! once. What is found is exact, whatever the steps; these are chosen by what the best of the first codes leave for a position.

use crate::aligned::AlignedBytes;
use crate::code_block::CodeBlock;
use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::lookup::TABLES;
use crate::shortlist::Shortlist;
use crate::table_kernels::{GROUP, PairSums, TableKernels, chain};
use crate::table_scan::{ScanTables, extremes};
use crate::topk::{Neighbor, TopK, add_to_scores};
use std::ops::Range;

/// Largest step of half a byte.
const LEVELS: f32 = 15.0;

/// The fifteenth step in shares of what the best codes spend at a position on the average. Larger ones make steps coarse, smaller ones cut
/// too many entries.
const SPREAD: f64 = 2.0;

/// Codes for each of the best that are wanted: with fewer, those that are summed in f32 cost more than the look-ups that are saved.
const CODES: usize = 512;

/// A scan whose bounds keep more than one in this many codes goes on with steps of a whole byte.
const MOST_KEPT: usize = 8;

/// The tables of two queries.
struct PairedTables<'t> {
    tables: [&'t ScanTables; 2],
    /// Steps of both, the first in the lower halves of bytes, as the kernel wants them.
    steps: AlignedBytes,
    bounds: [LowerBound; 2],
}

/// What turns a limit of scores into one of sums of steps.
struct LowerBound {
    /// The sum of the least entries.
    low: f64,
    step: f64,
    /// Bound of all rounding errors.
    rounding: f64,
}

impl LowerBound {
    /// The largest sum of steps of a code whose score is at most the limit.
    fn highest_sum(&self, limit: f32) -> u32 {
        let limit = f64::from(limit);
        let room = limit - self.low + self.rounding + 4.0 * f64::from(f32::EPSILON) * limit.abs();
        // The conversion saturates.
        if room.is_nan() { u32::MAX } else { (room / self.step * (1.0 + 1e-9)) as u32 }
    }
}

impl<'t> PairedTables<'t> {
    /// None if there is only one query, or no such steps.
    fn of(isa: Isa, tables: &'t [ScanTables], tops: &[TopK]) -> Option<PairedTables<'t>> {
        match (tables, tops) {
            ([a, b], [of_a, of_b]) => PairedTables::new(isa, [a, b], [of_a.bound(), of_b.bound()]),
            _ => None,
        }
    }

    fn new(isa: Isa, tables: [&'t ScanTables; 2], limits: [f32; 2]) -> Option<PairedTables<'t>> {
        let positions = tables[0].positions();
        let mut steps = AlignedBytes::zeros(positions * 256);
        let mut bound = |side: usize| {
            let (tables, limit) = (tables[side], limits[side]);
            let (mut leasts, mut largest) = (Vec::with_capacity(positions), 0.0);
            dispatch(isa, Extremes { entries: tables.entries(), leasts: &mut leasts, largest: &mut largest });
            let low = leasts.iter().map(|least| f64::from(*least)).sum::<f64>();
            let step = (SPREAD * (f64::from(limit) - low) / positions as f64 / f64::from(LEVELS)) as f32;
            let inverse = 1.0 / step;
            if !(step > 0.0 && step.is_normal() && inverse.is_normal() && largest < f32::MAX) {
                return None;
            }
            dispatch(isa, HalfSteps { entries: tables.entries(), leasts: &leasts, inverse, side, steps: &mut steps });
            let sizes = (3 * positions + 16) as f64 * f64::from(largest);
            Some(LowerBound { low, step: f64::from(step), rounding: f64::from(f32::EPSILON) * sizes })
        };
        let bounds = [bound(0)?, bound(1)?];
        if TableKernels::of(isa).chained {
            chain(&mut steps);
        }
        Some(PairedTables { tables, steps, bounds })
    }
}

/// The least entry of each table, and the sum of the largest sizes of entries.
struct Extremes<'a> {
    entries: &'a [f32],
    leasts: &'a mut Vec<f32>,
    largest: &'a mut f32,
}

impl Kernel for Extremes<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for table in self.entries.as_chunks::<256>().0 {
            let (least, most) = extremes::<L>(table);
            self.leasts.push(least);
            *self.largest += least.abs().max(most.abs());
        }
    }
}

/// Writes steps to the halves of bytes of one side.
struct HalfSteps<'a> {
    entries: &'a [f32],
    leasts: &'a [f32],
    inverse: f32,
    side: usize,
    steps: &'a mut [u8],
}

impl Kernel for HalfSteps<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let factor = if self.side == 0 { 1 } else { 16 };
        let tables = self.entries.as_chunks::<256>().0.iter().zip(self.steps.as_chunks_mut::<256>().0);
        for ((table, steps), least) in tables.zip(self.leasts) {
            for (step, v) in steps.iter_mut().zip(table) {
                let place = (v - least) * self.inverse;
                // Neither is true of NaN, which gets zero.
                let place = if place > 0.0 { place } else { 0.0 };
                let place = if place < LEVELS { place } else { LEVELS };
                // SAFETY: a number from 0 to 15.
                *step |= (unsafe { place.to_int_unchecked::<i32>() } * factor) as u8;
            }
        }
    }
}

impl CodeBlock {
    /// The `k` codes with the smallest scores for each of several queries, nearest first, ties by number; `rows` codes at a time pass
    /// all queries. None if this is no gain, or none that this processor has.
    ///
    /// # Panics
    /// If the tables have another shape, or `rows` is no multiple of [`CodeBlock::GROUP`].
    pub fn top_k_in_pairs(&self, tables: &[ScanTables], k: usize, rows: usize) -> Option<Vec<Vec<Neighbor>>> {
        let kernel = self.paired_kernel()?;
        if tables.len() < 2 || k == 0 || k.saturating_mul(CODES) > self.len() {
            return None;
        }
        // The best of these set the first limit. Sums of more positions need a better one, since they are rounded off more.
        let begin = (2 * k).max(32 * self.positions()).max(self.len() / 32).next_multiple_of(GROUP);
        if 4 * begin > self.len() {
            return None;
        }
        assert!(rows > 0 && rows.is_multiple_of(GROUP), "whole groups");
        assert!(tables.iter().all(|tables| self.suits(tables)), "tables for these codes");
        let mut tops = vec![TopK::new(k); tables.len()];
        tables.iter().zip(&mut tops).for_each(|(tables, top)| self.scan_alone(tables, 0..begin, k, top));
        // Each pair with the code up to which it is scanned in a pair.
        let pairs = tables.chunks(2).zip(tops.chunks(2));
        let mut pairs: Vec<_> = pairs.map(|(of, tops)| (PairedTables::of(self.isa(), of, tops), begin)).collect();
        for from in (begin..self.len()).step_by(rows) {
            let to = self.len().min(from + rows);
            for ((pair, end), tops) in pairs.iter_mut().zip(tops.chunks_mut(2)) {
                if let Some(tables) = pair {
                    *end = to;
                    if self.scan_pair(kernel, tables, from..to, tops) * MOST_KEPT > 2 * (to - from) {
                        *pair = None;
                    }
                }
            }
        }
        for ((tables, tops), (_, end)) in tables.chunks(2).zip(tops.chunks_mut(2)).zip(pairs) {
            if end < self.len() {
                tables.iter().zip(tops).for_each(|(tables, top)| self.scan_alone(tables, end..self.len(), k, top));
            }
        }
        let best = |(tables, top): (&ScanTables, &mut TopK)| {
            let mut found = top.drain_sorted();
            add_to_scores(tables.constant(), &mut found);
            found
        };
        Some(tables.iter().zip(&mut tops).map(best).collect())
    }

    /// Scans two queries, and returns how many codes were summed for them.
    fn scan_pair(&self, kernel: PairSums, pair: &PairedTables<'_>, codes: Range<usize>, tops: &mut [TopK]) -> usize {
        let mut summed = 0;
        let highest_sum = |side: usize, top: &TopK| pair.bounds[side].highest_sum(top.bound());
        let mut highest = [0, 0];
        tops.iter().zip(&mut highest).enumerate().for_each(|(side, (top, highest))| *highest = highest_sum(side, top));
        for group in codes.start / GROUP..codes.end.div_ceil(GROUP) {
            // SAFETY: the kernel is that of the block's `Isa`, which exists only for a set that the processor has.
            let within = unsafe { kernel(self.symbols_of(group), &pair.steps, highest) };
            for (side, top) in tops.iter_mut().enumerate() {
                let mut within = within[side] & self.present(group);
                if within == 0 {
                    continue;
                }
                summed += within.count_ones() as usize;
                while within != 0 {
                    let i = group * GROUP + within.trailing_zeros() as usize;
                    within &= within - 1;
                    top.push(self.sum_of(pair.tables[side], i), i as u32);
                }
                highest[side] = highest_sum(side, top);
            }
        }
        summed
    }

    /// Scans one query by steps of whole bytes.
    fn scan_alone(&self, tables: &ScanTables, codes: Range<usize>, k: usize, top: &mut TopK) {
        let mut list = Shortlist::new(k);
        let (worst, constant) = (top.bound(), tables.constant());
        list.lower_to(worst + constant + f32::EPSILON * (worst.abs() + constant.abs()));
        self.scan(&self.step(tables), codes, 0, &mut list);
        list.drain().into_iter().for_each(|id| top.push(self.sum_of(tables, id as usize), id));
    }

    /// The sum of a code, as [`ScanTables::sum`] computes it.
    fn sum_of(&self, tables: &ScanTables, i: usize) -> f32 {
        let symbols = self.symbols_of(i / GROUP).as_chunks::<GROUP>().0;
        let parts = tables.entries().as_chunks::<256>().0.chunks(TABLES).zip(symbols.chunks(TABLES));
        let of_part = |(tables, symbols): (&[[f32; 256]], &[[u8; GROUP]])| -> f32 {
            tables.iter().zip(symbols).map(|(table, of)| table[usize::from(of[i % GROUP])]).sum()
        };
        parts.fold(0.0, |sum, part| sum + of_part(part))
    }

    fn paired_kernel(&self) -> Option<PairSums> {
        TableKernels::of(self.isa()).pair_sums.filter(|_| self.holds_plain_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_scan::SymbolWidth;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn bits_tell_which_sums_are_at_most_the_highest(
            positions in prop_oneof![4 => 1usize..40, 1 => 250usize..258], large in any::<bool>(), seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let symbols: Vec<u8> = (0..positions * GROUP).map(|_| rng.random()).collect();
            let steps: Vec<u8> = (0..positions * 256).map(|_| if large { 0xff } else { rng.random() }).collect();
            let sum = |side: usize, r: usize| -> u32 {
                (0..positions).map(|p| u32::from(steps[p * 256 + usize::from(symbols[p * GROUP + r])] >> (4 * side) & 15)).sum()
            };
            let mut links = steps.clone();
            chain(&mut links);
            for isa in Isa::available() {
                let kernels = TableKernels::of(isa);
                let Some(kernel) = kernels.pair_sums else { continue };
                let steps = if kernels.chained { &links } else { &steps };
                for highest in [[0, u32::MAX], [sum(0, 5), sum(1, 77)], [sum(0, 99) - 1, 70_000]] {
                    // SAFETY: an `Isa` exists only for a set that the processor has.
                    let within = unsafe { kernel(&symbols, steps, highest) };
                    for (side, r) in (0..2).flat_map(|side| (0..GROUP).map(move |r| (side, r))) {
                        prop_assert_eq!(within[side] >> r & 1 == 1, sum(side, r) <= highest[side], "{} {} {}", isa, side, r);
                    }
                }
            }
        }

        #[test]
        fn what_is_found_is_what_a_full_sort_finds(
            positions in prop_oneof![6 => 1usize..20, 1 => 20usize..50], rows in 1000usize..6000, k in 1usize..9, queries in 2usize..6,
            kind in 0usize..6, constant in prop_oneof![Just(0f32), -1e3f32..1e3, Just(1e30f32)], passed in 1usize..9, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let codes: Vec<u8> = (0..rows * positions).map(|_| if kind == 1 { rng.random::<u8>() & 17 } else { rng.random() }).collect();
            let mut entry = |q: usize| -> f32 {
                let v = rng.random::<f32>();
                match (kind, (v * 1000.0) as usize) {
                    // Ties, equal entries, numbers that are huge, tiny or infinite, and a few that are far beyond all others.
                    (1, _) => (v * 3.0).floor(),
                    (2, _) => if q == 0 { 0.0 } else { 7.5 },
                    (3, _) => v * if q == 0 { 1e-42 } else { 1e36 },
                    (4, 0) => f32::INFINITY,
                    (4, 2) => -1e5,
                    (5, 0..9) => -1000.0 * v,
                    _ => v * v - 0.1,
                }
            };
            let tables: Vec<ScanTables> = (0..queries)
                .map(|q| ScanTables::new(SymbolWidth::Byte, (0..positions * 256).map(|_| entry(q)).collect(), constant))
                .collect();
            for isa in Isa::available() {
                let Some(mut block) = CodeBlock::new(isa, SymbolWidth::Byte, positions) else { continue };
                block.fill(&codes, positions, 0, &[]);
                let Some(found) = block.top_k_in_pairs(&tables, k, passed * GROUP) else {
                    let few = k * CODES > rows || 4 * (32 * positions + GROUP) > rows;
                    prop_assert!(TableKernels::of(isa).pair_sums.is_none() || few);
                    continue;
                };
                for (tables, found) in tables.iter().zip(found) {
                    let sum = |i: usize| tables.sum(&codes[i * positions..][..positions]);
                    let all = (0..rows).map(|i| Neighbor { score: sum(i), id: i as u32 });
                    let mut all: Vec<Neighbor> = all.collect();
                    all.sort_unstable();
                    all.truncate(k);
                    add_to_scores(tables.constant(), &mut all);
                    prop_assert_eq!(found, all, "{}", isa);
                }
            }
        }
    }
}
