//! The products of bytes of the sieve on AVX-512 VNNI.
//!
//! Every function here is inlined into one that is entered only after an `Isa` of AVX-512 VNNI and VBMI was given. The gain that
//! justifies it is a quarter of the time of f32 (`cargo bench -p vqbench-cpu`).

use crate::lanes::Avx512;
use crate::sieve::{ByteTile, PanelParts, Rounded, Rounding, SieveWork};
use crate::wide;
use std::arch::x86_64::*;

/// Vectors of a panel: two registers of sixteen sums.
const WIDTH: usize = 32;

/// Rows of a tile: 24 of the 32 registers hold its sums.
const TILE_ROWS: usize = 12;

/// Approximate scores of a tile: rows × two registers of sixteen vectors.
type Tile = [[Avx512; 2]; TILE_ROWS];

impl ByteTile<TILE_ROWS> for Avx512 {
    type Rounding = Registers;

    #[inline(always)]
    fn tile(rows: &[u8], scales: &[f32], panel: &PanelParts<'_>) -> Tile {
        tile(rows, scales, panel)
    }
}

impl ByteTile<1> for Avx512 {
    type Rounding = Registers;

    #[inline(always)]
    fn tile(rows: &[u8], scales: &[f32], panel: &PanelParts<'_>) -> [[Avx512; 2]; 1] {
        [tile_of_one(rows, scales[0], panel)]
    }
}

/// Does `work` with tiles of one row.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn run_of_one<W: SieveWork>(work: W) -> W::Out {
    work.run::<Avx512, 1>()
}

/// Does `work` with these products.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,fma")]
pub(crate) fn run<W: SieveWork>(work: W) -> W::Out {
    work.run::<Avx512, TILE_ROWS>()
}

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
    let mut scores = [[Avx512(wide::zeros()); 2]; TILE_ROWS];
    // Written out row by row: in a loop, the compiler would index the sums and keep them in memory.
    macro_rules! scores {
        ($($r:literal)*) => {
            $(
                let s = wide::splat(scales[$r]);
                for half in 0..2 {
                    let product = wide::times(wide::values(sums[$r][half]), scale[half]);
                    scores[$r][half] = Avx512(wide::less_product(product, s, bias[half]));
                }
            )*
        };
    }
    scores!(0 1 2 3 4 5 6 7 8 9 10 11);
    scores
}

/// The same for one row. Two groups are added up side by side, so that no addition waits for the last.
#[inline(always)]
fn tile_of_one(row: &[u8], scale: f32, panel: &PanelParts<'_>) -> [Avx512; 2] {
    let (row, columns) = (row.as_chunks::<4>().0, panel.packed.as_chunks::<{ 4 * WIDTH }>().0);
    let start = panel.start[..WIDTH].as_ptr();
    // SAFETY: AVX-512 VNNI is present, see the module; the first sixteen of `WIDTH` constants.
    let low = unsafe { _mm512_loadu_si512(start.cast()) };
    // SAFETY: as above; the last sixteen.
    let high = unsafe { _mm512_loadu_si512(start.wrapping_add(16).cast()) };
    let zeros = wide::splat_whole(0);
    let mut sums = [[low, high], [zeros; 2]];
    let (pairs, last) = row.as_chunks::<2>();
    let (column_pairs, last_column) = columns.as_chunks::<2>();
    for (pair, columns) in pairs.iter().zip(column_pairs) {
        for h in 0..2 {
            sums[h] = plus_group(sums[h], pair[h], &columns[h]);
        }
    }
    if let ([x], [column, ..]) = (last, last_column) {
        sums[0] = plus_group(sums[0], *x, column);
    }
    let (scales, bias, s) = (halves(panel.scale), halves(panel.bias), wide::splat(scale));
    let mut scores = [Avx512(wide::zeros()); 2];
    for h in 0..2 {
        let product = wide::times(wide::values(wide::plus_whole(sums[0][h], sums[1][h])), scales[h]);
        scores[h] = Avx512(wide::less_product(product, s, bias[h]));
    }
    scores
}

/// Adds the products of four components.
#[inline(always)]
fn plus_group(sums: [__m512i; 2], x: [u8; 4], column: &[i8; 4 * WIDTH]) -> [__m512i; 2] {
    let x = wide::splat_whole(i32::from_le_bytes(x));
    // SAFETY: AVX-512 is present, see the module; the first half of the bytes.
    let low = unsafe { _mm512_loadu_si512(column.as_ptr().cast()) };
    // SAFETY: as above; the second half.
    let high = unsafe { _mm512_loadu_si512(column.as_ptr().wrapping_add(64).cast()) };
    [wide::plus_products(sums[0], x, low), wide::plus_products(sums[1], x, high)]
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
pub(crate) struct Registers;

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
