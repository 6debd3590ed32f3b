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

use crate::aligned::AlignedBytes;
use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::lookup::TABLES;
use crate::table_kernels::{Levels, QUAD, TableKernels};
use std::borrow::Cow;

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
}

/// The tables of one query, rounded down to whole steps.
#[derive(Clone, Debug)]
pub struct SteppedTables<'t> {
    tables: &'t ScanTables,
    /// Entries in integer steps above the minimum of each table, padded with tables of zeros to a multiple of [`QUAD`].
    steps: AlignedBytes,
    /// Sum of the minima, and the step.
    low: f32,
    step: f32,
    /// Rounding error bound of a sum in f32.
    rounding: f32,
}

impl<'t> SteppedTables<'t> {
    /// Rounds tables to steps of these sizes.
    pub(crate) fn new(isa: Isa, tables: &'t ScanTables, levels: Levels) -> SteppedTables<'t> {
        let (alphabet, positions) = (tables.width.alphabet(), tables.positions());
        let steps = AlignedBytes::zeros(positions.next_multiple_of(QUAD) * alphabet);
        let mut stepped = SteppedTables { tables, steps, low: 0.0, step: 0.0, rounding: 0.0 };
        match TableKernels::of(isa).nibbles.round.filter(|_| tables.width == SymbolWidth::Nibble) {
            // SAFETY: an `Isa` exists only for a set that the processor has.
            Some(round) => unsafe { round(&mut stepped, levels) },
            None => dispatch(isa, Steps { stepped: &mut stepped, levels }),
        }
        stepped
    }

    /// Lets `arrange` lay out the steps anew, as a kernel wants them.
    pub(crate) fn arrange(&mut self, arrange: fn(&mut [u8])) {
        arrange(&mut self.steps);
    }

    /// Steps of one table after the other, unless they are arranged.
    pub(crate) fn steps(&self) -> &[u8] {
        &self.steps
    }

    /// The steps to be written, one table after the other.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn steps_mut(&mut self) -> &mut [u8] {
        &mut self.steps
    }

    /// States the sum of the minima, the largest range of tables that are added in a byte, and the sum of the largest sizes of entries. Returns
    /// the inverse of the step.
    pub(crate) fn set_step(&mut self, levels: f32, low: f32, range: f32, largest: f32) -> f32 {
        // If there is no such step, or none that can be divided by, everything is within one step.
        let (step, inverse) = match range / levels {
            step if step > 0.0 && step.is_finite() && (1.0 / step).is_finite() => (step, 1.0 / step),
            _ => (range, 0.0),
        };
        self.low = low;
        self.step = step;
        // Sums of `positions` terms, and steps that rounding made one too large.
        self.rounding = (self.tables.positions() + 8) as f32 * f32::EPSILON * largest + step;
        inverse
    }

    pub(crate) fn constant(&self) -> f32 {
        self.tables.constant
    }

    pub(crate) fn tables(&self) -> &'t ScanTables {
        self.tables
    }

    /// How many steps the sum of a code may lie above that of another whose score is greater.
    pub(crate) fn margin_of_sums(&self) -> u32 {
        let of_rounding = 2.0 * f64::from(self.rounding) / f64::from(self.step);
        // The conversion saturates.
        if of_rounding.is_nan() { u32::MAX } else { (self.tables.positions() as f64 + of_rounding).ceil() as u32 }
    }

    /// The largest sum in steps of a code whose score without the constant may be at most the limit.
    pub(crate) fn highest_plain_sum(&self, limit: f32) -> u32 {
        let room = f64::from(limit) - f64::from(self.low) + 2.0 * f64::from(self.rounding);
        let steps = room / f64::from(self.step);
        if steps.is_nan() { u32::MAX } else { steps as u32 }
    }

    pub(crate) fn bounds(&self, limit: f32) -> Bounds {
        let half = 0.5 * self.step * self.tables.positions() as f32;
        Bounds {
            middle: self.low + half,
            step: self.step,
            margin: half + self.rounding,
            rounding: rounded_off(self.constant()),
            limit: limit - self.constant(),
        }
    }

    /// The largest sum in steps whose lower bound may be at most the limit.
    pub(crate) fn highest_sum(&self, limit: f32) -> u32 {
        let room = limit - self.constant() - self.low + 2.0 * (self.rounding + rounded_off(self.constant()));
        // The conversion saturates. Without a step, all sums are zero.
        let steps = room / self.step;
        if steps.is_nan() { u32::MAX } else { steps as u32 }
    }
}

