//! Blocks of every format and of odd sizes make up what the whole file holds, and files that lie are refused by whichever
//! block finds out.

use datasets::DatasetError;
use datasets::format::{self, Blocks, OutputType};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// All rows, taken `size` at a time; sizes are used in turn.
fn in_blocks(path: &Path, sizes: &[usize]) -> Result<Vec<f32>, DatasetError> {
    let mut blocks = Blocks::open(path)?;
    let (n, dim) = blocks.shape();
    assert!(blocks.working_bytes()? < 64 << 20, "{}", path.display());
    let (mut all, mut block) = (Vec::new(), vec![f32::NAN; 7]);
    for size in sizes.iter().cycle() {
        let count = blocks.next(*size, &mut block)?;
        assert_eq!((count, block.len()), ((*size).min(n - all.len() / dim), count * dim));
        all.extend_from_slice(&block);
        if count == 0 {
            break;
        }
    }
    Ok(all)
}

fn agree(path: &Path) {
    let whole = format::read(path).unwrap_or_else(|e| panic!("{e}"));
    for sizes in [&[1][..], &[3], &[7, 1, 64], &[5000], &[100_000]] {
        let rows = in_blocks(path, sizes).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(rows, whole.as_slice().expect("row-major"), "{} by {sizes:?}", path.display());
    }
}

#[test]
fn files_of_other_tools_come_in_blocks() {
    for name in [
        "ann.hdf5#train",
        "ann.hdf5#test",
        "one.h5",
        "types.h5#more/double",
        "types.h5#more/half",
        "types.h5#more/big_endian",
        "types.h5#bytes",
        "types.h5#integers",
        "none.parquet",
        "snappy.parquet",
        "zstd.parquet",
        "gzip.parquet",
        "lz4.parquet",
        "lists.parquet#double",
        "lists.parquet#bytes",
        "lists.parquet#long",
        "lists.parquet#required",
        "pandas.parquet",
        "polars.parquet",
        "polars_lists.parquet",
        "polars_int.parquet",
        "brotli.parquet",
        "split.parquet",
        "delta.parquet",
        "unsigned.parquet",
        "columns.parquet",
        "columns.parquet#id*",
        "none.arrow",
        "lz4.arrow",
        "zstd.arrow",
        "kinds.arrow#half",
        "kinds.arrow#double",
        "kinds.arrow#uint16",
        "pandas.feather",
        "polars.ipc",
        "polars_lists.ipc",
        "columns.arrow",
        "pandas.csv",
        "pandas_lists.csv",
        "polars.csv",
        "bare.tsv",
        "pandas.jsonl",
        "polars.ndjson",
    ] {
        agree(&fixture(name));
    }
}

#[test]
fn written_files_come_in_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    // More rows than a block of any reader.
    let (n, dim) = (9001, 13);
    let values: Vec<f32> = (0..n * dim).map(|i| (i % 8191) as f32 - 17.5).collect();
    let bytes: Vec<u8> = (0..n * dim).map(|i| (i % 251) as u8).collect();
    for (name, kind) in [
        ("v.npy", OutputType::F32),
        ("v.fvecs", OutputType::F32),
        ("v.fbin", OutputType::F32),
        ("v.safetensors", OutputType::F32),
        ("v.parquet", OutputType::F32),
    ]
    .into_iter()
    .chain([("c.npy", OutputType::U8), ("c.bvecs", OutputType::U8), ("c.u8bin", OutputType::U8)])
    {
        let path = folder.path().join(name);
        let layout = format::layout(&path, kind, (n, dim)).expect("a known format");
        let mut file = layout.head.clone();
        match kind {
            OutputType::F32 => layout.write_vectors(0, &values, dim, &mut file).expect("writes"),
            OutputType::U8 => layout.write_codes(0, &bytes, dim, &mut file).expect("writes"),
        }
        std::fs::write(&path, [file, layout.tail].concat()).expect("writes");
        agree(&path);
    }
}

#[test]
fn columns_of_numpy_come_in_blocks_of_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let (n, dim) = (9001, 3);
    let path = folder.path().join("fortran.npy");
    let header = format!("{{'descr': '>i2', 'fortran_order': True, 'shape': ({n}, {dim}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend((0..dim).flat_map(|j| (0..n).flat_map(move |i| ((3 * i + j) as i16).to_be_bytes())));
    std::fs::write(&path, file).expect("writes");
    let expected: Vec<f32> = (0..n * dim).map(|i| f32::from(i as i16)).collect();
    assert_eq!(format::read(&path).expect("reads").into_raw_vec_and_offset().0, expected);
    agree(&path);
}

