//! Model files from outside: damaged, cut short, foreign, or made up; each is refused in clear words, and nothing panics.

use methods::contract::model::{ModelError, read, write};
use methods::laws::exercise;
use methods::{Context, METHODS, parse};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

const DIM: usize = 12;

fn files() -> Vec<(String, Vec<u8>)> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let train = Array2::from_shape_fn((100, DIM), |_| StandardNormal.sample(&mut rng));
    let mut files = Vec::new();
    for entry in METHODS {
        for example in entry.examples {
            let method = parse(entry.name, serde_json::from_str(example).expect("JSON")).expect("parses");
            let quantizer = method.fit(train.view(), &Context::cpu(1)).expect("fits");
            files.push((format!("{} {example}", entry.name), write(&*method, &*quantizer)));
        }
    }
    files
}

/// With a checksum that fits what comes before it.
fn signed(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = Sha256::digest(&content);
    content.extend(checksum);
    content
}

#[test]
fn a_cut_file_is_told_wherever_it_is_cut() {
    let cx = Context::cpu(1);
    for (name, file) in files() {
        for length in (0..file.len()).step_by(1 + file.len() / 400) {
            let error = read(&file[..length], &cx).err().unwrap_or_else(|| panic!("{name} cut to {length} bytes"));
            let clear = matches!(error, ModelError::Foreign | ModelError::Truncated { .. } | ModelError::Checksum);
            assert!(clear, "{name} cut to {length} bytes: {error}");
        }
        let longer = [&file[..], b"more"].concat();
        assert!(matches!(read(&longer, &cx), Err(ModelError::Checksum)), "{name}: bytes after the end");
    }
}

#[test]
fn a_damaged_byte_is_told_wherever_it_is() {
    let cx = Context::cpu(1);
    for (name, file) in files() {
        for at in (0..file.len()).step_by(1 + file.len() / 400) {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let error = read(&damaged, &cx).err().unwrap_or_else(|| panic!("{name}, byte {at}"));
            let clear = matches!(
                error,
                ModelError::Foreign | ModelError::Version(_) | ModelError::Truncated { .. } | ModelError::Checksum
            );
            assert!(clear, "{name}, byte {at}: {error}");
        }
    }
}

