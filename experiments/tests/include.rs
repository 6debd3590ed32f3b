//! Experiments that consist of several files.

use experiments::{Document, Fault, Overrides, Plan, Surroundings, include};
use miette::Diagnostic;
use std::path::Path;

/// Writes files and plans the first of them.
fn plan(files: &[(&str, &str)]) -> Result<Plan, Vec<Fault>> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let document = read(folder.path(), files[0].0).map_err(|fault| vec![fault])?;
    Plan::new(&document, folder.path(), &Surroundings::default(), &Overrides::default())
}

fn read(folder: &Path, name: &str) -> Result<Document, Fault> {
    include::read(&folder.join(name), name)
}

/// The only fault: its file and line, its message and its help.
fn fault(files: &[(&str, &str)]) -> (String, String) {
    let faults = plan(files).err().expect("a fault");
    let [fault] = &faults[..] else { panic!("{faults:?}") };
    let label = fault.labels().and_then(|mut labels| labels.next());
    let place = label.and_then(|label| {
        let found = fault.source_code()?.read_span(label.inner(), 0, 0).ok()?;
        Some(format!("{}:{}", found.name()?, found.line() + 1))
    });
    let help = fault.help().map(|help| help.to_string()).unwrap_or_default();
    (place.unwrap_or_default(), format!("{fault}; {help}"))
}

const SHARED: &str = "# Shared.
seeds: [1]
threads: 1
datasets: [{ synthetic: gaussian, dim: 12, n: 50 }]
measure: { distortion: }
methods:
  - lbg: { bits: 3 }
";

const MINE: &str = "name: mine\ninclude: shared.yaml\nmethods:\n  - pq: { m: 3, bits: 2 }\n";

fn trials(plan: &Plan) -> Vec<(&str, u64)> {
    plan.trials.iter().map(|planned| (planned.trial.label.as_str(), planned.trial.seed)).collect()
}

#[test]
fn an_experiment_takes_over_what_it_includes() {
    let found = plan(&[("mine.yaml", MINE), ("shared.yaml", SHARED)]).expect("valid");
    assert_eq!(trials(&found), [("lbg", 1), ("pq", 1)], "included methods come first");
    let own_seeds = format!("{MINE}seeds: [7]\n");
    let found = plan(&[("mine.yaml", &own_seeds), ("shared.yaml", SHARED)]).expect("valid");
    assert_eq!(trials(&found), [("lbg", 7), ("pq", 7)], "what the file says itself wins");
    let parts = MINE.replace("shared.yaml", "{ file: shared.yaml, parts: [datasets, measure, seeds] }");
    let found = plan(&[("mine.yaml", &parts), ("shared.yaml", SHARED)]).expect("valid");
    assert_eq!(trials(&found), [("pq", 1)]);
    let complete = SHARED.to_owned() + "name: other\nanalysis: not mine\n";
    let found = plan(&[("mine.yaml", MINE), ("shared.yaml", &complete)]).expect("valid");
    assert_eq!((&found.experiment.name[..], &found.experiment.analysis[..]), ("mine", ""));
}

#[test]
fn paths_start_at_the_folder_of_the_file_that_names_them() {
    let mine = "name: mine\ninclude: parts/all.yaml\n";
    let all = "include: [data/sets.yaml, methods.yaml]\n";
    let sets = "seeds: [1]\ndatasets: { path: rows.csv, split: { queries: 1 } }\n";
    let files = [
        ("mine.yaml", mine),
        ("parts/all.yaml", all),
        ("parts/data/sets.yaml", sets),
        ("parts/data/rows.csv", "1,2\n3,4\n5,6\n7,8\n9,1\n"),
        ("parts/methods.yaml", "methods: [{ scalar: { bits: 2 } }]\nmeasure: { distortion: }\n"),
    ];
    let found = plan(&files).expect("valid");
    assert_eq!(found.datasets[0].resolved.summary.dim, 2);
    assert_eq!(
        Path::new(found.datasets[0].written["path"].as_str().expect("a path")),
        Path::new("parts/data/rows.csv")
    );
}

