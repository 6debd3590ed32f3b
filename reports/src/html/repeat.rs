//! The experiment that repeats one trial of a run, as YAML in parts: what all trials of a run share, and what each adds.
//! The page joins the parts, so that it need not hold the whole text of every trial.

use crate::yaml::{flow, scalar};
use record::{Results, Trial};
use serde::Serialize;
use serde_json::Value;

/// The parts of the text that all trials of a run share. Between them stand seed, device, threads, dataset and method.
#[derive(Debug, Serialize)]
pub struct Frame {
    /// Up to the limits.
    head: String,
    /// What is measured.
    tail: String,
    /// The entry of each dataset, by name.
    datasets: Vec<(String, String)>,
}

/// The longest name of an experiment that the name of a repeat is made from.
const MOST_NAME: usize = 80;

impl Frame {
    /// None if the run is not of an experiment: other commands write runs too.
    pub fn new(run: &Results) -> Option<Frame> {
        let experiment = &run.info.experiment;
        let written = experiment["datasets"].as_array()?;
        let named = |name: &str| -> Vec<&Value> {
            let at = run.info.datasets.iter().position(|facts| facts.name == name);
            // A run may have left out datasets whose files were missing.
            let complete = written.len() == run.info.datasets.len();
            let own = at.filter(|_| complete).and_then(|at| written.get(at));
            let of_catalog = || written.iter().find(|entry| entry.as_str() == Some(name));
            own.or_else(of_catalog).map_or_else(|| written.iter().collect(), |entry| vec![entry])
        };
        let entry = |facts: &record::DatasetFacts| {
            let lines = named(&facts.name).into_iter().map(|entry| format!("  - {}\n", flow(entry)));
            (facts.name.clone(), format!("datasets:\n{}", lines.collect::<String>()))
        };
        let name: String = run.info.name.chars().take(MOST_NAME).collect();
        let limits = ["timeout", "memory"].into_iter().filter(|key| !experiment[*key].is_null());
        let limits: String = limits.map(|key| format!("{key}: {}\n", flow(&experiment[key]))).collect();
        let measures = experiment["measure"].as_object().into_iter().flatten();
        let measures: String = measures.map(|(name, settings)| format!("  {name}: {}\n", flow(settings))).collect();
        Some(Frame {
            head: format!("name: {}\n{limits}", scalar(&format!("{name}-trial"))),
            tail: if measures.is_empty() { String::new() } else { format!("measure:\n{measures}") },
            datasets: run.info.datasets.iter().map(entry).collect(),
        })
    }
}

/// The entry of a trial's method.
pub fn method(trial: &Trial) -> String {
    // Braces in a label stand for parameters.
    let label = (!trial.label.contains(['{', '}'])).then(|| format!("    label: {}\n", scalar(&trial.label)));
    format!("methods:\n  - {}: {}\n{}", scalar(&trial.method), flow(&trial.params), label.unwrap_or_default())
}
