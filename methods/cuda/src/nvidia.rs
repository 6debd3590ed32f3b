//! A device behind NVIDIA's driver, which is loaded at run time.

use crate::Toolkit;
use crate::driver::{DeviceDriver, Facts, Timestamp};
use crate::{CudaError, program};
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::Mutex;
use std::time::Instant;

/// An open device: its primary context, one stream, the kernels.
pub(crate) struct Nvidia {
    facts: Facts,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    module: sys::CUmodule,
    functions: Mutex<HashMap<String, Function>>,
    /// Start of the host clock, which times work if the driver is too old for the call that times events (before CUDA
    /// 12.8).
    clock: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Maximum dynamic shared memory that was set for the function so far, in bytes.
    shared_bytes: u32,
}

// SAFETY: contexts, streams, modules and functions of the driver may be used from any thread in which the context is
// current, which `enter` ensures; a lock protects the map.
unsafe impl Send for Nvidia {}
// SAFETY: as above.
unsafe impl Sync for Nvidia {}

fn driver_error(call: &str) -> impl Fn(result::DriverError) -> CudaError + '_ {
    move |error| CudaError::driver(call, describe(&error))
}

fn describe(error: &result::DriverError) -> String {
    match error.error_string() {
        Ok(text) => format!("{} ({:?})", text.to_string_lossy(), error.0),
        Err(_) => format!("{:?}", error.0),
    }
}

impl Nvidia {
    /// Opens the device with this index among those that `CUDA_VISIBLE_DEVICES` exposes.
    pub(crate) fn open(ordinal: u32, toolkit: &Toolkit) -> Result<Nvidia, CudaError> {
        let missing = |reason: String, help: &str| CudaError::Missing { reason, help: help.into() };
        // SAFETY: loading a library runs its initializers; those of the driver have no preconditions.
        if !unsafe { sys::is_culib_present() } {
            return Err(missing(
                "there is no NVIDIA driver on this machine (libcuda cannot be loaded)".into(),
                "install the driver, or use `device: cpu`, or `device: auto` for the best that is present",
            ));
        }
        result::init().map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_NO_DEVICE => no_device_of(0, 0, toolkit),
            _ => missing(
                format!("the NVIDIA driver cannot be initialized: {}", describe(&error)),
                "see whether `nvidia-smi` works; or use `device: cpu`",
            ),
        })?;
        let mut version = 0;
        // SAFETY: it points to an integer.
        unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(driver_error("cuDriverGetVersion"))?;
        let driver = format!("{}.{}", version / 1000, version % 1000 / 10);
        if version < 12_000 {
            return Err(missing(
                format!("the NVIDIA driver is too old: it speaks CUDA {driver}"),
                "12.0 or newer is needed (driver 525 or newer); or use `device: cpu`",
            ));
        }
        let count = result::device::get_count().map_err(driver_error("cuDeviceGetCount"))?.max(0) as u32;
        if ordinal >= count {
            return Err(no_device_of(ordinal, count, toolkit));
        }
        let device = result::device::get(ordinal as i32).map_err(driver_error("cuDeviceGet"))?;
        let attribute = |which| {
            // SAFETY: the device handle is valid.
            unsafe { result::device::get_attribute(device, which) }
                .map(|v| v as u32)
                .map_err(driver_error("cuDeviceGetAttribute"))
        };
        use sys::CUdevice_attribute as Attribute;
        let capability = (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let name = result::device::get_name(device).map_err(driver_error("cuDeviceGetName"))?;
        if capability.0 < 8 {
            return Err(missing(
                format!("{name} has compute capability {}.{}", capability.0, capability.1),
                "8.0 (Ampere) or newer is needed; use `device: cpu`",
            ));
        }
        let facts = Facts {
            name,
            capability,
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            cache_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?.into(),
            // SAFETY: as above.
            memory_bytes: unsafe { result::device::total_mem(device) }.map_err(driver_error("cuDeviceTotalMem"))?
                as u64,
            driver,
        };
        // Done before resources are acquired that an error would have to release.
        let (code, kept) = program::load(facts.capability, &facts.driver, toolkit)?;
        // SAFETY: the device handle is valid.
        let context =
            unsafe { result::primary_ctx::retain(device) }.map_err(driver_error("cuDevicePrimaryCtxRetain"))?;
        let mut opened = Nvidia {
            facts,
            device,
            context,
            stream: std::ptr::null_mut(),
            module: std::ptr::null_mut(),
            functions: Mutex::default(),
            clock: (version < 12_080).then(Instant::now),
        };
        opened.enter()?;
        opened.stream =
            result::stream::create(result::stream::StreamKind::NonBlocking).map_err(driver_error("cuStreamCreate"))?;
        // SAFETY: machine code contains its length; the compiler ends intermediate code (PTX) with a zero byte.
        let load = |code: &[u8]| unsafe { result::module::load_data(code.as_ptr().cast()) };
        let loaded = match (load(&code), kept) {
            // The cached file may be damaged.
            (Err(_), Some(file)) => {
                let _ = std::fs::remove_file(file);
                load(&program::load(opened.facts.capability, &opened.facts.driver, toolkit)?.0)
            }
            (loaded, _) => loaded,
        };
        opened.module = loaded.map_err(|error| {
            missing(
                format!("the driver (CUDA {}) refuses the compiled kernels: {}", opened.facts.driver, describe(&error)),
                "use a driver at least as new as NVRTC, or name an older NVRTC in VQBENCH_NVRTC",
            )
        })?;
        Ok(opened)
    }

    fn function(&self, kernel: &str, shared_bytes: u32) -> Result<sys::CUfunction, CudaError> {
        let mut functions = self.functions.lock().unwrap_or_else(|broken| broken.into_inner());
        let function = match functions.get(kernel) {
            Some(&function) => function,
            None => {
                let name = CString::new(kernel).map_err(|e| CudaError::driver(kernel, e))?;
                // SAFETY: the module is loaded.
                let handle =
                    unsafe { result::module::get_function(self.module, name) }.map_err(driver_error(kernel))?;
                Function { handle, shared_bytes: 48 << 10 }
            }
        };
        let enough = function.shared_bytes.max(shared_bytes);
        if enough > function.shared_bytes {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function belongs to the loaded module.
            unsafe { result::function::set_function_attribute(function.handle, attribute, enough as i32) }
                .map_err(driver_error(kernel))?;
        }
        functions.insert(kernel.to_owned(), Function { shared_bytes: enough, ..function });
        Ok(function.handle)
    }
}

