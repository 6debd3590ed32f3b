//! Writes vectors and codes as files, row by row.

use super::FORMATS;
use super::input::Packing;
use super::number::NumberType;
use super::place::{extension, packing};
use crate::DatasetError;
use std::io::{self, Write};
use std::path::Path;

/// The type of values in an output file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputType {
    /// Vectors.
    F32,
    /// Codes.
    U8,
}

impl OutputType {
    pub(super) fn kind(self) -> NumberType {
        match self {
            OutputType::F32 => NumberType::F32,
            OutputType::U8 => NumberType::U8,
        }
    }
}

/// What a file holds besides the values of its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLayout {
    /// Before all rows.
    pub head: Vec<u8>,
    /// Before each row.
    pub row_head: Vec<u8>,
    /// Before the first row of each page, if rows come in pages.
    pub pages: Option<PageHeads>,
    /// After all rows.
    pub tail: Vec<u8>,
}

/// What a file holds before the rows of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageHeads {
    /// Rows of every page but the last, which has fewer if it exists.
    pub rows: usize,
    /// Before a page of so many rows.
    pub full: Vec<u8>,
    /// Before the last page.
    pub last: Vec<u8>,
    /// The first row of the last page.
    pub last_row: usize,
}

/// The layout of a file with `shape` rows and columns of `values`, in the format of the path's extension: `.npy` or
/// `.safetensors` for both, `.fvecs`, `.fbin` or `.parquet` for vectors, `.bvecs` or `.u8bin` for codes.
///
/// # Errors
/// An unsuitable extension; a shape that the format cannot hold.
pub fn layout(path: &Path, values: OutputType, shape: (usize, usize)) -> Result<FileLayout, DatasetError> {
    let written = extension(path);
    let plain = packing(path).0 == Packing::Plain;
    let format = FORMATS.iter().find(|f| plain && f.extensions().contains(&written.as_str()));
    match format.and_then(|format| format.layout(values, shape)) {
        Some(layout) => layout.map_err(|reason| DatasetError::Unwritable { path: path.to_owned(), reason }),
        None => {
            let able = FORMATS.iter().filter(|f| f.layout(values, (0, 0)).is_some());
            let known: Vec<&str> = able.flat_map(|f| f.extensions()).copied().collect();
            Err(DatasetError::UnknownFormat { path: path.to_owned(), known: known.join(", ") })
        }
    }
}

/// Numbers converted to bytes at a time.
const VALUES: usize = 1 << 14;

impl FileLayout {
    /// Writes rows of `size` bytes each, the first of which is row `first` of the file. [`FileLayout::head`] comes before all
    /// rows, and [`FileLayout::tail`] after them.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn write_codes(&self, first: usize, codes: &[u8], size: usize, out: &mut impl Write) -> io::Result<()> {
        if let Some(pages) = &self.pages {
            return pages.write(first, codes, size, out);
        }
        if self.row_head.is_empty() {
            return out.write_all(codes);
        }
        codes.chunks_exact(size).try_for_each(|code| out.write_all(&self.row_head).and_then(|()| out.write_all(code)))
    }

    /// Writes rows of `dim` components each; as [`FileLayout::write_codes`].
    ///
    /// # Errors
    /// The system's refusal.
    pub fn write_vectors(&self, first: usize, values: &[f32], dim: usize, out: &mut impl Write) -> io::Result<()> {
        let mut bytes: Vec<u8> = Vec::with_capacity(4 * VALUES);
        let rows_at_once = (VALUES / dim.max(1)).max(1);
        for (i, rows) in values.chunks(rows_at_once * dim.max(1)).enumerate() {
            bytes.resize(4 * rows.len(), 0);
            bytes.as_chunks_mut().0.iter_mut().zip(rows).for_each(|(bytes, value)| *bytes = value.to_le_bytes());
            self.write_codes(first + i * rows_at_once, &bytes, 4 * dim, out)?;
        }
        Ok(())
    }
}

impl PageHeads {
    /// Writes rows of `size` bytes each, from row `first` of the file on.
    fn write(&self, first: usize, rows: &[u8], size: usize, out: &mut impl Write) -> io::Result<()> {
        let (mut row, mut rest) = (first, rows);
        while !rest.is_empty() {
            let before = row % self.rows;
            if before == 0 {
                out.write_all(if row == self.last_row { &self.last } else { &self.full })?;
            }
            let (page, after) = rest.split_at(rest.len().min((self.rows - before) * size));
            out.write_all(page)?;
            row += page.len() / size.max(1);
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = Array2::from_shape_fn((7000, 5), |(i, j)| (i * 5 + j) as f32 + 0.25);
        let codes = Array2::from_shape_fn((7000, 5), |(i, j)| (i * 37 + j * 11) as u8);
        for name in ["rows.npy", "rows.fvecs", "rows.fbin", "rows.safetensors", "rows.parquet"] {
            let path = folder.path().join(name);
            let layout = layout(&path, OutputType::F32, rows.dim()).expect("a known format");
            let mut bytes = layout.head.clone();
            // In two parts.
            let (begin, end) = rows.as_slice().expect("rows").split_at(4321 * 5);
            layout.write_vectors(0, begin, 5, &mut bytes).expect("writes");
            layout.write_vectors(4321, end, 5, &mut bytes).expect("writes");
            bytes.extend(&layout.tail);
            std::fs::write(&path, bytes).expect("writes");
            assert_eq!(crate::format::read(&path).expect("reads"), rows, "{name}");
        }
        for name in ["codes.npy", "codes.bvecs", "codes.u8bin", "codes.safetensors"] {
            let path = folder.path().join(name);
            let layout = layout(&path, OutputType::U8, codes.dim()).expect("a known format");
            let mut bytes = layout.head.clone();
            layout.write_codes(0, codes.as_slice().expect("codes"), 5, &mut bytes).expect("writes");
            std::fs::write(&path, bytes).expect("writes");
            assert_eq!(crate::format::read(&path).expect("reads"), codes.mapv(f32::from), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let help = |name: &str, values, shape| layout(Path::new(name), values, shape).expect_err(name).help();
        for name in ["x.csv", "x.u8bin", "x.arrow", "x.npy.gz", "x"] {
            assert_eq!(
                help(name, OutputType::F32, (1, 1)).as_deref(),
                Some("known extensions: npy, fvecs, fbin, safetensors, parquet")
            );
        }
        assert_eq!(
            help("x.fbin", OutputType::U8, (1, 1)).as_deref(),
            Some("known extensions: npy, bvecs, u8bin, safetensors")
        );
        let much = layout(Path::new("x.u8bin"), OutputType::U8, (1 << 32, 1)).expect_err("too many").to_string();
        assert_eq!(much, "x.u8bin cannot be written: a u8bin file holds fewer than 2^32 rows");
    }
}
