//! The base rows of a dataset. If they fit into the memory that is allowed they are held, otherwise they are read again,
//! block by block, each time they are needed. Who uses them sees no difference.

use crate::DatasetError;
use ndarray::{Array2, ArrayView2, Axis};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};

/// Every block but the last has a multiple of this number of rows, so that what is summed in parts of at most this many
/// rows does not depend on the size of blocks.
pub const BLOCK_ROWS: usize = 4096;

/// Values of a block: enough to keep all threads busy, and little memory.
const BLOCK_VALUES: usize = 1 << 22;

/// Base rows, `n×dim`.
#[derive(Clone)]
pub struct BaseRows {
    shape: (usize, usize),
    rows: Rows,
}

#[derive(Clone)]
enum Rows {
    Held(Array2<f32>),
    There(Arc<dyn RowSource>),
}

/// Where rows can be read, as often as needed.
pub(crate) trait RowSource: Send + Sync {
    /// Starts at the first row.
    fn open(&self) -> Result<Box<dyn RowStream + '_>, DatasetError>;

    /// Whether a thread of its own reads ahead. Rows that are computed use the threads of the caller instead.
    fn reads_ahead(&self) -> bool {
        true
    }

    /// Calls `act` with the index of each number in `ids`, which are in ascending order, and its row, if that takes less
    /// than reading the rows between. Otherwise None, and `act` has not been called.
    fn visit(&self, ids: &[u32], act: &mut dyn FnMut(usize, &[f32])) -> Option<Result<(), DatasetError>> {
        let _ = (ids, act);
        None
    }

    /// Writes one row to `row`, if that is possible without those before it.
    fn row(&self, number: usize, row: &mut Vec<f32>) -> bool {
        let _ = (number, row);
        false
    }
}

/// Rows from the first to the last.
pub(crate) trait RowStream {
    /// Replaces the content of `rows` by the next `count` rows. Callers never request more than are left.
    fn next(&mut self, count: usize, rows: &mut Vec<f32>) -> Result<(), DatasetError>;
}

/// Why a pass ends before the last row.
enum Stop {
    Done,
    Failed(DatasetError),
}

impl From<DatasetError> for Stop {
    fn from(error: DatasetError) -> Stop {
        Stop::Failed(error)
    }
}

impl fmt::Debug for BaseRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} base rows, {}", self.shape, if self.held().is_some() { "held" } else { "to be read" })
    }
}

impl From<Array2<f32>> for BaseRows {
    fn from(rows: Array2<f32>) -> BaseRows {
        BaseRows { shape: rows.dim(), rows: Rows::Held(rows) }
    }
}

