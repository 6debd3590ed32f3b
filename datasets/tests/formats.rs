//! Files that other tools wrote, read value by value: fixtures of h5py and pyarrow (`fixtures/make.py`), and the real sets
//! of the catalog where `VQBENCH_DATA` names a folder that has them.

use datasets::{DatasetError, MetricSpace, Resolved, SearchPath, Source, Unused, catalog, format};
use ndarray::{Array2, s};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What `make.py` wrote.
fn rows(n: usize, dim: usize, offset: f32) -> Array2<f32> {
    Array2::from_shape_fn((n, dim), |(i, j)| i as f32 + j as f32 / 8.0 + offset)
}

fn holds(name: &str, expected: &Array2<f32>) {
    assert_eq!(format::shape(&fixture(name)).expect(name), expected.dim(), "{name}");
    assert_eq!(format::read(&fixture(name)).expect(name), expected, "{name}");
}

fn refused(name: &str, expected: &str) {
    let path = fixture(name);
    let reason = format::shape(&path).and_then(|_| format::read(&path).map(drop)).expect_err(name).to_string();
    assert!(reason.contains(expected), "{name}: {reason}");
}

#[test]
fn hdf5_arrays_are_read_by_name_and_by_default() {
    holds("ann.hdf5", &rows(50, 6, 0.0));
    holds("ann.hdf5#train", &rows(50, 6, 0.0));
    holds("ann.hdf5#test", &rows(7, 6, 100.0));
    holds("ann.hdf5#/neighbors", &Array2::zeros((7, 3)));
    holds("one.h5", &rows(5, 3, 0.0));
    refused(
        "ann.hdf5#tests",
        "it has no dataset `tests`; its two-dimensional datasets are #distances (7×3), #neighbors",
    );
    refused("types.h5", "its two-dimensional datasets are #bytes (3×4), #integers (3×4), #more/big_endian (9×4)");
    refused("types.h5#flat", "`flat` has shape [4]; its two-dimensional datasets are");
    refused("types.h5#more", "it has no dataset `more`");
}

#[test]
fn hdf5_numbers_of_every_kind_become_f32() {
    for name in ["types.h5#more/double", "types.h5#more/half", "types.h5#more/big_endian"] {
        holds(name, &rows(9, 4, 0.0));
    }
    let counted = Array2::from_shape_fn((3, 4), |(i, j)| (4 * i + j) as f32);
    holds("types.h5#bytes", &counted);
    holds("types.h5#integers", &-counted);
    holds("types.h5#wide", &Array2::from_elem((2, 2), 2f32.powi(63)));
    refused("types.h5#text", "cannot be vectors; use float16, float32, float64 or integers");
}

#[test]
fn hdf5_links_are_not_followed_and_empty_promises_not_believed() {
    refused("elsewhere.h5#linked", "it has no dataset `linked`");
    refused("elsewhere.h5#external", "lie in another file");
    refused("elsewhere.h5#virtual", "lie in another file");
    refused("elsewhere.h5#sparse", "states 1000000000 rows of 1000 components");
    refused("elsewhere.h5#sparse_plain", "states 1000000 rows of 1000 components");
}

#[test]
fn parquet_lists_are_read_in_every_compression() {
    for codec in ["none", "snappy", "zstd", "gzip", "lz4"] {
        holds(&format!("{codec}.parquet"), &rows(50, 6, 0.0));
        holds(&format!("{codec}.parquet#embedding"), &rows(50, 6, 0.0));
    }
    refused("zstd.parquet#word", "its column `word` is BYTE_ARRAY; its columns of lists of numbers are #embedding");
    refused("zstd.parquet#embeddings", "it has no column `embeddings`; its columns of lists of numbers are #embedding");
}

#[test]
fn parquet_numbers_of_every_kind_become_f32() {
    let counted = Array2::from_shape_fn((9, 4), |(i, j)| (4 * i + j) as f32);
    holds("lists.parquet#double", &rows(9, 4, 0.0));
    holds("lists.parquet#required", &rows(9, 4, 0.0));
    holds("lists.parquet#bytes", &counted);
    holds("lists.parquet#long", &counted);
    holds("half.parquet", &rows(9, 4, 0.0));
    refused("lists.parquet", "lists of numbers are #double, #bytes, #long, #required; write one of them");
    refused("lists.parquet#number", "its column `number` is INT64");
    refused("lists.parquet#texts", "its column `texts` is list of BYTE_ARRAY");
    refused(
        "plain.parquet",
        "no column of lists of float16, float, double or integers; its columns are x (DOUBLE), y (DOUBLE)",
    );
}

