//! Decoding of codes whose codewords add up: a row is the sum of one codeword from each codebook.
//!
//! ```text
//! x̂ = ((0 + C_0[s_0]) + C_1[s_1]) + …
//! ```
//!
//! A part of the row stays in registers while the codewords pass, so that each is read once and the row is written once.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Registers that hold a part of a row.
const REGISTERS: usize = 8;

/// Codebooks of more bytes than this do not stay in the second-level cache: the codewords of the next row are fetched ahead.
const CACHED: usize = 1 << 20;

/// Writes the sum of codewords of each row, added in the order of the codebooks. `books` holds `m` codebooks of `codewords` codewords of
/// `dim` components, one after the other; `symbols` `m` symbols per row.
///
/// # Panics
/// If lengths do not fit together, or a symbol is not below `codewords`.
pub fn sum_codewords(isa: Isa, books: &[f32], codewords: usize, dim: usize, symbols: &[u16], rows: &mut [f32]) {
    assert!(dim > 0 && codewords > 0 && rows.len().is_multiple_of(dim), "whole rows");
    let m = books.len() / (codewords * dim);
    assert!(m > 0 && books.len() == m * codewords * dim, "whole codebooks");
    assert_eq!(symbols.len(), rows.len() / dim * m, "a symbol of each codebook for each row");
    dispatch(isa, Sums { books, codewords, dim, m, symbols, rows });
}

struct Sums<'a> {
    books: &'a [f32],
    codewords: usize,
    dim: usize,
    m: usize,
    symbols: &'a [u16],
    rows: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Sums { books, codewords, dim, m, symbols, rows } = self;
        let ahead = size_of_val(books) > CACHED;
        let size = codewords * dim;
        for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
            let code = &symbols[i * m..][..m];
            if ahead && let Some(next) = symbols.get((i + 1) * m..(i + 2) * m) {
                for (book, &symbol) in books.chunks_exact(size).zip(next) {
                    let codeword = &book[usize::from(symbol) * dim..][..dim];
                    codeword.chunks(16).for_each(L::prefetch);
                }
            }
            let mut parts = row.chunks_exact_mut(REGISTERS * L::N);
            let mut first = 0;
            for part in parts.by_ref() {
                let mut sums = [L::splat(0.0); REGISTERS];
                for (book, &symbol) in books.chunks_exact(size).zip(code) {
                    let codeword = &book[usize::from(symbol) * dim + first..][..REGISTERS * L::N];
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = sum.add(L::load(&codeword[r * L::N..]));
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    sum.store(&mut part[r * L::N..]);
                }
                first += REGISTERS * L::N;
            }
            for part in parts.into_remainder().chunks_mut(L::N) {
                let mut sum = L::splat(0.0);
                for (book, &symbol) in books.chunks_exact(size).zip(code) {
                    let codeword = &book[usize::from(symbol) * dim + first..][..part.len()];
                    let few = if part.len() == L::N { L::load(codeword) } else { L::load_few(codeword) };
                    sum = sum.add(few);
                }
                let mut values = [0f32; 16];
                sum.store(&mut values);
                part.copy_from_slice(&values[..part.len()]);
                first += part.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_set_gives_the_plain_sums(
            m in 1usize..9, codewords in prop_oneof![6 => 1usize..20, 1 => Just(3000usize)], dim in 1usize..300, n in 0usize..9,
            seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let value = |rng: &mut ChaCha8Rng| match rng.random_range(0..40) {
                0 => -0.0,
                1 => f32::INFINITY,
                2 => 1e-45,
                3 => 1e30,
                _ => rng.random::<f32>() - 0.5,
            };
            let books: Vec<f32> = (0..m * codewords * dim).map(|_| value(&mut rng)).collect();
            let symbols: Vec<u16> = (0..n * m).map(|_| rng.random_range(0..codewords as u16)).collect();
            let mut plain = vec![0f32; n * dim];
            for (row, code) in plain.chunks_exact_mut(dim).zip(symbols.chunks_exact(m)) {
                for (p, &symbol) in code.iter().enumerate() {
                    let codeword = &books[(p * codewords + usize::from(symbol)) * dim..][..dim];
                    row.iter_mut().zip(codeword).for_each(|(x, c)| *x += c);
                }
            }
            for isa in Isa::available() {
                let mut rows = vec![f32::NAN; n * dim];
                sum_codewords(isa, &books, codewords, dim, &symbols, &mut rows);
                prop_assert!(rows.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{:?}", isa);
            }
        }
    }
}
