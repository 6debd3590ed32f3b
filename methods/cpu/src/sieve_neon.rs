//! The products of bytes of the sieve on NEON with dot products (`SDOT`).
//!
//! Entered only after an `Isa` of it was given. One instruction does sixteen multiply-adds where one of f32 does four. Without dot
//! products, it takes three instructions and more to so many, which f32 nearly reaches: that set has no sieve.

use crate::lanes::Neon;
use crate::sieve::{ByteTile, PanelParts, Rounded, Rounding, SieveWork};
use std::arch::aarch64::*;
use std::arch::asm;

/// Rows of a tile: with four registers of sums each, 24 of the 32 registers.
const TILE_ROWS: usize = 6;

/// Vectors of a panel.
const WIDTH: usize = 16;

impl ByteTile<TILE_ROWS> for Neon {
    type Rounding = Registers;

    #[inline(always)]
    fn tile(rows: &[u8], scales: &[f32], panel: &PanelParts<'_>) -> [[Neon; 2]; TILE_ROWS] {
        // SAFETY: the sieve is entered with these tiles only if the instruction set is available.
        unsafe { tile(rows, scales, panel) }
    }
}

impl ByteTile<1> for Neon {
    type Rounding = Registers;

    #[inline(always)]
    fn tile(rows: &[u8], scales: &[f32], panel: &PanelParts<'_>) -> [[Neon; 2]; 1] {
        // SAFETY: as above.
        [unsafe { tile_of_one(rows, scales[0], panel) }]
    }
}

/// Does `work` with tiles of one row.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn run_of_one<W: SieveWork>(work: W) -> W::Out {
    work.run::<Neon, 1>()
}

/// Does `work` with these products.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn run<W: SieveWork>(work: W) -> W::Out {
    work.run::<Neon, TILE_ROWS>()
}

/// `sum` plus, in each of four places, the sum of four products of bytes: those of the place, and those of place `LANE` of `row`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn plus_products<const LANE: usize>(sum: int32x4_t, columns: int8x16_t, row: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: works on registers alone; the instruction is there. The intrinsic for it is not stable.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {columns:v}.16b, {row:v}.4b[{lane}]",
            sum = inout(vreg) sum, columns = in(vreg) columns, row = in(vreg) row, lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Sixteen bytes.
#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[i8; 16]) -> int8x16_t {
    // SAFETY: sixteen bytes are readable.
    unsafe { vld1q_s8(bytes.as_ptr()) }
}

/// Sixteen bytes of a row. 128 is taken off.
#[inline]
#[target_feature(enable = "neon")]
fn load_row(bytes: &[u8; 16]) -> int8x16_t {
    // SAFETY: sixteen bytes are readable.
    let bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(128)))
}

/// Four bytes of each row: of the first four rows, and of the last two and of none. 128 is taken off.
#[inline]
#[target_feature(enable = "neon")]
fn load_rows(bytes: &[u8; 4 * TILE_ROWS]) -> [int8x16_t; 2] {
    // SAFETY: sixteen of the bytes are readable.
    let first = unsafe { vld1q_u8(bytes.as_ptr()) };
    let last = bytes[16..].as_ptr();
    // SAFETY: eight bytes are readable.
    let last = vcombine_u8(unsafe { vld1_u8(last) }, vdup_n_u8(128));
    let signs = vdupq_n_u8(128);
    [vreinterpretq_s8_u8(veorq_u8(first, signs)), vreinterpretq_s8_u8(veorq_u8(last, signs))]
}

/// Sixteen values.
#[inline]
#[target_feature(enable = "neon")]
fn load_values(values: &[f32]) -> [float32x4_t; 4] {
    let values = values[..WIDTH].as_chunks::<4>().0;
    let mut registers = [vdupq_n_f32(0.0); 4];
    for (register, values) in registers.iter_mut().zip(values) {
        // SAFETY: four values are readable.
        *register = unsafe { vld1q_f32(values.as_ptr()) };
    }
    registers
}

