//! Sums of bytes from tables that are held in registers, on AVX-512 VBMI.
//!
//! Entered only after an `Isa` of AVX-512 VNNI and VBMI was given; 64 look-ups take two or seven instructions (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, QUAD, Sums};
use crate::table_scan_avx512 as avx512;
use std::arch::x86_64::*;

/// Registers of sixteen sums in a group of rows.
const REGISTERS: usize = GROUP / 16;

/// Registers of a column of bytes of a group of rows.
const HALVES: usize = avx512::REGISTERS;

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
/// two positions are added in bytes, then to the sums of pairs of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn byte_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let mut pairs = avx512::no_pairs();
    let (symbols, last_symbols) = symbols.as_chunks::<{ 2 * GROUP }>();
    let (tables, last_table) = steps.as_chunks::<512>();
    for (symbols, steps) in symbols.iter().zip(tables) {
        let first = found(&symbols[..GROUP], &steps[..256]);
        let second = found(&symbols[GROUP..], &steps[256..]);
        for (h, pairs) in pairs.iter_mut().enumerate() {
            avx512::add_to_pairs(pairs, _mm512_add_epi8(first[h], second[h]));
        }
    }
    if !last_symbols.is_empty() {
        let steps = tables.get(symbols.len()).map_or(last_table, |pair| pair);
        for (pairs, found) in pairs.iter_mut().zip(found(last_symbols, steps)) {
            avx512::add_to_pairs(pairs, found);
        }
    }
    let halves = avx512::halves(pairs);
    let within = avx512::at_most(&halves, highest);
    if within != 0 {
        sums.fill(0);
        avx512::add(&halves, sums);
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
