//! Products of matrices as training needs them: of rows with weights that change at every step, of rows with transposed
//! weights, and of transposed rows with rows.
//!
//! The right factor is packed in panels of two registers of columns; a tile of `R` rows by one panel stays in registers
//! over the whole depth. Each entry is one chain of multiplications and additions in the order of the depth, so that it
//! does not depend on the rows beside it, and sets with a fused multiplication agree to the last bit.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// The right factor of products, `depth×columns`, packed for one instruction set.
#[derive(Clone, Debug)]
pub struct RightFactor {
    isa: Isa,
    depth: usize,
    columns: usize,
    /// Panels of `depth` times two registers of columns; the last is one register wide if that suffices. Missing columns
    /// are zero.
    packed: Vec<f32>,
}

/// The left factor of a product.
#[derive(Clone, Copy, Debug)]
pub enum LeftFactor<'a> {
    /// Rows of as many values as the right factor is deep, one after the other.
    Rows(&'a [f32]),
    /// Some columns of a row-major matrix with as many rows as the right factor is deep, each column taken for a row.
    Columns {
        /// The whole matrix.
        matrix: &'a [f32],
        /// Its columns.
        of: usize,
        /// The first column taken.
        first: usize,
        /// How many are taken.
        count: usize,
    },
}

/// What the entries of a product are added to, and what becomes of the sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Onto<'a> {
    /// Added to each row.
    pub bias: Option<&'a [f32]>,
    /// Whether what the output holds already is added.
    pub present: bool,
    /// Whether the sum is replaced by `max(sum, 0)`; NaN stays NaN.
    pub rectified: bool,
}

impl RightFactor {
    /// Packs a row-major matrix of `columns` columns.
    ///
    /// # Panics
    /// When there is no column, or the length is no multiple of it.
    pub fn new(isa: Isa, values: &[f32], columns: usize) -> RightFactor {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "whole rows of {columns}");
        let depth = values.len() / columns;
        // Panel after panel, as [`each_panel`] visits them, so that no value is written twice.
        let (wide, mut packed) = (isa.panel_width(), Vec::new());
        packed.reserve_exact(depth * columns.next_multiple_of(wide / 2));
        for first in (0..columns).step_by(wide) {
            let width = if columns - first > wide / 2 { wide } else { wide / 2 };
            let count = width.min(columns - first);
            for row in values.chunks_exact(columns) {
                packed.extend_from_slice(&row[first..first + count]);
                if count < width {
                    packed.resize(packed.len() + width - count, 0.0);
                }
            }
        }
        RightFactor { isa, depth, columns, packed }
    }

    /// Packs the transpose of a row-major matrix of `depth` columns.
    ///
    /// # Panics
    /// When there is no column, or the length is no multiple of it.
    pub fn transposed(isa: Isa, values: &[f32], depth: usize) -> RightFactor {
        assert!(depth > 0 && values.len().is_multiple_of(depth), "whole rows of {depth}");
        let columns = values.len() / depth;
        let mut packed = vec![0f32; depth * columns.next_multiple_of(isa.panel_width() / 2)];
        each_panel(isa, depth, columns, &mut packed, |first, width, panel| {
            let rows = &values[first * depth..];
            // Blocks small enough for the first-level cache, whichever way they are read.
            for begin in (0..depth).step_by(BLOCK) {
                let end = (begin + BLOCK).min(depth);
                for (l, row) in rows.chunks_exact(depth).take(width).enumerate() {
                    let to = panel[begin * width..].chunks_exact_mut(width);
                    to.zip(&row[begin..end]).for_each(|(to, value)| to[l] = *value);
                }
            }
        });
        RightFactor { isa, depth, columns, packed }
    }

    /// Rows of the factor.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the factor, and of its products.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Writes the product of `left` with this factor to the row-major `out`, on the current thread.
    ///
    /// # Panics
    /// When the lengths do not fit together.
    pub fn times(&self, left: LeftFactor<'_>, onto: Onto<'_>, out: &mut [f32]) {
        let rows = match left {
            LeftFactor::Rows(values) => {
                assert_eq!(values.len() * self.columns, out.len() * self.depth, "one row of products for each row");
                out.len() / self.columns.max(1)
            }
            LeftFactor::Columns { matrix, of, first, count } => {
                assert!(matrix.len() == of * self.depth && first + count <= of, "columns that the matrix has");
                count
            }
        };
        assert_eq!(out.len(), rows * self.columns, "a product for each row and column");
        assert!(onto.bias.is_none_or(|bias| bias.len() == self.columns), "a bias for each column");
        if !out.is_empty() {
            dispatch(self.isa, Times { right: self, left, onto, rows, out });
        }
    }
}

