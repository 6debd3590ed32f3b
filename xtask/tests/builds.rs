//! `compare-builds`: two builds run in turn, nothing finished is lost, and what cannot be compared is refused.

mod common;

use common::{output_text, write, xtask};
use record::RunFolder;
use std::path::{Path, PathBuf};

const TIMED: &str = "name: t
seeds: [1, 2]
threads: 1
datasets: [{ synthetic: mixture, dim: 8, n: 300, queries: 10 }]
methods:
  - pq: { bits: 2, iterations: 2 }
    sweep: { m: [2, 4] }
measure: { distortion: {}, throughput: { min_time: 1ms, repeats: 2 } }
";

/// The executable of this build.
const THIS: &str = env!("CARGO_BIN_EXE_xtask");

fn compare(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).arg("compare-builds").args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// The folder of the only comparison below `out`.
fn only(out: &Path) -> PathBuf {
    let mut folders = std::fs::read_dir(out).expect("a folder").flatten().map(|entry| entry.path());
    let first = folders.next().expect("one");
    assert_eq!(folders.next(), None, "one pair of builds");
    first
}

#[test]
fn every_trial_runs_with_the_base_twice_and_the_new_build_once() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", TIMED);
    let arguments = [THIS, "e.yaml", "--out", "out", "--json", "out.json", "--junit", "out.xml"];
    let (code, text) = compare(folder.path(), &arguments);
    // Timings of so little work may differ by anything; quality is equal.
    assert!(matches!(code, Some(0 | 1)), "{text}");
    assert!(text.contains("[4/4]") && text.contains("hardly any loss of speed can be seen"), "{text}");
    let out = only(&folder.path().join("out"));
    for side in ["base", "new", "base-again"] {
        let run = RunFolder::new(out.join(side)).load().expect("a run");
        assert_eq!(run.records.len(), 4, "{side}");
        assert!(!out.join(side).join("report").exists(), "nobody asked for a report");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).expect("written")).expect("JSON");
    assert_eq!(json["speed"], "in_turn");
    let checks = json["checks"].as_array().expect("a list");
    let timed = checks.iter().filter(|check| check["ratio"].is_object()).count();
    assert!(timed >= 4, "{json:#}");
    let exact = checks.iter().filter(|check| check["ratio"].is_null());
    assert!(exact.clone().count() >= 4 && exact.clone().all(|check| check["change"] == "none"), "{json:#}");
    // What has run is not run again.
    let written = |side: &str| {
        let trials = std::fs::read_dir(out.join(side).join("trials")).expect("a folder");
        let mut times: Vec<_> =
            trials.flatten().map(|e| e.metadata().and_then(|m| m.modified()).expect("a time")).collect();
        times.sort_unstable();
        times
    };
    let before = written("base");
    compare(folder.path(), &arguments);
    assert_eq!(written("base"), before);
    only(&folder.path().join("out"));
    // Another build: its trials run in turn with new ones of the base.
    let other = folder.path().join("other");
    std::fs::copy(THIS, &other).expect("copies");
    let (code, text) = compare(folder.path(), &[THIS, "e.yaml", "--out", "out", "--quality-only", "--new", "./other"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(std::fs::read_dir(folder.path().join("out")).expect("a folder").count(), 2);
    let (code, text) =
        compare(folder.path(), &[THIS, "e.yaml", "--out", "q", "--quality-only", "--filter", "m=2 · cpu · seed 1"]);
    assert!(code == Some(0) && text.contains("[1/1]"), "{text}");
}

#[test]
fn a_whole_description_selects_one_trial() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", TIMED.replace("seeds: [1, 2]", "seeds: [1, 10]"));
    for (filter, expected) in [("m=4 · cpu · seed 1", "2 trials"), ("mixture16-8 · pq m=4 · cpu · seed 1", "1 trial")]
    {
        let output = xtask(folder.path()).args(["experiments", "e.yaml", "--dry-run", "--filter", filter]).output();
        let text = output_text(&output.expect("starts"), folder.path());
        assert!(text.contains(&format!("\n{expected}, ")), "{filter}: {text}");
    }
}

#[test]
fn what_is_no_build_and_what_has_no_speed_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", TIMED);
    write(folder.path(), "slow.yaml", TIMED.replace(", throughput: { min_time: 1ms, repeats: 2 }", ""));
    for (arguments, expected) in [
        (&["nowhere/xtask", "e.yaml"][..], "nowhere/xtask could not be started"),
        (&["true", "e.yaml"], "has no `--no-report`"),
        (&[THIS, "e.yaml", "--new", "true"], "has no `--no-report`"),
        (&[THIS, "slow.yaml"], "t measures no speed"),
        (&[THIS, "none.yaml"], "cannot read none.yaml"),
        (&[THIS, "e.yaml", "--filter", "lbg"], "no trial matches `--filter lbg`"),
        (&[THIS, "e.yaml", "--tolerances", "none.yaml"], "cannot read none.yaml"),
    ] {
        let (code, text) = compare(folder.path(), arguments);
        assert!(code == Some(2) && text.contains(expected), "{arguments:?}: {text}");
    }
    assert!(!folder.path().join("runs").exists(), "a refused request leaves nothing behind");
}

#[cfg(unix)]
#[test]
fn an_interrupted_comparison_continues() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", TIMED);
    let arguments = ["compare-builds", THIS, "e.yaml", "--out", "out", "--quality-only"];
    let mut child = xtask(folder.path()).args(arguments).stderr(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.starts_with("[1/4]"))));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("signals");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("ends").code(), Some(2), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
    let (code, text) = compare(folder.path(), &arguments[1..]);
    assert!(code == Some(0) && text.contains("no regression"), "{text}");
}
