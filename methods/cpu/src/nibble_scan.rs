//! Search by tables of nibbles for several queries: sums of steps choose few codes, whose scores are then summed in f32.
//!
//! Sums of steps are compared as the whole numbers that they are. With `S_k` the `k`-th least sum of the codes until now, and
//! `r` the bound of all rounding errors,
//!
//! ```text
//! at least k codes have a score ≤ low + step·(S_k + m) + r,     so that none with S > S_k + m + 2·r/step is among the best
//! ```
//!
//! Some groups of codes are summed without asking which sums are within a limit: a processor that guesses this wrongly throws away the
//! sums of the next groups. Then the limit is lowered, by the least sums of slots that codes share, and what is within it is taken.

use crate::code_block::CodeBlock;
use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::table_kernels::{GROUP, TableKernels};
use crate::table_scan::{ScanTables, SteppedTables, SymbolWidth};
use crate::topk::{Neighbor, TopK, add_to_scores};
use std::cell::Cell;
use std::ops::Range;

mod least;
#[cfg(test)]
mod tests;

/// Codes that are summed in f32 at a time.
pub(crate) const AT_ONCE: usize = 16;

/// Groups that are summed at a time: their symbols stay in the second-level cache while queries pass over them one after the other, 330 KB of
/// 32 positions. Fewer in tests, so that there are many such blocks.
const GROUPS: usize = if cfg!(test) { 8 } else { 80 };

/// Lines of sums of a group.
pub(crate) const LINES: usize = GROUP / 32;

/// Sums of 32 rows, at most `u16::MAX`, in a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) [u16; 32]);

impl Line {
    const MOST: Line = Line([u16::MAX; 32]);

    #[inline(always)]
    fn lower_to(&mut self, other: &Line) {
        self.0.iter_mut().zip(&other.0).for_each(|(to, from)| *to = (*to).min(*from));
    }
}

/// Sums of some groups of rows.
#[derive(Clone, Debug)]
pub(crate) struct BlockSums {
    /// The sums of each group, in the order of [`TableKernels::row_of_sum`].
    pub(crate) sums: [[Line; LINES]; GROUPS],
    /// The least of the sums at the same place of the lines of a group.
    pub(crate) least: [Line; GROUPS],
}

/// Some of the groups of a block.
#[cfg(target_arch = "x86_64")]
#[derive(Default)]
pub(crate) struct GroupSet(u128);

#[cfg(target_arch = "x86_64")]
impl GroupSet {
    /// Puts a group in, or not.
    #[inline(always)]
    pub(crate) fn put(&mut self, group: usize, is_in: bool) {
        const { assert!(GROUPS <= 128, "a bit for each group") };
        self.0 |= u128::from(is_in) << group;
    }
}

#[cfg(target_arch = "x86_64")]
impl Iterator for GroupSet {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let group = (self.0 != 0).then_some(self.0.trailing_zeros() as usize);
        self.0 &= self.0.wrapping_sub(1);
        group
    }
}

/// The least sums of the rows that share a slot; every group fills the slots of a line.
pub(crate) type Slots = [Line; LINES];

impl BlockSums {
    fn new() -> BlockSums {
        BlockSums { sums: [[Line::MOST; LINES]; GROUPS], least: [Line::MOST; GROUPS] }
    }

    /// Sets the least sums of a group.
    #[inline(always)]
    pub(crate) fn set_least(&mut self, group: usize) {
        let mut least = Line::MOST;
        self.sums[group].iter().for_each(|line| least.lower_to(line));
        self.least[group] = least;
    }
}

/// The row of a group whose sum has this place, where sums lie as rows do.
pub(crate) fn row_itself(place: usize) -> usize {
    place
}

/// The same where the sums of the even of each 64 rows are a line, and those of the odd ones the next.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn row_of_halves(place: usize) -> usize {
    let (line, at) = (place / 32, place % 32);
    64 * (line / 2) + 2 * at + line % 2
}

/// A code, and its sum of steps or `u16::MAX`, if it is greater.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) sum: u16,
    pub(crate) id: u32,
}

thread_local! {
    /// The sums of [`Scratch`], kept from one search to the next: to fill them with anything takes as long as to search thousands of codes.
    static SUMS: Cell<Option<Box<[BlockSums; 3]>>> = const { Cell::new(None) };
}

/// What searches write to by turns.
struct Scratch {
    /// Of two queries, and of a group that is not full.
    sums: Box<[BlockSums; 3]>,
    /// Places of the last group, if it is not full, that hold no code.
    absent: Vec<usize>,
}

