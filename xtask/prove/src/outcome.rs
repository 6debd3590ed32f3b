//! What a check found, and all of it as text.

use std::fmt;

/// Why a check failed: enough to see the mistake again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was done.
    pub did: String,
    /// What a right quantizer gives.
    pub expected: String,
    /// What this one gave.
    pub came: String,
    /// The vectors that show it: how they are made, and which of them.
    pub reproduce: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}; {}", self.did, self.expected, self.came)?;
        if !self.reproduce.is_empty() {
            write!(f, " ({})", self.reproduce)?;
        }
        Ok(())
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds; with what was measured.
    Passed(String),
    /// It does not.
    Failed(Failure),
    /// It could not be asked, with the reason.
    Skipped(String),
}

/// A check and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Topic of the check.
    pub group: &'static str,
    /// Its name.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
}

/// What was put to the proof, and how.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub subject: String,
    /// What it was compared with.
    pub like: Option<String>,
    /// Components of the vectors of most checks.
    pub dim: usize,
    /// Whether all rows were scaled to length 1, because it searches no others.
    pub unit: bool,
    /// The seed from which all data follow.
    pub seed: u64,
    /// All checks, in their order.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Numbers of checks that passed, failed and were skipped.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Verdict) -> bool| self.outcomes.iter().filter(|o| is(&o.verdict)).count();
        (
            count(|v| matches!(v, Verdict::Passed(_))),
            count(|v| matches!(v, Verdict::Failed(_))),
            count(|v| matches!(v, Verdict::Skipped(_))),
        )
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&Outcome, &Failure)> {
        self.outcomes.iter().filter_map(|outcome| match &outcome.verdict {
            Verdict::Failed(failure) => Some((outcome, failure)),
            _ => None,
        })
    }

    /// One line that says how it went.
    pub fn headline(&self) -> String {
        let (passed, failed, skipped) = self.counts();
        let like = self.like.as_ref().map(|like| format!(", compared with {like}")).unwrap_or_default();
        format!(
            "{}{like}: {passed} passed, {failed} failed, {skipped} skipped (dimension {}{}, seed {})",
            self.subject,
            self.dim,
            if self.unit { ", rows of length 1" } else { "" },
            self.seed
        )
    }
}