#[test]
fn parquet_rows_that_are_not_alike_are_named() {
    refused("ragged.parquet", "row 2 has 1 components, row 0 has 2");
    refused("uneven.parquet", "row 2 has 1 components, row 0 has 2");
    refused("null_row.parquet", "row 1 is null, empty, or holds a null");
    refused("null_value.parquet", "row 2 is null, empty, or holds a null");
    refused("empty_row.parquet", "row 1 is null, empty, or holds a null");
    refused("none_at_all.parquet", "0 rows");
}

#[test]
fn parquet_of_other_tools_is_read_in_every_encoding() {
    for name in ["pandas", "polars", "polars_lists", "brotli", "split"] {
        holds(&format!("{name}.parquet"), &rows(50, 6, 0.0));
    }
    let counted = Array2::from_shape_fn((50, 6), |(i, j)| (6 * i + j) as f32);
    holds("delta.parquet", &counted);
    holds("unsigned.parquet", &counted);
    holds("polars_int.parquet", &Array2::from_shape_fn((50, 6), |(i, _)| i as f32));
    refused("pandas.parquet#embeding", "lists of numbers are #embedding; did you mean #embedding?");
}

#[test]
fn columns_of_numbers_are_components() {
    for name in ["columns.parquet", "columns.arrow"] {
        let expected = rows(50, 6, 0.0);
        // The columns whose names differ in a number, and those that begin like it.
        holds(name, &expected);
        holds(&format!("{name}#e*"), &expected);
        holds(&format!("{name}#e3*"), &expected.slice(s![.., 3..4]).to_owned());
        holds(&format!("{name}#id*"), &Array2::from_shape_fn((50, 1), |(i, _)| i as f32));
        let counted = Array2::from_shape_fn((50, 7), |(i, j)| if j == 0 { i as f32 } else { expected[(i, j - 1)] });
        holds(&format!("{name}#*"), &counted);
        assert_eq!(format::read_labels(&fixture(&format!("{name}#id*"))).expect("labels")[49], 49, "{name}");
        refused(
            &format!("{name}#x*"),
            "it has no column of numbers whose name begins with `x`; it has no column of lists",
        );
        refused(&format!("{name}#e*#"), "it has no column `e*#`");
        let error = format::read_labels(&fixture(name)).expect_err("six of them").to_string();
        assert!(error.contains("labels need one number per row; its 50 rows have 6"), "{error}");
    }
    holds("plain.parquet#*", &ndarray::arr2(&[[1.0, 1.0], [2.0, 2.0]]));
    holds("polars.csv#x*", &rows(50, 6, 0.0));
    holds("polars.csv#x5*", &rows(50, 6, 0.0).slice(s![.., 5..]).to_owned());
    refused("polars.csv#word*", "it has no column of numbers whose name begins with `word`");
    for name in ["null_column.parquet", "null_column.arrow"] {
        refused(name, "in its column `e1`: row 1 is null, empty, or holds a null");
    }
    refused(
        "plain.parquet",
        "if components are columns of numbers, write what the names of these begin with, and `*`: `#x*`",
    );
}

#[test]
fn arrow_lists_are_read_in_every_compression() {
    for name in ["none.arrow", "lz4.arrow", "zstd.arrow", "pandas.feather", "polars.ipc", "polars_lists.ipc"] {
        holds(name, &rows(50, 6, 0.0));
        holds(&format!("{name}#embedding"), &rows(50, 6, 0.0));
    }
    refused(
        "none.arrow#word",
        "its column `word` is dictionary of Utf8; its columns of lists of numbers are #embedding",
    );
    refused("polars.ipc#word", "its column `word` is Utf8; its columns of lists of numbers are #embedding");
    refused("none.arrow#nested", "its column `nested` is struct");
    refused(
        "none.arrow#embeding",
        "it has no column `embeding`; its columns of lists of numbers are #embedding; did you mean",
    );
}

