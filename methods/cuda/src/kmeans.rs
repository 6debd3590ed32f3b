//! Sums of distances, and the initial rows of k-means (`kernels/kmeans.cu`).

use crate::assign::{ROW_THREADS, ROWS_PER_BLOCK};
use crate::device::{Buffer, Launch, launch};
use crate::{CudaError, DeviceRows};

/// Values per block, and threads per block; the same as in the kernels.
const VALUES: usize = 1024;
const THREADS: u32 = 256;

/// Bytes of shared memory for the sum of a block, and for the choice of a row.
const ROOM: usize = 8 * THREADS as usize;
const CHOICE: usize = ROOM + 16;

/// Number of rows chosen between two calls of `go_on`.
const CHOSEN_AT_ONCE: usize = 64;

/// The sum of the first `count` values in f64; deterministic.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If the buffer has fewer values.
pub fn total(values: &Buffer<f32>, count: usize) -> Result<f64, CudaError> {
    assert!(count <= values.len(), "{count} of {} values", values.len());
    let blocks = count.div_ceil(VALUES);
    let totals = values.device().room::<f64>(blocks)?;
    if count > 0 {
        // SAFETY: the number of values was just asserted, and there is a total for each block.
        unsafe {
            launch!(values.device(), total_values, Launch::of(blocks, THREADS).shared(ROOM); values, count as u64, &totals)?
        };
    }
    Ok(totals.download()?.into_iter().sum())
}

/// Indices of the initial rows for k-means++. The first is `first`. For each of `points`, a fraction of 1, the next is
/// the row at that fraction of the cumulative squared distances of all rows to their nearest chosen row. Stops early if
/// all distances are 0. Calls `go_on` from time to time.
///
/// # Errors
/// A device failure; errors of `go_on`.
///
/// # Panics
/// If the index `first` is out of range.
pub fn spread_rows<E: From<CudaError>>(
    rows: DeviceRows<'_>,
    first: usize,
    points: &[f64],
    mut go_on: impl FnMut() -> Result<(), E>,
) -> Result<Vec<usize>, E> {
    assert!(first < rows.count(), "row {first} of {}", rows.count());
    let (device, n, dim) = (rows.buffer().device(), rows.count(), rows.dim());
    let blocks = n.div_ceil(VALUES);
    let (distances, totals) = (device.room::<f32>(n)?, device.room::<f64>(blocks)?);
    let mut chosen = device.filled::<u32>(points.len() + 1, 0xff)?;
    chosen.write(0, &[first as u32])?;
    let on_device = device.upload(points)?;
    let shift = dim.next_power_of_two().trailing_zeros().min(5);
    for c in 0..points.len() {
        if c.is_multiple_of(CHOSEN_AT_ONCE) {
            device.synchronize()?;
            go_on()?;
        }
        // SAFETY: there is a distance for each row, a total for each block, and one place more than there are points.
        unsafe {
            launch!(device, nearer_to_chosen, Launch::of(blocks, THREADS).shared(ROOM);
                rows.start(), rows.stride(), rows.n(), dim as u32, shift, &chosen, c as u32, &distances, &totals)?;
        }
        // SAFETY: as above.
        unsafe {
            launch!(device, choose_row, Launch::of(1, THREADS).shared(CHOICE);
                &totals, &distances, rows.n(), &on_device, c as u32, &chosen)?;
        }
    }
    Ok(chosen.download()?.into_iter().map(|row| row as usize).take_while(|&row| row < n).collect())
}

/// Copies the rows with the given indices, contiguously.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If an index is out of range.
pub fn rows_at(rows: DeviceRows<'_>, numbers: &[usize]) -> Result<Vec<f32>, CudaError> {
    let (device, n, dim) = (rows.buffer().device(), rows.count(), rows.dim());
    let checked = |&i: &usize| {
        assert!(i < n, "row {i} of {n}");
        i as u32
    };
    let on_device = device.upload(&numbers.iter().map(checked).collect::<Vec<u32>>())?;
    let out = device.room::<f32>(numbers.len() * dim)?;
    // SAFETY: the indices were just asserted, and the output has space for each row.
    unsafe {
        launch!(device, gather_rows, Launch::of(numbers.len().div_ceil(ROWS_PER_BLOCK), ROW_THREADS);
            rows.start(), rows.stride(), rows.n(), dim as u32, &on_device, numbers.len() as u32, &out)?;
    }
    out.download()
}
