//! Errors of backends: the operation that failed, the device, and the driver's message.

use thiserror::Error;

/// A device that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// What is missing.
    pub reason: String,
    /// How to fix it.
    pub help: String,
}

/// A failed operation of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{operation} failed on {device}: {reason}")]
pub struct BackendError {
    /// The operation, e.g. `upload`.
    pub operation: &'static str,
    /// The device, e.g. `cuda:0 (NVIDIA H200)`.
    pub device: String,
    /// The driver's message.
    pub reason: String,
}
