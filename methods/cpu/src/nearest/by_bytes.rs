//! Nearest vectors by products of bytes first, for instruction sets that have them.

use super::{Nearest, ROWS_PER_TASK, StridedRows};
use crate::distance::squared_distance_on;
use crate::lanes::Lanes;
use crate::panels::Score;
use crate::shortlist::Shortlist;
use crate::sieve::{ByteRows, ByteTile, FoundBelow, FoundNear, Sieve, SieveWork};

/// Packs vectors as bytes.
pub(super) struct Pack<'a> {
    pub(super) vectors: &'a [f32],
    pub(super) dim: usize,
    pub(super) score: Score,
}

impl SieveWork for Pack<'_> {
    type Out = Sieve;

    #[inline(always)]
    fn run<L: ByteTile<ROWS>, const ROWS: usize>(self) -> Sieve {
        Sieve::new::<L, ROWS>(self.vectors, self.dim, self.score)
    }
}

/// [`Nearest::assign_task`] by bytes.
pub(super) struct Assign<'a> {
    pub(super) packed: &'a Nearest,
    pub(super) sieve: &'a Sieve,
    pub(super) task: StridedRows<'a>,
    pub(super) nearest: &'a mut [u32],
    pub(super) distances: Option<&'a mut [f32]>,
}

impl SieveWork for Assign<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: ByteTile<ROWS>, const ROWS: usize>(self) {
        let Assign { packed, sieve, task, nearest, distances } = self;
        let mut bytes = ByteRows::default();
        sieve.round_rows::<L, ROWS>(nearest.len(), task, &mut bytes);
        let mut decide = Decide { packed, task, nearest, distances, hard: Vec::new() };
        sieve.near_best::<L, ROWS>(&bytes, &mut Vec::new(), &mut decide);
        let Decide { nearest, mut distances, hard, .. } = decide;
        packed.nearest_by_floats::<L>(task, &hard, |i, distance, id| {
            nearest[i] = id;
            if let Some(distances) = &mut distances {
                distances[i] = distance;
            }
        });
    }
}

/// Decides among the vectors that may be nearest to a row by their distances.
struct Decide<'a> {
    packed: &'a Nearest,
    task: StridedRows<'a>,
    nearest: &'a mut [u32],
    distances: Option<&'a mut [f32]>,
    /// Rows with so many candidates that a pass in f32 is cheaper than their single distances.
    hard: Vec<usize>,
}

impl FoundNear for Decide<'_> {
    #[inline(always)]
    fn near<L: Lanes>(&mut self, i: usize, near: &[u32]) {
        if i >= self.nearest.len() {
            return;
        }
        match near {
            [only] if self.distances.is_none() => self.nearest[i] = *only,
            _ if near.len() > (self.packed.k / 8).max(16) => self.hard.push(i),
            _ => {
                let mut best = (f32::INFINITY, near[0]);
                for &id in near {
                    let distance = squared_distance_on::<L>(self.task.row(i), self.packed.vector(id));
                    if distance < best.0 {
                        best = (distance, id);
                    }
                }
                self.nearest[i] = best.1;
                if let Some(distances) = &mut self.distances {
                    distances[i] = best.0;
                }
            }
        }
    }
}

/// [`Nearest::shortlist`] by bytes.
pub(super) struct Sift<'a> {
    pub(super) sieve: &'a Sieve,
    pub(super) queries: &'a [f32],
    pub(super) first_id: u32,
    pub(super) lists: &'a mut [Shortlist],
}

impl SieveWork for Sift<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: ByteTile<ROWS>, const ROWS: usize>(self) {
        let Sift { sieve, queries, first_id, lists } = self;
        let dim = sieve.dim();
        let mut bytes = ByteRows::default();
        let mut limits = [0f32; ROWS_PER_TASK];
        for (queries, lists) in queries.chunks(ROWS_PER_TASK * dim).zip(lists.chunks_mut(ROWS_PER_TASK)) {
            sieve.round_rows::<L, ROWS>(lists.len(), StridedRows { rows: queries, stride: dim, dim }, &mut bytes);
            let limits = &mut limits[..lists.len()];
            for (limit, (list, margin)) in limits.iter_mut().zip(lists.iter().zip(&bytes.margin)) {
                *limit = list.limit() + margin;
            }
            sieve.below_limit::<L, ROWS>(&bytes, limits, &mut Offer { lists, first_id });
        }
    }
}

/// Offers what is found to lists.
struct Offer<'a> {
    lists: &'a mut [Shortlist],
    first_id: u32,
}

impl FoundBelow for Offer<'_> {
    #[inline(always)]
    fn below(&mut self, row: usize, id: u32, score: f32, margin: f32) -> f32 {
        self.lists[row].offer(score, margin, self.first_id + id);
        self.lists[row].limit() + margin
    }
}
