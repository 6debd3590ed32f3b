//! Codes laid out for the scan by tables of bytes, and the scan itself.

use crate::aligned::AlignedBytes;
use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::shortlist::Shortlist;
use crate::table_kernels::{GROUP, GroupSums, NibbleLayout, QUAD, Sums, TableKernels, chain};
use crate::table_scan::{Bounds, ROUNDED_OFF, ScanTables, SteppedTables, SymbolWidth, rounded_off};

#[cfg(test)]
mod tests;

/// Maximum number of byte positions: sums of values up to 255 stay below 2^16.
const MAX_BYTES: usize = 257;

/// Groups whose sums are all kept when a list is still empty, to begin with a limit.
const FIRST_GROUPS: usize = 4;

/// Codes, rearranged for the scan.
#[derive(Clone, Debug)]
pub struct CodeBlock {
    isa: Isa,
    width: SymbolWidth,
    positions: usize,
    rows: usize,
    /// Groups of [`GROUP`] rows, bytes in columns, nibbles as [`NibbleLayout`] says.
    symbols: AlignedBytes,
    /// `offset` and `slope` of each row; empty when they are 0 and 1.
    offsets: Vec<f32>,
    slopes: Vec<f32>,
}

impl CodeBlock {
    /// An empty block for codes of this many symbols; None if the processor or the code does not support this scan.
    pub fn new(isa: Isa, width: SymbolWidth, positions: usize) -> Option<CodeBlock> {
        let suits = match width {
            SymbolWidth::Nibble => true,
            SymbolWidth::Byte => positions <= MAX_BYTES,
        };
        kernel(isa, width)?;
        let empty = CodeBlock {
            isa,
            width,
            positions,
            rows: 0,
            symbols: AlignedBytes::default(),
            offsets: Vec::new(),
            slopes: Vec::new(),
        };
        (suits && positions > 0).then_some(empty)
    }

