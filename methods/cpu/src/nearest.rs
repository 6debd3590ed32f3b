//! Exact nearest vectors: a fast pass over all vectors, then direct distances of the few that remain.

use crate::dispatch::{Kernel, dispatch};
use crate::distance::squared_distance_on;
use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::panels::{Panels, Score};
use crate::shortlist::Shortlist;
use crate::sieve::{MAX_DIM, Sieve, with_byte_tiles, with_byte_tiles_of_one};
use by_bytes::{Assign, Pack, Sift};
use rayon::prelude::*;
use std::sync::OnceLock;

mod by_bytes;

/// Rows per task: whole tiles of every kernel, and a constant, so that no result depends on the number of threads.
const ROWS_PER_TASK: usize = 240;

/// Minimum numbers of vectors and components for which byte products pay off.
const SIEVE_FROM: (usize, usize) = (48, 24);

/// `k` packed vectors of `dim` components, among which the nearest are searched.
#[derive(Clone, Debug)]
pub struct Nearest {
    isa: Isa,
    vectors: Vec<f32>,
    k: usize,
    dim: usize,
    score: Score,
    sieve: Option<Sieve>,
    panels: OnceLock<Panels>,
}

impl Nearest {
    /// Packs `vectors` (`k×dim`, row-major) for `isa`.
    ///
    /// # Panics
    /// When the length is no multiple of `dim`.
    pub fn new(isa: Isa, vectors: Vec<f32>, dim: usize, score: Score) -> Nearest {
        assert!(dim > 0 && vectors.len().is_multiple_of(dim), "vectors must hold whole rows of {dim}");
        let k = vectors.len() / dim;
        let suits = k >= SIEVE_FROM.0 && (SIEVE_FROM.1..=MAX_DIM).contains(&dim);
        let sieve = suits.then(|| with_byte_tiles(isa, Pack { vectors: &vectors, dim, score })).flatten();
        Nearest { isa, vectors, k, dim, score, sieve, panels: OnceLock::new() }
    }

    /// Packs now what a search would otherwise pack at its first use.
    #[must_use]
    pub fn prepared(self) -> Nearest {
        if self.sieve.is_none() {
            self.panels();
        }
        self
    }

    /// Number of packed vectors.
    pub fn len(&self) -> usize {
        self.k
    }

    /// Whether no vector is packed.
    pub fn is_empty(&self) -> bool {
        self.k == 0
    }

