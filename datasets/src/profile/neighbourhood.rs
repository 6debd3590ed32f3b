//! Distances between near rows of a sample: the intrinsic dimension, and whether queries are as near to the rows as the
//! rows are to each other.

use super::sample::{places, spread};
use crate::MetricSpace;
use crate::truth::exact_neighbors;
use cpu::Isa;
use ndarray::ArrayView2;

/// Neighbours of each row that the intrinsic dimension is estimated from. With the distances T₁ ≤ … ≤ T_k of a row to its k
/// nearest other rows, 1/m = mean over rows of Σ ln(T_k/T_j)/(k−1), j from 1 to k−1: the maximum-likelihood estimate of
/// Levina and Bickel (2004), averaged over rows as MacKay and Ghahramani (2005) derive.
pub const NEIGHBOURS: usize = 20;

/// Least number of rows that an estimate is made from.
const LEAST_ROWS: usize = 30;

/// The share of rows that are nearer to their nearest row than a far query is.
const NEARER: f64 = 0.95;

/// How near queries are to the rows, by Euclidean distance to the nearest row of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearness {
    /// Median distance of a query over the median distance of a row to its nearest other row that is no copy of it.
    pub ratio: f64,
    /// Share of the queries that are farther from the rows than 95% of the rows are from such a row; 5% if queries are
    /// like rows.
    pub far: f64,
}

/// Rows of a sample with the squared distances to their nearest other rows.
pub struct Neighbourhood<'a> {
    sample: ArrayView2<'a, f32>,
    /// By row that was asked for, in ascending order.
    squares: Vec<Vec<f32>>,
}

impl<'a> Neighbourhood<'a> {
    /// Finds the neighbours of at most `most` rows of a sample; None if it is too small, or if f32 cannot hold its
    /// squared distances.
    pub fn new(sample: ArrayView2<'a, f32>, most: usize, isa: Isa) -> Option<Neighbourhood<'a>> {
        let largest = sample.iter().fold(0f32, |most, v| most.max(v.abs()));
        let (n, dim) = sample.dim();
        if n < LEAST_ROWS || cpu::check_range(n, dim, largest, |i, j| sample[(i, j)]).is_err() {
            return None;
        }
        let asked = places(n, most);
        // Twice as many, since copies of a row have no distance.
        let found = exact_neighbors(sample, spread(sample, most).view(), MetricSpace::L2, 2 * NEIGHBOURS + 1, isa);
        let others = |(&own, found): (&usize, Vec<cpu::Neighbor>)| {
            found.iter().filter(|neighbour| neighbour.id as usize != own).map(|neighbour| neighbour.score).collect()
        };
        Some(Neighbourhood { sample, squares: asked.iter().zip(found).map(others).collect() })
    }

    /// The intrinsic dimension.
    pub fn dimension(&self) -> Option<f64> {
        let inverse = |squares: &Vec<f32>| {
            let apart: Vec<f64> = squares.iter().filter(|s| **s > 0.0).take(NEIGHBOURS).map(|&s| s.into()).collect();
            let (farthest, nearer) = apart.split_last().filter(|_| apart.len() == NEIGHBOURS)?;
            // The root of the squares is half of the logarithm.
            Some(nearer.iter().map(|near| 0.5 * (farthest / near).ln()).sum::<f64>() / nearer.len() as f64)
        };
        let inverses: Vec<f64> = self.squares.iter().filter_map(inverse).collect();
        let sum: f64 = inverses.iter().sum();
        (inverses.len() >= LEAST_ROWS && sum > 0.0).then(|| inverses.len() as f64 / sum)
    }

    /// How near queries are, which are at least one.
    pub fn nearness(&self, queries: ArrayView2<'_, f32>, isa: Isa) -> Option<Nearness> {
        let largest = queries.iter().fold(0f32, |most, v| most.max(v.abs()));
        if f64::from(largest) * (queries.ncols() as f64).sqrt() > f64::from(cpu::LARGEST_NORM) {
            return None;
        }
        let found = exact_neighbors(self.sample, queries, MetricSpace::L2, 1, isa);
        let of_queries = sorted(found.iter().filter_map(|found| found.first()).map(|nearest| nearest.score));
        let apart = |squares: &Vec<f32>| squares.iter().copied().find(|square| *square > 0.0);
        let of_rows = sorted(self.squares.iter().filter_map(apart));
        let (bound, middle) = (quantile(&of_rows, NEARER)?, quantile(&of_rows, 0.5)?);
        let far = of_queries.iter().filter(|distance| **distance > bound).count();
        Some(Nearness { ratio: quantile(&of_queries, 0.5)? / middle, far: far as f64 / of_queries.len() as f64 })
    }
}

/// Distances in ascending order.
fn sorted(squares: impl Iterator<Item = f32>) -> Vec<f64> {
    let mut distances: Vec<f64> = squares.map(|square| f64::from(square).max(0.0).sqrt()).collect();
    distances.sort_by(f64::total_cmp);
    distances
}

/// The value that a share of the sorted values is below.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get((share * sorted.len() as f64) as usize).copied()
}
