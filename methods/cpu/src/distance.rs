//! Squared distances ‖a−b‖² by direct differences, exact where ‖a‖² + ‖b‖² − 2·a·b cancels.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::{Lanes, Portable};
use std::marker::PhantomData;

/// `Σ_j (a_j − b_j)²` on the registers of one instruction set. Sixteen components at a time go to two sets of sixteen partial sums in
/// turn, so that the order of additions is the same for every set.
#[inline(always)]
pub(crate) fn squared_distance_on<L: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    // Registers to sixteen values; at most four.
    let registers = 16 / L::N;
    let mut sums = [[L::splat(0.0); 4]; 2];
    let (a16, a_tail) = a.as_chunks::<16>();
    let (b16, b_tail) = b.as_chunks::<16>();
    let (a32, a_odd) = a16.as_chunks::<2>();
    let (b32, b_odd) = b16.as_chunks::<2>();
    for (a, b) in a32.iter().zip(b32) {
        for ((a, b), sums) in a.iter().zip(b).zip(&mut sums) {
            for (r, sum) in sums.iter_mut().enumerate().take(registers) {
                let delta = L::load(&a[r * L::N..]).sub(L::load(&b[r * L::N..]));
                *sum = delta.mul_add(delta, *sum);
            }
        }
    }
    for (a, b) in a_odd.iter().zip(b_odd) {
        for (r, sum) in sums[0].iter_mut().enumerate().take(registers) {
            let delta = L::load(&a[r * L::N..]).sub(L::load(&b[r * L::N..]));
            *sum = delta.mul_add(delta, *sum);
        }
    }
    if !a_tail.is_empty() {
        for (r, sum) in sums[1].iter_mut().enumerate().take(registers) {
            let part = |values: &[f32]| L::load_few(values.get(r * L::N..).map_or(&[], |v| &v[..v.len().min(L::N)]));
            let delta = part(a_tail).sub(part(b_tail));
            *sum = delta.mul_add(delta, *sum);
        }
    }
    let mut all = [L::splat(0.0); 4];
    for r in 0..registers {
        all[r] = sums[0][r].add(sums[1][r]);
    }
    // Lane l with l+8, then as registers do.
    match registers {
        1 => all[0].sum(),
        2 => all[0].add(all[1]).sum(),
        _ => all[0].add(all[2]).add(all[1].add(all[3])).sum(),
    }
}

/// `‖a−b‖²` without a particular instruction set, for single pairs; kernels use wide registers.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    squared_distance_on::<Portable>(a, b)
}

/// `−a·b`, in the order of [`squared_distance_on`].
#[inline(always)]
fn negated_product_on<L: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_tail) = a.as_chunks::<16>();
    let (b, b_tail) = b.as_chunks::<16>();
    let registers = 16 / L::N;
    let mut sums = [L::splat(0.0); 4];
    for (a, b) in a.iter().zip(b) {
        for (r, sum) in sums.iter_mut().enumerate().take(registers) {
            *sum = L::load(&a[r * L::N..]).mul_add(L::load(&b[r * L::N..]), *sum);
        }
    }
    let sum: f32 = sums.iter().take(registers).map(|sum| sum.sum()).sum();
    -(sum + a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum::<f32>())
}

/// The function of a query and a row.
trait PairFunction {
    fn of<L: Lanes>(query: &[f32], row: &[f32]) -> f32;
}

struct SquaredDistance;

impl PairFunction for SquaredDistance {
    #[inline(always)]
    fn of<L: Lanes>(query: &[f32], row: &[f32]) -> f32 {
        squared_distance_on::<L>(query, row)
    }
}

struct NegatedProduct;

impl PairFunction for NegatedProduct {
    #[inline(always)]
    fn of<L: Lanes>(query: &[f32], row: &[f32]) -> f32 {
        negated_product_on::<L>(query, row)
    }
}

/// `‖q−x‖²` for each row of `rows`; rows are as long as the query.
///
/// # Panics
/// When there is not one score per row.
pub fn squared_distances(isa: Isa, query: &[f32], rows: &[f32], scores: &mut [f32]) {
    each::<SquaredDistance>(isa, query, rows, scores);
}

/// `−q·x` for each row of `rows`; rows are as long as the query.
///
/// # Panics
/// When there is not one score per row.
pub fn negated_products(isa: Isa, query: &[f32], rows: &[f32], scores: &mut [f32]) {
    each::<NegatedProduct>(isa, query, rows, scores);
}

fn each<P: PairFunction>(isa: Isa, query: &[f32], rows: &[f32], scores: &mut [f32]) {
    assert_eq!(rows.len(), query.len() * scores.len(), "one score per row");
    dispatch(isa, Each::<P> { query, rows, scores, pair: PhantomData });
}

struct Each<'a, P> {
    query: &'a [f32],
    rows: &'a [f32],
    scores: &'a mut [f32],
    pair: PhantomData<P>,
}

impl<P: PairFunction> Kernel for Each<'_, P> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (score, row) in self.scores.iter_mut().zip(self.rows.chunks_exact(self.query.len().max(1))) {
            *score = P::of::<L>(self.query, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tail_is_covered() {
        for n in 1..100 {
            // Whole numbers, so that every order of additions is exact.
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let rows: Vec<f32> = (0..3 * n).map(|i| (i % 7) as f32).collect();
            let expected = |term: fn(f32, f32) -> f32| -> Vec<f32> {
                rows.chunks_exact(n).map(|row| a.iter().zip(row).map(|(a, b)| term(*a, *b)).sum()).collect()
            };
            for isa in Isa::available() {
                let mut scores = [0f32; 3];
                squared_distances(isa, &a, &rows, &mut scores);
                assert_eq!(scores[..], expected(|a, b| (a - b) * (a - b)), "{isa} {n}");
                negated_products(isa, &a, &rows, &mut scores);
                assert_eq!(scores[..], expected(|a, b| -a * b), "{isa} {n}");
            }
        }
    }

    #[test]
    fn wide_sets_agree_to_the_last_bit() {
        for n in 1..100 {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.71).cos()).collect();
            let of = |isa: Isa| {
                let mut scores = [0f32; 1];
                squared_distances(isa, &a, &b, &mut scores);
                scores[0].to_bits()
            };
            let wide: Vec<u32> = Isa::available().into_iter().filter(|isa| *isa != Isa::PORTABLE).map(of).collect();
            assert!(wide.windows(2).all(|pair| pair[0] == pair[1]), "{n}");
        }
    }
}
