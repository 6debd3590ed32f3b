//! The `.fbin` family of big-ann-benchmarks: rows and columns (u32, little-endian), then all values, row by row.

use super::number::{Kind, Number, Packed};
use super::{Format, Layout, OpenFile, Rows, Written, read_exact};

pub struct Bin {
    name: &'static str,
    extensions: &'static [&'static str],
    number: Number,
}

const fn bin(name: &'static str, extensions: &'static [&'static str], kind: Kind) -> Bin {
    Bin { name, extensions, number: Number::little_endian(kind) }
}

pub const FBIN: Bin = bin("fbin", &["fbin"], Kind::F32);
pub const U8BIN: Bin = bin("u8bin", &["u8bin"], Kind::U8);
pub const I8BIN: Bin = bin("i8bin", &["i8bin"], Kind::I8);
pub const IBIN: Bin = bin("ibin", &["ibin"], Kind::I32);

const HEADER_BYTES: u64 = 8;

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
        let needed = u128::from(n) * u128::from(dim) * self.number.bytes() as u128;
        let present = u128::from(file.length.saturating_sub(HEADER_BYTES));
        if needed != present {
            return Err(format!(
                "its header promises {n} rows of {dim} components, that is {needed} bytes of values; {present} follow it"
            ));
        }
        Ok((n as usize, dim as usize))
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn Rows>, String> {
        let shape = self.shape(&mut file)?;
        Ok(Box::new(Packed { file, number: self.number, shape, buffer: Vec::new() }))
    }

    fn layout(&self, values: Written, (n, dim): (usize, usize)) -> Option<Result<Layout, String>> {
        (values.kind() == self.number.kind).then(|| {
            let count = |value: usize, what: &str| {
                u32::try_from(value).map_err(|_| format!("a {} file holds fewer than 2^32 {what}", self.name))
            };
            let (n, dim) = (count(n, "rows")?, count(dim, "components")?);
            Ok(Layout { head: [n.to_le_bytes(), dim.to_le_bytes()].concat(), row_head: Vec::new() })
        })
    }
}
