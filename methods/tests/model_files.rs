//! Model files from outside: damaged, cut short, foreign, or made up; each is refused in clear words, and nothing panics.

use methods::model::{ModelError, read, write};
use methods::{Context, METHODS, Metric, Quantizer, parse};
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

/// What a reader of a strange model must still do: code rows without a panic, or say why not.
fn exercise(quantizer: &dyn Quantizer) {
    if quantizer.dim() > 1000 || quantizer.code_size() > 10_000 {
        return;
    }
    let rows = Array2::from_elem((2, quantizer.dim()), 0.5);
    let mut codes = vec![0; 2 * quantizer.code_size()];
    let mut decoded = Array2::zeros(rows.dim());
    if quantizer.encode_into(rows.view(), &mut codes).is_ok() {
        let _ = quantizer.decode_into(&codes, decoded.view_mut());
    }
    for fill in [0x00, 0x5a, 0xff] {
        codes.fill(fill);
        let _ = quantizer.decode_into(&codes, decoded.view_mut());
        for metric in [Metric::L2, Metric::InnerProduct] {
            if let Some(mut searcher) = quantizer.searcher(metric) {
                searcher.set_query(&vec![0.1; quantizer.dim()]);
                let _ = searcher.score_into(&codes, &mut [0.0; 2]);
            }
        }
    }
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
    assert_eq!(told(b"\x93NUMPY"), "this is no vqbench model: it does not begin with `VQBMODEL`");
    assert!(told(b"VQBMODEL\x07\0\0\0").contains("layout 7"));
    let pq = |dim: usize, arrays: &str| {
        format!(r#"{{"method":"pq","params":{{"m":1,"bits":1}},"dim":{dim},"arrays":[{arrays}]}}"#)
    };
    let book = r#"{"name":"codebook 0","shape":[2,1]}"#;
    read(&forged(&pq(1, book), &[0.0, 1.0]), &cx).expect("a model by hand");
    for (file, reason) in [
        (forged(&pq(1, ""), &[]), "the array `codebook 0` is missing"),
        (forged(&pq(2, book), &[0.0, 1.0]), "has the shape [2, 1]; the parameters call for [2, 2]"),
        (forged(&pq(1, book), &[0.0, f32::NAN]), "holds values that no trained quantizer has"),
        (forged(&pq(1, book), &[0.0]), "this model ends early"),
        (forged(&pq(1, book), &[0.0, 1.0, 2.0]), "its arrays are not what the file holds"),
        (forged(&pq(0, book), &[0.0, 1.0]), "vectors of 0 components"),
        (
            forged(&pq(1, &format!(r#"{book},{{"name":"more","shape":[0]}}"#)), &[0.0, 1.0]),
            "the array `more` belongs to no",
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
