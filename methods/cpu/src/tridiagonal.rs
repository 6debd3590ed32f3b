//! Reduction of a symmetric matrix to tridiagonal form, in f64: the costly half of finding eigenvalues.
//!
//! Householder reflections take one row after the other (Golub and Van Loan, Matrix Computations, section 8.3.1). Each needs
//! one product of the rest of the matrix with a vector, which reads the rest once and is as fast as the memory. Reflections change the rest of the
//! matrix only after [`PANEL`] of them (Dongarra, Sorensen and Hammarling 1989), so that it is written seldom.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;
use rayon::prelude::*;

/// Reflections after which the rest of the matrix is brought up to date.
const PANEL: usize = 32;

/// Rows of one task. Each sum is formed by one task, so no result depends on the number of threads.
const ROWS: usize = 32;

/// `A = Q·T·Qᵀ` with `T` tridiagonal and `Q = H_0·H_1·…`, where `H_k = I − τ_k·v_k·v_kᵀ`.
#[derive(Clone, Debug)]
pub(crate) struct Tridiagonal {
    /// Diagonal of `T`.
    pub(crate) diagonal: Vec<f64>,
    /// Entries below it, and a last one of zero.
    pub(crate) below: Vec<f64>,
    /// `τ_k`; zero for no reflection.
    pub(crate) factors: Vec<f64>,
    /// Row `k` of this `n×n` matrix holds `v_k` in the columns behind `k`.
    pub(crate) vectors: Vec<f64>,
}

impl Tridiagonal {
    /// Of the symmetric `n×n` matrix `a`, on the current thread pool.
    pub(crate) fn of(isa: Isa, mut a: Vec<f64>, n: usize) -> Tridiagonal {
        let (mut diagonal, mut below, mut factors) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let mut ws: Vec<Vec<f64>> = Vec::with_capacity(PANEL);
        let mut from = 0;
        for k in 0..n {
            // Row k as it would be, had all reflections of this panel been applied.
            let (before, rest) = a.split_at_mut(k * n);
            let (row, rest) = rest.split_at_mut(n);
            for (w, v) in ws.iter().zip(before[from * n..].chunks_exact(n)) {
                add(isa, -w[k], &v[k..], &mut row[k..]);
                add(isa, -v[k], &w[k..], &mut row[k..]);
            }
            diagonal[k] = row[k];
            let v = &mut row[k + 1..];
            (factors[k], below[k]) = reflect(isa, v);
            let mut w = vec![0f64; n];
            if factors[k] != 0.0 {
                let y = &mut w[k + 1..];
                let tasks = y.par_chunks_mut(ROWS).zip(rest.par_chunks(ROWS * n));
                tasks.with_min_len(MIN_TASK / (ROWS * (n - k))).for_each(|(y, rows)| {
                    dispatch(isa, Dots { rows, n, first: k + 1, v, y });
                });
                for (w, earlier) in ws.iter().zip(before[from * n..].chunks_exact(n)) {
                    let (w, earlier) = (&w[k + 1..], &earlier[k + 1..]);
                    let (of_w, of_v) = (dot(isa, w, v), dot(isa, earlier, v));
                    add(isa, -of_w, earlier, y);
                    add(isa, -of_v, w, y);
                }
                let tau = factors[k];
                y.iter_mut().for_each(|y| *y *= tau);
                let half = -0.5 * tau * dot(isa, y, v);
                add(isa, half, v, y);
            }
            ws.push(w);
            if ws.len() == PANEL {
                update(isa, &mut a, n, from, &ws);
                ws.clear();
                from = k + 1;
            }
        }
        Tridiagonal { diagonal, below, factors, vectors: a }
    }
}

/// Values of the matrix for which a thread is worth its start.
const MIN_TASK: usize = 1 << 16;

