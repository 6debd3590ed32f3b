//! `rerun` from the command line: one record gives the same codes again, in a new process and in another folder.

mod common;

use common::{npy, output_text, write, xtask};
use record::{TrialRecord, read_trial};
use std::fs;
use std::path::{Path, PathBuf};

const SMALL: &str = "name: t
seeds: [7]
threads: 1
datasets:
  - { path: rows.npy, name: rows, metric: cosine, split: { train: 120, queries: 20, seed: 3 } }
methods:
  - pq: { m: 2, bits: 3, iterations: 4 }
  - fsq: { levels: [4, 4], training: { epochs: 2 } }
    label: FSQ
measure: { distortion: {}, utilization: {}, recall: { k: [5] }, training: {}, throughput: { min_time: 1ms, repeats: 2 } }
";

/// A run of two trials, with the paths of their records: `pq` first.
fn ran(folder: &Path) -> Vec<PathBuf> {
    write(folder, "rows.npy", npy(400, 8, |i, j| ((i * 7 + j * 13) % 101) as f32 - 50.0 + 0.01 * (i as f32)));
    write(folder, "e.yaml", SMALL);
    let output = xtask(folder).args(["experiments", "e.yaml", "--no-report"]).output().expect("starts");
    assert!(output.status.success(), "{}", output_text(&output, folder));
    let files = fs::read_dir(folder.join("runs/t/trials")).expect("a folder").flatten();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    files.sort_by_key(|path| read_trial(path).expect("a record").trial.method != "pq");
    files
}

fn rerun(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).arg("rerun").args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// Changes a record and writes it to `t.json`.
fn changed(folder: &Path, from: &Path, change: impl FnOnce(&mut TrialRecord)) -> PathBuf {
    let mut record = read_trial(from).expect("a record");
    change(&mut record);
    write(folder, "t.json", serde_json::to_vec(&record).expect("JSON"))
}

/// The output with what differs from run to run taken out: ids, speeds and progress.
fn stable(text: &str) -> String {
    let kept = text
        .lines()
        .filter(|line| !line.contains("[1/1]") && !line.contains("per_second") && !line.contains("seconds"));
    let kept = kept.filter(|line| !line.contains("_us (") && !line.contains("threads busy"));
    let words = |line: &str| {
        let id = |word: &str| word.len() >= 16 && word.trim_end_matches(':').bytes().all(|b| b.is_ascii_hexdigit());
        line.split(' ').map(|word| if id(word) { "ID:" } else { word }).collect::<Vec<_>>().join(" ")
    };
    kept.map(words).collect::<Vec<_>>().join("\n")
}

#[test]
fn one_record_is_enough_to_get_the_same_codes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = ran(folder.path());
    for record in &records {
        let read = read_trial(record).expect("a record");
        assert_eq!(read.codes_sha256.as_ref().map(String::len), Some(64));
        // The run is gone; the copy stands in another folder, and the vectors in a third.
        let elsewhere = tempfile::tempdir().expect("a folder");
        let copy = elsewhere.path().join("copied.json");
        fs::copy(record, &copy).expect("copies");
        let (code, text) = rerun(elsewhere.path(), &["copied.json"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("codes: equal\n") && text.contains("the trial gave again"), "{text}");
        assert!(text.contains("encode_vectors_per_second") && text.contains("speed, not judged"), "{text}");
        assert!(!text.contains("different") && !text.contains("warning"), "{text}");
    }
    let id = read_trial(&records[0]).expect("a record").trial.id;
    let (code, text) = rerun(folder.path(), &["runs/t", &id]);
    assert_eq!(code, Some(0), "{text}");
    insta::assert_snapshot!("same", stable(&text));
    // Nothing was written into the run.
    assert_eq!(fs::read_dir(folder.path().join("runs/t/trials")).expect("a folder").count(), 2);
}

