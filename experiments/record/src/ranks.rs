//! The ranks at which `codeword_frequency` is recorded: the rank that a value carries as its `repeat`.

/// Ranks per octave, from one power of two to the next.
const PER_OCTAVE: u32 = 8;

/// About eight ranks per octave from 1 to the size of a codebook, both included, in ascending order.
pub fn recorded(size: usize) -> Vec<usize> {
    let steps = 0..=PER_OCTAVE * (usize::BITS - size.leading_zeros());
    let rank = |step: u32| (f64::from(step) / f64::from(PER_OCTAVE)).exp2().round() as usize;
    let mut ranks: Vec<usize> = steps.map(rank).filter(|rank| *rank < size).chain((size > 0).then_some(size)).collect();
    ranks.dedup();
    ranks
}

/// The values of a record with their ranks. Records of older builds hold the rank 2^i with the `repeat` i, so they alone
/// begin with the `repeat` 0; what is no rank is left out.
pub fn read<T>(values: Vec<(usize, T)>) -> Vec<(u64, T)> {
    let powers = values.first().is_some_and(|(repeat, _)| *repeat == 0);
    let rank = |repeat: usize| if powers { 1u64.checked_shl(repeat.try_into().ok()?) } else { repeat.try_into().ok() };
    values.into_iter().filter_map(|(repeat, value)| Some((rank(repeat)?, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_few_and_close_and_reach_both_ends() {
        assert_eq!(recorded(0), [0; 0]);
        assert_eq!(recorded(1), [1]);
        assert_eq!(recorded(5), [1, 2, 3, 4, 5]);
        assert_eq!(recorded(16), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16]);
        for size in [240, 256, 4375, 16384] {
            let ranks = recorded(size);
            assert_eq!((ranks.first(), ranks.last()), (Some(&1), Some(&size)));
            let close = |pair: &[usize]| pair[0] < pair[1] && pair[1] as f64 <= 1.1 * pair[0] as f64 + 1.0;
            assert!(ranks.windows(2).all(close), "{ranks:?}");
            assert!(ranks.len() as f64 <= 8.0 * (size as f64).log2(), "{size}: {}", ranks.len());
        }
    }

    #[test]
    fn records_of_older_builds_hold_powers_of_two() {
        assert_eq!(read(vec![(0, 'a'), (1, 'b'), (8, 'c')]), [(1, 'a'), (2, 'b'), (256, 'c')]);
        assert_eq!(read(vec![(1, 'a'), (2, 'b'), (8, 'c')]), [(1, 'a'), (2, 'b'), (8, 'c')]);
        assert_eq!(read(vec![(0, 'a'), (64, 'b'), (usize::MAX, 'c')]), [(1, 'a')]);
    }
}
