//! `report --verify` from the command line: what it finds, and how it ends.

mod common;

use common::{output_text, write_run, xtask};
use record::{DatasetFacts, Machine};
use std::fs;
use std::path::Path;

/// What is done to a report or run, and what is then said.
type Change = (&'static str, fn(&Path));

/// A run of two trials with its report.
fn reported() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let machine = Machine { git_revision: Some("0123abcd".into()), ..Machine::default() };
    let facts = DatasetFacts { name: "d".into(), dim: 2, base: 3, fingerprint: "f".into(), ..DatasetFacts::default() };
    write_run(&dir.path().join("run"), &machine, &[facts], 0.015_625);
    let (code, text) = report(dir.path(), &["run"]);
    assert_eq!(code, Some(0), "{text}");
    dir
}

fn report(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).arg("report").args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

fn verify(folder: &Path) -> (Option<i32>, String) {
    report(folder, &["--verify", "run"])
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("reads");
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).expect("writes");
}

#[test]
fn an_untouched_report_is_verified() {
    let dir = reported();
    let (code, text) = verify(dir.path());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("its tables agree with the records of 2 trials, 2 values"), "{text}");
    assert!(text.contains("all agree"), "{text}");
    let provenance = fs::read_to_string(dir.path().join("run/report/provenance.json")).expect("a file");
    assert!(provenance.contains("\"0123abcd\""), "{provenance}");
    // Some formats only, in a folder with files of others.
    fs::create_dir(dir.path().join("paper")).expect("a folder");
    fs::write(dir.path().join("paper/thesis.tex"), "years of work").expect("writes");
    let (code, text) = report(dir.path(), &["run", "--out", "paper", "--format", "latex", "--format", "csv"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = report(dir.path(), &["--verify", "run", "--out", "paper"]);
    assert!(code == Some(0) && text.contains("recomputed 3 files (CSV tables: 1, with"), "{text}");
}

#[test]
fn every_change_of_a_report_is_found() {
    let changes: [Change; 5] = [
        ("tables/d.csv differs: row 1 (Method), column `", |report| {
            replace(&report.join("tables/d.csv"), "0.0234", "0.0235");
        }),
        ("index.html differs: line ", |report| replace(&report.join("index.html"), "0.0234", "0.0235")),
        ("figures/d-rate-distortion.png differs: byte ", |report| {
            let path = report.join("figures/d-rate-distortion.png");
            let mut bytes = fs::read(&path).expect("reads");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).expect("writes");
        }),
        ("tables/d.tex is missing", |report| fs::remove_file(report.join("tables/d.tex")).expect("removes")),
        ("tables/e.csv is not part of this report", |report| {
            fs::write(report.join("tables/e.csv"), "a,b\n").expect("writes")
        }),
    ];
    for (expected, change) in changes {
        let dir = reported();
        change(&dir.path().join("run/report"));
        let (code, text) = verify(dir.path());
        assert_eq!(code, Some(1), "{expected}: {text}");
        assert!(text.contains(expected) && text.contains("; files that differ: 1"), "{expected}: {text}");
    }
}

#[test]
fn a_changed_record_is_found_and_nothing_is_written() {
    let dir = reported();
    replace(&dir.path().join("run/trials/a1.json"), "0.015625", "0.015");
    let table = fs::read(dir.path().join("run/results.parquet")).expect("reads");
    let (code, text) = verify(dir.path());
    assert_eq!(code, Some(1), "{text}");
    let expected = "results.parquet: row 1 (trial a1 nmse): the column `value` has 0.015625; the records give 0.015\n";
    assert!(text.contains(expected) && text.contains("results.csv: line 2 is"), "{text}");
    // The report itself still says what the tables say.
    assert!(text.contains("all agree"), "{text}");
    assert_eq!(fs::read(dir.path().join("run/results.parquet")).expect("reads"), table);
}

#[test]
fn what_cannot_be_verified_has_another_exit_code() {
    let breaks: [Change; 4] = [
        ("says how the report was rendered", |run| fs::remove_dir_all(run.join("report")).expect("removes")),
        ("results.parquet is damaged", |run| fs::write(run.join("results.parquet"), "no table").expect("writes")),
        ("has no tables of results", |run| fs::remove_file(run.join("tables.json")).expect("removes")),
        ("is a report of other runs: f", |run| {
            replace(&run.join("report/provenance.json"), "\"e\"", "\"f\"");
        }),
    ];
    for (expected, harm) in breaks {
        let dir = reported();
        harm(&dir.path().join("run"));
        let (code, text) = verify(dir.path());
        assert_eq!(code, Some(2), "{expected}: {text}");
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(expected), "{expected}: {text}");
    }
}
