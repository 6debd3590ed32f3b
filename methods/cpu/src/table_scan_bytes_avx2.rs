//! Sums of steps from tables of 256 that are looked up sixteen entries at a time, on AVX2.
//!
//! Entered only after an `Isa` of AVX2 was given; 32 look-ups take 44 instructions besides loads, and those
//! for two queries 46 (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, Sums};
use crate::table_scan_avx2::{add, at_most};
use std::arch::x86_64::*;

/// Registers of 32 rows in half a group: with their sums, they leave room for tables among sixteen registers.
const HALF: usize = GROUP / 64;

/// Tables are those of [`crate::table_kernels::chain`].
#[target_feature(enable = "avx2,fma")]
pub(crate) fn byte_sums(symbols: &[u8], tables: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let (symbols, tables) = (symbols.as_chunks::<GROUP>().0, tables.as_chunks::<256>().0);
    let ([first_even, first_odd], [second_even, second_odd]) =
        (sums_of_half(symbols, tables, 0), sums_of_half(symbols, tables, 1));
    let halves = [
        [first_even[0], first_even[1], second_even[0], second_even[1]],
        [first_odd[0], first_odd[1], second_odd[0], second_odd[1]],
    ];
    let within = at_most(&halves, highest);
    if within != 0 {
        sums.fill(0);
        add(&halves, sums);
    }
    within
}

/// Sums of the even and of the odd rows of one half. They are kept of pairs of rows as `even + 256·odd`, modulo 2^16, and of the odd rows
/// alone. Not inlined: together, both halves are given more registers than there are.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn sums_of_half(symbols: &[[u8; GROUP]], tables: &[[u8; 256]], half: usize) -> [[__m256i; HALF]; 2] {
    let none = _mm256_setzero_si256();
    let mut both = [none; HALF];
    let mut odd = [none; HALF];
    for (symbols, table) in symbols.iter().zip(tables) {
        let found = found(symbols, table, half);
        for r in 0..HALF {
            both[r] = _mm256_add_epi16(both[r], found[r]);
            odd[r] = _mm256_add_epi16(odd[r], _mm256_srli_epi16::<8>(found[r]));
        }
    }
    [evens(both, odd), odd]
}

/// Positions whose sums of steps up to 15 stay below 2^8.
const POSITIONS: usize = 17;

/// Tables are those of [`crate::table_kernels::chain`].
#[target_feature(enable = "avx2,fma")]
pub(crate) fn pair_sums(symbols: &[u8], tables: &[u8], highest: [u32; 2]) -> [u128; 2] {
    let (symbols, tables) = (symbols.as_chunks::<GROUP>().0, tables.as_chunks::<256>().0);
    let (first, second) = (pair_sums_of_half(symbols, tables, 0), pair_sums_of_half(symbols, tables, 1));
    let mut within = [0; 2];
    for side in 0..2 {
        let of =
            |turn: usize| [first[side][turn][0], first[side][turn][1], second[side][turn][0], second[side][turn][1]];
        within[side] = at_most(&[of(0), of(1)], highest[side]);
    }
    within
}

/// [`sums_of_half`] for both queries.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn pair_sums_of_half(symbols: &[[u8; GROUP]], tables: &[[u8; 256]], half: usize) -> [[[__m256i; HALF]; 2]; 2] {
    let (none, nibble) = (_mm256_setzero_si256(), _mm256_set1_epi8(15));
    let mut both = [[none; HALF]; 2];
    let mut odd = [[none; HALF]; 2];
    for (symbols, tables) in symbols.chunks(POSITIONS).zip(tables.chunks(POSITIONS)) {
        let mut sums = [[none; HALF]; 2];
        for (symbols, table) in symbols.iter().zip(tables) {
            let found = found(symbols, table, half);
            for r in 0..HALF {
                sums[0][r] = _mm256_add_epi8(sums[0][r], _mm256_and_si256(found[r], nibble));
                let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(found[r]), nibble);
                sums[1][r] = _mm256_add_epi8(sums[1][r], upper);
            }
        }
        for side in 0..2 {
            for r in 0..HALF {
                both[side][r] = _mm256_add_epi16(both[side][r], sums[side][r]);
                odd[side][r] = _mm256_add_epi16(odd[side][r], _mm256_srli_epi16::<8>(sums[side][r]));
            }
        }
    }
    [[evens(both[0], odd[0]), odd[0]], [evens(both[1], odd[1]), odd[1]]]
}

/// Sums of the even rows.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn evens(both: [__m256i; HALF], odd: [__m256i; HALF]) -> [__m256i; HALF] {
    let mut even = both;
    for (even, odd) in even.iter_mut().zip(odd) {
        *even = _mm256_sub_epi16(*even, _mm256_slli_epi16::<8>(odd));
    }
    even
}

/// The bytes that the symbols of half a group select.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn found(symbols: &[u8; GROUP], table: &[u8; 256], half: usize) -> [__m256i; HALF] {
    let (none, sixteen) = (_mm256_setzero_si256(), _mm256_set1_epi8(16));
    let symbols = &symbols.as_chunks::<32>().0[half * HALF..][..HALF];
    let mut places = [none; HALF];
    for (place, symbols) in places.iter_mut().zip(symbols) {
        *place = _mm256_and_si256(load(symbols), _mm256_set1_epi8(127));
    }
    let (mut lower, mut change) = ([none; HALF], [none; HALF]);
    for links in table.as_chunks::<32>().0 {
        let links = links.as_chunks::<16>().0;
        let (of_lower, of_change) = (load_link(&links[0]), load_link(&links[1]));
        for r in 0..HALF {
            // A place below zero selects nothing.
            lower[r] = _mm256_xor_si256(lower[r], _mm256_shuffle_epi8(of_lower, places[r]));
            change[r] = _mm256_xor_si256(change[r], _mm256_shuffle_epi8(of_change, places[r]));
            places[r] = _mm256_sub_epi8(places[r], sixteen);
        }
    }
    let mut found = lower;
    for r in 0..HALF {
        let is_upper = _mm256_cmpgt_epi8(none, load(&symbols[r]));
        found[r] = _mm256_xor_si256(lower[r], _mm256_and_si256(change[r], is_upper));
    }
    found
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are readable.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Sixteen entries, twice.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_link(entries: &[u8; 16]) -> __m256i {
    // SAFETY: sixteen bytes are readable.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(entries.as_ptr().cast()) })
}
