//! Vectors and codes as the bytes of a file, for other programs to read.

use crate::DatasetError;
use ndarray::ArrayView2;
use std::path::Path;

/// Rows of f32 in the format of the path's extension: `.npy`, `.fvecs` or `.fbin`.
///
/// # Errors
/// Another extension.
pub fn vectors_to_bytes(path: &Path, rows: ArrayView2<'_, f32>) -> Result<Vec<u8>, DatasetError> {
    let values = || rows.iter().flat_map(|v| v.to_le_bytes());
    match super::place::extension(path).as_str() {
        "npy" => Ok(npy("<f4", rows.dim()).chain(values()).collect()),
        "fbin" => Ok(bin(rows.dim()).chain(values()).collect()),
        "fvecs" => Ok(vecs(rows, |v| v.to_le_bytes())),
        _ => Err(DatasetError::UnknownFormat { path: path.to_owned(), known: "npy, fvecs, fbin".into() }),
    }
}

/// Rows of bytes in the format of the path's extension: `.npy` (uint8), `.bvecs` or `.u8bin`.
///
/// # Errors
/// Another extension.
pub fn codes_to_bytes(path: &Path, rows: ArrayView2<'_, u8>) -> Result<Vec<u8>, DatasetError> {
    match super::place::extension(path).as_str() {
        "npy" => Ok(npy("|u1", rows.dim()).chain(rows.iter().copied()).collect()),
        "u8bin" => Ok(bin(rows.dim()).chain(rows.iter().copied()).collect()),
        "bvecs" => Ok(vecs(rows, |v| [*v])),
        _ => Err(DatasetError::UnknownFormat { path: path.to_owned(), known: "npy, bvecs, u8bin".into() }),
    }
}

/// The header of version 1.0, filled up with spaces so that values begin at a multiple of 64 bytes.
fn npy(descr: &str, (n, dim): (usize, usize)) -> impl Iterator<Item = u8> + use<> {
    let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n}, {dim}), }}");
    let length = (10 + dict.len() + 1).next_multiple_of(64) - 10;
    let header = format!("{dict:<width$}\n", width = length - 1);
    let start = b"\x93NUMPY\x01\x00".iter().copied().chain((length as u16).to_le_bytes());
    start.chain(header.into_bytes())
}

fn bin((n, dim): (usize, usize)) -> impl Iterator<Item = u8> + use<> {
    (n as u32).to_le_bytes().into_iter().chain((dim as u32).to_le_bytes())
}

fn vecs<T, const N: usize>(rows: ArrayView2<'_, T>, bytes: fn(&T) -> [u8; N]) -> Vec<u8> {
    let head = (rows.ncols() as u32).to_le_bytes();
    rows.outer_iter().flat_map(|row| head.into_iter().chain(row.into_iter().flat_map(bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = Array2::from_shape_fn((7, 5), |(i, j)| (i * 5 + j) as f32 + 0.25);
        let codes = Array2::from_shape_fn((7, 5), |(i, j)| (i * 37 + j * 11) as u8);
        for extension in ["npy", "fvecs", "fbin"] {
            let path = folder.path().join("rows").with_extension(extension);
            std::fs::write(&path, vectors_to_bytes(&path, rows.view()).expect("a known format")).expect("writes");
            assert_eq!(crate::format::read(&path).expect("reads"), rows, "{extension}");
        }
        for extension in ["npy", "bvecs", "u8bin"] {
            let path = folder.path().join("codes").with_extension(extension);
            std::fs::write(&path, codes_to_bytes(&path, codes.view()).expect("a known format")).expect("writes");
            assert_eq!(crate::format::read(&path).expect("reads"), codes.mapv(f32::from), "{extension}");
        }
        let error = vectors_to_bytes(Path::new("x.csv"), rows.view()).expect_err("no such format");
        assert_eq!(error.help().as_deref(), Some("known extensions: npy, fvecs, fbin"));
    }
}
