//! How many bits does a vector take, and how large is the model?

use super::{Measure, MeasureEntry, Subject, params_of, parse_params};
use methods::MethodError;
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

impl Measure for Rate {
    fn params(&self) -> Value {
        params_of(self)
    }

    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError> {
        let quantizer = subject.quantizer;
        let bits = quantizer.code_bits() as f64;
        let mut out = vec![
            Measured::new(&BITS_PER_VECTOR, bits),
            Measured::new(&BITS_PER_DIM, bits / quantizer.dim() as f64),
            Measured::new(&CODE_BYTES, quantizer.code_size() as f64),
            Measured::new(&MODEL_BYTES, quantizer.model_size() as f64),
        ];
        if let Some(histograms) = subject.histograms()? {
            let symbols: f64 = histograms.usage().iter().map(|usage| usage.entropy_bits).sum();
            out.push(Measured::new(&ENTROPY_BITS_PER_VECTOR, symbols + histograms.side_bits as f64));
            let largest = histograms.counts.iter().map(Vec::len).max().unwrap_or(0);
            out.push(Measured::new(&CODEWORDS, largest as f64));
        }
        Ok(out)
    }
}
