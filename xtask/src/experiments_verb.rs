//! `experiments`: checks, runs and reports experiments.

use crate::compare::Gate;
use crate::errors::Mistakes;
use crate::fetching;
use crate::progress::{Progress, roughly, trials};
use crate::tasks_verb;
use clap::Args;
use experiments::engine::Settings;
use experiments::experiment::DeviceChoice;
use experiments::{
    Document, ExecutorChoice, Launcher, Outcome, Overrides, Plan, Seconds, Surroundings, engine, include, machine,
};
use record::{METRICS, RunFolder};
use reports::in_turn;
use reports::spent::Spent;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Set by Ctrl-C, for every run of this process.
pub static INTERRUPT: AtomicBool = AtomicBool::new(false);

#[derive(Args)]
pub struct Arguments {
    /// Experiment files [default: experiments/quickstart.yaml]
    files: Vec<PathBuf>,
    /// Folder of the run; with several files, each gets a folder below it [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Check everything, including all values of the vectors, and list the trials with rate and estimated cost; run
    /// nothing
    #[arg(long)]
    dry_run: bool,
    /// First fetch the public datasets of the catalog that are not on this machine
    #[arg(long, conflicts_with = "skip_missing")]
    fetch: bool,
    /// Skip datasets whose files are not on this machine; the report lists them
    #[arg(long)]
    skip_missing: bool,
    /// Run only the trials whose description contains TEXT (dataset · label · device · seed)
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run all trials again, including those that have already ended
    #[arg(long)]
    force: bool,
    /// Run all failed and timed-out trials again. Without this flag, only trials that failed for an external reason run
    /// again: a missing or changed file, a signal from outside, no memory, no device
    #[arg(long)]
    retry_failed: bool,
    /// Device to use instead of the experiment's: cpu, cuda or auto
    #[arg(long, value_parser = device)]
    device: Option<DeviceChoice>,
    /// Seed to use instead of the experiment's; repeat the flag for several
    #[arg(long = "seed", value_name = "SEED")]
    seeds: Vec<u64>,
    /// Time limit of one trial instead of the experiment's, such as 10m
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Seconds>,
    /// Who carries out the trials instead of the experiment's choice: here, slurm or tasks
    #[arg(long, value_name = "EXECUTOR", value_parser = ExecutorChoice::named)]
    executor: Option<ExecutorChoice>,
    /// Follow a run whose trials were handed to an executor, from any machine that has its folder: collect what has ended,
    /// submit what is missing, and render the report. Trials that have failed stay as they are
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "files", "out", "dry_run", "fetch", "skip_missing", "filter", "force", "retry_failed", "device", "seeds", "timeout",
        "executor", "cancel", "baseline",
    ])]
    attach: Option<PathBuf>,
    /// Cancel the tasks of a run that wait or run; what has ended is kept
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "files", "out", "dry_run", "fetch", "skip_missing", "filter", "force", "retry_failed", "device", "seeds", "timeout",
        "executor", "no_report", "baseline",
    ])]
    cancel: Option<PathBuf>,
    /// Write no report; `cargo xtask report RUN` renders it later
    #[arg(long)]
    no_report: bool,
    /// Compare the finished run with this run folder, as `cargo xtask compare` does, and exit with its code
    #[arg(long, value_name = "RUN", conflicts_with = "dry_run")]
    baseline: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Comparison with the baseline")]
    gate: Gate,
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "cpu" => Ok(DeviceChoice::Cpu),
        "cuda" => Ok(DeviceChoice::Cuda),
        "auto" => Ok(DeviceChoice::Auto),
        other => Err(format!("unknown device `{other}`; use cpu, cuda or auto")),
    }
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    if arguments.baseline.is_none() && arguments.gate.is_given() {
        let help = "add `--baseline RUN`, or leave the flags of the comparison out";
        return Err(Mistakes::new("there is no baseline to compare with", help));
    }
    if let Some(run) = &arguments.attach {
        return tasks_verb::attach(run, arguments.no_report);
    }
    if let Some(run) = &arguments.cancel {
        return tasks_verb::cancel(run);
    }
    let files = match &arguments.files[..] {
        [] => vec![crate::source_tree().join("experiments/quickstart.yaml")],
        files => files.to_vec(),
    };
    if arguments.baseline.is_some() && files.len() > 1 {
        let help = "run each experiment with a baseline of its own, or compare afterwards with `cargo xtask compare`";
        return Err(Mistakes::new(format!("one baseline for {} experiments", files.len()), help));
    }
    // The baseline is read before hours of work, so that a wrong path shows at once.
    let options = arguments.gate.options()?;
    let baseline = arguments.baseline.as_deref().map(|run| RunFolder::new(run).results()).transpose()?;
    let overrides = Overrides {
        device: arguments.device,
        seeds: arguments.seeds.clone(),
        timeout: arguments.timeout,
        skip_missing: arguments.skip_missing,
        executor: arguments.executor.clone(),
    };
    if arguments.fetch {
        for file in &files {
            fetching::of_experiment(&document(file)?, &here.search)?;
        }
    }
    // Every file is checked before the first runs.
    let mut plans: Vec<(Document, Plan)> = Vec::new();
    for file in &files {
        let (document, plan) = checked(file, &overrides, here)?;
        let name = &plan.experiment.name;
        if plans.iter().any(|(_, other)| &other.experiment.name == name) {
            let message = format!("two of these experiments are called `{name}` and would share a run folder");
            return Err(Mistakes::new(message, "give each a different `name:`"));
        }
        if let Some(text) = &arguments.filter
            && !plan.trials.iter().any(|t| t.matches(text))
        {
            let example = plan.trials.first().map(|t| t.name.as_str()).unwrap_or_default();
            let help = format!("a trial is described like this: {example}; `--dry-run` lists them all");
            return Err(Mistakes::new(format!("no trial of {name} matches `--filter {text}`"), help));
        }
        plans.push((document, plan));
    }
    let mut code = ExitCode::SUCCESS;
    for (document, plan) in plans {
        if arguments.dry_run {
            dry_run(plan, &document, arguments.filter.as_deref())?;
            continue;
        }
        let root = run_folder(&plan, &arguments, files.len() > 1);
        if run_one(document, plan, &root, &arguments, here)? {
            code = ExitCode::from(1);
        }
        if INTERRUPT.load(Ordering::SeqCst) {
            return Ok(ExitCode::from(1));
        }
        if let Some(baseline) = &baseline {
            let judged = arguments.gate.judge(baseline, &RunFolder::new(&root).results()?, &options)?;
            code = if code == ExitCode::SUCCESS { judged } else { code };
        }
    }
    Ok(code)
}

