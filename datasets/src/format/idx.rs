//! IDX, the format of MNIST: two zero bytes, the type and the number of dimensions, the dimensions (u32), and all values, all of
//! it big-endian.
//!
//! A row is everything along the first dimension: a picture of 28×28 pixels is a row of 784 components. A file of one
//! dimension holds labels.

use super::number::{ContiguousRows, Number, NumberType, array_bytes, array_values};
use super::{Format, OpenFile, RowReader, labels, read_exact};
use std::io::Seek;

pub struct Idx;

/// Bytes before the dimensions, and of each dimension.
const START_BYTES: usize = 4;
const DIMENSION_BYTES: usize = 4;

fn number(code: u8) -> Option<Number> {
    let kind = match code {
        0x08 => NumberType::U8,
        0x09 => NumberType::I8,
        0x0b => NumberType::I16,
        0x0c => NumberType::I32,
        0x0d => NumberType::F32,
        0x0e => NumberType::F64,
        _ => return None,
    };
    Some(Number { kind, big_endian: true })
}

/// The type and the dimensions, checked against the file; the reader stands at the values.
fn header(file: &mut OpenFile) -> Result<(Number, Vec<u64>), String> {
    file.reader.rewind().map_err(|e| e.to_string())?;
    let mut start = [0; START_BYTES];
    read_exact(file, &mut start)?;
    let [0, 0, code, dimensions] = start else {
        return Err(format!("it should begin with two zero bytes, not with {} and {}", start[0], start[1]));
    };
    let number = number(code).ok_or_else(|| {
        format!("byte 2 is {code:#04x}, which is no type of IDX; types are 0x08, 0x09 and 0x0b to 0x0e")
    })?;
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let mut size = [0; DIMENSION_BYTES];
        read_exact(file, &mut size)?;
        shape.push(u64::from(u32::from_be_bytes(size)));
    }
    let needed = array_bytes(&shape, number.bytes());
    let present = file.length - (START_BYTES + shape.len() * DIMENSION_BYTES) as u64;
    if needed != Some(present) {
        let needed = needed.map_or_else(|| "more than 2^64".to_owned(), |bytes| bytes.to_string());
        return Err(format!(
            "its header states the shape {shape:?}, that is {needed} bytes of values; {present} follow it"
        ));
    }
    Ok((number, shape))
}

/// Rows, and everything else in one.
fn rows_and_columns(shape: &[u64]) -> Result<(usize, usize), String> {
    match shape {
        [n, row @ ..] if !row.is_empty() => {
            // With no rows, the other dimensions may be of any size.
            let dim = array_values(row).and_then(|dim| usize::try_from(dim).ok());
            dim.map(|dim| (*n as usize, dim)).ok_or_else(|| format!("its header states the shape {shape:?}"))
        }
        _ => Err(format!("vectors need two dimensions or more, this file has shape {shape:?}")),
    }
}

impl Format for Idx {
    fn name(&self) -> &'static str {
        "idx"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["idx"]
    }

    fn recognizes(&self, head: &[u8], length: u64) -> bool {
        let &[0, 0, code, dimensions, ..] = head else { return false };
        number(code).is_some()
            && dimensions > 0
            && length >= (START_BYTES + usize::from(dimensions) * DIMENSION_BYTES) as u64
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        rows_and_columns(&header(file)?.1)
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let (number, shape) = header(&mut file)?;
        let shape = rows_and_columns(&shape)?;
        Ok(ContiguousRows::boxed(file, number, shape))
    }

    fn labels(&self, mut file: OpenFile) -> Result<Vec<u32>, String> {
        let (number, shape) = header(&mut file)?;
        match shape[..] {
            [n] if number.kind.is_integer() => labels::read(&mut file, number, n as usize),
            [_] => Err("values of floating point cannot be labels; use integers".to_owned()),
            _ => Err(format!("labels need one dimension, this file has shape {shape:?}")),
        }
    }
}
