//! That every way to search the same codes or rows finds the same.

use super::*;
use crate::laws::gaussian;
use cpu::SymbolWidth;
use ndarray::Array2;

fn mix(i: usize) -> usize {
    (i as u32).wrapping_mul(2_654_435_761).wrapping_add(40_503) as usize >> 7
}

/// What a search must find: the least sums, ties by number, then with the constant.
fn expected(sums: impl Iterator<Item = f32>, constant: f32, k: usize) -> Vec<Neighbor> {
    let mut all: Vec<Neighbor> = sums.zip(0..).map(|(score, id)| Neighbor { score, id }).collect();
    all.retain(|neighbor| !neighbor.score.is_nan());
    all.sort();
    all.truncate(k);
    cpu::add_to_scores(constant, &mut all);
    all
}

/// Codes that are searched in each of the three ways.
fn check(scan: &CpuTableScan<'_>, tables: &ScanTables, k: usize) {
    let count = scan.codes.len() / scan.layout.bytes();
    let expected = expected((0..count as u32).map(|id| scan.score(tables, id)), tables.constant(), k);
    let isa = scan.isa;
    assert_eq!(scan.top_k_of_one(tables, k), expected, "{isa}: one query");
    let tables = std::slice::from_ref(tables);
    if let Some(held) = &scan.held {
        assert_eq!(scan.top_k_held(held, tables, k), [&*expected], "{isa}: codes that stay laid out");
        let many = vec![tables[0].clone(); FEW + 1];
        assert_eq!(scan.top_k_held(held, &many, k), vec![&*expected; FEW + 1], "{isa}: many queries");
        let block = CodeBlock::new(isa, scan.layout.width, scan.layout.positions).expect("as before");
        assert_eq!(scan.top_k_by_blocks(block, tables, k), [&*expected], "{isa}: block by block");
    }
}

/// Scores that only differ by less than the rounding of the constant.
#[test]
fn the_constant_does_not_change_which_codes_are_found() {
    for isa in Isa::available() {
        for width in [SymbolWidth::Nibble, SymbolWidth::Byte] {
            let layout = CodeLayout { width, positions: 2, skip: 0, has_factors: false };
            let codes: Vec<u8> = (0..1300 * layout.bytes()).map(|i| mix(i) as u8).collect();
            // Quarters, so that sums are exact in any order.
            let entries: Vec<f32> = (0..2 * width.alphabet()).map(|i| (mix(i + 77) % 9) as f32 * 0.25).collect();
            let scan = CpuTableScan::new(isa, Cow::Owned(codes), layout, Vec::new());
            for constant in [0.0, 1e8] {
                for k in [1, 10, 1400] {
                    check(&scan, &ScanTables::new(width, entries.clone(), constant), k);
                }
            }
        }
    }
}

/// More codes of equal scores than a list holds, before and behind some that are nearer.
#[test]
fn equal_scores_crowd_no_list() {
    for isa in Isa::available() {
        for (width, has_factors) in
            [(SymbolWidth::Nibble, false), (SymbolWidth::Byte, false), (SymbolWidth::Byte, true)]
        {
            let layout = CodeLayout { width, positions: 1, skip: 0, has_factors };
            let codes: Vec<u8> = (0..50_000).map(|i| if i % 9_999 == 7_777 { 3 } else { 12 }).collect();
            let factors = vec![[0.5, 1.0]; if has_factors { codes.len() } else { 0 }];
            let scan = CpuTableScan::new(isa, Cow::Owned(codes), layout, factors);
            let entries: Vec<f32> = (0..width.alphabet()).map(|i| i as f32).collect();
            for constant in [0.0, -1e7] {
                let tables = ScanTables::new(width, entries.clone(), constant);
                for k in [1, 4, 30] {
                    check(&scan, &tables, k);
                }
                let Some(held) = &scan.held else { continue };
                let (stepped, mut search) = (held.step(&tables), Search::new(4));
                for from in (0..held.len()).step_by(4096) {
                    held.scan(&stepped, from..held.len().min(from + 4096), 0, &mut search.list);
                    scan.thin_out(&tables, &mut search);
                }
                let left = search.list.drain().len();
                assert!(left <= 16 * 4 + 1024 + 2 * 4096, "{isa}: {left} candidates are held");
            }
        }
    }
}

#[test]
fn every_copy_of_the_codes_is_counted() {
    let codes: Vec<u8> = (0..300 * 6).map(|i| mix(i) as u8).collect();
    for isa in Isa::available() {
        for (width, positions) in [(SymbolWidth::Nibble, 10), (SymbolWidth::Byte, 5)] {
            for (skip, has_factors) in [(0, false), (1, false), (1, true)] {
                let layout = CodeLayout { width, positions, skip, has_factors };
                let codes = &codes[..300 * layout.bytes()];
                let factors = vec![[0.0, 1.0]; if has_factors { 300 } else { 0 }];
                let scan = CpuTableScan::new(isa, Cow::Borrowed(codes), layout, factors);
                // 300 codes are laid out in three groups of 128.
                let laid_out = scan
                    .held
                    .as_ref()
                    .map_or(0, |held| 384 * (held.bytes_per_code() + if has_factors { 8 } else { 0 }));
                let own = if skip > 0 { 300 * 5 } else { 0 } + if has_factors { 300 * 8 } else { 0 };
                assert_eq!(scan.bytes(), laid_out + own, "{isa} {layout:?}");
                assert!(scan.held.is_none() || laid_out >= 300 * 5);
            }
        }
    }
}

