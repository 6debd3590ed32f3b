//! The key `drop`: rows that are left out, what becomes of classes and of neighbours, and what is refused without it.

mod common;

use common::{flat_npy, folder, npy_of, write};
use datasets::{DatasetError, DroppedRows, Part, Resolved, SearchPath, Source, Unused};
use ndarray::{Array2, Axis};
use std::path::Path;

fn resolve(folder: &Path, text: &str) -> Result<Resolved, DatasetError> {
    Source::File(toml::from_str(text).expect("a source")).resolve(folder, &SearchPath::default())
}

/// Forty rows of three components, all different, except: rows 2 and 30 are zeros, 5, 6 and 31 equal row 4, and row 7 is not
/// finite.
fn rows() -> Array2<f32> {
    let mut rows = Array2::from_shape_fn((40, 3), |(i, j)| (i * 3 + j + 1) as f32);
    let copy = rows.row(4).to_owned();
    [5, 6, 31].into_iter().for_each(|i| rows.row_mut(i).assign(&copy));
    [2, 30].into_iter().for_each(|i| rows.row_mut(i).fill(0.0));
    rows[(30, 1)] = -0.0;
    rows[(7, 1)] = f32::INFINITY;
    rows
}

const SPLIT: &str = "split = { train = \"0..10\", base = \"10..30\", queries = \"30..40\" }";

#[test]
fn rows_are_left_out_of_the_parts_with_their_classes() {
    let folder = folder();
    write(folder.path(), "a.npy", &npy_of(&rows()));
    write(folder.path(), "y.npy", &flat_npy("|u1", 40, &(0..40).collect::<Vec<u8>>()));
    let text =
        |drop: &str| format!("path = \"a.npy\"\nlabels = \"y.npy\"\nmetric = \"cosine\"\ndrop = {drop}\n{SPLIT}");
    let resolved = resolve(folder.path(), &text("[\"zeros\", \"non-finite\", \"duplicates\"]")).expect("resolves");
    let none = DroppedRows { part: Part::Train, of: 10, non_finite: 0, zeros: 0, duplicates: 0 };
    let train = DroppedRows { non_finite: 1, zeros: 1, duplicates: 2, ..none };
    let queries = DroppedRows { part: Part::Queries, zeros: 1, ..none };
    // Query rows are never duplicates, and those of other parts are others.
    assert_eq!(resolved.dropped(), [train, queries]);
    let s = &resolved.summary;
    assert_eq!((s.train, s.base, s.queries), (6, 20, 9));
    let data = resolved.load().expect("loads");

    // The right values are those of a file without these rows.
    let kept: Vec<usize> = (0..40).filter(|i| ![2, 5, 6, 7, 30].contains(i)).collect();
    write(folder.path(), "kept.npy", &npy_of(&rows().select(Axis(0), &kept)));
    let split = "split = { train = \"0..6\", base = \"6..26\", queries = \"26..35\" }";
    let expected = resolve(folder.path(), &format!("path = \"kept.npy\"\nmetric = \"cosine\"\n{split}"));
    let expected = expected.and_then(|resolved| resolved.load()).expect("loads");
    assert_eq!((&data.train, &data.base, &data.queries), (&expected.train, &expected.base, &expected.queries));
    let labels = data.labels.expect("classes");
    assert_eq!(labels.base, (10..30).collect::<Vec<u32>>());
    assert_eq!(labels.queries, (31..40).collect::<Vec<u32>>());
    assert_eq!(resolved.place(Part::Queries, 0), "row 31 of a.npy");
}

#[test]
fn without_the_key_rows_are_refused_with_their_number_and_the_key_is_named() {
    let folder = folder();
    write(folder.path(), "a.npy", &npy_of(&rows()));
    let refused = |more: &str| {
        let error = resolve(folder.path(), &format!("path = \"a.npy\"\nmetric = \"cosine\"\n{SPLIT}\n{more}"));
        let error = error.and_then(|resolved| resolved.load()).expect_err("refused");
        (error.to_string(), error.help().unwrap_or_default())
    };
    let (error, help) = refused("");
    assert!(error.ends_with("row 7 has the value inf in column 1, which is not finite as f32"), "{error}");
    assert!(help.contains("`drop: [non-finite]`"), "{help}");
    let (error, help) = refused("drop = [\"non-finite\"]");
    assert!(error.contains("row 2 of a.npy is all zeros") && error.ends_with("(2 such rows)"), "{error}");
    assert!(help.contains("`drop: [zeros]`"), "{help}");

    let mut many = rows();
    many[(20, 0)] = f32::NAN;
    write(folder.path(), "a.npy", &npy_of(&many));
    let (error, _) = refused("");
    assert!(error.ends_with("not finite as f32 (2 such rows)"), "{error}");

    write(folder.path(), "zeros.npy", &npy_of(&Array2::zeros((40, 3))));
    let all = resolve(folder.path(), "path = \"zeros.npy\"\ndrop = [\"zeros\"]").expect_err("nothing left").to_string();
    assert!(all.contains("`drop` leaves out all 18 training rows"), "{all}");
    let unknown = toml::from_str::<datasets::FileSource>("path = \"a.npy\"\ndrop = [\"nan\"]").expect_err("unknown");
    assert!(unknown.to_string().contains("`non-finite`, `zeros`, `duplicates`"), "{unknown}");
}

