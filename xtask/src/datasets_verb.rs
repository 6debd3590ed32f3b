//! `datasets`: one file per action.

mod about;
mod convert;
mod fetch;
mod list;
mod prune;
mod show;
mod truth;

use crate::errors::Mistakes;
use clap::{Args, Subcommand};
use experiments::Surroundings;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// List the datasets of the catalog, and say which are on this machine or can be fetched (the default)
    List,
    /// Show what the vectors of a dataset or a file are like; of a dataset, its files, digests, addresses, source, licence and
    /// split too
    Show(show::Show),
    /// Fetch public datasets of the catalog
    Fetch(fetch::Arguments),
    /// Show what was fetched, and remove some or all of it
    Prune(prune::Arguments),
    /// Write the vectors of a file in another format
    Convert(convert::Arguments),
    /// Compute the exact nearest neighbours of queries, and write them to a file
    Truth(truth::Arguments),
}

pub fn run(arguments: Arguments, here: &Surroundings) -> Result<ExitCode, Mistakes> {
    match arguments.action.unwrap_or(Action::List) {
        Action::List => list::run(&here.search),
        Action::Show(show) => show::run(&show, here)?,
        Action::Fetch(arguments) => fetch::run(&arguments, &here.search)?,
        Action::Prune(arguments) => prune::run(&arguments)?,
        Action::Convert(arguments) => return convert::run(arguments),
        Action::Truth(arguments) => return truth::run(&arguments, here),
    }
    Ok(ExitCode::SUCCESS)
}
