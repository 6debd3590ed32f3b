//! A wall around readers of other people's code.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most that a compressed file is believed to grow, values over file bytes: the limit of deflate. A header that
/// promises more is refused before memory is taken for it.
const MAX_EXPANSION: u128 = 1032;

/// Runs a reader from another crate. Formats as rich as HDF5 and Parquet leave such readers with asserts that hostile bytes
/// can trip (parquet 60 has some, rust-hdf5 showed none when fuzzed); here that is one more malformed file and ends no run.
/// Nothing of the reader is used again after a panic. Works as long as the profiles leave `panic = "unwind"`.
pub fn contained<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err("its parts contradict each other, so that the reader gave up on it".to_owned()))
}

/// Refuses shapes that a file of `length` bytes cannot justify. Returns the number of values.
pub fn plausible(shape: [usize; 2], value_bytes: usize, length: u64, compressed: bool) -> Result<usize, String> {
    let needed = shape[0] as u128 * shape[1] as u128 * value_bytes as u128;
    let most = u128::from(length) * if compressed { MAX_EXPANSION } else { 1 };
    let [n, dim] = shape;
    match usize::try_from(needed) {
        Ok(_) if needed <= most => Ok(n * dim),
        _ => Err(format!(
            "its header promises {n} rows of {dim} components, that is {needed} bytes of values; a file of {length} bytes can hold {most} at most"
        )),
    }
}