    /// Replaces the codes of the block by these, of `size` bytes, whose symbols begin after `skip` bytes, with an offset and a slope for
    /// each, or none.
    ///
    /// # Panics
    /// When lengths do not fit together.
    pub fn fill(&mut self, codes: &[u8], size: usize, skip: usize, factors: &[[f32; 2]]) {
        let bytes = self.width.bytes(self.positions);
        assert!(codes.len().is_multiple_of(size) && skip + bytes <= size, "whole codes with their symbols");
        self.rows = codes.len() / size;
        assert!(factors.is_empty() || factors.len() == self.rows, "factors for every row or for none");
        self.offsets = factors.iter().map(|f| f[0]).collect();
        self.slopes = factors.iter().map(|f| f[1]).collect();
        if !factors.is_empty() {
            let padded = self.rows.next_multiple_of(GROUP);
            self.offsets.resize(padded, 0.0);
            self.slopes.resize(padded, 0.0);
        }
        let bytes_laid_out = self.rows.next_multiple_of(GROUP) * self.row_bytes();
        if self.symbols.len() == bytes_laid_out {
            self.symbols.fill(0);
        } else {
            self.symbols = AlignedBytes::zeros(bytes_laid_out);
        }
        let (layout, group) = (self.layout(), GROUP * self.row_bytes());
        let groups = self.symbols.chunks_exact_mut(group).zip(codes.chunks(GROUP * size));
        for (symbols, codes) in groups {
            for (r, code) in codes.chunks_exact(size).enumerate() {
                let code = &code[skip..skip + bytes];
                match layout {
                    NibbleLayout::Quads => {
                        let quads = symbols.as_chunks_mut::<QUAD>().0.iter_mut().skip(r).step_by(GROUP);
                        let (pairs, last) = code.as_chunks::<2>();
                        let pairs = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
                        let pairs = pairs.chain(last.first().map(|byte| u16::from(*byte)));
                        quads.zip(pairs).for_each(|(quad, pair)| *quad = spread(pair).to_le_bytes());
                    }
                    NibbleLayout::Columns => {
                        let pairs = symbols.chunks_exact_mut(2 * GROUP);
                        pairs.zip(code).for_each(|(pair, byte)| {
                            pair[r] = byte & 15;
                            pair[GROUP + r] = byte >> 4;
                        });
                    }
                    NibbleLayout::Pairs => {
                        symbols.iter_mut().skip(r).step_by(GROUP).zip(code).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }

    /// How symbols lie; those of bytes as pairs of nibbles do.
    fn layout(&self) -> NibbleLayout {
        match self.width {
            SymbolWidth::Nibble => TableKernels::of(self.isa).layout,
            SymbolWidth::Byte => NibbleLayout::Pairs,
        }
    }

    fn row_bytes(&self) -> usize {
        match self.layout() {
            NibbleLayout::Pairs => self.width.bytes(self.positions),
            NibbleLayout::Quads | NibbleLayout::Columns => self.positions.next_multiple_of(QUAD),
        }
    }

    /// Number of codes.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.symbols.len() + size_of_val(&self.offsets[..]) + size_of_val(&self.slopes[..])
    }

    /// Bytes of the symbols of a code as they are laid out.
    pub fn bytes_per_code(&self) -> usize {
        self.row_bytes()
    }

    /// The tables of a query rounded to whole steps, for [`CodeBlock::scan`].
    ///
    /// # Panics
    /// If the tables have another shape.
    pub fn step<'t>(&self, tables: &'t ScanTables) -> SteppedTables<'t> {
        assert!(self.suits(tables), "tables for these codes");
        let kernels = TableKernels::of(self.isa);
        let mut stepped = SteppedTables::new(self.isa, tables, kernels.levels(self.width));
        if kernels.chained && self.width == SymbolWidth::Byte {
            stepped.arrange(chain);
        }
        stepped
    }

    /// Offers the codes `from..to` that may be among the best of a query to its list, with their index plus `first_id`. `from` is a
    /// multiple of [`CodeBlock::GROUP`], and so is `to` unless it is the number of codes.
    ///
    /// # Panics
    /// If the range is no such range.
    pub fn scan(&self, tables: &SteppedTables<'_>, codes: std::ops::Range<usize>, first_id: u32, list: &mut Shortlist) {
        assert!(codes.start.is_multiple_of(GROUP) && codes.end <= self.rows, "codes of the block");
        assert!(codes.end.is_multiple_of(GROUP) || codes.end == self.rows, "whole groups");
        let Some(kernel) = kernel(self.isa, self.width).filter(|_| list.limit() != f32::NEG_INFINITY) else { return };
        let mut scan = Scan { block: self, kernel, tables, first_id, list };
        let groups = codes.start / GROUP..codes.end.div_ceil(GROUP);
        let begin = if scan.list.is_empty() && groups.len() >= FIRST_GROUPS { FIRST_GROUPS } else { 0 };
        if begin > 0 {
            scan.first(groups.start);
        }
        let groups = groups.start + begin..groups.end;
        if self.slopes.is_empty() { scan.groups(groups) } else { scan.groups_with_factors(groups) }
    }

    /// Number of codes that are scanned side by side.
    pub const GROUP: usize = GROUP;

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn positions(&self) -> usize {
        self.positions
    }

    pub(crate) fn width(&self) -> SymbolWidth {
        self.width
    }

    pub(crate) fn has_factors(&self) -> bool {
        !self.slopes.is_empty()
    }

    /// The symbols of some groups.
    pub(crate) fn symbols_of_groups(&self, groups: std::ops::Range<usize>) -> &[u8] {
        let bytes = GROUP * self.row_bytes();
        &self.symbols[groups.start * bytes..groups.end * bytes]
    }

    /// Whether tables have the shape of the codes.
    pub(crate) fn suits(&self, tables: &ScanTables) -> bool {
        tables.width() == self.width && tables.positions() == self.positions
    }

    /// Whether symbols are bytes, and rows have no factors.
    pub(crate) fn holds_plain_bytes(&self) -> bool {
        self.width == SymbolWidth::Byte && self.slopes.is_empty()
    }

    /// The symbols of a group, bytes in columns.
    pub(crate) fn symbols_of(&self, group: usize) -> &[u8] {
        let bytes = GROUP * self.row_bytes();
        &self.symbols[group * bytes..][..bytes]
    }

    fn factors_of(&self, group: usize) -> Option<Factors<'_>> {
        let rows = group * GROUP..(group + 1) * GROUP;
        let offsets = self.offsets.get(rows.clone())?.as_chunks().0.first()?;
        let slopes = self.slopes.get(rows)?.as_chunks().0.first()?;
        Some(Factors { offsets, slopes })
    }

