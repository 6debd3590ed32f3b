//! Eigenvalues and eigenvectors of symmetric matrices, in f64 and on all threads.
//!
//! The matrix becomes tridiagonal (`tridiagonal.rs`). The implicit QL iteration (Golub and Van Loan, Matrix Computations, section
//! 8.3.3) then finds the eigenvalues by plane rotations. Rotations act on two columns of the matrix of eigenvectors, in each of its
//! rows alike: so they are noted down, and then applied to slabs of a few rows, which stay in the cache.

use crate::dispatch::{Kernel, dispatch};
use crate::isa::Isa;
use crate::lanes::Lanes;
use crate::tridiagonal::Tridiagonal;
use rayon::prelude::*;

/// Rows of a slab: a column of one is a few registers.
const SLAB: usize = 16;

/// Rotations that are noted down at a time.
const NOTED: usize = 1 << 20;

/// Eigenvalues and eigenvectors.
#[derive(Clone, Debug)]
pub struct Eigen {
    /// Eigenvalues, largest first.
    pub values: Vec<f64>,
    /// `n×n`, row-major; column `j` is the unit eigenvector of value `j`.
    pub vectors: Vec<f64>,
}

/// The eigenvalues of the symmetric `n×n` matrix `a`, largest first. Runs on the current thread pool; no result depends on the number
/// of threads. The error of each is of the order of the rounding of the largest. Values that are not finite give some values.
///
/// # Panics
/// When `a` does not have `n·n` values.
pub fn symmetric_eigenvalues(isa: Isa, a: Vec<f64>, n: usize) -> Vec<f64> {
    let (a, unit) = in_range(a, n);
    let Tridiagonal { mut diagonal, mut below, .. } = Tridiagonal::of(isa, a, n);
    iterate(&mut diagonal, &mut below, None);
    diagonal.iter_mut().for_each(|value| *value *= unit);
    diagonal.sort_unstable_by(|a, b| b.total_cmp(a));
    diagonal
}

/// [`symmetric_eigenvalues`] with eigenvectors.
///
/// # Panics
/// As there.
pub fn symmetric_eigen(isa: Isa, a: Vec<f64>, n: usize) -> Eigen {
    let (a, unit) = in_range(a, n);
    let Tridiagonal { mut diagonal, mut below, factors, vectors } = Tridiagonal::of(isa, a, n);
    // Rows of Q, slab by slab, column by column.
    let mut slabs = vec![[0f64; SLAB]; n.div_ceil(SLAB) * n];
    slabs.par_chunks_mut(n.max(1)).enumerate().for_each(|(s, slab)| {
        (0..SLAB.min(n - s * SLAB)).for_each(|r| slab[s * SLAB + r][r] = 1.0);
        dispatch(isa, Reflect { slab, n, factors: &factors, vectors: &vectors });
    });
    drop(vectors);
    let mut apply = |runs: &[Run], turns: &[[f64; 2]]| {
        slabs.par_chunks_mut(n.max(1)).for_each(|slab| dispatch(isa, Turn { slab, runs, turns }));
    };
    iterate(&mut diagonal, &mut below, Some(&mut apply));
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]).then(a.cmp(&b)));
    let mut sorted = vec![0f64; n * n];
    sorted.par_chunks_mut((SLAB * n).max(1)).zip(slabs.par_chunks(n.max(1))).for_each(|(rows, slab)| {
        for (r, row) in rows.chunks_exact_mut(n).enumerate() {
            row.iter_mut().zip(&order).for_each(|(value, &j)| *value = slab[j][r]);
        }
    });
    Eigen { values: order.iter().map(|&j| diagonal[j] * unit).collect(), vectors: sorted }
}

/// The matrix over a power of two near its largest entry, so that no square leaves the range of f64, and that power.
fn in_range(mut a: Vec<f64>, n: usize) -> (Vec<f64>, f64) {
    assert!(a.len() == n * n, "{n}×{n} values");
    let most = a.iter().fold(0f64, |most, v| most.max(v.abs()));
    if most <= 0.0 || !most.is_finite() {
        return (a, 1.0);
    }
    let unit = most.log2().floor().clamp(-1000.0, 1000.0).exp2();
    a.iter_mut().for_each(|v| *v *= unit.recip());
    (a, unit)
}

/// Rotations of one sweep: of columns `last` and `last + 1`, and so on down to `first` and `first + 1`.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    last: usize,
}

/// Takes runs, and cosine and sine of each of their rotations.
type Apply<'f> = &'f mut dyn FnMut(&[Run], &[[f64; 2]]);

/// Maximum number of sweeps per eigenvalue; a few are usual.
const SWEEPS: usize = 60;

