//! Runs made up for the tests of the page.

use record::metric::{
    BITS_PER_VECTOR, CODE_BYTES, ENCODE_VECTORS_PER_SECOND, MODEL_BYTES, MSE, MSE_STD, NMSE, PSNR_DB, RECALL_K_AT_K,
    RECALL_K_AT_K_STD, SEARCH_QUERIES_PER_SECOND, SQNR_DB, TRAIN_SECONDS, TRAINING_MSE, USAGE,
};
use record::{
    DatasetFacts, Limits, Machine, Measured, Phase, Results, Run, RunInfo, SCHEMA, Status, Trial, TrialLog, TrialRecord,
};
use serde_json::json;

/// How many of each a run has.
pub struct Size {
    pub datasets: usize,
    pub methods: usize,
    pub rates: usize,
    pub seeds: u64,
}

/// Numbers between 0 and 1 that follow from their place, and do not pack.
fn noise(places: [usize; 3]) -> f64 {
    (noise_bits(places) >> 11) as f64 / (1u64 << 53) as f64
}

/// The same as bits.
pub fn noise_bits(places: [usize; 3]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for place in places {
        state = (state ^ place as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 29;
    }
    state
}

/// A run of that size, and one trial that failed. Training is recorded for so many epochs.
pub fn run(size: &Size, epochs: usize) -> Run {
    let facts: Vec<DatasetFacts> = (0..size.datasets)
        .map(|d| DatasetFacts {
            name: format!("set-{d}"),
            dim: 64,
            train: 1000,
            base: 5000,
            queries: 100,
            metric_space: "l2".into(),
            fingerprint: format!("f{d}"),
            variance: 1.0,
            spectrum: vec![1.0; 64],
            bound: (1..2000).step_by(8).map(|i| (f64::from(i), 4f64.powf(-f64::from(i) / 64.0))).collect(),
            ..DatasetFacts::default()
        })
        .collect();
    let mut records = Vec::new();
    for (d, facts) in facts.iter().enumerate() {
        for method in 0..size.methods {
            for rate in 0..size.rates {
                for seed in 1..=size.seeds {
                    records.push(record(facts, [d, method, rate], seed, epochs));
                }
            }
        }
    }
    let mut failed = record(&facts[0], [0, 0, 0], size.seeds + 1, 0);
    failed.status = Status::Failed;
    failed.reason = Some("no convergence\nafter <10> rounds".into());
    failed.values.clear();
    failed.log = Some(TrialLog {
        phases: vec![Phase { name: "fit".into(), seconds: 2.5, processor_seconds: None }],
        remarks: vec!["This is its second attempt.".into()],
        standard_error: "first <b>words</b>\nlast words".into(),
        ..TrialLog::default()
    });
    records.push(failed);
    let written: Vec<String> = facts.iter().map(|facts| facts.name.clone()).collect();
    Run {
        info: RunInfo {
            schema: SCHEMA,
            name: "made-up".into(),
            analysis: String::new(),
            experiment: json!({ "datasets": written, "timeout": "2m", "measure": { "distortion": {} } }),
            machine: machine(),
            datasets: facts,
            trials: records.iter().map(|record| record.trial.clone()).collect(),
            skipped: vec![],
        },
        records,
        pictures: vec![],
    }
}

fn machine() -> Machine {
    Machine { cpu: "A Processor".into(), cores: 2, git_revision: Some("0123abcd".into()), ..Machine::default() }
}

fn record(facts: &DatasetFacts, [d, method, rate]: [usize; 3], seed: u64, epochs: usize) -> TrialRecord {
    let bits = 16 * (rate + 1);
    // Methods differ by a little, rates by much.
    let id = [d * 1000 + method, rate, seed as usize];
    let about = |what: usize| noise([id[0] + 7919 * what, id[1], id[2]]);
    let nmse = 4f64.powf(-(bits as f64) / 64.0) * (1.0 + 0.1 * method as f64 + 0.02 * about(0));
    let recall = (1.0 - nmse).clamp(0.0, 1.0);
    let speed = 1e6 / (1.0 + method as f64);
    let mut values = vec![
        Measured::new(&BITS_PER_VECTOR, bits as f64),
        Measured::new(&CODE_BYTES, bits.div_ceil(8) as f64),
        Measured::new(&NMSE, nmse),
        Measured::new(&MSE, nmse * 1.7),
        Measured::new(&MSE_STD, 0.3 * nmse),
        Measured::new(&SQNR_DB, -10.0 * nmse.log10()),
        Measured::new(&PSNR_DB, 20.0 - 10.0 * nmse.log10()),
        Measured::new(&RECALL_K_AT_K, recall).k(10).path("adc"),
        Measured::new(&RECALL_K_AT_K_STD, 0.2).k(10).path("adc"),
        Measured::new(&RECALL_K_AT_K, recall.sqrt()).k(10).path("rerank4"),
        Measured::new(&RECALL_K_AT_K, recall * recall).k(1).path("adc"),
        Measured::new(&USAGE, 0.9 + 0.1 * about(1)),
        Measured::new(&USAGE, 0.8).stage("sub 0"),
        Measured::new(&USAGE, 0.7).stage("sub 1"),
        Measured::new(&MODEL_BYTES, 4096.0 * bits as f64),
        Measured::new(&TRAIN_SECONDS, 1.0 + about(2)).repeat(0),
        Measured::new(&ENCODE_VECTORS_PER_SECOND, speed * (1.0 + 0.1 * about(3))).repeat(0),
        Measured::new(&SEARCH_QUERIES_PER_SECOND, 0.01 * speed * (1.0 + 0.1 * about(4))).k(10).path("adc").repeat(0),
    ];
    values.extend((0..epochs).map(|i| Measured::new(&TRAINING_MSE, nmse * (1.0 + 1.0 / (1.0 + i as f64))).repeat(i)));
    let name =
        ["alpha", "beta", "gamma", "delta"].get(method).map_or_else(|| format!("m{method}"), |n| (*n).to_owned());
    TrialRecord {
        schema: SCHEMA,
        trial: Trial {
            id: format!("{:016x}", (noise(id) * u64::MAX as f64) as u64),
            experiment: "made-up".into(),
            dataset: facts.name.clone(),
            dim: 64,
            n: 5000,
            metric_space: "l2".into(),
            method: name.clone(),
            // As in a run that continues one of a version without families: some say none.
            family: [Some("product"), Some("additive"), None].get(method % 3).copied().flatten().map(str::to_owned),
            params: json!({ "bits": bits, "init": "rows", "nested": { "rounds": 3 } }),
            label: format!("{name} {bits}"),
            series: name,
            device: "cpu".into(),
            threads: 2,
            seed,
            bits_per_vector: bits,
        },
        status: Status::Ok,
        reason: None,
        cause: None,
        limits: Limits { timeout_seconds: 120.0, memory_bytes: None },
        machine: machine(),
        recipe: None,
        codes_sha256: None,
        log: Some(log(id)),
        wall_seconds: 1.5,
        values,
    }
}

/// A log with as many phases as trials have, of which no two take the same time.
fn log(id: [usize; 3]) -> TrialLog {
    let names =
        ["load", "fit", "encode", "rate", "distortion", "training", "utilization", "recall", "throughput", "memory"];
    let phase = |(i, name): (usize, &str)| Phase {
        name: name.into(),
        seconds: 0.15 * noise([id[0] + 104_729 * i, id[1], id[2]]),
        processor_seconds: Some(0.25 * noise([id[0] + 1299 * i, id[1], id[2]])),
    };
    let phases = names.into_iter().enumerate().map(phase).collect();
    let standard_error = if id[1] == 0 { format!("a library said {}", id[2]) } else { String::new() };
    TrialLog { phases, standard_error, ..TrialLog::default() }
}

/// The page of a run.
pub fn page(run: &Run) -> String {
    let results = Results::of(run).expect("frames");
    let artifacts = reports::render(&[results], &["html".to_owned()]).expect("renders");
    let page = artifacts.into_iter().find(|artifact| artifact.path == "index.html").expect("a page");
    String::from_utf8(page.bytes).expect("text")
}