/// The folder of a run: with several experiments, each gets one of its own.
fn run_folder(plan: &Plan, arguments: &Arguments, several: bool) -> PathBuf {
    let name = &plan.experiment.name;
    match &arguments.out {
        Some(out) if several => out.join(name),
        Some(out) => out.clone(),
        None => PathBuf::from("runs").join(name),
    }
}

/// Reads an experiment file, with what it includes.
fn document(file: &Path) -> Result<Document, Mistakes> {
    let shown = file.strip_prefix(crate::source_tree()).unwrap_or(file);
    Ok(include::read(file, &shown.display().to_string())?)
}

/// Reads and checks an experiment file.
pub fn checked(file: &Path, overrides: &Overrides, here: &Surroundings) -> Result<(Document, Plan), Mistakes> {
    let document = document(file)?;
    let root = file.parent().unwrap_or(Path::new("."));
    let plan = Plan::new(&document, root, here, overrides)?;
    Ok((document, plan))
}

fn dry_run(mut plan: Plan, document: &Document, filter: Option<&str>) -> Result<(), Mistakes> {
    let (faults, remarks) = plan.check_values(document);
    if !faults.is_empty() {
        return Err(faults.into());
    }
    say!("experiment {}", plan.experiment.name);
    plan.skipped.iter().for_each(|reason| say!("left out: {reason}"));
    plan.found.iter().for_each(|line| say!("found: {line}"));
    for dataset in &plan.datasets {
        let s = &dataset.resolved.summary;
        let labels = if s.labelled { ", labelled" } else { "" };
        say!(
            "dataset {}: {} train, {} base, {} queries, d={}, {}{labels}",
            s.name,
            s.train,
            s.base,
            s.queries,
            s.dim,
            s.metric
        );
        for (_, remark) in remarks.iter().filter(|(name, _)| *name == s.name) {
            say!("  note: {remark}");
        }
    }
    if let Some(text) = filter {
        plan.filter(text);
    }
    let width = plan.trials.iter().map(|t| t.trial.label.chars().count()).max().unwrap_or(0).max(6);
    say!("\n{:<width$}  {:>8}  {:>9}  {:>5}  {:<8}  estimated", "method", "bits/vec", "bits/dim", "seed", "device");
    for planned in &plan.trials {
        let t = &planned.trial;
        // Outside programs need not say their rate before they have encoded.
        let (bits, of_component) = match t.bits_per_vector {
            0 => ("–".to_owned(), "–".to_owned()),
            bits => (bits.to_string(), format!("{:.3}", bits as f64 / t.dim as f64)),
        };
        let turns = planned.in_turn.as_ref().map(|turn| format!(", in turn with {}", turn.label)).unwrap_or_default();
        say!(
            "{:<width$}  {:>8}  {:>9}  {:>5}  {:<8}  {}  ({}{turns})",
            t.label,
            bits,
            of_component,
            t.seed,
            t.device,
            roughly(planned.estimated_seconds),
            t.dataset
        );
    }
    let total: f64 = plan.trials.iter().map(|t| t.estimated_seconds).sum();
    say!("\n{}, {} in all; nothing was run", trials(plan.trials.len()), roughly(total));
    if let Some(budget) = plan.experiment.budget.filter(|budget| budget.0 < total) {
        say!(
            "the budget of {budget} may not suffice: every method runs with the first seed before any runs with another"
        );
    }
    Ok(())
}

