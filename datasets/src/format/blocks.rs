//! Reads the rows of a file block by block, so that a file may be larger than the memory.

use super::{Place, Rows, malformed, rows};
use crate::DatasetError;
use std::path::{Path, PathBuf};

/// The first value that is not finite, with its position.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<(usize, f32)> {
    // No branch per value; the position is searched for only if there is a wrong value.
    if values.iter().fold(true, |finite, v| finite & v.is_finite()) {
        return None;
    }
    values.iter().copied().enumerate().find(|(_, v)| !v.is_finite())
}

/// A file of vectors, read from its first row to its last in blocks of any size.
pub struct Blocks {
    path: PathBuf,
    rows: Rows,
    /// Rows read so far.
    taken: usize,
}

impl Blocks {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// As [`super::shape`].
    pub fn open(path: &Path) -> Result<Blocks, DatasetError> {
        Blocks::at(Place::of(path), path)
    }

    /// As [`Blocks::open`], of a place that errors call `path`.
    pub(crate) fn at(place: Place, path: &Path) -> Result<Blocks, DatasetError> {
        let rows = rows(place, path)?;
        let (n, dim) = rows.reader.shape();
        if n == 0 || dim == 0 {
            return Err(malformed(path, rows.format)(format!("it holds {n} rows of {dim} components")));
        }
        Ok(Blocks { path: path.to_owned(), rows, taken: 0 })
    }

    /// Rows and columns of the whole file.
    pub fn shape(&self) -> (usize, usize) {
        self.rows.reader.shape()
    }

    /// Maximum number of bytes that reading holds besides the blocks: the largest piece that the format forces a reader
    /// to read at once, such as a chunk of HDF5 or a page of Parquet.
    ///
    /// # Errors
    /// Content that is malformed.
    pub fn working_bytes(&mut self) -> Result<u64, DatasetError> {
        let reading = self.rows.reader.working_bytes().map_err(malformed(&self.path, self.rows.format))?;
        Ok(reading + self.rows.unpacking)
    }

    /// Replaces the content of `block` by the next `count` rows, row-major; fewer at the end of the file. Returns their
    /// number, 0 after the last row.
    ///
    /// # Errors
    /// Content that is malformed or ends early; a value that is not finite, by its row in the file.
    pub fn next(&mut self, count: usize, block: &mut Vec<f32>) -> Result<usize, DatasetError> {
        let (first, dim) = (self.taken, self.shape().1);
        let count = self.next_of_any(count, block)?;
        if let Some((at, value)) = first_not_finite(block) {
            let (row, column) = (first + at / dim, at % dim);
            let path = self.path.clone();
            return Err(DatasetError::NonFinite { path, row, column, value, count: 1, droppable: false });
        }
        Ok(count)
    }

    /// Passes over the next `count` rows without reading them; callers never request more than are left. False if the format
    /// has to read what lies between; then nothing has changed.
    ///
    /// # Errors
    /// Content that cannot be read.
    pub(crate) fn skip(&mut self, count: usize) -> Result<bool, DatasetError> {
        let skipped = self.rows.reader.skip(count).map_err(malformed(&self.path, self.rows.format))?;
        self.taken += if skipped { count } else { 0 };
        Ok(skipped)
    }

    /// As [`Blocks::next`], but values need not be finite.
    ///
    /// # Errors
    /// Content that is malformed or ends early.
    pub(crate) fn next_of_any(&mut self, count: usize, block: &mut Vec<f32>) -> Result<usize, DatasetError> {
        let (n, dim) = self.shape();
        let count = count.min(n - self.taken);
        block.clear();
        block.reserve_exact(count * dim);
        if count > 0 {
            self.rows.reader.append(count, block).map_err(malformed(&self.path, self.rows.format))?;
            self.taken += count;
        }
        Ok(count)
    }
}
