//! The page of a report gives the experiment that repeats one of its trials. Without Chromium on this machine the test says
//! so and passes.
#![cfg(unix)]

mod common;

#[path = "../../reports/tests/browser/chromium.rs"]
mod chromium;

use chromium::Browser;

/// The part of the address that names the open trial.
const STATE: &str = "decodeURIComponent(location.hash)";

/// The experiment in the dialog is the same trial again: with the same id, and the same codes.
#[test]
fn the_page_gives_the_experiment_that_repeats_a_trial() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let rows = common::npy(300, 8, |i, j| ((i * 31 + j * 17) % 97) as f32 / 97.0 + (i % 5) as f32);
    common::write(folder.path(), "rows.npy", rows);
    let experiment = "name: original\nseeds: [3, 4]\nthreads: 1\ntimeout: 1m\ndatasets:\n  - { path: rows.npy, metric: l2, name: \"rows: all\" }\n\
        methods:\n  - pq: { bits: 3 }\n    sweep: { m: [2, 4] }\n    label: \"PQ m={m}\"\n  - scalar: { bits: 2, transform: { pca: { dim: 4 } } }\n\
        measure:\n  distortion: {}\n  recall: { k: [1, 5] }\nreport: { formats: [html] }\n";
    common::write(folder.path(), "original.yaml", experiment);
    let start = |file: &str| {
        let output = common::xtask(folder.path()).args(["experiments", file]).output().expect("starts");
        assert!(output.status.success(), "{}", common::output_text(&output, folder.path()));
    };
    start("original.yaml");
    browser.open(&folder.path().join("runs/original/report/index.html"), "");
    let count = browser.text("document.querySelectorAll('#d0 .sortable tbody tr').length");
    assert_eq!(count, "3");
    let trial = |run: &str, id: &str| -> serde_json::Value {
        let path = folder.path().join(format!("runs/{run}/trials/{id}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).expect("JSON")
    };
    for row in 1..=3 {
        browser.click(&format!("document.querySelector('#d0 tbody tr:nth-child({row}) .open')"));
        browser.wait("document.querySelector('dialog[open] select')");
        browser.value("(() => { const seeds = document.querySelector('dialog select'); seeds.value = 1; seeds.dispatchEvent(new Event('change')); })()");
        let yaml = browser.text("document.querySelector('dialog pre[aria-label^=Experiment]').textContent");
        let id = browser.text(STATE).rsplit("trial=").next().expect("a trial").to_owned();
        assert!(yaml.contains("seeds: [4]"), "{yaml}");
        common::write(folder.path(), "trial.yaml", &yaml);
        start("trial.yaml");
        let (original, again) = (trial("original", &id), trial("original-trial", &id));
        let exact = |record: &serde_json::Value| -> Vec<serde_json::Value> {
            let values = record["values"].as_array().expect("values").iter();
            values
                .filter(|value| ["nmse", "recall_k_at_k"].contains(&value["metric"].as_str().unwrap_or("")))
                .cloned()
                .collect()
        };
        assert!(!exact(&original).is_empty());
        assert_eq!(exact(&original), exact(&again), "{yaml}");
        std::fs::remove_dir_all(folder.path().join("runs/original-trial")).expect("removes");
        browser.key("Escape", 0);
    }
    assert_eq!(browser.errors, Vec::<String>::new());
}
