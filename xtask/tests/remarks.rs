//! What whoever reads the figures should know of the vectors: said while it runs, and on the pages.

mod common;

use common::{npy, output_text, write, xtask};
use std::path::Path;

/// Runs an experiment and returns what was said, with the pages in Markdown and HTML.
fn run(folder: &Path, datasets: &str, arguments: &[&str]) -> (Option<i32>, String, [String; 2]) {
    let rest = "seeds: 1\nmethods: { scalar: { bits: 4 } }\nmeasure: { distortion: {} }\n";
    write(folder, "e.yaml", format!("name: t\ndatasets:\n{datasets}{rest}report: {{ formats: [html, markdown] }}\n"));
    let output = xtask(folder).args(["experiments", "e.yaml"]).args(arguments).output().expect("starts");
    let page = std::fs::read_to_string(folder.join("runs/t/report/report.md")).unwrap_or_default();
    let html = std::fs::read_to_string(folder.join("runs/t/report/index.html")).unwrap_or_default();
    (output.status.code(), output_text(&output, folder), [page, html])
}

#[test]
fn rows_far_from_the_others_and_rows_trained_on_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let value = |i: usize, j: usize| ((i * 7 + j * 3) % 11) as f32 - 5.0;
    write(folder.path(), "far.npy", npy(200, 4, |i, j| if i == 5 { 1e6 } else { value(i, j) }));
    write(folder.path(), "plain.npy", npy(200, 4, value));
    let datasets = "  - { path: far.npy, split: { train: 0..100, base: 100..190, queries: 190..200 } }\n  \
                    - { path: plain.npy, train: base }\n";
    for round in ["computed", "kept from the run before"] {
        let (code, text, pages) = run(folder.path(), datasets, &[]);
        assert_eq!(code, Some(0), "{text}");
        for said in [
            "1 of 100 training rows has a norm of at least 10 times the median norm. It is row 5 of far.npy, counted from 0.",
            "Methods are trained on the base rows, which they then encode",
        ] {
            assert_eq!(text.matches(said).count(), 1, "{round}: {text}");
            assert!(pages.iter().all(|page| page.contains(said)), "{round}: on both pages: {pages:?}");
        }
    }
}

#[test]
fn rows_that_are_left_out_and_neighbours_that_come_with_vectors_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let value = |i: usize, j: usize| if i % 50 == 7 { 0.0 } else { ((i * 7 + j * 3) % 211) as f32 };
    write(folder.path(), "base.npy", npy(200, 4, value));
    write(folder.path(), "queries.npy", npy(20, 4, |i, j| if i == 3 { 0.0 } else { value(i + 10, j) + 0.25 }));
    write(folder.path(), "wrong.ivecs", [1u32, 9].map(u32::to_le_bytes).concat().repeat(20));
    let datasets = "  - { path: base.npy, queries: queries.npy, train: base, truth: wrong.ivecs, metric: cosine, \
                    drop: [zeros, duplicates] }\n";
    let dropped = "Left out by the key drop: 4 of 200 base rows (4 of zeros); 1 of 20 query rows (1 of zeros).";
    let wrong = "The neighbours in wrong.ivecs do not fit metric cosine";
    let (code, text, _) = run(folder.path(), datasets, &["--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    let wanted = "dataset base: 196 train, 196 base, 19 queries, d=4, cosine";
    assert!([wanted, dropped, wrong].iter().all(|said| text.contains(said)), "{text}");
    let (code, text, pages) = run(folder.path(), datasets, &[]);
    assert_eq!(code, Some(0), "{text}");
    for said in [dropped, wrong] {
        assert_eq!(text.matches(said).count(), 1, "{text}");
        assert!(pages.iter().all(|page| page.contains(said)), "{pages:?}");
    }
    let (code, text, _) = run(folder.path(), &datasets.replace("zeros, ", ""), &["--dry-run"]);
    assert_eq!(code, Some(2));
    let text = text.replace("\n  │", "");
    assert!(text.contains("such rows)") && text.contains("`drop: [zeros]`"), "{text}");
}

#[test]
fn datasets_that_are_not_there_are_left_out_on_request_and_that_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "here.npy", npy(50, 4, |i, j| (i * 7 + j * 3) as f32 % 11.0));
    let datasets = "  - siftsmall\n  - { path: nowhere.npy }\n  - { path: here.npy }\n";
    let (code, text, _) = run(folder.path(), datasets, &[]);
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(text.replace("\n  │", "").matches("--skip-missing").count(), 2, "{text}");
    let (code, text, pages) = run(folder.path(), datasets, &["--skip-missing"]);
    assert_eq!(code, Some(0), "{text}");
    for said in ["is not on this machine", "nowhere.npy: No such file"] {
        let on_both = pages.iter().all(|page| page.contains(said));
        assert!(text.contains(said) && on_both, "{said}: {text}\n{pages:?}");
    }
    let (code, text, _) = run(folder.path(), "  - siftsmall\n", &["--skip-missing"]);
    assert_eq!(code, Some(2), "nothing would be left: {text}");
}

/// Bash completes what follows `cargo xtask`.
#[cfg(unix)]
#[test]
fn completions_are_for_cargo_xtask() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = xtask(folder.path()).args(["completions", "bash"]).output().expect("starts");
    write(folder.path(), "completions.bash", &output.stdout);
    let script = "source completions.bash; COMP_WORDS=(cargo xtask exp); COMP_CWORD=2; \
                  _cargo_xtask cargo exp xtask; echo \"${COMPREPLY[@]}\"; complete -p cargo";
    let Ok(output) = std::process::Command::new("bash").args(["-c", script]).current_dir(folder.path()).output() else {
        eprintln!("skipped: there is no bash");
        return;
    };
    let text = output_text(&output, folder.path());
    assert!(text.starts_with("experiments\n") && text.contains("_cargo_xtask cargo"), "{text}");
}
