//! Sign quantization, the method that CONTRIBUTING.md adds step by step: one bit per component, one magnitude for all. It is
//! here in full, in one file over the public contract, and the conformance suite holds it to the laws like any other.

use methods::algorithms::pack::SymbolLayout;
use methods::registry::{Exemption, Family, MethodEntry, Tries, params_of, parse_params, schema_of};
use methods::{
    Backend, CodeRoom, Context, DeviceCodes, DeviceMatrix, MatrixRoom, Method, MethodError, ModelError, ParamError,
    Quantizer, State, Symbols, TrainingRows, decode_rows, encode_rows,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub const ENTRY: MethodEntry = MethodEntry {
    name: "sign",
    family: Some(Family::Binary),
    summary: "The sign of each component, at one magnitude",
    paper: "CONTRIBUTING.md",
    rate: "dim",
    rate_params: &[],
    cost: "fit: O(n · dim); encode: O(dim)",
    examples: &["{}", r#"{"median": true}"#],
    tries: Tries { params: &["{}"], transforms: false },
    exempt: &[
        Exemption {
            law: "distance_from_zero_costs_nothing",
            with: "{}",
            why: "it decodes to plus and minus one magnitude",
        },
        Exemption {
            law: "clusters_far_apart_do_not_hide_the_nearest",
            with: "{}",
            why: "it decodes to plus and minus one magnitude",
        },
    ],
    schema: schema_of::<Sign>,
    parse: parse_params::<Sign>,
};

/// Parameters of `sign`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sign {
    /// Use the median magnitude instead of the mean.
    pub median: bool,
}

impl Method for Sign {
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
        dim
    }

    fn fit_cost(&self, n: usize, dim: usize) -> f64 {
        (n * dim) as f64
    }

    fn encode_cost(&self, dim: usize) -> f64 {
        dim as f64
    }

    fn fit_rows(&self, train: &TrainingRows<'_>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        let mut magnitudes: Vec<f32> = train.host()?.iter().map(|x| x.abs()).collect();
        magnitudes.sort_by(f32::total_cmp);
        let mean = magnitudes.iter().map(|x| f64::from(*x)).sum::<f64>() / magnitudes.len() as f64;
        let magnitude = if self.median { magnitudes[magnitudes.len() / 2] } else { mean as f32 };
        Ok(Box::new(SignQuantizer {
            layout: SymbolLayout::uniform(train.ncols(), 1),
            magnitude,
            backend: cx.backend.clone(),
        }))
    }

    fn restore(&self, dim: usize, state: &mut State, cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let magnitude = state.take("magnitude", 1)?[0];
        Ok(Box::new(SignQuantizer { layout: SymbolLayout::uniform(dim, 1), magnitude, backend: cx.backend.clone() }))
    }
}

struct SignQuantizer {
    layout: SymbolLayout,
    magnitude: f32,
    backend: Arc<dyn Backend>,
}

impl Quantizer for SignQuantizer {
    fn dim(&self) -> usize {
        self.layout.positions()
    }

    fn code_bits(&self) -> usize {
        self.layout.bits()
    }

    fn model_size(&self) -> usize {
        4
    }

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let scratch = || vec![0u16; self.dim()];
        encode_rows(&*self.backend, rows, codes, scratch, |row, code, symbols| {
            symbols.iter_mut().zip(row).for_each(|(symbol, x)| *symbol = u16::from(*x >= 0.0));
            self.layout.pack(symbols, code);
        })
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let scratch = || vec![0u16; self.dim()];
        decode_rows(&*self.backend, codes, rows, scratch, |code, row, symbols| {
            self.layout.unpack(code, symbols)?;
            row.iter_mut().zip(&*symbols).for_each(|(x, s)| *x = self.magnitude * (2.0 * f32::from(*s) - 1.0));
            Ok(())
        })
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(self)
    }

    fn save(&self, state: &mut State) {
        state.put("magnitude", vec![self.magnitude]);
    }
}

impl Symbols for SignQuantizer {
    fn alphabets(&self) -> Vec<usize> {
        vec![2; self.dim()]
    }

    fn position_name(&self, p: usize) -> String {
        format!("dim {p}")
    }

    fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        self.layout.unpack(code, symbols)
    }
}
