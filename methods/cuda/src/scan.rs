//! Search over codes by tables on a device (`kernels/scan.cu`).

use crate::device::{Argument, Device};
use crate::select::{Scan, capacity, selection_bytes};
use crate::{Codes, CudaError, SelectedRow};
use cpu::SymbolWidth;

/// The `k` codes with the lowest scores for each query, ascending; ties go to the lower index. Returns fewer if there
/// are fewer codes. A score is `Σ_p table_p[symbol p]`, summed in f32 in the order of positions; codes with a NaN score
/// are never returned. `tables` has `positions` tables of [`SymbolWidth::alphabet`] entries for each query,
/// contiguously.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If the tables of a query are not whole, codes do not have this number of symbols, or `k` exceeds [`crate::MAX_K`].
pub fn scan_tables(
    codes: Codes<'_>,
    width: SymbolWidth,
    positions: usize,
    tables: &[f32],
    k: usize,
) -> Result<Vec<Vec<SelectedRow<f32>>>, CudaError> {
    let per_query = positions * width.alphabet();
    assert!(per_query > 0 && tables.len().is_multiple_of(per_query), "tables of {positions} positions for each query");
    assert!(codes.size() == width.bytes(positions), "codes of {positions} symbols");
    let (device, queries) = (codes.buffer().device(), tables.len() / per_query);
    if k == 0 {
        return Ok(vec![Vec::new(); queries]);
    }
    // Half-byte symbols are read in pairs.
    let table_bytes = 4 * width.alphabet() * codes.size() * (8 / symbol_bits(width));
    let (beside, resident) = fitting(device, &[4, 2, 1], queries, k, table_bytes);
    let kernel = match (width, beside, resident) {
        (SymbolWidth::Byte, _, false) => "scan_bytes_far",
        (SymbolWidth::Byte, 4, _) => "scan_bytes_by_4",
        (SymbolWidth::Byte, 2, _) => "scan_bytes_by_2",
        (SymbolWidth::Byte, ..) => "scan_bytes_by_1",
        (SymbolWidth::Nibble, _, false) => "scan_nibbles_far",
        (SymbolWidth::Nibble, 4, _) => "scan_nibbles_by_4",
        (SymbolWidth::Nibble, 2, _) => "scan_nibbles_by_2",
        (SymbolWidth::Nibble, ..) => "scan_nibbles_by_1",
    };
    let scan = Scan {
        n: codes.count(),
        queries,
        k,
        beside,
        shared_bytes: selection_bytes(beside, k) + if resident { beside * table_bytes } else { 0 },
        bytes_per_query: 4 * per_query,
    };
    scan.run(device, |range, launch, limits, found| {
        let tables = device.upload(&tables[range.start * per_query..range.end * per_query])?;
        let arguments = [
            codes.start(),
            codes.n().into(),
            Argument::from(codes.size() as u32),
            Argument::from(positions as u32),
            Argument::from(&tables),
            Argument::from(range.len() as u32),
            Argument::from(k as u32),
            Argument::from(capacity(k) as u32),
            limits.into(),
            found.into(),
        ];
        // SAFETY: the lengths of codes and tables were asserted above; limits and outputs match the range of queries.
        unsafe { device.launch(kernel, launch, &arguments) }
    })
}

fn symbol_bits(width: SymbolWidth) -> usize {
    match width {
        SymbolWidth::Nibble => 4,
        SymbolWidth::Byte => 8,
    }
}

/// The first of `choices`, numbers of queries per block, that `queries` can use and whose selections and `bytes` per
/// query fit into shared memory, and true; 1 and false if none fits.
pub(crate) fn fitting(device: &Device, choices: &[usize], queries: usize, k: usize, bytes: usize) -> (usize, bool) {
    let shared = device.facts().shared_bytes as usize;
    let fits = |beside: usize| selection_bytes(beside, k) + beside * bytes <= shared;
    let serves = |beside: usize| beside < 2 * queries.max(1);
    match choices.iter().find(|&&beside| serves(beside) && fits(beside)) {
        Some(&beside) => (beside, true),
        None => (1, false),
    }
}
