//! Ground truth of the user's own: read in every format, checked against the exact neighbours, used only where it holds.

mod common;

use common::{folder, gzip, npy, write, zip};
use datasets::format::{self, ids_to_ivecs};
use datasets::truth::{NeighborRanking, exact_neighbors};
use datasets::{Dataset, MetricSpace, Resolved, SearchPath, Source, Unused};
use ndarray::Array2;
use rust_hdf5::H5File;
use std::path::Path;

const BASE: usize = 300;
const QUERIES: usize = 40;
const DEPTH: usize = 12;

/// Rows of unlike lengths, so that the metrics have unlike neighbours.
fn vectors(n: usize, start: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, 5), |(i, j)| {
        let x = ((start + i) * 31 + j * 17 + (start + i) * (j + 3) % 7) % 101;
        (x as f32 - 50.0) * (1.0 + ((start + i) % 5) as f32)
    })
}

/// A folder with base rows, of which the last is a copy of the first, and queries.
fn vectors_here() -> tempfile::TempDir {
    let folder = folder();
    let mut base = vectors(BASE, 0);
    let copy = base.row(0).to_owned();
    base.row_mut(BASE - 1).assign(&copy);
    write(folder.path(), "base.npy", &common::npy_of(&base));
    let mut queries = vectors(QUERIES, 1000);
    queries.row_mut(0).assign(&copy);
    write(folder.path(), "queries.npy", &common::npy_of(&queries));
    folder
}

fn resolve(folder: &Path, more: &str) -> Result<Resolved, String> {
    let text = format!("path = \"base.npy\"\nqueries = \"queries.npy\"\ntrain = \"base\"\n{more}");
    let source = Source::File(toml::from_str(&text).expect("a source"));
    source.resolve(folder, &SearchPath::default()).map_err(|error| error.to_string())
}

fn exact(data: &Dataset, depth: usize) -> Vec<Vec<u32>> {
    let found = exact_neighbors(data.base.view(), data.queries.view(), data.metric, depth, cpu::Isa::widest());
    ids(found)
}

fn ids(neighbors: Vec<Vec<cpu::Neighbor>>) -> Vec<Vec<u32>> {
    neighbors.iter().map(|row| row.iter().map(|n| n.id).collect()).collect()
}

/// The neighbours in the files as they would be used, or why they are not.
fn used(folder: &Path, more: &str, depth: usize) -> Result<Vec<Vec<u32>>, Unused> {
    let resolved = resolve(folder, more).expect("resolves");
    let data = resolved.load().expect("loads");
    let truth = resolved.file_truth(depth).expect("reads").expect("there is one");
    let candidates = truth.candidates();
    assert_eq!(candidates.is_none(), truth.check.unused.is_some());
    let candidates = candidates.ok_or_else(|| truth.check.unused.expect("a reason"))?;
    let mut ranking = NeighborRanking::new(data.queries.view(), data.metric, depth, candidates);
    ranking.score(0, data.base.view());
    Ok(ids(ranking.finish()))
}

fn because(reason: &str) -> Result<Vec<Vec<u32>>, Unused> {
    Err(Unused::Because(reason.to_owned()))
}

