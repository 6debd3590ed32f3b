//! Matrix products on the current thread pool, by the kernel of `cpu::Factor`.

use cpu::{Entries, Factor, Isa};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Rows multiplied by one task; a constant, so that no result depends on the thread count.
const ROWS: usize = 96;

/// `rows · matrix`, on the current thread pool.
pub fn multiply(isa: Isa, rows: ArrayView2<'_, f32>, matrix: ArrayView2<'_, f32>) -> Array2<f32> {
    multiply_packed(rows, &PackedMatrix::new(isa, matrix))
}

/// A matrix packed for the kernel, for matrices that many rows are multiplied by.
#[derive(Clone, Debug)]
pub struct PackedMatrix(Factor);

impl PackedMatrix {
    /// Packs on the current thread pool.
    pub fn new(isa: Isa, matrix: ArrayView2<'_, f32>) -> PackedMatrix {
        let (inner, columns) = matrix.dim();
        let mut factor = Factor::zeros(isa, inner, columns);
        with_entries(matrix, |entries| {
            let panels: Vec<&mut [f32]> = factor.panels_mut().collect();
            panels.into_par_iter().enumerate().for_each(|(p, panel)| Factor::pack(isa, entries, columns, p, panel));
        });
        PackedMatrix(factor)
    }

    /// Columns of the matrix.
    pub fn ncols(&self) -> usize {
        self.0.columns()
    }
}

/// The matrix as a kernel reads it; copied only if neither its rows nor its columns lie one after the other.
fn with_entries<T>(matrix: ArrayView2<'_, f32>, then: impl FnOnce(Entries<'_>) -> T) -> T {
    let (rows, columns) = matrix.dim();
    if let Some(values) = matrix.to_slice() {
        return then(Entries::by_rows(values, columns));
    }
    if let Some(values) = matrix.t().to_slice() {
        return then(Entries { values, row: 1, column: rows });
    }
    let values: Vec<f32> = matrix.iter().copied().collect();
    then(Entries::by_rows(&values, columns))
}

/// `rows · matrix`, on the current thread pool.
pub fn multiply_packed(rows: ArrayView2<'_, f32>, matrix: &PackedMatrix) -> Array2<f32> {
    let mut out = Array2::zeros((rows.nrows(), matrix.ncols()));
    if let Some(out) = out.as_slice_mut() {
        multiply_packed_into(rows, matrix, out);
    }
    out
}

/// [`multiply_packed`], of which the result is written one row after the other.
///
/// # Panics
/// When there is no room for as many values.
pub fn multiply_packed_into(rows: ArrayView2<'_, f32>, matrix: &PackedMatrix, out: &mut [f32]) {
    let k = matrix.ncols();
    assert!(out.len() == rows.nrows() * k, "a place for each product");
    if out.is_empty() {
        return;
    }
    let PackedMatrix(factor) = matrix;
    with_entries(rows, |entries| {
        out.par_chunks_mut(ROWS * k).enumerate().for_each(|(task, out)| {
            factor.multiply(entries.from_row(task * ROWS), out.len() / k, out);
        });
    });
}

/// `left · matrix` for a product that is known to be symmetric, at half the cost: only what lies right of the diagonal is computed.
/// `finish` gets each row of the product, with its number, to change it in place.
pub fn symmetric_product(
    isa: Isa,
    left: ArrayView2<'_, f32>,
    matrix: ArrayView2<'_, f32>,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Array2<f32> {
    let n = matrix.ncols();
    let PackedMatrix(factor) = PackedMatrix::new(isa, matrix);
    let mut upper = Array2::<f32>::zeros((n, n));
    if let Some(out) = upper.as_slice_mut() {
        with_entries(left, |entries| {
            out.par_chunks_mut((ROWS * n).max(1)).enumerate().for_each(|(task, out)| {
                let first = task * ROWS;
                factor.multiply_from(first, entries.from_row(first), out.len() / n, out);
            });
        });
    }
    let mut product = Array2::<f32>::zeros((n, n));
    product.axis_chunks_iter_mut(Axis(0), MIRRORED).into_par_iter().enumerate().for_each(|(c, mut rows)| {
        let first = c * MIRRORED;
        let count = rows.nrows();
        // Columns of the rows above become the rows here, a square at a time.
        for above in (0..first).step_by(MIRRORED) {
            let square = upper.slice(ndarray::s![above..above + MIRRORED, first..first + count]);
            rows.slice_mut(ndarray::s![.., above..above + MIRRORED]).assign(&square.t());
        }
        for (i, mut row) in rows.outer_iter_mut().enumerate() {
            for j in first..first + i {
                row[j] = upper[(j, first + i)];
            }
            row.slice_mut(ndarray::s![first + i..]).assign(&upper.slice(ndarray::s![first + i, first + i..]));
        }
    });
    product.axis_iter_mut(Axis(0)).into_par_iter().enumerate().with_min_len(16).for_each(|(i, mut row)| {
        if let Some(row) = row.as_slice_mut() {
            finish(i, row);
        }
    });
    product
}

/// Rows that one task mirrors; a square of as many columns fits into the first-level cache.
const MIRRORED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, n: usize, m: usize) -> Array2<f32> {
        Array2::from_shape_fn((n, m), |_| rng.random::<f32>() - 0.5)
    }

    #[test]
    fn the_packed_product_is_the_plain_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for (n, inner, columns) in [(0, 3, 2), (1, 1, 1), (3, 0, 4), (300, 7, 33), (513, 40, 5), (1, 300, 70)] {
            let (a, b) = (random(&mut rng, inner, n), random(&mut rng, inner, columns));
            let wide = random(&mut rng, inner, columns + 3);
            for isa in Isa::available() {
                for b in [b.view(), wide.slice(ndarray::s![.., 1..=columns])] {
                    let gap = multiply(isa, a.t(), b) - a.t().dot(&b);
                    assert!(gap.iter().all(|v| v.abs() < 1e-4), "{isa}: {n}×{inner} by {inner}×{columns}");
                }
            }
        }
    }

    #[test]
    fn half_of_a_symmetric_product_gives_the_whole() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for (n, inner) in [(0, 2), (1, 1), (3, 0), (5, 3), (31, 40), (97, 20), (200, 64)] {
            let a = random(&mut rng, inner, n);
            for isa in Isa::available() {
                let half = symmetric_product(isa, a.t(), a.view(), |i, row| row[i] += 1.0);
                let whole = multiply(isa, a.t(), a.view()) + Array2::<f32>::eye(n);
                assert_eq!(half, whole, "{isa}: {n}, to the last bit");
            }
        }
    }

    /// What every processor has gives the same results on every processor: each product and sum is rounded, in order.
    #[test]
    fn the_portable_product_uses_no_wider_instructions() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let (a, b) = (random(&mut rng, 20, 100), random(&mut rng, 100, 37));
        let found = multiply(Isa::PORTABLE, a.view(), b.view());
        for ((i, c), value) in found.indexed_iter() {
            let plain = (0..100).fold(0f32, |sum, j| a[(i, j)] * b[(j, c)] + sum);
            assert_eq!(value.to_bits(), plain.to_bits(), "{i}, {c}");
        }
    }
}
