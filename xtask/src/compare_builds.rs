//! `compare-builds`: runs an experiment with two builds of this program in turn, and tells whether the new one is worse.

use crate::compare::Gate;
use crate::errors::Mistakes;
use crate::experiments_verb::{INTERRUPT, checked, heed_interrupts};
use crate::progress::roughly;
use clap::Args;
use experiments::{ExecutorChoice, Overrides, Plan, Surroundings};
use record::{Results, RunFolder, Trial, id_of};
use reports::compare::{Builds, Check, suspect};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Instant, UNIX_EPOCH};

#[derive(Args)]
#[command(
    after_help = "BASE is the executable of the other build, such as target/release/xtask of a checkout of the main branch. Every trial runs \
three times before the next one: with the base, with the new build, and with the base again, in changing order. What the base differs from \
itself is the noise. Methods that seem slower run twice more; a loss of speed is a regression if these runs show it too and it is larger \
than the tolerance. Quality is compared exactly, as by `cargo xtask compare`.

Five seeds find a slowdown of 10% in every timing of a method if processes differ by 3%; METHODOLOGY.md has the figures.

Example, in a checkout of the new revision:
  git worktree add ../base main
  cargo build --release -p xtask --manifest-path ../base/Cargo.toml --target-dir ../base/target
  cargo xtask compare-builds ../base/target/release/xtask

Exit codes: 0 no regression, 1 regression, 2 undecided, or the request is wrong."
)]
pub struct Arguments {
    /// Executable of the baseline build
    base: PathBuf,
    /// Experiment file; it must measure `throughput` [default: experiments/gate.yaml]
    experiment: Option<PathBuf>,
    /// Executable of the new build [default: this one]
    #[arg(long, value_name = "PATH")]
    new: Option<PathBuf>,
    /// Folder of the runs: each pair of builds gets a folder below it, where an interrupted comparison continues
    #[arg(long, value_name = "DIR", default_value = "runs/compare-builds")]
    out: PathBuf,
    /// Run only the trials whose description contains TEXT (dataset · label · device · seed)
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Seed to use instead of the experiment's; repeat the flag for several
    #[arg(long = "seed", value_name = "SEED")]
    seeds: Vec<u64>,
    #[command(flatten)]
    gate: Gate,
}

/// Fewer seeds than this hardly find a slowdown of 10%.
const FEW_SEEDS: usize = 3;

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    let options = arguments.gate.options()?;
    let file = arguments.experiment.unwrap_or_else(|| crate::source_tree().join("experiments/gate.yaml"));
    let overrides =
        Overrides { seeds: arguments.seeds.clone(), executor: Some(ExecutorChoice::Here), ..Overrides::default() };
    let (_, mut plan) = checked(&file, &overrides, here)?;
    if options.speed && !plan.timed() {
        let help = "add `throughput: {}` to its `measure`, or compare quality alone with `--quality-only`";
        return Err(Mistakes::new(format!("{} measures no speed", plan.experiment.name), help));
    }
    if let Some(text) = &arguments.filter {
        plan.filter(text);
        if plan.trials.is_empty() {
            let help = "`cargo xtask experiments FILE --dry-run` lists all trials";
            return Err(Mistakes::new(format!("no trial matches `--filter {text}`"), help));
        }
    }
    let seeds: BTreeSet<u64> = plan.trials.iter().map(|planned| planned.trial.seed).collect();
    if options.speed && seeds.len() < FEW_SEEDS {
        say_aside!("note: with {} seeds, hardly any loss of speed can be seen; use five", seeds.len());
    }
    let this = std::env::current_exe()
        .map_err(|e| Mistakes::new(format!("cannot find this program: {e}"), "name it with `--new`"))?;
    let builds = Executables { base: arguments.base, new: arguments.new.unwrap_or(this), file, seeds: arguments.seeds };
    [&builds.base, &builds.new].into_iter().try_for_each(|program| can_run(program))?;
    heed_interrupts();

    let out = arguments.out.join(builds.identity(&plan)?);
    say_aside!("runs: {}", out.display());
    let first = builds.run(&plan, &out, &|_| true)?;
    let suspicions = suspect(&first.builds(), &options)?;
    let rounds = again(&builds, &plan, &out, &suspicions.suspected().collect::<Vec<_>>())?;
    let further: Vec<Builds<'_>> = rounds.iter().map(Runs::builds).collect();
    arguments.gate.conclude(&suspicions.confirm(&further, &options)?)
}

/// Number of times that suspected methods run again.
const ROUNDS: usize = 2;

