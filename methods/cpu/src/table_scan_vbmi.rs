//! Sums of bytes from tables that are held in registers, on AVX-512 VBMI.
//!
//! Entered only after an `Isa` of AVX-512 VNNI and VBMI was given; 64 look-ups take two or seven instructions (`cargo bench -p vqbench-cpu`).

use crate::table_scan::{Bounds, Factors, LANE_ROWS, QUAD, ROUNDED_OFF};
use std::arch::x86_64::*;

/// Registers of sixteen sums in a group of rows.
const REGISTERS: usize = LANE_ROWS / 16;

/// Four tables of 16 entries are one register: one permutation looks up four symbols of sixteen rows, and one product with ones adds them up.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn nibble_sums(symbols: &[u8], steps: &[u8], sums: &mut [u32; LANE_ROWS]) {
    let ones = _mm512_set1_epi8(1);
    let mut registers = [_mm512_setzero_si512(); REGISTERS];
    for (symbols, steps) in symbols.as_chunks::<{ LANE_ROWS * QUAD }>().0.iter().zip(steps.as_chunks::<64>().0) {
        // SAFETY: both hold whole registers.
        let table = unsafe { _mm512_loadu_si512(steps.as_ptr().cast()) };
        for (r, register) in registers.iter_mut().enumerate() {
            // SAFETY: as above.
            let index = unsafe { _mm512_loadu_si512(symbols.as_ptr().wrapping_add(64 * r).cast()) };
            *register = _mm512_dpbusd_epi32(*register, _mm512_permutexvar_epi8(index, table), ones);
        }
    }
    for (r, register) in registers.into_iter().enumerate() {
        // SAFETY: `sums` holds `REGISTERS` registers.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().wrapping_add(16 * r).cast(), register) };
    }
}

/// A table of 256 entries is four registers: two permutations look up the halves, and the highest bit chooses. Sums are kept of pairs
/// of rows as `even + 256·odd` and of the odd rows alone, modulo 2^16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn byte_sums(symbols: &[u8], steps: &[u8], sums: &mut [u32; LANE_ROWS]) {
    const HALVES: usize = LANE_ROWS / 64;
    let mut both = [_mm512_setzero_si512(); HALVES];
    let mut odd = [_mm512_setzero_si512(); HALVES];
    for (symbols, steps) in symbols.as_chunks::<LANE_ROWS>().0.iter().zip(steps.as_chunks::<256>().0) {
        let mut table = [_mm512_setzero_si512(); 4];
        for (quarter, table) in table.iter_mut().enumerate() {
            // SAFETY: `steps` holds four registers.
            *table = unsafe { _mm512_loadu_si512(steps.as_ptr().wrapping_add(64 * quarter).cast()) };
        }
        for h in 0..HALVES {
            // SAFETY: `symbols` holds `HALVES` registers.
            let index = unsafe { _mm512_loadu_si512(symbols.as_ptr().wrapping_add(64 * h).cast()) };
            let low = _mm512_permutex2var_epi8(table[0], index, table[1]);
            let high = _mm512_permutex2var_epi8(table[2], index, table[3]);
            let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
            both[h] = _mm512_add_epi16(both[h], found);
            odd[h] = _mm512_add_epi16(odd[h], _mm512_srli_epi16::<8>(found));
        }
    }
    for h in 0..HALVES {
        let even = _mm512_sub_epi16(both[h], _mm512_slli_epi16::<8>(odd[h]));
        let (mut evens, mut odds) = ([0u16; 32], [0u16; 32]);
        // SAFETY: `evens` holds a register.
        unsafe { _mm512_storeu_si512(evens.as_mut_ptr().cast(), even) };
        // SAFETY: `odds` holds a register.
        unsafe { _mm512_storeu_si512(odds.as_mut_ptr().cast(), odd[h]) };
        for (pair, (even, odd)) in sums[64 * h..][..64].as_chunks_mut::<2>().0.iter_mut().zip(evens.iter().zip(&odds)) {
            *pair = [u32::from(*even), u32::from(*odd)];
        }
    }
}

/// One bit per row: whether its sum is at most `highest`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn at_most(sums: &[u32; LANE_ROWS], highest: u32) -> u128 {
    let highest = _mm512_set1_epi32(highest.cast_signed());
    let mut within = 0u128;
    for (r, sums) in sums.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: a chunk is one register.
        let sums = unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) };
        within |= u128::from(_mm512_cmple_epu32_mask(sums, highest)) << (16 * r);
    }
    within
}

/// One bit per row: whether its lower bound is at most the limit.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn at_most_with(sums: &[u32; LANE_ROWS], factors: &Factors<'_>, bounds: &Bounds) -> u128 {
    let (offsets, slopes) = (factors.offsets.as_chunks::<16>().0, factors.slopes.as_chunks::<16>().0);
    let (step, middle) = (_mm512_set1_ps(bounds.step), _mm512_set1_ps(bounds.middle));
    let (margin, rounding) = (_mm512_set1_ps(bounds.margin), _mm512_set1_ps(bounds.rounding));
    let mut within = 0u128;
    for (r, ((sums, offsets), slopes)) in sums.as_chunks::<16>().0.iter().zip(offsets).zip(slopes).enumerate() {
        // SAFETY: a chunk is one register.
        let sums = unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) };
        // SAFETY: as above.
        let offset = unsafe { _mm512_loadu_ps(offsets.as_ptr()) };
        // SAFETY: as above.
        let slope = unsafe { _mm512_loadu_ps(slopes.as_ptr()) };
        let sum = _mm512_fmadd_ps(_mm512_cvtepu32_ps(sums), step, middle);
        let score = _mm512_fmadd_ps(slope, sum, offset);
        let rounding = _mm512_fmadd_ps(_mm512_abs_ps(offset), _mm512_set1_ps(ROUNDED_OFF), rounding);
        let low = _mm512_sub_ps(score, _mm512_fmadd_ps(_mm512_abs_ps(slope), margin, rounding));
        let mask = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(low, _mm512_set1_ps(bounds.limit));
        within |= u128::from(mask) << (16 * r);
    }
    within
}
