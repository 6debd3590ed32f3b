//! `compare`: the regression gate for continuous integration.

use crate::errors::Mistakes;
use clap::Args;
use record::{RunFolder, write_atomically};
use reports::compare::{Options, Tolerances, Verdict, compare};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
#[command(
    after_help = "Quality (distortion, recall, label accuracy, rate, model size) is deterministic: any loss of more than 1e-6 of the value is a
regression. Speed is compared by the medians of the seeds, each of which is a process of its own. It has regressed when the
whole 95% interval of the ratio lies beyond 5%, or beyond the spread between the seeds of either run if that is larger. The
output states the smallest loss that could have been detected.

A tolerance file sets the allowed loss of each metric, as a fraction of its value:
  [quality]
  nmse = 0.001
  [speed]
  encode_vectors_per_second = 0.1"
)]
pub struct Arguments {
    /// Run folder of the baseline
    base: PathBuf,
    /// Run folder to check
    new: PathBuf,
    /// TOML file with tolerances
    #[arg(long, value_name = "FILE")]
    tolerances: Option<PathBuf>,
    /// Also write the result as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Compare trials of the same label, dataset, device and seed, even if their parameters differ
    #[arg(long)]
    by_label: bool,
    /// Compare quality only; use it for runs of different machines
    #[arg(long)]
    quality_only: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let tolerances: Tolerances = match &arguments.tolerances {
        None => Tolerances::default(),
        Some(path) => {
            let help = "see `cargo xtask compare --help` for what it may hold";
            let text = datasets::regular::read_text(path)
                .map_err(|e| Mistakes::new(format!("cannot read {}: {e}", path.display()), help))?;
            toml::from_str(&text)
                .map_err(|e| Mistakes::new(format!("{}: {}", path.display(), e.to_string().trim()), help))?
        }
    };
    if let Err(mistake) = tolerances.check() {
        let path = arguments.tolerances.as_deref().unwrap_or(std::path::Path::new("the tolerances"));
        return Err(Mistakes::new(
            format!("{}: {mistake}", path.display()),
            "see `cargo xtask compare --help` for what it may hold",
        ));
    }
    let base = RunFolder::new(&arguments.base).results()?;
    let new = RunFolder::new(&arguments.new).results()?;
    let options = Options { tolerances, speed: !arguments.quality_only, by_label: arguments.by_label };
    let comparison = compare(&base, &new, &options)?;
    let text = comparison.to_markdown();
    say!("{}", text.trim_end());
    if let Some(path) = &arguments.markdown {
        write_atomically(path, text.as_bytes())?;
    }
    Ok(ExitCode::from(match comparison.verdict() {
        Verdict::NoRegression => 0,
        Verdict::Regression => 1,
        Verdict::CannotTell => 2,
    }))
}
