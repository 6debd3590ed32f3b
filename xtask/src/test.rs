//! `test`: all tests of the workspace, built with the profile that experiments are built with.

use crate::errors::Mistakes;
use clap::Args;
use std::process::{Command, ExitCode, Output};

#[derive(Args)]
pub struct Arguments {
    /// Arguments for `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let mut command = vec!["test".to_owned(), "--workspace".to_owned(), "--release".to_owned()];
    command.extend(arguments.rest);
    Ok(if cargo(&command)? { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Runs cargo in the source tree. Returns whether it succeeded.
pub fn cargo(arguments: &[String]) -> Result<bool, Mistakes> {
    cargo_with(arguments, &[])
}

/// Runs cargo in the source tree with additional environment variables. Returns whether it succeeded.
pub fn cargo_with(arguments: &[String], variables: &[(&str, &str)]) -> Result<bool, Mistakes> {
    command(arguments, variables).status().map(|status| status.success()).map_err(not_started)
}

/// The same, but captures the output.
pub fn cargo_output(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output, Mistakes> {
    let arguments: Vec<String> = arguments.iter().map(|&a| a.to_owned()).collect();
    command(&arguments, variables).output().map_err(not_started)
}

fn command(arguments: &[String], variables: &[(&str, &str)]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(crate::source_tree()).envs(variables.iter().copied());
    command
}

fn not_started(error: std::io::Error) -> Mistakes {
    Mistakes::new(format!("cargo could not be started: {error}"), "run this through `cargo xtask`")
}
