//! `cargo xtask advise` from end to end: the answer, its limits, what it leads to, and what is said when something is off.

mod common;

use common::{npy, output_text, write, xtask};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// Vectors that are quick to search in.
const SMALL: &str = "{ synthetic: mixture, dim: 16, n: 2000, train: 2000, queries: 80 }";

fn advise(folder: &Path, arguments: &[&str]) -> Output {
    xtask(folder).arg("advise").args(arguments).args(["--threads", "1"]).output().expect("starts")
}

/// The answer as JSON, and the exit code.
fn answer(folder: &Path, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = advise(folder, &[arguments, &["--format", "json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {}", output_text(&output, folder)));
    (json, output.status.code())
}

/// With every number that has a decimal point replaced: times differ from run to run, and last digits between machines.
fn without_decimals(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[start..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |end| start + end);
        let number = &rest[start..end];
        out += &rest[..start];
        out += if number.trim_end_matches('.').contains('.') { "N" } else { number };
        rest = &rest[end..];
    }
    out + rest
}

/// Without the figures of speed: their magnitude and unit depend on the machine and on what else it does.
fn without_speeds(line: &str) -> String {
    let timed = |part: &&str| ["latency ", "encoding ", "training "].iter().any(|start| part.starts_with(start));
    let (found, kept): (Vec<&str>, Vec<&str>) = line.split(", ").partition(timed);
    // The figures of a code have all three; other sentences are left as they are.
    if found.len() == 3 { kept.join(", ") } else { line.to_owned() }
}

/// Without the parameters of codes: which of two codes that are nearly equal is better may differ between machines.
fn without_parameters(text: &str) -> String {
    match (text.find('{'), text.rfind('}')) {
        (Some(start), Some(end)) if start < end => format!("{}{{ … }}{}", &text[..start], &text[end + 1..]),
        _ => text.to_owned(),
    }
}

#[test]
fn the_embedded_vectors_get_an_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["wordnet-minilm-384", "--bytes", "8", "--rows", "2400", "--method", "pq", "--seeds", "2"];
    let output = advise(folder.path(), &[&arguments[..], &["--yaml", "confirm.yaml"]].concat());
    let text = output_text(&output, folder.path());
    assert_eq!(output.status.code(), Some(0), "{text}");
    let said = String::from_utf8_lossy(&output.stdout);
    // Which code is second, and how probable it is that the first is best, may differ between instruction sets.
    let varies = ["runner-up", "probability", "latency of single queries"];
    let lines = said.lines().filter(|line| varies.iter().all(|words| !line.contains(words)));
    let stable: Vec<String> = lines.map(|line| without_parameters(&without_decimals(&without_speeds(line)))).collect();
    insta::assert_snapshot!("answer", stable.join("\n"));
    assert!(text.contains("round 1: ") && text.contains("round 2: "), "{text}");
    // The experiment that it wrote is right.
    let dry = xtask(folder.path()).args(["experiments", "confirm.yaml", "--dry-run"]).output().expect("starts");
    let text = output_text(&dry, folder.path());
    assert_eq!(dry.status.code(), Some(0), "{text}");
    assert!(text.contains("m=8") && text.contains("trials, about"), "{text}");
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |threads: &str| {
        let output = xtask(folder.path())
            .args(["advise", SMALL, "--recall", "0.5", "--method", "pq", "--method", "scalar", "--format", "json"])
            .args(["--threads", threads])
            .output()
            .expect("starts");
        let mut json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let recall = json["best"]["figures"]["recall"].clone();
        let text =
            [&json["best"]["written"], &json["runner_up"]["written"], &json["probability_best"]].map(Value::to_string);
        json["seconds"].take();
        (text, recall)
    };
    assert_eq!(run("1"), run("2"), "threads decide nothing");
}

