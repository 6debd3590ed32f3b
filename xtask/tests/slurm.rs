//! Runs that a real Slurm carries out on two nodes: equal to local ones, whatever is cancelled or killed, and refused with a
//! reason where the cluster refuses.
#![cfg(unix)]

mod common;
#[path = "common/quality.rs"]
mod quality;
#[path = "common/slurm.rs"]
mod slurm;

use common::{output_text, write, xtask};
use quality::quality;
use slurm::{Cluster, NODES};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Sixteen short trials, three to a task.
const EXPERIMENT: &str = "name: t
seeds: [1, 2]
threads: 1
datasets:
  - { synthetic: gaussian, dim: 8, n: 300, queries: 10, name: g }
  - { synthetic: ar1, dim: 8, n: 300, queries: 10, name: a }
methods:
  - pq: { bits: 4 }
    sweep: { m: [2, 4] }
  - scalar: {}
    sweep: { bits: [2, 4] }
measure: { rate: {}, distortion: {}, recall: { k: [10] } }
";

/// Number of the last task of its trials; no other array has as many.
const LAST: usize = 6;

struct Test {
    cluster: Cluster,
    folder: PathBuf,
    /// What a local run finds.
    expected: Vec<String>,
}

impl Test {
    fn command(&self, arguments: &[&str]) -> Command {
        let (name, value) = self.cluster.variable();
        let mut command = xtask(&self.folder);
        command.arg("experiments").args(arguments).env(name, value);
        command
    }

    /// Runs it to its end. Returns its exit code and what it said.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().expect("starts");
        (output.status.code(), output_text(&output, &self.folder))
    }

    /// Writes the experiment with settings of Slurm. Returns the name of its file.
    fn experiment(&self, name: &str, settings: &str) -> String {
        let file = format!("{name}.yaml");
        write(&self.folder, &file, format!("{EXPERIMENT}executor: {{ slurm: {{ {settings} }} }}\n"));
        file
    }

    /// Settings with which the last task of trials waits until [`Test::open`] is called.
    fn held(name: &str) -> String {
        format!(
            "task_time: 1s, setup: [\"while [ $SLURM_ARRAY_TASK_ID = {LAST} ] && [ ! -e {name}.open ]; do sleep 0.1; done\"]"
        )
    }

    /// Lets the held task of a run go on.
    fn open(&self, name: &str) {
        write(&self.folder, &format!("{name}.open"), "");
    }

    /// Submits a run in the background, and waits until one of its trials has ended.
    fn begun(&self, file: &str, run: &str) -> Child {
        let mut command = self.command(&[file, "--out", run, "--no-report"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let trials = self.folder.join(run).join("trials");
        let ended = |_: &Cluster| std::fs::read_dir(&trials).is_ok_and(|entries| entries.count() > 0);
        assert!(self.cluster.wait_for(ended), "{run} does not begin");
        child
    }

    fn is_equal(&self, run: &str) {
        let found = quality(&self.folder.join(run)).unwrap_or_else(|error| panic!("{run}: {error}"));
        assert!(found == self.expected, "{run} differs from a local run");
    }

    /// The id of an array of a run.
    fn array(&self, run: &str, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.join(run).join("tasks/jobs.json")).expect("submitted jobs");
        let arrays: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let array = arrays.as_array().into_iter().flatten().find(|array| array["name"] == name);
        array.and_then(|array| array["id"].as_str()).unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }
}

/// Ends it as a crash of its machine does.
fn crash(mut child: Child) {
    child.kill().expect("runs");
    child.wait().expect("ends");
}

#[test]
fn a_cluster_carries_out_runs() {
    let Some(cluster) = Cluster::start_or_skip() else { return };
    let folder = cluster.folder().join("runs");
    std::fs::create_dir(&folder).expect("a folder");
    let mut test = Test { cluster, folder, expected: Vec::new() };
    let file = test.experiment("equal", "task_time: 1s, setup: [\"echo $SLURMD_NODENAME >> nodes.txt\"]");
    let (code, text) = test.run(&[&file, "--executor", "here", "--out", "here", "--no-report"]);
    assert_eq!(code, Some(0), "{text}");
    test.expected = quality(&test.folder.join("here")).expect("a run");

    two_nodes_find_what_one_machine_finds(&test);
    another_process_goes_on_after_a_crash(&test);
    what_is_cancelled_stays_so_until_it_is_asked_for(&test);
    a_lost_task_is_submitted_again(&test);
    a_pending_reason_is_told(&test);
    timed_trials_have_a_node_for_themselves(&test);
    what_the_cluster_refuses_is_an_error(&test);
}

