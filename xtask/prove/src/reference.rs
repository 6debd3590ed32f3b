//! Six codecs of few lines, written without the library, and mutants of them: by these the checks themselves are checked.
//!
//! A right codec must pass every check, for any seed, and a mutant must fail one. The program `reference-adapter` speaks the protocol of
//! adapters with them, and [`InProcess`] makes subjects of them without a process.

pub mod codec;
pub mod engine;
pub mod mutations;
pub mod parts;

use crate::subject::{Codes, Found, Held, Refusal, Subject, Trained};
use engine::Engine;
use methods::SearchMetric;
use ndarray::{Array2, ArrayView2};
use serde_json::{Value, json};
use std::cell::RefCell;

/// The codecs, each with the method of ours that it is like (name, parameters).
pub fn codecs() -> [(Value, &'static str, Value); 6] {
    [
        (json!({ "codec": "int8" }), "scalar", json!({ "bits": 8, "scope": "tensor", "range": "minmax" })),
        (json!({ "codec": "int8-dim" }), "scalar", json!({ "bits": 8, "scope": "dimension", "range": "minmax" })),
        (json!({ "codec": "pq", "m": 4, "bits": 4 }), "pq", json!({ "m": 4, "bits": 4 })),
        (
            json!({ "codec": "rotated-pq", "m": 4, "bits": 4 }),
            "pq",
            json!({ "m": 4, "bits": 4, "transform": "random-rotation" }),
        ),
        (json!({ "codec": "signs" }), "rabitq", json!({ "bits": 1 })),
        (json!({ "codec": "rvq", "stages": 3, "bits": 4 }), "rvq", json!({ "stages": 3, "bits": 4, "beam": 1 })),
    ]
}

/// A codec without a process. What stands for a process is an engine that is used again for the next training.
pub struct InProcess {
    params: Value,
    idle: RefCell<Vec<Engine>>,
}

impl InProcess {
    /// The codec with these parameters.
    pub fn new(params: Value) -> InProcess {
        InProcess { params, idle: RefCell::default() }
    }

    fn trained(&self, engine: Engine) -> Box<dyn Trained + '_> {
        Box::new(InUse { engine: RefCell::new(Some(engine)), of: self })
    }

    fn fresh(&self) -> Result<Engine, Refusal> {
        Engine::new(&self.params).map_err(|message| Refusal::Error { verb: "hello", message })
    }

    fn fit_with(
        &self,
        mut engine: Engine,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        match engine.fit(rows, seed, metric) {
            Ok(()) => Ok(self.trained(engine)),
            Err(message) => {
                self.idle.borrow_mut().push(engine);
                Err(Refusal::Error { verb: "fit", message })
            }
        }
    }
}

impl Subject for InProcess {
    fn name(&self) -> String {
        self.params.to_string()
    }

    fn accepts(&self, dim: usize) -> Result<(), String> {
        Engine::new(&self.params)?.accepts(dim)
    }

    fn seedable(&self) -> bool {
        true
    }

    fn fit(
        &self,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        let engine = self.idle.borrow_mut().pop();
        let engine = engine.map_or_else(|| self.fresh(), Ok)?;
        self.fit_with(engine, rows, seed, metric)
    }

    fn fit_afresh(
        &self,
        rows: ArrayView2<'_, f32>,
        seed: u64,
        metric: SearchMetric,
    ) -> Result<Box<dyn Trained + '_>, Refusal> {
        self.fit_with(self.fresh()?, rows, seed, metric)
    }

    fn restore(&self, model: &[u8], _: usize, metric: SearchMetric) -> Result<Box<dyn Trained + '_>, Refusal> {
        let mut engine = self.fresh()?;
        engine.restore(model, metric).map_err(|message| Refusal::Error { verb: "restore", message })?;
        Ok(self.trained(engine))
    }

    fn at_bits(&self, bits: u64) -> Option<Box<dyn Subject>> {
        let mut params = self.params.clone();
        params.get("bits")?;
        params["bits"] = bits.into();
        Some(Box::new(InProcess::new(params)))
    }
}

struct InUse<'s> {
    /// None only while it is dropped.
    engine: RefCell<Option<Engine>>,
    of: &'s InProcess,
}

impl InUse<'_> {
    fn ask<T>(&self, verb: &'static str, ask: impl FnOnce(&mut Engine) -> Result<T, String>) -> Result<T, Refusal> {
        match self.engine.borrow_mut().as_mut() {
            Some(engine) => ask(engine).map_err(|message| Refusal::Error { verb, message }),
            None => Err(Refusal::Broken { verb, message: "there is no engine".into() }),
        }
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.of.idle.borrow_mut().extend(self.engine.take());
    }
}

impl Trained for InUse<'_> {
    fn encode(&self, rows: ArrayView2<'_, f32>) -> Result<Codes, Refusal> {
        let codes = self.ask("encode", |engine| engine.encode(rows))?;
        Ok(Codes { size: codes.ncols(), bytes: codes.into_iter().collect() })
    }

    fn decode(&self, codes: &Codes) -> Result<Array2<f32>, Refusal> {
        self.ask("decode", |engine| engine.decode(view(codes)?))
    }

    fn search(&self, held: Held<'_>, queries: ArrayView2<'_, f32>, k: usize) -> Result<Found, Refusal> {
        let Held::Codes(codes) = held else { return Err(Refusal::Missing("search vectors")) };
        self.ask("search", |engine| {
            engine.hold(view(codes)?);
            let found = engine.search(queries, k)?;
            Ok(found.outer_iter().map(|ids| ids.to_vec()).collect())
        })
    }

    fn save(&self) -> Result<Vec<u8>, Refusal> {
        self.ask("save", |engine| engine.save())
    }
}

fn view(codes: &Codes) -> Result<ArrayView2<'_, u8>, String> {
    ArrayView2::from_shape((codes.rows(), codes.size), &codes.bytes).map_err(|error| error.to_string())
}
