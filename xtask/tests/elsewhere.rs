//! Runs whose trials are handed to others as a list of commands: what the commands do, in whatever order and however often they
//! run, and what the process that collects them says.

#![cfg(unix)]

mod common;
#[path = "common/quality.rs"]
mod quality;

use common::{output_text, write, xtask};
use quality::quality;
use record::RunFolder;
use std::path::Path;
use std::process::Command;

const SMALL: &str = "name: t
seeds: [1, 2, 3]
threads: 1
executor: { tasks: { task_time: 1s } }
datasets:
  - { synthetic: gaussian, dim: 6, n: 300, queries: 10, name: first }
  - { synthetic: ar1, dim: 6, n: 300, queries: 10, name: second }
methods:
  - scalar: {}
    sweep: { bits: [2, 4] }
measure: { rate: {}, distortion: {}, recall: { k: [5] } }
";

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// The commands of a file of tasks.
fn commands(folder: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("there").join(name)).expect("a file of commands");
    text.lines().map(str::to_owned).collect()
}

/// A command, as a shell would run it.
fn shell(folder: &Path, command: &str) -> Command {
    let like = xtask(folder);
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).env_remove("VQBENCH_DATA");
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn done(folder: &Path, command: &str) -> (Option<i32>, String) {
    let output = shell(folder, command).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// Submits the run; it has two preparations, and tasks of at most one estimated second.
fn submitted() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "e.yaml", SMALL);
    let (code, text) = run(folder.path(), &["experiments", "e.yaml", "--out", "there"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("t: 0 trials succeeded, 0 failed, 12 not run"), "{text}");
    assert!(text.contains("there/tasks.txt has 7 commands, in the order of their stages"), "{text}");
    folder
}

