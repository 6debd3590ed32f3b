//! From a run to a submission, its verification and the site, from the command line.

mod common;

use common::{npy, output_text, write, write_run, xtask};
use record::{DatasetFacts, Machine, RunFolder, TrialRecord, read_trial, sha256};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const SMALL: &str = "name: small
analysis: Two methods on made-up rows.
seeds: [1, 2]
threads: 1
datasets:
  - { path: ROWS, name: rows, split: { train: 120, queries: 20, seed: 3 } }
methods:
  - pq: { bits: 3, iterations: 4 }
    sweep: { m: [2, 4] }
  - scalar: { bits: 2 }
measure: { distortion: {}, recall: { k: [5] }, throughput: { min_time: 1ms, repeats: 2 } }
";

fn xt(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// The words of an output without the frame that errors have.
fn words(text: &str) -> String {
    text.split_whitespace().filter(|word| !["│", "×", "╭────", "╰────"].contains(word)).collect::<Vec<_>>().join(" ")
}

/// A run of six trials in `runs/small`. Its dataset has an absolute path.
fn ran(folder: &Path) {
    let rows =
        write(folder, "rows.npy", npy(400, 8, |i, j| ((i * 7 + j * 13) % 101) as f32 - 50.0 + 0.01 * (i as f32)));
    write(folder, "e.yaml", SMALL.replace("ROWS", &rows.display().to_string()));
    let (code, text) = xt(folder, &["experiments", "e.yaml", "--no-report"]);
    assert_eq!(code, Some(0), "{text}");
}

/// The one submission in a folder.
fn only(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder.join("submissions")).expect("a folder").flatten();
    let first = entries.next().expect("a submission").path();
    assert!(entries.next().is_none());
    first
}

fn submit(folder: &Path) -> PathBuf {
    let (code, text) =
        xt(folder, &["submit", "runs/small", "--name", "Ada <b>Lovelace</b>", "--contact", "ada@example.org"]);
    assert_eq!(code, Some(0), "{text}");
    only(folder)
}

/// Changes a record of a trial, and makes tables again as a falsifier would.
fn falsify(folder: &Path, label: &str, seed: u64, change: impl Fn(&mut TrialRecord)) {
    let run = RunFolder::new(folder.join("runs/small"));
    let read = run.load().expect("a run");
    let record = read.records.iter().find(|r| r.trial.label == label && r.trial.seed == seed).expect("a trial");
    let mut record = record.clone();
    change(&mut record);
    run.save_trial(&record).expect("saves");
    run.save_tables(&run.load().expect("a run")).expect("saves");
}

