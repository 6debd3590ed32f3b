//! Trained quantizers outside experiments: fitted in one process, used in others, and what is said when something is off.

mod common;

use common::{output_text, write, xtask};
use std::path::Path;

/// Rows of eight components as `.fvecs`: a slow wave per row, so that they have something in common.
fn vectors(n: usize) -> Vec<u8> {
    let value = |i: usize, j: usize| ((i * 7 + j * 13) % 31) as f32 / 31.0 + (i % 5) as f32;
    let row = |i: usize| 8u32.to_le_bytes().into_iter().chain((0..8).flat_map(move |j| value(i, j).to_le_bytes()));
    (0..n).flat_map(row).collect()
}

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

#[test]
fn a_model_gives_the_same_codes_in_every_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    std::fs::write(here.join("v.fvecs"), vectors(300)).expect("writes");
    for method in ["OPQ2,PQ2x4", "lsq: { m: 2, bits: 3, iterations: 3 }", "rabitq: { bits: 2 }", "SQ8"] {
        let (code, text) = run(here, &["fit", method, "v.fvecs", "m.vqb", "--seed", "5"]);
        assert_eq!(code, Some(0), "{method}: {text}");
        assert!(text.contains("trained on 300 rows of 8 components"), "{text}");
        for (threads, out) in [("1", "one.npy"), ("3", "three.npy")] {
            let (code, text) = run(here, &["encode", "m.vqb", "v.fvecs", out, "--threads", threads]);
            assert_eq!(code, Some(0), "{method}: {text}");
        }
        let codes = std::fs::read(here.join("one.npy")).expect("codes");
        assert_eq!(codes, std::fs::read(here.join("three.npy")).expect("codes"), "{method}");
        let (code, text) = run(here, &["decode", "m.vqb", "one.npy", "back.fvecs"]);
        assert_eq!(code, Some(0), "{method}: {text}");
        let original = datasets::format::read(&here.join("v.fvecs")).expect("reads");
        let decoded = datasets::format::read(&here.join("back.fvecs")).expect("reads");
        let error = (&original - &decoded).mapv(|v| v * v).sum() / original.len() as f32;
        assert!(error < 1.0, "{method}: {error} of a variance of about 2");
        // What was decoded encodes to nothing worse: the two processes speak of the same code.
        let (code, _) = run(here, &["encode", "m.vqb", "back.fvecs", "again.u8bin"]);
        assert_eq!(code, Some(0));
    }
}

#[test]
fn a_run_keeps_its_models_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let yaml = "name: t\nseeds: [1, 2]\nkeep_models: true\ndatasets: [{ synthetic: gaussian, dim: 8, n: 300, queries: 10 }]\n\
                methods:\n  - pq: { m: 2, bits: 3 }\nmeasure: { distortion: {} }\n";
    write(here, "e.yaml", yaml);
    let (code, text) = run(here, &["experiments", "e.yaml"]);
    assert_eq!(code, Some(0), "{text}");
    let models = || {
        let entries = std::fs::read_dir(here.join("runs/t/models")).expect("a folder").flatten();
        entries.map(|e| e.path()).filter(|path| path.extension().is_some_and(|e| e == "vqb")).collect::<Vec<_>>()
    };
    let indexed = || {
        let text = std::fs::read_to_string(here.join("runs/t/models/index.json")).expect("an index");
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).expect("JSON")
    };
    assert_eq!((models().len(), indexed().len()), (2, 2));
    for model in models() {
        let name = model.file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!((&indexed()[&name]["method"], &indexed()[&name]["dim"]), (&"pq".into(), &8.into()));
    }
    // One that is lost is made again, and nothing else is.
    std::fs::remove_file(&models()[0]).expect("removes");
    let (code, text) = run(here, &["experiments", "e.yaml"]);
    assert!(code == Some(0) && text.contains("1 ended before"), "{text}");
    assert_eq!((models().len(), indexed().len()), (2, 2));
    std::fs::write(here.join("v.fvecs"), vectors(20)).expect("writes");
    let model = models()[0].display().to_string();
    let (code, text) = run(here, &["encode", &model, "v.fvecs", "c.npy"]);
    assert!(code == Some(0) && text.contains("20 codes of 1 bytes"), "{text}");
}

#[test]
fn what_is_off_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    std::fs::write(here.join("v.fvecs"), vectors(60)).expect("writes");
    assert_eq!(run(here, &["fit", "PQ2x3", "v.fvecs", "m.vqb"]).0, Some(0));
    std::fs::write(here.join("cut.vqb"), &std::fs::read(here.join("m.vqb")).expect("a model")[..100]).expect("writes");
    let mut said = String::new();
    for arguments in [
        &["fit", "PQ3", "v.fvecs", "x.vqb"][..],
        &["fit", "pq", "v.fvecs", "x.vqb"],
        &["fit", "pqq: { m: 2 }", "v.fvecs", "x.vqb"],
        &["fit", "[1, 2]", "v.fvecs", "x.vqb"],
        &["fit", "IVF16,PQ2", "v.fvecs", "x.vqb"],
        &["fit", "SQ8", "wordnet-minilm", "x.vqb"],
        &["fit", "SQ8", "none.npy", "x.vqb"],
        &["encode", "cut.vqb", "v.fvecs", "x.npy"],
        &["encode", "v.fvecs", "v.fvecs", "x.npy"],
        &["encode", "none.vqb", "v.fvecs", "x.npy"],
        &["encode", "m.vqb", "v.fvecs", "x.csv"],
        &["decode", "m.vqb", "v.fvecs", "x.npy"],
        &["decode", "m.vqb", "none.npy", "x.npy"],
        &["encode", "m.vqb", "v.fvecs", "x.npy", "--device", "gpu"],
    ] {
        let (code, text) = run(here, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        said += &format!("$ {}\n{}\n\n", arguments.join(" "), text.trim());
    }
    insta::assert_snapshot!(said.replace(env!("CARGO_MANIFEST_DIR"), "…"));
    let written: Vec<_> = std::fs::read_dir(here).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert!(written.iter().all(|name| !name.to_string_lossy().starts_with("x.")), "{written:?}");
}
