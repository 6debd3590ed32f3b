//! Multinomial logistic regression, fitted by L-BFGS on all rows: the classifier of the measurement `linear_probe`.
//!
//! With rows `x`, classes `y`, weights `W` and intercepts `b`, it minimizes
//! `1/n · Σ −log softmax(W·x + b)_y + λ/2·‖W‖²`. Rows are standardized first. The function is convex, so the minimum
//! does not depend on where the search starts.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Rows per task. Sums are added in the order of tasks, so that they do not depend on the number of threads.
const ROWS: usize = 1024;

/// The search ends when no component of the gradient is larger, or after this many steps.
const TOLERANCE: f64 = 1e-5;
const STEPS: usize = 500;

/// Steps that L-BFGS remembers.
const MEMORY: usize = 10;

/// A step must lower the function by this share of what its slope promises (Armijo).
const DECREASE: f64 = 1e-4;

/// Halvings of a step before the search gives up: the function is then flat within rounding.
const HALVINGS: usize = 40;

/// A trained classifier.
#[derive(Clone, Debug)]
pub struct Logistic {
    /// Mean of each component, and what it is divided by.
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// A row for each component and one for the intercept; a column for each class.
    weights: Array2<f64>,
    /// Whether the search reached its tolerance.
    pub converged: bool,
}

impl Logistic {
    /// Trains on rows and their classes, which are below `classes`. The search starts at the weights of `start`, or at 0.
    /// Runs on the current thread pool.
    pub fn fit(
        rows: ArrayView2<'_, f32>,
        labels: &[usize],
        classes: usize,
        penalty: f64,
        start: Option<&Logistic>,
    ) -> Logistic {
        let mean = methods::algorithms::moments::mean(rows);
        let deviations = methods::algorithms::moments::deviations(rows, &mean);
        // A constant component says nothing about classes.
        let scale: Vec<f64> = deviations.into_iter().map(|d| if d > 0.0 { d } else { 1.0 }).collect();
        let problem = Problem { rows: standardized(rows, &mean, &scale), labels, classes, penalty };
        let zeros = || Array2::zeros((rows.ncols() + 1, classes));
        let first = start.map(|start| start.weights.clone()).filter(|weights| weights.dim() == zeros().dim());
        let (weights, converged) = problem.minimize(first.unwrap_or_else(zeros));
        Logistic { mean, scale, weights, converged }
    }

    /// The class of each row; of equally probable ones, the first.
    pub fn predict(&self, rows: ArrayView2<'_, f32>) -> Vec<usize> {
        let rows = standardized(rows, &self.mean, &self.scale);
        let scores = rows.dot(&self.weights);
        let best = |row: ndarray::ArrayView1<'_, f64>| {
            let mut best = 0;
            row.iter().enumerate().for_each(|(class, score)| {
                if *score > row[best] {
                    best = class;
                }
            });
            best
        };
        scores.outer_iter().map(best).collect()
    }
}

/// Rows with mean 0 and deviation 1, and a last component of 1 for the intercept.
fn standardized(rows: ArrayView2<'_, f32>, mean: &[f64], scale: &[f64]) -> Array2<f64> {
    let (n, dim) = rows.dim();
    let mut out = Array2::ones((n, dim + 1));
    for (mut out, row) in out.outer_iter_mut().zip(rows.outer_iter()) {
        let values = row.iter().zip(mean.iter().zip(scale));
        out.iter_mut().zip(values).for_each(|(out, (&x, (mean, scale)))| *out = (f64::from(x) - mean) / scale);
    }
    out
}

/// Tasks whose gradients are in memory at a time.
const AT_ONCE: usize = 16;

/// What is minimized.
struct Problem<'l> {
    /// Standardized, with a last component of 1.
    rows: Array2<f64>,
    labels: &'l [usize],
    classes: usize,
    penalty: f64,
}

/// A point of the search.
struct Place {
    weights: Array2<f64>,
    value: f64,
    gradient: Array2<f64>,
}

