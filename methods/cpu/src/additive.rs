//! Searches over sums of codewords, one from each of `m` codebooks, by tables instead of vectors.
//!
//! With everything taken relative to the sum of the codebooks' means, so that nothing cancels where the data sits far
//! from zero, `u_i[c] = ‖c‖² − 2·x·c` and `g_ij[c, c'] = 2·c·c'`, the error of a code is
//!
//! ```text
//! ‖x − Σ_i c_i‖² = ‖x‖² + Σ_i u_i[c_i] + Σ_{i<j} g_ij[c_i, c_j]
//! ```
//!
//! So what the codewords `c` of codebook `i` would add to a code is one row of `u` and, for every other symbol, one row of
//! `g`: additions of `K` values in place of `K·dim` products. The beam search sums the rows of the codebooks before,
//! the descent those of all others. `‖x‖²` is left out throughout.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::{Lanes, ShortLanes};
use crate::panels::{Panels, Score, mean};

/// Table rows are padded to a multiple of this many values: whole registers of every set.
const ALIGN: usize = 32;

/// Number of registers of sums per pass over the rows.
const BLOCK: usize = 8;

/// Codebooks prepared for searches over their sums.
#[derive(Clone, Debug)]
pub struct SumTables {
    isa: Isa,
    m: usize,
    k: usize,
    dim: usize,
    /// `k` rounded up; the padding never wins.
    width: usize,
    /// Sum of the means of the codebooks.
    center: Vec<f32>,
    /// All centred codewords times 2, for `−2·x·c`.
    products: Panels,
    /// `‖c‖²`, infinite where there is no codeword.
    norms: Vec<f32>,
    /// `g`, one slab of `k×width` per pair of codebooks: the row of symbol `c` of codebook `j` over codebook `i`.
    pairs: Vec<f32>,
    /// `pairs` as 16-bit integers for a faster descent, if these are accurate enough.
    short: Option<Vec<i16>>,
    /// The scale of the integers, per codebook.
    steps: Vec<f32>,
    /// Whether slabs with `j > i` are stored as well; the descent needs them, the beam search does not.
    whole: bool,
}

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
    /// Bytes of the tables of `m` codebooks of `k` codewords, to decide whether to build them.
    pub fn bytes(m: usize, k: usize, whole: bool) -> usize {
        let slabs = if whole { m.saturating_mul(m) } else { m.saturating_mul(m.saturating_sub(1)) / 2 };
        slabs.saturating_mul(k).saturating_mul(k.next_multiple_of(ALIGN)).saturating_mul(4)
    }

    /// Prepares `m` codebooks of `k` codewords of `dim` components. The descent needs `whole` tables.
    ///
    /// # Panics
    /// If lengths do not match, or a symbol does not fit into 16 bits.
    pub fn new(isa: Isa, codebooks: &[f32], m: usize, dim: usize, whole: bool) -> SumTables {
        assert!(m > 0 && dim > 0 && codebooks.len().is_multiple_of(m * dim), "m codebooks of whole codewords");
        let k = codebooks.len() / (m * dim);
        assert!((1..=1 << 16).contains(&k), "1 to 65536 codewords per codebook");
        let width = k.next_multiple_of(ALIGN);
        let mut center = vec![0f32; dim];
        // Centred codewords times 2, padded with zero rows.
        let mut doubled = vec![0f32; m * width * dim];
        let mut norms = vec![f32::INFINITY; m * width];
        for (i, codebook) in codebooks.chunks_exact(k * dim).enumerate() {
            let mean = mean(codebook, dim);
            center.iter_mut().zip(&mean).for_each(|(c, m)| *c += m);
            for (c, codeword) in codebook.chunks_exact(dim).enumerate() {
                let out = &mut doubled[(i * width + c) * dim..][..dim];
                out.iter_mut().zip(codeword).zip(&mean).for_each(|((o, v), m)| *o = 2.0 * (v - m));
                norms[i * width + c] = 0.25 * out.iter().map(|v| v * v).sum::<f32>();
            }
        }
        let slabs = if whole { m * m } else { m * (m - 1) / 2 };
        let mut pairs = vec![0f32; slabs * k * width];
        let slab_of = |i: usize, j: usize| if whole { i * m + j } else { i * i.saturating_sub(1) / 2 + j };
        for i in 0..m {
            // −(2·c)·(−c'), which is 2·c·c'.
            let negated: Vec<f32> = doubled[i * width * dim..][..width * dim].iter().map(|v| -0.5 * v).collect();
            let panels = Panels::new(isa, &negated, dim, Score::NegatedDot);
            for j in (0..if whole { m } else { i }).filter(|&j| j != i) {
                let rows = &doubled[j * width * dim..][..k * dim];
                panels.scores(rows, &mut pairs[slab_of(i, j) * k * width..][..k * width]);
            }
        }
        let products = Panels::new(isa, &doubled, dim, Score::NegatedDot);
        let mut tables =
            SumTables { isa, m, k, dim, width, center, products, norms, pairs, short: None, steps: Vec::new(), whole };
        if whole {
            tables.add_short();
        }
        tables
    }

    /// Rounds the pairs to 16 bits. Each codebook has its own step, such that the sum of one entry per codebook and a
    /// `u` of the same size stays in range. Returns None if such a step is coarse relative to the power of the
    /// codebook.
    fn add_short(&mut self) {
        let (m, k, width) = (self.m, self.k, self.width);
        let largest = |values: &[f32]| values.iter().fold(0f32, |m, v| m.max(v.abs()));
        self.steps.clear();
        for i in 0..m {
            let norms = &self.norms[i * width..][..k];
            let slabs = self.pairs[i * m * k * width..][..m * k * width].chunks_exact(k * width);
            let bound = slabs.map(largest).sum::<f32>() + 4.0 * largest(norms);
            let step = 2.0 * bound / SHORT_RANGE;
            let power = norms.iter().sum::<f32>() / k as f32;
            if !(bound < f32::MAX && step <= COARSEST * power && step > f32::MIN_POSITIVE) {
                return;
            }
            self.steps.push(step);
        }
        let mut short = vec![0i16; self.pairs.len()];
        for (i, step) in self.steps.iter().enumerate() {
            let slabs = i * m * k * width..(i + 1) * m * k * width;
            round(&self.pairs[slabs.clone()], step.recip(), &mut short[slabs]);
        }
        self.short = Some(short);
    }

    /// Codebooks.
    pub fn codebooks(&self) -> usize {
        self.m
    }

    /// Codewords per codebook.
    pub fn codewords(&self) -> usize {
        self.k
    }

    /// Values that [`SumTables::unary`] writes per row.
    pub fn unary_len(&self) -> usize {
        self.m * self.width
    }

    /// `u` of rows of `dim` components, [`SumTables::unary_len`] values each; centres the rows first.
    ///
    /// # Panics
    /// When the lengths do not fit together.
    pub fn unary(&self, rows: &mut [f32], out: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.dim) {
            row.iter_mut().zip(&self.center).for_each(|(x, c)| *x -= c);
        }
        self.products.scores(rows, out);
        for out in out.chunks_exact_mut(self.unary_len()) {
            out.iter_mut().zip(&self.norms).for_each(|(u, norm)| *u += norm);
        }
    }

    /// The best code that a beam search finds for a row of [`SumTables::unary`]: of the continuations of the kept
    /// partial codes, the `beam` with the least error are kept; the first on ties.
    ///
    /// # Panics
    /// When the lengths do not fit together or `beam` is 0.
    pub fn beam(&self, unary: &[f32], beam: usize, scratch: &mut BeamScratch, code: &mut [u16]) {
        assert!(beam > 0 && unary.len() == self.unary_len() && code.len() == self.m, "one row, one code, a beam");
        dispatch(self.isa, BeamWork { tables: self, unary, beam, scratch, code });
    }

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

    /// `‖x − x̂‖² − ‖x‖²`, summed in f64.
    ///
    /// # Panics
    /// When the tables are not whole or a symbol names no codeword.
    pub fn error(&self, unary: &[f32], code: &[u16]) -> f64 {
        assert!(self.whole, "whole tables");
        let mut error = 0f64;
        for (i, &c) in code.iter().enumerate() {
            error += f64::from(unary[i * self.width + usize::from(c)]);
            for (j, &other) in code[..i].iter().enumerate() {
                error += f64::from(self.pairs[self.offset(i, j, other) + usize::from(c)]);
            }
        }
        error
    }

    /// Offset of the row of symbol `c` of codebook `j` over codebook `i`.
    #[inline(always)]
    fn offset(&self, i: usize, j: usize, c: u16) -> usize {
        let slab = if self.whole { i * self.m + j } else { i * (i - 1) / 2 + j };
        (slab * self.k + usize::from(c)) * self.width
    }
}

