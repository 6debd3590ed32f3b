//! `report`: turns records into figures, tables and pages, without building a quantizer.

use crate::errors::Mistakes;
use clap::Args;
use record::{Generated, RunFolder, Unlisted, write_generated};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Run folders; several are rendered as one report
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Folder of the report; files of others in it are kept [default: report/ in the first run]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Formats: html, svg, png, pdf, markdown, latex, csv, bencher (values for bencher.dev), benchmark-action
    /// (values for github-action-benchmark) [default: all]
    #[arg(long = "format", value_name = "FORMAT", value_parser = clap::builder::PossibleValuesParser::new(reports::FORMATS))]
    formats: Vec<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let all: Vec<String> = reports::FORMATS.iter().map(|f| (*f).to_owned()).collect();
    let formats = if arguments.formats.is_empty() { all } else { arguments.formats };
    let report = render(&arguments.runs, arguments.out, &formats)?;
    say!("report: {}", report.display());
    Ok(ExitCode::SUCCESS)
}

/// Renders runs together and writes every file; returns what to open.
pub fn render(roots: &[PathBuf], out: Option<PathBuf>, formats: &[String]) -> Result<PathBuf, Mistakes> {
    let paths: Vec<PathBuf> = roots.iter().map(|r| r.canonicalize().unwrap_or_else(|_| r.clone())).collect();
    if let Some(i) = (1..paths.len()).find(|&i| paths[..i].contains(&paths[i])) {
        return Err(Mistakes::new(format!("{} is named twice", roots[i].display()), "name each run once"));
    }
    let folders: Vec<RunFolder> = roots.iter().map(RunFolder::new).collect();
    let (report, unlisted) = match out {
        Some(out) => (out, Unlisted::Keep),
        None => (folders[0].report(), Unlisted::Replace),
    };
    if unlisted == Unlisted::Replace && report.is_symlink() {
        let message = format!("{} is a symbolic link, and its target may belong to somebody else", report.display());
        return Err(Mistakes::new(message, "remove the link, or name the folder with `report --out`"));
    }
    folders.iter().try_for_each(RunFolder::refresh_tables)?;
    let runs = folders.iter().map(RunFolder::results).collect::<Result<Vec<_>, _>>()?;
    let artifacts = reports::render(&runs, formats)?;
    let files: Vec<Generated<'_>> =
        artifacts.iter().map(|artifact| Generated { path: &artifact.path, bytes: &artifact.bytes }).collect();
    write_generated(&report, &files, unlisted)?;
    let page = files.iter().find(|file| file.path == "index.html").map(|file| report.join(file.path));
    Ok(page.unwrap_or(report))
}
