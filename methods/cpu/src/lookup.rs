//! Asymmetric distance computation: sums of table entries selected by codes, the inner loop of compressed search.

/// Adds up one table entry per symbol:
///
/// ```text
/// scores[i] = Σ_j tables[j·alphabet + symbols[i·m + j]]
/// ```
///
/// `symbols` holds `m` symbols per row, one row per entry of `scores`; `tables` holds `m` tables of `alphabet` entries.
/// This is the plain form; [`scan_byte_tables`] is the fast one for whole-byte symbols.
///
/// # Panics
/// When the lengths do not fit together, or a symbol is not below `alphabet`.
pub fn scan_tables(tables: &[f32], alphabet: usize, symbols: &[u16], scores: &mut [f32]) {
    let m = tables.len() / alphabet;
    assert_eq!(tables.len(), m * alphabet, "tables must hold whole alphabets");
    assert_eq!(symbols.len(), m * scores.len(), "one row of symbols per score");
    for (row, score) in symbols.chunks_exact(m).zip(scores.iter_mut()) {
        *score = tables.chunks_exact(alphabet).zip(row).map(|(table, &symbol)| table[usize::from(symbol)]).sum();
    }
}

/// Tables that stay in the first-level cache while a block of rows passes: 16 of 1 KiB.
pub(crate) const TABLES: usize = 16;

/// Rows that pass before the next tables come in.
const ROWS: usize = 512;

/// [`scan_tables`] for 256-entry tables and codes of one byte per symbol. Four rows at a time keep four independent
/// sums going, and an index of one byte into 256 entries needs no check.
///
/// # Panics
/// When the lengths do not fit together.
pub fn scan_byte_tables(tables: &[f32], codes: &[u8], scores: &mut [f32]) {
    let (tables, rest) = tables.as_chunks::<256>();
    let m = tables.len();
    assert!(rest.is_empty() && m > 0, "tables must hold 256 entries each");
    assert_eq!(codes.len(), m * scores.len(), "one row of codes per score");
    for (codes, scores) in codes.chunks(ROWS * m).zip(scores.chunks_mut(ROWS)) {
        scores.fill(0.0);
        for (block, tables) in tables.chunks(TABLES).enumerate() {
            let window = block * TABLES..block * TABLES + tables.len();
            for (rows, scores) in codes.chunks(4 * m).zip(scores.chunks_mut(4)) {
                if let [a, b, c, d] = scores {
                    let row = |r: usize| &rows[r * m..][window.clone()];
                    let mut sums = [0f32; 4];
                    for ((((table, &p), &q), &r), &s) in tables.iter().zip(row(0)).zip(row(1)).zip(row(2)).zip(row(3)) {
                        sums[0] += table[usize::from(p)];
                        sums[1] += table[usize::from(q)];
                        sums[2] += table[usize::from(r)];
                        sums[3] += table[usize::from(s)];
                    }
                    *a += sums[0];
                    *b += sums[1];
                    *c += sums[2];
                    *d += sums[3];
                } else {
                    for (row, score) in rows.chunks_exact(m).zip(scores) {
                        *score += tables.iter().zip(&row[window.clone()]).map(|(t, &p)| t[usize::from(p)]).sum::<f32>();
                    }
                }
            }
        }
    }
}

/// One position of [`scan_tables`], for symbols of any width: `scores[i] += table[symbols[i]]`. Where a block of rows passes position
/// by position, its scores and one table are all that the cache has to hold.
///
/// # Panics
/// When the lengths do not fit together, or a symbol has no entry.
pub fn add_entries(table: &[f32], symbols: &[u16], scores: &mut [f32]) {
    assert_eq!(symbols.len(), scores.len(), "one symbol per score");
    // A table of every symbol that 16 bits can hold needs no check.
    if let Ok(table) = <&[f32; 1 << 16]>::try_from(table) {
        scores.iter_mut().zip(symbols).for_each(|(score, &symbol)| *score += table[usize::from(symbol)]);
        return;
    }
    scores.iter_mut().zip(symbols).for_each(|(score, &symbol)| *score += table[usize::from(symbol)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_scan::{ScanTables, SymbolWidth};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn position_by_position_gives_the_plain_scores(
            m in 1usize..9, n in 0usize..70, alphabet in prop_oneof![4 => 1usize..700, 1 => Just(1 << 16)], seed in any::<u32>()
        ) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7) as usize;
            // Some entries are not finite: sums in the same order give the same bits.
            let entry = |i: usize| if mix(i) % 97 == 0 { f32::INFINITY } else { (mix(i) % 1000) as f32 * 0.37 };
            let tables: Vec<f32> = (0..m * alphabet).map(entry).collect();
            let symbols: Vec<u16> = (0..m * n).map(|i| (mix(i + 9999) % alphabet) as u16).collect();
            let (mut plain, mut scores) = (vec![f32::NAN; n], vec![0f32; n]);
            scan_tables(&tables, alphabet, &symbols, &mut plain);
            for (p, table) in tables.chunks_exact(alphabet).enumerate() {
                let of_position: Vec<u16> = symbols.iter().skip(p).step_by(m).copied().collect();
                add_entries(table, &of_position, &mut scores);
            }
            prop_assert_eq!(scores, plain);
        }

        #[test]
        fn a_single_code_has_the_sum_that_it_has_among_others(
            nibble in any::<bool>(), positions in 1usize..80, n in 1usize..9, seed in any::<u32>()
        ) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7) as usize;
            let width = if nibble { SymbolWidth::Nibble } else { SymbolWidth::Byte };
            let entries = (0..positions * width.alphabet()).map(|i| (mix(i) % 10_007) as f32 * 0.37 - 1000.0).collect();
            let tables = ScanTables::new(width, entries, 0.0);
            let size = width.bytes(positions);
            let codes: Vec<u8> = (0..n * size).map(|i| mix(i + 9999) as u8).collect();
            let mut scores = vec![f32::NAN; n];
            scan_byte_tables(&tables.of_bytes(), &codes, &mut scores);
            for (code, score) in codes.chunks(size).zip(scores) {
                prop_assert_eq!(tables.sum(code).to_bits(), score.to_bits());
            }
        }

        #[test]
        fn the_fast_scan_agrees_with_the_plain_one(m in 1usize..40, n in 0usize..40, seed in any::<u32>()) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7) as usize;
            // Whole numbers, so that sums are exact in any order.
            let tables: Vec<f32> = (0..m * 256).map(|i| (mix(i) % 1000) as f32).collect();
            let codes: Vec<u8> = (0..m * n).map(|i| (mix(i + 9999) % 256) as u8).collect();
            let symbols: Vec<u16> = codes.iter().map(|&c| u16::from(c)).collect();
            let (mut fast, mut plain) = (vec![f32::NAN; n], vec![f32::NAN; n]);
            scan_byte_tables(&tables, &codes, &mut fast);
            scan_tables(&tables, 256, &symbols, &mut plain);
            prop_assert_eq!(&fast, &plain);
            for i in 0..n {
                let sum: f32 = (0..m).map(|j| tables[j * 256 + usize::from(codes[i * m + j])]).sum();
                prop_assert_eq!(plain[i], sum);
            }
        }
    }
}
