//! `query` from the command line: answers, files and mistakes.

mod common;

use record::Machine;
use std::path::Path;
use std::process::Output;

fn write_run(root: &Path) {
    common::write_run(root, &Machine::default(), &[], 0.25);
}

fn xtask(folder: &Path, arguments: &[&str]) -> Output {
    common::xtask(folder).args(arguments).output().expect("starts")
}

const MEANS: &str = "SELECT run, label, AVG(value) AS mean FROM results GROUP BY run, label ORDER BY run";

#[test]
fn answers_are_printed_or_written() {
    let folder = tempfile::tempdir().expect("a folder");
    write_run(&folder.path().join("runs/one"));
    write_run(&folder.path().join("runs/two"));
    let asked = |more: &[&str]| {
        let output = xtask(folder.path(), &[&["query", MEANS, "runs/one", "runs/two"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(asked(&[]), "run  label    mean\none  Method  0.375\ntwo  Method  0.375\n");
    assert_eq!(asked(&["--format", "csv"]), "run,label,mean\none,Method,0.375\ntwo,Method,0.375\n");
    assert_eq!(asked(&["--out", "a.md"]), "");
    let page = std::fs::read_to_string(folder.path().join("a.md")).expect("a file");
    assert_eq!(page, "| run | label | mean |\n|--|--|--:|\n| one | Method | 0.375 |\n| two | Method | 0.375 |\n");
    asked(&["--out", "a.parquet"]);
    assert!(std::fs::read(folder.path().join("a.parquet")).expect("a file").starts_with(b"PAR1"));
    // Asking writes nothing into a run.
    assert!(!folder.path().join("runs/one/results.parquet").exists());
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    write_run(&folder.path().join("one"));
    for (arguments, expected) in [
        (&["query", "SELECT nmse FROM results", "one"][..], "there is no column `nmse`"),
        (&["query", "SELECT nmse FROM", "one"], "columns"),
        (&["query", MEANS, "two"], "is not a run folder"),
        (&["query", MEANS, "one", "--format", "parquet"], "Parquet is not for the terminal"),
        (&["query", MEANS, "one", "--out", "answer.xls"], "ends in none of .parquet, .csv, .md and .txt"),
    ] {
        let output = xtask(folder.path(), arguments);
        let told = String::from_utf8_lossy(&output.stderr).replace("\n", " ");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
