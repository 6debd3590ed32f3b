//! The `.fbin` family of big-ann-benchmarks: rows and columns (u32, little-endian), then all values, row by row. cuVS writes
//! the two numbers as u64; which of the two headers a file has, its length tells.

use super::number::{ContiguousRows, Number, NumberType};
use super::{FileLayout, Format, OpenFile, OutputType, RowReader, read_exact};

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

/// Bytes of the header of two u32, and of that of two u64.
const HEADER_BYTES: u64 = 8;
const WIDE_HEADER_BYTES: u64 = 16;

impl Format for Bin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        let mut bytes = [0; HEADER_BYTES as usize];
        read_exact(file, &mut bytes)?;
        let first = u64::from_le_bytes(bytes);
        let (n, dim) = (first & u64::from(u32::MAX), first >> 32);
        // The values that a shape needs, and those that follow a header; products beyond 128 bits fit no file.
        let needed = |n: u64, dim: u64| {
            let rows = u128::from(n).checked_mul(u128::from(dim));
            rows.and_then(|rows| rows.checked_mul(self.number.bytes() as u128)).unwrap_or(u128::MAX)
        };
        let length = file.length;
        let present = |header: u64| u128::from(length.saturating_sub(header));
        if needed(n, dim) == present(HEADER_BYTES) {
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
