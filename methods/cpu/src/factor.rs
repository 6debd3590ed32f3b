//! Products of many rows with one matrix: rotations, projections and networks.
//!
//! The matrix is packed in panels of `W` columns, so that one broadcast of `x_j` meets `W` contiguous entries. A tile of `R×W`
//! sums stays in registers while [`DEPTH`] components pass. The part of a panel that they meet stays in the first-level cache
//! while all rows of a call pass, and the next part is prefetched meanwhile. Without these parts, every eight rows would read the
//! whole matrix: at 1,536 components 9 MB, from the memory.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;

/// Components that pass while the sums of a tile stay in registers: few enough for two parts of a panel in 32 KiB.
const DEPTH: usize = 96;

/// A matrix in memory: the entry in row `i` and column `j` is `values[i·row + j·column]`.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    /// The values, from the first entry on.
    pub values: &'a [f32],
    /// Distance between rows.
    pub row: usize,
    /// Distance between columns.
    pub column: usize,
}

impl<'a> Entries<'a> {
    /// Rows of `columns` values, one after the other.
    pub fn by_rows(values: &'a [f32], columns: usize) -> Entries<'a> {
        Entries { values, row: columns, column: 1 }
    }

    /// The matrix from row `i` on.
    pub fn from_row(self, i: usize) -> Entries<'a> {
        Entries { values: self.values.get(i * self.row..).unwrap_or(&[]), ..self }
    }
}

/// An `inner×columns` matrix, packed for the products of rows with it.
#[derive(Clone, Debug)]
pub struct Factor {
    isa: Isa,
    inner: usize,
    columns: usize,
    /// `⌈columns/W⌉` panels of `inner×W`; missing columns are zero.
    packed: Vec<f32>,
}

impl Factor {
    /// Room for a matrix of this shape, which is filled panel by panel: see [`Factor::panels_mut`].
    pub fn zeros(isa: Isa, inner: usize, columns: usize) -> Factor {
        let width = isa.panel_width();
        Factor { isa, inner, columns, packed: vec![0.0; columns.div_ceil(width) * width * inner] }
    }