#[test]
fn arrow_numbers_of_every_kind_become_f32() {
    for name in ["half", "half_fixed", "double", "single"] {
        holds(&format!("kinds.arrow#{name}"), &rows(9, 4, 0.0));
    }
    let counted = Array2::from_shape_fn((9, 4), |(i, j)| (4 * i + j) as f32);
    for bits in [8, 16, 32, 64] {
        holds(&format!("kinds.arrow#int{bits}"), &counted);
        holds(&format!("kinds.arrow#uint{bits}"), &counted);
    }
    refused("kinds.arrow", "lists of numbers are #half, #half_fixed, #double, #single, #int8");
    refused("kinds.arrow#number", "its column `number` is Int64");
    refused("kinds.arrow#texts", "its column `texts` is list of Utf8");
}

#[test]
fn arrow_rows_that_are_not_alike_are_named() {
    refused("ragged.arrow", "row 2 has 1 components, row 0 has 2");
    refused("uneven.arrow", "row 2 has 1 components, row 0 has 2");
    refused("null_row.arrow", "row 1 is null, empty, or holds a null");
    refused("null_fixed.arrow", "row 1 is null, empty, or holds a null");
    refused("null_value.arrow", "row 2 is null, empty, or holds a null");
    refused("empty_row.arrow", "row 1 is null, empty, or holds a null");
    refused("none_at_all.arrow", "0 rows");
    refused("stream.arrow", "it is an Arrow stream");
    refused("first.feather", "it is of the first version of Feather");
}

#[test]
fn text_of_other_tools_is_read() {
    for name in [
        "pandas.csv",
        "pandas_no_index.csv",
        "pandas_lists.csv",
        "pandas_lists.csv#embedding",
        "polars.csv",
        "bare.tsv",
        "pandas.jsonl",
        "pandas.jsonl#embedding",
        "polars.ndjson",
    ] {
        holds(name, &rows(50, 6, 0.0));
    }
    refused("pandas_lists.csv#word", "its column `word` is text; its columns of lists of numbers are #embedding");
    refused("pandas.jsonl#word", "its column `word` is text; its columns of lists of numbers are #embedding");
    refused("polars.ndjson#embeding", "did you mean #embedding?");
    refused("polars.csv#x1", "its column `x1` is numbers");
}

/// What a table of text is read as, or why it is not.
fn text(name: &str, content: &str) -> Result<Array2<f32>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name.split('#').next().expect("a name"));
    std::fs::write(&path, content).expect("writes");
    let path = folder.path().join(name);
    let whole = format::shape(&path).and_then(|shape| format::read(&path).map(|rows| (shape, rows)));
    whole.map_err(|error| error.to_string()).map(|(shape, rows)| {
        assert_eq!(shape, rows.dim());
        rows
    })
}

