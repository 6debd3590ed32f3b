//! What the machine can do at most, measured in the same run.

use cpu::{Isa, peak};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Multiply-adds and reads per second, on all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// f32 operations per second, two per multiply-add, on registers alone.
    pub flops: f64,
    /// Bytes per second, read in order from memory.
    pub bytes: f64,
}

/// Best of so many tries: a limit is what nothing disturbed.
const TRIES: usize = 7;

/// Measures both on the current thread pool; a quick look reads less.
pub fn measure(isa: Isa, quick: bool) -> Limits {
    let rounds = if quick { 1_000_000 } else { 20_000_000 };
    let flops = best(|| {
        let done = rayon::broadcast(|_| peak::multiply_adds(isa, black_box(rounds)));
        done.iter().map(|done| black_box(*done).operations as f64).sum()
    });
    // Far more than any cache holds.
    let words = vec![1u64; if quick { 1 << 21 } else { 1 << 26 }];
    let share = words.len().div_ceil(rayon::current_num_threads());
    let bytes = best(|| {
        black_box(words.par_chunks(share).map(|words| peak::read_words(isa, words)).sum::<u64>());
        size_of_val(&words[..]) as f64
    });
    Limits { flops, bytes }
}

/// The highest rate of an amount of work per second.
fn best(mut work: impl FnMut() -> f64) -> f64 {
    let mut rate = |_| {
        let start = Instant::now();
        work() / start.elapsed().as_secs_f64()
    };
    (0..TRIES).map(&mut rate).fold(0.0, f64::max)
}
