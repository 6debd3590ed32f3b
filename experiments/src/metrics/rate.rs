//! How many bits does a vector take, and how large is the model?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
use methods::external::Program;
use methods::registry::schema_of;
use record::Measured;
use record::metric::{BITS_PER_DIM, BITS_PER_VECTOR, CODE_BYTES, CODEWORDS, ENTROPY_BITS_PER_VECTOR, MODEL_BYTES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const ENTRY: MeasureEntry = MeasureEntry {
    name: "rate",
    summary: "Bits per vector and per dimension, nominal and entropy-coded; codewords of the largest codebook; bytes of the model",
    always: true,
    schema: schema_of::<Rate>,
    parse: parse_params::<Rate>,
};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rate {}

/// Bits per vector of an outside program: those of the codes that it returned or, if it stores rows in its own way, by how much
/// its file grows with them. None if what is searched cannot be measured.
fn program_bits(program: &Program, subject: &Subject<'_>) -> Result<Option<f64>, MethodError> {
    let abilities = program.abilities();
    let codes = abilities.encode.then(|| subject.quantizer.code_bits() as f64);
    if !subject.searches_rows() {
        return Ok(codes);
    }
    if !abilities.save {
        return Ok(None);
    }
    // It stores the rows when it is about to search them.
    subject.search()?;
    let grown = program.saved_bytes()?.saturating_sub(subject.quantizer.model_size() as u64);
    // A file that grows by less than a byte per row does not hold the rows.
    let stored = Some((8.0 * grown as f64 / subject.data.base.nrows() as f64).round()).filter(|bits| *bits >= 8.0);
    // What is searched may be larger than the codes.
    Ok(stored.map(|stored| codes.map_or(stored, |codes| stored.max(codes))))
}

impl Measure for Rate {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let quantizer = subject.quantizer;
        let mut out = Vec::new();
        let bits = match quantizer.program() {
            Some(program) => program_bits(program, subject)?,
            None => Some(quantizer.code_bits() as f64),
        };
        if let Some(bits) = bits {
            out.push(Measured::new(&BITS_PER_VECTOR, bits));
            out.push(Measured::new(&BITS_PER_DIM, bits / quantizer.dim() as f64));
            out.push(Measured::new(&CODE_BYTES, (bits / 8.0).ceil()));
        }
        if quantizer.program().is_none_or(|program| program.abilities().save) {
            out.push(Measured::new(&MODEL_BYTES, quantizer.model_size() as f64));
        }
        if let Some(histograms) = subject.histograms()? {
            let symbols: f64 = histograms.usage().iter().map(|usage| usage.entropy_bits).sum();
            out.push(Measured::new(&ENTROPY_BITS_PER_VECTOR, symbols + histograms.side_bits as f64));
            let largest = histograms.counts.iter().map(Vec::len).max();
            out.extend(largest.map(|largest| Measured::new(&CODEWORDS, largest as f64)));
        }
        Ok(out)
    }
}
