//! Sums of steps from tables of 256 that are looked up sixteen entries at a time, on AVX2.
//!
//! Entered only after an `Isa` of AVX2 was given; 32 look-ups take 44 instructions besides loads (`cargo bench -p vqbench-cpu`).

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
    let (none, sixteen) = (_mm256_setzero_si256(), _mm256_set1_epi8(16));
    let mut both = [none; HALF];
    let mut odd = [none; HALF];
    for (symbols, table) in symbols.iter().zip(tables) {
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
        for r in 0..HALF {
            let is_upper = _mm256_cmpgt_epi8(none, load(&symbols[r]));
            let found = _mm256_xor_si256(lower[r], _mm256_and_si256(change[r], is_upper));
            both[r] = _mm256_add_epi16(both[r], found);
            odd[r] = _mm256_add_epi16(odd[r], _mm256_srli_epi16::<8>(found));
        }
    }
    let mut even = both;
    for (even, odd) in even.iter_mut().zip(odd) {
        *even = _mm256_sub_epi16(*even, _mm256_slli_epi16::<8>(odd));
    }
    [even, odd]
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
