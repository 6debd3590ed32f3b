//! Candidates for the k smallest of a stream of scores, each of which is known up to an error bound.

/// A row whose score lies between `low` and `high`.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    low: f32,
    high: f32,
    id: u32,
}

/// Number of candidates beyond twice the wanted number after which the limit is lowered.
const SPARE: usize = 12;

/// The rows that may be among the `k` smallest scores. At least `k` rows have a score of at most the limit; rows whose
/// score must be above it are dropped.
#[derive(Clone, Debug)]
pub struct Shortlist {
    k: usize,
    limit: f32,
    candidates: Vec<Candidate>,
    /// Number of candidates to collect before the limit is lowered.
    room: usize,
    /// Whether the list was crowded when it was to be thinned out.
    was_crowded: bool,
}

impl Shortlist {
    /// An empty list for the `k` best.
    pub fn new(k: usize) -> Shortlist {
        Shortlist {
            k,
            limit: if k == 0 { f32::NEG_INFINITY } else { f32::INFINITY },
            candidates: Vec::new(),
            room: 2 * k + SPARE,
            was_crowded: false,
        }
    }

    /// A score above which no row can be among the best.
    pub fn limit(&self) -> f32 {
        self.limit
    }

    /// How many of the best are wanted.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// Whether no row is on the list.
    pub(crate) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// States that at least `k` rows that have been or will be offered have a score of at most this.
    pub fn lower_to(&mut self, limit: f32) {
        if limit < self.limit {
            self.limit = limit;
        }
    }

    /// Offers a row whose score is `score` ± `margin`.
    #[inline]
    pub fn offer(&mut self, score: f32, margin: f32, id: u32) {
        let (low, high) = (score - margin, score + margin);
        // The bounds of NaN are unknown.
        let low = if low.is_nan() { f32::NEG_INFINITY } else { low };
        let high = if high.is_nan() { f32::INFINITY } else { high };
        if low <= self.limit && self.k > 0 {
            if self.candidates.len() == self.candidates.capacity() {
                self.candidates.reserve(self.room.min(4096));
            }
            self.candidates.push(Candidate { low, high, id });
            if self.candidates.len() >= self.room {
                self.lower_limit();
            }
        }
    }

    /// Offers the rows `first_id..`, whose scores have a common margin.
    pub fn offer_block(&mut self, scores: &[f32], first_id: u32, margin: f32) {
        let mut bound = self.limit + margin;
        for (offset, &score) in scores.iter().enumerate() {
            // Negated comparison, so that NaN is included.
            if score.partial_cmp(&bound) != Some(std::cmp::Ordering::Greater) {
                self.offer(score, margin, first_id + offset as u32);
                bound = self.limit + margin;
            }
        }
    }

    /// The k-th smallest upper bound is the new limit; candidates above it are dropped.
    fn lower_limit(&mut self) {
        if self.candidates.len() > self.k {
            let (_, kth, _) = self.candidates.select_nth_unstable_by(self.k - 1, |a, b| a.high.total_cmp(&b.high));
            self.limit = self.limit.min(kth.high);
            let limit = self.limit;
            self.candidates.retain(|candidate| candidate.low <= limit);
        }
        // Doubles the capacity, so that the work per row stays constant even if all candidates stay.
        self.room = (2 * self.candidates.len()).max(2 * self.k + SPARE);
    }

    /// Whether far more than `k` rows remain: the margins are wide, or many scores are equal. [`Shortlist::thin_out`] makes room.
    fn is_crowded(&self) -> bool {
        self.candidates.len() > 16 * self.k + 1024
    }

    /// Whether the list is or was crowded, so that scores with smaller margins are better.
    pub(crate) fn has_been_crowded(&self) -> bool {
        self.was_crowded || self.is_crowded()
    }

    /// Takes the candidates from number `first_id` on from a crowded list, and returns them in order of their number. Others stay, and so
    /// does the limit, which the caller can lower once it knows the scores of those that it took. Takes none the first time that the list is
    /// crowded: scores with smaller margins may leave few.
    pub fn thin_out(&mut self, first_id: u32) -> Vec<u32> {
        if !self.is_crowded() {
            return Vec::new();
        }
        self.lower_limit();
        if !self.is_crowded() || !std::mem::replace(&mut self.was_crowded, true) {
            return Vec::new();
        }
        let (taken, kept) = std::mem::take(&mut self.candidates).into_iter().partition(|c| c.id >= first_id);
        self.candidates = kept;
        self.room = (2 * self.candidates.len()).max(2 * self.k + SPARE);
        ascending(taken)
    }

    /// Returns the candidates in order of their number; the list is then empty and can be reused.
    pub fn drain(&mut self) -> Vec<u32> {
        self.lower_limit();
        let empty = Shortlist::new(self.k);
        ascending(std::mem::replace(self, empty).candidates)
    }
}

/// The numbers of candidates.
fn ascending(candidates: Vec<Candidate>) -> Vec<u32> {
    let mut ids: Vec<u32> = candidates.into_iter().map(|candidate| candidate.id).collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_may_be_among_the_best_is_left_out(
            rows in prop::collection::vec((0u8..50, -2i8..=2), 0..300), k in 0usize..20
        ) {
            // True scores, and what is known of them: off by at most 2.
            let mut list = Shortlist::new(k);
            let mut all: Vec<(u8, u32)> = Vec::new();
            for (id, (score, off)) in rows.into_iter().enumerate() {
                list.offer(f32::from(score) + f32::from(off), 2.0, id as u32);
                all.push((score, id as u32));
            }
            let short = list.drain();
            all.sort();
            for &(score, id) in all.iter().take(k) {
                prop_assert!(short.contains(&id), "{id} of score {score}");
            }
            if k > 0 && all.len() > k {
                let worst = all[k - 1].0 + 8;
                prop_assert!(short.iter().all(|id| all.iter().any(|(s, i)| i == id && *s <= worst)));
            }
        }
    }

    #[test]
    fn a_list_of_ties_is_thinned_out() {
        for k in [1, 5, 20] {
            for first in [0, 400] {
                let (mut list, mut taken) = (Shortlist::new(k), Vec::new());
                for id in 0..20_000 {
                    // Many of 3, and a few of 2 late.
                    let score = if id % 7_000 == 6_999 { 2.0 } else { [7.0, 3.0, 9.0, 3.0][id as usize % 4] };
                    list.offer(score, 0.25, id);
                    if id % 1000 == 999 {
                        taken.extend(list.thin_out(first));
                        assert!(list.candidates.len() <= 16 * k + 1024 + 2 * 1000, "{k}: {}", list.candidates.len());
                    }
                }
                assert!(!taken.is_empty() && taken.is_sorted() && taken.iter().all(|id| *id >= first));
                taken.extend(list.drain());
                let ties = (0..).map(|i| 2 * i + 1).filter(|id| id % 7_000 != 6_999);
                for id in [6_999, 13_999].into_iter().chain(ties).take(k) {
                    assert!(taken.contains(&id), "{k}: {id}");
                }
            }
        }
    }
}
