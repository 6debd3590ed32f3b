//! The source of the kernels and its compilation by NVRTC for the present device, cached on disk.

use crate::CudaError;
use crate::Toolkit;
use crate::nvrtc::Nvrtc;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The header with the machine's intrinsics; the emulator has its own.
const GRID: (&str, &str) = ("grid.cuh", include_str!("../kernels/grid.cuh"));

/// All kernel sources, in the order of their dependencies.
const SOURCES: &[(&str, &str)] = &[
    ("common.cuh", include_str!("../kernels/common.cuh")),
    ("select.cuh", include_str!("../kernels/select.cuh")),
    ("tile.cuh", include_str!("../kernels/tile.cuh")),
    ("assign.cu", include_str!("../kernels/assign.cu")),
    ("cells.cu", include_str!("../kernels/cells.cu")),
    ("kmeans.cu", include_str!("../kernels/kmeans.cu")),
    ("groups.cu", include_str!("../kernels/groups.cu")),
    ("products.cu", include_str!("../kernels/products.cu")),
    ("network.cu", include_str!("../kernels/network.cu")),
    ("sums.cu", include_str!("../kernels/sums.cu")),
    ("scan.cu", include_str!("../kernels/scan.cu")),
    ("hamming.cu", include_str!("../kernels/hamming.cu")),
    ("exact.cu", include_str!("../kernels/exact.cu")),
    ("codes.cu", include_str!("../kernels/codes.cu")),
    ("random.cu", include_str!("../kernels/random.cu")),
    ("peak.cu", include_str!("../kernels/peak.cu")),
];

/// Architectures that the kernels are compiled for without a device, as a check: A100, H100 and H200, B200.
pub const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_100"];

const OPTIONS: &[&str] = &["--std=c++17"];

/// The kernels as one source without the machine's header; compiler messages keep the file names.
pub(crate) fn kernels() -> String {
    SOURCES.iter().map(|(name, text)| format!("#line 1 \"{name}\"\n{text}\n")).collect()
}

/// The complete source for a device.
fn program() -> String {
    format!("#line 1 \"{}\"\n{}\n{}", GRID.0, GRID.1, kernels())
}

/// Names of all kernels.
pub(crate) fn kernel_names() -> Vec<String> {
    let named = |line: &str| {
        let rest = line.strip_prefix("KERNEL ")?;
        let rest = if rest.starts_with("BOUNDED") { rest.split_once(") ")?.1 } else { rest };
        Some(rest.split_once('(')?.0.trim().to_owned())
    };
    SOURCES.iter().flat_map(|(_, text)| text.lines().filter_map(named)).collect()
}

/// Machine code of the kernels for an architecture such as `sm_90`.
/// NVRTC is missing, or rejects the source.
/// # Errors
/// No NVRTC here, or one that refuses the text.
pub fn compile(toolkit: &Toolkit, architecture: &str) -> Result<Vec<u8>, CudaError> {
    Nvrtc::find(toolkit)?.compile(&program(), architecture, OPTIONS)
}

/// Calls [`compile`] for a device of this compute capability, unless the code is in the toolkit's cache. If the
/// compiler is older than the device, compiles for the newest architecture that it knows, and the driver translates the
/// code.
///
/// Also returns the path of the cached file if the code came from there, since the file may be damaged.
pub(crate) fn load(
    capability: (u32, u32),
    driver: &str,
    toolkit: &Toolkit,
) -> Result<(Vec<u8>, Option<PathBuf>), CudaError> {
    let nvrtc = Nvrtc::find(toolkit)?;
    let compiler = nvrtc.version()?;
    let number = capability.0 * 10 + capability.1;
    let known = nvrtc.architectures()?;
    let architecture = match known.iter().filter(|&&a| a <= number).max() {
        Some(&best) if best == number => format!("sm_{best}"),
        Some(best) => format!("compute_{best}"),
        None => {
            return Err(CudaError::Missing {
                reason: format!(
                    "the device has compute capability {}.{}; NVRTC {compiler} knows none so old",
                    capability.0, capability.1
                ),
                help: "kernels need compute capability 8.0 (Ampere) or newer; use `device: cpu`".into(),
            });
        }
    };
    let text = program();
    let mut key = Sha256::new();
    for part in [text.as_str(), &OPTIONS.join(" "), &architecture, &compiler, driver] {
        key.update(part.as_bytes());
        key.update([0]);
    }
    let key: String = key.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let kept = toolkit.cache.as_ref().map(|folder| folder.join(format!("{architecture}-{key}.bin")));
    if let Some(code) = kept.as_ref().and_then(|path| fs::read(path).ok())
        && !code.is_empty()
    {
        return Ok((code, kept));
    }
    let code = nvrtc.compile(&text, &architecture, OPTIONS)?;
    if let Some(path) = kept {
        // If the cache cannot be written, later runs take seconds longer, but this run succeeds.
        let _ = keep(&path, &code);
    }
    Ok((code, None))
}

/// Writes a file atomically: it appears under its name when it is complete.
fn keep(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder)?;
    static PARTS: AtomicUsize = AtomicUsize::new(0);
    let part = path.with_extension(format!("{}-{}.part", std::process::id(), PARTS.fetch_add(1, Ordering::Relaxed)));
    fs::write(&part, code)?;
    fs::File::open(&part)?.sync_all()?;
    fs::rename(&part, path).inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_have_one_name_each() {
        let mut names = kernel_names();
        assert!(names.contains(&"assign_halves".to_owned()) && names.contains(&"distances_to".to_owned()), "{names:?}");
        let all = names.len();
        assert_eq!(all, kernels().lines().filter(|line| line.starts_with("KERNEL")).count());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn what_is_kept_appears_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b.bin");
        keep(&path, b"code").expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"code");
        assert_eq!(fs::read_dir(folder.path().join("a")).expect("lists").count(), 1);
    }

    /// Needs NVRTC: `VQBENCH_NVRTC` names it if the system does not find it.
    #[test]
    fn kernels_compile_for_all_architectures() {
        let toolkit =
            Toolkit { nvrtc: std::env::var_os(crate::NVRTC_VARIABLE).map(PathBuf::from), ..Toolkit::default() };
        match Nvrtc::find(&toolkit) {
            Err(error) => eprintln!("skipped: {error}"),
            Ok(nvrtc) => {
                let version = nvrtc.version().expect("a version");
                for architecture in ARCHITECTURES {
                    let code = compile(&toolkit, architecture)
                        .unwrap_or_else(|e| panic!("NVRTC {version}, {architecture}: {e}"));
                    assert!(code.len() > 10_000, "{architecture}");
                }
                assert!(matches!(nvrtc.compile("no text", "sm_90", OPTIONS), Err(CudaError::Compile { .. })));
            }
        }
    }
}
