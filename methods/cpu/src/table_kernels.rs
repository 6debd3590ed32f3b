//! What each instruction set brings to the search by tables of bytes, chosen in one place, and the plain reference of it.

use crate::isa::{Isa, Set};
use crate::nibble_scan::{self, AT_ONCE, BlockSums, Hit, Slots};
use crate::table_scan::{SteppedTables, SymbolWidth};
#[cfg(target_arch = "aarch64")]
use crate::table_scan_neon as neon;
#[cfg(target_arch = "x86_64")]
use crate::{
    nibble_scan_avx2, nibble_scan_avx512, table_scan_avx2 as avx2, table_scan_avx512 as avx512,
    table_scan_bytes_avx2 as bytes_avx2, table_scan_bytes_avx512 as bytes_avx512, table_scan_vbmi as vbmi,
};

/// Rows whose sums are computed by one call of a kernel, whatever the width of its registers.
pub(crate) const GROUP: usize = 128;

/// Nibbles of a row side by side in [`NibbleLayout::Quads`]: four tables of 16 entries fill 64 bytes.
pub(crate) const QUAD: usize = 4;

/// The symbols of a group at four positions in [`NibbleLayout::Columns`].
#[cfg(target_arch = "x86_64")]
pub(crate) type QuadColumns = [[u8; GROUP]; QUAD];

/// The steps of four tables of 16.
#[cfg(target_arch = "x86_64")]
pub(crate) type QuadTables = [[u8; 16]; QUAD];

/// One sum of steps per row of a group.
pub(crate) type Sums = [u32; GROUP];

/// Adds up the steps that the symbols of a group of rows select. Returns one bit per row: whether its sum is at most `highest`. If no
/// bit is set, the sums need not be written. Padding rows give any sum.
///
/// Arguments are symbols, steps, `highest` and sums. Symbols are `GROUP` rows in the layout of the kernel; steps are those of the
/// tables, one table after the other, padded with tables of zeros to a multiple of [`QUAD`].
///
/// Unsafe to call unless the processor has the instruction set of the kernel.
pub(crate) type GroupSums = unsafe fn(&[u8], &[u8], u32, &mut Sums) -> u128;

/// Adds up the steps of two queries, which are the halves of bytes, and returns for each of them one bit per row: whether its sum is at
/// most the highest. Arguments are symbols in columns of [`GROUP`], steps (as [`chain`] makes them if the kernels are chained), and the
/// highest sums.
///
/// Unsafe to call unless the processor has the instruction set of the kernel.
pub(crate) type PairSums = unsafe fn(&[u8], &[u8], [u32; 2]) -> [u128; 2];

/// Sums groups of nibbles for `Q` queries at once, and lowers the slots of each to the sums. Arguments are the symbols of the groups, and of each
/// query its steps, the sums that are written, and its slots.
///
/// Unsafe to call unless the processor has the instruction set of the kernel.
pub(crate) type NibbleBlocks<const Q: usize> = unsafe fn(&[u8], [&[u8]; Q], [&mut BlockSums; Q], [&mut Slots; Q]);

/// Rounds tables of nibbles to steps, as [`SteppedTables::new`] does.
///
/// Unsafe to call unless the processor has the instruction set of the kernel.
pub(crate) type RoundNibbles = unsafe fn(&mut SteppedTables<'_>, Levels);

/// Adds the codes of some groups whose sum is at most the highest. Arguments are sums, the number of groups, the highest, the number of the first code, and where they are added.
///
/// Unsafe to call unless the processor has the instruction set of the kernel.
pub(crate) type TakeWithin = unsafe fn(&BlockSums, usize, u16, u32, &mut Vec<Hit>);

/// A sum that at least `k` slots do not exceed, and few more. At least `k` are at most the last argument.
///
/// Unsafe to call unless the processor has the instruction set of the kernel.
pub(crate) type KthOfSlots = unsafe fn(&Slots, usize, u16) -> u16;

/// Sums of codes of nibbles in f32, each as [`ScanTables::sum`](crate::ScanTables::sum) computes it. Arguments are the entries of the tables,
/// all codes, their size in bytes, and the numbers of the codes that are wanted.
///
/// Unsafe to call unless the processor has the instruction set of the kernel.
pub(crate) type SumsOfCodes = unsafe fn(&[f32], &[u8], usize, &[u32; AT_ONCE], &mut [f32; AT_ONCE]);

/// How large the steps of tables are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels {
    /// The most that the steps of a code add up to in so many tables.
    pub(crate) most: u8,
    /// Tables one after the other: 1, or [`QUAD`]. A kernel may add the steps of more of them in a byte, if they fit.
    pub(crate) tables: usize,
}

