//! The interface of a device, implemented by hardware ([`crate::nvidia`]) and by emulation on the host
//! ([`crate::emulator`]).

use crate::CudaError;
use std::ffi::c_void;

/// Properties of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name, e.g. `NVIDIA H200`.
    pub name: String,
    /// Compute capability, e.g. (9, 0).
    pub capability: (u32, u32),
    /// Number of multiprocessors.
    pub multiprocessors: u32,
    /// Maximum shared memory per block, in bytes.
    pub shared_bytes: u32,
    /// Size of the second-level cache, in bytes.
    pub cache_bytes: u64,
    /// Size of device memory, in bytes.
    pub memory_bytes: u64,
    /// Version of CUDA that the driver supports, e.g. 13.0.
    pub driver: String,
}

/// A point in the device's queue of work, for timing.
pub(crate) type Timestamp = u64;

/// One device with one queue of work. Addresses are device addresses; nothing here checks them.
pub(crate) trait DeviceDriver: Send + Sync {
    fn facts(&self) -> &Facts;

    /// Makes the device current for this thread.
    fn enter(&self) -> Result<(), CudaError>;

    /// Allocates memory, aligned to 256 bytes.
    fn allocate(&self, bytes: u64) -> Result<u64, CudaError>;

    fn free(&self, address: u64);

    /// Tells a memory checker, if there is one, that only the first `used` of `bytes` bytes are in use from now on.
    fn lend(&self, _address: u64, _used: u64, _bytes: u64) {}

    /// Free and total memory, in bytes.
    fn memory(&self) -> Result<(u64, u64), CudaError>;

    /// # Safety
    /// `address` must have space for `bytes`.
    unsafe fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError>;

    /// Waits for all earlier work.
    ///
    /// # Safety
    /// `address` must have as many bytes as `bytes`.
    unsafe fn download(&self, bytes: &mut [u8], address: u64) -> Result<(), CudaError>;

    /// # Safety
    /// Both addresses must have space for `bytes`.
    unsafe fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), CudaError>;

    /// # Safety
    /// `address` must have space for `bytes`.
    unsafe fn fill(&self, address: u64, byte: u8, bytes: u64) -> Result<(), CudaError>;

    /// # Safety
    /// `arguments` must point to values of the kernel's parameters, in order, and the memory that it reads and writes
    /// must be valid.
    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError>;

    fn synchronize(&self) -> Result<(), CudaError>;

    /// Marks the current end of the queue.
    fn mark(&self) -> Result<Timestamp, CudaError>;

    /// Seconds between two moments; waits until both have passed, and frees them.
    fn seconds_between(&self, start: Timestamp, end: Timestamp) -> Result<f64, CudaError>;
}