/// Turns `x` into `v` with `(I − τ·v·vᵀ)·x = β·e_0` and `v_0 = 1`; returns `(τ, β)`. No reflection if nothing is behind `x_0`, or
/// next to nothing.
fn reflect(isa: Isa, x: &mut [f64]) -> (f64, f64) {
    let Some((&first, tail)) = x.split_first() else { return (0.0, 0.0) };
    let square = dot(isa, tail, tail);
    // So small that squares have lost their digits, and far below what the reduction of a matrix near 1 rounds off.
    if square < f64::MIN_POSITIVE / f64::EPSILON {
        return (0.0, first);
    }
    let norm = (first * first + square).sqrt();
    let beta = if first > 0.0 { -norm } else { norm };
    let scale = (first - beta).recip();
    x.iter_mut().for_each(|v| *v *= scale);
    x[0] = 1.0;
    ((beta - first) / beta, beta)
}

/// `A ← A − Σ_p (v_p·w_pᵀ + w_p·v_pᵀ)` for the rows and columns behind the panel that begins with row `from`.
fn update(isa: Isa, a: &mut [f64], n: usize, from: usize, ws: &[Vec<f64>]) {
    let first = from + ws.len();
    let (before, rest) = a.split_at_mut(first * n);
    let vs: Vec<&[f64]> = before[from * n..].chunks_exact(n).collect();
    rest.par_chunks_mut(ROWS * n).enumerate().for_each(|(task, rows)| {
        dispatch(isa, Update { rows, n, first, row: first + task * ROWS, vs: &vs, ws });
    });
}

/// Partial sums, so that additions overlap.
const SUMS: usize = 32;

#[inline(always)]
fn dot_here(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; SUMS];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
    for (a, b) in a.iter().zip(b) {
        for l in 0..SUMS {
            sums[l] += a[l] * b[l];
        }
    }
    let tail: f64 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + tail
}

/// `Σ_i a_i·b_i`.
fn dot(isa: Isa, a: &[f64], b: &[f64]) -> f64 {
    let mut y = [0.0];
    dispatch(isa, Dots { rows: a, n: a.len(), first: 0, v: b, y: &mut y });
    y[0]
}

/// `y_i = rows_i[first..]·v`.
struct Dots<'a> {
    rows: &'a [f64],
    n: usize,
    first: usize,
    v: &'a [f64],
    y: &'a mut [f64],
}

impl Kernel for Dots<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (y, row) in self.y.iter_mut().zip(self.rows.chunks_exact(self.n.max(1))) {
            *y = dot_here(&row[self.first..], self.v);
        }
    }
}

/// `y ← y + factor·x`.
fn add(isa: Isa, factor: f64, x: &[f64], y: &mut [f64]) {
    dispatch(isa, Add { factor, x, y });
}

struct Add<'a> {
    factor: f64,
    x: &'a [f64],
    y: &'a mut [f64],
}

impl Kernel for Add<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y += self.factor * x;
        }
    }
}

/// Columns whose new values stay in registers while the reflections of a panel pass.
const COLUMNS: usize = 32;

struct Update<'a> {
    rows: &'a mut [f64],
    n: usize,
    /// The first column, and the number of the first row.
    first: usize,
    row: usize,
    vs: &'a [&'a [f64]],
    ws: &'a [Vec<f64>],
}

impl Kernel for Update<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Update { rows, n, first, row, vs, ws } = self;
        for from in (first..n).step_by(COLUMNS) {
            let to = n.min(from + COLUMNS);
            for (i, values) in rows.chunks_exact_mut(n).enumerate() {
                let values = &mut values[from..to];
                let mut sums = [0f64; COLUMNS];
                sums[..values.len()].copy_from_slice(values);
                for (v, w) in vs.iter().zip(ws) {
                    let (v_i, w_i) = (v[row + i], w[row + i]);
                    let (v, w) = (&v[from..to], &w[from..to]);
                    if let (Ok(v), Ok(w)) = (<&[f64; COLUMNS]>::try_from(v), <&[f64; COLUMNS]>::try_from(w)) {
                        for l in 0..COLUMNS {
                            sums[l] -= v_i * w[l] + w_i * v[l];
                        }
                    } else {
                        for (sum, (v, w)) in sums.iter_mut().zip(v.iter().zip(w)) {
                            *sum -= v_i * w + w_i * v;
                        }
                    }
                }
                values.copy_from_slice(&sums[..to - from]);
            }
        }
    }
}
