//! `report`: records to figures, tables and pages, without building a quantizer.

use crate::errors::Mistakes;
use clap::Args;
use record::{RunFolder, write_atomically};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Folders of runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Folder of the report [default: report/ in the first run]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Formats: html, svg, png, markdown, latex, csv [default: all]
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
    let runs = folders.iter().map(RunFolder::load).collect::<Result<Vec<_>, _>>()?;
    let report = out.unwrap_or_else(|| folders[0].report());
    for (folder, run) in folders.iter().zip(&runs) {
        for (name, bytes) in reports::tidy(run)? {
            write_atomically(&folder.root().join(name), &bytes)?;
        }
    }
    let artifacts = reports::render(&runs, formats)?;
    // What an earlier report left would be taken for part of this one.
    for folder in ["figures", "tables", "pictures"] {
        let _ = std::fs::remove_dir_all(report.join(folder));
    }
    for artifact in artifacts {
        let path = report.join(&artifact.path);
        if let Some(folder) = path.parent() {
            create(folder)?;
        }
        write_atomically(&path, &artifact.bytes)?;
    }
    let page = report.join("index.html");
    Ok(if page.is_file() { page } else { report })
}

fn create(folder: &Path) -> Result<(), Mistakes> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Mistakes::new(format!("cannot create {}: {error}", folder.display()), "choose another folder with `--out`")
    })
}
