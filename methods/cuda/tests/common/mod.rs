//! What tests of kernels share.

use cuda::Device;
use cuda::emulator::{self, BuildError, Compiler};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// An emulated device for one test at a time, since there is one memory; none where there is no C++ compiler.
pub fn device() -> Option<(Device, MutexGuard<'static, ()>)> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    // Files of tests may run at a time.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    let library = LIBRARY.get_or_init(|| match emulator::build(&folder, &compiler()) {
        Ok(library) => Some(library),
        Err(missing @ BuildError::NoCompiler(_)) => {
            eprintln!("skipped: {missing}");
            None
        }
        Err(error) => panic!("{error}"),
    });
    let alone = ALONE.lock().unwrap_or_else(|broken| broken.into_inner());
    library.as_ref().map(|library| (Device::emulated(library, 1 << 30).expect("opens"), alone))
}

/// The compiler that `CXX` names, with the sanitizers that `cargo xtask ci` asks for.
fn compiler() -> Compiler {
    let usual = Compiler::default();
    Compiler {
        program: std::env::var("CXX").unwrap_or(usual.program),
        sanitizers: std::env::var(emulator::SANITIZE_VARIABLE).ok(),
    }
}
