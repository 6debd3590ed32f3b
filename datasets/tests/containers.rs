//! Packed files, several files as one array, and the same rows in every container: the same values as the array alone, and
//! refusals of files that lie.

mod common;

use common::{bytes_of, deflate, flat_npy, folder, gzip, holds, npy, npy_of, part, reason, rows, write, zip, zstd};
use datasets::format::{self, Blocks};
use ndarray::{Array2, arr2};
use proptest::prelude::*;
use std::path::Path;

mod packed {
    use super::*;

    #[test]
    fn every_sequential_format_is_read_from_gzip_and_zstd() {
        let folder = folder();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        for name in
            ["none.parquet", "zstd.parquet", "none.arrow", "zstd.arrow", "polars.csv", "bare.tsv", "pandas.jsonl"]
        {
            let bytes = std::fs::read(fixtures.join(name)).expect(name);
            let expected = format::read(&fixtures.join(name)).expect(name);
            holds(&write(folder.path(), &format!("{name}.gz"), &gzip(&bytes)), &expected);
            holds(&write(folder.path(), &format!("{name}.zst"), &zstd(&bytes)), &expected);
        }
        // Several members and frames one after the other, as parallel packers write them.
        let array = npy_of(&rows());
        let (a, b) = array.split_at(100);
        holds(&write(folder.path(), "a.npy.gz", &[gzip(a), gzip(b)].concat()), &rows());
        holds(&write(folder.path(), "a.npy.zst", &[zstd(a), zstd(b)].concat()), &rows());
        // By content alone, and with a part.
        holds(&write(folder.path(), "a.gz", &gzip(&array)), &rows());
        let table = std::fs::read(fixtures.join("none.parquet")).expect("a fixture");
        let path = write(folder.path(), "t.parquet.gz", &gzip(&table));
        assert_eq!(format::read(&part(&path, "embedding")).expect("reads").nrows(), 50);
        let labels = write(folder.path(), "y.npy.gz", &gzip(&flat_npy("|u1", 3, &[4, 5, 6])));
        assert_eq!(format::read_labels(&labels).expect("labels"), [4, 5, 6]);
    }

    #[test]
    fn going_back_unpacks_again() {
        let folder = folder();
        // More than the tail that is kept.
        let expected = Array2::from_shape_fn((200_000, 3), |(i, j)| (3 * i + j) as f32);
        let values: Vec<u8> = expected.t().iter().flat_map(|v| v.to_le_bytes()).collect();
        let array = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (200000, 3), }\n", &values);
        for (name, bytes) in [("f.npy.gz", gzip(&array)), ("f.npy.zst", zstd(&array))] {
            let path = write(folder.path(), name, &bytes);
            holds(&path, &expected);
            let (mut blocks, mut block, mut all) = (Blocks::open(&path).expect("opens"), Vec::new(), Vec::new());
            while blocks.next(70_000, &mut block).expect("reads") > 0 {
                all.extend_from_slice(&block);
            }
            assert_eq!(all, expected.as_slice().expect("rows"));
        }
    }

    #[test]
    fn damage_and_bombs_are_refused_with_a_reason() {
        let folder = folder();
        let (array, wide) = (npy_of(&rows()), npy_of(&Array2::zeros((1 << 19, 40))));
        let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 6].to_vec();
        let flipped = |mut bytes: Vec<u8>| {
            let last = bytes.len() - 6;
            bytes[last] ^= 1;
            bytes
        };
        for (name, bytes, expected) in [
            ("x.npy.gz", vec![], "it ends early"),
            ("x.npy.gz", array.clone(), "it cannot be unpacked: invalid gzip header"),
            ("x.npy.gz", cut(gzip(&array)), "it ends early"),
            (
                "x.npy.gz",
                flipped(gzip(&array)),
                "it cannot be unpacked: corrupt gzip stream does not have a matching checksum",
            ),
            ("x.npy.gz", [gzip(&array), vec![7; 20]].concat(), "it cannot be unpacked: invalid gzip header"),
            ("x.npy.zst", array.clone(), "it cannot be unpacked: Unknown frame descriptor"),
            ("x.npy.zst", cut(zstd(&array)), "it ends early"),
            ("x.npy.zst", zstd(&wide), "unpack to more than 67108864, which no file of vectors does"),
            ("x.npy.gz", gzip(b"no array at all"), "x.npy.gz is not a usable npy file: bad header"),
            (
                "x.h5.gz",
                gzip(b"\x89HDF\r\n\x1a\n"),
                "it packs its values itself, and is not read within another packed file",
            ),
            ("x.npz.zst", zstd(&zip(&[("a.npy", array.clone(), true)])), "it packs its values itself"),
        ] {
            let error = reason(&write(folder.path(), name, &bytes));
            assert!(error.contains(expected), "{name}, {expected}: {error}");
        }
        // A window of two gigabytes, in a frame of a few bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        let error = reason(&write(folder.path(), "window.npy.zst", &frame));
        assert!(error.contains("it cannot be unpacked: Frame requires too much memory"), "{error}");
    }
}

