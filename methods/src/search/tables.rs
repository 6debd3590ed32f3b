//! The tables of one query, one per symbol of a code, in the forms that scans take: for half bytes, bytes, and wider symbols.

use super::wide::WideTables;
use crate::MethodError;
use crate::algorithms::codebooks::check_symbols;
use crate::algorithms::pack::SymbolLayout;
use crate::backend::CodeLayout;
use cpu::{ScanTables, SymbolWidth};
use std::borrow::Cow;

/// Rows unpacked at a time, when symbols are not whole bytes.
const ROWS: usize = 256;

/// How codes are laid out for a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As they are: each symbol is half a byte or a byte, and every value of it has an entry.
    AsTheyAre(SymbolWidth),
    /// As they are: several symbols of this many bits are half a byte, whose table holds the sums of their entries.
    Joined(u8),
    /// Anew, each symbol by itself; tables are filled up with entries that no symbol selects.
    Apart(SymbolWidth),
    /// Anew, in two bytes each.
    Wide,
}

/// The tables of one query, one per symbol of a code, with buffers for reading codes.
pub(crate) struct Tables {
    /// All tables in sequence, `alphabet` entries each.
    entries: Vec<f32>,
    alphabet: usize,
    /// For symbols of half a byte: the sums of two entries for each value of a byte, 256 per byte of a code.
    pairs: Vec<f32>,
    symbols: Vec<u16>,
}

impl Tables {
    pub(crate) fn new(positions: usize, alphabet: usize) -> Tables {
        Tables { entries: vec![0.0; positions * alphabet], alphabet, pairs: Vec::new(), symbols: Vec::new() }
    }

