//! The interface of the host code to a device: typed memory that is freed on drop, launches with typed arguments,
//! timing.

use crate::driver::{DeviceDriver, Facts};
use crate::emulator::Emulator;
use crate::nvidia::Nvidia;
use crate::{CudaError, Toolkit};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// Allocations are multiples of this many bytes.
const GRAIN: u64 = 512;

/// Bytes kept free when work is split: the driver and other programs need some memory.
const RESERVE_SHARE: f64 = 0.1;

/// An open device. Clones refer to the same device. Work runs in the order of submission.
#[derive(Clone)]
pub struct Device {
    shared: Arc<Shared>,
}

struct Shared {
    driver: Box<dyn DeviceDriver>,
    memory: Mutex<Memory>,
    traffic: Mutex<Traffic>,
}

/// Counts of transfers between the host and a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of copies from the host to the device.
    pub uploads: u64,
    /// Bytes of these copies.
    pub uploaded_bytes: u64,
    /// Number of copies from the device to the host.
    pub downloads: u64,
    /// Bytes of these copies.
    pub downloaded_bytes: u64,
}

impl Traffic {
    /// The counts since `earlier`.
    pub fn since(self, earlier: Traffic) -> Traffic {
        Traffic {
            uploads: self.uploads - earlier.uploads,
            uploaded_bytes: self.uploaded_bytes - earlier.uploaded_bytes,
            downloads: self.downloads - earlier.downloads,
            downloaded_bytes: self.downloaded_bytes - earlier.downloaded_bytes,
        }
    }
}

/// Allocated memory: in use, or cached for the next allocation of the same size, since a driver allocation is slow and
/// stops the device.
#[derive(Default)]
struct Memory {
    kept: BTreeMap<u64, Vec<u64>>,
    kept_bytes: u64,
    used_bytes: u64,
    peak_bytes: u64,
}

/// Types of values that device memory can hold.
pub trait Value: Copy + Send + Sync + 'static + sealed::Plain {}

mod sealed {
    /// Any bytes are a valid value, and the type has no padding.
    pub trait Plain {}
}

macro_rules! values {
    ($($t:ty),*) => { $(impl sealed::Plain for $t {} impl Value for $t {})* };
}
values!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

