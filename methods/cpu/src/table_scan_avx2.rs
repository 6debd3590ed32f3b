//! Sums of steps from tables of 16 that are held in registers, on AVX2.
//!
//! Entered only after an `Isa` of AVX2 was given; 64 look-ups take nine instructions besides loads (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{self, GROUP, Sums};
use std::arch::x86_64::*;

/// Registers of a column of bytes of a group of rows.
const REGISTERS: usize = GROUP / 32;

/// Columns whose sums, of two steps up to 127 each, stay below 2^16.
const COLUMNS: usize = 256;

/// Sums of the even and of the odd rows of a group, in 16 bits.
type Halves = [[__m256i; REGISTERS]; 2];

/// Two steps are looked up by the halves of a byte and added in a byte, then to the sums of pairs of rows, see [`halves`].
#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
fn halves(symbols: &[u8], steps: &[u8]) -> Halves {
    let nibble = _mm256_set1_epi8(15);
    let mut both = [_mm256_setzero_si256(); REGISTERS];
    let mut odd = [_mm256_setzero_si256(); REGISTERS];
    for (symbols, steps) in symbols.as_chunks::<GROUP>().0.iter().zip(steps.as_chunks::<32>().0) {
        // SAFETY: the first of two tables.
        let low = unsafe { _mm_loadu_si128(steps.as_ptr().cast()) };
        // SAFETY: the second.
        let high = unsafe { _mm_loadu_si128(steps.as_ptr().wrapping_add(16).cast()) };
        let (low, high) = (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high));
        for r in 0..REGISTERS {
            // SAFETY: `symbols` holds `REGISTERS` registers.
            let pair = unsafe { _mm256_loadu_si256(symbols.as_ptr().wrapping_add(32 * r).cast()) };
            let of_low = _mm256_shuffle_epi8(low, _mm256_and_si256(pair, nibble));
            let of_high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16::<4>(pair), nibble));
            let found = _mm256_add_epi8(of_low, of_high);
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

/// One bit per row: whether its sum is at most `highest`.
#[target_feature(enable = "avx2,fma")]
fn at_most(halves: &Halves, highest: u32) -> u128 {
    let most = _mm256_set1_epi16(highest.min(u32::from(u16::MAX)) as i16);
    let mut within = 0u128;
    let [evens, odds] = halves;
    for (r, (even, odd)) in evens.iter().zip(odds).enumerate() {
        // Two bits for each sum, of which one belongs to its row.
        let even = _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_min_epu16(*even, most), *even)).cast_unsigned();
        let odd = _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_min_epu16(*odd, most), *odd)).cast_unsigned();
        within |= u128::from(even & 0x5555_5555 | odd & 0xaaaa_aaaa) << (32 * r);
    }
    within
}

/// Adds 16-bit sums to those of 32 bits.
#[target_feature(enable = "avx2,fma")]
fn add(halves: &Halves, sums: &mut Sums) {
    for (r, sums) in sums.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let mut values = [[0u16; 16]; 2];
        for (values, half) in values.iter_mut().zip(halves) {
            // SAFETY: `values` holds a register.
            unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), half[r]) };
        }
        for (pair, (even, odd)) in sums.as_chunks_mut::<2>().0.iter_mut().zip(values[0].iter().zip(&values[1])) {
            pair[0] += u32::from(*even);
            pair[1] += u32::from(*odd);
        }
    }
}