    /// The vectors, row-major, as they were given.
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// Bytes of memory: the vectors, and what is packed of them.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.vectors[..])
            + self.sieve.as_ref().map_or(0, Sieve::bytes)
            + self.panels.get().map_or(0, Panels::bytes)
    }

    /// Whether [`Nearest::shortlist`] reads bytes first, which pays off even for a single query.
    pub fn has_bytes(&self) -> bool {
        self.sieve.is_some()
    }

    fn vector(&self, id: u32) -> &[f32] {
        &self.vectors[id as usize * self.dim..][..self.dim]
    }

    fn panels(&self) -> &Panels {
        self.panels.get_or_init(|| Panels::new(self.isa, &self.vectors, self.dim, self.score))
    }

    /// Writes to `nearest[i]` the vector with the smallest `‖x−c‖²` for row `i` (the lowest index on ties), and its
    /// distance to `squared_distance[i]` if requested. Row `i` is `rows[i·stride..][..dim]`. Runs on the current thread
    /// pool.
    ///
    /// # Panics
    /// When nothing is packed, `rows` is too short, or the vectors were packed for products.
    pub fn assign(&self, rows: &[f32], stride: usize, nearest: &mut [u32], distances: Option<&mut [f32]>) {
        assert!(self.k > 0, "no vectors to assign to");
        assert!(self.score == Score::HalfDistance, "packed for products");
        let task_of = |task: usize| &rows[task * ROWS_PER_TASK * stride..];
        match distances {
            None => nearest
                .par_chunks_mut(ROWS_PER_TASK)
                .enumerate()
                .for_each(|(task, nearest)| self.assign_task(task_of(task), stride, nearest, None)),
            Some(distances) => {
                assert_eq!(nearest.len(), distances.len(), "a distance per row");
                let tasks = nearest.par_chunks_mut(ROWS_PER_TASK).zip(distances.par_chunks_mut(ROWS_PER_TASK));
                tasks.enumerate().for_each(|(task, (nearest, distances))| {
                    self.assign_task(task_of(task), stride, nearest, Some(distances));
                });
            }
        }
    }

    /// [`Nearest::assign`] without distances, on the current thread.
    ///
    /// # Panics
    /// As there.
    pub fn assign_here(&self, rows: &[f32], stride: usize, nearest: &mut [u32]) {
        assert!(self.k > 0, "no vectors to assign to");
        assert!(self.score == Score::HalfDistance, "packed for products");
        self.assign_task(rows, stride, nearest, None);
    }

    fn assign_task(&self, rows: &[f32], stride: usize, nearest: &mut [u32], distances: Option<&mut [f32]>) {
        let task = StridedRows { rows, stride, dim: self.dim };
        if let Some(sieve) = &self.sieve {
            with_byte_tiles(self.isa, Assign { packed: self, sieve, task, nearest, distances });
            return;
        }
        let mut open = Vec::new();
        self.panels().assign(rows, stride, nearest, &mut open);
        dispatch(self.isa, SecondPass { packed: self, task, open: &open, nearest });
        if let Some(distances) = distances {
            dispatch(self.isa, Distances { packed: self, task, nearest, distances });
        }
    }

    /// Calls `found(row, squared_distance, id)` for the rows listed in `open`: by f32 scores, and by distances where
    /// the rounding of scores leaves a choice.
    #[inline(always)]
    fn nearest_by_floats<L: Lanes>(
        &self,
        task: StridedRows<'_>,
        open: &[usize],
        mut found: impl FnMut(usize, f32, u32),
    ) {
        let (mut rows, mut scores) = (Vec::new(), Vec::new());
        for open in open.chunks(OPEN_ROWS) {
            rows.clear();
            open.iter().for_each(|&i| rows.extend_from_slice(task.row(i)));
            scores.resize(open.len() * self.k, 0.0);
            self.panels().scores(&rows, &mut scores);
            for (&i, scores) in open.iter().zip(scores.chunks_exact(self.k)) {
                let least = scores.iter().fold(f32::INFINITY, |m, s| if *s < m { *s } else { m });
                let limit = least + 2.0 * self.panels().margin_of(task.row(i));
                let mut best = (f32::INFINITY, 0);
                for (id, score) in scores.iter().enumerate() {
                    // NaN scores are decided by distances.
                    if score.partial_cmp(&limit) != Some(std::cmp::Ordering::Greater) {
                        let distance = squared_distance_on::<L>(task.row(i), self.vector(id as u32));
                        if distance < best.0 {
                            best = (distance, id as u32);
                        }
                    }
                }
                found(i, best.0, best.1);
            }
        }
    }

    /// Offers each packed vector that may be among the nearest of a query to the list of that query, with its index
    /// plus `first_id`. `queries` are rows of `dim`. Runs on the current thread.
    ///
    /// # Panics
    /// When there is not one list per query.
    pub fn shortlist(&self, queries: &[f32], first_id: u32, lists: &mut [Shortlist]) {
        assert_eq!(queries.len(), lists.len() * self.dim, "a list per query");
        if let Some(sieve) = &self.sieve
            && !lists.iter().any(Shortlist::has_been_crowded)
        {
            match lists.len() {
                1 => with_byte_tiles_of_one(self.isa, Sift { sieve, queries, first_id, lists }),
                _ => with_byte_tiles(self.isa, Sift { sieve, queries, first_id, lists }),
            };
            return;
        }
        const QUERIES: usize = 24;
        let mut scores = vec![0f32; QUERIES.min(lists.len()) * self.k];
        for (queries, lists) in queries.chunks(QUERIES * self.dim).zip(lists.chunks_mut(QUERIES)) {
            let scores = &mut scores[..lists.len() * self.k];
            self.panels().scores(queries, scores);
            let queries = queries.chunks_exact(self.dim);
            for ((list, query), scores) in lists.iter_mut().zip(queries).zip(scores.chunks_exact(self.k.max(1))) {
                list.offer_block(scores, first_id, self.panels().margin_of(query));
            }
        }
    }
}

/// Rows with a stride.
#[derive(Clone, Copy)]
pub(crate) struct StridedRows<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) dim: usize,
}

