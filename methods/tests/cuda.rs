//! The laws on the CUDA backend: on the device of this machine where there is one, and on the host's emulation of one everywhere else.

use cpu::Isa;
use cuda::emulator::{BuildError, Compiler, build};
use methods::backend::{Backend, CudaBackend, Devices};
use methods::laws::{self, Bench};
use methods::search::codes::CodeSearch;
use methods::{Context, MethodError, SearchMetric, TrainingRows};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where the laws are kept, and whether that is a real device: an emulated one where there is none, nothing where there is no C++ compiler
/// either.
fn bench() -> Option<(Bench, bool)> {
    static BENCH: OnceLock<Option<(Bench, bool)>> = OnceLock::new();
    let found = BENCH.get_or_init(|| match Devices::default().open("cuda") {
        Ok(backend) => Some((Bench::on(backend), true)),
        Err(missing) => {
            eprintln!("emulated: {missing}");
            let device = cuda::Device::emulated(emulator()?, 4 << 30).expect("opens");
            Some((Bench::on(Arc::new(CudaBackend::on(device, Isa::widest()))), false))
        }
    });
    found.clone()
}

/// The emulator, built once; nothing where there is no C++ compiler.
fn emulator() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let usual = Compiler::default();
    let compiler = Compiler { program: std::env::var("CXX").unwrap_or(usual.program.clone()), ..usual };
    let library =
        LIBRARY.get_or_init(|| match build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("laws"), &compiler) {
            Ok(library) => Some(library),
            Err(missing @ BuildError::NoCompiler(_)) => {
                eprintln!("skipped: {missing}");
                None
            }
            Err(error) => panic!("{error}"),
        });
    library.as_deref()
}

/// What an emulated device has time for: it takes a second for what a real one does in a millisecond, and each law fits every method
/// several times.
fn few(name: &str) -> bool {
    name == "kmeans"
}

macro_rules! tests_of_laws {
    ($($law:ident),*) => {
        $(#[test]
        fn $law() {
            if let Some((bench, real)) = bench() {
                let bench = if real { bench } else { bench.only(few) };
                laws::$law(&bench);
            }
        })*
    };
}
methods::for_each_law!(tests_of_laws);

/// All methods but those of local searches, fitted on the processor.
#[test]
fn what_the_processor_trained_is_coded_the_same() {
    if let Some((bench, false)) = bench() {
        let bench = bench.only(|name| name != "lsq");
        laws::codes_agree_with_those_of_the_processor(&bench);
        laws::scans_agree_with_those_of_the_processor(&bench);
    }
}

/// Encoders, decoders and codewords on the device, gradients on the processor: training ends as well as with all of it there.
#[test]
fn a_learned_bottleneck_trains_as_well() {
    let Some((bench, false)) = bench() else { return };
    let (train, rows) = (laws::gaussian(300, 8, 4), laws::gaussian(100, 8, 5));
    let training = serde_json::json!({ "epochs": 2, "batch": 100 });
    let encoder = serde_json::json!({ "mlp": { "hidden": 6, "latent": 4 } });
    for (name, mut params) in [
        ("fsq", serde_json::json!({ "levels": [5, 5] , "groups": 2 })),
        ("vqvae", serde_json::json!({ "codewords": 16, "groups": 2 })),
        ("rvqvae", serde_json::json!({ "stages": 2, "codewords": 16 })),
    ] {
        params["training"] = training.clone();
        params["encoder"] = encoder.clone();
        let method = methods::parse(name, params).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mse = |cx: &Context| {
            let quantizer = method.fit(train.view(), cx).unwrap_or_else(|e| panic!("{name}: {e}"));
            let codes = laws::encode(&*quantizer, rows.view());
            laws::mse(rows.view(), laws::decode(&*quantizer, &codes).view())
        };
        let (here, there) = (mse(&Context::cpu(1)), mse(&bench.context(1)));
        assert!((here - there).abs() <= 1e-3 * here, "{name}: {there} for {here}");
    }
}

