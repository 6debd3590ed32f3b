//! Files that hold arrays by name, or other files packed: the same values as the array alone, and refusals of files that lie.

mod common;

use common::{bytes_of, deflate, gzip, npy, npy_of, reason, write, zip, zstd};
use datasets::format::{self, Blocks};
use ndarray::{Array2, arr2};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn rows() -> Array2<f32> {
    Array2::from_shape_fn((5, 3), |(i, j)| i as f32 + j as f32 / 8.0)
}

fn holds(path: &Path, expected: &Array2<f32>) {
    assert_eq!(format::shape(path).unwrap_or_else(|e| panic!("{e}")), expected.dim(), "{}", path.display());
    assert_eq!(format::read(path).unwrap_or_else(|e| panic!("{e}")), expected, "{}", path.display());
}

fn part(path: &Path, name: &str) -> PathBuf {
    PathBuf::from(format!("{}#{name}", path.display()))
}

/// A one-dimensional `.npy` of a type.
fn flat_npy(descr: &str, n: usize, values: &[u8]) -> Vec<u8> {
    npy(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({n},), }}\n"), values)
}

mod npz {
    use super::*;

    #[test]
    fn arrays_are_read_by_name_stored_and_deflated() {
        let folder = folder();
        let labels = flat_npy("<i8", 5, &[3i64, 0, 7, 7, 1 << 31].map(i64::to_le_bytes).concat());
        // Numbers of more than 2^24 keep all digits.
        for deflated in [false, true] {
            let members = [("emb.npy", npy_of(&rows()), deflated), ("y.npy", labels.clone(), deflated)];
            let path = write(folder.path(), "a.npz", &zip(&members));
            holds(&path, &rows());
            holds(&part(&path, "emb"), &rows());
            assert_eq!(format::read_labels(&part(&path, "y")).expect("labels"), [3, 0, 7, 7, 1 << 31]);
            let error = format::read_labels(&path).expect_err("rows").to_string();
            assert!(error.contains("labels need a one-dimensional array, this one has shape [5, 3]"), "{error}");
            assert!(reason(&part(&path, "y")).contains("vectors need a two-dimensional array, this one has shape [5]"));
            let error = reason(&part(&path, "em"));
            assert!(
                error.contains("no array `em`; its arrays are #emb (5×3, <f4), #y (5, <i8); did you mean #emb?"),
                "{error}"
            );
            let two = [("a.npy", npy_of(&rows()), deflated), ("b.npy", npy_of(&rows()), deflated)];
            let error = reason(&write(folder.path(), "two.npz", &zip(&two)));
            assert!(error.contains("#a (5×3, <f4), #b (5×3, <f4); write one of them after its name"), "{error}");
        }
        let only = write(folder.path(), "y.npz", &zip(&[("y.npy", labels, true)]));
        assert_eq!(format::read_labels(&only).expect("labels"), [3, 0, 7, 7, 1 << 31]);
        let text = write(folder.path(), "text.npz", &zip(&[("readme.txt", b"no array".to_vec(), false)]));
        assert!(reason(&text).contains("it holds no array"));
    }

    /// A file whose one member and table are described by numbers of 64 bits, as beyond 4 GiB.
    #[test]
    fn wide_numbers_are_read() {
        let folder = folder();
        let array = npy_of(&rows());
        let narrow = zip(&[("emb.npy", array.clone(), false)]);
        let at = narrow.len() - 22 - (46 + 7);
        let (member, table) = narrow.split_at(at);
        let mut entry = table[..46 + 7].to_vec();
        for field in [20, 24, 42] {
            entry[field..field + 4].copy_from_slice(&[255; 4]);
        }
        // An extra field of another kind before that of wide numbers: both lengths, and the position.
        let wide = [array.len() as u64, array.len() as u64, 0].map(u64::to_le_bytes).concat();
        let extra = [&[9, 9, 2, 0, 7, 7, 1, 0, 24, 0], &wide[..]].concat();
        entry[30..32].copy_from_slice(&(extra.len() as u16).to_le_bytes());
        entry.extend(extra);
        let end = [1, 1, entry.len() as u64, at as u64].map(u64::to_le_bytes).concat();
        let end = [&b"PK\x06\x06"[..], &44u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8], &end].concat();
        let place = ((at + entry.len()) as u64).to_le_bytes();
        let pointer = [&b"PK\x06\x07"[..], &[0; 4], &place, &1u32.to_le_bytes()].concat();
        let last = [&b"PK\x05\x06"[..], &[0; 4], &[255; 12], &[0; 2]].concat();
        let file = [member, &entry, &end, &pointer, &last].concat();
        holds(&write(folder.path(), "wide.npz", &file), &rows());
        // The numbers, the place of the end, and the end of the extra field.
        for (at, bytes, expected) in [
            (at + 53 + 10, u64::MAX, "`emb.npy` should hold"),
            (at + 53 + 10 + 8, u64::MAX, "`emb.npy` should be"),
            (at + 53 + 10 + 16, u64::MAX, "`emb.npy` should be"),
            (file.len() - 22 - 20 + 8, u64::MAX, "it ends early"),
            (file.len() - 22 - 20 + 8, 4, "byte 4 should begin the end of its table of contents"),
            (file.len() - 22 - 20 - 8, u64::MAX, "its table of contents should be"),
        ] {
            let mut file = file.clone();
            file[at..at + 8].copy_from_slice(&bytes.to_le_bytes());
            let error = reason(&write(folder.path(), "lie.npz", &file));
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn columns_of_fortran_are_rows_too() {
        let folder = folder();
        let expected = Array2::from_shape_fn((9001, 3), |(i, j)| (3 * i + j) as f32);
        let values: Vec<u8> = expected.t().iter().flat_map(|v| v.to_le_bytes()).collect();
        let array = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (9001, 3), }\n", &values);
        for deflated in [false, true] {
            holds(&write(folder.path(), "f.npz", &zip(&[("f.npy", array.clone(), deflated)])), &expected);
        }
    }

