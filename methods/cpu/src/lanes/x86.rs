//! Registers of AVX2 and AVX-512.
//!
//! Every operation here is inlined into a function that `Panels::dispatch` or `dispatch` enters only after
//! `Isa::is_available` has found the instruction set; loads and stores go through slices whose length is checked first.

use super::{Lanes, ShortLanes};
use std::arch::x86_64::*;

/// Lane `l` with `l+2`, then with `l+1`.
#[inline(always)]
fn sum_of_four(values: __m128) -> f32 {
    // SAFETY: SSE is part of x86-64.
    let others = unsafe { _mm_movehl_ps(values, values) };
    // SAFETY: as above.
    let twos = unsafe { _mm_add_ps(values, others) };
    // SAFETY: as above.
    let others = unsafe { _mm_shuffle_ps::<1>(twos, twos) };
    // SAFETY: as above.
    let one = unsafe { _mm_add_ss(twos, others) };
    // SAFETY: as above.
    unsafe { _mm_cvtss_f32(one) }
}

/// AVX2 with FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(pub(crate) __m256);

impl Lanes for Avx2 {
    const N: usize = 8;
    type Index = __m256i;
    type Short = Avx2Short;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    fn load(values: &[f32]) -> Self {
        let values = &values[..8];
        // SAFETY: AVX2 is present, and eight values are readable.
        Avx2(unsafe { _mm256_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, values: &mut [f32]) {
        let values = &mut values[..8];
        // SAFETY: AVX2 is present, and eight values are writable.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: FMA is present, see the module.
        Avx2(unsafe { _mm256_fmadd_ps(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn load_few(values: &[f32]) -> Self {
        let mut padded = [0f32; 8];
        padded.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        Avx2::load(&padded)
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: AVX2 is present, see the module.
        let low = unsafe { _mm256_castps256_ps128(self.0) };
        // SAFETY: as above.
        let high = unsafe { _mm256_extractf128_ps::<1>(self.0) };
        // SAFETY: SSE is part of x86-64.
        sum_of_four(unsafe { _mm_add_ps(low, high) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2(unsafe { _mm256_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2(unsafe { _mm256_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn below(self, bound: Self) -> u32 {
        // SAFETY: AVX2 is present, see the module.
        let below = unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, bound.0) };
        // SAFETY: as above.
        unsafe { _mm256_movemask_ps(below) }.cast_unsigned()
    }

    #[inline(always)]
    fn prefetch<T>(values: &[T]) {
        // SAFETY: a hint, which reads nothing; SSE is present on every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn splat_index(value: u32) -> __m256i {
        // SAFETY: AVX2 is present, see the module.
        unsafe { _mm256_set1_epi32(value.cast_signed()) }
    }

    #[inline(always)]
    fn next_index(index: __m256i) -> __m256i {
        // SAFETY: AVX2 is present, see the module.
        let one = unsafe { _mm256_set1_epi32(1) };
        // SAFETY: as above.
        unsafe { _mm256_add_epi32(index, one) }
    }

    #[inline(always)]
    fn store_index(index: __m256i, values: &mut [u32]) {
        let values = &mut values[..8];
        // SAFETY: AVX2 is present, and eight values are writable.
        unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), index) }
    }

    #[inline(always)]
    fn keep_smaller(self, best: &mut Self, best_index: &mut __m256i, index: __m256i) {
        // SAFETY: AVX2 is present, see the module.
        let closer = unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, best.0) };
        // SAFETY: as above.
        best.0 = unsafe { _mm256_blendv_ps(best.0, self.0, closer) };
        // SAFETY: as above.
        let closer = unsafe { _mm256_castps_si256(closer) };
        // SAFETY: as above.
        *best_index = unsafe { _mm256_blendv_epi8(*best_index, index, closer) };
    }
}

/// i16 of AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Short(__m256i);

impl ShortLanes for Avx2Short {
    const N: usize = 16;

    #[inline(always)]
    fn splat(value: i16) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2Short(unsafe { _mm256_set1_epi16(value) })
    }

    #[inline(always)]
    fn load(values: &[i16]) -> Self {
        let values = &values[..16];
        // SAFETY: AVX2 is present, and sixteen values are readable.
        Avx2Short(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2Short(unsafe { _mm256_adds_epi16(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: AVX2 is present, see the module.
        Avx2Short(unsafe { _mm256_min_epi16(self.0, other.0) })
    }

    #[inline(always)]
    fn least(self) -> i16 {
        // SAFETY: AVX2, and so SSE4.1, is present, see the module.
        let low = unsafe { _mm256_castsi256_si128(self.0) };
        // SAFETY: as above.
        let high = unsafe { _mm256_extracti128_si256::<1>(self.0) };
        // SAFETY: as above.
        let half = unsafe { _mm_min_epi16(low, high) };
        // The instruction computes the minimum of unsigned values: the sign bit is flipped on both sides.
        // SAFETY: as above.
        let signs = unsafe { _mm_set1_epi16(i16::MIN) };
        // SAFETY: as above.
        let turned = unsafe { _mm_xor_si128(half, signs) };
        // SAFETY: as above.
        let least = unsafe { _mm_minpos_epu16(turned) };
        // SAFETY: as above.
        let least = unsafe { _mm_extract_epi16::<0>(least) };
        (least as u16 ^ 0x8000).cast_signed()
    }

    #[inline(always)]
    fn first_equal(self, other: Self) -> usize {
        // SAFETY: AVX2 is present, see the module. The mask has two bits per lane.
        let equal = unsafe { _mm256_cmpeq_epi16(self.0, other.0) };
        // SAFETY: as above.
        let mask = unsafe { _mm256_movemask_epi8(equal) };
        mask.trailing_zeros() as usize / 2
    }
}

/// i16 of AVX-512 BW.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Short(__m512i);

impl ShortLanes for Avx512Short {
    const N: usize = 32;

    #[inline(always)]
    fn splat(value: i16) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512Short(unsafe { _mm512_set1_epi16(value) })
    }

    #[inline(always)]
    fn load(values: &[i16]) -> Self {
        let values = &values[..32];
        // SAFETY: AVX-512 is present, and thirty-two values are readable.
        Avx512Short(unsafe { _mm512_loadu_si512(values.as_ptr().cast()) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512Short(unsafe { _mm512_adds_epi16(self.0, other.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512Short(unsafe { _mm512_min_epi16(self.0, other.0) })
    }

    #[inline(always)]
    fn least(self) -> i16 {
        // SAFETY: AVX-512, and so AVX2, is present, see the module.
        let low = unsafe { _mm512_castsi512_si256(self.0) };
        // SAFETY: as above.
        let high = unsafe { _mm512_extracti64x4_epi64::<1>(self.0) };
        // SAFETY: as above.
        Avx2Short(unsafe { _mm256_min_epi16(low, high) }).least()
    }

    #[inline(always)]
    fn first_equal(self, other: Self) -> usize {
        // SAFETY: AVX-512 is present, see the module.
        let mask = unsafe { _mm512_cmpeq_epi16_mask(self.0, other.0) };
        mask.trailing_zeros() as usize
    }
}

/// AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(pub(crate) __m512);

impl Lanes for Avx512 {
    const N: usize = 16;
    type Index = __m512i;
    type Short = Avx512Short;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn load(values: &[f32]) -> Self {
        let values = &values[..16];
        // SAFETY: AVX-512 is present, and sixteen values are readable.
        Avx512(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, values: &mut [f32]) {
        let values = &mut values[..16];
        // SAFETY: AVX-512 is present, and sixteen values are writable.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn load_few(values: &[f32]) -> Self {
        let count = values.len().min(16);
        // SAFETY: AVX-512 is present, and only lanes that exist are read.
        Avx512(unsafe { _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, values.as_ptr()) })
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: AVX-512 is present, see the module.
        let low = unsafe { _mm512_castps512_ps256(self.0) };
        // SAFETY: as above.
        let high = unsafe { _mm512_extractf32x8_ps::<1>(self.0) };
        // SAFETY: as above.
        Avx2(unsafe { _mm256_add_ps(low, high) }).sum()
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: AVX-512 is present, see the module.
        Avx512(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn below(self, bound: Self) -> u32 {
        // SAFETY: AVX-512 is present, see the module.
        u32::from(unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, bound.0) })
    }

    #[inline(always)]
    fn prefetch<T>(values: &[T]) {
        // SAFETY: a hint, which reads nothing; SSE is present on every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast()) }
    }

    #[inline(always)]
    fn splat_index(value: u32) -> __m512i {
        // SAFETY: AVX-512 is present, see the module.
        unsafe { _mm512_set1_epi32(value.cast_signed()) }
    }

    #[inline(always)]
    fn next_index(index: __m512i) -> __m512i {
        // SAFETY: AVX-512 is present, see the module.
        let one = unsafe { _mm512_set1_epi32(1) };
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(index, one) }
    }

    #[inline(always)]
    fn store_index(index: __m512i, values: &mut [u32]) {
        let values = &mut values[..16];
        // SAFETY: AVX-512 is present, and sixteen values are writable.
        unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), index) }
    }

    #[inline(always)]
    fn least(self) -> f32 {
        // SAFETY: AVX-512 is present, see the module.
        unsafe { _mm512_reduce_min_ps(self.0) }
    }

    #[inline(always)]
    fn keep_smaller(self, best: &mut Self, best_index: &mut __m512i, index: __m512i) {
        // SAFETY: AVX-512 is present, see the module.
        let closer = unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, best.0) };
        // SAFETY: as above.
        best.0 = unsafe { _mm512_mask_mov_ps(best.0, closer, self.0) };
        // SAFETY: as above.
        *best_index = unsafe { _mm512_mask_mov_epi32(*best_index, closer, index) };
    }
}