#[test]
fn half_precision_of_big_ann_is_read_with_both_headers() {
    let folder = folder();
    let values = [0x3c00u16, 0xc080, 0x4200, 0x5640].map(u16::to_le_bytes).concat();
    let expected = arr2(&[[1.0, -2.25], [3.0, 100.0]]);
    let narrow = [[2u32, 2].map(u32::to_le_bytes).concat(), values.clone()].concat();
    holds(&write(folder.path(), "a.f16bin", &narrow), &expected);
    holds(&write(folder.path(), "b.f16bin", &[[2u64, 2].map(u64::to_le_bytes).concat(), values].concat()), &expected);
    assert!(
        reason(&write(folder.path(), "c.f16bin", &narrow[..15])).contains("that is 8 bytes of values; 7 follow it")
    );
}

#[test]
fn files_of_a_pattern_are_one_array_in_the_order_of_their_names() {
    let folder = folder();
    let all = rows();
    for (name, from, to) in [("part-1.npy", 0, 2), ("part-2.npy.gz", 2, 3), ("part-3.npy", 3, 5)] {
        let array = npy_of(&all.slice(ndarray::s![from..to, ..]).to_owned());
        write(folder.path(), name, &if name.ends_with("gz") { gzip(&array) } else { array });
    }
    write(folder.path(), ".part-0.npy", b"hidden");
    write(folder.path(), "other.npy", b"not of the pattern");
    let path = folder.path().join("part-*.npy*");
    holds(&path, &all);
    for size in [1, 2, 4, 9] {
        let (mut blocks, mut block, mut found) = (Blocks::open(&path).expect("opens"), Vec::new(), Vec::new());
        assert!(blocks.working_bytes().expect("reads") > 0);
        while blocks.next(size, &mut block).expect("reads") > 0 {
            found.extend_from_slice(&block);
        }
        assert_eq!(found, all.as_slice().expect("rows"), "{size} at a time");
    }
    holds(
        &folder.path().join("part-?.npy"),
        &ndarray::concatenate![ndarray::Axis(0), all.slice(ndarray::s![..2, ..]), all.slice(ndarray::s![3.., ..])],
    );
    let error = reason(&folder.path().join("parts-*.npy"));
    assert!(error.contains("parts-*.npy: no file has such a name"), "{error}");
    // A name with such a character is a file first.
    holds(&write(folder.path(), "star*.npy", &npy_of(&all)), &all);

    write(folder.path(), "part-4.npy", &npy_of(&Array2::zeros((1, 2))));
    let error = reason(&path);
    assert!(error.contains("part-4.npy is not a usable npy file: its rows have 2 components, those of"), "{error}");

    for (name, values) in [("y-a.npy", [1, 2]), ("y-b.npy", [3, 4])] {
        write(folder.path(), name, &flat_npy("|u1", 2, &values));
    }
    assert_eq!(format::read_labels(&folder.path().join("y-*.npy")).expect("labels"), [1, 2, 3, 4]);
    let arrays = |name: &str, x: Array2<f32>| {
        write(folder.path(), name, &zip(&[("x.npy", npy_of(&x), true), ("z.npy", npy_of(&x), true)]))
    };
    arrays("q1.npz", rows());
    arrays("q2.npz", rows());
    holds(&folder.path().join("q?.npz#x"), &ndarray::concatenate![ndarray::Axis(0), rows(), rows()]);
}

#[test]
fn a_format_is_recognized_by_content_where_the_name_tells_none() {
    let folder = folder();
    holds(&write(folder.path(), "a.bin", &npy_of(&rows())), &rows());
    holds(&write(folder.path(), "b", &zip(&[("x.npy", npy_of(&rows()), true)])), &rows());
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["one.h5", "none.parquet", "none.arrow"] {
        let bytes = std::fs::read(fixtures.join(name)).expect(name);
        holds(&write(folder.path(), "c.data", &bytes), &format::read(&fixtures.join(name)).expect(name));
    }
    let layout = format::layout(Path::new("v.safetensors"), format::OutputType::F32, (5, 3)).expect("a layout");
    holds(&write(folder.path(), "d.data", &[layout.head, bytes_of(&rows())].concat()), &rows());
    let error = reason(&write(folder.path(), "e.data", b"nothing known"));
    assert!(error.contains("the format of") && error.contains("is unknown"), "{error}");
}

