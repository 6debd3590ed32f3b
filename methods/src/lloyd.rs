//! k-means, shared by every method that trains a codebook: a seeded start and Lloyd's iteration over a [`Backend`].
//!
//! [`Backend`]: crate::Backend

use crate::backend::DeviceMatrix;
use crate::{Context, MethodError, largest_magnitude};
use cpu::Isa;
use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng, RngExt};
use rayon::prelude::*;

/// When Lloyd's iteration ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop {
    /// After this many iterations at the latest.
    pub max_iterations: usize,
    /// When `(D_{i−1} − D_i) / D_i` falls below this.
    pub relative_drop: f64,
}

/// A codebook and how training got there.
#[derive(Clone, Debug)]
pub struct Trained {
    /// `K×dim`.
    pub codebook: Array2<f32>,
    /// Mean squared error per row before each update; never grows.
    pub mse: Vec<f64>,
    /// Nearest codeword of each row at the last assignment.
    pub nearest: Vec<u32>,
}

/// Checks that squared distances between rows neither overflow nor vanish in f32.
///
/// # Errors
/// [`MethodError::Scale`].
pub fn check_scale(rows: ArrayView2<'_, f32>) -> Result<(), MethodError> {
    let magnitude = largest_magnitude(rows);
    if magnitude == 0.0 || (1e-15..=1e18).contains(&magnitude) { Ok(()) } else { Err(MethodError::Scale { magnitude }) }
}

/// Rows chosen at random, each at most once while there are enough of them.
pub fn random_rows(rows: ArrayView2<'_, f32>, k: usize, rng: &mut impl Rng) -> Array2<f32> {
    let n = rows.nrows();
    let mut chosen = rand::seq::index::sample(rng, n, k.min(n)).into_vec();
    chosen.extend((chosen.len()..k).map(|_| rng.random_range(0..n)));
    rows.select(Axis(0), &chosen)
}

/// Rows per task of k-means++; a constant, so that no result depends on the number of threads.
const PLUS_PLUS_ROWS: usize = 8192;

/// k-means++ (Arthur and Vassilvitskii 2007): each next codeword is a row drawn with probability proportional to its
/// squared distance from those chosen. When every row is already a codeword, rows repeat.
///
/// # Errors
/// Cancellation.
pub fn plus_plus(
    rows: ArrayView2<'_, f32>,
    k: usize,
    rng: &mut impl Rng,
    cx: &Context,
) -> Result<Array2<f32>, MethodError> {
    let (n, dim) = rows.dim();
    let isa = Isa::detect();
    // Component by component, in blocks that the tasks share.
    let blocks: Vec<Vec<f32>> =
        rows.axis_chunks_iter(Axis(0), PLUS_PLUS_ROWS).map(|block| block.t().iter().copied().collect()).collect();
    let mut codebook = Array2::<f32>::zeros((k, dim));
    let mut distance = vec![f32::INFINITY; n];
    let mut chosen = rng.random_range(0..n);
    for c in 0..k {
        cx.cancel.check()?;
        codebook.row_mut(c).assign(&rows.row(chosen));
        let codeword = rows.row(chosen).to_vec();
        let blocks = distance.par_chunks_mut(PLUS_PLUS_ROWS).zip(&blocks);
        let totals: Vec<f64> = blocks
            .map_init(
                || vec![0f32; PLUS_PLUS_ROWS],
                |fresh, (distance, block)| {
                    let fresh = &mut fresh[..distance.len()];
                    cpu::squared_distances_to_columns(isa, &codeword, block, fresh);
                    distance.iter_mut().zip(&*fresh).for_each(|(d, f)| *d = if *f < *d { *f } else { *d });
                    sum(distance)
                },
            )
            .collect();
        let total: f64 = totals.iter().sum();
        // A point on [0, total) falls into the stretch of the row it chooses.
        let mut point = rng.random::<f64>() * total;
        let block = stretch(totals.iter().copied(), &mut point);
        let next = block.and_then(|block| {
            let first = block * PLUS_PLUS_ROWS;
            let block = &distance[first..n.min(first + PLUS_PLUS_ROWS)];
            stretch(block.iter().map(|&d| f64::from(d)), &mut point).map(|i| first + i)
        });
        chosen = next.unwrap_or_else(|| rng.random_range(0..n));
    }
    Ok(codebook)
}

/// The stretch that `point` falls into, of stretches laid end to end; `point` is then relative to its start.
fn stretch(lengths: impl Iterator<Item = f64>, point: &mut f64) -> Option<usize> {
    for (i, length) in lengths.enumerate() {
        if *point < length {
            return Some(i);
        }
        *point -= length;
    }
    None
}

/// In f64; eight partial sums keep additions apart from each other.
fn sum(values: &[f32]) -> f64 {
    let (chunks, tail) = values.as_chunks::<8>();
    let mut sums = [0f64; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += f64::from(*v));
    }
    sums.iter().sum::<f64>() + tail.iter().map(|v| f64::from(*v)).sum::<f64>()
}

