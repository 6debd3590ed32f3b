//! Search by Hamming distance over binary codes on a device (`kernels/hamming.cu`).

use crate::device::Argument;
use crate::scan::fitting;
use crate::select::{Scan, capacity, selection_bytes};
use crate::{Codes, CudaError, SelectedRow};

/// The `k` codes with the smallest Hamming distance to each query, ascending; ties go to the lower index. Returns fewer
/// if there are fewer codes. Queries are contiguous and as long as codes; padding bits after the last bit of a code
/// must be equal in all codes and queries.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If queries are not whole, or `k` exceeds [`crate::MAX_K`].
pub fn scan_hamming(codes: Codes<'_>, queries: &[u8], k: usize) -> Result<Vec<Vec<SelectedRow<u32>>>, CudaError> {
    let size = codes.size();
    assert!(queries.len().is_multiple_of(size), "queries of {size} bytes");
    let (device, count) = (codes.buffer().device(), queries.len() / size);
    if k == 0 {
        return Ok(vec![Vec::new(); count]);
    }
    let query_bytes = size.next_multiple_of(4);
    let (beside, resident) = fitting(device, &[4, 1], count, k, query_bytes);
    let kernel = match (beside, resident) {
        (_, false) => "hamming_far",
        (4, _) => "hamming_by_4",
        _ => "hamming_by_1",
    };
    let scan = Scan {
        n: codes.count(),
        queries: count,
        k,
        beside,
        shared_bytes: selection_bytes(beside, k) + if resident { beside * query_bytes } else { 0 },
        bytes_per_query: size,
    };
    scan.run(device, |range, launch, limits, found| {
        let queries = device.upload(&queries[range.start * size..range.end * size])?;
        let arguments = [
            codes.start(),
            codes.n().into(),
            Argument::from(size as u32),
            Argument::from(&queries),
            Argument::from(range.len() as u32),
            Argument::from(k as u32),
            Argument::from(capacity(k) as u32),
            limits.into(),
            found.into(),
        ];
        // SAFETY: the lengths of codes and queries were asserted above; limits and outputs match the range of queries.
        unsafe { device.launch(kernel, launch, &arguments) }
    })
}
