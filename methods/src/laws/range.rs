//! Laws of position and scale: codes depend on the shape of the data, not on its offset or unit.

use super::{Bench, DIM, decode, encode, gaussian};
use crate::search::codes::CodeSearch;
use crate::{Quantizer, SearchMetric};
use ndarray::{Array2, ArrayView1, s};

/// Symbols of codes, row by row, without the values that some methods keep beside them.
fn symbols(quantizer: &dyn Quantizer, codes: &[u8]) -> Vec<u16> {
    let symbols = quantizer.symbols().expect("shows its symbols");
    let mut row = vec![0; symbols.alphabets().len()];
    let mut all = Vec::new();
    for code in codes.chunks_exact(quantizer.code_size()) {
        symbols.unpack(code, &mut row).expect("unpacks");
        all.extend_from_slice(&row);
    }
    all
}

/// Multiplying all rows by a power of two, which f32 does exactly, changes no symbol, and multiplies what is decoded.
///
/// # Panics
/// Where a method does not.
pub fn multiplying_all_rows_by_a_power_of_two_changes_no_code(bench: &Bench) {
    // A spectrum that falls, as that of embeddings does: below variance 1 and above it axes are to be shared out alike.
    let mut rows = gaussian(600, DIM, 11);
    rows.columns_mut().into_iter().enumerate().for_each(|(j, mut column)| column /= 1.0 + j as f32);
    for (name, method) in bench.specimens() {
        let coded = |unit: f32| {
            let rows = &rows * unit;
            let quantizer =
                method.fit(rows.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}, {unit}: {e}"));
            let codes = encode(&*quantizer, rows.view());
            (symbols(&*quantizer, &codes), decode(&*quantizer, &codes) / unit)
        };
        let (expected, decoded) = coded(1.0);
        for power in [-30, -7, 10, 30] {
            let (found, decoded_there) = coded(2f32.powi(power));
            let differ = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert_eq!(differ, 0, "{name}: symbols that change when all rows are multiplied by 2^{power}");
            assert!(decoded_there == decoded, "{name}: decoded rows are not multiplied by 2^{power}");
        }
    }
}

/// Rows in two clusters, `apart` times their spread from zero on either side.
fn clusters(apart: f32) -> Array2<f32> {
    let mut rows = gaussian(600, DIM, 12);
    rows.rows_mut().into_iter().enumerate().for_each(|(i, mut row)| row += if i % 2 == 0 { apart } else { -apart });
    rows
}

/// What f32 itself may take from the length of a difference, of rows whose components are up to `largest`: a few roundings each.
pub(super) fn resolution(largest: f32) -> f64 {
    2.0 * f64::from(largest) * f64::from(f32::EPSILON) * (DIM as f64).sqrt()
}

/// Rows get the nearest of all decoded rows as often where clusters lie far apart, beside their spread, as where they do not.
///
/// A search by `½‖c‖² − x·c` in f32 breaks this: the terms grow with the square of how far clusters are apart, what they differ by does
/// not.
///
/// # Panics
/// Where a method does not.
pub fn clusters_far_apart_do_not_hide_the_nearest(bench: &Bench) {
    for (name, method) in bench.held_to("clusters_far_apart_do_not_hide_the_nearest") {
        // Lengths of errors, of the code chosen and of the best code that any row has, as means over the rows.
        let lengths = |apart: f32| {
            let rows = clusters(apart);
            let quantizer = method.fit(rows.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
            let decoded = decode(&*quantizer, &encode(&*quantizer, rows.view()));
            let length = |i: usize, j: usize| -> f64 {
                let differences =
                    rows.row(i).into_iter().zip(decoded.row(j)).map(|(a, b)| f64::from(*a) - f64::from(*b));
                differences.map(|d| d * d).sum::<f64>().sqrt()
            };
            let n = rows.nrows();
            let chosen = (0..n).map(|i| length(i, i)).sum::<f64>() / n as f64;
            let best =
                (0..n).map(|i| (0..n).map(|j| length(i, j)).fold(f64::INFINITY, f64::min)).sum::<f64>() / n as f64;
            (chosen, best)
        };
        // Beams do not find the nearest of all sums; how far they are from it may not grow.
        let (chosen, best) = lengths(1.0);
        // Without any error, there is nothing to compare.
        let usual = if best > 0.0 { chosen / best } else { 1.0 };
        for apart in [1e2, 1e4, 1e6] {
            let (chosen, best) = lengths(apart);
            assert!(
                chosen <= 1.005 * usual * best + resolution(apart),
                "{name}, clusters at ±{apart}: errors of {chosen} where {best} is there, {usual} times as much where they are near"
            );
        }
    }
}

/// Searches find the nearest decoded rows where clusters lie far apart, beside their spread, as well as differences of f32 do.
///
/// A search by `‖q‖² + ‖x̂‖² − 2·q·x̂` in f32 breaks this, as above.
///
/// # Panics
/// Where a method does not.
pub fn searches_over_clusters_far_apart_find_the_nearest(bench: &Bench) {
    const K: usize = 7;
    let apart = 1e4;
    let (rows, near) = (clusters(apart), gaussian(12, DIM, 13));
    // Among the rows of one cluster or the other.
    let queries = &rows.slice(s![..near.nrows(), ..]) + &near;
    for (name, method) in bench.held_to("searches_over_clusters_far_apart_find_the_nearest") {
        let quantizer = method.fit(rows.view(), &bench.context(1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        if quantizer.searcher(SearchMetric::L2).is_some_and(|searcher| searcher.is_estimate()) {
            continue;
        }
        let codes = encode(&*quantizer, rows.view());
        let decoded = decode(&*quantizer, &codes);
        let search = CodeSearch::new(&*quantizer, &codes, SearchMetric::L2).unwrap_or_else(|e| panic!("{name}: {e}"));
        // Few queries, and many.
        for n in [1, queries.nrows()] {
            let queries = queries.slice(s![..n, ..]);
            let found = search.search(queries, K).unwrap_or_else(|e| panic!("{name}: {e}"));
            for (query, found) in queries.outer_iter().zip(&found) {
                let length = |row: ArrayView1<'_, f32>| -> f64 {
                    let squares = query.iter().zip(row).map(|(q, x)| (f64::from(*q) - f64::from(*x)).powi(2));
                    squares.sum::<f64>().sqrt()
                };
                let mut lengths: Vec<f64> = decoded.outer_iter().map(length).collect();
                lengths.sort_by(f64::total_cmp);
                assert_eq!(found.len(), K, "{name}");
                for (found, best) in found.iter().zip(&lengths) {
                    let length = length(decoded.row(found.id as usize));
                    assert!(
                        length <= 1.001 * best + resolution(apart),
                        "{name}: a row at {length} where one at {best} is there"
                    );
                }
            }
        }
    }
}