impl Scratch {
    fn new(block: &CodeBlock) -> Scratch {
        let (row_of_sum, present) = (TableKernels::of(block.isa()).nibbles.row_of_sum, block.len() % GROUP);
        let absent = (0..GROUP).filter(|at| row_of_sum(*at) >= present).collect();
        let sums = SUMS.take().unwrap_or_else(|| Box::new([BlockSums::new(), BlockSums::new(), BlockSums::new()]));
        Scratch { sums, absent }
    }

    /// Leaves the sums to the next search of the thread.
    fn keep(self) {
        SUMS.set(Some(self.sums));
    }
}

/// The search of one query.
struct NibbleSearch<'a> {
    tables: SteppedTables<'a>,
    k: usize,
    /// What is added to the `k`-th least sum.
    margin: u32,
    slots: Slots,
    /// A sum that at least `k` of the slots do not exceed, or the largest.
    kth: u16,
    /// No code with a higher sum is among the best.
    highest: u32,
    hits: Vec<Hit>,
    /// The best of the codes that had to make room, by their scores; only if there were too many.
    best: Option<TopK>,
}

/// The codes of a block as they were before they were laid out, of `size` bytes.
#[derive(Clone, Copy)]
struct Plain<'a> {
    codes: &'a [u8],
    size: usize,
}

impl CodeBlock {
    /// The `k` codes with the smallest scores for each of several queries, nearest first, ties by number. `codes` are those that the
    /// block was filled with, symbols alone. None if symbols are no nibbles, codes have factors, or the processor has no kernel for it.
    ///
    /// # Panics
    /// If tables or codes have another shape.
    pub fn top_k_of_nibbles(&self, codes: &[u8], tables: &[ScanTables], k: usize) -> Option<Vec<Vec<Neighbor>>> {
        let has_kernel = TableKernels::of(self.isa()).nibbles.block.is_some();
        if self.width() != SymbolWidth::Nibble || self.has_factors() || k == 0 || !has_kernel {
            return None;
        }
        let size = self.width().bytes(self.positions());
        assert_eq!(codes.len(), self.len() * size, "the codes of the block");
        let codes = Plain { codes, size };
        let mut searches: Vec<NibbleSearch<'_>> = tables.iter().map(|of| NibbleSearch::new(self.step(of), k)).collect();
        let mut sums = Scratch::new(self);
        let groups = self.len().div_ceil(GROUP);
        for from in (0..groups).step_by(GROUPS) {
            for pair in searches.chunks_mut(2) {
                self.pass(from..groups.min(from + GROUPS), pair, &mut sums, codes);
            }
        }
        sums.keep();
        let mut scored = Vec::new();
        Some(searches.into_iter().map(|search| search.finish(self.isa(), codes, &mut scored)).collect())
    }

