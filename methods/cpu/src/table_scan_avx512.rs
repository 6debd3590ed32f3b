//! Sums of steps from tables of 16 that are held in registers, on AVX-512 without VBMI.
//!
//! Entered only after an `Isa` of AVX-512 was given; 256 look-ups take ten instructions besides loads (`cargo bench -p vqbench-cpu`).

use crate::nibble_scan::{BlockSums, LINES, Slots};
use crate::nibble_scan_avx512::{load_line, store_line};
use crate::table_kernels::{GROUP, HALVES_OF_QUADS, QUAD, QuadColumns, QuadTables, Sums, sums_in_halves};
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

/// Sums of the even and of the odd rows of at most [`HALVES_OF_QUADS`] for each query. Four steps are looked up and added in a byte, then
/// to the sums of pairs of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
fn halves_of_quads<const Q: usize>(symbols: &[QuadColumns], steps: [&[QuadTables]; Q]) -> [Halves; Q] {
    let mut pairs = [no_pairs(); Q];
    for (quad, columns) in symbols.iter().enumerate() {
        for (pairs, steps) in pairs.iter_mut().zip(steps) {
            let [a, b, c, d] = &steps[quad];
            let tables = [load_table(a), load_table(b), load_table(c), load_table(d)];
            for (r, pairs) in pairs.iter_mut().enumerate() {
                let of = |p: usize| _mm512_shuffle_epi8(tables[p], load(&columns[p], r));
                add_to_pairs(pairs, _mm512_add_epi8(_mm512_add_epi8(of(0), of(1)), _mm512_add_epi8(of(2), of(3))));
            }
        }
    }
    let mut sums = [[[_mm512_setzero_si512(); REGISTERS]; 2]; Q];
    for (sums, pairs) in sums.iter_mut().zip(pairs) {
        *sums = halves(pairs);
    }
    sums
}

/// Of at most [`HALVES_OF_QUADS`] quads.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn halves_of_nibbles(symbols: &[u8], steps: &[u8]) -> Halves {
    let symbols = symbols.as_chunks::<GROUP>().0.as_chunks::<QUAD>().0;
    let [halves] = halves_of_quads(symbols, [steps.as_chunks::<16>().0.as_chunks::<QUAD>().0]);
    halves
}

/// Sums of groups of nibbles; those of 16 bits that are too large are the largest.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(crate) fn nibble_block<const Q: usize>(
    symbols: &[u8],
    steps: [&[u8]; Q],
    to: [&mut BlockSums; Q],
    slots: [&mut Slots; Q],
) {
    let steps = steps.map(|steps| steps.as_chunks::<16>().0.as_chunks::<QUAD>().0);
    let quads = steps[0].len();
    assert!(steps.iter().all(|steps| steps.len() == quads), "tables of one shape");
    let groups = symbols.as_chunks::<GROUP>().0.as_chunks::<QUAD>().0.chunks_exact(quads);
    for (group, symbols) in groups.enumerate() {
        let sums = match quads {
            ..=HALVES_OF_QUADS => halves_of_quads(symbols, steps),
            _ => halves_of_long_codes(symbols, steps),
        };
        for q in 0..Q {
            let (to, [evens, odds]) = (&mut *to[q], sums[q]);
            let mut least = _mm512_set1_epi16(-1);
            for (lines, (even, odd)) in
                to.sums[group].as_chunks_mut::<2>().0.iter_mut().zip(evens.into_iter().zip(odds))
            {
                least = _mm512_min_epu16(least, _mm512_min_epu16(even, odd));
                store_line(even, &mut lines[0]);
                store_line(odd, &mut lines[1]);
            }
            store_line(least, &mut to.least[group]);
            let slot = &mut slots[q][group % LINES];
            store_line(_mm512_min_epu16(load_line(slot), least), slot);
        }
    }
}

/// [`halves_of_quads`] of any number of quads.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn halves_of_long_codes<const Q: usize>(symbols: &[QuadColumns], steps: [&[QuadTables]; Q]) -> [Halves; Q] {
    let mut sums = [[[_mm512_setzero_si512(); REGISTERS]; 2]; Q];
    for (part, symbols) in symbols.chunks(HALVES_OF_QUADS).enumerate() {
        let more = halves_of_quads(symbols, steps.map(|steps| &steps[part * HALVES_OF_QUADS..]));
        let (sums, more) = (sums.as_flattened_mut().as_flattened_mut(), more.as_flattened().as_flattened());
        for (sum, more) in sums.iter_mut().zip(more) {
            *sum = _mm512_adds_epu16(*sum, *more);
        }
    }
    sums
}

/// The register of this number of a column of bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
fn load(column: &[u8; GROUP], r: usize) -> __m512i {
    let bytes = &column.as_chunks::<64>().0[r];
    // SAFETY: 64 bytes are readable.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Sixteen entries, four times.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
#[inline]
fn load_table(entries: &[u8; 16]) -> __m512i {
    // SAFETY: sixteen bytes are readable.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(entries.as_ptr().cast()) })
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
