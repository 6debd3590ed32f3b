//! Compares results of a device with those of the CPU: equal, different but equally good, or wrong.

/// Tolerated relative difference of distortions.
const DISTORTION: f64 = 1e-4;

/// Number of wrong results that are described; the others are only counted.
const DESCRIBED: usize = 3;

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Number of compared results.
    pub compared: usize,
    /// Number of results that differ where f32 cannot tell which is better.
    pub ties: usize,
    /// Number of wrong results.
    pub wrong: usize,
    /// Descriptions of the first wrong results.
    pub reasons: Vec<String>,
    /// Total distortion of the device's results, and of the CPU's.
    pub distortion: [f64; 2],
}

impl Agreement {
    /// Counts a result that is equal.
    pub fn same(&mut self) {
        self.compared += 1;
    }

    /// Counts a result that differs: a near-tie, or wrong for the given reason.
    pub fn differs(&mut self, is_tie: bool, reason: impl FnOnce() -> String) {
        self.compared += 1;
        match is_tie {
            true => self.ties += 1,
            false => self.add_wrong(reason),
        }
    }

    /// Counts a result that must satisfy a condition.
    pub fn holds_if(&mut self, holds: bool, reason: impl FnOnce() -> String) {
        self.compared += 1;
        if !holds {
            self.add_wrong(reason);
        }
    }

    fn add_wrong(&mut self, reason: impl FnOnce() -> String) {
        self.wrong += 1;
        if self.reasons.len() < DESCRIBED {
            self.reasons.push(reason());
        }
    }

    /// Adds the costs of both choices for a vector.
    pub fn add_distortion(&mut self, device: f64, processor: f64) {
        self.distortion[0] += device;
        self.distortion[1] += processor;
    }

    /// The distortion of the device divided by that of the CPU, minus 1; None if nothing was measured.
    pub fn excess(&self) -> Option<f64> {
        let [device, processor] = self.distortion;
        (processor > 0.0).then(|| device / processor - 1.0)
    }

    /// Whether no result is wrong.
    pub fn holds(&self) -> bool {
        // NaN is not within the tolerance.
        self.wrong == 0 && self.compared > 0 && self.excess().is_none_or(|excess| excess.abs() <= DISTORTION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_counted_and_wrong_answers_fail() {
        let mut found = Agreement::default();
        assert!(!found.holds(), "nothing compared proves nothing");
        found.same();
        found.differs(true, || unreachable!("a tie needs no reason"));
        found.add_distortion(1.00005, 1.0);
        assert!(found.holds() && (found.compared, found.ties) == (2, 1));
        let mut worse = found.clone();
        worse.add_distortion(1.001, 1.0);
        assert!(!worse.holds());
        for i in 0..5 {
            found.differs(false, || format!("row {i}"));
        }
        assert!(!found.holds() && found.wrong == 5);
        assert_eq!(found.reasons, ["row 0", "row 1", "row 2"]);
        let mut nothing = Agreement::default();
        nothing.holds_if(true, String::new);
        nothing.add_distortion(f64::NAN, 1.0);
        assert!(!nothing.holds());
    }
}
