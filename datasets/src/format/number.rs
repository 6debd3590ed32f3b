//! Numbers in files as f32: every type that formats store, in both byte orders, in rows without gaps.

use super::{OpenFile, RowReader, pass_over, read_apart, read_exact};
use npyz::half::{bf16, f16};

/// Kinds of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    F16,
    /// The upper half of an f32.
    BF16,
    F32,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
}

/// Number of values of an array; None if it is 2^64 or more.
pub fn array_values(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n))
}

/// Bytes of an array whose values have `item` bytes each; None if they are 2^64 or more.
pub fn array_bytes(shape: &[u64], item: usize) -> Option<u64> {
    array_values(shape)?.checked_mul(item as u64)
}

impl NumberType {
    pub const fn is_integer(self) -> bool {
        !matches!(self, NumberType::F16 | NumberType::BF16 | NumberType::F32 | NumberType::F64)
    }
}

/// A kind of number in one of the byte orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    pub kind: NumberType,
    pub big_endian: bool,
}

impl Number {
    pub const fn little_endian(kind: NumberType) -> Number {
        Number { kind, big_endian: false }
    }

    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self.kind {
            NumberType::I8 | NumberType::U8 => 1,
            NumberType::F16 | NumberType::BF16 | NumberType::I16 | NumberType::U16 => 2,
            NumberType::F32 | NumberType::I32 | NumberType::U32 => 4,
            NumberType::F64 | NumberType::I64 | NumberType::U64 => 8,
        }
    }

    /// Writes the numbers in `bytes` to `places`, as many as both hold.
    pub fn fill<'a>(self, bytes: &[u8], places: impl Iterator<Item = &'a mut f32>) {
        macro_rules! walk {
            ($type:ty, $convert:expr) => {{
                let pairs = places.zip(bytes.as_chunks::<{ size_of::<$type>() }>().0);
                if self.big_endian {
                    pairs.for_each(|(place, b)| *place = $convert(<$type>::from_be_bytes(*b)));
                } else {
                    pairs.for_each(|(place, b)| *place = $convert(<$type>::from_le_bytes(*b)));
                }
            }};
        }
        match self.kind {
            NumberType::F16 => walk!(f16, f16::to_f32),
            NumberType::BF16 => walk!(bf16, bf16::to_f32),
            NumberType::F32 => walk!(f32, |v: f32| v),
            NumberType::F64 => walk!(f64, |v: f64| v as f32),
            NumberType::I8 => walk!(i8, f32::from),
            NumberType::U8 => walk!(u8, f32::from),
            NumberType::I16 => walk!(i16, f32::from),
            NumberType::U16 => walk!(u16, f32::from),
            NumberType::I32 => walk!(i32, |v: i32| v as f32),
            NumberType::U32 => walk!(u32, |v: u32| v as f32),
            NumberType::I64 => walk!(i64, |v: i64| v as f32),
            NumberType::U64 => walk!(u64, |v: u64| v as f32),
        }
    }

    /// The integers in `bytes`, exactly; none if numbers are of another kind.
    pub fn integers(self, bytes: &[u8]) -> Vec<i128> {
        macro_rules! walk {
            ($type:ty) => {{
                let chunks = bytes.as_chunks::<{ size_of::<$type>() }>().0.iter();
                let number = |b: &[u8; size_of::<$type>()]| {
                    if self.big_endian { <$type>::from_be_bytes(*b) } else { <$type>::from_le_bytes(*b) }
                };
                chunks.map(|b| number(b).into()).collect()
            }};
        }
        match self.kind {
            NumberType::I8 => walk!(i8),
            NumberType::U8 => walk!(u8),
            NumberType::I16 => walk!(i16),
            NumberType::U16 => walk!(u16),
            NumberType::I32 => walk!(i32),
            NumberType::U32 => walk!(u32),
            NumberType::I64 => walk!(i64),
            NumberType::U64 => walk!(u64),
            NumberType::F16 | NumberType::BF16 | NumberType::F32 | NumberType::F64 => Vec::new(),
        }
    }

    /// Appends every number in `bytes` to `out`.
    pub fn append(self, bytes: &[u8], out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + bytes.len() / self.bytes(), 0.0);
        self.fill(bytes, out[start..].iter_mut());
    }
}