/// Half of the 16-bit range, minus one rounding per codebook.
const SHORT_RANGE: f32 = 32_600.0;

/// Maximum step, as a fraction of a codebook's mean `‖c‖²`.
const COARSEST: f32 = 0.01;

/// Maximum number of codebooks of a descent.
pub const MAX_DESCENT: usize = 64;

/// `R` registers of `start + row + row + …` from value `at` on.
#[inline(always)]
fn sums<L: Lanes, const R: usize>(start: &[f32], pairs: &[f32], offsets: &[usize], at: usize) -> [L; R] {
    let start = &start[at..][..R * L::N];
    let mut sums = [L::splat(0.0); R];
    for (r, sum) in sums.iter_mut().enumerate() {
        *sum = L::load(&start[r * L::N..]);
    }
    for &offset in offsets {
        let row = &pairs[offset + at..][..R * L::N];
        for (r, sum) in sums.iter_mut().enumerate() {
            *sum = sum.add(L::load(&row[r * L::N..]));
        }
    }
    sums
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

/// Number of cache lines of a row to prefetch; the hardware prefetcher does the rest.
const PREFETCHED: usize = 8;

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

/// `values·scale`, rounded to the nearest integer.
#[inline(always)]
fn round(values: &[f32], scale: f32, out: &mut [i16]) {
    // 1.5·2²³: f32 are integers there, and their low 16 bits are those of the rounded value.
    const WHOLE: f32 = 12_582_912.0;
    out.iter_mut().zip(values).for_each(|(out, v)| *out = (v * scale + WHOLE).to_bits() as i16);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// `‖x − Σ c‖²`, by vectors, in f64.
    fn plain_error(row: &[f32], books: &[f32], k: usize, code: &[u16]) -> f64 {
        let dim = row.len();
        let left = |j: usize| {
            let sum: f64 =
                code.iter().enumerate().map(|(i, &c)| f64::from(books[(i * k + usize::from(c)) * dim + j])).sum();
            f64::from(row[j]) - sum
        };
        (0..dim).map(|j| left(j).powi(2)).sum()
    }

    /// The beam search by vectors; the first of equals.
    fn plain_beam(row: &[f32], books: &[f32], m: usize, k: usize, beam: usize) -> Vec<u16> {
        let mut kept: Vec<Vec<u16>> = vec![Vec::new()];
        for _ in 0..m {
            let mut all: Vec<(f64, Vec<u16>)> = Vec::new();
            for code in &kept {
                for c in 0..k {
                    let code: Vec<u16> = code.iter().copied().chain([c as u16]).collect();
                    all.push((plain_error(row, books, k, &code), code));
                }
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            kept = all.into_iter().take(beam).map(|(_, code)| code).collect();
        }
        kept.swap_remove(0)
    }

    /// Codebooks of small integers with mean zero: all sums are exact, even after centring, and there are ties.
    fn whole_numbers(rng: &mut ChaCha8Rng, m: usize, k: usize, dim: usize) -> Vec<f32> {
        let mut books: Vec<f32> = (0..m * k * dim).map(|_| rng.random_range(-3i32..=3) as f32).collect();
        for book in books.chunks_exact_mut(k * dim) {
            for j in 0..dim {
                book[j] -= book.iter().skip(j).step_by(dim).sum::<f32>();
            }
        }
        books
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_beam_search_by_tables_is_the_one_by_vectors(
            m in 1usize..5, k in 1usize..150, dim in 1usize..9, beam in 1usize..7, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let books = whole_numbers(&mut rng, m, k, dim);
            let row: Vec<f32> = (0..dim).map(|_| rng.random_range(-5i32..=5) as f32).collect();
            let plain = plain_beam(&row, &books, m, k, beam);
            for (isa, whole) in Isa::available().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
                let tables = SumTables::new(isa, &books, m, dim, whole);
                let mut unary = vec![f32::NAN; tables.unary_len()];
                tables.unary(&mut row.clone(), &mut unary);
                let mut code = vec![u16::MAX; m];
                tables.beam(&unary, beam, &mut BeamScratch::default(), &mut code);
                prop_assert_eq!(&code, &plain, "{}", isa);
            }
        }

        #[test]
        fn the_descent_takes_the_best_symbol_each_time(
            m in 1usize..5, k in 1usize..300, dim in 1usize..6, sweeps in 0usize..4, seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let books = whole_numbers(&mut rng, m, k, dim);
            let row: Vec<f32> = (0..dim).map(|_| rng.random_range(-5i32..=5) as f32).collect();
            let start: Vec<u16> = (0..m).map(|_| rng.random_range(0..k) as u16).collect();
            let mut plain = start.clone();
            for _ in 0..sweeps {
                for i in 0..m {
                    let errors: Vec<f64> = (0..k)
                        .map(|c| {
                            plain[i] = c as u16;
                            plain_error(&row, &books, k, &plain)
                        })
                        .collect();
                    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
                    plain[i] = errors.iter().position(|&e| e == least).expect("there is one") as u16;
                }
            }
            let zero: f64 = row.iter().map(|&x| f64::from(x * x)).sum();
            for isa in Isa::available() {
                let tables = SumTables::new(isa, &books, m, dim, true);
                let mut unary = vec![f32::NAN; tables.unary_len()];
                tables.unary(&mut row.clone(), &mut unary);
                let mut code = start.clone();
                tables.descend(&unary, sweeps, &mut code);
                prop_assert_eq!(&code, &plain, "{}", isa);
                prop_assert_eq!(tables.error(&unary, &code) + zero, plain_error(&row, &books, k, &code));
                let mut short = Vec::new();
                if tables.shorten(&unary, &mut short) {
                    let mut quick = start.clone();
                    tables.descend_quickly(&short, sweeps, &mut quick);
                    prop_assert!(quick.iter().all(|&c| usize::from(c) < k));
                    if sweeps > 0 {
                        // The last symbol has just been chosen: it is the best but for what rounding can do.
                        let last = |c: usize| {
                            let code: Vec<u16> = quick[..m - 1].iter().copied().chain([c as u16]).collect();
                            plain_error(&row, &books, k, &code)
                        };
                        let least = (0..k).map(last).fold(f64::INFINITY, f64::min);
                        let gap = f64::from(tables.steps[m - 1]) * (m as f64 + 1.0);
                        prop_assert!(last(quick[m - 1].into()) <= least + gap, "{isa}");
                    }
                }
            }
        }

        #[test]
        fn the_least_few_are_those_of_a_sort(
            groups in 0usize..4, scores in prop::collection::vec(0u8..9, 1..90), count in 1usize..12
        ) {
            let group = scores.len();
            let count = count.min(group);
            let value = |s: u8| if s == 8 { f32::INFINITY } else { f32::from(s) };
            let mut sorted: Vec<(f32, u32)> = scores.iter().enumerate().map(|(i, &s)| (value(s), i as u32)).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let all: Vec<f32> = (0..groups).flat_map(|_| scores.iter().map(|&s| value(s))).collect();
            for isa in Isa::available() {
                let mut found = vec![(f32::NAN, u32::MAX); groups * count];
                least_few(isa, &all, group, count, &mut found);
                for found in found.chunks_exact(count) {
                    prop_assert_eq!(found, &sorted[..count]);
                }
            }
        }
    }

    /// At 10⁴ squares are 10⁸, whose f32 spacing is 8.
    #[test]
    fn data_far_from_zero_keeps_its_codes() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let near = whole_numbers(&mut rng, 3, 30, 5);
        let far: Vec<f32> = near.iter().map(|v| v + 1e4).collect();
        for isa in Isa::available() {
            let [a, b] = [(&near, 0.25), (&far, 3e4 + 0.25)].map(|(books, x)| {
                let tables = SumTables::new(isa, books, 3, 5, true);
                let mut unary = vec![0.0; tables.unary_len()];
                tables.unary(&mut [x; 5], &mut unary);
                let mut code = [0; 3];
                tables.beam(&unary, 4, &mut BeamScratch::default(), &mut code);
                tables.descend(&unary, 3, &mut code);
                plain_error(&[0.25; 5], &near, 30, &code)
            });
            assert!((a - b).abs() < 1e-3, "{isa}: {a} and {b}");
        }
    }

    /// Rows that overflow or hold NaN get some code and cause no panic.
    #[test]
    fn rows_beyond_all_numbers_get_a_code() {
        let books: Vec<f32> = (0..3 * 20 * 4).map(|i| i as f32).collect();
        for isa in Isa::available() {
            let tables = SumTables::new(isa, &books, 3, 4, true);
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                let mut unary = vec![0.0; tables.unary_len()];
                tables.unary(&mut [value; 4], &mut unary);
                let mut code = [9u16; 3];
                tables.beam(&unary, 5, &mut BeamScratch::default(), &mut code);
                assert!(code.iter().all(|&c| c < 20));
                tables.descend(&unary, 2, &mut code);
                assert!(code.iter().all(|&c| c < 20));
            }
        }
    }
}
