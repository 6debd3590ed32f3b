//! Outside programs in runs of the real executable: each way to misbehave is one failed row with its reason, everything else
//! goes on, and nothing stays behind.
#![cfg(target_os = "linux")]

mod common;
#[path = "../../methods/adapters/tests/common/mod.rs"]
mod compiled;

use common::{output_text, write, xtask};
use compiled::compiled;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{RunFolder, Status, TrialRecord};
use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HEAD: &str = "name: t
analysis: Programs.
seeds: [1]
threads: 1
datasets: [{ synthetic: gaussian, dim: 4, n: 120, queries: 24 }]
measure: { distortion: {}, utilization: {}, recall: { k: [1, 5] }, throughput: { min_time: 2ms, repeats: 3 } }
methods:
";

/// A folder for a run, with both adapters in it; none without a compiler.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Option<Stage> {
        let compiled = compiled()?;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("temporary")).expect("a folder");
        for program in [&compiled.hostile, &compiled.int8] {
            // A copy could be open for writing in a process that another test starts, and then it cannot be executed.
            symlink(program, folder.path().join(program.file_name().expect("a name"))).expect("links");
        }
        Some(Stage { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn experiment(&self, methods: &str, arguments: &[&str]) -> Command {
        let head = if methods.starts_with("name:") { "" } else { HEAD };
        write(self.path(), "e.yaml", format!("{head}{methods}"));
        let mut command = xtask(self.path());
        command.args(["experiments", "e.yaml"]).args(arguments).env("TMPDIR", self.path().join("temporary"));
        command
    }

    fn run(&self, methods: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.experiment(methods, arguments).output().expect("starts");
        (output.status.code(), output_text(&output, self.path()))
    }

    fn records(&self) -> Vec<TrialRecord> {
        RunFolder::new(self.path().join("runs/t")).load().expect("a run").records
    }

    /// The processes that run in this folder.
    fn processes(&self) -> Vec<String> {
        let folder = self.path().canonicalize().expect("a folder");
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let runs = |process: &Path| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder);
        let all = entries.map(|entry| entry.path()).filter(|process| runs(process));
        all.filter_map(|process| std::fs::read_to_string(process.join("comm")).ok())
            .map(|name| name.trim().into())
            .collect()
    }

    fn waits_for(&self, what: impl Fn(&[String]) -> bool) {
        let begin = Instant::now();
        while !what(&self.processes()) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", self.processes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_clean(&self) {
        assert_eq!(self.processes(), [""; 0], "no process stays");
        let left = std::fs::read_dir(self.path().join("temporary")).expect("a folder").flatten();
        assert_eq!(left.map(|entry| entry.file_name()).collect::<Vec<_>>(), [""; 0], "no file stays");
    }
}

/// An entry for each fault at each verb.
fn entries(faults: &[&str], verbs: &[&str]) -> String {
    let pairs = verbs.iter().flat_map(|at| faults.iter().map(move |fault| (fault, at)));
    let entry = |(fault, at): (&&str, &&str)| {
        format!(
            "  - external: {{ command: [./hostile], fault: {fault}, at: {at}, trial: true }}\n    label: {fault} at {at}\n"
        )
    };
    pairs.map(entry).collect()
}

/// Each row that is not as it should be, with its reason.
fn reasons(records: &[TrialRecord]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for record in records.iter().filter(|record| record.status != Status::Ok) {
        let mut line = String::new();
        let reason = record.reason.clone().unwrap_or_default();
        assert!(!reason.chars().any(char::is_control) && reason.len() < 1000, "{reason}");
        // Scratch folders have names of their own.
        let words = reason.split(' ').map(|word| word.rsplit_once("vqbench-adapter-").map_or(word, |_| "FILE"));
        let reason = words.collect::<Vec<_>>().join(" ");
        write!(line, "{}: {:?}: {reason}", record.trial.label, record.status).expect("writes");
        lines.push(line);
    }
    lines.sort();
    lines.join("\n")
}

