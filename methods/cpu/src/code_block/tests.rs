//! The scan against plain sums, and against all scores.

use super::*;
use crate::table_kernels::{at_most, plain_byte_sums, plain_nibble_sums};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn plain_median(sums: &Sums) -> u32 {
    let mut sorted = *sums;
    sorted.sort_unstable();
    sorted[GROUP / 2]
}

/// Instruction sets with a kernel for this width, and an empty block of each.
fn blocks(width: SymbolWidth, positions: usize) -> Vec<(Isa, CodeBlock)> {
    let block = |isa: Isa| CodeBlock::new(isa, width, positions).map(|block| (isa, block));
    Isa::available().into_iter().filter_map(block).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sums_in_registers_are_the_plain_sums(
        nibble in any::<bool>(), positions in prop_oneof![9 => 1usize..70, 1 => 200usize..2400], rows in 0usize..300,
        skip in 0usize..5, large in any::<bool>(), seed in any::<u64>()
    ) {
        let width = if nibble { SymbolWidth::Nibble } else { SymbolWidth::Byte };
        for (isa, mut block) in blocks(width, positions) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let bytes = width.bytes(positions);
            let size = skip + bytes;
            // Symbols that all select the largest step, or any.
            let codes: Vec<u8> = (0..rows * size).map(|_| if large { 255 } else { rng.random() }).collect();
            block.fill(&codes, size, skip, &[]);
            let entry = |i: usize, v: f32| if large && (i + 1).is_multiple_of(width.alphabet()) { 1.0 } else { v };
            let entries = (0..positions * width.alphabet()).map(|i| entry(i, rng.random::<f32>())).collect();
            let tables = ScanTables::new(width, entries, 0.0);
            let (stepped, levels) = (block.step(&tables), TableKernels::of(isa).levels(width));
            let plain_stepped = SteppedTables::new(isa, &tables, levels);
            let steps = plain_stepped.steps();
            let kernel = kernel(isa, width).expect("a block needs a kernel");
            for g in 0..rows.div_ceil(GROUP) {
                let mut plain = [0; GROUP];
                match width {
                    SymbolWidth::Byte => plain_byte_sums(block.symbols_of(g), steps, &mut plain),
                    SymbolWidth::Nibble => {
                        let layout = TableKernels::of(isa).layout;
                        plain_nibble_sums(layout, block.symbols_of(g), steps, &mut plain);
                    }
                }
                let present = block.present(g);
                let count = present.count_ones() as usize;
                for highest in [0, 100, plain_median(&plain), u32::MAX] {
                    let mut fast = [u32::MAX; GROUP];
                    // SAFETY: an `Isa` exists only for a set that the processor has.
                    let within = unsafe { kernel(block.symbols_of(g), stepped.steps(), highest, &mut fast) };
                    prop_assert_eq!(within & present, at_most(&plain, highest) & present, "{}", isa);
                    prop_assert!(within == 0 || fast[..count] == plain[..count], "{isa}");
                }
                // And the plain sums are those of the codes.
                for (r, sum) in plain[..count].iter().enumerate() {
                    let code = &codes[(g * GROUP + r) * size + skip..][..bytes];
                    let symbol =
                        |p: usize| usize::from(if nibble { code[p / 2] >> (p % 2 * 4) & 15 } else { code[p] });
                    let sum_of = (0..positions).map(|p| u32::from(steps[p * width.alphabet() + symbol(p)]));
                    prop_assert_eq!(*sum, sum_of.sum::<u32>());
                }
            }
        }
    }

    #[test]
    fn the_best_are_on_the_list(
        nibble in any::<bool>(), positions in 1usize..40, rows in 0usize..1400, k in prop_oneof![4 => 1usize..12, 1 => 30usize..300],
        with_factors in any::<bool>(), size_of_terms in prop_oneof![4 => -10i32..10, 1 => -140i32..-100],
        constant in prop_oneof![Just(0.0), -1e3f32..1e3], ties in any::<bool>(), seed in any::<u64>()
    ) {
        let width = if nibble { SymbolWidth::Nibble } else { SymbolWidth::Byte };
        for (isa, mut block) in blocks(width, positions) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let size = width.bytes(positions);
            let codes: Vec<u8> = (0..rows * size).map(|_| if ties { rng.random::<u8>() & 17 } else { rng.random() }).collect();
            let mut random = |scale: f32| (rng.random::<f32>() - 0.5) * scale;
            let factors: Vec<[f32; 2]> = (0..if with_factors { rows } else { 0 }).map(|_| [random(20.0), random(3.0)]).collect();
            let entries = (0..positions * width.alphabet()).map(|_| random(2f32.powi(size_of_terms))).collect();
            let tables = ScanTables::new(width, entries, constant);
            let stepped = block.step(&tables);
            let mut list = Shortlist::new(k);
            // In two blocks, the second of which begins in the middle of a group and is scanned in two parts.
            let cut = rows / 3;
            for (range, first) in [(0..cut, 0), (cut..rows, cut)] {
                let factors = factors.get(range.clone()).unwrap_or(&[]);
                block.fill(&codes[range.start * size..range.end * size], size, 0, factors);
                let half = block.len() / 2 / GROUP * GROUP;
                block.scan(&stepped, 0..half, first as u32, &mut list);
                block.scan(&stepped, half..block.len(), first as u32, &mut list);
            }
            let short = list.drain();
            let score = |i: usize| {
                let [offset, slope] = factors.get(i).unwrap_or(&[0.0, 1.0]);
                constant + (offset + slope * tables.sum(&codes[i * size..][..size]))
            };
            let mut all: Vec<(f32, u32)> = (0..rows).map(|i| (score(i), i as u32)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (score, id) in all.iter().take(k) {
                prop_assert!(short.contains(id), "{isa}: code {id} of score {score}");
            }
        }
    }
}

