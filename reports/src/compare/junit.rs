//! A comparison as JUnit XML, which CI services show as test results: a suite per dataset, a test case per compared
//! value.

use super::outcome::{Change, Check, Comparison};
use maud::{Markup, PreEscaped, html};

/// A text without the characters that XML 1.0 forbids.
fn allowed(text: &str) -> String {
    let forbidden = |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if forbidden(c) { '\u{fffd}' } else { c }).collect()
}

/// A test case that fails if the value is worse.
fn case(check: &Check) -> Markup {
    html! {
        testcase classname=(allowed(&check.subject)) name=(allowed(&check.metric)) {
            @if check.change == Change::Worse {
                failure message=(allowed(&check.detail)) {}
            } @else {
                system-out { (allowed(&check.detail)) }
            }
        }
    }
}

impl Comparison {
    /// The result as JUnit XML. What could not be compared is an error, what was left out intentionally is skipped.
    pub fn to_junit(&self) -> String {
        let mut datasets: Vec<&str> = Vec::new();
        for check in &self.checks {
            if !datasets.contains(&check.dataset.as_str()) {
                datasets.push(&check.dataset);
            }
        }
        let cases = self.checks.len() + self.unknown.len() + self.notes.len();
        let failures = self.regressions().count();
        html! {
            (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"))
            testsuites name="vqbench compare" tests=(cases) failures=(failures) errors=(self.unknown.len())
                skipped=(self.notes.len())
            {
                @for dataset in datasets {
                    @let checks: Vec<&Check> = self.checks.iter().filter(|check| check.dataset == dataset).collect();
                    @let failures = checks.iter().filter(|check| check.change == Change::Worse).count();
                    testsuite name=(allowed(dataset)) tests=(checks.len()) failures=(failures) errors="0" skipped="0" {
                        @for check in checks { (case(check)) }
                    }
                }
                @if !self.unknown.is_empty() {
                    testsuite name="not comparable" tests=(self.unknown.len()) failures="0" errors=(self.unknown.len())
                        skipped="0"
                    {
                        @for reason in &self.unknown {
                            testcase classname="not comparable" name=(allowed(reason)) {
                                error message=(allowed(reason)) {}
                            }
                        }
                    }
                }
                @if !self.notes.is_empty() {
                    testsuite name="left out" tests=(self.notes.len()) failures="0" errors="0" skipped=(self.notes.len()) {
                        @for note in &self.notes {
                            testcase classname="left out" name=(allowed(note)) { skipped message=(allowed(note)) {} }
                        }
                    }
                }
            }
        }
        .into_string()
    }
}
