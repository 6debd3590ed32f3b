//! Turns panics of the table library into errors.

/// [`strict::contained`] for work of the table library.
///
/// # Errors
/// The error of `work`, or a message that the library gave up.
pub fn contained<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    strict::contained("the table library gave up on it", work)
}
