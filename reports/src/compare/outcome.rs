//! What a comparison found: every compared value, and the verdict.

use crate::statistics::Estimate;
use serde::Serialize;

/// The overall result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No metric is worse.
    NoRegression,
    /// Some metric is worse.
    Regression,
    /// There is too little data to compare.
    CannotTell,
}

/// How a value changed, relative to what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Within the tolerance.
    None,
    /// Worse by more than the tolerance.
    Worse,
    /// Better by more than the tolerance.
    Better,
}

/// One compared value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Name of the dataset.
    pub dataset: String,
    /// Label of the trial or trials.
    pub label: String,
    /// Device of the base run.
    pub device: String,
    /// Number of threads in the base run.
    pub threads: usize,
    /// What was compared, in words: dataset and label, with device, threads and seed where they matter.
    pub subject: String,
    /// Metric with its `k` and search path; `status` if the new trial did not succeed.
    pub metric: String,
    /// How it changed.
    pub change: Change,
    /// The value of the base run; of a timing, the geometric mean over processes. None for a status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// The value of the new run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<f64>,
    /// New over base, with its 95% interval. None except for timings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Estimate>,
    /// The allowed loss, as a fraction of the value of the base run.
    pub tolerance: f64,
    /// The smallest regression that the comparison could detect, as a fraction of the value in the base run. A true loss of
    /// this size is detected in half of all comparisons, a smaller one less often. None except for timings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smallest: Option<f64>,
    /// Both values, or why the trial did not succeed, in words.
    pub detail: String,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// All compared values.
    pub checks: Vec<Check>,
    /// Reasons why something that should be compared could not be.
    pub unknown: Vec<String>,
    /// What was left out intentionally.
    pub notes: Vec<String>,
    /// How speed was compared.
    pub speed: Speed,
}

/// How a comparison measured speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speed {
    /// Two runs, one after the other.
    #[default]
    Apart,
    /// The trials of two builds in turn, with the baseline twice.
    InTurn,
}

impl Comparison {
    /// The overall result; a regression takes precedence over comparisons that were not possible.
    pub fn verdict(&self) -> Verdict {
        if self.regressions().next().is_some() {
            Verdict::Regression
        } else if !self.unknown.is_empty() || self.checks.is_empty() {
            Verdict::CannotTell
        } else {
            Verdict::NoRegression
        }
    }

    /// Values that are worse by more than their tolerance.
    pub fn regressions(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.change == Change::Worse)
    }

    /// Values that are better by more than their tolerance.
    pub fn improvements(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.change == Change::Better)
    }

    /// Number of compared values; a status is not a value.
    pub fn compared(&self) -> usize {
        self.checks.iter().filter(|check| check.base.is_some()).count()
    }

    /// The verdict and all checks as JSON.
    ///
    /// # Errors
    /// None in practice; an error of the serializer.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        /// The verdict comes first.
        #[derive(Serialize)]
        struct Judged<'a> {
            verdict: Verdict,
            #[serde(flatten)]
            comparison: &'a Comparison,
        }
        serde_json::to_string_pretty(&Judged { verdict: self.verdict(), comparison: self })
    }
}
