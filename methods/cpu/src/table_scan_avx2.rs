//! Sums of steps from tables of 16 that are held in registers, on AVX2.
//!
//! Entered only after an `Isa` of AVX2 was given; 64 look-ups take nine instructions besides loads (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, Sums, sums_in_halves};
use std::arch::x86_64::*;

/// Registers of a column of bytes of a group of rows.
const REGISTERS: usize = GROUP / 32;

/// Sums of the even and of the odd rows of a group, in 16 bits.
pub(crate) type Halves = [[__m256i; REGISTERS]; 2];

sums_in_halves!("avx2,fma", halves_of_nibbles, at_most, add);

/// Sums of pairs of rows as `even + 256·odd`, modulo 2^16, and of the odd rows alone.
type Pairs = [__m256i; 2];

/// No sums yet.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn no_pairs() -> [Pairs; REGISTERS] {
    [[_mm256_setzero_si256(); 2]; REGISTERS]
}

/// Adds a byte for each row.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_to_pairs([both, odd]: &mut Pairs, found: __m256i) {
    *both = _mm256_add_epi16(*both, found);
    *odd = _mm256_add_epi16(*odd, _mm256_srli_epi16::<8>(found));
}

/// The sums of even and of odd rows from those of pairs.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn halves(pairs: [Pairs; REGISTERS]) -> Halves {
    let mut halves = [[_mm256_setzero_si256(); REGISTERS]; 2];
    for (r, [both, odd]) in pairs.into_iter().enumerate() {
        halves[0][r] = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
        halves[1][r] = odd;
    }
    halves
}

/// Two steps are looked up by the halves of a byte and added in a byte, then to the sums of pairs of rows.
#[target_feature(enable = "avx2,fma")]
fn halves_of_nibbles(symbols: &[u8], steps: &[u8]) -> Halves {
    let nibble = _mm256_set1_epi8(15);
    let mut pairs = no_pairs();
    for (symbols, steps) in symbols.as_chunks::<GROUP>().0.iter().zip(steps.as_chunks::<32>().0) {
        // SAFETY: the first of two tables.
        let low = unsafe { _mm_loadu_si128(steps.as_ptr().cast()) };
        // SAFETY: the second.
        let high = unsafe { _mm_loadu_si128(steps.as_ptr().wrapping_add(16).cast()) };
        let (low, high) = (_mm256_broadcastsi128_si256(low), _mm256_broadcastsi128_si256(high));
        for (r, pairs) in pairs.iter_mut().enumerate() {
            // SAFETY: `symbols` holds `REGISTERS` registers.
            let pair = unsafe { _mm256_loadu_si256(symbols.as_ptr().wrapping_add(32 * r).cast()) };
            let of_low = _mm256_shuffle_epi8(low, _mm256_and_si256(pair, nibble));
            let of_high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16::<4>(pair), nibble));
            add_to_pairs(pairs, _mm256_add_epi8(of_low, of_high));
        }
    }
    halves(pairs)
}

/// One bit per row: whether its sum is at most `highest`.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn at_most(halves: &Halves, highest: u32) -> u128 {
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
#[inline]
pub(crate) fn add(halves: &Halves, sums: &mut Sums) {
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
