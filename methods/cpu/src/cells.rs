//! Sums of the rows of each cell, the other half of every iteration of k-means.
//!
//! ```text
//! sums[c] = Σ_{i: nearest[i] = c} x_i
//! ```
//!
//! Rows are added in order and in f64, so that a sum is the same whichever way it is computed.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::Set;
use crate::lanes::Lanes;
use rayon::prelude::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Up to this many bytes of sums, rows are added in their given order; more sums would not fit the first-level cache.
const DIRECT: usize = 64 << 10;

/// Sums and counts of the rows of each of `counts.len()` cells, `k×dim`. Row `i` is `rows[i·stride..][..dim]`. Runs on
/// the current thread pool.
///
/// # Panics
/// When `rows` is too short, or a cell is not below `k`.
pub fn cell_sums(
    isa: Isa,
    rows: &[f32],
    stride: usize,
    dim: usize,
    nearest: &[u32],
    k: usize,
) -> (Vec<f64>, Vec<usize>) {
    let mut counts = vec![0usize; k];
    nearest.iter().for_each(|&c| counts[c as usize] += 1);
    let mut sums = vec![0f64; k * dim];
    let row = |i: usize| &rows[i * stride..][..dim];
    if size_of_val(&sums[..]) <= DIRECT {
        let rows = nearest.iter().enumerate().map(|(i, &c)| (row(i), c as usize));
        dispatch(isa, AddRows { rows, sums: &mut sums, dim });
        return (sums, counts);
    }
    // Members of each cell in row order.
    let mut starts = Vec::with_capacity(k + 1);
    starts.push(0usize);
    counts.iter().for_each(|count| starts.push(starts[starts.len() - 1] + count));
    let mut next = starts.clone();
    let mut members = vec![0u32; nearest.len()];
    for (i, &c) in nearest.iter().enumerate() {
        members[next[c as usize]] = i as u32;
        next[c as usize] += 1;
    }
    sums.par_chunks_mut(dim.max(1)).with_min_len(4).enumerate().for_each(|(c, sum)| {
        add_members(isa, rows, stride, &members[starts[c]..starts[c + 1]], sum);
    });
    (sums, counts)
}

/// Adds each row to the sum of its cell.
struct AddRows<'a, I> {
    rows: I,
    sums: &'a mut [f64],
    dim: usize,
}

impl<'r, I: Iterator<Item = (&'r [f32], usize)>> Kernel for AddRows<'_, I> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (row, cell) in self.rows {
            let sum = &mut self.sums[cell * self.dim..][..self.dim];
            let (sum8, sum_tail) = sum.as_chunks_mut::<8>();
            let (row8, row_tail) = row.as_chunks::<8>();
            for (sum, row) in sum8.iter_mut().zip(row8) {
                L::add_eight(row, sum);
            }
            sum_tail.iter_mut().zip(row_tail).for_each(|(s, x)| *s += f64::from(*x));
        }
    }
}

/// Adds the rows of one cell to its sum.
fn add_members(isa: Isa, rows: &[f32], stride: usize, members: &[u32], sum: &mut [f64]) {
    match isa.set() {
        // SAFETY: an `Isa` exists only for a set that the processor has.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni | Set::Avx512 => unsafe { add_members_avx512(rows, stride, members, sum) },
        _ => {
            let dim = sum.len();
            let rows = members.iter().map(|&i| (&rows[i as usize * stride..][..dim], 0));
            dispatch(isa, AddRows { rows, sums: sum, dim });
        }
    }
}

/// Sums stay in registers while the members of a cell pass; the last block of components may be narrower. Three times
/// as fast as sums in memory at 128 components.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn add_members_avx512(rows: &[f32], stride: usize, members: &[u32], sum: &mut [f64]) {
    const REGISTERS: usize = 8;
    let dim = sum.len();
    for (b, block) in sum.chunks_mut(8 * REGISTERS).enumerate() {
        let (sums, tail) = block.as_chunks_mut::<8>();
        if let Ok(sums) = <&mut [[f64; 8]; REGISTERS]>::try_from(&mut *sums) {
            let mut registers = [_mm512_setzero_pd(); REGISTERS];
            for &i in members {
                let row = &rows[i as usize * stride..][..dim][b * 8 * REGISTERS..][..8 * REGISTERS];
                for (r, register) in registers.iter_mut().enumerate() {
                    // SAFETY: `row` holds eight values for every register.
                    let values = unsafe { _mm256_loadu_ps(row.as_ptr().wrapping_add(8 * r)) };
                    *register = _mm512_add_pd(*register, _mm512_cvtps_pd(values));
                }
            }
            for (sum, register) in sums.iter_mut().zip(registers) {
                // SAFETY: `sum` holds a register.
                unsafe { _mm512_storeu_pd(sum.as_mut_ptr(), register) };
            }
        } else {
            let first = b * 8 * REGISTERS;
            for (s, sum) in sums.iter_mut().enumerate() {
                for &i in members {
                    let row = &rows[i as usize * stride..][..dim][first + 8 * s..][..8];
                    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
                }
            }
            let first = dim - tail.len();
            for &i in members {
                let row = &rows[i as usize * stride..][..dim][first..];
                tail.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_way_gives_the_plain_sums(
            n in 0usize..200, k in 1usize..400, dim in 1usize..150, slack in 0usize..3, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let stride = dim + slack;
            let rows: Vec<f32> = (0..n * stride).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
            let nearest: Vec<u32> = (0..n).map(|_| rng.random_range(0..k as u32)).collect();
            let mut plain = vec![0f64; k * dim];
            let mut counts = vec![0usize; k];
            for (i, &c) in nearest.iter().enumerate() {
                counts[c as usize] += 1;
                for j in 0..dim {
                    plain[c as usize * dim + j] += f64::from(rows[i * stride + j]);
                }
            }
            for isa in Isa::available() {
                prop_assert_eq!(cell_sums(isa, &rows, stride, dim, &nearest, k), (plain.clone(), counts.clone()));
            }
        }
    }
}
