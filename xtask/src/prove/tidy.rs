//! The result of a proof as JUnit XML and as Markdown.

use ::prove::{Report, Verdict};
use reports::junit::{Case, End, Suite, document};

/// A suite per topic, a case per check.
pub fn junit(report: &Report) -> String {
    let mut suites: Vec<Suite> = Vec::new();
    for outcome in &report.outcomes {
        if suites.last().is_none_or(|suite| suite.name != outcome.group) {
            suites.push(Suite { name: outcome.group.into(), cases: Vec::new() });
        }
        let end = match &outcome.verdict {
            Verdict::Passed(note) => End::Passed(note.clone()),
            Verdict::Failed(failure) => End::Failed(failure.to_string()),
            Verdict::Skipped(why) => End::Skipped(why.clone()),
        };
        if let Some(suite) = suites.last_mut() {
            suite.cases.push(Case { class: report.subject.clone(), name: outcome.name.clone(), end });
        }
    }
    document("vqbench prove", &suites)
}

/// A text as a cell of a table of Markdown.
fn cell(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('`', "'")
}

/// A table of all checks, with failures first.
pub fn markdown(report: &Report) -> String {
    let (_, failed, _) = report.counts();
    let verdict = if failed == 0 { "no mistake found" } else { "**mistakes found**" };
    let mut out = format!("# Proof: {verdict}\n\n{}.\n", cell(&report.headline()));
    if failed > 0 {
        out += "\n## Failed\n\n| check | what was done | expected | what came | vectors |\n|--|--|--|--|--|\n";
        for (outcome, failure) in report.failures() {
            let cells = [&outcome.name, &failure.did, &failure.expected, &failure.came, &failure.reproduce];
            out += &format!("| {} |\n", cells.map(|text| cell(text)).join(" | "));
        }
    }
    out += "\n## All checks\n\n| topic | check | question | result |\n|--|--|--|--|\n";
    for outcome in &report.outcomes {
        let result = match &outcome.verdict {
            Verdict::Passed(note) if note.is_empty() => "passed".to_owned(),
            Verdict::Passed(note) => format!("passed: {note}"),
            Verdict::Failed(_) => "**failed**".to_owned(),
            Verdict::Skipped(why) => format!("skipped: {why}"),
        };
        let cells = [outcome.group, &outcome.name, &outcome.question];
        let result = if result.starts_with("**") { result } else { cell(&result) };
        out += &format!("| {} | {result} |\n", cells.map(cell).join(" | "));
    }
    out
}
