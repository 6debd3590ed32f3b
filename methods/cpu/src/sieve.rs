//! Nearest vectors by products of bytes, at a fraction of the cost of products of f32, and without their error.
//!
//! Rows and vectors are rounded to 8 bits, `x ≈ x̃ = s·u` and `c ≈ c̃ = t·v` with whole `u` and `v` up to 127, so that `x̃·c̃ =
//! s·t·Σ u_j·v_j` is summed exactly in integers. What rounding changed is bounded (Cauchy–Schwarz):
//!
//! ```text
//! |x·c − x̃·c̃| ≤ ‖x−x̃‖·‖c̃‖ + ‖x‖·‖c−c̃‖
//! ```
//!
//! A vector whose score is above the best by more than twice that bound is not the nearest. The few that remain, one or two
//! of hundreds as a rule, are measured in f32. So the sieve decides nothing by itself: it only says where to look.

use crate::nearest::StridedRows;
use crate::panels::{Score, mean};

/// Columns of a panel: two registers of sixteen sums.
pub(crate) const WIDTH: usize = 32;

/// Rows of a tile: 24 of the 32 registers hold its sums.
pub(crate) const TILE_ROWS: usize = 12;

/// Components in the four bytes that are multiplied and summed at once.
const GROUP: usize = 4;

/// Maximum number of components: sums of products stay below 2^31.
pub(crate) const MAX_DIM: usize = 65_536;

/// `k` vectors of `dim` components, rounded to bytes and packed.
#[derive(Clone, Debug)]
pub(crate) struct Sieve {
    pub(crate) k: usize,
    pub(crate) dim: usize,
    score: Score,
    /// The origin of vectors: their mean.
    center: Vec<f32>,
    /// The origin of rows: the same for distances, zero for products.
    row_center: Vec<f32>,
    /// `⌈k/WIDTH⌉` panels of `⌈dim/4⌉×WIDTH×4` bytes.
    pub(crate) packed: Vec<i8>,
    /// `−128·Σ v_j`, which compensates for the 128 added to rows.
    pub(crate) start: Vec<i32>,
    /// `t` of each vector.
    pub(crate) scale: Vec<f32>,
    /// The bias added to `−x̃·c̃`; infinite for missing columns.
    pub(crate) bias: Vec<f32>,
    /// `‖m‖` of the mean, if scores contain products with it.
    center_norm: f32,
    /// Largest `‖c̃‖`, `‖c−c̃‖` and `|bias|`.
    largest: [f32; 3],
}

/// Rows rounded to bytes, padded to whole tiles.
#[derive(Debug, Default)]
pub(crate) struct ByteRows {
    /// Tile by tile, `⌈dim/4⌉×TILE_ROWS×4` bytes each, 128 added.
    pub(crate) bytes: Vec<u8>,
    /// `s` of each row.
    pub(crate) scale: Vec<f32>,
    /// Error bound of the scores of each row.
    pub(crate) margin: Vec<f32>,
    /// Constant that makes scores of different packings comparable: `½‖x−m‖²`, or `−x·m` with the mean `m`.
    pub(crate) constant: Vec<f32>,
    row: Vec<u8>,
}

/// Norms of a vector `x`, relative to a centre, and of its rounding `x̃ = scale·u`.
pub(crate) struct Rounded {
    pub(crate) scale: f32,
    /// `‖x‖²`
    pub(crate) square: f32,
    /// `‖x̃‖`
    pub(crate) norm: f32,
    /// `‖x−x̃‖`
    pub(crate) error: f32,
}

/// How a vector is rounded. A trait and not a closure: closures are not compiled for the instruction set of their
/// caller.
pub(crate) trait Rounding {
    /// Rounds `x − center` to integer multiples of `max|x − center|/127` and stores them with 128 added; padding bytes
    /// are 128.
    fn round(x: &[f32], center: &[f32], bytes: &mut [u8]) -> Rounded;
}