#[test]
fn text_is_rows_or_an_error_with_its_line() {
    let two = ndarray::arr2(&[[1.0, -0.5], [3.0, 4e-3]]);
    for (name, content) in [
        ("a.csv", "1,-.5\n3,4e-3"),
        ("a.csv", "\u{feff}x,y\r\n1, -0.5\r\n\r\n\"3\",4e-3\r\n"),
        ("a.csv", "word,x,y\n\"a \"\"b\"\",\n\",1,-0.5\n,3,0.004\n"),
        ("a.csv", "word,0,1\na,1,-0.5\nb,3,0.004\n"),
        ("a.csv", "a,1,-0.5\nb,3,0.004\n"),
        ("a.csv#v", "id,v,w\n1,\"[1, -0.5]\",[1]\n2,\"[3, 4e-3]\",[1]\n"),
        ("a.tsv#2", "1\t[1, -0.5]\t[9]\n2\t[3, 4e-3]\t[9]\n"),
        ("a.tsv", "id\tv\n1\t[1, -0.5]\n2\t[3, 4e-3]\n"),
        ("a.jsonl", "[1, -0.5]\n\n [3, 4E-3] \r\n"),
        ("a.ndjson", "{\"id\": 1, \"v\": [1, -0.5]}\n{\"v\": [3, 4e-3]}"),
        ("a.ndjson#v", "{\"v\": [1, -0.5], \"w\": [1]}\n{\"x\": {\"v\": 1}, \"v\": [3, 4e-3]}"),
        ("a.txt", "the 1 -0.5\n\"a b\" 3 4e-3 \n"),
        ("a.txt", "1.0e+00 -5.0e-01\r\n3\t0.004\r\n"),
        ("a.vec", "2 2\n</s> 1 -0.5 \n. . 3 0.004\n"),
        ("a.vec", "2 2\nroute no 1 -0.5\n66 3 0.004\n"),
        ("a.txt", ", 1 -0.5\n1, 3 0.004\n"),
        ("a.ndjson#a\"b", "{\"a\\\"b\": [1, -0.5], \"w\": [1]}\n{\"a\\u0022b\": [3, 4e-3]}"),
    ] {
        assert_eq!(text(name, content), Ok(two.clone()), "{name}: {content}");
    }
    for (name, content, expected) in [
        ("a.csv", "", "it holds no lines"),
        ("a.csv", "x,y\n", "it holds names of columns and no rows"),
        ("a.csv", "word\na\nb\n", "its columns are word (text)"),
        ("a.csv", "x,y\n1,2\n3,abc\n", "line 3: column 2 (`y`): `abc` is not a number"),
        ("a.csv", "x,y\n1,2\n\n3,\n", "line 4: column 2 (`y`): empty is not a number"),
        ("a.csv", "x,y\n1,2\n3\n", "line 3: it has 1 fields, the first line has 2"),
        ("a.csv", "x,y\n1,2\n3,4,5\n", "line 3: it has 3 fields, the first line has 2"),
        ("a.csv", "x,y\n1,2\n3,\"4\n5,6\n", "line 3: the quote in column 2 does not end"),
        ("a.csv", "v\n\"[1, 2]\"\n[3]\n", "line 3: column 1 (`v`): it has 1 components, the first row has 2"),
        ("a.csv", "v\n\"[1, 2]\"\n\"[3, x]\"\n", "line 3: column 1 (`v`): component 1 is `x`, which is not a number"),
        ("a.csv", "v,w\n[1],[2]\n", "its columns of lists of numbers are #v, #w; write one of them after its name"),
        ("a.csv#vv", "v,w\n[1],[2]\n", "did you mean #v?"),
        ("a.txt", "", "it holds no lines"),
        ("a.txt", "the end\n", "line 1: it ends with `end`, which is not a number"),
        ("a.txt", "the 1 2\nof 3\n", "line 2: it has 2 fields; the first row has a word and 2 components"),
        ("a.txt", "0.5 2\n3 4 5\n", "line 2: it has 3 fields; the first row has 2 components"),
        ("a.vec", "2 3\nthe 1 2 3\nof 1 2 x\n", "line 3: component 2 is `x`, which is not a number"),
        ("a.vec", "2 5\nthe 1 2 3\n", "line 2: it has 3 fields after its word; the header states 5 components"),
        ("a.vec", "1000000 2\nthe 1 2\nof 3 4\n", "its header states 1000000 words, 2 follow; it may be cut off"),
        ("a.vec", "1 2\nthe 1 2\nof 3 4\n", "its header states 1 words, 2 follow"),
        (
            "a.vec",
            "3 2\nthe 1 2 3\nof 4 5 6\n",
            "line 2: it has 3 fields after its word; the header states 2 components",
        ),
        (
            "a.vec",
            "2 2\nthe 1 2 3\nof 4 5 6\n",
            "line 2: it has 3 fields after its word; the header states 2 components",
        ),
        ("a.txt", "0.5, 1, 2\n3, 4, 5\n", "line 1: its numbers are separated by commas; name it .csv"),
        ("a.txt", "the 0.5; 1; 2\n", "line 1: its numbers are separated by semicolons; separate them by spaces"),
        ("a.jsonl", "\n\n", "it holds no lines"),
        ("a.jsonl", "[1, 2]\n[3, NaN]\n", "line 2: column 5: expected value"),
        ("a.jsonl", "[1, 2]\n[3, null]\n", "line 2: component 1 is `null`, which is not a number"),
        ("a.jsonl", "[1, 2]\n[3]\n", "line 2: it has 1 components, the first row has 2"),
        ("a.jsonl", "[1, 2]\n[3, 4] [5]\n", "line 2: column 8: trailing characters"),
        ("a.jsonl", "[1, 2]\n{\"v\": [1, 2]}\n", "is not a list of numbers"),
        ("a.jsonl#v", "[1, 2]\n", "its lines are arrays, which have no name; leave out `#v`"),
        ("a.jsonl", "{\"v\": [1, 2]}\n{\"w\": [1, 2]}\n", "line 2: it has no key `v`"),
        ("a.jsonl", "{\"v\": [1, 2]}\n{\"v\": [1, 2], \"v\": [1, 2]}\n", "the key `v` stands here twice"),
        ("a.jsonl", "{\"v\": [1, 2]}\n[1, 2]\n", "line 2: column"),
        ("a.jsonl", "{\"v\": [[1], [2]], \"n\": 1}\n", "its columns are v (array), n (number)"),
        ("a.jsonl", "7\n", "line 1: column 1: invalid type: integer `7`, expected an object, or an array of numbers"),
    ] {
        let reason = text(name, content).expect_err(content);
        assert!(reason.contains(expected), "{name} {content:?}: {reason}");
    }
}