fn two_nodes_find_what_one_machine_finds(test: &Test) {
    let (code, text) = test.run(&["equal.yaml", "--out", "equal"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("submitted trials-shared.1 as job") && text.contains("16 trials succeeded, 0 failed"),
        "{text}"
    );
    test.is_equal("equal");
    let nodes = std::fs::read_to_string(test.folder.join("nodes.txt")).expect("tasks have run");
    assert!(NODES.iter().all(|node| nodes.contains(node)), "{nodes}");
    assert!(test.folder.join("equal/report/index.html").exists());
    // Everything has ended.
    let (code, text) = test.run(&["equal.yaml", "--out", "equal", "--no-report"]);
    assert!(code == Some(0) && !text.contains("submitted"), "{text}");
}

fn another_process_goes_on_after_a_crash(test: &Test) {
    let file = test.experiment("crash", &Test::held("crash"));
    let first = test.begun(&file, "crash");
    let (code, text) = test.run(&[&file, "--out", "crash"]);
    assert!(code == Some(2) && text.contains("another process runs or follows crash"), "a second one is told: {text}");
    let (code, text) = test.run(&["--attach", "crash"]);
    assert!(code == Some(2) && text.contains("another process runs or follows crash"), "{text}");
    crash(first);
    let (code, text) = test.run(&[&file, "--out", "crash"]);
    assert!(
        code == Some(2) && text.contains("tasks of an earlier submission of crash are waiting or running"),
        "{text}"
    );
    test.open("crash");
    let (code, text) = test.run(&["--attach", "crash", "--no-report"]);
    assert!(code == Some(0) && text.contains("16 trials succeeded, 0 failed"), "{text}");
    assert!(!text.contains("submitted"), "nothing was lost: {text}");
    test.is_equal("crash");
}

fn what_is_cancelled_stays_so_until_it_is_asked_for(test: &Test) {
    let file = test.experiment("cancel", &Test::held("cancel"));
    let follower = test.begun(&file, "cancel");
    let (code, text) = test.run(&["--cancel", "cancel"]);
    assert!(code == Some(0) && text.contains("cancelled: "), "{text}");
    let output = follower.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(1), "who follows it ends, and submits nothing again");
    assert!(test.cluster.wait_for(|cluster| cluster.tasks().is_empty()), "{:?}", test.cluster.tasks());
    let (code, text) = test.run(&["--cancel", "cancel"]);
    assert!(code == Some(0) && text.contains("no task of cancel waits or runs"), "{text}");
    test.open("cancel");
    let (code, text) = test.run(&["--attach", "cancel", "--no-report"]);
    assert!(code == Some(0) && text.contains("submitted trials-shared.2 as job"), "{text}");
    test.is_equal("cancel");
}

fn a_lost_task_is_submitted_again(test: &Test) {
    let file = test.experiment("lost", &Test::held("lost"));
    let follower = test.begun(&file, "lost");
    let array = test.array("lost", "trials-shared.1");
    let held = (format!("{array}_{LAST}"), "R".to_owned());
    assert!(test.cluster.wait_for(|cluster| cluster.tasks().contains(&held)), "{:?}", test.cluster.tasks());
    test.cluster.ask("scancel", &[&held.0]);
    let output = follower.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(0));
    let again = test.array("lost", "trials-shared.2");
    assert_ne!(array, again);
    test.is_equal("lost");
}

fn a_pending_reason_is_told(test: &Test) {
    let nodes = NODES.join(",");
    let state = |state: &str| {
        let node = format!("nodename={nodes}");
        test.cluster.ask("scontrol", &["update", &node, &format!("state={state}"), "reason=test"]);
    };
    state("drain");
    let file = test.experiment("waits", "task_time: 10m");
    let mut command = test.command(&[&file, "--out", "waits", "--no-report"]);
    let log = test.folder.join("waits.txt");
    let stream = std::fs::File::create(&log).expect("a file");
    let child = command.stdout(Stdio::null()).stderr(stream).spawn().expect("starts");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let told = test.cluster.wait_for(|_| said().contains("the nodes are down, drained or reserved"));
    state("resume");
    let output = child.wait_with_output().expect("ends");
    let text = said();
    assert!(told && text.contains("earlier tasks have not ended"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
    test.is_equal("waits");
}

fn timed_trials_have_a_node_for_themselves(test: &Test) {
    let timed =
        EXPERIMENT.replace("distortion: {}", "throughput: { min_time: 1ms, repeats: 2 }").replace("n: 300", "n: 200");
    write(&test.folder, "timed.yaml", format!("{timed}executor: slurm\n"));
    let (code, text) = test.run(&["timed.yaml", "--out", "timed", "--seed", "1", "--no-report"]);
    assert!(code == Some(0) && text.contains("submitted trials-timed.1 as job"), "{text}");
    let task = format!("{}_1", test.array("timed", "trials-timed.1"));
    let shown = test.cluster.ask("scontrol", &["show", "job", &task]);
    assert!(shown.contains("OverSubscribe=NO"), "{shown}");
}

fn what_the_cluster_refuses_is_an_error(test: &Test) {
    for (settings, words) in [
        ("partition: moon", "sbatch refuses the tasks: sbatch: error: invalid partition specified: moon"),
        ("constraint: moon", "Invalid feature"),
    ] {
        let file = test.experiment("refused", settings);
        let (code, text) = test.run(&[&file, "--out", "refused"]);
        assert!(code == Some(2) && text.contains(words), "{settings}: {text}");
    }
    nothing_is_submitted(test, Path::new("refused"));
}

fn nothing_is_submitted(test: &Test, run: &Path) {
    let jobs = std::fs::read_to_string(test.folder.join(run).join("tasks/jobs.json")).expect("a list");
    assert_eq!(jobs.trim(), "[]");
    assert_eq!(test.cluster.tasks(), []);
}
