//! `prepare`, `trials`, `finish`: the tasks of a run whose trials are handed to an executor; and following such a run.

use crate::errors::Mistakes;
use crate::experiments_verb::{Again, INTERRUPT, conclude, heed_interrupts, launcher};
use crate::progress::{Progress, trials};
use clap::Args;
use experiments::executor::{self, Node, TaskOutcome};
use experiments::{Launcher, Surroundings};
use record::RunFolder;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct PrepareArguments {
    /// Folder of the run
    run: PathBuf,
    /// Name of the dataset to prepare
    #[arg(long, value_name = "DATASET")]
    only: String,
}

#[derive(Args)]
pub struct TrialsArguments {
    /// Folder of the run
    run: PathBuf,
    /// Ids of the trials to run
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',', required = true)]
    only: Vec<String>,
}

#[derive(Args)]
pub struct FinishArguments {
    /// Folder of the run
    run: PathBuf,
}

/// Does something as a task of a run.
fn on_this_node<T>(
    run: &Path,
    here: &Surroundings,
    act: impl FnOnce(&Node<'_>, &mut Progress) -> Result<T, Mistakes>,
) -> Result<T, Mistakes> {
    heed_interrupts();
    let (folder, launcher): (RunFolder, Launcher) = (RunFolder::new(run), launcher()?);
    let source_tree = crate::source_tree();
    let node = Node {
        folder: &folder,
        launcher: &launcher,
        surroundings: here,
        source_tree: &source_tree,
        interrupt: &INTERRUPT,
    };
    let mut progress = Progress::new();
    let done = act(&node, &mut progress);
    progress.finish();
    done
}

pub fn prepare(arguments: PrepareArguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    on_this_node(&arguments.run, here, |node, progress| Ok(node.prepare(&arguments.only, progress)?))?;
    Ok(ExitCode::SUCCESS)
}

pub fn run_trials(arguments: TrialsArguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let outcome = on_this_node(&arguments.run, here, |node, progress| Ok(node.trials(&arguments.only, progress)?))?;
    let TaskOutcome { ended, left, unprepared, interrupted } = outcome;
    if !unprepared.is_empty() {
        let message = format!("{} cannot run: {} has not been prepared", trials(left), unprepared.join(" and "));
        let file = arguments.run.join("tasks/prepare.txt");
        let help = format!("first run the commands of {}", file.display());
        return Err(Mistakes::new(message, help));
    }
    let left_words = if left > 0 { format!(", {} left", trials(left)) } else { String::new() };
    let why = if interrupted { ", interrupted" } else { "" };
    say!("{} ended{left_words}{why}", trials(ended));
    Ok(if left > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

pub fn finish(arguments: FinishArguments) -> Result<ExitCode, Mistakes> {
    let (outcome, formats) = executor::finish(&RunFolder::new(&arguments.run))?;
    report(&arguments.run, &outcome, &formats, false)
}

/// Follows a run that was handed to an executor.
pub fn attach(run: &Path, no_report: bool) -> Result<ExitCode, Mistakes> {
    heed_interrupts();
    let launcher = launcher()?;
    let mut progress = Progress::new();
    let attached = executor::attach(&RunFolder::new(run), &launcher.program, &INTERRUPT, &mut progress);
    progress.finish();
    let (outcome, formats) = attached?;
    report(run, &outcome, &formats, no_report)
}

/// Renders the report of a run, and says how it ended.
fn report(
    run: &Path,
    outcome: &experiments::Outcome,
    formats: &[String],
    no_report: bool,
) -> Result<ExitCode, Mistakes> {
    let name = run.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned());
    let failed = conclude(&name, outcome, run, (!no_report).then_some(formats), Again::Experiment)?;
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Cancels the tasks of a run.
pub fn cancel(run: &Path) -> Result<ExitCode, Mistakes> {
    match executor::cancel(&RunFolder::new(run), &launcher()?.program)? {
        None => say!("vqbench did not start the commands of {}: stop them where you started them", run.display()),
        Some(ids) if ids.is_empty() => say!("no task of {} waits or runs", run.display()),
        Some(ids) => say!("cancelled: {}; `--attach {}` submits what is missing again", ids.join(", "), run.display()),
    }
    Ok(ExitCode::SUCCESS)
}
