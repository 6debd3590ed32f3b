//! Turns panics of third-party readers into errors, and refuses claims that a file is too small for.

use super::OpenFile;

/// Largest plausible compression ratio, values over file bytes: the limit of deflate. A header that states more is
/// refused before memory is allocated.
pub const MAX_EXPANSION: u128 = 1032;

/// Runs a reader from another crate. Readers of rich formats such as HDF5 and Parquet contain assertions that malformed
/// bytes can trip (fuzzing finds some in polars-parquet and none in rust-hdf5). Such a panic becomes an error about a malformed
/// file, ends no run, and prints nothing. The reader is not used again after a panic. This works as long as the
/// profiles keep `panic = "unwind"`.
pub fn contained<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    strict::contained("its parts contradict each other, so that the reader gave up on it", read)
}

/// Most bytes that a format that compresses its values can unpack from a file. A file that is packed as a whole does not
/// hold more for being packed twice.
pub fn most_unpacked(file: &OpenFile) -> u128 {
    (u128::from(file.stored) * MAX_EXPANSION).max(file.length.into())
}

/// Refuses shapes that a file cannot justify. Returns the number of values.
pub fn plausible(shape: [usize; 2], value_bytes: usize, file: &OpenFile, compressed: bool) -> Result<usize, String> {
    let needed = shape[0] as u128 * shape[1] as u128 * value_bytes as u128;
    let length = file.length;
    let most = if compressed { most_unpacked(file) } else { length.into() };
    let [n, dim] = shape;
    match usize::try_from(needed) {
        Ok(_) if needed <= most => Ok(n * dim),
        _ => Err(format!(
            "its header states {n} rows of {dim} components, that is {needed} bytes of values; a file of {length} bytes can hold {most} at most"
        )),
    }
}
