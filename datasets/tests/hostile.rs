//! Readers against files that lie: each is refused with a reason, and none makes the reader panic or take memory that
//! the file does not justify.

use datasets::{DatasetError, FileSource, SearchPath, Source, format};
use polars_arrow::datatypes::{ArrowDataType, Field};
use polars_arrow::io::ipc::write::{FileWriter, WriteOptions};
use polars_parquet_format::thrift::protocol::TCompactOutputProtocol;
use polars_parquet_format::{
    ColumnChunk, ColumnMetaData, CompressionCodec, DataPageHeader, Encoding, FieldRepetitionType, FileMetaData,
    PageHeader, PageType, RowGroup, SchemaElement, Type,
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

fn npy(header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

fn reason(path: &Path) -> String {
    format::shape(path).and_then(|_| format::read(path).map(drop)).expect_err("refused").to_string()
}

#[test]
fn npy_files_that_lie_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let header =
        |descr: &str, shape: &str| format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("empty.npy", vec![], "bad header"),
        ("text.npy", b"not numpy at all".to_vec(), "bad header"),
        ("huge.npy", npy(&header("<f4", "(1000000000000, 384)"), &[0; 64]), "states"),
        ("overflow.npy", npy(&header("<f4", "(9223372036854775807, 9223372036854775807)"), &[]), "overflows"),
        ("short.npy", npy(&header("<f4", "(4, 4)"), &[0; 10]), "states 64 bytes of values, 10 follow"),
        ("flat.npy", npy(&header("<f4", "(4,)"), &[0; 16]), "two-dimensional"),
        ("complex.npy", npy(&header("<c8", "(1, 2)"), &[0; 16]), "cannot be vectors"),
        ("none.npy", npy(&header("<f4", "(0, 4)"), &[]), "0 rows"),
    ];
    for (name, bytes, expected) in cases {
        let path = write(dir.path(), name, &bytes);
        assert!(reason(&path).contains(expected), "{name}: {}", reason(&path));
    }
}

#[test]
fn headers_of_npy_that_take_forever_to_parse_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let around = |inner: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), 'x': {inner}}}\n");
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(40), close.repeat(40));
    let wide = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes(), b"{}"].concat();
    for (bytes, expected) in [
        (npy(&around(&nested("[", "]")), &[0; 4]), "bad header: its brackets nest more than 8 levels deep"),
        (npy(&around(&nested("(", ",)")), &[0; 4]), "its brackets nest more than 8 levels deep"),
        (
            npy(&around(&format!("['(]))))', {}]", nested("[", "]"))), &[0; 4]),
            "its brackets nest more than 8 levels deep",
        ),
        (npy(&around(&format!("[[[[[[[{}]]]]]]]", "1,".repeat(4000))), &[0; 4]), "bytes nest 8 levels deep, too many"),
        (npy(&around("{{{1}}}"), &[0; 4]), "it should be one dictionary of Python"),
        (npy(&around(&format!("'''a'b''', {}", nested("[", "]"))), &[0; 4]), "bad header: it"),
        (npy(&" ".repeat(10_001), &[0; 4]), "its text should be 10001 bytes long; 10000 is the limit"),
        (wide, "its text should be 4294967295 bytes long; 10000 is the limit"),
    ] {
        let path = write(dir.path(), "a.npy", &bytes);
        assert!(reason(&path).contains(expected), "{expected}: {}", reason(&path));
    }
    // Brackets in a string are none, and structured types are parsed.
    let odd = "{'descr': [('[[[[[[[[[[[\\'', '<f4', (2,))], 'fortran_order': False, 'shape': (1, 1), }\n";
    let error = reason(&write(dir.path(), "b.npy", &npy(odd, &[0; 8])));
    assert!(error.contains("cannot be vectors"), "{error}");
}

#[test]
fn vecs_files_that_lie_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let row = |dim: i32, values: &[f32]| {
        [dim.to_le_bytes().to_vec(), values.iter().flat_map(|v| v.to_le_bytes()).collect()].concat()
    };
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty.fvecs", vec![], "ends early"),
        ("negative.fvecs", row(-1, &[]), "claims -1 components"),
        ("huge.fvecs", row(i32::MAX, &[1.0]), "not a multiple of a row"),
        ("short.fvecs", [row(2, &[1.0, 2.0]), vec![2, 0, 0]].concat(), "not a multiple of a row"),
        ("mixed.fvecs", [row(2, &[1.0, 2.0]), row(3, &[1.0, 2.0])].concat(), "row 1 has 3 components"),
    ];
    for (name, bytes, expected) in cases {
        let path = write(dir.path(), name, &bytes);
        assert!(reason(&path).contains(expected), "{name}: {}", reason(&path));
    }
    let good = write(dir.path(), "good.fvecs", &[row(2, &[1.0, 2.0]), row(2, &[3.0, 4.0])].concat());
    assert_eq!(format::read(&good).expect("reads"), ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]));
    let bytes = write(dir.path(), "good.bvecs", &[2, 0, 0, 0, 7, 255]);
    assert_eq!(format::read(&bytes).expect("reads"), ndarray::arr2(&[[7.0, 255.0]]));
}

