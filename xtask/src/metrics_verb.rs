//! `metrics`: the dictionary of metrics, for the terminal and as a page of the documents.

use crate::errors::Mistakes;
use clap::Args;
use record::{METRICS, Metric};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Show only metrics whose name or meaning contains TEXT
    text: Option<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let wanted = |metric: &&&Metric| {
        arguments.text.as_ref().is_none_or(|text| {
            let text = text.to_lowercase();
            metric.name.contains(&text) || metric.meaning.to_lowercase().contains(&text)
        })
    };
    let rows: Vec<[String; COLUMNS.len()]> = METRICS.iter().filter(wanted).map(|metric| row(metric)).collect();
    if rows.is_empty() {
        let text = arguments.text.unwrap_or_default();
        return Err(Mistakes::new(
            format!("no metric has `{text}` in its name or meaning"),
            "`cargo xtask metrics` lists all",
        ));
    }
    let head = COLUMNS.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(&rows);
    let widths: Vec<usize> =
        (0..COLUMNS.len()).map(|c| lines().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
    for row in lines() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        say!("{}", cells.join("  ").trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [&str; 7] = ["name", "unit", "better", "noise", "range", "gate", "meaning"];

fn row(metric: &Metric) -> [String; COLUMNS.len()] {
    let gate = metric.tolerance.map_or(String::new(), |tolerance| tolerance.to_string());
    let words = [metric.name, metric.unit, metric.direction.as_str(), metric.noise.as_str()].map(str::to_owned);
    let [name, unit, better, noise] = words;
    [name, unit, better, noise, metric.range_text(), gate, metric.meaning.to_owned()]
}

const HEAD: &str = "# Every metric

Written by `cargo xtask schema` from the dictionary of metrics (`experiments/record/src/metric.rs`); `cargo xtask ci` checks that it
is up to date, and `cargo xtask metrics` shows the same. METHODOLOGY.md explains
how the values are computed.

- **unit**: `1` stands for plain ratios and counts.
- **better**: whether higher or lower values are better.
- **noise**: `exact` values are the same for the same seed; `timed` ones are times and rates, measured in several repeats;
  a value that `varies` differs a little from run to run.
- **gate**: how much worse a value may be in `cargo xtask compare`, as a share; `compare` ignores metrics without a gate.
- A name that ends in `*` stands for all names with this prefix that have no row of their own.
";

/// The page of the documents.
pub fn page() -> String {
    let mut out = format!("{HEAD}\n| {} |\n|{}\n", COLUMNS.join(" | "), "--|".repeat(COLUMNS.len()));
    for metric in METRICS {
        let mut cells = row(metric);
        cells[0] = format!("`{}`", cells[0]);
        out += &format!("| {} |\n", cells.join(" | "));
    }
    out
}
