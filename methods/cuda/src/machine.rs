//! What a device must be able to do, whether it is one ([`crate::nvidia`]) or is played on the host ([`crate::emulator`]).

use crate::CudaError;
use std::ffi::c_void;

/// What is known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name, e.g. `NVIDIA H200`.
    pub name: String,
    /// Compute capability, e.g. (9, 0).
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of shared memory that one block can have.
    pub shared_bytes: u32,
    /// Bytes of the second-level cache.
    pub cache_bytes: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Version of CUDA that the driver speaks, e.g. 13.0.
    pub driver: String,
}

/// A moment of a device's work, to measure times between.
pub(crate) type Moment = u64;

/// One device with one queue of work. Addresses are the device's own; nothing here checks them.
pub(crate) trait Machine: Send + Sync {
    fn facts(&self) -> &Facts;

    /// Makes the device the one that this thread works with.
    fn enter(&self) -> Result<(), CudaError>;

    /// Memory at a multiple of 256 bytes.
    fn allocate(&self, bytes: u64) -> Result<u64, CudaError>;

    fn free(&self, address: u64);

    /// Tells that of memory of so many bytes the first are in use from now on, where somebody watches.
    fn lend(&self, _address: u64, _used: u64, _bytes: u64) {}

    /// Free and all bytes.
    fn memory(&self) -> Result<(u64, u64), CudaError>;

    /// # Safety
    /// `address` has room for `bytes`.
    unsafe fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError>;

    /// Waits for all work before it.
    ///
    /// # Safety
    /// As many bytes are there.
    unsafe fn download(&self, bytes: &mut [u8], address: u64) -> Result<(), CudaError>;

    /// # Safety
    /// Both have room for `bytes`.
    unsafe fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), CudaError>;

    /// # Safety
    /// `address` has room for `bytes`.
    unsafe fn fill(&self, address: u64, byte: u8, bytes: u64) -> Result<(), CudaError>;

    /// # Safety
    /// `arguments` point to values of the kernel's parameters, in order, and what it reads and writes is there.
    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError>;

    fn synchronize(&self) -> Result<(), CudaError>;

    /// Marks this moment of the queue.
    fn mark(&self) -> Result<Moment, CudaError>;

    /// Seconds between two moments, once both have passed; they are given back.
    fn seconds_between(&self, start: Moment, end: Moment) -> Result<f64, CudaError>;
}