#[test]
fn bin_files_that_lie_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let bin = |n: u32, dim: u32, values: &[u8]| [&n.to_le_bytes(), &dim.to_le_bytes(), values].concat();
    let floats: Vec<u8> = [1f32, -2.5, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("empty.fbin", vec![], "ends early"),
        ("header.u8bin", vec![2, 0, 0, 0, 3], "ends early"),
        ("huge.fbin", bin(u32::MAX, u32::MAX, &[0; 64]), "states 4294967295 rows of 4294967295 components"),
        ("short.fbin", bin(2, 2, &floats[..15]), "that is 16 bytes of values; 15 follow"),
        ("long.u8bin", bin(1, 3, &[1, 2, 3, 4]), "that is 3 bytes of values; 4 follow"),
        ("floats.u8bin", bin(2, 2, &floats), "that is 4 bytes of values; 16 follow"),
        ("none.fbin", bin(0, 4, &[]), "0 rows of 4"),
        ("flat.i8bin", bin(4, 0, &[]), "4 rows of 0"),
    ];
    for (name, bytes, expected) in cases {
        let path = write(dir.path(), name, &bytes);
        assert!(reason(&path).contains(expected), "{name}: {}", reason(&path));
    }
    let read = |name: &str, bytes: Vec<u8>| format::read(&write(dir.path(), name, &bytes)).expect("reads");
    assert_eq!(read("good.fbin", bin(2, 2, &floats)), ndarray::arr2(&[[1.0, -2.5], [3.0, 4.0]]));
    assert_eq!(read("good.u8bin", bin(1, 2, &[7, 255])), ndarray::arr2(&[[7.0, 255.0]]));
    assert_eq!(read("good.i8bin", bin(2, 1, &[7, 255])), ndarray::arr2(&[[7.0], [-1.0]]));
    assert_eq!(read("good.ibin", bin(1, 1, &(-3i32).to_le_bytes())), ndarray::arr2(&[[-3.0]]));
}

#[test]
fn a_part_of_a_file_without_parts_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), "good.u8bin", &[1, 0, 0, 0, 2, 0, 0, 0, 7, 255]);
    let error = format::read(&dir.path().join("good.u8bin#train")).expect_err("no parts").to_string();
    assert!(
        error.contains("good.u8bin#train is not a usable u8bin file: a u8bin file holds one array only"),
        "{error}"
    );
}

#[test]
fn npy_values_arrive_in_both_orders_and_all_types() {
    let dir = tempfile::tempdir().expect("a folder");
    let header =
        |descr: &str, fortran: &str| format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': (2, 3), }}\n");
    let expected = ndarray::arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let row_major = [1u8, 2, 3, 4, 5, 6];
    let cases = [
        ("u1.npy", npy(&header("|u1", "False"), &row_major)),
        ("f.npy", npy(&header("|u1", "True"), &[1, 4, 2, 5, 3, 6])),
        (
            "f4.npy",
            npy(
                &header("<f4", "False"),
                &row_major.iter().flat_map(|&v| f32::from(v).to_le_bytes()).collect::<Vec<_>>(),
            ),
        ),
        (
            "b8.npy",
            npy(
                &header(">f8", "False"),
                &row_major.iter().flat_map(|&v| f64::from(v).to_be_bytes()).collect::<Vec<_>>(),
            ),
        ),
    ];
    for (name, bytes) in cases {
        assert_eq!(format::read(&write(dir.path(), name, &bytes)).expect("reads"), expected, "{name}");
    }
}

#[test]
fn a_non_finite_value_is_named_by_row_and_column() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut values = vec![1.0f32; 300];
    values[3 * 250 / 3 + 1] = f32::NAN;
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let path =
        write(dir.path(), "x.npy", &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100, 3), }\n", &bytes));
    let source: FileSource = toml::from_str(&format!("path = {path:?}")).expect("a source");
    let resolved = Source::File(source).resolve(Path::new("/"), &SearchPath::default()).expect("headers are fine");
    let error = resolved.load().expect_err("NaN");
    assert!(matches!(error, DatasetError::NonFinite { row: 83, column: 2, .. }), "{error}");
}