#[test]
fn every_format_of_integers_is_read_and_used() {
    let folder = vectors_here();
    let data = resolve(folder.path(), "").expect("resolves").load().expect("loads");
    let truth = exact(&data, DEPTH);
    let flat: Vec<u32> = truth.concat();
    let le = |wide: bool| -> Vec<u8> {
        flat.iter()
            .flat_map(|&id| if wide { u64::from(id).to_le_bytes().to_vec() } else { id.to_le_bytes().to_vec() })
            .collect()
    };
    let head = |descr: &str, fortran: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({QUERIES}, {DEPTH}), }}")
    };
    let columns: Vec<u8> =
        (0..DEPTH).flat_map(|j| truth.iter().flat_map(move |row| u64::from(row[j]).to_le_bytes())).collect();
    let counts = [QUERIES as u32, DEPTH as u32].map(u32::to_le_bytes).concat();
    let array = npy(&head("<i8", "False"), &le(true));
    let json = format!(
        "{{\"x\":{{\"dtype\":\"I64\",\"shape\":[{QUERIES},{DEPTH}],\"data_offsets\":[0,{}]}}}}",
        8 * flat.len()
    );
    let lines: Vec<String> = truth.iter().map(|row| format!("{row:?}")).collect();
    let files: [(&str, Vec<u8>); 9] = [
        ("t.ivecs", ids_to_ivecs(&truth)),
        ("t.ibin", [counts.clone(), le(false)].concat()),
        // As big-ann-benchmarks writes it: distances after all row numbers, with and without an extension.
        ("with-distances.ibin", [counts.clone(), le(false), vec![0x3f; 4 * flat.len()]].concat()),
        ("GT_10M", [counts, le(false), vec![0x3f; 4 * flat.len()]].concat()),
        ("t.npy.gz", gzip(&array)),
        ("columns.npy", npy(&head("<u8", "True"), &columns)),
        ("t.npz", zip(&[("neighbours.npy", array, true)])),
        ("t.safetensors", [(json.len() as u64).to_le_bytes().to_vec(), json.into_bytes(), le(true)].concat()),
        ("t.jsonl", lines.join("\n").into_bytes()),
    ];
    for (name, bytes) in &files {
        write(folder.path(), name, bytes);
    }
    let hdf5 = H5File::create(folder.path().join("t.hdf5")).expect("creates");
    let array = hdf5.new_dataset::<i64>().shape([QUERIES, DEPTH]).create("neighbors").expect("creates");
    array.write_raw(&flat.iter().map(|&id| i64::from(id)).collect::<Vec<_>>()).expect("writes");
    drop((array, hdf5));
    // In pieces.
    write(folder.path(), "piece-1.ivecs", &ids_to_ivecs(&truth[..7]));
    write(folder.path(), "piece-2.ivecs", &ids_to_ivecs(&truth[7..]));
    let names = files.iter().map(|(name, _)| *name).chain(["t.hdf5", "t.hdf5#neighbors", "piece-*.ivecs"]);
    for name in names {
        assert_eq!(used(folder.path(), &format!("truth = {name:?}"), DEPTH), Ok(truth.clone()), "{name}");
    }
    // Some of the queries, and fewer neighbours.
    let some = used(folder.path(), "truth = \"t.ivecs\"\nsplit = { queries = \"5..9\" }", 3).expect("used");
    assert_eq!(some, truth[5..9].iter().map(|row| row[..3].to_vec()).collect::<Vec<_>>());
    // The same vectors with other neighbours are not the same dataset.
    let fingerprint = |more| resolve(folder.path(), more).expect("resolves").summary.fingerprint;
    assert_ne!(fingerprint("truth = \"t.ivecs\""), fingerprint(""));
}

#[test]
fn equal_distances_are_no_mismatch_and_are_put_in_our_order() {
    let folder = vectors_here();
    let data = resolve(folder.path(), "").expect("resolves").load().expect("loads");
    let truth = exact(&data, DEPTH);
    assert_eq!(truth[0][..2], [0, BASE as u32 - 1], "a tie");
    let mut other = truth.clone();
    other.iter_mut().for_each(|row| row.reverse());
    write(folder.path(), "t.ivecs", &ids_to_ivecs(&other));
    assert_eq!(used(folder.path(), "truth = \"t.ivecs\"", DEPTH), Ok(truth.clone()));
    // A tie at the end may be broken either way.
    let mut copies = exact(&data, 1);
    copies[0] = vec![BASE as u32 - 1];
    write(folder.path(), "one.ivecs", &ids_to_ivecs(&copies));
    assert_eq!(used(folder.path(), "truth = \"one.ivecs\"", 1), Ok(copies));
}

