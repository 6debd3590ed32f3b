//! A finished trial is reused as long as what computed it stands. That nothing which computes is left out of the fingerprint
//! of the sources, whatever its folder and its extension.

#[path = "../build/fingerprint.rs"]
mod fingerprint;

use fingerprint::{Hash, MANIFESTS, SOURCES, add_files, files};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A tree of the same folders with one file in each.
fn tree(root: &Path) -> PathBuf {
    let package = root.join("experiments");
    std::fs::create_dir(&package).expect("a folder");
    for folder in SOURCES {
        std::fs::create_dir_all(package.join(folder).join("deeper")).expect("a folder");
        std::fs::write(package.join(folder).join("lib.rs"), "fn main() {}").expect("writes");
    }
    for manifest in MANIFESTS {
        std::fs::write(package.join(manifest), "[package]").expect("writes");
    }
    package
}

fn hash(package: &Path) -> u64 {
    let mut hash = Hash::new();
    add_files(package, &mut hash);
    hash.0
}

#[test]
fn every_file_of_the_sources_counts_by_its_name_and_its_content() {
    let root = tempfile::tempdir().expect("a folder");
    let package = tree(root.path());
    let mut seen = BTreeSet::from([hash(&package)]);
    let mut changes = |what: &str| assert!(seen.insert(hash(&package)), "{what} changes nothing");
    for folder in SOURCES {
        for name in ["a.rs", "kernel.cu", "grid.cuh", "grid.hpp", "table.bin", "deeper/LICENSE"] {
            let path = package.join(folder).join(name);
            std::fs::write(&path, "one").expect("writes");
            changes(&format!("a new {folder}/{name}"));
            std::fs::write(&path, "two").expect("writes");
            changes(&format!("another {folder}/{name}"));
        }
    }
    for manifest in MANIFESTS {
        std::fs::write(package.join(manifest), "[dependencies]").expect("writes");
        changes(manifest);
    }
    // The same bytes, divided in another way.
    let (a, b) = (package.join("src/x.rs"), package.join("src/y.rs"));
    std::fs::write(&a, "ab").and_then(|()| std::fs::write(&b, "c")).expect("writes");
    changes("two files");
    std::fs::write(&a, "a").and_then(|()| std::fs::write(&b, "bc")).expect("writes");
    changes("what moves from one file to the next");
    let before = hash(&package);
    std::fs::write(package.join("src/.x.rs.swp"), "an editor at work").expect("writes");
    std::fs::write(package.join("src/x.rs~"), "a backup").expect("writes");
    std::fs::write(&b, "b\r\nc").expect("writes");
    let with_return = hash(&package);
    std::fs::write(&b, "b\nc").expect("writes");
    assert_eq!(hash(&package), with_return, "ends of lines of another system");
    std::fs::write(&b, "bc").expect("writes");
    assert_eq!(hash(&package), before);
}

/// The packages that compute: this one and all of the workspace that it needs, but for the schema of results.
#[test]
fn every_package_that_computes_is_fingerprinted() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(package())
        .output()
        .expect("cargo");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo's metadata");
    let of = |folder: &Path| {
        let manifest = folder.join("Cargo.toml");
        let packages = metadata["packages"].as_array().expect("packages").iter();
        packages.into_iter().find(|p| p["manifest_path"].as_str().map(Path::new) == Some(&manifest)).expect("a package")
    };
    let (mut waiting, mut seen) = (vec![package()], BTreeSet::new());
    while let Some(folder) = waiting.pop() {
        if seen.insert(folder.clone()) {
            let dependencies = of(&folder)["dependencies"].as_array().expect("dependencies").clone();
            let needed = dependencies.into_iter().filter(|d| d["kind"].is_null());
            waiting.extend(needed.filter_map(|d| d["path"].as_str().map(PathBuf::from)));
        }
    }
    let schema = package().join("record");
    assert!(seen.remove(&schema) && seen.len() >= 6, "{seen:?}");
    let listed = |name: &str| package().join(name).canonicalize().expect("it is there");
    let sources: BTreeSet<PathBuf> = SOURCES.iter().map(|name| listed(name)).collect();
    let manifests: BTreeSet<PathBuf> = MANIFESTS.iter().map(|name| listed(name)).collect();
    for folder in seen {
        assert!(sources.contains(&folder.join("src")), "{} is not fingerprinted", folder.join("src").display());
        assert!(manifests.contains(&folder.join("Cargo.toml")), "{} is not", folder.join("Cargo.toml").display());
    }
}

/// Kernels are text that is compiled at run time: what the sources include is fingerprinted too, wherever it lies. The
/// emulated device is no device of experiments.
#[test]
fn what_the_sources_include_is_fingerprinted() {
    let all: BTreeSet<PathBuf> = files(&package()).iter().filter_map(|file| file.canonicalize().ok()).collect();
    let mut included = 0;
    for file in all.iter().filter(|file| file.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(file).expect("text");
        for part in text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1)) {
            let name = part.split('"').next().unwrap_or_default();
            let path = file.with_file_name(name).canonicalize().expect("what is included is there");
            if !path.parent().is_some_and(|folder| folder.ends_with("methods/cuda/emulator")) {
                assert!(all.contains(&path), "{} is not fingerprinted", path.display());
                included += 1;
            }
        }
    }
    assert!(included > 10, "{included}");
}