/// Makes the manifest fit a file that was changed.
fn sign(submission: &Path, file: &str) {
    let path = submission.join("submission.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).expect("reads")).expect("JSON");
    manifest["files"][file] = json!(sha256(&fs::read(submission.join(file)).expect("reads")));
    fs::write(&path, manifest.to_string()).expect("writes");
}

/// An output without what differs from run to run.
fn stable(text: &str, id: &str) -> String {
    let text = text.replace(id, "SUBMISSION");
    let kept = text.lines().filter(|line| !line.starts_with('['));
    let trial = |word: &str| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words =
        |line: &str| line.split(' ').map(|word| if trial(word) { "TRIAL" } else { word }).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = kept.map(words).collect();
    // The sample is in the order of the run, whatever the ids are.
    lines.iter_mut().for_each(|line| *line = line.trim_end().to_owned());
    lines.join("\n")
}

#[test]
fn a_submission_is_made_verified_and_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path();
    ran(folder);
    // A library of a trial's process has said where it runs.
    falsify(folder, "pq m=2", 1, |record| {
        let log = record.log.as_mut().expect("a log");
        log.standard_error = format!("warning: {}/rows.npy is small", folder.display());
    });
    let submission = submit(folder);
    let id = submission.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(id.starts_with("small-ada-b-lovelace-b-"), "{id}");
    // Nothing of this machine's folders is in it.
    let here = folder.canonicalize().expect("a folder").display().to_string();
    for file in ["run.json", "experiment.yaml", "README.md", "submission.json", "machine.json"] {
        let text = fs::read_to_string(submission.join(file)).expect("reads");
        assert!(!text.contains(&here) && !text.contains(&folder.display().to_string()), "{file}: {text}");
    }
    let records: Vec<TrialRecord> = fs::read_dir(submission.join("trials"))
        .expect("a folder")
        .flatten()
        .map(|e| read_trial(&e.path()).expect("a record"))
        .collect();
    assert_eq!(records.len(), 6);
    for record in &records {
        let recipe = record.recipe.as_ref().expect("a recipe");
        assert_eq!((recipe.dataset["path"].as_str(), &recipe.folder), (Some("rows.npy"), &None));
        let log = record.log.as_ref().expect("a log");
        let phases: Vec<&str> = log.phases.iter().map(|phase| phase.name.as_str()).collect();
        assert!(phases.starts_with(&["load", "fit", "encode", "rate", "distortion"]), "{phases:?}");
        assert_eq!((log.standard_error.as_str(), &log.remarks[..]), ("", &[][..]));
        assert!(["product", "scalar"].contains(&record.trial.family.as_deref().unwrap_or("")), "{:?}", record.trial);
    }
    // Another reader of runs accepts it as one.
    let (code, text) = xt(folder, &["query", "SELECT count(*) AS n FROM trials", &submission.display().to_string()]);
    assert!(code == Some(0) && text.contains('6'), "{text}");

    let path = format!("submissions/{id}");
    let (code, text) = xt(folder, &["site", "submissions", "before"]);
    assert_eq!(code, Some(0), "{text}");
    let index = fs::read_to_string(folder.join("before/index.html")).expect("a page");
    assert!(index.contains("self-reported") && !index.contains("class=\"reproduced\""), "{index}");
    assert!(index.contains("Ada &lt;b&gt;Lovelace&lt;/b&gt;") && !index.contains("<b>Lovelace"), "{index}");

    let (code, text) = xt(folder, &["verify", &path, "--sample", "4", "--seed", "1", "--by", "Grace"]);
    assert_eq!(code, Some(0), "{text}");
    insta::assert_snapshot!("verified", stable(&text, &id));
    let result: Value =
        serde_json::from_slice(&fs::read(submission.join("verification.json")).expect("reads")).expect("JSON");
    assert_eq!(
        (result["passed"].clone(), result["by"].clone(), result["seed"].clone()),
        (json!(true), json!("Grace"), json!(1))
    );
    assert_eq!(result["sample"].as_array().map(Vec::len), Some(4));

    let (code, text) = xt(folder, &["site", "submissions", "public", "--strict"]);
    assert_eq!(code, Some(0), "{text}");
    let index = fs::read_to_string(folder.join("public/index.html")).expect("a page");
    assert!(index.contains("class=\"reproduced\""), "{index}");
    // A verification of the submitter does not count.
    let (code, _) = xt(folder, &["verify", &path, "--sample", "1", "--by", "ada <b>lovelace</b>"]);
    assert_eq!(code, Some(0));
    let (code, _) = xt(folder, &["site", "submissions", "own"]);
    assert_eq!(code, Some(0));
    let own = fs::read_to_string(folder.join("own/index.html")).expect("a page");
    assert!(own.contains("self-reported") && !own.contains("class=\"reproduced\""), "{own}");
}

#[test]
fn a_consistent_falsification_is_found_by_running_trials_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path();
    ran(folder);
    // Record and tables agree, and `submit` makes digests that fit.
    falsify(folder, "pq m=4", 2, |record| {
        let nmse = record.values.iter_mut().find(|value| value.metric == "nmse").expect("measured");
        nmse.value *= 0.9;
    });
    let submission = submit(folder);
    let path = submission.display().to_string();
    let (code, text) = xt(folder, &["verify", &path, "--sample", "6"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("its tables agree with the records of 6 trials"), "{text}");
    assert!(text.contains("different: nmse ("), "{text}");
    assert!(text.contains("not verified: 1 trial of the sample not reproduced"), "{text}");
    let (code, text) = xt(folder, &["site", "submissions", "public"]);
    assert_eq!(code, Some(0), "{text}");
    let index = fs::read_to_string(folder.join("public/index.html")).expect("a page");
    assert!(index.contains("verification failed"), "{index}");
}

