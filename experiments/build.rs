//! Fingerprints what determines results (sources, dependencies, compiler and its flags), so that a finished trial is reused
//! exactly as long as it stands, and records the compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "cu" || e == "toml") {
            found.push(path);
        }
    }
}

fn main() {
    let mut files = Vec::new();
    for folder in ["../datasets/src", "../methods/src", "../methods/cpu/src", "../methods/gradients/src", "src"] {
        println!("cargo:rerun-if-changed={folder}");
        sources(Path::new(folder), &mut files);
    }
    files.sort();
    println!("cargo:rerun-if-changed=../Cargo.lock");
    println!("cargo:rerun-if-changed=../Cargo.toml");
    files.extend(["../Cargo.lock", "../Cargo.toml"].map(PathBuf::from));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok().and_then(|o| String::from_utf8(o.stdout).ok());
    let version = version.as_deref().unwrap_or("unknown").trim().to_owned();

    // FNV-1a, 64 bits: the same on every platform and compiler.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().filter(|b| **b != b'\r') {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    files.iter().for_each(|file| add(&std::fs::read(file).unwrap_or_default()));
    add(version.as_bytes());
    for setting in ["CARGO_ENCODED_RUSTFLAGS", "OPT_LEVEL", "TARGET"] {
        add(std::env::var(setting).unwrap_or_default().as_bytes());
    }
    println!("cargo:rustc-env=VQBENCH_SOURCES={hash:016x}");
    println!("cargo:rustc-env=VQBENCH_RUSTC={version}");
}
