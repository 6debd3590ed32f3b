//! Vectors as they are: 32 bits per component, no error. What every code is compared with in size and speed, and the exact search.

use crate::contract::batch::{decode_rows, encode_rows};
use crate::registry::{Family, MethodEntry, Tries, params_of, parse_params, schema_of};
use crate::{
    Backend, CodeRoom, Context, DeviceCodes, DeviceMatrix, MatrixRoom, Method, MethodError, ModelError, ParamError,
    Quantizer, State, Symbols, TrainingRows,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The registration of this method.
pub const ENTRY: MethodEntry = MethodEntry {
    name: "flat",
    family: Some(Family::Scalar),
    summary: "Vectors as they are, in f32: no error, and the exact search; what codes are compared with",
    paper: "none: nothing is quantized",
    rate: "32 · dim",
    rate_params: &[],
    cost: "fit: O(1); encode: O(dim)",
    examples: &["{}"],
    // A search for a code looks for something smaller.
    tries: Tries { params: &[], transforms: false },
    exempt: &[],
    schema: schema_of::<Flat>,
    parse: parse_params::<Flat>,
};

/// Parameters of `flat`: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Flat {}

/// Bytes of a component.
const COMPONENT: usize = 4;

impl Method for Flat {
    fn name(&self) -> &'static str {
        ENTRY.name
    }

    fn params(&self) -> serde_json::Value {
        params_of(self)
    }

    fn check(&self, _dim: usize) -> Result<(), ParamError> {
        Ok(())
    }

    fn code_bits(&self, dim: usize) -> usize {
        8 * COMPONENT * dim
    }

    fn fit_cost(&self, _n: usize, _dim: usize) -> f64 {
        0.0
    }

    fn score_cost(&self, dim: usize) -> f64 {
        dim as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        cx.cancel.check()?;
        Ok(Box::new(FlatQuantizer { backend: cx.backend.clone(), dim: train.ncols() }))
    }

    fn restore(&self, dim: usize, _state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        Ok(Box::new(FlatQuantizer { backend: cx.backend.clone(), dim }))
    }
}

/// A code holds the components one after the other, each as f32 in little endian.
struct FlatQuantizer {
    backend: Arc<dyn Backend>,
    dim: usize,
}

impl Quantizer for FlatQuantizer {
    fn dim(&self) -> usize {
        self.dim
    }

    fn code_bits(&self) -> usize {
        8 * COMPONENT * self.dim
    }

    fn model_size(&self) -> usize {
        0
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let encode = |row: &[f32], code: &mut [u8], _: &mut ()| {
            for (bytes, x) in code.chunks_exact_mut(COMPONENT).zip(row) {
                bytes.copy_from_slice(&x.to_le_bytes());
            }
        };
        encode_rows(&*self.backend, rows, codes, || (), encode)
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let decode = |code: &[u8], row: &mut [f32], _: &mut ()| {
            for (x, bytes) in row.iter_mut().zip(code.chunks_exact(COMPONENT)) {
                *x = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            match row.iter().position(|x| !x.is_finite()) {
                None => Ok(()),
                Some(position) => Err(MethodError::Side { position, value: row[position] }),
            }
        };
        decode_rows(&*self.backend, codes, rows, || (), decode)
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(self)
    }

    fn save(&self, _state: &mut State) {}
}

/// No symbols: every component is a value beside them.
impl Symbols for FlatQuantizer {
    fn alphabets(&self) -> Vec<usize> {
        Vec::new()
    }

    fn position_name(&self, p: usize) -> String {
        format!("dim {p}")
    }

    fn unpack(&self, code: &[u8], _symbols: &mut [u16]) -> Result<(), MethodError> {
        let expected = COMPONENT * self.dim;
        if code.len() == expected { Ok(()) } else { Err(MethodError::CodeLength { expected, found: code.len() }) }
    }

    fn side_bits(&self) -> usize {
        8 * COMPONENT * self.dim
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_come_back_as_they_were_and_nothing_else_is_a_code() {
        let rows = array![[1.5f32, -0.0, f32::MIN_POSITIVE], [-1e17, 3.0, 1e-40]];
        let quantizer = Flat {}.fit(rows.view(), &Context::cpu(1)).expect("fits");
        let mut codes = vec![0; 24];
        quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
        assert_eq!(codes[..4], 1.5f32.to_le_bytes());
        let mut decoded = ndarray::Array2::zeros((2, 3));
        quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
        assert!(decoded.iter().zip(&rows).all(|(a, b)| a.to_bits() == b.to_bits()), "bit by bit");
        codes[16..20].copy_from_slice(&f32::NAN.to_le_bytes());
        let error = quantizer.decode_into(&codes, decoded.view_mut()).expect_err("NaN");
        assert!(matches!(error, MethodError::Side { position: 1, .. }), "{error}");
    }
}
