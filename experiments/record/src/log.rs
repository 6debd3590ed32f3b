//! The log of a trial: how long each phase took, what the run noticed about its process, and how what the process wrote on
//! standard error ended. It says how a trial went, never what it gave: no comparison of runs looks at it.

use crate::InTurn;
use serde::{Deserialize, Serialize};

/// Maximum number of bytes of [`TrialLog::standard_error`] that a run keeps.
pub const MOST_STANDARD_ERROR: usize = 4096;

/// The log of a trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialLog {
    /// The phases that its process reported, in order.
    pub phases: Vec<Phase>,
    /// What the run noticed about its process, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The end of what its process wrote on standard error, at most [`MOST_STANDARD_ERROR`] bytes, in lines without
    /// control characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub standard_error: String,
    /// The pair that it ran in, and its turns; None if it did not take turns with another trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_turn: Option<InTurn>,
}

/// A phase of a trial, or of preparing a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name: `load`, `fit`, `encode`, or that of a measurement; of the phases of a [`Preparation`], see there.
    pub name: String,
    /// Wall-clock seconds until the next phase began; for the last one, until the process ended. Those in which the trial
    /// waited for its turn are not counted.
    pub seconds: f64,
    /// Processor seconds that all threads of the process took meanwhile, those of an outside program not counted; None if
    /// unknown, and in records of versions that did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor_seconds: Option<f64>,
}

/// How the vectors of a dataset were prepared, which a run does once, before its trials. It says how that went, never what
/// it gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    /// Its phases, in order: `digest`, `load`, `first pass`, `profile`, `second pass`, `spectrum`.
    pub phases: Vec<Phase>,
    /// Peak resident memory of the process of the run at the end of them, in bytes; None if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

impl TrialLog {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.phases.is_empty() && self.remarks.is_empty() && self.standard_error.is_empty() && self.in_turn.is_none()
    }

    /// The log as JSON, for the table of trials.
    pub(crate) fn to_json(&self) -> String {
        // Plain structures of numbers and texts: there is nothing that JSON cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`TrialLog::to_json`] wrote.
    pub(crate) fn from_json(text: &str) -> Result<TrialLog, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{record, tabled};
    use crate::store::{read_json, write_json};
    use serde_json::Value;

    #[test]
    fn a_log_comes_back_as_it_was_written_and_says_no_more_than_it_must() {
        let mut log = TrialLog {
            phases: vec![Phase { name: "fit".into(), seconds: 0.25, processor_seconds: None }],
            ..TrialLog::default()
        };
        assert_eq!(log.to_json(), r#"{"phases":[{"name":"fit","seconds":0.25}]}"#);
        assert_eq!(TrialLog::from_json(&log.to_json()), Ok(log.clone()));
        log.phases[0].processor_seconds = Some(0.5);
        assert_eq!(log.to_json(), r#"{"phases":[{"name":"fit","seconds":0.25,"processor_seconds":0.5}]}"#);
        log.remarks.push("It ran twice.".into());
        log.standard_error = "one\n\"two\"".into();
        assert_eq!(TrialLog::from_json(&log.to_json()), Ok(log.clone()));
        assert!(!log.is_empty() && TrialLog::default().is_empty());
        assert!(TrialLog::from_json("{}").is_err_and(|error| error.contains("phases")));
    }

    #[test]
    fn records_of_versions_without_family_and_log_are_read() {
        let (_dir, folder) = tabled(record("b2"));
        let mut newer = record("b2");
        newer.trial.family = Some("product".into());
        newer.log = Some(TrialLog { remarks: vec!["It ran twice.".into()], ..TrialLog::default() });
        folder.save_trial(&newer).expect("saves");
        assert_eq!(folder.trial("b2"), Some(newer));
        let mut older: Value = read_json(&folder.trial_file("b2")).expect("JSON");
        older.as_object_mut().and_then(|record| record.remove("log")).expect("a log");
        older["trial"].as_object_mut().and_then(|trial| trial.remove("family")).expect("a family");
        write_json(&folder.trial_file("b2"), &older).expect("writes");
        assert_eq!(folder.trial("b2"), Some(record("b2")));
    }
}
