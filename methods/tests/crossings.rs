//! How often rows and codes cross the bus between host and device, counted on the emulated device: a step that hands its result to the
//! next one leaves it where it is.

use cuda::Traffic;
use cuda::emulator::{BuildError, Compiler, build};
use methods::backend::CudaBackend;
use methods::search::codes::CodeSearch;
use methods::{Context, SearchMetric, laws};
use ndarray::Array2;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

const ROWS: usize = 300;
const DIM: usize = 12;

#[test]
fn rows_and_codes_cross_the_bus_once_each_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let usual = Compiler::default();
    let compiler = Compiler { program: std::env::var("CXX").unwrap_or(usual.program.clone()), ..usual };
    let library = match build(folder.path(), &compiler) {
        Ok(library) => library,
        Err(missing @ BuildError::NoCompiler(_)) => return eprintln!("skipped: {missing}"),
        Err(error) => panic!("{error}"),
    };
    let device = cuda::Device::emulated(Path::new(&library), 4 << 30).expect("opens");
    let cx = Context::on(Arc::new(CudaBackend::on(device.clone(), cpu::Isa::widest())), 1);
    let (train, rows, queries) =
        (laws::gaussian(ROWS, DIM, 1), laws::gaussian(ROWS, DIM, 2), laws::gaussian(9, DIM, 3));
    let training = json!({ "epochs": 1, "batch": 300 });
    let mlp = |keys: serde_json::Value| json!({ "mlp": keys });
    // Copies to the device and back: at most in a fit; in encoding, decoding and searching once these are prepared. A decoder by codewords
    // also reads how many symbols were outside their alphabet.
    let (plain, checked) = ([(1, 1), (1, 1)], [(1, 1), (1, 2)]);
    let expected = [
        ("pq", json!({ "m": 4, "bits": 4, "iterations": 4 }), (33, 84), checked, (1, 1)),
        // Rows behind a transform stay on the device: up goes the rotation besides, and few rows come back to be checked.
        (
            "pq",
            json!({ "m": 4, "bits": 4, "iterations": 4, "transform": "random-rotation" }),
            (35, 85),
            checked,
            (2, 2),
        ),
        ("opq", json!({ "m": 3, "bits": 4, "iterations": 2, "start": "pca" }), (97, 302), checked, (2, 2)),
        ("rvq", json!({ "stages": 3, "bits": 3, "iterations": 4 }), (79, 204), checked, (1, 1)),
        (
            "lsq",
            json!({ "m": 3, "bits": 3, "iterations": 1, "rounds": 2, "training-rounds": 2 }),
            (101, 248),
            checked,
            (1, 1),
        ),
        ("scalar", json!({ "bits": 4, "transform": "random-rotation" }), (3, 1), plain, (1, 1)),
        (
            "scalar",
            json!({ "bits": 4, "levels": "lloyd-max", "transform": { "pca": { "dim": 6 } } }),
            (4, 1),
            plain,
            (1, 1),
        ),
        (
            "fsq",
            json!({ "levels": [5, 5], "groups": 2, "training": training, "encoder": mlp(json!({ "hidden": 6 })) }),
            (24, 6),
            checked,
            (1, 1),
        ),
        (
            "vqvae",
            json!({ "codewords": 16, "groups": 2, "training": training, "encoder": mlp(json!({ "hidden": 6, "latent": 4 })) }),
            (46, 21),
            checked,
            (1, 1),
        ),
    ];
    for (name, params, fit, [encode, decode], search) in expected {
        let method = methods::parse(name, params.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut before = device.traffic();
        let mut crossed = |what: &str| {
            let since = device.traffic().since(before);
            let Traffic { uploads, uploaded_bytes, downloads, downloaded_bytes } = since;
            println!("{name} {what}: {uploads} up, {uploaded_bytes} bytes; {downloads} down, {downloaded_bytes} bytes");
            before = device.traffic();
            (uploads, downloads)
        };
        let quantizer = method.fit(train.view(), &cx).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (up, down) = crossed("fit");
        assert!(up <= fit.0 && down <= fit.1, "{name} {params}: {up} up, {down} down in a fit");
        let mut codes = vec![0; ROWS * quantizer.code_size()];
        let mut decoded = Array2::zeros((ROWS, DIM));
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
        crossed("preparation");
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        assert_eq!(crossed("encoding"), encode, "{name} {params}");
        quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
        assert_eq!(crossed("decoding"), decode, "{name} {params}");
        let over_codes = CodeSearch::new(&*quantizer, &codes, SearchMetric::L2).expect("holds codes");
        crossed("holding codes");
        over_codes.search(queries.view(), 5).expect("finds");
        assert_eq!(crossed("searching"), search, "{name} {params}");
    }
}