#[test]
fn pickles_are_refused_with_the_line_that_converts_them() {
    let folder = folder();
    let torch = zip(&[("archive/data.pkl", b"\x80\x02.".to_vec(), false), ("archive/data/0", vec![0; 8], false)]);
    let plain = b"\x80\x04\x95\x10\x00.".to_vec();
    for (name, bytes, load) in [
        ("a.pt", &torch, "torch.load('F', map_location='cpu', weights_only=True).float().numpy()"),
        ("a.pth", &plain, "torch.load('F'"),
        ("pytorch_model.bin", &torch, "torch.load('F'"),
        ("a.pkl", &plain, "numpy.asarray(numpy.load('F', allow_pickle=True), dtype='float32')"),
        ("a.bin", &plain, "numpy.load('F'"),
    ] {
        let path = write(folder.path(), name, bytes);
        let error = format::read(&path).expect_err("refused");
        assert!(error.to_string().contains("is a pickle, which can run any program when it is opened"), "{error}");
        let help = error.help().expect("a line");
        let load = load.replace('F', &path.display().to_string());
        assert!(help.contains("convert it: python -c \"import numpy") && help.contains(&load), "{name}: {help}");
    }
    let odd = write(folder.path(), "it's.pkl", &plain);
    assert!(format::read(&odd).expect_err("refused").help().is_some_and(|help| help.contains("numpy.load('FILE'")));
}

/// Files of every container with the same rows.
fn all_containers(rows: &Array2<f32>) -> Vec<(&'static str, Vec<u8>)> {
    let (n, dim) = rows.dim();
    let array = npy_of(rows);
    let values = bytes_of(rows);
    let head = |name: &str| format::layout(Path::new(name), format::OutputType::F32, (n, dim)).expect("a layout").head;
    let wide = [n as u64, dim as u64].map(u64::to_le_bytes).concat();
    let big_endian: Vec<u8> = rows.iter().flat_map(|v| v.to_be_bytes()).collect();
    let idx = [&[0, 0, 13, 2], &[n as u32, dim as u32].map(u32::to_be_bytes).concat()[..], &big_endian].concat();
    let deflated = zip(&[("v.npy", array.clone(), true)]);
    vec![
        ("v.npy", array.clone()),
        ("stored.npz", zip(&[("v.npy", array.clone(), false)])),
        ("deflated.npz", deflated),
        ("v.safetensors", [head("v.safetensors"), values.clone()].concat()),
        ("wide.fbin", [wide, values].concat()),
        ("v.idx", idx),
        ("v.npy.gz", gzip(&array)),
        ("v.npy.zst", zstd(&array)),
    ]
}

#[test]
fn a_value_that_is_not_finite_is_named_by_its_row_in_every_container() {
    let folder = folder();
    let mut rows = rows();
    rows[(3, 2)] = f32::NEG_INFINITY;
    for (name, bytes) in all_containers(&rows) {
        let path = write(folder.path(), name, &bytes);
        let (mut blocks, mut block) = (Blocks::open(&path).expect("opens"), Vec::new());
        assert_eq!(blocks.next(3, &mut block).expect("finite"), 3, "{name}");
        let error = blocks.next(2, &mut block).expect_err("infinite").to_string();
        let expected = format!("{name}: row 3 has the value -inf in column 2, which is not finite as f32");
        assert!(error.ends_with(&expected), "{error}");
    }
}

