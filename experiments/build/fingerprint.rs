//! A hash of everything that determines results: sources, dependencies and compiler. Shared by the build script and its
//! test.

use std::path::{Path, PathBuf};

/// Folders with the code that computes results, relative to this package. Whole folders are used, whatever the names of
/// their files: kernels are written in other languages, and new kinds of file are included automatically.
pub const SOURCES: [&str; 11] = [
    "../datasets/src",
    "../methods/adapters/clients",
    "../methods/adapters/shipped",
    "../methods/adapters/src",
    "../methods/cpu/src",
    "../methods/cuda/kernels",
    "../methods/cuda/src",
    "../methods/gradients/src",
    "../methods/src",
    "../methods/strict/src",
    "src",
];

/// The files that fix dependencies, their features and how they are compiled.
pub const MANIFESTS: [&str; 11] = [
    "../Cargo.lock",
    "../Cargo.toml",
    "../datasets/Cargo.toml",
    "../datasets/catalog.toml",
    "../methods/Cargo.toml",
    "../methods/adapters/Cargo.toml",
    "../methods/cpu/Cargo.toml",
    "../methods/cuda/Cargo.toml",
    "../methods/gradients/Cargo.toml",
    "../methods/strict/Cargo.toml",
    "Cargo.toml",
];

/// All files below [`SOURCES`] and in [`MANIFESTS`], in an order that does not depend on the file system. Leftovers of
/// editors (hidden files and backups) are skipped.
pub fn files(package: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = MANIFESTS.iter().map(|name| package.join(name)).collect();
    SOURCES.iter().for_each(|folder| below(&package.join(folder), &mut found));
    found.sort();
    found
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if path.is_dir() {
            below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// FNV-1a, 64 bits: the same on every platform and compiler.
pub struct Hash(pub u64);

impl Hash {
    /// The hash of nothing.
    pub fn new() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes and their length, so that bytes cannot move from one item to the next. Line endings are normalized.
    pub fn add(&mut self, bytes: &[u8]) {
        let plain = bytes.iter().filter(|byte| **byte != b'\r');
        let mut length = 0u64;
        for byte in plain {
            self.byte(*byte);
            length += 1;
        }
        length.to_le_bytes().into_iter().for_each(|byte| self.byte(byte));
    }

    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

/// Adds names and contents of all [`files`] of `package`.
pub fn add_files(package: &Path, hash: &mut Hash) {
    for file in files(package) {
        let name = file.strip_prefix(package).unwrap_or(&file);
        hash.add(name.to_string_lossy().replace('\\', "/").as_bytes());
        // A file that cannot be read cannot be compiled.
        hash.add(&std::fs::read(&file).unwrap_or_default());
    }
}
