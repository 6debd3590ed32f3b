//! Search among the distinct codes, each of which stands for all rows that have it: many rows share codes of one or two bytes.
//!
//! Equal codes have equal scores. The `k` nearest distinct codes hold the `k` nearest rows, since each belongs to one row at least; the
//! work of a query no longer grows with the number of rows.

use crate::backend::{DeviceMatrix, RowSearch};
use crate::{MethodError, Neighbor, Searcher};
use std::cmp::Ordering;

/// Longest code that is its own number among all codes of its length.
const LONGEST: usize = 2;

/// Rows by their codes.
pub(super) struct DistinctCodes {
    /// The distinct codes in the order of their bytes, one after the other.
    codes: Vec<u8>,
    /// Where the rows of each code begin in `rows`, and their number in the end.
    starts: Vec<u32>,
    /// The rows of each code, ascending.
    rows: Vec<u32>,
}

impl DistinctCodes {
    /// Sorts rows by their codes of `size` bytes; None if codes are longer than two bytes.
    pub(super) fn new(codes: &[u8], size: usize) -> Option<DistinctCodes> {
        if size == 0 || size > LONGEST || u32::try_from(codes.len()).is_err() {
            return None;
        }
        let key = |code: &[u8]| code.iter().fold(0, |key, byte| key << 8 | usize::from(*byte));
        let mut counts = vec![0u32; 1 << (8 * size)];
        codes.chunks_exact(size).for_each(|code| counts[key(code)] += 1);
        let (mut distinct, mut starts) = (Vec::new(), vec![0]);
        // Each count becomes the place of the next row of its code.
        let mut next = 0;
        for (key, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            distinct.extend(&key.to_be_bytes()[size_of::<usize>() - size..]);
            next += std::mem::replace(count, next);
            starts.push(next);
        }
        let mut rows = vec![0; next as usize];
        for (row, code) in codes.chunks_exact(size).enumerate() {
            let place = &mut counts[key(code)];
            rows[*place as usize] = row as u32;
            *place += 1;
        }
        Some(DistinctCodes { codes: distinct, starts, rows })
    }

    /// The distinct codes, one after the other.
    pub(super) fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Number of distinct codes.
    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.codes.len() + size_of_val(&self.starts[..]) + size_of_val(&self.rows[..])
    }

    fn rows_of(&self, code: u32) -> &[u32] {
        let code = code as usize;
        &self.rows[self.starts[code] as usize..self.starts[code + 1] as usize]
    }

    /// The `k` nearest rows of each query, nearest first, ties by number. `decoded` are the distinct codes, decoded.
    ///
    /// # Errors
    /// A device failure.
    pub(super) fn top_k(
        &self,
        decoded: &dyn RowSearch,
        queries: &DeviceMatrix<'_>,
        k: usize,
    ) -> Result<Vec<Vec<Neighbor>>, MethodError> {
        // One more, to see whether the last is tied with another.
        let asked = k.saturating_add(1).min(self.count());
        let nearest = decoded.top_k(queries, asked)?;
        let of_query = |(q, nearest): (usize, Vec<Neighbor>)| {
            let (found, certain) = self.rows_of_nearest(&nearest, k);
            if certain || asked == self.count() {
                return Ok(found);
            }
            let all = decoded.top_k(&queries.part(q, 1), self.count())?;
            Ok(all.first().map(|all| self.rows_of_nearest(all, k).0).unwrap_or_default())
        };
        nearest.into_iter().enumerate().map(of_query).collect()
    }

    /// The `k` nearest rows, given the nearest distinct codes in order. Not certain if codes that are not given may be tied with the last
    /// of these, and have rows of lower numbers.
    fn rows_of_nearest(&self, nearest: &[Neighbor], k: usize) -> (Vec<Neighbor>, bool) {
        let mut found = Vec::with_capacity(k.min(self.rows.len()));
        let mut given = 0;
        for tied in nearest.chunk_by(|a, b| a.score.total_cmp(&b.score) == Ordering::Equal) {
            given += tied.len();
            let (from, score) = (found.len(), tied[0].score);
            if from >= k {
                return (found, true);
            }
            // NaN is not a neighbour.
            if score.is_nan() {
                continue;
            }
            // No more than are missing of each code; the first of its rows are the least.
            for code in tied {
                found.extend(self.rows_of(code.id).iter().take(k - from).map(|&id| Neighbor { score, id }));
            }
            if tied.len() > 1 {
                found[from..].sort_unstable();
            }
            found.truncate(k);
        }
        // The last were tied, or too few.
        let certain = given == self.count();
        (found, certain)
    }
}

