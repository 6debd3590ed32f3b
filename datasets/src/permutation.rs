//! Permutations of NumPy's legacy generator, so that splits published as Python code can be reproduced exactly.

use rand_mt::Mt;

/// `numpy.random.RandomState(seed).permutation(n)`: MT19937 and a shuffle from the end, which NumPy guarantees to keep.
///
/// ```text
/// for i = n−1, …, 1:  j uniform in 0..=i;  swap a[i], a[j]
/// ```
pub fn numpy(seed: u32, n: usize) -> Vec<usize> {
    let mut generator = Mt::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, up_to(&mut generator, i));
    }
    order
}

/// A number in `0..=max`: as many bits as `max` has, redrawn until they are at most `max`.
fn up_to(generator: &mut Mt, max: usize) -> usize {
    let mask = usize::MAX >> max.leading_zeros();
    loop {
        let bits = match u32::try_from(max) {
            Ok(_) => generator.next_u32() as usize,
            Err(_) => generator.next_u64() as usize,
        };
        if bits & mask <= max {
            return bits & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_orders_are_those_of_numpy() {
        let expected: [(u32, &[usize]); 6] = [
            (1, &[0]),
            (1, &[0, 1]),
            (1, &[2, 9, 6, 4, 0, 3, 1, 7, 8, 5]),
            (0, &[6, 2, 1, 7, 3, 0, 5, 4]),
            (42, &[0, 1, 5, 14, 13, 11, 8, 9, 2, 15, 4, 7, 10, 12, 3, 6]),
            (u32::MAX, &[4, 1, 0, 2, 3]),
        ];
        for (seed, order) in expected {
            assert_eq!(numpy(seed, order.len()), order, "seed {seed}");
        }
        assert!(numpy(3, 0).is_empty());
    }

    /// First and last rows, and a sum over all, `(p * arange(n)).sum()`.
    #[test]
    fn large_orders_are_those_of_numpy() {
        let expected = [
            (1, 36_000, [4871, 33688, 33721, 33180], [32511, 5192, 12172, 33003], 11_693_498_611_565),
            (7, 65_537, [47804, 15466, 49000, 13259], [10742, 49689, 58564, 61615], 70_373_207_711_800),
            (
                2024,
                1_000_000,
                [303_686, 155_627, 321_256, 365_555],
                [952_960, 576_096, 314_874, 532_104],
                249_837_709_820_339_802,
            ),
        ];
        for (seed, n, first, last, sum) in expected {
            let order = numpy(seed, n);
            assert_eq!((&order[..4], &order[n - 4..]), (&first[..], &last[..]), "seed {seed}");
            assert_eq!(order.iter().enumerate().map(|(i, &p)| i * p).sum::<usize>(), sum, "seed {seed}");
        }
    }
}
