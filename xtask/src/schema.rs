//! `schema`: writes the JSON schema of experiment files, which editors use for completion, the reference of their keys, and the
//! list of metrics.

use crate::errors::Mistakes;
use crate::metrics_verb;
use clap::Args;
use experiments::reference;
use record::write_atomically;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Write only the JSON schema, to this file; `-` for standard output [default: write experiments/schema.json,
    /// docs/experiment-keys.md and docs/metrics.md]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write nothing; check whether the files are up to date
    #[arg(long)]
    check: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let files = match arguments.out {
        Some(path) if path.as_os_str() == "-" => {
            say!("{}", schema().trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        Some(path) => vec![(path, schema())],
        None => files(),
    };
    let mut stale = false;
    for (path, text) in files {
        if arguments.check {
            let current = is_current(&path, &text);
            stale |= !current;
            say!(
                "{} is {}",
                path.display(),
                if current { "up to date" } else { "out of date: run `cargo xtask schema`" }
            );
        } else {
            write_atomically(&path, text.as_bytes())?;
            say!("{}", path.display());
        }
    }
    Ok(ExitCode::from(u8::from(stale)))
}

/// The files of the source tree that are not what this build would write.
pub fn stale() -> Vec<PathBuf> {
    files().into_iter().filter(|(path, text)| !is_current(path, text)).map(|(path, _)| path).collect()
}

/// Where the shipped experiments and the documents refer to them, and what they should hold.
fn files() -> Vec<(PathBuf, String)> {
    let at = |path: &str| crate::source_tree().join(path);
    vec![
        (at("experiments/schema.json"), schema()),
        (at("docs/experiment-keys.md"), reference::page()),
        (at("docs/metrics.md"), metrics_verb::page()),
    ]
}

fn is_current(path: &std::path::Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|found| found.replace("\r\n", "\n") == text)
}

fn schema() -> String {
    match serde_json::to_string_pretty(&experiments::schema()) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("a JSON value is JSON: {error}"),
    }
}