    #[test]
    fn files_that_lie_are_refused_with_a_reason() {
        let folder = folder();
        let good = zip(&[("emb.npy", npy_of(&rows()), true)]);
        let stored = zip(&[("emb.npy", npy_of(&rows()), false)]);
        // Positions of the table and of the numbers of its one entry.
        let table = good.len() - 22 - (46 + 7);
        let with = |at: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            file
        };
        let last_of_values = stored.len() - 22 - (46 + 7) - 1;
        let mut damaged = stored.clone();
        damaged[last_of_values] ^= 1;
        for (bytes, expected) in [
            (vec![], "it does not end with the table of contents of a zip file; it may be cut off"),
            (good[..good.len() - 1].to_vec(), "it may be cut off"),
            ([&good[..], b"more"].concat(), "it may be cut off"),
            (
                with(good.len() - 6, &u32::MAX.to_le_bytes()),
                "its table of contents should be 53 bytes from byte 4294967295",
            ),
            (with(good.len() - 10, &[0, 0, 0, 2]), "its table of contents should be 33554432 bytes"),
            (with(good.len() - 12, &[2, 0]), "its table of contents has 1 entries where it states 2"),
            (with(table, b"PK\x01\x03"), "should begin an entry of its table of contents"),
            (with(table + 28, &[255, 255]), "should begin an entry of its table of contents"),
            (with(table + 8, &[1, 0]), "`emb.npy` is encrypted"),
            (with(table + 10, &[14, 0]), "`emb.npy` is compressed by method 14 of zip; write it with numpy.savez"),
            (with(table + 16, &[0; 4]), "its values do not have the checksum that it states"),
            (with(table + 20, &[255, 255, 255, 0]), "`emb.npy` should be 16777215 bytes after byte 0"),
            (with(table + 24, &[255, 255, 255, 127]), "`emb.npy` should hold 2147483647 bytes; its"),
            (with(table + 24, &u32::MAX.to_le_bytes()), "lacks its wide numbers"),
            (with(table + 42, &[9]), "byte 9 should begin `emb.npy`"),
            (with(table + 42, &[255, 255, 255, 127]), "`emb.npy` should be"),
            (with(0, b"PK\x03\x03"), "byte 0 should begin `emb.npy`"),
            (damaged, "its values do not have the checksum that it states"),
            (zip(&[("a.npy", npy_of(&rows())[..100].to_vec(), false)]), "in `a`: bad header"),
        ] {
            let error = reason(&write(folder.path(), "x.npz", &bytes));
            assert!(
                error.contains("x.npz is not a usable npz file") && error.contains(expected),
                "{expected}: {error}"
            );
        }
    }

    #[test]
    fn a_bomb_takes_no_more_than_it_is_allowed() {
        let folder = folder();
        // The claim of the array is checked against the claim of the zip file, which is checked against its bytes.
        let array = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }\n", &[0; 1000]);
        let path = write(folder.path(), "bomb.npz", &zip(&[("emb.npy", array, true)]));
        assert!(reason(&path).contains("states 4000000000000 bytes of values, 1000 follow"), "{}", reason(&path));
    }
}

mod safetensors {
    use super::*;

    fn file(header: &str, values: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat()
    }

