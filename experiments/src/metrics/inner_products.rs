//! Errors of the inner products between queries and decoded base rows.

use super::pass::{Accumulate, Outline, TASK_ROWS};
use cpu::{Isa, Panels, Score};
use methods::row_major;
use ndarray::{ArrayView2, Axis, s};
use rayon::prelude::*;

/// Queries whose inner products with all base rows are compared.
pub const QUERIES: usize = 100;

/// Errors `⟨q, x̂⟩ − ⟨q, x⟩ = ⟨q, x̂ − x⟩` over the first queries and all base rows.
pub struct InnerProducts {
    /// The queries, one after the other.
    queries: Vec<f32>,
    /// Instruction set that computes products.
    isa: Isa,
    /// Number of base rows.
    count: usize,
    /// The sum of the errors, and that of their squares.
    sums: (f64, f64),
    /// For each base row, the sum of its errors over the queries, and that of their squares; None if nobody asked.
    rows: Option<Vec<(f64, f64)>>,
    /// Number of queries.
    pub of_row: usize,
}

/// The sums of a task: over all its rows, and for each of them.
type Sums = ((f64, f64), Vec<(f64, f64)>);

impl InnerProducts {
    /// No errors yet.
    pub fn new(outline: &Outline<'_>) -> InnerProducts {
        let queries = outline.queries.slice(s![..outline.queries.nrows().min(QUERIES), ..]);
        let (of_row, isa) = (queries.nrows(), outline.backend.isa());
        InnerProducts { queries: row_major(&queries).into_owned(), isa, count: 0, sums: (0.0, 0.0), rows: None, of_row }
    }

    /// Keeps the sums of each base row.
    pub fn keep_rows(&mut self) {
        self.rows.get_or_insert_default();
    }

    /// Mean and standard deviation.
    pub fn bias_and_deviation(&self) -> (f64, f64) {
        mean_and_deviation(self.sums, self.of_row * self.count)
    }

    /// For each base row, the sum of its errors over the queries, and that of their squares; empty if nobody asked for
    /// them.
    pub fn rows(&self) -> &[(f64, f64)] {
        self.rows.as_deref().unwrap_or_default()
    }
}

impl Accumulate for InnerProducts {
    fn add(&mut self, base: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) {
        let tasks = base.axis_chunks_iter(Axis(0), TASK_ROWS).zip(decoded.axis_chunks_iter(Axis(0), TASK_ROWS));
        let tasks: Vec<_> = tasks.collect();
        let kept = self.rows.is_some();
        let one = |(rows, decoded): (ArrayView2<'_, f32>, ArrayView2<'_, f32>)| -> Sums {
            let (x, y) = (row_major(&rows), row_major(&decoded));
            let errors: Vec<f32> = x.iter().zip(&*y).map(|(x, y)| x - y).collect();
            let panels = Panels::new(self.isa, &errors, rows.ncols(), Score::NegatedDot);
            let mut products = vec![0f32; self.of_row * panels.len()];
            // Negated products with x − x̂ are products with x̂ − x.
            panels.scores(&self.queries, &mut products);
            let add = |(sum, squares): (f64, f64), p: f32| (sum + f64::from(p), squares + f64::from(p).powi(2));
            let mut each = vec![(0.0, 0.0); if kept { rows.nrows() } else { 0 }];
            for of_query in products.chunks_exact(panels.len()).take(if kept { usize::MAX } else { 0 }) {
                each.iter_mut().zip(of_query).for_each(|(row, &p)| *row = add(*row, p));
            }
            (products.iter().fold((0.0, 0.0), |sums, &p| add(sums, p)), each)
        };
        let parts: Vec<Sums> = tasks.into_par_iter().map(one).collect();
        for ((sum, squares), each) in parts {
            self.sums = (self.sums.0 + sum, self.sums.1 + squares);
            if let Some(rows) = &mut self.rows {
                rows.extend(each);
            }
        }
        self.count += base.nrows();
    }
}

/// Mean and standard deviation of `count` values with this sum and this sum of squares.
pub fn mean_and_deviation((sum, squares): (f64, f64), count: usize) -> (f64, f64) {
    let count = count as f64;
    let mean = sum / count;
    (mean, (squares / count - mean * mean).max(0.0).sqrt())
}
