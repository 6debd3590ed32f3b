//! Sums of steps from tables of 256 that are looked up sixteen entries at a time, on AVX-512 without VBMI.
//!
//! Entered only after an `Isa` of AVX-512 was given; 64 look-ups take 37 instructions besides loads (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, Sums};
use crate::table_scan_avx512::{REGISTERS, add, at_most};
use std::arch::x86_64::*;

/// Tables are those of [`crate::table_kernels::chain`]. Sums are kept of pairs of rows as `even + 256·odd`, modulo 2^16, and of the odd
/// rows alone.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn byte_sums(symbols: &[u8], tables: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let (none, sixteen) = (_mm512_setzero_si512(), _mm512_set1_epi8(16));
    let mut both = [none; REGISTERS];
    let mut odd = [none; REGISTERS];
    for (symbols, table) in symbols.as_chunks::<GROUP>().0.iter().zip(tables.as_chunks::<256>().0) {
        let symbols = symbols.as_chunks::<64>().0;
        let mut places = [none; REGISTERS];
        for (place, symbols) in places.iter_mut().zip(symbols) {
            *place = _mm512_and_si512(load(symbols), _mm512_set1_epi8(127));
        }
        let (mut lower, mut change) = ([none; REGISTERS], [none; REGISTERS]);
        // Two links at a time: one instruction joins three values.
        for links in table.as_chunks::<64>().0 {
            let links = links.as_chunks::<16>().0;
            let (lowers, changes) =
                ([load_link(&links[0]), load_link(&links[2])], [load_link(&links[1]), load_link(&links[3])]);
            for r in 0..REGISTERS {
                // A place below zero selects nothing.
                let next = _mm512_sub_epi8(places[r], sixteen);
                lower[r] =
                    joined(lower[r], _mm512_shuffle_epi8(lowers[0], places[r]), _mm512_shuffle_epi8(lowers[1], next));
                change[r] = joined(
                    change[r],
                    _mm512_shuffle_epi8(changes[0], places[r]),
                    _mm512_shuffle_epi8(changes[1], next),
                );
                places[r] = _mm512_sub_epi8(next, sixteen);
            }
        }
        for r in 0..REGISTERS {
            let change = _mm512_maskz_mov_epi8(_mm512_movepi8_mask(load(&symbols[r])), change[r]);
            let found = _mm512_xor_si512(lower[r], change);
            both[r] = _mm512_add_epi16(both[r], found);
            odd[r] = _mm512_add_epi16(odd[r], _mm512_srli_epi16::<8>(found));
        }
    }
    let mut even = both;
    for (even, odd) in even.iter_mut().zip(odd) {
        *even = _mm512_sub_epi16(*even, _mm512_slli_epi16::<8>(odd));
    }
    let halves = [even, odd];
    let within = at_most(&halves, highest);
    if within != 0 {
        sums.fill(0);
        add(&halves, sums);
    }
    within
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
