//! What goes wrong where tasks run, each tried for real: a clear row or a clear refusal, and what has ended stays.
#![cfg(unix)]

mod common;

use common::{output_text, write, xtask};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::RunFolder;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const EXPERIMENT: &str = "name: t
seeds: [1, 2]
threads: 1
executor: { tasks: { task_time: 1s } }
datasets: [{ path: rows.csv, queries: asked.csv, train: base, name: rows }]
methods:
  - scalar: {}
    sweep: { bits: [1, 2, 4] }
measure: { rate: {}, distortion: {} }
";

/// Plans the experiment in `folder` as tasks. Returns their commands: of the dataset, of trials, of the report.
fn planned(folder: &Path, experiment: &str) -> Vec<String> {
    let rows: String = (0..100).map(|i| format!("{},{},{},{}\n", i % 7, i % 5, (i * i) % 11, i)).collect();
    write(folder, "rows.csv", format!("a,b,c,d\n{rows}"));
    write(folder, "asked.csv", "a,b,c,d\n1,2,3,4\n4,3,2,1\n");
    write(folder, "e.yaml", experiment);
    let (code, text) = run(folder, &["experiments", "e.yaml", "--out", "run"]);
    assert_eq!(code, Some(0), "{text}");
    let tasks = std::fs::read_to_string(folder.join("run/tasks.txt")).expect("tasks");
    let tasks: Vec<String> = tasks.lines().map(str::to_owned).collect();
    tasks
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// Runs a task as a scheduler does. `setup` is shell before it.
fn task(folder: &Path, setup: &str, command: &str) -> (Option<i32>, String) {
    let script = format!("{setup}\nexec {command}");
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

fn records(folder: &Path) -> usize {
    RunFolder::new(folder.join("run")).ended_ids().len()
}

#[test]
fn another_build_carries_out_no_task() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = planned(folder.path(), EXPERIMENT);
    let plan = folder.path().join("run/tasks/plan.json");
    let text = std::fs::read_to_string(&plan).expect("a plan");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let sources = value["sources"].as_str().expect("a digest");
    write(folder.path(), "run/tasks/plan.json", text.replace(sources, "0123456789abcdef"));
    for command in &tasks {
        let (code, text) = task(folder.path(), "", command);
        assert!(code == Some(2) && text.contains("was planned by another build"), "{text}");
        assert!(text.contains("0123456789abcdef") && text.contains(sources), "{text}");
    }
    let (code, text) = run(folder.path(), &["experiments", "--attach", "run"]);
    assert!(code == Some(2) && text.contains("was planned by another build"), "{text}");
    assert_eq!(records(folder.path()), 0);
    // The program is built anew while a task runs.
    write(folder.path(), "run/tasks/plan.json", value.to_string());
    let requests = folder.path().join("run/tasks/requests.jsonl");
    let asked = std::fs::read_to_string(&requests).expect("requests").replace(sources, "0123456789abcdef");
    std::fs::write(&requests, asked).expect("writes");
    tasks.iter().take(2).for_each(|command| drop(task(folder.path(), "", command)));
    let folder = RunFolder::new(folder.path().join("run"));
    let reasons: Vec<String> = folder.ended_ids().iter().filter_map(|id| folder.trial(id)?.reason).collect();
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| reason.contains("built anew")), "{reasons:?}");
    assert!(folder.ended_ids().iter().all(|id| folder.trial(id).is_some_and(|record| record.failed_in_passing())));
}

#[test]
fn vectors_that_vanish_are_rows_that_run_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = planned(folder.path(), EXPERIMENT);
    let (rows, away) = (folder.path().join("rows.csv"), folder.path().join("away.csv"));
    std::fs::rename(&rows, &away).expect("moves");
    let (code, text) = task(folder.path(), "", &tasks[0]);
    assert!(code == Some(2) && text.contains("cannot read") && text.contains("rows.csv"), "{text}");
    let (code, text) = task(folder.path(), "", &tasks[1]);
    assert!(code == Some(2) && text.contains("rows has not been prepared"), "{text}");
    assert_eq!(records(folder.path()), 0);
    std::fs::rename(&away, &rows).expect("moves");
    let (code, text) = task(folder.path(), "", &tasks[0]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = task(folder.path(), "", &tasks[1]);
    assert_eq!(code, Some(0), "{text}");
    let before = records(folder.path());
    std::fs::rename(&rows, &away).expect("moves");
    tasks[2..]
        .iter()
        .for_each(|command| assert_eq!(task(folder.path(), "", command).0.map(|code| code < 2), Some(true)));
    assert_eq!(records(folder.path()), 6, "each trial has its row");
    std::fs::rename(&away, &rows).expect("moves");
    let (code, text) = run(folder.path(), &["experiments", "--attach", "run", "--no-report"]);
    assert!(code == Some(1) && text.contains(&format!("{before} trials succeeded, {} failed", 6 - before)), "{text}");
    assert!(
        text.contains("failed for an external reason: `cargo xtask experiments FILE --out run` runs them again"),
        "{text}"
    );
    // The vectors are back, but other ones.
    let other = std::fs::read_to_string(&rows).expect("rows").replace("6,", "7,");
    let (code, text) = run(folder.path(), &["experiments", "e.yaml", "--out", "run", "--executor", "here"]);
    assert!(code == Some(0) && text.contains("6 trials succeeded, 0 failed"), "{text}");
    let tasks = planned(folder.path(), &EXPERIMENT.replace("[1, 2]", "[3]"));
    write(folder.path(), "rows.csv", other);
    let (code, text) = task(folder.path(), "", tasks.iter().find(|task| task.contains(" trials ")).expect("trials"));
    assert_eq!(code, Some(0), "{text}");
    let failed = RunFolder::new(folder.path().join("run")).ended_ids().into_iter();
    let failed = failed.filter_map(|id| RunFolder::new(folder.path().join("run")).trial(&id)?.reason);
    let reasons: Vec<String> = failed.collect();
    assert!(
        !reasons.is_empty()
            && reasons.iter().all(|reason| reason.contains("the vectors of rows have changed since this run began")),
        "{reasons:?}"
    );
}

