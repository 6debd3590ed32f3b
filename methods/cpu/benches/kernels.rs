//! Speed of every kernel on one thread, for each instruction set that it is compiled for: `cargo bench -p vqbench-cpu`.
//! The gain over the portable path is what justifies the `unsafe` entries.
//!
//! Each kernel gives the right answer once before it is timed. A new kernel is one function here and one name in the group.

use cpu::{Isa, Panels, Score, TopK, hamming, peak, scan_byte_tables, scan_tables, squared_distance};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;
use std::time::Duration;

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots()
}

fn floats(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random::<f32>()).collect()
}

fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random::<u8>()).collect()
}

/// Kernels that split their work over a pool are timed on one of a single thread.
fn one_thread() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool")
}

fn close(a: f32, b: f32, what: &str) {
    assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{what}: {a}, not {b}");
}

/// Nearest of 256 vectors; an element is one row.
fn assign(c: &mut Criterion) {
    const K: usize = 256;
    let pool = one_thread();
    let mut group = c.benchmark_group("assign-256");
    for (n, d) in [(4096, 8), (1024, 128), (512, 384)] {
        let (rows, vectors) = (floats(1, n * d), floats(2, K * d));
        for isa in Isa::available() {
            let panels = Panels::new(isa, &vectors, d, Score::HalfDistance);
            let mut nearest = vec![0u32; n];
            pool.install(|| panels.assign(&rows, d, &mut nearest));
            for (row, &found) in rows.chunks_exact(d).zip(&nearest) {
                let least = vectors.chunks_exact(d).map(|v| squared_distance(row, v)).fold(f32::INFINITY, f32::min);
                close(squared_distance(row, &vectors[found as usize * d..][..d]), least, "the nearest");
            }
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("d{d}")), |b| {
                b.iter(|| pool.install(|| panels.assign(black_box(&rows), d, &mut nearest)));
            });
        }
    }
    group.finish();
}

/// All scores of a block of rows with a block of vectors, as exact search computes them; an element is one score.
fn scores(c: &mut Criterion) {
    const K: usize = 1024;
    const ROWS: usize = 24;
    let mut group = c.benchmark_group("scores-24x1024");
    for d in [128, 384] {
        let (rows, vectors) = (floats(1, ROWS * d), floats(2, K * d));
        for isa in Isa::available() {
            let panels = Panels::new(isa, &vectors, d, Score::HalfDistance);
            let mut scores = vec![0f32; ROWS * K];
            panels.scores(&rows, &mut scores);
            for (i, &score) in scores.iter().enumerate() {
                let exact = 0.5 * squared_distance(&rows[i / K * d..][..d], &vectors[i % K * d..][..d]);
                close(score, exact, "a score");
            }
            group.throughput(Throughput::Elements((ROWS * K) as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("d{d}")), |b| {
                b.iter(|| panels.scores(black_box(&rows), &mut scores));
            });
        }
    }
    group.finish();
}

/// `‖a−b‖²` of single pairs.
fn distance(c: &mut Criterion) {
    let mut group = c.benchmark_group("squared-distance");
    for d in [8, 128, 384] {
        let (a, b) = (floats(1, d), floats(2, d));
        close(squared_distance(&a, &b), a.iter().zip(&b).map(|(x, y)| (x - y) * (x - y)).sum(), "a distance");
        group.throughput(Throughput::Elements(1));
        group
            .bench_function(format!("d{d}"), |bencher| bencher.iter(|| squared_distance(black_box(&a), black_box(&b))));
    }
    group.finish();
}

