//! Totals of distances, and rows that k-means starts from (`kernels/kmeans.cu`).

use crate::assign::{ROW_THREADS, ROWS_PER_BLOCK};
use crate::device::{Buffer, Launch, launch};
use crate::{CudaError, DeviceRows};

/// Values of one block, and its threads; as in the kernels.
const VALUES: usize = 1024;
const THREADS: u32 = 256;

/// Shared bytes in which a block adds up, and those of the choice of a row.
const ROOM: usize = 8 * THREADS as usize;
const CHOICE: usize = ROOM + 16;

/// Rows chosen between two looks at whether to go on.
const CHOSEN_AT_ONCE: usize = 64;

/// The sum of the first `count` values, in f64; the same every time.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// When there are not as many.
pub fn total(values: &Buffer<f32>, count: usize) -> Result<f64, CudaError> {
    assert!(count <= values.len(), "{count} of {} values", values.len());
    let blocks = count.div_ceil(VALUES);
    let totals = values.device().room::<f64>(blocks)?;
    if count > 0 {
        // SAFETY: the values are there, as just asserted, and each block has its total.
        unsafe {
            launch!(values.device(), total_values, Launch::of(blocks, THREADS).shared(ROOM); values, count as u64, &totals)?
        };
    }
    Ok(totals.download()?.into_iter().sum())
}

/// Numbers of rows for k-means++: `first`, then for each of `points`, shares of 1, the row into whose stretch that share of all squared
/// distances to the nearest row so far falls. Ends where no row is at a distance. `go_on` is asked from time to time.
///
/// # Errors
/// A device failure; what `go_on` says.
///
/// # Panics
/// When there is no row of number `first`.
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
        // SAFETY: each row has its distance, each block its total, and there is one place more than there are points.
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

/// Rows by their numbers, one after the other.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// When there is no such row.
pub fn rows_at(rows: DeviceRows<'_>, numbers: &[usize]) -> Result<Vec<f32>, CudaError> {
    let (device, n, dim) = (rows.buffer().device(), rows.count(), rows.dim());
    let checked = |&i: &usize| {
        assert!(i < n, "row {i} of {n}");
        i as u32
    };
    let on_device = device.upload(&numbers.iter().map(checked).collect::<Vec<u32>>())?;
    let out = device.room::<f32>(numbers.len() * dim)?;
    // SAFETY: there are such rows, as just asserted, and a place for each.
    unsafe {
        launch!(device, gather_rows, Launch::of(numbers.len().div_ceil(ROWS_PER_BLOCK), ROW_THREADS);
            rows.start(), rows.stride(), rows.n(), dim as u32, &on_device, numbers.len() as u32, &out)?;
    }
    out.download()
}
