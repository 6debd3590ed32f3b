//! `cargo xtask prove`: exit codes, what the terminal shows, and the files it writes.

mod common;

use common::xtask;
use std::fs;

#[test]
fn a_right_method_passes_and_the_files_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (junit, markdown) = (folder.path().join("proof.xml"), folder.path().join("proof.md"));
    let out = xtask(folder.path())
        .args(["prove", "SQ4", "--like", "scalar: { bits: 4 }", "--seed", "3", "--junit"])
        .arg(&junit)
        .arg("--markdown")
        .arg(&markdown)
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains(" 0 failed") && text.contains("seed 3"), "{text}");
    let junit = fs::read_to_string(junit).expect("JUnit XML");
    assert!(junit.contains("<testsuite name=\"laws\"") && junit.contains("failures=\"0\""), "{junit}");
    let markdown = fs::read_to_string(markdown).expect("Markdown");
    assert!(markdown.starts_with("# Proof: no mistake found") && markdown.contains("| parity | parity: Gaussian |"));
}

/// A method that is compared with a better one fails, and the failure can be seen again.
#[test]
fn a_worse_method_fails_with_exit_code_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = xtask(folder.path())
        .args(["prove", "scalar: { bits: 4 }", "--like", "scalar: { bits: 5 }", "--only", "parity: Gaussian"])
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{text}");
    for words in [
        "FAILED  parity: Gaussian",
        "  expected  an error of at most",
        "  rows      1025 × 16 Gaussian rows, seed 1070",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_cannot_be_run_ends_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, words) in [
        (vec!["prove", "rabitk"], "rabitq"),
        (vec!["prove", "pq: { m: 5 }", "--dim", "16"], "--dim"),
        (vec!["prove", "--", "/no/such/program"], "cannot run"),
        (vec!["prove"], "required"),
        (vec!["prove", "--params", "[1]", "--", "cat"], "mapping"),
    ] {
        let out = xtask(folder.path()).args(&arguments).output().expect("runs");
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}