impl<'a> StridedRows<'a> {
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [f32] {
        &self.rows[i * self.stride..][..self.dim]
    }
}

/// Number of rows whose scores are held at a time in the second pass.
const OPEN_ROWS: usize = 24;

/// The second pass, for rows that scores left undecided.
struct SecondPass<'a> {
    packed: &'a Nearest,
    task: StridedRows<'a>,
    open: &'a [usize],
    nearest: &'a mut [u32],
}

impl Kernel for SecondPass<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let SecondPass { packed, task, open, nearest } = self;
        packed.nearest_by_floats::<L>(task, open, |i, _, id| nearest[i] = id);
    }
}

/// `distances[i] = ‖x_i − c_{nearest[i]}‖²`, summed directly: the score that assignment orders by cancels.
struct Distances<'a> {
    packed: &'a Nearest,
    task: StridedRows<'a>,
    nearest: &'a [u32],
    distances: &'a mut [f32],
}

impl Kernel for Distances<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (i, (distance, &id)) in self.distances.iter_mut().zip(self.nearest).enumerate() {
            *distance = squared_distance_on::<L>(self.task.row(i), self.packed.vector(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn exact(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
    }

    fn product(a: &[f32], b: &[f32]) -> f64 {
        -a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
    }

    /// Maximum relative excess of the distance of a nearest vector over the smallest distance: the rounding of sums of
    /// `dim` squares in f32.
    fn bound(dim: usize) -> f64 {
        (dim as f64 / 16.0 + 16.0) * f64::from(f32::EPSILON)
    }

    /// Rows and vectors of some kind: far from zero, with one component a hundred times the others, many of them equal, in clusters that
    /// lie far apart.
    fn values(rng: &mut ChaCha8Rng, n: usize, dim: usize, kind: u8) -> Vec<f32> {
        let mut draw = |i: usize| {
            let v = rng.random::<f32>() * 2.0 - 1.0;
            match kind {
                1 => v + 1e4,
                2 if i.is_multiple_of(dim) => v * 100.0,
                3 => (v * 1.5).round(),
                4 => v * 1e-12,
                5 => v * 1e12,
                6 => v + 1e4 * (i / dim % 3) as f32,
                _ => v,
            }
        };
        (0..n * dim).map(&mut draw).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_nearest_is_found_whatever_decides_first(
            n in 0usize..60, k in 1usize..150, dim in 1usize..70, slack in 0usize..3, kind in 0u8..7, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let stride = dim + slack;
            let rows = values(&mut rng, n + 1, stride, kind);
            // Not where an allocation begins.
            let rows = &rows[slack.min(stride)..];
            let vectors = values(&mut rng, k, dim, kind);
            for isa in Isa::available() {
                let packed = Nearest::new(isa, vectors.clone(), dim, Score::HalfDistance);
                let (mut nearest, mut distances) = (vec![u32::MAX; n], vec![f32::NAN; n]);
                packed.assign(rows, stride, &mut nearest, Some(&mut distances));
                let mut alone = vec![u32::MAX; n];
                packed.assign(rows, stride, &mut alone, None);
                prop_assert_eq!(&alone, &nearest, "{} with and without distances", isa);
                for i in 0..n {
                    let x = &rows[i * stride..][..dim];
                    let score = |c: usize| exact(x, &vectors[c * dim..][..dim]);
                    let best = (0..k).map(score).fold(f64::INFINITY, f64::min);
                    let found = score(nearest[i] as usize);
                    prop_assert!(found <= best * (1.0 + bound(dim)), "{isa} row {i}: {found} for {best}");
                    prop_assert!((f64::from(distances[i]) - found).abs() <= 1e-5 * found + 1e-30, "{isa} row {i}");
                }
            }
        }

        #[test]
        fn what_is_among_the_nearest_is_on_the_list(
            queries in 1usize..40, n in 0usize..200, dim in 1usize..60, k in 0usize..12, kind in 0u8..7, dot in any::<bool>(),
            seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let asked = values(&mut rng, queries, dim, kind);
            let base = values(&mut rng, n, dim, kind);
            let score = if dot { Score::NegatedDot } else { Score::HalfDistance };
            for isa in Isa::available() {
                let mut lists = vec![Shortlist::new(k); queries];
                for (b, block) in base.chunks(70 * dim).enumerate() {
                    Nearest::new(isa, block.to_vec(), dim, score).shortlist(&asked, b as u32 * 70, &mut lists);
                }
                for (query, list) in asked.chunks_exact(dim).zip(&mut lists) {
                    let short = list.drain();
                    let of = |id: usize| {
                        let row = &base[id * dim..][..dim];
                        if dot { product(query, row) } else { exact(query, row) }
                    };
                    let mut all: Vec<(f64, u32)> = (0..n).map(|id| (of(id), id as u32)).collect();
                    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                    // Vectors that tie with the k-th need not be included.
                    for (score, id) in all.iter().take(k) {
                        let ties = all.get(k).is_some_and(|next| next.0 == *score);
                        prop_assert!(ties || short.contains(id), "{isa}: row {id} of score {score}");
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_are_no_numbers_do_no_harm() {
        for isa in Isa::available() {
            let mut vectors = vec![0.5f32; 64 * 32];
            vectors[3] = f32::NAN;
            vectors[32 + 5] = f32::INFINITY;
            let mut rows = vec![0.5f32; 4 * 32];
            (rows[0], rows[33], rows[66]) = (f32::NAN, f32::INFINITY, f32::MAX);
            let mut nearest = [u32::MAX; 4];
            let mut distances = [0f32; 4];
            Nearest::new(isa, vectors, 32, Score::HalfDistance).assign(&rows, 32, &mut nearest, Some(&mut distances));
            assert!(nearest.iter().all(|&c| c < 64), "{isa}: {nearest:?}");
        }
    }

    /// Clusters `apart` times their spread from each other, and one vector far from all others: scores cancel, distances do not.
    #[test]
    fn the_nearest_is_that_of_f64_however_far_vectors_lie_apart() {
        for (k, dim, apart) in
            [(32, 16, 1e1), (32, 16, 1e4), (32, 16, 1e6), (64, 32, 1e4), (300, 8, 1e5), (300, 3, 1e3), (9, 40, 1e6)]
        {
            let mut rng = ChaCha8Rng::seed_from_u64(k as u64);
            let mut draw = |n: usize| -> Vec<f32> {
                let centre_of = |i: usize| if i.is_multiple_of(2) { apart } else { -apart };
                (0..n * dim).map(|i| centre_of(i / dim) + rng.random::<f32>() * 2.0 - 1.0).collect()
            };
            let (rows, mut vectors) = (draw(200), draw(k));
            vectors[dim - 1] *= 100.0;
            for isa in Isa::available() {
                let mut nearest = vec![0; 200];
                Nearest::new(isa, vectors.clone(), dim, Score::HalfDistance).assign(&rows, dim, &mut nearest, None);
                for (row, &found) in rows.chunks_exact(dim).zip(&nearest) {
                    let best = vectors.chunks_exact(dim).map(|v| exact(row, v)).fold(f64::INFINITY, f64::min);
                    let found = exact(row, &vectors[found as usize * dim..][..dim]);
                    assert!(found <= best * (1.0 + bound(dim)), "{isa}, {k} of {dim}, {apart}: {found} for {best}");
                }
            }
        }
    }

    /// If all vectors are equally near, the bytes decide nothing.
    #[test]
    fn rows_that_bytes_cannot_decide_are_decided_in_f32() {
        let (k, dim) = (256, 32);
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        // Far apart in one component that all share, and close together in the others.
        let mut draw =
            |i: usize| if i.is_multiple_of(dim) { 1000.0 * rng.random::<f32>() } else { 0.01 * rng.random::<f32>() };
        let vectors: Vec<f32> = (0..k * dim).map(&mut draw).map(|v| if v > 0.01 { 500.0 } else { v }).collect();
        let rows: Vec<f32> = (0..20 * dim).map(&mut draw).collect();
        for isa in Isa::available() {
            let mut nearest = [0; 20];
            Nearest::new(isa, vectors.clone(), dim, Score::HalfDistance).assign(&rows, dim, &mut nearest, None);
            for (row, &found) in rows.chunks_exact(dim).zip(&nearest) {
                let best = vectors.chunks_exact(dim).map(|v| exact(row, v)).fold(f64::INFINITY, f64::min);
                let found = exact(row, &vectors[found as usize * dim..][..dim]);
                assert!(found <= best * (1.0 + 1e-6), "{isa}: {found} for {best}");
            }
        }
    }
}