mod property {
    use super::*;
    use polars_arrow::array::{FixedSizeListArray, PrimitiveArray};
    use polars_arrow::datatypes::{ArrowDataType, Field};
    use polars_arrow::io::ipc::write::{Compression, FileWriter, WriteOptions};
    use polars_arrow::record_batch::RecordBatchT;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// The values as lines of text, `between` two of one row.
    fn lines(values: &[f32], dim: usize, between: &str, around: [&str; 2]) -> String {
        let row = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(between);
        values.chunks(dim).map(|values| format!("{}{}{}\n", around[0], row(values), around[1])).collect()
    }

    fn arrow(values: &[f32], dim: usize, batch_rows: usize, compression: Option<Compression>) -> Vec<u8> {
        let item = Field::new("item".into(), ArrowDataType::Float32, true);
        let kind = ArrowDataType::FixedSizeList(Box::new(item), dim);
        let field = Field::new("v".into(), kind.clone(), true);
        let schema = Arc::new([(field.name.clone(), field)].into_iter().collect());
        let mut writer = FileWriter::new(Vec::new(), Arc::clone(&schema), None, WriteOptions { compression });
        writer.start().expect("starts");
        for rows in values.chunks(batch_rows * dim) {
            let numbers = PrimitiveArray::<f32>::from_vec(rows.to_vec()).boxed();
            let lists = FixedSizeListArray::new(kind.clone(), rows.len() / dim, numbers, None).boxed();
            let batch = RecordBatchT::new(rows.len() / dim, Arc::clone(&schema), vec![lists]);
            writer.write(&batch, None).expect("writes");
        }
        writer.finish().expect("finishes");
        writer.into_inner()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// The same vectors in every format that others write as text or as Arrow are the same bits as in .npy, whatever
        /// the batches and the blocks.
        #[test]
        fn every_format_gives_the_bits_of_npy(
            dim in 1usize..6,
            bits in prop::collection::vec(any::<u32>(), 6..200),
            batch_rows in 1usize..20,
            block in 1usize..30,
        ) {
            let finite = |bits: u32| Some(f32::from_bits(bits)).filter(|value| value.is_finite()).unwrap_or(0.5);
            let values: Vec<f32> = bits[..bits.len() / dim * dim].iter().map(|&bits| finite(bits)).collect();
            let folder = tempfile::tempdir().expect("a folder");
            let write = |name: &str, bytes: &[u8]| {
                let path = folder.path().join(name);
                std::fs::write(&path, bytes).expect("writes");
                path
            };
            let npy = folder.path().join("v.npy");
            let layout = format::layout(&npy, format::OutputType::F32, (values.len() / dim, dim)).expect("a layout");
            let mut bytes = layout.head.clone();
            layout.write_vectors(0, &values, dim, &mut bytes).expect("writes");
            std::fs::write(&npy, bytes).expect("writes");
            let table = folder.path().join("v.parquet");
            let layout = format::layout(&table, format::OutputType::F32, (values.len() / dim, dim)).expect("a layout");
            let mut bytes = layout.head.clone();
            layout.write_vectors(0, &values, dim, &mut bytes).expect("writes");
            std::fs::write(&table, [bytes, layout.tail].concat()).expect("writes");
            let names: Vec<String> = (0..dim).map(|j| format!("x{j}")).collect();
            let files = [
                npy,
                table,
                write("v.csv", lines(&values, dim, ",", [""; 2]).as_bytes()),
                write("named.csv", format!("{}\n{}", names.join(","), lines(&values, dim, ",", [""; 2])).as_bytes()),
                write("lists.csv", format!("v\n{}", lines(&values, dim, ", ", ["\"[", "]\""])).as_bytes()),
                write("v.tsv", lines(&values, dim, "\t", [""; 2]).as_bytes()),
                write("v.jsonl", lines(&values, dim, ", ", ["[", "]"]).as_bytes()),
                write("v.txt", lines(&values, dim, " ", ["w ", ""]).as_bytes()),
                write("keyed.ndjson", lines(&values, dim, ",", ["{\"id\": [], \"v\": [", "]}"]).as_bytes()),
                write("none.arrow", &arrow(&values, dim, batch_rows, None)),
                write("lz4.arrow", &arrow(&values, dim, batch_rows, Some(Compression::LZ4))),
            ];
            for file in files {
                let file = if file.ends_with("keyed.ndjson") { PathBuf::from(format!("{}#v", file.display())) } else { file };
                let mut blocks = format::Blocks::open(&file).unwrap_or_else(|error| panic!("{error}"));
                prop_assert_eq!(blocks.shape(), (values.len() / dim, dim), "{}", file.display());
                let (mut all, mut next) = (Vec::new(), Vec::new());
                while blocks.next(block, &mut next).unwrap_or_else(|error| panic!("{error}")) > 0 {
                    all.extend(next.iter().map(|value| value.to_bits()));
                }
                let expected: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
                prop_assert_eq!(all, expected, "{}", file.display());
            }
        }
    }
}

