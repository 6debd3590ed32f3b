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

struct SquaredDistances<'a> {
    query: &'a [f32],
    columns: &'a [f32],
    scores: &'a mut [f32],
}

impl Kernel for SquaredDistances<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        each(self.query, self.columns, self.scores, |q, c, sum| sum + (q - c) * (q - c));
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
        each(self.query, self.columns, self.scores, |q, c, sum| sum - q * c);
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
