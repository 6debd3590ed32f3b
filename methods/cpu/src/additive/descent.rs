//! The descent: symbols are changed one codebook at a time, by tables of f32 or of 16 bits.

use super::{ALIGN, BLOCK, PREFETCHED, SHORT_RANGE, SumTables, round, sums};
use crate::dispatch::{Kernel, dispatch};
use crate::lanes::{Lanes, ShortLanes};

/// Maximum number of codebooks of a descent.
pub const MAX_DESCENT: usize = 64;

impl SumTables {
    /// Sets each symbol in turn to its best value for the other symbols (the lowest on ties), in at most `sweeps`
    /// sweeps or until nothing changes. A symbol is skipped if no other symbol has changed since its last turn.
    ///
    /// # Panics
    /// When the tables are not whole or the lengths do not fit together.
    pub fn descend(&self, unary: &[f32], sweeps: usize, code: &mut [u16]) {
        assert!(
            self.whole && unary.len() == self.unary_len() && code.len() == self.m,
            "whole tables, one row, one code"
        );
        assert!(self.m <= MAX_DESCENT, "at most {MAX_DESCENT} codebooks");
        assert!(code.iter().all(|&c| usize::from(c) < self.k), "symbols name codewords");
        dispatch(self.isa, DescentWork { tables: self, unary, sweeps, code });
    }

    /// The row of [`SumTables::unary`] for [`SumTables::descend_quickly`]; None if it does not fit.
    pub fn shorten(&self, unary: &[f32], short: &mut Vec<i16>) -> bool {
        if self.short.is_none() {
            return false;
        }
        short.resize(unary.len(), 0);
        let mut fits = true;
        dispatch(self.isa, ShortenWork { tables: self, unary, short, fits: &mut fits });
        fits
    }

    /// [`SumTables::descend`] in 16-bit integers, at twice the speed: near-ties may be decided differently.
    ///
    /// # Panics
    /// As `descend`, and if there are no such tables.
    pub fn descend_quickly(&self, short: &[i16], sweeps: usize, code: &mut [u16]) {
        assert!(short.len() == self.unary_len() && code.len() == self.m, "one row, one code");
        assert!(self.m <= MAX_DESCENT, "at most {MAX_DESCENT} codebooks");
        assert!(code.iter().all(|&c| usize::from(c) < self.k), "symbols name codewords");
        let Some(pairs) = &self.short else { panic!("tables of 16 bits") };
        dispatch(self.isa, QuickWork { tables: self, unary: short, pairs, sweeps, code });
    }
}

struct DescentWork<'a> {
    tables: &'a SumTables,
    unary: &'a [f32],
    sweeps: usize,
    code: &'a mut [u16],
}

impl Kernel for DescentWork<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let DescentWork { tables, unary, sweeps, code } = self;
        sweep::<L, _>(tables, Floats { tables, unary }, sweeps, code);
    }
}

/// Sums and compares table entries. These are methods and not closures: a closure that is not inlined is compiled
/// without the instruction set.
trait Entries {
    /// The best symbol of codebook `i`, given the row offsets of all others.
    fn least<L: Lanes>(&self, i: usize, offsets: &[usize]) -> u16;
    /// Prefetches the row at `offset`.
    fn prefetch<L: Lanes>(&self, offset: usize);
}

struct Floats<'a> {
    tables: &'a SumTables,
    unary: &'a [f32],
}

impl Entries for Floats<'_> {
    #[inline(always)]
    fn least<L: Lanes>(&self, i: usize, offsets: &[usize]) -> u16 {
        let width = self.tables.width;
        least_sum::<L>(&self.unary[i * width..][..width], &self.tables.pairs, offsets)
    }

    #[inline(always)]
    fn prefetch<L: Lanes>(&self, offset: usize) {
        for line in self.tables.pairs[offset..][..self.tables.width].chunks(16).take(PREFETCHED) {
            L::prefetch(line);
        }
    }
}

struct Shorts<'a> {
    width: usize,
    unary: &'a [i16],
    pairs: &'a [i16],
}

impl Entries for Shorts<'_> {
    #[inline(always)]
    fn least<L: Lanes>(&self, i: usize, offsets: &[usize]) -> u16 {
        least_short::<L::Short>(&self.unary[i * self.width..][..self.width], self.pairs, offsets)
    }

    #[inline(always)]
    fn prefetch<L: Lanes>(&self, offset: usize) {
        for line in self.pairs[offset..][..self.width].chunks(32).take(PREFETCHED) {
            L::prefetch(line);
        }
    }
}

/// Sweeps over the symbols. Most of the time is spent waiting for rows, so the rows of the next symbol are prefetched
/// before this one is summed.
#[inline(always)]
fn sweep<L: Lanes, E: Entries>(tables: &SumTables, entries: E, sweeps: usize, code: &mut [u16]) {
    let m = tables.m;
    let mut offsets = [0usize; MAX_DESCENT];
    // Number of changes so far, and the number at the last turn of each symbol.
    let mut changes = 1usize;
    let mut answered = [0usize; MAX_DESCENT];
    for _ in 0..sweeps {
        let before = changes;
        for i in 0..m {
            if answered[i] == changes {
                continue;
            }
            let next = if i + 1 == m { 0 } else { i + 1 };
            let mut count = 0;
            for (j, &c) in code.iter().enumerate() {
                if j != i {
                    offsets[count] = tables.offset(i, j, c);
                    count += 1;
                    if j != next {
                        entries.prefetch::<L>(tables.offset(next, j, c));
                    }
                }
            }
            let found = entries.least::<L>(i, &offsets[..count]);
            if found != code[i] {
                code[i] = found;
                changes += 1;
            }
            answered[i] = changes;
        }
        if changes == before {
            return;
        }
    }
}