    /// Scans at most [`GROUPS`] groups for one or two queries.
    fn pass(&self, groups: Range<usize>, pair: &mut [NibbleSearch<'_>], scratch: &mut Scratch, codes: Plain<'_>) {
        let [of_a, of_b, last] = &mut *scratch.sums;
        let mut sums = [of_a, of_b];
        // Rows that are no codes count for no limit.
        let whole = groups.start..groups.end.min(self.len() / GROUP);
        match pair {
            [a, b] => {
                let (steps, slots) = ([a.tables.steps(), b.tables.steps()], [&mut a.slots, &mut b.slots]);
                self.sum_pair(whole.clone(), steps, sums.each_mut().map(|sums| &mut **sums), slots);
            }
            _ => pair.iter_mut().zip(&mut sums).for_each(|(search, sums)| {
                self.sum_one(whole.clone(), search.tables.steps(), sums, &mut search.slots);
            }),
        }
        for (search, sums) in pair.iter_mut().zip(sums) {
            if whole.end < groups.end {
                self.sum_one(whole.end..groups.end, search.tables.steps(), last, &mut [Line::MOST; LINES]);
                scratch.absent.iter().for_each(|at| last.sums[0][at / 32].0[at % 32] = u16::MAX);
                last.set_least(0);
                (sums.sums[whole.len()], sums.least[whole.len()]) = (last.sums[0], last.least[0]);
            }
            search.take(self, groups.clone(), sums);
            search.make_room(self.isa(), codes);
        }
    }

    /// Sums groups for two queries.
    fn sum_pair(&self, groups: Range<usize>, steps: [&[u8]; 2], to: [&mut BlockSums; 2], slots: [&mut Slots; 2]) {
        if let Some(kernel) = TableKernels::of(self.isa()).nibbles.block_pair {
            // SAFETY: the kernel is that of the block's `Isa`, which exists only for a set that the processor has.
            unsafe { kernel(self.symbols_of_groups(groups), steps, to, slots) };
        } else {
            for ((steps, to), slots) in steps.into_iter().zip(to).zip(slots) {
                self.sum_one(groups.clone(), steps, to, slots);
            }
        }
    }

    /// Sums groups for one query.
    fn sum_one(&self, groups: Range<usize>, steps: &[u8], to: &mut BlockSums, slots: &mut Slots) {
        let kernels = TableKernels::of(self.isa());
        if let Some(kernel) = kernels.nibbles.block {
            // SAFETY: as above.
            unsafe { kernel(self.symbols_of_groups(groups), [steps], [to], [slots]) };
        } else if let Some(kernel) = kernels.nibble_sums {
            let mut sums = [0; GROUP];
            for (at, group) in groups.enumerate() {
                // SAFETY: as above.
                unsafe { kernel(self.symbols_of(group), steps, u32::MAX, &mut sums) };
                for (line, sums) in to.sums[at].iter_mut().zip(sums.as_chunks::<32>().0) {
                    line.0.iter_mut().zip(sums).for_each(|(to, sum)| *to = (*sum).min(u32::from(u16::MAX)) as u16);
                }
                to.set_least(at);
                slots[at % LINES].lower_to(&to.least[at]);
            }
        }
    }
}

impl<'a> NibbleSearch<'a> {
    fn new(tables: SteppedTables<'a>, k: usize) -> NibbleSearch<'a> {
        let margin = tables.margin_of_sums();
        let hits = Vec::with_capacity(if k <= SLOTTED { 64 } else { 0 });
        NibbleSearch {
            tables,
            k,
            margin,
            slots: [Line::MOST; LINES],
            kth: u16::MAX,
            highest: u32::MAX,
            hits,
            best: None,
        }
    }

    /// Takes the codes of a block that are within the limit, once it is lowered by all codes until now.
    fn take(&mut self, block: &CodeBlock, groups: Range<usize>, sums: &BlockSums) {
        if self.k <= SLOTTED {
            self.kth = kth_of_slots(block.isa(), &self.slots, self.k, self.kth);
            self.lower_to(self.kth);
        }
        let highest = self.highest.min(u32::from(u16::MAX)) as u16;
        let kernels = TableKernels::of(block.isa());
        let first_id = (groups.start * GROUP) as u32;
        // SAFETY: the kernel is that of the block's `Isa`, which exists only for a set that the processor has.
        unsafe { (kernels.nibbles.take_within)(sums, groups.len(), highest, first_id, &mut self.hits) };
        if highest == u16::MAX {
            // Rows that are no codes have the largest sum.
            self.hits.retain(|hit| (hit.id as usize) < block.len());
        }
        if self.k > SLOTTED && self.hits.len() > self.k.saturating_mul(2) {
            let (_, kth, _) = self.hits.select_nth_unstable_by_key(self.k - 1, |hit| hit.sum);
            let kth = kth.sum;
            self.lower_to(kth);
            self.hits.retain(|hit| u32::from(hit.sum) <= self.highest);
        }
    }

    /// Lowers the limit: at least `k` codes have no higher sum.
    fn lower_to(&mut self, sum: u16) {
        // The largest may stand for any larger.
        if sum < u16::MAX {
            self.highest = self.highest.min(u32::from(sum).saturating_add(self.margin));
        }
    }

    /// If far more than `k` codes are within the limit, because many scores are equal or steps are coarse, those until now are replaced by the
    /// best of them.
    fn make_room(&mut self, isa: Isa, codes: Plain<'_>) {
        if self.hits.len() <= self.k.saturating_mul(16).saturating_add(1024) {
            return;
        }
        self.keep_within();
        if self.hits.len() > self.k.saturating_mul(8).saturating_add(512) {
            let best = self.best.get_or_insert_with(|| TopK::new(self.k));
            score(isa, self.tables.tables(), codes, &self.hits, |n| best.push(n.score, n.id));
            // A later code of the same score as the worst may have a lower number.
            self.highest = self.highest.min(self.tables.highest_plain_sum(best.bound()));
            self.hits.clear();
        }
    }

    /// Leaves out what is above the limit.
    fn keep_within(&mut self) {
        let highest = self.highest;
        self.hits.retain(|hit| u32::from(hit.sum) <= highest);
    }

    /// The best codes; `found` is room.
    fn finish(mut self, isa: Isa, codes: Plain<'_>, found: &mut Vec<Neighbor>) -> Vec<Neighbor> {
        self.keep_within();
        found.clear();
        score(isa, self.tables.tables(), codes, &self.hits, |n| found.push(n));
        if let Some(mut best) = self.best {
            found.extend(best.drain_sorted());
        }
        let mut found = least::least_of(isa, found, self.k);
        add_to_scores(self.tables.constant(), &mut found);
        found
    }
}

/// The largest `k` whose limit the slots give.
const SLOTTED: usize = GROUP / 4;

/// A sum that at least `k` slots do not exceed, and few more. At least `k` are at most `most`.
fn kth_of_slots(isa: Isa, slots: &Slots, k: usize, most: u16) -> u16 {
    if let Some(kernel) = TableKernels::of(isa).nibbles.kth_of_slots {
        // SAFETY: an `Isa` exists only for a set that the processor has.
        return unsafe { kernel(slots, k, most) };
    }
    let mut found = u16::MAX;
    dispatch(isa, KthSlot { slots, k, most, found: &mut found });
    found
}

struct KthSlot<'a> {
    slots: &'a Slots,
    k: usize,
    most: u16,
    found: &'a mut u16,
}

impl Kernel for KthSlot<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let KthSlot { slots, k, most, found } = self;
        let mut least = slots[0];
        slots[1..].iter().for_each(|line| least.lower_to(line));
        let (mut from, mut to) = (u16::MAX, most);
        for sum in least.0 {
            from = from.min(sum);
        }
        // Fewer than `k` are below `from`, and at least `k` are at most `to`.
        while from < to {
            let middle = from + (to - from) / 2;
            let mut counts = [0u16; 32];
            for line in slots {
                for (count, sum) in counts.iter_mut().zip(&line.0) {
                    *count += u16::from(*sum <= middle);
                }
            }
            let count = usize::from(counts.iter().sum::<u16>());
            if count < k {
                from = middle + 1;
            } else {
                to = middle;
                if count <= k + k / 4 {
                    break;
                }
            }
        }
        *found = to;
    }
}

