//! A comparison as Markdown, for a terminal and for the summary of a CI job.

use super::outcome::{Change, Check, Comparison, Speed, Verdict};
use crate::markdown::escape;

/// A compared timing, and the smallest regression that the comparison could detect.
struct TimingRow<'a> {
    subject: &'a str,
    /// The metric, without the search path.
    metric: &'a str,
    smallest: f64,
}

impl<'a> TimingRow<'a> {
    fn of(check: &'a Check) -> Option<TimingRow<'a>> {
        let metric = check.metric.split(',').next().unwrap_or_default();
        Some(TimingRow { subject: &check.subject, metric, smallest: check.smallest? })
    }
}

impl Comparison {
    /// The result as Markdown.
    pub fn to_markdown(&self) -> String {
        let verdict = match self.verdict() {
            Verdict::NoRegression => "no regression",
            Verdict::Regression => "**regression**",
            Verdict::CannotTell => "cannot tell",
        };
        let mut out = format!("# Comparison: {verdict}\n\n{} values compared.\n", self.compared());
        out += &self.visible();
        for (title, change) in [("Worse", Change::Worse), ("Better", Change::Better)] {
            let mut changed = self.checks.iter().filter(|check| check.change == change).peekable();
            if changed.peek().is_some() {
                out += &format!("\n## {title}\n\n| what | metric | change |\n|--|--|--|\n");
            }
            for check in changed {
                let cells = [&check.subject, &check.metric, &check.detail].map(|cell| escape(cell));
                out += &format!("| {} |\n", cells.join(" | "));
            }
        }
        for (title, lines) in [("Not comparable", &self.unknown), ("Left out", &self.notes)] {
            if !lines.is_empty() {
                out += &format!("\n## {title}\n\n");
                lines.iter().for_each(|line| out += &format!("- {}\n", escape(line)));
            }
        }
        out
    }

    /// The sensitivity of the timings: a pass says little if the gate detects only large losses.
    fn visible(&self) -> String {
        let timings: Vec<TimingRow<'_>> = self.checks.iter().filter_map(TimingRow::of).collect();
        if timings.is_empty() {
            return String::new();
        }
        let mut out = format!(
            "\nThe smallest loss of speed that could have been seen, over {} timings. True losses of this size are found in half of \
             all comparisons, smaller ones less often; more seeds make it smaller. {}\n\n\
             | metric | timings | best | median | worst | where it is worst |\n|--|--:|--:|--:|--:|--|\n",
            timings.len(),
            match self.speed {
                Speed::Apart =>
                    "Each timing is tested by itself. What makes a whole run slower (another load, another clock) looks like a \
                     regression.",
                Speed::InTurn =>
                    "Both builds ran in turn, and the noise is that of the baseline against itself. All timings are tested \
                     together: at most 5% of comparisons of equal builds report a regression.",
            }
        );
        let mut metrics: Vec<&str> = Vec::new();
        for timing in &timings {
            if !metrics.contains(&timing.metric) {
                metrics.push(timing.metric);
            }
        }
        for metric in metrics {
            let mut of_metric: Vec<&TimingRow<'_>> = timings.iter().filter(|timing| timing.metric == metric).collect();
            of_metric.sort_by(|a, b| a.smallest.total_cmp(&b.smallest));
            let ([best, ..], [.., worst]) = (&of_metric[..], &of_metric[..]) else { continue };
            let percent = |timing: &TimingRow<'_>| format!("{:.1}%", 100.0 * timing.smallest);
            let middle = of_metric[of_metric.len() / 2];
            let cells = [percent(best), percent(middle), percent(worst), escape(worst.subject)];
            out += &format!("| {metric} | {} | {} |\n", of_metric.len(), cells.join(" | "));
        }
        out
    }
}
