//! Errors of the inner products between queries and decoded base rows.

use super::Subject;
use cpu::{Panels, Score};
use methods::row_major;
use ndarray::{Axis, s};
use rayon::prelude::*;

/// Queries whose inner products with all base rows are compared.
pub const QUERIES: usize = 100;

/// Rows per task; sums are added in order of tasks, so they do not depend on the thread count.
const ROWS: usize = 1024;

/// Errors `⟨q, x̂⟩ − ⟨q, x⟩ = ⟨q, x̂ − x⟩` over the first queries and all base rows.
pub struct InnerProductErrors {
    /// Mean.
    pub bias: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// For each base row, the sum of its errors over the queries, and that of their squares.
    pub rows: Vec<(f64, f64)>,
    /// Number of queries.
    pub queries: usize,
}

/// The sums of a task: over all its rows, and for each of them.
type Sums = ((f64, f64), Vec<(f64, f64)>);

impl InnerProductErrors {
    /// Computes them from the decoded base rows.
    pub fn new(subject: &Subject<'_>) -> InnerProductErrors {
        let queries = subject.data.queries.slice(s![..subject.data.queries.nrows().min(QUERIES), ..]).to_owned();
        let queries_flat = row_major(&queries);
        let base = subject.data.base.view();
        let tasks: Vec<_> =
            base.axis_chunks_iter(Axis(0), ROWS).zip(subject.decoded.axis_chunks_iter(Axis(0), ROWS)).collect();
        let parts: Vec<Sums> = tasks
            .into_par_iter()
            .map(|(rows, decoded)| {
                let errors = &rows - &decoded;
                let panels = Panels::new(subject.backend.isa(), &row_major(&errors), base.ncols(), Score::NegatedDot);
                let mut products = vec![0f32; queries.nrows() * panels.len()];
                // Negated products with x − x̂ are products with x̂ − x.
                panels.scores(&queries_flat, &mut products);
                let add = |(sum, squares): (f64, f64), p: f32| (sum + f64::from(p), squares + f64::from(p).powi(2));
                let mut each = vec![(0.0, 0.0); rows.nrows()];
                for of_query in products.chunks_exact(panels.len()) {
                    each.iter_mut().zip(of_query).for_each(|(row, &p)| *row = add(*row, p));
                }
                (products.iter().fold((0.0, 0.0), |sums, &p| add(sums, p)), each)
            })
            .collect();
        let (sum, squares) = parts.iter().fold((0.0, 0.0), |a, (b, _)| (a.0 + b.0, a.1 + b.1));
        let rows: Vec<(f64, f64)> = parts.into_iter().flat_map(|(_, each)| each).collect();
        let (bias, deviation) = mean_and_deviation((sum, squares), queries.nrows() * base.nrows());
        InnerProductErrors { bias, deviation, rows, queries: queries.nrows() }
    }
}

/// Mean and standard deviation of `count` values with this sum and this sum of squares.
pub fn mean_and_deviation((sum, squares): (f64, f64), count: usize) -> (f64, f64) {
    let count = count as f64;
    let mean = sum / count;
    (mean, (squares / count - mean * mean).max(0.0).sqrt())
}