impl Sieve {
    /// Packs vectors of `dim` components.
    #[inline(always)]
    pub(crate) fn new<Q: Rounding>(vectors: &[f32], dim: usize, score: Score) -> Sieve {
        let k = vectors.len() / dim;
        let columns = k.div_ceil(WIDTH) * WIDTH;
        let groups = dim.div_ceil(GROUP);
        let center = mean(vectors, dim);
        let mut sieve = Sieve {
            k,
            dim,
            score,
            packed: vec![0; columns * groups * GROUP],
            start: vec![0; columns],
            scale: vec![0.0; columns],
            bias: vec![f32::INFINITY; columns],
            center_norm: match score {
                Score::HalfDistance => 0.0,
                Score::NegatedDot => center.iter().map(|m| m * m).sum::<f32>().sqrt(),
            },
            largest: [0.0; 3],
            row_center: if score == Score::HalfDistance { center.clone() } else { vec![0.0; dim] },
            center,
        };
        let mut bytes = vec![0u8; groups * GROUP];
        for (c, vector) in vectors.chunks_exact(dim).enumerate() {
            let rounded = Q::round(vector, &sieve.center, &mut bytes);
            let panel = &mut sieve.packed[c / WIDTH * WIDTH * groups * GROUP..][..WIDTH * groups * GROUP];
            let mut sum = 0i32;
            for (g, group) in bytes.as_chunks::<GROUP>().0.iter().enumerate() {
                for (b, byte) in group.iter().enumerate() {
                    let value = (byte ^ 128).cast_signed();
                    panel[(g * WIDTH + c % WIDTH) * GROUP + b] = value;
                    sum += i32::from(value);
                }
            }
            sieve.start[c] = -128 * sum;
            sieve.scale[c] = rounded.scale;
            sieve.bias[c] = if score == Score::HalfDistance { 0.5 * rounded.square } else { 0.0 };
            for (largest, value) in sieve.largest.iter_mut().zip([rounded.norm, rounded.error, sieve.bias[c].abs()]) {
                // NaN makes the margin infinite, and so decides nothing.
                *largest = if value.is_nan() { f32::INFINITY } else { largest.max(value) };
            }
        }
        sieve
    }

    /// Rounds the first `n` rows to bytes, then zeros up to a whole tile.
    #[inline(always)]
    pub(crate) fn round_rows<Q: Rounding>(&self, n: usize, source: StridedRows<'_>, rows: &mut ByteRows) {
        let groups = self.dim.div_ceil(GROUP);
        let padded = n.div_ceil(TILE_ROWS) * TILE_ROWS;
        rows.bytes.clear();
        rows.bytes.resize(padded * groups * GROUP, 128);
        for values in [&mut rows.scale, &mut rows.margin, &mut rows.constant] {
            values.clear();
            values.resize(padded, 0.0);
        }
        let [norm, error, bias] = self.largest;
        // Rounding of f32: of the scores' own arithmetic, and of norms that are sums of `dim` squares.
        let slack = (self.dim + 64) as f32 * f32::EPSILON;
        rows.row.clear();
        rows.row.resize(groups * GROUP, 0);
        for i in 0..n {
            let x = source.row(i);
            let rounded = Q::round(x, &self.row_center, &mut rows.row);
            let tile = &mut rows.bytes[i / TILE_ROWS * TILE_ROWS * groups * GROUP..][..TILE_ROWS * groups * GROUP];
            let places = tile.as_chunks_mut::<GROUP>().0.iter_mut().skip(i % TILE_ROWS).step_by(TILE_ROWS);
            places.zip(rows.row.as_chunks::<GROUP>().0).for_each(|(place, bytes)| *place = *bytes);
            let length = rounded.square.sqrt();
            rows.scale[i] = rounded.scale;
            rows.constant[i] = match self.score {
                Score::HalfDistance => 0.5 * rounded.square,
                Score::NegatedDot => -x.iter().zip(&self.center).map(|(x, m)| x * m).sum::<f32>(),
            };
            let bound = rounded.error * norm + length * error;
            let sizes = length * (norm + error + self.center_norm) + bias + rows.constant[i].abs();
            let margin = bound * (1.0 + slack) + sizes * slack;
            rows.margin[i] = if margin.is_nan() { f32::INFINITY } else { margin };
        }
    }
}