/// Values of the depth that are transposed at a time.
const BLOCK: usize = 64;

/// Calls `visit(first column, width, panel)` for each panel.
fn each_panel(
    isa: Isa,
    depth: usize,
    columns: usize,
    mut packed: &mut [f32],
    mut visit: impl FnMut(usize, usize, &mut [f32]),
) {
    let wide = isa.panel_width();
    for first in (0..columns).step_by(wide) {
        let width = if columns - first > wide / 2 { wide } else { wide / 2 };
        let (panel, rest) = packed.split_at_mut(width * depth);
        visit(first, width, panel);
        packed = rest;
    }
}

struct Times<'a> {
    right: &'a RightFactor,
    left: LeftFactor<'a>,
    onto: Onto<'a>,
    rows: usize,
    out: &'a mut [f32],
}

impl Kernel for Times<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        // As many rows as leave registers for two columns and a value.
        match L::N {
            16 => self.in_blocks::<L, 8>(),
            8 => self.in_blocks::<L, 6>(),
            _ => self.in_blocks::<L, 4>(),
        }
    }
}

impl Times<'_> {
    #[inline(always)]
    fn in_blocks<L: Lanes, const R: usize>(self) {
        let Times { right, left, onto, rows, out } = self;
        let (depth, columns) = (right.depth, right.columns);
        if depth == 0 {
            // A sum of nothing.
            return plain_start(onto, columns, out);
        }
        // Columns are copied so that the values of a tile lie beside each other.
        let mut copied = Vec::new();
        if let LeftFactor::Columns { matrix, of, first, count } = left {
            copied.resize(count.next_multiple_of(R) * depth, 0f32);
            for (b, block) in copied.chunks_exact_mut(R * depth).enumerate() {
                let (begin, here) = (first + b * R, R.min(count - b * R));
                for (to, row) in block.chunks_exact_mut(R).zip(matrix.chunks_exact(of)) {
                    if here == R {
                        to.copy_from_slice(&row[begin..begin + R]);
                    } else {
                        to[..here].copy_from_slice(&row[begin..begin + here]);
                    }
                }
            }
        }
        let mut rest = &right.packed[..];
        let mut first = 0;
        while first < columns {
            let wide = columns - first > L::N;
            let width = if wide { 2 * L::N } else { L::N };
            let (panel, after) = rest.split_at(width * depth);
            for begin in (0..rows).step_by(R) {
                let here = R.min(rows - begin);
                let place = Place { first, columns, rows: here, onto, out: &mut out[begin * columns..] };
                let block = match left {
                    LeftFactor::Rows(values) => {
                        // Missing rows repeat the last, and are not stored.
                        let mut block = [&values[..0]; R];
                        for (r, row) in block.iter_mut().enumerate() {
                            *row = &values[(begin + r.min(here - 1)) * depth..][..depth];
                        }
                        Block::Rows(block)
                    }
                    LeftFactor::Columns { .. } => Block::Copied(&copied[begin * depth..][..R * depth]),
                };
                if wide { tile::<L, R, 2>(block, panel, place) } else { tile::<L, R, 1>(block, panel, place) }
            }
            rest = after;
            first += width;
        }
    }
}

/// What a product without depth is.
fn plain_start(onto: Onto<'_>, columns: usize, out: &mut [f32]) {
    for row in out.chunks_exact_mut(columns) {
        for (c, value) in row.iter_mut().enumerate() {
            let sum = if onto.present { *value } else { 0.0 } + onto.bias.map_or(0.0, |bias| bias[c]);
            *value = if onto.rectified && sum < 0.0 { 0.0 } else { sum };
        }
    }
}

