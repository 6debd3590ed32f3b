//! k-means, shared by every method that trains a codebook: a seeded start and Lloyd's iteration over a [`Backend`].
//!
//! [`Backend`]: crate::Backend

use crate::backend::{Assigned, Assignment, CellSums, DeviceMatrix};
use crate::contract::curve::{Course, Seen};
use crate::{Context, MethodError};
use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng, RngExt};
use std::sync::Arc;

/// Stopping rule of Lloyd's iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop {
    /// Maximum number of iterations.
    pub max_iterations: usize,
    /// The iteration stops when `(D_{i−1} − D_i) / D_i` falls below this.
    pub relative_drop: f64,
}

/// A trained codebook and the course of its training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// `K×dim`.
    pub codebook: Array2<f32>,
    /// Mean squared error per row with it.
    pub mse: f64,
    /// Mean squared error per row before each iteration and after the last.
    pub course: Course,
    /// Nearest codeword of each row in the last assignment.
    pub nearest: Vec<u32>,
}

/// Indices of rows drawn at random, without repetition while there are enough rows.
fn random_numbers(n: usize, k: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut chosen = rand::seq::index::sample(rng, n, k.min(n)).into_vec();
    chosen.extend((chosen.len()..k).map(|_| rng.random_range(0..n)));
    chosen
}

/// Rows drawn at random, without repetition while there are enough.
pub fn random_rows(rows: ArrayView2<'_, f32>, k: usize, rng: &mut impl Rng) -> Array2<f32> {
    rows.select(Axis(0), &random_numbers(rows.nrows(), k, rng))
}

/// [`random_rows`] of a matrix on a backend.
///
/// # Errors
/// A backend failure.
pub fn random_rows_of(
    rows: &DeviceMatrix,
    k: usize,
    rng: &mut impl Rng,
    cx: &Context,
) -> Result<Array2<f32>, MethodError> {
    cx.backend.rows_at(rows, &random_numbers(rows.nrows(), k, rng))
}

/// k-means++ (Arthur and Vassilvitskii 2007): each next codeword is a row drawn with probability proportional to its
/// squared distance from those chosen. When every row is already a codeword, rows repeat.
///
/// # Errors
/// Cancellation, a backend failure.
pub fn plus_plus(rows: &DeviceMatrix, k: usize, rng: &mut impl Rng, cx: &Context) -> Result<Array2<f32>, MethodError> {
    let n = rows.nrows();
    let first = rng.random_range(0..n);
    let points: Vec<f64> = (1..k).map(|_| rng.random()).collect();
    let mut chosen = cx.backend.spread_rows(rows, first, &points, &cx.cancel)?;
    chosen.extend((chosen.len()..k).map(|_| rng.random_range(0..n)));
    cx.backend.rows_at(rows, &chosen)
}

/// Early iterations use a sample of this many rows per codeword, and this share of all iterations is early: the cells
/// of a sample move to about the same places at a fraction of the cost.
const EARLY_ROWS: usize = 64;
const EARLY_SHARE: f64 = 0.72;

/// Rows of at most this many components are never sampled: they are cheap, and 256 codewords on a plane end 0.3% worse
/// from a sample.
const FEW_DIMS: usize = 4;

/// From `MANY` iterations on there are early ones; from `SEVERAL` on, codewords overshoot centroids.
const MANY: usize = 20;
const SEVERAL: usize = 8;

/// Overrelaxation: a codeword moves this many times the way to the centroid of its cell. With any factor below 2 the
/// distortion still never grows, and near 1.8 fewer iterations reach better optima (Lee, Baek and Sung 1997). PQ16x8 on
/// uniform rows after 25 iterations: 2.629 with factor 1, 2.617 with 1.7, 2.615 with 1.9.
const OVERSHOOT: f64 = 1.9;

/// Lloyd's iteration from `codebook`. The distortion never grows: centroids are optimal for their cells, moving less
/// than twice the way to them loses nothing, and a codeword without rows moves onto the worst row of the cell with the
/// largest total distortion, where it can only help.
///
/// # Errors
/// Cancellation, a backend failure.
pub fn lloyd(rows: &DeviceMatrix, codebook: Array2<f32>, stop: Stop, cx: &Context) -> Result<Trained, MethodError> {
    let share = if stop.max_iterations < MANY || rows.ncols() <= FEW_DIMS { 0.0 } else { EARLY_SHARE };
    lloyd_from_sample(rows, codebook, stop, share, cx)
}

