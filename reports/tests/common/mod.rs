//! A run made up for tests, and what is needed to make up others.

use record::metric::{
    BITS_PER_DIM, BITS_PER_VECTOR, ENCODE_VECTORS_PER_SECOND, ENTROPY_BITS_PER_VECTOR, GAP_TO_BOUND_DB,
    KNN_ACCURACY_RETENTION, MODEL_BYTES, NMSE, RECALL_K_AT_K, SEARCH_QUERIES_PER_SECOND, TRAIN_SECONDS, USAGE,
};
use record::{
    DatasetFacts, Limits, Machine, Measured, QueryFacts, Results, Run, RunInfo, SCHEMA, Status, Trial, TrialRecord,
    VectorFacts,
};
use reports::compare::{Comparison, Options};
use reports::{Artifact, FORMATS, ReportError};
use serde_json::json;
use std::collections::HashSet;

pub fn trial(label: &str, series: &str, bits: usize, seed: u64) -> Trial {
    Trial {
        id: format!("{label}-{seed}").replace(' ', ""),
        experiment: "golden".into(),
        dataset: "vectors_16".into(),
        dim: 16,
        n: 1000,
        metric_space: "l2".into(),
        method: series.to_lowercase(),
        family: None,
        params: json!({ "bits": bits }),
        label: label.into(),
        series: series.into(),
        device: "cpu".into(),
        threads: 2,
        seed,
        bits_per_vector: bits,
    }
}

pub fn machine() -> Machine {
    Machine {
        cpu: "A Processor".into(),
        cores: 2,
        simd: "avx512".into(),
        memory_bytes: 24 << 30,
        os: "An OS 1".into(),
        rustc: "rustc 1.95.0".into(),
        version: "0.1.0".into(),
        git_revision: Some("0123456789abcdef".into()),
        git_dirty: Some(true),
        ..Machine::default()
    }
}

pub fn record(trial: Trial, nmse: f64) -> TrialRecord {
    // Seeds differ a little in quality; repeats differ in speed.
    let shift = 1.0 + 0.01 * (trial.seed as f64 - 2.0);
    let bits = trial.bits_per_vector as f64;
    let mut values = vec![
        Measured::new(&BITS_PER_VECTOR, bits),
        Measured::new(&BITS_PER_DIM, bits / 16.0),
        Measured::new(&ENTROPY_BITS_PER_VECTOR, 0.95 * bits),
        Measured::new(&NMSE, nmse * shift),
        Measured::new(&GAP_TO_BOUND_DB, 1.5),
        Measured::new(&USAGE, 0.98),
        Measured::new(&USAGE, 0.5).stage("sub 0"),
        Measured::new(&RECALL_K_AT_K, 1.0 - nmse).k(10).path("adc"),
        Measured::new(&RECALL_K_AT_K, 1.0 - nmse / 2.0).k(10).path("rerank4"),
        Measured::new(&RECALL_K_AT_K, 0.1).k(1).path("adc"),
        Measured::new(&KNN_ACCURACY_RETENTION, 0.9).k(10).path("adc"),
        Measured::new(&TRAIN_SECONDS, 0.5).repeat(0),
        Measured::new(&MODEL_BYTES, 16384.0),
    ];
    for repeat in 0..5 {
        let speed = 1e6 / bits * (1.0 + 0.002 * repeat as f64);
        values.push(Measured::new(&ENCODE_VECTORS_PER_SECOND, speed).repeat(repeat));
        values.push(Measured::new(&SEARCH_QUERIES_PER_SECOND, speed / 100.0).k(10).path("adc").repeat(repeat));
    }
    TrialRecord {
        schema: SCHEMA,
        trial,
        status: Status::Ok,
        reason: None,
        cause: None,
        limits: Limits { timeout_seconds: 600.0, memory_bytes: None },
        machine: machine(),
        wall_seconds: 1.0,
        recipe: None,
        codes_sha256: None,
        log: None,
        values,
    }
}

pub fn run() -> Run {
    let mut records = Vec::new();
    for (label, series, bits, nmse) in [
        ("PQ m=2", "PQ", 16, 0.4),
        ("PQ m=4", "PQ", 32, 0.1),
        ("Scalar 2 bit", "Scalar", 32, 0.12),
        ("Scalar 4 bit", "Scalar", 64, 0.01),
    ] {
        for seed in 1..=3 {
            records.push(record(trial(label, series, bits, seed), nmse));
        }
    }
    let failed = TrialRecord {
        status: Status::Timeout,
        reason: Some("it was still running after 10m | and <more>".into()),
        values: vec![],
        ..record(trial("LBG & co", "LBG", 20, 1), 0.5)
    };
    records.push(failed);
    let facts = DatasetFacts {
        name: "vectors_16".into(),
        dim: 16,
        train: 1000,
        base: 1000,
        queries: 100,
        metric_space: "l2".into(),
        fingerprint: "f".into(),
        variance: 16.0,
        spectrum: vec![1.0; 16],
        vectors: Some(VectorFacts {
            norms: [2.5, 4.0, 6.5],
            copies: 3,
            off_centre: Some(0.125),
            variances: [0.9, 1.0, 1.1],
            intrinsic_dimension: Some(12.5),
            sample: 1000,
            queries: Some(QueryFacts { copies: 0, ratio: Some(1.01), far: Some(0.06) }),
            ..VectorFacts::default()
        }),
        bound: (1..200).map(|i| (f64::from(i), 4f64.powf(-f64::from(i) / 16.0))).collect(),
        ..DatasetFacts::default()
    };
    let info = RunInfo {
        schema: SCHEMA,
        name: "golden".into(),
        analysis: "What to look for.".into(),
        experiment: json!({}),
        machine: machine(),
        datasets: vec![facts],
        trials: records.iter().map(|r| r.trial.clone()).chain([trial("PQ m=8", "PQ", 64, 1)]).collect(),
        skipped: vec![],
    };
    Run { info, records, pictures: vec![] }
}

pub fn all_formats() -> Vec<String> {
    FORMATS.iter().map(|f| (*f).to_owned()).collect()
}

/// The run as reports read it. Trials that tests have copied get ids of their own, as all trials of a plan have.
pub fn results(run: &Run) -> Results {
    let mut run = run.clone();
    let mut seen = HashSet::new();
    for record in &mut run.records {
        while !seen.insert(record.trial.id.clone()) {
            record.trial.id.push('0');
        }
    }
    Results::of(&run).expect("frames")
}

pub fn render(runs: &[Run], formats: &[String]) -> Result<Vec<Artifact>, ReportError> {
    reports::render(&runs.iter().map(results).collect::<Vec<_>>(), formats)
}

#[allow(dead_code)]
pub fn compare(base: &Run, new: &Run, options: &Options) -> Comparison {
    reports::compare::compare(&results(base), &results(new), options).expect("frames")
}

pub fn text(run: &Run, path: &str) -> String {
    let artifacts = render(std::slice::from_ref(run), &all_formats()).expect("renders");
    let found = artifacts.into_iter().find(|a| a.path == path).unwrap_or_else(|| panic!("{path}"));
    String::from_utf8(found.bytes).expect("text")
}