fn bytes_of<T: Value>(values: &[T]) -> &[u8] {
    // SAFETY: plain values have no padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_of_mut<T: Value>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: plain values have no padding, and any bytes are a valid value.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

impl Device {
    /// Opens the device with this index among those that `CUDA_VISIBLE_DEVICES` exposes. Compiles the kernels for it
    /// unless they are in the user's cache.
    ///
    /// # Errors
    /// What is missing: the driver, a device, or the compiler.
    pub fn open(ordinal: u32, toolkit: &Toolkit) -> Result<Device, CudaError> {
        Ok(Device::over(Box::new(Nvidia::open(ordinal, toolkit)?)))
    }

    /// A device emulated on the host by a library from [`crate::emulator::build`], with this much memory; for tests.
    ///
    /// # Errors
    /// A library that cannot be loaded.
    pub fn emulated(library: &Path, memory_bytes: u64) -> Result<Device, CudaError> {
        Ok(Device::over(Box::new(Emulator::open(library, memory_bytes)?)))
    }

    fn over(driver: Box<dyn DeviceDriver>) -> Device {
        Device { shared: Arc::new(Shared { driver, memory: Mutex::default(), traffic: Mutex::default() }) }
    }

    fn driver(&self) -> Result<&dyn DeviceDriver, CudaError> {
        self.shared.driver.enter()?;
        Ok(&*self.shared.driver)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    /// Properties of the device.
    pub fn facts(&self) -> &Facts {
        self.shared.driver.facts()
    }

    /// Whether both are the same open device: only then does work on the buffers of both run in order.
    pub fn is(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Allocates `len` values, uninitialized.
    ///
    /// # Errors
    /// Out of memory.
    pub fn room<T: Value>(&self, len: usize) -> Result<Buffer<T>, CudaError> {
        let bytes = (len as u64 * size_of::<T>() as u64).max(1).next_multiple_of(GRAIN);
        let driver = self.driver()?;
        let mut memory = self.memory();
        let kept = memory.kept.get_mut(&bytes).and_then(Vec::pop);
        let address = match kept {
            Some(address) => {
                memory.kept_bytes -= bytes;
                address
            }
            None => match driver.allocate(bytes) {
                Err(CudaError::OutOfMemory { .. }) if memory.kept_bytes > 0 => {
                    memory.give_back(driver);
                    driver.allocate(bytes)?
                }
                other => other?,
            },
        };
        memory.used_bytes += bytes;
        memory.peak_bytes = memory.peak_bytes.max(memory.used_bytes);
        drop(memory);
        driver.lend(address, (len * size_of::<T>()) as u64, bytes);
        Ok(Buffer { device: self.clone(), address, len, bytes, values: PhantomData })
    }

    /// Copies `values` to the device.
    ///
    /// # Errors
    /// Out of memory.
    pub fn upload<T: Value>(&self, values: &[T]) -> Result<Buffer<T>, CudaError> {
        let mut buffer = self.room(values.len())?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    /// Allocates `len` values and sets all bytes to `byte`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn filled<T: Value>(&self, len: usize, byte: u8) -> Result<Buffer<T>, CudaError> {
        let buffer = self.room(len)?;
        buffer.fill(byte)?;
        Ok(buffer)
    }

    /// Bytes that one piece of work may use, from free and cached memory.
    ///
    /// # Errors
    /// A device failure.
    pub fn spare_bytes(&self) -> Result<u64, CudaError> {
        let (free, total) = self.driver()?.memory()?;
        let kept = self.memory().kept_bytes;
        Ok((free + kept).saturating_sub((total as f64 * RESERVE_SHARE) as u64))
    }

    /// Peak memory in use, in bytes, since the last [`Device::forget_peak`].
    pub fn peak_bytes(&self) -> u64 {
        self.memory().peak_bytes
    }

    /// Transfers since the device was opened.
    pub fn traffic(&self) -> Traffic {
        *self.counted()
    }

    fn counted(&self) -> MutexGuard<'_, Traffic> {
        self.shared.traffic.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    /// Resets the peak to the memory in use now.
    pub fn forget_peak(&self) {
        let mut memory = self.memory();
        memory.peak_bytes = memory.used_bytes;
    }

    /// Waits until all submitted work has finished.
    ///
    /// # Errors
    /// An error of that work.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.driver()?.synchronize()
    }

    /// Returns the result of `work` and the seconds that the device spent on the work it submitted.
    ///
    /// # Errors
    /// Errors of `work`; a device failure.
    pub fn timed<R>(&self, work: impl FnOnce() -> Result<R, CudaError>) -> Result<(R, f64), CudaError> {
        let start = self.driver()?.mark()?;
        let done = work()?;
        let driver = self.driver()?;
        let end = driver.mark()?;
        Ok((done, driver.seconds_between(start, end)?))
    }

    /// Submits a kernel.
    ///
    /// # Safety
    /// The arguments must match the kernel's parameters in order and type, and the memory that it reads and writes
    /// through them must be valid.
    pub(crate) unsafe fn launch(&self, kernel: &str, launch: Launch, arguments: &[Argument]) -> Result<(), CudaError> {
        let mut values: Vec<u64> = arguments.iter().map(|a| a.0).collect();
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        // SAFETY: guaranteed by the caller; on a little-endian host, values shorter than 8 bytes are in the first bytes
        // of their argument.
        unsafe { self.driver()?.launch(kernel, launch.grid, launch.block, launch.shared_bytes as u32, &mut pointers) }
    }
}

impl Memory {
    fn give_back(&mut self, driver: &dyn DeviceDriver) {
        for address in std::mem::take(&mut self.kept).into_values().flatten() {
            driver.free(address);
        }
        self.kept_bytes = 0;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.driver.enter().is_ok() {
            self.memory.get_mut().unwrap_or_else(|broken| broken.into_inner()).give_back(&*self.driver);
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.facts().name)
    }
}

/// Values in device memory, freed on drop.
pub struct Buffer<T: Value> {
    device: Device,
    address: u64,
    len: usize,
    bytes: u64,
    values: PhantomData<T>,
}

impl<T: Value> Buffer<T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The device of the buffer.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Copies all values to the host.
    ///
    /// # Errors
    /// A failure of this copy or of earlier work.
    pub fn download(&self) -> Result<Vec<T>, CudaError>
    where
        T: Default,
    {
        let mut values = vec![T::default(); self.len];
        self.read(0, &mut values)?;
        Ok(values)
    }

    /// Copies values to the host, starting at index `first`.
    ///
    /// # Errors
    /// A failure of this copy or of earlier work.
    ///
    /// # Panics
    /// If the range exceeds the buffer.
    pub fn read(&self, first: usize, values: &mut [T]) -> Result<(), CudaError> {
        assert!(first + values.len() <= self.len, "{} values from {first} on, of {}", values.len(), self.len);
        if values.is_empty() {
            return Ok(());
        }
        let mut counted = self.device.counted();
        counted.downloads += 1;
        counted.downloaded_bytes += size_of_val(values) as u64;
        drop(counted);
        // SAFETY: the range was just checked.
        unsafe { self.device.driver()?.download(bytes_of_mut(values), self.address + (first * size_of::<T>()) as u64) }
    }

    /// Copies values from the host, starting at index `first`.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If the range exceeds the buffer.
    pub fn write(&mut self, first: usize, values: &[T]) -> Result<(), CudaError> {
        assert!(first + values.len() <= self.len, "{} values from {first} on, of {}", values.len(), self.len);
        if values.is_empty() {
            return Ok(());
        }
        let mut counted = self.device.counted();
        counted.uploads += 1;
        counted.uploaded_bytes += size_of_val(values) as u64;
        drop(counted);
        // SAFETY: the range was just checked.
        unsafe { self.device.driver()?.upload(self.address + (first * size_of::<T>()) as u64, bytes_of(values)) }
    }

    /// Sets every byte to `byte`.
    ///
    /// # Errors
    /// A device failure.
    pub fn fill(&self, byte: u8) -> Result<(), CudaError> {
        // SAFETY: the buffer has this many bytes.
        unsafe { self.device.driver()?.fill(self.address, byte, (self.len * size_of::<T>()) as u64) }
    }

    /// Copies all values of another buffer into this one, starting at index `first`.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If the range exceeds the buffer.
    pub fn copy_from(&mut self, first: usize, other: &Buffer<T>) -> Result<(), CudaError> {
        assert!(first + other.len <= self.len, "{} values from {first} on, of {}", other.len, self.len);
        assert!(self.device.is(&other.device), "both on one device");
        let bytes = (other.len * size_of::<T>()) as u64;
        // SAFETY: the range was just checked.
        unsafe { self.device.driver()?.copy(self.address + (first * size_of::<T>()) as u64, other.address, bytes) }
    }

    /// Address of the value at index `first`, as a kernel argument.
    pub(crate) fn at(&self, first: usize) -> Argument {
        debug_assert!(first <= self.len, "value {first} of {}", self.len);
        Argument(self.address + (first * size_of::<T>()) as u64)
    }
}

impl<T: Value> Drop for Buffer<T> {
    fn drop(&mut self) {
        self.device.shared.driver.lend(self.address, 0, self.bytes);
        let mut memory = self.device.memory();
        memory.used_bytes -= self.bytes;
        memory.kept_bytes += self.bytes;
        memory.kept.entry(self.bytes).or_default().push(self.address);
    }
}

impl<T: Value> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} on {:?})", self.len, self.device)
    }
}