    /// Columns of the matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The panels, so that several threads can pack them by [`Factor::pack`].
    pub fn panels_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.packed.chunks_exact_mut((self.inner * self.isa.panel_width()).max(1))
    }

    /// Packs columns `p·W` and those that follow of a matrix of `columns` columns into panel `p`.
    pub fn pack(isa: Isa, matrix: Entries<'_>, columns: usize, p: usize, panel: &mut [f32]) {
        let width = isa.panel_width();
        let first = p * width;
        let count = width.min(columns - first);
        for (j, to) in panel.chunks_exact_mut(width).enumerate() {
            let from = &matrix.values[j * matrix.row + first * matrix.column..];
            if matrix.column == 1 {
                to[..count].copy_from_slice(&from[..count]);
            } else {
                to[..count].iter_mut().zip(from.iter().step_by(matrix.column)).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// `out[i·columns + c] = Σ_j x_ij·a_jc` for `n` rows `x_i`, on the current thread. Terms are added in the order of `j`, so
    /// that no row depends on how many others there are.
    ///
    /// # Panics
    /// When the lengths do not fit together.
    pub fn multiply(&self, rows: Entries<'_>, n: usize, out: &mut [f32]) {
        self.multiply_from(0, rows, n, out);
    }

    /// [`Factor::multiply`] for the columns of the panel that holds column `first` and of those behind it; others are left as they are.
    ///
    /// # Panics
    /// As there.
    pub fn multiply_from(&self, first: usize, rows: Entries<'_>, n: usize, out: &mut [f32]) {
        assert!(out.len() == n * self.columns, "one product per row and column");
        if out.is_empty() {
            return;
        }
        if self.inner > 0 {
            let last = (n - 1) * rows.row + (self.inner - 1) * rows.column;
            assert!(last < rows.values.len(), "{n} rows of {}", self.inner);
        }
        let task = Task { factor: self, rows, n, first_panel: first / self.isa.panel_width(), out };
        dispatch(self.isa, task);
    }
}

struct Task<'a> {
    factor: &'a Factor,
    rows: Entries<'a>,
    n: usize,
    first_panel: usize,
    out: &'a mut [f32],
}

impl Kernel for Task<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        // A single row reads each panel once and needs no tile. Other tiles take as many rows as leave registers for two of columns
        // and one of a value.
        match L::N {
            _ if self.n == 1 => self.tiles::<L, 1>(),
            16 => self.tiles::<L, 12>(),
            8 => self.tiles::<L, 6>(),
            _ => self.tiles::<L, 4>(),
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn tiles<L: Lanes, const R: usize>(self) {
        let Task { factor, rows, n, first_panel, out } = self;
        let (inner, columns, width) = (factor.inner, factor.columns, 2 * L::N);
        let blocks = n.div_ceil(R);
        let packed_rows = pack_rows::<R>(rows, n, inner);
        let mut sums = vec![0f32; blocks * R * width];
        for p in first_panel..columns.div_ceil(width) {
            sums.fill(0.0);
            for from in (0..inner).step_by(DEPTH) {
                let depth = DEPTH.min(inner - from);
                let start = (p * inner + from) * width;
                let (part, rest) = factor.packed[start..].split_at(depth * width);
                let mut ahead = rest[..rest.len().min(DEPTH * width)].chunks(LINE);
                let lines = (DEPTH * width).div_ceil(LINE * blocks);
                for (b, sums) in sums.chunks_exact_mut(R * width).enumerate() {
                    ahead.by_ref().take(lines).for_each(L::prefetch);
                    tile::<L, R>(&packed_rows[(b * inner + from) * R..][..depth * R], part, sums);
                }
            }
            let count = width.min(columns - p * width);
            for (row, sums) in out.chunks_exact_mut(columns).zip(sums.chunks_exact(width)) {
                row[p * width..][..count].copy_from_slice(&sums[..count]);
            }
        }
    }
}

/// Values of a cache line.
const LINE: usize = 16;

/// Rows in blocks of `R`, component by component; missing rows are zero.
#[inline(always)]
fn pack_rows<const R: usize>(rows: Entries<'_>, n: usize, inner: usize) -> Vec<f32> {
    let mut packed = vec![0f32; n.div_ceil(R) * R * inner];
    for (b, block) in packed.chunks_exact_mut((R * inner).max(1)).enumerate() {
        let first = b * R;
        let count = R.min(n - first);
        let (places, _) = block.as_chunks_mut::<R>();
        if rows.row == 1 {
            for (j, place) in places.iter_mut().enumerate() {
                place[..count].copy_from_slice(&rows.values[first + j * rows.column..][..count]);
            }
        } else {
            for r in 0..count {
                let row = rows.values[(first + r) * rows.row..].iter().step_by(rows.column.max(1));
                places.iter_mut().zip(row).for_each(|(place, x)| place[r] = *x);
            }
        }
    }
    packed
}

/// Adds the products of `R` rows and a part of a panel to their sums.
#[inline(always)]
fn tile<L: Lanes, const R: usize>(rows: &[f32], panel: &[f32], sums: &mut [f32]) {
    let mut tile = [[L::splat(0.0); 2]; R];
    for (r, tile) in tile.iter_mut().enumerate() {
        *tile = [L::load(&sums[2 * r * L::N..]), L::load(&sums[(2 * r + 1) * L::N..])];
    }
    for (x, column) in rows.as_chunks::<R>().0.iter().zip(panel.chunks_exact(2 * L::N)) {
        let c = [L::load(column), L::load(&column[L::N..])];
        for r in 0..R {
            let value = L::splat(x[r]);
            tile[r][0] = value.mul_add(c[0], tile[r][0]);
            tile[r][1] = value.mul_add(c[1], tile[r][1]);
        }
    }
    for (r, tile) in tile.iter().enumerate() {
        tile[0].store(&mut sums[2 * r * L::N..]);
        tile[1].store(&mut sums[(2 * r + 1) * L::N..]);
    }
}

/// `out_c = Σ_j x_j·a_jc` for one row `x` and a matrix that is not packed, of rows one after the other. Reads the matrix once, on the
/// current thread. The same as [`Factor::multiply`], to the last bit.
///
/// # Panics
/// When the lengths do not fit together.
pub fn row_times_matrix(isa: Isa, row: &[f32], matrix: &[f32], out: &mut [f32]) {
    assert!(matrix.len() == row.len() * out.len(), "a row of the matrix per component");
    dispatch(isa, RowTimesMatrix { row, matrix, out });
}

/// Rows of the matrix that are read at a time.
const AT_ONCE: usize = 4;

struct RowTimesMatrix<'a> {
    row: &'a [f32],
    matrix: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for RowTimesMatrix<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let RowTimesMatrix { row, matrix, out } = self;
        let columns = out.len();
        out.fill(0.0);
        if columns == 0 {
            return;
        }
        let (whole, last) = out.split_at_mut(columns / L::N * L::N);
        let (fours, rest) = row.as_chunks::<AT_ONCE>();
        let (rows_of_fours, rows_of_rest) = matrix.split_at(fours.len() * AT_ONCE * columns);
        for (x, rows) in fours.iter().zip(rows_of_fours.chunks_exact(AT_ONCE * columns)) {
            add_four::<L>(x, rows, columns, whole);
        }
        for (x, row) in rest.iter().zip(rows_of_rest.chunks_exact(columns)) {
            add_one::<L>(*x, row, whole);
        }
        if !last.is_empty() {
            let mut sum = L::splat(0.0);
            for (x, row) in row.iter().zip(matrix.chunks_exact(columns)) {
                sum = L::splat(*x).mul_add(L::load_few(&row[whole.len()..]), sum);
            }
            let mut values = [0f32; 16];
            sum.store(&mut values);
            last.copy_from_slice(&values[..last.len()]);
        }
    }
}

