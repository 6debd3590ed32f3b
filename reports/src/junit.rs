//! JUnit XML, which CI services show as test results: suites of cases, each of which passed, failed, could not be decided, or was left out.

use maud::{Markup, PreEscaped, html};

/// How a case ended, with the words that are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It passed.
    Passed(String),
    /// It failed.
    Failed(String),
    /// It could not be decided.
    Error(String),
    /// It was left out.
    Skipped(String),
}

/// A test case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What was tested.
    pub class: String,
    /// By which question.
    pub name: String,
    /// How it ended.
    pub end: End,
}

/// Cases that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suite {
    /// Their topic.
    pub name: String,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

/// A text without the characters that XML 1.0 forbids.
fn allowed(text: &str) -> String {
    let forbidden = |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if forbidden(c) { '\u{fffd}' } else { c }).collect()
}

fn markup(case: &Case) -> Markup {
    html! {
        testcase classname=(allowed(&case.class)) name=(allowed(&case.name)) {
            @match &case.end {
                End::Passed(words) => { system-out { (allowed(words)) } }
                End::Failed(words) => { failure message=(allowed(words)) {} }
                End::Error(words) => { error message=(allowed(words)) {} }
                End::Skipped(words) => { skipped message=(allowed(words)) {} }
            }
        }
    }
}

/// Numbers of cases, failures, errors and skipped cases.
fn counts<'a>(cases: impl Iterator<Item = &'a Case>) -> [usize; 4] {
    cases.fold([0; 4], |mut counts, case| {
        counts[0] += 1;
        match case.end {
            End::Passed(_) => {}
            End::Failed(_) => counts[1] += 1,
            End::Error(_) => counts[2] += 1,
            End::Skipped(_) => counts[3] += 1,
        }
        counts
    })
}

/// All suites as one document.
pub fn document(name: &str, suites: &[Suite]) -> String {
    let [cases, failures, errors, skipped] = counts(suites.iter().flat_map(|suite| &suite.cases));
    html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"))
        testsuites name=(allowed(name)) tests=(cases) failures=(failures) errors=(errors) skipped=(skipped) {
            @for suite in suites {
                @let [cases, failures, errors, skipped] = counts(suite.cases.iter());
                testsuite name=(allowed(&suite.name)) tests=(cases) failures=(failures) errors=(errors) skipped=(skipped) {
                    @for case in &suite.cases { (markup(case)) }
                }
            }
        }
    }
    .into_string()
}