/// `bias − s·t·Σ u_j·v_j` for the rows of a tile and the vectors of a panel.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tile(rows: &[u8], scales: &[f32], panel: &PanelParts<'_>) -> [[Neon; 2]; TILE_ROWS] {
    assert!(scales.len() >= TILE_ROWS);
    // Rows have their sign here, so that nothing must be made up for by `panel.start`.
    let mut sums = [[vdupq_n_s32(0); 4]; TILE_ROWS];
    let groups = rows.as_chunks::<{ 4 * TILE_ROWS }>().0.iter();
    for (rows, columns) in groups.zip(panel.packed.as_chunks::<{ 4 * WIDTH }>().0) {
        let rows = load_rows(rows);
        let columns = columns.as_chunks::<16>().0;
        for c in 0..4 {
            let column = load(&columns[c]);
            sums[0][c] = plus_products::<0>(sums[0][c], column, rows[0]);
            sums[1][c] = plus_products::<1>(sums[1][c], column, rows[0]);
            sums[2][c] = plus_products::<2>(sums[2][c], column, rows[0]);
            sums[3][c] = plus_products::<3>(sums[3][c], column, rows[0]);
            sums[4][c] = plus_products::<0>(sums[4][c], column, rows[1]);
            sums[5][c] = plus_products::<1>(sums[5][c], column, rows[1]);
        }
    }
    let factors = [load_values(panel.scale), load_values(panel.bias)];
    let mut scores = [[Neon([vdupq_n_f32(0.0); 2]); 2]; TILE_ROWS];
    for (r, scores) in scores.iter_mut().enumerate() {
        *scores = scores_of(&sums[r], scales[r], &factors);
    }
    scores
}

/// The same for one row. Four groups are added up side by side, so that no addition waits for the last.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tile_of_one(row: &[u8], scale: f32, panel: &PanelParts<'_>) -> [Neon; 2] {
    let mut sums = [[vdupq_n_s32(0); 4]; 4];
    let (fours, rest) = row.as_chunks::<16>();
    let (columns_of_fours, columns_of_rest) = panel.packed.as_chunks::<{ 16 * WIDTH }>();
    for (row, columns) in fours.iter().zip(columns_of_fours) {
        let row = load_row(row);
        let columns = columns.as_chunks::<16>().0.as_chunks::<4>().0;
        for c in 0..4 {
            sums[0][c] = plus_products::<0>(sums[0][c], load(&columns[0][c]), row);
            sums[1][c] = plus_products::<1>(sums[1][c], load(&columns[1][c]), row);
            sums[2][c] = plus_products::<2>(sums[2][c], load(&columns[2][c]), row);
            sums[3][c] = plus_products::<3>(sums[3][c], load(&columns[3][c]), row);
        }
    }
    let groups = rest.as_chunks::<4>().0.iter().zip(columns_of_rest.as_chunks::<{ 4 * WIDTH }>().0);
    for ((group, columns), sums) in groups.zip(&mut sums) {
        let mut padded = [128; 16];
        padded[..4].copy_from_slice(group);
        let row = load_row(&padded);
        for (sum, column) in sums.iter_mut().zip(columns.as_chunks::<16>().0) {
            *sum = plus_products::<0>(*sum, load(column), row);
        }
    }
    let mut all = [vdupq_n_s32(0); 4];
    for (c, all) in all.iter_mut().enumerate() {
        *all = vaddq_s32(vaddq_s32(sums[0][c], sums[1][c]), vaddq_s32(sums[2][c], sums[3][c]));
    }
    scores_of(&all, scale, &[load_values(panel.scale), load_values(panel.bias)])
}

/// `bias − s·t·sum` for a row and the vectors of a panel; `factors` are `t` and the bias of each vector.
#[inline]
#[target_feature(enable = "neon")]
fn scores_of(sums: &[int32x4_t; 4], scale: f32, factors: &[[float32x4_t; 4]; 2]) -> [Neon; 2] {
    let s = vdupq_n_f32(scale);
    let mut scores = [Neon([vdupq_n_f32(0.0); 2]); 2];
    for (c, sum) in sums.iter().enumerate() {
        let product = vmulq_f32(vcvtq_f32_s32(*sum), factors[0][c]);
        scores[c / 2].0[c % 2] = vfmsq_f32(factors[1][c], product, s);
    }
    scores
}

