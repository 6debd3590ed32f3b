//! The run-time compiler NVRTC: locating and calling it. It needs no device.
//!
//! Its few functions are loaded here and not through `cudarc`, which loads the first library of a list of names: the
//! user must be able to choose the library.

use crate::{CudaError, Toolkit};
use libloading::{Library, Symbol};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

/// The environment variable that error messages suggest for the library file of NVRTC; see [`Toolkit::nvrtc`].
pub const NVRTC_VARIABLE: &str = "VQBENCH_NVRTC";

/// Supported versions of the interface, newest first.
const MAJORS: [u32; 2] = [13, 12];

type Program = *mut c_void;

/// The library and the functions used here. A result of 0 is success.
pub(crate) struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    architecture_count: unsafe extern "C" fn(*mut c_int) -> c_int,
    architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    cubin_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    cubin: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    /// Keeps the library loaded.
    _library: Library,
}

impl Nvrtc {
    fn load(library: Library) -> Result<Nvrtc, libloading::Error> {
        fn function<T: Copy>(library: &Library, name: &str) -> Result<T, libloading::Error> {
            // SAFETY: the caller gives the type that nvrtc.h declares.
            let symbol: Symbol<'_, T> = unsafe { library.get(name.as_bytes()) }?;
            Ok(*symbol)
        }
        Ok(Nvrtc {
            version: function(&library, "nvrtcVersion")?,
            architecture_count: function(&library, "nvrtcGetNumSupportedArchs")?,
            architectures: function(&library, "nvrtcGetSupportedArchs")?,
            error_string: function(&library, "nvrtcGetErrorString")?,
            create: function(&library, "nvrtcCreateProgram")?,
            destroy: function(&library, "nvrtcDestroyProgram")?,
            compile: function(&library, "nvrtcCompileProgram")?,
            log_size: function(&library, "nvrtcGetProgramLogSize")?,
            log: function(&library, "nvrtcGetProgramLog")?,
            cubin_size: function(&library, "nvrtcGetCUBINSize")?,
            cubin: function(&library, "nvrtcGetCUBIN")?,
            ptx_size: function(&library, "nvrtcGetPTXSize")?,
            ptx: function(&library, "nvrtcGetPTX")?,
            _library: library,
        })
    }

