//! Reads the rows of files of vectors: training and query rows, and the base rows if they are to be held. Of a file, no
//! more than a block is in memory besides the rows that are used.

use super::{VectorFiles, expect, read_labels};
use crate::base_rows::{BaseRows, RowSource, RowStream};
use crate::format::{Blocks, first_not_finite};
use crate::opened::{Opened, to_unit_length};
use crate::row_set::RowSet;
use crate::{DatasetError, Labels, MetricSpace, Summary};
use ndarray::Array2;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Values that are read at a time.
const READ_VALUES: usize = 1 << 20;

/// Rows of a file are read one by one, and those between are passed over, if as many blocks of this many bytes are less
/// than what would be read otherwise: a read of a row costs about as much.
const READ_APART_BYTES: u64 = 1 << 14;

/// Whether so many rows are read one by one, out of `span` consecutive rows of `dim` components.
fn are_apart(rows: usize, span: usize, dim: usize) -> bool {
    (rows as u64).saturating_mul(READ_APART_BYTES) < (span as u64).saturating_mul(4 * dim as u64)
}

/// Opens a file whose number of rows is known. Returns it with the number of rows to read at a time.
fn open(summary: &Summary, path: &Path, held: usize) -> Result<(Blocks, usize), DatasetError> {
    let mut blocks = Blocks::open(path)?;
    let (n, dim) = blocks.shape();
    expect(summary, path, n, held, "rows")?;
    expect(summary, path, dim, summary.dim, "components")?;
    // What cannot be read in blocks is read at once.
    let rows = if blocks.working_bytes().is_err() { n } else { (READ_VALUES / dim).max(1) };
    Ok((blocks, rows))
}

/// Checks the values of a row that is used. The error says how many rows of the file have one that is not finite.
fn check_finite(path: &Path, row: usize, values: &[f32], droppable: bool) -> Result<(), DatasetError> {
    let Some((column, value)) = first_not_finite(values) else { return Ok(()) };
    let count = non_finite_rows(path).unwrap_or(1);
    Err(DatasetError::NonFinite { path: path.to_owned(), row, column, value, count, droppable })
}

/// The number of rows of a file with a value that is not finite.
fn non_finite_rows(path: &Path) -> Result<usize, DatasetError> {
    let (mut blocks, mut block, mut count) = (Blocks::open(path)?, Vec::new(), 0);
    let dim = blocks.shape().1;
    while blocks.next_of_any((READ_VALUES / dim).max(1), &mut block)? > 0 {
        count += block.chunks_exact(dim).filter(|row| first_not_finite(row).is_some()).count();
    }
    Ok(count)
}

/// Takes its rows out of a file that is read from the first row to the last.
struct Picker<'a> {
    /// The rows that are still to come, each with its place.
    wanted: Wanted<'a>,
    values: Vec<f32>,
    shape: (usize, usize),
}

