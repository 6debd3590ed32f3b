//! `datasets convert` and `datasets truth`: files of vectors in other formats, and files of exact neighbours, that
//! experiments take.
mod common;

use common::{npy, output_text, write, write_rows, xtask};
use datasets::format;
use ndarray::{Array2, s};
use std::path::Path;

fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).arg("datasets").args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder).replace("\n  │", ""))
}

#[test]
fn vectors_are_the_same_in_every_format_and_by_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    // Several blocks: the first have 2^18 values.
    let (n, dim) = (70_000, 12);
    write_rows(&here.join("v.fbin"), n, dim);
    let rows = format::read(&here.join("v.fbin")).expect("reads");
    let mut before = "v.fbin";
    for name in ["a.fvecs", "b.npy", "c.safetensors", "d.parquet", "e.fbin"] {
        let (code, text) = run(here, &["convert", before, name, "--memory", "64MiB"]);
        assert!(code == Some(0) && text.contains(&format!("{name}: 70000 vectors, in ")), "{text}");
        assert_eq!(format::read(&here.join(name)).expect("reads"), rows, "{name}");
        before = name;
    }
    for (range, rows) in [("0..5", rows.slice(s![..5, ..])), ("21845..65000", rows.slice(s![21_845..65_000, ..]))] {
        let (code, text) = run(here, &["convert", "d.parquet", "b.npy", "--rows", range, "--force"]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(format::read(&here.join("b.npy")).expect("reads"), rows, "{range}");
    }
    let refused = |arguments: &[&str]| {
        let (code, text) = run(here, &[&["convert", "v.fbin"], arguments].concat());
        assert_eq!(code, Some(2), "{text}");
        text
    };
    let there = std::fs::read(here.join("a.fvecs")).expect("reads");
    assert!(refused(&["a.fvecs"]).contains("a.fvecs exists"));
    assert_eq!(std::fs::read(here.join("a.fvecs")).expect("reads"), there);
    assert!(refused(&["x.csv"]).contains("known extensions: npy, fvecs, fbin, safetensors, parquet"));
    assert!(refused(&["nowhere/x.npy"]).contains("there is no folder nowhere"));
    assert!(refused(&["x.npy", "--rows", "69000..70001"]).contains("v.fbin has 70000 rows; the range 69000..70001"));
    for range in ["5..5", "9..3", "7", "-1..4"] {
        refused(&["x.npy", &format!("--rows={range}")]);
    }
    assert!(!here.join("x.npy").exists());
    write(here, "cut.fbin", &std::fs::read(here.join("v.fbin")).expect("reads")[..1000]);
    let (code, text) = run(here, &["convert", "cut.fbin", "x.npy"]);
    assert!(code == Some(2) && text.contains("its header states 70000 rows of 12 components"), "{text}");
}

#[test]
fn neighbours_are_written_that_an_experiment_uses() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let value = |i: usize, j: usize| ((i * 31 + j * 17 + i * (j + 3) % 7) % 101) as f32 - 50.0;
    write(here, "base.npy", npy(1500, 4, value));
    write(here, "queries.npy", npy(40, 4, |i, j| value(i + 3000, j) + 0.5));
    let arguments = ["truth", "base.npy", "--queries", "queries.npy", "-k", "100", "--metric", "cosine", "-o"];
    for name in ["t.ivecs", "t.ibin"] {
        let (code, text) = run(here, &[&arguments[..], &[name]].concat());
        assert!(
            code == Some(0) && text.contains("the 100 nearest of 1500 base rows for 40 queries by cosine"),
            "{text}"
        );
    }
    let ids = format::read_ids(&here.join("t.ivecs")).expect("reads");
    assert_eq!((ids.dim(), &ids), ((40, 100), &format::read_ids(&here.join("t.ibin")).expect("reads")));
    let rows = |name: &str| format::read(&here.join(name)).expect("reads").mapv(f64::from);
    let (base, queries) = (rows("base.npy"), rows("queries.npy"));
    let cosine = |q: usize, x: usize| {
        let (q, x) = (queries.row(q), base.row(x));
        q.dot(&x) / (q.dot(&q) * x.dot(&x)).sqrt()
    };
    let expected = Array2::from_shape_fn((40, 100), |(q, k)| {
        let mut all: Vec<f64> = (0..1500).map(|x| cosine(q, x)).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        all[k]
    });
    for ((q, k), expected) in expected.indexed_iter() {
        assert!((cosine(q, ids[(q, k)] as usize) - expected).abs() < 1e-6, "{q}, {k}");
    }
    let experiment = "name: t\nmethods: { scalar: { bits: 4 } }\ndatasets:\n  - { path: base.npy, queries: queries.npy, \
                      train: base, metric: cosine, truth: t.ibin }\n";
    write(here, "e.yaml", experiment);
    let output = xtask(here).args(["experiments", "e.yaml", "--dry-run"]).output().expect("starts");
    let text = output_text(&output, here);
    assert!(text.contains("Results use the neighbours in t.ibin."), "{text}");

    let refused = |arguments: &[&str]| {
        let (code, text) = run(here, &[&["truth"], arguments].concat());
        assert_eq!(code, Some(2), "{text}");
        text
    };
    assert!(refused(&["base.npy", "-o", "x.ivecs"]).contains("base.npy holds no queries"));
    assert!(refused(&["base.npy", "--queries", "queries.npy", "-o", "x.npy"]).contains("write .ivecs or .ibin"));
    assert!(
        refused(&["base.npy", "--queries", "queries.npy", "-k", "1501", "-o", "x.ivecs"]).contains("1500 base rows")
    );
    assert!(refused(&["base.npy", "--queries", "base.npy", "-o", "x.ivecs"]).contains("two of its files are the same"));
    assert!(refused(&["nowhere.npy", "-o", "x.ivecs"]).contains("nowhere.npy"));
    assert!(!here.join("x.ivecs").exists());
}
