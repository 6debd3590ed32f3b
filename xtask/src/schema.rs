//! `schema`: the JSON schema that editors complete experiment files from.

use crate::errors::Mistakes;
use clap::Args;
use record::write_atomically;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Where to write it [default: experiments/schema.json]; `-` for standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only tell whether the file is up to date
    #[arg(long)]
    check: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let path = arguments.out.unwrap_or_else(default_path);
    if path.as_os_str() == "-" {
        say!("{}", text().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check {
        let current = is_current(&path);
        say!("{} is {}", path.display(), if current { "up to date" } else { "out of date: run `cargo xtask schema`" });
        return Ok(ExitCode::from(u8::from(!current)));
    }
    write_atomically(&path, text().as_bytes())?;
    say!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Where the shipped experiments refer to it.
pub fn default_path() -> PathBuf {
    crate::source_tree().join("experiments/schema.json")
}

/// Whether the file holds the schema of this build.
pub fn is_current(path: &std::path::Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|found| found.replace("\r\n", "\n") == text())
}

fn text() -> String {
    match serde_json::to_string_pretty(&experiments::schema()) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("a JSON value is JSON: {error}"),
    }
}