/// Runs the suspected methods again, if there are any.
fn again(builds: &Executables, plan: &Plan, out: &Path, suspected: &[&Check]) -> Result<Vec<Runs>, Mistakes> {
    if suspected.is_empty() {
        return Ok(vec![]);
    }
    let subjects: BTreeSet<&str> = suspected.iter().map(|check| check.subject.as_str()).collect();
    say_aside!("seems slower, and runs again: {}", subjects.into_iter().collect::<Vec<_>>().join("; "));
    let wanted = |trial: &Trial| {
        let of = (&trial.dataset, &trial.label, &trial.device, trial.threads);
        suspected.iter().any(|check| of == (&check.dataset, &check.label, &check.device, check.threads))
    };
    (1..=ROUNDS).map(|round| builds.run(plan, &out.join(format!("again-{round}")), &wanted)).collect()
}

/// Both builds, and what they run.
struct Executables {
    base: PathBuf,
    new: PathBuf,
    file: PathBuf,
    seeds: Vec<u64>,
}

/// The results of three runs.
struct Runs {
    base: Results,
    again: Results,
    new: Results,
}

impl Runs {
    fn builds(&self) -> Builds<'_> {
        Builds { base: &self.base, again: &self.again, new: &self.new }
    }
}

impl Executables {
    /// Identifies both executables and what they run. The trials of one folder are those of one comparison: those of an
    /// earlier build would not have run in turn with these.
    fn identity(&self, plan: &Plan) -> Result<String, Mistakes> {
        let built = |program: &Path| {
            let found = program.canonicalize().and_then(|path| Ok((path.metadata()?, path)));
            let (metadata, path) = found.map_err(|error| cannot_start(program, &error))?;
            let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            Ok::<_, Mistakes>(json!([path, metadata.len(), changed.map(|since| since.as_nanos().to_string())]))
        };
        let trials: Vec<String> = plan.trials.iter().map(|planned| planned.name.clone()).collect();
        Ok(id_of(&json!([built(&self.base)?, built(&self.new)?, plan.experiment, trials])))
    }

    /// Runs the wanted trials with the base, the new build and the base again, in changing order, below `out`.
    fn run(&self, plan: &Plan, out: &Path, wanted: &dyn Fn(&Trial) -> bool) -> Result<Runs, Mistakes> {
        let sides = [("base", &self.base), ("new", &self.new), ("base-again", &self.base)];
        let trials = plan.trials.iter().filter(|planned| wanted(&planned.trial));
        let trials: Vec<&str> = trials.map(|planned| planned.name.as_str()).collect();
        let begun = Instant::now();
        for (number, description) in trials.iter().enumerate() {
            for turn in 0..sides.len() {
                let (name, program) = sides[(number + turn) % sides.len()];
                self.trial(program, &out.join(name), description)?;
                if INTERRUPT.load(Ordering::SeqCst) {
                    let help = "the same command continues where this one stopped";
                    return Err(Mistakes::new("interrupted", help));
                }
            }
            let done = number + 1;
            let left = begun.elapsed().as_secs_f64() * (trials.len() - done) as f64 / done as f64;
            let left = if done < trials.len() { format!(" ({} left)", roughly(left)) } else { String::new() };
            say_aside!("[{done}/{}] {description}{left}", trials.len());
        }
        let results = |name: &str| RunFolder::new(out.join(name)).results();
        Ok(Runs { base: results("base")?, again: results("base-again")?, new: results("new")? })
    }

    /// Runs one trial with one build. A trial that fails leaves a record that says so.
    fn trial(&self, program: &Path, out: &Path, description: &str) -> Result<(), Mistakes> {
        let mut command = Command::new(program);
        command.arg("experiments").arg(&self.file).arg("--out").arg(out).args(["--no-report", "--filter", description]);
        command.args(self.seeds.iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
        let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_start(program, &error))?;
        // 1 says that a trial failed or that the run was interrupted.
        if matches!(output.status.code(), Some(0 | 1)) || INTERRUPT.load(Ordering::SeqCst) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let message = format!("{} could not run `{description}`: {}", program.display(), text.trim());
        Err(Mistakes::new(message, "both builds must accept this experiment file"))
    }
}

fn cannot_start(program: &Path, error: &std::io::Error) -> Mistakes {
    let help = "name the executable of a build, such as target/release/xtask";
    Mistakes::new(format!("{} could not be started: {error}", program.display()), help)
}

/// Refuses what is not a build of this program that can run single trials.
fn can_run(program: &Path) -> Result<(), Mistakes> {
    let output = Command::new(program).args(["experiments", "--help"]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| cannot_start(program, &error))?;
    if String::from_utf8_lossy(&output.stdout).contains("--no-report") {
        return Ok(());
    }
    let message =
        format!("{} cannot run single trials: its verb `experiments` has no `--no-report`", program.display());
    Err(Mistakes::new(message, "name the executable of a build of vqbench that is not older than this verb"))
}
