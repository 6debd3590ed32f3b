//! What runs write and read back: records of trials, run folders, tables, messages of child processes, submissions. All
//! of them may come from a stranger.

use crate::room::Room;
use experiments::rerun::{Place, Rerun};
use experiments::trial::{Failure, Message, Request};
use experiments::{Surroundings, document};
use methods::METHODS;
use record::metric::{BITS_PER_VECTOR, CODEWORDS, NMSE, RECALL_K_AT_K, TRAIN_SECONDS, USAGE};
use record::{
    Cause, DatasetFacts, Limits, Machine, Measured, Phase, Preparation, QueryFacts, Recipe, Results, Run, RunFolder,
    RunInfo, SCHEMA, Status, Trial, TrialRecord, VectorFacts, sha256,
};
use serde_json::{Value, json};
use site::{MANIFEST, Manifest, SUBMISSION_SCHEMA, Submission, Verification};
use std::collections::BTreeMap;
use std::path::Path;

/// The id of the first trial.
const ID: &str = "a1";

fn record(seed: u64) -> TrialRecord {
    let measured = |of, value| Measured::new(of, value);
    TrialRecord {
        schema: SCHEMA,
        trial: Trial {
            id: format!("a{seed}"),
            experiment: "e".into(),
            dataset: "d".into(),
            dim: 4,
            n: 10,
            metric_space: "l2".into(),
            method: METHODS.first().map_or_else(String::new, |entry| entry.name.to_owned()),
            family: None,
            params: json!({ "bits": 4 }),
            label: format!("PQ {seed}"),
            series: "PQ".into(),
            device: "cpu".into(),
            threads: 1,
            seed,
            bits_per_vector: 16,
        },
        status: Status::Ok,
        reason: None,
        cause: None,
        limits: Limits { timeout_seconds: 60.0, memory_bytes: Some(1 << 30) },
        machine: Machine { simd: "portable".into(), cpu: "a processor".into(), cores: 2, ..Machine::default() },
        wall_seconds: 0.5,
        recipe: Some(Recipe {
            dataset: json!({ "synthetic": "gaussian", "dim": 4, "n": 10, "queries": 3, "name": "d" }),
            folder: None,
            fingerprint: "f".into(),
            measure: json!({ "distortion": {} }).as_object().cloned().unwrap_or_default(),
        }),
        codes_sha256: Some(sha256(b"codes")),
        log: None,
        values: vec![
            measured(&BITS_PER_VECTOR, 16.0),
            measured(&NMSE, 0.1 * seed as f64),
            measured(&RECALL_K_AT_K, 0.5).k(10).path("adc"),
            measured(&USAGE, 0.9),
            measured(&USAGE, 0.8).stage("sub 0"),
            measured(&CODEWORDS, 256.0).stage("sub 0"),
            measured(&TRAIN_SECONDS, 0.1).repeat(0),
        ],
    }
}

fn run() -> Run {
    let records: Vec<TrialRecord> = (1..=3).map(record).collect();
    let facts = DatasetFacts {
        name: "d".into(),
        dim: 4,
        train: 10,
        base: 10,
        queries: 3,
        metric_space: "l2".into(),
        fingerprint: "f".into(),
        variance: 4.0,
        spectrum: vec![2.0, 1.0, 0.5, 0.5],
        bound: vec![(1.0, 0.9), (8.0, 0.2), (16.0, 0.01)],
        vectors: Some(VectorFacts { queries: Some(QueryFacts::default()), ..VectorFacts::default() }),
        preparation: Some(Preparation {
            phases: vec![Phase { name: "load".into(), seconds: 0.5, processor_seconds: Some(0.25) }],
            peak_rss_bytes: Some(1 << 20),
        }),
        ..DatasetFacts::default()
    };
    let info = RunInfo {
        schema: SCHEMA,
        name: "e".into(),
        analysis: "What to look for.".into(),
        experiment: json!({ "name": "e", "datasets": [{ "synthetic": "gaussian", "dim": 4, "n": 10, "name": "d" }] }),
        machine: Machine::default(),
        datasets: vec![facts],
        trials: records.iter().map(|record| record.trial.clone()).collect(),
        skipped: vec!["something".into()],
    };
    Run { info, records, pictures: vec![] }
}

