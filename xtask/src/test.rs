//! `test`: all tests of the workspace, built with the profile that experiments are built with.

use crate::environment;
use crate::errors::Mistakes;
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Arguments for `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let mut command = vec!["test".to_owned(), "--workspace".to_owned(), "--release".to_owned()];
    command.extend(arguments.rest);
    let succeeded = environment::repository(vec![], Vec::new).cargo(&command, &[])?;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