    /// Loads a library file, after its companion library, which it would not find by itself.
    fn from_file(file: &Path) -> Option<Nvrtc> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in entries.filter(|path| path.file_name().is_some_and(|name| is_companion(&name.to_string_lossy()))) {
            // SAFETY: loading runs initializers, and those of the compiler have no preconditions.
            if let Ok(companion) = unsafe { Library::new(path) } {
                std::mem::forget(companion);
            }
        }
        // SAFETY: as above.
        let library = unsafe { Library::new(file) }.ok()?;
        Nvrtc::load(library).ok()
    }

    fn check(&self, what: &str, result: c_int) -> Result<(), CudaError> {
        if result == 0 {
            return Ok(());
        }
        // SAFETY: any argument is valid.
        let text = unsafe { (self.error_string)(result) };
        // SAFETY: the function returns a constant string.
        let text = unsafe { std::ffi::CStr::from_ptr(text) };
        Err(CudaError::driver(what, text.to_string_lossy()))
    }

    /// Reads bytes with a pair of functions, one for the length and one for the bytes.
    fn bytes(
        &self,
        what: &str,
        program: Program,
        length_of: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        read: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Result<Vec<u8>, CudaError> {
        let mut length = 0usize;
        // SAFETY: the program is valid, and the length is written to an integer.
        self.check(what, unsafe { length_of(program, &mut length) })?;
        let mut bytes = vec![0u8; length];
        // SAFETY: the buffer has the reported length.
        self.check(what, unsafe { read(program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

fn is_companion(name: &str) -> bool {
    name.starts_with("libnvrtc-builtins.so") && !name.contains(".alt.")
}

impl Nvrtc {
    /// Loads the library file that the toolkit names, or one from the system's search path or the toolkit's usual
    /// folders.
    ///
    /// # Errors
    /// NVRTC is missing; the error says how to install or name it.
    pub(crate) fn find(toolkit: &Toolkit) -> Result<Nvrtc, CudaError> {
        if let Some(named) = &toolkit.nvrtc {
            return Nvrtc::from_file(named).ok_or_else(|| CudaError::Missing {
                reason: format!("{NVRTC_VARIABLE} names {}, which cannot be loaded as NVRTC", named.display()),
                help: "name the file libnvrtc.so.13 (or .12), beside which libnvrtc-builtins lies".into(),
            });
        }
        let usual = PathBuf::from("/usr/local/cuda");
        let folders: Vec<PathBuf> = toolkit.homes.iter().chain([&usual]).map(|home| home.join("lib64")).collect();
        let searched = MAJORS.iter().map(|major| PathBuf::from(format!("libnvrtc.so.{major}")));
        let searched = searched.chain([PathBuf::from("libnvrtc.so")]);
        let in_folders =
            folders.iter().flat_map(|folder| MAJORS.map(|major| folder.join(format!("libnvrtc.so.{major}"))));
        // SAFETY: loading runs initializers, and those of the compiler have no preconditions.
        let by_name =
            searched.filter_map(|name| unsafe { Library::new(name) }.ok()).filter_map(|l| Nvrtc::load(l).ok());
        by_name.chain(in_folders.filter_map(|file| Nvrtc::from_file(&file))).next().ok_or_else(|| CudaError::Missing {
            reason: "NVRTC, CUDA's run-time compiler, is not on this machine".into(),
            help: format!(
                "install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc==13.0.88` and name its libnvrtc.so.13 in {NVRTC_VARIABLE}; \
                 or use `device: cpu`"
            ),
        })
    }

    /// Version of the compiler, e.g. `13.0`.
    pub(crate) fn version(&self) -> Result<String, CudaError> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both arguments point to integers.
        self.check("nvrtcVersion", unsafe { (self.version)(&mut major, &mut minor) })?;
        Ok(format!("{major}.{minor}"))
    }

    /// Architectures that it can compile for, e.g. 90 for sm_90.
    pub(crate) fn architectures(&self) -> Result<Vec<u32>, CudaError> {
        let mut count = 0;
        // SAFETY: the argument points to an integer.
        self.check("nvrtcGetNumSupportedArchs", unsafe { (self.architecture_count)(&mut count) })?;
        let mut known = vec![0 as c_int; count.max(0) as usize];
        // SAFETY: the buffer has the reported number of entries.
        self.check("nvrtcGetSupportedArchs", unsafe { (self.architectures)(known.as_mut_ptr()) })?;
        Ok(known.into_iter().map(|a| a as u32).collect())
    }

    /// Machine code for `sm_…`; for `compute_…` intermediate code (PTX), which a newer driver translates and which ends
    /// with a zero byte.
    pub(crate) fn compile(&self, text: &str, architecture: &str, options: &[&str]) -> Result<Vec<u8>, CudaError> {
        let nvrtc = self;
        let failed = |log: String| CudaError::Compile { architecture: architecture.to_owned(), log };
        let text = CString::new(text).map_err(|e| failed(e.to_string()))?;
        let mut open = OpenProgram { nvrtc, program: std::ptr::null_mut() };
        // SAFETY: the strings end with zeros, and there are no headers.
        let created = unsafe {
            (nvrtc.create)(
                &mut open.program,
                text.as_ptr(),
                c"vqbench.cu".as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        nvrtc.check("nvrtcCreateProgram", created)?;
        let target = format!("--gpu-architecture={architecture}");
        let options: Result<Vec<CString>, _> =
            options.iter().copied().chain([target.as_str()]).map(CString::new).collect();
        let options = options.map_err(|e| failed(e.to_string()))?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: the program is valid, and the number of options is correct.
        let compiled = unsafe { (nvrtc.compile)(open.program, pointers.len() as c_int, pointers.as_ptr()) };
        if let Err(error) = nvrtc.check("nvrtcCompileProgram", compiled) {
            let log = nvrtc.bytes("nvrtcGetProgramLog", open.program, nvrtc.log_size, nvrtc.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            return Err(failed(format!("{error}: {}", log.trim_matches(['\0', '\n', ' ']))));
        }
        match architecture.starts_with("sm_") {
            true => nvrtc.bytes("nvrtcGetCUBIN", open.program, nvrtc.cubin_size, nvrtc.cubin),
            false => nvrtc.bytes("nvrtcGetPTX", open.program, nvrtc.ptx_size, nvrtc.ptx),
        }
    }
}

/// A program of the compiler, destroyed on drop.
struct OpenProgram<'n> {
    nvrtc: &'n Nvrtc,
    program: Program,
}

impl Drop for OpenProgram<'_> {
    fn drop(&mut self) {
        // SAFETY: the program was created and not destroyed yet.
        let _ = unsafe { (self.nvrtc.destroy)(&mut self.program) };
    }
}

/// Version of the NVRTC that `toolkit` finds, e.g. `13.0`.
///
/// # Errors
/// NVRTC is missing; the error says how to install or name it.
pub fn version(toolkit: &Toolkit) -> Result<String, CudaError> {
    Nvrtc::find(toolkit)?.version()
}