#[test]
fn only_rows_that_are_left_out_make_another_dataset_and_neighbours_of_all_rows_are_not_used() {
    let folder = folder();
    let all = rows();
    write(folder.path(), "a.npy", &npy_of(&all.select(Axis(0), &[0, 1, 3, 4, 5, 8, 9, 10, 11, 12])));
    write(folder.path(), "q.npy", &npy_of(&all.select(Axis(0), &[20, 2, 21, 7])));
    let nearest: Vec<Vec<u32>> = vec![vec![9], vec![0], vec![9], vec![0]];
    write(folder.path(), "t.ivecs", &datasets::format::ids_to_ivecs(&nearest));
    let text =
        |more: &str| format!("path = \"a.npy\"\nqueries = \"q.npy\"\ntrain = \"base\"\ntruth = \"t.ivecs\"\n{more}");
    let drop = |kinds: &str| resolve(folder.path(), &text(&format!("drop = {kinds}"))).expect("resolves");
    let plain = resolve(folder.path(), &text("")).expect("resolves");
    assert_eq!(plain.summary.fingerprint.matches("drop").count(), 0);
    // The queries become fewer, and their neighbours follow.
    let fewer = drop("[\"non-finite\", \"zeros\"]");
    assert_ne!(fewer.summary.fingerprint, plain.summary.fingerprint);
    assert_eq!((fewer.summary.base, fewer.summary.queries), (10, 2));
    fewer.load().expect("loads");
    let truth = fewer.file_truth(1).expect("reads").expect("there is one");
    assert_eq!((truth.candidates(), truth.check.agreement), (Some(vec![vec![9], vec![9]]), 1.0));

    let without = drop("[\"duplicates\", \"non-finite\", \"zeros\"]");
    let base = without.dropped().iter().find(|rows| rows.part == Part::Base).expect("of the base rows");
    assert_eq!((base.duplicates, without.summary.train, without.summary.base), (1, 9, 9));
    let truth = without.file_truth(1).expect("reads").expect("there is one").check;
    let reason = "the base rows are not all rows of a.npy in its order".to_owned();
    assert_eq!(truth.unused, Some(Unused::Because(reason)));

    // Nothing to leave out.
    write(folder.path(), "fine.npy", &npy_of(&all.select(Axis(0), &(8..30).collect::<Vec<_>>())));
    let fine = |drop| resolve(folder.path(), &format!("path = \"fine.npy\"{drop}")).expect("resolves").summary;
    assert_eq!(fine("\ndrop = [\"zeros\", \"duplicates\"]"), fine(""));
}

#[test]
fn some_of_the_base_rows_are_trained_on_also_if_rows_are_left_out() {
    let folder = folder();
    write(folder.path(), "a.npy", &npy_of(&rows().select(Axis(0), &(8..40).collect::<Vec<_>>())));
    write(folder.path(), "q.npy", &npy_of(&rows().select(Axis(0), &[0, 1])));
    let text = |drop: &str| {
        format!("path = \"a.npy\"\nqueries = \"q.npy\"\ntrain = \"base\"\n{drop}\nsplit = {{ train = 30, seed = 1 }}")
    };
    let plain = resolve(folder.path(), &text("")).expect("resolves");
    assert_eq!((plain.summary.train, plain.summary.base), (30, 32));
    let dropped = resolve(folder.path(), &text("drop = [\"zeros\"]")).expect("resolves");
    let (kept, data) = (&dropped.summary, dropped.load().expect("loads"));
    assert_eq!(kept.base, 31);
    // The row of zeros is among the thirty, or not; the others stay.
    assert!(kept.train == 29 || kept.train == 30, "{}", kept.train);
    assert!(data.train.outer_iter().all(|row| row.iter().any(|v| *v != 0.0)));
    let base: Vec<Vec<u32>> = data.base.outer_iter().map(|row| row.mapv(f32::to_bits).to_vec()).collect();
    assert!(data.train.outer_iter().all(|row| base.contains(&row.mapv(f32::to_bits).to_vec())));
}