/// How the nibbles of a group of rows lie in memory. Bytes lie in columns: the first byte of each row, then the second of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "no processor has all of them")]
pub(crate) enum NibbleLayout {
    /// The bytes of codes, two nibbles each, in columns as bytes are.
    Pairs,
    /// A byte for each nibble, in columns as bytes are.
    Columns,
    /// Per four positions, each row's four nibbles in as many bytes, 16 apart from table to table.
    Quads,
}

/// The parts of the search by tables of nibbles for several queries.
#[derive(Clone, Copy)]
pub(crate) struct NibbleKernels {
    /// None: as tables of any width.
    pub(crate) round: Option<RoundNibbles>,
    /// None: the set searches otherwise, and has the plain reference of the other parts, which tests compare with a full sort.
    pub(crate) block: Option<NibbleBlocks<1>>,
    pub(crate) block_pair: Option<NibbleBlocks<2>>,
    /// The row of a group whose sum has a place in [`BlockSums`].
    pub(crate) row_of_sum: fn(usize) -> usize,
    pub(crate) take_within: TakeWithin,
    pub(crate) kth_of_slots: Option<KthOfSlots>,
    pub(crate) sums_of_codes: Option<SumsOfCodes>,
}

/// Plain loops.
const PLAIN_NIBBLES: NibbleKernels = NibbleKernels {
    round: None,
    block: None,
    block_pair: None,
    row_of_sum: nibble_scan::row_itself,
    take_within: nibble_scan::take_within,
    kth_of_slots: None,
    sums_of_codes: None,
};

/// The kernels of an instruction set; a width of symbols without a kernel is not scanned in blocks.
pub(crate) struct TableKernels {
    pub(crate) layout: NibbleLayout,
    pub(crate) nibble_levels: Levels,
    pub(crate) nibble_sums: Option<GroupSums>,
    pub(crate) nibbles: NibbleKernels,
    pub(crate) byte_levels: Levels,
    pub(crate) byte_sums: Option<GroupSums>,
    /// Whether tables of bytes are given to the kernels as [`chain`] makes them.
    pub(crate) chained: bool,
    pub(crate) pair_sums: Option<PairSums>,
}

/// The plain reference, for processors without a kernel; not offered for scans, which are faster in f32 then.
static PORTABLE: TableKernels = TableKernels {
    layout: NibbleLayout::Pairs,
    nibble_levels: Levels { most: 127, tables: 1 },
    nibble_sums: None,
    nibbles: PLAIN_NIBBLES,
    byte_levels: Levels { most: 255, tables: 1 },
    byte_sums: None,
    chained: false,
    pair_sums: None,
};

#[cfg(target_arch = "x86_64")]
static VBMI: TableKernels = TableKernels {
    layout: NibbleLayout::Quads,
    nibble_levels: Levels { most: 255, tables: 1 },
    nibble_sums: Some(vbmi::nibble_sums),
    nibbles: NibbleKernels {
        round: Some(nibble_scan_avx512::round_nibbles),
        block: Some(nibble_scan_avx512::block::<1>),
        block_pair: Some(nibble_scan_avx512::block::<2>),
        row_of_sum: nibble_scan_avx512::row_of_sum,
        take_within: nibble_scan_avx512::take_within::<true>,
        kth_of_slots: Some(nibble_scan_avx512::kth_of_slots),
        sums_of_codes: Some(nibble_scan_avx512::sums_of_codes),
    },
    byte_levels: Levels { most: 127, tables: 1 },
    byte_sums: Some(vbmi::byte_sums),
    chained: false,
    pair_sums: None,
};

#[cfg(target_arch = "aarch64")]
static NEON: TableKernels = TableKernels {
    layout: NibbleLayout::Pairs,
    nibble_levels: Levels { most: neon::NIBBLE_LEVELS, tables: 1 },
    nibble_sums: Some(neon::nibble_sums),
    nibbles: PLAIN_NIBBLES,
    byte_levels: Levels { most: 255, tables: 1 },
    byte_sums: Some(neon::byte_sums),
    chained: false,
    pair_sums: Some(neon::pair_sums),
};

