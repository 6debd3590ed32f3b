//! The products of bytes of a [`Sieve`] on AVX-512 VNNI.
//!
//! Every function here is inlined into one that is entered only after an `Isa` of AVX-512 VNNI and VBMI was given. The gain that
//! justifies it is a quarter of the time of f32 (`cargo bench -p vqbench-cpu`).

use crate::nearest::StridedRows;
use crate::sieve::{ByteRows, Rounded, Rounding, Sieve, TILE_ROWS, WIDTH};
use crate::wide;
use std::arch::x86_64::*;

/// Approximate scores of a tile: rows × two registers of sixteen vectors.
type Tile = [[__m512; 2]; TILE_ROWS];

/// `bias − s·t·Σ u_j·v_j` for the rows of a tile and the vectors of a panel.
#[inline(always)]
fn tile(rows: &[u8], scales: &[f32], panel: &PanelParts<'_>) -> Tile {
    // Checked once, so that the loop below reads without checks.
    let groups = rows.len() / (4 * TILE_ROWS);
    assert!(scales.len() >= TILE_ROWS && panel.packed.len() >= groups * 4 * WIDTH);
    assert!(panel.start.len() >= WIDTH && panel.scale.len() >= WIDTH && panel.bias.len() >= WIDTH);
    // Preconditions of all reads below: AVX-512 VNNI is present, see the module, and offsets stay below the lengths
    // asserted above.
    let start = panel.start.as_ptr();
    // SAFETY: the first sixteen of `WIDTH` constants.
    let low = unsafe { _mm512_loadu_si512(start.cast()) };
    // SAFETY: the last sixteen.
    let high = unsafe { _mm512_loadu_si512(start.wrapping_add(16).cast()) };
    let mut sums = [[low, high]; TILE_ROWS];
    let (mut column, mut row) = (panel.packed.as_ptr(), rows.as_ptr().cast::<i32>());
    for _ in 0..groups {
        // SAFETY: the first half of the `4·WIDTH` bytes of a group.
        let low = unsafe { _mm512_loadu_si512(column.cast()) };
        // SAFETY: the second half.
        let high = unsafe { _mm512_loadu_si512(column.wrapping_add(64).cast()) };
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: four bytes of row `r` of the `TILE_ROWS` of a group.
            let x = wide::splat_whole(unsafe { row.wrapping_add(r).read_unaligned() });
            sum[0] = wide::plus_products(sum[0], x, low);
            sum[1] = wide::plus_products(sum[1], x, high);
        }
        column = column.wrapping_add(4 * WIDTH);
        row = row.wrapping_add(TILE_ROWS);
    }
    let scale = halves(panel.scale);
    let bias = halves(panel.bias);
    let mut scores = [[wide::zeros(); 2]; TILE_ROWS];
    // Written out row by row: in a loop, the compiler would index the sums and keep them in memory.
    macro_rules! scores {
        ($($r:literal)*) => {
            $(
                let s = wide::splat(scales[$r]);
                for half in 0..2 {
                    let product = wide::times(wide::values(sums[$r][half]), scale[half]);
                    scores[$r][half] = wide::less_product(product, s, bias[half]);
                }
            )*
        };
    }
    scores!(0 1 2 3 4 5 6 7 8 9 10 11);
    scores
}

/// The first `WIDTH` values.
#[inline(always)]
fn halves(values: &[f32]) -> [__m512; 2] {
    let values = values[..WIDTH].as_ptr();
    // SAFETY: AVX-512 is present, see the module; the first sixteen of `WIDTH` values.
    let low = unsafe { _mm512_loadu_ps(values) };
    // SAFETY: as above; the last sixteen.
    let high = unsafe { _mm512_loadu_ps(values.wrapping_add(16)) };
    [low, high]
}

/// The parts of a panel of vectors.
struct PanelParts<'a> {
    packed: &'a [i8],
    start: &'a [i32],
    scale: &'a [f32],
    bias: &'a [f32],
}

