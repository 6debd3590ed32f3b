//! Contains panics of third-party readers: a file on which a reader panics counts as malformed.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Number of nested contained calls on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` and turns a panic in it into the error `panicked`, without printing the panic. After a panic, nothing that `work`
/// used is used again. Requires that the build profiles keep `panic = "unwind"`.
///
/// # Errors
/// The error of `work`, or `panicked`.
pub fn contained<T>(panicked: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    quiet_contained_panics();
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    result.unwrap_or_else(|_| Err(panicked.to_owned()))
}

/// Installs a panic hook that ignores panics of threads inside a contained call and passes all others to the previous
/// hook. The hook is global to the process, so it is installed once.
fn quiet_contained_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // A thread that is being torn down has no depth any more, and is not in a contained call.
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
        assert_eq!(contained("it panicked", || Ok::<_, String>(3)), Ok(3));
        assert_eq!(contained("it panicked", || Err::<(), _>("why".to_owned())), Err("why".to_owned()));
        let gave_up = contained::<()>("it panicked", || panic!("an assert of somebody else"));
        assert_eq!(gave_up, Err("it panicked".to_owned()));
    }
}
