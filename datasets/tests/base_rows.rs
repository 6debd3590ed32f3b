//! Base rows that are read again for each pass are those that are held in memory, whatever file, split and metric.

use datasets::{DatasetError, Opened, Resolved, SearchPath, Source};
use serde_json::{Value, json};
use std::path::Path;

fn resolve(folder: &Path, written: &Value) -> Result<Resolved, DatasetError> {
    Source::parse(written).expect("a source").resolve(folder, &SearchPath::default())
}

/// Opens a dataset without its base rows, and compares all of it with what is loaded into memory.
fn compare(folder: &Path, written: &Value) -> Opened {
    let resolved = resolve(folder, written).unwrap_or_else(|error| panic!("{written}: {error}"));
    let held = resolved.load().unwrap_or_else(|error| panic!("{written}: {error}"));
    let opened = resolved.open(0).unwrap_or_else(|error| panic!("{written}: {error}"));
    assert!(opened.base.held().is_none() && resolved.check().is_ok(), "{written}");
    let n = held.base.nrows();
    assert_eq!((opened.base.nrows(), opened.base.ncols()), held.base.dim());
    // Twice: it is read anew each time.
    for _ in 0..2 {
        assert_eq!(opened.base.range(0..n).expect("reads"), held.base, "{written}");
    }
    let few: Vec<u32> = (0..n as u32).step_by(3).flat_map(|id| [id, id]).collect();
    let mut seen = 0;
    let visit = opened.base.visit(&few, |at, row| {
        assert_eq!(row, held.base.row(few[at] as usize).to_vec(), "{written}");
        seen += 1;
    });
    assert!(visit.is_ok() && seen == few.len());
    assert_eq!((&opened.train, &opened.queries, &opened.labels), (&held.train, &held.queries, &held.labels));
    opened
}

const SPLITS: [&str; 4] = [
    "{}",
    r#"{ "train": 5, "queries": 2, "seed": 3 }"#,
    r#"{ "train": "0..4", "base": "6..15", "queries": "4..6" }"#,
    r#"{ "train": 3, "base": 8, "queries": "1..3" }"#,
];

/// Only rows that are used must be finite, whether base rows are held or not.
#[test]
fn a_value_that_is_not_finite_is_an_error_where_its_row_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let values: Vec<f32> = (0..60).map(|i| if i == 40 { f32::NAN } else { i as f32 }).collect();
    let head = [30u32, 2].into_iter().flat_map(u32::to_le_bytes);
    let bytes: Vec<u8> = head.chain(values.iter().flat_map(|v| v.to_le_bytes())).collect();
    std::fs::write(folder.path().join("a.fbin"), bytes).expect("writes");
    let written =
        |base: &str| json!({ "path": "a.fbin", "split": { "train": "0..5", "base": base, "queries": "5..7" } });
    compare(folder.path(), &written("7..20"));
    let used = resolve(folder.path(), &written("7..21")).expect("resolves");
    for error in [used.load().err(), used.check().err()] {
        let error = error.expect("row 20 is used").to_string();
        assert!(error.contains("row 20"), "{error}");
    }
}

#[test]
fn of_files_of_every_kind() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["ann.hdf5#train", "one.h5", "zstd.parquet", "split.parquet", "pandas.feather", "pandas.csv"] {
        for (split, metric) in SPLITS.iter().zip(["l2", "cosine", "ip", "cosine"]) {
            let split: Value = serde_json::from_str(split).expect("JSON");
            let written = json!({ "path": name, "split": split, "metric": metric });
            let fits = resolve(&fixtures, &written).and_then(|resolved| resolved.load());
            // Some of them have fewer rows than the split needs, or rows of zeros.
            if fits.is_ok() {
                compare(&fixtures, &written);
            }
        }
    }
}

/// Bytes as vectors: `n` rows of `dim` components that are all different.
fn u8bin(n: usize, dim: usize) -> Vec<u8> {
    let value = |i: usize| ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 | 1;
    let head = [n as u32, dim as u32].into_iter().flat_map(u32::to_le_bytes);
    head.chain((0..n * dim).map(value)).collect()
}

#[test]
fn of_more_rows_than_a_block_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("big.u8bin");
    let (n, dim) = (9500, 1024);
    std::fs::write(&path, u8bin(n, dim)).expect("writes");
    for split in [
        json!({ "train": 200, "queries": 20 }),
        json!({ "train": "0..100", "base": "150..9400", "queries": "9400..9450" }),
        json!({ "train": 10, "base": 90, "queries": 10 }),
    ] {
        let written = json!({ "path": "big.u8bin", "metric": "cosine", "split": split });
        let opened = compare(folder.path(), &written);
        let mut firsts = Vec::new();
        let blocks = opened.base.blocks(|first, block| {
            firsts.push((first, block.nrows()));
            Ok::<_, DatasetError>(())
        });
        blocks.expect("reads");
        let expected = (0..opened.base.nrows()).step_by(4096);
        assert_eq!(firsts.iter().map(|(first, _)| *first).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    // A file that becomes shorter, and one that disappears.
    let resolved = resolve(folder.path(), &json!({ "path": "big.u8bin" })).expect("resolves");
    let opened = resolved.open(0).expect("opens");
    let pass = || opened.base.blocks(|_, _| Ok::<_, DatasetError>(()));
    pass().expect("reads");
    std::fs::write(&path, u8bin(n - 1, dim)).expect("writes");
    assert!(pass().expect_err("shorter").to_string().contains("9499 rows for 9500 rows"));
    std::fs::remove_file(&path).expect("removes");
    assert!(pass().is_err());
}

#[test]
fn of_a_shuffled_file_are_held() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("v.u8bin"), u8bin(60, 3)).expect("writes");
    let written = json!({ "path": "v.u8bin", "split": { "train": "0..20", "base": "20..50", "queries": "50..60", "numpy_seed": 4 } });
    let resolved = resolve(folder.path(), &written).expect("resolves");
    let opened = resolved.open(0).expect("opens");
    assert!(resolved.must_be_held());
    assert_eq!(opened.base.held().expect("held"), resolved.load().expect("loads").base);
}

#[test]
fn with_a_row_of_zeros_are_refused_in_blocks_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = u8bin(40, 3);
    for row in [12, 30] {
        bytes[8 + row * 3..8 + (row + 1) * 3].fill(0);
    }
    std::fs::write(folder.path().join("v.u8bin"), bytes).expect("writes");
    let split = json!({ "train": "0..10", "base": "10..35", "queries": "35..40" });
    let resolved = resolve(folder.path(), &json!({ "path": "v.u8bin", "metric": "cosine", "split": split }));
    let resolved = resolved.expect("resolves");
    for error in [resolved.load().map(drop), resolved.check()] {
        let error = error.expect_err("zeros").to_string();
        assert!(error.contains("row 12 of v.u8bin is all zeros") && error.ends_with("(2 such rows)"), "{error}");
    }
}
