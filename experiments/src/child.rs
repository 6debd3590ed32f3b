//! The parent's view of the process of one trial: starts it, listens to it until it ends, and says how it ended.

mod conversation;
mod log;
mod post_mortem;
mod start;

use crate::trial::{Failure, Request};
use crate::turns::Seat;
use crate::units::Seconds;
use conversation::{Heard, listen};
use record::{Machine, Measured, TrialLog};
use start::{Departed, Started};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How to start a trial's process: it must answer as [`crate::trial::run`] does.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How a child came to its end.
pub(crate) enum ChildEnd {
    /// All measurements were made.
    Values {
        /// The digest of the codes; None if the child did not say it.
        codes_sha256: Option<String>,
        /// The measured values.
        values: Vec<Measured>,
    },
    /// It failed.
    Failed(Failure),
    /// It reached its time limit.
    Timeout,
    /// The run was interrupted.
    Interrupted,
}

/// How long after its child this process may be told to end too.
const NOTICE: Duration = Duration::from_secs(1);

/// A child process to start.
pub(crate) struct Child<'a> {
    /// How to start it.
    pub(crate) launcher: &'a Launcher,
    /// Its request.
    pub(crate) request: &'a Request,
    /// Its time limit.
    pub(crate) timeout: Seconds,
    /// Set from outside to interrupt the run, or here if an interrupt reached the child first.
    pub(crate) interrupt: &'a AtomicBool,
    /// Its place in a pair. The time that it waits for its turn does not count.
    pub(crate) seat: Option<Seat<'a>>,
}

/// What a child leaves.
pub(crate) struct Remains {
    /// How it ended.
    pub(crate) end: ChildEnd,
    /// How it went.
    pub(crate) log: TrialLog,
    /// The machine as the child described it; None if it did not get that far.
    pub(crate) machine: Option<Machine>,
}

impl Child<'_> {
    /// Runs the child until it ends. `phase` is called with each phase that it reports.
    pub(crate) fn run(&self, phase: &mut dyn FnMut(&str)) -> Remains {
        let mut started = match Started::new(self.launcher, self.request, self.seat.as_ref()) {
            Ok(started) => started,
            Err(failure) => {
                return Remains { end: ChildEnd::Failed(failure), log: TrialLog::default(), machine: None };
            }
        };
        let Heard { answer, cut_short, stray, machine, mut log } = listen(self, &mut started, phase);
        let Departed { exit, words } = started.end();
        match (&answer, &cut_short, &exit) {
            (Some(_), Some(ChildEnd::Timeout), _) => {
                log.remark("Its process did not end after its answer and was killed.")
            }
            (Some(_), None, Ok(exit)) => {
                if let Some(how) = post_mortem::ill(*exit) {
                    log.remark(format!("After its answer, {how}."));
                }
            }
            _ => {}
        }
        let log = log.close(&words, self.now());
        // A terminal's Ctrl-C reaches the child too, perhaps before this process has noticed its own.
        if exit.as_ref().is_ok_and(post_mortem::interrupted) {
            self.interrupt.store(true, Ordering::SeqCst);
        }
        // A scheduler that ends a task tells all its processes, one after the other.
        if answer.is_none() && exit.as_ref().is_ok_and(post_mortem::told_to_end) {
            let begun = Instant::now();
            while !self.interrupt.load(Ordering::SeqCst) && begun.elapsed() < NOTICE {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let end = match answer {
            Some(answer) => answer,
            None if self.interrupt.load(Ordering::SeqCst) => ChildEnd::Interrupted,
            None => cut_short.unwrap_or_else(|| {
                let words = words.beginning();
                let words = stray.map_or(words.clone(), |line| format!("{words}\n{line}"));
                ChildEnd::Failed(post_mortem::death(exit.ok(), &words, &self.request.limits))
            }),
        };
        Remains { end, log, machine }
    }

    /// The clock of the trial, which stands while it waits for its turn.
    fn now(&self) -> Instant {
        Instant::now() - self.waited()
    }

    /// How long it has waited for its turn.
    pub(crate) fn waited(&self) -> Duration {
        self.seat.as_ref().map(Seat::waited).unwrap_or_default()
    }
}