/// Signals that come together are one: `timeout` sends its signal to the process, and then to the group of the process.
const AT_ONCE: Duration = Duration::from_millis(500);

/// Makes Ctrl-C set [`INTERRUPT`]; a second one ends the process at once. Only the first call of a process installs the
/// handler.
pub fn heed_interrupts() {
    let mut first: Option<Instant> = None;
    let _ = ctrlc::set_handler(move || {
        let first = first.get_or_insert_with(Instant::now);
        if INTERRUPT.swap(true, Ordering::SeqCst) && first.elapsed() > AT_ONCE {
            std::process::exit(130);
        }
    });
}

/// How the process of a trial is started: by this program.
pub fn launcher() -> Result<Launcher, Mistakes> {
    let program = std::env::current_exe()
        .map_err(|e| Mistakes::new(format!("cannot find this program: {e}"), "run it by its path"))?;
    Ok(Launcher { program, arguments: vec!["trial".into()] })
}

/// The aims of pairs that a finished run misses, one line each.
fn missed_aims(root: &Path) -> Result<Vec<String>, Mistakes> {
    let run = RunFolder::new(root).results()?;
    Ok(in_turn::missed(&in_turn::compare(&[run], METRICS)?))
}

/// Runs one experiment. Returns whether a trial failed or an aim was missed.
fn run_one(
    document: Document,
    mut plan: Plan,
    root: &Path,
    arguments: &Arguments,
    here: &Surroundings,
) -> Result<bool, Mistakes> {
    let name = plan.experiment.name.clone();
    heed_interrupts();
    let settings = Settings {
        folder: RunFolder::new(root),
        launcher: launcher()?,
        filter: arguments.filter.clone(),
        force: arguments.force,
        retry_failed: arguments.retry_failed,
        interrupt: &INTERRUPT,
        surroundings: here,
        source_tree: crate::source_tree(),
    };
    say_aside!("experiment {name}");
    plan.skipped.iter().for_each(|reason| say_aside!("left out: {reason}"));
    plan.found.iter().for_each(|line| say_aside!("found: {line}"));
    let told = plan.skipped.len();
    let mut progress = Progress::new();
    let outcome = engine::run(&mut plan, &document, &settings, &mut progress);
    progress.finish();
    let outcome = outcome?;
    let formats = if arguments.no_report { None } else { Some(plan.report_formats()) };
    plan.skipped.iter().skip(told).for_each(|reason| say!("left out: {reason}"));
    let again = if arguments.force { Again::WithoutForce } else { Again::Same };
    conclude(&name, &outcome, root, formats.as_deref(), again)
}

/// Which command goes on with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The same one.
    Same,
    /// The same one without `--force`.
    WithoutForce,
    /// That with the experiment: tasks, and who follows them, leave trials alone that have a record.
    Experiment,
}

/// Renders the report of a run that has ended, and says how it ended. Returns whether a trial failed or could not run, or an aim
/// was missed.
pub fn conclude(
    name: &str,
    outcome: &Outcome,
    root: &Path,
    formats: Option<&[String]>,
    again: Again,
) -> Result<bool, Mistakes> {
    // A run that was interrupted before its first trial has no plan to report on.
    let (begun, spent) = (Instant::now(), machine::processor_seconds());
    let is_run = record::is_there(&RunFolder::new(root).run_file());
    let report = match formats.filter(|_| is_run) {
        None => None,
        Some(formats) => Some(crate::report::render(&[root.to_owned()], None, formats)?),
    };
    if let Some((before, after)) = spent.zip(machine::processor_seconds()).filter(|_| report.is_some()) {
        let took = Spent {
            phase: "report".to_owned(),
            seconds: begun.elapsed().as_secs_f64(),
            processor_seconds: after - before,
        };
        say_aside!("the report took {}", took.line());
    }
    let left = if outcome.left > 0 { format!(", {} not run", outcome.left) } else { String::new() };
    say!("{name}: {} succeeded, {} failed{left}", trials(outcome.ok), outcome.failed);
    outcome.remarks.iter().for_each(|remark| say!("{remark}"));
    let command = match again {
        Again::Same => "the same command".to_owned(),
        Again::WithoutForce => "without --force, the same command".to_owned(),
        Again::Experiment => format!("`cargo xtask experiments FILE --out {}`", root.display()),
    };
    if outcome.passing > 0 {
        say!("{} failed for an external reason: {command} runs them again", outcome.passing);
    }
    if outcome.failed > outcome.passing {
        say!(
            "{} failed for a reason of their own: add `--retry-failed` to run them again",
            outcome.failed - outcome.passing
        );
    }
    if outcome.interrupted && outcome.remarks.is_empty() {
        say!("interrupted: {command} continues where this run stopped");
    }
    if let Some(report) = report {
        say!("report: {}", report.display());
    }
    let missed = if !is_run || outcome.interrupted { Vec::new() } else { missed_aims(root)? };
    missed.iter().for_each(|line| say!("aim missed: {line}"));
    Ok(outcome.failed + outcome.unfinished > 0 || outcome.interrupted || !missed.is_empty())
}
