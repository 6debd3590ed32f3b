//! The least of few scores in order, without the guesses of a sort.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::topk::Neighbor;
use std::ops::AddAssign;

/// As many codes are put in order by counting.
const FEW: usize = 48;

/// Of as many codes, those that may be among the best are found by counting.
const SOME: usize = 128;

/// The `k` least, in order. `found` may be changed.
pub(super) fn least_of(isa: Isa, found: &mut Vec<Neighbor>, k: usize) -> Vec<Neighbor> {
    // Of few, counting how many are less takes no guesses.
    if found.len() > FEW && found.len() <= SOME && k < FEW {
        let mut keys = [u32::MAX; SOME];
        keys.iter_mut().zip(&*found).for_each(|(key, n)| *key = ordered(n.score));
        let (mut ranks, padded) = ([0; SOME], found.len().next_multiple_of(16));
        dispatch(isa, Ranks { keys: &keys[..padded], ranks: &mut ranks[..padded] });
        let mut ranks = ranks.into_iter();
        found.retain(|_| ranks.next().is_some_and(|rank| (rank as usize) < k));
    }
    if found.len() > FEW {
        found.sort_unstable();
        // `found` keeps its room for the next query.
        return found[..k.min(found.len())].to_vec();
    }
    let mut keys = [u64::MAX; FEW];
    keys.iter_mut().zip(&*found).for_each(|(key, n)| *key = u64::from(ordered(n.score)) << 32 | u64::from(n.id));
    let (mut ranks, padded) = ([0; FEW], found.len().next_multiple_of(8));
    dispatch(isa, Ranks { keys: &keys[..padded], ranks: &mut ranks[..padded] });
    let none = Neighbor { score: f32::NAN, id: 0 };
    let mut sorted = vec![none; k.min(found.len())];
    for (n, rank) in found.iter().zip(ranks) {
        if let Some(place) = sorted.get_mut(rank as usize) {
            *place = *n;
        }
    }
    sorted
}

/// A number that is less than that of each greater score.
fn ordered(score: f32) -> u32 {
    let bits = score.to_bits().cast_signed();
    (bits ^ (bits >> 31 & i32::MAX)).cast_unsigned() ^ 1 << 31
}

/// How many keys are less than each.
struct Ranks<'a, T> {
    keys: &'a [T],
    ranks: &'a mut [T],
}

impl<T: PartialOrd + From<bool> + AddAssign> Kernel for Ranks<'_, T> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        // Sixteen or so keys are compared with one at a time.
        for other in self.keys {
            for (rank, key) in self.ranks.iter_mut().zip(self.keys) {
                *rank += T::from(other < key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_are_put_in_order(scores in prop::collection::vec(prop_oneof![-3i8..3, -100i8..100], 0..160), k in 1usize..70) {
            let value = |v: i8| match v { 99 => f32::INFINITY, -99 => f32::NEG_INFINITY, 98 => -0.0, v => f32::from(v) * 0.5 };
            let found: Vec<Neighbor> = scores.iter().zip(0..).map(|(v, id)| Neighbor { score: value(*v), id: id * 7 % 163 }).collect();
            let mut sorted = found.clone();
            sorted.sort_unstable();
            sorted.truncate(k);
            for isa in Isa::available() {
                prop_assert_eq!(least_of(isa, &mut found.clone(), k), &*sorted, "{}", isa);
            }
        }
    }
}
