//! Sums of the rows in each cell (`kernels/cells.cu`).

use crate::device::{Buffer, Launch, launch};
use crate::{CudaError, DeviceRows};

/// Bytes of shared memory for partial sums.
const SHARED_BYTES: usize = 96 << 10;

const THREADS: u32 = 256;

/// Sums and counts of the rows in each cell, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct CountedSums {
    /// `k×dim` sums.
    pub sums: Vec<f64>,
    /// Number of rows per cell.
    pub counts: Vec<u32>,
}

/// Sums the rows in each of `k` cells. The result is deterministic, because sums are computed in integers.
///
/// # Errors
/// A device failure.
///
/// If there is not one cell index per row.
/// When there is not one number per row.
pub fn cell_sums(rows: DeviceRows<'_>, nearest: &Buffer<u32>, k: usize) -> Result<CountedSums, CudaError> {
    assert!(nearest.len() >= rows.count() && nearest.device().is(rows.buffer().device()), "a cell for each row");
    let (device, dim) = (rows.buffer().device(), rows.dim());
    let facts = device.facts();
    let resident = facts.multiprocessors as usize * 8;
    let shift = dim.next_power_of_two().trailing_zeros().min(5);
    let blocks = (rows.count() << shift).div_ceil(THREADS as usize).clamp(1, resident);
    let largest = device.filled::<u32>(1, 0)?;
    // SAFETY: it only reads the rows.
    unsafe {
        launch!(device, largest_magnitude, Launch::of(blocks, THREADS);
            rows.start(), rows.stride(), rows.n(), dim as u32, shift, &largest)?;
    }
    let largest = f32::from_bits(largest.download()?[0]);
    let scale = step_scale(largest, rows.count());
    let shared = k * dim * 8 + k.next_multiple_of(2) * 4;
    let in_shared = shared <= SHARED_BYTES.min(facts.shared_bytes as usize);
    let (sums, counts) = (device.filled::<u64>(k * dim, 0)?, device.filled::<u32>(k, 0)?);
    let launch = Launch::of(blocks, THREADS).shared(if in_shared { shared } else { 0 });
    // SAFETY: there is a cell index for each row, and indices out of range are skipped.
    unsafe {
        launch!(device, sum_cells, launch;
            rows.start(), rows.stride(), rows.n(), dim as u32, shift, nearest, scale.to_bits(), k as u32, u32::from(in_shared),
            &sums, &counts)?;
    }
    let sums = sums.download()?.into_iter().map(|sum| sum as i64 as f64 / scale).collect();
    Ok(CountedSums { sums, counts: counts.download()? })
}

/// The power of two that scales values to integers such that the sum of `count` of them cannot overflow 63 bits.
fn step_scale(largest: f32, count: usize) -> f64 {
    if !(largest > 0.0 && largest.is_finite()) {
        return 1.0;
    }
    let value_bits = f64::from(largest).log2().floor() as i32 + 1;
    let count_bits = (count.max(1) as f64).log2().ceil() as i32;
    f64::from(61 - value_bits - count_bits).exp2()
}
