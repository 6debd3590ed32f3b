//! Sums of bytes from tables that are held in registers, on NEON.
//!
//! Entered only after an `Isa` of NEON was given. One instruction looks up sixteen symbols in a table of 16 entries, and four do in one of
//! 256; a loop over floats takes three to each symbol. For two queries at once, eleven instructions find and add up sixteen steps of both, where
//! each query alone takes ten.

use crate::table_kernels::{GROUP, Sums};
use std::arch::aarch64::*;

/// Registers of sixteen rows in half a group: with sixteen registers of a table and eight of sums, most of the 32 are in use.
const HALF: usize = GROUP / 32;

/// Largest step of tables of nibbles: two of them add up in a byte.
pub(crate) const NIBBLE_LEVELS: u8 = 127;

/// Pairs of nibbles whose sums of up to 254 stay below 2^16.
const PAIRS: usize = 258;

/// Sums of sixteen rows: of the first eight, and of the others.
type RowSums = [uint16x8_t; 2];

/// Sums of half a group.
type HalfSums = [RowSums; HALF];

/// The symbols of sixteen rows.
#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: sixteen bytes are readable.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// Sixty-four entries of a table.
#[inline]
#[target_feature(enable = "neon")]
fn load_table(entries: &[u8; 64]) -> uint8x16x4_t {
    // SAFETY: sixty-four bytes are readable.
    unsafe { vld1q_u8_x4(entries.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn plus(sums: RowSums, found: uint8x16_t) -> RowSums {
    [vaddw_u8(sums[0], vget_low_u8(found)), vaddw_high_u8(sums[1], found)]
}

/// One bit for each of sixteen rows: whether its sum is at most `highest`.
#[inline]
#[target_feature(enable = "neon")]
fn at_most(sums: RowSums, highest: uint16x8_t) -> u16 {
    let within = vmovn_high_u16(vmovn_u16(vcleq_u16(sums[0], highest)), vcleq_u16(sums[1], highest));
    let bits = vandq_u8(within, load(&[1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128]));
    u16::from_le_bytes([vaddv_u8(vget_low_u8(bits)), vaddv_u8(vget_high_u8(bits))])
}

/// Whether the sum of any row is at most `highest`.
#[inline]
#[target_feature(enable = "neon")]
fn some_at_most(sums: &[HalfSums; 2], highest: uint16x8_t) -> bool {
    let mut least = vdupq_n_u16(u16::MAX);
    for sums in sums.as_flattened() {
        least = vminq_u16(least, vminq_u16(sums[0], sums[1]));
    }
    vaddlvq_u16(vcleq_u16(least, highest)) != 0
}

/// One bit per row: whether its sum is at most `highest`.
#[inline]
#[target_feature(enable = "neon")]
fn rows_at_most(sums: &[HalfSums; 2], highest: u32) -> u128 {
    let highest = vdupq_n_u16(highest.min(u32::from(u16::MAX)) as u16);
    let mut within = 0;
    if some_at_most(sums, highest) {
        for (r, sums) in sums.as_flattened().iter().enumerate() {
            within |= u128::from(at_most(*sums, highest)) << (16 * r);
        }
    }
    within
}

/// Writes the sums if one of them is at most `highest`, and returns one bit per row.
#[inline]
#[target_feature(enable = "neon")]
fn finish(registers: &[HalfSums; 2], highest: u32, sums: &mut Sums) -> u128 {
    let within = rows_at_most(registers, highest);
    if within == 0 {
        return 0;
    }
    for (register, sums) in registers.as_flattened().iter().zip(sums.as_chunks_mut::<16>().0) {
        let quarters = [
            vmovl_u16(vget_low_u16(register[0])),
            vmovl_high_u16(register[0]),
            vmovl_u16(vget_low_u16(register[1])),
            vmovl_high_u16(register[1]),
        ];
        for (quarter, sums) in quarters.into_iter().zip(sums.as_chunks_mut::<4>().0) {
            // SAFETY: four values are writable.
            unsafe { vst1q_u32(sums.as_mut_ptr(), quarter) };
        }
    }
    within
}

/// Two tables of 16 entries are two registers: one look-up each for the lower and the upper nibbles of sixteen rows.
#[target_feature(enable = "neon")]
pub(crate) fn nibble_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let (symbols, steps) = (symbols.as_chunks::<GROUP>().0, steps.as_chunks::<32>().0);
    if symbols.len() <= PAIRS {
        return finish(&[sums_of_pairs(symbols, steps, 0), sums_of_pairs(symbols, steps, 1)], highest, sums);
    }
    // Longer codes in parts.
    let mut part = [0; GROUP];
    sums.fill(0);
    for (symbols, steps) in symbols.chunks(PAIRS).zip(steps.chunks(PAIRS)) {
        finish(&[sums_of_pairs(symbols, steps, 0), sums_of_pairs(symbols, steps, 1)], u32::MAX, &mut part);
        sums.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
    }
    crate::table_kernels::at_most(sums, highest)
}

/// Sums of one half of the rows. Not inlined: together, both halves are given more registers than there are.
#[inline(never)]
#[target_feature(enable = "neon")]
fn sums_of_pairs(symbols: &[[u8; GROUP]], steps: &[[u8; 32]], half: usize) -> HalfSums {
    let mut registers = [[vdupq_n_u16(0); 2]; HALF];
    let nibble = vdupq_n_u8(15);
    for (symbols, steps) in symbols.iter().zip(steps) {
        let steps = steps.as_chunks::<16>().0;
        let tables = [load(&steps[0]), load(&steps[1])];
        for (register, symbols) in registers.iter_mut().zip(&symbols.as_chunks::<16>().0[half * HALF..]) {
            let pair = load(symbols);
            let lower = vqtbl1q_u8(tables[0], vandq_u8(pair, nibble));
            let upper = vqtbl1q_u8(tables[1], vshrq_n_u8::<4>(pair));
            *register = plus(*register, vaddq_u8(lower, upper));
        }
    }
    registers
}

#[target_feature(enable = "neon")]
pub(crate) fn byte_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
    let (symbols, steps) = (symbols.as_chunks::<GROUP>().0, steps.as_chunks::<256>().0);
    finish(&[sums_of_bytes(symbols, steps, 0), sums_of_bytes(symbols, steps, 1)], highest, sums)
}

/// [`sums_of_pairs`] for bytes.
#[inline(never)]
#[target_feature(enable = "neon")]
fn sums_of_bytes(symbols: &[[u8; GROUP]], steps: &[[u8; 256]], half: usize) -> HalfSums {
    let mut registers = [[vdupq_n_u16(0); 2]; HALF];
    for (symbols, steps) in symbols.iter().zip(steps) {
        let table = load_quarters(steps);
        for (register, symbols) in registers.iter_mut().zip(&symbols.as_chunks::<16>().0[half * HALF..]) {
            *register = plus(*register, found(&table, load(symbols)));
        }
    }
    registers
}

/// A table of 256 entries is four times four registers.
#[inline]
#[target_feature(enable = "neon")]
fn load_quarters(steps: &[u8; 256]) -> [uint8x16x4_t; 4] {
    let steps = steps.as_chunks::<64>().0;
    [load_table(&steps[0]), load_table(&steps[1]), load_table(&steps[2]), load_table(&steps[3])]
}

/// The entries of sixteen symbols, by four look-ups, each of which leaves the places beyond its 64 entries as they were.
#[inline]
#[target_feature(enable = "neon")]
fn found(table: &[uint8x16x4_t; 4], symbols: uint8x16_t) -> uint8x16_t {
    let mut found = vqtbl4q_u8(table[0], symbols);
    for (table, quarter) in table[1..].iter().zip([64, 128, 192]) {
        // Below 64 if the symbol is of this quarter, and above if not.
        found = vqtbx4q_u8(found, *table, veorq_u8(symbols, vdupq_n_u8(quarter)));
    }
    found
}

/// Positions whose sums of steps up to 15 stay below 2^8.
const POSITIONS: usize = 17;

/// The steps of two queries are the halves of a byte, which one look-up finds.
#[target_feature(enable = "neon")]
pub(crate) fn pair_sums(symbols: &[u8], steps: &[u8], highest: [u32; 2]) -> [u128; 2] {
    let (symbols, steps) = (symbols.as_chunks::<GROUP>().0, steps.as_chunks::<256>().0);
    let (first, second) = (sums_of_two(symbols, steps, 0), sums_of_two(symbols, steps, 1));
    [rows_at_most(&[first[0], second[0]], highest[0]), rows_at_most(&[first[1], second[1]], highest[1])]
}

/// [`sums_of_bytes`] for two queries.
#[inline(never)]
#[target_feature(enable = "neon")]
fn sums_of_two(symbols: &[[u8; GROUP]], steps: &[[u8; 256]], half: usize) -> [HalfSums; 2] {
    let nibble = vdupq_n_u8(15);
    let mut sums = [[[vdupq_n_u16(0); 2]; HALF]; 2];
    for (symbols, steps) in symbols.chunks(POSITIONS).zip(steps.chunks(POSITIONS)) {
        // Sums of some positions fit into bytes.
        let mut parts = [[vdupq_n_u8(0); HALF]; 2];
        for (symbols, steps) in symbols.iter().zip(steps) {
            let table = load_quarters(steps);
            let symbols = symbols.as_chunks::<16>().0[half * HALF..].as_chunks::<HALF>().0;
            for r in 0..HALF {
                let found = found(&table, load(&symbols[0][r]));
                parts[0][r] = vaddq_u8(parts[0][r], vandq_u8(found, nibble));
                parts[1][r] = vsraq_n_u8::<4>(parts[1][r], found);
            }
        }
        for (sums, part) in sums.as_flattened_mut().iter_mut().zip(parts.as_flattened()) {
            *sums = plus(*sums, *part);
        }
    }
    sums
}
