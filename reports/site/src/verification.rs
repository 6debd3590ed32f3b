//! What somebody found who ran a sample of a submission again: a file beside the submission, for people and for the site.

use crate::manifest::{check_words, is_date};
use crate::sample::{FALSIFIED, chance, sample, share_of};
use reports::rerun::{Agreement, Codes, RerunComparison};
use serde::{Deserialize, Serialize};

/// File name of a verification.
pub const VERIFICATION: &str = "verification.json";

/// Who ran a sample, if they gave no name. Such a verification does not count.
pub const UNNAMED: &str = "unnamed";

/// Version of the file format; readers refuse newer ones.
const SCHEMA: u32 = 1;

/// What came of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialVerdict {
    /// It gave again what its record says.
    Reproduced,
    /// It did not.
    Different,
    /// It could not run here.
    Unable,
}

impl TrialVerdict {
    /// As in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            TrialVerdict::Reproduced => "reproduced",
            TrialVerdict::Different => "different",
            TrialVerdict::Unable => "cannot run here",
        }
    }
}

/// A trial of the sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifiedTrial {
    /// Its id.
    pub trial: String,
    /// What came of it.
    pub verdict: TrialVerdict,
    /// Why it could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was compared; None if it could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<RerunComparison>,
}

impl VerifiedTrial {
    /// A trial that ran again.
    pub fn compared(trial: &str, comparison: RerunComparison) -> VerifiedTrial {
        let verdict = verdict_of(Some(&comparison));
        VerifiedTrial { trial: trial.to_owned(), verdict, reason: None, comparison: Some(comparison) }
    }

    /// A trial that could not run.
    pub fn unable(trial: &str, reason: String) -> VerifiedTrial {
        VerifiedTrial { trial: trial.to_owned(), verdict: TrialVerdict::Unable, reason: Some(reason), comparison: None }
    }

    /// The codes and the quality in words, for a table.
    pub fn words(&self) -> (&'static str, String) {
        match &self.comparison {
            None => ("–", self.reason.clone().unwrap_or_default()),
            Some(RerunComparison { failure: Some(failure), .. }) => ("–", format!("it failed: {failure}")),
            Some(comparison) => {
                let codes = match (comparison.codes, comparison.same_arithmetic) {
                    (Codes::Different, false) => "other arithmetic",
                    (codes, _) => codes.as_str(),
                };
                let worst = comparison.metrics.iter().filter(|m| m.agreement == Agreement::Different);
                let worst: Vec<String> =
                    worst.map(|m| format!("{} ({})", m.metric, m.worst.as_deref().unwrap_or("no values"))).collect();
                let quality = comparison.worst_metric().as_str().to_owned();
                (codes, if worst.is_empty() { quality } else { format!("{quality}: {}", worst.join(", ")) })
            }
        }
    }
}

/// The verdict that follows from a comparison.
fn verdict_of(comparison: Option<&RerunComparison>) -> TrialVerdict {
    match comparison {
        None => TrialVerdict::Unable,
        Some(comparison) if comparison.agrees() => TrialVerdict::Reproduced,
        Some(_) => TrialVerdict::Different,
    }
}

/// What somebody found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Version of the file format.
    pub schema: u32,
    /// Id of the submission.
    pub submission: String,
    /// SHA-256 of its manifest, and with it of all its files.
    pub manifest_sha256: String,
    /// Who ran the sample.
    pub by: String,
    /// The day, such as 2026-11-29.
    pub date: String,
    /// Version of vqbench.
    pub version: String,
    /// Source revision of vqbench, if it is known.
    pub revision: Option<String>,
    /// Class of the machine: processor, cores, instruction set, GPU.
    pub machine: String,
    /// The seed of the sample.
    pub seed: u64,
    /// Number of trials of the submission.
    pub trials: usize,
    /// Where tables and records disagree; empty if they agree.
    pub disagreements: Vec<String>,
    /// The trials of the sample.
    pub sample: Vec<VerifiedTrial>,
    /// Probability that the sample has a falsified trial, had 20% of all trials been falsified.
    pub chance: f64,
    /// Whether tables and records agree and every trial of the sample was reproduced.
    pub passed: bool,
}

impl Verification {
    /// Fills in what follows from the sample.
    pub fn concluded(mut self) -> Verification {
        self.schema = SCHEMA;
        self.chance = chance(self.trials, share_of(self.trials, FALSIFIED), self.compared());
        self.passed = self.disagreements.is_empty()
            && !self.sample.is_empty()
            && self.count(TrialVerdict::Reproduced) == self.sample.len();
        self
    }

    /// Number of trials of the sample that ran again.
    fn compared(&self) -> usize {
        self.count(TrialVerdict::Reproduced) + self.count(TrialVerdict::Different)
    }

    /// Number of trials of the sample with a verdict.
    pub fn count(&self, verdict: TrialVerdict) -> usize {
        self.sample.iter().filter(|trial| trial.verdict == verdict).count()
    }

    /// Whether something did not agree. False if the sample was reproduced, and if trials could only not run there.
    pub fn failed(&self) -> bool {
        !self.disagreements.is_empty() || self.count(TrialVerdict::Different) > 0
    }

    /// Checks that the sample is the one of its seed. `trials` are the ids of the submission, in the order of its run.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_sample(&self, trials: &[&str]) -> Result<(), String> {
        if self.trials != trials.len() {
            return Err(format!("it says {} trials, and the submission has {}", self.trials, trials.len()));
        }
        let drawn = sample(trials.len(), self.sample.len(), self.seed);
        let same = drawn.len() == self.sample.len()
            && drawn.iter().zip(&self.sample).all(|(at, verified)| trials[*at] == verified.trial);
        if same { Ok(()) } else { Err(format!("its trials are not the sample of its seed {}", self.seed)) }
    }

    /// Reads a verification, which may come from a stranger.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &[u8]) -> Result<Verification, String> {
        let found: Verification = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if found.schema > SCHEMA {
            return Err(format!("it has schema {}; this program reads schema {SCHEMA} and older", found.schema));
        }
        check_words("by", &found.by)?;
        check_words("machine", &found.machine)?;
        if !is_date(&found.date) {
            return Err(format!("its date {:?} is not written like 2026-11-29", found.date));
        }
        // What it concludes must follow from its sample, and each verdict from its comparison.
        if let Some(trial) = found.sample.iter().find(|t| t.verdict != verdict_of(t.comparison.as_ref())) {
            return Err(format!("the verdict of trial {:?} does not follow from its comparison", trial.trial));
        }
        let again = found.clone().concluded();
        if again.passed != found.passed || (again.chance - found.chance).abs() > 1e-9 {
            return Err("its conclusion does not follow from its sample".to_owned());
        }
        Ok(found)
    }

    /// What the sample says about the submission, in a sentence.
    pub fn meaning(&self) -> String {
        let bad = share_of(self.trials, FALSIFIED);
        format!(
            "Had {:.0}% of the {} trials been falsified ({bad}), this sample of {} finds one with a probability of {:.1}%.",
            100.0 * FALSIFIED,
            self.trials,
            self.compared(),
            100.0 * self.chance
        )
    }
}
