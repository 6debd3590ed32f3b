//! Hamming distances between bit codes, the inner loop of binary search.

/// `distances[i] = popcount(query ⊕ codes[i])`, for codes as long as the query, one after the other.
///
/// # Panics
/// When the lengths do not fit together.
pub fn hamming(query: &[u8], codes: &[u8], distances: &mut [u32]) {
    assert!(!query.is_empty() && codes.len() == query.len() * distances.len(), "one code per distance");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("popcnt") {
        // SAFETY: the instruction is there. Gain: without it a count is a dozen instructions.
        unsafe { with_popcnt(query, codes, distances) };
        return;
    }
    plain(query, codes, distances);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn with_popcnt(query: &[u8], codes: &[u8], distances: &mut [u32]) {
    plain(query, codes, distances);
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
        fn counts_bits_as_defined(size in 1usize..70, n in 0usize..9, seed in any::<u64>()) {
            let byte = |i: usize| (seed.wrapping_mul(i as u64 * 2 + 1) >> 29) as u8;
            let query: Vec<u8> = (0..size).map(byte).collect();
            let codes: Vec<u8> = (0..size * n).map(|i| byte(i + 1000)).collect();
            let mut distances = vec![0; n];
            hamming(&query, &codes, &mut distances);
            for (code, distance) in codes.chunks(size).zip(distances) {
                let bits = |bytes: &[u8]| -> Vec<bool> {
                    bytes.iter().flat_map(|b| (0..8).map(move |i| b >> i & 1 == 1)).collect()
                };
                let differing = bits(code).iter().zip(bits(&query)).filter(|(a, b)| **a != *b).count();
                prop_assert_eq!(distance as usize, differing);
            }
        }
    }
}