impl<'a> Picker<'a> {
    fn new(rows: &'a RowSet, dim: usize) -> Picker<'a> {
        Picker { wanted: rows.placed().peekable(), values: vec![0.0; rows.len() * dim], shape: (rows.len(), dim) }
    }

    /// A block of the file, and the number of its first row.
    fn offer(&mut self, file: (&Path, bool), first: usize, block: &[f32]) -> Result<(), DatasetError> {
        let dim = self.shape.1;
        let end = first + block.len() / dim;
        while let Some((row, place)) = self.wanted.next_if(|(row, _)| *row < end) {
            let values = &block[(row - first) * dim..][..dim];
            check_finite(file.0, row, values, file.1)?;
            self.values[place * dim..][..dim].copy_from_slice(values);
        }
        Ok(())
    }

    /// The next row that it waits for.
    fn next(&mut self) -> Option<usize> {
        self.wanted.peek().map(|(row, _)| *row)
    }

    fn finish(mut self, metric: MetricSpace) -> Array2<f32> {
        if metric == MetricSpace::Cosine {
            self.values.chunks_exact_mut(self.shape.1).for_each(to_unit_length);
        }
        Array2::from_shape_vec(self.shape, self.values).unwrap_or_else(|_| unreachable!("a place for each row"))
    }
}

/// Reads a file, which may be told to drop rows that are not finite, until every picker has its rows.
fn pick(summary: &Summary, file: (&Path, bool), held: usize, pickers: &mut [Picker<'_>]) -> Result<(), DatasetError> {
    let (mut blocks, rows) = open(summary, file.0, held)?;
    let wanted = pickers.iter().map(|picker| picker.shape.0).sum();
    let apart = are_apart(wanted, held, summary.dim) && blocks.skip(0)?;
    let (mut first, mut block) = (0, Vec::new());
    while let Some(next) = pickers.iter_mut().filter_map(Picker::next).min() {
        if apart && blocks.skip(next - first)? {
            first = next;
        }
        if blocks.next_of_any(if apart { 1 } else { rows }, &mut block)? == 0 {
            break;
        }
        pickers.iter_mut().try_for_each(|picker| picker.offer(file, first, &block))?;
        first += block.len() / summary.dim;
    }
    Ok(())
}

impl VectorFiles {
    /// Whether the order of the base rows is not that of their file, so that they can only be held.
    pub(super) fn must_be_held(&self) -> bool {
        !self.parts.base.is_ascending()
    }

    /// Reads what is to be in memory. The base rows are, if `hold`.
    pub(super) fn open(&self, summary: &Summary, hold: bool) -> Result<Opened, DatasetError> {
        let VectorFiles { holdings, parts, .. } = self;
        let (dim, metric) = (summary.dim, summary.metric);
        let own = |file: &Option<PathBuf>, held: Option<usize>, rows: &RowSet| match (file, held) {
            (Some(path), Some(held)) => {
                let mut picker = [Picker::new(rows, dim)];
                pick(summary, (path, self.droppable), held, &mut picker)?;
                let [picker] = picker;
                Ok::<_, DatasetError>(Some(picker.finish(metric)))
            }
            _ => Ok(None),
        };
        let mut shared = Vec::new();
        let rows_of_base =
            [(hold, &parts.base), (self.train.is_none(), &parts.train), (self.queries.is_none(), &parts.queries)];
        shared.extend(rows_of_base.iter().filter(|(wanted, _)| *wanted).map(|(_, rows)| Picker::new(rows, dim)));
        if !shared.is_empty() {
            pick(summary, (&self.base, self.droppable), holdings.base, &mut shared)?;
        }
        let mut shared = shared.into_iter().map(|picker| picker.finish(metric));
        let base = if hold { shared.next() } else { None };
        let mut train = if self.train.is_none() { shared.next() } else { None };
        let mut queries = if self.queries.is_none() { shared.next() } else { None };
        if train.is_none() {
            train = own(&self.train, holdings.train, &parts.train)?;
        }
        if queries.is_none() {
            queries = own(&self.queries, holdings.queries, &parts.queries)?;
        }
        let base = match base {
            Some(rows) => BaseRows::from(rows),
            None => BaseRows::there((summary.base, dim), Arc::new(self.base_rows(summary))),
        };
        let (Some(train), Some(queries)) = (train, queries) else { unreachable!("every part has a file") };
        let (labels, judgments) = (self.labels(summary)?, self.judgments(&summary.name)?);
        let (name, signal) = (summary.name.clone(), summary.signal.clone());
        Ok(Opened { name, metric, train, base, queries, labels, judgments, signal })
    }

    fn labels(&self, summary: &Summary) -> Result<Option<Labels>, DatasetError> {
        let VectorFiles { holdings, parts, .. } = self;
        let Some(path) = self.base_labels.as_ref().filter(|_| summary.labelled) else { return Ok(None) };
        let of = |labels: &[u32], rows: &RowSet| rows.iter().map(|i| labels[i]).collect();
        let all = read_labels(summary, path, holdings.base)?;
        let queries = match (&self.query_labels, holdings.queries) {
            (Some(path), Some(held)) => of(&read_labels(summary, path, held)?, &parts.queries),
            _ => of(&all, &parts.queries),
        };
        Ok(Some(Labels { base: of(&all, &parts.base), queries }))
    }

    fn base_rows(&self, summary: &Summary) -> FileRows {
        let (path, rows) = (self.base.clone(), self.parts.base.clone());
        FileRows { path, held: self.holdings.base, rows, droppable: self.droppable, summary: summary.clone() }
    }
}

/// Base rows in their file.
struct FileRows {
    path: PathBuf,
    held: usize,
    rows: RowSet,
    /// Whether the entry can leave rows out.
    droppable: bool,
    summary: Summary,
}

/// The rows of a set, in the order of the file.
type Wanted<'a> = Peekable<Box<dyn Iterator<Item = (usize, usize)> + Send + 'a>>;

struct FileStream<'a> {
    source: &'a FileRows,
    blocks: Blocks,
    wanted: Wanted<'a>,
    /// Rows that were read at once, and the number of the first of them.
    block: Vec<f32>,
    first: usize,
    at_once: usize,
}

impl RowSource for FileRows {
    fn open(&self) -> Result<Box<dyn RowStream + '_>, DatasetError> {
        let (blocks, at_once) = open(&self.summary, &self.path, self.held)?;
        let wanted = self.rows.placed().peekable();
        Ok(Box::new(FileStream { source: self, blocks, wanted, block: Vec::new(), first: 0, at_once }))
    }