/// Index of the smallest value of `start + row + row + …`, the lowest on ties; 0 if all are NaN.
#[inline(always)]
fn least_sum<L: Lanes>(start: &[f32], pairs: &[f32], offsets: &[usize]) -> u16 {
    let mut best = L::splat(f32::INFINITY);
    let mut from = L::splat_index(0);
    let registers = start.len() / L::N;
    let mut at = 0;
    while at + BLOCK <= registers {
        let found = sums::<L, BLOCK>(start, pairs, offsets, at * L::N);
        for (r, sum) in found.into_iter().enumerate() {
            sum.keep_smaller(&mut best, &mut from, L::splat_index((at + r) as u32));
        }
        at += BLOCK;
    }
    while at < registers {
        let [sum] = sums::<L, 1>(start, pairs, offsets, at * L::N);
        sum.keep_smaller(&mut best, &mut from, L::splat_index(at as u32));
        at += 1;
    }
    let (mut scores, mut origins) = ([f32::INFINITY; ALIGN], [0u32; ALIGN]);
    best.store(&mut scores);
    L::store_index(from, &mut origins);
    // Each lane holds its first smallest value; on ties between lanes, the one that came first wins.
    let (mut least, mut found) = (f32::INFINITY, 0u32);
    for l in 0..L::N {
        let index = origins[l] * L::N as u32 + l as u32;
        let better = scores[l] < least || (scores[l] == least && index < found);
        (least, found) = if better { (scores[l], index) } else { (least, found) };
    }
    found as u16
}

struct QuickWork<'a> {
    tables: &'a SumTables,
    unary: &'a [i16],
    pairs: &'a [i16],
    sweeps: usize,
    code: &'a mut [u16],
}

impl Kernel for QuickWork<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let QuickWork { tables, unary, pairs, sweeps, code } = self;
        sweep::<L, _>(tables, Shorts { width: tables.width, unary, pairs }, sweeps, code);
    }
}

/// [`least_sum`] in integers: first the smallest value of a block, then its index.
#[inline(always)]
fn least_short<S: ShortLanes>(start: &[i16], pairs: &[i16], offsets: &[usize]) -> u16 {
    let registers = start.len() / S::N;
    let (mut least, mut found) = (i16::MAX, 0usize);
    let mut at = 0;
    while at + BLOCK <= registers {
        let sums = short_sums::<S, BLOCK>(start, pairs, offsets, at * S::N);
        take_least(&sums, at * S::N, &mut least, &mut found);
        at += BLOCK;
    }
    while at < registers {
        let sums = short_sums::<S, 1>(start, pairs, offsets, at * S::N);
        take_least(&sums, at * S::N, &mut least, &mut found);
        at += 1;
    }
    found as u16
}

/// Keeps the least of `sums`, which begin at index `first`, where it is below `least`.
#[inline(always)]
fn take_least<S: ShortLanes, const R: usize>(sums: &[S; R], first: usize, least: &mut i16, found: &mut usize) {
    let mut smallest = sums[0];
    for &sum in &sums[1..] {
        smallest = smallest.min(sum);
    }
    let smallest = smallest.least();
    if smallest < *least {
        *least = smallest;
        let wanted = S::splat(smallest);
        for (r, &sum) in sums.iter().enumerate() {
            let lane = sum.first_equal(wanted);
            if lane < S::N {
                *found = first + r * S::N + lane;
                return;
            }
        }
    }
}

/// [`sums`] in integers.
#[inline(always)]
fn short_sums<S: ShortLanes, const R: usize>(start: &[i16], pairs: &[i16], offsets: &[usize], at: usize) -> [S; R] {
    let start = &start[at..][..R * S::N];
    let mut sums = [S::splat(0); R];
    for (r, sum) in sums.iter_mut().enumerate() {
        *sum = S::load(&start[r * S::N..]);
    }
    for &offset in offsets {
        let row = &pairs[offset + at..][..R * S::N];
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = sum.add(S::load(&row[r * S::N..]));
        }
    }
    sums
}

struct ShortenWork<'a> {
    tables: &'a SumTables,
    unary: &'a [f32],
    short: &'a mut [i16],
    fits: &'a mut bool,
}

impl Kernel for ShortenWork<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let ShortenWork { tables, unary, short, fits } = self;
        let (k, width) = (tables.k, tables.width);
        let each = unary.chunks_exact(width).zip(short.chunks_exact_mut(width));
        for ((unary, short), step) in each.zip(&tables.steps) {
            // Half of the range is reserved for the pairs.
            let mut largest = 0f32;
            for value in &unary[..k] {
                largest = if value.abs() > largest { value.abs() } else { largest };
            }
            *fits &= largest <= 0.5 * SHORT_RANGE * step;
            round(&unary[..k], step.recip(), &mut short[..k]);
            short[k..].fill(i16::MAX);
        }
    }
}
