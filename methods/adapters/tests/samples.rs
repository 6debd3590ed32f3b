//! The samples in C++ and in Rust: the same quantizer over two clients gives the same codes, also when another process has trained it.
#![cfg(unix)]

mod common;
#[path = "common/shell.rs"]
mod shell;

use adapters::{Held, Metric, Session, Singles, Timing};
use common::compiled;
use ndarray::Array2;
use serde_json::json;
use shell::host;
use std::path::{Path, PathBuf};
use std::process::Command;

const DIM: usize = 6;

fn rows(count: usize, shift: f32) -> Array2<f32> {
    Array2::from_shape_fn((count, DIM), |(i, j)| ((i * DIM + j) as f32 * 0.37 + shift).sin())
}

/// Builds the sample in Rust, which belongs to no workspace and needs no network.
fn sample_in_rust() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/int8-rust");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("int8-rust");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--locked", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    let status = cargo.arg("--target-dir").arg(&target).env("RUSTFLAGS", "-D warnings").status().expect("starts");
    assert!(status.success(), "it does not compile");
    target.join("debug/int8")
}

#[test]
fn samples_in_both_languages_give_the_same() {
    let Some(compiled) = compiled() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let timing = Some(Timing { repeats: 3, min_seconds: 0.001 });
    let singles = Some(Singles { queries: 25, seconds: 0.001 });
    let (train, base, queries) = (rows(50, 0.0), rows(40, 0.1), rows(30, 0.2));
    for metric in [Metric::L2, Metric::Ip] {
        let ask = |program: &Path, name: &str| {
            let command = [program.to_string_lossy().into_owned()];
            let start = || {
                let mut session = Session::start(&host(folder.path()), &command, 2).expect("starts");
                let refused = session.hello(&json!({ "levels": 1.5 }), Some(DIM)).expect_err("refused").to_string();
                assert!(refused.starts_with("the adapter refused `hello`: `levels` must be a"), "{refused}");
                let hello = session.hello(&json!({ "levels": 100 }), Some(DIM)).expect("says hello");
                assert_eq!((hello.name.as_str(), hello.code_bytes, hello.seedable), (name, Some(DIM), true));
                session
            };
            let mut session = start();
            session.fit(train.view(), 1, metric).expect("fits");
            let (codes, size, laps) = session.encode(base.view(), timing).expect("encodes");
            assert_eq!((size, laps.len()), (DIM, 3));
            let (decoded, _) = session.decode(&codes, size, timing).expect("decodes");
            let found =
                session.search(Held::Codes(&codes, size), queries.view(), 7, timing, singles).expect("searches");
            assert!((20..=25).contains(&found.singles.len()), "{:?}", found.singles);
            let more = session.search(Held::Same, queries.view(), 100, None, None).expect("searches");
            assert!(more.ids.iter().all(|ids| ids.len() == 40), "there are no more rows");
            let model = folder.path().join("model");
            session.save_to(&model).expect("saves");
            assert_eq!(session.saved_bytes().expect("saves"), model.metadata().expect("a file").len());
            session.bye().expect("ends");

            let mut another = start();
            another.restore(&model, DIM, metric).expect("restores");
            assert_eq!(another.encode(base.view(), None).expect("encodes").0, codes);
            let again = another.search(Held::Codes(&codes, size), queries.view(), 7, None, None).expect("searches");
            assert_eq!(again.ids, found.ids);
            another.bye().expect("ends");
            (codes, decoded, found.ids)
        };
        let first = ask(&compiled.int8, "int8 sample");
        let second = ask(&sample_in_rust(), "int8 sample in Rust");
        assert_eq!(first, second);
        let error = (&first.1 - &base).mapv(f32::abs).fold(0.0, |most: f32, error| most.max(*error));
        assert!(error > 0.0 && error <= 1.01 / 99.0, "half a step of a hundredth of the range: {error}");
    }
}
