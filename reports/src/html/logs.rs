//! The logs of trials as a page holds them. Trials of a run mostly have the same phases, so that their names stand in the page
//! once.

use super::embedded::rounded;
use record::{MOST_STANDARD_ERROR, Phase, TrialLog};
use serde::Serialize;
use std::collections::HashMap;

/// What a page shows of the log of one trial. A record may come from a stranger, so that everything is limited.
#[derive(Serialize)]
pub struct LogPart<'a> {
    /// Index of the names of its phases in [`PhaseNames`].
    phases: usize,
    /// Seconds of each phase.
    seconds: Vec<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<&'a str>,
    /// The end of what its process wrote on standard error.
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

/// Phases and remarks of a log that a page shows at most, and the characters of each.
const MOST_PHASES: usize = 100;
const MOST_REMARKS: usize = 10;
const CHARACTERS: usize = 300;

/// Seconds are multiples of this.
const STEP: f64 = 1e-4;

/// The distinct lists of phases, in order of first appearance.
pub struct PhaseNames<'a> {
    digits: usize,
    known: HashMap<Vec<&'a str>, usize>,
    lists: Vec<Vec<&'a str>>,
}

impl<'a> PhaseNames<'a> {
    /// Lists for logs whose seconds have so many significant digits.
    pub fn new(digits: usize) -> PhaseNames<'a> {
        PhaseNames { digits, known: HashMap::new(), lists: Vec::new() }
    }

    /// The part of a log that a page shows, with what was written on standard error if `words` is true. None if there is
    /// nothing to show.
    pub fn part(&mut self, log: &'a TrialLog, words: bool) -> Option<LogPart<'a>> {
        let error = if words { end(&log.standard_error, MOST_STANDARD_ERROR) } else { "" };
        let phases = &log.phases[..log.phases.len().min(MOST_PHASES)];
        let remarks: Vec<&str> = log.remarks.iter().take(MOST_REMARKS).map(|text| start(text, CHARACTERS)).collect();
        if phases.is_empty() && remarks.is_empty() && error.is_empty() {
            return None;
        }
        let names: Vec<&str> = phases.iter().map(|phase| start(&phase.name, CHARACTERS)).collect();
        let next = self.lists.len();
        let at = *self.known.entry(names.clone()).or_insert(next);
        if at == next {
            self.lists.push(names);
        }
        let seconds = |phase: &Phase| rounded((phase.seconds / STEP).round() * STEP, self.digits);
        Some(LogPart { phases: at, seconds: phases.iter().map(seconds).collect(), remarks, error })
    }

    /// The lists.
    pub fn finish(self) -> Vec<Vec<&'a str>> {
        self.lists
    }
}

/// The first characters of a text.
pub fn start(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// The last bytes of a text.
fn end(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(phases: &[(&str, f64)]) -> TrialLog {
        let phases = phases.iter().map(|(name, seconds)| Phase {
            name: (*name).to_owned(),
            seconds: *seconds,
            processor_seconds: None,
        });
        TrialLog { phases: phases.collect(), ..TrialLog::default() }
    }

    #[test]
    fn names_of_phases_stand_once_and_seconds_are_short() {
        let logs = [log(&[("fit", 12.3456), ("rate", 0.000_012)]), log(&[("fit", 0.012_345), ("rate", 0.4)]), log(&[])];
        let mut names = PhaseNames::new(3);
        let parts: Vec<_> = logs.iter().map(|log| names.part(log, true)).collect();
        assert_eq!(
            serde_json::to_string(&parts).expect("JSON"),
            r#"[{"phases":0,"seconds":[12.3,0.0]},{"phases":0,"seconds":[0.0123,0.4]},null]"#
        );
        assert_eq!(names.finish(), [["fit", "rate"]]);
    }

    #[test]
    fn a_log_of_a_stranger_takes_no_more_room_than_one_of_ours() {
        let mut large = log(&[]);
        large.phases = vec![Phase { name: "é".repeat(10_000), seconds: f64::MAX, processor_seconds: None }; 10_000];
        large.remarks = vec!["é".repeat(10_000); 10_000];
        large.standard_error = "é".repeat(1_000_000);
        let mut names = PhaseNames::new(2);
        let part = serde_json::to_string(&names.part(&large, true)).expect("JSON");
        assert!(part.len() < 15_000, "{}", part.len());
        assert_eq!(names.finish()[0].len(), MOST_PHASES);
        let without = serde_json::to_string(&PhaseNames::new(2).part(&large, false)).expect("JSON");
        assert!(!without.contains("error"));
    }
}
