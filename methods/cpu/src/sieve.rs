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

use crate::isa::{Isa, Set};
use crate::lanes::Lanes;
use crate::nearest::StridedRows;
use crate::panels::{Score, TINIEST_STEP, mean};
#[cfg(target_arch = "aarch64")]
use crate::sieve_neon;
#[cfg(target_arch = "x86_64")]
use crate::sieve_vnni;

/// The products of bytes of an instruction set: tiles of `ROWS` rows and a panel of vectors, two registers of scores wide.
pub(crate) trait ByteTile<const ROWS: usize>: Lanes {
    /// Vectors of a panel.
    const WIDTH: usize = 2 * Self::N;
    /// How rows and vectors are rounded.
    type Rounding: Rounding;

    /// `bias − s·t·Σ u_j·v_j` for the rows of a tile and the vectors of a panel. `rows` holds `ROWS` groups of four bytes, 128 added, for
    /// each group of four components; `scales` holds `s` of each row.
    fn tile(rows: &[u8], scales: &[f32], panel: &PanelParts<'_>) -> [[Self; 2]; ROWS];
}

/// Something to be done with the products of bytes of an instruction set.
pub(crate) trait SieveWork {
    /// What it gives.
    type Out;
    /// Does it; must be inlined, with everything in it that works on registers. Closures are not compiled for the instruction set of
    /// their caller, so none in it may.
    fn run<L: ByteTile<ROWS>, const ROWS: usize>(self) -> Self::Out;
}

/// Does `work` with the products of bytes of an instruction set, the only place that chooses them; None if it has none that are faster
/// than f32.
pub(crate) fn with_byte_tiles<W: SieveWork>(isa: Isa, work: W) -> Option<W::Out> {
    match isa.set() {
        // SAFETY: an `Isa` exists only for a set that the processor has.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni => Some(unsafe { sieve_vnni::run(work) }),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot => Some(unsafe { sieve_neon::run(work) }),
        _ => {
            let _ = work;
            None
        }
    }
}

/// [`with_byte_tiles`] for a single row: such a tile takes no more time than reading the vectors.
pub(crate) fn with_byte_tiles_of_one<W: SieveWork>(isa: Isa, work: W) -> Option<W::Out> {
    match isa.set() {
        // SAFETY: an `Isa` exists only for a set that the processor has.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni => Some(unsafe { sieve_vnni::run_of_one(work) }),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot => Some(unsafe { sieve_neon::run_of_one(work) }),
        _ => with_byte_tiles(isa, work),
    }
}

/// Components in the four bytes that are multiplied and summed at once.
const GROUP: usize = 4;

/// Maximum number of components: sums of products stay below 2^31.
pub(crate) const MAX_DIM: usize = 65_536;

/// `k` vectors of `dim` components, rounded to bytes and packed.
#[derive(Clone, Debug)]
pub(crate) struct Sieve {
    k: usize,
    dim: usize,
    score: Score,
    /// Vectors of a panel.
    width: usize,
    /// The origin of vectors: their mean.
    center: Vec<f32>,
    /// The origin of rows: the same for distances, zero for products.
    row_center: Vec<f32>,
    /// `⌈k/width⌉` panels of `⌈dim/4⌉×width×4` bytes.
    packed: Vec<i8>,
    /// `−128·Σ v_j`, which compensates for the 128 added to rows.
    start: Vec<i32>,
    /// `t` of each vector.
    scale: Vec<f32>,
    /// The bias added to `−x̃·c̃`; infinite for missing columns.
    bias: Vec<f32>,
    /// `‖m‖` of the mean, if scores contain products with it.
    center_norm: f32,
    /// Largest `‖c̃‖`, `‖c−c̃‖` and `|bias|`.
    largest: [f32; 3],
}

/// Rows rounded to bytes, padded to whole tiles.
#[derive(Debug, Default)]
pub(crate) struct ByteRows {
    tile_rows: usize,
    /// Tile by tile, `⌈dim/4⌉×tile_rows×4` bytes each, 128 added.
    bytes: Vec<u8>,
    /// `s` of each row.
    scale: Vec<f32>,
    /// Error bound of the scores of each row.
    pub(crate) margin: Vec<f32>,
    /// Constant that makes scores of different packings comparable: `½‖x−m‖²`, or `−x·m` with the mean `m`.
    constant: Vec<f32>,
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
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.packed[..])
            + size_of_val(&self.start[..])
            + size_of_val(&self.scale[..])
            + size_of_val(&self.bias[..])
    }

    /// Packs vectors of `dim` components.
    #[inline(always)]
    pub(crate) fn new<L: ByteTile<ROWS>, const ROWS: usize>(vectors: &[f32], dim: usize, score: Score) -> Sieve {
        let k = vectors.len() / dim;
        let width = L::WIDTH;
        let columns = k.div_ceil(width) * width;
        let groups = dim.div_ceil(GROUP);
        let center = mean(vectors, dim);
        let mut sieve = Sieve {
            k,
            dim,
            score,
            width,
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
            let rounded = L::Rounding::round(vector, &sieve.center, &mut bytes);
            let panel = &mut sieve.packed[c / width * width * groups * GROUP..][..width * groups * GROUP];
            let mut sum = 0i32;
            for (g, group) in bytes.as_chunks::<GROUP>().0.iter().enumerate() {
                for (b, byte) in group.iter().enumerate() {
                    let value = (byte ^ 128).cast_signed();
                    panel[(g * width + c % width) * GROUP + b] = value;
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
    pub(crate) fn round_rows<L: ByteTile<ROWS>, const ROWS: usize>(
        &self,
        n: usize,
        source: StridedRows<'_>,
        rows: &mut ByteRows,
    ) {
        assert!(self.width == L::WIDTH, "packed for the same instruction set");
        rows.tile_rows = ROWS;
        let groups = self.dim.div_ceil(GROUP);
        let padded = n.div_ceil(ROWS) * ROWS;
        rows.bytes.clear();
        rows.bytes.resize(padded * groups * GROUP, 128);
        for values in [&mut rows.scale, &mut rows.margin, &mut rows.constant] {
            values.clear();
            values.resize(padded, 0.0);
        }
        let [norm, error, bias] = self.largest;
        // Squares that are too small for f32 count as zero, and so norms are up to this much too small.
        let vanished = (self.dim as f32 * f32::from_bits(1)).sqrt();
        let (norm, error) = (norm + vanished, error + vanished);
        // Rounding of f32: of the scores' own arithmetic, and of norms that are sums of `dim` squares.
        let slack = (self.dim + 64) as f32 * f32::EPSILON;
        rows.row.clear();
        rows.row.resize(groups * GROUP, 0);
        for i in 0..n {
            let x = source.row(i);
            let rounded = L::Rounding::round(x, &self.row_center, &mut rows.row);
            let tile = &mut rows.bytes[i / ROWS * ROWS * groups * GROUP..][..ROWS * groups * GROUP];
            let places = tile.as_chunks_mut::<GROUP>().0.iter_mut().skip(i % ROWS).step_by(ROWS);
            places.zip(rows.row.as_chunks::<GROUP>().0).for_each(|(place, bytes)| *place = *bytes);
            let length = rounded.square.sqrt() + vanished;
            rows.scale[i] = rounded.scale;
            rows.constant[i] = match self.score {
                Score::HalfDistance => 0.5 * rounded.square,
                Score::NegatedDot => -x.iter().zip(&self.center).map(|(x, m)| x * m).sum::<f32>(),
            };
            let bound = (rounded.error + vanished) * norm + length * error;
            let sizes = length * (norm + error + self.center_norm) + bias + rows.constant[i].abs();
            let margin = bound * (1.0 + slack) + sizes * slack + self.dim as f32 * TINIEST_STEP;
            rows.margin[i] = if margin.is_nan() { f32::INFINITY } else { margin };
        }
    }

    /// Components of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The bytes of a row or vector, padded.
    fn padded(&self) -> usize {
        self.dim.div_ceil(GROUP) * GROUP
    }

    #[inline(always)]
    fn panels(&self) -> impl Iterator<Item = PanelParts<'_>> {
        let width = self.width;
        let packed = self.packed.chunks_exact(self.padded() * width).zip(self.start.chunks_exact(width));
        let factors = self.scale.chunks_exact(width).zip(self.bias.chunks_exact(width));
        packed.zip(factors).map(|((packed, start), (scale, bias))| PanelParts { packed, start, scale, bias })
    }

    /// Tells `found` of each row the packed vectors that may be nearest to it, in ascending order: their scores are at most twice the
    /// margin above the best. The scores of one tile of rows are held in `scores`.
    #[inline(always)]
    pub(crate) fn near_best<L: ByteTile<ROWS>, const ROWS: usize>(
        &self,
        rows: &ByteRows,
        scores: &mut Vec<f32>,
        found: &mut impl FoundNear,
    ) {
        assert!(rows.tile_rows == ROWS && self.width == L::WIDTH, "packed for the same instruction set");
        let columns = self.bias.len();
        scores.resize(ROWS * columns, 0.0);
        let mut near: Vec<u32> = Vec::with_capacity(64);
        for (t, bytes) in rows.bytes.chunks_exact(ROWS * self.padded()).enumerate() {
            let scales = &rows.scale[t * ROWS..][..ROWS];
            let mut best = [L::splat(f32::INFINITY); ROWS];
            for (p, panel) in self.panels().enumerate() {
                let tile = L::tile(bytes, scales, &panel);
                for (r, [low, high]) in tile.into_iter().enumerate() {
                    let out = &mut scores[r * columns + p * L::WIDTH..][..L::WIDTH];
                    low.store(out);
                    high.store(&mut out[L::N..]);
                    best[r] = best[r].min(low.min(high));
                }
            }
            for (r, best) in best.into_iter().enumerate() {
                let limit = L::splat(best.least() + 2.0 * rows.margin[t * ROWS + r]);
                near.clear();
                for (block, scores) in scores[r * columns..][..columns].chunks_exact(L::WIDTH).enumerate() {
                    let mut within = within::<L>([L::load(scores), L::load(&scores[L::N..])], limit);
                    while within != 0 {
                        near.push((block * L::WIDTH) as u32 + within.trailing_zeros());
                        within &= within - 1;
                    }
                }
                // Missing columns are included if nothing can be decided.
                while near.last().is_some_and(|&id| id as usize >= self.k) {
                    near.pop();
                }
                found.near::<L>(t * ROWS + r, &near);
            }
        }
    }

    /// Tells `found` of every row and packed vector whose score, with the constant of the row, is at most `limits[row]`.
    #[inline(always)]
    pub(crate) fn below_limit<L: ByteTile<ROWS>, const ROWS: usize>(
        &self,
        rows: &ByteRows,
        limits: &mut [f32],
        found: &mut impl FoundBelow,
    ) {
        assert!(rows.tile_rows == ROWS && self.width == L::WIDTH, "packed for the same instruction set");
        let mut values = [0f32; 32];
        for (t, bytes) in rows.bytes.chunks_exact(ROWS * self.padded()).enumerate() {
            let scales = &rows.scale[t * ROWS..][..ROWS];
            let constants = &rows.constant[t * ROWS..][..ROWS];
            let count = ROWS.min(limits.len() - t * ROWS);
            let limits = &mut limits[t * ROWS..][..count];
            for (p, panel) in self.panels().enumerate() {
                let tile = L::tile(bytes, scales, &panel);
                for ((r, limit), [low, high]) in limits.iter_mut().enumerate().zip(tile) {
                    let constant = L::splat(constants[r]);
                    let (low, high) = (low.add(constant), high.add(constant));
                    let mut left = within::<L>([low, high], L::splat(*limit));
                    if left == 0 {
                        continue;
                    }
                    low.store(&mut values);
                    high.store(&mut values[L::N..]);
                    while left != 0 {
                        let column = left.trailing_zeros() as usize;
                        left &= left - 1;
                        let id = p * L::WIDTH + column;
                        if id < self.k {
                            *limit = found.below(r + t * ROWS, id as u32, values[column], rows.margin[r + t * ROWS]);
                        }
                    }
                }
            }
        }
    }
}

/// One bit per score: whether it is at most the limit, or NaN.
#[inline(always)]
fn within<L: Lanes>(scores: [L; 2], limit: L) -> u32 {
    let above = limit.below(scores[0]) | limit.below(scores[1]) << L::N;
    // The width may be that of the number.
    !above & (u32::MAX >> (32 - 2 * L::N))
}

/// The parts of a panel of vectors.
pub(crate) struct PanelParts<'a> {
    pub(crate) packed: &'a [i8],
    /// `−128·Σ v_j`, which compensates for the 128 added to rows.
    #[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "NEON takes the 128 off again"))]
    pub(crate) start: &'a [i32],
    pub(crate) scale: &'a [f32],
    pub(crate) bias: &'a [f32],
}

/// Takes the vectors that may be nearest to a row.
pub(crate) trait FoundNear {
    /// Takes them; must be inlined.
    fn near<L: Lanes>(&mut self, row: usize, ids: &[u32]);
}

/// Takes vectors whose score is below the limit of a row.
pub(crate) trait FoundBelow {
    /// Takes one, with its score and the margin of that, and returns the limit of the row from now on.
    fn below(&mut self, row: usize, id: u32, score: f32, margin: f32) -> f32;
}

#[cfg(test)]
mod tests;
