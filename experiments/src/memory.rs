//! The memory that the steps of an experiment take. It decides whether base rows are held or read block by block, and
//! whether a limit can be met at all.

use crate::machine;
use crate::spectrum::MAX_SPECTRUM_DIM;
use datasets::profile::Profiler;
use datasets::{BaseRows, Resolved, Summary};

/// Memory of a process that has loaded nothing, in bytes.
const OVERHEAD_BYTES: u64 = 1 << 26;

/// Base rows that encoding and decoding are timed with if not all are held: as many as have this number of values.
pub(crate) const TIMED_VALUES: usize = 1 << 24;

/// What one process needs besides the base rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Demand {
    /// Bytes that cannot be avoided.
    pub least: u64,
    /// Bytes with what methods and measurements usually take.
    pub usual: u64,
    /// Bytes of all base rows.
    base: u64,
    /// How often they are there if they are held: once more, decoded, if decoding is timed.
    copies: u64,
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
        // The rows that are timed, decoded ones (first for decoding, then for searching), and codes as a search lays them out, with the
        // norm and the slope of each.
        let codes = (summary.base as u64).saturating_mul(code_bits.div_ceil(8) as u64 + 8);
        let timing =
            if timed { sum(&[2 * rows(summary.base, summary.dim).min(4 * TIMED_VALUES as u64), codes]) } else { 0 };
        let copies = if timed { 2 } else { 1 };
        // Methods take the training rows once more.
        let usual = sum(&[least, rows(summary.train, summary.dim), 2 * block(summary), timing, OVERHEAD_BYTES]);
        Demand { least, usual, base: resolved.base_bytes(), copies, must_hold }.complete()
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
        Demand { least, usual, base: resolved.base_bytes(), copies: 1, must_hold: resolved.must_be_held() }.complete()
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
        self.usual.saturating_add(self.base.saturating_mul(self.copies))
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
