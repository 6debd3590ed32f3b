//! Sums of steps from tables of 16 that are held in registers, on AVX-512 without VBMI.
//!
//! Entered only after an `Isa` of AVX-512 was given; 128 look-ups take nine instructions besides loads (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{self, GROUP, Sums};
use std::arch::x86_64::*;

/// Registers of a column of bytes of a group of rows.
const REGISTERS: usize = GROUP / 64;

/// Columns whose sums, of two steps up to 127 each, stay below 2^16.
const COLUMNS: usize = 256;

/// Sums of the even and of the odd rows of a group, in 16 bits.
type Halves = [[__m512i; REGISTERS]; 2];

/// Two steps are looked up by the halves of a byte and added in a byte, then to the sums of pairs of rows, see [`halves`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn nibble_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    if symbols.len() <= GROUP * COLUMNS {
        let halves = halves(symbols, steps);
        let within = at_most(&halves, highest);
        if within != 0 {
            sums.fill(0);
            add(&halves, sums);
        }
        return within;
    }
    sums.fill(0);
    for (symbols, steps) in symbols.chunks(GROUP * COLUMNS).zip(steps.chunks(32 * COLUMNS)) {
        add(&halves(symbols, steps), sums);
    }
    table_kernels::at_most(sums, highest)
}

/// Sums are kept of pairs of rows as `even + 256·odd`, modulo 2^16, and of the odd rows alone.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn halves(symbols: &[u8], steps: &[u8]) -> Halves {
    let nibble = _mm512_set1_epi8(15);
    let mut both = [_mm512_setzero_si512(); REGISTERS];
    let mut odd = [_mm512_setzero_si512(); REGISTERS];
    for (symbols, steps) in symbols.as_chunks::<GROUP>().0.iter().zip(steps.as_chunks::<32>().0) {
        // SAFETY: the first of two tables.
        let low = unsafe { _mm_loadu_si128(steps.as_ptr().cast()) };
        // SAFETY: the second.
        let high = unsafe { _mm_loadu_si128(steps.as_ptr().wrapping_add(16).cast()) };
        let (low, high) = (_mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high));
        for r in 0..REGISTERS {
            // SAFETY: `symbols` holds `REGISTERS` registers.
            let pair = unsafe { _mm512_loadu_si512(symbols.as_ptr().wrapping_add(64 * r).cast()) };
            let of_low = _mm512_shuffle_epi8(low, _mm512_and_si512(pair, nibble));
            let of_high = _mm512_shuffle_epi8(high, _mm512_and_si512(_mm512_srli_epi16::<4>(pair), nibble));
            let found = _mm512_add_epi8(of_low, of_high);
            both[r] = _mm512_add_epi16(both[r], found);
            odd[r] = _mm512_add_epi16(odd[r], _mm512_srli_epi16::<8>(found));
        }
    }
    let mut even = both;
    for (even, odd) in even.iter_mut().zip(odd) {
        *even = _mm512_sub_epi16(*even, _mm512_slli_epi16::<8>(odd));
    }
    [even, odd]
}

/// One bit per row: whether its sum is at most `highest`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn at_most(halves: &Halves, highest: u32) -> u128 {
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
fn add(halves: &Halves, sums: &mut Sums) {
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
