//! Sums of bytes from tables that are held in registers, on AVX-512 VBMI.
//!
//! Entered only after an `Isa` of AVX-512 VNNI and VBMI was given; 64 look-ups take two or seven instructions (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, QUAD, Sums};
use std::arch::x86_64::*;

/// Registers of sixteen sums in a group of rows.
const REGISTERS: usize = GROUP / 16;

/// Registers of a column of bytes of a group of rows.
const HALVES: usize = GROUP / 64;

/// Four tables of 16 entries are one register: one permutation looks up four symbols of sixteen rows, and one product with ones adds them up.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn nibble_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let ones = _mm512_set1_epi8(1);
    let mut registers = [_mm512_setzero_si512(); REGISTERS];
    for (symbols, steps) in symbols.as_chunks::<{ GROUP * QUAD }>().0.iter().zip(steps.as_chunks::<64>().0) {
        // SAFETY: both hold whole registers.
        let table = unsafe { _mm512_loadu_si512(steps.as_ptr().cast()) };
        for (r, register) in registers.iter_mut().enumerate() {
            // SAFETY: as above.
            let index = unsafe { _mm512_loadu_si512(symbols.as_ptr().wrapping_add(64 * r).cast()) };
            *register = _mm512_dpbusd_epi32(*register, _mm512_permutexvar_epi8(index, table), ones);
        }
    }
    let highest = _mm512_set1_epi32(highest.cast_signed());
    let mut within = 0u128;
    for (r, register) in registers.iter().enumerate() {
        within |= u128::from(_mm512_cmple_epu32_mask(*register, highest)) << (16 * r);
    }
    if within != 0 {
        for (r, register) in registers.into_iter().enumerate() {
            // SAFETY: `sums` holds `REGISTERS` registers.
            unsafe { _mm512_storeu_si512(sums.as_mut_ptr().wrapping_add(16 * r).cast(), register) };
        }
    }
    within
}

/// A table of 256 entries is four registers: a permutation looks up each quarter, and the two highest bits choose. Steps of up to 127 of
/// two positions are added in bytes, then to the sums of pairs of rows, `even + 256·odd` modulo 2^16, and of the odd rows alone.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn byte_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let mut both = [_mm512_setzero_si512(); HALVES];
    let mut odd = [_mm512_setzero_si512(); HALVES];
    let (symbols, last_symbols) = symbols.as_chunks::<{ 2 * GROUP }>();
    let (pairs, last_steps) = steps.as_chunks::<512>();
    let mut add = |h: usize, found: __m512i| {
        both[h] = _mm512_add_epi16(both[h], found);
        odd[h] = _mm512_add_epi16(odd[h], _mm512_srli_epi16::<8>(found));
    };
    for (symbols, steps) in symbols.iter().zip(pairs) {
        let first = found(&symbols[..GROUP], &steps[..256]);
        let second = found(&symbols[GROUP..], &steps[256..]);
        for h in 0..HALVES {
            add(h, _mm512_add_epi8(first[h], second[h]));
        }
    }
    if !last_symbols.is_empty() {
        let steps = pairs.get(symbols.len()).map_or(last_steps, |pair| pair);
        let last = found(last_symbols, steps);
        (0..HALVES).for_each(|h| add(h, last[h]));
    }
    let mut even = [_mm512_setzero_si512(); HALVES];
    let most = _mm512_set1_epi16(highest.min(u32::from(u16::MAX)) as i16);
    let mut within = 0u128;
    for h in 0..HALVES {
        even[h] = _mm512_sub_epi16(both[h], _mm512_slli_epi16::<8>(odd[h]));
        let of_even = _mm512_cmple_epu16_mask(even[h], most);
        let of_odd = _mm512_cmple_epu16_mask(odd[h], most);
        // One byte for each row.
        let rows = _mm512_or_si512(_mm512_maskz_set1_epi16(of_even, 0x00ff), _mm512_maskz_set1_epi16(of_odd, -0x0100));
        within |= u128::from(_mm512_movepi8_mask(rows)) << (64 * h);
    }
    if within != 0 {
        for h in 0..HALVES {
            // Even and odd sums in turn, by lanes of eight rows, then in order as 32 bits.
            let turns = [_mm512_unpacklo_epi16(even[h], odd[h]), _mm512_unpackhi_epi16(even[h], odd[h])];
            let mut sixteens = [[0u16; 32]; 2];
            for (turn, sixteens) in turns.into_iter().zip(&mut sixteens) {
                // SAFETY: `sixteens` holds a register.
                unsafe { _mm512_storeu_si512(sixteens.as_mut_ptr().cast(), turn) };
            }
            for (place, sums) in sums[64 * h..][..64].as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let from = &sixteens[place % 2][place / 2 * 8..][..8];
                sums.iter_mut().zip(from).for_each(|(sum, from)| *sum = u32::from(*from));
            }
        }
    }
    within
}

/// The steps of one position.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
#[inline]
fn found(symbols: &[u8], steps: &[u8]) -> [__m512i; HALVES] {
    let (symbols, steps) = (&symbols[..GROUP], &steps[..256]);
    let mut table = [_mm512_setzero_si512(); 4];
    for (quarter, table) in table.iter_mut().enumerate() {
        // SAFETY: `steps` holds four registers.
        *table = unsafe { _mm512_loadu_si512(steps.as_ptr().wrapping_add(64 * quarter).cast()) };
    }
    let mut found = [_mm512_setzero_si512(); HALVES];
    for (h, found) in found.iter_mut().enumerate() {
        // SAFETY: `symbols` holds `HALVES` registers.
        let index = unsafe { _mm512_loadu_si512(symbols.as_ptr().wrapping_add(64 * h).cast()) };
        // The permutation takes the six lower bits.
        let second = _mm512_test_epi8_mask(index, _mm512_set1_epi8(64));
        let low = _mm512_permutexvar_epi8(index, table[0]);
        let low = _mm512_mask_permutexvar_epi8(low, second, index, table[1]);
        let high = _mm512_permutexvar_epi8(index, table[2]);
        let high = _mm512_mask_permutexvar_epi8(high, second, index, table[3]);
        *found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    }
    found
}
