//! `prove`: whether a method of ours, or an outside program, is right.

mod tidy;

use crate::errors::Mistakes;
use crate::fit::read_method;
use ::prove::{Options, Outcome, Outside, Own, ProveError, Report, Subject, Verdict, prove};
use clap::Args;
use experiments::{Document, Surroundings};
use indicatif::{ProgressBar, ProgressStyle};
use methods::Method;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Args)]
#[command(after_help = "METHOD is written as in the list `methods` of an experiment, or as a FAISS factory string:
  cargo xtask prove 'pq: { m: 8, bits: 8 }'
  cargo xtask prove OPQ8,PQ8x8 --dim 64
An adapter that is shipped:
  cargo xtask prove 'faiss: { codec: PQ4x8 }'
An outside program that speaks the protocol of docs/adapters.md:
  cargo xtask prove --params '{ bits: 4 }' --like 'rabitq: { bits: 4 }' -- python3 my_adapter.py
Exit codes: 0 every check passed or was skipped, 1 a check failed, 2 nothing could be checked.")]
pub struct Arguments {
    /// Method with its parameters
    #[arg(required_unless_present = "command", conflicts_with = "command")]
    method: Option<String>,
    /// Parameters of the program, as JSON or YAML
    #[arg(long, value_name = "PARAMS", requires = "command")]
    params: Option<String>,
    /// Our own method of the same codec. The program must be as good, within the tolerance [default: the method that a FAISS
    /// factory string among the parameters names]
    #[arg(long, value_name = "METHOD")]
    like: Option<String>,
    /// Components of the vectors of most checks [default: the first of 16, 24, 12, 32, 64, … that it takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    dim: Option<u32>,
    /// Seed from which all data follow
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1 << 40))]
    seed: u64,
    /// By which share the distortion may exceed that of our own method
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = share)]
    tolerance: f64,
    /// Name of a check to run, as the result shows it; may be given several times [default: all]
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// File to write the result to as JUnit XML, for CI services
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// File to write the result to as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=10.0).contains(share));
    share.ok_or_else(|| "a share between 0 and 10 is needed, such as 0.05".to_owned())
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let like = arguments.like.as_deref().map(|text| read_method(text).map(Own)).transpose()?;
    let (subject, like) = subject(&arguments, like, here)?;
    let options = Options {
        dim: arguments.dim.map(|dim| dim as usize),
        seed: arguments.seed,
        tolerance: arguments.tolerance,
        only: arguments.only.clone(),
        ..Options::default()
    };
    // Laws say by a panic that they are broken; what they say is in the result.
    std::panic::set_hook(Box::new(|_| {}));
    let mut progress = Progress::new();
    let like = like.as_ref().map(|like| like as &dyn Subject);
    let proven = prove(&*subject, like, &options, &mut |outcome, all| progress.tell(outcome, all));
    progress.finish();
    let _ = std::panic::take_hook();
    let report = proven.map_err(|error| {
        let ProveError::Untrained(_) = &error;
        Mistakes::new(error.to_string(), "choose a dimension that it takes with `--dim`")
    })?;
    for (path, text) in [(&arguments.junit, tidy::junit(&report)), (&arguments.markdown, tidy::markdown(&report))] {
        if let Some(path) = path {
            write(path, &text)?;
        }
    }
    print(&report);
    Ok(ExitCode::from(u8::from(report.counts().1 > 0)))
}

fn write(path: &Path, text: &str) -> Result<(), Mistakes> {
    std::fs::write(path, text).map_err(|error| {
        Mistakes::new(format!("{} cannot be written: {error}", path.display()), "choose another file or folder")
    })
}

/// What is to be proven, and what it is compared with.
fn subject(
    arguments: &Arguments,
    like: Option<Own>,
    here: &Surroundings,
) -> Result<(Box<dyn Subject>, Option<Own>), Mistakes> {
    let (command, params) = match &arguments.method {
        None => {
            let text = arguments.params.as_deref().unwrap_or("{}");
            let params = Document::parse("--params", text)?.value().clone();
            if !params.is_object() {
                return Err(Mistakes::new("`--params` must be a mapping", "write --params '{ bits: 4 }'"));
            }
            (arguments.command.clone(), params)
        }
        Some(text) => match shipped(text, here)? {
            Some(program) => program,
            None => {
                let method = read_method(text)?;
                match of_program(&*method) {
                    Some(program) => program,
                    None => return Ok((Box::new(Own(method)), like)),
                }
            }
        },
    };
    let like = like.or_else(|| like_of(&params));
    let program = Outside::new(here.programs.clone(), command, params).map_err(|error| {
        Mistakes::new(
            error.to_string(),
            "run the command by hand to see what it says; docs/adapters.md tells what it must answer",
        )
    })?;
    Ok((Box::new(program), like))
}

