//! A scheduler that is a handful of shell scripts in the place of the commands of Slurm: limits on what may be submitted, answers
//! that get lost, ids that come back, and tasks that are still alive.
#![cfg(unix)]

mod common;

use common::{output_text, write, xtask};
use record::RunFolder;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const EXPERIMENT: &str = "name: t
seeds: [1, 2]
threads: 1
executor: { slurm: { task_time: 1s } }
datasets: [{ synthetic: gaussian, dim: 8, n: 300, queries: 10, name: g }]
methods:
  - pq: { bits: 4 }
    sweep: { m: [2, 4] }
  - scalar: {}
    sweep: { bits: [2, 4] }
measure: { rate: {}, distortion: {} }
";

/// Refuses arrays with more tasks than `limit` says; loses its answer once if there is a file `lose`. Otherwise all tasks have run
/// when it answers.
const SBATCH: &str = r#"#!/bin/bash
cd "$(dirname "$0")/.."
for option; do case "$option" in
  --array=*) count=${option#--array=1-}; count=${count%%%*} ;;
  --job-name=*) name=${option#*=} ;;
  --comment=*) comment=${option#*=} ;;
  --output=*) output=${option#*=} ;;
esac; done
cat > script
if [ -e limit ] && [ "$count" -gt "$(cat limit)" ]; then
  echo "sbatch: error: AssocMaxSubmitJobLimit" >&2
  echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy" >&2
  exit 1
fi
id=$(($(cat last 2>/dev/null || echo 100) + 1)); echo $id > last
if [ -e lose ] && [[ $name == *trials* ]]; then
  rm lose
  echo "$id|1|PD|Priority||$name|$comment" >> queue
  echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
  exit 1
fi
echo "$name $count" >> submitted
for number in $(seq "$count"); do SLURM_ARRAY_TASK_ID=$number bash script > "${output/\%a/$number}" 2>&1; done
echo $id
"#;

const SQUEUE: &str = "#!/bin/sh\ncat \"$(dirname \"$0\")/../queue\" 2>/dev/null || true\n";

const SCANCEL: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.."
for id; do echo "$id" >> cancelled; grep -v "^$id|" queue > rest; mv rest queue; done
"#;

struct Scheduler {
    folder: tempfile::TempDir,
}

impl Scheduler {
    fn new() -> Scheduler {
        let scheduler = Scheduler { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(scheduler.path().join("bin")).expect("a folder");
        for (name, text) in [
            ("sbatch", SBATCH),
            ("squeue", SQUEUE),
            ("scancel", SCANCEL),
            ("sinfo", "#!/bin/sh\necho 1\n"),
            ("scontrol", "#!/bin/sh\necho 'MaxArraySize = 1001'\n"),
        ] {
            let file = write(scheduler.path(), &format!("bin/{name}"), text);
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("may run");
        }
        scheduler
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.path().join("bin")].into_iter().chain(std::env::split_paths(&own));
        let mut command = xtask(self.path());
        command.arg("experiments").args(arguments).env("PATH", std::env::join_paths(path).expect("a path"));
        let output = command.env("SQUEUE_STATES", "R").output().expect("starts");
        (output.status.code(), output_text(&output, self.path()))
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap_or_default()
    }

    fn records(&self) -> usize {
        RunFolder::new(self.path().join("run")).ended_ids().len()
    }

    /// What Slurm would say of a task of the run.
    fn listed(&self, id: &str, name: &str) -> String {
        let root = self.path().join("run").canonicalize().expect("a run");
        format!("{id}|1|R|None|node1|vqbench-{name}|vqbench {}\n", root.display())
    }
}

const SUBMIT: [&str; 4] = ["e.yaml", "--out", "run", "--no-report"];

#[test]
fn a_limit_on_tasks_is_met_by_smaller_arrays() {
    let scheduler = Scheduler::new();
    write(scheduler.path(), "e.yaml", EXPERIMENT);
    write(scheduler.path(), "limit", "0");
    let (code, text) = scheduler.run(&SUBMIT);
    assert!(code == Some(2) && text.contains("sbatch accepts no more tasks for now"), "{text}");
    assert!(text.contains("AssocMaxSubmitJobLimit") && scheduler.records() == 0, "{text}");
    write(scheduler.path(), "limit", "1");
    let (code, text) = scheduler.run(&SUBMIT);
    assert!(code == Some(0) && text.contains("8 trials succeeded, 0 failed"), "{text}");
    let submitted = scheduler.text("submitted");
    assert!(submitted.contains("vqbench-trials-shared.1 1\nvqbench-trials-shared-part2.1 1\n"), "{submitted}");
    assert!(submitted.lines().all(|line| line.ends_with(" 1")), "{submitted}");
}

#[test]
fn a_submission_whose_answer_gets_lost_is_cancelled_and_made_again() {
    let scheduler = Scheduler::new();
    write(scheduler.path(), "e.yaml", EXPERIMENT);
    write(scheduler.path(), "lose", "");
    let (code, text) = scheduler.run(&SUBMIT);
    assert!(code == Some(0) && text.contains("8 trials succeeded, 0 failed"), "{text}");
    assert!(text.contains("waiting for the scheduler: sbatch does not answer"), "{text}");
    assert_eq!(scheduler.text("cancelled"), "102\n", "the job that nobody has written down");
}

#[test]
fn nothing_changes_in_a_folder_whose_tasks_are_alive() {
    let scheduler = Scheduler::new();
    write(scheduler.path(), "e.yaml", EXPERIMENT);
    assert_eq!(scheduler.run(&SUBMIT).0, Some(0));
    // An array of the run, and a job that has an id of the run after the controller has lost its state.
    let mine = scheduler.listed("102", "trials-shared.1");
    let foreign = "101|1|R|None|node1|somebody|else\n";
    write(scheduler.path(), "queue", format!("{mine}{foreign}"));
    for executor in ["slurm", "here", "tasks"] {
        let (code, text) = scheduler.run(&[&SUBMIT[..], &["--force", "--executor", executor]].concat());
        let words = "tasks of an earlier submission of run are waiting or running: 102";
        assert!(code == Some(2) && text.contains(words), "{executor}: {text}");
        assert_eq!(scheduler.records(), 8, "no record is set aside");
    }
    let (code, text) = scheduler.run(&["--cancel", "run"]);
    assert!(code == Some(0) && text.contains("cancelled: 102;"), "{text}");
    assert_eq!((scheduler.text("cancelled").as_str(), scheduler.text("queue").as_str()), ("102\n", foreign));
    // The run goes on here, and its tasks are no more.
    let (code, text) = scheduler.run(&[&SUBMIT[..], &["--executor", "here"]].concat());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = scheduler.run(&["--attach", "run"]);
    assert!(
        code == Some(2) && text.contains("run has no tasks: its trials run on the machine that planned it"),
        "{text}"
    );
}

#[test]
fn a_pair_with_one_record_runs_again_as_a_pair() {
    let scheduler = Scheduler::new();
    let pairs = "pairs: [{ name: p, ours: PQ m=2, theirs: Scalar 4 }]\n";
    let pair = EXPERIMENT
        .replace("pq: { bits: 4 }\n    sweep: { m: [2, 4] }", "pq: { bits: 4, m: 2 }\n    label: PQ m=2")
        .replace("scalar: {}\n    sweep: { bits: [2, 4] }", "scalar: { bits: 4 }\n    label: Scalar 4")
        .replace("distortion: {}", "throughput: { min_time: 1ms, repeats: 2 }");
    write(scheduler.path(), "e.yaml", format!("{pair}{pairs}"));
    let (code, text) = scheduler.run(&SUBMIT);
    assert!(code == Some(0) && text.contains("4 trials succeeded, 0 failed"), "{text}");
    let folder = RunFolder::new(scheduler.path().join("run"));
    let ours =
        folder.ended_ids().into_iter().filter_map(|id| folder.trial(&id)).find(|record| record.trial.label == "PQ m=2");
    let id = ours.expect("a record").trial.id;
    // Its node was lost between the records of both sides.
    std::fs::remove_file(scheduler.path().join(format!("run/trials/{id}.json"))).expect("removes");
    let (code, text) = scheduler.run(&["--attach", "run", "--no-report"]);
    assert!(code == Some(0) && text.contains("4 trials succeeded, 0 failed"), "{text}");
    let attempt = |label: &str| {
        let ended = folder.ended_ids().into_iter().filter_map(|id| folder.trial(&id));
        let mut all: Vec<String> = ended
            .filter(|record| record.trial.label == label)
            .filter_map(|record| Some(record.in_turn()?.attempt.clone()))
            .collect();
        all.sort();
        all
    };
    assert_eq!(attempt("PQ m=2"), attempt("Scalar 4"));
    // A record that cannot be read is made again.
    std::fs::write(scheduler.path().join(format!("run/trials/{id}.json")), "{\"half").expect("writes");
    let (code, text) = scheduler.run(&["--attach", "run", "--no-report"]);
    assert!(code == Some(0) && text.contains("4 trials succeeded, 0 failed"), "{text}");
}

#[test]
fn a_dataset_that_cannot_be_prepared_is_told_with_its_trials() {
    let scheduler = Scheduler::new();
    let rows: String = (0..100).map(|i| format!("{},{},{},{}\n", i % 7, i % 5, (i * i) % 11, i)).collect();
    write(scheduler.path(), "rows.csv", format!("a,b,c,d\n{rows}"));
    write(scheduler.path(), "asked.csv", "a,b,c,d\n1,2,3,4\n4,3,2,1\n");
    let dataset = "{ path: rows.csv, queries: asked.csv, train: base, name: rows }";
    let broken = EXPERIMENT.replace("{ synthetic: gaussian, dim: 8, n: 300, queries: 10, name: g }", dataset);
    let gone = "setup: [\"rm -f rows.csv\"], task_time";
    write(scheduler.path(), "e.yaml", broken.replace("task_time", gone));
    let (code, text) = scheduler.run(&SUBMIT);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("rows could not be prepared: it said: ") && text.contains("8 trials of it cannot run"),
        "{text}"
    );
    assert!(text.contains("--attach run` submits what is missing again"), "{text}");
}
