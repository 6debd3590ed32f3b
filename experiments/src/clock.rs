//! How long the phases of some work take, and how many processor seconds this process spends on each: their ratio is the
//! number of threads that were busy.

use crate::machine::processor_seconds;
use record::Phase;
use std::time::Instant;

/// The phases of some work so far. Others that compute in the same process meanwhile count too.
pub(crate) struct PhaseClock {
    phases: Vec<Phase>,
    begun: Instant,
    spent: Option<f64>,
}

impl PhaseClock {
    /// A phase begins now.
    pub(crate) fn begin(phase: &str) -> PhaseClock {
        let mut clock = PhaseClock { phases: Vec::new(), begun: Instant::now(), spent: processor_seconds() };
        clock.open(phase);
        clock
    }

    fn open(&mut self, phase: &str) {
        self.phases.push(Phase { name: phase.to_owned(), seconds: 0.0, processor_seconds: None });
    }

    fn close(&mut self) {
        let (now, spent) = (Instant::now(), processor_seconds());
        if let Some(phase) = self.phases.last_mut() {
            phase.seconds = rounded(now.duration_since(self.begun).as_secs_f64());
            phase.processor_seconds = self.spent.zip(spent).map(|(before, after)| rounded((after - before).max(0.0)));
        }
        (self.begun, self.spent) = (now, spent);
    }

    /// The next phase begins now.
    pub(crate) fn enter(&mut self, phase: &str) {
        self.close();
        self.open(phase);
    }

    /// The last phase ends now. All phases, in order.
    pub(crate) fn end(mut self) -> Vec<Phase> {
        self.close();
        self.phases
    }
}

/// Whole microseconds: no clock of a process tells more.
pub(crate) fn rounded(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_phase_computes_is_its_own() {
        let mut clock = PhaseClock::begin("idle");
        std::thread::sleep(std::time::Duration::from_millis(20));
        clock.enter("busy");
        let begun = Instant::now();
        let before = processor_seconds();
        // Until the clock of the processor has moved on.
        while before.is_some() && processor_seconds() == before || begun.elapsed().as_millis() < 20 {
            std::hint::spin_loop();
        }
        let phases = clock.end();
        let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
        assert_eq!(names, ["idle", "busy"]);
        assert!(phases.iter().all(|phase| phase.seconds >= 0.02), "{phases:?}");
        let spent: Vec<Option<f64>> = phases.iter().map(|phase| phase.processor_seconds).collect();
        assert_eq!(spent[1].is_some_and(|seconds| seconds > 0.0), cfg!(unix), "{phases:?}");
    }
}