#[test]
fn each_fault_is_one_failed_row() {
    let Some(stage) = Stage::new() else { return };
    let healthy =
        "  - external: { command: [./int8] }\n    label: healthy\n  - pq: { m: 2, bits: 3 }\n    label: ours\n";
    let mut methods = healthy.to_owned();
    methods += &entries(&["exit"], &["hello", "fit", "encode", "decode", "search", "save", "bye"]);
    methods += &entries(&["abort", "garbage", "wrong-id", "twice", "long", "close-replies"], &["encode"]);
    methods += &entries(&["rows", "type", "link", "pipe", "claims", "terabytes"], &["encode", "decode", "search"]);
    methods += &entries(&["nan", "infinity"], &["decode"]);
    methods += &entries(&["beyond", "negative", "same-row", "after-end"], &["search"]);
    methods += &entries(&["stderr", "child", "daemon", "clean-daemon", "no-scratch"], &["fit"]);
    methods += &entries(&["zero", "constant", "lazy", "lazy-search"], &["timed"]);
    methods += &entries(&["escape-error", "megabyte-error"], &["encode"]);
    // It says that it can, and cannot.
    methods += &entries(&["refuses"], &["decode", "search"]);
    methods += &entries(&["code-bytes"], &["never"]);
    let (code, text) = stage.run(&format!("{methods}timeout: 60s\n"), &["--no-report"]);
    assert_eq!(code, Some(1), "{text}");
    let records = stage.records();
    let well: Vec<&str> =
        records.iter().filter(|r| r.status == Status::Ok).map(|record| record.trial.label.as_str()).collect();
    insta::assert_snapshot!(reasons(&records));
    assert_eq!(well, ["healthy", "ours"]);
    stage.is_clean();
}

#[test]
fn a_time_limit_ends_a_program_and_all_that_it_started() {
    let Some(stage) = Stage::new() else { return };
    let mut methods = entries(&["hang"], &["hello", "fit", "encode", "search"]);
    methods += &entries(&["daemon-hang", "clean-daemon-hang", "no-break", "close-input", "endless"], &["encode"]);
    let (code, text) = stage.run(&format!("{methods}timeout: 1s\n"), &["--no-report"]);
    assert_eq!(code, Some(1), "{text}");
    let records = stage.records();
    let how: Vec<Status> = records.iter().map(|record| record.status).collect();
    // An answer that does not end is noticed by what it is.
    let endless = records.iter().filter(|record| record.trial.label == "endless at encode");
    assert!(endless.clone().count() == 1 && records.len() == 9, "{how:?}");
    for record in records.iter().filter(|record| record.trial.label != "endless at encode") {
        assert_eq!(record.status, Status::Timeout, "{}: {:?}", record.trial.label, record.reason);
    }
    stage.is_clean();
}