#[test]
fn what_is_wrong_is_found_in_its_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        path
    };
    let refused = |path: &Path, expected: &str| {
        for sizes in [&[1][..], &[4], &[1000]] {
            let error = in_blocks(path, sizes).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    };
    let rows =
        |dims: &[u32]| -> Vec<u8> { dims.iter().flat_map(|d| [d.to_le_bytes(), [0; 4], [0; 4]].concat()).collect() };
    refused(&write("mixed.fvecs", &rows(&[2, 2, 2, 2, 2, 3, 2])), "row 5 has 3 components, row 0 has 2");
    refused(&write("short.fbin", &[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), "that is 12 bytes of values; 3 follow it");
    let mut values = [0f32; 30];
    values[17] = f32::INFINITY;
    let bytes =
        [[10u32, 3].map(u32::to_le_bytes).concat(), values.iter().flat_map(|v| v.to_le_bytes()).collect()].concat();
    refused(&write("infinite.fbin", &bytes), "row 5 has the value inf in column 2, which is not finite as f32");
    refused(&write("nan.csv", b"1,2\n3,NaN\n"), "row 1 has the value NaN in column 1, which is not finite as f32");
    refused(&write("big.jsonl", b"[1,2]\n[1e99,0]\n"), "row 1 has the value inf in column 0");
    refused(&write("cut.csv", b"x,y\n1,2\n3,4\n5,6\n7,8\n9,1\n2\n"), "line 7: it has 1 fields, the first line has 2");
    for (name, expected) in [
        ("ragged.parquet", "row 2 has 1 components, row 0 has 2"),
        ("uneven.parquet", "row 2 has 1 components, row 0 has 2"),
        ("null_row.parquet", "row 1 is null, empty, or holds a null"),
        ("null_value.parquet", "row 2 is null, empty, or holds a null"),
        ("none_at_all.parquet", "0 rows"),
        ("ragged.arrow", "row 2 has 1 components, row 0 has 2"),
        ("uneven.arrow", "row 2 has 1 components, row 0 has 2"),
        ("null_row.arrow", "row 1 is null, empty, or holds a null"),
        ("null_value.arrow", "row 2 is null, empty, or holds a null"),
        ("none_at_all.arrow", "0 rows"),
        ("elsewhere.h5#sparse", "states 1000000000 rows of 1000 components"),
    ] {
        refused(&fixture(name), expected);
    }
}

#[test]
fn a_file_that_shrinks_ends_early() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("v.u8bin");
    let file = [[200_000u32, 4].map(u32::to_le_bytes).concat(), vec![1; 800_000]].concat();
    std::fs::write(&path, &file).expect("writes");
    let mut blocks = Blocks::open(&path).expect("opens");
    let mut block = Vec::new();
    assert_eq!(blocks.next(1000, &mut block).expect("is there"), 1000);
    std::fs::write(&path, &file[..400_000]).expect("writes");
    let error = blocks.next(199_000, &mut block).expect_err("is gone").to_string();
    assert!(error.contains("it ends early"), "{error}");
}

mod hostile {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Damage anywhere: an error or rows, the same by blocks as at once, and no panic.
        #[test]
        fn damage_is_an_error_or_rows(
            file in prop::sample::select(vec![
                "ann.hdf5", "one.h5", "snappy.parquet", "none.parquet", "zstd.parquet", "polars_lists.parquet", "none.arrow",
                "columns.parquet", "columns.arrow",
                "zstd.arrow", "polars_lists.ipc", "pandas.csv", "pandas_lists.csv", "polars.ndjson",
            ]),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            size in 1usize..60,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut bytes = std::fs::read(fixture(file)).expect("reads");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let path = folder.path().join(file);
            std::fs::write(&path, &bytes).expect("writes");
            let mut all = Vec::new();
            let by_blocks = Blocks::open(&path).and_then(|mut blocks| {
                let mut block = Vec::new();
                while blocks.next(size, &mut block)? > 0 {
                    all.extend_from_slice(&block);
                }
                Ok(())
            });
            match (by_blocks, format::read(&path)) {
                (Ok(()), Ok(whole)) => prop_assert_eq!(whole.as_slice(), Some(&all[..])),
                // A value that is not finite is rows to one and an error to the other.
                (Err(DatasetError::NonFinite { .. }), Ok(_)) | (Err(_), Err(_)) => {}
                // Nothing at all is an array to one and no vectors to the other.
                (Err(_), Ok(whole)) if whole.is_empty() => {}
                (found, whole) => prop_assert!(false, "{found:?} by blocks, {:?} at once", whole.map(drop)),
            }
        }
    }
}
