//! The pages of made-up submissions: who vouches, history over revisions, speed within a class of machines.

use record::metric::{BITS_PER_VECTOR, ENCODE_VECTORS_PER_SECOND, NMSE, RECALL_K_AT_K};
use record::{DatasetFacts, Limits, Machine, Measured, Recipe, RunFolder, RunInfo, SCHEMA, Status, Trial, TrialRecord};
use serde_json::{Map, json};
use site::{PublishError, Site, Submission, Submitter, Verification, publish, render};
use std::path::{Path, PathBuf};

fn machine(cpu: &str, revision: &str) -> Machine {
    Machine {
        cpu: cpu.into(),
        cores: 8,
        simd: "avx2".into(),
        os: "An OS 1".into(),
        rustc: "rustc 1.95.0".into(),
        version: "0.1.0".into(),
        git_revision: Some(revision.into()),
        git_dirty: Some(false),
        ..Machine::default()
    }
}

fn record(label: &str, bits: usize, nmse: f64, machine: &Machine) -> TrialRecord {
    let mut values = vec![
        Measured::new(&BITS_PER_VECTOR, bits as f64),
        Measured::new(&NMSE, nmse),
        Measured::new(&RECALL_K_AT_K, 1.0 - nmse).k(10).path("adc"),
    ];
    values.extend((0..3).map(|i| Measured::new(&ENCODE_VECTORS_PER_SECOND, 1e6 + 1e4 * i as f64).repeat(i)));
    TrialRecord {
        schema: SCHEMA,
        trial: Trial {
            id: format!("{bits:04x}"),
            experiment: "demo".into(),
            dataset: "words".into(),
            dim: 16,
            n: 1000,
            metric_space: "l2".into(),
            method: "pq".into(),
            family: None,
            params: json!({ "m": bits / 8 }),
            label: label.into(),
            series: "PQ".into(),
            device: "cpu".into(),
            threads: 8,
            seed: 1,
            bits_per_vector: bits,
        },
        status: Status::Ok,
        reason: None,
        cause: None,
        limits: Limits { timeout_seconds: 60.0, memory_bytes: None },
        machine: machine.clone(),
        wall_seconds: 1.0,
        recipe: Some(Recipe { dataset: json!("words"), folder: None, fingerprint: "f00".into(), measure: Map::new() }),
        codes_sha256: Some("ab".repeat(32)),
        log: None,
        values,
    }
}

/// Publishes a run of two points, and returns the folder of the submission.
fn submission(root: &Path, name: &str, date: &str, machine: &Machine, nmse: f64) -> Result<PathBuf, PublishError> {
    let records = [record("PQ m=4", 32, nmse, machine), record("PQ m=8", 64, nmse / 2.0, machine)];
    published(root, name, date, machine, &records)
}

/// Publishes a run of these records, and returns the folder of the submission.
fn published(
    root: &Path,
    name: &str,
    date: &str,
    machine: &Machine,
    records: &[TrialRecord],
) -> Result<PathBuf, PublishError> {
    let run = RunFolder::new(root.join(format!("run {name} {date}")));
    drop(run.prepare()?);
    let facts = DatasetFacts {
        name: "words".into(),
        dim: 16,
        train: 500,
        base: 1000,
        queries: 50,
        metric_space: "l2".into(),
        fingerprint: "f00".into(),
        variance: 1.0,
        bound: vec![(16.0, 0.4), (80.0, 0.05)],
        ..DatasetFacts::default()
    };
    run.save_run(&RunInfo {
        schema: SCHEMA,
        name: "demo".into(),
        analysis: "A demonstration.".into(),
        experiment: json!({ "name": "demo", "datasets": ["words"] }),
        machine: machine.clone(),
        datasets: vec![facts],
        trials: records.iter().map(|record| record.trial.clone()).collect(),
        skipped: vec![],
    })?;
    records.iter().try_for_each(|record| run.save_trial(record))?;
    let submitter = Submitter {
        name: name.into(),
        contact: None,
        licence: "CC0-1.0".into(),
        date: date.into(),
        secrets: vec![],
        disclosed: vec![],
    };
    publish(&run, &submitter, &root.join("all"), ToString::to_string)
}

/// A verification of a submission that passed.
fn verify(root: &Path, by: &str, change: impl FnOnce(&mut Verification)) {
    // An earlier one may be one that is refused.
    let _ = std::fs::remove_file(root.join(site::VERIFICATION));
    let opened = Submission::open(root).expect("a submission");
    let drawn = &opened.run.records[site::sample(2, 1, 7)[0]];
    let comparison = reports::rerun::compare_records(drawn, drawn);
    let mut verification = Verification {
        schema: 1,
        submission: opened.manifest.id.clone(),
        manifest_sha256: opened.digest.clone(),
        by: by.into(),
        date: "2026-11-30".into(),
        version: "0.1.0".into(),
        revision: Some("cafe".into()),
        machine: "Another, 4 cores, avx2".into(),
        seed: 7,
        trials: 2,
        disagreements: vec![],
        sample: vec![site::VerifiedTrial::compared(&drawn.trial.id, comparison)],
        chance: 0.0,
        passed: false,
    }
    .concluded();
    change(&mut verification);
    std::fs::write(root.join(site::VERIFICATION), serde_json::to_vec(&verification).expect("JSON")).expect("writes");
}

