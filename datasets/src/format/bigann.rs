//! The `.fbin` family of big-ann-benchmarks: rows and columns (u32, little-endian), then all values, row by row. cuVS writes
//! the two numbers as u64; which of the two headers a file has, its length tells. Files of ground truth hold row numbers
//! (u32), and after all of them the distances (f32), which are not read.

use super::number::{ContiguousRows, Number, NumberType};
use super::{FileLayout, Format, OpenFile, OutputType, RowReader, ids, read_exact};
use ndarray::Array2;

pub struct Bin {
    name: &'static str,
    extensions: &'static [&'static str],
    number: Number,
}

const fn bin(name: &'static str, extensions: &'static [&'static str], kind: NumberType) -> Bin {
    Bin { name, extensions, number: Number::little_endian(kind) }
}

pub const FBIN: Bin = bin("fbin", &["fbin"], NumberType::F32);
pub const F16BIN: Bin = bin("f16bin", &["f16bin"], NumberType::F16);
pub const U8BIN: Bin = bin("u8bin", &["u8bin"], NumberType::U8);
pub const I8BIN: Bin = bin("i8bin", &["i8bin"], NumberType::I8);
pub const IBIN: Bin = bin("ibin", &["ibin"], NumberType::I32);
/// Neighbours and their distances, in files that often have no extension.
pub const GROUND_TRUTH: Bin = bin("ground truth", &[], NumberType::I32);

/// Bytes of the header of two u32, and of that of two u64.
const HEADER_BYTES: u64 = 8;
const WIDE_HEADER_BYTES: u64 = 16;

/// Bytes of the distance to a neighbour.
const DISTANCE_BYTES: u64 = 4;

/// Rows and columns of a header of two u32.
fn narrow(first: u64) -> (u64, u64) {
    (first & u64::from(u32::MAX), first >> 32)
}

/// Whether a file of ground truth has this header and this length.
fn is_truth((n, k): (u64, u64), length: u64) -> bool {
    let pairs = u128::from(n) * u128::from(k);
    pairs > 0 && pairs * u128::from(DISTANCE_BYTES + 4) + u128::from(HEADER_BYTES) == u128::from(length)
}

/// Bytes of a file with a header of two u32, by its extension.
pub fn bytes(extension: &str, rows: usize, dim: usize) -> Option<u64> {
    let bin = [FBIN, F16BIN, U8BIN, I8BIN, IBIN].into_iter().find(|bin| bin.extensions.contains(&extension))?;
    let values = (rows as u64).checked_mul(dim as u64)?.checked_mul(bin.number.bytes() as u64)?;
    values.checked_add(HEADER_BYTES)
}

impl Format for Bin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    fn recognizes(&self, head: &[u8], length: u64) -> bool {
        let first = head.first_chunk().map(|bytes| narrow(u64::from_le_bytes(*bytes)));
        self.extensions.is_empty() && first.is_some_and(|shape| is_truth(shape, length))
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        let mut bytes = [0; HEADER_BYTES as usize];
        read_exact(file, &mut bytes)?;
        let first = u64::from_le_bytes(bytes);
        let (n, dim) = narrow(first);
        // The values that a shape needs, and those that follow a header; products beyond 128 bits fit no file.
        let needed = |n: u64, dim: u64| {
            let rows = u128::from(n).checked_mul(u128::from(dim));
            rows.and_then(|rows| rows.checked_mul(self.number.bytes() as u128)).unwrap_or(u128::MAX)
        };
        let length = file.length;
        let present = |header: u64| u128::from(length.saturating_sub(header));
        let truth = self.number.kind == NumberType::I32 && is_truth((n, dim), length);
        if truth || needed(n, dim) == present(HEADER_BYTES) {
            return Ok((n as usize, dim as usize));
        }
        let wide = if length < WIDE_HEADER_BYTES {
            None
        } else {
            read_exact(file, &mut bytes)?;
            let dim = u64::from_le_bytes(bytes);
            let fits = needed(first, dim) == present(WIDE_HEADER_BYTES);
            usize::try_from(first).ok().zip(usize::try_from(dim).ok()).filter(|_| fits)
        };
        wide.ok_or_else(|| {
            format!(
                "its header states {n} rows of {dim} components, that is {} bytes of values; {} follow it (nor does it fit \
                 as a header of two 64-bit numbers)",
                needed(n, dim),
                present(HEADER_BYTES)
            )
        })
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let shape = self.shape(&mut file)?;
        Ok(ContiguousRows::boxed(file, self.number, shape))
    }

    fn ids(&self, mut file: OpenFile) -> Result<Array2<u32>, String> {
        let shape = self.shape(&mut file)?;
        ids::read(&mut file, self.number, shape)
    }

    fn layout(&self, values: OutputType, (n, dim): (usize, usize)) -> Option<Result<FileLayout, String>> {
        (values.kind() == self.number.kind).then(|| {
            let count = |value: usize, what: &str| {
                u32::try_from(value).map_err(|_| format!("a {} file holds fewer than 2^32 {what}", self.name))
            };
            let (n, dim) = (count(n, "rows")?, count(dim, "components")?);
            Ok(FileLayout { head: [n.to_le_bytes(), dim.to_le_bytes()].concat(), ..FileLayout::default() })
        })
    }
}