#[cfg(target_arch = "x86_64")]
static AVX512: TableKernels = TableKernels {
    layout: NibbleLayout::Columns,
    nibble_levels: Levels { most: 255, tables: QUAD },
    nibble_sums: Some(avx512::nibble_sums),
    nibbles: NibbleKernels {
        round: Some(nibble_scan_avx512::round_nibbles),
        block: Some(avx512::nibble_block::<1>),
        block_pair: Some(avx512::nibble_block::<2>),
        row_of_sum: nibble_scan::row_of_halves,
        take_within: nibble_scan_avx512::take_within::<false>,
        kth_of_slots: Some(nibble_scan_avx512::kth_of_slots),
        sums_of_codes: Some(nibble_scan_avx512::sums_of_codes),
    },
    byte_levels: Levels { most: 255, tables: 1 },
    byte_sums: Some(bytes_avx512::byte_sums),
    chained: true,
    pair_sums: Some(bytes_avx512::pair_sums),
};

#[cfg(target_arch = "x86_64")]
static AVX2: TableKernels = TableKernels {
    layout: NibbleLayout::Columns,
    nibble_levels: Levels { most: 255, tables: QUAD },
    nibble_sums: Some(avx2::nibble_sums),
    nibbles: NibbleKernels {
        round: Some(nibble_scan_avx2::round_nibbles),
        block: Some(avx2::nibble_block::<1>),
        block_pair: Some(avx2::nibble_block::<2>),
        row_of_sum: nibble_scan::row_of_halves,
        take_within: nibble_scan_avx2::take_within,
        kth_of_slots: Some(nibble_scan_avx2::kth_of_slots),
        sums_of_codes: Some(nibble_scan_avx2::sums_of_codes),
    },
    byte_levels: Levels { most: 255, tables: 1 },
    byte_sums: Some(bytes_avx2::byte_sums),
    chained: true,
    pair_sums: Some(bytes_avx2::pair_sums),
};

impl TableKernels {
    /// The kernels of an instruction set: the only place that chooses them.
    pub(crate) fn of(isa: Isa) -> &'static TableKernels {
        match isa.set() {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => &VBMI,
            #[cfg(target_arch = "aarch64")]
            Set::NeonDot | Set::Neon => &NEON,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => &AVX512,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => &AVX2,
            _ => &PORTABLE,
        }
    }

    /// Steps of tables for symbols of this width.
    pub(crate) fn levels(&self, width: SymbolWidth) -> Levels {
        match width {
            SymbolWidth::Nibble => self.nibble_levels,
            SymbolWidth::Byte => self.byte_levels,
        }
    }
}

/// Rearranges tables of 256 steps for kernels that look up sixteen at a time.
///
/// Let `T_b` be the `b`-th sixteen steps. The table becomes eight pairs of links, each of which changes the value of one
/// sixteen into that of the next: `T_b ^ T_{b−1}` and `X_b ^ X_{b−1}`, where `X_b = T_b ^ T_{b+8}`, and `T_{−1} = X_{−1} = 0`. A
/// symbol `16·b + l` below 128 is found as the `l`-th entries of the first links up to the `b`-th, joined by `^`: those up to
/// which `symbol − 16·link` is not below zero, which takes one comparison less than `b = link`. One from 128 on is found as
/// `symbol − 128`, and changed by the second links.
pub(crate) fn chain(steps: &mut [u8]) {
    for table in steps.as_chunks_mut::<256>().0 {
        let plain = *table;
        let sixteen = |b: usize| &plain.as_chunks::<16>().0[b];
        for (b, links) in table.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (l, [lower, change]) in (0..16).map(|l| (l, [l, l + 16])) {
                let of = |b: usize| (sixteen(b)[l], sixteen(b)[l] ^ sixteen(b + 8)[l]);
                let before = if b == 0 { (0, 0) } else { of(b - 1) };
                links[lower] = of(b).0 ^ before.0;
                links[change] = of(b).1 ^ before.1;
            }
        }
    }
}

/// Sums of four positions, at most 255 each, that 16 bits hold.
#[cfg(target_arch = "x86_64")]
pub(crate) const HALVES_OF_QUADS: usize = 257;

