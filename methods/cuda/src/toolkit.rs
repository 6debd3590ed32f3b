//! Where to look for the parts of CUDA, in addition to the system's search path. The caller decides; nothing here reads
//! the environment.

use std::path::PathBuf;

/// Paths of CUDA's run-time compiler and of the cache of compiled kernels.
#[derive(Clone, Debug, Default)]
pub struct Toolkit {
    /// The library file of NVRTC. If None, the system's search path and the folders in `homes` are tried.
    pub nvrtc: Option<PathBuf>,
    /// Folders of installed CUDA toolkits, each with a folder `lib64`; `/usr/local/cuda` is tried last.
    pub homes: Vec<PathBuf>,
    /// Folder that caches compiled kernels for later processes. If None, each process compiles them.
    pub cache: Option<PathBuf>,
    /// The devices that the driver was told to expose (the value of `CUDA_VISIBLE_DEVICES`), for error messages.
    pub visible_devices: Option<String>,
}
