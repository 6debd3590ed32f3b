//! What a step gives: its times, or why it has none.

use super::StepWork;
use cuda::CudaError;

/// Times of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing {
    /// What a repeat works on, as words that follow the number of vectors: `×128, K=4096`.
    pub size: String,
    /// How many queries are asked, where that is not among these words.
    pub queries: Option<usize>,
    /// Vectors or codes of a repeat.
    pub n: usize,
    /// Components, or bytes of a code.
    pub dim: usize,
    /// Codewords of a codebook, or queries.
    pub k: usize,
    /// Seconds by the device's clock, one per repeat.
    pub seconds: Vec<f64>,
    /// Work that cannot overlap, as a lower bound.
    pub work: Vec<StepWork>,
    /// Bytes of the input. Inputs smaller than the cache say little.
    pub input_bytes: f64,
    /// Further transfers between host and device: direction, bytes, seconds.
    pub transfers: Vec<(&'static str, f64, f64)>,
    /// Other values.
    pub notes: Vec<(Note, f64)>,
}

/// What a step measures beside its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Share of rows that a first pass over fewer bits left open.
    OpenShare,
    /// Share of rows that were searched over all codewords in f32.
    SearchedShare,
    /// Seconds that the processor takes for the same work.
    CpuSeconds,
    /// How many times as fast the device is.
    CpuSpeedRatio,
    /// Distortion on the device over that on the processor, less 1.
    MseExcess,
    /// Most bytes of the device's memory in use at a time.
    PeakDeviceBytes,
}

/// Why a step has no time.
#[derive(Clone, Debug, PartialEq)]
pub enum StepFailure {
    /// The device failed.
    Device(CudaError),
    /// An answer at full size is wrong.
    Wrong(String),
}

impl From<CudaError> for StepFailure {
    fn from(error: CudaError) -> StepFailure {
        StepFailure::Device(error)
    }
}

impl std::fmt::Display for StepFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StepFailure::Device(error @ CudaError::OutOfMemory { .. }) => {
                write!(f, "{error} (`--scale` makes all sizes smaller)")
            }
            StepFailure::Device(error) => write!(f, "{error}"),
            StepFailure::Wrong(reason) => write!(f, "wrong at this size: {reason}"),
        }
    }
}
