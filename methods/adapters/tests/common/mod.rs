//! The adapters in C++ that tests start, compiled once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An adapter that misbehaves as its parameters say, and the sample `int8`.
#[allow(dead_code)]
pub struct Compiled {
    /// `hostile.cpp`.
    pub hostile: PathBuf,
    /// `samples/int8.cpp`.
    pub int8: PathBuf,
}

/// Both; none where there is no C++ compiler.
pub fn compiled() -> Option<&'static Compiled> {
    static COMPILED: OnceLock<Option<Compiled>> = OnceLock::new();
    COMPILED.get_or_init(compile).as_ref()
}

/// The package of adapters.
const FOLDER: &str = "methods/adapters";

fn compile() -> Option<Compiled> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if Command::new(&compiler).arg("--version").output().is_err() {
        eprintln!("skipped: there is no C++ compiler here (`{compiler}`)");
        return None;
    }
    // Files of tests may run at a time.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    std::fs::create_dir_all(&folder).expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|root| root.join(FOLDER).is_dir());
    let adapters = root.expect("the sources").join(FOLDER);
    let build = |source: &str, name: &str| {
        let into = folder.join(name);
        let mut command = Command::new(&compiler);
        command.args(["-O1", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-o"]);
        command.arg(&into).arg(adapters.join(source)).arg("-I").arg(adapters.join("clients"));
        (into, command.spawn().expect("starts"))
    };
    let (hostile, mut first) = build("tests/hostile.cpp", "hostile");
    let (int8, mut second) = build("samples/int8.cpp", "int8");
    for child in [&mut first, &mut second] {
        assert!(child.wait().expect("ends").success(), "the compiler refuses an adapter");
    }
    Some(Compiled { hostile, int8 })
}
