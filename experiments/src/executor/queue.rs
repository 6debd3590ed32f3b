//! Decides which trials run side by side: as many as there are lanes and memory for, and one per device.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The resources of a running trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Estimated bytes of memory.
    pub(crate) bytes: u64,
    /// Whether it uses a device, whose memory serves one process at a time.
    pub(crate) device: bool,
}

/// The next step of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Run this trial.
    Run(usize),
    /// Wait until another one has ended.
    Wait,
    /// Nothing is left.
    End,
}

/// How often a waiting lane checks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

struct Running {
    trial: usize,
    company: bool,
}

#[derive(Default)]
struct QueueState {
    /// In order.
    waiting: VecDeque<usize>,
    /// Trials to run alone.
    alone: VecDeque<usize>,
    running: Vec<Running>,
    /// Whether the running trial must run alone.
    exclusive: bool,
}

/// Trials by number, shared by the lanes.
pub(crate) struct Queue {
    needs: Vec<Needs>,
    budget: u64,
    state: Mutex<QueueState>,
    changed: Condvar,
}

impl Queue {
    /// Creates a queue with one trial for each of `needs`; concurrent trials take at most `budget` bytes together.
    pub(crate) fn new(needs: Vec<Needs>, budget: u64) -> Queue {
        let state = QueueState { waiting: (0..needs.len()).collect(), ..QueueState::default() };
        Queue { needs, budget, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Returns the next trial for a lane when there is room for it; None if nothing is left or `stop` returns true.
    pub(crate) fn take(&self, stop: impl Fn() -> bool) -> Option<usize> {
        let mut state = self.state();
        loop {
            if stop() {
                return None;
            }
            match self.next(&mut state) {
                Next::Run(trial) => return Some(trial),
                Next::End => return None,
                Next::Wait => {
                    let waited = self.changed.wait_timeout(state, LOOK);
                    state = waited.unwrap_or_else(|e| e.into_inner()).0;
                }
            }
        }
    }

    fn next(&self, state: &mut QueueState) -> Next {
        let fitting = state.waiting.iter().position(|&trial| !state.exclusive && self.fits(state, trial));
        let trial = match fitting.and_then(|at| state.waiting.remove(at)) {
            Some(trial) => trial,
            None if state.running.is_empty() => match state.alone.pop_front() {
                Some(trial) => {
                    state.exclusive = true;
                    trial
                }
                None => return Next::End,
            },
            // Running trials may have to run again; the lane that runs them does that.
            None if state.waiting.is_empty() && state.alone.is_empty() => return Next::End,
            None => return Next::Wait,
        };
        state.running.iter_mut().for_each(|other| other.company = true);
        let company = !state.running.is_empty();
        state.running.push(Running { trial, company });
        Next::Run(trial)
    }

    /// Whether there is room for a trial. A trial may always run alone; its process finds out whether memory suffices.
    fn fits(&self, state: &QueueState, trial: usize) -> bool {
        let running = || state.running.iter().map(|running| self.needs[running.trial]);
        let bytes = running().fold(self.needs[trial].bytes, |sum, needs| sum.saturating_add(needs.bytes));
        let device_is_free = !self.needs[trial].device || !running().any(|needs| needs.device);
        state.running.is_empty() || (bytes <= self.budget && device_is_free)
    }

    /// Puts the waiting trials into the order of their urgency, the most urgent first; equal ones keep their order.
    pub(crate) fn order(&self, urgency: impl Fn(usize) -> f64) {
        self.state().waiting.make_contiguous().sort_by(|a, b| urgency(*b).total_cmp(&urgency(*a)));
    }

    /// The trials that have not been taken, in the order of their numbers.
    pub(crate) fn left(&self) -> Vec<usize> {
        let state = self.state();
        let mut left: Vec<usize> = state.waiting.iter().chain(&state.alone).copied().collect();
        left.sort_unstable();
        left
    }

    /// Whether another trial has run beside this one since it was taken.
    pub(crate) fn had_company(&self, trial: usize) -> bool {
        self.state().running.iter().any(|running| running.trial == trial && running.company)
    }

    /// Marks a trial as ended; with `again`, it runs once more when nothing else runs.
    pub(crate) fn end(&self, trial: usize, again: bool) {
        let mut state = self.state();
        state.running.retain(|running| running.trial != trial);
        state.exclusive = false;
        if again {
            state.alone.push_back(trial);
        }
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(needs: &[(u64, bool)], budget: u64) -> Queue {
        Queue::new(needs.iter().map(|&(bytes, device)| Needs { bytes, device }).collect(), budget)
    }

    fn next(queue: &Queue) -> Next {
        queue.next(&mut queue.state())
    }

    #[test]
    fn what_runs_side_by_side_fits_into_memory() {
        let queue = queue(&[(6, false), (5, false), (4, false), (20, false)], 10);
        assert_eq!(next(&queue), Next::Run(0));
        assert_eq!(next(&queue), Next::Run(2), "6 + 5 are too much, 6 + 4 are not");
        assert_eq!(next(&queue), Next::Wait);
        queue.end(0, false);
        assert_eq!(next(&queue), Next::Run(1));
        queue.end(2, false);
        assert_eq!(next(&queue), Next::Wait, "20 do not fit beside anything");
        queue.end(1, false);
        assert_eq!(next(&queue), Next::Run(3), "and are tried alone");
        assert_eq!(next(&queue), Next::End);
    }

    #[test]
    fn the_most_urgent_trial_is_next() {
        let queue = queue(&[(1, false); 4], 10);
        queue.order(|trial| [1.0, 2.0, f64::INFINITY, 2.0][trial]);
        assert_eq!((next(&queue), next(&queue)), (Next::Run(2), Next::Run(1)));
        queue.order(|trial| trial as f64);
        assert_eq!((queue.left(), next(&queue)), (vec![0, 3], Next::Run(3)));
    }

    #[test]
    fn one_process_at_a_time_uses_the_device() {
        let queue = queue(&[(1, true), (1, true), (1, false)], 10);
        assert_eq!((next(&queue), next(&queue), next(&queue)), (Next::Run(0), Next::Run(2), Next::Wait));
        queue.end(0, false);
        assert_eq!(next(&queue), Next::Run(1));
    }

    #[test]
    fn what_ran_out_of_memory_in_company_runs_again_alone() {
        let queue = queue(&[(1, false), (1, false), (1, false)], 10);
        assert_eq!((next(&queue), next(&queue)), (Next::Run(0), Next::Run(1)));
        assert!(queue.had_company(0) && queue.had_company(1));
        queue.end(0, true);
        assert_eq!(next(&queue), Next::Run(2), "after what waits");
        queue.end(1, false);
        assert_eq!(next(&queue), Next::Wait);
        queue.end(2, false);
        assert_eq!(next(&queue), Next::Run(0));
        assert!(!queue.had_company(0));
        assert_eq!(next(&queue), Next::End);
        queue.end(0, false);
        assert_eq!(next(&queue), Next::End);
    }

    #[test]
    fn nothing_starts_beside_what_runs_alone() {
        let queue = queue(&[(1, false)], 10);
        assert_eq!(next(&queue), Next::Run(0));
        queue.end(0, true);
        assert_eq!(next(&queue), Next::Run(0));
        queue.state().waiting.push_back(0);
        assert_eq!(next(&queue), Next::Wait);
        assert_eq!(queue.take(|| true), None);
    }
}
