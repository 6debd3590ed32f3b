//! Runs on vectors with judgments of relevance: from the files to the columns of the report.

mod common;

use common::{output_text, write, xtask};
use record::RunFolder;
use std::path::Path;

const EXPERIMENT: &str = "name: t
seeds: [1]
threads: 1
datasets:
  - { path: docs.csv, queries: asked.csv, train: base, qrels: qrels.tsv, ids: ids.csv#id }
methods:
  - scalar: { bits: 8 }
  - binary: {}
measure: { retrieval: { ndcg: [3], mrr: [10], recall: [2] } }
";

/// Eight documents around a circle and three queries, of which the first two are judged.
fn files(folder: &Path) {
    let point = |turn: f64, radius: f64| {
        let (sin, cos) = (turn * std::f64::consts::TAU).sin_cos();
        format!("{:.6},{:.6}\n", radius * cos, radius * sin)
    };
    let docs: String = (0..8).map(|i| point(f64::from(i) / 8.0, 1.0)).collect();
    write(folder, "docs.csv", format!("x0,x1\n{docs}"));
    write(folder, "asked.csv", format!("x0,x1\n{}{}{}", point(0.01, 1.0), point(0.26, 1.0), point(0.6, 1.0)));
    let ids: String = (0..8).map(|i| format!("doc {i},x\n")).collect();
    write(folder, "ids.csv", format!("id,text\n{ids}"));
    // The nearest documents of query 0 are 0, 1, 7; of query 1: 2, 3, 1.
    write(folder, "qrels.tsv", "query-id\tcorpus-id\tscore\n0\tdoc 0\t1\n0\tdoc 7\t2\n1\tdoc 3\t1\n1\tdoc 6\t-1\n");
}

#[test]
fn what_people_judged_relevant_is_looked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    files(folder.path());
    write(folder.path(), "e.yaml", EXPERIMENT);
    let output = xtask(folder.path()).args(["experiments", "e.yaml"]).output().expect("starts");
    let text = output_text(&output, folder.path());
    assert!(
        output.status.success() && text.contains("note on docs: 2 of 3 queries have a relevant base row"),
        "{text}"
    );
    let run = RunFolder::new(folder.path().join("runs/t")).load().expect("a run");
    let record = run.records.iter().find(|record| record.trial.method == "scalar").expect("a trial");
    let value = |metric: &str, path: &str| {
        let found = record.values.iter().find(|v| v.metric == metric && v.path.as_deref() == Some(path));
        found.unwrap_or_else(|| panic!("{metric} {path}")).value
    };
    let (one, two) = (1.0 / 3f64.log2(), 1.0 / 4f64.log2());
    let ndcg = ((1.0 + 2.0 * two) / (2.0 + one) + one) / 2.0;
    for path in ["raw", "decode"] {
        assert!((value("ndcg", path) - ndcg).abs() < 1e-12, "{path}");
        assert!((value("mrr", path) - 0.75).abs() < 1e-12, "{path}");
        assert!((value("relevant_recall", path) - 0.75).abs() < 1e-12, "{path}");
    }
    assert_eq!((value("ndcg_retention", "decode"), value("ndcg_retention_low", "decode")), (1.0, 1.0));
    let page = std::fs::read_to_string(folder.path().join("runs/t/report/index.html")).expect("a page");
    assert!(page.contains("nDCG@3") && page.contains("relevant in 2 kept"));
}

#[test]
fn a_measurement_without_judgments_is_refused_at_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    files(folder.path());
    write(folder.path(), "e.yaml", EXPERIMENT.replace(", qrels: qrels.tsv, ids: ids.csv#id", ""));
    let output = xtask(folder.path()).args(["experiments", "e.yaml"]).output().expect("starts");
    let text = output_text(&output, folder.path());
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("`retrieval` needs judgments of relevance") && text.contains("give a file dataset `qrels:`"),
        "{text}"
    );
}
