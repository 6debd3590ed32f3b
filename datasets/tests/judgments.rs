//! Judgments of relevance beside vectors: which rows they name, and what is refused.

mod common;

use common::{folder, gzip, npy_of, write};
use datasets::judgments::Relevant;
use datasets::{Judgments, SearchPath, Source};
use ndarray::Array2;
use serde_json::{Value, json};
use std::path::Path;

/// Six documents and four queries.
fn files(folder: &Path) {
    write(folder, "docs.npy", &npy_of(&Array2::from_shape_fn((6, 2), |(i, j)| (2 * i + j) as f32)));
    write(folder, "queries.npy", &npy_of(&Array2::from_shape_fn((4, 2), |(i, j)| (100 + 2 * i + j) as f32)));
    write(folder, "ids.txt", b"a\nb\nc\nd\ne\nf\n");
    write(folder, "query-ids.csv", b"_id,text\nq0,\"one, two\"\nq1,x\nq2,y\nq3,z\n");
    write(folder, "corpus.jsonl", b"{\"_id\": \"a\", \"t\": 1}\n{\"_id\": \"b\"}\n{\"_id\": \"c\"}\n{\"_id\": 4}\n{\"_id\": \"e\"}\n{\"_id\": \"f\"}\n");
}

fn dataset(more: &Value) -> Value {
    let mut all = json!({ "path": "docs.npy", "queries": "queries.npy", "train": "base" });
    let (Some(map), Some(more)) = (all.as_object_mut(), more.as_object()) else { return all };
    map.extend(more.clone());
    all
}

fn load(folder: &Path, more: &Value) -> Result<Judgments, String> {
    let source = Source::parse(&dataset(more)).map_err(|error| error.message)?;
    let resolved = source.resolve(folder, &SearchPath::default()).map_err(|error| error.to_string())?;
    let data = resolved.load().map_err(|error| error.to_string())?;
    assert_eq!(resolved.judgments().map_err(|error| error.to_string())?, data.judgments);
    assert_eq!(resolved.summary.judged, data.judgments.is_some());
    Ok(data.judgments.expect("judgments"))
}

fn relevant(rows: &[(u32, u32)]) -> Vec<Relevant> {
    rows.iter().map(|&(row, grade)| Relevant { row, grade }).collect()
}

#[test]
fn names_lead_to_rows_however_they_are_written() {
    let folder = folder();
    files(folder.path());
    write(folder.path(), "trec.txt", b"q0 0 c 1\nq0 0 a 3\nq2 0 f 1\nq2 0 b 0\nq3 0 b -1\n");
    let expected =
        Judgments { relevant: vec![relevant(&[(0, 3), (2, 1)]), vec![], relevant(&[(5, 1)]), vec![]], left_out: 0 };
    let found =
        load(folder.path(), &json!({ "qrels": "trec.txt", "ids": "ids.txt", "query_ids": "query-ids.csv#_id" }));
    assert_eq!(found.as_ref(), Ok(&expected));
    assert_eq!(expected.judged(), 2);

    // The same by row numbers, as BEIR writes it, packed.
    write(folder.path(), "beir.tsv.gz", &gzip(b"query-id\tcorpus-id\tscore\n0\t2\t1\n0\t0\t3\n2\t5\t1\n"));
    assert_eq!(load(folder.path(), &json!({ "qrels": "beir.tsv.gz" })), Ok(expected));

    // Names as a key of NDJSON, text and numbers alike.
    write(folder.path(), "some.tsv", b"1\t4\t1\n1\ta\t1\n");
    let found = load(folder.path(), &json!({ "qrels": "some.tsv", "ids": "corpus.jsonl#_id" })).expect("loads");
    assert_eq!(found.relevant[1], relevant(&[(0, 1), (3, 1)]));
}

#[test]
fn only_base_rows_can_be_found() {
    let folder = folder();
    files(folder.path());
    write(folder.path(), "qrels", b"0 0 0 1\n0 0 1 1\n1 0 5 2\n2 0 2 1\n");
    let split = json!({ "train": "0..2", "base": "2..6", "queries": "0..3" });
    let mut more = json!({ "qrels": "qrels", "split": split });
    more["train"] = Value::Null;
    let found = load(folder.path(), &more).expect("loads");
    let expected = Judgments { relevant: vec![vec![], relevant(&[(3, 2)]), relevant(&[(0, 1)])], left_out: 2 };
    assert_eq!(found, expected);
    // Split queries take their names from those of the rows of `path`.
    let source = json!({ "path": "docs.npy", "ids": "ids.txt", "qrels": "own", "split": { "train": "0..2", "base": "2..5", "queries": "5..6" } });
    write(folder.path(), "own", b"f 0 c 1\nf 0 d 1\n");
    let resolved =
        Source::parse(&source).expect("parses").resolve(folder.path(), &SearchPath::default()).expect("resolves");
    let data = resolved.load().expect("loads");
    assert_eq!(data.judgments.expect("judgments").relevant, [relevant(&[(0, 1), (1, 1)])]);
}

