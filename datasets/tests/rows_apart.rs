//! Few rows of a large file are read one by one. They are those that a pass over the whole file finds, in every format.

use datasets::{Part, Resolved, SearchPath, Source, format};
use ndarray::{Array2, ArrayView1, Axis};
use serde_json::json;
use std::path::Path;

const SHAPE: (usize, usize) = (3000, 128);

fn resolve(folder: &Path, file: &str, metric: &str) -> Resolved {
    let split = json!({ "train": 30, "queries": "2990..2999", "seed": 2 });
    let written = json!({ "path": file, "metric": metric, "split": split });
    Source::parse(&written).expect("a source").resolve(folder, &SearchPath::default()).expect("resolves")
}

/// The number of a row in its file, from the text that names it.
fn number(place: &str) -> usize {
    place.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("row N of …")
}

fn unit(row: ArrayView1<'_, f32>) -> Vec<f32> {
    let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    row.iter().map(|&v| (f64::from(v) / norm) as f32).collect()
}

/// Writes the vectors in four formats. One of them is packed, so that all of it is read.
fn write(folder: &Path, values: &Array2<f32>) -> [&'static str; 4] {
    let (n, dim) = values.dim();
    let plain: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let head = [n as u32, dim as u32].into_iter().flat_map(u32::to_le_bytes);
    std::fs::write(folder.join("v.fbin"), head.chain(plain.iter().copied()).collect::<Vec<u8>>()).expect("writes");
    let rows = plain.chunks_exact(4 * dim).flat_map(|row| (dim as u32).to_le_bytes().into_iter().chain(row.to_vec()));
    std::fs::write(folder.join("v.fvecs"), rows.collect::<Vec<u8>>()).expect("writes");
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n}, {dim}), }}");
    let text = format!("{dictionary:<117}\n");
    let npy = [&b"\x93NUMPY\x01\x00\x76\x00"[..], text.as_bytes(), &plain].concat();
    std::fs::write(folder.join("v.npy"), &npy).expect("writes");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &npy).expect("memory");
    std::fs::write(folder.join("w.npy.gz"), packed.finish().expect("memory")).expect("writes");
    ["v.fbin", "v.fvecs", "v.npy", "w.npy.gz"]
}

#[test]
fn they_are_the_same_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    // No two rows are alike.
    let values = Array2::from_shape_fn(SHAPE, |(i, j)| ((i * 31 + j * 7) % 4093) as f32 + i as f32 / 1e4 + 1.0);
    for file in write(folder.path(), &values) {
        assert_eq!(format::shape(&folder.path().join(file)).expect("reads"), SHAPE);
        for metric in ["l2", "cosine"] {
            let resolved = resolve(folder.path(), file, metric);
            let shown = |row: ArrayView1<'_, f32>| if metric == "cosine" { unit(row) } else { row.to_vec() };
            let of_file = |part, row: usize| shown(values.row(number(&resolved.place(part, row))));
            let data = resolved.open(0).expect("opens");
            for (part, rows) in [(Part::Train, &data.train), (Part::Queries, &data.queries)] {
                for (i, row) in rows.axis_iter(Axis(0)).enumerate() {
                    assert_eq!(row.to_vec(), of_file(part, i), "{file}, {metric}: {part:?} row {i}");
                }
            }
            let last = data.base.nrows() as u32 - 2;
            let ids = [0, 1, 1, 500, 501, 2000, last, last];
            let mut seen = Vec::new();
            data.base.visit(&ids, |at, row| seen.push((at, row.to_vec()))).expect("reads");
            let expected: Vec<_> =
                ids.iter().enumerate().map(|(i, &id)| (i, of_file(Part::Base, id as usize))).collect();
            assert_eq!(seen, expected, "{file}, {metric}");
        }
    }
}

#[test]
fn a_value_that_is_not_finite_is_found_in_them_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut values = Array2::from_elem(SHAPE, 1.5f32);
    let file = write(folder.path(), &values)[0];
    let resolved = resolve(folder.path(), file, "l2");
    let base = resolved.open(0).expect("opens").base;
    let (of_train, of_base) = (number(&resolved.place(Part::Train, 4)), number(&resolved.place(Part::Base, 2000)));
    for (row, is_open) in [(of_base, true), (of_train, false)] {
        values[(row, 7)] = f32::INFINITY;
        write(folder.path(), &values);
        let opened = resolve(folder.path(), file, "l2").open(0);
        assert_eq!(opened.is_ok(), is_open, "row {row}");
        let error = if is_open { base.visit(&[2, 2000], |_, _| {}).err() } else { opened.err() };
        let error = error.expect("it is not finite").to_string();
        assert!(error.contains(&format!("row {row}")) && error.contains("column 7"), "{error}");
    }
}