#[test]
fn neighbours_that_cannot_be_used_are_told_with_the_reason() {
    let folder = vectors_here();
    let here = folder.path();
    let data = resolve(here, "").expect("resolves").load().expect("loads");
    let truth = exact(&data, DEPTH);
    let with = |name: &str, rows: &[Vec<u32>]| {
        write(here, name, &ids_to_ivecs(rows));
        format!("truth = {name:?}")
    };
    let right = with("t.ivecs", &truth);
    assert_eq!(
        used(here, &right, DEPTH + 1),
        because("it names 12 different neighbours of a query, and 13 are needed")
    );
    let mut padded = truth.clone();
    padded[39][DEPTH - 1] = padded[39][0];
    assert_eq!(
        used(here, &with("padded.ivecs", &padded), DEPTH),
        because("it names 11 different neighbours of a query, and 12 are needed")
    );
    let subset = format!("{right}\nsplit = {{ base = \"0..299\" }}");
    assert_eq!(used(here, &subset, DEPTH), because("the base rows are not all rows of base.npy in its order"));
    let mut far = truth.clone();
    far[7][3] = BASE as u32;
    assert_eq!(
        used(here, &with("far.ivecs", &far), DEPTH),
        because("its row 7 names row 300, and base.npy has only 300 rows")
    );
    // One wrong neighbour of twelve: near, but not exact.
    let mut rough = truth.clone();
    rough.iter_mut().for_each(|row| row[DEPTH - 1] = (row[0] + 150) % 299);
    let Err(Unused::Because(reason)) = used(here, &with("rough.ivecs", &rough), DEPTH) else { panic!("used") };
    assert!(
        reason.starts_with("only 9") && reason.ends_with("% of those in a sample are true nearest neighbours"),
        "{reason}"
    );

    // Of another metric, which is named.
    for other in [MetricSpace::Cosine, MetricSpace::Ip] {
        let asked = format!("metric = \"{other}\"");
        let data = resolve(here, &asked).expect("resolves").load().expect("loads");
        let written = with("other.ivecs", &exact(&data, DEPTH));
        assert!(used(here, &format!("{asked}\n{written}"), DEPTH).is_ok(), "{other}");
        let check = resolve(here, &written).expect("resolves").file_truth(DEPTH).expect("reads").expect("one").check;
        assert_eq!((check.explained_by, check.unused), (Some(other), Some(Unused::Contradiction)), "{other}");
        assert_eq!((check.file.as_str(), check.queries, check.neighbours), ("other.ivecs", 14, DEPTH));
    }

    let refused = |more: &str| {
        let text = format!("path = \"base.npy\"\n{more}");
        let source = Source::File(toml::from_str(&text).expect("a source"));
        let resolved = source.resolve(here, &SearchPath::default());
        resolved.and_then(|resolved| resolved.file_truth(1)).expect_err("refused").to_string()
    };
    let alone = refused(&right);
    assert!(alone.contains("`truth` needs a `queries` file"), "{alone}");
    let queries = "queries = \"queries.npy\"";
    let short = refused(&format!("{queries}\n{}", with("short.ivecs", &truth[1..])));
    assert!(short.contains("short.ivecs has 39 rows for the 40 rows of ") && short.contains("queries.npy"), "{short}");
    let floats = refused(&format!("{queries}\ntruth = \"queries.npy\""));
    assert!(floats.contains("row numbers need integers"), "{floats}");
    let negative = [1u32, u32::MAX].map(u32::to_le_bytes).concat().repeat(QUERIES);
    write(here, "negative.ivecs", &negative);
    let negative = refused(&format!("{queries}\ntruth = \"negative.ivecs\""));
    assert!(negative.contains("row 0 holds -1, which is not a row number"), "{negative}");
    write(here, "cut.ibin", &[40u32, 3, 1].map(u32::to_le_bytes).concat());
    let cut = refused(&format!("{queries}\ntruth = \"cut.ibin\""));
    assert!(cut.contains("40 rows of 3 components, that is 480 bytes"), "{cut}");
    assert!(format::read_ids(&here.join("base.npy")).is_err());
}

