//! Hamming distances between bit codes, the inner loop of binary search.

use crate::isa::Isa;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::isa::Set;
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;

/// `distances[i] = popcount(query ⊕ codes[i])`, for codes as long as the query, one after the other.
///
/// # Panics
/// When the lengths do not fit together.
pub fn hamming(isa: Isa, query: &[u8], codes: &[u8], distances: &mut [u32]) {
    assert!(!query.is_empty() && codes.len() == query.len() * distances.len(), "one code per distance");
    match isa.set() {
        // SAFETY: an `Isa` exists only for a set that the processor has. Gain: without the instruction a count is a dozen of them.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni | Set::Avx512 | Set::Avx2 => unsafe { with_popcnt(query, codes, distances) },
        // SAFETY: as above. Gain: the bits of sixteen bytes are counted at once, and not of eight by way of NEON.
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot | Set::Neon => unsafe { with_neon(query, codes, distances) },
        _ => plain(query, codes, distances),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn with_popcnt(query: &[u8], codes: &[u8], distances: &mut [u32]) {
    plain(query, codes, distances);
}

/// Sixteen bytes at a time. Bits of a byte are at most 8, so that the counts of 31 registers add up in bytes.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn with_neon(query: &[u8], codes: &[u8], distances: &mut [u32]) {
    let (query16, query_rest) = query.as_chunks::<16>();
    for (code, distance) in codes.chunks_exact(query.len()).zip(distances) {
        let (code16, rest) = code.as_chunks::<16>();
        let mut sum = 0;
        for (codes, queries) in code16.chunks(31).zip(query16.chunks(31)) {
            let mut counts = vdupq_n_u8(0);
            for (a, b) in codes.iter().zip(queries) {
                // SAFETY: sixteen bytes are readable.
                let a = unsafe { vld1q_u8(a.as_ptr()) };
                // SAFETY: as above.
                let b = unsafe { vld1q_u8(b.as_ptr()) };
                counts = vaddq_u8(counts, vcntq_u8(veorq_u8(a, b)));
            }
            sum += u32::from(vaddlvq_u8(counts));
        }
        if !rest.is_empty() {
            let mut counted = [0];
            plain(query_rest, rest, &mut counted);
            sum += counted[0];
        }
        *distance = sum;
    }
}

#[inline(always)]
fn plain(query: &[u8], codes: &[u8], distances: &mut [u32]) {
    let (query_words, query_rest) = query.as_chunks::<8>();
    for (code, distance) in codes.chunks_exact(query.len()).zip(distances) {
        let (words, rest) = code.as_chunks::<8>();
        let of_words = |(a, b): (&[u8; 8], &[u8; 8])| (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)).count_ones();
        let of_bytes = |(a, b): (&u8, &u8)| (a ^ b).count_ones();
        *distance = words.iter().zip(query_words).map(of_words).sum::<u32>()
            + rest.iter().zip(query_rest).map(of_bytes).sum::<u32>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_bits_as_defined(size in prop_oneof![9 => 1usize..70, 1 => 480usize..1100], n in 0usize..9, seed in any::<u64>()) {
            let byte = |i: usize| (seed.wrapping_mul(i as u64 * 2 + 1) >> 29) as u8;
            let query: Vec<u8> = (0..size).map(byte).collect();
            let codes: Vec<u8> = (0..size * n).map(|i| byte(i + 1000)).collect();
            let bits = |bytes: &[u8]| -> Vec<bool> {
                bytes.iter().flat_map(|b| (0..8).map(move |i| b >> i & 1 == 1)).collect()
            };
            for isa in Isa::available() {
                let mut distances = vec![0; n];
                hamming(isa, &query, &codes, &mut distances);
                for (code, distance) in codes.chunks(size).zip(distances) {
                    let differing = bits(code).iter().zip(bits(&query)).filter(|(a, b)| **a != *b).count();
                    prop_assert_eq!(distance as usize, differing, "{}", isa);
                }
            }
        }
    }
}
