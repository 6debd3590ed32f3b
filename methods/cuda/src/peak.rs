//! What a device can do at most (`kernels/peak.cu`).

use crate::CudaError;
use crate::device::{Device, Launch, launch};

const THREADS: u32 = 256;

/// Blocks per multiprocessor: several times what runs at once, so that the end of the last ones weighs little.
const BLOCKS: usize = 32;

/// Operations of a round: of a thread in f32, of a warp on tensor cores.
const FLOATS_PER_ROUND: f64 = 2.0 * 16.0;
const HALVES_PER_ROUND: f64 = 2.0 * 8.0 * (16 * 8 * 16) as f64;

/// Hands over multiply-adds in f32 on registers alone, and returns how many operations they are, two each.
///
/// # Errors
/// A device failure.
pub fn peak_floats(device: &Device, rounds: u32) -> Result<f64, CudaError> {
    let blocks = BLOCKS * device.facts().multiprocessors as usize;
    let threads = blocks * THREADS as usize;
    let sums = device.room::<f32>(threads)?;
    // SAFETY: each thread has its sum.
    unsafe { launch!(device, peak_floats, Launch::of(blocks, THREADS); rounds, 0.999f32, &sums)? };
    Ok(threads as f64 * f64::from(rounds) * FLOATS_PER_ROUND)
}

/// The same on tensor cores: products of f16 with sums in f32, by the instruction that assignment uses (`mma.sync`). Devices from compute
/// capability 9.0 on do up to 1.6 times as much by instructions of their own, which are not used here.
///
/// # Errors
/// A device failure.
pub fn peak_halves(device: &Device, rounds: u32) -> Result<f64, CudaError> {
    let blocks = BLOCKS * device.facts().multiprocessors as usize;
    let threads = blocks * THREADS as usize;
    let sums = device.room::<f32>(threads)?;
    // SAFETY: each thread has its sum.
    unsafe { launch!(device, peak_halves, Launch::of(blocks, THREADS); rounds, &sums)? };
    Ok((threads / 32) as f64 * f64::from(rounds) * HALVES_PER_ROUND)
}