#[test]
fn parts_of_one_hdf5_file_make_a_dataset() {
    let load = |more: &str| {
        let text = format!("path = {:?}\n{more}", fixture("ann.hdf5"));
        let source = Source::File(toml::from_str(&text).expect("a source"));
        source.resolve(Path::new("/"), &SearchPath::default()).and_then(|resolved| {
            let data = resolved.load()?;
            assert_eq!(resolved.summary.queries, data.queries.nrows());
            Ok((resolved.summary, data))
        })
    };
    let test = fixture("ann.hdf5#test");
    let split = "split = { train = \"0..20\", base = \"30..50\", queries = \"2..5\" }";
    let (summary, data) = load(&format!("queries = {test:?}\n{split}")).expect("loads");
    assert_eq!((summary.name.as_str(), summary.train, summary.base, summary.queries), ("ann", 20, 20, 3));
    assert_eq!(data.train, rows(20, 6, 0.0));
    assert_eq!(data.base, rows(20, 6, 30.0));
    assert_eq!(data.queries, rows(3, 6, 102.0));
    let (all, _) = load(&format!("queries = {test:?}")).expect("loads");
    assert_eq!((all.train, all.base, all.queries), (25, 25, 7));
    assert_ne!(all.fingerprint, summary.fingerprint);
    // The default array by its name is still the same rows.
    let same = load(&format!("queries = {:?}", fixture("ann.hdf5#train"))).expect_err("the same rows").to_string();
    assert!(same.contains("must be disjoint"), "{same}");
}

fn resolve(text: &str) -> Result<Resolved, DatasetError> {
    let source = Source::File(toml::from_str(text).expect("a source"));
    source.resolve(Path::new("/"), &SearchPath::default())
}