/// Adds the products of four rows of the matrix to the sums of whole registers.
#[inline(always)]
fn add_four<L: Lanes>(x: &[f32; AT_ONCE], rows: &[f32], columns: usize, sums: &mut [f32]) {
    let x = [L::splat(x[0]), L::splat(x[1]), L::splat(x[2]), L::splat(x[3])];
    let row = |r: usize| rows[r * columns..][..sums.len()].chunks_exact(L::N);
    let rows = row(0).zip(row(1)).zip(row(2)).zip(row(3));
    for (sums, (((a, b), c), d)) in sums.chunks_exact_mut(L::N).zip(rows) {
        let mut sum = x[0].mul_add(L::load(a), L::load(sums));
        sum = x[1].mul_add(L::load(b), sum);
        sum = x[2].mul_add(L::load(c), sum);
        x[3].mul_add(L::load(d), sum).store(sums);
    }
}

/// [`add_four`] for one row.
#[inline(always)]
fn add_one<L: Lanes>(x: f32, row: &[f32], sums: &mut [f32]) {
    let x = L::splat(x);
    for (sums, row) in sums.chunks_exact_mut(L::N).zip(row.chunks_exact(L::N)) {
        x.mul_add(L::load(row), L::load(sums)).store(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn packed(isa: Isa, matrix: Entries<'_>, inner: usize, columns: usize) -> Factor {
        let mut factor = Factor::zeros(isa, inner, columns);
        factor.panels_mut().enumerate().for_each(|(p, panel)| Factor::pack(isa, matrix, columns, p, panel));
        factor
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_are_the_plain_ones(
            n in 0usize..40, inner in 0usize..230, columns in 0usize..80, turned in any::<[bool; 2]>(), seed in any::<u64>()
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // Zeros, huge and tiny values among others.
            let mut values = |count: usize| -> Vec<f32> {
                let mut value = || match rng.random_range(0..12) {
                    0 => 0.0,
                    1 => 1e15,
                    2 => 1e-30,
                    _ => rng.random::<f32>() * 2.0 - 1.0,
                };
                (0..count).map(|_| value()).collect()
            };
            let (rows, matrix) = (values(n * inner), values(inner * columns));
            let of = |values, by: bool, n: usize, m: usize| match by {
                true => Entries { values, row: 1, column: n },
                false => Entries { values, row: m, column: 1 },
            };
            let (x, a) = (of(&rows, turned[0], n, inner), of(&matrix, turned[1], inner, columns));
            for isa in Isa::available() {
                let factor = packed(isa, a, inner, columns);
                let mut out = vec![f32::NAN; n * columns];
                factor.multiply(x, n, &mut out);
                for i in 0..n {
                    let mut alone = vec![f32::NAN; columns];
                    if inner > 0 {
                        let row: Vec<f32> = (0..inner).map(|j| rows[i * x.row + j * x.column]).collect();
                        factor.multiply(Entries::by_rows(&row, inner), 1, &mut alone);
                        let row = &out[i * columns..][..columns];
                        prop_assert!(row.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}: row {i} alone");
                        if !turned[1] {
                            let x: Vec<f32> = (0..inner).map(|j| rows[i * x.row + j * x.column]).collect();
                            alone.fill(f32::NAN);
                            row_times_matrix(isa, &x, &matrix, &mut alone);
                            prop_assert!(row.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}: unpacked");
                        }
                    }
                    for c in 0..columns {
                        let terms = (0..inner).map(|j| {
                            f64::from(rows[i * x.row + j * x.column]) * f64::from(matrix[j * a.row + c * a.column])
                        });
                        let (plain, size) = terms.fold((0.0, 0.0), |(s, m), t| (s + t, m + t.abs()));
                        let gap = (f64::from(out[i * columns + c]) - plain).abs();
                        prop_assert!(gap <= 1.2e-7 * inner as f64 * size + 1e-36, "{isa}: {gap}");
                    }
                }
                // The last panels alone.
                let first = columns / 2;
                let mut part = vec![7.0f32; n * columns];
                factor.multiply_from(first, x, n, &mut part);
                let from = first / isa.panel_width() * isa.panel_width();
                for (i, (value, whole)) in part.iter().zip(&out).enumerate() {
                    let expected = if i % columns < from { 7.0 } else { *whole };
                    prop_assert_eq!(value.to_bits(), expected.to_bits());
                }
            }
        }
    }

    #[test]
    fn wide_sets_agree_to_the_last_bit_and_nan_stays_in_its_row() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut rows: Vec<f32> = (0..29 * 211).map(|_| rng.random()).collect();
        let matrix: Vec<f32> = (0..211 * 45).map(|_| rng.random()).collect();
        rows[3 * 211 + 5] = f32::NAN;
        let wide = Isa::available().into_iter().filter(|isa| *isa != Isa::PORTABLE);
        let products: Vec<Vec<u32>> = wide
            .map(|isa| {
                let mut out = vec![0.0; 29 * 45];
                packed(isa, Entries::by_rows(&matrix, 45), 211, 45).multiply(
                    Entries::by_rows(&rows, 211),
                    29,
                    &mut out,
                );
                for (i, row) in out.chunks_exact(45).enumerate() {
                    assert!(row.iter().all(|v| v.is_nan() == (i == 3)), "{isa}: row {i}");
                }
                out.iter().map(|v| v.to_bits()).collect()
            })
            .collect();
        assert!(products.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
