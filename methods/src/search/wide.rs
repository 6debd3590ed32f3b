//! Search by tables over symbols of 9 to 16 bits, which no scan of bytes covers: one look-up per symbol, position by position.

use crate::Neighbor;
use cpu::TopK;

/// Codes whose scores are computed together: their symbols of a position and their scores stay in the first-level cache.
const BLOCK: usize = 2048;

/// The tables of one query, `alphabet` entries per position, and a constant that is added to every sum.
#[derive(Clone, Copy, Debug)]
pub struct WideTables<'t> {
    /// One table after the other.
    pub entries: &'t [f32],
    /// Entries of a table.
    pub alphabet: usize,
    /// The constant.
    pub constant: f32,
}

impl WideTables<'_> {
    /// With `offset` added to every sum.
    pub fn plus(self, offset: f32) -> Self {
        WideTables { constant: self.constant + offset, ..self }
    }
}

/// The symbols of codes, two bytes each, laid out for such a search.
pub(crate) struct WideCodes {
    /// Blocks of [`BLOCK`] codes; in a block, position by position, one symbol of each code.
    symbols: Vec<u16>,
    positions: usize,
    /// Offset and slope of each code; empty where they are 0 and 1.
    factors: Vec<[f32; 2]>,
}

impl WideCodes {
    /// Lays out the symbols of codes that lie one after the other.
    pub(crate) fn new(symbols: &[u16], positions: usize, factors: Vec<[f32; 2]>) -> WideCodes {
        let mut laid_out = Vec::with_capacity(symbols.len());
        for block in symbols.chunks(BLOCK * positions) {
            (0..positions).for_each(|p| laid_out.extend(block.iter().skip(p).step_by(positions)));
        }
        WideCodes { symbols: laid_out, positions, factors }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.symbols[..]) + size_of_val(&self.factors[..])
    }

    /// The `k` codes with the smallest scores, nearest first, ties by number.
    pub(crate) fn top_k(&self, tables: WideTables<'_>, k: usize) -> Vec<Neighbor> {
        let mut scores = [0f32; BLOCK];
        let mut top = TopK::new(k);
        for (b, symbols) in self.symbols.chunks(BLOCK * self.positions).enumerate() {
            let (first, count) = (b * BLOCK, symbols.len() / self.positions);
            let scores = &mut scores[..count];
            scores.fill(0.0);
            for (table, symbols) in tables.entries.chunks_exact(tables.alphabet).zip(symbols.chunks_exact(count)) {
                cpu::add_entries(table, symbols, scores);
            }
            let factors = self.factors.get(first..first + count).unwrap_or_default();
            for (score, [offset, slope]) in scores.iter_mut().zip(factors) {
                *score = offset + slope * *score;
            }
            top.push_block(scores, first as u32);
        }
        let mut found = top.drain_sorted();
        cpu::add_to_scores(tables.constant, &mut found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_codes_of_the_smallest_sums_are_found(
            rows in prop_oneof![0usize..40, BLOCK - 2..BLOCK + 3, 2 * BLOCK..2 * BLOCK + 9],
            positions in 1usize..6, alphabet in 257usize..900, k in 1usize..9, with_factors in any::<bool>(), seed in any::<u32>(),
        ) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7) as usize;
            // Few values, so that there are ties; some are no number.
            let entry = |i: usize| if mix(i) % 89 == 0 { f32::NAN } else { (mix(i) % 50) as f32 };
            let entries: Vec<f32> = (0..positions * alphabet).map(entry).collect();
            let symbols: Vec<u16> = (0..rows * positions).map(|i| (mix(i + 77) % alphabet) as u16).collect();
            let factors: Vec<[f32; 2]> =
                (0..if with_factors { rows } else { 0 }).map(|i| [(mix(i + 5) % 30) as f32, 0.5 + (i % 3) as f32]).collect();
            let tables = WideTables { entries: &entries, alphabet, constant: 3.0 };
            let found = WideCodes::new(&symbols, positions, factors.clone()).top_k(tables, k);
            let mut scores = vec![0f32; rows];
            cpu::scan_tables(&entries, alphabet, &symbols, &mut scores);
            let score = |(i, score): (usize, &f32)| {
                let [offset, slope] = factors.get(i).copied().unwrap_or([0.0, 1.0]);
                Neighbor { score: offset + slope * score + 3.0, id: i as u32 }
            };
            let mut all: Vec<Neighbor> = scores.iter().enumerate().map(score).filter(|n| !n.score.is_nan()).collect();
            all.sort_unstable();
            all.truncate(k);
            prop_assert_eq!(found, all);
        }
    }
}
