//! `query`: SQL over the tables of runs.

use crate::errors::Mistakes;
use clap::{Args, ValueEnum};
use record::{RunFolder, write_atomically};
use reports::query::{query, to_csv, to_markdown, to_parquet, to_text};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "Tables: `results` has a row for every measured value, `trials` a row for every trial that has ended.
Both have the column `run`, the name of the run folder.

Distortion and seeds of every method, best first:
  cargo xtask query \"SELECT label, AVG(value) AS nmse, COUNT(*) AS seeds FROM results
    WHERE metric = 'nmse' GROUP BY label ORDER BY nmse\" runs/quickstart

What failed, and why, in all runs:
  cargo xtask query \"SELECT run, label, seed, reason FROM trials WHERE status <> 'ok'\" runs/* --out failures.md"
)]
pub struct Arguments {
    /// One SELECT statement
    sql: String,
    /// Run folders
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// How to write the answer; text and Markdown show the first 1000 rows [default: text, or what FILE ends in]
    #[arg(long, value_enum)]
    format: Option<OutputFormat>,
    /// Write the answer to FILE, which ends in .parquet, .csv, .md or .txt, instead of the terminal
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OutputFormat {
    Text,
    Csv,
    Markdown,
    Parquet,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let format = format(&arguments)?;
    let mut tables = Vec::new();
    for (root, name) in arguments.runs.iter().zip(names(&arguments.runs)) {
        tables.push((name, RunFolder::new(root).tables()?));
    }
    let answer = query(tables, &arguments.sql).map_err(|error| Mistakes::new(error.message.clone(), error.help))?;
    let refused = |reason: String| Mistakes::new(reason, "choose another `--format`, or other columns");
    let bytes = match format {
        OutputFormat::Text => to_text(&answer).into_bytes(),
        OutputFormat::Markdown => to_markdown(&answer).into_bytes(),
        OutputFormat::Csv => to_csv(&answer).map_err(refused)?,
        OutputFormat::Parquet => to_parquet(answer).map_err(refused)?,
    };
    match &arguments.out {
        Some(path) => write_atomically(path, &bytes)?,
        None => say!("{}", String::from_utf8_lossy(&bytes).trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The format asked for, or else that of the file.
fn format(arguments: &Arguments) -> Result<OutputFormat, Mistakes> {
    let Some(path) = &arguments.out else {
        return match arguments.format {
            Some(OutputFormat::Parquet) => {
                Err(Mistakes::new("Parquet is not for the terminal", "name a file with `--out answer.parquet`"))
            }
            given => Ok(given.unwrap_or(OutputFormat::Text)),
        };
    };
    let of_file = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => Some(OutputFormat::Parquet),
        Some("csv") => Some(OutputFormat::Csv),
        Some("md") => Some(OutputFormat::Markdown),
        Some("txt") => Some(OutputFormat::Text),
        _ => None,
    };
    let message = || format!("{} ends in none of .parquet, .csv, .md and .txt", path.display());
    arguments
        .format
        .or(of_file)
        .ok_or_else(|| Mistakes::new(message(), "say with `--format` what it is to hold, or name it otherwise"))
}

/// Names of runs: those of their folders, or the paths as they were given where two folders have one name.
fn names(roots: &[PathBuf]) -> Vec<String> {
    let short =
        |root: &Path| root.file_name().map_or(root.display().to_string(), |name| name.to_string_lossy().into_owned());
    let all: Vec<String> = roots.iter().map(|root| short(root)).collect();
    let unique = |name: &String| all.iter().filter(|other| *other == name).count() == 1;
    roots
        .iter()
        .zip(&all)
        .map(|(root, name)| if unique(name) { name.clone() } else { root.display().to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_called_by_their_folders_unless_two_have_one_name() {
        let of = |roots: &[&str]| names(&roots.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["runs/a", "runs/b/"]), ["a", "b"]);
        assert_eq!(of(&["x/a", "y/a", "b"]), ["x/a", "y/a", "b"]);
    }
}
