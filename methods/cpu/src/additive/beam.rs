//! The beam search over sums of codewords, and the smallest few of a stream of scores.

use super::{ALIGN, BLOCK, PREFETCHED, SumTables, sums};
use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Buffers for beam searches, reused for every row.
#[derive(Clone, Debug, Default)]
pub struct BeamScratch {
    /// Partial codes of `m` symbols, and their scores.
    codes: Vec<u16>,
    scores: Vec<f32>,
    next_codes: Vec<u16>,
    /// Offsets in `pairs` of the rows of a partial code.
    offsets: Vec<usize>,
    best: Best,
}

impl SumTables {
    /// The best code that a beam search finds for a row of [`SumTables::unary`]: of the continuations of the kept
    /// partial codes, the `beam` with the least error are kept; the first on ties.
    ///
    /// # Panics
    /// When the lengths do not fit together or `beam` is 0.
    pub fn beam(&self, unary: &[f32], beam: usize, scratch: &mut BeamScratch, code: &mut [u16]) {
        assert!(beam > 0 && unary.len() == self.unary_len() && code.len() == self.m, "one row, one code, a beam");
        dispatch(self.isa, BeamWork { tables: self, unary, beam, scratch, code });
    }
}

/// The smallest few of a stream of scores, in order; the first on ties.
#[derive(Clone, Debug, Default)]
struct Best {
    scores: Vec<f32>,
    ids: Vec<u32>,
    count: usize,
    full: usize,
}

impl Best {
    fn clear(&mut self, full: usize) {
        self.scores.resize(full, 0.0);
        self.ids.resize(full, 0);
        (self.count, self.full) = (0, full);
    }

    /// The bound below which a score enters.
    #[inline(always)]
    fn bound(&self) -> f32 {
        if self.count < self.full { f32::INFINITY } else { self.scores[self.full - 1] }
    }

    /// Inserts a score below the bound.
    #[inline(always)]
    fn insert(&mut self, score: f32, id: u32) {
        let mut at = if self.count < self.full {
            self.count += 1;
            self.count - 1
        } else {
            self.full - 1
        };
        while at > 0 && score < self.scores[at - 1] {
            self.scores[at] = self.scores[at - 1];
            self.ids[at] = self.ids[at - 1];
            at -= 1;
        }
        (self.scores[at], self.ids[at]) = (score, id);
    }

    /// Inserts the scores of a register that are below the bound; ids count up from `first`.
    #[inline(always)]
    fn offer<L: Lanes>(&mut self, scores: L, first: u32, bound: &mut f32) {
        let mut below = scores.below(L::splat(*bound));
        if below != 0 {
            let mut values = [0f32; ALIGN];
            scores.store(&mut values);
            while below != 0 {
                let lane = below.trailing_zeros();
                below &= below - 1;
                let score = values[lane as usize % ALIGN];
                if score < *bound {
                    self.insert(score, first + lane);
                    *bound = self.bound();
                }
            }
        }
    }
}

struct BeamWork<'a> {
    tables: &'a SumTables,
    unary: &'a [f32],
    beam: usize,
    scratch: &'a mut BeamScratch,
    code: &'a mut [u16],
}

impl Kernel for BeamWork<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let BeamWork { tables, unary, beam, scratch, code } = self;
        let (m, k, width) = (tables.m, tables.k, tables.width);
        let BeamScratch { codes, scores, next_codes, offsets, best } = scratch;
        codes.clear();
        codes.resize(m, 0);
        scores.clear();
        scores.push(0.0);
        for i in 0..m {
            let start = &unary[i * width..][..width];
            let next = beam.min(scores.len().saturating_mul(k));
            best.clear(next);
            let mut bound = f32::INFINITY;
            for (b, (&score, code)) in scores.iter().zip(codes.chunks_exact(m)).enumerate() {
                offsets.clear();
                for (j, &c) in code[..i].iter().enumerate() {
                    offsets.push(tables.offset(i, j, c));
                }
                // Prefetches the rows of the next partial code while this one is summed.
                for (j, &c) in codes.get((b + 1) * m..(b + 1) * m + i).unwrap_or_default().iter().enumerate() {
                    for line in tables.pairs[tables.offset(i, j, c)..][..width].chunks(16).take(PREFETCHED) {
                        L::prefetch(line);
                    }
                }
                let base = L::splat(score);
                let first = (b * width) as u32;
                let registers = width / L::N;
                let mut at = 0;
                while at + BLOCK <= registers {
                    let found = sums::<L, BLOCK>(start, &tables.pairs, offsets, at * L::N);
                    for (r, sum) in found.into_iter().enumerate() {
                        best.offer(sum.add(base), first + ((at + r) * L::N) as u32, &mut bound);
                    }
                    at += BLOCK;
                }
                while at < registers {
                    let [sum] = sums::<L, 1>(start, &tables.pairs, offsets, at * L::N);
                    best.offer(sum.add(base), first + (at * L::N) as u32, &mut bound);
                    at += 1;
                }
            }
            if best.count == 0 {
                // No score is finite: any code is as good as another.
                best.insert(f32::INFINITY, 0);
            }
            scores.clear();
            scores.extend_from_slice(&best.scores[..best.count]);
            next_codes.clear();
            for &id in &best.ids[..best.count] {
                let from = id as usize / width;
                next_codes.extend_from_slice(&codes[from * m..][..m]);
                let last = next_codes.len() - m + i;
                next_codes[last] = (id as usize % width) as u16;
            }
            std::mem::swap(codes, next_codes);
        }
        code.copy_from_slice(&codes[..m]);
    }
}

/// The `count` smallest scores of each group of `scores`, in order, ties by index: `(score, index in the group)` into
/// `found`.
///
/// # Panics
/// When the lengths do not fit together, or a group is smaller than `count`.
pub fn least_few(isa: Isa, scores: &[f32], group: usize, count: usize, found: &mut [(f32, u32)]) {
    assert!(count <= group && (count > 0 || found.is_empty()), "a group holds as many as are asked for");
    assert!(count == 0 || scores.len() / group * count == found.len(), "one place per score found");
    dispatch(isa, LeastFew { scores, group, count, found });
}

struct LeastFew<'a> {
    scores: &'a [f32],
    group: usize,
    count: usize,
    found: &'a mut [(f32, u32)],
}

impl Kernel for LeastFew<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        if self.count == 0 {
            return;
        }
        let mut best = Best::default();
        for (scores, found) in self.scores.chunks_exact(self.group).zip(self.found.chunks_exact_mut(self.count)) {
            best.clear(self.count);
            let mut bound = f32::INFINITY;
            let whole = scores.len() / L::N * L::N;
            for at in (0..whole).step_by(L::N) {
                best.offer(L::load(&scores[at..]), at as u32, &mut bound);
            }
            for (at, &score) in scores.iter().enumerate().skip(whole) {
                if score < bound {
                    best.insert(score, at as u32);
                    bound = best.bound();
                }
            }
            // Infinities and NaN come last, each index once.
            let mut index = 0;
            while best.count < self.count {
                if !best.ids[..best.count].contains(&index) {
                    best.scores[best.count] = f32::INFINITY;
                    best.ids[best.count] = index;
                    best.count += 1;
                }
                index += 1;
            }
            found.iter_mut().zip(best.scores.iter().zip(&best.ids)).for_each(|(f, (&s, &id))| *f = (s, id));
        }
    }
}
