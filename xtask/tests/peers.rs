//! `bench-peers` as a person meets it: without Python, with a peer that misbehaves, and from end to end with one that plays
//! FAISS. The real one is not needed.

#![cfg(unix)]

mod common;

use common::{output_text, write, xtask};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A Python that claims to have the pinned FAISS, and plays it by `answers`: lines of a shell `case` on the request.
fn fake(folder: &Path, answers: &str) -> PathBuf {
    let pinned = include_str!("../peers/requirements.txt").lines().find_map(|line| line.strip_prefix("faiss-cpu=="));
    let version = pinned.expect("a pinned version");
    let script = format!(
        "#!/bin/sh
if [ \"$1\" = -c ]; then printf '3.12\\n{version}\\n'; exit; fi
while read -r request; do
    case \"$request\" in
        {answers}
        *'\"hello\"'*) echo '{{\"faiss\": \"{version}\", \"options\": \"FAKE\"}}' ;;
        *'\"time\"'*) echo '{{\"seconds\": 0.5, \"rounds\": 1}}' ;;
        *'\"quality\"'*) echo '{{\"mse\": 1e9}}' ;;
        *) echo '{{}}' ;;
    esac
done
"
    );
    let path = write(folder, "python", script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("can be run");
    path
}

/// Runs a quick comparison of one row with a fake peer: exit code and words.
fn quick(folder: &Path, answers: &str, more: &[&str]) -> (Option<i32>, String) {
    let python = fake(folder, answers);
    let mut command = xtask(folder);
    command.args(["bench-peers", "--quick", "--only", "sq8-encode", "--threads", "1", "--python"]).arg(python);
    let output = command.args(more).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

#[test]
fn what_is_missing_is_said_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "notpython", "#!/bin/sh\necho hello\n");
    write(folder.path(), "old", "#!/bin/sh\nprintf '3.6\\nnone\\n'\n");
    // Has Python's version and nothing else: neither `venv` nor FAISS.
    write(
        folder.path(),
        "bare",
        "#!/bin/sh\n[ \"$1\" = -c ] && printf '3.12\\nnone\\n' && exit\necho 'No module named venv' >&2\nexit 1\n",
    );
    for name in ["notpython", "old", "bare"] {
        let path = folder.path().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("can be run");
    }
    let mut golden = String::new();
    for (name, arguments) in [
        ("no python", &["--python", "/nonexistent/python3"][..]),
        ("something else by that name", &["--python", "./notpython"]),
        ("an old python", &["--python", "./old"]),
        ("no venv", &["--python", "./bare"]),
        ("no such row", &["--only", "hnsw"]),
        ("no such dataset", &["--data", "siftsmal"]),
    ] {
        let output = xtask(folder.path()).args(["bench-peers", "--quick"]).args(arguments).output().expect("starts");
        assert_eq!(output.status.code(), Some(2), "{name}");
        golden += &format!("=== {name}\n{}", output_text(&output, folder.path()));
    }
    assert!(!folder.path().join("runs").exists(), "nothing is written");
    insta::assert_snapshot!("what_is_missing_is_said_with_exit_code_2", golden);
}

#[test]
fn a_peer_that_answers_is_compared_with_and_everything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, text) = quick(folder.path(), "", &[]);
    assert_eq!(code, Some(0), "{text}");
    let run = folder.path().join("runs/bench-peers");
    let page = std::fs::read_to_string(run.join("peers.md")).expect("the page");
    assert!(text.contains(&page.lines().last().expect("lines").to_owned()), "the page is printed: {text}");
    assert!(page.contains("| sq8-encode |") && page.contains("10.0 kvec/s ±0%") && page.contains("(FAKE)"), "{page}");
    let table = std::fs::read_to_string(run.join("results.csv")).expect("the table");
    let count = |part: &str| table.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("encode_vectors_per_second"), 4, "two repeats of two sides: {table}");
    assert_eq!((count(",faiss,"), count(",mse,"), count("peer_speed_ratio,")), (6, 2, 1), "{table}");
    assert!(run.join("results.parquet").is_file());
    assert!(!run.join("peer").exists(), "the peer's folder is gone");
    // It is a run as any other, and the next one takes its place.
    let report = xtask(folder.path()).args(["report", "runs/bench-peers"]).output().expect("starts");
    assert_eq!(report.status.code(), Some(0), "{}", output_text(&report, folder.path()));
    assert_eq!(quick(folder.path(), "", &[]).0, Some(0));
}

#[test]
fn a_peer_that_misbehaves_is_a_failed_row_or_a_clear_refusal() {
    for (answers, said) in [
        (
            "*'\"time\"'*) echo 'out of memory' >&2; exit 9 ;;",
            "the peer ended before it answered (exit status: 9): out of memory",
        ),
        ("*'\"time\"'*) echo 'clustering...' ;;", "the peer sent an answer that cannot be read: `clustering...`"),
        (
            "*'\"time\"'*) echo '{\"seconds\": \"soon\"}' ;;",
            "the peer sent an answer that cannot be read: no number `seconds`",
        ),
        ("*'\"prepare\"'*) echo '{\"error\": \"KeyError\"}' ;;", "the peer failed: KeyError"),
        ("*'\"time\"'*) exec sleep 60 ;;", "the peer did not answer within 2 s"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let (code, text) =
            quick(folder.path(), answers, &["--timeout", if answers.contains("sleep") { "2s" } else { "60s" }]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("**failed**: sq8-encode: {said}")), "{said}: {text}");
        let table = std::fs::read_to_string(folder.path().join("runs/bench-peers/results.csv")).expect("the table");
        assert_eq!(table.lines().filter(|line| line.contains(",failed,")).count(), 2, "{table}");
    }
    for (answers, said) in [
        ("*'\"hello\"'*) exit 0 ;;", "FAISS cannot be used: the peer ended before it answered"),
        ("*'\"hello\"'*) echo '{\"faiss\": \"1.7.0\", \"options\": \"\"}' ;;", "FAISS is version 1.7.0"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let (code, text) = quick(folder.path(), answers, &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(said), "{said}: {text}");
        assert!(!folder.path().join("runs/bench-peers").exists(), "nothing is left behind");
    }
}
