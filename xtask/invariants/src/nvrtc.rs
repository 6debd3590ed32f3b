//! NVRTC for machines without CUDA: the wheel from PyPI, unpacked once into the user's cache. It compiles without a
//! device.

use crate::Repository;
use crate::process::last_words;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PACKAGE: &str = "nvidia-cuda-nvrtc";
const VERSION: &str = "13.0.88";

/// Where the wheel has its library.
const LIBRARY: &str = "nvidia/cu13/lib/libnvrtc.so.13";

/// The library, fetched unless it is there; or why it cannot be had.
pub fn from_pypi(repository: &Repository) -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err(format!("NVRTC was not found, and the wheel of {PACKAGE} is only for Linux"));
    }
    let folder =
        repository.cache.as_ref().ok_or("NVRTC was not found, and no folder to keep one in (HOME is not set)")?;
    let folder = folder.join(format!("{PACKAGE}-{VERSION}"));
    let library = folder.join(LIBRARY);
    let unwritable = |path: &Path| {
        let path = path.display().to_string();
        move |e: std::io::Error| format!("cannot write {path}: {e}")
    };
    if let Some(cache) = folder.parent() {
        fs::create_dir_all(cache).map_err(unwritable(cache))?;
    }
    // Two of these commands at once fetch it one after the other; the second finds it there.
    let lock = folder.with_extension("lock");
    let lock = File::create(&lock).map_err(unwritable(&lock))?;
    lock.lock().map_err(unwritable(&folder))?;
    if library.is_file() {
        return Ok(library);
    }
    (repository.show)(&format!("  fetching {PACKAGE} {VERSION} from PyPI into {}", folder.display()));
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(unwritable(&partial))?;
    let pip =
        ["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input"];
    let patience = ["--retries", "2", "--timeout", "20", "--dest", "."];
    python(&partial, &[&pip[..], &patience, &[&format!("{PACKAGE}=={VERSION}")]].concat())?;
    let files = fs::read_dir(&partial).into_iter().flatten().flatten().map(|entry| entry.path());
    let wheel = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "whl"));
    let wheel = wheel.ok_or_else(|| format!("pip said that it had fetched {PACKAGE}, and left no wheel"))?;
    // A wheel is a zip.
    python(&partial, &["-m", "zipfile", "-e", &wheel.to_string_lossy(), "."])?;
    let _ = fs::remove_file(wheel);
    if !partial.join(LIBRARY).is_file() {
        return Err(format!("the wheel of {PACKAGE} {VERSION} for this machine has no {LIBRARY}"));
    }
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&partial, &folder).map_err(unwritable(&folder))?;
    Ok(library)
}

fn python(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("python3").args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("NVRTC was not found, and no Python to fetch it with: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("NVRTC was not found, and it could not be fetched: {}", last_words(&output))),
    }
}
