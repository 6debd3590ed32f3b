//! Decoding of codes of whole bytes: the codewords that they select, one beside the other.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Codewords of a book for bytes.
const CODEWORDS: usize = 256;

/// Writes to each row the codewords that the bytes of its code select:
///
/// ```text
/// rows[i][p·size..(p+1)·size] = books[p][codes[i][p]]
/// ```
///
/// A book holds 256 codewords of `size` values, one after the other; a code has a byte for each book, and a row `size` values for each.
///
/// # Panics
/// If a book has another size, or there is not one row per code.
pub fn select_codewords(isa: Isa, books: &[Vec<f32>], size: usize, codes: &[u8], rows: &mut [f32]) {
    assert!(size > 0 && books.iter().all(|book| book.len() == CODEWORDS * size), "256 codewords of {size} each");
    assert!(!books.is_empty() && codes.len().is_multiple_of(books.len()), "whole codes");
    assert_eq!(codes.len() * size, rows.len(), "one row per code");
    dispatch(isa, Select { books, size, codes, rows });
}

struct Select<'a> {
    books: &'a [Vec<f32>],
    size: usize,
    codes: &'a [u8],
    rows: &'a mut [f32],
}

impl Kernel for Select<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        // Copies of a length that the compiler knows are a few registers; all others are loops.
        match self.size {
            2 => self.of_size::<2>(),
            4 => self.of_size::<4>(),
            6 => self.of_size::<6>(),
            8 => self.of_size::<8>(),
            12 => self.of_size::<12>(),
            16 => self.of_size::<16>(),
            24 => self.of_size::<24>(),
            32 => self.of_size::<32>(),
            48 => self.of_size::<48>(),
            64 => self.of_size::<64>(),
            _ => self.of_any_size(),
        }
    }
}

impl Select<'_> {
    #[inline(always)]
    fn of_size<const SIZE: usize>(self) {
        let rows = self.rows.as_chunks_mut::<SIZE>().0.chunks_exact_mut(self.books.len());
        for (row, code) in rows.zip(self.codes.chunks_exact(self.books.len())) {
            for ((part, book), &symbol) in row.iter_mut().zip(self.books).zip(code) {
                *part = book.as_chunks::<SIZE>().0[usize::from(symbol)];
            }
        }
    }

    #[inline(always)]
    fn of_any_size(self) {
        let rows = self.rows.chunks_exact_mut(self.size * self.books.len());
        for (row, code) in rows.zip(self.codes.chunks_exact(self.books.len())) {
            for ((part, book), &symbol) in row.chunks_exact_mut(self.size).zip(self.books).zip(code) {
                part.copy_from_slice(&book[usize::from(symbol) * self.size..][..self.size]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_the_codewords_beside_each_other(
            size in prop_oneof![Just(2usize), Just(4), Just(6), Just(8), Just(12), Just(16), Just(24), Just(32), Just(48), Just(64), 1usize..70],
            m in 1usize..9, n in 0usize..20, seed in any::<u32>()
        ) {
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 9) as usize;
            let books: Vec<Vec<f32>> = (0..m).map(|p| (0..256 * size).map(|i| mix(p * 99_991 + i) as f32).collect()).collect();
            let codes: Vec<u8> = (0..n * m).map(|i| mix(i) as u8).collect();
            for isa in Isa::available() {
                let mut rows = vec![f32::NAN; n * m * size];
                select_codewords(isa, &books, size, &codes, &mut rows);
                for (i, value) in rows.iter().enumerate() {
                    let (part, place) = (i / size, i % size);
                    let codeword = usize::from(codes[part]);
                    prop_assert_eq!(*value, books[part % m][codeword * size + place], "{}", isa);
                }
            }
        }
    }
}
