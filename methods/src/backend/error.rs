//! What can go wrong with the place to compute: which operation failed, on which device, and what it said.

use thiserror::Error;

/// A device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// What is missing.
    pub reason: String,
    /// What to do.
    pub help: String,
}

/// An operation of a backend failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{operation} failed on {device}: {reason}")]
pub struct BackendError {
    /// The operation, e.g. `upload`.
    pub operation: &'static str,
    /// The device, e.g. `cuda:0 (NVIDIA H200)`.
    pub device: String,
    /// What the driver says.
    pub reason: String,
}
