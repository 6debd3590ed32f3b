//! What can go wrong with a device, in words that say what would be right.

use thiserror::Error;

/// A failure of a device, or the lack of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CudaError {
    /// Something that is needed is not on this machine, or too old.
    #[error("{reason}")]
    Missing {
        /// What is not there.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The device's memory is full.
    #[error(
        "the device is out of memory: {wanted} bytes more were needed, {free} of {total} are free; use fewer rows at a time or a \
         smaller codebook"
    )]
    OutOfMemory {
        /// Bytes asked for.
        wanted: u64,
        /// Bytes the device has left.
        free: u64,
        /// Bytes of the device.
        total: u64,
    },
    /// A call of the driver failed. After a fault inside a kernel every later call of this process fails too.
    #[error("{call} failed on the device: {message}")]
    Driver {
        /// What was being done.
        call: String,
        /// What the driver says.
        message: String,
    },
    /// A kernel does not compile for this device, which is a mistake of this version.
    #[error("the kernels do not compile for {architecture}: {log}")]
    Compile {
        /// The architecture asked for.
        architecture: String,
        /// What the compiler says.
        log: String,
    },
}

impl CudaError {
    pub(crate) fn driver(call: impl Into<String>, message: impl ToString) -> CudaError {
        CudaError::Driver { call: call.into(), message: message.to_string() }
    }

    /// What to do about it, where something can be done beforehand.
    pub fn help(&self) -> &str {
        match self {
            CudaError::Missing { help, .. } => help,
            _ => "use `device: cpu`, or `device: auto` for the best that is present",
        }
    }
}
