//! Parallel loops over a batch of rows and codes, for methods that work row by row.

use crate::{MethodError, check_batch};
use ndarray::{ArrayBase, ArrayView2, ArrayViewMut2, Axis, Data, Ix2};
use rayon::prelude::*;
use std::borrow::Cow;

/// Rows per task: enough to outweigh the cost of a task, few enough to balance the load.
const ROWS: usize = 64;

/// The values in row-major order; copied only if they are stored in another order.
pub fn row_major<S: Data<Elem = f32>>(rows: &ArrayBase<S, Ix2>) -> Cow<'_, [f32]> {
    match rows.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(rows.iter().copied().collect()),
    }
}

/// Calls `encode(row, code, scratch)` for every row; `scratch` is made once per task.
///
/// # Errors
/// Mismatched shapes.
pub fn encode_rows<S>(
    dim: usize,
    code_size: usize,
    rows: ArrayView2<'_, f32>,
    codes: &mut [u8],
    scratch: impl Fn() -> S + Sync,
    encode: impl Fn(&[f32], &mut [u8], &mut S) + Sync,
) -> Result<(), MethodError> {
    check_batch(dim, code_size, rows.dim(), codes.len())?;
    codes.par_chunks_mut(ROWS * code_size).enumerate().for_each(|(task, codes)| {
        let mut state = scratch();
        let mut copy = vec![0f32; dim];
        for (i, code) in codes.chunks_exact_mut(code_size).enumerate() {
            let row = rows.row(task * ROWS + i);
            match row.as_slice() {
                Some(row) => encode(row, code, &mut state),
                None => {
                    copy.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
                    encode(&copy, code, &mut state);
                }
            }
        }
    });
    Ok(())
}

/// Calls `decode(code, row, scratch)` for every code.
///
/// # Errors
/// Mismatched shapes, and errors of `decode`.
pub fn decode_rows<S>(
    dim: usize,
    code_size: usize,
    codes: &[u8],
    mut rows: ArrayViewMut2<'_, f32>,
    scratch: impl Fn() -> S + Sync,
    decode: impl Fn(&[u8], &mut [f32], &mut S) -> Result<(), MethodError> + Sync,
) -> Result<(), MethodError> {
    check_batch(dim, code_size, rows.dim(), codes.len())?;
    rows.axis_chunks_iter_mut(Axis(0), ROWS).into_par_iter().zip(codes.par_chunks(ROWS * code_size)).try_for_each(
        |(mut rows, codes)| {
            let mut state = scratch();
            let mut copy = vec![0f32; dim];
            for (mut row, code) in rows.outer_iter_mut().zip(codes.chunks_exact(code_size)) {
                match row.as_slice_mut() {
                    Some(row) => decode(code, row, &mut state)?,
                    None => {
                        decode(code, &mut copy, &mut state)?;
                        row.iter_mut().zip(&copy).for_each(|(to, from)| *to = *from);
                    }
                }
            }
            Ok(())
        },
    )
}
