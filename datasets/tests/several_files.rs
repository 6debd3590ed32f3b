//! Several files as one array, and files that are the same: columns in one order, empty files, names without a known
//! extension, arrays that cannot be read in blocks, and parts of a dataset that must be disjoint.

mod common;

use common::{folder, gzip, holds, npy, npy_of, part, reason, rows, write, zip, zstd};
use datasets::format::{self, Blocks};
use datasets::{FileSource, SearchPath, Source};
use ndarray::{Array2, Axis, arr2, concatenate};
use std::path::Path;

#[test]
fn columns_of_all_files_must_be_in_one_order() {
    let folder = folder();
    for (name, content) in [("a-1.csv", "e0,e1,e2\n1,2,3\n"), ("a-2.csv", "e2,e1,e0\n6,5,4\n")] {
        write(folder.path(), name, content.as_bytes());
    }
    let path = folder.path().join("a-*.csv");
    for path in [path.clone(), part(&path, "e*")] {
        let error = reason(&path);
        let expected = "a-2.csv is not a usable CSV file: its component 0 is the column `e2`, that of ";
        assert!(error.contains(expected) && error.ends_with("a-1.csv is `e0`"), "{error}");
    }
    write(folder.path(), "a-2.csv", b"id,e0,e1,e2\nx,4,5,6\n");
    holds(&part(&path, "e*"), &arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));
    // The pieces of a divided file, of which only the first has names.
    write(folder.path(), "a-2.csv", b"4,5,6\n");
    holds(&path, &arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]));

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["columns.parquet", "columns.arrow"] {
        let (path, bytes) = (fixtures.join(name), std::fs::read(fixtures.join(name)).expect(name));
        let extension = path.extension().and_then(|e| e.to_str()).expect("an extension");
        write(folder.path(), &format!("b-1.{extension}"), &bytes);
        write(folder.path(), &format!("b-2.{extension}"), &bytes);
        let once = format::read(&path).expect(name);
        holds(&folder.path().join(format!("b-*.{extension}")), &concatenate![Axis(0), once, once]);
        // The same table with two names of columns exchanged, wherever they stand.
        let mut other = bytes.clone();
        for (at, pair) in bytes.windows(2).enumerate() {
            match pair {
                [b'e', b'0'] => other[at + 1] = b'1',
                [b'e', b'1'] => other[at + 1] = b'0',
                _ => {}
            }
        }
        write(folder.path(), &format!("b-2.{extension}"), &other);
        let error = reason(&folder.path().join(format!("b-*.{extension}")));
        assert!(error.contains("its component 0 is the column `e1`, that of"), "{error}");
    }
}

#[test]
fn files_without_rows_are_left_out() {
    let folder = folder();
    let none = |dim: usize| npy_of(&Array2::zeros((0, dim)));
    write(folder.path(), "a-1.npy", &none(7));
    write(folder.path(), "a-2.npy", &npy_of(&rows()));
    write(folder.path(), "a-3.npy", &none(3));
    let path = folder.path().join("a-*.npy");
    holds(&path, &rows());
    let mut blocks = Blocks::open(&path).expect("opens");
    let mut block = Vec::new();
    assert_eq!((blocks.next(4, &mut block).expect("reads"), blocks.next(4, &mut block).expect("reads")), (4, 1));
    let error = reason(&folder.path().join("a-1*.npy"));
    assert!(error.contains("it holds 0 rows"), "{error}");
}

#[test]
fn the_memory_of_unpacking_counts_for_several_files_too() {
    let folder = folder();
    let path = write(folder.path(), "a-1.npy.gz", &gzip(&npy_of(&rows())));
    let bytes = |path: &Path| Blocks::open(path).and_then(|mut blocks| blocks.working_bytes()).expect("reads");
    assert_eq!(bytes(&folder.path().join("a-*.npy.gz")), bytes(&path));
    write(folder.path(), "a-2.npy.zst", &zstd(&npy_of(&rows())));
    assert!(bytes(&folder.path().join("a-*.npy.*")) > 8 << 20, "a window of Zstandard");
}

fn resolve(folder: &Path, text: &str) -> Result<datasets::Resolved, String> {
    let source: FileSource = toml::from_str(text).expect("a source");
    Source::File(source).resolve(folder, &SearchPath::default()).map_err(|error| error.to_string())
}