impl Sieve {
    #[inline(always)]
    fn panels(&self) -> impl Iterator<Item = PanelParts<'_>> {
        let size = self.dim.div_ceil(4) * 4;
        let packed = self.packed.chunks_exact(size * WIDTH).zip(self.start.chunks_exact(WIDTH));
        let factors = self.scale.chunks_exact(WIDTH).zip(self.bias.chunks_exact(WIDTH));
        packed.zip(factors).map(|((packed, start), (scale, bias))| PanelParts { packed, start, scale, bias })
    }
}

/// Calls `found(row, ids)` with the packed vectors that may be nearest to a row, in ascending order: their scores are at most
/// twice the margin above the best. The scores of one tile of rows are held in `scores`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn near_best(sieve: &Sieve, rows: &ByteRows, scores: &mut Vec<f32>, mut found: impl FnMut(usize, &[u32])) {
    let size = sieve.dim.div_ceil(4) * 4;
    let columns = sieve.bias.len();
    scores.resize(TILE_ROWS * columns, 0.0);
    let mut near: Vec<u32> = Vec::with_capacity(64);
    for (t, bytes) in rows.bytes.chunks_exact(TILE_ROWS * size).enumerate() {
        let scales = &rows.scale[t * TILE_ROWS..][..TILE_ROWS];
        let mut best = [[f32::INFINITY; 16]; TILE_ROWS];
        for (p, panel) in sieve.panels().enumerate() {
            let tile = tile(bytes, scales, &panel);
            for (r, halves) in tile.into_iter().enumerate() {
                let out = &mut scores[r * columns + p * WIDTH..][..WIDTH];
                // SAFETY: AVX-512 is present; the first half of `out`, which holds two registers.
                unsafe { _mm512_storeu_ps(out.as_mut_ptr(), halves[0]) };
                // SAFETY: the second half.
                unsafe { _mm512_storeu_ps(out.as_mut_ptr().wrapping_add(16), halves[1]) };
                let best = best[r].as_mut_ptr();
                // SAFETY: `best[r]` holds a register.
                let before = unsafe { _mm512_loadu_ps(best) };
                let least = _mm512_min_ps(before, _mm512_min_ps(halves[0], halves[1]));
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(best, least) };
            }
        }
        for r in 0..TILE_ROWS {
            // SAFETY: AVX-512 is present, and `best[r]` holds a register.
            let best = unsafe { _mm512_loadu_ps(best[r].as_ptr()) };
            let limit = _mm512_reduce_min_ps(best) + 2.0 * rows.margin[t * TILE_ROWS + r];
            near.clear();
            for (block, scores) in scores[r * columns..][..columns].as_chunks::<WIDTH>().0.iter().enumerate() {
                let [low, high] = halves(scores);
                let limit = _mm512_set1_ps(limit);
                let mut within = u32::from(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(low, limit))
                    | u32::from(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(high, limit)) << 16;
                while within != 0 {
                    near.push((block * WIDTH) as u32 + within.trailing_zeros());
                    within &= within - 1;
                }
            }
            // Missing columns are included if nothing can be decided.
            while near.last().is_some_and(|&id| id as usize >= sieve.k) {
                near.pop();
            }
            found(t * TILE_ROWS + r, &near);
        }
    }
}

/// Calls `found(row, id, score)` for every packed vector whose score, with the constant of the row, is at most `limit[row]`;
/// `found` may lower that limit.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn below_limit(
    sieve: &Sieve,
    rows: &ByteRows,
    limits: &mut [f32],
    mut found: impl FnMut(usize, u32, f32, &mut f32),
) {
    let size = sieve.dim.div_ceil(4) * 4;
    for (t, bytes) in rows.bytes.chunks_exact(TILE_ROWS * size).enumerate() {
        let scales = &rows.scale[t * TILE_ROWS..][..TILE_ROWS];
        let constants = &rows.constant[t * TILE_ROWS..][..TILE_ROWS];
        let count = TILE_ROWS.min(limits.len() - t * TILE_ROWS);
        let limits = &mut limits[t * TILE_ROWS..][..count];
        for (p, panel) in sieve.panels().enumerate() {
            let tile = tile(bytes, scales, &panel);
            for ((r, limit), halves) in limits.iter_mut().enumerate().zip(tile) {
                let constant = _mm512_set1_ps(constants[r]);
                let scores = [_mm512_add_ps(halves[0], constant), _mm512_add_ps(halves[1], constant)];
                let highest = _mm512_set1_ps(*limit);
                let within = u32::from(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(scores[0], highest))
                    | u32::from(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(scores[1], highest)) << 16;
                if within != 0 {
                    let mut values = [0f32; WIDTH];
                    // SAFETY: AVX-512 is present; the first half of `values`, which holds two registers.
                    unsafe { _mm512_storeu_ps(values.as_mut_ptr(), scores[0]) };
                    // SAFETY: the second half.
                    unsafe { _mm512_storeu_ps(values.as_mut_ptr().wrapping_add(16), scores[1]) };
                    let mut left = within;
                    while left != 0 {
                        let column = left.trailing_zeros() as usize;
                        left &= left - 1;
                        let id = p * WIDTH + column;
                        if id < sieve.k {
                            found(r + t * TILE_ROWS, id as u32, values[column], limit);
                        }
                    }
                }
            }
        }
    }
}

