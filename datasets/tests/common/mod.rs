//! Files that tests write: arrays, and what packs them.

// Each test file uses some of it.
#![allow(dead_code)]

use datasets::format;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use ndarray::Array2;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a file into a folder.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// Why a file is refused.
pub fn reason(path: &Path) -> String {
    format::shape(path).and_then(|_| format::read(path).map(drop)).expect_err("refused").to_string()
}

/// A `.npy` of any header and content.
pub fn npy(header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

/// The numbers of all rows, little-endian.
pub fn bytes_of(rows: &Array2<f32>) -> Vec<u8> {
    rows.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A `.npy` of rows.
pub fn npy_of(rows: &Array2<f32>) -> Vec<u8> {
    let layout = format::layout(Path::new("v.npy"), format::OutputType::F32, rows.dim()).expect("a layout");
    [layout.head, bytes_of(rows)].concat()
}

/// A bare stream of deflate.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = DeflateEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

/// One member of gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

/// One frame of Zstandard.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 3).expect("memory")
}

/// A zip file of members with their content; the third says whether it is deflated.
pub fn zip(members: &[(&str, Vec<u8>, bool)]) -> Vec<u8> {
    let (mut file, mut table) = (Vec::new(), Vec::new());
    for (name, content, deflated) in members {
        let packed = if *deflated { deflate(content) } else { content.clone() };
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let method = if *deflated { 8u16 } else { 0 };
        let numbers = [crc.sum(), packed.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
        let lengths = [name.len() as u16, 0].map(u16::to_le_bytes).concat();
        // Version, flags, method, time and date; the checksum and both lengths; the lengths of the name and of extra fields.
        let shared = [[20u16, 0, method, 0, 0].map(u16::to_le_bytes).concat(), numbers, lengths].concat();
        let place = (file.len() as u32).to_le_bytes();
        table.extend([&b"PK\x01\x02"[..], &20u16.to_le_bytes(), &shared, &[0; 10], &place, name.as_bytes()].concat());
        file.extend([&b"PK\x03\x04"[..], &shared, name.as_bytes(), &packed].concat());
    }
    let counts = [0, 0, members.len() as u16, members.len() as u16].map(u16::to_le_bytes).concat();
    let place = [table.len() as u32, file.len() as u32].map(u32::to_le_bytes).concat();
    [&file[..], &table, b"PK\x05\x06", &counts, &place, &[0; 2]].concat()
}

/// A temporary folder.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Five rows of three components.
pub fn rows() -> Array2<f32> {
    Array2::from_shape_fn((5, 3), |(i, j)| i as f32 + j as f32 / 8.0)
}

/// Checks that a file holds these rows.
pub fn holds(path: &Path, expected: &Array2<f32>) {
    assert_eq!(format::shape(path).unwrap_or_else(|e| panic!("{e}")), expected.dim(), "{}", path.display());
    assert_eq!(format::read(path).unwrap_or_else(|e| panic!("{e}")), expected, "{}", path.display());
}

/// An array of a file, by name.
pub fn part(path: &Path, name: &str) -> PathBuf {
    PathBuf::from(format!("{}#{name}", path.display()))
}

/// A one-dimensional `.npy` of a type.
pub fn flat_npy(descr: &str, n: usize, values: &[u8]) -> Vec<u8> {
    npy(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n},), }}\n"), values)
}