#[test]
fn commands_that_a_shell_runs_give_what_a_local_run_gives() {
    let folder = submitted();
    let folder = folder.path();
    assert_eq!(commands(folder, "tasks/prepare.txt").len(), 2);
    assert_eq!(commands(folder, "tasks/trials-shared.txt").len(), 4, "three trials of 0.3 s each");
    for command in commands(folder, "tasks.txt") {
        let (code, text) = done(folder, &command);
        assert_eq!(code, Some(0), "{command}: {text}");
    }
    assert!(folder.join("there/report/index.html").exists(), "the last command makes the report");
    let (code, text) = run(folder, &["experiments", "--attach", "there"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("0 trials to run, 12 ended before and are kept"), "{text}");
    assert!(text.contains("there: 12 trials succeeded, 0 failed"), "{text}");

    let (code, text) = run(folder, &["experiments", "e.yaml", "--executor", "here", "--out", "here"]);
    assert_eq!(code, Some(0), "{text}");
    let of = |run: &str| quality(&folder.join(run)).unwrap_or_else(|error| panic!("{run}: {error}"));
    assert_eq!(of("here"), of("there"));
}

#[test]
fn what_is_missing_is_listed_anew_and_tasks_that_run_twice_change_nothing() {
    let folder = submitted();
    let folder = folder.path();
    let trials = commands(folder, "tasks/trials-shared.txt");
    let (code, text) = done(folder, &trials[0]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("3 trials cannot run: first has not been prepared"), "{text}");
    assert!(text.contains("first run the commands of FOLDER/there/tasks/prepare.txt"), "{text}");

    let prepare = commands(folder, "tasks/prepare.txt");
    prepare.iter().for_each(|command| assert_eq!(done(folder, command).0, Some(0), "{command}"));
    // The same task several times at once.
    let at_once: Vec<_> = (0..3).map(|_| shell(folder, &trials[0]).spawn().expect("starts")).collect();
    at_once.into_iter().for_each(|mut task| assert!(task.wait().expect("ends").success()));
    let kept = RunFolder::new(folder.join("there")).ended_ids();
    assert_eq!(kept.len(), 3);
    let before = RunFolder::new(folder.join("there")).trial(&kept[0]).expect("a record");
    assert_eq!(done(folder, &trials[0]).0, Some(0));
    assert_eq!(RunFolder::new(folder.join("there")).trial(&kept[0]), Some(before), "the first record stands");
    let record = folder.join("there/trials").join(format!("{}.json", kept[0]));
    std::fs::write(&record, "{\"half").expect("writes");
    assert_eq!(done(folder, &trials[0]).0, Some(0));
    assert!(RunFolder::new(folder.join("there")).trial(&kept[0]).is_some(), "a damaged record does not stand");

    let (code, text) = run(folder, &["experiments", "--attach", "there"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("there: 3 trials succeeded, 0 failed, 9 not run"), "{text}");
    assert_eq!(commands(folder, "tasks/prepare.txt").len(), 0, "they are prepared");
    let rest = commands(folder, "tasks/trials-shared.txt");
    assert!(rest.len() == 3 && kept.iter().all(|id| rest.iter().all(|line| !line.contains(id.as_str()))), "{rest:?}");
    rest.iter().for_each(|command| assert_eq!(done(folder, command).0, Some(0), "{command}"));
    let (_, text) = run(folder, &["experiments", "--attach", "there"]);
    assert!(text.contains("there: 12 trials succeeded, 0 failed\n"), "{text}");
}

#[test]
fn what_is_not_of_this_run_or_build_is_refused() {
    let folder = submitted();
    let folder = folder.path();
    for (arguments, words) in [
        (vec!["trials", "there", "--only", "0123"], "there has no trial 0123 to run"),
        (vec!["prepare", "there", "--only", "third"], "there has no dataset `third`; it has first, second"),
        (vec!["finish", "nowhere"], "there is no run in nowhere"),
        (vec!["experiments", "--attach", "nowhere"], "there is no run in nowhere"),
        (vec!["experiments", "e.yaml", "--executor", "pbs"], "unknown executor `pbs`; use here, tasks or slurm"),
    ] {
        let (code, text) = run(folder, &arguments);
        assert!(code == Some(2) && text.contains(words), "{arguments:?}: {text}");
    }
    assert!(!folder.join("nowhere").exists());

    write(folder, "bare.yaml", SMALL.replace("threads: 1\n", "budget: 5m\ndevice: [cpu, auto]\n"));
    let (code, text) = run(folder, &["experiments", "bare.yaml"]);
    assert_eq!(code, Some(2), "{text}");
    for words in ["`threads` is not given", "`budget` needs all trials on this machine", "`device` is `auto`"] {
        assert!(text.contains(words), "{words}: {text}");
    }

    write(folder, "hasty.yaml", SMALL.replace("tasks: { task_time: 1s }", "slurm: { time: 5m }"));
    let (code, text) = run(folder, &["experiments", "hasty.yaml"]);
    let words = "tasks of 10m (`task_time`) do not end within a `time` of 5m";
    assert!(code == Some(2) && text.contains(words), "{text}");

    // Another process follows the run.
    let lock = RunFolder::new(folder.join("there")).prepare().expect("nobody uses it");
    let (code, text) = run(folder, &["experiments", "--attach", "there"]);
    assert!(code == Some(2) && text.contains("another process runs or follows there"), "{text}");
    drop(lock);

    let plan = folder.join("there/tasks/plan.json");
    let text = std::fs::read_to_string(&plan).expect("a plan");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["sources"] = "0123456789abcdef".into();
    std::fs::write(&plan, json.to_string()).expect("writes");
    let task = commands(folder, "tasks/trials-shared.txt").remove(0);
    let (code, text) = done(folder, &task);
    let text = text.replace("\n  │ ", " ");
    assert!(code == Some(2) && text.contains("there was planned by another build: vqbench"), "{text}");
    assert!(text.contains("start the executable that planned it, or plan it again with this one"), "{text}");
    std::fs::write(&plan, "{\"half").expect("writes");
    let (code, text) = done(folder, &task);
    assert!(code == Some(2) && text.contains("plan.json is damaged"), "{text}");
}