#[test]
fn what_does_not_hold_together_is_found_without_running_anything() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path();
    ran(folder);
    let submission = submit(folder);
    let path = submission.display().to_string();
    let whole = fs::read(submission.join("run.json")).expect("reads");
    fs::write(submission.join("run.json"), b"{}").expect("writes");
    let (code, text) = xt(folder, &["verify", &path]);
    assert!(code == Some(1) && text.contains("run.json: its SHA-256 is "), "{text}");
    fs::write(submission.join("run.json"), &whole).expect("writes");
    write(&submission, "more.txt", "x");
    let (code, text) = xt(folder, &["verify", &path]);
    assert!(code == Some(1) && text.contains("more.txt: the manifest does not list it"), "{text}");
    fs::remove_file(submission.join("more.txt")).expect("removes");
    // Tables that say something else than the records, with digests that fit.
    let record = fs::read_dir(submission.join("trials")).expect("a folder").flatten().next().expect("a record").path();
    let mut changed = read_trial(&record).expect("a record");
    changed.values.iter_mut().filter(|value| value.metric == "nmse").for_each(|value| value.value += 1.0);
    fs::write(&record, serde_json::to_vec(&changed).expect("JSON")).expect("writes");
    sign(&submission, &format!("trials/{}.json", changed.trial.id));
    let (code, text) = xt(folder, &["verify", &path, "--sample", "1"]);
    assert!(code == Some(1) && text.contains("results.parquet: row "), "{text}");
    assert!(text.contains("its tables and records disagree"), "{text}");
    // A record without a digest has nothing to compare.
    let digest = changed.codes_sha256.take();
    fs::write(&record, serde_json::to_vec(&changed).expect("JSON")).expect("writes");
    sign(&submission, &format!("trials/{}.json", changed.trial.id));
    let (code, text) = xt(folder, &["verify", &path, "--sample", "1"]);
    assert!(code == Some(1) && text.contains("has no digest of its codes or no recipe"), "{text}");
    changed.codes_sha256 = digest;
    fs::write(&record, serde_json::to_vec(&changed).expect("JSON")).expect("writes");
    sign(&submission, &format!("trials/{}.json", changed.trial.id));
    // Parquet that is none.
    write(&submission, "results.parquet", "no table");
    sign(&submission, "results.parquet");
    let (code, text) = xt(folder, &["verify", &path, "--sample", "1"]);
    assert!(code == Some(1) && text.contains("results.parquet is damaged"), "{text}");
    // Without the vectors nothing can run again.
    let fresh = tempfile::tempdir().expect("a folder");
    ran(fresh.path());
    let submission = submit(fresh.path());
    fs::remove_file(fresh.path().join("rows.npy")).expect("removes");
    let (code, text) = xt(fresh.path(), &["verify", &submission.display().to_string(), "--sample", "2"]);
    assert!(code == Some(2) && text.contains("2 trials of the sample cannot run here"), "{text}");
    let (code, text) = xt(fresh.path(), &["verify", "runs"]);
    assert!(
        code == Some(2) && words(&text).contains("is not a submission: its submission.json cannot be read"),
        "{text}"
    );
}

