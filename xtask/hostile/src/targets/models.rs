//! Files of trained quantizers. Their checksum is made to fit, so that what stands before it is read.

use crate::room::Room;
use methods::contract::model::{read, write};
use methods::laws::exercise;
use methods::{Context, METHODS, parse};
use ndarray::Array2;
use sha2::{Digest, Sha256};

/// Components of the vectors that the models were trained on.
const DIM: usize = 12;

/// Bytes of the checksum at the end.
const CHECKSUM: usize = 32;

/// A small model of every method, without its checksum.
pub fn seeds() -> Vec<Vec<u8>> {
    let train =
        Array2::from_shape_fn((100, DIM), |(i, j)| ((i * 7919 + j * 104_729 + i * i * (j + 1)) % 1009) as f32 / 500.0);
    let models = METHODS.iter().filter_map(|entry| {
        let method = parse(entry.name, serde_json::from_str(entry.examples.first()?).ok()?).ok()?;
        let quantizer = method.fit(train.view(), &Context::cpu(1)).ok()?;
        let mut file = write(&*method, &*quantizer);
        file.truncate(file.len() - CHECKSUM);
        Some(file)
    });
    models.collect()
}

pub fn check(_: &Room, input: &[u8]) -> Result<(), String> {
    let signed = [input, &Sha256::digest(input)].concat();
    match read(&signed, &Context::cpu(1)) {
        Ok(model) => exercise(&*model.quantizer),
        Err(error) if error.to_string().is_empty() => return Err("an error says nothing".to_owned()),
        Err(_) => {}
    }
    Ok(())
}