/// Sixteen components of `x − center` from component `i` on, or as many as there are, and a mask of them.
#[inline(always)]
fn centred(x: &[f32], center: &[f32], i: usize) -> (__m512, u16) {
    let n = x.len().min(center.len());
    let lanes = ((1u32 << n.saturating_sub(i).min(16)) - 1) as u16;
    // SAFETY: AVX-512 is present, see the module; the mask keeps the read below `n`.
    let x = unsafe { _mm512_maskz_loadu_ps(lanes, x.as_ptr().wrapping_add(i)) };
    // SAFETY: as above.
    let center = unsafe { _mm512_maskz_loadu_ps(lanes, center.as_ptr().wrapping_add(i)) };
    (wide::minus(x, center), lanes)
}

/// Rounds `x − center` to integer multiples of `max|x − center|/127` and stores them with 128 added; padding bytes are
/// 128.
struct Registers;

impl Rounding for Registers {
    #[inline(always)]
    fn round(x: &[f32], center: &[f32], bytes: &mut [u8]) -> Rounded {
        assert!(x.len() == center.len() && bytes.len() >= x.len());
        let n = x.len();
        let (mut largest, mut square) = (wide::zeros(), wide::zeros());
        for i in (0..n).step_by(16) {
            let (v, _) = centred(x, center, i);
            largest = wide::larger(largest, wide::magnitude(v));
            square = wide::times_plus(v, v, square);
        }
        let square = wide::sum(square);
        let scale = wide::largest(largest) / 127.0;
        // Too small or too large to divide by, or NaN: then the whole vector counts as error.
        if !(1e-30..=1e30).contains(&scale) || square.is_nan() {
            bytes.fill(128);
            return Rounded { scale: 0.0, square, norm: 0.0, error: square.sqrt() };
        }
        let (s, inverse) = (wide::splat(scale), wide::splat(1.0 / scale));
        let (mut norm, mut error) = (wide::zeros(), wide::zeros());
        bytes[n..].fill(128);
        for i in (0..n).step_by(16) {
            let (v, lanes) = centred(x, center, i);
            let whole = wide::rounded(wide::times(v, inverse));
            let stored = wide::low_bytes(wide::plus_whole(whole, wide::splat_whole(128)));
            // SAFETY: AVX-512 is present, see the module; the mask keeps the bytes written below `n`, of which there are as many.
            unsafe { _mm_mask_storeu_epi8(bytes.as_mut_ptr().wrapping_add(i).cast(), lanes, stored) };
            let back = wide::times(wide::values(whole), s);
            let left = wide::minus(v, back);
            norm = wide::times_plus(back, back, norm);
            error = wide::times_plus(left, left, error);
        }
        Rounded { scale, square, norm: wide::sum(norm).sqrt(), error: wide::sum(error).sqrt() }
    }
}

/// [`Sieve::new`] on wide registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn pack(vectors: &[f32], dim: usize, score: crate::Score) -> Sieve {
    Sieve::new::<Registers>(vectors, dim, score)
}

/// [`Sieve::round_rows`] on wide registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn round_rows(sieve: &Sieve, n: usize, source: StridedRows<'_>, rows: &mut ByteRows) {
    sieve.round_rows::<Registers>(n, source, rows);
}