/// Defines [`TableKernels::nibble_sums`] from the functions that add up a limited number of columns in 16 bits, compare such sums, and
/// add them to those of 32 bits.
#[cfg(target_arch = "x86_64")]
macro_rules! sums_in_halves {
    ($features:literal, $halves:ident, $at_most:ident, $add:ident) => {
        /// Sums in 16 bits as long as they fit.
        #[target_feature(enable = $features)]
        pub(crate) fn nibble_sums(symbols: &[u8], steps: &[u8], highest: u32, sums: &mut Sums) -> u128 {
            const COLUMNS: usize = crate::table_kernels::QUAD * crate::table_kernels::HALVES_OF_QUADS;
            if symbols.len() <= GROUP * COLUMNS {
                let halves = $halves(symbols, steps);
                let within = $at_most(&halves, highest);
                if within != 0 {
                    sums.fill(0);
                    $add(&halves, sums);
                }
                return within;
            }
            sums.fill(0);
            for (symbols, steps) in symbols.chunks(GROUP * COLUMNS).zip(steps.chunks(16 * COLUMNS)) {
                $add(&$halves(symbols, steps), sums);
            }
            crate::table_kernels::at_most(sums, highest)
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use sums_in_halves;

/// One bit per row: whether its sum is at most `highest`.
pub(crate) fn at_most(sums: &Sums, highest: u32) -> u128 {
    sums.iter().enumerate().fold(0, |bits, (r, sum)| bits | u128::from(*sum <= highest) << r)
}

/// The reference of [`TableKernels::byte_sums`].
#[cfg(test)]
pub(crate) fn plain_byte_sums(symbols: &[u8], steps: &[u8], sums: &mut Sums) {
    for (r, sum) in sums.iter_mut().enumerate() {
        let tables = symbols.chunks_exact(GROUP).zip(steps.chunks_exact(256));
        *sum = tables.map(|(symbols, steps)| u32::from(steps[usize::from(symbols[r])])).sum();
    }
}

/// The reference of [`TableKernels::nibble_sums`].
#[cfg(test)]
pub(crate) fn plain_nibble_sums(layout: NibbleLayout, symbols: &[u8], steps: &[u8], sums: &mut Sums) {
    for (r, sum) in sums.iter_mut().enumerate() {
        *sum = match layout {
            NibbleLayout::Quads => {
                let quads = symbols.chunks_exact(GROUP * QUAD).zip(steps.chunks_exact(64));
                let of = |(symbols, steps): (&[u8], &[u8])| -> u32 {
                    symbols[r * QUAD..][..QUAD].iter().map(|&s| u32::from(steps[usize::from(s)])).sum()
                };
                quads.map(of).sum()
            }
            NibbleLayout::Columns => {
                let columns = symbols.chunks_exact(GROUP).zip(steps.chunks_exact(16));
                columns.map(|(symbols, steps)| u32::from(steps[usize::from(symbols[r])])).sum()
            }
            NibbleLayout::Pairs => {
                let pairs = symbols.chunks_exact(GROUP).zip(steps.chunks_exact(32));
                let of = |(symbols, steps): (&[u8], &[u8])| {
                    let pair = usize::from(symbols[r]);
                    u32::from(steps[pair & 15]) + u32::from(steps[16 + (pair >> 4)])
                };
                pairs.map(of).sum()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_steps_of_bytes_are_added_up(positions in prop_oneof![1usize..40, 250usize..258], few in any::<bool>(), seed in any::<u64>()) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let symbols: Vec<u8> = (0..positions * GROUP).map(|_| rng.random()).collect();
            for isa in Isa::available() {
                let (kernels, padded) = (TableKernels::of(isa), positions.next_multiple_of(QUAD));
                let Some(byte_sums) = kernels.byte_sums else { continue };
                // Only the least and the largest, or any.
                let most = kernels.byte_levels.most;
                let step = |byte: u8| if few { byte % 2 * most } else { byte.min(most) };
                let mut steps: Vec<u8> = (0..padded * 256).map(|_| step(rng.random())).collect();
                let (mut plain, mut fast) = ([0; GROUP], [0; GROUP]);
                plain_byte_sums(&symbols, &steps, &mut plain);
                if kernels.chained {
                    chain(&mut steps);
                }
                // SAFETY: an `Isa` exists only for a set that the processor has.
                let within = unsafe { byte_sums(&symbols, &steps, u32::MAX, &mut fast) };
                prop_assert_eq!((within, fast), (u128::MAX, plain), "{}", isa);
            }
        }
    }
}