/// [`lloyd`] with a given share of early iterations on a sample, if there are enough rows for one.
///
/// # Errors
/// As there.
pub fn lloyd_from_sample(
    rows: &DeviceMatrix,
    codebook: Array2<f32>,
    stop: Stop,
    share: f64,
    cx: &Context,
) -> Result<Trained, MethodError> {
    let k = codebook.nrows();
    let step = rows.nrows() / (EARLY_ROWS * k).max(1);
    let early = (stop.max_iterations as f64 * share) as usize;
    if early == 0 || step < 2 {
        return iterate(rows, codebook, stop, 2, OVERSHOOT, cx);
    }
    let (codebook, mut course) = without_distances(&rows.every(step), codebook, early, Seen::Sample, cx)?;
    let rest = Stop { max_iterations: stop.max_iterations - early, ..stop };
    let trained = iterate(rows, codebook, rest, 1, OVERSHOOT, cx)?;
    course.append(&trained.course);
    Ok(Trained { course, ..trained })
}

/// Runs the given number of iterations from a codebook that is nearly right, without computing the distances of single
/// rows: codewords that will move anyway do not need them.
///
/// # Errors
/// Cancellation, a backend failure.
pub fn refine(
    rows: &DeviceMatrix,
    codebook: Array2<f32>,
    iterations: usize,
    cx: &Context,
) -> Result<Trained, MethodError> {
    let (codebook, mut course) = without_distances(rows, codebook, iterations, Seen::AllRows, cx)?;
    let assignment = cx.backend.assign(rows, codebook.view())?;
    course.see(assignment.mean(), Seen::AllRows);
    Ok(Trained { codebook, mse: assignment.mean(), course, nearest: assignment.nearest })
}

/// Iterations, with overshoot between the first and the last. `seen` says which rows these are.
fn without_distances(
    rows: &DeviceMatrix,
    mut codebook: Array2<f32>,
    iterations: usize,
    seen: Seen,
    cx: &Context,
) -> Result<(Array2<f32>, Course), MethodError> {
    let mut course = Course::default();
    let mut scatter = None;
    for iteration in 1..=iterations {
        cx.cancel.check()?;
        let cells = cx.backend.nearest_cell_sums(rows, codebook.view())?;
        let scatter = match &scatter {
            Some(scatter) => scatter,
            None => scatter.insert(Scatter::of(rows, &cells, cx)?),
        };
        course.see(scatter.distortion(rows, &cells, &codebook, cx)?, seen);
        course.advance();
        update(&mut codebook, &cells, if (2..iterations).contains(&iteration) { OVERSHOOT } else { 1.0 });
        if cells.counts.contains(&0) {
            // Checked now: a codeword that was empty may have rows by this time.
            let assigned = cx.backend.assigned(rows, codebook.view())?;
            refill(&mut codebook, &assigned, rows, cx)?;
        }
    }
    Ok((codebook, course))
}

/// The mean of the rows and their mean squared distance to it. With these, sums over cells give the distortion.
struct Scatter {
    mean: Array2<f32>,
    spread: f64,
}

impl Scatter {
    /// Below this share of the spread, the difference of two sums of squares is too inaccurate, and the distortion is
    /// measured directly.
    const LEAST_SHARE: f64 = 1e-3;

    fn of(rows: &DeviceMatrix, cells: &CellSums, cx: &Context) -> Result<Scatter, MethodError> {
        let n = rows.nrows() as f64;
        let mean = Array2::from_shape_fn((1, rows.ncols()), |(_, j)| (cells.sums.column(j).sum() / n) as f32);
        Ok(Scatter { spread: cx.backend.assigned(rows, mean.view())?.mean(), mean })
    }

