//! What the harness itself costs: planning many trials, rendering a large report again, starting a trial's process.
//!
//! `cargo bench -p xtask --bench overhead` prints the median and the fastest of several runs of the real executable on
//! made-up experiments. Nothing is asserted: a figure of one machine is no law for another.

use record::metric::{
    BITS_PER_VECTOR, DECODE_VECTORS_PER_SECOND, ENCODE_VECTORS_PER_SECOND, NMSE, RECALL_K_AT_K, SEARCH_LATENCY_P50_US,
    SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS, USAGE,
};
use record::{
    DatasetFacts, Limits, Machine, Measured, Metric, RunFolder, RunInfo, SCHEMA, Status, Trial, TrialRecord,
    write_atomically,
};
use serde_json::json;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let here = folder.path();
    println!("{:<64} {:>9} {:>9}", "", "median", "fastest");

    write_plan(&here.join("shared.yaml"), 5, 10, 5)?;
    write_plan(&here.join("swept.yaml"), 1, 1, 250)?;
    for (file, what) in [("shared.yaml", "200 methods × 5 datasets × 10 seeds"), ("swept.yaml", "10,000 methods")] {
        show(&format!("plan 10,000 trials: {what}"), || run(here, &["experiments", file, "--dry-run"], None))?;
    }

    for (trials, values) in [(50, 2000), (1250, 80), (10_000, 10)] {
        let name = format!("run-{trials}");
        let places = (0..5).flat_map(|d| (0..trials / 5).map(move |i| (d, i)));
        let rows = write_run(&here.join(&name), places, values)?;
        show(&format!("render {rows} rows: {trials} trials of {values} values"), || {
            run(here, &["report", &name], None)
        })?;
    }

    // As a nightly job collects them: five methods with ten seeds on one of five datasets.
    let mut nights = Vec::new();
    let mut rows = 0;
    for night in 0..200 {
        let places = (0..50).map(|i| (night % 5, i % 5 + 50 * (i / 5)));
        nights.push(format!("night-{night}"));
        rows += write_run(&here.join(format!("night-{night}")), places, 100)?;
    }
    let together = |verb: &[&'static str]| -> Vec<&str> {
        verb.iter().copied().chain(nights.iter().map(String::as_str)).collect()
    };
    let report = together(&["report", "--out", "together"]);
    show(&format!("render {rows} rows of 200 runs"), || run(here, &report, None))?;
    let sql = "SELECT label, metric, AVG(value) AS mean, COUNT(*) AS n FROM results GROUP BY label, metric ORDER BY label, metric";
    let query = together(&["query", sql]);
    show(&format!("group {rows} rows of 200 runs by SQL"), || run(here, &query, None))?;

    let (tiny, large) = (request(here, 10)?, request(here, 50_000)?);
    show("start a trial's process, 10 rows to load, fit, encode and measure", || run(here, &["trial"], Some(&tiny)))?;
    show("the same with 50,000 rows of 16 components", || run(here, &["trial"], Some(&large)))?;
    show("the bare process (`--version`)", || run(here, &["--version"], None))
}

/// Runs `work` several times after a warm-up and prints how long it took.
fn show(what: &str, mut work: impl FnMut() -> Result<Duration, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    work()?;
    let mut times = (0..RUNS).map(|_| work()).collect::<Result<Vec<_>, _>>()?;
    times.sort_unstable();
    println!("{what:<64} {:>6.1} ms {:>6.1} ms", times[RUNS / 2].as_secs_f64() * 1e3, times[0].as_secs_f64() * 1e3);
    Ok(())
}

/// Times the executable from its start to its end.
fn run(folder: &Path, arguments: &[&str], input: Option<&str>) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
        stdin.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let time = start.elapsed();
    let failed = String::from_utf8_lossy(&output.stdout).contains("\"failed\"");
    if !output.status.success() || failed {
        return Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(time)
}

/// An experiment of 40 settings × `iterations` × `datasets` × `seeds` trials.
fn write_plan(path: &Path, datasets: usize, seeds: usize, iterations: usize) -> Result<(), Box<dyn Error>> {
    let mut text = format!("name: plan\nthreads: 1\nseeds: {:?}\ndatasets:\n", (1..=seeds).collect::<Vec<_>>());
    for i in 0..datasets {
        writeln!(text, "  - {{ synthetic: gaussian, dim: 96, n: 1000, seed: {i}, name: gaussian-{i} }}")?;
    }
    let iterations: Vec<usize> = (1..=iterations).collect();
    writeln!(text, "methods:\n  - pq: {{}}\n    sweep:")?;
    writeln!(
        text,
        "      m: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]\n      bits: [2, 4, 6, 8]\n      iterations: {iterations:?}"
    )?;
    writeln!(text, "measure: {{ distortion: }}")?;
    Ok(write_atomically(path, text.as_bytes())?)
}

