//! Sums of steps from tables of 16 that are held in registers, on AVX2.
//!
//! Entered only after an `Isa` of AVX2 was given; 128 look-ups take ten instructions besides loads (`cargo bench -p vqbench-cpu`).

use crate::nibble_scan::{BlockSums, LINES, Line, Slots};
use crate::table_kernels::{GROUP, HALVES_OF_QUADS, QUAD, QuadColumns, QuadTables, Sums, sums_in_halves};
use std::arch::x86_64::*;

/// Registers of a column of bytes of a group of rows.
const REGISTERS: usize = GROUP / 32;

/// Sums of the even and of the odd rows of a group, in 16 bits.
pub(crate) type Halves = [[__m256i; REGISTERS]; 2];

sums_in_halves!("avx2,fma", halves_of_nibbles, at_most, add);

/// Sums of the even and of the odd of each 32 rows.
type Sums16 = [[__m256i; 2]; REGISTERS];

/// Sums of the even and of the odd of each 32 rows, of at most [`HALVES_OF_QUADS`].
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums_of_group(symbols: &[QuadColumns], steps: &[QuadTables]) -> Sums16 {
    let mut sums = [[_mm256_setzero_si256(); 2]; REGISTERS];
    for (columns, tables) in symbols.iter().zip(steps) {
        add_quad(&mut sums, columns, tables);
    }
    evens(sums)
}

/// The same for eight quads, without a loop: the processor would guess wrongly at the end of each.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums_of_eight(symbols: &[QuadColumns; 8], steps: &[QuadTables; 8]) -> Sums16 {
    let mut sums = [[_mm256_setzero_si256(); 2]; REGISTERS];
    add_quad(&mut sums, &symbols[0], &steps[0]);
    add_quad(&mut sums, &symbols[1], &steps[1]);
    add_quad(&mut sums, &symbols[2], &steps[2]);
    add_quad(&mut sums, &symbols[3], &steps[3]);
    add_quad(&mut sums, &symbols[4], &steps[4]);
    add_quad(&mut sums, &symbols[5], &steps[5]);
    add_quad(&mut sums, &symbols[6], &steps[6]);
    add_quad(&mut sums, &symbols[7], &steps[7]);
    evens(sums)
}

/// Four steps are looked up and added in a byte, then to the sums of pairs of rows: as `even + 256·odd`, modulo 2^16, and of the odd rows
/// alone.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_quad(sums: &mut Sums16, columns: &QuadColumns, tables: &QuadTables) {
    let [a, b, c, d] = tables;
    let tables = [load_table(a), load_table(b), load_table(c), load_table(d)];
    for (r, [both, odd]) in sums.iter_mut().enumerate() {
        let of = |p: usize| _mm256_shuffle_epi8(tables[p], load(&columns[p], r));
        let found = _mm256_add_epi8(_mm256_add_epi8(of(0), of(1)), _mm256_add_epi8(of(2), of(3)));
        *both = _mm256_add_epi16(*both, found);
        *odd = _mm256_add_epi16(*odd, _mm256_srli_epi16::<8>(found));
    }
}

/// The sums of the even rows from those of pairs.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn evens(mut sums: Sums16) -> Sums16 {
    for [both, odd] in &mut sums {
        *both = _mm256_sub_epi16(*both, _mm256_slli_epi16::<8>(*odd));
    }
    sums
}

/// Sums of groups of nibbles; those of 16 bits that are too large are the largest. A query finds the symbols of a group in the first-level
/// cache after another has read them.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn nibble_block<const Q: usize>(
    symbols: &[u8],
    steps: [&[u8]; Q],
    to: [&mut BlockSums; Q],
    slots: [&mut Slots; Q],
) {
    let quads = steps[0].len() / size_of::<QuadTables>();
    assert!(steps.iter().all(|of| of.len() == steps[0].len()), "tables of one shape");
    let groups = symbols.as_chunks::<GROUP>().0.as_chunks::<QUAD>().0.chunks_exact(quads);
    for (group, symbols) in groups.enumerate() {
        for q in 0..Q {
            let steps = steps[q].as_chunks::<16>().0.as_chunks::<QUAD>().0;
            let sums = match (symbols.as_array::<8>(), steps.as_array::<8>()) {
                (Some(symbols), Some(steps)) => sums_of_eight(symbols, steps),
                _ if quads <= HALVES_OF_QUADS => sums_of_group(symbols, steps),
                _ => sums_of_long_codes(symbols, steps),
            };
            let most = _mm256_set1_epi16(-1);
            let mut least = [most; 2];
            let lines = to[q].sums[group].as_chunks_mut::<2>().0.iter_mut();
            for (lines, [first, second]) in lines.zip(sums.as_chunks::<2>().0) {
                for (line, (a, b)) in lines.iter_mut().zip(first.iter().zip(second)) {
                    store_line([*a, *b], line);
                    least = [_mm256_min_epu16(least[0], *a), _mm256_min_epu16(least[1], *b)];
                }
            }
            store_line(least, &mut to[q].least[group]);
            let slot = &mut slots[q][group % LINES];
            let [a, b] = load_line(slot);
            store_line([_mm256_min_epu16(a, least[0]), _mm256_min_epu16(b, least[1])], slot);
        }
    }
}

/// [`sums_of_group`] of any number of quads.
#[cold]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn sums_of_long_codes(symbols: &[QuadColumns], steps: &[QuadTables]) -> Sums16 {
    let mut sums = [[_mm256_setzero_si256(); 2]; REGISTERS];
    for (symbols, steps) in symbols.chunks(HALVES_OF_QUADS).zip(steps.chunks(HALVES_OF_QUADS)) {
        let more = sums_of_group(symbols, steps);
        for (sum, more) in sums.as_flattened_mut().iter_mut().zip(more.as_flattened()) {
            *sum = _mm256_adds_epu16(*sum, *more);
        }
    }
    sums
}

/// Of at most [`HALVES_OF_QUADS`] quads.
#[target_feature(enable = "avx2,fma")]
fn halves_of_nibbles(symbols: &[u8], steps: &[u8]) -> Halves {
    let symbols = symbols.as_chunks::<GROUP>().0.as_chunks::<QUAD>().0;
    let [a, b, c, d] = sums_of_group(symbols, steps.as_chunks::<16>().0.as_chunks::<QUAD>().0);
    [[a[0], b[0], c[0], d[0]], [a[1], b[1], c[1], d[1]]]
}

/// The register of this number of a column of bytes.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn load(column: &[u8; GROUP], r: usize) -> __m256i {
    let bytes = &column.as_chunks::<32>().0[r];
    // SAFETY: 32 bytes are readable.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Sixteen entries, twice.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_table(entries: &[u8; 16]) -> __m256i {
    // SAFETY: sixteen bytes are readable.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(entries.as_ptr().cast()) })
}

#[target_feature(enable = "avx2,fma")]
#[inline]
pub(crate) fn load_line(line: &Line) -> [__m256i; 2] {
    let halves = line.0.as_chunks::<16>().0;
    [load_sums(&halves[0]), load_sums(&halves[1])]
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_sums(sums: &[u16; 16]) -> __m256i {
    // SAFETY: sixteen values are a register.
    unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store_line(values: [__m256i; 2], line: &mut Line) {
    for (to, value) in line.0.as_chunks_mut::<16>().0.iter_mut().zip(values) {
        // SAFETY: sixteen values are a register.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) }
    }
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
