//! Methods of this build as subjects.

use crate::subject::{Codes, Found, Held, Refusal, Subject, Trained};
use methods::contract::model;
use methods::{Context, Method, Quantizer, SearchMetric, parse};
use ndarray::{Array2, ArrayView2};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A method of this build.
pub struct Own(pub Box<dyn Method>);

/// Methods whose code of a row is the nearest of all codes by definition.
const NEAREST: [&str; 6] = ["lbg", "kmeans", "vq", "pq", "opq", "scalar"];

/// A panic as a refusal: it is what a check looks for.
fn guarded<T>(verb: &'static str, work: impl FnOnce() -> Result<T, String>) -> Result<T, Refusal> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|message| Refusal::Error { verb, message }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(Refusal::Broken { verb, message: format!("a panic: {}", text.unwrap_or_default()) })
        }
    }
}

impl Subject for Own {
    fn name(&self) -> String {
        format!("{} {}", self.0.name(), self.0.params())
    }

    fn accepts(&self, dim: usize) -> Result<(), String> {
        self.0.check(dim).map_err(|error| error.to_string())
    }

    fn seedable(&self) -> bool {
        true
    }

    fn nearest(&self) -> bool {
        let params = self.0.params();
        // With a scale per vector, a decoded vector has a span of its own. A transform may leave components out.
        let per_vector = params["scope"] == "vector" || params["scope"].is_object();
        NEAREST.contains(&self.0.name()) && !per_vector && params["transform"].is_null() && params["dim"].is_null()
    }

    fn fit(
        &self,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        let fit = || self.0.fit(rows, &Context::cpu(seed)).map_err(|error| error.to_string());
        let quantizer = guarded("fit", fit)?;
        Ok(Box::new(OwnTrained { method: &*self.0, quantizer, metric }))
    }

    fn restore(&self, file: &[u8], _: usize, metric: SearchMetric) -> Result<Box<dyn Trained + '_>, Refusal> {
        // Another seed: nothing of it may matter.
        let read = || model::read(file, &Context::cpu(987)).map_err(|error| error.to_string());
        let quantizer = guarded("restore", read)?.quantizer;
        Ok(Box::new(OwnTrained { method: &*self.0, quantizer, metric }))
    }

    fn at_bits(&self, bits: u64) -> Option<Box<dyn Subject>> {
        let mut params = self.0.params();
        params.get("bits")?;
        params["bits"] = bits.into();
        // Another way to say the same.
        params.as_object_mut()?.shift_remove("codewords");
        Some(Box::new(Own(parse(self.0.name(), params).ok()?)))
    }

    fn registered(&self) -> Option<(String, Value)> {
        Some((self.0.name().to_owned(), self.0.params()))
    }
}

struct OwnTrained<'s> {
    method: &'s dyn Method,
    quantizer: Box<dyn Quantizer>,
    metric: SearchMetric,
}

impl Trained for OwnTrained<'_> {
    fn encode(&self, rows: ArrayView2<'_, f32>) -> Result<Codes, Refusal> {
        let size = self.quantizer.code_size();
        let mut bytes = vec![0xee; rows.nrows() * size];
        guarded("encode", || self.quantizer.encode_into(rows, &mut bytes).map_err(|error| error.to_string()))?;
        Ok(Codes { size, bytes })
    }

    fn decode(&self, codes: &Codes) -> Result<Array2<f32>, Refusal> {
        let mut rows = Array2::from_elem((codes.rows(), self.quantizer.dim()), f32::NAN);
        let decode = || self.quantizer.decode_into(&codes.bytes, rows.view_mut()).map_err(|error| error.to_string());
        guarded("decode", decode)?;
        Ok(rows)
    }

    fn search(&self, held: Held<'_>, queries: ArrayView2<'_, f32>, k: usize) -> Result<Found, Refusal> {
        let Held::Codes(codes) = held else { return Err(Refusal::Missing("search vectors")) };
        let Some(mut searcher) = self.quantizer.searcher(self.metric) else {
            return Err(Refusal::Missing("search codes"));
        };
        let queries = queries.as_standard_layout();
        guarded("search", || {
            let one = |query: ndarray::ArrayView1<'_, f32>| {
                searcher.set_query(query.as_slice().unwrap_or_default());
                let mut found: Vec<i64> = searcher
                    .top_k(&codes.bytes, codes.size, k)
                    .map_err(|error| error.to_string())?
                    .iter()
                    .map(|neighbor| i64::from(neighbor.id))
                    .collect();
                found.resize(k.max(found.len()), -1);
                Ok(found)
            };
            queries.outer_iter().map(one).collect()
        })
    }

    fn estimates(&self) -> Option<bool> {
        self.quantizer.searcher(self.metric).map(|searcher| searcher.is_estimate())
    }

    fn save(&self) -> Result<Vec<u8>, Refusal> {
        Ok(model::write(self.method, &*self.quantizer))
    }
}