/// Writes a file in the layout of VIBE.
fn vibe(path: &Path, distance: &str, point_type: &str) {
    let (base, queries) = (vectors(BASE, 0), vectors(QUERIES, 1000));
    // As `normalized` says, rows have unit length there.
    let unit = |mut rows: Array2<f32>| {
        rows.outer_iter_mut().for_each(|mut row| {
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row /= norm;
        });
        rows
    };
    let (base, queries) = if distance == "normalized" { (unit(base), unit(queries)) } else { (base, queries) };
    let near = exact_neighbors(base.view(), queries.view(), MetricSpace::L2, DEPTH, cpu::Isa::widest());
    let file = H5File::create(path).expect("creates");
    let floats = |name: &str, rows: &Array2<f32>| {
        let array = file.new_dataset::<f32>().shape([rows.nrows(), rows.ncols()]).create(name).expect("creates");
        array.write_raw(rows.as_slice().expect("rows")).expect("writes");
    };
    file.set_attr_string("distance", distance).expect("writes");
    file.set_attr_string("point_type", point_type).expect("writes");
    file.set_attr_numeric("dimension", &5i64).expect("writes");
    floats("train", &base);
    floats("test", &queries);
    // Vectors like the queries, to learn from, and their neighbours.
    floats("learn", &vectors(30, 2000));
    let ids: Vec<i64> = near.iter().flatten().map(|n| n.id.into()).collect();
    let scores: Vec<f64> = near.iter().flatten().map(|n| n.score.into()).collect();
    let array = file.new_dataset::<i64>().shape([QUERIES, DEPTH]).create("neighbors").expect("creates");
    array.write_raw(&ids).expect("writes");
    let array = file.new_dataset::<f64>().shape([QUERIES, DEPTH]).create("distances").expect("creates");
    array.write_raw(&scores).expect("writes");
    let array = file.new_dataset::<f64>().shape([QUERIES]).create("avg_distances").expect("creates");
    array.write_raw(&vec![0.0; QUERIES]).expect("writes");
    let array = file.new_dataset::<u32>().shape([30, 2]).create("learn_neighbors").expect("creates");
    array.write_raw(&[0u32; 60]).expect("writes");
}

#[test]
fn a_file_of_vibe_is_rows_queries_neighbours_and_metric_at_once() {
    let folder = folder();
    let resolve = |more: &str| {
        let source = Source::File(toml::from_str(&format!("path = \"v.hdf5\"\n{more}")).expect("a source"));
        source.resolve(folder.path(), &SearchPath::default())
    };
    for (distance, metric) in [("normalized", MetricSpace::Cosine), ("euclidean", MetricSpace::L2)] {
        vibe(&folder.path().join("v.hdf5"), distance, "float");
        let resolved = resolve("").expect("resolves");
        let s = &resolved.summary;
        assert_eq!((s.train, s.base, s.queries, s.metric), (BASE, BASE, QUERIES, metric));
        assert!(resolved.trains_on_base(), "`learn` is like the queries, not like the base rows");
        let check = resolved.file_truth(DEPTH).expect("reads").expect("there is one").check;
        assert_eq!((check.unused, check.agreement), (None, 1.0));
        let learn = resolve("train = \"v.hdf5#learn\"").expect("resolves");
        assert_eq!((learn.summary.train, learn.trains_on_base()), (30, false));
    }
    vibe(&folder.path().join("v.hdf5"), "hamming", "binary");
    for more in ["", "metric = \"l2\""] {
        let error = resolve(more).expect_err("packed bits").to_string();
        assert!(error.contains("each value of `train` is eight bits"), "{error}");
    }
}