/// Command and parameters of an adapter that is shipped, whose environment is made if it is not there.
fn shipped(text: &str, here: &Surroundings) -> Result<Option<(Vec<String>, Value)>, Mistakes> {
    let document = Document::parse("METHOD", text)?;
    let entry = document.value().as_object().filter(|entry| entry.len() == 1).and_then(|entry| entry.iter().next());
    let (name, params) = match (entry, document.value()) {
        (Some((name, params)), _) => (name.as_str(), params.clone()),
        (None, Value::String(name)) => (name.trim(), json!({})),
        _ => return Ok(None),
    };
    let Some(adapter) = ::adapters::find(name) else { return Ok(None) };
    let params = (adapter.parse)(params)?;
    if let Some(reason) = adapter.refusal() {
        return Err(Mistakes::new(format!("{name} does not run here: {reason}"), "prove it on another machine"));
    }
    let host = &here.programs;
    let cache = host.environments.as_deref().ok_or_else(|| {
        Mistakes::new("there is no folder for Python environments", "set XDG_CACHE_HOME or HOME to a full path")
    })?;
    let mut told = |words: &str| say_aside!("{name}: {words}");
    let command = ::adapters::Environment::ready(adapter, &host.python, cache, &mut told)?;
    Ok(Some((command, params)))
}

/// Command and parameters of a method that is an outside program.
fn of_program(method: &dyn Method) -> Option<(Vec<String>, Value)> {
    let params = method.params();
    let command = params["command"].as_array().filter(|_| method.is_program())?;
    let command = command.iter().filter_map(|part| part.as_str().map(str::to_owned)).collect();
    Some((command, params["params"].clone()))
}

/// Our own method of the same codec, if a parameter is a FAISS factory string.
fn like_of(params: &Value) -> Option<Own> {
    let texts = params.as_object()?.values().filter_map(Value::as_str);
    let method = texts
        .filter(|text| text.contains(|c: char| c.is_ascii_uppercase()))
        .find_map(|text| methods::parse_text(text).ok())?;
    let mut params = method.params();
    if params["levels"] != "uniform" {
        return Some(Own(method));
    }
    // Libraries span the range of each component; ours fits the span to the least error.
    params["scope"] = json!("dimension");
    params["range"] = json!("minmax");
    methods::parse(method.name(), params).ok().map(Own)
}

/// What the terminal shows at the end: failures in full, the others by name.
fn print(report: &Report) {
    for (outcome, failure) in report.failures() {
        say_foreign!("FAILED  {}: {}", outcome.name, outcome.question);
        say_foreign!("  did       {}", failure.did);
        say_foreign!("  expected  {}", failure.expected);
        say_foreign!("  came      {}", failure.came);
        if !failure.reproduce.is_empty() {
            say_foreign!("  rows      {}", failure.reproduce);
        }
        say!("");
    }
    // Many have one reason.
    let mut skipped: Vec<(&str, Vec<&str>)> = Vec::new();
    for outcome in &report.outcomes {
        let Verdict::Skipped(why) = &outcome.verdict else { continue };
        match skipped.iter_mut().find(|(reason, _)| reason == why) {
            Some((_, names)) => names.push(&outcome.name),
            None => skipped.push((why, vec![&outcome.name])),
        }
    }
    for (why, names) in skipped {
        say_foreign!("skipped  {why}: {}", names.join("; "));
    }
    say_foreign!("{}", report.headline());
}

/// Interval of progress lines without a terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Shows which check runs.
struct Progress {
    bar: Option<ProgressBar>,
    done: usize,
    told: Instant,
}

impl Progress {
    fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {wide_msg}");
            ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Progress { bar, done: 0, told: Instant::now() }
    }

    fn tell(&mut self, outcome: &Outcome, all: usize) {
        self.done += 1;
        let failed = matches!(outcome.verdict, Verdict::Failed(_));
        let line = format!("FAILED  {}", outcome.name);
        match &self.bar {
            Some(bar) => {
                bar.set_length(all as u64);
                bar.set_position(self.done as u64);
                bar.set_message(format!("{}: {}", outcome.group, outcome.name));
                if failed {
                    bar.suspend(|| say_foreign_aside!("{line}"));
                }
            }
            None if failed => say_foreign_aside!("{line}"),
            None if self.told.elapsed() >= BETWEEN_LINES => {
                say_aside!("{} of {all} checks", self.done);
                self.told = Instant::now();
            }
            None => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
