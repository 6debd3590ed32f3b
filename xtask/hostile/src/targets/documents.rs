//! Experiment files: YAML, the plan that it stands for, and single methods.

use crate::room::Room;
use datasets::SearchPath;
use experiments::document::to_yaml;
use experiments::{Document, Fault, Overrides, Plan, Surroundings, include};
use methods::registry::entries;
use methods::{parse, parse_text};
use serde_json::Value;

/// Most trials of a plan that is listed in full; above it only the time would be tested.
const MOST_TRIALS: usize = 2000;

/// Texts that use all of the syntax that is read.
const YAML: [&str; 5] = [
    "a: &x [1, -2, 0x1f, 0o17, 1.5e3, .5, true, ~, 'q''q', \"\\u00e9\\n\"]\nb: *x\nc: {d: [*x, {e: f}], \"g h\": |\n    two\n    lines\n  }\n",
    "- one\n- >\n  folded\n  text\n- - nested\n  - {}\n- []\n# a comment\n- key: value # another\n",
    "%YAML 1.2\n---\nname: t\nlist:\n- 1\n- 2\n...\n",
    "a: &a [&b [&c [x, y], *c], *b]\nd: *a\n? k\n: v\n",
    "text: plain text: with colon\n",
];

/// Experiments on random vectors, so that planning them reads no file.
const EXPERIMENTS: [&str; 5] = [
    "name: t\ndatasets:\n  - { synthetic: gaussian, dim: 12, n: 100, queries: 10 }\nseeds: { from: 1, to: 3 }\n\
     methods:\n  - pq: { bits: 8 }\n    sweep: { m: [1, 2, 3], bits: { from: 2, to: 8, factor: 2 } }\n    label: \"PQ m={m}\"\n\
     \x20 - rvq: { bits: 4 }\n    at_bits: [8, 16]\n  - scalar: { bits: 4, levels: lloyd-max, transform: { pca: { dim: 4 } } }\n\
     measure: { distortion: {}, recall: { k: [1, 10], rerank: [0, 4] } }\n",
    "name: u\ndatasets: [{ synthetic: mixture, dim: 8, n: 50, components: 4, name: m }, { synthetic: ar1, dim: 6, n: 9, rho: 0.5 }]\n\
     defaults: { bits: 3 }\nmethods:\n  - lbg: {}\n    zip: { bits: [1, 2], iterations: [3, 4] }\n  - \"PQ4x4\"\n  - fsq: { preset: 8 }\n\
     overrides:\n  - datasets: [m]\n    methods: [lbg]\n    set: { iterations: 2 }\nexclude:\n  - { methods: [lbg], datasets: [m], reason: why }\n\
     pairs:\n  - { ours: lbg, theirs: pq, aims: { nmse: { ratio: 0.9 } } }\n\
     timeout: 2m\nmemory: 1GiB\nbudget: 30m\nthreads: [1, 2]\n",
    "name: v\ndatasets: [{ path: none.npy, metric: cosine, split: { train: 0..3, base: 3..5 } }, nowhere]\nmethods: { scalar: {} }\ninclude: [other.yaml]\n",
    "name: w\ndatasets: { synthetic: sphere, dim: 4, n: 10 }\nmethods: { binary: {} }\nseeds: [18446744073709551615]\nreport: { formats: [html], pictures: 2 }\n",
    "name: x\nanalysis: >\n  words\ndatasets: [{ images: folder/, patch: 8 }]\nmethods:\n  - { opq: { m: 2 } }\nkeep_models: true\ndevice: [cpu]\n",
];

fn owned(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub fn yaml_seeds() -> Vec<Vec<u8>> {
    owned(&[&YAML[..], &EXPERIMENTS[..]].concat())
}

pub fn experiment_seeds() -> Vec<Vec<u8>> {
    owned(&EXPERIMENTS)
}

/// The methods with the parameters of their examples, and factory strings.
pub fn method_seeds() -> Vec<Vec<u8>> {
    let examples = entries()
        .flat_map(|entry| entry.examples.iter().map(|params| format!("{{\"{}\":{params}}}", entry.name).into_bytes()));
    examples.chain(owned(&["OPQ16,PQ16x8", "PCA64,SQ8", "RR32,LSQ8x8", "PQ8x4fs", "RaBitQ", "ITQ64,LSH"])).collect()
}

/// A fault whose words are fit to print.
fn told(fault: &Fault) -> Result<(), String> {
    let text = fault.to_string();
    if text.is_empty() { Err("a fault says nothing".to_owned()) } else { Ok(()) }
}

/// Written as YAML again, a text has the same value.
pub fn check_yaml(_: &Room, input: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(()) };
    let document = match Document::parse("input.yaml", text) {
        Ok(document) => document,
        Err(fault) => return told(&fault),
    };
    let written = to_yaml(document.value());
    match Document::parse("again.yaml", &written) {
        Ok(again) if again.value() == document.value() => Ok(()),
        Ok(again) => Err(format!("{} became {} by way of {written:?}", document.value(), again.value())),
        // What was written may be longer than what is read.
        Err(_) if written.len() > 2 * text.len() => Ok(()),
        Err(fault) => Err(format!("{} was written as {written:?}, which is refused: {fault}", document.value())),
    }
}

pub fn check_experiment(room: &Room, input: &[u8]) -> Result<(), String> {
    let path = room.write("input.yaml", input)?;
    let document = match include::read(&path, "input.yaml") {
        Ok(document) => document,
        Err(fault) => return told(&fault),
    };
    let mut here = Surroundings { search: SearchPath::default(), ..Surroundings::default() };
    // No mutation may start a program.
    here.programs.refuses_commands = true;
    match Plan::new(&document, room.path(), &here, &Overrides::default()) {
        Err(faults) if faults.is_empty() => Err("it is refused without a fault".to_owned()),
        Err(faults) => faults.iter().try_for_each(told),
        Ok(plan) => {
            let shown = plan.trials.iter().take(MOST_TRIALS).map(|planned| planned.trial.label.len());
            if shown.sum::<usize>() == 0 { Err("it has no trial with a label".to_owned()) } else { Ok(()) }
        }
    }
}

pub fn check_method(_: &Room, input: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(()) };
    let mut parsed = Vec::new();
    match serde_json::from_str(text) {
        Ok(Value::Object(methods)) => parsed.extend(methods.into_iter().map(|(name, params)| parse(&name, params))),
        _ => parsed.push(parse_text(text)),
    }
    for method in parsed {
        let method = match method {
            Ok(method) => method,
            Err(error) if error.to_string().is_empty() => return Err("an error says nothing".to_owned()),
            Err(_) => continue,
        };
        for dim in [1, 12, 4096] {
            match method.check(dim) {
                Ok(()) => drop(method.code_bits(dim)),
                Err(error) if error.to_string().is_empty() => return Err("an error says nothing".to_owned()),
                Err(_) => {}
            }
        }
    }
    Ok(())
}
