//! Which trials of a submission run again, and how likely such a sample finds falsified ones.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The share of falsified trials that the chance of a sample is stated for.
pub const FALSIFIED: f64 = 0.2;

/// A seed that nobody can predict, so that a submitter cannot know which trials will run again.
pub fn unpredictable_seed() -> u64 {
    // The standard library keys its hash maps with random numbers of the operating system.
    RandomState::new().build_hasher().finish()
}

/// The indices of a random sample of `size` of `total` trials, in ascending order; all of them if `size` is larger. Every
/// set of that size is equally likely, and the same seed gives the same sample.
pub fn sample(total: usize, size: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen = index::sample(&mut rng, total, size.min(total)).into_vec();
    chosen.sort_unstable();
    chosen
}

/// The number of trials that a share of `total` is, rounded up.
pub fn share_of(total: usize, share: f64) -> usize {
    (total as f64 * share).ceil() as usize
}

/// The probability that a sample of `size` of `total` trials contains at least one of `bad` falsified ones
/// (hypergeometric).
pub fn chance(total: usize, bad: usize, size: usize) -> f64 {
    let good = total.saturating_sub(bad);
    let missed = (0..size.min(total)).map(|drawn| good.saturating_sub(drawn) as f64 / (total - drawn) as f64);
    1.0 - missed.product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_chance_is_that_of_the_formula() {
        // 1 − C(80,20)/C(100,20) = 0.9934, by an exact calculation with integers.
        assert!((chance(100, 20, 20) - 0.993_404_056_3).abs() < 1e-10, "{}", chance(100, 20, 20));
        assert_eq!(
            (chance(100, 0, 20), chance(100, 100, 1), chance(10, 3, 10), chance(0, 0, 20)),
            (0.0, 1.0, 1.0, 0.0)
        );
        // One draw of four: 1 − 3/4.
        assert!((chance(4, 1, 1) - 0.25).abs() < 1e-12);
        assert_eq!((share_of(63, FALSIFIED), share_of(100, FALSIFIED), share_of(0, FALSIFIED)), (13, 20, 0));
    }

    #[test]
    fn a_sample_has_distinct_trials_and_follows_its_seed() {
        let chosen = sample(63, 20, 7);
        assert_eq!(chosen, sample(63, 20, 7));
        assert_ne!(chosen, sample(63, 20, 8));
        assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), 20);
        assert!(chosen.iter().all(|trial| *trial < 63));
        assert_eq!(sample(3, 20, 1), [0, 1, 2]);
        // Verifications name their seed: the trials that it stands for must stay the same in all versions.
        assert_eq!(sample(100, 8, 7), [3, 13, 14, 16, 17, 26, 69, 72]);
        assert_ne!(unpredictable_seed(), unpredictable_seed());
    }

    /// Of 100 trials of which 20 were falsified, samples of 20 find at least one in 99% of the cases. The falsified ones
    /// stand together here, as they would if somebody falsified one method.
    #[test]
    fn samples_find_falsified_trials_as_often_as_the_formula_says() {
        const SEEDS: u64 = 20_000;
        for first in [0usize, 37, 80] {
            let found =
                (0..SEEDS).filter(|seed| sample(100, 20, *seed).iter().any(|at| (first..first + 20).contains(at)));
            let share = found.count() as f64 / SEEDS as f64;
            // Four standard errors of a share of 0.9934 over 20,000 samples.
            assert!((share - chance(100, 20, 20)).abs() < 4.0 * 0.000_573, "{share}");
            assert!(share >= 0.99);
        }
    }
}
