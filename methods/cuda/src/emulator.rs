//! A device emulated on the host, for testing kernels and their host code on machines without a GPU: the same kernels
//! are compiled as C++, and blocks run one after another. It is slow and never selected automatically.

use crate::CudaError;
use crate::driver::{DeviceDriver, Facts, Timestamp};
use crate::program;
use libloading::{Library, Symbol};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;
use thiserror::Error;

/// The environment variable with which tests set [`Compiler::sanitizers`].
pub const SANITIZE_VARIABLE: &str = "VQBENCH_EMULATOR_SANITIZE";

/// The compiler of the emulator.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The C++ compiler.
    pub program: String,
    /// Sanitizers to compile with, such as `address,undefined`; their libraries must then be loaded first when the
    /// process starts.
    pub sanitizers: Option<String>,
}

impl Default for Compiler {
    /// The system's `c++`, without sanitizers.
    fn default() -> Compiler {
        Compiler { program: "c++".into(), sanitizers: None }
    }
}

impl Compiler {
    /// Checks that the compiler can be started.
    ///
    /// # Errors
    /// [`BuildError::NoCompiler`] if not.
    pub fn find(&self) -> Result<(), BuildError> {
        match Command::new(&self.program).arg("--version").output() {
            Ok(_) => Ok(()),
            Err(_) => Err(BuildError::NoCompiler(self.program.clone())),
        }
    }
}

/// Why the emulator could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// There is no compiler.
    #[error("there is no C++ compiler here (`{0}`)")]
    NoCompiler(String),
    /// The compiler rejected the source or the flags.
    #[error("{compiler} cannot compile the kernels: {log}")]
    Refused {
        /// Its name.
        compiler: String,
        /// Output of the compiler.
        log: String,
    },
    /// A file cannot be written, or the compiler cannot be run.
    #[error("{place}: {error}")]
    Io {
        /// Which one.
        place: String,
        /// Why.
        error: io::Error,
    },
}

