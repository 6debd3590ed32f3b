//! Where the parts of CUDA are looked for beside the places that the system knows. The caller decides; nothing here reads the environment.

use std::path::PathBuf;

/// Where CUDA's run-time compiler is, and where what it made is kept.
#[derive(Clone, Debug, Default)]
pub struct Toolkit {
    /// The library file of NVRTC. Without it, the system's search and the folders of `homes` are tried.
    pub nvrtc: Option<PathBuf>,
    /// Folders of installed CUDA toolkits, each with a folder `lib64`; `/usr/local/cuda` is tried after them.
    pub homes: Vec<PathBuf>,
    /// Folder in which compiled kernels are kept for the next process. None: they are compiled by each.
    pub cache: Option<PathBuf>,
    /// The devices that the driver was told to show (the value of `CUDA_VISIBLE_DEVICES`), to be named in errors.
    pub visible_devices: Option<String>,
}