#[test]
fn runs_that_others_could_not_verify_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path();
    ran(folder);
    let refused = |arguments: &[&str]| {
        let (code, text) = xt(folder, &[&["submit"], arguments].concat());
        assert_eq!(code, Some(2), "{text}");
        assert!(!folder.join("submissions").exists(), "{text}");
        words(&text)
    };
    assert!(refused(&["nowhere", "--name", "Ada"]).contains("nowhere is not a run folder"));
    assert!(refused(&["runs/small", "--name", " "]).contains("its name is empty"));
    // Records of another program, without digests and recipes.
    let facts = DatasetFacts { name: "d".into(), ..DatasetFacts::default() };
    write_run(&folder.join("runs/old"), &Machine::default(), &[facts], 0.5);
    assert!(
        refused(&["runs/old", "--name", "Ada"]).contains(
            "the records of 2 of 2 trials have no digest of their codes or no recipe; the first is a1 (Method)"
        )
    );
    falsify(folder, "pq m=2", 1, |record| {
        record.status = record::Status::Failed;
        record.reason = Some("fit: no memory".into());
    });
    let text = refused(&["runs/small", "--name", "Ada"]);
    assert!(text.contains("1 of 6 trials did not succeed") && text.contains("(pq m=2): fit: no memory"), "{text}");
    let trials = fs::read_dir(folder.join("runs/small/trials")).expect("a folder");
    fs::remove_file(trials.flatten().next().expect("a record").path()).expect("removes");
    assert!(refused(&["runs/small", "--name", "Ada"]).contains("1 of 6 trials have not run"));
    // Something private in the experiment itself.
    let run = folder.join("runs/private");
    fs::create_dir_all(&run).expect("a folder");
    write(
        folder,
        "p.yaml",
        SMALL
            .replace("ROWS", "rows.npy")
            .replace("name: small", "name: private")
            .replace("Two methods", "Vectors of /home/ada"),
    );
    let (code, text) = xt(folder, &["experiments", "p.yaml", "--no-report"]);
    assert_eq!(code, Some(0), "{text}");
    let text = refused(&["runs/private", "--name", "Ada"]);
    assert!(text.contains("would disclose \"/home/\" in") && text.contains("Vectors of /home/ada"), "{text}");
}

#[test]
fn hostile_submissions_are_left_out_and_the_others_are_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path();
    ran(folder);
    // Labels with markup, which nobody but the pages escapes.
    let run = RunFolder::new(folder.join("runs/small"));
    let mut info = run.load().expect("a run").info;
    for trial in &mut info.trials {
        trial.label = format!("{} <script>alert(1)</script>", trial.label);
        trial.series = "\"><img src=x onerror=alert(1)>".into();
    }
    info.datasets[0].name = "rows".into();
    run.save_run(&info).expect("saves");
    let good = submit(folder);
    let copy = |name: &str| {
        let to = folder.join("submissions").join(name);
        fs::create_dir_all(to.join("trials")).expect("a folder");
        for entry in fs::read_dir(&good).expect("a folder").flatten().filter(|e| e.path().is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
        }
        for entry in fs::read_dir(good.join("trials")).expect("a folder").flatten() {
            fs::copy(entry.path(), to.join("trials").join(entry.file_name())).expect("copies");
        }
        to
    };
    copy("other-name");
    let manifest = |to: &Path, change: &dyn Fn(&mut Value)| {
        let path = to.join("submission.json");
        let mut value: Value = serde_json::from_slice(&fs::read(&path).expect("reads")).expect("JSON");
        value["id"] = json!(to.file_name().map(|name| name.to_string_lossy().into_owned()));
        change(&mut value);
        fs::write(path, value.to_string()).expect("writes");
    };
    manifest(&copy("traversal"), &|m| m["id"] = json!("../../x"));
    manifest(&copy("outside"), &|m| m["files"]["../../rows.npy"] = json!("00"));
    manifest(&copy("unknown"), &|m| m["hidden"] = json!(1));
    let missing = copy("missing");
    manifest(&missing, &|_| {});
    fs::remove_file(missing.join("results.parquet")).expect("removes");
    let giant = copy("giant");
    manifest(&giant, &|_| {});
    let file = fs::File::options().write(true).open(giant.join("results.parquet")).expect("opens");
    file.set_len(1 << 40).expect("a file with a hole");
    fs::create_dir(folder.join("submissions/empty")).expect("a folder");
    fs::create_dir(folder.join("submissions/<i>x")).expect("a folder");
    write(&folder.join("submissions"), "README.md", "How to submit.");
    // Reads a file of somebody else when its trial runs again.
    let steal = copy("steal");
    manifest(&steal, &|_| {});
    let record = fs::read_dir(steal.join("trials")).expect("a folder").flatten().next().expect("a record").path();
    let mut changed = read_trial(&record).expect("a record");
    changed.recipe.as_mut().expect("a recipe").dataset["path"] = json!("/etc/passwd");
    fs::write(&record, serde_json::to_vec(&changed).expect("JSON")).expect("writes");
    sign(&steal, &format!("trials/{}.json", changed.trial.id));
    #[cfg(unix)]
    {
        let linked = copy("linked");
        manifest(&linked, &|_| {});
        fs::remove_file(linked.join("results.parquet")).expect("removes");
        std::os::unix::fs::symlink(folder.join("rows.npy"), linked.join("results.parquet")).expect("links");
    }

    let (code, text) = xt(folder, &["site", "submissions", "public"]);
    assert_eq!(code, Some(0), "{text}");
    for expected in [
        "left out: other-name: submission.json: its id is small-ada",
        "left out: traversal: submission.json: its id \"../../x\" is not",
        "left out: outside: submission.json: it lists the file \"../../rows.npy\"",
        "left out: unknown: submission.json: unknown field `hidden`",
        "left out: missing: results.parquet: ",
        "left out: giant: results.parquet: it has 1099511627776 bytes",
        "left out: empty: empty is not a submission",
        "left out: <i>x: <i>x is not a submission",
        "leads out of its folder",
        #[cfg(unix)]
        "left out: linked: results.parquet: it is a symbolic link",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let index = fs::read_to_string(folder.join("public/index.html")).expect("a page");
    assert!(index.contains("Left out") && index.contains("&lt;i&gt;x") && !index.contains("<i>x"), "{index}");
    let (code, _) = xt(folder, &["site", "submissions", "public", "--strict"]);
    assert_eq!(code, Some(1));

    // No page has markup of a submission, refers to the network, or is large.
    let mut pages = 0;
    let mut folders = vec![folder.join("public")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "html") {
                pages += 1;
                let page = fs::read_to_string(&path).expect("a page");
                for bad in ["<script", "<img", "src=\"http", "href=\"http", "url(http", "<b>"] {
                    assert!(!page.contains(bad), "{bad} in {}", path.display());
                }
                assert!(page.len() < 500_000, "{} has {} bytes", path.display(), page.len());
            }
        }
    }
    // The first page, bias, a dataset, a submission, two methods, a class of machines.
    assert_eq!(pages, 7);
}

