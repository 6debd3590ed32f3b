//! The k best of a stream of scored ids. Ties are broken by id, so every search has one answer.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and its score; smaller scores are nearer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Score on the metric's scale (squared distance, or negated inner product).
    pub score: f32,
    /// Row number in the base set.
    pub id: u32,
}

impl Eq for Neighbor {}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Adds the constant of a query to the scores of what was found, nearest first. Which rows are found does not depend on the constant,
/// though rounding may map two of their scores to one; NaN is no neighbour.
pub fn add_to_scores(constant: f32, found: &mut Vec<Neighbor>) {
    found.iter_mut().for_each(|neighbor| neighbor.score += constant);
    found.retain(|neighbor| !neighbor.score.is_nan());
    found.sort_unstable();
}

/// A bounded heap that keeps the `k` smallest neighbours seen so far.
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    worst_first: BinaryHeap<Neighbor>,
}

impl TopK {
    /// An empty selection of at most `k` neighbours.
    pub fn new(k: usize) -> TopK {
        TopK { k, worst_first: BinaryHeap::with_capacity(k.min(4096) + 1) }
    }

    /// Offers one row. NaN is no neighbour.
    pub fn push(&mut self, score: f32, id: u32) {
        if score.is_nan() {
            return;
        }
        let candidate = Neighbor { score, id };
        if self.worst_first.len() < self.k {
            self.worst_first.push(candidate);
        } else if let Some(mut worst) = self.worst_first.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// Offers the scores of the rows `first_id..`.
    pub fn push_block(&mut self, scores: &[f32], first_id: u32) {
        let mut bound = self.bound();
        for (offset, &score) in scores.iter().enumerate() {
            if score <= bound {
                self.push(score, first_id + offset as u32);
                bound = self.bound();
            }
        }
    }

    /// A score above which no row can enter; infinite as long as there are fewer than `k`.
    pub fn bound(&self) -> f32 {
        if self.worst_first.len() < self.k {
            f32::INFINITY
        } else {
            self.worst_first.peek().map_or(f32::INFINITY, |n| n.score)
        }
    }

    /// Returns the neighbours, nearest first; the selection is then empty and can be reused.
    pub fn drain_sorted(&mut self) -> Vec<Neighbor> {
        let mut kept: Vec<Neighbor> = self.worst_first.drain().collect();
        kept.sort_unstable();
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_what_a_full_sort_keeps(scores in prop::collection::vec(0u8..20, 0..200), k in 0usize..40) {
            let mut top = TopK::new(k);
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            top.push_block(&scores, 7);
            let mut all: Vec<Neighbor> =
                scores.iter().enumerate().map(|(i, &score)| Neighbor { score, id: i as u32 + 7 }).collect();
            all.sort();
            all.truncate(k);
            prop_assert_eq!(top.drain_sorted(), all);
        }
    }
}
