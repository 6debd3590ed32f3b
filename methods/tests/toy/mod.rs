//! Sign quantization, the method that CONTRIBUTING.md adds step by step: one bit per component, one magnitude for all. It is
//! here in full, in one file over the public contract, and the conformance suite holds it to the laws like any other.

use methods::algorithms::pack::Layout;
use methods::registry::{Exemption, MethodEntry, params_of, parse_params, schema_of};
use methods::{
    Context, Method, MethodError, ModelError, ParamError, Quantizer, State, Symbols, check_batch, check_train,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub const ENTRY: MethodEntry = MethodEntry {
    name: "sign",
    summary: "The sign of each component, at one magnitude",
    paper: "CONTRIBUTING.md",
    rate: "dim",
    cost: "fit: O(n · dim); encode: O(dim)",
    examples: &["{}", r#"{"median": true}"#],
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

    fn fit(&self, train: ArrayView2<'_, f32>, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError> {
        check_train(train, cx)?;
        let mut magnitudes: Vec<f32> = train.iter().map(|x| x.abs()).collect();
        magnitudes.sort_by(f32::total_cmp);
        let mean = magnitudes.iter().map(|x| f64::from(*x)).sum::<f64>() / magnitudes.len() as f64;
        let magnitude = if self.median { magnitudes[magnitudes.len() / 2] } else { mean as f32 };
        Ok(Box::new(SignQuantizer { layout: Layout::uniform(train.ncols(), 1), magnitude }))
    }

    fn restore(&self, dim: usize, state: &mut State, _cx: &Context) -> Result<Box<dyn Quantizer>, ModelError> {
        let magnitude = state.take("magnitude", 1)?[0];
        Ok(Box::new(SignQuantizer { layout: Layout::uniform(dim, 1), magnitude }))
    }
}

struct SignQuantizer {
    layout: Layout,
    magnitude: f32,
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

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        check_batch(self.dim(), self.code_size(), rows.dim(), codes.len())?;
        for (row, code) in rows.outer_iter().zip(codes.chunks_exact_mut(self.code_size())) {
            let symbols: Vec<u16> = row.iter().map(|x| u16::from(*x >= 0.0)).collect();
            self.layout.pack(&symbols, code);
        }
        Ok(())
    }

    fn decode_into(&self, codes: &[u8], mut rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        check_batch(self.dim(), self.code_size(), rows.dim(), codes.len())?;
        let mut symbols = vec![0; self.dim()];
        for (mut row, code) in rows.outer_iter_mut().zip(codes.chunks_exact(self.code_size())) {
            self.layout.unpack(code, &mut symbols)?;
            row.iter_mut().zip(&symbols).for_each(|(x, s)| *x = self.magnitude * (2.0 * f32::from(*s) - 1.0));
        }
        Ok(())
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