    /// One bit per row of a group that is a code and no padding.
    pub(crate) fn present(&self, group: usize) -> u128 {
        u128::MAX >> (GROUP - GROUP.min(self.rows - group * GROUP))
    }
}

fn kernel(isa: Isa, width: SymbolWidth) -> Option<GroupSums> {
    let kernels = TableKernels::of(isa);
    match width {
        SymbolWidth::Nibble => kernels.nibble_sums,
        SymbolWidth::Byte => kernels.byte_sums,
    }
}

/// The four nibbles of two bytes as bytes, each with the place of its table in four times sixteen entries.
fn spread(pair: u16) -> u32 {
    let wide = u32::from(pair);
    let bytes = (wide | wide << 8) & 0x00ff_00ff;
    let nibbles = (bytes | bytes << 4) & 0x0f0f_0f0f;
    nibbles | 0x3020_1000
}

/// The scan of one query.
struct Scan<'a, 't> {
    block: &'a CodeBlock,
    kernel: GroupSums,
    tables: &'a SteppedTables<'t>,
    first_id: u32,
    list: &'a mut Shortlist,
}

impl Scan<'_, '_> {
    fn sums(&self, group: usize, highest: u32, sums: &mut Sums) -> u128 {
        // SAFETY: the kernel is that of the block's `Isa`, which exists only for a set that the processor has.
        unsafe { (self.kernel)(self.block.symbols_of(group), self.tables.steps(), highest, sums) }
    }

    /// The first groups of an empty list: the k-th least upper bound of their rows is a limit. Rows at the same place of these groups
    /// share a slot, whose least bound stands for it, if there are many more slots than `k`.
    fn first(&mut self, group: usize) {
        let mut sums = [[0u32; GROUP]; FIRST_GROUPS];
        let mut highs = [[0f32; GROUP]; FIRST_GROUPS];
        let bounds = self.tables.bounds(f32::INFINITY);
        for (g, (sums, highs)) in sums.iter_mut().zip(&mut highs).enumerate() {
            self.sums(group + g, u32::MAX, sums);
            let factors = self.block.factors_of(group + g);
            dispatch(self.block.isa, Highs { sums, factors, bounds: &bounds, highs });
            let codes = self.block.present(group + g).count_ones() as usize;
            highs[codes..].fill(f32::INFINITY);
        }
        let k = self.list.k();
        let highs = highs.as_flattened_mut();
        let highs = if k <= GROUP / 4 {
            let (slots, rest) = highs.split_at_mut(GROUP);
            for highs in rest.chunks_exact(GROUP) {
                slots.iter_mut().zip(highs).for_each(|(slot, high)| *slot = if high < slot { *high } else { *slot });
            }
            slots
        } else {
            highs
        };
        if k <= highs.len() / 2 {
            let (_, limit, _) = highs.select_nth_unstable_by(k - 1, f32::total_cmp);
            self.list.lower_to(*limit + self.tables.constant());
        }
        for (g, sums) in sums.iter().enumerate() {
            self.offer(group + g, self.near(group + g, sums), sums);
        }
    }

    /// Groups without factors.
    fn groups(&mut self, groups: std::ops::Range<usize>) {
        let mut sums = [0; GROUP];
        let mut highest = self.tables.highest_sum(self.list.limit());
        for group in groups {
            let within = self.sums(group, highest, &mut sums);
            if within != 0 {
                self.offer(group, within, &sums);
                highest = self.tables.highest_sum(self.list.limit());
            }
        }
    }

