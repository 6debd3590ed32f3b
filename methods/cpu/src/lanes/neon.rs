//! Registers of NEON. Two of its registers of four f32 make one of eight here: a tile of sums then fills most of the 32 that there are, and
//! a value that is spread over a register serves four products and not two.
//!
//! Every operation here is inlined into a function that `Panels::dispatch` or `dispatch` enters only after
//! `Isa::is_available` has found the instruction set; loads and stores go through slices whose length is checked first.

use super::{Lanes, ShortLanes};
use std::arch::aarch64::*;
use std::arch::asm;

operations! {
    splat(value: f32) -> float32x4_t = vdupq_n_f32;
    splat_whole(value: u32) -> uint32x4_t = vdupq_n_u32;
    splat_short(value: i16) -> int16x8_t = vdupq_n_s16;
    plus(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32;
    minus(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32;
    /// `a + b·c`.
    plus_product(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32;
    /// Whether `a < b`, all bits or none of each lane.
    less(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcltq_f32;
    /// Lanes of `a` where the mask is set, of `b` elsewhere.
    choose(mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32;
    choose_whole(mask: uint32x4_t, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vbslq_u32;
    plus_whole(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vaddq_u32;
    and(a: uint32x4_t, b: uint32x4_t) -> uint32x4_t = vandq_u32;
    sum_whole(a: uint32x4_t) -> u32 = vaddvq_u32;
    smaller(a: float32x4_t, b: float32x4_t) -> float32x4_t = vminnmq_f32;
    smallest(a: float32x4_t) -> f32 = vminnmvq_f32;
    low(a: float32x4_t) -> float32x2_t = vget_low_f32;
    high(a: float32x4_t) -> float32x2_t = vget_high_f32;
    plus_half(a: float32x2_t, b: float32x2_t) -> float32x2_t = vadd_f32;
    sum_half(a: float32x2_t) -> f32 = vaddv_f32;
    plus_short(a: int16x8_t, b: int16x8_t) -> int16x8_t = vqaddq_s16;
    smaller_short(a: int16x8_t, b: int16x8_t) -> int16x8_t = vminq_s16;
    smallest_short(a: int16x8_t) -> i16 = vminvq_s16;
    equal_short(a: int16x8_t, b: int16x8_t) -> uint16x8_t = vceqq_s16;
    /// The low byte of each lane.
    narrow(a: uint16x8_t) -> uint8x8_t = vmovn_u16;
    /// Two values in f64.
    widen(a: float32x2_t) -> float64x2_t = vcvt_f64_f32;
    /// The upper two lanes in f64.
    widen_high(a: float32x4_t) -> float64x2_t = vcvt_high_f64_f32;
    plus_wide(a: float64x2_t, b: float64x2_t) -> float64x2_t = vaddq_f64;
    as_word(a: uint8x8_t) -> uint64x1_t = vreinterpret_u64_u8;
}

/// NEON, two registers at a time.
#[derive(Clone, Copy)]
pub(crate) struct Neon(pub(crate) [float32x4_t; 2]);

/// Four values.
#[inline(always)]
fn load_four(values: &[f32; 4]) -> float32x4_t {
    // SAFETY: NEON is present, see the module, and four values are readable.
    unsafe { vld1q_f32(values.as_ptr()) }
}

/// Four values.
#[inline(always)]
fn store_four(register: float32x4_t, values: &mut [f32; 4]) {
    // SAFETY: NEON is present, see the module, and four values are writable.
    unsafe { vst1q_f32(values.as_mut_ptr(), register) }
}

/// Four whole numbers.
#[inline(always)]
fn load_whole(values: &[u32; 4]) -> uint32x4_t {
    // SAFETY: NEON is present, see the module, and four values are readable.
    unsafe { vld1q_u32(values.as_ptr()) }
}

/// Four whole numbers.
#[inline(always)]
fn store_whole(register: uint32x4_t, values: &mut [u32; 4]) {
    // SAFETY: NEON is present, see the module, and four values are writable.
    unsafe { vst1q_u32(values.as_mut_ptr(), register) }
}

/// Adds to two sums.
#[inline(always)]
fn add_two(values: float64x2_t, sums: &mut [f64; 2]) {
    // SAFETY: NEON is present, see the module, and two values are readable.
    let before = unsafe { vld1q_f64(sums.as_ptr()) };
    // SAFETY: as above, and writable.
    unsafe { vst1q_f64(sums.as_mut_ptr(), plus_wide(before, values)) }
}

impl Neon {
    /// Where the mask is set, `self`; `other` elsewhere.
    #[inline(always)]
    fn where_set(self, mask: [uint32x4_t; 2], other: Neon) -> Neon {
        Neon([choose(mask[0], self.0[0], other.0[0]), choose(mask[1], self.0[1], other.0[1])])
    }

    #[inline(always)]
    fn less(self, other: Neon) -> [uint32x4_t; 2] {
        [less(self.0[0], other.0[0]), less(self.0[1], other.0[1])]
    }
}

impl Lanes for Neon {
    const N: usize = 8;
    type Index = [uint32x4_t; 2];
    type Short = NeonShort;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Neon([splat(value); 2])
    }

    #[inline(always)]
    fn load(values: &[f32]) -> Self {
        let values = values[..8].as_chunks::<4>().0;
        Neon([load_four(&values[0]), load_four(&values[1])])
    }

    #[inline(always)]
    fn store(self, values: &mut [f32]) {
        let values = values[..8].as_chunks_mut::<4>().0;
        store_four(self.0[0], &mut values[0]);
        store_four(self.0[1], &mut values[1]);
    }

    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Neon([plus_product(b.0[0], self.0[0], a.0[0]), plus_product(b.0[1], self.0[1], a.0[1])])
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Neon([minus(self.0[0], other.0[0]), minus(self.0[1], other.0[1])])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Neon([plus(self.0[0], other.0[0]), plus(self.0[1], other.0[1])])
    }

    #[inline(always)]
    fn load_few(values: &[f32]) -> Self {
        let mut padded = [0f32; 8];
        padded.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        Neon::load(&padded)
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        let fours = plus(self.0[0], self.0[1]);
        sum_half(plus_half(low(fours), high(fours)))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.where_set(self.less(other), other)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.where_set(other.less(self), other)
    }

    #[inline(always)]
    fn least(self) -> f32 {
        smallest(smaller(self.0[0], self.0[1]))
    }

    #[inline(always)]
    fn below(self, bound: Self) -> u32 {
        let mask = self.less(bound);
        let [first, second] = [[1, 2, 4, 8], [16, 32, 64, 128]].map(|bits| load_whole(&bits));
        sum_whole(plus_whole(and(mask[0], first), and(mask[1], second)))
    }

    /// Written out: the compiler adds one by one otherwise.
    #[inline(always)]
    fn add_eight(values: &[f32; 8], sums: &mut [f64; 8]) {
        let (sums, _) = sums.as_chunks_mut::<2>();
        for (four, sums) in values.as_chunks::<4>().0.iter().zip(sums.as_chunks_mut::<2>().0) {
            let four = load_four(four);
            add_two(widen(low(four)), &mut sums[0]);
            add_two(widen_high(four), &mut sums[1]);
        }
    }

    #[inline(always)]
    fn prefetch<T>(values: &[T]) {
        // SAFETY: a hint, which reads nothing. The intrinsic for it is not stable.
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) values.as_ptr(), options(nostack, readonly, preserves_flags)) }
    }

    #[inline(always)]
    fn splat_index(value: u32) -> [uint32x4_t; 2] {
        [splat_whole(value); 2]
    }

    #[inline(always)]
    fn next_index(index: [uint32x4_t; 2]) -> [uint32x4_t; 2] {
        let one = splat_whole(1);
        [plus_whole(index[0], one), plus_whole(index[1], one)]
    }

    #[inline(always)]
    fn store_index(index: [uint32x4_t; 2], values: &mut [u32]) {
        let values = values[..8].as_chunks_mut::<4>().0;
        store_whole(index[0], &mut values[0]);
        store_whole(index[1], &mut values[1]);
    }

    #[inline(always)]
    fn keep_smaller(self, best: &mut Self, best_index: &mut [uint32x4_t; 2], index: [uint32x4_t; 2]) {
        let closer = self.less(*best);
        *best = self.where_set(closer, *best);
        for half in 0..2 {
            best_index[half] = choose_whole(closer[half], index[half], best_index[half]);
        }
    }
}

/// i16 of NEON.
#[derive(Clone, Copy)]
pub(crate) struct NeonShort(int16x8_t);

impl ShortLanes for NeonShort {
    const N: usize = 8;

    #[inline(always)]
    fn splat(value: i16) -> Self {
        NeonShort(splat_short(value))
    }

    #[inline(always)]
    fn load(values: &[i16]) -> Self {
        let values = &values[..8];
        // SAFETY: NEON is present, and eight values are readable.
        NeonShort(unsafe { vld1q_s16(values.as_ptr()) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        NeonShort(plus_short(self.0, other.0))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        NeonShort(smaller_short(self.0, other.0))
    }

    #[inline(always)]
    fn least(self) -> i16 {
        smallest_short(self.0)
    }

    #[inline(always)]
    fn first_equal(self, other: Self) -> usize {
        let bytes = as_word(narrow(equal_short(self.0, other.0)));
        // SAFETY: NEON is present, see the module.
        let word = unsafe { vget_lane_u64::<0>(bytes) };
        word.trailing_zeros() as usize / 8
    }
}