#[test]
fn a_falsified_value_or_digest_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = ran(folder.path());
    let better = |record: &mut TrialRecord| {
        let nmse = record.values.iter_mut().find(|value| value.metric == "nmse").expect("measured");
        nmse.value = 0.5;
    };
    changed(folder.path(), &records[0], better);
    let (code, text) = rerun(folder.path(), &["t.json"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("codes: equal\n") && text.contains("different (0.5 recorded, "), "{text}");
    changed(folder.path(), &records[0], |record| record.codes_sha256 = Some("0".repeat(64)));
    let (code, text) = rerun(folder.path(), &["t.json"]);
    assert!(code == Some(1) && text.contains("codes: different\n"), "{text}");
    // Other parameters under the old id: of another build, as far as the record can tell.
    changed(folder.path(), &records[0], |record| record.trial.seed = 8);
    let (code, text) = rerun(folder.path(), &["t.json"]);
    assert!(code == Some(1) && text.contains("warning: the record is of another build"), "{text}");
    // An old record has no digest: quality decides.
    changed(folder.path(), &records[0], |record| record.codes_sha256 = None);
    let (code, text) = rerun(folder.path(), &["t.json"]);
    assert!(code == Some(0) && text.contains("the record has no digest of them"), "{text}");
}

#[test]
fn another_instruction_set_is_judged_by_quality() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = ran(folder.path());
    match ["avx512vnni", "avx512", "avx2"].into_iter().find(|set| cpu::Isa::named(set).is_err()) {
        None => eprintln!("skipped: this processor lacks no instruction set"),
        Some(set) => {
            changed(folder.path(), &records[0], |record| {
                record.machine.simd = set.into();
                record.codes_sha256 = Some("0".repeat(64));
            });
            let (code, text) = rerun(folder.path(), &["t.json"]);
            assert_eq!(code, Some(0), "{text}");
            assert!(text.contains(&format!("lacks the instruction set {set}")), "{text}");
            assert!(text.contains("codes: different, as can be with another instruction set or GPU"), "{text}");
        }
    }
    // An invented set would replace equal codes by wide tolerances.
    changed(folder.path(), &records[0], |record| record.machine.simd = "avx4096".into());
    let (code, text) = rerun(folder.path(), &["t.json"]);
    assert!(code == Some(2) && text.contains("\"avx4096\""), "{text}");
    // The narrowest set runs everywhere, and the record says that it was used.
    let portable = changed(folder.path(), &records[0], |record| record.machine.simd = "portable".into());
    let (_, text) = rerun(folder.path(), &[portable.to_str().expect("UTF-8")]);
    assert!(!text.contains("lacks"), "{text}");
}

#[test]
fn what_cannot_run_again_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = ran(folder.path());
    let file = records[0].to_str().expect("UTF-8");
    let refused = |arguments: &[&str]| {
        let (code, text) = rerun(folder.path(), arguments);
        assert_eq!(code, Some(2), "{text}");
        text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    };
    assert!(refused(&["runs/t"]).contains("is a folder with many trials"));
    assert!(refused(&["runs/t", "../x"]).contains("is not the id of a trial"));
    assert!(refused(&[file, "a1"]).contains("is not a folder"));
    assert!(refused(&["e.yaml"]).contains("e.yaml is damaged"));
    assert!(refused(&["none.json"]).contains("cannot read none.json"));
    changed(folder.path(), &records[0], |record| record.recipe = None);
    assert!(refused(&["t.json"]).contains("has no recipe: it was written by an older version"));
    changed(folder.path(), &records[0], |record| record.status = record::Status::Failed);
    assert!(refused(&["t.json"]).contains("did not succeed (failed)"));
    changed(folder.path(), &records[0], |record| record.trial.method = "nothing".into());
    assert!(refused(&["t.json"]).contains("unknown method"));
    changed(folder.path(), &records[0], |record| record.schema = 99);
    assert!(refused(&["t.json"]).contains("has schema 99"));
    // The vectors have changed, and then they are gone.
    write(folder.path(), "rows.npy", npy(400, 8, |i, j| (i * j) as f32 + 1.0));
    assert!(refused(&[file]).contains("the vectors of rows are not those of the record"));
    fs::remove_file(folder.path().join("rows.npy")).expect("removes");
    assert!(refused(&[file]).contains("rows.npy"));
}
