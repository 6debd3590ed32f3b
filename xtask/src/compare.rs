//! `compare`: the regression gate for continuous integration.

use crate::errors::Mistakes;
use clap::Args;
use experiments::{Document, Fault};
use record::{Results, RunFolder, write_atomically};
use reports::compare::{Comparison, Options, Tolerances, Verdict, compare};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "Quality (distortion, recall, label accuracy, rate, model size) is deterministic: any loss of more than 1e-6 of the value \
is a regression. Speed is compared by the medians of the seeds, each of which is a process of its own. It has regressed when the whole \
95% interval of the ratio lies beyond 5%, or beyond the spread between the seeds of either run if that is larger. The output states the \
smallest loss that could have been detected.

A tolerance file is YAML. It sets the allowed loss of each metric, as a fraction of its value:
  quality:
    nmse: 0.001
  speed:
    encode_vectors_per_second: 0.1

Exit codes: 0 no regression, 1 regression, 2 undecided (a trial or metric is missing, or the request is wrong)."
)]
pub struct Arguments {
    /// Run folder of the baseline
    base: PathBuf,
    /// Run folder to check
    new: PathBuf,
    #[command(flatten)]
    gate: Gate,
}

/// What to compare, and where to write the result.
#[derive(Args)]
pub struct Gate {
    /// YAML file with tolerances
    #[arg(long, value_name = "FILE")]
    tolerances: Option<PathBuf>,
    /// Also write the result as Markdown, such as for a job summary
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write the result as JSON, with every compared value
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the result as JUnit XML: a test case per compared value
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Compare trials of the same label, dataset, device and seed, even if their parameters differ
    #[arg(long)]
    by_label: bool,
    /// Compare quality only; use it for runs of different machines
    #[arg(long)]
    quality_only: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let options = arguments.gate.options()?;
    let base = RunFolder::new(&arguments.base).results()?;
    let new = RunFolder::new(&arguments.new).results()?;
    arguments.gate.judge(&base, &new, &options)
}

impl Gate {
    /// Whether any flag was given.
    pub fn is_given(&self) -> bool {
        let files = [&self.tolerances, &self.markdown, &self.json, &self.junit];
        files.iter().any(|file| file.is_some()) || self.by_label || self.quality_only
    }

    /// The options, with the tolerances of the file if one is named.
    pub fn options(&self) -> Result<Options, Mistakes> {
        let tolerances = self.tolerances.as_deref().map_or(Ok(Tolerances::default()), read_tolerances)?;
        Ok(Options { tolerances, speed: !self.quality_only, by_label: self.by_label })
    }

    /// Compares, prints the result and writes it in every requested format.
    pub fn judge(&self, base: &Results, new: &Results, options: &Options) -> Result<ExitCode, Mistakes> {
        self.conclude(&compare(base, new, options)?)
    }

    /// Prints a comparison and writes it in every requested format.
    pub fn conclude(&self, comparison: &Comparison) -> Result<ExitCode, Mistakes> {
        let markdown = comparison.to_markdown();
        say!("{}", markdown.trim_end());
        let write = |path: &Option<PathBuf>, text: &dyn Fn(&Comparison) -> Result<String, reports::ReportError>| {
            let Some(path) = path else { return Ok::<(), Mistakes>(()) };
            Ok(write_atomically(path, text(comparison)?.as_bytes())?)
        };
        write(&self.markdown, &|_| Ok(markdown.clone()))?;
        write(&self.json, &|comparison| Ok(comparison.to_json()?))?;
        write(&self.junit, &|comparison| Ok(comparison.to_junit()))?;
        Ok(ExitCode::from(match comparison.verdict() {
            Verdict::NoRegression => 0,
            Verdict::Regression => 1,
            Verdict::CannotTell => 2,
        }))
    }
}

fn read_tolerances(path: &Path) -> Result<Tolerances, Mistakes> {
    let help = "see `cargo xtask compare --help` for what a file of tolerances contains";
    let name = path.display().to_string();
    let text =
        datasets::regular::read_text(path).map_err(|e| Mistakes::new(format!("cannot read {name}: {e}"), help))?;
    let document = Document::parse(&name, &text)?;
    let tolerances: Tolerances = document.read_into()?;
    match tolerances.check() {
        Ok(()) => Ok(tolerances),
        Err([pointer, message, help]) => Err(Fault::at(&document, &pointer, message, Some(help)).into()),
    }
}
