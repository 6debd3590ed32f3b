//! Uniform scalar quantization to bytes, a row at a time: bound by memory when it is done well.
//!
//! ```text
//! code_j = clamp(⌊(x_j − offset_j)/step_j + ½⌋, 0, 255)
//! ```

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Codes of rows of `offsets.len()` components, one byte each; `0/0` becomes 0.
///
/// # Panics
/// When the lengths do not fit together.
pub fn encode_uniform_bytes(isa: Isa, rows: &[f32], offsets: &[f32], steps: &[f32], codes: &mut [u8]) {
    dispatch(isa, Encode { rows, offsets, steps, codes });
}

/// `x_j = offset_j + step_j·code_j`.
///
/// # Panics
/// When the lengths do not fit together.
pub fn decode_uniform_bytes(isa: Isa, codes: &[u8], offsets: &[f32], steps: &[f32], rows: &mut [f32]) {
    dispatch(isa, DecodeTask { codes, offsets, steps, rows });
}

struct Encode<'a> {
    rows: &'a [f32],
    offsets: &'a [f32],
    steps: &'a [f32],
    codes: &'a mut [u8],
}

impl Kernel for Encode<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        encode(self.rows, self.offsets, self.steps, self.codes);
    }
}

struct DecodeTask<'a> {
    codes: &'a [u8],
    offsets: &'a [f32],
    steps: &'a [f32],
    rows: &'a mut [f32],
}

impl Kernel for DecodeTask<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        decode(self.codes, self.offsets, self.steps, self.rows);
    }
}

#[inline(always)]
fn encode(rows: &[f32], offsets: &[f32], steps: &[f32], codes: &mut [u8]) {
    let dim = offsets.len();
    assert!(dim > 0 && steps.len() == dim && rows.len() == codes.len() && rows.len().is_multiple_of(dim), "whole rows");
    for (row, codes) in rows.chunks_exact(dim).zip(codes.chunks_exact_mut(dim)) {
        for (((x, offset), step), code) in row.iter().zip(offsets).zip(steps).zip(codes) {
            let level = (x - offset) / step + 0.5;
            // NaN compares false and stays at zero.
            let level = if level > 0.0 { level } else { 0.0 };
            let level = if level < 255.0 { level } else { 255.0 };
            // SAFETY: between 0 and 255, both included. Gain: a checked conversion is not vectorized.
            *code = unsafe { level.to_int_unchecked::<i32>() } as u8;
        }
    }
}

#[inline(always)]
fn decode(codes: &[u8], offsets: &[f32], steps: &[f32], rows: &mut [f32]) {
    let dim = offsets.len();
    assert!(dim > 0 && steps.len() == dim && rows.len() == codes.len() && rows.len().is_multiple_of(dim), "whole rows");
    for (codes, row) in codes.chunks_exact(dim).zip(rows.chunks_exact_mut(dim)) {
        for (((code, offset), step), x) in codes.iter().zip(offsets).zip(steps).zip(row) {
            *x = offset + f32::from(*code) * step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_set_gives_the_plain_codes(
            rows in prop::collection::vec(prop_oneof![
                8 => -300f32..300.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(f32::MIN), 1 => Just(-0.0)
            ], 1..200),
            dim in 1usize..60, offset in -10f32..10.0, step in prop_oneof![9 => 0.1f32..3.0, 1 => Just(0.0)],
        ) {
            let rows = &rows[..rows.len() / dim * dim];
            let offsets: Vec<f32> = (0..dim).map(|j| offset + j as f32).collect();
            let steps = vec![step; dim];
            for isa in Isa::available() {
                let mut codes = vec![7; rows.len()];
                encode_uniform_bytes(isa, rows, &offsets, &steps, &mut codes);
                for (i, code) in codes.iter().enumerate() {
                    // The conversion saturates and maps NaN to 0.
                    prop_assert_eq!(*code, ((rows[i] - offsets[i % dim]) / step + 0.5) as u8);
                }
                let mut back = vec![f32::NAN; rows.len()];
                decode_uniform_bytes(isa, &codes, &offsets, &steps, &mut back);
                for (i, x) in back.iter().enumerate() {
                    prop_assert_eq!(*x, offsets[i % dim] + f32::from(codes[i]) * step);
                }
            }
        }
    }
}