/// The QL iteration: `diagonal` becomes the eigenvalues of the tridiagonal matrix.
fn iterate(diagonal: &mut [f64], below: &mut [f64], mut apply: Option<Apply<'_>>) {
    let n = diagonal.len();
    let (mut runs, mut turns) = (Vec::new(), Vec::new());
    let largest = diagonal.iter().zip(&*below).fold(0f64, |most, (d, e)| most.max(d.abs() + e.abs()));
    // The reduction has rounded on this scale already.
    let floor = 0.05 * f64::EPSILON * largest;
    for l in 0..n {
        for _ in 0..SWEEPS {
            let split = (l..n - 1).find(|&m| {
                below[m].abs() <= floor.max(0.5 * f64::EPSILON * (diagonal[m].abs() + diagonal[m + 1].abs()))
            });
            let m = split.unwrap_or(n - 1);
            if m == l {
                break;
            }
            let first = sweep(diagonal, below, l, m, &mut turns);
            runs.push(Run { first, last: m - 1 });
            if turns.len() >= NOTED {
                if let Some(apply) = &mut apply {
                    apply(&runs, &turns);
                }
                runs.clear();
                turns.clear();
            }
        }
    }
    if let Some(apply) = &mut apply {
        apply(&runs, &turns);
    }
}

/// One sweep over rows `l` to `m`; notes its rotations and returns the first column that it has reached.
fn sweep(diagonal: &mut [f64], below: &mut [f64], l: usize, m: usize, turns: &mut Vec<[f64; 2]>) -> usize {
    // Wilkinson's shift.
    let half = (diagonal[l + 1] - diagonal[l]) / (2.0 * below[l]);
    let root = half.hypot(1.0).copysign(half);
    let mut g = diagonal[m] - diagonal[l] + below[l] / (half + root);
    let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let (f, b) = (sine * below[i], cosine * below[i]);
        let r = (f * f + g * g).sqrt();
        below[i + 1] = r;
        if r == 0.0 {
            // The matrix falls apart here.
            diagonal[i + 1] -= p;
            below[m] = 0.0;
            return i + 1;
        }
        (sine, cosine) = (f / r, g / r);
        g = diagonal[i + 1] - p;
        let r = (diagonal[i] - g) * sine + 2.0 * cosine * b;
        p = sine * r;
        diagonal[i + 1] = g + p;
        g = cosine * r - b;
        turns.push([cosine, sine]);
    }
    diagonal[l] -= p;
    below[l] = g;
    below[m] = 0.0;
    l
}

/// Rows times the reflections in their order.
struct Reflect<'a> {
    slab: &'a mut [[f64; SLAB]],
    n: usize,
    factors: &'a [f64],
    vectors: &'a [f64],
}

impl Kernel for Reflect<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (k, (factor, vector)) in self.factors.iter().zip(self.vectors.chunks_exact(self.n.max(1))).enumerate() {
            if *factor == 0.0 {
                continue;
            }
            let (vector, columns) = (&vector[k + 1..], &mut self.slab[k + 1..]);
            let mut sums = [[0f64; SLAB]; 2];
            let (pairs, tail) = columns.as_chunks::<2>();
            for (pair, v) in pairs.iter().zip(vector.as_chunks::<2>().0) {
                for h in 0..2 {
                    for l in 0..SLAB {
                        sums[h][l] += v[h] * pair[h][l];
                    }
                }
            }
            if let ([column], Some(v)) = (tail, vector.last()) {
                for l in 0..SLAB {
                    sums[0][l] += v * column[l];
                }
            }
            let mut scaled = [0f64; SLAB];
            for l in 0..SLAB {
                scaled[l] = factor * (sums[0][l] + sums[1][l]);
            }
            for (column, v) in columns.iter_mut().zip(vector) {
                for l in 0..SLAB {
                    column[l] -= v * scaled[l];
                }
            }
        }
    }
}

/// Rows times rotations in their order.
struct Turn<'a> {
    slab: &'a mut [[f64; SLAB]],
    runs: &'a [Run],
    turns: &'a [[f64; 2]],
}

