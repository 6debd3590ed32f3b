//! The run-time compiler: finding it, and what we ask of it. It needs no device.

use crate::CudaError;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Names the library file of NVRTC where the system does not find one by itself.
pub const NVRTC_VARIABLE: &str = "VQBENCH_NVRTC";

/// Loads NVRTC once: from [`NVRTC_VARIABLE`], by the system's search, or from the toolkit's usual folders.
fn find() -> Result<(), CudaError> {
    static FOUND: OnceLock<Result<(), CudaError>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            if let Some(named) = std::env::var_os(NVRTC_VARIABLE).map(PathBuf::from) {
                if !(load_from(&named) && present()) {
                    return Err(CudaError::Missing {
                        reason: format!("{NVRTC_VARIABLE} names {}, which cannot be loaded as NVRTC", named.display()),
                        help: "name the file libnvrtc.so.13 (or .12), beside which libnvrtc-builtins lies".into(),
                    });
                }
                return Ok(());
            }
            let home = ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from);
            let folders = home.chain([PathBuf::from("/usr/local/cuda")]);
            let mut files = folders.flat_map(|folder| {
                [13, 12].map(|major| folder.join(format!("lib64/libnvrtc.so.{major}")))
            });
            if present() || files.any(|file| load_from(&file) && present()) {
                return Ok(());
            }
            Err(CudaError::Missing {
                reason: "NVRTC, CUDA's run-time compiler, is not on this machine".into(),
                help: format!(
                    "install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc==13.0.88` and name its libnvrtc.so.13 in {NVRTC_VARIABLE}; \
                     or use `device: cpu`"
                ),
            })
        })
        .clone()
}

fn present() -> bool {
    // SAFETY: loading a library runs its initializers; NVRTC's have no conditions.
    unsafe { sys::is_culib_present() }
}

/// Loads the library and its companion for good, so that later searches by their names find them.
fn load_from(file: &Path) -> bool {
    let folder = file.parent().unwrap_or(Path::new("."));
    let companions =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| {
            path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.starts_with("libnvrtc-builtins.so") && !name.contains(".alt.")
            })
        });
    for path in companions.chain([file.to_owned()]) {
        // SAFETY: as in `present`.
        match unsafe { libloading::Library::new(&path) } {
            Ok(library) => std::mem::forget(library),
            Err(_) if path == file => return false,
            Err(_) => {}
        }
    }
    true
}

/// Version of NVRTC, e.g. `13.0`.
///
/// # Errors
/// There is none here, and what to do.
pub fn version() -> Result<String, CudaError> {
    find()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both point to integers.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result().map_err(|e| CudaError::driver("nvrtcVersion", e))?;
    Ok(format!("{major}.{minor}"))
}

/// Architectures it can compile for: 90 for sm_90.
pub(crate) fn architectures() -> Result<Vec<u32>, CudaError> {
    find()?;
    let failed = |e| CudaError::driver("nvrtcGetSupportedArchs", e);
    let mut count = 0;
    // SAFETY: it points to an integer.
    unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) }.result().map_err(failed)?;
    let mut known = vec![0i32; count.max(0) as usize];
    // SAFETY: there is room for as many as were counted.
    unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().map_err(failed)?;
    Ok(known.into_iter().map(|a| a as u32).collect())
}

/// A program of the compiler, destroyed in the end.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: it was created and not destroyed yet.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// Machine code for `sm_…`; for `compute_…` the intermediate code that a newer driver translates.
pub(crate) fn compile(text: &str, architecture: &str, options: &[&str]) -> Result<Vec<u8>, CudaError> {
    find()?;
    let failed = |log: String| CudaError::Compile { architecture: architecture.to_owned(), log };
    let text = CString::new(text).map_err(|e| failed(e.to_string()))?;
    let program = Program(result::create_program(&text, Some(c"vqbench.cu")).map_err(|e| failed(e.to_string()))?);
    let mut options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
    options.push(format!("--gpu-architecture={architecture}"));
    // SAFETY: the program is alive.
    if let Err(error) = unsafe { result::compile_program(program.0, &options) } {
        let mut length = 0;
        // SAFETY: the program is alive, and the log gets the room that was asked for.
        let log = unsafe {
            let _ = sys::nvrtcGetProgramLogSize(program.0, &mut length);
            let mut log = vec![0u8; length];
            let _ = sys::nvrtcGetProgramLog(program.0, log.as_mut_ptr().cast());
            log
        };
        let log = String::from_utf8_lossy(&log);
        return Err(failed(format!("{error}: {}", log.trim_matches(['\0', '\n', ' ']))));
    }
    let failed = |e: result::NvrtcError| failed(e.to_string());
    if !architecture.starts_with("sm_") {
        // SAFETY: the program is alive and compiled.
        let code = unsafe { result::get_ptx(program.0) }.map_err(failed)?;
        return Ok(code.into_iter().map(|c| c as u8).collect());
    }
    let mut length = 0usize;
    // SAFETY: the program is alive and compiled.
    unsafe { sys::nvrtcGetCUBINSize(program.0, &mut length) }.result().map_err(failed)?;
    let mut code = vec![0u8; length];
    // SAFETY: there is room for as much as was asked for.
    unsafe { sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast::<c_char>()) }.result().map_err(failed)?;
    Ok(code)
}