fn shown(roots: &[PathBuf]) -> Site {
    let submissions = roots.iter().map(|root| Submission::open(root).expect("a submission")).collect();
    render(submissions, vec![("broken".into(), "it is <empty>".into())]).expect("renders")
}

fn file(site: &Site, start: &str) -> String {
    let file = site.files.iter().find(|file| file.path.starts_with(start)).unwrap_or_else(|| panic!("no {start}"));
    String::from_utf8(file.bytes.clone()).expect("UTF-8")
}

/// The text of a page: a line per row or paragraph, without figures.
fn text(page: &str) -> String {
    let mut page = page.to_owned();
    while let (Some(start), Some(end)) = (page.find("<svg"), page.find("</svg>")) {
        page.replace_range(start..end + 6, "");
    }
    let body = page.split("<main>").nth(1).and_then(|rest| rest.split("</main>").next()).unwrap_or_default();
    let mut lines = body.to_owned();
    for end in ["</tr>", "</p>", "</h2>", "</h3>", "</li>", "</figcaption>", "</summary>"] {
        lines = lines.replace(end, "\n");
    }
    for end in ["</td>", "</th>"] {
        lines = lines.replace(end, " | ");
    }
    let (mut plain, mut inside) = (String::new(), false);
    for c in lines.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
        .lines()
        .map(|line| line.trim().trim_end_matches(" |"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn pages_say_who_vouches_what_changed_and_where_it_was_fast() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, new) = (machine("A Processor", "0123456789abcdef"), machine("A Processor", "fedcba9876543210"));
    let roots = [
        submission(dir.path(), "Ada", "2026-10-01", &old, 0.25).expect("publishes"),
        submission(dir.path(), "Ada", "2026-11-01", &new, 0.24).expect("publishes"),
        submission(dir.path(), "Grace", "2026-11-02", &machine("Another", "fedcba9876543210"), 0.24)
            .expect("publishes"),
    ];
    verify(&roots[0], "Grace", |_| {});
    let site = shown(&roots);
    insta::assert_snapshot!("index", text(&file(&site, "index.html")));
    insta::assert_snapshot!("method", text(&file(&site, "methods/pq-")));
    insta::assert_snapshot!("machine", text(&file(&site, "machines/another-8-cores-avx2-")));
    insta::assert_snapshot!(
        "submission",
        text(&file(&site, &format!("submissions/{}", roots[0].file_name().expect("a name").display())))
    );
    let dataset = file(&site, "datasets/words-");
    assert!(dataset.contains("<svg") && !text(&dataset).contains("encode/s"), "{}", text(&dataset));
    // A figure has one point per configuration, whoever submitted it.
    assert_eq!(
        dataset.matches("run demo").count() - dataset.matches("title=\"1 seeds").count(),
        4,
        "two figures, two points"
    );
    assert!(site.files.iter().all(|file| file.bytes.len() < 200_000));
    // The same submissions give the same site.
    let again = shown(&roots);
    assert_eq!(site.files, again.files);
}

#[test]
fn only_a_passed_verification_of_these_files_by_somebody_else_counts() {
    let dir = tempfile::tempdir().expect("a folder");
    let root = submission(dir.path(), "Ada", "2026-10-01", &machine("A Processor", "0123"), 0.25).expect("publishes");
    let counts = |by: &str, change: fn(&mut Verification)| {
        verify(&root, by, change);
        Submission::open(&root).map(|opened| opened.reproduced().is_some()).map_err(|error| error.to_string())
    };
    assert_eq!(counts("Grace", |_| {}), Ok(true));
    assert_eq!(counts(" ADA ", |_| {}), Ok(false));
    assert_eq!(counts(site::UNNAMED, |_| {}), Ok(false), "nobody stands for it");
    assert_eq!(counts("Grace", |v| v.manifest_sha256 = "00".into()), Ok(false));
    let refused = |result: Result<bool, String>| result.expect_err("refused");
    assert!(refused(counts("Grace", |v| v.sample.clear())).contains("its conclusion does not follow from its sample"));
    assert!(refused(counts("Grace", |v| v.chance = 1.0)).contains("its conclusion does not follow"));
    assert!(refused(counts("", |_| {})).contains("its by is empty"));
    // A sample that somebody chose, and verdicts that nothing was compared for.
    let other = |v: &mut Verification| {
        v.sample[0].trial = if v.sample[0].trial == "0020" { "0040".into() } else { "0020".into() };
    };
    assert!(refused(counts("Grace", other)).contains("its trials are not the sample of its seed 7"));
    let twice = |v: &mut Verification| {
        v.sample.push(v.sample[0].clone());
        *v = v.clone().concluded();
    };
    assert!(refused(counts("Grace", twice)).contains("its trials are not the sample of its seed 7"));
    let uncompared = |v: &mut Verification| v.sample[0].comparison = None;
    assert!(refused(counts("Grace", uncompared)).contains("does not follow from its comparison"));
    let fewer = |v: &mut Verification| {
        v.trials = 1;
        *v = v.clone().concluded();
    };
    assert!(refused(counts("Grace", fewer)).contains("it says 1 trials, and the submission has 2"));
    assert!(refused(counts("Grace", |v| v.date = "now".into())).contains("is not written like"));
    std::fs::write(root.join(site::VERIFICATION), "[]").expect("writes");
    assert!(Submission::open(&root).expect_err("refused").to_string().starts_with("verification.json: "));
}

#[test]
fn what_could_only_not_run_elsewhere_has_not_failed() {
    let dir = tempfile::tempdir().expect("a folder");
    let root = submission(dir.path(), "Ada", "2026-10-01", &machine("A Processor", "0123"), 0.25).expect("publishes");
    verify(&root, "Grace", |v| {
        v.sample[0] = site::VerifiedTrial::unable(&v.sample[0].trial, "no such device".into());
        *v = v.clone().concluded();
    });
    let index = file(&shown(&[root]), "index.html");
    assert!(index.contains("part of a sample could not run elsewhere") && !index.contains("verification failed"));
}

/// A label is free text, and datasets of one name may have other vectors: only the same parameters on the same vectors have
/// a history, whatever they are called.
#[test]
fn a_history_is_one_of_the_same_parameters() {
    let dir = tempfile::tempdir().expect("a folder");
    let (old, new) = (machine("A Processor", "0123456789abcdef"), machine("A Processor", "fedcba9876543210"));
    let of = |label: &str, bits: usize, machine: &Machine, date: &str| {
        published(dir.path(), "Ada", date, machine, &[record(label, bits, 0.25, machine)]).expect("publishes")
    };
    let first = of("PQ", 32, &old, "2026-10-01");
    let history = |second: PathBuf| {
        let page = text(&file(&shown(&[first.clone(), second]), "methods/pq-"));
        page.split("History over revisions").nth(1).expect("a section").to_owned()
    };
    assert!(history(of("PQ", 64, &new, "2026-11-01")).contains("No configuration was submitted with two"));
    let renamed = history(of("product", 32, &new, "2026-11-02"));
    assert!(renamed.contains("| PQ |") && renamed.contains("| product |") && renamed.contains("none"), "{renamed}");
}

#[test]
fn trials_stand_where_their_vectors_and_their_rates_say() {
    let dir = tempfile::tempdir().expect("a folder");
    let machine = machine("A Processor", "0123");
    let refused = |name: &str, change: fn(&mut RunInfo, &mut TrialRecord)| {
        let root = submission(dir.path(), name, "2026-10-01", &machine, 0.25).expect("publishes");
        let folder = RunFolder::new(&root);
        let mut run = folder.load().expect("loads");
        change(&mut run.info, &mut run.records[0]);
        // As somebody would who makes all files fit each other.
        run.info.trials[0] = run.records[0].trial.clone();
        folder.save_run(&run.info).expect("saves");
        folder.save_trial(&run.records[0]).expect("saves");
        let path = root.join(site::MANIFEST);
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("reads")).expect("JSON");
        let files: Vec<String> = manifest["files"].as_object().expect("files").keys().cloned().collect();
        for file in files {
            let bytes = std::fs::read(root.join(&file)).expect("reads");
            manifest["files"][&file] = record::sha256(&bytes).into();
        }
        std::fs::write(&path, manifest.to_string()).expect("writes");
        Submission::open(&root).expect_err("refused").to_string()
    };
    let text = refused("Ada", |info, _| info.datasets[0].fingerprint = "other".into());
    assert!(text.contains("its recipe has the digest of other vectors than run.json"), "{text}");
    let text = refused("Bob", |_, record| record.trial.bits_per_vector = 8);
    assert!(text.contains("its rate is not the one that it measured"), "{text}");
}

#[test]
fn a_site_without_submissions_says_so() {
    let site = render(vec![], vec![]).expect("renders");
    assert!(file(&site, "index.html").contains("There is none yet."));
    assert_eq!(site.files.len(), 4, "two pages, their looks and their font");
}

#[test]
fn the_same_results_are_not_submitted_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let machine = machine("A Processor", "0123");
    let again = || submission(dir.path(), "Ada", "2026-10-01", &machine, 0.25);
    again().expect("publishes");
    assert!(matches!(again(), Err(PublishError::Exists(_))));
}
