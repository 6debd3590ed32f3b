//! Operations of AVX-512 on registers alone, one to a function, so that what is unsafe about them is said in one place.
//!
//! All are inlined into functions that are entered only with an [`Isa`](crate::Isa) of its set.

use std::arch::x86_64::*;

operations! {
    /// Zeros.
    zeros() -> __m512 = _mm512_setzero_ps;
    /// The same value sixteen times.
    splat(value: f32) -> __m512 = _mm512_set1_ps;
    /// `a − b`.
    minus(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps;
    /// `a·b`.
    times(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps;
    /// `a·b + c`.
    times_plus(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps;
    /// `c − a·b`.
    less_product(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fnmadd_ps;
    /// The larger of each pair.
    larger(a: __m512, b: __m512) -> __m512 = _mm512_max_ps;
    /// `|a|`.
    magnitude(a: __m512) -> __m512 = _mm512_abs_ps;
    /// The sum of all.
    sum(a: __m512) -> f32 = _mm512_reduce_add_ps;
    /// The largest of all.
    largest(a: __m512) -> f32 = _mm512_reduce_max_ps;
    /// The same whole number sixteen times.
    splat_whole(value: i32) -> __m512i = _mm512_set1_epi32;
    /// `a + b` of whole numbers.
    plus_whole(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32;
    /// Values rounded to whole numbers.
    rounded(a: __m512) -> __m512i = _mm512_cvtps_epi32;
    /// Whole numbers as values.
    values(a: __m512i) -> __m512 = _mm512_cvtepi32_ps;
    /// The lowest byte of each whole number.
    low_bytes(a: __m512i) -> __m128i = _mm512_cvtepi32_epi8;
    /// `sum` plus, for each of sixteen places, four products of a byte without sign and one with.
    plus_products(sum: __m512i, bytes: __m512i, signed: __m512i) -> __m512i = _mm512_dpbusd_epi32;
}
