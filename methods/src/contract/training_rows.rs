//! The rows that a method is trained on: checked once, and copied at most once to where the method needs them.

use crate::backend::{Backend, DeviceMatrix, host_view, prepared};
use crate::{Context, MethodError};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Rows to train on, on the host, on a backend, or on both. There is at least one, all are finite, and f32 can hold
/// their squared distances.
pub struct TrainingRows<'a> {
    backend: &'a dyn Backend,
    shape: (usize, usize),
    host: Option<ArrayView2<'a, f32>>,
    on_backend: OnceLock<DeviceMatrix<'a>>,
    downloaded: OnceLock<Array2<f32>>,
}

impl<'a> TrainingRows<'a> {
    /// Checks rows on the host.
    ///
    /// # Errors
    /// No rows, the first value that is not finite, the bound that the rows exceed, or cancellation.
    pub fn on_host(rows: ArrayView2<'a, f32>, cx: &'a Context) -> Result<TrainingRows<'a>, MethodError> {
        check_train(rows, cx)?;
        let (backend, shape) = (&*cx.backend, rows.dim());
        let (on_backend, downloaded) = (OnceLock::new(), OnceLock::new());
        Ok(TrainingRows { backend, shape, host: Some(rows), on_backend, downloaded })
    }

    /// Checks rows that the backend of `cx` holds. If there are many, all of them are downloaded only if their norms or a
    /// sample of them do not prove that they are right.
    ///
    /// # Errors
    /// As [`TrainingRows::on_host`]; a backend failure.
    pub fn on_backend(rows: DeviceMatrix<'a>, cx: &'a Context) -> Result<TrainingRows<'a>, MethodError> {
        let (backend, shape) = (&*cx.backend, (rows.nrows(), rows.ncols()));
        let downloaded = OnceLock::new();
        if rows.host_values().is_some() {
            check_train(host_view(&rows), cx)?;
        } else {
            let chosen = cpu::rows_of_range_check(rows.nrows());
            // Where the check looks at the differences of all rows, one copy of them serves it and the method.
            if chosen.len() == rows.nrows() || !is_in_range(&rows, &chosen, cx)? {
                let host = prepared(&downloaded, || backend.download(&rows).map(|rows| rows.into_owned()))?;
                check_train(host.view(), cx)?;
            }
        }
        Ok(TrainingRows { backend, shape, host: None, on_backend: rows.into(), downloaded })
    }

    /// Number of rows.
    pub fn nrows(&self) -> usize {
        self.shape.0
    }

    /// Components per row.
    pub fn ncols(&self) -> usize {
        self.shape.1
    }

    /// The rows on the host.
    ///
    /// # Errors
    /// A backend failure.
    pub fn host(&self) -> Result<ArrayView2<'_, f32>, MethodError> {
        if let Some(host) = self.host {
            return Ok(host);
        }
        let matrix = self.matrix()?;
        if matrix.host_values().is_some() {
            return Ok(host_view(matrix));
        }
        let download = || self.backend.download(matrix).map(|rows| rows.into_owned());
        prepared(&self.downloaded, download).map(|rows| rows.view())
    }

    /// The rows on the backend.
    ///
    /// # Errors
    /// A backend failure.
    pub fn matrix(&self) -> Result<&DeviceMatrix<'a>, MethodError> {
        prepared(&self.on_backend, || self.backend.upload(self.host.ok_or(MethodError::NoRows)?))
    }
}

/// Whether rows on a device are certainly finite and within the range of f32. Decided by their squared norms, which are
/// their squared distances to a codeword at 0, and by the `chosen` rows: only these and one value per row are copied.
fn is_in_range(rows: &DeviceMatrix<'_>, chosen: &[usize], cx: &Context) -> Result<bool, MethodError> {
    let dim = rows.ncols();
    if dim == 0 {
        return Ok(false);
    }
    cx.cancel.check()?;
    let norms = cx.backend.assign(rows, Array2::zeros((1, dim)).view())?.squared_distance;
    if norms.iter().any(|norm| !norm.is_finite()) {
        return Ok(false);
    }
    let largest = norms.iter().copied().fold(0f32, f32::max);
    let some = cx.backend.rows_at(rows, chosen)?;
    Ok(cpu::check_range(chosen.len(), dim, largest.sqrt(), |i, j| some[(i, j)]).is_ok())
}

/// The check of training rows: there are rows, they are finite, f32 can hold their squared distances, and no stop was
/// requested.
///
/// # Errors
/// Names the first wrong row and column, or the bound that the rows exceed.
pub(crate) fn check_train(train: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError> {
    cx.cancel.check()?;
    if train.nrows() == 0 || train.ncols() == 0 {
        return Err(MethodError::NoRows);
    }
    let magnitude = largest_magnitude(train);
    if !magnitude.is_finite()
        && let Some(((row, column), &value)) = train.indexed_iter().find(|(_, v)| !v.is_finite())
    {
        return Err(MethodError::NonFinite { row, column, value });
    }
    cpu::check_range(train.nrows(), train.ncols(), magnitude, |i, j| train[(i, j)]).map_err(MethodError::Range)
}

/// Largest `|v|` of all values; NaN if a value is NaN. Values are compared as bits, which have the same order as
/// magnitudes, and which the compiler vectorizes.
fn largest_magnitude(rows: ArrayView2<'_, f32>) -> f32 {
    let of = |values: &[f32]| values.iter().fold(0u32, |m, v| m.max(v.to_bits() & 0x7fff_ffff));
    let largest = match rows.as_slice() {
        Some(values) => values.par_chunks(1 << 16).map(of).max().unwrap_or(0),
        None => rows.iter().fold(0u32, |m, v| m.max(v.to_bits() & 0x7fff_ffff)),
    };
    f32::from_bits(largest)
}
