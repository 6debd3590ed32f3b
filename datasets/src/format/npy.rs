//! NumPy's `.npy`: two-dimensional float16, float32, float64 or 8/16/32/64-bit integers, C or Fortran order.

use super::number::{ContiguousRows, Number, NumberType};
use super::{FileLayout, Format, OpenFile, OutputType, RowReader, labels, unread};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::io::{Read, Seek, SeekFrom};

pub struct Npy;

/// The first bytes of a file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Far more than any real header has; a malformed length field could ask for 4 GiB.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Reads the header and checks that the file holds as many values as it states.
fn header(file: &mut OpenFile) -> Result<NpyHeader, String> {
    let header = NpyHeader::from_reader(file.reader.by_ref().take(MAX_HEADER_BYTES))
        .map_err(|e| format!("bad header: {}", e.to_string().lines().next().unwrap_or("unreadable").trim()))?;
    let item = header.dtype().num_bytes().filter(|&size| size > 0).ok_or("its values have no fixed size")?;
    let values = header.shape().iter().try_fold(1u64, |product, &n| product.checked_mul(n));
    let needed = values.and_then(|n| n.checked_mul(item as u64)).ok_or("its shape overflows")?;
    let present = file.length.saturating_sub(file.reader.stream_position().map_err(|e| e.to_string())?);
    if needed > present {
        return Err(format!("its header states {needed} bytes of values, {present} follow it"));
    }
    Ok(header)
}

fn shape_of(header: &NpyHeader) -> Result<(usize, usize), String> {
    match header.shape() {
        &[n, dim] => Ok((n as usize, dim as usize)),
        other => Err(format!("vectors need a two-dimensional array, this one has shape {other:?}")),
    }
}

/// The shape and the type of the values.
///
/// # Errors
/// A malformed header, without the path.
pub fn describe(file: &mut OpenFile) -> Result<(Vec<u64>, String), String> {
    let header = header(file)?;
    Ok((header.shape().to_vec(), header.dtype().descr().trim_matches('\'').to_owned()))
}

impl Format for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn recognizes(&self, head: &[u8], _: u64) -> bool {
        head.starts_with(MAGIC)
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        shape_of(&header(file)?)
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let header = header(&mut file)?;
        let shape = shape_of(&header)?;
        let number = number(&header).ok_or_else(|| {
            let found = header.dtype().descr();
            format!("values of type {found} cannot be vectors; use float16, float32, float64 or integers")
        })?;
        if header.order() == Order::Fortran {
            let start = file.reader.stream_position().map_err(|e| e.to_string())?;
            return Ok(Box::new(FortranReader { file, number, shape, start, next: 0, buffer: Vec::new() }));
        }
        Ok(Box::new(ContiguousRows { file, number, shape, buffer: Vec::new() }))
    }

    fn labels(&self, mut file: OpenFile) -> Result<Vec<u32>, String> {
        let header = header(&mut file)?;
        let &[n] = header.shape() else {
            return Err(format!("labels need a one-dimensional array, this one has shape {:?}", header.shape()));
        };
        let number = number(&header).filter(|number| number.kind.is_integer());
        let number = number
            .ok_or_else(|| format!("values of type {} cannot be labels; use integers", header.dtype().descr()))?;
        labels::read(&mut file, number, n as usize)
    }

    fn layout(&self, values: OutputType, (n, dim): (usize, usize)) -> Option<Result<FileLayout, String>> {
        let descr = match values {
            OutputType::F32 => "<f4",
            OutputType::U8 => "|u1",
        };
        // The header of version 1.0, filled up with spaces so that values begin at a multiple of 64 bytes.
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n}, {dim}), }}");
        let length = (10 + dict.len() + 1).next_multiple_of(64) - 10;
        let text = format!("{dict:<width$}\n", width = length - 1);
        let head = [b"\x93NUMPY\x01\x00".as_slice(), &(length as u16).to_le_bytes(), text.as_bytes()].concat();
        Some(Ok(FileLayout { head, ..FileLayout::default() }))
    }
}

/// The type of the values; None if vectors cannot have it.
fn number(header: &NpyHeader) -> Option<Number> {
    let DType::Plain(ty) = header.dtype() else { return None };
    let kind = match (ty.type_char(), ty.size_field()) {
        (TypeChar::Float, 2) => NumberType::F16,
        (TypeChar::Float, 4) => NumberType::F32,
        (TypeChar::Float, 8) => NumberType::F64,
        (TypeChar::Uint, 1) => NumberType::U8,
        (TypeChar::Int, 1) => NumberType::I8,
        (TypeChar::Uint, 2) => NumberType::U16,
        (TypeChar::Int, 2) => NumberType::I16,
        (TypeChar::Uint, 4) => NumberType::U32,
        (TypeChar::Int, 4) => NumberType::I32,
        (TypeChar::Uint, 8) => NumberType::U64,
        (TypeChar::Int, 8) => NumberType::I64,
        _ => return None,
    };
    Some(Number { kind, big_endian: ty.endianness() == Endianness::Big })
}

/// Reader of Fortran order, which stores one column after another. A block of rows is a piece of each column.
struct FortranReader {
    file: OpenFile,
    number: Number,
    shape: (usize, usize),
    /// Where the values begin.
    start: u64,
    next: usize,
    buffer: Vec<u8>,
}

/// Rows read at a time: pieces of columns that are long enough to read efficiently, and few enough to assemble in the
/// cache.
const ROWS_PER_PIECE: usize = 4096;

impl RowReader for FortranReader {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        let (n, dim) = self.shape;
        let item = self.number.bytes();
        // Each piece of a packed file is a pass over all of it.
        let at_once = if self.file.reader.get_ref().is_packed() { count } else { ROWS_PER_PIECE };
        let mut left = count;
        while left > 0 {
            let rows = left.min(at_once);
            let begin = out.len();
            out.resize(begin + rows * dim, 0.0);
            self.buffer.resize(rows * item, 0);
            // Bypasses the buffer of the reader, which would be refilled for every piece.
            let file = self.file.reader.get_mut();
            for column in 0..dim {
                let at = self.start + ((column * n + self.next) * item) as u64;
                file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
                file.read_exact(&mut self.buffer).map_err(unread)?;
                self.number.fill(&self.buffer, out[begin + column..].iter_mut().step_by(dim));
            }
            self.next += rows;
            left -= rows;
        }
        Ok(())
    }
}
