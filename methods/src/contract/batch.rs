//! Parallel loops over a batch of rows and codes, for methods that work row by row.

use crate::backend::{Backend, CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom};
use crate::{MethodError, Quantizer, check_batch};
use ndarray::{Array2, ArrayBase, ArrayView2, ArrayViewMut2, Axis, Data, Ix2};
use rayon::prelude::*;
use std::borrow::Cow;

/// Rows per task: enough to outweigh the cost of a task, few enough to balance the load.
const ROWS: usize = 64;

/// Rows at a time that are copied because they do not lie one after the other.
const COPIED: usize = 1 << 14;

/// The values of rows one after the other; a copy only where they lie otherwise.
pub fn row_major<S: Data<Elem = f32>>(rows: &ArrayBase<S, Ix2>) -> Cow<'_, [f32]> {
    match rows.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(rows.iter().copied().collect()),
    }
}

/// Rows that a quantizer takes at a time: what it asks for, and what there is room for.
fn at_once<Q: Quantizer + ?Sized>(quantizer: &Q, n: usize) -> Result<usize, MethodError> {
    let bytes = 4 * quantizer.dim() + quantizer.code_size() + quantizer.bytes_per_row();
    Ok(quantizer.rows_at_once().min(quantizer.backend().rows_at_once(bytes)?).clamp(1, n.max(1)))
}

/// [`Quantizer::encode_into`], part by part.
pub(crate) fn encode_into<Q: Quantizer + ?Sized>(
    quantizer: &Q,
    rows: ArrayView2<'_, f32>,
    codes: &mut [u8],
) -> Result<(), MethodError> {
    let (size, backend) = (quantizer.code_size(), quantizer.backend());
    check_batch(quantizer.dim(), size, rows.dim(), codes.len())?;
    let mut at_once = at_once(quantizer, rows.nrows())?;
    if !rows.is_standard_layout() {
        at_once = at_once.min(COPIED);
    }
    for (rows, codes) in rows.axis_chunks_iter(Axis(0), at_once).zip(codes.chunks_mut(at_once * size)) {
        let rows = backend.upload(rows)?;
        backend.write_codes(codes, size, &mut |codes| quantizer.encode(&rows, codes))?;
    }
    Ok(())
}

/// [`Quantizer::decode_into`], part by part.
pub(crate) fn decode_into<Q: Quantizer + ?Sized>(
    quantizer: &Q,
    codes: &[u8],
    mut rows: ArrayViewMut2<'_, f32>,
) -> Result<(), MethodError> {
    let (size, dim, backend) = (quantizer.code_size(), quantizer.dim(), quantizer.backend());
    check_batch(dim, size, rows.dim(), codes.len())?;
    let mut at_once = at_once(quantizer, rows.nrows())?;
    let in_order = rows.is_standard_layout();
    if !in_order {
        at_once = at_once.min(COPIED);
    }
    for (mut rows, codes) in rows.axis_chunks_iter_mut(Axis(0), at_once).zip(codes.chunks(at_once * size)) {
        let codes = backend.upload_codes(codes, size)?;
        let decode = |values: &mut [f32]| {
            backend.write_rows(values, dim, &mut |rows: &mut MatrixRoom<'_>| quantizer.decode(&codes, rows))
        };
        match rows.as_slice_mut() {
            Some(values) => decode(values)?,
            None => {
                let mut copy = Array2::<f32>::zeros(rows.dim());
                if let Some(values) = copy.as_slice_mut() {
                    decode(values)?;
                }
                rows.assign(&copy);
            }
        }
    }
    Ok(())
}

/// Calls `encode(row, code, scratch)` for every row; `scratch` is made once per task. For methods that only the host computes: on another
/// backend rows are downloaded for it.
///
/// # Errors
/// A device failure.
pub fn encode_rows<S>(
    backend: &dyn Backend,
    rows: &DeviceMatrix<'_>,
    codes: &mut CodeRoom<'_>,
    scratch: impl Fn() -> S + Sync,
    encode: impl Fn(&[f32], &mut [u8], &mut S) + Sync,
) -> Result<(), MethodError> {
    let (rows, size) = (backend.download(rows)?, codes.size());
    backend.fill_codes(codes, &mut |codes| {
        encode_on_host(rows.view(), codes, size, &scratch, &encode);
        Ok(())
    })
}

pub(crate) fn encode_on_host<S>(
    rows: ArrayView2<'_, f32>,
    codes: &mut [u8],
    size: usize,
    scratch: impl Fn() -> S + Sync,
    encode: impl Fn(&[f32], &mut [u8], &mut S) + Sync,
) {
    codes.par_chunks_mut(ROWS * size).enumerate().for_each(|(task, codes)| {
        let mut state = scratch();
        let mut copy = Vec::new();
        for (i, code) in codes.chunks_exact_mut(size).enumerate() {
            let row = rows.row(task * ROWS + i);
            match row.as_slice() {
                Some(row) => encode(row, code, &mut state),
                None => {
                    copy.clear();
                    copy.extend(row.iter().copied());
                    encode(&copy, code, &mut state);
                }
            }
        }
    });
}

/// Calls `decode(code, row, scratch)` for every code, as [`encode_rows`] does.
///
/// # Errors
/// What `decode` reports; a device failure.
pub fn decode_rows<S>(
    backend: &dyn Backend,
    codes: &DeviceCodes<'_>,
    rows: &mut MatrixRoom<'_>,
    scratch: impl Fn() -> S + Sync,
    decode: impl Fn(&[u8], &mut [f32], &mut S) -> Result<(), MethodError> + Sync,
) -> Result<(), MethodError> {
    let (bytes, dim) = (backend.download_codes(codes)?, rows.ncols());
    backend.fill_rows(rows, &mut |rows| decode_on_host(&bytes, codes.size(), rows, dim, &scratch, &decode))
}

pub(crate) fn decode_on_host<S>(
    codes: &[u8],
    size: usize,
    rows: &mut [f32],
    dim: usize,
    scratch: impl Fn() -> S + Sync,
    decode: impl Fn(&[u8], &mut [f32], &mut S) -> Result<(), MethodError> + Sync,
) -> Result<(), MethodError> {
    rows.par_chunks_mut(ROWS * dim).zip(codes.par_chunks(ROWS * size)).try_for_each(|(rows, codes)| {
        let mut state = scratch();
        let mut each = rows.chunks_exact_mut(dim).zip(codes.chunks_exact(size));
        each.try_for_each(|(row, code)| decode(code, row, &mut state))
    })
}
