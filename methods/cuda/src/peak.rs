//! Measures the peak throughput of a device (`kernels/peak.cu`).

use crate::CudaError;
use crate::device::{Device, Launch, launch};

const THREADS: u32 = 256;

/// Blocks per multiprocessor: several times what runs at once, so that the last ones affect the time little.
const BLOCKS: usize = 32;

/// Operations per round: of a thread in f32, of a warp on tensor cores.
const FLOATS_PER_ROUND: f64 = 2.0 * 16.0;
const HALVES_PER_ROUND: f64 = 2.0 * 8.0 * (16 * 8 * 16) as f64;

/// Submits multiply-adds in f32 on registers only. Returns the number of operations, two per multiply-add.
///
/// # Errors
/// A device failure.
pub fn peak_floats(device: &Device, rounds: u32) -> Result<f64, CudaError> {
    let blocks = BLOCKS * device.facts().multiprocessors as usize;
    let threads = blocks * THREADS as usize;
    let sums = device.room::<f32>(threads)?;
    // SAFETY: there is a sum for each thread.
    unsafe { launch!(device, peak_floats, Launch::of(blocks, THREADS); rounds, 0.999f32, &sums)? };
    Ok(threads as f64 * f64::from(rounds) * FLOATS_PER_ROUND)
}

/// The same on tensor cores: products of f16 with sums in f32, by the instruction that assignment uses (`mma.sync`).
/// Devices from compute capability 9.0 on reach up to 1.6 times this throughput with newer instructions, which are not
/// used here.
///
/// # Errors
/// A device failure.
pub fn peak_halves(device: &Device, rounds: u32) -> Result<f64, CudaError> {
    let blocks = BLOCKS * device.facts().multiprocessors as usize;
    let threads = blocks * THREADS as usize;
    let sums = device.room::<f32>(threads)?;
    // SAFETY: there is a sum for each thread.
    unsafe { launch!(device, peak_halves, Launch::of(blocks, THREADS); rounds, &sums)? };
    Ok((threads / 32) as f64 * f64::from(rounds) * HALVES_PER_ROUND)
}
