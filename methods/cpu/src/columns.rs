//! Scores of one short vector against many vectors stored component by component, for query tables and k-means++.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Columns whose sums stay in registers or the first-level cache while components pass.
const COLUMNS: usize = 512;

/// `scores[c] = Σ_j (q_j − columns[j·n + c])²` for `n` vectors stored as `dim×n`.
///
/// # Panics
/// When the lengths do not fit together.
pub fn squared_distances_to_columns(isa: Isa, query: &[f32], columns: &[f32], scores: &mut [f32]) {
    dispatch(isa, SquaredDistances { query, columns, scores });
}

/// `scores[c] = −Σ_j q_j·columns[j·n + c]` for `n` vectors stored as `dim×n`.
///
/// # Panics
/// When the lengths do not fit together.
pub fn negated_products_with_columns(isa: Isa, query: &[f32], columns: &[f32], scores: &mut [f32]) {
    dispatch(isa, NegatedProducts { query, columns, scores });
}

/// The tables of a query whose parts meet codebooks of their own: [`squared_distances_to_columns`] of each part and its columns, or
/// [`negated_products_with_columns`]. All parts are of one size, and so are all tables.
///
/// # Panics
/// When the lengths do not fit together.
pub fn tables_of_parts(isa: Isa, query: &[f32], columns: &[Vec<f32>], products: bool, tables: &mut [f32]) {
    let parts = columns.len().max(1);
    assert!(query.len().is_multiple_of(parts) && tables.len().is_multiple_of(parts), "parts and tables of one size");
    dispatch(isa, Parts { query, columns, products, tables });
}

struct Parts<'a> {
    query: &'a [f32],
    columns: &'a [Vec<f32>],
    products: bool,
    tables: &'a mut [f32],
}

impl Kernel for Parts<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Parts { query, columns, products, tables } = self;
        let parts = columns.len().max(1);
        let (size, n) = ((query.len() / parts).max(1), (tables.len() / parts).max(1));
        for ((part, columns), table) in query.chunks_exact(size).zip(columns).zip(tables.chunks_exact_mut(n)) {
            match (<&mut [f32; 16]>::try_from(&mut *table), products) {
                // Sums of so few columns stay in registers.
                (Ok(table), false) => of_sixteen(part, columns, table, distance_term),
                (Ok(table), true) => of_sixteen(part, columns, table, product_term),
                (Err(_), false) => each(part, columns, table, distance_term),
                (Err(_), true) => each(part, columns, table, product_term),
            }
        }
    }
}

#[inline(always)]
fn of_sixteen(query: &[f32], columns: &[f32], table: &mut [f32; 16], term: impl Fn(f32, f32, f32) -> f32) {
    let (columns, rest) = columns.as_chunks::<16>();
    assert!(columns.len() == query.len() && rest.is_empty(), "one score per column");
    let mut sums = [0f32; 16];
    for (&q, column) in query.iter().zip(columns) {
        for l in 0..16 {
            sums[l] = term(q, column[l], sums[l]);
        }
    }
    *table = sums;
}

#[inline(always)]
fn distance_term(q: f32, c: f32, sum: f32) -> f32 {
    sum + (q - c) * (q - c)
}

#[inline(always)]
fn product_term(q: f32, c: f32, sum: f32) -> f32 {
    sum - q * c
}

struct SquaredDistances<'a> {
    query: &'a [f32],
    columns: &'a [f32],
    scores: &'a mut [f32],
}

impl Kernel for SquaredDistances<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        each(self.query, self.columns, self.scores, distance_term);
    }
}

struct NegatedProducts<'a> {
    query: &'a [f32],
    columns: &'a [f32],
    scores: &'a mut [f32],
}

impl Kernel for NegatedProducts<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        each(self.query, self.columns, self.scores, product_term);
    }
}

#[inline(always)]
fn each(query: &[f32], columns: &[f32], scores: &mut [f32], term: impl Fn(f32, f32, f32) -> f32) {
    let n = scores.len();
    assert_eq!(columns.len(), query.len() * n, "one score per column");
    for (b, scores) in scores.chunks_mut(COLUMNS).enumerate() {
        scores.fill(0.0);
        for (j, &q) in query.iter().enumerate() {
            let part = &columns[j * n + b * COLUMNS..][..scores.len()];
            scores.iter_mut().zip(part).for_each(|(sum, &c)| *sum = term(q, c, *sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_parts_are_those_of_each_part() {
        for (parts, size, n) in [(1, 1, 16), (32, 4, 16), (5, 12, 16), (3, 2, 256), (4, 3, 15), (2, 1, 17), (0, 0, 0)] {
            let query: Vec<f32> = (0..parts * size).map(|j| (j as f32 * 0.7).sin()).collect();
            let of_part = |p: usize| (0..size * n).map(|i| ((p * 31 + i) as f32 * 0.3).cos()).collect();
            let columns: Vec<Vec<f32>> = (0..parts).map(of_part).collect();
            for isa in Isa::available() {
                for products in [false, true] {
                    let (mut tables, mut alone) = (vec![f32::NAN; parts * n], vec![f32::NAN; n]);
                    tables_of_parts(isa, &query, &columns, products, &mut tables);
                    for p in 0..parts {
                        let part = &query[p * size..][..size];
                        let of_one =
                            if products { negated_products_with_columns } else { squared_distances_to_columns };
                        of_one(isa, part, &columns[p], &mut alone);
                        assert_eq!(&tables[p * n..][..n], alone, "{isa}: part {p} of {parts}, {n} columns");
                    }
                }
            }
        }
    }

    #[test]
    fn columns_are_scored_as_defined_by_every_set() {
        for (dim, n) in [(1, 1), (3, 17), (8, 256), (5, 1030), (2, 0)] {
            // Whole numbers, so that every order is exact.
            let query: Vec<f32> = (0..dim).map(|j| (j % 5) as f32).collect();
            let columns: Vec<f32> = (0..dim * n).map(|i| (i % 11) as f32).collect();
            let at = |j: usize, c: usize| columns[j * n + c];
            for isa in Isa::available() {
                let mut scores = vec![f32::NAN; n];
                squared_distances_to_columns(isa, &query, &columns, &mut scores);
                for (c, score) in scores.iter().enumerate() {
                    assert_eq!(*score, (0..dim).map(|j| (query[j] - at(j, c)).powi(2)).sum::<f32>(), "{isa}");
                }
                negated_products_with_columns(isa, &query, &columns, &mut scores);
                for (c, score) in scores.iter().enumerate() {
                    assert_eq!(*score, -(0..dim).map(|j| query[j] * at(j, c)).sum::<f32>(), "{isa}");
                }
            }
        }
    }
}