    fn tensor(dtype: &str, shape: &str, from: usize, to: usize) -> String {
        format!("{{\"dtype\": \"{dtype}\", \"shape\": {shape}, \"data_offsets\": [{from}, {to}]}}")
    }

    #[test]
    fn numbers_of_every_kind_become_f32() {
        let folder = folder();
        let read = |dtype: &str, values: &[u8]| {
            let header =
                format!("{{\"__metadata__\": {{\"a\": \"b\"}}, \"v\": {}}}", tensor(dtype, "[2, 2]", 0, values.len()));
            format::read(&write(folder.path(), "v.safetensors", &file(&header, values)))
                .unwrap_or_else(|e| panic!("{e}"))
        };
        let expected = arr2(&[[1.0, 2.0], [3.0, 100.0]]);
        macro_rules! same {
            ($dtype:literal, $type:ty) => {
                assert_eq!(
                    read($dtype, &[1u8, 2, 3, 100].map(<$type>::from).map(<$type>::to_le_bytes).concat()),
                    expected
                );
            };
        }
        same!("F32", f32);
        same!("F64", f64);
        same!("U8", u8);
        same!("I16", i16);
        same!("U16", u16);
        same!("I32", i32);
        same!("U32", u32);
        same!("I64", i64);
        same!("U64", u64);
        assert_eq!(read("I8", &[1, 2, 3, 156]), arr2(&[[1.0, 2.0], [3.0, -100.0]]));
        assert_eq!(read("F16", &[0, 0x3c, 0, 0x40, 0, 0x42, 0x40, 0x56]), expected);
        assert_eq!(read("BF16", &[0x80, 0x3f, 0, 0x40, 0x40, 0x40, 0xc8, 0x42]), expected);
    }

    #[test]
    fn tensors_are_read_by_name() {
        let folder = folder();
        let values = bytes_of(&rows());
        let header = format!(
            "{{\"emb\":{},\"y\":{},\"odd\":{}}}",
            tensor("F32", "[5, 3]", 0, 60),
            tensor("I64", "[2]", 60, 76),
            tensor("F8_E5M2", "[2]", 76, 78)
        );
        let all = [&values[..], &[9i64, 1 << 31].map(i64::to_le_bytes).concat(), &[0, 0]].concat();
        let path = write(folder.path(), "a.safetensors", &file(&header, &all));
        holds(&path, &rows());
        holds(&part(&path, "emb"), &rows());
        assert_eq!(format::read_labels(&part(&path, "y")).expect("labels"), [9, 1 << 31]);
        assert!(reason(&part(&path, "odd")).contains("values of type F8_E5M2 cannot be vectors"));
        assert!(reason(&part(&path, "y")).contains("two-dimensional tensor, this one has shape [2]"));
        let error = reason(&part(&path, "z"));
        assert!(error.contains("its arrays are #emb (5×3, F32), #y (2, I64), #odd (2, F8_E5M2)"), "{error}");
        let error = format::read_labels(&path).expect_err("rows").to_string();
        assert!(error.contains("labels need a one-dimensional tensor, this one has shape [5, 3]"), "{error}");
    }

    #[test]
    fn files_that_lie_are_refused_with_a_reason() {
        let folder = folder();
        let one = |entry: String| file(&format!("{{\"v\": {entry}}}"), &[0; 16]);
        for (bytes, expected) in [
            (vec![], "it ends early"),
            (vec![8, 0, 0], "it ends early"),
            (file("", &[0; 16])[..8].to_vec(), "its header is malformed: EOF"),
            (
                [&[255; 8][..], b"{}"].concat(),
                "the length of its header, 18446744073709551615 bytes; 2 follow, and 100000000",
            ),
            (file("[]", &[]), "expected an object with an entry for each tensor"),
            (file("{}", &[0; 16]), "it holds no array"),
            (file("{\"v\": 3}", &[0; 16]), "in `v`: invalid type"),
            (one(tensor("F32", "[2, -2]", 0, 16)), "in `v`: invalid value: integer `-2`"),
            (one(tensor("F32", "[2, 2]", 0, 15)), "`v` of shape [2, 2] and type F32 needs 16 bytes; it has 15"),
            (one(tensor("F32", "[2, 2]", 1, 17)), "`v` should be the bytes 1 to 17 of the 16 after its header"),
            (one(tensor("F32", "[2, 2]", 16, 0)), "`v` should be the bytes 16 to 0 of the 16"),
            (one(tensor("F32", "[4294967296, 4294967296]", 0, 16)), "needs more than 2^64 bytes; it has 16"),
            (one(tensor("F32", "[1000000000000, 384]", 0, 16)), "needs 1536000000000000 bytes; it has 16"),
            (one(tensor("BOOL", "[4, 4]", 0, 16)), "values of type BOOL cannot be vectors"),
            (one(tensor("F32", "[0, 4]", 0, 0)), "0 rows of 4"),
        ] {
            let error = reason(&write(folder.path(), "x.safetensors", &bytes));
            assert!(
                error.contains("is not a usable safetensors file") && error.contains(expected),
                "{expected}: {error}"
            );
        }
    }
}

