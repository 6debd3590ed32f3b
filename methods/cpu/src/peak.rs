//! Peaks of this processor: multiply-adds on registers alone, and memory reads alone. Other speeds are given as shares
//! of these.

use crate::isa::Isa;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::isa::Set;
#[cfg(target_arch = "aarch64")]
use crate::lanes::Neon;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Lanes, Portable};
use std::hint::black_box;

/// Number of independent sums, so that no multiply-add waits for the one before: more than latency times units on any
/// processor, and few enough for sixteen registers.
const SUMS: usize = 12;

/// Work done by [`multiply_adds`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MultiplyAdds {
    /// Floating-point operations, two per multiply-add and lane.
    pub operations: u64,
    /// The final value of every lane of every sum.
    pub value: f32,
}

/// `rounds` times `s ← s·a + b` for twelve registers of sums, on this thread, without touching memory:
///
/// ```text
/// a = 0.5, b = 1, from s = 0: after r rounds s = 2 − 2^(1−r)
/// ```
pub fn multiply_adds(isa: Isa, rounds: u64) -> MultiplyAdds {
    match isa.set() {
        // SAFETY: an `Isa` exists only for a set that the processor has. Gain: it is what is measured.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni | Set::Avx512 => unsafe { multiply_adds_avx512(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { multiply_adds_avx2(rounds) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot | Set::Neon => unsafe { multiply_adds_neon(rounds) },
        _ => multiply_adds_on::<Portable>(rounds),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn multiply_adds_avx512(rounds: u64) -> MultiplyAdds {
    multiply_adds_on::<Avx512>(rounds)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_adds_avx2(rounds: u64) -> MultiplyAdds {
    multiply_adds_on::<Avx2>(rounds)
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn multiply_adds_neon(rounds: u64) -> MultiplyAdds {
    multiply_adds_on::<Neon>(rounds)
}

#[inline(always)]
fn multiply_adds_on<L: Lanes>(rounds: u64) -> MultiplyAdds {
    let (a, b) = (L::splat(black_box(0.5)), L::splat(black_box(1.0)));
    let mut sums = [L::splat(black_box(0.0)); SUMS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sum.mul_add(a, b);
        }
    }
    // The maximum of all sums, so that the compiler cannot drop any.
    let mut value = f32::NEG_INFINITY;
    for sum in sums {
        let mut lanes = [0f32; 16];
        sum.store(&mut lanes);
        value = lanes[..L::N].iter().copied().fold(value, f32::max);
    }
    MultiplyAdds { operations: rounds * 2 * (SUMS * L::N) as u64, value }
}

/// Sums all values: reads each once, in order, on this thread.
pub fn read(isa: Isa, values: &[f32]) -> f32 {
    match isa.set() {
        // SAFETY: an `Isa` exists only for a set that the processor has. Gain: wide loads keep more of the memory's bandwidth busy.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni | Set::Avx512 => unsafe { read_avx512(values) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { read_avx2(values) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot | Set::Neon => unsafe { read_neon(values) },
        _ => read_on::<Portable>(values),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn read_avx512(values: &[f32]) -> f32 {
    read_on::<Avx512>(values)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn read_avx2(values: &[f32]) -> f32 {
    read_on::<Avx2>(values)
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn read_neon(values: &[f32]) -> f32 {
    read_on::<Neon>(values)
}

/// Eight registers of sums, written out: the compiler splits up arrays of plain integers, and reads at a tenth of the
/// speed.
#[inline(always)]
fn read_on<L: Lanes>(values: &[f32]) -> f32 {
    const REGISTERS: usize = 8;
    let one = L::splat(1.0);
    let mut sums = [L::splat(0.0); REGISTERS];
    let blocks = values.chunks_exact(REGISTERS * L::N);
    let rest = blocks.remainder();
    for block in blocks {
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = L::load(&block[r * L::N..]).mul_add(one, *sum);
        }
    }
    let mut lanes = [0f32; 16];
    let mut total: f32 = rest.iter().sum();
    for sum in sums {
        sum.store(&mut lanes);
        total += lanes[..L::N].iter().sum::<f32>();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiply_adds_end_where_the_series_does() {
        for isa in Isa::available() {
            for rounds in [0, 1, 2, 3, 7, 30] {
                let done = multiply_adds(isa, rounds);
                assert_eq!(done.value, (2.0 - 2f64.powi(1 - rounds as i32)) as f32, "{isa}, {rounds}");
                assert_eq!(done.operations % (2 * SUMS as u64), 0);
                assert_eq!(done.operations == 0, rounds == 0);
            }
        }
    }

    #[test]
    fn every_value_is_read_once() {
        for n in (0..300).chain([1000, 1023]) {
            // Whole numbers: exact in any order.
            let values: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32).collect();
            let sum: f32 = values.iter().sum();
            for isa in Isa::available() {
                assert_eq!(read(isa, &values), sum, "{isa}, {n}");
            }
        }
    }
}
