//! The peaks of the machine, measured in the same run.

use cpu::{Isa, peak};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Multiply-adds and reads per second, on all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachinePeaks {
    /// f32 operations per second, two per multiply-add, on registers alone.
    pub flops: f64,
    /// Bytes per second, read in order from memory.
    pub bytes: f64,
}

/// Number of tries, of which the best counts: a peak is what nothing disturbed.
const TRIES: usize = 7;

/// Measures both on the current thread pool; `--quick` reads less. Also measures how much of the processor was
/// available, if the system reports it: less than all of it means that other programs were running.
pub fn measure(isa: Isa, quick: bool) -> (MachinePeaks, Option<f64>) {
    let rounds = if quick { 1_000_000 } else { 20_000_000 };
    let (before, start) = (cpu_seconds(), Instant::now());
    let flops = best(|| {
        let done = rayon::broadcast(|_| peak::multiply_adds(isa, black_box(rounds)));
        done.iter().map(|done| black_box(*done).operations as f64).sum()
    });
    let possible = start.elapsed().as_secs_f64() * rayon::current_num_threads() as f64;
    let share = before.zip(cpu_seconds()).map(|(before, after)| (after - before) / possible);
    // Far more than any cache holds; written once, so that every page exists.
    let mut values = vec![0f32; if quick { 1 << 22 } else { 1 << 27 }];
    values.fill(1e-9);
    let part = values.len().div_ceil(rayon::current_num_threads());
    let bytes = best(|| {
        black_box(values.par_chunks(part).map(|values| peak::read(isa, values)).sum::<f32>());
        size_of_val(&values[..]) as f64
    });
    (MachinePeaks { flops, bytes }, share)
}

/// The highest rate of an amount of work per second.
fn best(mut work: impl FnMut() -> f64) -> f64 {
    let mut rate = |_| {
        let start = Instant::now();
        work() / start.elapsed().as_secs_f64()
    };
    (0..TRIES).map(&mut rate).fold(0.0, f64::max)
}

/// Processor time of all threads of this process so far.
#[cfg(unix)]
fn cpu_seconds() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 * 1e-6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(not(unix))]
fn cpu_seconds() -> Option<f64> {
    None
}