#[test]
fn what_does_not_fit_is_refused_with_its_name() {
    let folder = folder();
    files(folder.path());
    write(folder.path(), "qrels", b"q0 0 a 1\nq0 0 x 1\nq9 0 y 1\n");
    write(folder.path(), "good", b"q0 0 a 1\n");
    write(folder.path(), "zeros", b"q0 0 a 0\nq1 0 b -2\n");
    write(folder.path(), "twice.txt", b"a\nb\nc\na\ne\nf\n");
    write(folder.path(), "few.txt", b"a\nb\n");
    write(folder.path(), "latin", b"q\xff 0 a 1\n");
    for (more, expected) in [
        (json!({ "qrels": "qrels", "ids": "ids.txt", "query_ids": "query-ids.csv#_id" }), "1 of the 2 query ids in"),
        (
            json!({ "qrels": "qrels", "ids": "ids.txt", "query_ids": "query-ids.csv#_id" }),
            "query-ids.csv#_id; the first is `q9`",
        ),
        (json!({ "qrels": "good", "query_ids": "query-ids.csv#_id" }), "1 of the 1 document ids in"),
        (
            json!({ "qrels": "good", "query_ids": "query-ids.csv#_id" }),
            "not among the row numbers (name rows with `ids` and `query_ids`); the first is `a`",
        ),
        (
            json!({ "qrels": "zeros", "ids": "ids.txt", "query_ids": "query-ids.csv#_id" }),
            "no base row is relevant to any of the 4 query rows",
        ),
        (
            json!({ "qrels": "good", "ids": "twice.txt", "query_ids": "query-ids.csv#_id" }),
            "line 4: rows 0 and 3 have the same id `a`",
        ),
        (
            json!({ "qrels": "good", "ids": "few.txt", "query_ids": "query-ids.csv#_id" }),
            "few.txt has 2 ids for 6 rows",
        ),
        (
            json!({ "qrels": "good", "ids": "ids.txt", "query_ids": "query-ids.csv" }),
            "name the column of names after a `#`; its columns are `_id`, `text`",
        ),
        (json!({ "qrels": "good", "ids": "ids.txt", "query_ids": "query-ids.csv#id" }), "it has no column `id`"),
        (
            json!({ "qrels": "good", "ids": "corpus.jsonl#t", "query_ids": "query-ids.csv#_id" }),
            "line 2: it has no key `t`",
        ),
        (json!({ "qrels": "good", "ids": "ids.txt#x", "query_ids": "query-ids.csv#_id" }), "leave out `#x`"),
        (json!({ "qrels": "latin" }), "line 1: byte 2 is not UTF-8"),
        (json!({ "qrels": "docs.npy" }), "is not a usable judgments file"),
        (json!({ "qrels": "absent" }), "cannot read"),
        (json!({ "ids": "ids.txt" }), "give the judgments as `qrels`"),
    ] {
        let error = load(folder.path(), &more).expect_err(expected);
        assert!(error.contains(expected), "{more}: {error}");
    }
}

#[test]
fn judgments_are_part_of_what_a_dataset_is() {
    let folder = folder();
    files(folder.path());
    let print = |grade: &str| {
        write(folder.path(), "qrels", format!("0 0 1 {grade}\n").as_bytes());
        let source = Source::parse(&dataset(&json!({ "qrels": "qrels" }))).expect("parses");
        source.resolve(folder.path(), &SearchPath::default()).expect("resolves").summary.fingerprint
    };
    assert_ne!(print("1"), print("2"));
}

#[test]
fn names_may_be_a_column_of_parquet() {
    let folder = folder();
    write(folder.path(), "docs.npy", &npy_of(&Array2::from_shape_fn((50, 2), |(i, j)| (2 * i + j) as f32)));
    write(folder.path(), "queries.npy", &npy_of(&Array2::from_shape_fn((2, 2), |(i, j)| (200 + i + j) as f32)));
    write(folder.path(), "qrels", b"1 0 w49 1\n1 0 w7 2\n");
    let fixture =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string();
    for name in ["snappy.parquet", "none.parquet", "zstd.parquet"] {
        let found = load(folder.path(), &json!({ "qrels": "qrels", "ids": fixture(name) + "#word" })).expect(name);
        assert_eq!(found.relevant[1], relevant(&[(7, 2), (49, 1)]), "{name}");
    }
    for (file, expected) in [
        ("plain.parquet", "name the column of names after a `#`; its columns are `x`, `y`"),
        ("snappy.parquet#embedding", "it has no column"),
        ("polars.parquet#x", "it has no column `x`"),
        ("lists.parquet#number", "has 9 ids for 50 rows"),
        ("plain.parquet#x", "its column `x` holds fractions"),
    ] {
        let error = load(folder.path(), &json!({ "qrels": "qrels", "ids": fixture(file) })).expect_err(file);
        assert!(error.contains(expected), "{file}: {error}");
    }
}
