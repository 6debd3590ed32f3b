//! A wall around a reader of another library: a file on which it panics is a malformed file.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Contained calls that this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work`, and makes an error of a panic in it, of which nothing is printed. Nothing that `work` used is used again after a
/// panic. Works as long as the profiles leave `panic = "unwind"`.
///
/// # Errors
/// What `work` says, or that it gave up.
pub fn contained<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    quiet_contained_panics();
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    result.unwrap_or_else(|_| Err("the table library gave up on it".to_owned()))
}

/// Puts a hook before the present one that passes on all panics but those of threads inside a contained call. The hook belongs to the
/// whole process, so it is set once.
fn quiet_contained_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // A thread that is being torn down has no depth any more, and is in no contained call.
            if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
                report(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_an_error_stays_one() {
        assert_eq!(contained(|| Ok::<_, String>(3)), Ok(3));
        assert_eq!(contained(|| Err::<(), _>("why".to_owned())), Err("why".to_owned()));
        let gave_up = contained::<()>(|| panic!("an assert of somebody else"));
        assert_eq!(gave_up, Err("the table library gave up on it".to_owned()));
    }
}
