//! Mutated input from the command line: what it says, and where inputs go.

mod common;

use common::{output_text, write, xtask};
use std::path::Path;

fn fuzz(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).arg("fuzz").args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

#[test]
fn targets_are_listed_chosen_and_tried() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, text) = fuzz(folder.path(), &["--list"]);
    assert_eq!(code, Some(0), "{text}");
    for target in ["npy ", "parquet ", "npy.gz ", "model ", "experiment ", "submission "] {
        assert!(text.lines().any(|line| line.starts_with(target) && line.ends_with("mutations")), "{target}: {text}");
    }
    let (code, text) = fuzz(folder.path(), &["fvecs", "yaml", "--cases", "200"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("400 mutations of 2 targets in ") && text.contains(": 0 targets failed"), "{text}");
    assert!(!folder.path().join("target").exists(), "nothing was found");
    let (code, text) = fuzz(folder.path(), &["fvec"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("there is no target `fvec`") && text.contains("did you mean `fvecs`?"), "{text}");
}

#[test]
fn input_to_start_from_is_written_and_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, text) = fuzz(folder.path(), &["npy", "message", "--corpus", "corpus"]);
    assert_eq!(code, Some(0), "{text}");
    let first = folder.path().join("corpus/npy/000");
    assert!(std::fs::read(&first).expect("written").starts_with(b"\x93NUMPY"));
    assert!(folder.path().join("corpus/message/000").is_file());
    write(folder.path(), "odd", b"\x93NUMPY");
    let (code, text) = fuzz(folder.path(), &["npy", "--input", "corpus/npy/000", "odd"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches(": nothing is wrong").count(), 2, "{text}");
    let (code, text) = fuzz(folder.path(), &["npy", "--input", "none"]);
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = fuzz(folder.path(), &["npy", "yaml", "--input", "odd"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("`--input` needs one target"), "{text}");
}
