//! Search by tables over codes on a device (`kernels/scan.cu`).

use crate::device::{Argument, Device};
use crate::select::{Scan, capacity, selection_bytes};
use crate::{Codes, CudaError, Neighbor};
use cpu::SymbolWidth;

/// The `k` codes of least score for each query, ascending, ties by number; fewer where there are fewer codes. A score is
/// `Σ_p table_p[symbol p]`, summed in f32 in the order of positions; one that is no number is not found. `tables` holds
/// `positions` tables of [`SymbolWidth::alphabet`] entries for each query, one after the other.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// When the tables of a query are not whole, codes are not as long as that many symbols, or `k` is above [`crate::MAX_K`].
pub fn scan_tables(
    codes: Codes<'_>,
    width: SymbolWidth,
    positions: usize,
    tables: &[f32],
    k: usize,
) -> Result<Vec<Vec<Neighbor<f32>>>, CudaError> {
    let per_query = positions * width.alphabet();
    assert!(per_query > 0 && tables.len().is_multiple_of(per_query), "tables of {positions} positions for each query");
    assert!(codes.size() == width.bytes(positions), "codes of {positions} symbols");
    let (device, queries) = (codes.buffer().device(), tables.len() / per_query);
    if k == 0 {
        return Ok(vec![Vec::new(); queries]);
    }
    // Half bytes are read in twos.
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
        // SAFETY: codes and tables are as long as asserted above; limits and places for what is found are those of the range.
        unsafe { device.launch(kernel, launch, &arguments) }
    })
}

fn symbol_bits(width: SymbolWidth) -> usize {
    match width {
        SymbolWidth::Nibble => 4,
        SymbolWidth::Byte => 8,
    }
}

/// The most queries beside each other, of `choices`, whose `bytes` each fit into shared memory, where any do; no more than serve
/// `queries`.
pub(crate) fn fitting(device: &Device, choices: &[usize], queries: usize, k: usize, bytes: usize) -> (usize, bool) {
    let shared = device.facts().shared_bytes as usize;
    let fits = |beside: usize| selection_bytes(beside, k) + beside * bytes <= shared;
    let serves = |beside: usize| beside < 2 * queries.max(1);
    match choices.iter().find(|&&beside| serves(beside) && fits(beside)) {
        Some(&beside) => (beside, true),
        None => (1, false),
    }
}
