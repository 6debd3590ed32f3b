//! The `.fbin` family of big-ann-benchmarks: rows and columns (u32, little-endian), then all values, row by row.

use super::{Format, OpenFile, read_exact};
use ndarray::Array2;

pub struct Bin {
    name: &'static str,
    extensions: &'static [&'static str],
    value_bytes: usize,
    decode: fn(&[u8]) -> f32,
}

pub const FBIN: Bin = Bin {
    name: "fbin",
    extensions: &["fbin"],
    value_bytes: 4,
    decode: |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
};
pub const U8BIN: Bin = Bin { name: "u8bin", extensions: &["u8bin"], value_bytes: 1, decode: |b| f32::from(b[0]) };
pub const I8BIN: Bin =
    Bin { name: "i8bin", extensions: &["i8bin"], value_bytes: 1, decode: |b| f32::from(b[0].cast_signed()) };
pub const IBIN: Bin = Bin {
    name: "ibin",
    extensions: &["ibin"],
    value_bytes: 4,
    decode: |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32,
};

const HEADER_BYTES: u64 = 8;

/// Values decoded at a time; the file passes through a buffer of this many.
const VALUES_PER_BLOCK: usize = 1 << 14;

impl Format for Bin {
    fn name(&self) -> &'static str {
        self.name
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        let mut bytes = [0; 4];
        let mut number = || read_exact(file, &mut bytes).map(|()| u32::from_le_bytes(bytes));
        let (n, dim) = (number()?, number()?);
        // Two 32-bit numbers and a size of at most 4 multiply without overflow in 128 bits.
        let needed = u128::from(n) * u128::from(dim) * self.value_bytes as u128;
        let present = u128::from(file.length.saturating_sub(HEADER_BYTES));
        if needed != present {
            return Err(format!(
                "its header promises {n} rows of {dim} components, that is {needed} bytes of values; {present} follow it"
            ));
        }
        Ok((n as usize, dim as usize))
    }

    fn read(&self, file: &mut OpenFile) -> Result<Array2<f32>, String> {
        let (n, dim) = self.shape(file)?;
        let mut values = Vec::with_capacity(n * dim);
        let mut block = vec![0u8; VALUES_PER_BLOCK.min(n * dim) * self.value_bytes];
        while values.len() < n * dim {
            let bytes = VALUES_PER_BLOCK.min(n * dim - values.len()) * self.value_bytes;
            read_exact(file, &mut block[..bytes])?;
            values.extend(block[..bytes].chunks_exact(self.value_bytes).map(self.decode));
        }
        Array2::from_shape_vec((n, dim), values).map_err(|e| e.to_string())
    }
}