#[test]
fn a_benchmark_in_one_file_is_rows_queries_metric_and_truth_at_once() {
    let file = |name: &str, more: &str| format!("path = {:?}\n{more}", fixture(name));
    let euclidean = resolve(&file("euclidean.hdf5", "")).expect("resolves");
    let s = &euclidean.summary;
    assert_eq!((s.train, s.base, s.queries, s.metric), (300, 300, 20, MetricSpace::L2));
    assert!(euclidean.trains_on_base());
    let data = euclidean.load().expect("loads");
    assert_eq!(
        (&data.train, &data.queries),
        (&data.base, &format::read(&fixture("euclidean.hdf5#test")).expect("reads"))
    );
    let truth = euclidean.file_truth(10).expect("reads").expect("there is one").check;
    assert!(truth.agreement == 1.0 && truth.unused.is_none() && truth.explained_by.is_none(), "{truth:?}");

    // The same neighbours in a file that says something else.
    let angular = resolve(&file("angular.hdf5", "")).expect("resolves");
    assert_eq!(angular.summary.metric, MetricSpace::Cosine);
    let truth = angular.file_truth(10).expect("reads").expect("there is one").check;
    assert_eq!((truth.unused, truth.explained_by), (Some(Unused::Contradiction), Some(MetricSpace::L2)));
    let error = resolve(&file("angular.hdf5", "metric = \"l2\"")).expect_err("contradicts").to_string();
    assert!(error.contains("`metric: l2` contradicts") && error.contains("`angular` (`metric: cosine`)"), "{error}");
    assert!(resolve(&file("angular.hdf5", "metric = \"cosine\"")).is_ok());

    // What is written goes before what the file says.
    let split = resolve(&file("angular.hdf5", "split = { train = 100 }")).expect("resolves");
    assert_eq!((split.summary.train, split.summary.base, split.trains_on_base()), (100, 200, false));
    let named = format!(
        "path = {:?}\nqueries = {:?}\nmetric = \"l2\"\ntrain = \"base\"",
        fixture("angular.hdf5#train"),
        fixture("angular.hdf5#test")
    );
    let named = resolve(&named).expect("resolves");
    assert_eq!((named.summary.metric, named.trains_on_base()), (MetricSpace::L2, true));
    assert!(named.file_truth(10).expect("reads").is_none());
    assert_ne!(named.summary.fingerprint, euclidean.summary.fingerprint);
}

#[test]
fn both_headers_of_fbin_are_told_apart_by_the_length_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let values: Vec<u8> = rows(7, 3, 0.5).iter().flat_map(|v| v.to_le_bytes()).collect();
    let wide = [7u64.to_le_bytes(), 3u64.to_le_bytes()].concat();
    let narrow = [7u32.to_le_bytes(), 3u32.to_le_bytes()].concat();
    for (head, expected) in [(&narrow, true), (&wide, true), (&wide[..12].to_vec(), false)] {
        let path = folder.path().join("x.fbin");
        std::fs::write(&path, [&head[..], &values].concat()).expect("writes");
        match format::shape(&path).and_then(|_| format::read(&path)) {
            Ok(found) => assert!(expected && found == rows(7, 3, 0.5)),
            Err(error) => assert!(!expected && error.to_string().contains("two 64-bit numbers"), "{error}"),
        }
    }
}