#[test]
fn a_full_disk_ends_a_task_and_leaves_no_half_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = planned(folder.path(), EXPERIMENT);
    let (code, text) = task(folder.path(), "", &tasks[0]);
    assert_eq!(code, Some(0), "{text}");
    // No file may have more than 512 bytes; without the trap, the task would be killed.
    let (code, text) = task(folder.path(), "trap '' XFSZ; ulimit -f 1", &tasks[1]);
    assert!(code == Some(2) && text.contains("cannot write") && text.contains("File too large"), "{text}");
    let left = std::fs::read_dir(folder.path().join("run/trials")).expect("a folder").count();
    assert_eq!(left, 0, "neither a record nor a part of one");
    let (code, text) = task(folder.path(), "", &tasks[1]);
    assert!(code == Some(0) && records(folder.path()) > 0, "{text}");
}

#[test]
fn a_folder_that_disappears_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = planned(folder.path(), EXPERIMENT);
    std::fs::rename(folder.path().join("run"), folder.path().join("away")).expect("moves");
    for command in &tasks {
        let (code, text) = task(folder.path(), "", command);
        assert!(code == Some(2) && text.contains("there is no run in FOLDER/run"), "{text}");
    }
    let (code, text) = run(folder.path(), &["experiments", "--attach", "run"]);
    assert!(code == Some(2) && text.contains("there is no run in run"), "{text}");
    assert!(!folder.path().join("run").exists(), "nothing is left in its place");
}

#[test]
fn machines_that_differ_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let tasks = planned(folder.path(), EXPERIMENT);
    for (number, command) in tasks.iter().enumerate() {
        let setup = if number == 1 { "export VQBENCH_ISA=portable" } else { "" };
        let (code, text) = task(folder.path(), setup, command);
        assert_eq!(code, Some(0), "{text}");
    }
    let run = RunFolder::new(folder.path().join("run")).results().expect("a run");
    let sets: Vec<&str> = run.machines().iter().map(|machine| machine.simd.as_str()).collect();
    assert!(sets.len() == 2 && sets[0] == "portable", "{sets:?}");
    let page = std::fs::read_to_string(folder.path().join("run/report/report.md")).expect("a report");
    assert!(sets.iter().all(|set| page.contains(&format!(", {set}, "))), "both machines are named");
}

/// The processes that another one has started.
fn children(parent: u32) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of = |name: &str| {
        let pid: i32 = name.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let own: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        (own == parent).then_some(pid)
    };
    entries.filter_map(|entry| of(entry.file_name().to_str()?)).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_trial_that_ends_with_its_task_leaves_no_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = EXPERIMENT.replace(
        "path: rows.csv, queries: asked.csv, train: base, name: rows",
        "synthetic: gaussian, dim: 32, n: 60000, queries: 1",
    );
    let slow = slow.replace("scalar: {}\n    sweep: { bits: [1, 2, 4] }", "lbg: {}\n    sweep: { bits: [10, 11] }");
    let tasks = planned(folder.path(), &slow);
    let (code, text) = task(folder.path(), "", &tasks[0]);
    assert_eq!(code, Some(0), "{text}");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {}", tasks[1])]).current_dir(folder.path());
    let mut task = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let begun = Instant::now();
    while children(task.id()).is_empty() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // A scheduler tells all processes of a task, in any order.
    let end = |pid| kill(Pid::from_raw(pid), Signal::SIGTERM).expect("runs");
    children(task.id()).into_iter().for_each(end);
    std::thread::sleep(Duration::from_millis(100));
    end(task.id() as i32);
    assert_eq!(task.wait().expect("ends").code(), Some(1));
    assert_eq!(records(folder.path()), 0, "it was not the trial that failed");
}