#[test]
fn the_embedded_dataset_loads_as_the_catalog_says() {
    let resolved = Source::Named("wordnet-minilm-384".into())
        .resolve(Path::new("."), &SearchPath::of_source_tree())
        .expect("it is embedded");
    let data = resolved.load().expect("loads");
    assert_eq!((data.train.dim(), data.base.dim(), data.queries.dim()), ((10_000, 384), (10_000, 384), (500, 384)));
    let labels = data.labels.expect("labelled");
    assert_eq!((labels.base.len(), labels.queries.len()), (10_000, 500));
    assert!(labels.base.iter().chain(&labels.queries).all(|&l| l < 45));
    for row in data.base.outer_iter() {
        assert!((row.dot(&row) - 1.0).abs() < 1e-5, "unit rows");
    }
}

#[test]
fn a_damaged_embedded_file_is_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let from = SearchPath::of_source_tree().embedded.pop().expect("the source tree").join("wordnet-minilm-384");
    let to = dir.path().join("wordnet-minilm-384");
    std::fs::create_dir(&to).expect("a folder");
    for file in std::fs::read_dir(from).expect("files").flatten() {
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copies");
    }
    let mut bytes = std::fs::read(to.join("base.npy")).expect("reads");
    bytes[5000] ^= 1;
    std::fs::write(to.join("base.npy"), bytes).expect("writes");
    let search = SearchPath { embedded: vec![dir.path().to_owned()], folders: vec![] };
    let error = Source::Named("wordnet-minilm-384".into()).resolve(Path::new("."), &search).expect_err("damaged");
    assert!(matches!(error, DatasetError::Digest { .. }), "{error}");
}

/// `fixtures/make.py` wrote these; arrays that are asked for in each.
const FIXTURES: &[(&str, &[&str])] = &[
    ("ann.hdf5", &["", "#test", "#neighbors"]),
    ("types.h5", &["#more/double", "#more/half", "#more/big_endian", "#integers", "#text"]),
    ("elsewhere.h5", &["#linked", "#external", "#virtual", "#sparse"]),
    ("none.parquet", &[""]),
    ("snappy.parquet", &[""]),
    ("zstd.parquet", &[""]),
    ("gzip.parquet", &[""]),
    ("lz4.parquet", &[""]),
    ("lists.parquet", &["#double", "#required", "#bytes", "#long"]),
    ("half.parquet", &[""]),
    ("brotli.parquet", &[""]),
    ("split.parquet", &[""]),
    ("delta.parquet", &[""]),
    ("unsigned.parquet", &[""]),
    ("polars.parquet", &[""]),
    ("polars_lists.parquet", &[""]),
    ("columns.parquet", &["", "#*"]),
    ("none.arrow", &["", "#embedding"]),
    ("lz4.arrow", &[""]),
    ("zstd.arrow", &[""]),
    ("kinds.arrow", &["#half", "#half_fixed", "#double", "#uint8"]),
    ("polars.ipc", &[""]),
    ("polars_lists.ipc", &[""]),
    ("columns.arrow", &["", "#id*"]),
    ("pandas.csv", &[""]),
    ("pandas_lists.csv", &["", "#embedding"]),
    ("bare.tsv", &["", "#1"]),
    ("pandas.jsonl", &["", "#embedding"]),
    ("lossy.webp", &["", "#4"]),
];

/// Mutants per file; `VQBENCH_FUZZ_ROUNDS` asks for more.
fn rounds() -> usize {
    std::env::var("VQBENCH_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

/// Far more values than any mutant of a file of some kilobytes can justify.
const MOST_VALUES: usize = 1 << 25;

#[test]
fn damaged_files_of_other_tools_are_read_or_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for &(name, parts) in FIXTURES {
        let original =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).expect(name);
        for round in 0..rounds() {
            let mut bytes = original.clone();
            let at = rng.random_range(0..bytes.len());
            match round % 5 {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at] = [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
                2 => (0..8).for_each(|_| bytes[rng.random_range(0..original.len())] = rng.random()),
                3 => bytes.iter_mut().skip(at).take(rng.random_range(2..=8)).for_each(|byte| *byte = 0xff),
                _ => bytes.truncate(at),
            }
            write(dir.path(), name, &bytes);
            for &part in parts {
                let path = dir.path().join(format!("{name}{part}"));
                for n in [
                    format::shape(&path).map_or(0, |(n, dim)| n * dim),
                    format::read(&path).map_or(0, |rows| rows.len()),
                ] {
                    assert!(n <= MOST_VALUES, "{name}{part}, round {round}: {n} values");
                }
            }
        }
    }
}

