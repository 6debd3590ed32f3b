//! The memory that the steps of an experiment take. It decides whether base rows are held or read block by block, and
//! whether a limit can be met at all.

use crate::machine;
use crate::spectrum::MAX_SPECTRUM_DIM;
use datasets::profile::Profiler;
use datasets::{BaseRows, Resolved, Summary};
use methods::search::codes::HELD_BYTES;

/// Memory of a process that has loaded nothing, in bytes.
const OVERHEAD_BYTES: u64 = 1 << 26;

/// Base rows that encoding and decoding are timed with if not all are held: as many as have this number of values.
pub(crate) const TIMED_VALUES: usize = 1 << 24;

/// Bytes of codes that a search lays out once more for scans, at most.
const SCANNED_BYTES: u64 = 1 << 26;

/// How often a search holds rows that it has decoded: as they are, and packed for many queries.
const PACKED: u64 = 2;

/// The bytes of decoded rows that a search may hold in a process that may have `limit` bytes, of which everything else takes these parts.
/// It depends on nothing that varies between runs.
pub(crate) fn decoded_bytes(limit: Option<u64>, parts: &[u64]) -> usize {
    let Some(limit) = limit else { return HELD_BYTES };
    // A third is left for what comes and goes.
    let rows = limit.saturating_sub(sum(parts).saturating_add(OVERHEAD_BYTES)) / (PACKED + 1);
    rows.min(HELD_BYTES as u64) as usize
}

/// What one process needs besides the base rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// Bytes that cannot be avoided.
    pub least: u64,
    /// Bytes with what methods and measurements usually take.
    pub usual: u64,
    /// Bytes of all base rows.
    base: u64,
    /// Bytes that stand beside the base rows if these are held: decoded rows, if decoding and searching are timed.
    decoded: u64,
    /// Whether they cannot be read block by block.
    must_hold: bool,
}

/// Sums saturate.
fn sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
}

fn rows(count: usize, dim: usize) -> u64 {
    (count as u64).saturating_mul(4).saturating_mul(dim as u64)
}

/// A block of base rows; there is no larger one if there are few rows.
fn block(summary: &Summary) -> u64 {
    rows(summary.base, summary.dim).min(BaseRows::block_bytes(summary.dim) / 2)
}

/// Codes as a search holds them: laid out anew in at most twice their bytes, with an offset and a slope each; and once more, with these,
/// as they are scanned, if they are few.
pub(crate) fn codes_of_search(count: usize, code_bits: usize) -> u64 {
    let laid_out = (count as u64).saturating_mul(2 * code_bits.div_ceil(8) as u64 + 8);
    laid_out.saturating_add(laid_out.min(SCANNED_BYTES))
}

impl Demand {
    /// Of a trial whose codes have `code_bits` bits and whose measurements keep `row_bytes` per base row.
    pub(crate) fn of_trial(resolved: &Resolved, code_bits: usize, row_bytes: usize, timed: bool) -> Demand {
        let summary = &resolved.summary;
        let parts = sum(&[rows(summary.train, summary.dim), rows(summary.queries, summary.dim)]);
        // Classes are read as a whole before those of the base rows are taken.
        let label_bytes = if summary.labelled { 8 } else { 0 };
        let per_row = code_bits.div_ceil(8).saturating_add(row_bytes).saturating_add(label_bytes) as u64;
        let least = sum(&[parts, (summary.base as u64).saturating_mul(per_row), 2 * block(summary)]);
        let must_hold = resolved.must_be_held();
        let base = rows(summary.base, summary.dim);
        // The rows that are timed, decoded ones (first for decoding, then for searching), and codes as a search holds them.
        let codes = codes_of_search(summary.base, code_bits);
        let some = base.min(4 * TIMED_VALUES as u64);
        let timing = if timed { sum(&[some, PACKED * some, codes]) } else { 0 };
        let decoded = if timed { base.max(PACKED * base.min(HELD_BYTES as u64)) } else { 0 };
        // Methods take the training rows once more.
        let usual = sum(&[least, rows(summary.train, summary.dim), 2 * block(summary), timing, OVERHEAD_BYTES]);
        Demand { least, usual, base: resolved.base_bytes(), decoded, must_hold }.complete()
    }

    /// Of computing the facts of a dataset.
    pub(crate) fn of_facts(resolved: &Resolved, depth: usize) -> Demand {
        let summary = &resolved.summary;
        let parts = sum(&[rows(summary.train, summary.dim), rows(summary.queries, summary.dim)]);
        let profile = Profiler::bytes(summary.base, summary.dim, summary.queries);
        // Sums of products, their eigenvectors, and some rows in f64.
        let dim = if summary.dim > MAX_SPECTRUM_DIM { 0 } else { summary.dim as u64 };
        let covariance = 8 * (4 * dim * dim + dim * (summary.base as u64).min(4096));
        let neighbours = (summary.queries as u64).saturating_mul(32 * depth as u64);
        let least = sum(&[parts, 2 * block(summary), covariance, neighbours, profile]);
        let usual = sum(&[least, block(summary), OVERHEAD_BYTES]);
        Demand { least, usual, base: resolved.base_bytes(), decoded: 0, must_hold: resolved.must_be_held() }.complete()
    }