/// Adds the codes of some groups whose sum is at most the highest, in order of groups.
pub(crate) fn take_within(sums: &BlockSums, groups: usize, highest: u16, first_id: u32, hits: &mut Vec<Hit>) {
    for (group, (least, lines)) in sums.least.iter().zip(&sums.sums).take(groups).enumerate() {
        if !least.0.iter().fold(false, |any, sum| any | (*sum <= highest)) {
            continue;
        }
        let first_id = first_id + (group * GROUP) as u32;
        for (place, sum) in lines.iter().flat_map(|line| line.0).enumerate() {
            if sum <= highest {
                hits.push(Hit { sum, id: first_id + place as u32 });
            }
        }
    }
}

/// Four bytes of each code, those of the given number, with zeros behind the last byte.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn words_of(codes: &[&[u8]; AT_ONCE], word: usize) -> [u32; AT_ONCE] {
    codes.map(|code| match code[4 * word..].first_chunk::<4>() {
        Some(bytes) => u32::from_le_bytes(*bytes),
        None => code[4 * word..].iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)),
    })
}

/// The scores of some codes without the constant, as [`ScanTables::sum`] computes them; NaN is no neighbour.
fn score(isa: Isa, tables: &ScanTables, codes: Plain<'_>, hits: &[Hit], mut take: impl FnMut(Neighbor)) {
    let mut take = |score: f32, id: u32| {
        if !score.is_nan() {
            take(Neighbor { score, id });
        }
    };
    let Some(sums_of) = TableKernels::of(isa).nibbles.sums_of_codes else {
        let code = |id: u32| &codes.codes[id as usize * codes.size..][..codes.size];
        hits.iter().for_each(|hit| take(tables.sum(code(hit.id)), hit.id));
        return;
    };
    for hits in hits.chunks(AT_ONCE) {
        let (mut ids, mut sums) = ([hits[0].id; AT_ONCE], [0f32; AT_ONCE]);
        ids.iter_mut().zip(hits).for_each(|(id, hit)| *id = hit.id);
        // SAFETY: an `Isa` exists only for a set that the processor has.
        unsafe { sums_of(tables.entries(), codes.codes, codes.size, &ids, &mut sums) };
        sums.iter().zip(hits).for_each(|(sum, hit)| take(*sum, hit.id));
    }
}