mod idx {
    use super::*;

    fn file(code: u8, shape: &[u32], values: &[u8]) -> Vec<u8> {
        let dimensions: Vec<u8> = shape.iter().flat_map(|size| size.to_be_bytes()).collect();
        [&[0, 0, code, shape.len() as u8], &dimensions[..], values].concat()
    }

    #[test]
    fn pictures_are_rows_and_one_dimension_is_labels() {
        let folder = folder();
        let pixels: Vec<u8> = (0..24).collect();
        let expected = Array2::from_shape_fn((2, 12), |(i, j)| (12 * i + j) as f32);
        for name in ["train-images-idx3-ubyte", "train-images.idx3-ubyte", "a.idx", "by-content"] {
            holds(&write(folder.path(), name, &file(8, &[2, 3, 4], &pixels)), &expected);
        }
        let labels = write(folder.path(), "t10k-labels-idx1-ubyte", &file(8, &[4], &[7, 2, 1, 255]));
        assert_eq!(format::read_labels(&labels).expect("labels"), [7, 2, 1, 255]);
        assert!(reason(&labels).contains("vectors need two dimensions or more, this file has shape [4]"));
        let wide = write(folder.path(), "wide.idx", &file(12, &[2], &[-1i32, 5].map(i32::to_be_bytes).concat()));
        let error = format::read_labels(&wide).expect_err("negative").to_string();
        assert!(error.contains("label -1 of row 0 is not between 0 and 2^32"), "{error}");
        for (code, values) in [
            (0x09, vec![255, 2]),
            (0x0b, [-1i16, 2].map(i16::to_be_bytes).concat()),
            (0x0c, [-1i32, 2].map(i32::to_be_bytes).concat()),
            (0x0d, [-1f32, 2.0].map(f32::to_be_bytes).concat()),
            (0x0e, [-1f64, 2.0].map(f64::to_be_bytes).concat()),
        ] {
            holds(&write(folder.path(), "k.idx", &file(code, &[2, 1], &values)), &arr2(&[[-1.0], [2.0]]));
        }
    }

    #[test]
    fn files_that_lie_are_refused_with_a_reason() {
        let folder = folder();
        for (bytes, expected) in [
            (vec![], "it ends early"),
            (vec![1, 0, 8, 1], "it should begin with two zero bytes, not with 1 and 0"),
            (file(7, &[2, 2], &[0; 4]), "byte 2 is 0x07, which is no type of IDX"),
            (vec![0, 0, 8, 3, 0, 0], "it ends early"),
            (file(8, &[2, 2], &[0; 3]), "states the shape [2, 2], that is 4 bytes of values; 3 follow it"),
            (file(8, &[2, 2], &[0; 5]), "that is 4 bytes of values; 5 follow it"),
            (file(13, &[u32::MAX; 3], &[0; 4]), "that is more than 2^64 bytes of values; 4 follow it"),
            (file(8, &[0, u32::MAX, u32::MAX, u32::MAX], &[]), "states the shape"),
            (file(8, &[0, 4], &[]), "0 rows of 4"),
        ] {
            let error = reason(&write(folder.path(), "x.idx", &bytes));
            assert!(
                error.contains("x.idx is not a usable idx file") && error.contains(expected),
                "{expected}: {error}"
            );
        }
    }
}

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
fn the_same_vectors_in_two_containers_are_two_datasets_with_the_same_rows() {
    let folder = folder();
    let rows = Array2::from_shape_fn((40, 3), |(i, j)| (i * 3 + j + 1) as f32);
    let mut fingerprints = Vec::new();
    for (name, bytes) in all_containers(&rows) {
        write(folder.path(), name, &bytes);
        let source: datasets::FileSource = toml::from_str(&format!("path = \"{name}\"")).expect("a source");
        let resolved = datasets::Source::File(source).resolve(folder.path(), &datasets::SearchPath::default());
        let resolved = resolved.unwrap_or_else(|error| panic!("{error}"));
        let data = resolved.load().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((data.train.nrows(), data.base.nrows() + data.queries.nrows()), (18, 22), "{name}");
        fingerprints.push(resolved.summary.fingerprint);
    }
    fingerprints.sort();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), all_containers(&rows).len(), "of the files, not of the rows in them");
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
        }
    }
}