/// A Parquet file of nothing but metadata and what goes before them.
fn parquet(pages: &[u8], metadata: &FileMetaData) -> Vec<u8> {
    let mut footer = Vec::new();
    metadata.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut footer)).expect("memory");
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", pages, &footer, &length, b"PAR1"].concat()
}

/// A group of the schema around the elements that follow it, or, without any, a number.
fn element(name: &str, repetition: FieldRepetitionType, children: Option<i32>) -> SchemaElement {
    SchemaElement {
        type_: children.is_none().then_some(Type::FLOAT),
        type_length: None,
        repetition_type: Some(repetition),
        name: name.to_owned(),
        num_children: children,
        converted_type: None,
        scale: None,
        precision: None,
        field_id: None,
        logical_type: None,
    }
}

fn file_metadata(schema: Vec<SchemaElement>, row_groups: Vec<RowGroup>) -> FileMetaData {
    let num_rows = row_groups.iter().map(|group| group.num_rows).sum();
    FileMetaData {
        version: 1,
        schema,
        num_rows,
        row_groups,
        key_value_metadata: None,
        created_by: None,
        column_orders: None,
        encryption_algorithm: None,
        footer_signing_key_metadata: None,
    }
}

#[test]
fn schemas_that_are_larger_than_their_files_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let (optional, repeated) = (FieldRepetitionType::OPTIONAL, FieldRepetitionType::REPEATED);
    let mut schema = vec![element("g", optional, Some(1)); 100_000];
    schema.push(element("v", repeated, None));
    let path = write(dir.path(), "deep.parquet", &parquet(&[], &file_metadata(schema, vec![])));
    assert!(reason(&path).contains("its schema nests more than 32 levels deep"), "{}", reason(&path));

    // A path of a megabyte for each of a thousand columns.
    let mut schema = vec![element("root", optional, Some(1)), element(&"g".repeat(1 << 20), optional, Some(1000))];
    schema.extend(vec![element("v", repeated, None); 1000]);
    let path = write(dir.path(), "long.parquet", &parquet(&[], &file_metadata(schema, vec![])));
    assert!(reason(&path).contains("the names in its schema take more than"), "{}", reason(&path));

    let mut kind = ArrowDataType::Float32;
    for _ in 0..40 {
        kind = ArrowDataType::List(Box::new(Field::new("item".into(), kind, true)));
    }
    let field = Field::new("v".into(), kind, true);
    let schema = Arc::new([(field.name.clone(), field)].into_iter().collect());
    let mut writer = FileWriter::try_new(Vec::new(), schema, None, WriteOptions { compression: None }).expect("memory");
    writer.finish().expect("memory");
    let path = write(dir.path(), "deep.arrow", &writer.into_inner());
    assert!(reason(&path).contains("its schema nests more than 32 levels deep"), "{}", reason(&path));
}

#[test]
fn pages_of_parquet_that_lie_are_refused_before_memory_is_taken() {
    let dir = tempfile::tempdir().expect("a folder");
    // One row of `values` numbers, on a page that has these many by its own account.
    let file = |values: i64, on_page: i32, compressed: i32, uncompressed: i32, codec: CompressionCodec| {
        let head = DataPageHeader::new(on_page, Encoding::PLAIN, Encoding::RLE, Encoding::RLE, None);
        let header = PageHeader::new(PageType::DATA_PAGE, uncompressed, compressed, None, head, None, None, None);
        let mut page = Vec::new();
        header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut page)).expect("memory");
        // Levels: one value that opens a row, then others.
        page.extend([4, 0, 0, 0, 2, 0, 2, 1, 0, 0, 128, 63, 0, 0, 0, 64]);
        let column = ColumnMetaData {
            type_: Type::FLOAT,
            encodings: vec![Encoding::PLAIN],
            path_in_schema: vec!["v".to_owned()],
            codec,
            num_values: values,
            total_uncompressed_size: page.len() as i64,
            total_compressed_size: page.len() as i64,
            key_value_metadata: None,
            data_page_offset: 4,
            index_page_offset: None,
            dictionary_page_offset: None,
            statistics: None,
            encoding_stats: None,
            size_statistics: None,
            bloom_filter_offset: None,
            bloom_filter_length: None,
        };
        let chunk = ColumnChunk {
            file_path: None,
            file_offset: 4,
            meta_data: Some(column),
            offset_index_offset: None,
            offset_index_length: None,
            column_index_offset: None,
            column_index_length: None,
            crypto_metadata: None,
            encrypted_column_metadata: None,
        };
        let group = RowGroup {
            columns: vec![chunk],
            total_byte_size: page.len() as i64,
            num_rows: 1,
            sorting_columns: None,
            file_offset: None,
            total_compressed_size: None,
            ordinal: None,
        };
        let root = element("root", FieldRepetitionType::REQUIRED, Some(1));
        let schema = vec![root, element("v", FieldRepetitionType::REPEATED, None)];
        parquet(&page, &file_metadata(schema, vec![group]))
    };
    let plain = CompressionCodec::UNCOMPRESSED;
    for (name, bytes, expected) in [
        ("many.parquet", file(1 << 40, 2, 16, 16, plain), "states 1099511627776 rows of 1 components"),
        ("page.parquet", file(2, i32::MAX, 16, 16, plain), "a page claims 2147483647 values where 2 are left"),
        ("less.parquet", file(2, -1, 16, 16, plain), "a page claims -1 values where 2 are left"),
        ("large.parquet", file(2, 2, i32::MAX, 16, plain), "a page claims 16 bytes out of 2147483647"),
        ("bomb.parquet", file(2, 2, 16, i32::MAX, CompressionCodec::ZSTD), "a page claims 2147483647 bytes out of 16"),
        ("negative.parquet", file(2, 2, -1, 16, plain), "a page has -1 bytes"),
    ] {
        let path = write(dir.path(), name, &bytes);
        assert!(reason(&path).contains(expected), "{name}: {}", reason(&path));
    }
}

