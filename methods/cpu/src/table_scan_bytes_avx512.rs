//! Sums of steps from tables of 256 that are looked up sixteen entries at a time, on AVX-512 without VBMI.
//!
//! Entered only after an `Isa` of AVX-512 was given; 64 look-ups take 37 instructions besides loads, and those
//! for two queries 39 (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, Sums};
use crate::table_scan_avx512::{REGISTERS, add, at_most};
use std::arch::x86_64::*;

/// Registers of a column of symbols.
type Columns = [__m512i; REGISTERS];

/// Tables are those of [`crate::table_kernels::chain`]. Sums are kept of pairs of rows as `even + 256·odd`, modulo 2^16, and of the odd
/// rows alone.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn byte_sums(symbols: &[u8], tables: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let mut both = [_mm512_setzero_si512(); REGISTERS];
    let mut odd = both;
    for (symbols, table) in symbols.as_chunks::<GROUP>().0.iter().zip(tables.as_chunks::<256>().0) {
        let found = found(symbols, table);
        for r in 0..REGISTERS {
            both[r] = _mm512_add_epi16(both[r], found[r]);
            odd[r] = _mm512_add_epi16(odd[r], _mm512_srli_epi16::<8>(found[r]));
        }
    }
    let halves = [evens(both, odd), odd];
    let within = at_most(&halves, highest);
    if within != 0 {
        sums.fill(0);
        add(&halves, sums);
    }
    within
}

/// Positions whose sums of steps up to 15 stay below 2^8.
const POSITIONS: usize = 17;

/// Tables are those of [`crate::table_kernels::chain`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn pair_sums(symbols: &[u8], tables: &[u8], highest: [u32; 2]) -> [u128; 2] {
    let (symbols, tables) = (symbols.as_chunks::<GROUP>().0, tables.as_chunks::<256>().0);
    let (none, nibble) = (_mm512_setzero_si512(), _mm512_set1_epi8(15));
    let mut both = [[none; REGISTERS]; 2];
    let mut odd = both;
    for (symbols, tables) in symbols.chunks(POSITIONS).zip(tables.chunks(POSITIONS)) {
        let mut sums = [[none; REGISTERS]; 2];
        for (symbols, table) in symbols.iter().zip(tables) {
            let found = found(symbols, table);
            for r in 0..REGISTERS {
                sums[0][r] = _mm512_add_epi8(sums[0][r], _mm512_and_si512(found[r], nibble));
                let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(found[r]), nibble);
                sums[1][r] = _mm512_add_epi8(sums[1][r], upper);
            }
        }
        for side in 0..2 {
            for r in 0..REGISTERS {
                both[side][r] = _mm512_add_epi16(both[side][r], sums[side][r]);
                odd[side][r] = _mm512_add_epi16(odd[side][r], _mm512_srli_epi16::<8>(sums[side][r]));
            }
        }
    }
    let first = at_most(&[evens(both[0], odd[0]), odd[0]], highest[0]);
    [first, at_most(&[evens(both[1], odd[1]), odd[1]], highest[1])]
}

/// Sums of the even rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn evens(both: Columns, odd: Columns) -> Columns {
    let mut even = both;
    for (even, odd) in even.iter_mut().zip(odd) {
        *even = _mm512_sub_epi16(*even, _mm512_slli_epi16::<8>(odd));
    }
    even
}

/// The bytes that the symbols of a group select.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn found(symbols: &[u8; GROUP], table: &[u8; 256]) -> Columns {
    let (none, sixteen) = (_mm512_setzero_si512(), _mm512_set1_epi8(16));
    let symbols = symbols.as_chunks::<64>().0;
    let mut places = [none; REGISTERS];
    for (place, symbols) in places.iter_mut().zip(symbols) {
        *place = _mm512_and_si512(load(symbols), _mm512_set1_epi8(127));
    }
    let (mut lower, mut change) = ([none; REGISTERS], [none; REGISTERS]);
    // Two links at a time: one instruction joins three values.
    for links in table.as_chunks::<64>().0 {
        let links = links.as_chunks::<16>().0;
        let lowers = [load_link(&links[0]), load_link(&links[2])];
        let changes = [load_link(&links[1]), load_link(&links[3])];
        for r in 0..REGISTERS {
            // A place below zero selects nothing.
            let (here, next) = (places[r], _mm512_sub_epi8(places[r], sixteen));
            lower[r] = joined(lower[r], _mm512_shuffle_epi8(lowers[0], here), _mm512_shuffle_epi8(lowers[1], next));
            change[r] = joined(change[r], _mm512_shuffle_epi8(changes[0], here), _mm512_shuffle_epi8(changes[1], next));
            places[r] = _mm512_sub_epi8(next, sixteen);
        }
    }
    let mut found = lower;
    for r in 0..REGISTERS {
        let change = _mm512_maskz_mov_epi8(_mm512_movepi8_mask(load(&symbols[r])), change[r]);
        found[r] = _mm512_xor_si512(lower[r], change);
    }
    found
}

/// `a ^ b ^ c`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn joined(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes are readable.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Sixteen entries, four times.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn load_link(entries: &[u8; 16]) -> __m512i {
    // SAFETY: sixteen bytes are readable.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(entries.as_ptr().cast()) })
}
