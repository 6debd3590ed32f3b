//! Differentiable matrices for the bottlenecks of learned methods.
//!
//! Everything is a matrix of f32, one row per vector. A [`Matrix`] records how it was computed; [`gradients`] traverses
//! this record backwards. Each expression runs on its own thread and gives the same result every time, so that a
//! training step that distributes its rows over threads is as reproducible as one that does not. An autodiff library is
//! the reference of the tests (`tests/reference.rs`).

use cpu::{Isa, LeftFactor, Onto, RightFactor};
use ndarray::{Array2, ArrayView2, Axis, Zip, s};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Plain = Array2<f32>;

/// From the gradient by a result to that by what it was computed from.
type Rule = Box<dyn Fn(&Plain) -> Plain + Send + Sync>;

/// The values of a parameter, ready to be a leaf of any number of expressions without being copied.
#[derive(Clone, Debug)]
pub struct Parameter(Arc<Plain>);

impl Parameter {
    /// Of the present values.
    pub fn new(values: ArrayView2<'_, f32>) -> Parameter {
        Parameter(Arc::new(row_major(values)))
    }

    /// A leaf for which gradients can be computed.
    pub fn leaf(&self) -> Matrix {
        Matrix::node(self.0.clone(), true, Vec::new())
    }
}

fn row_major(values: ArrayView2<'_, f32>) -> Plain {
    values.as_standard_layout().into_owned()
}

/// The values of a row-major matrix.
fn flat(values: &Plain) -> &[f32] {
    match values.as_slice() {
        Some(values) => values,
        None => unreachable!("every matrix here is made row by row"),
    }
}

/// A row-major matrix of these values.
fn shaped(dim: (usize, usize), values: Vec<f32>) -> Plain {
    match Array2::from_shape_vec(dim, values) {
        Ok(matrix) => matrix,
        Err(error) => unreachable!("as many values as the shape says: {error}"),
    }
}

/// The derivatives of `loss` (1×1) with respect to each of `leaves`; zeros if it does not depend on one.
pub fn gradients(loss: &Matrix, leaves: &[Matrix]) -> Vec<Array2<f32>> {
    gradients_from(vec![(loss.clone(), Array2::ones(loss.dim()))], leaves)
}

/// The derivatives of a loss with respect to each of `leaves`, given those with respect to `results`, each in the shape of
/// its matrix; zeros if none depends on a leaf.
pub fn gradients_from(results: Vec<(Matrix, Array2<f32>)>, leaves: &[Matrix]) -> Vec<Array2<f32>> {
    // What is computed later has a greater number, so that the gradient by the last of all is complete.
    let mut open: BTreeMap<u64, (Matrix, Plain)> = BTreeMap::new();
    let mut found: BTreeMap<u64, Plain> = BTreeMap::new();
    for (result, gradient) in results.into_iter().filter(|(result, _)| result.0.is_traced) {
        assert_eq!(gradient.dim(), result.dim(), "a derivative for each entry");
        match open.get_mut(&result.0.number) {
            Some((_, sum)) => *sum += &gradient,
            None => drop(open.insert(
                result.0.number,
                (
                    result,
                    match gradient.is_standard_layout() {
                        true => gradient,
                        false => row_major(gradient.view()),
                    },
                ),
            )),
        }
    }
    while let Some((number, (matrix, gradient))) = open.pop_last() {
        for (source, rule) in &matrix.0.sources {
            let part = rule(&gradient);
            match open.get_mut(&source.0.number) {
                Some((_, sum)) => *sum += &part,
                None => drop(open.insert(source.0.number, (source.clone(), part))),
            }
        }
        if matrix.0.sources.is_empty() {
            found.insert(number, gradient);
        }
    }
    let of = |leaf: &Matrix| found.get(&leaf.0.number).cloned().unwrap_or_else(|| Array2::zeros(leaf.dim()));
    leaves.iter().map(of).collect()
}

/// A matrix that records how it was computed. Mismatched shapes are a bug and panic.
#[derive(Clone)]
pub struct Matrix(Arc<Node>);

struct Node {
    /// Greater than those of all sources.
    number: u64,
    values: Arc<Plain>,
    /// Whether a leaf is among what it was computed from.
    is_traced: bool,
    /// What it was computed from, as far as that is traced.
    sources: Vec<(Matrix, Rule)>,
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Matrix").field(&self.0.values).finish()
    }
}