/// Made up on purpose, with a checksum that fits: anything but a panic, in reading or in what follows.
#[test]
fn a_forged_file_is_refused_or_works() {
    let cx = Context::cpu(1);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (mut refused, mut worked) = (0, 0);
    for (_, file) in files() {
        let content = &file[..file.len() - 32];
        for _ in 0..150 {
            let mut forged = content.to_vec();
            for _ in 0..rng.random_range(1..4) {
                // Half of the changes in the header, where they hurt most.
                let reach = if rng.random() { 400.min(forged.len()) } else { forged.len() };
                let at = rng.random_range(12..reach);
                match rng.random_range(0..4) {
                    0 => forged[at] = rng.random(),
                    1 => forged[at] ^= 1 << rng.random_range(0..8),
                    2 => forged[at] = b"0123456789-[]{}\","[rng.random_range(0..17)],
                    _ => drop(forged.drain(at..(at + rng.random_range(1..9)).min(forged.len()))),
                }
            }
            match read(&signed(forged), &cx) {
                Ok(model) => {
                    exercise(&*model.quantizer);
                    worked += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100 && worked > 100, "both happen: {refused} refused, {worked} worked");
}

#[test]
fn each_refusal_says_what_is_wrong() {
    let cx = Context::cpu(1);
    let told = |file: &[u8]| read(file, &cx).expect_err("it is wrong").to_string();
    let forged = |header: &str, values: &[f32]| {
        let mut file = b"VQBMODEL\x01\0\0\0".to_vec();
        file.extend((header.len() as u64).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        signed(file)
    };
    assert_eq!(told(b"\x93NUMPY"), "this is not a vqbench model: it does not begin with `VQBMODEL`");
    assert!(told(b"VQBMODEL\x07\0\0\0").contains("layout 7"));
    let pq = |dim: usize, arrays: &str| {
        format!(r#"{{"method":"pq","params":{{"m":1,"bits":1}},"dim":{dim},"arrays":[{arrays}]}}"#)
    };
    let book = r#"{"name":"codebook 0","shape":[2,1]}"#;
    read(&forged(&pq(1, book), &[0.0, 1.0]), &cx).expect("a model by hand");
    for (file, reason) in [
        (forged(&pq(1, ""), &[]), "the array `codebook 0` is missing"),
        (forged(&pq(2, book), &[0.0, 1.0]), "has the shape [2, 1]; the parameters require [2, 2]"),
        (forged(&pq(1, book), &[0.0, f32::NAN]), "holds values that cannot come from training"),
        (forged(&pq(1, book), &[0.0]), "this model is truncated"),
        (forged(&pq(1, book), &[0.0, 1.0, 2.0]), "its arrays are not what the file holds"),
        (forged(&pq(0, book), &[0.0, 1.0]), "vectors of 0 components"),
        (
            forged(&pq(1, &format!(r#"{book},{{"name":"more","shape":[0]}}"#)), &[0.0, 1.0]),
            "the array `more` does not belong to",
        ),
        (forged(r#"{"method":"nq","params":{},"dim":1,"arrays":[]}"#, &[]), "unknown method `nq`"),
        (forged(r#"{"method":"pq","params":{"m":3},"dim":4,"arrays":[]}"#, &[]), "d=4 is not divisible by m=3"),
        (
            forged(r#"{"method":"pq","params":{"m":1,"bits":60},"dim":4,"arrays":[]}"#, &[]),
            "`bits: 60` is out of range",
        ),
        (forged("not JSON", &[]), "the header of this model is malformed"),
        (
            forged(&pq(1, r#"{"name":"codebook 0","shape":[9223372036854775807,9223372036854775807]}"#), &[0.0]),
            "its arrays are not what the file holds",
        ),
    ] {
        assert!(told(&file).contains(reason), "{}, expected: {reason}", told(&file));
    }
}

/// Parameters may call for networks of gigabytes; a file that does not hold them must be refused before memory is taken
/// for them.
#[test]
fn a_header_that_calls_for_more_than_the_file_holds_is_refused() {
    let cx = Context::cpu(1);
    let file = |method: &str, params: &serde_json::Value, dim: usize, arrays: &[(&str, Vec<usize>)]| {
        let shapes: Vec<_> =
            arrays.iter().map(|(name, shape)| serde_json::json!({ "name": name, "shape": shape })).collect();
        let header =
            serde_json::json!({ "method": method, "params": params, "dim": dim, "arrays": shapes }).to_string();
        let mut file = b"VQBMODEL\x01\0\0\0".to_vec();
        file.extend((header.len() as u64).to_le_bytes());
        file.extend(header.as_bytes());
        let values: usize = arrays.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        file.extend(std::iter::repeat_n(1f32.to_le_bytes(), values).flatten());
        signed(file)
    };
    let told = |method: &str, params: serde_json::Value, dim: usize| {
        // As far as an attacker gets for little: a mean and a scale.
        let small = if dim < 1 << 16 { dim } else { 1 };
        let arrays = [("mean", vec![small]), ("scale", vec![1])];
        match read(&file(method, &params, dim, &arrays), &cx) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{method} {params} takes {dim} components on trust"),
        }
    };
    let big = |encoder: serde_json::Value| serde_json::json!({ "bits": 8, "encoder": encoder });
    // Too large for anyone.
    for (method, params, dim, reason) in [
        ("qat", big(serde_json::json!({ "mlp": { "hidden": 65536, "latent": 8192 } })), 1 << 20, "too many"),
        ("qat", big(serde_json::json!({ "mlp": { "hidden": 65536, "latent": 8192 } })), 8192, "weights each way"),
        ("qat", big(serde_json::json!({ "mlp": { "hidden": 1u64 << 63 } })), 8, "out of range"),
        ("qat", big(serde_json::json!({ "linear": { "latent": u64::MAX } })), 8, "out of range"),
        (
            "qat",
            big(serde_json::json!({ "conv": { "size": 256, "channels": 1, "features": 1024 } })),
            1 << 16,
            "too many",
        ),
        (
            "qat",
            big(serde_json::json!({ "conv": { "size": 88, "channels": 1, "features": 1024 } })),
            7744,
            "weights each way",
        ),
        ("qat", big(serde_json::json!({ "conv": { "size": 1u64 << 62 } })), 8, "out of range"),
        ("lfq", serde_json::json!({ "bits": 65536 }), 8, "too many"),
        ("vqvae", serde_json::json!({ "codewords": u64::MAX, "groups": u64::MAX }), 8, "out of range"),
        ("fsq", serde_json::json!({ "levels": [2, 2], "groups": u64::MAX }), 8, "out of range"),
        ("gumbel", serde_json::json!({ "codewords": u64::MAX }), 8, "out of range"),
        ("rvqvae", serde_json::json!({ "stages": u64::MAX }), 8, "out of range"),
    ] {
        let found = told(method, params.clone(), dim);
        assert!(found.contains(reason), "{method} {params}: {found}");
    }
    // Large, and allowed if only the file held it.
    let mlp = serde_json::json!({ "mlp": { "hidden": 65536, "latent": 4000 } });
    let conv = serde_json::json!({ "conv": { "size": 88, "channels": 1, "features": 170, "latent": 1 } });
    let patches = serde_json::json!({ "conv": { "size": 4, "channels": 1, "features": 1024, "latent": 8 } });
    for (method, params, dim) in [
        ("qat", big(mlp.clone()), 1),
        ("qat", big(conv), 7744),
        ("qat", big(patches), 16),
        ("qat", big(serde_json::json!({ "linear": { "latent": 8192 } })), 8192),
        ("vqvae", serde_json::json!({ "codewords": 65536, "groups": 4096 }), 8192),
        ("simvq", serde_json::json!({ "codewords": 65536, "groups": 4000, "encoder": mlp }), 1),
        ("gumbel", serde_json::json!({ "codewords": 65536, "groups": 4096 }), 8),
        ("rvqvae", serde_json::json!({ "stages": 256, "codewords": 65536, "beam": 256 }), 8192),
        ("fsq", serde_json::json!({ "levels": [256, 256], "groups": 4096 }), 8192),
        ("lfq", serde_json::json!({ "bits": 8192 }), 8192),
    ] {
        let found = told(method, params.clone(), dim);
        assert!(found.contains("the array `encoder weights 0` is missing"), "{method} {params}: {found}");
    }
    // Without a network it is the codebooks that are missing.
    let params = serde_json::json!({ "codewords": 65536, "groups": 4096, "encoder": "identity" });
    for method in ["vqvae", "simvq", "gumbel"] {
        assert!(told(method, params.clone(), 8192).contains("the array `codebook 0` is missing"), "{method}");
    }
}
