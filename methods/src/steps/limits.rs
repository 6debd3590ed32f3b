//! The peaks of the device, measured in the same run. All other speeds are given as shares of these.

use super::StepContext;
use cuda::{CudaError, peak_floats, peak_halves};

/// Work per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DevicePeaks {
    /// Bytes read and written by a copy from memory to memory.
    pub copy: f64,
    /// Operations in f32, two per multiply-add.
    pub floats: f64,
    /// Operations of tensor cores on f16 with sums in f32, by the instruction that our kernels use.
    pub halves: f64,
}

/// The work that a step requires, by limiting resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepWork {
    /// Bytes that must pass through memory.
    Bytes(f64),
    /// Operations in f32.
    Floats(f64),
    /// Operations of tensor cores.
    Halves(f64),
}

impl StepWork {
    /// Seconds that it takes at the limit.
    pub fn seconds(self, limits: DevicePeaks) -> f64 {
        match self {
            StepWork::Bytes(bytes) => bytes / limits.copy,
            StepWork::Floats(operations) => operations / limits.floats,
            StepWork::Halves(operations) => operations / limits.halves,
        }
    }

    /// The name of its limit.
    pub fn bound(self) -> &'static str {
        match self {
            StepWork::Bytes(_) => "copy",
            StepWork::Floats(_) => "f32",
            StepWork::Halves(_) => "tensor cores",
        }
    }
}

/// Bytes copied and rounds of operations: tens of milliseconds on a large device.
const COPIED: f64 = (4u64 << 30) as f64;
const FLOAT_ROUNDS: f64 = 40_000.0;
const HALF_ROUNDS: f64 = 10_000.0;

/// Measures all three peaks, as the best of several repeats, which is the least disturbed one.
///
/// # Errors
/// A device failure.
pub fn measure(setting: &StepContext<'_>) -> Result<DevicePeaks, CudaError> {
    let device = setting.device;
    let spare = device.spare_bytes()? as f64 / 4.0;
    let len = ((COPIED * setting.shrink()).min(spare) as usize / 4).max(1 << 10);
    let (from, mut to) = (device.filled::<f32>(len, 0)?, device.filled::<f32>(len, 0)?);
    let best = |seconds: Vec<f64>| seconds.into_iter().fold(f64::INFINITY, f64::min);
    let copy = setting.repeat(|| to.copy_from(0, &from))?.0;
    let rounds = |rounds: f64| (rounds * setting.shrink()).max(1.0) as u32;
    let (floats, float_operations) = setting.repeat(|| peak_floats(device, rounds(FLOAT_ROUNDS)))?;
    let (halves, half_operations) = setting.repeat(|| peak_halves(device, rounds(HALF_ROUNDS)))?;
    Ok(DevicePeaks {
        copy: 8.0 * len as f64 / best(copy),
        floats: float_operations / best(floats),
        halves: half_operations / best(halves),
    })
}
