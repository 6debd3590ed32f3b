//! `cargo xtask`: the command line of vqbench. One file per verb; the work is done in the libraries.

#[macro_use]
mod say;

mod adapters;
mod advise;
mod ci;
mod compare;
mod compare_builds;
mod completions;
mod datasets_verb;
mod decode;
mod encode;
mod environment;
mod errors;
mod experiments_verb;
mod fetching;
mod fit;
mod fuzz;
mod gpu_check;
mod methods_verb;
mod metrics_verb;
mod model_file;
mod progress;
mod prove;
mod query;
mod report;
mod rerun;
mod schema;
mod site_verb;
mod submit;
mod tasks_verb;
mod test;
mod verify;

use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// Benchmark vector quantizers at equal rate: distortion, codebook usage, recall and speed, with reports.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 a trial failed or is left, an aim was missed or a gate tripped, 2 the request is wrong, 130 interrupted twice.
Datasets of the catalog are searched for among the embedded ones, in the folders of VQBENCH_DATA, and where `datasets fetch` puts them.
VQBENCH_ISA forces an instruction set: avx512vnni, avx512, avx2, neondot, neon or portable.";

#[derive(Subcommand)]
enum Verb {
    /// Run experiments and render their reports
    Experiments(Box<experiments_verb::Arguments>),
    /// Say which code to use for vectors, within limits on bytes, recall and time: exit code 1 if no code meets them
    Advise(advise::Arguments),
    /// Render the report of a run again, or one report of several runs, or verify a report
    Report(report::Arguments),
    /// Run one trial again from its record: exit code 0 equal, 1 different, 2 it cannot run here
    Rerun(rerun::Arguments),
    /// Make a submission from a run, for others to verify
    Submit(submit::Arguments),
    /// Check a submission and run a random sample of its trials again: exit code 0 verified, 1 something differs, 2 it cannot
    /// run here
    Verify(verify::Arguments),
    /// Make a static site of submissions
    Site(site_verb::Arguments),
    /// Compare two runs: exit code 0 no regression, 1 regression, 2 undecided
    Compare(compare::Arguments),
    /// Compare two builds of this program, trial by trial in turn: exit code 0 no regression, 1 regression, 2 undecided
    CompareBuilds(compare_builds::Arguments),
    /// Query the tables of runs with SQL
    Query(query::Arguments),
    /// Check the CUDA kernels on the GPU of this machine, and time them: exit code 0 all correct, 2 no GPU
    GpuCheck(gpu_check::Arguments),
    /// Check whether a method or an outside program is right: exit code 0 all checks pass, 1 something is wrong, 2 it cannot run
    Prove(prove::Arguments),
    /// List, fetch and remove public datasets; show what vectors are like, convert them, write exact neighbours
    Datasets(datasets_verb::Arguments),
    /// List the methods, or show one: parameters, defaults, rate, cost, paper
    Methods(methods_verb::Arguments),
    /// List, install, check and remove the adapters that are shipped: libraries of others as methods
    Adapters(adapters::Arguments),
    /// List the metrics: unit, direction, range, meaning
    Metrics(metrics_verb::Arguments),
    /// Train a quantizer on a file of vectors, or on the training rows of a dataset, and save it
    Fit(fit::Arguments),
    /// Encode a file of vectors with a saved quantizer
    Encode(encode::Arguments),
    /// Decode a file of codes with a saved quantizer
    Decode(decode::Arguments),
    /// Write the JSON schema of experiment files, the reference of their keys and the list of metrics
    Schema(schema::Arguments),
    /// Run all tests
    Test(test::Arguments),
    /// Run the checks of continuous integration
    Ci(ci::Arguments),
    /// Try mutated input on everything that reads input from outside: exit code 1 if something failed
    Fuzz(fuzz::Arguments),
    /// Print shell completions
    Completions(completions::Arguments),
    /// Prepare a dataset of a run (started by a scheduler)
    Prepare(tasks_verb::PrepareArguments),
    /// Run some trials of a run (started by a scheduler): exit code 0 if all of them have a record, 1 if not
    Trials(tasks_verb::TrialsArguments),
    /// Save a run and render its report (started by a scheduler)
    Finish(tasks_verb::FinishArguments),
    /// Run one trial, requested on standard input (started by `experiments`)
    #[command(hide = true)]
    Trial,
    /// Become an outside program that answers on a descriptor of its own (started by trials)
    #[command(hide = true)]
    Adapter {
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let surroundings = match environment::read() {
        Ok(surroundings) => surroundings,
        Err(mistakes) => {
            mistakes.print();
            return ExitCode::from(2);
        }
    };
    let here = &surroundings;
    // Others have exit codes of their own for what is undecided.
    let continues = matches!(
        arguments.verb,
        Verb::Experiments(_) | Verb::Datasets(_) | Verb::Prepare(_) | Verb::Trials(_) | Verb::Finish(_)
    );
    let result = match arguments.verb {
        Verb::Experiments(arguments) => experiments_verb::run(*arguments, here),
        Verb::Advise(arguments) => advise::run(arguments, here),
        Verb::Report(arguments) => report::run(arguments),
        Verb::Rerun(arguments) => rerun::run(arguments, here),
        Verb::Submit(arguments) => submit::run(arguments),
        Verb::Verify(arguments) => verify::run(arguments, here),
        Verb::Site(arguments) => site_verb::run(arguments),
        Verb::Compare(arguments) => compare::run(arguments),
        Verb::CompareBuilds(arguments) => compare_builds::run(arguments, here),
        Verb::Query(arguments) => query::run(arguments),
        Verb::GpuCheck(arguments) => gpu_check::run(arguments, here),
        Verb::Prove(arguments) => prove::run(arguments, here),
        Verb::Datasets(arguments) => datasets_verb::run(arguments, here),
        Verb::Methods(arguments) => methods_verb::run(arguments),
        Verb::Adapters(arguments) => adapters::run(&arguments, here),
        Verb::Metrics(arguments) => metrics_verb::run(arguments),
        Verb::Fit(arguments) => fit::run(arguments, here),
        Verb::Encode(arguments) => encode::run(arguments, here),
        Verb::Decode(arguments) => decode::run(arguments, here),
        Verb::Schema(arguments) => schema::run(arguments),
        Verb::Test(arguments) => test::run(arguments),
        Verb::Ci(arguments) => ci::run(arguments),
        Verb::Fuzz(arguments) => fuzz::run(arguments),
        Verb::Completions(arguments) => completions::run(&arguments, &mut Arguments::command()),
        #[cfg(unix)]
        Verb::Adapter { command } => {
            let error = ::adapters::become_adapter(&command);
            say_aside!("cannot run `{}`: {error}", command.first().map_or("", String::as_str));
            Ok(ExitCode::from(127))
        }
        #[cfg(not(unix))]
        Verb::Adapter { .. } => Ok(ExitCode::from(127)),
        Verb::Prepare(arguments) => tasks_verb::prepare(arguments, here),
        Verb::Trials(arguments) => tasks_verb::run_trials(arguments, here),
        Verb::Finish(arguments) => tasks_verb::finish(arguments),
        Verb::Trial => match experiments::trial::run(std::io::stdin(), std::io::stdout(), here) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(_) => Ok(ExitCode::FAILURE),
        },
    };
    result.unwrap_or_else(|mistakes| {
        mistakes.print();
        // An interrupted request is not a wrong one.
        ExitCode::from(if continues && experiments_verb::INTERRUPT.load(Ordering::SeqCst) { 1 } else { 2 })
    })
}

/// Root of the source tree, for the verbs that need it. Runs go below the current folder.
fn source_tree() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}