/// Plain data as JSON.
fn text(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Plan and records in one array.
fn together(run: &Run) -> Vec<u8> {
    let values: Vec<Value> =
        std::iter::once(json!(run.info)).chain(run.records.iter().map(|record| json!(record))).collect();
    text(&values)
}

/// Writes the plan and the records of an array into a new run folder of this name; None if it is no such array.
fn unpacked(room: &Room, name: &str, input: &[u8]) -> Result<Option<RunFolder>, String> {
    let Ok(Value::Array(values)) = serde_json::from_slice(input) else { return Ok(None) };
    let root = room.path().join(name);
    let _ = std::fs::remove_dir_all(&root);
    let mut values = values.into_iter();
    let Some(info) = values.next() else { return Ok(None) };
    room.write(&format!("{name}/run.json"), &text(&info))?;
    for (i, record) in values.enumerate().take(8) {
        let id = record["trial"]["id"].as_str().filter(|id| record::is_id(id)).map_or(format!("b{i}"), str::to_owned);
        room.write(&format!("{name}/trials/{id}.json"), &text(&record))?;
    }
    Ok(Some(RunFolder::new(root)))
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    let failure = Failure { reason: "why".into(), cause: Cause::Trial };
    let messages = [
        Message::Phase("fit".into()),
        Message::Codes(sha256(b"codes")),
        Message::Values(record(1).values),
        Message::Failed(failure),
    ];
    let request = json!({
        "trial": record(1).trial, "dataset": { "synthetic": "gaussian", "dim": 4, "n": 10 }, "root": "/", "files": [],
        "facts": "facts.json", "truth": null, "measure": { "distortion": {} }, "limits": record(1).limits,
    });
    let facts = run().info.datasets.iter().map(text).collect::<Vec<_>>();
    messages.iter().map(text).chain([text(&request)]).chain(facts).collect()
}

/// The lines that processes of trials say and read, and facts of datasets.
pub fn check_message(_: &Room, input: &[u8]) -> Result<(), String> {
    let _ = serde_json::from_slice::<Message>(input);
    let _ = serde_json::from_slice::<Request>(input);
    if let Ok(facts) = serde_json::from_slice::<DatasetFacts>(input) {
        let _ = (facts.remarks(), reports::vectors::text(&facts));
        reports::vectors::spectrum(&facts, "svg").map_err(|error| error.to_string())?;
    }
    Ok(())
}

pub fn trial_seeds() -> Vec<Vec<u8>> {
    vec![text(&record(1)), text(&record(2))]
}

/// A record, and the trial that it would run again.
pub fn check_trial(room: &Room, input: &[u8]) -> Result<(), String> {
    let path = room.write("input.json", input)?;
    let record = match record::read_trial(&path) {
        Ok(record) => record,
        Err(error) if error.to_string().contains("input.json") => return Ok(()),
        Err(error) => return Err(format!("an error does not say which file: {error}")),
    };
    let mut here = Surroundings { search: datasets::SearchPath::default(), ..Surroundings::default() };
    here.programs.refuses_commands = true;
    let place = Place { folder: Some(room.path()), timeout: None, memory: None, here: &here };
    match Rerun::prepare(&record, &place) {
        Err(error) if error.to_string().is_empty() => Err("an error says nothing".to_owned()),
        _ => Ok(()),
    }
}

pub fn run_seeds() -> Vec<Vec<u8>> {
    vec![text(&run().info)]
}

/// The plan of a run whose records are in order.
pub fn check_run(room: &Room, input: &[u8]) -> Result<(), String> {
    let folder = RunFolder::new(room.path().join("run"));
    room.write("run/run.json", input)?;
    if !folder.trial_file(ID).exists() {
        for record in run().records {
            room.write(&format!("run/trials/{}.json", record.trial.id), &text(&record))?;
        }
    }
    let Ok(run) = folder.load() else { return Ok(()) };
    let _ = run.info.datasets.iter().map(DatasetFacts::remarks).collect::<Vec<_>>();
    let _ = Results::of(&run);
    Ok(())
}

pub fn page_seeds() -> Vec<Vec<u8>> {
    vec![together(&run())]
}

/// Every report of a run.
pub fn check_page(room: &Room, input: &[u8]) -> Result<(), String> {
    let Some(folder) = unpacked(room, "page", input)? else { return Ok(()) };
    let Ok(results) = folder.results() else { return Ok(()) };
    let formats = ["html", "markdown", "latex", "csv", "bencher"].map(str::to_owned);
    reports::render(&[results], &formats).map(drop).map_err(|error| format!("the report fails: {error}"))
}

pub fn table_seeds() -> Vec<Vec<u8>> {
    let files = record::table_files(&run()).into_iter().flatten();
    files.filter(|(name, _)| name.ends_with(".parquet")).map(|(_, bytes)| bytes).collect()
}

/// Both tables of a run, with digests that fit.
pub fn check_tables(room: &Room, input: &[u8]) -> Result<(), String> {
    let folder = RunFolder::new(room.path().join("tables"));
    if !folder.run_file().exists() {
        room.write("tables/run.json", &text(&run().info))?;
    }
    for name in ["results.parquet", "trials.parquet"] {
        room.write(&format!("tables/{name}"), input)?;
    }
    let digest = sha256(input);
    room.write("tables/tables.json", &text(&json!({ "results": digest, "trials": digest })))?;
    let _ = folder.tables();
    let _ = folder.results();
    Ok(())
}

fn manifest(files: BTreeMap<String, String>, trials: usize) -> Manifest {
    Manifest {
        schema: SUBMISSION_SCHEMA,
        id: "submission".into(),
        name: "Somebody".into(),
        contact: None,
        date: "2026-11-29".into(),
        licence: "CC0-1.0".into(),
        experiment: "e".into(),
        version: "0.1.0".into(),
        trials,
        files,
    }
}

pub fn submission_seeds() -> Vec<Vec<u8>> {
    let verification = json!({
        "schema": 1, "submission": "submission", "manifest_sha256": sha256(b""), "by": "Another", "date": "2026-11-29",
        "version": "0.1.0", "revision": null, "machine": "a processor", "seed": 3, "trials": 3, "disagreements": [],
        "sample": [], "chance": 0.0, "passed": true,
    });
    let files = [("run.json".to_owned(), sha256(b""))].into_iter().collect();
    vec![together(&run()), text(&manifest(files, 3)), text(&verification)]
}

/// A manifest, a verification, or a whole submission whose manifest fits.
pub fn check_submission(room: &Room, input: &[u8]) -> Result<(), String> {
    let _ = Manifest::parse(input, "submission");
    let _ = Verification::parse(input).map(|found| (found.meaning(), found.check_sample(&["a1", "a2", "a3"])));
    let Some(folder) = unpacked(room, "submission", input)? else { return Ok(()) };
    let trials = folder.load().map_or(0, |run| run.records.len());
    let yaml = document::to_yaml(&json!({ "name": "e" }));
    for (name, content) in [
        ("machine.json", b"{}".as_slice()),
        ("experiment.yaml", yaml.as_bytes()),
        ("results.parquet", b""),
        ("trials.parquet", b""),
        ("tables.json", b"{}"),
    ] {
        room.write(&format!("submission/{name}"), content)?;
    }
    let mut files = BTreeMap::new();
    digests(folder.root(), "", &mut files);
    room.write(&format!("submission/{MANIFEST}"), &text(&manifest(files, trials)))?;
    match Submission::open(folder.root()) {
        Err(error) if error.to_string().is_empty() => Err("an error says nothing".to_owned()),
        _ => Ok(()),
    }
}

/// The digests of the files below a folder, by path.
fn digests(folder: &Path, before: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = format!("{before}{}", entry.file_name().to_string_lossy());
        match std::fs::read(entry.path()) {
            Ok(bytes) if path != MANIFEST => drop(found.insert(path, sha256(&bytes))),
            Ok(_) => {}
            Err(_) => digests(&entry.path(), &format!("{path}/"), found),
        }
    }
}
