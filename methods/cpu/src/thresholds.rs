//! Scalar quantization by thresholds: the digit of a component is the number of its thresholds that are at most `x`.
//!
//! ```text
//! digit(x) = #{t ≤ x},  0 for NaN
//! ```
//!
//! Few thresholds are all compared, many components side by side. Of many thresholds, a table of equal steps says how many lie below the
//! step of `x`; those within it are compared. The step of a threshold is computed as that of `x`, and rounding keeps the order, so that
//! the digit is exact.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Most thresholds that are all compared: two registers of comparisons per component and sixteen lanes.
const FEW: usize = 15;

/// Steps of a table for each threshold.
const STEPS: usize = 4;

/// Most thresholds within a step.
const WITHIN: usize = 4;

/// Lists of ascending thresholds, at most 255 in each; component `j` uses list `j` modulo their number.
#[derive(Clone, Debug)]
pub struct Thresholds {
    isa: Isa,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// One list after the other as columns: threshold `t` of list `j` is `columns[t·lists + j]`; lists are filled up with NaN.
    Few { columns: Vec<f32>, lists: usize },
    /// A table for each list.
    Steps(Vec<StepTable>),
}

/// Where the thresholds of a list lie. Small, so that the tables of many components stay in the second-level cache.
#[derive(Clone, Debug)]
struct StepTable {
    low: f32,
    scale: f32,
    /// The number of thresholds below each step; empty if too many lie within one.
    below: Vec<u8>,
    /// The list, and [`WITHIN`] times NaN.
    thresholds: Vec<f32>,
}

impl StepTable {
    fn new(list: &[f32]) -> StepTable {
        let (low, high) = (list.first().copied().unwrap_or(0.0), list.last().copied().unwrap_or(0.0));
        let count = STEPS * (list.len() + 1);
        let scale = (count - 1) as f32 / (high - low);
        let scale = if scale.is_finite() { scale } else { 0.0 };
        let thresholds = list.iter().copied().chain([f32::NAN; WITHIN]).collect();
        let mut table = StepTable { low, scale, below: vec![0; count], thresholds };
        let mut within = vec![0u8; count];
        list.iter().for_each(|t| within[table.step(*t)] += 1);
        if within.iter().any(|count| usize::from(*count) > WITHIN) {
            table.below.clear();
            return table;
        }
        let mut sum = 0;
        for (below, within) in table.below.iter_mut().zip(within) {
            *below = sum;
            sum += within;
        }
        table
    }

    /// The step of a value: never smaller for a larger one. NaN gets the first.
    #[inline(always)]
    fn step(&self, x: f32) -> usize {
        // The conversion saturates and maps NaN to 0. Without steps, the result is none of them.
        (((x - self.low) * self.scale) as i32).max(0).min(self.below.len() as i32 - 1) as usize
    }

    #[inline(always)]
    fn digit(&self, x: f32) -> u8 {
        let Some(&below) = self.below.get(self.step(x)) else {
            return plain_digit(&self.thresholds[..self.thresholds.len() - WITHIN], x);
        };
        // Those of later steps are larger than x, and NaN is at most nothing.
        let next = &self.thresholds[usize::from(below)..][..WITHIN];
        below + next.iter().map(|t| u8::from(*t <= x)).sum::<u8>()
    }
}

/// The digit by definition.
fn plain_digit(list: &[f32], x: f32) -> u8 {
    list.partition_point(|t| *t <= x) as u8
}

impl Thresholds {
    /// Prepares ascending lists of at most 255 thresholds.
    ///
    /// # Panics
    /// If there is no list, or one is longer.
    pub fn new(isa: Isa, lists: &[Vec<f32>]) -> Thresholds {
        let most = lists.iter().map(Vec::len).max().unwrap_or(0);
        assert!(!lists.is_empty() && most <= 255, "lists of at most 255 thresholds");
        let form = if most <= FEW {
            let entry = |t: usize, list: &Vec<f32>| list.get(t).copied().unwrap_or(f32::NAN);
            let columns = (0..most).flat_map(|t| lists.iter().map(move |list| entry(t, list))).collect();
            Form::Few { columns, lists: lists.len() }
        } else {
            Form::Steps(lists.iter().map(|list| StepTable::new(list)).collect())
        };
        Thresholds { isa, form }
    }

    /// The digits of rows of `dim` components, without gaps.
    ///
    /// # Panics
    /// If there are not as many digits as values, or no whole rows.
    pub fn digits(&self, rows: &[f32], dim: usize, digits: &mut [u8]) {
        assert!(
            dim > 0 && rows.len() == digits.len() && rows.len().is_multiple_of(dim),
            "a digit for each value of whole rows"
        );
        dispatch(self.isa, Digits { thresholds: self, rows, dim, digits });
    }
}

