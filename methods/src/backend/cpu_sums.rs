//! Searches over sums of codewords on the CPU: beam search by tables, and iterated local search.
//!
//! Iterated local search: each symbol in turn takes its best value given the others (iterated conditional modes). Then
//! a few symbols are replaced at random, and the result is kept if it is better (Martinez, Clement, Hoos and Little
//! 2016). The tables and the two inner loops are those of [`SumTables`].

use super::cpu_backend::{code_place, view};
use super::{CodeRoom, DeviceMatrix, SumCoding, SumSearch};
use crate::MethodError;
use crate::algorithms::pack::SymbolLayout;
use cpu::{BeamScratch, Isa, Neighbor, Panels, Score, SumTables, least_few};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Maximum number of rows that one task searches, and of their table values.
const ROWS: usize = 64;
const VALUES: usize = 1 << 17;

/// Symbols replaced at random in a round.
pub(super) const THROWN: usize = 4;

/// Maximum number of sweeps over all symbols in a round.
pub(super) const SWEEPS: usize = 4;

/// Codebooks prepared for the searches.
pub(super) struct CpuSums {
    tables: SumTables,
    /// Used by local search only.
    codebooks: Vec<Array2<f32>>,
}

impl CpuSums {
    pub(super) fn new(isa: Isa, codebooks: &[Array2<f32>], local: bool) -> CpuSums {
        let values: Vec<f32> = codebooks.iter().flat_map(|book| book.iter().copied()).collect();
        let dim = codebooks.first().map_or(1, Array2::ncols);
        CpuSums {
            tables: SumTables::new(isa, &values, codebooks.len(), dim, local),
            codebooks: if local { codebooks.to_vec() } else { Vec::new() },
        }
    }

    /// Calls `search(unary, code, scratch)` for every row, with its row of `u`.
    fn each<S: Default>(
        &self,
        rows: ArrayView2<'_, f32>,
        codes: &mut [u16],
        search: impl Fn(&[f32], &mut [u16], &mut S) + Sync,
    ) {
        let (m, len) = (self.tables.codebooks(), self.tables.unary_len());
        let at_once = (VALUES / len).clamp(1, ROWS);
        codes.par_chunks_mut(at_once * m).zip(rows.axis_chunks_iter(Axis(0), at_once)).for_each(|(codes, rows)| {
            let mut values: Vec<f32> = rows.iter().copied().collect();
            let mut unary = vec![0f32; rows.nrows() * len];
            self.tables.unary(&mut values, &mut unary);
            let mut scratch = S::default();
            for (unary, code) in unary.chunks_exact(len).zip(codes.chunks_exact_mut(m)) {
                search(unary, code, &mut scratch);
            }
        });
    }

    fn improve_row(&self, unary: &[f32], rounds: usize, seed: u64, code: &mut [u16], scratch: &mut SearchState) {
        let (m, k) = (self.tables.codebooks(), self.tables.codewords());
        let mut random = SplitMix(code.iter().fold(seed, |h, &c| SplitMix(h ^ u64::from(c)).next()));
        self.tables.descend(unary, SWEEPS, code);
        let mut best = self.tables.error(unary, code);
        let SearchState { code: trial, short } = scratch;
        let quick = rounds > 0 && self.tables.shorten(unary, short);
        let mut found_quickly = false;
        for round in 0..=rounds {
            trial.clear();
            trial.extend_from_slice(code);
            if round == rounds {
                // The quick rounds compared integers, so descend once more with the exact tables.
                if !found_quickly {
                    break;
                }
                self.tables.descend(unary, SWEEPS, trial);
            } else {
                for _ in 0..THROWN.min(m) {
                    trial[random.below(m)] = random.below(k) as u16;
                }
                match quick {
                    true => self.tables.descend_quickly(short, SWEEPS, trial),
                    false => self.tables.descend(unary, SWEEPS, trial),
                }
            }
            let error = self.tables.error(unary, trial);
            if error < best {
                best = error;
                code.copy_from_slice(trial);
                found_quickly |= quick;
            }
        }
    }
}

/// Scratch memory of local search, reused from row to row.
#[derive(Default)]
struct SearchState {
    code: Vec<u16>,
    short: Vec<i16>,
}

