//! Random values generated on the device (`kernels/random.cu`), for measurements on more data than is worth uploading.

use crate::CudaError;
use crate::device::{Buffer, Launch, launch};

const THREADS: u32 = 256;

/// √3 / 2^16.
const SCALE: f32 = 2.642_899_8e-5;

/// Fills a buffer with values of mean 0 and variance 1 and a nearly normal distribution. Value `i` is [`random_float`]
/// of the seed and `i`.
///
/// # Errors
/// A device failure.
pub fn fill_random(values: &mut Buffer<f32>, seed: u64) -> Result<(), CudaError> {
    let (device, n) = (values.device(), values.len());
    // SAFETY: it writes `n` values.
    unsafe { launch!(device, random_floats, grid(values, n); &*values, n as u64, seed) }
}

/// Fills a buffer with random bytes: each group of eight has the bytes of [`random_bits`] of the seed and the index of
/// the group, lowest byte first.
///
/// # Errors
/// A device failure.
pub fn fill_random_bytes(bytes: &mut Buffer<u8>, seed: u64) -> Result<(), CudaError> {
    let (device, n) = (bytes.device(), bytes.len());
    // SAFETY: it writes `n` bytes; buffers are aligned to eight bytes.
    unsafe { launch!(device, random_bytes, grid(bytes, n.div_ceil(8)); &*bytes, n as u64, seed) }
}

/// The values are shared by as many blocks as the device runs at a time.
fn grid<T: crate::Value>(buffer: &Buffer<T>, n: usize) -> Launch {
    let resident = 8 * buffer.device().facts().multiprocessors as usize;
    Launch::of(n.div_ceil(THREADS as usize).min(resident), THREADS)
}

/// The 64 random bits at index `i`: SplitMix64 (Steele, Lea and Flood 2014).
pub fn random_bits(seed: u64, i: u64) -> u64 {
    let state = seed.wrapping_add(i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Value `i` of [`fill_random`], bit-identical.
pub fn random_float(seed: u64, i: u64) -> f32 {
    let bits = random_bits(seed, i);
    let sum: i32 = (0..4).map(|part| (bits >> (16 * part) & 0xffff) as i32).sum();
    (sum - 2 * 0xffff) as f32 * SCALE
}
