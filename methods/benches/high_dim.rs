//! Training in high dimension, and search behind a transform: what principal axes, rotations and the products behind them cost.
//! `cargo bench -p vqbench-methods --bench high_dim`, with `-- opq` for the steps whose names contain `opq`.
//!
//! Vectors are like embeddings: of unit norm, off-centre, with a spectrum that falls by a power law. A fit takes seconds, so
//! it is timed twice and not by criterion. Each line names the step, the least time, and for quantizers the normalized error
//! on rows that were not trained on, by seed.

use cpu::Isa;
use methods::algorithms::rotation::{principal_axes, random};
use methods::algorithms::{moments, products};
use methods::search::codes::CodeSearch;
use methods::{Context, SearchMetric, parse};
use ndarray::{Array1, Array2, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

/// `n×dim` rows of unit norm; eigenvalues fall as `j^−1.2`, and the mean is as long as a row's distance from it.
fn embeddings(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut axes = ChaCha8Rng::seed_from_u64(1000);
    let scales = Array1::from_shape_fn(dim, |j| (1.0 + j as f32).powf(-0.6));
    let total: f32 = scales.iter().map(|s| s * s).sum();
    let gaussian = Array2::from_shape_fn((n, dim), |_| StandardNormal.sample(&mut rng));
    let basis: Array2<f32> = random(Isa::widest(), dim, &mut axes);
    let mut mean: Array1<f32> = Array1::from_shape_fn(dim, |_| StandardNormal.sample(&mut axes));
    mean *= (total / mean.iter().map(|m| m * m).sum::<f32>()).sqrt();
    let mut rows: Array2<f32> = products::multiply(Isa::widest(), (&gaussian * &scales).view(), basis.view()) + &mean;
    for mut row in rows.outer_iter_mut() {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row /= norm;
    }
    rows
}

/// The least of `times` times, in seconds, and the last result.
fn least<T>(times: usize, mut run: impl FnMut() -> T) -> (f64, T) {
    let mut one = || {
        let start = Instant::now();
        let result = black_box(run());
        (start.elapsed().as_secs_f64(), result)
    };
    let (mut best, mut result) = one();
    for _ in 1..times {
        let (time, again) = one();
        (best, result) = (best.min(time), again);
    }
    (best, result)
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let isa = Isa::widest();
    let pool = rayon::current_num_threads();
    println!("{isa}, {pool} threads");

    for (name, dim, n, params, method) in [
        ("opq16-1536", 1536, 5000, json!({ "m": 16 }), "opq"),
        ("rvq8x8-1536", 1536, 5000, json!({ "stages": 8, "beam": 5 }), "rvq"),
        ("opq16-384", 384, 10_000, json!({ "m": 16 }), "opq"),
        ("rvq8x8-384", 384, 10_000, json!({ "stages": 8, "beam": 5 }), "rvq"),
        ("opq16-3072", 3072, 5000, json!({ "m": 16 }), "opq"),
        ("rvq8x8-3072", 3072, 5000, json!({ "stages": 8, "beam": 5 }), "rvq"),
    ] {
        // The largest only if they are named.
        if !is_wanted(name) || (dim == 3072 && wanted.is_empty()) {
            continue;
        }
        let (train, base) = (embeddings(n, dim, 1), embeddings(2000, dim, 2));
        let variance = moments::variance(base.view(), &moments::mean(base.view()));
        let method = parse(method, params).expect("parses");
        let seeds = if std::env::args().any(|arg| arg == "--once") { 1..=1 } else { 1..=3 };
        let mut best = f64::INFINITY;
        let mut errors = Vec::new();
        for seed in seeds {
            let (time, quantizer) = least(1, || method.fit(train.view(), &Context::cpu(seed)).expect("fits"));
            best = best.min(time);
            let of = |rows: &Array2<f32>| {
                let mut codes = vec![0; rows.nrows() * quantizer.code_size()];
                quantizer.encode_into(rows.view(), &mut codes).expect("encodes");
                let mut decoded = Array2::zeros(rows.dim());
                quantizer.decode_into(&codes, decoded.view_mut()).expect("decodes");
                let square: f64 = (rows - &decoded).iter().map(|v| f64::from(*v).powi(2)).sum();
                square / rows.nrows() as f64 / variance
            };
            let iterations = quantizer.curves().first().map_or(0, |curve| curve.points.len());
            errors.push(format!("{:.6} (train {:.6}, {iterations} points)", of(&base), of(&train)));
        }
        println!("{name} fit: {best:.3} s; nmse {}", errors.join(", "));
    }

    for dim in [768, 1536, 3072] {
        if is_wanted(&format!("axes-{dim}")) {
            let rows = embeddings(5000, dim, 1);
            let (time, axes) = least(2, || principal_axes(isa, rows.view()));
            println!("axes-{dim}: {time:.3} s; largest variance {:.4}", axes.variances[0]);
            let (time, _) = least(2, || moments::covariance(rows.view(), &moments::mean(rows.view())));
            println!("axes-{dim} covariance alone: {time:.3} s");
        }
        if is_wanted(&format!("spectrum-{dim}")) {
            let rows = embeddings(5000, dim, 1);
            let covariance = moments::covariance(rows.view(), &moments::mean(rows.view()));
            let (time, _) = least(2, || moments::eigenvalues(isa, covariance.clone()));
            println!("spectrum-{dim} without the covariance: {time:.3} s");
        }
        if is_wanted(&format!("rotation-{dim}")) {
            let (time, _) = least(2, || random(isa, dim, &mut ChaCha8Rng::seed_from_u64(3)));
            println!("rotation-{dim}: {time:.3} s");
        }
        if is_wanted(&format!("product-{dim}")) {
            let rows = embeddings(1000, dim, 1);
            let matrix = random(isa, dim, &mut ChaCha8Rng::seed_from_u64(3));
            let packed = products::PackedMatrix::new(isa, matrix.view());
            let (time, _) = least(20, || products::multiply_packed(rows.view(), &packed));
            let speed = 1000.0 * (dim * dim) as f64 / time / 1e9;
            println!("product-{dim}: {:.2} ms for 1000 rows, {speed:.1} G multiply-adds/s", 1e3 * time);
            let (time, _) = least(20, || products::multiply_packed(rows.slice(s![..1, ..]), &packed));
            println!("product-{dim}: {:.3} ms for one row, {:.1} GB/s", 1e3 * time, 4e-9 * (dim * dim) as f64 / time);
        }
    }

    for n in [5000, 100_000] {
        if !is_wanted(&format!("search-{n}")) {
            continue;
        }
        let dim = 1536;
        let (train, queries) = (embeddings(5000, dim, 1), embeddings(1000, dim, 3));
        let mut without = f64::NAN;
        for transform in [json!("none"), json!("random-rotation"), json!({ "pca": { "dim": dim } })] {
            let name = transform.to_string();
            let method = parse("pq", json!({ "m": 16, "iterations": 3, "transform": transform })).expect("parses");
            let quantizer = method.fit(train.view(), &Context::cpu(1)).expect("fits");
            let mut codes = vec![0; 5000 * quantizer.code_size()];
            quantizer.encode_into(train.view(), &mut codes).expect("encodes");
            let codes = codes.repeat(n / 5000);
            let search = CodeSearch::new(&*quantizer, &codes, SearchMetric::L2).expect("holds");
            search.search(queries.view(), 10).expect("finds");
            let (time, _) = least(10, || search.search(queries.view(), 10).expect("finds"));
            let one = queries.slice(s![..1, ..]);
            let (alone, _) = least(10, || search.search(one, 10).expect("finds"));
            if without.is_nan() {
                without = time;
            }
            let cost = 100.0 * (time / without - 1.0);
            println!("search-{n} {name}: {:.0} queries/s, {cost:+.0}%; one query {:.3} ms", 1000.0 / time, 1e3 * alone);
        }
    }
}
