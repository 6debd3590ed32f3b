//! `methods`: what the registry knows of each method.

use crate::errors::Mistakes;
use clap::Args;
use experiments::Fault;
use methods::spec::find;
use methods::strict::variants;
use methods::{METHODS, MethodEntry};
use serde_json::Value;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Show this method with its parameters
    name: Option<String>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    match arguments.name {
        None => {
            let width = METHODS.iter().map(|m| m.name.len()).max().unwrap_or(0);
            for entry in METHODS {
                say!("{:<width$}  {}", entry.name, entry.summary);
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
    out +=
        &format!("paper  {}\nbits   {} (per vector)\ncost   {}\n\nparameters\n", entry.paper, entry.rate, entry.cost);
    let schema = Value::from(entry.params_schema());
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if schema["properties"].is_null() {
        out += &format!("  {}\n", schema["description"].as_str().unwrap_or(""));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let default = match property.get("default") {
            Some(default) => format!("default {}", default.as_str().map_or_else(|| default.to_string(), str::to_owned)),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => "optional".to_owned(),
        };
        out += &format!("  {name} ({}; {default})\n", kind(property));
        for line in property["description"].as_str().unwrap_or("").lines() {
            out += &format!("      {line}\n");
        }
        for (value, meaning) in variants(property) {
            out += &format!("      {value}: {meaning}\n");
        }
    }
    out += &format!("\nin an experiment\n  - {}: {}\n", entry.name, entry.examples[0].replace('"', ""));
    out
}

/// Type and range in words.
fn kind(property: &Value) -> String {
    if !variants(property).is_empty() {
        return "one of those below".into();
    }
    let base = match property["type"].as_str() {
        Some("integer") => "whole number",
        Some("number") => "number",
        Some("boolean") => "true or false",
        Some("array") => "list",
        _ => "text",
    };
    let bound = |name: &str| property.get(name).map(plain);
    match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{base}, {low} to {high}"),
        (Some(low), None) => format!("{base} from {low}"),
        _ => base.into(),
    }
}

/// Whole numbers without a decimal point.
fn plain(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |v| v.to_string())
}