/// The least and the greatest of values, of which NaN is neither.
#[inline(always)]
pub(crate) fn extremes<L: Lanes>(values: &[f32]) -> (f32, f32) {
    let (mut least, mut most) = (L::splat(f32::INFINITY), L::splat(f32::NEG_INFINITY));
    for values in values.chunks_exact(L::N) {
        let values = L::load(values);
        least = values.min(least);
        most = values.max(most);
    }
    (least.least(), -L::splat(0.0).sub(most).least())
}

/// Rounds tables to steps.
struct Steps<'a, 't> {
    stepped: &'a mut SteppedTables<'t>,
    levels: Levels,
}

impl Kernel for Steps<'_, '_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Steps { stepped, levels } = self;
        let tables = stepped.tables;
        let (alphabet, positions) = (tables.width.alphabet(), tables.positions());
        let (mut range, mut largest, mut low) = (0f32, 0f32, 0f32);
        let mut leasts = Vec::with_capacity(positions);
        for together in tables.entries.chunks(levels.tables * alphabet) {
            let mut ranges = [0f32; QUAD];
            for (table, range) in together.chunks_exact(alphabet).zip(&mut ranges) {
                let (least, most) = extremes::<L>(table);
                // NaN is no range.
                *range = range.max(most - least);
                largest += most.abs().max(least.abs());
                low += least;
                leasts.push(least);
            }
            range = range.max((ranges[0] + ranges[1]) + (ranges[2] + ranges[3]));
        }
        let levels = f32::from(levels.most);
        let inverse = stepped.set_step(levels, low, range, largest);
        let tables = tables.entries.chunks_exact(alphabet).zip(stepped.steps.chunks_exact_mut(alphabet));
        for ((table, steps), least) in tables.zip(leasts) {
            for (step, v) in steps.iter_mut().zip(table) {
                let place = (v - least) * inverse;
                // Neither is true of NaN, which gets zero.
                let place = if place > 0.0 { place } else { 0.0 };
                let place = if place < levels { place } else { levels };
                // SAFETY: a number from 0 to `levels`, which is at most 255.
                *step = unsafe { place.to_int_unchecked::<i32>() } as u8;
            }
        }
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
        ScanTables { width, entries, constant }
    }

    pub(crate) fn width(&self) -> SymbolWidth {
        self.width
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

    /// `Σ_p table_p[s_p]` in f32 of a code without its side values: what [`scan_byte_tables`](crate::scan_byte_tables) gives for the tables
    /// of [`ScanTables::of_bytes`], to the last bit.
    pub fn sum(&self, code: &[u8]) -> f32 {
        let parts = code.chunks(TABLES);
        match self.width {
            SymbolWidth::Byte => {
                let of_part = |(tables, code): (&[[f32; 256]], &[u8])| -> f32 {
                    tables.iter().zip(code).map(|(table, &symbol)| table[usize::from(symbol)]).sum()
                };
                self.entries.as_chunks::<256>().0.chunks(TABLES).zip(parts).fold(0.0, |sum, part| sum + of_part(part))
            }
            SymbolWidth::Nibble => {
                let of_part = |(entries, code): (&[f32], &[u8])| -> f32 {
                    let (pairs, last) = entries.as_chunks::<32>();
                    let of = |(pair, byte): (&[f32; 32], &u8)| {
                        pair[usize::from(byte & 15)] + pair[usize::from(16 + (byte >> 4))]
                    };
                    let sum = pairs.iter().zip(code).map(of).sum::<f32>();
                    match (last.is_empty(), code.last()) {
                        (false, Some(byte)) => sum + last[usize::from(byte & 15)],
                        _ => sum,
                    }
                };
                self.entries.chunks(32 * TABLES).zip(parts).fold(0.0, |sum, part| sum + of_part(part))
            }
        }
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

pub(crate) fn rounded_off(value: f32) -> f32 {
    ROUNDED_OFF * value.abs()
}
