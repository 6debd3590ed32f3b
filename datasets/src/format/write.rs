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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLayout {
    /// Before all rows.
    pub head: Vec<u8>,
    /// Before each row.
    pub row_head: Vec<u8>,
}

/// The layout of a file with `shape` rows and columns of `values`, in the format of the path's extension: `.npy` or
/// `.safetensors` for both, `.fvecs` or `.fbin` for vectors, `.bvecs` or `.u8bin` for codes.
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
    /// Writes rows of `size` bytes each; [`FileLayout::head`] comes first, once.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn write_codes(&self, codes: &[u8], size: usize, out: &mut impl Write) -> io::Result<()> {
        if self.row_head.is_empty() {
            return out.write_all(codes);
        }
        codes.chunks_exact(size).try_for_each(|code| out.write_all(&self.row_head).and_then(|()| out.write_all(code)))
    }

    /// Writes rows of `dim` components each; [`FileLayout::head`] comes first, once.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn write_vectors(&self, values: &[f32], dim: usize, out: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(4 * VALUES);
        let rows_at_once = (VALUES / dim.max(1)).max(1);
        for rows in values.chunks(rows_at_once * dim.max(1)) {
            bytes.clear();
            bytes.extend(rows.iter().flat_map(|v| v.to_le_bytes()));
            self.write_codes(&bytes, 4 * dim, out)?;
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
        for name in ["rows.npy", "rows.fvecs", "rows.fbin", "rows.safetensors"] {
            let path = folder.path().join(name);
            let layout = layout(&path, OutputType::F32, rows.dim()).expect("a known format");
            let mut bytes = layout.head.clone();
            layout.write_vectors(rows.as_slice().expect("rows"), 5, &mut bytes).expect("writes");
            std::fs::write(&path, bytes).expect("writes");
            assert_eq!(crate::format::read(&path).expect("reads"), rows, "{name}");
        }
        for name in ["codes.npy", "codes.bvecs", "codes.u8bin", "codes.safetensors"] {
            let path = folder.path().join(name);
            let layout = layout(&path, OutputType::U8, codes.dim()).expect("a known format");
            let mut bytes = layout.head.clone();
            layout.write_codes(codes.as_slice().expect("codes"), 5, &mut bytes).expect("writes");
            std::fs::write(&path, bytes).expect("writes");
            assert_eq!(crate::format::read(&path).expect("reads"), codes.mapv(f32::from), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let help = |name: &str, values, shape| layout(Path::new(name), values, shape).expect_err(name).help();
        for name in ["x.csv", "x.u8bin", "x.parquet", "x.npy.gz", "x"] {
            assert_eq!(
                help(name, OutputType::F32, (1, 1)).as_deref(),
                Some("known extensions: npy, fvecs, fbin, safetensors")
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