#[test]
fn parts_with_the_same_rows_are_refused_however_they_are_named() {
    let folder = folder();
    let many = |from: usize| Array2::from_shape_fn((40, 3), |(i, j)| ((from + i) * 3 + j + 1) as f32);
    write(folder.path(), "part-0.npy", &npy_of(&many(0)));
    write(folder.path(), "part-1.npy", &npy_of(&many(40)));
    write(folder.path(), "other-1.npy", &npy_of(&many(80)));
    write(folder.path(), "copy.npy", &npy_of(&many(40)));
    let lines: String = (0..40).map(|i| format!("{i},{},{}\n", i + 1, i * i)).collect();
    write(folder.path(), "a.csv", format!("x0,x1,x2\n{lines}").as_bytes());
    write(folder.path(), "bare.csv", lines.as_bytes());
    write(folder.path(), "two.csv", format!("x0,x1,y0,y1\n{}", "1,2,3,4\n2,3,4,5\n".repeat(20)).as_bytes());
    for (path, queries, same) in [
        ("part-*.npy", "part-0.npy", true),
        ("part-*.npy", "copy.npy", true),
        ("part-0.npy", "part-*.npy", true),
        ("part-*.npy", "part-?.npy", true),
        ("part-*.npy", "*-1.npy", true),
        ("part-*.npy", "other-1.npy", false),
        ("a.csv", "a.csv#*", true),
        ("a.csv", "a.csv#x*", true),
        ("bare.csv", "bare.csv#*", true),
        ("two.csv#x*", "two.csv#y*", false),
    ] {
        let found = resolve(folder.path(), &format!("path = '{path}'\nqueries = '{queries}'"));
        match found {
            Ok(_) => assert!(!same, "{path} and {queries}"),
            Err(error) => {
                assert!(same && error.contains("two of its files are the same"), "{path}, {queries}: {error}")
            }
        }
    }
    // Two empty files are the same bytes and no rows.
    write(folder.path(), "part-2.npy", &npy_of(&Array2::zeros((0, 3))));
    write(folder.path(), "other-2.npy", &npy_of(&Array2::zeros((0, 3))));
    resolve(folder.path(), "path = 'part-*.npy'\nqueries = 'other-*.npy'").expect("disjoint");
}

#[test]
fn a_file_known_by_its_content_may_be_followed_by_the_name_of_an_array() {
    let folder = folder();
    let two = [("x.npy", npy_of(&rows()), true), ("y.npy", npy_of(&(rows() + 1.0)), true)];
    let path = write(folder.path(), "model.bin", &zip(&two));
    holds(&part(&path, "y"), &(rows() + 1.0));
    assert_eq!(
        resolve(folder.path(), "path = 'model.bin#y'\nsplit = { train = 2, base = 2, queries = 1 }")
            .map(|r| r.summary.name),
        Ok("model".into())
    );
    // A file of the whole name comes first.
    holds(&write(folder.path(), "model.bin#x", &npy_of(&(rows() + 2.0))), &(rows() + 2.0));
    let error = reason(&part(&path, "z"));
    assert!(error.contains("it has no array `z`; its arrays are #x"), "{error}");
}

#[test]
fn a_missing_file_is_missing_whatever_its_name() {
    let folder = folder();
    for name in ["absent", "absent.bin", "absent.npy", "absent.bin#x"] {
        let error = format::read(&folder.path().join(name)).expect_err("missing");
        assert!(error.is_missing(), "{error}");
        assert!(error.to_string().starts_with("cannot read "), "{error}");
    }
}

#[test]
fn packed_columns_of_numpy_are_read_in_one_pass_or_refused() {
    let folder = folder();
    let fortran = |n: usize, dim: usize, values: &[u8]| {
        npy(&format!("{{'descr': '|u1', 'fortran_order': True, 'shape': ({n}, {dim}), }}\n"), values)
    };
    // One value more than are held.
    let (n, dim) = (1 << 22, 5);
    let values: Vec<u8> = (0..n * dim).map(|i| (i * 31 % 251 + i / n) as u8).collect();
    let array = fortran(n, dim, &values);
    for (name, bytes) in [("f.npy.gz", gzip(&array)), ("f.npz", zip(&[("x.npy", array.clone(), true)]))] {
        let path = write(folder.path(), name, &bytes);
        let mut blocks = Blocks::open(&path).expect("opens");
        let mut block = Vec::new();
        for error in [
            blocks.working_bytes().expect_err("too large"),
            blocks.next(1000, &mut block).map(drop).expect_err("too large"),
        ] {
            let expected =
                "its 4194304 rows of 5 components are packed in Fortran order, which cannot be read in blocks; save it";
            assert!(error.to_string().contains(expected), "{error}");
        }
        // All of it takes one pass.
        let rows = format::read(&path).expect("reads");
        assert_eq!(rows[(n - 1, 4)], f32::from(values[n * dim - 1]));
    }
    let path = write(folder.path(), "plain.npy", &array);
    assert_eq!(Blocks::open(&path).expect("opens").next(1000, &mut Vec::new()).expect("reads"), 1000);
}

#[test]
fn rows_without_components_take_no_time() {
    let folder = folder();
    for order in ["True", "False"] {
        let header = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': (4611686018427387904, 0), }}\n");
        for (name, bytes) in [("a.npy", npy(&header, &[])), ("a.npy.gz", gzip(&npy(&header, &[])))] {
            let path = write(folder.path(), name, &bytes);
            assert_eq!(format::read(&path).map(|rows| rows.len()).unwrap_or(0), 0);
            assert!(reason(&path).contains("4611686018427387904 rows of 0 components"), "{}", reason(&path));
        }
    }
}
