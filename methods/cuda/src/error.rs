//! Errors of devices, with advice on how to fix them.

use thiserror::Error;

/// A device failed or is missing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CudaError {
    /// A required component is missing on this machine, or too old.
    #[error("{reason}")]
    Missing {
        /// The missing component.
        reason: String,
        /// How to fix it.
        help: String,
    },
    /// Device memory is full.
    #[error(
        "the device is out of memory: {wanted} bytes more were needed, {free} of {total} are free; use fewer rows at a time or a \
         smaller codebook"
    )]
    OutOfMemory {
        /// Number of bytes requested.
        wanted: u64,
        /// Number of free bytes.
        free: u64,
        /// Total number of bytes.
        total: u64,
    },
    /// A driver call failed. After a fault inside a kernel, all later calls of this process fail too.
    #[error("{call} failed on the device: {message}")]
    Driver {
        /// The operation.
        call: String,
        /// Message of the driver.
        message: String,
    },
    /// A kernel does not compile for this device, which is a bug in this version.
    #[error("the kernels do not compile for {architecture}: {log}")]
    Compile {
        /// The target architecture.
        architecture: String,
        /// Output of the compiler.
        log: String,
    },
}

impl CudaError {
    pub(crate) fn driver(call: impl Into<String>, message: impl ToString) -> CudaError {
        CudaError::Driver { call: call.into(), message: message.to_string() }
    }

    /// Advice on how to fix it or avoid it.
    pub fn help(&self) -> &str {
        match self {
            CudaError::Missing { help, .. } => help,
            _ => "use `device: cpu`, or `device: auto` for the best that is present",
        }
    }
}
