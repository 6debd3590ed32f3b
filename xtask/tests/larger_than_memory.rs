//! Experiments on vectors that are larger than the limit of memory: the same figures, no process beyond the limit, and
//! nothing wrong is left by a run that was stopped.
//!
//! A file of its own: the system tells the peak of all child processes together, so there must be none that takes more.
#![cfg(target_os = "linux")]

mod common;

use common::{output_text, write, xtask};
use datasets::format::{self, OutputType};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{Measured, RunFolder};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Writes rows that are all different.
fn write_rows(path: &Path, n: usize, dim: usize) {
    let layout = format::layout(path, OutputType::F32, (n, dim)).expect("a known format");
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    file.write_all(&layout.head).expect("writes");
    let mut state = 1u32;
    let mut rows = vec![0f32; 1000 * dim];
    for start in (0..n).step_by(1000) {
        for value in &mut rows {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        }
        let count = (n - start).min(1000);
        layout.write_vectors(start, &rows[..count * dim], dim, &mut file).expect("writes");
    }
    file.flush().expect("writes");
}

fn run(folder: &Path, file: &str) -> (Option<i32>, String) {
    let output = xtask(folder).args(["experiments", file, "--no-report"]).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// The values of every trial, without those of memory.
fn values(folder: &Path, run: &str) -> Vec<(String, Vec<Measured>)> {
    let records = RunFolder::new(folder.join("runs").join(run)).load().expect("a run").records;
    let of = |record: record::TrialRecord| {
        assert_eq!(record.reason, None);
        let values = record.values.into_iter().filter(|value| value.metric != "peak_rss_bytes").collect();
        (format!("{} {}", record.trial.dataset, record.trial.label), values)
    };
    records.into_iter().map(of).collect()
}

/// Files of `big.fbin` and a random source, in each metric; `train` and `queries` are drawn.
const EXPERIMENT: &str = "seeds: [1]
threads: 2
datasets:
  - { path: big.fbin, name: cosine, metric: cosine, split: { train: 2000, queries: 20 } }
  - { path: big.fbin, name: ranges, split: { train: 0..2000, base: 5000..380000, queries: 2000..2020 } }
  - { synthetic: mixture, dim: 96, n: 100000, train: 2000, queries: 20 }
methods: [{ pq: { m: 8, bits: 6 } }, { scalar: { bits: 2 } }]
measure: { distortion: {}, error_anatomy: {}, utilization: {}, knn: {}, recall: { k: [1, 10], rerank: [0, 4] } }
";

#[test]
fn figures_are_the_same_and_no_process_takes_more_than_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let (n, dim, limit) = (400_000, 96, 192u64 << 20);
    write_rows(&here.join("big.fbin"), n, dim);
    // Rows and what they decode to would be too much.
    assert!(2 * (n * dim * 4) as u64 > limit);
    write(here, "bounded.yaml", format!("name: bounded\nmemory: 192MiB\n{EXPERIMENT}"));
    let (code, text) = run(here, "bounded.yaml");
    assert_eq!(code, Some(0), "{text}");
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("a usage").max_rss() as u64 * 1024;
    assert!(peak > 4 << 20 && peak < limit, "{peak} bytes of {limit}");

    // Without what the first run has kept.
    std::fs::remove_dir_all(here.join(".cache")).expect("a cache");
    write(here, "free.yaml", format!("name: free\n{EXPERIMENT}"));
    let (code, text) = run(here, "free.yaml");
    assert_eq!(code, Some(0), "{text}");
    let (bounded, free) = (values(here, "bounded"), values(here, "free"));
    assert_eq!(bounded.len(), 6);
    for (bounded, free) in bounded.iter().zip(&free) {
        assert!(free.1.len() > 40, "{free:?}");
        assert_eq!(bounded, free);
    }
}

#[test]
fn a_limit_that_cannot_be_met_is_refused_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let experiment = |memory: &str, n: usize, train: usize, measure: &str| {
        write(
            here,
            "e.yaml",
            format!(
                "name: t\nseeds: [1]\nmemory: {memory}\ndatasets: [{{ synthetic: gaussian, dim: 8, n: {n}, train: {train}, queries: 10 }}]\nmethods: [{{ scalar: {{ bits: 8 }} }}]\nmeasure: {measure}\n"
            ),
        );
        run(here, "e.yaml")
    };
    let (code, text) = experiment("256MiB", 1_000_000_000, 1000, "{}");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("a memory of 256MiB is too little: `scalar` of dataset `gaussian-8` needs at least 7"),
        "{text}"
    );
    let (code, text) = experiment("256MiB", 1000, 100_000_000, "{}");
    assert!(code == Some(2) && text.contains("100000000 training rows"), "{text}");
    // What a measurement keeps of every row counts too.
    let (code, text) = experiment("256MiB", 5_000_000, 1000, "{ error_anatomy: {} }");
    assert!(code == Some(2) && text.contains("leave out `error_anatomy`"), "{text}");
    assert!(!here.join("runs").exists() && !here.join(".cache/vqbench/neighbours").exists());
}

fn kept(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join(".cache/vqbench/neighbours"));
    files.into_iter().flatten().flatten().map(|file| file.path()).collect()
}

const SEARCHED: &str = "name: t
memory: 140MiB
seeds: [1]
threads: 1
datasets: [{ path: v.fbin, split: { train: 500, queries: 2000 } }]
methods: [{ pq: { m: 4, bits: 4 } }]
measure: { recall: { k: [10], rerank: [0] } }
";

#[test]
fn a_search_that_is_stopped_leaves_nothing_and_one_that_is_finished_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_rows(&here.join("v.fbin"), 150_000, 64);
    write(here, "e.yaml", SEARCHED);
    let mut child = xtask(here)
        .args(["experiments", "e.yaml"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let preparing = |line: std::io::Result<String>| line.expect("text").contains("preparing");
    assert!(lines.any(preparing));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("is there");
    lines.for_each(drop);
    assert_eq!(child.wait().expect("ends").code(), Some(1));
    assert!(kept(here).is_empty() && !here.join("runs/t").exists());

    let (code, text) = run(here, "e.yaml");
    assert_eq!(code, Some(0), "{text}");
    let first = values(here, "t");
    let files = kept(here);
    assert_eq!(files.len(), 2, "{files:?}");
    // Another run finds them; they need not be computed again.
    let age = |file: &PathBuf| file.metadata().and_then(|found| found.modified()).expect("a time");
    let before: Vec<_> = files.iter().map(age).collect();
    std::fs::remove_dir_all(here.join("runs")).expect("removes");
    let (code, text) = run(here, "e.yaml");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((values(here, "t"), files.iter().map(age).collect::<Vec<_>>()), (first.clone(), before));
    // Other content under the same name has neighbours of its own.
    write_rows(&here.join("v.fbin"), 150_001, 64);
    let (code, text) = run(here, "e.yaml");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(kept(here).len(), 4);
}