fn no_device_of(ordinal: u32, count: u32, toolkit: &Toolkit) -> CudaError {
    let visible = toolkit.visible_devices.as_ref();
    let hidden = visible.map_or(String::new(), |list| format!(" (CUDA_VISIBLE_DEVICES={list} leaves these)"));
    let reason = match count {
        0 => format!("there is no CUDA device on this machine{hidden}"),
        _ => format!("there is no CUDA device {ordinal}: this machine has {count}, counted from 0{hidden}"),
    };
    CudaError::Missing { reason, help: "use `device: cpu`, or `device: auto` for the best that is present".into() }
}

impl Drop for Nvidia {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        if !self.module.is_null() {
            // SAFETY: the module was loaded and is no longer used: buffers keep the device alive.
            let _ = unsafe { result::module::unload(self.module) };
        }
        if !self.stream.is_null() {
            // SAFETY: the stream was created and is no longer used.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
        // SAFETY: the context was retained once.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

impl DeviceDriver for Nvidia {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained for the lifetime of `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(driver_error("cuCtxSetCurrent"))
    }

    fn allocate(&self, bytes: u64) -> Result<u64, CudaError> {
        // SAFETY: the context is current.
        match unsafe { result::malloc_sync(bytes as usize) } {
            Ok(address) => Ok(address),
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, total) = self.memory()?;
                Err(CudaError::OutOfMemory { wanted: bytes, free, total })
            }
            Err(error) => Err(driver_error("cuMemAlloc")(error)),
        }
    }

    fn free(&self, address: u64) {
        // SAFETY: the memory was allocated here and is freed once. The driver waits for work that uses it.
        let _ = unsafe { result::free_sync(address) };
    }

    fn memory(&self) -> Result<(u64, u64), CudaError> {
        let (free, total) = result::mem_get_info().map_err(driver_error("cuMemGetInfo"))?;
        Ok((free as u64, total as u64))
    }

    unsafe fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller; the stream is synchronized before the borrow ends.
        unsafe { result::memcpy_htod_async(address, bytes, self.stream) }
            .map_err(driver_error("copying to the device"))?;
        // SAFETY: the stream is valid.
        unsafe { result::stream::synchronize(self.stream) }.map_err(driver_error("copying to the device"))
    }

    unsafe fn download(&self, bytes: &mut [u8], address: u64) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller; the stream is synchronized before the borrow ends.
        unsafe { result::memcpy_dtoh_async(bytes, address, self.stream) }
            .map_err(driver_error("copying from the device"))?;
        // SAFETY: the stream is valid.
        unsafe { result::stream::synchronize(self.stream) }.map_err(driver_error("copying from the device"))
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller.
        unsafe { result::memcpy_dtod_async(to, from, bytes as usize, self.stream) }
            .map_err(driver_error("copying on the device"))
    }

    unsafe fn fill(&self, address: u64, byte: u8, bytes: u64) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller.
        unsafe { result::memset_d8_async(address, byte, bytes as usize, self.stream) }
            .map_err(driver_error("filling memory"))
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        let function = self.function(kernel, shared_bytes)?;
        let grid = (grid[0], grid[1], grid[2]);
        // SAFETY: guaranteed by the caller; the driver copies the arguments before it returns.
        unsafe { result::launch_kernel(function, grid, (block, 1, 1), shared_bytes, self.stream, arguments) }
            .map_err(driver_error(kernel))
    }

    fn synchronize(&self) -> Result<(), CudaError> {
        // SAFETY: the stream is valid.
        unsafe { result::stream::synchronize(self.stream) }.map_err(driver_error("waiting for the device"))
    }

    fn mark(&self) -> Result<Timestamp, CudaError> {
        if let Some(clock) = self.clock {
            self.synchronize()?;
            return Ok(clock.elapsed().as_nanos() as Timestamp);
        }
        let event =
            result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map_err(driver_error("cuEventCreate"))?;
        // SAFETY: event and stream are valid.
        unsafe { result::event::record(event, self.stream) }.map_err(driver_error("cuEventRecord"))?;
        Ok(event as Timestamp)
    }

    fn seconds_between(&self, start: Timestamp, end: Timestamp) -> Result<f64, CudaError> {
        if self.clock.is_some() {
            return Ok(end.saturating_sub(start) as f64 * 1e-9);
        }
        let (start, end) = (start as sys::CUevent, end as sys::CUevent);
        // SAFETY: `mark` created the event.
        unsafe { result::event::synchronize(end) }.map_err(driver_error("cuEventSynchronize"))?;
        // SAFETY: `mark` created both events.
        let milliseconds = unsafe { result::event::elapsed(start, end) }.map_err(driver_error("cuEventElapsedTime"))?;
        for event in [start, end] {
            // SAFETY: `mark` created the event, and it is destroyed once, here.
            let _ = unsafe { result::event::destroy(event) };
        }
        Ok(f64::from(milliseconds) / 1e3)
    }
}
