//! Products of all rows with all columns of a table, and the smallest scores from them (`kernels/products.cu`).

use crate::assign::FLOAT_TILES;
use crate::codes::over;
use crate::device::{Buffer, Device, Launch, launch};
use crate::{CudaError, DeviceRows};

const TILE: usize = 128;
const TILE_THREADS: u32 = 256;
const THREADS: u32 = 128;

/// Terms that are added to a product, or subtracted from its rows before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// Subtracted from every row: `dim` values.
    pub mean: Option<&'a Buffer<f32>>,
    /// Added to the products with each of the other rows: `k` values.
    pub bias: Option<&'a Buffer<f32>>,
}

/// Writes `out[i][c] = bias[c] + factor·(x_i − mean)·y_c` for the `k` rows `y` of `others`.
///
/// # Errors
/// A device failure.
///
/// If dimensions or lengths do not match.
/// When dimensions or lengths do not fit.
pub fn products(
    rows: DeviceRows<'_>,
    others: &Buffer<f32>,
    factor: f32,
    Terms { mean, bias }: Terms<'_>,
    out: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let (n, dim) = (rows.count(), rows.dim());
    assert!(dim > 0 && others.len().is_multiple_of(dim), "others of {dim} components");
    let k = others.len() / dim;
    assert!(
        mean.is_none_or(|m| m.len() >= dim) && bias.is_none_or(|b| b.len() >= k),
        "a mean per component, a bias per other"
    );
    assert!(out.len() >= n * k, "a place for each product");
    if n == 0 || k == 0 {
        return Ok(());
    }
    let device = rows.buffer().device();
    // SAFETY: the lengths were just asserted.
    unsafe {
        launch!(device, products, Launch::of(n.div_ceil(TILE), TILE_THREADS).by(k.div_ceil(TILE).min(65_535)).shared(FLOAT_TILES);
            rows.start(), rows.stride(), rows.n(), mean, others, k as u32, dim as u32, factor, bias, &*out, k as u64)
    }
}

/// For each `group` consecutive rows, the `min(count, group·k)` pairs of a row `x_b` of the group and a codeword `c`
/// with the smallest `‖x_b−c‖²`, nearest first; ties go to the lower index. Returns the indices `b·k + c` and the
/// squared distances.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If dimensions do not match.
pub fn nearest_of_groups(
    device: &Device,
    rows: DeviceRows<'_>,
    group: usize,
    codewords: &[f32],
    count: usize,
) -> Result<Chosen, CudaError> {
    choose(device, rows, group, codewords, count, None)
}

/// Indices `b·K + c` for row `b` of a group and codeword `c`, and the squared distance of each.
pub type Chosen = (Vec<u32>, Vec<f32>);

/// As [`nearest_of_groups`], with the residuals `x_b − c` of the pairs, contiguously.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If dimensions do not match.
pub fn continuations(
    device: &Device,
    rows: DeviceRows<'_>,
    group: usize,
    codewords: &[f32],
    count: usize,
) -> Result<(Chosen, Buffer<f32>), CudaError> {
    let k = codewords.len() / rows.dim();
    let mut residuals = device.room(rows.count() / group * count.min(group * k) * rows.dim())?;
    let chosen = choose(device, rows, group, codewords, count, Some(&mut residuals))?;
    Ok((chosen, residuals))
}

fn choose(
    device: &Device,
    rows: DeviceRows<'_>,
    group: usize,
    codewords: &[f32],
    count: usize,
    residuals: Option<&mut Buffer<f32>>,
) -> Result<Chosen, CudaError> {
    let dim = rows.dim();
    let k = codewords.len() / dim;
    assert!(group > 0 && k > 0 && codewords.len() == k * dim, "groups of rows, whole codewords");
    let (groups, count) = (rows.count() / group, count.min(group * k));
    let codewords = device.upload(codewords)?;
    let room = (device.spare_bytes()? / 2 / (group * 4 * k + 8 * count) as u64) as usize;
    let at_once = room.clamp(1, 1 << 20).min(groups.max(1));
    let candidates = device.room::<f32>(at_once * group * k)?;
    let (places, distances) = (device.room(at_once * count)?, device.room(at_once * count)?);
    let (mut all_places, mut all_distances) = (vec![0u32; groups * count], vec![0f32; groups * count]);
    for from in (0..groups).step_by(at_once) {
        let here = at_once.min(groups - from);
        let rows = rows.part(from * group, here * group);
        let tiles = Launch::of(rows.count().div_ceil(TILE), TILE_THREADS).by(k.div_ceil(TILE).min(65_535));
        // SAFETY: candidates, indices and distances have space for the groups of this part, and the indices are those
        // of candidates.
        unsafe {
            launch!(device, distances, tiles.shared(FLOAT_TILES);
                rows.start(), rows.stride(), rows.n(), &codewords, k as u32, dim as u32, &candidates)?;
        }
        // SAFETY: as above.
        unsafe {
            launch!(device, least_few, Launch::of(here, THREADS).shared(8 * 32);
                &candidates, here as u32, (group * k) as u64, count as u32, &places)?;
        }
        // SAFETY: as above.
        unsafe {
            launch!(device, order_found, Launch::of(here, THREADS);
                rows.start(), rows.stride(), group as u32, &codewords, k as u32, dim as u32, here as u32, count as u32, &places,
                &distances)?;
        }
        if let Some(residuals) = &residuals {
            // SAFETY: the output has space for each residual, and the indices are those of rows of their group and of
            // codewords.
            unsafe {
                launch!(device, subtract_chosen, over(device, here * count * dim);
                    rows.start(), rows.stride(), group as u32, &codewords, k as u32, dim as u32, here as u32, count as u32,
                    &places, residuals.at(from * count * dim))?;
            }
        }
        places.read(0, &mut all_places[from * count..][..here * count])?;
        distances.read(0, &mut all_distances[from * count..][..here * count])?;
    }
    Ok((all_places, all_distances))
}