impl SumSearch for CpuSums {
    fn beam(&self, rows: &DeviceMatrix<'_>, beam: usize, codes: &mut [u16]) -> Result<(), MethodError> {
        self.each(view(rows), codes, |unary, code, scratch: &mut BeamScratch| {
            self.tables.beam(unary, beam, scratch, code);
        });
        Ok(())
    }

    fn improve(&self, rows: &DeviceMatrix<'_>, rounds: usize, seed: u64, codes: &mut [u16]) -> Result<(), MethodError> {
        self.each(view(rows), codes, |unary, code, trial| self.improve_row(unary, rounds, seed, code, trial));
        Ok(())
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, how: SumCoding, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let (m, size) = (self.tables.codebooks(), codes.size());
        let layout = SymbolLayout::uniform(m, how.bits);
        for (chunk, codes) in code_place(codes).chunks_mut(CODED * size).enumerate() {
            let rows = rows.part(chunk * CODED, CODED);
            let mut symbols = vec![0u16; rows.nrows() * m];
            self.beam(&rows, how.beam, &mut symbols)?;
            if let Some((rounds, seed)) = how.local {
                let before = symbols.clone();
                self.improve(&rows, rounds, seed, &mut symbols)?;
                keep_what_errs_less(view(&rows), &self.codebooks, &before, &mut symbols);
            }
            for (code, symbols) in codes.chunks_exact_mut(size).zip(symbols.chunks_exact(m)) {
                layout.pack(symbols, code);
            }
        }
        Ok(())
    }
}

/// Maximum number of rows encoded at a time.
const CODED: usize = 4096;

/// Restores the code in `before` for each row whose new code has a larger error. A search by tables rounds on the scale
/// of the rows, which may be too coarse to choose the last codewords.
pub(crate) fn keep_what_errs_less(
    rows: ArrayView2<'_, f32>,
    codebooks: &[Array2<f32>],
    before: &[u16],
    codes: &mut [u16],
) {
    let m = codebooks.len();
    let each = codes.par_chunks_exact_mut(m).zip(before.par_chunks_exact(m)).enumerate().with_min_len(64);
    each.for_each_init(Vec::new, |left, (i, (code, before))| {
        if *code != *before
            && squared_error(rows.row(i), codebooks, code, left) > squared_error(rows.row(i), codebooks, before, left)
        {
            code.copy_from_slice(before);
        }
    });
}

/// `‖x − Σ_s C_s[code_s]‖²`; leaves the residual of the row in `left`.
pub(crate) fn squared_error(
    row: ArrayView1<'_, f32>,
    codebooks: &[Array2<f32>],
    code: &[u16],
    left: &mut Vec<f32>,
) -> f64 {
    left.clear();
    left.extend(row.iter().copied());
    for (&c, book) in code.iter().zip(codebooks) {
        left.iter_mut().zip(book.row(usize::from(c))).for_each(|(x, y)| *x -= y);
    }
    left.iter().map(|v| f64::from(v * v)).sum::<f64>()
}

/// The choice of [`super::Backend::continuations`], over `n` rows.
pub(super) fn nearest_of_groups<'m>(
    isa: Isa,
    (n, row): (usize, impl Fn(usize) -> &'m [f32] + Sync),
    group: usize,
    codebook: ArrayView2<'_, f32>,
    count: usize,
) -> Vec<Neighbor> {
    let (k, dim) = codebook.dim();
    let (groups, count) = (n / group, count.min(group * k));
    let codewords: Vec<f32> = codebook.iter().copied().collect();
    let panels = Panels::new(isa, &codewords, dim, Score::HalfDistance);
    let at_once = (ROWS / group).min(VALUES / (group * k)).max(1);
    let mut found = vec![Neighbor { score: 0.0, id: 0 }; groups * count];
    found.par_chunks_mut(at_once * count).enumerate().for_each(|(task, found)| {
        let here = found.len() / count;
        let first = task * at_once * group;
        let rows: Vec<f32> = (first..first + here * group).flat_map(|i| row(i).iter().copied()).collect();
        let mut scores = vec![0f32; here * group * k];
        panels.scores(&rows, &mut scores);
        let mut few = vec![(0f32, 0u32); found.len()];
        least_few(isa, &scores, group * k, count, &mut few);
        let mut candidates: Vec<Neighbor> = Vec::with_capacity(count);
        let each = found.chunks_exact_mut(count).zip(few.chunks_exact(count)).zip(scores.chunks_exact(group * k));
        for (((found, few), scores), rows) in each.zip(rows.chunks_exact(group * dim)) {
            // Scores suffer from cancellation, so distances decide which candidates near the last score are kept, and
            // their order.
            let margin = rows.chunks_exact(dim).map(|row| panels.margin_of(row)).fold(0.0, f32::max);
            let limit = few[count - 1].0 + 2.0 * margin;
            let neighbor = |id: u32| {
                let (b, c) = (id as usize / k, id as usize % k);
                Neighbor { score: cpu::squared_distance(&rows[b * dim..][..dim], &codewords[c * dim..][..dim]), id }
            };
            candidates.clear();
            if scores.iter().filter(|&&score| is_within(score, limit)).count() == count {
                candidates.extend(few.iter().map(|&(_, id)| neighbor(id)));
            } else {
                let within = scores.iter().zip(0..).filter(|&(&score, _)| is_within(score, limit));
                candidates.extend(within.map(|(_, id)| neighbor(id)));
            }
            candidates.sort_unstable();
            found.copy_from_slice(&candidates[..count]);
        }
    });
    found
}