impl Kernel for Turn<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut turns = self.turns;
        for &Run { first, last } in self.runs {
            let (here, rest) = turns.split_at(last + 1 - first);
            turns = rest;
            let columns = &mut self.slab[first..last + 2];
            let mut upper = columns[columns.len() - 1];
            for ([cosine, sine], i) in here.iter().zip((0..columns.len() - 1).rev()) {
                let lower = columns[i];
                let (mut turned, mut next) = ([0f64; SLAB], [0f64; SLAB]);
                for l in 0..SLAB {
                    turned[l] = sine * lower[l] + cosine * upper[l];
                    next[l] = cosine * lower[l] - sine * upper[l];
                }
                columns[i + 1] = turned;
                upper = next;
            }
            columns[0] = upper;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// `n×n` with the given eigenvalues in a random basis.
    fn with_spectrum(values: &[f64], seed: u64) -> Vec<f64> {
        let n = values.len();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut a = vec![0f64; n * n];
        (0..n).for_each(|i| a[i * n + i] = values[i]);
        // Reflections at random vectors, from both sides.
        for _ in 0..3 {
            let v: Vec<f64> = (0..n).map(|_| rng.random::<f64>() - 0.5).collect();
            let scale = 2.0 / v.iter().map(|x| x * x).sum::<f64>();
            for _ in 0..2 {
                let image: Vec<f64> =
                    a.chunks_exact(n).map(|row| row.iter().zip(&v).map(|(a, v)| a * v).sum()).collect();
                let turned = |i: usize, j: usize| a[i * n + j] - scale * image[i] * v[j];
                a = (0..n * n).map(|at| turned(at % n, at / n)).collect();
            }
        }
        let even = |i: usize, j: usize| 0.5 * (a[i * n + j] + a[j * n + i]);
        (0..n * n).map(|at| even(at / n, at % n)).collect()
    }

    fn check(a: &[f64], n: usize, name: &str) {
        let size = a.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let tolerance = 1e-14 * n.max(10) as f64;
        for isa in Isa::available() {
            let Eigen { values, vectors } = symmetric_eigen(isa, a.to_vec(), n);
            assert!(values.is_sorted_by(|a, b| a >= b), "{name}");
            for (x, y) in values.iter().zip(symmetric_eigenvalues(isa, a.to_vec(), n)) {
                assert!((x - y).abs() <= tolerance * size * n as f64, "{name}: {x}, and {y} without vectors");
            }
            for i in 0..n {
                for j in 0..n {
                    let image: f64 = (0..n).map(|k| a[i * n + k] * vectors[k * n + j]).sum();
                    let gap = (image - values[j] * vectors[i * n + j]).abs();
                    assert!(gap <= tolerance * size * n as f64, "{name}, {isa}: A·v is off by {gap} of {size}");
                    let product: f64 = (0..n).map(|k| vectors[k * n + i] * vectors[k * n + j]).sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() <= tolerance, "{name}, {isa}: vectors {i} and {j}: {product}");
                }
            }
        }
    }

    #[test]
    fn spectra_of_every_kind_are_found() {
        for n in [1usize, 2, 3, 15, 33, 70] {
            let at = |of: fn(usize) -> f64| -> Vec<f64> { (0..n).map(of).collect() };
            for (name, values) in [
                ("a power law", at(|i| (i as f64 + 1.0).powf(-1.3))),
                ("clusters", at(|i| (i % 3) as f64 + 1e-13 * i as f64)),
                ("equal", at(|_| 2.5)),
                ("few that are not zero", at(|i| if i < 3 { 1.0 / (i + 1) as f64 } else { 0.0 })),
                ("graded", at(|i| 10f64.powi(-(i as i32)))),
                ("both signs", at(|i| i as f64 - 7.0)),
            ] {
                let a = with_spectrum(&values, n as u64);
                check(&a, n, name);
                for unit in [1e-160, 1e150] {
                    let scaled: Vec<f64> = a.iter().map(|v| v * unit).collect();
                    check(&scaled, n, name);
                }
                let mut expected = values;
                expected.sort_by(|a, b| b.total_cmp(a));
                for (x, y) in symmetric_eigenvalues(Isa::widest(), a, n).iter().zip(&expected) {
                    assert!((x - y).abs() < 1e-12 * (n as f64), "{name}, n = {n}: {x}, not {y}");
                }
            }
            check(&vec![0.0; n * n], n, "zero");
            let diagonal: Vec<f64> = (0..n * n).map(|at| if at % (n + 1) == 0 { at as f64 } else { 0.0 }).collect();
            check(&diagonal, n, "diagonal");
        }
        check(&[1.0, 1e-161, 2e-161, 1e-161, 2.0, 0.5, 2e-161, 0.5, 3.0], 3, "squares that vanish");
        assert!(symmetric_eigen(Isa::widest(), Vec::new(), 0).values.is_empty());
    }

    #[test]
    fn values_that_are_not_finite_end() {
        for bad in [f64::NAN, f64::INFINITY] {
            let mut a = with_spectrum(&[1.0; 40], 3);
            (a[7], a[280]) = (bad, bad);
            assert_eq!(symmetric_eigen(Isa::widest(), a, 40).values.len(), 40);
        }
    }

    #[test]
    fn threads_change_nothing() {
        let values: Vec<f64> = (0..150).map(|i| 1.0 / (i + 1) as f64).collect();
        let a = with_spectrum(&values, 9);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let found = pool.install(|| symmetric_eigen(Isa::widest(), a.clone(), 150));
            found.values.into_iter().chain(found.vectors).map(f64::to_bits).collect::<Vec<u64>>()
        };
        assert_eq!(on(1), on(3));
    }
}
