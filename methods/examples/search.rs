//! Speed of searches and decoding on one thread, to set beside that of another library on the same vectors.
//!
//! `cargo run --release -p vqbench-methods --example search -- BASE QUERIES DIM K '[{"pq": {"m": 16}}]'`, where both files hold rows of f32
//! in little endian and nothing else. Each figure is the least of many repeats, so that what else the machine does counts little.
//! `VQBENCH_ISA` selects an instruction set.

use cpu::Isa;
use methods::backend::CpuBackend;
use methods::search::codes::CodeSearch;
use methods::{Context, METHODS, SearchMetric};
use ndarray::Array2;
use serde_json::Value;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn rows(path: &str, dim: usize) -> Result<Array2<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Array2::from_shape_vec((values.len() / dim, dim), values)?)
}

/// Microseconds of the fastest of the repeats that fit into a second.
fn fastest(mut work: impl FnMut()) -> f64 {
    let (begin, mut least) = (Instant::now(), Duration::MAX);
    while begin.elapsed() < Duration::from_secs(1) {
        let start = Instant::now();
        work();
        least = least.min(start.elapsed());
    }
    least.as_secs_f64() * 1e6
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, queries, dim, k, wanted] = &arguments[..] else { return Err("BASE QUERIES DIM K METHODS".into()) };
    let (dim, k): (usize, usize) = (dim.parse()?, k.parse()?);
    let (base, queries) = (rows(base, dim)?, rows(queries, dim)?);
    let isa = std::env::var("VQBENCH_ISA").map_or(Ok(Isa::widest()), |name| Isa::named(&name))?;
    let wanted: Vec<serde_json::Map<String, Value>> = serde_json::from_str(wanted)?;
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    for (name, params) in wanted.into_iter().flatten() {
        let entry = METHODS.iter().find(|entry| entry.name == name).ok_or("no such method")?;
        let cx = Context::on(Arc::new(CpuBackend::new(isa)), 1);
        let quantizer = (entry.parse)(params)?.fit(base.view(), &cx)?;
        let mut codes = vec![0; base.nrows() * quantizer.code_size()];
        quantizer.encode_into(base.view(), &mut codes)?;
        let mut decoded = Array2::from_elem(base.dim(), 1f32);
        let decode = fastest(|| drop(quantizer.decode_into(black_box(&codes), decoded.view_mut())));
        let search = CodeSearch::new(&*quantizer, &codes, SearchMetric::L2)?;
        let batch = fastest(|| drop(black_box(search.search(queries.view(), k))));
        let one = queries.row(0).insert_axis(ndarray::Axis(0));
        let single = fastest(|| drop(black_box(search.search(one, k))));
        println!(
            "{name:8} {isa}: decode {:7.2} M/s, {:9.0} queries/s, {single:8.1} us for one",
            base.nrows() as f64 / decode,
            queries.nrows() as f64 / batch * 1e6,
        );
    }
    Ok(())
}
