//! Fresh random inputs, and plain f64 arithmetic that judges results.

use crate::random_float;

/// The distribution of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Mean 0, variance 1.
    Plain,
    /// The same, shifted far from zero.
    Far,
    /// Few different values, so that many vectors are equal.
    Repeated,
    /// Clusters whose distances are large relative to their spread, so that differences are small relative to products.
    Clusters,
}

pub const KINDS: [InputKind; 4] = [InputKind::Plain, InputKind::Far, InputKind::Repeated, InputKind::Clusters];

/// Values determined by the seed and a stream number.
pub fn values(seed: u64, stream: u64, len: usize, kind: InputKind) -> Vec<f32> {
    let seed = stream_seed(seed, stream);
    let of = |i: u64| match (kind, random_float(seed, i)) {
        (InputKind::Plain, v) => v,
        (InputKind::Far, v) => v + 1000.0,
        (InputKind::Repeated, v) => v.round(),
        // Consecutive values, and so vectors of any dimension, are in one of three places.
        (InputKind::Clusters, v) => v + 1e4 * (i / 64 % 3) as f32,
    };
    (0..len as u64).map(of).collect()
}

/// The seed of one of many streams.
pub fn stream_seed(seed: u64, stream: u64) -> u64 {
    crate::random_bits(seed, stream)
}

/// `‖a − b‖²`.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
}

/// The mean of rows.
pub fn mean(rows: &[f32], dim: usize) -> Vec<f64> {
    let mut sums = vec![0f64; dim];
    for row in rows.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    let count = (rows.len() / dim).max(1) as f64;
    sums.into_iter().map(|sum| sum / count).collect()
}

/// Relative difference that f32 cannot resolve in sums of a few hundred terms.
pub const TIE: f64 = 1e-5;

/// Whether f32 cannot tell which of two codewords is nearer to a row.
pub fn is_tie(row: &[f32], a: &[f32], b: &[f32]) -> bool {
    let (a, b) = (distance(row, a), distance(row, b));
    (a - b).abs() <= TIE * a.min(b)
}
