//! Safetensors, the format of Hugging Face: the length of a header (u64, little-endian), the header in JSON, and the values of
//! all tensors.
//!
//! Of the header, only what names, shapes and places of tensors needs is read, so that a type that is unknown here is no
//! obstacle to reading another tensor of the same file.

use super::arrays::{NamedArray, choose};
use super::number::{ContiguousRows, Number, NumberType, array_bytes};
use super::{FileLayout, Format, OpenFile, OutputType, RowReader, ids, labels, quote, read_exact};
use ndarray::Array2;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::io::{Seek, SeekFrom};

pub struct Safetensors;

/// Bytes of the length before the header, and the longest header, as the format defines them.
const LENGTH_BYTES: usize = 8;
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Most dimensions of a tensor, as in PyTorch.
const MAX_DIMENSIONS: usize = 64;

/// Of a file that is packed as a whole, the longest header is this many times its bytes, or [`SMALL_HEADER_BYTES`].
const MAX_HEADER_EXPANSION: u64 = 64;
const SMALL_HEADER_BYTES: u64 = 1 << 20;

/// The key of what is not a tensor.
const NOTES: &str = "__metadata__";

/// Tensors begin at a multiple of this, so that other readers can map them.
const ALIGNMENT: usize = 64;

/// An entry of the header.
#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    #[serde(deserialize_with = "shape")]
    shape: Vec<u64>,
    /// First byte and end, counted from the end of the header.
    data_offsets: (u64, u64),
}

/// Reads a shape of at most [`MAX_DIMENSIONS`] dimensions.
fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    struct Dimensions;
    impl<'de> Visitor<'de> for Dimensions {
        type Value = Vec<u64>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "a list of at most {MAX_DIMENSIONS} dimensions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
            let mut shape = Vec::new();
            while let Some(dimension) = list.next_element()? {
                if shape.len() == MAX_DIMENSIONS {
                    return Err(A::Error::custom(format!("its shape has more than {MAX_DIMENSIONS} dimensions")));
                }
                shape.push(dimension);
            }
            Ok(shape)
        }
    }
    deserializer.deserialize_seq(Dimensions)
}

/// The tensors by name, in the order of the header.
struct Tensors(Vec<(String, Tensor)>);

impl<'de> Deserialize<'de> for Tensors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tensors, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Tensors;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensors, A::Error> {
                let mut tensors: Vec<(String, Tensor)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == NOTES {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let tensor = map
                        .next_value()
                        .map_err(|error| A::Error::custom(format!("in `{}`: {error}", quote::name(&name))))?;
                    tensors.push((name, tensor));
                }
                Ok(Tensors(tensors))
            }
        }
        deserializer.deserialize_map(Named)
    }
}

/// The tensors, and the position of their values.
fn header(file: &mut OpenFile) -> Result<(Vec<(String, Tensor)>, u64), String> {
    let mut length = [0; LENGTH_BYTES];
    file.reader.rewind().map_err(|e| e.to_string())?;
    read_exact(file, &mut length)?;
    let length = u64::from_le_bytes(length);
    let left = file.length - LENGTH_BYTES as u64;
    let most = match file.reader.get_ref().is_packed() {
        true => MAX_HEADER_BYTES.min(file.stored.saturating_mul(MAX_HEADER_EXPANSION).max(SMALL_HEADER_BYTES)),
        false => MAX_HEADER_BYTES,
    };
    if length > left.min(most) {
        return Err(format!(
            "it begins with the length of its header, {length} bytes; {left} follow, and {most} is the limit"
        ));
    }
    let mut bytes = vec![0; length as usize];
    read_exact(file, &mut bytes)?;
    let Tensors(tensors) =
        serde_json::from_slice(&bytes).map_err(|error| format!("its header is malformed: {error}"))?;
    Ok((tensors, LENGTH_BYTES as u64 + length))
}

/// The type of the values; None if vectors cannot have it.
fn number(dtype: &str) -> Option<Number> {
    let kind = match dtype {
        "F16" => NumberType::F16,
        "BF16" => NumberType::BF16,
        "F32" => NumberType::F32,
        "F64" => NumberType::F64,
        "I8" => NumberType::I8,
        "U8" => NumberType::U8,
        "I16" => NumberType::I16,
        "U16" => NumberType::U16,
        "I32" => NumberType::I32,
        "U32" => NumberType::U32,
        "I64" => NumberType::I64,
        "U64" => NumberType::U64,
        _ => return None,
    };
    Some(Number::little_endian(kind))
}

