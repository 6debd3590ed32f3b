//! Sums of steps from tables of 16 that are held in registers, on AVX-512 without VBMI.
//!
//! Entered only after an `Isa` of AVX-512 was given; 128 look-ups take nine instructions besides loads (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, Sums, sums_in_halves};
use std::arch::x86_64::*;

/// Registers of a column of bytes of a group of rows.
pub(crate) const REGISTERS: usize = GROUP / 64;

/// Sums of the even and of the odd rows of a group, in 16 bits.
pub(crate) type Halves = [[__m512i; REGISTERS]; 2];

sums_in_halves!("avx512f,avx512bw,avx512dq,avx512vl,fma", halves_of_nibbles, at_most, add);

/// Sums of pairs of rows as `even + 256·odd`, modulo 2^16, and of the odd rows alone.
pub(crate) type Pairs = [__m512i; 2];

/// No sums yet.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
pub(crate) fn no_pairs() -> [Pairs; REGISTERS] {
    [[_mm512_setzero_si512(); 2]; REGISTERS]
}

/// Adds a byte for each row.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
pub(crate) fn add_to_pairs([both, odd]: &mut Pairs, found: __m512i) {
    *both = _mm512_add_epi16(*both, found);
    *odd = _mm512_add_epi16(*odd, _mm512_srli_epi16::<8>(found));
}

/// The sums of even and of odd rows from those of pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
pub(crate) fn halves(pairs: [Pairs; REGISTERS]) -> Halves {
    let mut halves = [[_mm512_setzero_si512(); REGISTERS]; 2];
    for (r, [both, odd]) in pairs.into_iter().enumerate() {
        halves[0][r] = _mm512_sub_epi16(both, _mm512_slli_epi16::<8>(odd));
        halves[1][r] = odd;
    }
    halves
}

/// Two steps are looked up by the halves of a byte and added in a byte, then to the sums of pairs of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn halves_of_nibbles(symbols: &[u8], steps: &[u8]) -> Halves {
    let nibble = _mm512_set1_epi8(15);
    let mut pairs = no_pairs();
    for (symbols, steps) in symbols.as_chunks::<GROUP>().0.iter().zip(steps.as_chunks::<32>().0) {
        // SAFETY: the first of two tables.
        let low = unsafe { _mm_loadu_si128(steps.as_ptr().cast()) };
        // SAFETY: the second.
        let high = unsafe { _mm_loadu_si128(steps.as_ptr().wrapping_add(16).cast()) };
        let (low, high) = (_mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high));
        for (r, pairs) in pairs.iter_mut().enumerate() {
            // SAFETY: `symbols` holds `REGISTERS` registers.
            let pair = unsafe { _mm512_loadu_si512(symbols.as_ptr().wrapping_add(64 * r).cast()) };
            let of_low = _mm512_shuffle_epi8(low, _mm512_and_si512(pair, nibble));
            let of_high = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16::<4>(pair), nibble));
            add_to_pairs(pairs, _mm512_add_epi8(of_low, of_high));
        }
    }
    halves(pairs)
}

/// One bit per row: whether its sum is at most `highest`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
pub(crate) fn at_most(halves: &Halves, highest: u32) -> u128 {
    let most = _mm512_set1_epi16(highest.min(u32::from(u16::MAX)) as i16);
    let mut within = 0u128;
    let [evens, odds] = halves;
    for (r, (even, odd)) in evens.iter().zip(odds).enumerate() {
        let even = _mm512_cmple_epu16_mask(*even, most);
        let odd = _mm512_cmple_epu16_mask(*odd, most);
        // One byte for each row.
        let rows = _mm512_or_si512(_mm512_maskz_set1_epi16(even, 0x00ff), _mm512_maskz_set1_epi16(odd, -0x0100));
        within |= u128::from(_mm512_movepi8_mask(rows)) << (64 * r);
    }
    within
}

/// Adds 16-bit sums to those of 32 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
pub(crate) fn add(halves: &Halves, sums: &mut Sums) {
    for (r, sums) in sums.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let mut values = [[0u16; 32]; 2];
        for (values, half) in values.iter_mut().zip(halves) {
            // SAFETY: `values` holds a register.
            unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), half[r]) };
        }
        for (pair, (even, odd)) in sums.as_chunks_mut::<2>().0.iter_mut().zip(values[0].iter().zip(&values[1])) {
            pair[0] += u32::from(*even);
            pair[1] += u32::from(*odd);
        }
    }
}