impl Problem<'_> {
    fn at(&self, weights: Array2<f64>) -> Place {
        let tasks: Vec<_> = self.rows.axis_chunks_iter(Axis(0), ROWS).zip(self.labels.chunks(ROWS)).collect();
        let n = self.rows.nrows() as f64;
        let (mut value, mut gradient) = (0.0, Array2::zeros(weights.dim()));
        // A few at a time, because each has a gradient of its own.
        for tasks in tasks.chunks(AT_ONCE) {
            let parts: Vec<(f64, Array2<f64>)> =
                tasks.par_iter().map(|(rows, labels)| self.part(*rows, labels, &weights)).collect();
            for (loss, part) in &parts {
                value += loss;
                gradient += part;
            }
        }
        let penalized = weights.slice(s![..-1, ..]);
        value = value / n + 0.5 * self.penalty * penalized.iter().map(|w| w * w).sum::<f64>();
        gradient /= n;
        gradient.slice_mut(s![..-1, ..]).scaled_add(self.penalty, &penalized);
        Place { value, gradient, weights }
    }

    /// Loss and gradient of some rows.
    fn part(&self, rows: ArrayView2<'_, f64>, labels: &[usize], weights: &Array2<f64>) -> (f64, Array2<f64>) {
        let mut scores = Array2::zeros((rows.nrows(), self.classes));
        general_mat_mul(1.0, &rows, weights, 0.0, &mut scores);
        let mut loss = 0.0;
        for (mut row, &label) in scores.outer_iter_mut().zip(labels) {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let own = row[label];
            row.mapv_inplace(|score| (score - most).exp());
            let sum = row.sum();
            loss += sum.ln() + most - own;
            row.mapv_inplace(|share| share / sum);
            row[label] -= 1.0;
        }
        let mut gradient = Array2::zeros(weights.dim());
        general_mat_mul(1.0, &rows.t(), &scores, 0.0, &mut gradient);
        (loss, gradient)
    }

    /// L-BFGS (Nocedal 1980) with steps that are halved until they lower the function enough.
    fn minimize(&self, first: Array2<f64>) -> (Array2<f64>, bool) {
        let mut here = self.at(first);
        // Steps, changes of the gradient, and 1 over their product; the oldest first.
        let mut past: Vec<(Array2<f64>, Array2<f64>, f64)> = Vec::new();
        for _ in 0..STEPS {
            if here.gradient.iter().all(|g| g.abs() <= TOLERANCE) {
                return (here.weights, true);
            }
            let mut direction = direction(&here.gradient, &past);
            let mut slope = dot(&direction, &here.gradient);
            if slope >= 0.0 {
                past.clear();
                direction = -&here.gradient;
                slope = -dot(&here.gradient, &here.gradient);
            }
            // The first step has no scale of its own.
            let mut length = if past.is_empty() { 1.0 / slope.abs().sqrt().max(1.0) } else { 1.0 };
            let mut next = None;
            for _ in 0..HALVINGS {
                let place = self.at(&here.weights + &(&direction * length));
                if place.value <= here.value + DECREASE * length * slope {
                    next = Some(place);
                    break;
                }
                length /= 2.0;
            }
            let Some(next) = next else { return (here.weights, false) };
            let (step, change) = (&next.weights - &here.weights, &next.gradient - &here.gradient);
            let curvature = dot(&step, &change);
            if curvature > f64::EPSILON * dot(&change, &change) {
                past.push((step, change, 1.0 / curvature));
                if past.len() > MEMORY {
                    past.remove(0);
                }
            }
            here = next;
        }
        (here.weights, false)
    }
}

fn dot(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The direction of the next step: minus the gradient times the inverse of the curvature seen so far.
fn direction(gradient: &Array2<f64>, past: &[(Array2<f64>, Array2<f64>, f64)]) -> Array2<f64> {
    let mut q = -gradient;
    let mut shares = Vec::with_capacity(past.len());
    for (step, change, inverse) in past.iter().rev() {
        let share = inverse * dot(step, &q);
        q.scaled_add(-share, change);
        shares.push(share);
    }
    if let Some((_, change, inverse)) = past.last() {
        q *= 1.0 / (inverse * dot(change, change));
    }
    for ((step, change, inverse), share) in past.iter().zip(shares.into_iter().rev()) {
        let other = inverse * dot(change, &q);
        q.scaled_add(share - other, step);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    /// Four rows of one component, which are −1.5, −0.5, 0.5 and 1.5 before they are standardized.
    fn line() -> Array2<f32> {
        arr2(&[[-1.5], [-0.5], [0.5], [1.5]])
    }

    #[test]
    fn the_minimum_has_no_slope_and_is_that_of_one_dimension() {
        let labels = [0, 1, 0, 1];
        let found = Logistic::fit(line().view(), &labels, 2, 0.25, None);
        assert!(found.converged);
        // By symmetry W = (−w, w) and b = 0. The derivative in w is Σ (σ(2wx) − y)·x·2 + 2w, over standardized x.
        let w = found.weights[(0, 1)];
        assert!((found.weights[(0, 0)] + w).abs() < 1e-4 && w > 0.0, "{:?}", found.weights);
        let x = [-1.5, -0.5, 0.5, 1.5].map(|x: f64| x / 1.25f64.sqrt());
        let slope: f64 = x.iter().zip(labels).map(|(x, y)| (1.0 / (1.0 + (-2.0 * w * x).exp()) - y as f64) * x).sum();
        assert!((slope + w).abs() < 1e-4, "{slope} {w}");
    }

    #[test]
    fn the_start_does_not_matter_and_neither_do_units() {
        let rows = Array2::from_shape_fn((300, 4), |(i, j)| ((i * (j + 3) * 7919 + j * 104_729) % 101) as f32);
        let labels: Vec<usize> =
            (0..300).map(|i| (rows[(i, 0)] + rows[(i, 1)] > 100.0) as usize + (i % 11 == 0) as usize).collect();
        let cold = Logistic::fit(rows.view(), &labels, 3, 0.01, None);
        let other = Logistic::fit(rows.view(), &labels, 3, 1.0, None);
        let warm = Logistic::fit(rows.view(), &labels, 3, 0.01, Some(&other));
        assert!(cold.converged && warm.converged);
        assert!((&cold.weights - &warm.weights).iter().all(|d| d.abs() < 0.01), "{cold:?} {warm:?}");
        assert_eq!(cold.predict(rows.view()), warm.predict(rows.view()));
        let scaled = rows.mapv(|v| 1024.0 * v);
        assert_eq!(
            Logistic::fit(scaled.view(), &labels, 3, 0.01, None).predict(scaled.view()),
            cold.predict(rows.view())
        );
    }

    #[test]
    fn constant_components_and_single_rows_are_no_trouble() {
        let rows = arr2(&[[1.0, 0.0], [1.0, 5.0], [1.0, 6.0]]);
        let found = Logistic::fit(rows.view(), &[0, 1, 1], 2, 0.1, None);
        assert_eq!(found.predict(rows.view()), [0, 1, 1]);
        let one = Logistic::fit(arr2(&[[2.0f32]]).view(), &[1], 2, 0.1, None);
        assert_eq!(one.predict(arr2(&[[7.0f32]]).view()), [1]);
    }
}