#[test]
fn a_limit_on_recall_gives_the_smallest_code_which_fit_can_build() {
    let folder = tempfile::tempdir().expect("a folder");
    let value = |i: usize, j: usize| ((i * 7 + j * 13) % 31) as f32 / 31.0 + ((i * i + j) % 7) as f32;
    write(folder.path(), "v.npy", npy(3000, 8, value));
    let arguments = ["v.npy", "--recall", "0.3", "--k", "5", "--method", "pq", "--method", "scalar", "--seeds", "2"];
    let (json, code) = answer(folder.path(), &arguments);
    assert_eq!(code, Some(0), "{json}");
    assert_eq!(json["objective"], "bytes");
    assert_eq!(
        (&json["meets_limits"], &json["held_out"], &json["stopped"]),
        (&true.into(), &true.into(), &false.into())
    );
    let best = &json["best"];
    let recall = &best["figures"]["recall"];
    assert!(recall["value"].as_f64() >= Some(0.3) && recall["low"].as_f64() <= recall["value"].as_f64(), "{recall}");
    assert!(best["latency"]["p50_us"].as_f64() > Some(0.0));
    let share = json["probability_best"].as_f64().expect("a probability");
    assert!((0.0..=1.0).contains(&share) && Some(share) <= json["probability_best_of_last_round"].as_f64());
    let written = best["written"].as_str().expect("a code");
    let output = xtask(folder.path()).args(["fit", written, "v.npy", "code.vqb"]).output().expect("starts");
    let text = output_text(&output, folder.path());
    assert_eq!(output.status.code(), Some(0), "{text}");
    let bytes = best["figures"]["bytes"]["value"].as_f64().expect("bytes");
    assert!(text.contains(&format!("in {bytes} bytes")), "the size is exact: {text}");
}

#[test]
fn limits_that_no_code_meets_have_an_exit_code_and_the_nearest_misses() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [SMALL, "--bytes", "4", "--recall", "0.999", "--method", "pq", "--method", "scalar"];
    let (json, code) = answer(folder.path(), &arguments);
    assert_eq!(code, Some(1), "{json}");
    assert_eq!((&json["best"], &json["meets_limits"]), (&Value::Null, &Value::Bool(false)));
    let misses = json["nearest_misses"].as_array().expect("misses");
    assert_eq!(misses.len(), 2);
    assert_eq!(misses[1]["figure"], "recall");
    assert!(misses[1]["code"]["figures"]["recall"]["value"].as_f64() < Some(0.999));
    assert!(json["out_of_reach"].as_array().is_some_and(|left| !left.is_empty()), "{json}");
    let text = output_text(&advise(folder.path(), &arguments), folder.path());
    assert!(text.contains("no code meets the limits") && text.contains("nearest to recall at least 0.999"), "{text}");
}

#[test]
fn a_search_that_runs_out_of_time_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let vectors = "{ synthetic: gaussian, dim: 64, n: 20000, train: 20000, queries: 80 }";
    let output = advise(folder.path(), &[vectors, "--recall", "0.5", "--time", "3s", "--format", "json"]);
    let text = output_text(&output, folder.path());
    // Too little time for any code is said, too.
    if output.status.code() == Some(2) {
        assert!(text.contains("stopped before any code was measured"), "{text}");
    } else {
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(json["stopped"], true, "{json}");
        assert!(json["tried"].as_u64() <= json["codes"].as_u64());
    }
}

#[test]
fn mistakes() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let value = |i: usize, j: usize| (i * 7 + j * 3) as f32 % 11.0 + 1.0;
    write(here, "nan.npy", npy(200, 4, |i, j| if (i, j) == (33, 2) { f32::NAN } else { value(i, j) }));
    write(here, "few.npy", npy(60, 4, value));
    write(here, "corrupt.npy", "this is no array");
    let cases: [(&str, &[&str]); 14] = [
        ("no limit", &[SMALL]),
        ("a recall that is no number", &[SMALL, "--recall", "nan"]),
        ("a recall above 1", &[SMALL, "--recall", "1.5"]),
        ("no bytes", &[SMALL, "--bytes", "0"]),
        ("a negative number", &[SMALL, "--bytes", "-4"]),
        ("a time without a unit", &[SMALL, "--latency", "3"]),
        ("an unknown method", &[SMALL, "--bytes", "4", "--method", "pqq"]),
        ("an unknown dataset", &["wordnet-minilm-385", "--bytes", "4"]),
        ("a missing file", &["nowhere.npy", "--bytes", "4"]),
        ("a corrupt file", &["corrupt.npy", "--bytes", "4"]),
        ("NaN in the vectors", &["nan.npy", "--bytes", "4"]),
        ("too few queries", &["few.npy", "--bytes", "4"]),
        ("fewer bytes than any code has", &[SMALL, "--bytes", "1", "--method", "rabitq"]),
        ("a metric of a named dataset", &["wordnet-minilm-384", "--bytes", "4", "--metric", "l2"]),
    ];
    let mut golden = String::new();
    for (name, arguments) in cases {
        let output = advise(here, arguments);
        let text = output_text(&output, here);
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        golden += &format!("=== {name}\n{text}");
    }
    insta::assert_snapshot!("mistakes", golden);
}