#[test]
fn an_interrupt_ends_a_program_and_all_that_it_started() {
    let Some(stage) = Stage::new() else { return };
    for fault in ["daemon-hang", "clean-daemon-hang"] {
        let mut command = stage.experiment(&entries(&[fault], &["encode"]), &["--no-report", "--force"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        stage.waits_for(|names| names.iter().any(|name| name == "sleep"));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("signals");
        let output = child.wait_with_output().expect("ends");
        let text = output_text(&output, stage.path());
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("interrupted"), "{text}");
        stage.is_clean();
    }
}

/// Nobody is left to clean up, but a program that hangs ends nevertheless.
#[test]
fn a_program_does_not_outlive_a_run_that_is_killed() {
    let Some(stage) = Stage::new() else { return };
    let mut command = stage.experiment(&entries(&["hang"], &["encode"]), &["--no-report"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    stage.waits_for(|names| names.iter().any(|name| name == "hostile"));
    child.kill().expect("kill -9");
    child.wait().expect("dies");
    stage.waits_for(<[String]>::is_empty);
}

#[test]
fn finished_trials_are_kept_until_the_program_changes() {
    let Some(stage) = Stage::new() else { return };
    write(stage.path(), "table.txt", "1");
    write(stage.path(), "start.sh", "exec ./int8\n");
    let methods = "  - external: { command: [sh, start.sh], files: [table.txt] }
    sweep: { levels: [4, 16] }
    label: \"int8 with {levels} levels\"
seeds: [1, 2]
";
    let methods = format!("{}{methods}", HEAD.replace("seeds: [1]\n", ""));
    let (code, text) = stage.run(&methods, &["--no-report"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("t: 4 trials succeeded, 0 failed"), "{text}");
    let kept = |text: &str| text.contains("4 ended before and are kept");
    let (_, text) = stage.run(&methods, &["--no-report"]);
    assert!(kept(&text), "{text}");
    let ids = |records: &[TrialRecord]| records.iter().map(|record| record.trial.id.clone()).collect::<Vec<_>>();
    let before = ids(&stage.records());
    let labels: Vec<String> = stage.records().iter().map(|record| record.trial.label.clone()).collect();
    assert_eq!(labels.iter().filter(|label| *label == "int8 with 16 levels").count(), 2, "{labels:?}");
    // A byte more, and it is another program.
    for name in ["start.sh", "table.txt"] {
        let path = stage.path().join(name);
        let content = std::fs::read(&path).expect("a file");
        std::fs::write(&path, [content, b"\n".to_vec()].concat()).expect("writes");
        let (code, text) = stage.run(&methods, &["--no-report"]);
        assert_eq!((code, kept(&text)), (Some(0), false), "{name}: {text}");
    }
    let after = ids(&stage.records());
    assert!(after.iter().all(|id| !before.contains(id)), "{before:?} {after:?}");
    stage.is_clean();
}

#[test]
fn a_program_must_stay_the_one_that_was_planned() {
    let Some(stage) = Stage::new() else { return };
    let methods =
        "  - external: { command: [./hostile], fault: version }\n    label: other\n  - pq: { m: 2, bits: 3 }\n";
    let (code, text) = stage.run(methods, &["--no-report"]);
    assert_eq!(code, Some(1), "{text}");
    let records = stage.records();
    let failed = records.iter().find(|record| record.status == Status::Failed).expect("one failed");
    let reason = failed.reason.clone().unwrap_or_default();
    assert!(reason.contains("it is hostile ") && reason.ends_with(" when this run was planned"), "{reason}");
    assert_eq!(records.iter().filter(|record| record.status == Status::Ok).count(), 1);
}

#[test]
fn mistakes_are_found_before_anything_runs() {
    let Some(stage) = Stage::new() else { return };
    let cases = [
        ("a wrong value", "  - external: { command: [./int8], levels: 1000 }\n"),
        ("an unknown parameter", "  - external: { command: [./int8], params: { level: 16 } }\n"),
        ("one of several values", "  - external: { command: [./int8] }\n    sweep: { levels: [16, 1] }\n"),
        ("no command", "  - external: { levels: 16 }\n"),
        ("an empty command", "  - external: { command: [] }\n"),
        ("a command of numbers", "  - external: { command: [1, 2] }\n"),
        ("a program that is missing", "  - external: { command: [./missing, --fast] }\n"),
        ("a name that is not on the path", "  - external: { command: [vqbench-no-such-program] }\n"),
        ("a file that is no program", "  - external: { command: [./e.yaml] }\n"),
        ("a program that is no adapter", "  - external: { command: [echo, hello] }\n"),
        ("a further file that is missing", "  - external: { command: [./int8], files: [weights.bin] }\n"),
        ("a parameter twice", "  - external: { command: [./int8], levels: 4, params: { levels: 5 } }\n"),
        ("a rate", "  - external: { command: [./int8] }\n    at_bits: [8]\n"),
        ("a transform", "  - external: { command: [./int8], transform: { pca: 2 } }\n"),
        ("garbage", "  - external: { command: [./hostile], fault: garbage, at: hello }\n"),
        ("an end", "  - external: { command: [./hostile], fault: exit, at: hello }\n"),
        ("another protocol", "  - external: { command: [./hostile], fault: protocol, at: hello }\n"),
        ("what nobody can do", "  - external: { command: [./hostile], can: encode fly }\n"),
        ("codes without end", "  - external: { command: [./hostile], fault: code-bytes-huge }\n"),
        ("terminals", "  - external: { command: [./hostile], fault: escape-error, at: hello }\n"),
    ];
    let mut all = String::new();
    for (name, methods) in cases {
        let (code, text) = stage.run(methods, &[]);
        assert_eq!(code, Some(2), "{name}: {text}");
        assert!(!stage.path().join("runs/t").exists(), "{name}: nothing is left behind");
        writeln!(all, "--- {name}\n{text}").expect("writes");
    }
    insta::assert_snapshot!(all);
    stage.is_clean();
}

#[test]
fn a_dry_run_shows_what_a_program_says() {
    let Some(stage) = Stage::new() else { return };
    let methods = "  - external: { command: [./int8] }\n    sweep: { levels: [4, 16] }\n    label: \"int8 {levels}\"\n";
    let others =
        "  - external: { command: [./hostile], can: search_base, fault: no-code-bytes }\n    label: unknown rate\n";
    let (code, text) = stage.run(&format!("{methods}{others}"), &["--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    insta::assert_snapshot!(text);
    assert!(!stage.path().join("runs").exists());
    stage.is_clean();
}

#[test]
fn a_limit_of_memory_holds_for_programs() {
    let Some(stage) = Stage::new() else { return };
    let methods = entries(&["allocate"], &["encode"]) + "  - external: { command: [./int8] }\n    label: healthy\n";
    let (code, text) = stage.run(&format!("{methods}memory: 400MiB\n"), &["--no-report"]);
    assert_eq!(code, Some(1), "{text}");
    let records = stage.records();
    let reason = reasons(&records);
    assert!(reason.starts_with("allocate at encode: Failed: ") && reason.contains("bad_alloc"), "{reason}");
    assert_eq!(records.iter().filter(|record| record.status == Status::Ok).count(), 1);
    stage.is_clean();
}

/// What a program cannot do is a dash in tables, and nothing is made up for it.
#[test]
fn what_is_missing_is_a_dash() {
    let Some(stage) = Stage::new() else { return };
    let methods: String = [
        ("all", "encode decode search save restore"),
        ("searches", "search_base"),
        ("searches and saves", "search_base save"),
        ("encodes", "encode"),
        ("encodes and decodes", "encode decode"),
    ]
    .map(|(label, can)| format!("  - external: {{ command: [./hostile], can: {can} }}\n    label: {label}\n"))
    .concat();
    let strange = "  - external: { command: [./hostile], can: encode, fault: escape }\n    label: strange name\n";
    let (code, text) = stage.run(&format!("{methods}{strange}"), &[]);
    assert_eq!(code, Some(0), "{text}");
    let records = stage.records();
    let mut summary = String::new();
    for record in &records {
        let mut metrics: Vec<&str> = record.values.iter().map(|value| value.metric.as_str()).collect();
        metrics.dedup();
        writeln!(summary, "{}: {}", record.trial.label, metrics.join(" ")).expect("writes");
    }
    insta::assert_snapshot!("what_each_program_is_measured_by", summary);
    let bits: Vec<usize> = records.iter().map(|record| record.trial.bits_per_vector).collect();
    assert_eq!(bits, [32, 0, 24, 32, 32, 32], "by codes, unknown, by the growth of its file");
    let name = &records[5].trial.params["program"]["name"];
    assert_eq!(name, "red second line evil <b>");
    let report = |name: &str| std::fs::read_to_string(stage.path().join("runs/t/report").join(name)).expect("a report");
    let markdown = report("report.md");
    let mut table = String::new();
    for label in ["method", "all", "searches", "searches and saves", "encodes", "encodes and decodes"] {
        let row = markdown.lines().find(|line| line.starts_with(&format!("| {label} |"))).expect("a row");
        let cells: Vec<&str> = row.split(" | ").collect();
        // What is measured differs from run to run; what is missing does not.
        let shown =
            |cell: &&str| if label == "method" || cell.contains('–') { (*cell).to_owned() } else { "…".to_owned() };
        writeln!(table, "{label}: {}", cells[1..].iter().map(shown).collect::<Vec<_>>().join(" | ")).expect("writes");
    }
    insta::assert_snapshot!("what_is_missing_in_tables", table);
    assert!(!markdown.contains("0 bits"), "no rate is made up");
    let csv = report("tables/gaussian-4.csv");
    let searches = csv.lines().find(|line| line.starts_with("searches,searches,cpu")).expect("a row");
    assert!(searches.contains(",,,,,,,,,"), "{searches}");
    let page = report("index.html");
    assert!(page.contains("searches and saves") && !page.contains("evil <b>"), "names are texts on the page");
}