/// Rounds `x − center` to integer multiples of `max|x − center|/127` and stores them with 128 added; padding bytes are
/// 128. Plain loops over eight at a time, which the compiler puts into registers.
pub(crate) struct Registers;

/// Values at a time.
const STEP: usize = 8;

/// Eight components of `x − center`.
#[inline(always)]
fn centred(x: &[f32; STEP], center: &[f32; STEP]) -> [f32; STEP] {
    std::array::from_fn(|l| x[l] - center[l])
}

/// The last components, and zeros.
#[inline(always)]
fn last(values: &[f32]) -> [f32; STEP] {
    let mut padded = [0f32; STEP];
    padded[..values.len()].copy_from_slice(values);
    padded
}

/// The largest `|v|` that is a number, and the sum of squares, for each place of eight.
#[derive(Default)]
struct Sizes {
    largest: [f32; STEP],
    square: [f32; STEP],
}

impl Sizes {
    #[inline(always)]
    fn take(&mut self, v: [f32; STEP]) {
        for ((largest, square), v) in self.largest.iter_mut().zip(&mut self.square).zip(v) {
            *largest = if v.abs() > *largest { v.abs() } else { *largest };
            *square += v * v;
        }
    }
}

/// Rounds to multiples of `scale`, and sums the squares of what comes of it and of what is left.
struct Steps {
    scale: f32,
    inverse: f32,
    norm: [f32; STEP],
    error: [f32; STEP],
}

impl Steps {
    #[inline(always)]
    fn take(&mut self, v: [f32; STEP]) -> [u8; STEP] {
        let mut stored = [0u8; STEP];
        for l in 0..STEP {
            let whole = (v[l] * self.inverse).round_ties_even();
            stored[l] = (whole as i32 + 128) as u8;
            let back = whole * self.scale;
            let left = v[l] - back;
            self.norm[l] += back * back;
            self.error[l] += left * left;
        }
        stored
    }
}

impl Rounding for Registers {
    #[inline(always)]
    fn round(x: &[f32], center: &[f32], bytes: &mut [u8]) -> Rounded {
        assert!(x.len() == center.len() && bytes.len() >= x.len());
        let (x8, x_tail) = x.as_chunks::<STEP>();
        let (center8, center_tail) = center.as_chunks::<STEP>();
        let (bytes, padding) = bytes.split_at_mut(x.len());
        padding.fill(128);
        let mut sizes = Sizes::default();
        x8.iter().zip(center8).for_each(|(x, center)| sizes.take(centred(x, center)));
        let tail = centred(&last(x_tail), &last(center_tail));
        sizes.take(tail);
        let square = sizes.square.iter().sum::<f32>();
        let scale = sizes.largest.into_iter().fold(0f32, f32::max) / 127.0;
        // Too small or too large to divide by, or NaN: then the whole vector counts as error.
        if !(1e-30..=1e30).contains(&scale) || square.is_nan() {
            bytes.fill(128);
            return Rounded { scale: 0.0, square, norm: 0.0, error: square.sqrt() };
        }
        let mut steps = Steps { scale, inverse: 1.0 / scale, norm: [0.0; STEP], error: [0.0; STEP] };
        let (bytes8, bytes_tail) = bytes.as_chunks_mut::<STEP>();
        for ((x, center), bytes) in x8.iter().zip(center8).zip(bytes8) {
            *bytes = steps.take(centred(x, center));
        }
        bytes_tail.copy_from_slice(&steps.take(tail)[..bytes_tail.len()]);
        let [norm, error] = [steps.norm, steps.error].map(|sums| sums.iter().sum::<f32>().sqrt());
        Rounded { scale, square, norm, error }
    }
}
