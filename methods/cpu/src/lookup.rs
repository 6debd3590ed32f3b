//! Asymmetric distance computation: sums of table entries selected by codes, the inner loop of compressed search.

/// Adds up one table entry per symbol:
///
/// ```text
/// scores[i] = Σ_j tables[j·alphabet + symbols[i·m + j]]
/// ```
///
/// `symbols` holds `m` symbols per row, one row per entry of `scores`; `tables` holds `m` tables of `alphabet` entries.
///
/// # Panics
/// When the lengths do not fit together, or a symbol is not below `alphabet`.
pub fn scan_tables<S: Copy + Into<usize>>(tables: &[f32], alphabet: usize, symbols: &[S], scores: &mut [f32]) {
    let m = tables.len() / alphabet;
    assert_eq!(tables.len(), m * alphabet, "tables must hold whole alphabets");
    assert_eq!(symbols.len(), m * scores.len(), "one row of symbols per score");
    for (row, score) in symbols.chunks_exact(m).zip(scores.iter_mut()) {
        // Two partial sums halve the chain of dependent additions.
        let mut sums = [0f32; 2];
        for ((table, &symbol), j) in tables.chunks_exact(alphabet).zip(row).zip(0..) {
            let sum: &mut f32 = &mut sums[j & 1];
            *sum += table[symbol.into()];
        }
        *score = sums[0] + sums[1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_the_plain_sum(m in 1usize..9, n in 0usize..20, seed in any::<u32>()) {
            let alphabet = 16;
            let mix = |i: usize| (seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7) as usize;
            let tables: Vec<f32> = (0..m * alphabet).map(|i| (mix(i) % 1000) as f32).collect();
            let symbols: Vec<u8> = (0..m * n).map(|i| (mix(i + 9999) % alphabet) as u8).collect();
            let mut scores = vec![0.0; n];
            scan_tables(&tables, alphabet, &symbols, &mut scores);
            for i in 0..n {
                let plain: f32 = (0..m).map(|j| tables[j * alphabet + symbols[i * m + j] as usize]).sum();
                prop_assert_eq!(scores[i], plain);
            }
        }
    }
}
