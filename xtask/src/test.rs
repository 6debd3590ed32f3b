//! `test`: all tests of the workspace, built with the profile that experiments are built with.

use crate::errors::Mistakes;
use clap::Args;
use std::process::{Command, ExitCode};

#[derive(Args)]
pub struct Arguments {
    /// Passed on to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let mut command = vec!["test".to_owned(), "--workspace".to_owned(), "--release".to_owned()];
    command.extend(arguments.rest);
    Ok(if cargo(&command)? { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Runs cargo in the source tree; tells whether it succeeded.
pub fn cargo(arguments: &[String]) -> Result<bool, Mistakes> {
    cargo_with(arguments, &[])
}

/// Runs cargo in the source tree with environment variables of its own; tells whether it succeeded.
pub fn cargo_with(arguments: &[String], variables: &[(&str, &str)]) -> Result<bool, Mistakes> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(crate::source_tree()).envs(variables.iter().copied());
    let status = command.status();
    status
        .map(|status| status.success())
        .map_err(|e| Mistakes::new(format!("cargo could not be started: {e}"), "run this through `cargo xtask`"))
}
