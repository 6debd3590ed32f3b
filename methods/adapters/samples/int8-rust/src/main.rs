//! A sample adapter: each component in one byte, between the least and the greatest value of the training rows.
//!
//! Build it with `cargo build --release`. In a project of your own, copy `vqbench.rs` into `src` and write `mod vqbench;`.

#[path = "../../../clients/vqbench.rs"]
mod vqbench;

use std::io::{Read, Write};
use vqbench::{About, Codes, Ids, Metric, Params, Quantizer, Refused, Vectors, nearest, serve};

#[derive(Default)]
struct Int8 {
    levels: usize,
    low: Vec<f32>,
    step: Vec<f32>,
    metric: Metric,
    held: Codes,
}

impl Quantizer for Int8 {
    fn about(&self) -> About {
        About {
            name: "int8 sample in Rust",
            version: env!("CARGO_PKG_VERSION"),
            licence: "MIT OR Apache-2.0",
            capabilities: &["encode", "decode", "search", "save", "restore"],
            metrics: &["l2", "ip"],
            seedable: true,
            device: "cpu",
        }
    }

    fn configure(&mut self, params: &mut Params) -> Result<(), Refused> {
        self.levels = params.integer("levels", 256, 2, 256)?;
        Ok(())
    }

    fn code_bytes(&self, dim: usize) -> Option<usize> {
        Some(dim)
    }

    fn fit(&mut self, rows: &Vectors, _seed: u64, metric: Metric, _threads: usize) -> Result<(), Refused> {
        let column = |j: usize| (0..rows.rows).map(move |i| rows.row(i)[j]);
        self.low = (0..rows.columns).map(|j| column(j).fold(f32::INFINITY, f32::min)).collect();
        let highest = (0..rows.columns).map(|j| column(j).fold(f32::NEG_INFINITY, f32::max));
        let steps = highest.zip(&self.low).map(|(high, low)| ((high - low) / (self.levels - 1) as f32).max(1e-20));
        self.step = steps.collect();
        self.metric = metric;
        Ok(())
    }

    fn encode(&self, rows: &Vectors, codes: &mut Codes, _threads: usize) -> Result<(), Refused> {
        codes.resize(rows.rows, rows.columns);
        for i in 0..rows.rows {
            for (j, code) in codes.row_mut(i).iter_mut().enumerate() {
                let level = ((rows.row(i)[j] - self.low[j]) / self.step[j]).round();
                *code = level.clamp(0.0, (self.levels - 1) as f32) as u8;
            }
        }
        Ok(())
    }

    fn decode(&self, codes: &Codes, rows: &mut Vectors, _threads: usize) -> Result<(), Refused> {
        rows.resize(codes.rows, codes.columns);
        for i in 0..codes.rows {
            for (j, value) in rows.row_mut(i).iter_mut().enumerate() {
                *value = self.low[j] + self.step[j] * f32::from(codes.row(i)[j]);
            }
        }
        Ok(())
    }

    fn hold_codes(&mut self, codes: Codes) -> Result<(), Refused> {
        self.held = codes;
        Ok(())
    }

    fn search(&self, queries: &Vectors, found: &mut Ids, _threads: usize) -> Result<(), Refused> {
        for q in 0..queries.rows {
            let query = queries.row(q);
            let distance = |i: usize| {
                let values =
                    self.held.row(i).iter().enumerate().map(|(j, code)| self.low[j] + self.step[j] * f32::from(*code));
                let terms = values.zip(query).map(|(value, query)| match self.metric {
                    Metric::Ip => -query * value,
                    Metric::L2 => (query - value).powi(2),
                });
                terms.sum::<f32>()
            };
            let distances: Vec<f32> = (0..self.held.rows).map(distance).collect();
            nearest(&distances, found.row_mut(q));
        }
        Ok(())
    }

    fn save(&self, file: &mut dyn Write) -> Result<(), Refused> {
        for value in self.low.iter().chain(&self.step) {
            file.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    }

    fn restore(&mut self, file: &mut dyn Read, metric: Metric) -> Result<(), Refused> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let (low, step) = values.split_at(values.len() / 2);
        (self.low, self.step, self.metric) = (low.to_vec(), step.to_vec(), metric);
        Ok(())
    }
}

fn main() {
    serve(Int8::default());
}
