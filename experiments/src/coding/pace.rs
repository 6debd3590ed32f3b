//! The size of blocks, which grows as long as memory allows. How much a method takes per row is not known before: it is seen on small blocks.

use super::CodingError;
use crate::machine;
use crate::units::ByteSize;
use datasets::format::Blocks;
use std::path::Path;

/// Values in the first block, and the most in any: enough to keep all threads busy, and no more, since larger blocks take
/// memory and win nothing.
const FIRST_BLOCK: usize = 1 << 18;
const LARGEST_BLOCK: usize = 1 << 23;

/// Blocks in memory at a time: one is read while the other is worked on.
pub(super) const BLOCKS: usize = 2;

/// Room for what threads and the allocator take at the beginning.
const SLACK: u64 = 6 << 20;

/// The process without a model, where the system does not tell.
const PROGRAM: u64 = 32 << 20;

/// How many rows the next block has.
#[derive(Debug)]
pub(super) struct Pace {
    /// Memory that this process stays below.
    budget: ByteSize,
    /// Rows of the next block.
    rows: usize,
    /// Blocks of that size that were worked on.
    tried: usize,
    /// Rows of the largest.
    most: usize,
    /// The same where memory cannot be measured.
    blind: usize,
    /// Bytes taken before the first.
    base: u64,
}

impl Pace {
    /// Begins with a small block; a budget that has no room even for that is told before any work.
    /// `shape` is that of the input, in rows and columns; `made_bytes` are held per row beside the row itself while it is worked on.
    pub(super) fn new(
        input: &Path,
        (n, dim): (usize, usize),
        made_bytes: usize,
        budget: ByteSize,
    ) -> Result<Pace, CodingError> {
        let row_bytes = (BLOCKS * 4 * dim + made_bytes) as u64;
        // Of what goes in and what comes out, the wider decides.
        let width = dim.max(made_bytes / 4);
        let reading = Blocks::open(input)?.working_bytes()?;
        let first = (FIRST_BLOCK / width).clamp(1, n.max(1));
        let program = machine::rss_bytes().unwrap_or(PROGRAM);
        let blocks = first as u64 * row_bytes + SLACK;
        let needed = (program + reading + blocks).max(machine::peak_rss_bytes().unwrap_or(0));
        if needed > budget.0 {
            return Err(CodingError::Budget { path: input.to_owned(), budget, program, reading, blocks, needed });
        }
        let most = (LARGEST_BLOCK / width).clamp(1, n.max(1));
        // Where the system does not tell what is taken, a method is trusted to take no more than the rows do.
        let blind = ((budget.0 - program.min(budget.0)) / 4 / row_bytes.max(1)) as usize;
        Ok(Pace { budget, rows: first, tried: 0, most, blind: blind.max(first), base: program })
    }

    /// Rows of the next block.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Sees to it that the next block fits too.
    pub(super) fn keep(&mut self, worked_on: usize) -> Result<(), CodingError> {
        let peak = machine::peak_rss_bytes();
        if let Some(needed) = peak.filter(|peak| *peak > self.budget.0) {
            return Err(CodingError::Exceeded { budget: self.budget, needed });
        }
        self.adapt(worked_on, peak);
        Ok(())
    }

    /// After a block: doubles its size if what blocks have taken so far could double within nine tenths of the budget. That
    /// is known when as many of the present size were worked on as there are at a time.
    fn adapt(&mut self, worked_on: usize, peak: Option<u64>) {
        self.tried += usize::from(worked_on == self.rows);
        let fits = match peak {
            Some(peak) => peak.saturating_add(peak.saturating_sub(self.base)) <= self.budget.0 / 10 * 9,
            None => 2 * self.rows <= self.blind,
        };
        if fits && self.tried >= BLOCKS && self.rows < self.most {
            self.rows = (2 * self.rows).min(self.most);
            self.tried = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_while_what_they_take_could_double() {
        const MIB: u64 = 1 << 20;
        let budget = ByteSize(100 * MIB);
        let mut pace = Pace { budget, rows: 100, tried: 0, most: 1000, blind: 150, base: 20 * MIB };
        let rows = |pace: &mut Pace, peak| {
            for _ in 0..BLOCKS {
                pace.adapt(pace.rows, peak);
            }
            pace.rows
        };
        assert_eq!(rows(&mut pace, Some(30 * MIB)), 200);
        pace.adapt(100, Some(30 * MIB));
        pace.adapt(200, Some(30 * MIB));
        assert_eq!(pace.rows, 200, "one of them was asked for before");
        assert_eq!(rows(&mut pace, Some(54 * MIB)), 400, "34 more would make 88");
        assert_eq!(rows(&mut pace, Some(56 * MIB)), 400, "36 more would make 92");
        assert_eq!(rows(&mut pace, Some(u64::MAX)), 400);
        assert_eq!(rows(&mut pace, None), 400, "beyond what is safe to guess");
        pace.blind = 10_000;
        assert_eq!((rows(&mut pace, None), rows(&mut pace, None)), (800, 1000));
    }
}
