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
        // SAFETY: as above. Gain: a quarter of the instructions for codes of sixteen bytes.
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

/// Four codes at a time, so that their distances are added up side by side.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn with_neon(query: &[u8], codes: &[u8], distances: &mut [u32]) {
    let size = query.len();
    if size > LONGEST {
        return plain(query, codes, distances);
    }
    let (fours, last) = distances.as_chunks_mut::<4>();
    let (codes, codes_of_last) = codes.split_at(4 * size * fours.len());
    let (whole, rest) = query.as_chunks::<16>();
    for (codes, distances) in codes.chunks_exact(4 * size).zip(fours) {
        let (first, second) = codes.split_at(2 * size);
        let (codes, others) = (first.split_at(size), second.split_at(size));
        let codes = [codes.0, codes.1, others.0, others.1];
        let sums = distances_of_four(whole, codes);
        // SAFETY: four values are writable.
        unsafe { vst1q_u32(distances.as_mut_ptr(), sums) };
        if !rest.is_empty() {
            for (distance, code) in distances.iter_mut().zip(codes) {
                *distance += distance_of(rest, &code[size - rest.len()..]);
            }
        }
    }
    plain(query, codes_of_last, last);
}

/// Longest codes in bytes whose distances fit into 16 bits as [`distances_of_four`] adds them up: a fourth of a distance in each place.
#[cfg(target_arch = "aarch64")]
const LONGEST: usize = 16 * 1023;

/// Distances of the whole registers of four codes.
#[cfg(target_arch = "aarch64")]
#[inline]
#[target_feature(enable = "neon")]
fn distances_of_four(query: &[[u8; 16]], codes: [&[u8]; 4]) -> uint32x4_t {
    let [a, b, c, d] = [codes[0].as_chunks().0, codes[1].as_chunks().0, codes[2].as_chunks().0, codes[3].as_chunks().0];
    let mut counts = [vdupq_n_u16(0); 4];
    for (query, (((a, b), c), d)) in query.iter().zip(a.iter().zip(b).zip(c).zip(d)) {
        let query = load(query);
        counts[0] = vpadalq_u8(counts[0], vcntq_u8(veorq_u8(query, load(a))));
        counts[1] = vpadalq_u8(counts[1], vcntq_u8(veorq_u8(query, load(b))));
        counts[2] = vpadalq_u8(counts[2], vcntq_u8(veorq_u8(query, load(c))));
        counts[3] = vpadalq_u8(counts[3], vcntq_u8(veorq_u8(query, load(d))));
    }
    vpaddlq_u16(vpaddq_u16(vpaddq_u16(counts[0], counts[1]), vpaddq_u16(counts[2], counts[3])))
}

#[cfg(target_arch = "aarch64")]
#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: sixteen bytes are readable.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline(always)]
fn plain(query: &[u8], codes: &[u8], distances: &mut [u32]) {
    for (code, distance) in codes.chunks_exact(query.len()).zip(distances) {
        *distance = distance_of(query, code);
    }
}

/// The distance of one code.
#[inline(always)]
fn distance_of(query: &[u8], code: &[u8]) -> u32 {
    let ((query_words, query_rest), (words, rest)) = (query.as_chunks::<8>(), code.as_chunks::<8>());
    let of_words = |(a, b): (&[u8; 8], &[u8; 8])| (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)).count_ones();
    let of_bytes = |(a, b): (&u8, &u8)| (a ^ b).count_ones();
    words.iter().zip(query_words).map(of_words).sum::<u32>() + rest.iter().zip(query_rest).map(of_bytes).sum::<u32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_bits_of_long_codes_may_differ() {
        for size in [16_367, 16_368, 16_369, 16_384, 70_000] {
            for isa in Isa::available() {
                let mut distances = [0; 5];
                hamming(isa, &vec![0; size], &vec![0xff; 5 * size], &mut distances);
                assert_eq!(distances, [8 * size as u32; 5], "{isa}");
            }
        }
    }

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
