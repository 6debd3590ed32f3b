//! A comparison as JUnit XML: a suite per dataset, a test case per compared value.

use super::outcome::{Change, Comparison};
use crate::junit::{Case, End, Suite, document};

impl Comparison {
    /// The result as JUnit XML. What could not be compared is an error, what was left out intentionally is skipped.
    pub fn to_junit(&self) -> String {
        let mut suites: Vec<Suite> = Vec::new();
        for check in &self.checks {
            let at = suites.iter().position(|suite| suite.name == check.dataset).unwrap_or_else(|| {
                suites.push(Suite { name: check.dataset.clone(), cases: Vec::new() });
                suites.len() - 1
            });
            let detail = check.detail.clone();
            let end = if check.change == Change::Worse { End::Failed(detail) } else { End::Passed(detail) };
            suites[at].cases.push(Case { class: check.subject.clone(), name: check.metric.clone(), end });
        }
        for (name, reasons) in [("not comparable", &self.unknown), ("left out", &self.notes)] {
            if reasons.is_empty() {
                continue;
            }
            let case = |reason: &String| {
                let end = if name == "left out" { End::Skipped } else { End::Error };
                Case { class: name.to_owned(), name: reason.clone(), end: end(reason.clone()) }
            };
            suites.push(Suite { name: name.to_owned(), cases: reasons.iter().map(case).collect() });
        }
        document("vqbench compare", &suites)
    }
}