    /// The tables, to be filled for another query.
    pub(crate) fn tables_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.pairs.clear();
        self.entries.chunks_exact_mut(self.alphabet)
    }

    /// All tables in sequence, to be filled for another query.
    pub(crate) fn all_mut(&mut self) -> &mut [f32] {
        self.pairs.clear();
        &mut self.entries
    }

    fn form(&self, layout: &SymbolLayout) -> Option<Form> {
        Some(match (layout.common_width()?, self.alphabet) {
            (4, 16) => Form::AsTheyAre(SymbolWidth::Nibble),
            (8, 256) => Form::AsTheyAre(SymbolWidth::Byte),
            (bits @ 1, 2) | (bits @ 2, 4) => Form::Joined(bits),
            (1..=4, _) => Form::Apart(SymbolWidth::Nibble),
            (5..=8, _) => Form::Apart(SymbolWidth::Byte),
            _ => Form::Wide,
        })
    }

    /// The layout of codes as many are scanned at a time; None if they are too wide for it.
    pub(crate) fn code_layout(&self, layout: &SymbolLayout) -> Option<CodeLayout> {
        let m = layout.positions();
        let (width, positions) = match self.form(layout)? {
            Form::AsTheyAre(width) | Form::Apart(width) => (width, m),
            Form::Joined(bits) => (SymbolWidth::Nibble, m.div_ceil(usize::from(4 / bits))),
            Form::Wide => return None,
        };
        Some(CodeLayout { width, positions, skip: 0, has_factors: false })
    }

    /// Codes of `layout` as [`Tables::code_layout`] describes them.
    pub(crate) fn laid_out<'c>(&self, layout: &SymbolLayout, codes: &'c [u8]) -> Result<Cow<'c, [u8]>, MethodError> {
        match self.form(layout) {
            Some(Form::Apart(width)) => {
                let mut symbols = vec![0u16; layout.positions()];
                let size = width.bytes(symbols.len());
                let mut out = vec![0u8; codes.len() / layout.bytes().max(1) * size];
                for (code, out) in codes.chunks(layout.bytes().max(1)).zip(out.chunks_exact_mut(size)) {
                    layout.unpack(code, &mut symbols)?;
                    check_symbols(&symbols, self.alphabet)?;
                    lay_out(width, &symbols, out);
                }
                Ok(Cow::Owned(out))
            }
            _ => Ok(Cow::Borrowed(codes)),
        }
    }

    /// The symbols of codes, if they are wider than a byte.
    pub(crate) fn wide_symbols(&self, layout: &SymbolLayout, codes: &[u8]) -> Result<Option<Vec<u16>>, MethodError> {
        if self.form(layout) != Some(Form::Wide) {
            return Ok(None);
        }
        let (m, size) = (layout.positions(), layout.bytes());
        let mut symbols = vec![0u16; codes.len() / size * m];
        for (code, symbols) in codes.chunks(size).zip(symbols.chunks_exact_mut(m)) {
            layout.unpack(code, symbols)?;
            check_symbols(symbols, self.alphabet)?;
        }
        Ok(Some(symbols))
    }

    /// The tables of the current query for symbols wider than a byte.
    pub(crate) fn wide_tables(&self, layout: &SymbolLayout, constant: f32) -> Option<WideTables<'_>> {
        let wide = self.form(layout)? == Form::Wide;
        wide.then_some(WideTables { entries: &self.entries, alphabet: self.alphabet, constant })
    }

    /// The tables of the current query for codes of [`Tables::code_layout`].
    pub(crate) fn scan_tables(&self, layout: &SymbolLayout, constant: f32) -> Option<ScanTables> {
        let tables = self.entries.chunks_exact(self.alphabet);
        let (width, entries) = match self.form(layout)? {
            Form::AsTheyAre(width) => (width, self.entries.clone()),
            Form::Joined(bits) => {
                let (alphabet, of_nibble) = (self.alphabet, usize::from(4 / bits));
                let entry = |tables: &[f32], value: usize| -> f32 {
                    let of_symbol =
                        |(s, table): (usize, &[f32])| table[value >> (s * usize::from(bits)) & (alphabet - 1)];
                    tables.chunks_exact(alphabet).enumerate().map(of_symbol).sum()
                };
                let nibbles = self.entries.chunks(of_nibble * alphabet);
                let entries = nibbles.flat_map(|tables| (0..16).map(move |value| entry(tables, value)));
                (SymbolWidth::Nibble, entries.collect())
            }
            Form::Apart(width) => {
                let mut entries = Vec::with_capacity(layout.positions() * width.alphabet());
                for table in tables {
                    entries.extend(table);
                    // A repeated entry changes neither the least nor the largest of its table.
                    let last = table.last().copied().unwrap_or(0.0);
                    entries.resize(entries.len() + width.alphabet() - table.len(), last);
                }
                (width, entries)
            }
            Form::Wide => return None,
        };
        Some(ScanTables::new(width, entries, constant))
    }

    /// Fills `pairs` for the current query, unless it is filled already.
    fn add_pairs(&mut self) {
        if !self.pairs.is_empty() {
            return;
        }
        self.pairs.extend(cpu::pairs_of_nibbles(&self.entries));
    }

    /// `scores[i] = Σ_j table_j[symbol j of code i]`.
    pub(crate) fn scan(&mut self, layout: &SymbolLayout, codes: &[u8], scores: &mut [f32]) -> Result<(), MethodError> {
        let (size, m) = (layout.bytes(), layout.positions());
        if codes.len() != size * scores.len() {
            return Err(MethodError::CodeLength { expected: size * scores.len(), found: codes.len() });
        }
        match self.form(layout) {
            Some(Form::AsTheyAre(SymbolWidth::Byte)) => {
                cpu::scan_byte_tables(&self.entries, codes, scores);
                return Ok(());
            }
            Some(Form::AsTheyAre(SymbolWidth::Nibble)) => {
                self.add_pairs();
                cpu::scan_byte_tables(&self.pairs, codes, scores);
                return Ok(());
            }
            _ => {}
        }
        for (codes, scores) in codes.chunks(ROWS * size).zip(scores.chunks_mut(ROWS)) {
            self.symbols.resize(scores.len() * m, 0);
            for (code, symbols) in codes.chunks_exact(size).zip(self.symbols.chunks_exact_mut(m)) {
                layout.unpack(code, symbols)?;
                check_symbols(symbols, self.alphabet)?;
            }
            cpu::scan_tables(&self.entries, self.alphabet, &self.symbols, scores);
        }
        Ok(())
    }
}

