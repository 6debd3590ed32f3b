//! Turns, seen from the process of a trial: a trial of a pair computes only while it has the turn.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a trial computes next. Both sides of a pair number their steps in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its place: phase, timing within the phase, and repeat of the timing. The side whose step has the lower place gets the
    /// turn first, so that a timing that one side lacks does not shift the others.
    pub at: [u32; 3],
    /// The phase, or the timing with the number of its repeat.
    pub name: String,
}

/// Threads of a library may wait actively after their work. This long before a clock starts, they should have stopped.
const PAUSE: Duration = Duration::from_millis(100);

/// How the process of a trial takes turns with that of another one. A trial without a pair always has the turn.
#[derive(Default)]
pub struct Turns<'a> {
    ask: Option<&'a (dyn Fn(&Step) + Sync)>,
    phase: AtomicU32,
}

impl<'a> Turns<'a> {
    /// Turns of a trial of a pair. `ask` asks for the turn, which gives it back first, and returns when the trial has it.
    pub fn new(ask: &'a (dyn Fn(&Step) + Sync)) -> Turns<'a> {
        Turns { ask: Some(ask), phase: AtomicU32::new(0) }
    }

    /// Gives the turn back before a phase, and waits for it.
    pub fn phase(&self, number: usize, name: &str) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.phase.store(number, Ordering::Relaxed);
        self.take([number, 0, 0], name.to_owned());
    }

    /// Gives the turn back before a repeat of a timing, waits for it, and lets other threads come to rest. Timings of a
    /// phase and their repeats are numbered from 0. Returns whether the trial takes turns at all.
    pub fn repeat(&self, timing: usize, repeat: usize, name: &str) -> bool {
        if self.ask.is_some() {
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let at = [self.phase.load(Ordering::Relaxed), number(timing).saturating_add(1), number(repeat)];
            self.take(at, format!("{name} {repeat}"));
            std::thread::sleep(PAUSE);
        }
        self.are_taken()
    }

    /// Whether the trial takes turns at all.
    pub fn are_taken(&self) -> bool {
        self.ask.is_some()
    }

    fn take(&self, at: [u32; 3], name: String) {
        if let Some(ask) = &self.ask {
            ask(&Step { at, name });
        }
    }
}
