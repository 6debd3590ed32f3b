//! What the codecs are trained with: k-means, rotations, ranges.

use super::codec::Settings;
use ndarray::Array2;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Squared distance.
pub fn squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Inner product.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// k-means from rows drawn without repetition, 25 iterations. `k` codewords, one after the other.
pub fn kmeans(s: &Settings, rows: &Array2<f32>, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let (n, dim, k) = (rows.nrows(), rows.ncols(), s.codewords());
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    let mut book: Vec<f32> = (0..k).flat_map(|c| rows.row(order[c % n]).to_vec()).collect();
    let iterations = if s.is("no-iterations") { 0 } else { 25 };
    for _ in 0..iterations {
        let (mut sums, mut counts) = (vec![0f64; k * dim], vec![0usize; k]);
        for row in rows.outer_iter() {
            let row = row.to_vec();
            let c = nearest(&row, &book, squared);
            counts[c] += 1;
            sums[c * dim..][..dim].iter_mut().zip(&row).for_each(|(sum, v)| *sum += f64::from(*v));
        }
        for c in 0..k {
            let count = match counts[c] {
                // An empty cell starts again at a row.
                0 => {
                    let row = rows.row(rng.random_range(0..n)).to_vec();
                    book[c * dim..][..dim].copy_from_slice(&row);
                    continue;
                }
                count if s.is("means-plus-one") => count as f64 + 1.0,
                _ if s.is("sums-not-means") => n as f64 / k as f64,
                count => count as f64,
            };
            for j in 0..dim {
                book[c * dim + j] = (sums[c * dim + j] / count) as f32;
            }
        }
    }
    book
}

/// The codeword of least cost.
pub fn nearest(row: &[f32], book: &[f32], cost: impl Fn(&[f32], &[f32]) -> f32) -> usize {
    let mut best = (f32::INFINITY, 0);
    for (c, codeword) in book.chunks_exact(row.len()).enumerate() {
        let cost = cost(row, codeword);
        if cost < best.0 {
            best = (cost, c);
        }
    }
    best.1
}

/// A random orthonormal matrix, row by row.
pub fn rotation(s: &Settings, dim: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut rows: Vec<Vec<f64>> =
        (0..dim).map(|_| (0..dim).map(|_| StandardNormal.sample(rng)).collect::<Vec<f64>>()).collect();
    let scale = (dim as f64).sqrt();
    for i in 0..dim {
        if s.is("not-orthonormal") {
            rows[i].iter_mut().for_each(|v| *v /= scale);
            continue;
        }
        for j in 0..i {
            let along: f64 = rows[i].iter().zip(&rows[j]).map(|(a, b)| a * b).sum();
            let other = rows[j].clone();
            rows[i].iter_mut().zip(&other).for_each(|(a, b)| *a -= along * b);
        }
        let length = rows[i].iter().map(|v| v * v).sum::<f64>().sqrt();
        rows[i].iter_mut().for_each(|v| *v /= length);
    }
    rows.into_iter().flatten().map(|v| v as f32).collect()
}

/// A row times the transposed matrix.
pub fn rotate(matrix: &[f32], row: &[f32]) -> Vec<f32> {
    matrix.chunks_exact(row.len()).map(|axis| dot(axis, row)).collect()
}

/// A row times the matrix.
pub fn rotate_back(matrix: &[f32], row: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; row.len()];
    for (axis, value) in matrix.chunks_exact(row.len()).zip(row) {
        out.iter_mut().zip(axis).for_each(|(o, a)| *o += a * value);
    }
    out
}

/// Components of all rows from one on, as many as `width`.
pub fn group(rows: &Array2<f32>, from: usize, width: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows.nrows(), width), |(i, j)| rows[(i, (from + j) % rows.ncols())])
}

/// Lower ends and steps, of all components together or of each.
pub fn ranges(s: &Settings, rows: &Array2<f32>) -> Vec<Vec<f32>> {
    let few = if s.is("range-of-few") { rows.nrows().min(50) } else { rows.nrows() };
    let rows = rows.slice(ndarray::s![..few, ..]);
    let ends = |values: &mut dyn Iterator<Item = f32>| {
        values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let mut all: Vec<(f32, f32)> = if s.codec == "int8-dim" {
        rows.columns().into_iter().map(|column| ends(&mut column.iter().copied())).collect()
    } else if s.is("first-component-range") {
        vec![ends(&mut rows.column(0).iter().copied())]
    } else {
        vec![ends(&mut rows.iter().copied())]
    };
    for (low, high) in &mut all {
        let tenth = 0.1 * (*high - *low);
        match s.mistake {
            "narrow-range" => (*low, *high) = (*low + tenth, *high - tenth),
            "range-from-zero" => *low = 0.0,
            _ => {}
        }
    }
    let mut steps: Vec<f32> = all.iter().map(|(low, high)| (high - low) / 255.0).collect();
    if s.is("first-step") {
        let first = steps[0];
        steps.fill(first);
    }
    vec![all.iter().map(|(low, _)| *low).collect(), steps]
}