#[test]
fn the_same_vectors_in_any_container_are_one_dataset() {
    let folder = folder();
    let rows = Array2::from_shape_fn((40, 3), |(i, j)| (i * 3 + j + 1) as f32);
    let queries = Array2::from_shape_fn((5, 3), |(i, j)| (i * 3 + j) as f32 + 0.5);
    write(folder.path(), "queries.npy", &npy_of(&queries));
    let resolve = |path: &str, more: &str| {
        let text = format!("path = \"{path}\"\nname = \"x\"\n{more}");
        let source: datasets::FileSource = toml::from_str(&text).expect("a source");
        let resolved = datasets::Source::File(source).resolve(folder.path(), &datasets::SearchPath::default());
        resolved.unwrap_or_else(|error| panic!("{error}"))
    };
    let mut names: Vec<&str> = Vec::new();
    for (name, bytes) in all_containers(&rows) {
        write(folder.path(), name, &bytes);
        names.push(name);
    }
    // In pieces of unlike formats.
    write(folder.path(), "piece-1.npy", &npy_of(&rows.slice(ndarray::s![..7, ..]).to_owned()));
    write(folder.path(), "piece-2.npy.gz", &gzip(&npy_of(&rows.slice(ndarray::s![7.., ..]).to_owned())));
    names.push("piece-*");
    let expected = resolve(names[0], "");
    let data = expected.load().expect("loads");
    for name in &names {
        let resolved = resolve(name, "");
        assert_eq!(resolved.summary, expected.summary, "{name}");
        let found = resolved.load().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((&found.train, &found.base, &found.queries), (&data.train, &data.base, &data.queries), "{name}");
    }
    let fingerprint = |path: &str, more: &str| resolve(path, more).summary.fingerprint;
    let (queries, split) = ("queries = \"queries.npy\"", "split = { seed = 1 }");
    assert_ne!(fingerprint(names[0], split), expected.summary.fingerprint);
    assert_ne!(fingerprint(names[0], queries), expected.summary.fingerprint);
    // The same values in rows of another length, and one other value.
    let reshaped = rows.clone().into_shape_with_order((30, 4)).expect("as many");
    let mut other = rows.clone();
    other[(39, 2)] += 1.0;
    for (name, rows) in [("reshaped.npy", reshaped), ("other.npy", other)] {
        write(folder.path(), name, &npy_of(&rows));
        assert_ne!(fingerprint(name, ""), expected.summary.fingerprint);
    }
    // A copy in another container, as a whole or in a piece, is no other part.
    let copied = |path: &str, queries: &str| {
        let source = format!("path = \"{path}\"\nqueries = \"{queries}\"");
        let source: datasets::FileSource = toml::from_str(&source).expect("a source");
        datasets::Source::File(source).resolve(folder.path(), &datasets::SearchPath::default()).map(drop)
    };
    for (path, other) in [(names[0], names[1]), (names[1], "piece-*"), ("piece-*", "piece-1.npy")] {
        let error = copied(path, other).expect_err("the same rows").to_string();
        assert!(error.contains("two of its files are the same"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same vectors in every container are the same bits as in .npy, whatever the blocks.
    #[test]
    fn every_container_gives_the_bits_of_npy(
        dim in 1usize..6,
        bits in prop::collection::vec(any::<u32>(), 6..200),
        block in 1usize..30,
    ) {
        let finite = |bits: u32| Some(f32::from_bits(bits)).filter(|value| value.is_finite()).unwrap_or(0.5);
        let values: Vec<f32> = bits[..bits.len() / dim * dim].iter().map(|&bits| finite(bits)).collect();
        let rows = Array2::from_shape_vec((values.len() / dim, dim), values).expect("rows");
        let expected: Vec<u32> = rows.iter().map(|value| value.to_bits()).collect();
        let folder = folder();
        for (name, bytes) in all_containers(&rows) {
            let mut blocks = Blocks::open(&write(folder.path(), name, &bytes)).unwrap_or_else(|error| panic!("{error}"));
            prop_assert_eq!(blocks.shape(), rows.dim(), "{}", name);
            let (mut all, mut next) = (Vec::new(), Vec::new());
            while blocks.next(block, &mut next).unwrap_or_else(|error| panic!("{error}")) > 0 {
                all.extend(next.iter().map(|value| value.to_bits()));
            }
            prop_assert_eq!(&all, &expected, "{}", name);
        }
    }

    /// Damage anywhere: an error or rows that such a file can hold, and no panic.
    #[test]
    fn damage_is_an_error_or_rows(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = folder();
        let rows = Array2::from_shape_fn((12, 5), |(i, j)| i as f32 + j as f32 / 8.0);
        let files = all_containers(&rows);
        let (name, mut bytes) = files[which.index(files.len())].clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let path = write(folder.path(), name, &bytes);
        let found = format::shape(&path).and_then(|shape| format::read(&path).map(|rows| (shape, rows.dim())));
        if let Ok((shape, read)) = found {
            prop_assert_eq!(shape, read);
            prop_assert!(read.0 * read.1 <= 8 * bytes.len(), "{} values", read.0 * read.1);
        }
        let _ = format::read_labels(&path);
        let _ = format::read_ids(&path);
    }

    /// Bytes that were never a file of the format.
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), packed in any::<bool>()) {
        let folder = folder();
        let deflated = deflate(&bytes);
        for name in ["a.npz", "b.safetensors", "c.idx", "d.f16bin", "e.npy.gz", "f.csv.zst", "g.parquet.gz", "h", "i.pt"] {
            let content = match name.rsplit('.').next() {
                Some("gz") if packed => gzip(&bytes),
                Some("zst") if packed => zstd(&bytes),
                Some("npz") if packed => zip(&[("a.npy", bytes.clone(), true), ("b.npy", deflated.clone(), false)]),
                _ => bytes.clone(),
            };
            let path = write(folder.path(), name, &content);
            let _ = format::shape(&path);
            let _ = format::read(&path);
            let _ = format::read_labels(&path);
        let _ = format::read_ids(&path);
        }
    }
}