/// Rows that overflow, or are no numbers, beside ordinary ones.
#[test]
fn scores_that_are_no_numbers_are_no_neighbours_of_few_or_many_queries() {
    let dim = 40;
    let mut base = Array2::from_shape_fn((130, dim), |(i, j)| (mix(i * dim + j) % 100) as f32);
    base.row_mut(3).fill(f32::NAN);
    base.row_mut(5).fill(-f32::NAN);
    (base[(7, 0)], base[(7, 1)]) = (f32::INFINITY, f32::NEG_INFINITY);
    let base = DeviceMatrix::borrowed(base.as_slice().expect("rows"), 130, dim);
    for isa in Isa::available() {
        for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
            let find = |n: usize| {
                let queries = Array2::from_shape_fn((n, dim), |(i, j)| (1 + mix(i * dim + j + 9999) % 50) as f32);
                let queries = DeviceMatrix::borrowed(queries.as_slice().expect("rows"), n, dim);
                nearest_rows(isa, &base, &queries, metric, 130)
            };
            let (few, many) = (find(FEW - 1), find(FEW));
            assert_eq!(few, many[..FEW - 1], "{isa}");
            assert!(many.iter().flatten().all(|n| !n.score.is_nan() && ![3, 5].contains(&n.id)), "{isa}");
            assert!(many.iter().all(|found| found.len() >= 127), "{isa}");
        }
    }
}

#[test]
fn one_query_at_a_time_finds_what_many_find_together() {
    let (rows, dim, n) = (9000, 128, 9);
    let values = |count: usize, add: usize| -> Vec<f32> {
        (0..count * dim).map(|i| (mix(i + add) % 1000) as f32 * 0.37).collect()
    };
    let (mut base, queries) = (values(rows, 0), values(n, 123_456));
    // Equal rows in different blocks.
    base.copy_within(5 * dim..6 * dim, 8000 * dim);
    base.extend_from_within(..3 * dim);
    let base = DeviceMatrix::borrowed(&base, rows + 3, dim);
    for isa in Isa::available() {
        for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
            let packed = PackedRows::of(isa, &base, metric);
            let of = |queries: &[f32], k| packed.nearest(&DeviceMatrix::borrowed(queries, queries.len() / dim, dim), k);
            let together = of(&queries, 12);
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                for count in [1, 4] {
                    let found: Vec<_> =
                        pool.install(|| queries.chunks(count * dim).flat_map(|queries| of(queries, 12)).collect());
                    assert_eq!(found, together, "{isa}, {threads} threads, {count} queries");
                }
            }
        }
    }
}

#[test]
fn rows_that_are_written_block_by_block_are_searched_as_rows_that_are_there() {
    let (dim, count) = (200, 3 * block_rows(200) - 5);
    let (base, queries) = (gaussian(count, dim, 1), gaussian(FEW + 3, dim, 2));
    let values = base.as_slice().expect("in order");
    let asked = queries.as_slice().expect("in order");
    for isa in Isa::available() {
        for metric in [SearchMetric::L2, SearchMetric::InnerProduct] {
            let mut next = 0;
            let mut fill = |range: std::ops::Range<usize>, rows: &mut [f32]| {
                assert!(range.start == next && range.len() <= block_rows(dim), "{range:?} after {next}");
                next = range.end;
                rows.copy_from_slice(&values[range.start * dim..range.end * dim]);
                Ok(())
            };
            let held = PackedRows::filled(isa, (count, dim), metric, &mut fill).expect("no error");
            assert_eq!(next, count);
            let (bytes, there) = (held.bytes(), DeviceMatrix::borrowed(values, count, dim));
            // Few queries, and many.
            for n in [1, FEW + 3] {
                let queries = DeviceMatrix::borrowed(&asked[..n * dim], n, dim);
                let plain = nearest_rows(isa, &there, &queries, metric, 7);
                assert_eq!(held.top_k(&queries, 7).expect("finds"), plain, "{isa} {metric:?}");
            }
            // The rows, and at most as many bytes besides; nothing is packed while queries are timed.
            assert!((4 * count * dim..9 * count * dim).contains(&bytes), "{isa}: {bytes}");
            assert_eq!(held.bytes(), bytes, "{isa}");
            let mut broken = |_: std::ops::Range<usize>, _: &mut [f32]| Err(MethodError::NoRows);
            let error = PackedRows::filled(isa, (count, dim), metric, &mut broken).err();
            assert_eq!(error, Some(MethodError::NoRows));
        }
    }
}