/// Launch configuration of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    grid: [u32; 3],
    block: u32,
    shared_bytes: usize,
}

impl Launch {
    /// This many blocks (at least one) of this many threads.
    pub(crate) fn of(blocks: usize, threads: u32) -> Launch {
        Launch { grid: [blocks.clamp(1, i32::MAX as usize) as u32, 1, 1], block: threads, shared_bytes: 0 }
    }

    /// Sets the number of blocks along the second axis, 1 to 65,535.
    pub(crate) fn by(mut self, second: usize) -> Launch {
        assert!((1..=65_535).contains(&second), "a device takes 1 to 65,535 rows of blocks, not {second}");
        self.grid[1] = second as u32;
        self
    }

    /// Sets the shared memory per block, in bytes.
    pub(crate) fn shared(self, bytes: usize) -> Launch {
        Launch { shared_bytes: bytes, ..self }
    }
}

/// The value of one kernel parameter, in the first bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument(u64);

impl Argument {
    /// The null address.
    pub(crate) const NULL: Argument = Argument(0);
}

impl<T: Value> From<&Buffer<T>> for Argument {
    fn from(buffer: &Buffer<T>) -> Argument {
        buffer.at(0)
    }
}

impl<T: Value> From<Option<&Buffer<T>>> for Argument {
    fn from(buffer: Option<&Buffer<T>>) -> Argument {
        buffer.map_or(Argument::NULL, Argument::from)
    }
}

impl From<u32> for Argument {
    fn from(value: u32) -> Argument {
        Argument(value.into())
    }
}

impl From<u64> for Argument {
    fn from(value: u64) -> Argument {
        Argument(value)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Argument {
        Argument(value.to_bits().into())
    }
}

/// `launch!(device, kernel_name, launch; arguments…)`; must be called within `unsafe`.
macro_rules! launch {
    ($device:expr, $kernel:ident, $launch:expr; $($argument:expr),* $(,)?) => {
        $device.launch(stringify!($kernel), $launch, &[$($crate::device::Argument::from($argument)),*])
    };
}
pub(crate) use launch;
