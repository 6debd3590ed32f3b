//! Inner products of a query with packed symbols that stand for a few levels: the inner loop of search over binary,
//! RaBitQ and TurboQuant codes.

use super::tables::lay_out;
use crate::MethodError;
use crate::algorithms::pack::SymbolLayout;
use crate::backend::CodeLayout;
use cpu::{ScanTables, SymbolWidth};
use std::borrow::Cow;

/// `Σ_j q_j·levels[u_j]` over packed symbols `u`. If no symbol straddles two bytes, a table of 256 sums per byte covers
/// all the symbols in it.
pub(crate) struct LevelDot<'a> {
    layout: &'a SymbolLayout,
    levels: &'a [f32],
    /// 256 entries per byte of a code, once a single code is scored; empty where symbols straddle bytes.
    tables: Vec<f32>,
    query: Vec<f32>,
    symbols: Vec<u16>,
}

impl<'a> LevelDot<'a> {
    pub(crate) fn new(layout: &'a SymbolLayout, levels: &'a [f32]) -> LevelDot<'a> {
        let symbols = vec![0; layout.positions()];
        LevelDot { layout, levels, tables: Vec::new(), query: Vec::new(), symbols }
    }

    pub(crate) fn set_query(&mut self, query: &[f32]) {
        self.tables.clear();
        self.query.clear();
        self.query.extend(query);
    }

    /// Whether no symbol straddles two bytes.
    fn has_whole_symbols(&self) -> bool {
        matches!(self.layout.common_width(), Some(1 | 2 | 4 | 8))
    }

    /// Tables of the sums of all symbols within `bits` bits of a code, one after the other; None if symbols straddle them.
    fn sums(&self, bits: usize) -> Option<Vec<f32>> {
        let width = usize::from(self.layout.common_width()?);
        if !self.has_whole_symbols() || width > bits {
            return None;
        }
        let alphabet = 1usize << bits;
        let mut tables = vec![0f32; self.layout.bytes() * 8 / bits * alphabet];
        for (table, part) in tables.chunks_exact_mut(alphabet).zip(self.query.chunks(bits / width)) {
            // Each symbol in turn, over the sums of those below it.
            for (place, q) in part.iter().enumerate() {
                let below = 1usize << (width * place);
                let (sums, above) = table.split_at_mut(below);
                for (above, level) in above.chunks_exact_mut(below).zip(&self.levels[1..1 << width]) {
                    above.iter_mut().zip(&*sums).for_each(|(entry, sum)| *entry = sum + q * level);
                }
                sums.iter_mut().for_each(|sum| *sum += q * self.levels[0]);
            }
        }
        Some(tables)
    }

    /// The layout of codes whose symbols begin after `skip` bytes, if many of them can be scanned at a time.
    pub(crate) fn code_layout(&self, skip: usize, has_factors: bool) -> Option<CodeLayout> {
        let (width, positions, skip) = match self.layout.common_width()? {
            1 | 2 | 4 => (SymbolWidth::Nibble, 2 * self.layout.bytes(), skip),
            8 => (SymbolWidth::Byte, self.layout.bytes(), skip),
            3 => (SymbolWidth::Nibble, self.layout.positions(), 0),
            5..=7 => (SymbolWidth::Byte, self.layout.positions(), 0),
            _ => return None,
        };
        Some(CodeLayout { width, positions, skip, has_factors })
    }

    /// Codes whose symbols begin after `skip` bytes as [`LevelDot::code_layout`] describes them: symbols that straddle bytes are laid
    /// out anew, without the bytes before them.
    pub(crate) fn laid_out<'c>(&self, codes: &'c [u8], skip: usize) -> Result<Cow<'c, [u8]>, MethodError> {
        let width = match self.layout.common_width() {
            Some(3) => SymbolWidth::Nibble,
            Some(5..=7) => SymbolWidth::Byte,
            _ => return Ok(Cow::Borrowed(codes)),
        };
        let mut symbols = vec![0u16; self.layout.positions()];
        let (from, to) = (skip + self.layout.bytes(), width.bytes(symbols.len()));
        let mut out = vec![0u8; codes.len() / from * to];
        for (code, out) in codes.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
            self.layout.unpack(&code[skip..], &mut symbols)?;
            lay_out(width, &symbols, out);
        }
        Ok(Cow::Owned(out))
    }

    /// The tables of the current query for such a scan, for bytes or half bytes.
    pub(crate) fn scan_tables(&self, constant: f32) -> Option<ScanTables> {
        let layout = self.code_layout(0, false)?;
        let entries = match layout.width {
            // Symbols that straddle bytes, each by itself; entries that no symbol selects are zero.
            width if !self.has_whole_symbols() => {
                let entry = |q: f32, u: usize| self.levels.get(u).map_or(0.0, |level| q * level);
                self.query.iter().flat_map(|q| (0..width.alphabet()).map(move |u| entry(*q, u))).collect()
            }
            SymbolWidth::Byte => self.sums(8)?,
            SymbolWidth::Nibble => self.sums(4)?,
        };
        Some(ScanTables::new(layout.width, entries, constant))
    }

    /// Bits beyond the last symbol must be zero, as the encoder leaves them.
    pub(crate) fn dot(&mut self, packed: &[u8]) -> Result<f32, MethodError> {
        if self.tables.is_empty() {
            self.tables = self.sums(8).unwrap_or_default();
        }
        if self.tables.is_empty() {
            self.layout.unpack(packed, &mut self.symbols)?;
            return Ok(self.symbols.iter().zip(&self.query).map(|(&u, q)| q * self.levels[usize::from(u)]).sum());
        }
        let (tables, _) = self.tables.as_chunks::<256>();
        // Four independent sums let the loads overlap.
        let mut sums = [0f32; 4];
        let (quads, rest) = packed.as_chunks::<4>();
        let (table_quads, table_rest) = tables.as_chunks::<4>();
        for (bytes, tables) in quads.iter().zip(table_quads) {
            for ((sum, &byte), table) in sums.iter_mut().zip(bytes).zip(tables) {
                *sum += table[usize::from(byte)];
            }
        }
        let tail: f32 = rest.iter().zip(table_rest).map(|(&byte, table)| table[usize::from(byte)]).sum();
        Ok(sums.iter().sum::<f32>() + tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tables_give_the_plain_sum(
            bits in 1u8..=8,
            row in prop::collection::vec((any::<u8>(), -2f32..2.0), 1..70),
            first in -1f32..1.0,
        ) {
            let levels: Vec<f32> = (0..1usize << bits).map(|i| first + i as f32 * 0.37).collect();
            let layout = SymbolLayout::uniform(row.len(), bits);
            let symbols: Vec<u16> = row.iter().map(|(u, _)| u16::from(*u) & ((1 << bits) - 1)).collect();
            let query: Vec<f32> = row.iter().map(|(_, q)| *q).collect();
            let mut packed = vec![0; layout.bytes()];
            layout.pack(&symbols, &mut packed);
            let mut dot = LevelDot::new(&layout, &levels);
            dot.set_query(&query);
            let plain: f64 = symbols.iter().zip(&query).map(|(&u, q)| f64::from(q * levels[usize::from(u)])).sum();
            let found = f64::from(dot.dot(&packed).expect("right length"));
            let size: f64 = symbols.iter().zip(&query).map(|(&u, q)| f64::from((q * levels[usize::from(u)]).abs())).sum();
            prop_assert!((found - plain).abs() <= 1e-5 * size + 1e-6, "{} for {}", found, plain);
            // And as many codes are scanned at a time, here behind three other bytes.
            let code = [&[1, 2, 3], &packed[..]].concat();
            let held = dot.laid_out(&code, 3).expect("right length");
            let CodeLayout { skip, positions, .. } = dot.code_layout(3, false).expect("any width");
            let tables = dot.scan_tables(0.0).expect("any width");
            prop_assert_eq!(tables.positions(), positions);
            let scanned = f64::from(tables.sum(&held[skip..]));
            prop_assert!((scanned - plain).abs() <= 1e-5 * size + 1e-6, "{} for {}", scanned, plain);
        }
    }
}