/// Bytes converted at a time.
pub const BUFFER_BYTES: usize = 1 << 18;

/// Reader of rows that are stored contiguously from the current position.
pub struct ContiguousRows {
    file: OpenFile,
    number: Number,
    shape: (usize, usize),
    buffer: Vec<u8>,
    /// Whether rows were passed over.
    apart: bool,
}

impl ContiguousRows {
    /// Of a file that was checked to hold `shape` numbers from the current position on.
    pub fn boxed(file: OpenFile, number: Number, shape: (usize, usize)) -> Box<dyn RowReader> {
        Box::new(ContiguousRows { file, number, shape, buffer: Vec::new(), apart: false })
    }
}

impl RowReader for ContiguousRows {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let mut left = count * self.shape.1 * self.number.bytes();
        self.buffer.resize(left.min(BUFFER_BYTES), 0);
        while left > 0 {
            let bytes = left.min(BUFFER_BYTES);
            let read = if self.apart { read_apart } else { read_exact };
            read(&mut self.file, &mut self.buffer[..bytes])?;
            self.number.append(&self.buffer[..bytes], out);
            left -= bytes;
        }
        Ok(())
    }

    fn skip(&mut self, count: usize) -> Result<bool, String> {
        let row_bytes = (self.shape.1 * self.number.bytes()) as u64;
        self.apart |= pass_over(&mut self.file, row_bytes.saturating_mul(count as u64))?;
        Ok(self.apart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_becomes_f32_in_both_byte_orders() {
        let read = |kind, bytes: &[u8], big_endian| {
            let mut out = vec![7.0];
            Number { kind, big_endian }.append(bytes, &mut out);
            out
        };
        macro_rules! check {
            ($kind:ident, $type:ty, $($value:expr),+) => {{
                let expected: Vec<f32> = [7.0].into_iter().chain([$($value as f32),+]).collect();
                let little: Vec<u8> = [$($value as $type),+].iter().flat_map(|v| v.to_le_bytes()).collect();
                let big: Vec<u8> = [$($value as $type),+].iter().flat_map(|v| v.to_be_bytes()).collect();
                assert_eq!(Number::little_endian(NumberType::$kind).bytes(), size_of::<$type>());
                assert_eq!(read(NumberType::$kind, &little, false), expected, "{}", stringify!($kind));
                assert_eq!(read(NumberType::$kind, &big, true), expected, "{}", stringify!($kind));
            }};
        }
        check!(F32, f32, 1.5, -2.25, 1e30);
        check!(F64, f64, 1.5, -2.25, 1e30);
        check!(I8, i8, 1, -128, 127);
        check!(U8, u8, 1, 0, 255);
        check!(I16, i16, 1, -300, 300);
        check!(U16, u16, 1, 0, 65535);
        check!(I32, i32, 1, -70000, i32::MAX);
        check!(U32, u32, 1, 0, u32::MAX);
        check!(I64, i64, 1, -70000, i64::MAX);
        check!(U64, u64, 1, 0, u64::MAX);
        let half: Vec<u8> = [1.5, -2.25].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        assert_eq!(read(NumberType::F16, &half, false), [7.0, 1.5, -2.25]);
        // 1.5, -2.25 and the largest finite one.
        let brain = [0xc0, 0x3f, 0x10, 0xc0, 0x7f, 0x7f];
        assert_eq!(read(NumberType::BF16, &brain, false), [7.0, 1.5, -2.25, f32::from_bits(0x7f7f_0000)]);
        let wide = [i64::MIN, -1, i64::MAX].map(i64::to_be_bytes).concat();
        let expected = [i64::MIN, -1, i64::MAX].map(i128::from);
        assert_eq!(Number { kind: NumberType::I64, big_endian: true }.integers(&wide), expected);
        assert_eq!(Number::little_endian(NumberType::U8).integers(&[0, 255]), [0, 255]);
    }
}
