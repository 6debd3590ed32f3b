//! What vectors are like: shown for any file, and said of a run before anything is trained.

mod common;

use common::{npy, output_text, write, xtask};
use std::path::Path;

fn show(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = xtask(folder).args(["datasets", "show"]).args(arguments).output().expect("starts");
    (output.status.code(), output_text(&output, folder))
}

/// Rows that differ in every component, spread over the unit square of each two.
fn value(i: usize, j: usize) -> f32 {
    ((i * 7919 + j * 104_729 + i * i * (j + 3)) % 1009) as f32 / 1009.0
}

#[test]
fn a_file_is_shown_with_its_spectrum() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = |i: usize, j: usize| match (i, j) {
        (7, _) => 0.0,
        (9, _) => value(8, j),
        (11, _) => 1e6,
        _ => value(i, j),
    };
    write(folder.path(), "odd.npy", npy(400, 6, odd));
    write(folder.path(), "queries.npy", npy(40, 6, |i, j| if i < 10 { value(i + 20, j) } else { 4.0 + value(i, j) }));
    let (code, text) = show(folder.path(), &["odd.npy", "--queries", "queries.npy", "--figure", "s.svg"]);
    assert_eq!(code, Some(0), "{text}");
    insta::assert_snapshot!(text);
    let svg = std::fs::read_to_string(folder.path().join("s.svg")).expect("written");
    assert!(svg.starts_with("<svg") && svg.contains("principal component"), "{svg}");
    let (code, text) = show(folder.path(), &["odd.npy", "--figure", "s.PNG"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(std::fs::read(folder.path().join("s.PNG")).expect("written").starts_with(b"\x89PNG"));
}

#[test]
fn what_cannot_be_shown_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "a.npy", npy(3, 4, value));
    write(folder.path(), "b.npy", npy(3, 5, value));
    write(folder.path(), "one.npy", npy(3, 1, value));
    write(folder.path(), "nan.npy", npy(3, 2, |i, j| if (i, j) == (2, 1) { f32::NAN } else { 0.5 }));
    for (arguments, expected) in [
        (vec!["a.npy", "--figure", "s.gif"], "s.gif is no name of a picture"),
        (vec!["a.npy", "--queries", "b.npy"], "the queries have 5 components, the vectors 4"),
        (vec!["one.npy", "--figure", "s.svg"], "there is no spectrum to draw"),
        (vec!["nan.npy"], "nan.npy: row 2 has the value NaN in column 1"),
        (vec!["none.npy"], "none.npy"),
        (vec!["wordnet-minilm-384", "--queries", "a.npy"], "`--queries` is for a file of vectors"),
    ] {
        let (code, text) = show(folder.path(), &arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("lists").flatten().map(|file| file.file_name()).collect();
    assert_eq!(left.len(), 4, "nothing is written: {left:?}");
}

#[test]
fn a_run_and_its_pages_say_what_is_unusual() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = |i: usize, j: usize| match (i, j) {
        (5, _) => 1e6,
        (_, 2) => 0.25,
        (420.., _) => value(i % 10 + 400, j),
        _ => 3.0 + value(i, j),
    };
    write(folder.path(), "odd.npy", npy(600, 4, odd));
    write(folder.path(), "queries.npy", npy(50, 4, |i, j| 9.0 + value(i, j)));
    let datasets = "datasets:\n  - { path: odd.npy, queries: queries.npy, split: { train: 0..400, base: 400..600 } }\n";
    let rest = "seeds: 1\nmethods: { scalar: { bits: 4 } }\nmeasure: { distortion: {} }\n";
    write(folder.path(), "e.yaml", format!("name: t\n{datasets}{rest}report: {{ formats: [html, markdown] }}\n"));
    let output = xtask(folder.path()).args(["experiments", "e.yaml"]).output().expect("starts");
    let text = output_text(&output, folder.path());
    assert_eq!(output.status.code(), Some(0), "{text}");
    let page = |name: &str| std::fs::read_to_string(folder.path().join("runs/t/report").join(name)).expect("written");
    let pages = [page("report.md"), page("index.html")];
    for said in [
        "1 of 400 training rows has a norm of at least 10 times the median norm. It is row 5 of odd.npy",
        "1 of 4 components is constant in the base rows: 2, counted from 0",
        "base rows are copies of an earlier row",
        "of the queries are farther from the base rows than 95% of the base rows are",
    ] {
        assert_eq!(text.matches(said).count(), 1, "{said}: {text}");
        let training = text.find("scalar").unwrap_or(0);
        assert!(text.find(said).is_some_and(|at| at < training), "before anything is trained: {text}");
        assert!(pages.iter().all(|page| page.contains(said)), "{said}: on both pages: {}", pages[0]);
    }
    assert!(pages[1].contains("What the vectors are like") && pages[0].contains("| intrinsic dimension | "));
    assert!(pages[0].contains("figures/odd-spectrum.svg"), "{}", pages[0]);
}
