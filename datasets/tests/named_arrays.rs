//! Files that hold arrays with a header of their own, by name or alone: `.npz`, safetensors and IDX. Values of every type, and
//! refusals of files that lie.

mod common;

use common::{bytes_of, flat_npy, folder, holds, npy, npy_of, part, reason, rows, write, zip};
use datasets::format;
use ndarray::{Array2, arr2};

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
            (
                zip(&[("a.npy", npy_of(&rows())[..100].to_vec(), false)]),
                "its arrays are #a (not readable: bad header: it ends early)",
            ),
        ] {
            let error = reason(&write(folder.path(), "x.npz", &bytes));
            assert!(
                error.contains("x.npz is not a usable npz file") && error.contains(expected),
                "{expected}: {error}"
            );
        }
    }

    #[test]
    fn an_array_that_cannot_be_read_does_not_hide_the_others() {
        let folder = folder();
        let objects = flat_npy("|O", 1, b"\x80\x04.");
        let deep = npy(&format!("{{'descr': {}1{}}}", "[".repeat(40), "]".repeat(40)), &[]);
        let all = [("names.npy", objects, true), ("deep.npy", deep, true), ("emb.npy", npy_of(&rows()), true)];
        let path = write(folder.path(), "a.npz", &zip(&all));
        holds(&path, &rows());
        holds(&part(&path, "emb"), &rows());
        let error = reason(&part(&path, "embs"));
        assert!(
            error.contains(
                "it has no array `embs`; its arrays are #emb (5×3, <f4), #names (not readable: its values have no fixed \
                 size), #deep (not readable: bad header: its brackets nest more than 8 levels deep); did you mean #emb?"
            ),
            "{error}"
        );
        let error = reason(&part(&path, "deep"));
        assert!(error.contains("bad header: its brackets nest"), "{error}");
        // Names of members go into messages without what a terminal would obey.
        let long = format!("\u{1b}[2J{}.npy", "n".repeat(9000));
        let path =
            write(folder.path(), "b.npz", &zip(&[(&long, npy_of(&rows()), true), ("x.npy", npy_of(&rows()), true)]));
        let error = reason(&path);
        assert!(error.contains("#\\u{1b}[2Jnnn") && error.len() < 400, "{error}");
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
            (one(tensor("F32", &format!("{:?}", [1; 65]), 0, 4)), "its shape has more than 64 dimensions"),
            (
                one(tensor("F32", &format!("{:?}", [1; 64]), 0, 4)),
                "this one has shape [1, 1, 1, 1, 1, 1, 1, 1] and 56 more dimensions",
            ),
        ] {
            let error = reason(&write(folder.path(), "x.safetensors", &bytes));
            assert!(error.len() < 1000, "{} bytes", error.len());
            assert!(
                error.contains("is not a usable safetensors file") && error.contains(expected),
                "{expected}: {error}"
            );
        }
    }
}

#[test]
fn a_packed_header_of_safetensors_is_bounded_by_the_bytes_of_the_file() {
    let folder = folder();
    let header = format!("{{{}}}", " ".repeat(2 << 20));
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let error = reason(&write(folder.path(), "a.safetensors", &file));
    assert!(error.contains("it holds no array"), "{error}");
    let error = reason(&write(folder.path(), "a.safetensors.gz", &common::gzip(&file)));
    assert!(error.contains("2097154 bytes; 2097154 follow, and 1048576 is the limit"), "{error}");
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