/// The chosen tensor; the reader stands at its values.
fn tensor(file: &mut OpenFile) -> Result<(Tensor, Number), String> {
    let (tensors, values) = header(file)?;
    let found = tensors.into_iter().find(|(name, _)| Some(name) == file.place.part.as_ref());
    let (name, tensor) = found.ok_or("it changed while it was read")?;
    let number = number(&tensor.dtype).ok_or_else(|| {
        format!("values of type {} cannot be vectors; use F16, BF16, F32, F64 or integers", quote::name(&tensor.dtype))
    })?;
    let (name, (from, to)) = (quote::name(&name), tensor.data_offsets);
    let present = to.checked_sub(from).filter(|_| to <= file.length - values);
    let present = present.ok_or_else(|| {
        format!("`{name}` should be the bytes {from} to {to} of the {} after its header", file.length - values)
    })?;
    let needed = array_bytes(&tensor.shape, number.bytes());
    if needed != Some(present) {
        let needed = needed.map_or_else(|| "more than 2^64".to_owned(), |bytes| bytes.to_string());
        return Err(format!(
            "`{name}` of shape {} and type {} needs {needed} bytes; it has {present}",
            quote::shape(&tensor.shape),
            tensor.dtype
        ));
    }
    file.reader.seek(SeekFrom::Start(values + from)).map_err(|e| e.to_string())?;
    Ok((tensor, number))
}

fn rows_and_columns(tensor: &Tensor) -> Result<(usize, usize), String> {
    match tensor.shape[..] {
        [n, dim] => Ok((n as usize, dim as usize)),
        _ => Err(format!("vectors need a two-dimensional tensor, this one has shape {}", quote::shape(&tensor.shape))),
    }
}

impl Format for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["safetensors"]
    }

    fn recognizes(&self, head: &[u8], length: u64) -> bool {
        let header = head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        header.is_some_and(|header| header < length) && head.get(LENGTH_BYTES) == Some(&b'{')
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        let named = |(name, Tensor { dtype, shape, .. })| NamedArray { name, shape, kind: dtype, unreadable: None };
        let arrays: Vec<NamedArray> = header(file)?.0.into_iter().map(named).collect();
        choose(&arrays, file.place.part.as_deref()).map(|array| Some(array.name.clone()))
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        rows_and_columns(&tensor(file)?.0)
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let (tensor, number) = tensor(&mut file)?;
        let shape = rows_and_columns(&tensor)?;
        Ok(ContiguousRows::boxed(file, number, shape))
    }

    fn labels(&self, mut file: OpenFile) -> Result<Vec<u32>, String> {
        let (tensor, number) = tensor(&mut file)?;
        match tensor.shape[..] {
            [n] if number.kind.is_integer() => labels::read(&mut file, number, n as usize),
            [_] => Err(format!("values of type {} cannot be labels; use integers", quote::name(&tensor.dtype))),
            _ => {
                Err(format!("labels need a one-dimensional tensor, this one has shape {}", quote::shape(&tensor.shape)))
            }
        }
    }

    fn ids(&self, mut file: OpenFile) -> Result<Array2<u32>, String> {
        let (tensor, number) = tensor(&mut file)?;
        ids::read(&mut file, number, rows_and_columns(&tensor)?)
    }

    fn layout(&self, values: OutputType, (n, dim): (usize, usize)) -> Option<Result<FileLayout, String>> {
        let (name, dtype, bytes) = match values {
            OutputType::F32 => ("vectors", "F32", 4),
            OutputType::U8 => ("codes", "U8", 1),
        };
        let Some(end) = n.checked_mul(dim).and_then(|count| count.checked_mul(bytes)) else {
            return Some(Err("a safetensors file holds fewer than 2^64 bytes".to_owned()));
        };
        let json = format!("{{\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":[{n},{dim}],\"data_offsets\":[0,{end}]}}}}");
        let length = (LENGTH_BYTES + json.len()).next_multiple_of(ALIGNMENT) - LENGTH_BYTES;
        let head = [&(length as u64).to_le_bytes(), format!("{json:<length$}").as_bytes()].concat();
        Some(Ok(FileLayout { head, ..FileLayout::default() }))
    }
}