/// A run of made-up trials, each by its dataset and its number, of so many `values`. Returns the number of values.
fn write_run(
    root: &Path,
    trials: impl Iterator<Item = (usize, usize)>,
    values: usize,
) -> Result<usize, Box<dyn Error>> {
    let folder = RunFolder::new(root);
    let _lock = folder.prepare()?;
    let mut info = RunInfo {
        schema: SCHEMA,
        name: "made-up".into(),
        analysis: String::new(),
        experiment: json!({}),
        machine: Machine::default(),
        datasets: (0..5).map(facts).collect(),
        trials: Vec::new(),
        skipped: Vec::new(),
    };
    let mut rows = 0;
    for (d, i) in trials {
        let record = record(d, i, values);
        rows += record.values.len();
        folder.save_trial(&record)?;
        info.trials.push(record.trial);
    }
    folder.save_run(&info)?;
    Ok(rows)
}

fn facts(i: usize) -> DatasetFacts {
    DatasetFacts {
        name: format!("vectors-{i}"),
        dim: 64,
        train: 1000,
        base: 1000,
        queries: 100,
        metric_space: "l2".into(),
        fingerprint: format!("vectors-{i}"),
        variance: 64.0,
        spectrum: vec![1.0; 64],
        bound: (1..160).map(|b| (f64::from(b) * 3.0, 4f64.powf(-f64::from(b) * 3.0 / 64.0))).collect(),
        ..DatasetFacts::default()
    }
}

/// Trial `i` on dataset `d`: one of five methods at one of ten rates with one of the seeds.
fn record(d: usize, i: usize, count: usize) -> TrialRecord {
    let (method, rate, seed) = (i % 5, 1 + i / 5 % 10, i / 50);
    let bits = 8 * rate;
    let nmse = 4f64.powf(-(bits as f64) / 64.0) * (1.1 + 0.1 * method as f64);
    let mut values = Vec::new();
    for block in 0..count.div_ceil(80) {
        let noise = 1.0 + 0.001 * ((i * 31 + block * 17) % 97) as f64;
        let of = |metric: &'static Metric, value: f64| Measured::new(metric, value * noise);
        values.extend([
            Measured::new(&BITS_PER_VECTOR, bits as f64),
            of(&NMSE, nmse),
            of(&USAGE, 0.9),
            of(&TRAIN_SECONDS, 0.5).repeat(block),
        ]);
        values.extend([1, 10, 100].map(|k| of(&RECALL_K_AT_K, 0.9 - nmse / 2.0).k(k).path("adc")));
        values.extend([1, 10, 100].map(|k| of(&RECALL_K_AT_K, 0.95 - nmse / 4.0).k(k).path("rerank4")));
        values.extend((0..10).map(|s| of(&USAGE, 0.9).stage(format!("sub {s}"))));
        for repeat in 0..15 {
            let repeat = block * 15 + repeat;
            let speed = 1e6 / bits as f64 * (1.0 + 0.01 * (repeat % 7) as f64);
            values.extend([
                of(&ENCODE_VECTORS_PER_SECOND, speed).repeat(repeat),
                of(&DECODE_VECTORS_PER_SECOND, 3.0 * speed).repeat(repeat),
                of(&SEARCH_QUERIES_PER_SECOND, speed / 100.0).k(10).path("adc").repeat(repeat),
                of(&SEARCH_LATENCY_P50_US, 1e8 / speed).k(10).path("adc").repeat(repeat),
            ]);
        }
    }
    values.truncate(count);
    let trial = Trial {
        id: format!("{d:04x}{i:08x}"),
        experiment: "made-up".into(),
        dataset: format!("vectors-{d}"),
        dim: 64,
        n: 1000,
        metric_space: "l2".into(),
        method: format!("method-{method}"),
        family: None,
        params: json!({ "bits": rate, "iterations": 25, "init": "auto" }),
        label: format!("Method {method}, {rate}"),
        series: format!("Method {method}"),
        device: "cpu".into(),
        threads: 2,
        seed: seed as u64,
        bits_per_vector: bits,
    };
    let limits = Limits { timeout_seconds: 600.0, memory_bytes: None };
    let (status, machine) = (Status::Ok, Machine::default());
    TrialRecord {
        schema: SCHEMA,
        trial,
        status,
        reason: None,
        cause: None,
        limits,
        machine,
        wall_seconds: 1.0,
        recipe: None,
        codes_sha256: None,
        log: None,
        values,
    }
}

/// What an experiment asks a trial's process for: an untrained method on `n` synthetic rows of 16 components.
fn request(folder: &Path, n: usize) -> Result<String, Box<dyn Error>> {
    let dataset = json!({ "synthetic": "gaussian", "dim": 16, "n": n, "train": 10, "queries": 1 });
    let source = datasets::Source::parse(&dataset).map_err(|error| error.message)?;
    let summary = source.resolve(folder, &datasets::SearchPath::default())?.summary;
    let path = folder.join(format!("facts-{n}.json"));
    let facts = DatasetFacts { fingerprint: summary.fingerprint, name: summary.name, dim: 16, base: n, ..facts(0) };
    write_atomically(&path, &serde_json::to_vec(&facts)?)?;
    let mut trial = record(0, 0, 0).trial;
    trial.dataset = facts.name;
    (trial.dim, trial.n) = (16, n);
    (trial.method, trial.params) = (methods::METHODS[0].name.to_owned(), json!({ "bits": 8 }));
    Ok(serde_json::to_string(&json!({
        "trial": trial,
        "dataset": dataset,
        "root": folder,
        "facts": path,
        "truth": null,
        "measure": {},
        "limits": { "timeout_seconds": 600.0, "memory_bytes": null },
    }))?)
}