    /// The mean squared distance of rows to the codewords of their cells: with `y = c − mean` for each codeword, the spread less
    /// `Σ 2·y·Σ(x − mean) − n_c·‖y‖²` over the number of rows.
    fn distortion(
        &self,
        rows: &DeviceMatrix,
        cells: &CellSums,
        codebook: &Array2<f32>,
        cx: &Context,
    ) -> Result<f64, MethodError> {
        let mut explained = 0.0;
        for ((codeword, sum), &count) in codebook.outer_iter().zip(cells.sums.outer_iter()).zip(&cells.counts) {
            for ((c, sum), mean) in codeword.iter().zip(sum).zip(&self.mean) {
                let (mean, count) = (f64::from(*mean), count as f64);
                let y = f64::from(*c) - mean;
                explained += y * (2.0 * (sum - count * mean) - count * y);
            }
        }
        let left = self.spread - explained / rows.nrows() as f64;
        if left < Scatter::LEAST_SHARE * self.spread {
            return Ok(cx.backend.assigned(rows, codebook.view())?.mean());
        }
        Ok(left)
    }
}

/// Lloyd's iteration over all rows, with the given overshoot from the given iteration on (the first is 1).
fn iterate(
    rows: &DeviceMatrix,
    mut codebook: Array2<f32>,
    stop: Stop,
    overshoot_from: usize,
    factor: f64,
    cx: &Context,
) -> Result<Trained, MethodError> {
    let k = codebook.nrows();
    // The least distortion so far and its codebook: codewords rounded to f32 may by chance do better than rounded
    // centroids.
    let mut best: Option<(f64, Array2<f32>, Assigned)> = None;
    let mut course = Course::default();
    // The final codewords are centroids.
    let several = stop.max_iterations >= SEVERAL || overshoot_from == 1;
    let mut overshoot = if several { overshoot_from..stop.max_iterations } else { 0..0 };
    for iteration in 1.. {
        cx.cancel.check()?;
        let assigned = cx.backend.assigned(rows, codebook.view())?;
        let distortion = assigned.mean();
        course.see(distortion, Seen::AllRows);
        let least = best.as_ref().map(|(least, ..)| *least);
        let settled = least.is_some_and(|least| least - distortion <= stop.relative_drop * distortion);
        let last = iteration > stop.max_iterations || (settled && overshoot.is_empty());
        if least.is_none_or(|least| distortion <= least) {
            best = Some((distortion, codebook.clone(), assigned.clone()));
        }
        if last && let Some((mse, codebook, assigned)) = best {
            let assignment = cx.backend.assignment(&assigned)?;
            drop(assigned);
            return Ok(Trained { codebook, mse, course, nearest: Arc::unwrap_or_clone(assignment).nearest });
        }
        if settled {
            overshoot = 0..0;
        }
        let cells = cx.backend.assigned_cell_sums(rows, &assigned, k)?;
        update(&mut codebook, &cells, if overshoot.contains(&iteration) { factor } else { 1.0 });
        course.advance();
        if cells.counts.contains(&0) {
            refill(&mut codebook, &assigned, rows, cx)?;
        }
    }
    unreachable!("the last iteration returns")
}

/// `c ← c + factor·(centroid − c)` for every codeword with rows.
fn update(codebook: &mut Array2<f32>, cells: &CellSums, factor: f64) {
    for (c, &count) in cells.counts.iter().enumerate() {
        if count > 0 {
            let scale = 1.0 / count as f64;
            for (y, sum) in codebook.row_mut(c).iter_mut().zip(cells.sums.row(c)) {
                let old = f64::from(*y);
                *y = (old + factor * (sum * scale - old)) as f32;
            }
        }
    }
}