/// A device has no scan of symbols wider than a byte: it searches decoded rows, and finds what the processor finds by tables.
#[test]
fn codes_of_wide_symbols_are_searched_as_rows() {
    let Some((bench, _)) = bench() else { return };
    // More codes than codewords: fewer are searched as rows everywhere.
    let (rows, queries) = (laws::gaussian(700, 4, 3), laws::gaussian(9, 4, 4));
    let params = serde_json::json!({ "m": 2, "bits": 9, "iterations": 1 });
    let method = methods::parse("pq", params).expect("parses");
    let here = method.fit(rows.view(), &Context::cpu(1)).expect("fits");
    let file = methods::contract::model::write(&*method, &*here);
    let there = methods::contract::model::read(&file, &bench.context(1)).expect("reads").quantizer;
    let codes = laws::encode(&*here, rows.view());
    for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
        let [by_tables, by_rows] =
            [&here, &there].map(|quantizer| CodeSearch::new(&**quantizer, &codes, metric).expect("prepares"));
        assert_eq!((by_tables.path(), by_rows.path()), ("adc", "decode"));
        let [by_tables, by_rows] = [by_tables, by_rows].map(|search| search.search(queries.view(), 5).expect("finds"));
        for (by_tables, by_rows) in by_tables.iter().flatten().zip(by_rows.iter().flatten()) {
            let gap = (by_tables.score - by_rows.score).abs();
            assert!(gap <= 1e-4 * (1.0 + by_tables.score.abs()), "{metric:?}: {by_rows:?} for {by_tables:?}");
        }
    }
}

/// Rows behind a transform are checked where they are: by their norms, and on the host if these say that something may be wrong.
#[test]
fn rows_behind_a_transform_are_checked_on_the_device() {
    let Some((bench, false)) = bench() else { return };
    let method = methods::parse(
        "kmeans",
        serde_json::json!({ "codewords": 4, "iterations": 2, "transform": "random-rotation" }),
    );
    let method = method.expect("parses");
    let mut rows = laws::gaussian(2500, 4, 6);
    let (here, there) = (Context::cpu(1), bench.context(1));
    let mse = |cx: &Context| {
        let quantizer = method.fit(rows.view(), cx).expect("fits");
        laws::mse(rows.view(), laws::decode(&*quantizer, &laws::encode(&*quantizer, rows.view())).view())
    };
    let (a, b) = (mse(&here), mse(&there));
    assert!((a - b).abs() <= 1e-2 * a, "{a} and {b}");
    // Within the range of f32 before the rotation, and beyond it in one component behind it.
    rows.row_mut(1777).fill(4.9e17);
    for cx in [&here, &there] {
        let error = method.fit(rows.view(), cx).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("squared distances overflow f32"), "{error}");
    }
    // One NaN among rows that are right, before and after it.
    let mut rows = laws::gaussian(2500, 4, 6);
    rows[(1777, 2)] = f32::NAN;
    for cx in [&here, &there] {
        let error = TrainingRows::on_backend(cx.backend.upload(rows.view()).expect("uploads"), cx).err();
        assert!(matches!(error, Some(MethodError::NonFinite { row: 1777, column: 2, .. })), "{error:?}");
    }
}

/// Work that can be split is; what cannot is an error that says what was wanted and what is there.
#[test]
fn a_small_memory_splits_work_or_says_so() {
    let Some(library) = emulator() else { return };
    // A copy of its own, with a memory of its own.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("small.so");
    std::fs::copy(library, &copy).expect("copies");
    let backend = Arc::new(CudaBackend::on(cuda::Device::emulated(&copy, 300 << 10).expect("opens"), Isa::widest()));
    let rows = laws::gaussian(9000, 8, 3);
    let method = methods::parse("pq", serde_json::json!({ "m": 4, "bits": 3 })).expect("parses");
    let here = method.fit(rows.view(), &Context::cpu(1)).expect("fits");
    let file = methods::contract::model::write(&*method, &*here);
    let there = Context { backend: backend.clone(), ..Context::cpu(1) };
    let restored = methods::contract::model::read(&file, &there).expect("reads").quantizer;
    let codes = laws::encode(&*here, rows.view());
    assert_eq!(laws::encode(&*restored, rows.view()), codes, "288 kB of rows do not fit beside what else there is");
    assert_eq!(laws::decode(&*restored, &codes), laws::decode(&*here, &codes));
    assert!(backend.peak_device_bytes().is_some_and(|bytes| (1..=300 << 10).contains(&bytes)));
    let error = method.fit(laws::gaussian(20_000, 8, 3).view(), &there).err().expect("640 kB of training rows");
    let text = error.to_string();
    assert!(text.contains("the device is out of memory") && text.contains("of 307200"), "{text}");
}
