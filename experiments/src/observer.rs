//! Who is told what happens in a run, for progress.

use record::{Preparation, TrialRecord};

/// Told what happens, for progress. Calls come one at a time. A trial is called by its name within the plan.
pub trait Observer: Send {
    /// A dataset is being prepared.
    fn preparing(&mut self, dataset: &str);
    /// So many of the rows that preparing a dataset reads have been read.
    fn prepared(&mut self, dataset: &str, done: usize, all: usize) {
        let _ = (dataset, done, all);
    }
    /// A dataset has been prepared, which took this.
    fn has_prepared(&mut self, dataset: &str, preparation: &Preparation) {
        let _ = (dataset, preparation);
    }
    /// A remark about a dataset that readers of its figures should know.
    fn remark(&mut self, dataset: &str, remark: &str);
    /// What tasks elsewhere do.
    fn waiting(&mut self, words: &str) {
        let _ = words;
    }
    /// Trials are about to run; `reused` of them had ended before.
    fn begin(&mut self, to_run: usize, reused: usize, estimated_seconds: f64);
    /// A trial has reached a phase.
    fn phase(&mut self, trial: &str, phase: &str);
    /// A trial has ended.
    fn ended(&mut self, trial: &str, record: &TrialRecord, remaining_seconds: f64);
}
