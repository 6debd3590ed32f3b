//! `report`: turns records into figures, tables and pages, without building a quantizer.

use crate::errors::Mistakes;
use crate::progress::trials;
use clap::Args;
use record::{CheckedTables, Generated, RunFolder, Unlisted, read_generated, write_generated};
use reports::provenance::{self, Provenance};
use reports::verify::verify;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "With --verify, every table of the runs is compared with the records of the trials, and every file of the report with \
what the tables give now: texts, tables and pictures, byte by byte. Nothing is written.

Exit codes of --verify: 0 all agree, 1 something differs (each file is listed with its first difference), 2 it cannot be verified (no \
report, no tables, a damaged file)."
)]
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
    /// Write nothing; recompute the existing report from the runs and list what differs
    #[arg(long, conflicts_with = "formats")]
    verify: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    if arguments.verify {
        return check(&arguments.runs, arguments.out);
    }
    let all: Vec<String> = reports::FORMATS.iter().map(|f| (*f).to_owned()).collect();
    let formats = if arguments.formats.is_empty() { all } else { arguments.formats };
    let report = render(&arguments.runs, arguments.out, &formats)?;
    say!("report: {}", report.display());
    Ok(ExitCode::SUCCESS)
}

/// Renders runs together and writes every file; returns what to open.
pub fn render(roots: &[PathBuf], out: Option<PathBuf>, formats: &[String]) -> Result<PathBuf, Mistakes> {
    let folders = distinct(roots)?;
    let (report, unlisted) = place(&folders, out)?;
    folders.iter().try_for_each(RunFolder::refresh_tables)?;
    let runs = folders.iter().map(RunFolder::results).collect::<Result<Vec<_>, _>>()?;
    let artifacts = reports::render(&runs, formats)?;
    let files: Vec<Generated<'_>> =
        artifacts.iter().map(|artifact| Generated { path: &artifact.path, bytes: &artifact.bytes }).collect();
    write_generated(&report, &files, unlisted)?;
    let page = files.iter().find(|file| file.path == "index.html").map(|file| report.join(file.path));
    Ok(page.unwrap_or(report))
}

/// The run folders, each of which must be named once.
fn distinct(roots: &[PathBuf]) -> Result<Vec<RunFolder>, Mistakes> {
    let paths: Vec<PathBuf> = roots.iter().map(|r| r.canonicalize().unwrap_or_else(|_| r.clone())).collect();
    if let Some(i) = (1..paths.len()).find(|&i| paths[..i].contains(&paths[i])) {
        return Err(Mistakes::new(format!("{} is named twice", roots[i].display()), "name each run once"));
    }
    Ok(roots.iter().map(RunFolder::new).collect())
}

/// The folder of a report, and whose its unlisted files are.
fn place(folders: &[RunFolder], out: Option<PathBuf>) -> Result<(PathBuf, Unlisted), Mistakes> {
    let (report, unlisted) = match out {
        Some(out) => (out, Unlisted::Keep),
        None => (folders[0].report(), Unlisted::Replace),
    };
    if unlisted == Unlisted::Replace && report.is_symlink() {
        let message = format!("{} is a symbolic link, and its target may belong to somebody else", report.display());
        return Err(Mistakes::new(message, "remove the link, or name the folder with `report --out`"));
    }
    Ok((report, unlisted))
}

/// Recomputes a report and says what differs.
fn check(roots: &[PathBuf], out: Option<PathBuf>) -> Result<ExitCode, Mistakes> {
    let folders = distinct(roots)?;
    let (report, unlisted) = place(&folders, out)?;
    let checked = folders.iter().map(RunFolder::checked_tables).collect::<Result<Vec<CheckedTables>, _>>()?;
    let found = read_generated(&report, unlisted)?;
    let provenance = read_provenance(&report, found.files.get(provenance::FILE))?;
    let mut agree = true;
    for (folder, CheckedTables { records, values, disagreements, .. }) in folders.iter().zip(&checked) {
        agree &= disagreements.is_empty();
        let root = folder.root().display();
        disagreements.iter().for_each(|disagreement| say!("{root}: {disagreement}"));
        if disagreements.is_empty() {
            say!("{root}: its tables agree with the records of {}, {}", trials(*records), counted(*values, "value"));
        }
    }
    let runs: Vec<_> = checked.into_iter().map(|checked| checked.results).collect();
    let now = Provenance::new(&runs, &provenance.formats);
    if now.names() != provenance.names() {
        let message = format!("{} is a report of other runs: {}", report.display(), provenance.names());
        return Err(Mistakes::new(message, "name the runs that it was rendered from, in this order"));
    }
    let verification = verify(&found, &reports::render(&runs, &provenance.formats)?);
    agree &= verification.differences.is_empty();
    verification.differences.iter().for_each(|difference| say!("{}: {difference}", report.display()));
    let (files, tables, values) = (verification.files, verification.tables, verification.values);
    let what = format!("{} (CSV tables: {tables}, with {})", counted(files, "file"), counted(values, "value"));
    if verification.differences.is_empty() {
        say!("{}: recomputed {what}; all agree", report.display());
    } else {
        say!("{}: recomputed {what}; files that differ: {}", report.display(), verification.differences.len());
    }
    if !agree && now.rendered_by != provenance.rendered_by {
        let (then, now) = (provenance.rendered_by, now.rendered_by);
        say!("the report was rendered by vqbench {then}, and this is {now}: versions may render differently");
    }
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A number of things, in words.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// How the report was rendered.
fn read_provenance(report: &Path, file: Option<&Vec<u8>>) -> Result<Provenance, Mistakes> {
    let help = "render the report again with `cargo xtask report RUN`";
    let path = report.join(provenance::FILE);
    let Some(bytes) = file else {
        let message = format!("there is no {}, which says how the report was rendered", path.display());
        return Err(Mistakes::new(message, help));
    };
    Provenance::parse(bytes).map_err(|reason| Mistakes::new(format!("{} is damaged: {reason}", path.display()), help))
}