#[test]
fn what_a_run_would_refuse_is_found_by_a_dry_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).expect("writes");
    let fvecs = |n: usize, value: fn(usize, usize) -> f32| {
        let row = |i: usize| (0..2).flat_map(move |j| value(i, j).to_le_bytes());
        (0..n).flat_map(|i| 2i32.to_le_bytes().into_iter().chain(row(i))).collect::<Vec<u8>>()
    };
    let labels = |n: usize| {
        let head = format!("{:<117}\n", format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({n},)}}"));
        [b"\x93NUMPY\x01\x00\x76\x00", head.as_bytes(), &vec![1; n]].concat()
    };
    write("good.fvecs", fvecs(6000, |i, j| (i + j + 1) as f32));
    write("nan.fvecs", fvecs(6000, |i, j| if [5000, 5995].contains(&i) && j == 1 { f32::NAN } else { 1.0 }));
    write("zero.fvecs", fvecs(6000, |i, _| if i >= 5500 { 0.0 } else { 1.0 }));
    write("few.npy", labels(3));
    write("all.npy", labels(6000));
    let split = "split = { train = \"0..1000\", base = \"1000..5990\", queries = \"5990..6000\" }";
    for (more, expected) in [
        ("path = \"good.fvecs\"\nlabels = \"all.npy\"", None),
        ("path = \"nan.fvecs\"", Some("nan.fvecs: row 5000 has the value NaN in column 1")),
        // Only rows that are used must be finite.
        ("path = \"good.fvecs\"\nqueries = \"nan.fvecs\"", Some("nan.fvecs: row 5995 has the value NaN")),
        ("path = \"good.fvecs\"\nlabels = \"few.npy\"", Some("has 3 labels for 6000 rows")),
        ("path = \"zero.fvecs\"\nmetric = \"l2\"", None),
        // Counted in the file, and not within its part.
        (
            "path = \"zero.fvecs\"\nmetric = \"cosine\"",
            Some("row 5500 of zero.fvecs is all zeros; the metric cosine needs nonzero rows (500 such rows)"),
        ),
    ] {
        let source = Source::File(toml::from_str(&format!("{more}\n{split}")).expect("a source"));
        let resolved = source.resolve(folder.path(), &SearchPath::default()).expect(more);
        let found = [resolved.check(), resolved.load().map(drop)].map(|result| result.err().map(|e| e.to_string()));
        assert_eq!(found[0], found[1], "{more}");
        match (&found[0], expected) {
            (Some(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
            (found, expected) => assert!(found.is_none() && expected.is_none(), "{more}: {found:?}"),
        }
    }
}

/// What NumPy, h5py and pyarrow say of a set of the catalog.
struct Known {
    name: &'static str,
    /// Rows of all of `path`, and their length.
    shape: (usize, usize),
    /// Rows of train, base and queries.
    rows: [usize; 3],
    /// Sums over train, base and queries, in f64.
    sums: [f64; 3],
    /// Part, row, column, and the values from there on.
    values: [(usize, usize, usize, &'static [f32]); 2],
    /// Sums of the labels of base and query rows.
    labels: Option<[u32; 2]>,
}

const KNOWN: [Known; 3] = [
    Known {
        name: "fashion-mnist-784",
        shape: (60_000, 784),
        rows: [20_000, 10_000, 1000],
        sums: [1_142_624_448.0, 570_787_141.0, 58_034_149.0],
        values: [(0, 12_345, 400, &[191.0, 185.0, 187.0, 193.0]), (2, 999, 400, &[177.0, 178.0, 170.0, 176.0])],
        labels: Some([44_784, 4363]),
    },
    Known {
        name: "glove-6b-100d",
        shape: (36_000, 100),
        rows: [15_000, 20_000, 1000],
        sums: [-4836.108045483626, -4875.259819680074, -496.26301058734225],
        values: [(0, 0, 0, &[0.41829, 0.14874, -0.01255]), (2, 0, 0, &[-0.095099, -0.19547, -0.15543])],
        labels: None,
    },
    Known {
        name: "sift-kodak-128",
        shape: (49_012, 128),
        rows: [20_000, 20_000, 1000],
        sums: [68_450_978.0, 69_936_238.0, 3_519_523.0],
        values: [(0, 0, 0, &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]), (2, 0, 0, &[5.0, 29.0, 43.0, 12.0, 0.0, 0.0])],
        labels: None,
    },
];

#[test]
fn real_sets_are_read_as_other_tools_read_them() {
    if std::env::var_os("VQBENCH_DATA").is_none() {
        eprintln!("skipped: VQBENCH_DATA names no folder of real sets");
        return;
    }
    let search = real_sets();
    for known in KNOWN {
        let name = known.name;
        let entry = catalog::find(name).expect(name);
        let Ok(catalog::Located { path, .. }) = entry.locate(entry.base.as_ref().expect(name), &search) else {
            eprintln!("skipped: {name} is not in VQBENCH_DATA");
            continue;
        };
        assert_eq!(format::shape(&path).expect(name), known.shape, "{name}");
        let data = Source::Named(name.into()).resolve(Path::new("."), &search).expect(name).load().expect(name);
        let parts = [&data.train, &data.base, &data.queries];
        assert_eq!(parts.map(|rows| rows.nrows()), known.rows, "{name}");
        for (part, expected) in parts.into_iter().zip(known.sums) {
            let sum: f64 = part.iter().map(|&v| f64::from(v)).sum();
            assert!((sum - expected).abs() <= 1e-9 * expected.abs(), "{name}: {sum}, not {expected}");
        }
        for (part, row, column, expected) in known.values {
            let found = parts[part].row(row).slice(s![column..column + expected.len()]).to_vec();
            assert_eq!(found, expected, "{name}: row {row} of part {part}");
        }
        let labels = data.labels.map(|labels| [labels.base.iter().sum::<u32>(), labels.queries.iter().sum()]);
        assert_eq!(labels, known.labels, "{name}");
    }
}

/// The folders that `VQBENCH_DATA` names, if any.
fn real_sets() -> SearchPath {
    let folders = std::env::var_os("VQBENCH_DATA").map_or(vec![], |list| std::env::split_paths(&list).collect());
    SearchPath { folders, ..SearchPath::of_source_tree() }
}