/// Lays out the symbols of a code in half bytes, the first in the lower half, or in bytes.
pub(crate) fn lay_out(width: SymbolWidth, symbols: &[u16], out: &mut [u8]) {
    match width {
        SymbolWidth::Byte => out.iter_mut().zip(symbols).for_each(|(byte, &symbol)| *byte = symbol as u8),
        SymbolWidth::Nibble => {
            let pairs = symbols.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or(0) << 4);
            out.iter_mut().zip(pairs).for_each(|(byte, pair)| *byte = pair as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::codebooks::symbol_bits;
    use crate::search::wide::WideCodes;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn every_width_scores_as_its_unpacked_symbols(
            alphabet in prop_oneof![
                1usize..40, Just(2usize), Just(4), Just(8), Just(16), Just(64), Just(128), 200usize..257, Just(256), 257usize..1100
            ],
            m in 1usize..12, rows in 1usize..20, seed in any::<u32>(),
        ) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7) as usize;
            let layout = SymbolLayout::uniform(m, symbol_bits(alphabet));
            let symbols: Vec<u16> = (0..rows * m).map(|i| (mix(i) % alphabet) as u16).collect();
            let mut codes = vec![0u8; rows * layout.bytes()];
            for (code, symbols) in codes.chunks_exact_mut(layout.bytes()).zip(symbols.chunks_exact(m)) {
                layout.pack(symbols, code);
            }
            let mut tables = Tables::new(m, alphabet);
            // Whole numbers: sums are exact in any order.
            tables.tables_mut().enumerate().for_each(|(p, table)| {
                table.iter_mut().enumerate().for_each(|(c, v)| *v = (mix(p * alphabet + c + 99) % 1000) as f32 - 500.0);
            });
            let mut plain = vec![f32::NAN; rows];
            cpu::scan_tables(&tables.entries, alphabet, &symbols, &mut plain);
            let mut scores = vec![f32::NAN; rows];
            tables.scan(&layout, &codes, &mut scores).expect("scores");
            prop_assert_eq!(&scores, &plain);
            match tables.code_layout(&layout) {
                Some(of_codes) => {
                    let held = tables.laid_out(&layout, &codes).expect("symbols of the alphabet");
                    let scan = tables.scan_tables(&layout, 0.0).expect("tables for the layout");
                    prop_assert_eq!(held.len(), rows * of_codes.bytes());
                    prop_assert_eq!(scan.positions(), of_codes.positions);
                    for (code, plain) in held.chunks_exact(of_codes.bytes()).zip(&plain) {
                        prop_assert_eq!(scan.sum(code), *plain);
                    }
                    prop_assert!(tables.wide_symbols(&layout, &codes).expect("symbols of the alphabet").is_none());
                }
                None => {
                    let wide = tables.wide_symbols(&layout, &codes).expect("symbols of the alphabet").expect("wide");
                    prop_assert_eq!(&wide, &symbols);
                    let wide = WideCodes::new(&codes, layout.bytes(), |codes| tables.wide_symbols(&layout, codes));
                    let wide = wide.expect("symbols of the alphabet").expect("wide");
                    let found = wide.top_k(tables.wide_tables(&layout, 0.0).expect("wide"), rows);
                    prop_assert!(found.iter().all(|n| n.score == plain[n.id as usize]) && found.len() == rows);
                }
            }
        }
    }

    #[test]
    fn symbols_outside_of_the_alphabet_are_not_laid_out() {
        for (alphabet, width) in [(5usize, 3u8), (20, 5), (200, 8), (300, 9)] {
            let (layout, tables) = (SymbolLayout::uniform(3, width), Tables::new(3, alphabet));
            let mut code = vec![0u8; layout.bytes()];
            layout.pack(&[0, alphabet as u16, 1], &mut code);
            let refused = MethodError::Symbol { symbol: alphabet, position: 1, alphabet };
            if width > 8 {
                assert_eq!(tables.wide_symbols(&layout, &code), Err(refused));
            } else {
                assert_eq!(tables.laid_out(&layout, &code), Err(refused));
            }
        }
    }
}