/// Sums of table entries, the scan of compressed search; an element is one code.
fn scans(c: &mut Criterion) {
    const N: usize = 10_000;
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(N as u64));
    let mut scores = vec![0f32; N];
    for m in [16, 48] {
        let (tables, codes) = (floats(1, m * 256), bytes(2, N * m));
        scan_byte_tables(&tables, &codes, &mut scores);
        for (code, &score) in codes.chunks_exact(m).zip(&scores) {
            let exact = code.iter().zip(tables.chunks_exact(256)).map(|(&s, table)| table[usize::from(s)]).sum();
            close(score, exact, "a sum of entries");
        }
        group.bench_function(BenchmarkId::new("byte-tables", format!("m{m}")), |b| {
            b.iter(|| scan_byte_tables(black_box(&tables), &codes, &mut scores));
        });
    }
    let (m, alphabet) = (32, 16);
    let tables = floats(1, m * alphabet);
    let symbols: Vec<u16> = bytes(2, N * m).into_iter().map(|b| u16::from(b) % alphabet as u16).collect();
    scan_tables(&tables, alphabet, &symbols, &mut scores);
    for (row, &score) in symbols.chunks_exact(m).zip(&scores) {
        let exact = row.iter().enumerate().map(|(j, &s)| tables[j * alphabet + usize::from(s)]).sum();
        close(score, exact, "a sum of entries");
    }
    group.bench_function("tables/m32x4", |b| {
        b.iter(|| scan_tables(black_box(&tables), alphabet, &symbols, &mut scores));
    });
    group.finish();
}

/// Differing bits; an element is one code.
fn bits(c: &mut Criterion) {
    const N: usize = 10_000;
    let mut group = c.benchmark_group("hamming");
    for size in [16, 48] {
        let (query, codes) = (bytes(1, size), bytes(2, N * size));
        let mut distances = vec![0u32; N];
        hamming(&query, &codes, &mut distances);
        for (code, &distance) in codes.chunks_exact(size).zip(&distances) {
            assert_eq!(distance, code.iter().zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>());
        }
        group.throughput(Throughput::Elements(N as u64));
        group.bench_function(format!("{}-bit", 8 * size), |b| {
            b.iter(|| hamming(black_box(&query), &codes, &mut distances));
        });
    }
    group.finish();
}

/// The k smallest of a stream; an element is one score.
fn top_k(c: &mut Criterion) {
    const N: usize = 100_000;
    let scores = floats(1, N);
    let mut sorted = scores.clone();
    sorted.sort_by(f32::total_cmp);
    let mut group = c.benchmark_group("top-k");
    group.throughput(Throughput::Elements(N as u64));
    for k in [1, 10, 100] {
        let select = |scores: &[f32]| {
            let mut top = TopK::new(k);
            for (block, scores) in scores.chunks(4096).enumerate() {
                top.push_block(scores, (block * 4096) as u32);
            }
            top.drain_sorted()
        };
        assert!(select(&scores).iter().map(|n| n.score).eq(sorted[..k].iter().copied()), "the smallest, in order");
        group.bench_function(format!("k{k}"), |b| b.iter(|| select(black_box(&scores))));
    }
    group.finish();
}

/// The limits that everything above is a share of: operations on registers, and bytes read.
fn peaks(c: &mut Criterion) {
    const ROUNDS: u64 = 1_000_000;
    let values = vec![0f32; 1 << 24];
    let mut group = c.benchmark_group("peak");
    for isa in Isa::available() {
        let done = peak::multiply_adds(isa, ROUNDS);
        assert_eq!(done.value, 2.0);
        group.throughput(Throughput::Elements(done.operations));
        group.bench_function(BenchmarkId::new("multiply-adds", isa.to_string()), |b| {
            b.iter(|| peak::multiply_adds(isa, black_box(ROUNDS)));
        });
        assert_eq!(peak::read(isa, &values), 0.0);
        group.throughput(Throughput::Bytes(size_of_val(&values[..]) as u64));
        group.bench_function(BenchmarkId::new("read-64MiB", isa.to_string()), |b| {
            b.iter(|| peak::read(isa, black_box(&values)));
        });
    }
    group.finish();
}

criterion_group! {
    name = kernels;
    config = settings();
    targets = assign, scores, distance, scans, bits, top_k, peaks
}
criterion_main!(kernels);