/// The ids of the list of one query after a scan of all codes.
fn listed(block: &CodeBlock, tables: &ScanTables, k: usize) -> Vec<u32> {
    let mut list = Shortlist::new(k);
    block.scan(&block.step(tables), 0..block.len(), 0, &mut list);
    list.drain()
}

#[test]
fn steps_below_the_normal_numbers_leave_nothing_out() {
    for exponent in [-127, -126, -125] {
        for (isa, mut block) in blocks(SymbolWidth::Nibble, 1) {
            let entries = (0..16).map(|i| (8 * i) as f32 * 2f32.powi(exponent)).collect();
            // The first groups set a limit that the next half of the codes is below.
            let codes: Vec<u8> = (0..1024).map(|i| if i < 512 { 15 } else { 10 }).collect();
            block.fill(&codes, 1, 0, &[]);
            let found = listed(&block, &ScanTables::new(SymbolWidth::Nibble, entries, 0.0), 1);
            assert!(found.contains(&512), "{isa}, steps of 2^{exponent}");
        }
    }
}

#[test]
fn a_score_that_is_no_number_counts_for_no_limit() {
    for width in [SymbolWidth::Nibble, SymbolWidth::Byte] {
        for (isa, mut block) in blocks(width, 1) {
            let codes: Vec<u8> = (0..600).map(|i| if i < 512 { 9 } else { 3 }).collect();
            let entries = (0..width.alphabet()).map(|i| i as f32).collect();
            let tables = ScanTables::new(width, entries, 0.0);
            for odd in [
                [f32::INFINITY, f32::NEG_INFINITY],
                [f32::NEG_INFINITY, f32::INFINITY],
                [f32::NAN, 1.0],
                [-f32::NAN, 1.0],
            ] {
                // One code is certainly near, and all others of the first groups are far.
                let factors: Vec<[f32; 2]> = (0..600).map(|i| [if i == 1 { 0.0 } else { 100.0 }, 1.0]).collect();
                let factors = [&[odd][..], &factors[1..]].concat();
                block.fill(&codes, 1, 0, &factors);
                let found = listed(&block, &tables, 2);
                assert!(found.contains(&1) && found.contains(&512), "{isa}, {odd:?}: {found:?}");
            }
        }
    }
}