/// The values of `R` rows of the left factor.
enum Block<'a, const R: usize> {
    Rows([&'a [f32]; R]),
    /// `R` values beside each other for each step of the depth.
    Copied(&'a [f32]),
}

/// Where a tile is written.
struct Place<'a> {
    first: usize,
    columns: usize,
    rows: usize,
    onto: Onto<'a>,
    /// From the first row of the tile on.
    out: &'a mut [f32],
}

/// A tile of `R` rows by `C` registers of columns.
#[inline(always)]
fn tile<L: Lanes, const R: usize, const C: usize>(block: Block<'_, R>, panel: &[f32], place: Place<'_>) {
    let Place { first, columns, rows, onto, out } = place;
    let count = (C * L::N).min(columns - first);
    let mut sums = [[L::splat(0.0); C]; R];
    if let Some(bias) = onto.bias {
        let bias = read::<L, C>(&bias[first..first + count]);
        sums = [bias; R];
    }
    if onto.present {
        for (r, sums) in sums.iter_mut().enumerate().take(rows) {
            let present = read::<L, C>(&out[r * columns + first..][..count]);
            for h in 0..C {
                sums[h] = sums[h].add(present[h]);
            }
        }
    }
    match block {
        Block::Rows(xs) => {
            let depth = xs[0].len();
            // Once here, so that the loop below needs no checks.
            assert!(xs.iter().all(|x| x.len() == depth));
            for (j, column) in panel.chunks_exact(C * L::N).take(depth).enumerate() {
                let mut c = [L::splat(0.0); C];
                for h in 0..C {
                    c[h] = L::load(&column[h * L::N..]);
                }
                for r in 0..R {
                    let value = L::splat(xs[r][j]);
                    for h in 0..C {
                        sums[r][h] = value.mul_add(c[h], sums[r][h]);
                    }
                }
            }
        }
        Block::Copied(values) => {
            for (column, x) in panel.chunks_exact(C * L::N).zip(values.chunks_exact(R)) {
                let mut c = [L::splat(0.0); C];
                for h in 0..C {
                    c[h] = L::load(&column[h * L::N..]);
                }
                for r in 0..R {
                    let value = L::splat(x[r]);
                    for h in 0..C {
                        sums[r][h] = value.mul_add(c[h], sums[r][h]);
                    }
                }
            }
        }
    }
    for (r, sums) in sums.iter_mut().enumerate().take(rows) {
        let to = &mut out[r * columns + first..][..count];
        for sum in sums.iter_mut() {
            if onto.rectified {
                *sum = L::splat(0.0).max(*sum);
            }
        }
        if count == C * L::N {
            for h in 0..C {
                sums[h].store(&mut to[h * L::N..]);
            }
        } else {
            let mut buffer = [0f32; 32];
            for h in 0..C {
                sums[h].store(&mut buffer[h * L::N..]);
            }
            to.iter_mut().zip(&buffer).for_each(|(to, from)| *to = *from);
        }
    }
}

/// `C` registers from at most as many values; the rest is zero.
#[inline(always)]
fn read<L: Lanes, const C: usize>(values: &[f32]) -> [L; C] {
    let mut found = [L::splat(0.0); C];
    if values.len() == C * L::N {
        for h in 0..C {
            found[h] = L::load(&values[h * L::N..]);
        }
    } else {
        let mut buffer = [0f32; 32];
        buffer.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        for h in 0..C {
            found[h] = L::load(&buffer[h * L::N..]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Ordinary values; or with zeros, ties, huge and tiny ones.
    fn draw(rng: &mut ChaCha8Rng, n: usize, hostile: bool) -> Vec<f32> {
        let odd = [0.0, -0.0, 1.0, 1.0, -1.0, 1e18, -1e18, 1e-30, 1e-45];
        (0..n)
            .map(|_| match hostile {
                true => odd[rng.random_range(0..odd.len())],
                false => rng.random::<f32>() * 2.0 - 1.0,
            })
            .collect()
    }

    /// The product, and the sum of the sizes of its terms, in f64. `at(i, j)` is the left factor.
    fn plain(
        (rows, depth, columns): (usize, usize, usize),
        at: impl Fn(usize, usize) -> f32,
        right: &[f32],
        onto: Onto<'_>,
        present: &[f32],
    ) -> Vec<[f64; 2]> {
        let entry = |e: usize| {
            let (i, c) = (e / columns, e % columns);
            let terms = (0..depth).map(|j| f64::from(at(i, j)) * f64::from(right[j * columns + c]));
            let start = if onto.present { f64::from(present[e]) } else { 0.0 };
            let bias = onto.bias.map_or(0.0, |bias| f64::from(bias[c]));
            let all = terms.chain([start, bias]);
            let (sum, size) = all.fold((0.0, 0.0), |(sum, size): (f64, f64), t| (sum + t, size + t.abs()));
            [if onto.rectified { sum.max(0.0) } else { sum }, size]
        };
        (0..rows * columns).map(entry).collect()
    }

    fn near(found: &[f32], expected: &[[f64; 2]], depth: usize) -> Result<(), String> {
        for (e, (found, [value, size])) in found.iter().zip(expected).enumerate() {
            // A chain of additions (Higham 2002, equation 3.5), and what gradual underflow takes.
            let bound = (depth + 4) as f64 * f64::from(f32::EPSILON) * size + depth as f64 * 1e-44;
            let gap = (f64::from(*found) - value).abs();
            if gap.is_nan() || gap > bound {
                return Err(format!("entry {e}: {found} for {value}, sizes {size}"));
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_set_gives_the_plain_product(
            rows in 0usize..20, depth in 1usize..70, columns in 1usize..80, slack in 0usize..5, kind in 0u8..16,
            seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let hostile = kind & 8 != 0;
            let left = draw(&mut rng, rows * depth, hostile);
            let right = draw(&mut rng, depth * columns, hostile);
            let turned: Vec<f32> = (0..columns * depth).map(|e| right[e % depth * columns + e / depth]).collect();
            let (bias, before) = (draw(&mut rng, columns, hostile), draw(&mut rng, rows * columns, hostile));
            // The left factor as columns of a wider matrix, after `slack` others.
            let of = rows + slack;
            let wide: Vec<f32> = (0..of * depth)
                .map(|e| if e % of < slack { f32::NAN } else { left[(e % of - slack) * depth + e / of] })
                .collect();
            let onto = Onto { bias: (kind & 1 != 0).then_some(&bias), present: kind & 2 != 0, rectified: kind & 4 != 0 };
            let expected = plain((rows, depth, columns), |i, j| left[i * depth + j], &right, onto, &before);
            for isa in Isa::available() {
                let packed = [RightFactor::new(isa, &right, columns), RightFactor::transposed(isa, &turned, depth)];
                let lefts = [
                    LeftFactor::Rows(&left),
                    LeftFactor::Columns { matrix: &wide, of, first: slack, count: rows },
                ];
                let mut all = Vec::new();
                for right in &packed {
                    prop_assert_eq!((right.depth(), right.columns()), (depth, columns));
                    for left in lefts {
                        let mut out = before.clone();
                        right.times(left, onto, &mut out);
                        near(&out, &expected, depth).map_err(|e| TestCaseError::fail(format!("{isa}: {e}")))?;
                        all.push(out);
                    }
                }
                prop_assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{}: layouts agree to the last bit", isa);
                // A row alone has the products that it has among others.
                if rows > 0 && !onto.present {
                    let mut one = vec![f32::NAN; columns];
                    packed[0].times(LeftFactor::Rows(&left[(rows - 1) * depth..]), onto, &mut one);
                    prop_assert_eq!(&one[..], &all[0][(rows - 1) * columns..], "{}: a row alone", isa);
                }
            }
        }
    }

    #[test]
    fn sets_with_a_fused_multiplication_agree_to_the_last_bit() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (left, right) = (draw(&mut rng, 13 * 37, false), draw(&mut rng, 37 * 45, false));
        let of = |isa| {
            let mut out = vec![0.0; 13 * 45];
            RightFactor::new(isa, &right, 45).times(LeftFactor::Rows(&left), Onto::default(), &mut out);
            out
        };
        let all: Vec<Vec<f32>> = Isa::available().into_iter().filter(|isa| *isa != Isa::PORTABLE).map(of).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    }

    /// A loss that is no number must be seen as one, also behind a rectifier.
    #[test]
    fn what_is_no_number_stays_none() {
        for isa in Isa::available() {
            let right = RightFactor::new(isa, &[1.0, 0.0, 2.0, 1.0], 2);
            let mut out = [0f32; 6];
            let left = [f32::NAN, 1.0, f32::INFINITY, 1.0, f32::NEG_INFINITY, 1.0];
            right.times(LeftFactor::Rows(&left), Onto { rectified: true, ..Onto::default() }, &mut out);
            assert!(out[0].is_nan() && out[1].is_nan() && out[3].is_nan() && out[5].is_nan(), "{isa}: {out:?}");
            assert_eq!([out[2], out[4]], [f32::INFINITY, 0.0], "{isa}");
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        for isa in Isa::available() {
            let right = RightFactor::new(isa, &[], 3);
            let mut out = [1.0f32, -2.0, 3.0];
            let onto = Onto { bias: Some(&[1.0, 1.0, -9.0]), present: true, rectified: true };
            right.times(LeftFactor::Columns { matrix: &[], of: 1, first: 0, count: 1 }, onto, &mut out);
            assert_eq!(out, [2.0, 0.0, 0.0], "{isa}");
            RightFactor::transposed(isa, &[], 2).times(LeftFactor::Rows(&[1.0; 6]), Onto::default(), &mut []);
        }
    }
}
