//! Speed of every stage of every registered method: fit, encode, decode, search. `cargo bench -p vqbench-methods`, or
//! `cargo bench -p vqbench-methods -- lsq/encode` for one.
//!
//! Methods come from the registry, with the first of their examples: a new one is timed without a line here. Sizes are small,
//! so that all of it takes a few minutes; `experiments/peers` measures at the sizes that matter. Before a method is
//! timed, its codes are checked to beat the mean of the rows.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use methods::{Context, METHODS, SearchMetric};
use ndarray::{Array2, ArrayView2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;
use std::time::Duration;

/// Divisible by 12, as the examples want it, and by 8.
const DIM: usize = 96;

/// Rows of each part.
const ROWS: usize = 1000;

/// Queries of one search.
const QUERIES: usize = 10;

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
}

fn uniform(seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((ROWS, DIM), || rng.random::<f32>())
}

fn squared_error(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum()
}

fn stages(c: &mut Criterion) {
    let (train, base) = (uniform(1), uniform(2));
    let queries = uniform(3).slice(s![..QUERIES, ..]).to_owned();
    let cx = Context::cpu(1);
    for entry in METHODS {
        let params = serde_json::from_str(entry.examples[0]).expect("an example is JSON");
        let method = (entry.parse)(params).expect("an example is right");
        let quantizer = method.fit(train.view(), &cx).expect("fits");
        let mut codes = vec![0; ROWS * quantizer.code_size()];
        let mut decoded = Array2::zeros(base.dim());
        quantizer.encode_into(base.view(), &mut codes).expect("encodes");
        quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
        let mean = Array2::from_elem(base.dim(), 0.5);
        let (error, guess) = (squared_error(base.view(), decoded.view()), squared_error(base.view(), mean.view()));
        // With few bits for 96 independent components a codebook learns its rows by heart, no more.
        assert!(error < 1.5 * guess, "{}: {error}, and {guess} by the mean alone", entry.name);

        let mut group = c.benchmark_group(entry.name);
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("fit", |b| b.iter(|| method.fit(black_box(train.view()), &cx).expect("fits")));
        group.bench_function("encode", |b| {
            b.iter(|| quantizer.encode_into(black_box(base.view()), &mut codes).expect("encodes"));
        });
        group.bench_function("decode", |b| {
            b.iter(|| quantizer.decode_into(black_box(&codes), decoded.view_mut()).expect("decodes"));
        });
        // Methods without a search of their own are searched by decoding.
        let searcher = quantizer.searcher(SearchMetric::L2).or_else(|| quantizer.searcher(SearchMetric::InnerProduct));
        if let Some(mut searcher) = searcher {
            let size = quantizer.code_size();
            let mut search = |k: usize| {
                let mut found = Vec::new();
                for query in queries.outer_iter() {
                    searcher.set_query(&query.to_vec());
                    found.push(searcher.top_k(black_box(&codes), size, k).expect("finds"));
                }
                found
            };
            for list in search(ROWS) {
                assert!(list.len() == ROWS && list.is_sorted(), "{}: all codes, nearest first", entry.name);
            }
            group.throughput(Throughput::Elements((QUERIES * ROWS) as u64));
            group.bench_function("search", |b| b.iter(|| search(10)));
        }
        group.finish();
    }
}

criterion_group! {
    name = all;
    config = settings();
    targets = stages
}
criterion_main!(all);