    fn visit(&self, ids: &[u32], act: &mut dyn FnMut(usize, &[f32])) -> Option<Result<(), DatasetError>> {
        let (first, last) = (*ids.first()?, *ids.last()?);
        if !are_apart(ids.len(), (last - first) as usize + 1, self.summary.dim) {
            return None;
        }
        let (mut blocks, _) = open(&self.summary, &self.path, self.held).ok()?;
        blocks.skip(0).is_ok_and(|skips| skips).then(|| self.read_apart(&mut blocks, ids, act))
    }
}

impl FileRows {
    /// Reads the rows of some numbers, in ascending order, from a file whose rows can be passed over.
    fn read_apart(
        &self,
        blocks: &mut Blocks,
        ids: &[u32],
        act: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), DatasetError> {
        let (mut rows, mut values) = (self.rows.iter(), Vec::new());
        // The number of the row in `values`, that of the next row of `rows`, and that of the next row of the file.
        let (mut read, mut next, mut at) = (None, 0, 0);
        for (i, &id) in ids.iter().enumerate() {
            if read != Some(id) {
                let Some(row) = rows.nth(id as usize - next) else {
                    return expect(&self.summary, &self.path, self.rows.len(), id as usize + 1, "rows");
                };
                blocks.skip(row - at)?;
                blocks.next_of_any(1, &mut values)?;
                check_finite(&self.path, row, &values, self.droppable)?;
                if self.summary.metric == MetricSpace::Cosine {
                    to_unit_length(&mut values);
                }
                (read, next, at) = (Some(id), id as usize + 1, row + 1);
            }
            act(i, &values);
        }
        Ok(())
    }
}

impl RowStream for FileStream<'_> {
    fn next(&mut self, count: usize, rows: &mut Vec<f32>) -> Result<(), DatasetError> {
        let FileRows { path, summary, droppable, .. } = self.source;
        let dim = summary.dim;
        rows.clear();
        rows.reserve_exact(count * dim);
        while rows.len() < count * dim {
            let end = self.first + self.block.len() / dim;
            match self.wanted.next_if(|(row, _)| *row < end) {
                Some((row, _)) => {
                    let values = &self.block[(row - self.first) * dim..][..dim];
                    check_finite(path, row, values, *droppable)?;
                    rows.extend_from_slice(values);
                }
                None => {
                    self.first = end;
                    if self.blocks.next_of_any(self.at_once, &mut self.block)? == 0 {
                        return expect(summary, path, end, self.source.held, "rows");
                    }
                }
            }
        }
        if summary.metric == MetricSpace::Cosine {
            rows.chunks_exact_mut(dim).for_each(to_unit_length);
        }
        Ok(())
    }
}