/// Lloyd's iteration from `codebook`. The distortion never grows: centroids are optimal for their cells, and a codeword
/// without rows moves onto the worst row of the cell with the largest total distortion, where it can only help.
///
/// # Errors
/// Cancellation, a backend failure.
pub fn lloyd(rows: &DeviceMatrix, codebook: Array2<f32>, stop: Stop, cx: &Context) -> Result<Trained, MethodError> {
    let envf=|n:&str,d:f64|std::env::var(n).ok().and_then(|v|v.parse().ok()).unwrap_or(d);
    let per=envf("VQ_THIN",1e9); let share=envf("VQ_SHARE",0.6);
    let step = (rows.nrows() as f64 / (per*codebook.nrows() as f64)) as usize;
    if step >= 2 && stop.max_iterations >= 8 {
        let early = (stop.max_iterations as f64 * share) as usize;
        let first = Stop { max_iterations: early, ..stop };
        let codebook = iterate(&rows.every(step), codebook, first, cx)?.codebook;
        return iterate(rows, codebook, Stop { max_iterations: stop.max_iterations - early, ..stop }, cx);
    }
    iterate(rows, codebook, stop, cx)
}

fn iterate(rows: &DeviceMatrix, mut codebook: Array2<f32>, stop: Stop, cx: &Context) -> Result<Trained, MethodError> {
    let k = codebook.nrows();
    let mut mse: Vec<f64> = Vec::new();
    loop {
        cx.cancel.check()?;
        let assignment = cx.backend.assign(rows, codebook.view())?;
        let distortion = assignment.mean();
        let settled = mse.last().is_some_and(|&last| last - distortion <= stop.relative_drop * distortion);
        mse.push(distortion);
        if settled || mse.len() > stop.max_iterations {
            return Ok(Trained { codebook, mse, nearest: assignment.nearest });
        }
        let cells = cx.backend.cell_sums(rows, &assignment.nearest, k)?;
        for (c, &count) in cells.counts.iter().enumerate() {
            if count > 0 {
                let scale = 1.0 / count as f64;
                let relax = if mse.len() < stop.max_iterations { std::env::var("VQ_RELAX").ok().and_then(|v|v.parse().ok()).unwrap_or(1.0f64) } else { 1.0 };
                codebook.row_mut(c).iter_mut().zip(cells.sums.row(c)).for_each(|(y, sum)| { let m = sum * scale; *y = (f64::from(*y) + relax * (m - f64::from(*y))) as f32; });
            }
        }
        if cells.counts.contains(&0) {
            refill(&mut codebook, &cells.counts, &assignment.nearest, &assignment.squared_distance, rows, cx)?;
        }
    }
}

/// Moves codewords without rows onto the worst rows of the worst cells, one per cell.
fn refill(
    codebook: &mut Array2<f32>,
    counts: &[usize],
    nearest: &[u32],
    squared_distance: &[f32],
    rows: &DeviceMatrix,
    cx: &Context,
) -> Result<(), MethodError> {
    // Per cell: its total distortion, and the row that is worst off.
    let mut cells = vec![(0f64, 0f32, 0usize); counts.len()];
    for (i, (&c, &d)) in nearest.iter().zip(squared_distance).enumerate() {
        let cell = &mut cells[c as usize];
        cell.0 += f64::from(d);
        if d > cell.1 {
            (cell.1, cell.2) = (d, i);
        }
    }
    let mut donors: Vec<_> = cells.into_iter().filter(|cell| cell.1 > 0.0).collect();
    donors.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
    let values = cx.backend.download(rows)?;
    let empty = counts.iter().enumerate().filter(|(_, count)| **count == 0).map(|(c, _)| c);
    for (c, donor) in empty.zip(donors) {
        codebook.row_mut(c).assign(&values.row(donor.2));
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
            lloyd(&device, plus_plus(rows.view(), 4, &mut cx.rng(0), &cx).expect("starts"), STOP, &cx).expect("trains");
        assert!(trained.mse.windows(2).all(|w| w[1] <= w[0]), "{:?}", trained.mse);
        let last = trained.mse[trained.mse.len() - 1];
        assert!(last < 0.2, "each cluster is two unit intervals of variance 1/12: {last}");
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
        assert!(trained.mse.windows(2).all(|w| w[1] <= w[0]), "{:?}", trained.mse);
    }

    #[test]
    fn fewer_distinct_rows_than_codewords_lose_nothing() {
        let rows = Array2::from_shape_fn((10, 3), |(i, j)| (i % 2 * 5 + j) as f32);
        let cx = Context::cpu(3);
        let device = cx.backend.upload(rows.view()).expect("upload");
        let trained = lloyd(&device, plus_plus(rows.view(), 16, &mut cx.rng(0), &cx).expect("starts"), STOP, &cx)
            .expect("trains");
        assert_eq!(trained.mse.last(), Some(&0.0));
    }
}
