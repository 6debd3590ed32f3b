//! Speed of every kernel on one thread, for each instruction set that it is compiled for: `cargo bench -p vqbench-cpu`.
//! The gain over the portable path is what justifies the `unsafe` entries.
//!
//! Each kernel gives the right answer once before it is timed. A new kernel is one function here and one name in the group.

use cpu::{
    CodeBlock, Entries, Factor, Isa, Nearest, Panels, ScanTables, Score, Shortlist, SymbolWidth, TopK, cell_sums,
    decode_uniform_bytes, encode_uniform_bytes, hamming, peak, row_times_matrix, scan_byte_tables, scan_tables,
    squared_distance, squared_distances_to_columns,
};
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
            let (mut nearest, mut open) = (vec![0u32; n], Vec::new());
            pool.install(|| panels.assign(&rows, d, &mut nearest, &mut open));
            for (row, &found) in rows.chunks_exact(d).zip(&nearest) {
                let least = vectors.chunks_exact(d).map(|v| squared_distance(row, v)).fold(f32::INFINITY, f32::min);
                close(squared_distance(row, &vectors[found as usize * d..][..d]), least, "the nearest");
            }
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("d{d}")), |b| {
                b.iter(|| {
                    open.clear();
                    pool.install(|| panels.assign(black_box(&rows), d, &mut nearest, &mut open));
                });
            });
        }
    }
    group.finish();
}

/// Nearest of 256 and of 4096 vectors by bytes and a check, with how far it is; an element is one row.
fn nearest(c: &mut Criterion) {
    let pool = one_thread();
    let mut group = c.benchmark_group("nearest");
    for (n, k, d) in [(4096, 256, 8), (1024, 256, 128), (512, 256, 384), (256, 4096, 128)] {
        let (rows, vectors) = (floats(1, n * d), floats(2, k * d));
        for isa in Isa::available() {
            let packed = Nearest::new(isa, vectors.clone(), d, Score::HalfDistance);
            let (mut found, mut distances) = (vec![0u32; n], vec![0f32; n]);
            pool.install(|| packed.assign(&rows, d, &mut found, Some(&mut distances)));
            for (row, &distance) in rows.chunks_exact(d).zip(&distances) {
                let least = vectors.chunks_exact(d).map(|v| squared_distance(row, v)).fold(f32::INFINITY, f32::min);
                close(distance, least, "the nearest");
            }
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("k{k}/d{d}")), |b| {
                b.iter(|| pool.install(|| packed.assign(black_box(&rows), d, &mut found, Some(&mut distances))));
            });
        }
    }
    group.finish();
}

/// What may be among the 10 nearest of a block of rows, for each of 120 queries; an element is one pair.
fn shortlists(c: &mut Criterion) {
    const N: usize = 4096;
    const QUERIES: usize = 120;
    const K: usize = 10;
    let mut group = c.benchmark_group("shortlist-120x4096");
    for d in [128, 384] {
        let (queries, base) = (floats(1, QUERIES * d), floats(2, N * d));
        for isa in Isa::available() {
            let packed = Nearest::new(isa, base.clone(), d, Score::HalfDistance);
            let select = |queries: &[f32]| {
                let mut lists = vec![Shortlist::new(K); QUERIES];
                packed.shortlist(queries, 0, &mut lists);
                lists.iter_mut().map(Shortlist::drain).collect::<Vec<_>>()
            };
            for (query, list) in queries.chunks_exact(d).zip(select(&queries)) {
                let best = (0..N).min_by(|a, b| {
                    let distance = |i: &usize| squared_distance(query, &base[i * d..][..d]);
                    distance(a).total_cmp(&distance(b))
                });
                assert!(best.is_some_and(|best| list.contains(&(best as u32))), "the nearest is on the list");
            }
            group.throughput(Throughput::Elements((N * QUERIES) as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("d{d}")), |b| {
                b.iter(|| select(black_box(&queries)));
            });
        }
    }
    group.finish();
}

/// Codes scanned by tables in registers; an element is one code and query.
fn table_scans(c: &mut Criterion) {
    Isa::available().into_iter().for_each(|isa| table_scans_of(c, isa));
}

fn table_scans_of(c: &mut Criterion, isa: Isa) {
    const N: usize = 8192;
    const K: usize = 10;
    let mut group = c.benchmark_group(format!("table-scan/{isa}"));
    group.throughput(Throughput::Elements(N as u64));
    for (name, width, positions) in [("32x4", SymbolWidth::Nibble, 32), ("16x8", SymbolWidth::Byte, 16)] {
        let Some(mut block) = CodeBlock::new(isa, width, positions) else { continue };
        let (codes, entries) = (bytes(1, N * 16), floats(2, positions * width.alphabet()));
        for (kind, factors) in [("sums", vec![]), ("factors", vec![[1.0, -0.5]; N])] {
            block.fill(&codes, 16, 0, &factors);
            let tables = ScanTables::new(width, entries.clone(), 0.0);
            let select = |tables: &ScanTables| {
                let mut list = Shortlist::new(K);
                block.scan(&block.step(tables), 0..N, 0, &mut list);
                list.drain()
            };
            let score = |i: usize| {
                let [offset, slope] = factors.get(i).unwrap_or(&[0.0, 1.0]);
                offset + slope * tables.sum(&codes[i * 16..][..16])
            };
            let best = (0..N).min_by(|a, b| score(*a).total_cmp(&score(*b)));
            assert!(best.is_some_and(|best| select(&tables).contains(&(best as u32))), "the best is on the list");
            group.bench_function(BenchmarkId::new(name, kind), |b| b.iter(|| select(black_box(&tables))));
        }
        block.fill(&codes, 16, 0, &[]);
        let pair = [0, 1].map(|_| ScanTables::new(width, entries.clone(), 0.0));
        for (kind, tables) in [("search, one query", &pair[..1]), ("search, two queries", &pair[..])] {
            if block.top_k_of_nibbles(&codes, tables, K).is_some() {
                group.bench_function(BenchmarkId::new(name, kind), |b| {
                    b.iter(|| block.top_k_of_nibbles(&codes, black_box(tables), K));
                });
            }
        }
        if block.top_k_in_pairs(&pair, K, 1024).is_some() {
            group.bench_function(BenchmarkId::new(name, "two queries at once"), |b| {
                b.iter(|| block.top_k_in_pairs(black_box(&pair), K, 1024));
            });
        }
        group.bench_function(BenchmarkId::new(name, "lay out"), |b| {
            b.iter(|| block.fill(black_box(&codes), 16, 0, &[]));
        });
    }
    group.finish();
}

