//! Sums of bytes from tables that are held in registers, on AVX-512 VBMI.
//!
//! Entered only after an `Isa` of AVX-512 VNNI and VBMI was given; 64 look-ups take two or seven instructions (`cargo bench -p vqbench-cpu`).

use crate::table_kernels::{GROUP, QUAD, Sums, at_most};
use std::arch::x86_64::*;

/// Registers of sixteen sums in a group of rows.
const REGISTERS: usize = GROUP / 16;

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

/// A table of 256 entries is four registers: two permutations look up the halves, and the highest bit chooses. Sums are kept of pairs
/// of rows as `even + 256·odd` and of the odd rows alone, modulo 2^16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn byte_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    const HALVES: usize = GROUP / 64;
    let mut both = [_mm512_setzero_si512(); HALVES];
    let mut odd = [_mm512_setzero_si512(); HALVES];
    for (symbols, steps) in symbols.as_chunks::<GROUP>().0.iter().zip(steps.as_chunks::<256>().0) {
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
    let mut even = [_mm512_setzero_si512(); HALVES];
    let most = _mm512_set1_epi16(highest.min(u32::from(u16::MAX)) as i16);
    let mut some = false;
    for h in 0..HALVES {
        even[h] = _mm512_sub_epi16(both[h], _mm512_slli_epi16::<8>(odd[h]));
        some |= _mm512_cmple_epu16_mask(even[h], most) | _mm512_cmple_epu16_mask(odd[h], most) != 0;
    }
    if !some {
        return 0;
    }
    for h in 0..HALVES {
        let (mut evens, mut odds) = ([0u16; 32], [0u16; 32]);
        // SAFETY: `evens` holds a register.
        unsafe { _mm512_storeu_si512(evens.as_mut_ptr().cast(), even[h]) };
        // SAFETY: `odds` holds a register.
        unsafe { _mm512_storeu_si512(odds.as_mut_ptr().cast(), odd[h]) };
        for (pair, (even, odd)) in sums[64 * h..][..64].as_chunks_mut::<2>().0.iter_mut().zip(evens.iter().zip(&odds)) {
            *pair = [u32::from(*even), u32::from(*odd)];
        }
    }
    at_most(sums, highest)
}