    /// Groups with factors.
    fn groups_with_factors(&mut self, groups: std::ops::Range<usize>) {
        let mut sums = [0; GROUP];
        for group in groups {
            self.sums(group, u32::MAX, &mut sums);
            self.offer(group, self.near(group, &sums), &sums);
        }
    }

    /// One bit per row: whether its lower bound is at most the limit.
    fn near(&self, group: usize, sums: &Sums) -> u128 {
        let (mut near, factors) = (0, self.block.factors_of(group));
        let bounds = &self.tables.bounds(self.list.limit());
        dispatch(self.block.isa, AtMost { sums, factors, bounds, near: &mut near });
        near
    }

    /// Offers the rows `within`.
    fn offer(&mut self, group: usize, mut within: u128, sums: &Sums) {
        within &= self.block.present(group);
        if within == 0 {
            return;
        }
        let (bounds, factors) = (self.tables.bounds(self.list.limit()), self.block.factors_of(group));
        while within != 0 {
            let r = within.trailing_zeros() as usize;
            within &= within - 1;
            let sum = bounds.middle + bounds.step * sums[r] as f32;
            let (offset, slope) = factors.map_or((0.0, 1.0), |f| (f.offsets[r], f.slopes[r]));
            let margin = slope.abs() * bounds.margin + (bounds.rounding + rounded_off(offset));
            let id = self.first_id + (group * GROUP + r) as u32;
            self.list.offer(self.tables.constant() + (offset + slope * sum), margin, id);
        }
    }
}

/// Offsets and slopes of a group of rows.
#[derive(Clone, Copy)]
struct Factors<'a> {
    offsets: &'a [f32; GROUP],
    slopes: &'a [f32; GROUP],
}

/// Score without the constant of the query, and the bound on its error, of `L::N` rows from row `at` on.
#[inline(always)]
fn scores<L: Lanes>(sums: &Sums, factors: Option<Factors<'_>>, bounds: &Bounds, at: usize) -> (L, L) {
    let mut values = [0f32; 16];
    // Sums stay below 2^31, and signed numbers convert in one instruction.
    values.iter_mut().zip(&sums[at..at + L::N]).for_each(|(value, sum)| *value = sum.cast_signed() as f32);
    let sum = L::load(&values).mul_add(L::splat(bounds.step), L::splat(bounds.middle));
    match factors {
        None => (sum, L::splat(bounds.margin + bounds.rounding)),
        Some(factors) => {
            let (offset, slope) = (L::load(&factors.offsets[at..]), L::load(&factors.slopes[at..]));
            let size = |value: L| value.max(L::splat(0.0).sub(value));
            let rounding = size(offset).mul_add(L::splat(ROUNDED_OFF), L::splat(bounds.rounding));
            (slope.mul_add(sum, offset), size(slope).mul_add(L::splat(bounds.margin), rounding))
        }
    }
}

/// One bit per row: whether its lower bound is at most the limit, or NaN.
struct AtMost<'a> {
    sums: &'a Sums,
    factors: Option<Factors<'a>>,
    bounds: &'a Bounds,
    near: &'a mut u128,
}

impl Kernel for AtMost<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut near = 0u128;
        for at in (0..GROUP).step_by(L::N) {
            let (score, margin) = scores::<L>(self.sums, self.factors, self.bounds, at);
            let above = L::splat(self.bounds.limit).below(score.sub(margin));
            near |= u128::from(!above & ((1 << L::N) - 1)) << at;
        }
        *self.near = near;
    }
}

/// Upper bounds; infinity where one is NaN, since such a score is unknown.
struct Highs<'a> {
    sums: &'a Sums,
    factors: Option<Factors<'a>>,
    bounds: &'a Bounds,
    highs: &'a mut [f32; GROUP],
}

impl Kernel for Highs<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for at in (0..GROUP).step_by(L::N) {
            let (score, margin) = scores::<L>(self.sums, self.factors, self.bounds, at);
            score.add(margin).min(L::splat(f32::INFINITY)).store(&mut self.highs[at..]);
        }
    }
}
