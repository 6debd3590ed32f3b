//! Row numbers: the nearest rows of each query, as ground truth files hold them. They are read exactly where the format
//! stores integers.

use super::labels::exact_integers;
use super::number::Number;
use super::{OpenFile, RowReader};
use ndarray::Array2;

/// Reads `n` rows of `k` row numbers from the current position, which the file was checked to hold.
///
/// # Errors
/// Values that are not integers; a number that is no row number; content that ends early.
pub fn read(file: &mut OpenFile, number: Number, (n, k): (usize, usize)) -> Result<Array2<u32>, String> {
    if !number.kind.is_integer() {
        return Err("row numbers need integers; its values are of floating point".to_owned());
    }
    let count = n.checked_mul(k).ok_or("its shape overflows")?;
    let wrong = |at: usize, value| format!("row {} holds {value}, which is not a row number", at / k.max(1));
    let ids = exact_integers(file, number, count, wrong)?;
    Array2::from_shape_vec((n, k), ids).map_err(|e| e.to_string())
}

/// The numbers of rows that are read as f32.
///
/// # Errors
/// Numbers that are not row numbers, or of which f32 may not hold the last digit.
pub fn of_rows(rows: &mut dyn RowReader) -> Result<Array2<u32>, String> {
    let (n, k) = rows.shape();
    let mut values = Vec::new();
    rows.append(n, &mut values)?;
    let id = |(at, value): (usize, f32)| {
        let exact = value.fract() == 0.0 && (0.0..super::labels::EXACT).contains(&value);
        exact.then_some(value as u32).ok_or_else(|| {
            format!(
                "row {} holds {value}, which is not a row number below 2^24; write larger ones as .ivecs, .ibin or .npy",
                at / k.max(1)
            )
        })
    };
    let ids = values.into_iter().enumerate().map(id).collect::<Result<_, _>>()?;
    Array2::from_shape_vec((n, k), ids).map_err(|e| e.to_string())
}
