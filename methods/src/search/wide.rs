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
    /// Lays out codes of `code_size` bytes, block by block, so that besides what is laid out only the symbols of a block are in memory.
    /// `unpack` gives the symbols of some codes, one code after the other; None if these are not searched in this way. None too if there are
    /// no codes.
    pub(crate) fn new<E>(
        codes: &[u8],
        code_size: usize,
        unpack: impl Fn(&[u8]) -> Result<Option<Vec<u16>>, E>,
    ) -> Result<Option<WideCodes>, E> {
        let count = codes.len() / code_size;
        let mut wide = WideCodes { symbols: Vec::new(), positions: 0, factors: Vec::new() };
        for block in codes.chunks(BLOCK * code_size) {
            let Some(symbols) = unpack(block)? else { return Ok(None) };
            if wide.positions == 0 {
                wide.positions = symbols.len() / (block.len() / code_size);
                wide.symbols.reserve_exact(count * wide.positions);
            }
            (0..wide.positions).for_each(|p| wide.symbols.extend(symbols.iter().skip(p).step_by(wide.positions)));
        }
        Ok((wide.positions > 0).then_some(wide))
    }

    /// With an offset and a slope for each code, or none.
    pub(crate) fn with_factors(self, factors: Vec<[f32; 2]>) -> WideCodes {
        WideCodes { factors, ..self }
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
    use std::cell::Cell;
    use std::convert::Infallible;

    /// Codes whose symbols are two whole bytes each.
    fn bytes(symbols: &[u16]) -> Vec<u8> {
        symbols.iter().flat_map(|symbol| symbol.to_le_bytes()).collect()
    }

    fn unpacked(codes: &[u8]) -> Result<Option<Vec<u16>>, Infallible> {
        Ok(Some(codes.as_chunks::<2>().0.iter().map(|symbol| u16::from_le_bytes(*symbol)).collect()))
    }

    #[test]
    fn codes_are_unpacked_block_by_block_into_no_more_memory_than_they_take() {
        let symbols: Vec<u16> = (0..3 * (2 * BLOCK + 7)).map(|i| (i % 1000) as u16).collect();
        let codes = bytes(&symbols);
        let (calls, most) = (Cell::new(0), Cell::new(0));
        let wide = WideCodes::new(&codes, 6, |codes| {
            calls.set(calls.get() + 1);
            most.set(most.get().max(codes.len() / 6));
            unpacked(codes)
        });
        let wide = wide.expect("no error").expect("wide codes");
        assert_eq!((calls.get(), most.get()), (3, BLOCK));
        assert_eq!((wide.symbols.len(), wide.symbols.capacity()), (symbols.len(), symbols.len()));
        // In a block, position by position.
        assert_eq!(wide.symbols[..3], [0, 3, 6]);
        assert_eq!((wide.symbols[BLOCK], wide.symbols[2 * BLOCK], wide.symbols[3 * BLOCK]), (1, 2, symbols[3 * BLOCK]));
        assert!(WideCodes::new(&codes, 6, |_| Ok::<_, Infallible>(None)).expect("no error").is_none());
    }

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
            let codes = bytes(&symbols);
            let wide = WideCodes::new(&codes, 2 * positions, unpacked).expect("no error");
            let found = wide.map_or(Vec::new(), |wide| wide.with_factors(factors.clone()).top_k(tables, k));
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