    fn complete(mut self) -> Demand {
        if self.must_hold {
            self.least = self.least.saturating_add(self.base);
        }
        self
    }

    /// Whether all base rows are held under a limit, or, without one, with the memory of this machine. Half of it is left
    /// for what methods take.
    fn holds(&self, limit: Option<u64>) -> bool {
        self.must_hold || self.held() <= limit.unwrap_or_else(machine::total_memory_bytes) / 2
    }

    /// Bytes with all base rows.
    fn held(&self) -> u64 {
        sum(&[self.usual, self.base, self.decoded])
    }

    /// The bytes that base rows may take to be held: all or none.
    pub(crate) fn held_bytes(&self, limit: Option<u64>) -> u64 {
        if self.holds(limit) { self.base } else { 0 }
    }

    /// An estimate of the bytes that are taken.
    pub(crate) fn estimate(&self, limit: Option<u64>) -> u64 {
        if self.holds(limit) { self.held() } else { self.usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::{SearchPath, Source};
    use std::path::Path;

    fn resolved(n: usize) -> Resolved {
        let written = serde_json::json!({ "synthetic": "gaussian", "dim": 96, "n": n, "train": 1000, "queries": 10 });
        let source = Source::parse(&written).expect("a source");
        source.resolve(Path::new("."), &SearchPath::default()).expect("resolves")
    }

    #[test]
    fn a_search_lays_codes_out_in_twice_their_bytes() {
        // Symbols of 9 bits in 16, with a norm and a slope: 8·16 bits and 8 bytes for 9 bytes of a code.
        let (count, bits) = (10_000_000, 8 * 9);
        let laid_out = 10_000_000 * (2 * 8 + 8);
        assert!((laid_out..2 * laid_out).contains(&codes_of_search(count, bits)), "{}", codes_of_search(count, bits));
        let of = |timed| Demand::of_trial(&resolved(count), bits, 0, timed).usual;
        assert!(of(true) - of(false) >= laid_out);
        // Few codes are there twice.
        assert_eq!(codes_of_search(1000, bits), 2 * 1000 * (2 * 9 + 8));
    }

    #[test]
    fn decoded_rows_fit_beside_everything_else() {
        const MIB: u64 = 1 << 20;
        assert_eq!(decoded_bytes(None, &[u64::MAX]), HELD_BYTES);
        assert_eq!(decoded_bytes(Some(100 << 30), &[MIB]), HELD_BYTES);
        // 300 MiB are left of a GiB; packed rows take two thirds of them.
        assert_eq!(decoded_bytes(Some(1024 * MIB), &[600 * MIB, 60 * MIB]), 100 << 20);
        assert_eq!(decoded_bytes(Some(100 * MIB), &[90 * MIB]), 0);
        // Rows that are held are there once more, packed and decoded, if a search is timed.
        let of = |timed| Demand::of_trial(&resolved(100_000), 96, 0, timed);
        let base = 38_400_000;
        assert!(of(true).held() - of(true).usual == 3 * base && of(false).held() - of(false).usual == base);
        assert!(of(true).usual - of(false).usual > 3 * base, "the same where they are read block by block");
        let much = Demand::of_trial(&resolved(20_000_000), 96, 0, true);
        assert_eq!(much.held() - much.usual, 2 * 7_680_000_000, "no search holds all of them");
    }

    #[test]
    fn base_rows_are_held_if_half_of_the_limit_is_enough() {
        const GIB: u64 = 1 << 30;
        let of = |n: usize| Demand::of_trial(&resolved(n), 96, 0, false);
        let (few, many) = (of(100_000), of(20_000_000));
        assert_eq!((few.held_bytes(Some(GIB)), many.held_bytes(Some(GIB))), (38_400_000, 0));
        assert_eq!(few.held_bytes(Some(GIB / 10)), 0);
        assert_eq!(many.held_bytes(Some(40 * GIB)), 7_680_000_000);
        // Codes of 12 bytes, and blocks.
        assert!((240_000_000..320_000_000).contains(&many.least), "{}", many.least);
        assert!(many.estimate(Some(GIB)) < GIB / 2 && many.estimate(Some(40 * GIB)) > 7 * GIB);
        assert!(Demand::of_trial(&resolved(20_000_000), 96, 44, false).least > GIB);
        assert!(Demand::of_facts(&resolved(20_000_000), 100).usual < GIB / 3);
    }
}
