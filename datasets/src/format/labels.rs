//! Classes of rows: integers of any width, one per row.

use super::number::{BUFFER_BYTES, Number};
use super::{OpenFile, RowReader, read_exact};

/// The first whole number whose neighbour f32 does not know.
pub(super) const EXACT: f32 = (1 << 24) as f32;

/// Reads `count` integers from the current position, which the file was checked to hold.
///
/// # Errors
/// A number that is no class; content that ends early.
pub fn read(file: &mut OpenFile, number: Number, count: usize) -> Result<Vec<u32>, String> {
    exact_integers(file, number, count, |row, value| format!("label {value} of row {row} is not between 0 and 2^32"))
}

/// Reads `count` integers from the current position, which the file was checked to hold. `wrong` words the error of a
/// value, by its position, that u32 does not hold.
///
/// # Errors
/// Such a value; content that ends early.
pub(super) fn exact_integers(
    file: &mut OpenFile,
    number: Number,
    count: usize,
    wrong: impl Fn(usize, i128) -> String,
) -> Result<Vec<u32>, String> {
    let mut integers = Vec::with_capacity(count);
    let mut buffer = vec![0; BUFFER_BYTES.min(count * number.bytes())];
    while integers.len() < count {
        let bytes = BUFFER_BYTES.min((count - integers.len()) * number.bytes());
        read_exact(file, &mut buffer[..bytes])?;
        for value in number.integers(&buffer[..bytes]) {
            integers.push(u32::try_from(value).map_err(|_| wrong(integers.len(), value))?);
        }
    }
    Ok(integers)
}

/// The numbers of rows of one number each.
///
/// # Errors
/// Rows of another length; numbers that are no classes, or of which f32 may not hold the last digit.
pub fn of_rows(rows: &mut dyn RowReader) -> Result<Vec<u32>, String> {
    let (n, dim) = rows.shape();
    if n == 0 {
        return Ok(Vec::new());
    }
    if dim != 1 {
        return Err(format!("labels need one number per row; its {n} rows have {dim}"));
    }
    let mut values = Vec::with_capacity(n);
    rows.append(n, &mut values)?;
    let label = |(row, value): (usize, f32)| {
        let whole = value.fract() == 0.0 && (0.0..EXACT).contains(&value);
        whole.then_some(value as u32).ok_or_else(|| {
            format!(
                "label {value} of row {row} is not an integer from 0 to 2^24; a one-dimensional .npy holds larger ones"
            )
        })
    };
    values.into_iter().enumerate().map(label).collect()
}