/// Labels may hold what a terminal would obey, and sources may be of any size.
#[test]
fn a_hostile_record_neither_commands_the_terminal_nor_fills_the_memory() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path();
    ran(folder);
    let submission = submit(folder);
    let mut records = Vec::new();
    for entry in fs::read_dir(submission.join("trials")).expect("a folder").flatten() {
        let mut record = read_trial(&entry.path()).expect("a record");
        record.trial.label = "quiet\u{1b}[2J\rgone".into();
        let recipe = record.recipe.as_mut().expect("a recipe");
        recipe.dataset = json!({ "synthetic": "gaussian", "name": "rows", "dim": 64, "n": 1_000_000 });
        records.push((entry.path(), record));
    }
    // The run names its trials too.
    let run = RunFolder::new(&submission);
    let mut info = run.load().expect("a run").info;
    info.trials.iter_mut().for_each(|trial| trial.label = "quiet\u{1b}[2J\rgone".into());
    run.save_run(&info).expect("saves");
    sign(&submission, "run.json");
    for (path, record) in &records {
        fs::write(path, serde_json::to_vec(record).expect("JSON")).expect("writes");
        sign(&submission, &format!("trials/{}.json", record.trial.id));
    }
    let (code, text) =
        xt(folder, &["verify", &submission.display().to_string(), "--sample", "2", "--memory", "128MiB"]);
    assert!(!text.contains('\u{1b}') && !text.contains('\r') && text.contains("quiet�[2J�gone"), "{text}");
    assert_ne!(code, Some(0), "{text}");
    assert!(text.contains("of memory, and the limit is"), "{text}");
}

/// A key in one list only would be a path that nobody checks.
#[test]
fn submissions_know_all_keys_that_name_files() {
    assert_eq!(site::PATH_KEYS, datasets::PATH_KEYS);
}
