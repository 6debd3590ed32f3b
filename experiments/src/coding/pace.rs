//! The size of blocks, which grows as memory allows. The memory that a method needs per row is unknown in advance, so
//! it is measured on small blocks.

use super::CodingError;
use crate::machine;
use crate::units::ByteSize;
use datasets::format::Blocks;
use std::path::Path;

/// Number of values in the first block, and in the largest: enough to keep all threads busy. Larger blocks take memory
/// and gain nothing.
const FIRST_BLOCK: usize = 1 << 18;
const LARGEST_BLOCK: usize = 1 << 23;

/// Blocks in memory at a time: one is read while the other is processed.
pub(super) const BLOCKS: usize = 2;

/// Allowance for what threads and the allocator take at the start.
const SLACK: u64 = 6 << 20;

/// Assumed size of the process without a model, if the system does not report it.
const PROGRAM: u64 = 32 << 20;

/// Decides the number of rows of the next block.
#[derive(Debug)]
pub(super) struct Pace {
    /// Memory limit of this process, in bytes.
    budget: ByteSize,
    /// Rows of the next block.
    rows: usize,
    /// Number of blocks of that size that were processed.
    tried: usize,
    /// Maximum number of rows of a block.
    most: usize,
    /// Maximum number of rows if memory cannot be measured.
    blind: usize,
    /// Bytes in use before the first block.
    base: u64,
}

impl Pace {
    /// Starts with a small block. A budget that is too small even for that is an error before any work. `shape` is the
    /// shape of the input, in rows and columns; `made_bytes` is the memory needed per row besides the row itself while
    /// it is processed.
    pub(super) fn new(
        input: &Path,
        (n, dim): (usize, usize),
        made_bytes: usize,
        budget: ByteSize,
    ) -> Result<Pace, CodingError> {
        let row_bytes = (BLOCKS * 4 * dim + made_bytes) as u64;
        // The wider of input and output rows decides.
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
        // If the system does not report memory, a method is assumed to take no more than its rows.
        let blind = ((budget.0 - program.min(budget.0)) / 4 / row_bytes.max(1)) as usize;
        Ok(Pace { budget, rows: first, tried: 0, most, blind: blind.max(first), base: program })
    }

    /// Rows of the next block.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Makes sure that the next block fits as well.
    pub(super) fn keep(&mut self, worked_on: usize) -> Result<(), CodingError> {
        let peak = machine::peak_rss_bytes();
        if let Some(needed) = peak.filter(|peak| *peak > self.budget.0) {
            return Err(CodingError::Exceeded { budget: self.budget, needed });
        }
        self.adapt(worked_on, peak);
        Ok(())
    }

    /// After a block: doubles the size if twice the memory that blocks have used so far fits into nine tenths of the
    /// budget. This is known once all block buffers of the present size have been used.
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
