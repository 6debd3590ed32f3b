//! The run as it is saved: the plan before its trials have ended, and what has ended since.

use super::SavedPlan;
use crate::document::to_yaml;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::preparation::PreparationJob;
use record::{
    DatasetFacts, FOUND, Machine, PAIRED, RecordError, RunFolder, RunInfo, SCHEMA, Status, Trial, TrialRecord,
    is_there, write_atomically,
};
use serde_json::json;
use std::collections::HashMap;

/// Saves the run with the rates that have been measured, and counts its trials. Without the facts of all datasets there is
/// no run yet.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn conclude(folder: &RunFolder, saved: &mut SavedPlan) -> Result<Outcome, RecordError> {
    let before = is_there(&folder.run_file()).then(|| saved.info.clone());
    let records: Vec<TrialRecord> = saved.info.trials.iter().filter_map(|trial| folder.trial(&trial.id)).collect();
    // The rate of an outside program is known when it has been measured.
    let measured: HashMap<&str, usize> = records
        .iter()
        .filter(|record| record.status == Status::Ok)
        .map(|record| (record.trial.id.as_str(), record.trial.bits_per_vector))
        .collect();
    let with_known_rate = |trial: &Trial| {
        let bits_per_vector = measured.get(trial.id.as_str()).copied().unwrap_or(trial.bits_per_vector);
        Trial { bits_per_vector, ..trial.clone() }
    };
    let trials = saved.info.trials.iter().map(with_known_rate).collect();
    saved.info.trials = trials;
    let facts: Option<Vec<DatasetFacts>> = saved.datasets.iter().map(PreparationJob::kept).collect();
    if let Some(facts) = facts {
        saved.info.datasets = facts;
        // The tables of a run are as old as its plan: what has not changed is not written again.
        if before.is_none_or(|before| before != saved.info) {
            save_run(folder, &saved.info)?;
        }
        folder.save_model_index(&saved.info.trials)?;
    }
    let ok = records.iter().filter(|r| r.status == Status::Ok).count();
    Ok(Outcome {
        ok,
        failed: records.len() - ok,
        passing: records.iter().filter(|r| r.failed_in_passing()).count(),
        reused: 0,
        left: saved.info.trials.len() - records.len(),
        unfinished: 0,
        interrupted: false,
        remarks: Vec::new(),
    })
}

/// What a report needs of a plan, without the facts of the datasets.
pub(crate) fn info_of(plan: &Plan, machine: Machine) -> RunInfo {
    let mut experiment = json!(plan.experiment);
    if !plan.found.is_empty() {
        experiment[FOUND] = json!(plan.found);
    }
    if !plan.pairs.is_empty() {
        experiment[PAIRED] = json!(plan.pairs);
    }
    RunInfo {
        schema: SCHEMA,
        name: plan.experiment.name.clone(),
        analysis: plan.experiment.analysis.trim().to_owned(),
        experiment,
        machine,
        datasets: Vec::new(),
        trials: plan.trials.iter().map(|planned| planned.trial.clone()).collect(),
        skipped: plan.skipped.clone(),
    }
}

/// Saves the plan, for this program and, with every default, for readers.
pub(crate) fn save_run(folder: &RunFolder, info: &RunInfo) -> Result<(), RecordError> {
    let resolved = json!({
        "experiment": info.experiment,
        "trials": info.trials.iter().map(|t| json!({ "id": t.id, "dataset": t.dataset, "method": t.method, "params": t.params, "label": t.label, "device": t.device, "threads": t.threads, "seed": t.seed, "bits_per_vector": t.bits_per_vector })).collect::<Vec<_>>(),
    });
    let text =
        format!("# The plan as it was resolved: every default filled in, every trial listed.\n{}", to_yaml(&resolved));
    folder.save_run(info)?;
    // Written after run.json, which marks the folder as a run folder.
    write_atomically(&folder.root().join("experiment.yaml"), text.as_bytes())
}