/// Compiles the emulator into a folder.
///
/// # Errors
/// The compiler is missing, or rejects the source.
pub fn build(into: &Path, compiler: &Compiler) -> Result<PathBuf, BuildError> {
    compiler.find()?;
    let Compiler { program: compiler, sanitizers } = compiler;
    let failed = |place: String| move |error| BuildError::Io { place, error };
    std::fs::create_dir_all(into).map_err(failed(into.display().to_string()))?;
    let names: String = program::kernel_names().iter().map(|name| format!(" each({name})")).collect();
    let text = format!(
        "#line 1 \"grid.hpp\"\n{}\n{}\n#define KERNELS(each){names}\n#line 1 \"machine.cpp\"\n{}",
        include_str!("../emulator/grid.hpp"),
        program::kernels(),
        include_str!("../emulator/machine.cpp"),
    );
    let (source, library) = (into.join("emulator.cpp"), into.join("libemulator.so"));
    std::fs::write(&source, text).map_err(failed(source.display().to_string()))?;
    let mut command = Command::new(compiler);
    command.args([
        "-std=c++17",
        "-O2",
        "-g1",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        "-Wno-unknown-pragmas",
        "-Wno-unused-function",
    ]);
    // Round as a device does: no fused operations except those that the source fuses.
    command.arg("-ffp-contract=off");
    if cfg!(target_arch = "x86_64") {
        // Explicit fused operations then compile to one instruction instead of a call.
        command.arg("-march=native");
    }
    if let Some(sanitizers) = sanitizers {
        command.args([&format!("-fsanitize={sanitizers}"), "-fno-sanitize-recover=all"]);
        // The sanitizer libraries are for this process, not for the compiler.
        command.env_remove("LD_PRELOAD");
    }
    let output = command.arg("-o").arg(&library).arg(&source).output().map_err(failed(compiler.clone()))?;
    match output.status.success() {
        true => Ok(library),
        false => Err(BuildError::Refused {
            compiler: compiler.clone(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

/// The emulated device. One launch at a time.
pub(crate) struct Emulator {
    facts: Facts,
    library: Mutex<Library>,
    begun: Instant,
}

impl Emulator {
    pub(crate) fn open(library: &Path, memory_bytes: u64) -> Result<Emulator, CudaError> {
        let failed = |e: libloading::Error| CudaError::driver("loading the emulator", e);
        // SAFETY: `build` made this library, and its initializers have no preconditions.
        let library = unsafe { Library::new(library) }.map_err(failed)?;
        // SAFETY: the type matches the declaration in machine.cpp.
        let limit: Symbol<'_, unsafe extern "C" fn(u64)> = unsafe { library.get(b"emulated_limit") }.map_err(failed)?;
        // SAFETY: any argument is valid.
        unsafe { limit(memory_bytes) };
        let facts = Facts {
            name: "emulated on the host".into(),
            capability: (8, 0),
            multiprocessors: 2,
            shared_bytes: 160 << 10,
            cache_bytes: 1 << 20,
            memory_bytes,
            driver: "none".into(),
        };
        Ok(Emulator { facts, library: Mutex::new(library), begun: Instant::now() })
    }

    /// Calls a function of the library, one call at a time.
    fn with<T, F>(&self, name: &[u8], call: impl FnOnce(&F) -> T) -> Result<T, CudaError> {
        let library = self.library.lock().unwrap_or_else(|broken| broken.into_inner());
        // SAFETY: every use below gives the type that machine.cpp declares.
        let function: Symbol<'_, F> = unsafe { library.get(name) }.map_err(|e| CudaError::driver("the emulator", e))?;
        Ok(call(&function))
    }
}

impl DeviceDriver for Emulator {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn enter(&self) -> Result<(), CudaError> {
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> Result<u64, CudaError> {
        type Allocate = unsafe extern "C" fn(u64) -> *mut c_void;
        // SAFETY: any length is valid.
        let address = self.with(b"emulated_allocate", |allocate: &Allocate| unsafe { allocate(bytes) } as u64)?;
        if address == 0 {
            let (free, total) = self.memory()?;
            return Err(CudaError::OutOfMemory { wanted: bytes, free, total });
        }
        Ok(address)
    }

    fn free(&self, address: u64) {
        type Free = unsafe extern "C" fn(*mut c_void);
        // SAFETY: the memory was allocated here and is freed once.
        let _ = self.with(b"emulated_free", |free: &Free| unsafe { free(address as *mut c_void) });
    }

    fn lend(&self, address: u64, used: u64, bytes: u64) {
        type Lend = unsafe extern "C" fn(*mut c_void, u64, u64);
        // SAFETY: the memory was allocated here with this length.
        let _ = self.with(b"emulated_lend", |lend: &Lend| unsafe { lend(address as *mut c_void, used, bytes) });
    }

    fn memory(&self) -> Result<(u64, u64), CudaError> {
        type Used = unsafe extern "C" fn() -> u64;
        // SAFETY: it has no preconditions.
        let used = self.with(b"emulated_used", |used: &Used| unsafe { used() })?;
        Ok((self.facts.memory_bytes.saturating_sub(used), self.facts.memory_bytes))
    }

    unsafe fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller; device memory is host memory.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        Ok(())
    }

    unsafe fn download(&self, bytes: &mut [u8], address: u64) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
        Ok(())
    }

    unsafe fn fill(&self, address: u64, byte: u8, bytes: u64) -> Result<(), CudaError> {
        // SAFETY: guaranteed by the caller.
        unsafe { std::ptr::write_bytes(address as *mut u8, byte, bytes as usize) };
        Ok(())
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared_bytes: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        type Launch = unsafe extern "C" fn(*const c_char, *const u32, u32, u32, *mut *mut c_void) -> c_int;
        if shared_bytes > self.facts.shared_bytes
            || block > 1024
            || grid.contains(&0)
            || grid[1..].iter().any(|&g| g > 65_535)
        {
            return Err(CudaError::driver(
                kernel,
                format!("no device launches {grid:?} × {block} with {shared_bytes} bytes"),
            ));
        }
        let name = CString::new(kernel).map_err(|e| CudaError::driver(kernel, e))?;
        let played = self.with(b"emulated_launch", |launch: &Launch| {
            // SAFETY: guaranteed by the caller.
            unsafe { launch(name.as_ptr(), grid.as_ptr(), block, shared_bytes, arguments.as_mut_ptr()) }
        })?;
        match played {
            0 => Ok(()),
            _ => Err(CudaError::driver(kernel, "there is no such kernel")),
        }
    }

    fn synchronize(&self) -> Result<(), CudaError> {
        Ok(())
    }

    fn mark(&self) -> Result<Timestamp, CudaError> {
        Ok(self.begun.elapsed().as_nanos() as u64)
    }

    fn seconds_between(&self, start: Timestamp, end: Timestamp) -> Result<f64, CudaError> {
        Ok((end - start) as f64 * 1e-9)
    }
}