/// Whether a code is a single symbol whose score is that of the decoded row: filling the table of a query then takes at least as many
/// products as scoring all distinct codes, decoded.
pub(super) fn is_one_symbol(searcher: &dyn Searcher) -> bool {
    let one = match (searcher.code_layout(), searcher.wide_tables()) {
        (Some(layout), _) => layout.positions == 1,
        (None, Some(tables)) => tables.entries.len() == tables.alphabet,
        (None, None) => false,
    };
    one && !searcher.is_estimate() && searcher.bit_query().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SearchMetric;
    use crate::backend::{Backend, CpuBackend};
    use ndarray::{Array2, Axis};
    use proptest::prelude::*;
    use std::ops::Range;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_nearest_rows_are_those_of_a_full_sort(
            size in 1usize..=2, alphabet in 1usize..40, rows in 1usize..300, dim in 1usize..5, asked in 1usize..12, few_values in any::<bool>(),
            k in prop_oneof![4 => 0usize..12, 1 => 0usize..400], inner in any::<bool>(), seed in any::<u32>(),
        ) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7) as usize;
            let metric = if inner { SearchMetric::InnerProduct } else { SearchMetric::L2 };
            // Symbols in the high byte too; whole numbers, so that sums are exact, and few of them, so that codes are tied.
            let symbol = |i: usize| mix(i) % alphabet * if size == 2 { 777 } else { 5 };
            let value = |i: usize| (mix(i) % if few_values { 2 } else { 50 }) as f32;
            let codeword = |symbol: usize| (0..dim).map(move |j| value(99 + symbol * dim + j));
            let codes: Vec<u8> = (0..rows).flat_map(|i| symbol(i).to_le_bytes().into_iter().take(size)).collect();
            let queries = Array2::from_shape_fn((asked, dim), |(q, j)| value(5_000_000 + q * dim + j));
            let distinct = DistinctCodes::new(&codes, size).expect("short codes");
            let symbol_of = |code: &[u8]| code.iter().rev().fold(0, |symbol, byte| symbol << 8 | usize::from(*byte));
            let decoded: Vec<f32> = distinct.codes().chunks(size).flat_map(|code| codeword(symbol_of(code))).collect();
            let decoded = Array2::from_shape_vec((distinct.count(), dim), decoded).expect("a row per code");
            let backend = CpuBackend::detect();
            let values = decoded.as_slice().expect("in order");
            let mut fill = |range: Range<usize>, rows: &mut [f32]| {
                rows.copy_from_slice(&values[range.start * dim..range.end * dim]);
                Ok(())
            };
            let held = backend.hold_rows(decoded.dim(), metric, &mut fill).expect("rows").expect("held");
            let found = distinct.top_k(&*held, &backend.upload(queries.view()).expect("queries"), k).expect("searches");
            prop_assert_eq!(found.len(), asked);
            for (query, found) in queries.axis_iter(Axis(0)).zip(found) {
                let score = |i: usize| {
                    let parts = query.iter().zip(codeword(symbol(i)));
                    parts.map(|(q, c)| if inner { -q * c } else { (q - c) * (q - c) }).sum::<f32>()
                };
                // A sum of negated zeros is either zero.
                let mut all: Vec<(f32, u32)> = (0..rows).map(|i| (score(i) + 0.0, i as u32)).collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                all.truncate(k);
                let found: Vec<(f32, u32)> = found.iter().map(|n| (n.score + 0.0, n.id)).collect();
                prop_assert_eq!(found, all);
            }
        }
    }
}
