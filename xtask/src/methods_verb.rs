//! `methods`: lists the methods, or shows everything the registry knows about one.

use crate::errors::Mistakes;
use clap::Args;
use experiments::Fault;
use experiments::reference::{keys, to_text};
use methods::MethodEntry;
use methods::registry::{Family, entries, find};
use serde_json::Value;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Name of a method to show with its parameters
    name: Option<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    match arguments.name {
        None => {
            let width = entries().map(|m| m.name.len()).max().unwrap_or(0);
            let room = entries().filter_map(|m| m.family).map(|f| f.name().len()).max().unwrap_or(0);
            for entry in entries() {
                let family = entry.family.map_or("", Family::name);
                say!("{:<width$}  {family:<room$}  {}", entry.name, entry.summary);
            }
            say!("\nfamilies");
            for family in Family::ALL {
                say!("  {:<room$}  {}", family.name(), family.meaning());
            }
            say!("\n`cargo xtask methods NAME` shows parameters, defaults, rate, cost and paper");
        }
        Some(name) => {
            let entry =
                find(&name).map_err(|e| Mistakes::from(Fault::new(e.message.clone(), e.help.unwrap_or_default())))?;
            say!("{}", describe(entry).trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything known of a method, as text.
fn describe(entry: &MethodEntry) -> String {
    let mut out = format!("{}\n{}\n\n", entry.name, entry.summary);
    if let Some(family) = entry.family {
        out += &format!("family {}: {}\n", family.name(), family.meaning());
    }
    out +=
        &format!("paper  {}\nbits   {} (per vector)\ncost   {}\n\nparameters\n", entry.paper, entry.rate, entry.cost);
    let schema = Value::from(entry.params_schema());
    if schema["properties"].is_null() {
        out += &format!("  {}\n", schema["description"].as_str().unwrap_or(""));
    }
    out += &to_text(&keys(&schema), 1);
    out += &format!("\nin an experiment\n  - {}: {}\n", entry.name, entry.examples[0].replace('"', ""));
    out
}