struct Digits<'a> {
    thresholds: &'a Thresholds,
    rows: &'a [f32],
    dim: usize,
    digits: &'a mut [u8],
}

/// Components compared side by side.
const BLOCK: usize = 32;

impl Kernel for Digits<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Digits { thresholds, rows, dim, digits } = self;
        match &thresholds.form {
            // One list: rows do not matter.
            Form::Few { columns, lists: 1 } => {
                let (blocks, rest) = rows.as_chunks::<BLOCK>();
                let (digit_blocks, digit_rest) = digits.as_chunks_mut::<BLOCK>();
                for (x, digits) in blocks.iter().zip(digit_blocks) {
                    let mut counts = [0i32; BLOCK];
                    for t in columns {
                        for l in 0..BLOCK {
                            counts[l] += i32::from(*t <= x[l]);
                        }
                    }
                    digits.iter_mut().zip(counts).for_each(|(digit, count)| *digit = count as u8);
                }
                for (x, digit) in rest.iter().zip(digit_rest) {
                    *digit = columns.iter().map(|t| u8::from(*t <= *x)).sum();
                }
            }
            Form::Few { columns, lists } => {
                for (row, digits) in rows.chunks_exact(dim).zip(digits.chunks_exact_mut(dim)) {
                    for (row, digits) in row.chunks(*lists).zip(digits.chunks_mut(*lists)) {
                        let mut parts = row.chunks(BLOCK).zip(digits.chunks_mut(BLOCK)).enumerate();
                        parts.by_ref().for_each(|(b, (x, digits))| {
                            let mut counts = [0i32; BLOCK];
                            let mut xs = [f32::NAN; BLOCK];
                            xs[..x.len()].copy_from_slice(x);
                            for column in columns.chunks_exact(*lists) {
                                let column = &column[b * BLOCK..];
                                if let Some(column) = column.first_chunk::<BLOCK>() {
                                    for l in 0..BLOCK {
                                        counts[l] += i32::from(column[l] <= xs[l]);
                                    }
                                } else {
                                    for ((count, t), x) in counts.iter_mut().zip(column).zip(&xs) {
                                        *count += i32::from(*t <= *x);
                                    }
                                }
                            }
                            digits.iter_mut().zip(counts).for_each(|(digit, count)| *digit = count as u8);
                        });
                    }
                }
            }
            Form::Steps(tables) if tables.len() == 1 => {
                let table = &tables[0];
                digits.iter_mut().zip(rows).for_each(|(digit, x)| *digit = table.digit(*x));
            }
            Form::Steps(tables) => {
                for (row, digits) in rows.chunks_exact(dim).zip(digits.chunks_exact_mut(dim)) {
                    for (row, digits) in row.chunks(tables.len()).zip(digits.chunks_mut(tables.len())) {
                        for ((x, digit), table) in row.iter().zip(digits).zip(tables) {
                            *digit = table.digit(*x);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hostile() -> impl Strategy<Value = f32> {
        prop_oneof![
            12 => -3f32..3.0,
            1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(f32::NEG_INFINITY), 1 => Just(f32::MAX), 1 => Just(f32::MIN),
            1 => Just(0.0), 1 => Just(-0.0), 1 => Just(1e-45), 1 => Just(-1e-45), 1 => Just(1e30), 1 => Just(2.5),
        ]
    }

    proptest! {
        #[test]
        fn every_set_counts_the_thresholds(
            lists in prop::collection::vec(
                prop_oneof![3 => prop::collection::vec(hostile(), 0..20), 2 => prop::collection::vec(hostile(), 0..256)], 1..6
            ),
            one in any::<bool>(), width in 1f32..1e6,
            values in prop::collection::vec(hostile(), 1..300), dim in 1usize..70,
        ) {
            let mut lists: Vec<Vec<f32>> = lists
                .into_iter()
                .map(|list| {
                    let mut list: Vec<f32> = list.into_iter().filter(|t| !t.is_nan()).map(|t| t * width).collect();
                    list.sort_unstable_by(f32::total_cmp);
                    list
                })
                .collect();
            lists.truncate(if one { 1 } else { 6 });
            // Thresholds themselves, and their neighbours.
            let mut values: Vec<f32> = values.into_iter().map(|x| x * width).collect();
            let on = lists.iter().flatten().flat_map(|t| [*t, t.next_up(), t.next_down()]);
            values.extend(on.take(200));
            values.truncate(values.len() / dim * dim);
            for isa in Isa::available() {
                let thresholds = Thresholds::new(isa, &lists);
                let mut digits = vec![0xee; values.len()];
                thresholds.digits(&values, dim, &mut digits);
                for (i, digit) in digits.iter().enumerate() {
                    let list = &lists[i % dim % lists.len()];
                    prop_assert_eq!(*digit, plain_digit(list, values[i]), "{} at {}, {:?}", values[i], i, isa);
                }
            }
        }
    }
}
