//! NumPy's `.npy`: two-dimensional float16, float32, float64 or 8/16/32/64-bit integers, C or Fortran order.

use super::{Format, OpenFile};
use ndarray::{Array2, ShapeBuilder};
use npyz::{DType, NpyFile, NpyHeader, Order, TypeChar};

pub struct Npy;

/// Far more than any real header; the length field of a hostile file could ask for 4 GiB.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Reads the header and checks that the file holds as many values as it promises.
fn header(file: &mut OpenFile) -> Result<NpyHeader, String> {
    use std::io::{Read, Seek};
    let header = NpyHeader::from_reader(file.reader.by_ref().take(MAX_HEADER_BYTES))
        .map_err(|e| format!("bad header: {}", e.to_string().lines().next().unwrap_or("unreadable").trim()))?;
    let item = header.dtype().num_bytes().filter(|&size| size > 0).ok_or("its values have no fixed size")?;
    let values = header.shape().iter().try_fold(1u64, |product, &n| product.checked_mul(n));
    let needed = values.and_then(|n| n.checked_mul(item as u64)).ok_or("its shape overflows")?;
    let present = file.length.saturating_sub(file.reader.stream_position().map_err(|e| e.to_string())?);
    if needed > present {
        return Err(format!("its header promises {needed} bytes of values, {present} follow it"));
    }
    Ok(header)
}

fn shape_of(header: &NpyHeader) -> Result<(usize, usize), String> {
    match header.shape() {
        &[n, dim] => Ok((n as usize, dim as usize)),
        other => Err(format!("vectors need a two-dimensional array, this one has shape {other:?}")),
    }
}

/// The type as a letter and a size in bytes.
fn kind(header: &NpyHeader) -> Option<(TypeChar, u64)> {
    match header.dtype() {
        DType::Plain(ty) => Some((ty.type_char(), ty.size_field())),
        _ => None,
    }
}

fn values<T: npyz::Deserialize, U>(
    header: NpyHeader,
    file: &mut OpenFile,
    convert: fn(T) -> U,
) -> Result<Vec<U>, String> {
    let file = NpyFile::with_header(header, &mut file.reader);
    let data = file.data::<T>().map_err(|e| e.to_string())?;
    data.map(|value| value.map(convert)).collect::<Result<_, _>>().map_err(|_| "it ends early".to_owned())
}

impl Format for Npy {
    fn name(&self) -> &'static str {
        "npy"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npy"]
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        shape_of(&header(file)?)
    }

    fn read(&self, file: &mut OpenFile) -> Result<Array2<f32>, String> {
        let header = header(file)?;
        let shape = shape_of(&header)?;
        let fortran = header.order() == Order::Fortran;
        let values = match kind(&header) {
            Some((TypeChar::Float, 2)) => values(header, file, npyz::half::f16::to_f32)?,
            Some((TypeChar::Float, 4)) => values(header, file, |v: f32| v)?,
            Some((TypeChar::Float, 8)) => values(header, file, |v: f64| v as f32)?,
            Some((TypeChar::Uint, 1)) => values(header, file, |v: u8| f32::from(v))?,
            Some((TypeChar::Int, 1)) => values(header, file, |v: i8| f32::from(v))?,
            Some((TypeChar::Uint, 2)) => values(header, file, |v: u16| f32::from(v))?,
            Some((TypeChar::Int, 2)) => values(header, file, |v: i16| f32::from(v))?,
            Some((TypeChar::Uint, 4)) => values(header, file, |v: u32| v as f32)?,
            Some((TypeChar::Int, 4)) => values(header, file, |v: i32| v as f32)?,
            Some((TypeChar::Uint, 8)) => values(header, file, |v: u64| v as f32)?,
            Some((TypeChar::Int, 8)) => values(header, file, |v: i64| v as f32)?,
            _ => {
                return Err(format!(
                    "values of type {} cannot be vectors; use float16, float32, float64 or integers",
                    header.dtype().descr()
                ));
            }
        };
        Array2::from_shape_vec(shape.set_f(fortran), values).map_err(|e| e.to_string())
    }
}

/// A one-dimensional array of non-negative integers.
pub fn read_labels(file: &mut OpenFile) -> Result<Vec<u32>, String> {
    let header = header(file)?;
    if header.shape().len() != 1 {
        return Err(format!("labels need a one-dimensional array, this one has shape {:?}", header.shape()));
    }
    let labels = match kind(&header) {
        Some((TypeChar::Uint, 1)) => values(header, file, |v: u8| i64::from(v))?,
        Some((TypeChar::Uint, 2)) => values(header, file, |v: u16| i64::from(v))?,
        Some((TypeChar::Uint, 4)) => values(header, file, |v: u32| i64::from(v))?,
        Some((TypeChar::Int, 4)) => values(header, file, |v: i32| i64::from(v))?,
        Some((TypeChar::Int, 8)) => values(header, file, |v: i64| v)?,
        _ => return Err(format!("values of type {} cannot be labels; use integers", header.dtype().descr())),
    };
    labels.into_iter().map(|v| u32::try_from(v).map_err(|_| format!("label {v} is not between 0 and 2^32"))).collect()
}
