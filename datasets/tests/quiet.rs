//! A file on which a reader of another crate panics is an error, and nothing is printed beside it. A test of its own process,
//! since the hook that sees panics belongs to all threads.

use datasets::format;
use std::panic::{self, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

static REPORTED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_contained_panic_is_not_reported_and_every_other_is() {
    panic::set_hook(Box::new(|_| {
        REPORTED.fetch_add(1, Ordering::SeqCst);
    }));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snappy.parquet");
    let mut bytes = std::fs::read(fixture).expect("a fixture");
    bytes[682] = 1;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.parquet");
    std::fs::write(&path, bytes).expect("writes");
    for _ in 0..2 {
        let error = format::shape(&path).and_then(|_| format::read(&path).map(drop)).expect_err("damaged").to_string();
        assert!(error.contains("the reader gave up on it"), "the reader panics on this file: {error}");
    }
    assert_eq!(REPORTED.load(Ordering::SeqCst), 0, "of contained panics");
    assert!(catch_unwind(|| panic!("outside")).is_err());
    assert!(std::thread::spawn(|| panic!("on another thread")).join().is_err());
    assert_eq!(REPORTED.load(Ordering::SeqCst), 2, "of all others");
}
