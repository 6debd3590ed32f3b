//! The search by tables of nibbles against a full sort of all scores, and its parts against plain loops.

use super::*;
use crate::table_kernels::{Levels, QUAD};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What is found of all codes by their sums.
fn sorted(codes: &[u8], size: usize, tables: &ScanTables, k: usize) -> Vec<Neighbor> {
    let all = codes.chunks_exact(size).zip(0..).map(|(code, id)| Neighbor { score: tables.sum(code), id });
    let mut all: Vec<Neighbor> = all.filter(|n| !n.score.is_nan()).collect();
    all.sort_unstable();
    all.truncate(k);
    add_to_scores(tables.constant(), &mut all);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn what_is_found_is_what_a_full_sort_finds(
        positions in prop_oneof![6 => 1usize..70, 1 => Just(32usize), 1 => 70usize..300], rows in prop_oneof![0usize..700, 700usize..6000],
        k in prop_oneof![4 => 1usize..34, 1 => 34usize..900], queries in 1usize..4, kind in 0usize..6,
        constant in prop_oneof![Just(0f32), -1e3f32..1e3, Just(1e30f32)], seed in any::<u64>()
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let size = positions.div_ceil(2);
        let codes: Vec<u8> = (0..rows * size).map(|_| if kind == 1 { rng.random::<u8>() & 17 } else { rng.random() }).collect();
        let mut entry = |q: usize| -> f32 {
            let v = rng.random::<f32>();
            match (kind, (v * 1000.0) as usize) {
                // Ties, equal entries, numbers that are huge, tiny or infinite, and a few that are far beyond all others.
                (1, _) => (v * 3.0).floor(),
                (2, _) => if q == 0 { 0.0 } else { -7.5 },
                (3, _) => v * if q == 0 { 1e-42 } else { 1e37 },
                (4, 0..3) => f32::INFINITY,
                (5, 0..9) => -1000.0 * v,
                _ => v * v - 0.1,
            }
        };
        let tables: Vec<ScanTables> = (0..queries)
            .map(|q| ScanTables::new(SymbolWidth::Nibble, (0..positions * 16).map(|_| entry(q)).collect(), constant))
            .collect();
        for isa in Isa::available() {
            let Some(mut block) = CodeBlock::new(isa, SymbolWidth::Nibble, positions) else { continue };
            block.fill(&codes, size, 0, &[]);
            let Some(found) = block.top_k_of_nibbles(&codes, &tables, k) else {
                prop_assert!(TableKernels::of(isa).nibbles.block.is_none(), "{}", isa);
                continue;
            };
            for (tables, found) in tables.iter().zip(found) {
                prop_assert_eq!(found, sorted(&codes, size, tables, k), "{}", isa);
            }
        }
    }

    #[test]
    fn blocks_hold_the_sums_of_their_codes_and_slots_their_least(
        positions in prop_oneof![9 => 1usize..70, 1 => 200usize..2400], rows in 1usize..500, seed in any::<u64>()
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let size = positions.div_ceil(2);
        let codes: Vec<u8> = (0..rows * size).map(|_| rng.random()).collect();
        let tables = [0, 1].map(|_| ScanTables::new(SymbolWidth::Nibble, (0..positions * 16).map(|_| rng.random()).collect(), 0.0));
        for isa in Isa::available() {
            let Some(mut block) = CodeBlock::new(isa, SymbolWidth::Nibble, positions) else { continue };
            block.fill(&codes, size, 0, &[]);
            let stepped = tables.each_ref().map(|tables| SteppedTables::new(isa, tables, TableKernels::of(isa).nibble_levels));
            let steps = stepped.each_ref().map(|stepped| stepped.steps());
            let (groups, mut one) = (rows.div_ceil(GROUP), BlockSums::new());
            let (mut pair, mut slots) = ([one.clone(), one.clone()], [[Line::MOST; LINES]; 3]);
            let [a, b, c] = &mut slots;
            block.sum_pair(0..groups, steps, pair.each_mut(), [a, b]);
            block.sum_one(0..groups, steps[1], &mut one, c);
            let row_of_sum = TableKernels::of(isa).nibbles.row_of_sum;
            for (steps, sums) in [(steps[0], &pair[0]), (steps[1], &pair[1]), (steps[1], &one)] {
                for group in 0..groups {
                    let mut seen = [false; GROUP];
                    for place in 0..GROUP {
                        let row = row_of_sum(place);
                        seen[row] = true;
                        let Some(code) = codes.chunks(size).nth(GROUP * group + row) else { continue };
                        let of = |p: usize| u32::from(steps[16 * p + usize::from(code[p / 2] >> (p % 2 * 4) & 15)]);
                        let sum = (0..positions).map(of).sum::<u32>().min(65_535) as u16;
                        prop_assert_eq!(sums.sums[group][place / 32].0[place % 32], sum, "{}", isa);
                    }
                    prop_assert!(seen.iter().all(|seen| *seen));
                    for at in 0..32 {
                        let least = sums.sums[group].iter().map(|line| line.0[at]).min();
                        prop_assert_eq!(Some(sums.least[group].0[at]), least, "{}", isa);
                    }
                }
                let line = |l: usize| (l..groups).step_by(LINES).fold([u16::MAX; 32], |mut least, g| {
                    least.iter_mut().zip(&sums.least[g].0).for_each(|(to, from)| *to = (*to).min(*from));
                    least
                });
                let expected: Vec<[u16; 32]> = (0..LINES).map(line).collect();
                let found = if std::ptr::eq(sums, &raw const pair[0]) { &slots[0] } else if std::ptr::eq(sums, &raw const pair[1]) { &slots[1] } else { &slots[2] };
                prop_assert_eq!(&expected, &found.map(|line| line.0), "{}", isa);
            }
        }
    }

    #[test]
    fn every_set_rounds_tables_alike(positions in 1usize..70, kind in 0usize..5, quads in any::<bool>(), seed in any::<u64>()) {
        let levels = if quads { Levels { most: 255, tables: QUAD } } else { Levels { most: 127, tables: 1 } };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut entry = || {
            let v = rng.random::<f32>() - 0.5;
            match (kind, (v * 100.0) as i32) {
                (1, 7) => f32::NAN,
                (2, 7) => f32::INFINITY,
                (3, _) => v * 1e-43,
                (4, _) => 3.0,
                _ => v,
            }
        };
        let tables = ScanTables::new(SymbolWidth::Nibble, (0..positions * 16).map(|_| entry()).collect(), 0.0);
        let plain = SteppedTables::new(Isa::PORTABLE, &tables, levels);
        for isa in Isa::available() {
            let stepped = SteppedTables::new(isa, &tables, levels);
            let most = |tables: &[u8]| tables.chunks(16).map(|steps| u32::from(steps.iter().copied().max().unwrap_or(0))).sum::<u32>();
            prop_assert!(stepped.steps().chunks(16 * levels.tables).all(|tables| most(tables) <= u32::from(levels.most)), "{}", isa);
            prop_assert_eq!(stepped.steps(), plain.steps(), "{}", isa);
            // Sums of rounding errors may be added up in another order.
            prop_assert!(stepped.margin_of_sums().abs_diff(plain.margin_of_sums()) <= 1, "{}", isa);
        }
    }

    #[test]
    fn slots_and_sums_are_compared_as_plain_loops_do(seed in any::<u64>(), spread in 1u32..=65_536, k in 1usize..=SLOTTED, highest in any::<u16>()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let slots: Slots = std::array::from_fn(|_| Line(std::array::from_fn(|_| rng.random_range(0..spread) as u16)));
        let sums: Vec<u16> = slots.iter().flat_map(|line| line.0).collect();
        for isa in Isa::available() {
            let kth = kth_of_slots(isa, &slots, k, u16::MAX);
            let (below, within) = (sums.iter().filter(|s| **s < kth).count(), sums.iter().filter(|s| **s <= kth).count());
            prop_assert!(within >= k && below <= k + k / 4, "{} {} of {}", isa, within, k);
            let mut block = BlockSums::new();
            let groups = 1 + seed as usize % GROUPS;
            block.sums.iter_mut().for_each(|lines| lines.iter_mut().for_each(|line| line.0.iter_mut().for_each(|sum| *sum = rng.random_range(0..spread) as u16)));
            (0..GROUPS).for_each(|group| block.set_least(group));
            let (kernels, mut hits) = (TableKernels::of(isa), Vec::new());
            // SAFETY: an `Isa` exists only for a set that the processor has.
            unsafe { (kernels.nibbles.take_within)(&block, groups, highest, 77, &mut hits) };
            let of = |place: usize| block.sums[place / GROUP][place % GROUP / 32].0[place % 32];
            let all = (0..groups * GROUP).filter(|place| of(*place) <= highest);
            let id = |place: usize| 77 + (place / GROUP * GROUP + (kernels.nibbles.row_of_sum)(place % GROUP)) as u32;
            let expected: Vec<Hit> = all.map(|place| Hit { sum: of(place), id: id(place) }).collect();
            prop_assert_eq!(hits, expected, "{}", isa);
        }
    }

    #[test]
    fn exact_sums_are_those_of_single_codes_to_the_last_bit(positions in 1usize..150, count in 0usize..40, seed in any::<u64>()) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let size = positions.div_ceil(2);
        let codes: Vec<u8> = (0..100 * size).map(|_| rng.random()).collect();
        let entries = (0..16 * positions).map(|_| (rng.random::<f32>() - 0.5) * 2f32.powi(rng.random_range(-9..9))).collect();
        let tables = ScanTables::new(SymbolWidth::Nibble, entries, 0.0);
        let hits: Vec<Hit> = (0..count).map(|_| Hit { sum: 0, id: rng.random_range(0..100) }).collect();
        for isa in Isa::available() {
            let mut found = Vec::new();
            score(isa, &tables, Plain { codes: &codes, size }, &hits, |n| found.push(n));
            prop_assert_eq!(found.len(), hits.len());
            for (n, hit) in found.into_iter().zip(&hits) {
                prop_assert_eq!(n.id, hit.id);
                prop_assert_eq!(n.score.to_bits(), tables.sum(&codes[hit.id as usize * size..][..size]).to_bits(), "{}", isa);
            }
        }
    }
}

/// More codes of equal scores than a search holds, before and behind some that are nearer.
#[test]
fn equal_scores_crowd_no_search() {
    let codes: Vec<u8> = (0..50_000).map(|i| if i % 9_999 == 7_777 { 3 } else { 12 }).collect();
    let tables = ScanTables::new(SymbolWidth::Nibble, (0..16).map(|i| i as f32).collect(), 0.0);
    for isa in Isa::available() {
        let Some(mut block) = CodeBlock::new(isa, SymbolWidth::Nibble, 1) else { continue };
        block.fill(&codes, 1, 0, &[]);
        for k in [1, 4, 30] {
            let mut search = [NibbleSearch::new(block.step(&tables), k)];
            let plain = Plain { codes: &codes, size: 1 };
            let mut sums = Scratch::new(&block);
            for from in (0..391).step_by(8) {
                block.pass(from..391.min(from + 8), &mut search, &mut sums, plain);
                assert!(search[0].hits.len() <= 16 * k + 1024, "{isa}: {}", search[0].hits.len());
            }
            let [search] = search;
            assert_eq!(search.finish(isa, plain, &mut Vec::new()), sorted(&codes, 1, &tables, k), "{isa}");
        }
    }
}