/// True if the value is at most the limit, or NaN, which excludes nothing.
fn is_within(score: f32, limit: f32) -> bool {
    score.partial_cmp(&limit) != Some(Ordering::Greater)
}

/// SplitMix64 (Steele, Lea and Flood 2014): a generator with a small state, so that every row has its own.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random integer below `n`, which must be far below 2^32.
    fn below(&mut self, n: usize) -> usize {
        (((self.next() >> 32) * n as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// When there are few codes, enough rounds find the best one; and no code becomes worse on the way.
    #[test]
    fn it_finds_the_best_code_where_all_can_be_tried() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random = |n: usize| Array2::from_shape_fn((n, 5), |_| rng.random::<f32>() - 0.5);
        let codebooks: Vec<Array2<f32>> = (0..3).map(|_| random(6)).collect();
        let rows = random(100);
        let error = |i: usize, code: &[u16]| -> f32 {
            let mut left = rows.row(i).to_owned();
            code.iter().zip(&codebooks).for_each(|(&c, book)| left -= &book.row(c.into()));
            left.mapv(|v| v * v).sum()
        };
        let device = DeviceMatrix::borrowed(rows.as_slice().expect("rows in order"), 100, 5);
        for isa in Isa::available() {
            let mut codes = vec![0u16; 300];
            let before: Vec<f32> = codes.chunks_exact(3).enumerate().map(|(i, code)| error(i, code)).collect();
            CpuSums::new(isa, &codebooks, true).improve(&device, 300, 7, &mut codes).expect("searches");
            for (i, code) in codes.chunks_exact(3).enumerate() {
                let all = (0..216u16).map(|c| error(i, &[c % 6, c / 6 % 6, c / 36]));
                let best = all.fold(f32::INFINITY, f32::min);
                assert!(error(i, code) <= best + 1e-5, "row {i}: {} of {best}", error(i, code));
                assert!(error(i, code) <= before[i]);
            }
        }
    }

    #[test]
    fn the_nearest_of_groups_are_those_of_a_sort() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut random = |n: usize| Array2::from_shape_fn((n, 4), |_| rng.random_range(0i32..4) as f32);
        for (groups, group, k, count) in [(0, 1, 3, 2), (5, 1, 20, 4), (40, 5, 17, 6), (3, 70, 3, 300)] {
            let (rows, book) = (random(groups * group), random(k));
            for isa in Isa::available() {
                let row = |i: usize| rows.row(i).to_slice().expect("rows of an owned matrix");
                let found = nearest_of_groups(isa, (groups * group, row), group, book.view(), count);
                let count = count.min(group * k);
                assert_eq!(found.len(), groups * count);
                for (g, found) in found.chunks_exact(count).enumerate() {
                    let score = |id: usize| (&rows.row(g * group + id / k) - &book.row(id % k)).mapv(|v| v * v).sum();
                    let mut all: Vec<Neighbor> =
                        (0..group * k).map(|id| Neighbor { score: score(id), id: id as u32 }).collect();
                    all.sort();
                    // Distances between integers are exact, and ties go to the lower index.
                    assert_eq!(found, &all[..count]);
                }
            }
        }
    }
}