/// Sums of the rows of each cell; an element is one row.
fn cells(c: &mut Criterion) {
    const K: usize = 256;
    let pool = one_thread();
    let mut group = c.benchmark_group("cell-sums-256");
    for (n, d) in [(16_384, 8), (4096, 128)] {
        let rows = floats(1, n * d);
        let nearest: Vec<u32> = bytes(2, n).into_iter().map(u32::from).collect();
        for isa in Isa::available() {
            let (sums, counts) = pool.install(|| cell_sums(isa, &rows, d, d, &nearest, K));
            assert_eq!(counts.iter().sum::<usize>(), n);
            let all: f64 = rows.iter().map(|v| f64::from(*v)).sum();
            assert!((sums.iter().sum::<f64>() - all).abs() < 1e-6 * all, "every row is in one sum");
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("d{d}")), |b| {
                b.iter(|| pool.install(|| cell_sums(isa, black_box(&rows), d, d, &nearest, K)));
            });
        }
    }
    group.finish();
}

/// The table of a query and a codebook of 256, and uniform quantization to bytes; an element is one value.
fn loops(c: &mut Criterion) {
    let mut group = c.benchmark_group("loops");
    let (query, columns) = (floats(1, 8), floats(2, 8 * 256));
    let (rows, offsets, steps) = (floats(3, 128 * 1024), floats(4, 128), vec![1.0 / 255.0; 128]);
    for isa in Isa::available() {
        let mut table = [0f32; 256];
        squared_distances_to_columns(isa, &query, &columns, &mut table);
        let first: f32 = (0..8).map(|j| (query[j] - columns[j * 256]).powi(2)).sum();
        close(table[0], first, "an entry");
        group.throughput(Throughput::Elements(256));
        group.bench_function(BenchmarkId::new("table-256/d8", isa.to_string()), |b| {
            b.iter(|| squared_distances_to_columns(isa, black_box(&query), &columns, &mut table));
        });
        let mut codes = vec![0u8; rows.len()];
        encode_uniform_bytes(isa, &rows, &offsets, &steps, &mut codes);
        assert_eq!(codes[0], ((rows[0] - offsets[0]) / steps[0] + 0.5) as u8);
        group.throughput(Throughput::Elements(rows.len() as u64));
        group.bench_function(BenchmarkId::new("uniform-bytes/encode", isa.to_string()), |b| {
            b.iter(|| encode_uniform_bytes(isa, black_box(&rows), &offsets, &steps, &mut codes));
        });
        let mut back = vec![0f32; rows.len()];
        group.bench_function(BenchmarkId::new("uniform-bytes/decode", isa.to_string()), |b| {
            b.iter(|| decode_uniform_bytes(isa, black_box(&codes), &offsets, &steps, &mut back));
        });
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
        hamming(Isa::widest(), &query, &codes, &mut distances);
        for (code, &distance) in codes.chunks_exact(size).zip(&distances) {
            assert_eq!(distance, code.iter().zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>());
        }
        group.throughput(Throughput::Elements(N as u64));
        group.bench_function(format!("{}-bit", 8 * size), |b| {
            b.iter(|| hamming(Isa::widest(), black_box(&query), &codes, &mut distances));
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
/// Products of rows with a square matrix, as rotations need them; an element is a multiply-add.
fn products(c: &mut Criterion) {
    const N: usize = 96;
    let mut group = c.benchmark_group("product-96-rows");
    for d in [384, 1536] {
        let (rows, matrix) = (floats(1, N * d), floats(2, d * d));
        for isa in Isa::available() {
            let entries = Entries::by_rows(&matrix, d);
            let mut factor = Factor::zeros(isa, d, d);
            factor.panels_mut().enumerate().for_each(|(p, panel)| Factor::pack(isa, entries, d, p, panel));
            let mut out = vec![0f32; N * d];
            factor.multiply(Entries::by_rows(&rows, d), N, &mut out);
            let plain: f32 = (0..d).map(|j| rows[d + j] * matrix[j * d + 3]).sum();
            close(out[d + 3], plain, "the product");
            group.throughput(Throughput::Elements((N * d * d) as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("d{d}")), |b| {
                b.iter(|| factor.multiply(Entries::by_rows(black_box(&rows), d), N, &mut out));
            });
            group.throughput(Throughput::Elements((d * d) as u64));
            group.bench_function(BenchmarkId::new(isa.to_string(), format!("d{d}/one-row")), |b| {
                b.iter(|| row_times_matrix(isa, black_box(&rows[..d]), &matrix, &mut out[..d]));
            });
        }
    }
    group.finish();
}

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
    targets = assign, nearest, shortlists, scores, distance, scans, table_scans, cells, loops, bits, top_k, products, peaks
}
criterion_main!(kernels);