impl Matrix {
    fn node(values: Arc<Plain>, is_traced: bool, sources: Vec<(Matrix, Rule)>) -> Matrix {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Matrix(Arc::new(Node { number: NEXT.fetch_add(1, Ordering::Relaxed), values, is_traced, sources }))
    }

    /// A result, with a rule for each matrix that it was computed from.
    fn made<const N: usize>(values: Plain, sources: [(&Matrix, Rule); N]) -> Matrix {
        let traced = sources.into_iter().filter(|(source, _)| source.0.is_traced);
        let sources: Vec<(Matrix, Rule)> = traced.map(|(source, rule)| (source.clone(), rule)).collect();
        Matrix::node(Arc::new(values), !sources.is_empty(), sources)
    }

    /// Values that do not depend on any parameter.
    pub fn constant(values: ArrayView2<'_, f32>) -> Matrix {
        Matrix::node(Arc::new(row_major(values)), false, Vec::new())
    }

    fn plain(&self) -> &Plain {
        &self.0.values
    }

    /// The present values.
    pub fn values(&self) -> Array2<f32> {
        self.plain().clone()
    }

    /// The present values, where they are.
    pub fn view(&self) -> ArrayView2<'_, f32> {
        self.plain().view()
    }

    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        self.plain().dim()
    }

    /// The same values as a constant: no gradient passes.
    pub fn detached(&self) -> Matrix {
        Matrix::node(self.0.values.clone(), false, Vec::new())
    }

    /// `values` in the forward pass, this matrix in the backward pass: the straight-through estimator (Bengio, Léonard
    /// and Courville 2013).
    pub fn straight_through(&self, values: ArrayView2<'_, f32>) -> Matrix {
        assert_eq!(values.dim(), self.dim(), "a value for each entry");
        Matrix::made(row_major(values), [(self, Box::new(Plain::clone))])
    }

    /// Matrix product, as `isa` computes it.
    pub fn times(&self, other: &Matrix, isa: Isa) -> Matrix {
        let (rows, depth) = self.dim();
        let columns = other.dim().1;
        assert_eq!(depth, other.dim().0, "as many columns on the left as rows on the right");
        let mut product = vec![0f32; rows * columns];
        let right = RightFactor::new(isa, flat(other.plain()), columns);
        right.times(LeftFactor::Rows(flat(self.plain())), Onto::default(), &mut product);
        let (left, right) = (self.0.values.clone(), other.0.values.clone());
        let by_left = move |g: &Plain| {
            let mut out = vec![0f32; rows * depth];
            let right = RightFactor::transposed(isa, flat(&right), columns);
            right.times(LeftFactor::Rows(flat(g)), Onto::default(), &mut out);
            shaped((rows, depth), out)
        };
        let by_right = move |g: &Plain| {
            let mut out = vec![0f32; depth * columns];
            let left = LeftFactor::Columns { matrix: flat(&left), of: depth, first: 0, count: depth };
            RightFactor::new(isa, flat(g), columns).times(left, Onto::default(), &mut out);
            shaped((depth, columns), out)
        };
        let product = shaped((rows, columns), product);
        Matrix::made(product, [(self, Box::new(by_left)), (other, Box::new(by_right))])
    }

    /// Transpose.
    pub fn transposed(&self) -> Matrix {
        Matrix::made(row_major(self.plain().t()), [(self, Box::new(|g| row_major(g.t())))])
    }

    /// Sum; a single row or column is broadcast.
    pub fn plus(&self, other: &Matrix) -> Matrix {
        let [a, b] = [self.dim(), other.dim()];
        let sum = entrywise(self.plain(), other.plain(), |a, b| a + b);
        Matrix::made(sum, [(self, Box::new(move |g| reduced(g, a))), (other, Box::new(move |g| reduced(g, b)))])
    }

    /// Difference; a single row or column is broadcast.
    pub fn minus(&self, other: &Matrix) -> Matrix {
        let [a, b] = [self.dim(), other.dim()];
        let gap = entrywise(self.plain(), other.plain(), |a, b| a - b);
        let by_other = move |g: &Plain| {
            let mut sums = reduced(g, b);
            sums.mapv_inplace(|v| -v);
            sums
        };
        Matrix::made(gap, [(self, Box::new(move |g| reduced(g, a))), (other, Box::new(by_other))])
    }

    /// Product of entries; a single row or column is broadcast.
    pub fn by(&self, other: &Matrix) -> Matrix {
        let [a, b] = [self.0.values.clone(), other.0.values.clone()];
        let product = entrywise(&a, &b, |a, b| a * b);
        let (of_a, of_b) = (a.dim(), b.dim());
        let by_self = move |g: &Plain| reduced(&entrywise(g, &b, |g, b| g * b), of_a);
        let by_other = move |g: &Plain| reduced(&entrywise(g, &a, |g, a| g * a), of_b);
        Matrix::made(product, [(self, Box::new(by_self)), (other, Box::new(by_other))])
    }

    /// Quotient of entries; a single row or column is broadcast.
    pub fn over(&self, other: &Matrix) -> Matrix {
        let [a, b] = [self.0.values.clone(), other.0.values.clone()];
        let quotient = entrywise(&a, &b, |a, b| a / b);
        let (of_a, of_b) = (a.dim(), b.dim());
        let below = b.clone();
        let by_self = move |g: &Plain| reduced(&entrywise(g, &below, |g, b| g / b), of_a);
        let by_other = move |g: &Plain| {
            let of_entries = entrywise(&entrywise(g, &a, |g, a| -g * a), &b, |ga, b| ga / (b * b));
            reduced(&of_entries, of_b)
        };
        Matrix::made(quotient, [(self, Box::new(by_self)), (other, Box::new(by_other))])
    }

    /// `value` of each entry, with its derivative from the entry and its value.
    fn each(&self, value: impl Fn(f32) -> f32, derivative: impl Fn(f32, f32) -> f32 + Send + Sync + 'static) -> Matrix {
        self.with_values(self.plain().mapv(value), derivative)
    }

    /// Values that were computed entry by entry.
    fn with_values(&self, values: Plain, derivative: impl Fn(f32, f32) -> f32 + Send + Sync + 'static) -> Matrix {
        if !self.0.is_traced {
            return Matrix::node(Arc::new(values), false, Vec::new());
        }
        let (values, entries) = (Arc::new(values), self.0.values.clone());
        let held = values.clone();
        let rule = move |g: &Plain| {
            let each = Zip::from(g).and(&*entries).and(&*held);
            each.map_collect(|g, x, y| g * derivative(*x, *y))
        };
        Matrix::node(values, true, vec![(self.clone(), Box::new(rule))])
    }

    /// `factor·x`.
    pub fn scaled(&self, factor: f32) -> Matrix {
        self.each(|x| factor * x, move |_, _| factor)
    }

    /// `x + term`.
    pub fn shifted(&self, term: f32) -> Matrix {
        self.each(|x| x + term, |_, _| 1.0)
    }

    /// `max(x, 0)`; NaN stays NaN.
    pub fn rectified(&self) -> Matrix {
        self.each(|x| if x <= 0.0 { 0.0 } else { x }, |x, _| if x > 0.0 { 1.0 } else { 0.0 })
    }

    /// `tanh x`.
    pub fn tanh(&self) -> Matrix {
        self.each(f32::tanh, |_, y| 1.0 - y * y)
    }

    /// `1/(1+e^−x)`.
    pub fn sigmoid(&self) -> Matrix {
        self.each(|x| 1.0 / (1.0 + (-x).exp()), |_, y| y * (1.0 - y))
    }

    /// `e^x`.
    pub fn exp(&self) -> Matrix {
        self.each(f32::exp, |_, y| y)
    }

    /// `ln x`.
    pub fn ln(&self) -> Matrix {
        self.each(f32::ln, |x, _| 1.0 / x)
    }

    /// `√x`.
    pub fn sqrt(&self) -> Matrix {
        self.each(f32::sqrt, |_, y| 0.5 / y)
    }

    /// `softmax` of each row, as `isa` computes it.
    pub fn softmax(&self, isa: Isa) -> Matrix {
        let mut values = self.plain().clone();
        values.outer_iter_mut().for_each(|mut row| {
            if let Some(row) = row.as_slice_mut() {
                let sum = powers(isa, row).1;
                row.iter_mut().for_each(|v| *v /= sum);
            }
        });
        let held = Arc::new(values);
        let y = held.clone();
        let rule = move |g: &Plain| {
            let mut out = g * &*y;
            for (mut row, y) in out.outer_iter_mut().zip(y.outer_iter()) {
                let sum = row.sum();
                row.zip_mut_with(&y, |v, y| *v -= sum * y);
            }
            out
        };
        let sources: Vec<(Matrix, Rule)> =
            self.0.is_traced.then(|| (self.clone(), Box::new(rule) as Rule)).into_iter().collect();
        Matrix::node(held, self.0.is_traced, sources)
    }

    /// `ln softmax` of each row, as `isa` computes it.
    pub fn log_softmax(&self, isa: Isa) -> Matrix {
        let mut values = self.plain().clone();
        let mut shares = self.plain().clone();
        for (mut row, mut share) in values.outer_iter_mut().zip(shares.outer_iter_mut()) {
            if let Some(share) = share.as_slice_mut() {
                let (largest, sum) = powers(isa, share);
                share.iter_mut().for_each(|v| *v /= sum);
                row.mapv_inplace(|v| v - largest - sum.ln());
            }
        }
        let rule = move |g: &Plain| {
            let mut out = g.clone();
            for (mut row, share) in out.outer_iter_mut().zip(shares.outer_iter()) {
                let sum = row.sum();
                row.zip_mut_with(&share, |v, share| *v -= sum * share);
            }
            out
        };
        Matrix::made(values, [(self, Box::new(rule))])
    }

    /// Sums of rows, `n×1`.
    pub fn row_sums(&self) -> Matrix {
        let dim = self.dim();
        let sums = self.plain().sum_axis(Axis(1)).insert_axis(Axis(1));
        Matrix::made(sums, [(self, Box::new(move |g| spread(g, dim)))])
    }

    /// Means of columns, `1×d`.
    pub fn column_means(&self) -> Matrix {
        let dim = self.dim();
        let share = 1.0 / dim.0.max(1) as f32;
        let means = self.plain().sum_axis(Axis(0)).insert_axis(Axis(0)) * share;
        Matrix::made(means, [(self, Box::new(move |g| spread(g, dim) * share))])
    }

    /// Mean of all entries, 1×1.
    pub fn mean(&self) -> Matrix {
        let (rows, columns) = self.dim();
        self.sum().scaled(1.0 / (rows * columns).max(1) as f32)
    }

    /// Mean of the squares of all entries, 1×1.
    pub fn mean_square(&self) -> Matrix {
        let share = 1.0 / self.plain().len().max(1) as f32;
        let held = self.0.values.clone();
        let mean = Array2::from_elem((1, 1), share * self.plain().mapv(|x| x * x).sum());
        let rule = move |g: &Plain| {
            let factor = 2.0 * (share * g[(0, 0)]);
            held.mapv(|x| factor * x)
        };
        Matrix::made(mean, [(self, Box::new(rule))])
    }

    /// Sum of all entries, 1×1.
    pub fn sum(&self) -> Matrix {
        let dim = self.dim();
        let sum = Array2::from_elem((1, 1), self.plain().sum());
        Matrix::made(sum, [(self, Box::new(move |g| Array2::from_elem(dim, g[(0, 0)])))])
    }

    /// The only entry of a 1×1 matrix; of any other the first.
    pub fn scalar(&self) -> f32 {
        self.plain().first().copied().unwrap_or(f32::NAN)
    }

    /// Consecutive columns.
    pub fn columns(&self, range: Range<usize>) -> Matrix {
        if range == (0..self.dim().1) {
            return self.clone();
        }
        let (dim, part) = (self.dim(), range.clone());
        let rule = move |g: &Plain| {
            let mut out = Array2::zeros(dim);
            out.slice_mut(s![.., part.clone()]).assign(g);
            out
        };
        Matrix::made(row_major(self.plain().slice(s![.., range])), [(self, Box::new(rule))])
    }

    /// The rows with these numbers, which may repeat.
    pub fn rows(&self, numbers: &[u32]) -> Matrix {
        let (dim, numbers) = (self.dim(), numbers.iter().map(|&n| n as usize).collect::<Vec<_>>());
        let values = self.plain().select(Axis(0), &numbers);
        let rule = move |g: &Plain| {
            let mut out = Array2::zeros(dim);
            numbers.iter().zip(g.outer_iter()).for_each(|(&n, g)| {
                let mut row = out.row_mut(n);
                row += &g;
            });
            out
        };
        Matrix::made(values, [(self, Box::new(rule))])
    }

    /// The columns with these numbers, which may repeat; the number of columns itself stands for a column of zeros.
    pub fn gather_columns(&self, numbers: &[u32]) -> Matrix {
        let (rows, columns) = self.dim();
        let numbers: Vec<usize> = numbers.iter().map(|&n| n as usize).collect();
        let at = |(i, j): (usize, usize)| if numbers[j] == columns { 0.0 } else { self.plain()[(i, numbers[j])] };
        let values = Array2::from_shape_fn((rows, numbers.len()), at);
        let rule = move |g: &Plain| {
            let mut out = Array2::zeros((rows, columns));
            for ((i, j), g) in g.indexed_iter().filter(|((_, j), _)| numbers[*j] < columns) {
                out[(i, numbers[j])] += g;
            }
            out
        };
        Matrix::made(values, [(self, Box::new(rule))])
    }

    /// The same entries in the same order, row by row, in rows of `columns`.
    pub fn reshaped(&self, columns: usize) -> Matrix {
        let dim = self.dim();
        let new = (dim.0 * dim.1 / columns.max(1), columns);
        let values = shaped(new, flat(self.plain()).to_vec());
        Matrix::made(values, [(self, Box::new(move |g| shaped(dim, flat(g).to_vec())))])
    }

    /// Matrices side by side.
    pub fn beside(parts: &[Matrix]) -> Matrix {
        if let [only] = parts {
            return only.clone();
        }
        let views: Vec<ArrayView2<'_, f32>> = parts.iter().map(|part| part.plain().view()).collect();
        let values = match ndarray::concatenate(Axis(1), &views) {
            Ok(values) => row_major(values.view()),
            Err(error) => unreachable!("parts have as many rows as each other: {error}"),
        };
        let (mut sources, mut first): (Vec<(Matrix, Rule)>, usize) = (Vec::new(), 0);
        for part in parts {
            let here = first..first + part.dim().1;
            first = here.end;
            if part.0.is_traced {
                let rule = move |g: &Plain| row_major(g.slice(s![.., here.clone()]));
                sources.push((part.clone(), Box::new(rule)));
            }
        }
        Matrix::node(Arc::new(values), !sources.is_empty(), sources)
    }
}