#[test]
fn batches_of_arrow_that_lie_are_refused_before_memory_is_taken() {
    let dir = tempfile::tempdir().expect("a folder");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kinds.arrow");
    let original = std::fs::read(fixture).expect("a fixture");
    // What the headers of its batches say of lists of four times four numbers, none of them null.
    let (said, lie) = ([16i64, 0].map(i64::to_le_bytes).concat(), [1i64 << 40, 0].map(i64::to_le_bytes).concat());
    let mut bytes = original.clone();
    for at in 0..bytes.len() - said.len() {
        if bytes[at..].starts_with(&said) {
            bytes[at..at + lie.len()].copy_from_slice(&lie);
        }
    }
    assert_ne!(bytes, original);
    write(dir.path(), "kinds.arrow", &bytes);
    for (part, expected) in
        [("int64", "states"), ("uint64", "batch 0 holds 1099511627776 numbers in 4 lists of one size")]
    {
        let path = dir.path().join(format!("kinds.arrow#{part}"));
        assert!(reason(&path).contains(expected), "{part}: {}", reason(&path));
    }
}

#[test]
fn files_of_one_format_under_the_name_of_another_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (from, extension) in [
        ("one.h5", "parquet"),
        ("zstd.parquet", "h5"),
        ("one.h5", "npy"),
        ("zstd.parquet", "fbin"),
        ("make.py", "hdf5"),
        ("make.py", "parquet"),
        ("one.h5", "u8bin"),
        ("one.h5", "arrow"),
        ("zstd.parquet", "feather"),
        ("none.arrow", "parquet"),
        ("zstd.parquet", "csv"),
        ("one.h5", "jsonl"),
        ("make.py", "ipc"),
        ("make.py", "ndjson"),
        ("make.py", "tsv"),
    ] {
        let path = write(dir.path(), &format!("x.{extension}"), &std::fs::read(fixtures.join(from)).expect(from));
        assert!(reason(&path).contains("is not a usable"), "{from} as {extension}: {}", reason(&path));
    }
    for extension in ["h5", "parquet", "arrow", "csv", "jsonl"] {
        assert!(reason(&write(dir.path(), &format!("empty.{extension}"), &[])).contains("is not a usable"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header in "[ -~]{0,80}") {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in [("a.npy", bytes.clone()), ("b.fvecs", bytes.clone()), ("c.npy", npy(&header, &bytes)), ("d.bvecs", bytes.clone()), ("e.fbin", bytes.clone()), ("f.h5", bytes.clone()), ("g.parquet", bytes.clone()), ("h.png", bytes.clone()), ("i.webp", bytes.clone()), ("j.arrow", bytes.clone()), ("k.csv", bytes.clone()), ("l.tsv", bytes.clone()), ("m.jsonl", bytes.clone()), ("n.csv", header.clone().into_bytes()), ("o.jsonl", header.clone().into_bytes()), ("p.txt", header.clone().into_bytes()), ("q.vec", bytes.clone())] {
            let path = write(dir.path(), name, &content);
            let _ = format::shape(&path);
            let _ = format::read(&path);
            let _ = format::read_labels(&path);
            let _ = format::read_ids(&path);
        }
    }
}
