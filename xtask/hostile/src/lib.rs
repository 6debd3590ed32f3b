//! Everything of vqbench that reads input from outside, as functions of bytes, and mutations of real input that none of
//! them may fail on: no panic, no abort, no memory that the input does not justify, and errors that name the file.
//!
//! [`targets`] lists the functions. `cargo xtask fuzz` gives them mutated input in processes with limited memory;
//! `fuzz/` gives them to libFuzzer.

mod mutate;
mod room;
mod seeds;
mod targets;

pub use mutate::mutated;
pub use room::Room;
pub use targets::{Target, targets};

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An input that something failed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Number of the mutation.
    pub case: u64,
    /// What went wrong.
    pub reason: String,
}

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    targets().into_iter().find(|target| target.name == name)
}

/// Gives mutations to a target, which depend on the seed and their numbers only. Calls `begin` with the number of each
/// before it is tried, so that a process that ends can be asked why. Stops at the first finding.
pub fn run(target: &Target, room: &Room, seed: u64, cases: Range<u64>, mut begin: impl FnMut(u64)) -> Option<Finding> {
    let seeds = target.seeds();
    for case in cases {
        begin(case);
        let input = mutated(&seeds, seed, case);
        if let Err(reason) = attempt(target, room, &input) {
            return Some(Finding { case, reason });
        }
    }
    None
}

/// Gives one input to a target.
///
/// # Errors
/// What went wrong.
pub fn attempt(target: &Target, room: &Room, input: &[u8]) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| target.check(room, input))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
            Err(format!("it panics: {}", text.unwrap_or("without a text")))
        }
    }
}

#[cfg(test)]
mod tests;