/// Moves codewords without rows onto the worst rows of the worst cells, one per cell.
fn refill(
    codebook: &mut Array2<f32>,
    assigned: &Assigned,
    rows: &DeviceMatrix,
    cx: &Context,
) -> Result<(), MethodError> {
    let assignment = cx.backend.assignment(assigned)?;
    let Assignment { nearest, squared_distance } = &*assignment;
    // For each cell: its number of rows, its total distortion, and its worst row.
    let mut counts = vec![0usize; codebook.nrows()];
    let mut cells = vec![(0f64, 0f32, 0usize); counts.len()];
    for (i, (&c, &d)) in nearest.iter().zip(squared_distance).enumerate() {
        counts[c as usize] += 1;
        let cell = &mut cells[c as usize];
        cell.0 += f64::from(d);
        if d > cell.1 {
            (cell.1, cell.2) = (d, i);
        }
    }
    let mut donors: Vec<_> = cells.into_iter().filter(|cell| cell.1 > 0.0).collect();
    donors.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
    let empty = counts.iter().enumerate().filter(|(_, count)| **count == 0).map(|(c, _)| c);
    let (empty, numbers): (Vec<usize>, Vec<usize>) = empty.zip(donors.iter().map(|donor| donor.2)).unzip();
    for (c, row) in empty.into_iter().zip(cx.backend.rows_at(rows, &numbers)?.outer_iter()) {
        codebook.row_mut(c).assign(&row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const STOP: Stop = Stop { max_iterations: 30, relative_drop: 0.0 };

    #[test]
    fn distortion_never_grows_and_well_separated_clusters_are_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rows = Array2::from_shape_fn((400, 2), |(i, _)| (i % 4 * 100) as f32 + rng.random::<f32>());
        let cx = Context::cpu(1);
        let device = cx.backend.upload(rows.view()).expect("upload");
        let trained =
            lloyd(&device, plus_plus(&device, 4, &mut cx.rng(crate::Stream::Part(0)), &cx).expect("starts"), STOP, &cx)
                .expect("trains");
        assert_eq!(trained.course.clone().into_curve(true).first_growth(), None);
        assert!(trained.mse < 0.2, "each cluster is two unit intervals of variance 1/12: {}", trained.mse);
    }

    #[test]
    fn codewords_without_rows_are_moved_where_they_help() {
        let rows = Array2::from_shape_fn((64, 1), |(i, _)| i as f32);
        let cx = Context::cpu(1);
        let device = cx.backend.upload(rows.view()).expect("upload");
        let trained = lloyd(&device, Array2::zeros((8, 1)), STOP, &cx).expect("trains");
        let mut used: Vec<u32> = trained.nearest.clone();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), 8, "all eight codewords serve rows");
        assert_eq!(trained.course.into_curve(true).first_growth(), None);
    }

    #[test]
    fn fewer_distinct_rows_than_codewords_lose_nothing() {
        let rows = Array2::from_shape_fn((10, 3), |(i, j)| (i % 2 * 5 + j) as f32);
        let cx = Context::cpu(3);
        let device = cx.backend.upload(rows.view()).expect("upload");
        let trained = lloyd(
            &device,
            plus_plus(&device, 16, &mut cx.rng(crate::Stream::Part(0)), &cx).expect("starts"),
            STOP,
            &cx,
        )
        .expect("trains");
        assert_eq!(trained.mse, 0.0);
    }

    /// With an overshoot above 2 the distortion grows, and the course shows it.
    #[test]
    fn a_step_that_is_too_long_is_seen_in_the_course() {
        let rows = crate::laws::gaussian(600, 3, 1);
        let cx = Context::cpu(1);
        let device = cx.backend.upload(rows.view()).expect("upload");
        let growth = |factor: f64| {
            let start = random_rows(rows.view(), 8, &mut cx.rng(crate::Stream::Part(0)));
            let trained = iterate(&device, start, STOP, 2, factor, &cx).expect("trains");
            trained.course.into_curve(true).first_growth()
        };
        assert_eq!(growth(OVERSHOOT), None);
        assert!(growth(2.5).is_some());
    }

    /// The distortion that sums over cells give is right, wherever the rows lie.
    #[test]
    fn iterations_without_distances_know_their_distortion() {
        let cx = Context::cpu(1);
        for offset in [0.0f32, 100.0] {
            let rows = crate::laws::gaussian(3000, 6, 1) + offset;
            let device = cx.backend.upload(rows.view()).expect("upload");
            let sample = device.every(23);
            let start = random_rows(rows.view(), 2, &mut cx.rng(crate::Stream::Part(0)));
            let trained = lloyd(&device, start.clone(), STOP, &cx).expect("trains");
            let curve = trained.course.into_curve(true);
            assert_eq!(curve.first_growth(), None);
            let (first, numbers) = (curve.points[0], curve.points.iter().map(|p| p.iteration));
            assert_eq!(first.seen, Seen::Sample);
            assert!(numbers.eq(0..curve.points.len()), "each iteration is there");
            let measured = cx.backend.assign(&sample, start.view()).expect("assigns").mean();
            assert!((first.value / measured - 1.0).abs() < 1e-4, "{} for {measured}", first.value);
        }
    }
}