/// `f` of each pair of entries; a single row or column is broadcast.
fn entrywise(a: &Plain, b: &Plain, f: impl Fn(f32, f32) -> f32) -> Plain {
    if a.dim() == b.dim() {
        let values = flat(a).iter().zip(flat(b)).map(|(a, b)| f(*a, *b)).collect();
        return shaped(a.dim(), values);
    }
    let longer = |a: usize, b: usize| if a == 1 { b } else { a };
    let dim = (longer(a.nrows(), b.nrows()), longer(a.ncols(), b.ncols()));
    match (a.broadcast(dim), b.broadcast(dim)) {
        (Some(a), Some(b)) => shaped(dim, a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect()),
        _ => panic!("shapes {:?} and {:?} do not fit together", a.dim(), b.dim()),
    }
}

/// The transpose of broadcasting: sums over rows or columns of which `dim` has one.
fn reduced(g: &Plain, dim: (usize, usize)) -> Plain {
    if g.dim() == dim {
        return g.clone();
    }
    let rows = if dim.0 == g.nrows() { g.clone() } else { g.sum_axis(Axis(0)).insert_axis(Axis(0)) };
    if dim.1 == rows.ncols() { rows } else { rows.sum_axis(Axis(1)).insert_axis(Axis(1)) }
}

/// Broadcast to `dim`.
fn spread(g: &Plain, dim: (usize, usize)) -> Plain {
    match g.broadcast(dim) {
        Some(view) => row_major(view),
        None => unreachable!("a single row or column"),
    }
}

/// Weights below this power of e, against that of the largest, are nothing: they are lost in every sum, and products of them would not be
/// normal numbers, which cost a hundred times as much.
const NOTHING: f32 = -60.0;

/// Replaces the values of a row by `e^(x − largest)`; the largest value, and the sum of the powers.
fn powers(isa: Isa, row: &mut [f32]) -> (f32, f32) {
    let largest = row.iter().fold(f32::NEG_INFINITY, |most, &x| if x > most { x } else { most });
    row.iter_mut().for_each(|x| *x = if *x - largest < NOTHING { f32::NEG_INFINITY } else { *x - largest });
    cpu::exp(isa, row);
    let (whole, tail) = row.as_chunks::<8>();
    let mut sums = [0f32; 8];
    for powers in whole {
        sums.iter_mut().zip(powers).for_each(|(sum, p)| *sum += p);
    }
    (largest, sums.iter().sum::<f32>() + tail.iter().sum::<f32>())
}

#[cfg(test)]
mod tests;