impl BaseRows {
    pub(crate) fn there(shape: (usize, usize), source: Arc<dyn RowSource>) -> BaseRows {
        BaseRows { shape, rows: Rows::There(source) }
    }

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.shape.0
    }

    /// Components per row.
    pub fn ncols(&self) -> usize {
        self.shape.1
    }

    /// All rows, if they are held.
    pub fn held(&self) -> Option<ArrayView2<'_, f32>> {
        match &self.rows {
            Rows::Held(rows) => Some(rows.view()),
            Rows::There(_) => None,
        }
    }

    /// All rows, if they are held; otherwise nothing has changed.
    pub(crate) fn into_held(self) -> Result<Array2<f32>, BaseRows> {
        match self.rows {
            Rows::Held(rows) => Ok(rows),
            rows => Err(BaseRows { rows, ..self }),
        }
    }

    /// Rows of a block of `dim` components.
    pub fn rows_at_once(dim: usize) -> usize {
        (BLOCK_VALUES / dim.max(1) / BLOCK_ROWS).max(1) * BLOCK_ROWS
    }

    /// Bytes of the blocks of rows of `dim` components that are in memory at a time while rows are read.
    pub fn block_bytes(dim: usize) -> u64 {
        2 * (4 * dim * BaseRows::rows_at_once(dim)) as u64
    }

    /// Calls `act` with each block and the number of its first row, in order. While it runs, the next block is read.
    ///
    /// # Errors
    /// Rows that cannot be read, or have changed; those of `act`.
    pub fn blocks<E: From<DatasetError>>(
        &self,
        mut act: impl FnMut(usize, ArrayView2<'_, f32>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (n, dim) = self.shape;
        let at_once = BaseRows::rows_at_once(dim);
        let source = match &self.rows {
            Rows::Held(rows) => {
                let mut blocks = rows.axis_chunks_iter(Axis(0), at_once).enumerate();
                return blocks.try_for_each(|(i, block)| act(i * at_once, block));
            }
            Rows::There(source) => source,
        };
        let sizes = (0..n).step_by(at_once).map(|first| (first, at_once.min(n - first)));
        let mut seen = |first: usize, count: usize, rows: &[f32]| match ArrayView2::from_shape((count, dim), rows) {
            Ok(block) => act(first, block),
            Err(_) => unreachable!("a stream gives as many rows as were asked for"),
        };
        if !source.reads_ahead() {
            let (mut stream, mut rows) = (source.open()?, Vec::new());
            for (first, count) in sizes {
                stream.next(count, &mut rows)?;
                seen(first, count, &rows)?;
            }
            return Ok(());
        }
        std::thread::scope(|scope| {
            let (full, blocks) = sync_channel(0);
            let (back, used) = channel::<Vec<f32>>();
            let to_read = sizes.clone();
            scope.spawn(move || {
                let read = || {
                    let mut stream = source.open()?;
                    for (i, (_, count)) in to_read.enumerate() {
                        // Two buffers: one is read into while the other is in use.
                        let mut rows = if i < 2 { Vec::new() } else { used.recv().unwrap_or_default() };
                        stream.next(count, &mut rows)?;
                        if full.send(Ok(rows)).is_err() {
                            break;
                        }
                    }
                    Ok(())
                };
                if let Err(error) = read() {
                    let _ = full.send(Err(error));
                }
            });
            for ((first, count), rows) in sizes.zip(blocks) {
                let rows = rows?;
                seen(first, count, &rows)?;
                let _ = back.send(rows);
            }
            Ok(())
        })
    }

    /// Calls `act` with the index of each number in `ids` and its row. The numbers must be in ascending order.
    ///
    /// # Errors
    /// As [`BaseRows::blocks`].
    pub fn visit(&self, ids: &[u32], mut act: impl FnMut(usize, &[f32])) -> Result<(), DatasetError> {
        let mut row = Vec::new();
        let mut at = 0;
        if let Rows::There(source) = &self.rows {
            // All of them or none.
            while let Some(id) = ids.get(at)
                && source.row(*id as usize, &mut row)
            {
                act(at, &row);
                at += 1;
            }
        }
        if at == ids.len() {
            return Ok(());
        }
        if let Rows::There(source) = &self.rows
            && let Some(visited) = source.visit(ids, &mut act)
        {
            return visited;
        }
        let visited = self.blocks(|first, block| {
            while let Some(id) = ids.get(at).map(|id| *id as usize)
                && id < first + block.nrows()
            {
                let found = block.row(id - first);
                match found.as_slice() {
                    Some(found) => act(at, found),
                    None => act(at, &found.to_vec()),
                }
                at += 1;
            }
            if at == ids.len() { Err(Stop::Done) } else { Ok(()) }
        });
        match visited {
            Err(Stop::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The rows of a range.
    ///
    /// # Errors
    /// As [`BaseRows::blocks`].
    pub fn range(&self, rows: std::ops::Range<usize>) -> Result<Array2<f32>, DatasetError> {
        self.rows(&rows.map(|row| row as u32).collect::<Vec<_>>())
    }

    /// The rows of some numbers, which must be in ascending order.
    ///
    /// # Errors
    /// As [`BaseRows::blocks`].
    pub fn rows(&self, ids: &[u32]) -> Result<Array2<f32>, DatasetError> {
        let mut values = Vec::with_capacity(ids.len() * self.ncols());
        self.visit(ids, |_, row| values.extend_from_slice(row))?;
        let found = Array2::from_shape_vec((ids.len(), self.ncols()), values);
        Ok(found.unwrap_or_else(|_| unreachable!("a row for each number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting {
        ahead: bool,
        /// The number of the row that cannot be read.
        broken: usize,
    }

    struct Stream<'a>(&'a Counting, usize);

    impl RowSource for Counting {
        fn open(&self) -> Result<Box<dyn RowStream + '_>, DatasetError> {
            Ok(Box::new(Stream(self, 0)))
        }
        fn reads_ahead(&self) -> bool {
            self.ahead
        }
    }

    impl RowStream for Stream<'_> {
        fn next(&mut self, count: usize, rows: &mut Vec<f32>) -> Result<(), DatasetError> {
            rows.clear();
            rows.extend((self.1..self.1 + count).flat_map(|row| [row as f32, -(row as f32)]));
            self.1 += count;
            if self.1 > self.0.broken {
                return Err(DatasetError::Shape { name: "t".into(), reason: "broken".into() });
            }
            Ok(())
        }
    }

    fn of(n: usize, ahead: bool, broken: usize) -> BaseRows {
        BaseRows::there((n, 2), Arc::new(Counting { ahead, broken }))
    }

    #[test]
    fn blocks_are_those_of_held_rows() {
        let at_once = BaseRows::rows_at_once(2);
        let n = 2 * at_once + 5;
        let held = BaseRows::from(Array2::from_shape_fn((n, 2), |(i, j)| if j == 0 { i as f32 } else { -(i as f32) }));
        let sums = |rows: &BaseRows| {
            let mut found = Vec::new();
            let seen = rows.blocks(|first, block| {
                found.push((first, block.dim(), block.row(0)[0], block.row(block.nrows() - 1)[1]));
                Ok::<_, DatasetError>(())
            });
            seen.map(|()| found).map_err(|error| error.to_string())
        };
        assert_eq!(sums(&held).expect("held").len(), 3);
        for ahead in [false, true] {
            assert_eq!(sums(&of(n, ahead, usize::MAX)), sums(&held));
            assert!(sums(&of(n, ahead, at_once + 3)).is_err());
            let rows = of(n, ahead, usize::MAX);
            let stopped = rows.blocks(|first, _| {
                let error = || DatasetError::Shape { name: "t".into(), reason: "enough".into() };
                if first == 0 { Err(error()) } else { unreachable!("it has stopped") }
            });
            assert!(stopped.is_err());
        }
    }

    #[test]
    fn rows_are_found_by_number() {
        let n = BaseRows::rows_at_once(2) + 9;
        let ids = [0, 3, 3, n as u32 - 1];
        for ahead in [false, true] {
            let mut found = Vec::new();
            of(n, ahead, usize::MAX).visit(&ids, |at, row| found.push((at, row[0]))).expect("reads");
            assert_eq!(found, [(0, 0.0), (1, 3.0), (2, 3.0), (3, n as f32 - 1.0)]);
            let range = of(n, ahead, usize::MAX).range(4..6).expect("reads");
            assert_eq!(range, ndarray::arr2(&[[4.0, -4.0], [5.0, -5.0]]));
        }
    }
}
