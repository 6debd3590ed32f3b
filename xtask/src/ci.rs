//! `ci`: the checks of continuous integration other than tests, cheapest first. All of them run before it decides.

use crate::environment;
use crate::errors::Mistakes;
use crate::schema;
use clap::Args;
use cpu::Isa;
use invariants::{CheckSummary, INVARIANTS, left_out};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Run only the checks whose name contains TEXT, such as CUDA
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let repository = environment::repository(methods::METHODS.iter().map(|entry| entry.name).collect(), schema::stale);
    let mut checks = Vec::new();
    for invariant in INVARIANTS.iter().filter(|invariant| invariant.name.contains(&arguments.only)) {
        say_aside!("checking: {}", invariant.name);
        checks.push((invariant.name, invariant.check(&repository)?));
    }
    let sets: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
    let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
    let machine = format!("{system} {processor} with the instruction sets {}", sets.join(", "));
    let left_out = left_out(&repository.compiler, environment::has_data());
    let summary = CheckSummary { machine, checks, left_out };
    say!("{}", summary.text());
    if let Some(path) = environment::step_summary() {
        let unwritten = |e| {
            Mistakes::new(
                format!("cannot write the summary of the workflow's step: {e}"),
                "check the path in GITHUB_STEP_SUMMARY",
            )
        };
        summary.append_to(&path).map_err(unwritten)?;
    }
    Ok(ExitCode::from(u8::from(summary.has_failed())))
}
