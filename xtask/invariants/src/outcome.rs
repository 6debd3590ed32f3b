//! How checks ended, and the summary of all of them: for a terminal, and in Markdown for the page of a GitHub workflow.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// How a check ended. It passed if nothing is wrong and nothing was skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOutcome {
    /// What is wrong, one line each.
    pub problems: Vec<String>,
    /// Why the check could not be made here.
    pub skipped: Option<String>,
}

impl CheckOutcome {
    /// A check that could not be made here.
    pub fn skipped(reason: impl Into<String>) -> CheckOutcome {
        CheckOutcome { problems: vec![], skipped: Some(reason.into()) }
    }

    fn word(&self) -> &'static str {
        match (self.problems.is_empty(), &self.skipped) {
            (false, _) => "failed",
            (true, Some(_)) => "skipped",
            (true, None) => "passed",
        }
    }

    fn details(&self) -> impl Iterator<Item = &String> {
        self.problems.iter().chain(&self.skipped)
    }
}

impl From<Vec<String>> for CheckOutcome {
    fn from(problems: Vec<String>) -> CheckOutcome {
        CheckOutcome { problems, skipped: None }
    }
}

/// What all checks came to.
pub struct CheckSummary {
    /// The machine: system, processor, instruction sets.
    pub machine: String,
    /// Name and outcome of each check, in their order.
    pub checks: Vec<(&'static str, CheckOutcome)>,
    /// What the tests leave out on this machine, and why.
    pub left_out: Vec<(&'static str, String)>,
}

impl CheckSummary {
    fn count(&self, word: &str) -> usize {
        self.checks.iter().filter(|(_, outcome)| outcome.word() == word).count()
    }

    /// Whether a check found something wrong.
    pub fn has_failed(&self) -> bool {
        self.count("failed") > 0
    }

    /// One line for each check and for each thing left out, and the counts.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("on {}:", self.machine)];
        for (name, outcome) in &self.checks {
            lines.push(format!("  {:7}  {name}", outcome.word()));
            lines.extend(outcome.details().map(|detail| format!("           {detail}")));
        }
        if !self.left_out.is_empty() {
            lines.push("`cargo xtask test` leaves out on this machine:".to_owned());
            lines.extend(self.left_out.iter().map(|(what, reason)| format!("  {what}: {reason}")));
        }
        lines.push(self.counts());
        lines.join("\n")
    }

    fn counts(&self) -> String {
        let [passed, failed, skipped] = ["passed", "failed", "skipped"].map(|word| self.count(word));
        let plural = if passed == 1 { "" } else { "s" };
        format!("{passed} check{plural} passed, {failed} failed, {skipped} skipped")
    }

    /// The same as tables.
    pub fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut page = format!("### `cargo xtask ci` on {}\n\n{}\n\n", self.machine, self.counts());
        page += "| check | outcome | |\n|--|--|--|\n";
        for (name, outcome) in &self.checks {
            let details: Vec<String> = outcome.details().map(|detail| cell(detail)).collect();
            page += &format!("| {} | {} | {} |\n", cell(name), outcome.word(), details.join("<br>"));
        }
        if !self.left_out.is_empty() {
            page += "\n| `cargo xtask test` leaves out on this machine | because |\n|--|--|\n";
            self.left_out.iter().for_each(|(what, reason)| page += &format!("| {what} | {} |\n", cell(reason)));
        }
        page + "\n"
    }

    /// Adds the Markdown to a file, such as the summary of a GitHub workflow's step.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn append_to(&self, path: &Path) -> std::io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(self.markdown().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_failed_and_was_skipped_is_told_with_its_reasons() {
        let summary = CheckSummary {
            machine: "linux x86_64".into(),
            checks: vec![
                ("formatting", CheckOutcome::default()),
                ("clippy", vec!["`cargo clippy | x` failed".to_owned(), "again".to_owned()].into()),
                ("kernels", CheckOutcome::skipped("NVRTC was not found")),
            ],
            left_out: vec![("laws on a GPU", "there is no driver".into())],
        };
        assert!(summary.has_failed());
        let text = summary.text();
        for line in [
            "  passed   formatting",
            "  failed   clippy\n           `cargo clippy | x` failed\n           again",
            "  skipped  kernels\n           NVRTC was not found",
            "  laws on a GPU: there is no driver",
            "1 check passed, 1 failed, 1 skipped",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let page = summary.markdown();
        for line in [
            "| formatting | passed |  |",
            "| clippy | failed | `cargo clippy \\| x` failed<br>again |",
            "| kernels | skipped | NVRTC was not found |",
            "| laws on a GPU | there is no driver |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}: {page}");
        }
    }
}
