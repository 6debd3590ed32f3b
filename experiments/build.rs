//! Fingerprints what determines results (sources, dependencies, compiler and its flags), so that a finished trial is reused
//! exactly as long as it stands, and records the compiler.

#[path = "build/fingerprint.rs"]
mod fingerprint;

use fingerprint::{Hash, MANIFESTS, SOURCES, add_files};
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build");
    SOURCES.iter().chain(&MANIFESTS).for_each(|path| println!("cargo:rerun-if-changed={path}"));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok().and_then(|o| String::from_utf8(o.stdout).ok());
    let version = version.as_deref().unwrap_or("unknown").trim().to_owned();

    let mut hash = Hash::new();
    add_files(Path::new(""), &mut hash);
    hash.add(version.as_bytes());
    for setting in ["CARGO_ENCODED_RUSTFLAGS", "OPT_LEVEL", "TARGET"] {
        hash.add(std::env::var(setting).unwrap_or_default().as_bytes());
    }
    println!("cargo:rustc-env=VQBENCH_SOURCES={:016x}", hash.0);
    println!("cargo:rustc-env=VQBENCH_RUSTC={version}");
}