#[test]
fn errors_name_the_file_that_is_wrong() {
    let wrong = SHARED.replace("bits: 3", "bitz: 3");
    let (place, message) = fault(&[("mine.yaml", MINE), ("shared.yaml", &wrong)]);
    assert_eq!(place, "shared.yaml:7");
    assert!(message.contains("unknown key `bitz`"), "{message}");
    let wrong = SHARED.replace("seeds:", "seedz:");
    assert_eq!(fault(&[("mine.yaml", MINE), ("shared.yaml", &wrong)]).0, "shared.yaml:2");
    let wrong = MINE.replace("m: 3", "m: 5");
    assert_eq!(fault(&[("mine.yaml", &wrong), ("shared.yaml", SHARED)]).0, "mine.yaml:4");
    assert_eq!(fault(&[("mine.yaml", MINE), ("shared.yaml", "a: [")]).0, "shared.yaml:1");
}

#[test]
fn wrong_includes_are_refused() {
    let include = |text: &str| MINE.replace("shared.yaml", text);
    for (text, expected) in [
        ("absent.yaml", "there is no file"),
        ("[]", "the key `datasets` is missing"),
        ("[3]", "`include` names no file"),
        ("{ file: shared.yaml, part: [datasets] }", "unknown key `part`; did you mean `parts`?"),
        ("{ parts: [datasets] }", "`include` names no file"),
        ("{ file: shared.yaml, parts: [dataset] }", "`dataset` cannot be included; did you mean `datasets`?"),
        ("{ file: shared.yaml, parts: [name] }", "`name` cannot be included"),
        ("{ file: shared.yaml, parts: [] }", "`parts` is empty"),
        ("{ file: shared.yaml, parts: [timeout] }", "shared.yaml has no `timeout`"),
        ("mine.yaml", "files include each other in a circle: mine.yaml → mine.yaml"),
    ] {
        let (place, message) = fault(&[("mine.yaml", &include(text)), ("shared.yaml", SHARED)]);
        assert!(message.contains(expected), "{text}: {message}");
        assert!(place.starts_with("mine.yaml:"), "{text}: {place}");
    }
    let (place, message) = fault(&[("mine.yaml", MINE), ("shared.yaml", "include: sub/../mine.yaml\n"), ("sub/x", "")]);
    assert_eq!(place, "shared.yaml:1");
    assert!(message.contains("circle: mine.yaml → shared.yaml → "), "{message}");
}

#[test]
fn methods_share_defaults_of_the_parameters_that_they_have() {
    let text = |rest: &str| format!("name: mine\ninclude: shared.yaml\n{rest}");
    let methods =
        "methods: [{ fsq: { groups: 2, training: { batch: 64 } } }, { pq: { m: 2 }, sweep: { bits: [2, 5] } }]\n";
    let defaults = "defaults: { training: { epochs: 2 }, iterations: 7, bits: 4 }\n";
    let found =
        plan(&[("mine.yaml", &text(&(defaults.to_owned() + methods))), ("shared.yaml", SHARED)]).expect("valid");
    let params = |i: usize| &found.trials[i].trial.params;
    assert_eq!(params(0)["bits"], 3, "what a method says itself wins");
    assert_eq!((&params(1)["training"]["epochs"], &params(1)["training"]["batch"]), (&2.into(), &64.into()));
    assert_eq!((&params(2)["bits"], &params(2)["iterations"]), (&2.into(), &7.into()), "a sweep wins");

    let wrong =
        |defaults: &str| fault(&[("mine.yaml", &text(&format!("{defaults}\n{methods}"))), ("shared.yaml", SHARED)]);
    let (place, message) = wrong("defaults: { trainin: { epochs: 2 } }");
    assert_eq!(place, "mine.yaml:3");
    assert!(message.contains("no method here has a parameter `trainin`; did you mean `training`?"), "{message}");
    let (place, message) = wrong("defaults: { training: { epochs: many } }");
    assert_eq!(place, "mine.yaml:3");
    assert!(message.contains("epochs"), "{message}");
}
