//! Carries out a plan: prepares the datasets, hands the trials that have not ended yet to an executor, and saves the run.

pub(crate) mod saved_pictures;

pub use crate::child::Launcher;

use crate::Document;
use crate::document::to_yaml;
use crate::executor::local::{Allowance, Local};
use crate::executor::{self, Executor, Ran, SavedPlan, TaskError, Work};
use crate::fault::Fault;
use crate::job::{CPU, Job};
use crate::machine;
use crate::plan::{Plan, PlannedTrial};
use crate::preparation::{NotPrepared, PreparationJob};
use crate::surroundings::Surroundings;
use datasets::DatasetError;
use record::{
    DatasetFacts, FOUND, Machine, PAIRED, Preparation, RecordError, RunFolder, RunInfo, SCHEMA, Status, Trial,
    TrialRecord, is_regular, write_atomically,
};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// Told what happens, for progress. Calls come one at a time. A trial is called by its name within the plan.
pub trait Observer: Send {
    /// A dataset is being prepared.
    fn preparing(&mut self, dataset: &str);
    /// So many of the rows that preparing a dataset reads have been read.
    fn prepared(&mut self, dataset: &str, done: usize, all: usize) {
        let _ = (dataset, done, all);
    }
    /// A dataset has been prepared, which took this.
    fn has_prepared(&mut self, dataset: &str, preparation: &Preparation) {
        let _ = (dataset, preparation);
    }
    /// A remark about a dataset that readers of its figures should know.
    fn remark(&mut self, dataset: &str, remark: &str);
    /// What tasks elsewhere do.
    fn waiting(&mut self, words: &str) {
        let _ = words;
    }
    /// Trials are about to run; `reused` of them had ended before.
    fn begin(&mut self, to_run: usize, reused: usize, estimated_seconds: f64);
    /// A trial has reached a phase.
    fn phase(&mut self, trial: &str, phase: &str);
    /// A trial has ended.
    fn ended(&mut self, trial: &str, record: &TrialRecord, remaining_seconds: f64);
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Trials that succeeded, now or before.
    pub ok: usize,
    /// Trials that failed or timed out, now or before.
    pub failed: usize,
    /// Of these, the number that failed for an external reason: the next run tries them again.
    pub passing: usize,
    /// Trials that had ended before and were reused.
    pub reused: usize,
    /// Trials that were not run, because the run was interrupted or filtered.
    pub left: usize,
    /// Of these, the number that an executor was to run and could not.
    pub unfinished: usize,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// What the user should know or do, one line each.
    pub remarks: Vec<String>,
}

/// A run that could not start.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The run folder cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A dataset cannot be used.
    #[error(transparent)]
    Dataset(#[from] Fault),
    /// Threads could not be started.
    #[error("threads could not be started: {0}")]
    Threads(String),
    /// A dataset cannot be used on the machine of a task.
    #[error(transparent)]
    Unusable(#[from] DatasetError),
    /// A task was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// Tasks cannot be written, submitted or carried out.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// Settings of a run besides its plan.
pub struct Settings<'a> {
    /// Where results go.
    pub folder: RunFolder,
    /// How to start a trial.
    pub launcher: Launcher,
    /// Only trials whose description contains this.
    pub filter: Option<String>,
    /// Run all trials again, even those that have ended.
    pub force: bool,
    /// Run all failed trials again, for any cause.
    pub retry_failed: bool,
    /// Set from outside to end the run.
    pub interrupt: &'a AtomicBool,
    /// What this process computes facts with. The processes of trials find their own.
    pub surroundings: &'a Surroundings,
    /// Root of the source tree, for its revision.
    pub source_tree: PathBuf,
}

/// Carries out `plan`. The document is where faults of datasets point.
///
/// # Errors
/// The run folder or a dataset cannot be used; a failing trial is a record, not an error.
pub fn run(
    plan: &mut Plan,
    document: &Document,
    settings: &Settings<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome, EngineError> {
    let folder = &settings.folder;
    let choice = plan.experiment.executor.clone();
    let machine = Machine {
        gpu: plan.gpu.clone(),
        ..machine::describe(&settings.source_tree, settings.surroundings.devices.isa)
    };
    let mut local = Local {
        launcher: &settings.launcher,
        surroundings: settings.surroundings,
        machine: machine.clone(),
        allowance: plan
            .experiment
            .budget
            .zip(plan.experiment.seeds.first())
            .map(|(budget, first_seed)| Allowance { budget, first_seed: *first_seed }),
    };
    let mut remote = executor::executor(&choice, &settings.launcher.program);
    let executor: &mut dyn Executor = match &mut remote {
        Some(remote) => &mut **remote,
        None => &mut local,
    };
    let _lock = folder.prepare()?;
    let datasets: Vec<PreparationJob> =
        plan.datasets.iter().map(|dataset| PreparationJob::new(plan, dataset, folder)).collect();
    let facts = match executor.prepare(plan, &datasets, settings.interrupt, observer) {
        Ok(facts) => facts,
        Err((number, error)) => {
            folder.withdraw();
            return match error {
                NotPrepared::Record(error) => Err(error.into()),
                NotPrepared::Threads(error) => Err(EngineError::Threads(error)),
                NotPrepared::Dataset(error) => {
                    let pointer = &plan.datasets[number].pointer;
                    Err(Fault::at(document, pointer, error.to_string(), error.help()).into())
                }
                NotPrepared::Interrupted => {
                    let left = plan.trials.len();
                    let (ok, failed, passing, reused, unfinished) = (0, 0, 0, 0, 0);
                    let remarks = Vec::new();
                    Ok(Outcome { ok, failed, passing, reused, left, unfinished, interrupted: true, remarks })
                }
            };
        }
    };
    let mut saved = SavedPlan::new(plan, machine, datasets, choice);
    if let Some(facts) = &facts {
        saved.info.datasets.clone_from(facts);
        save_run(folder, &saved.info)?;
    }
    if let Some(text) = &settings.filter {
        plan.filter(text);
    }

    let before = ended_before(plan, settings, executor.machine());
    let mut jobs = Vec::new();
    let mut ended = Vec::new();
    for (planned, record) in plan.trials.iter().zip(before) {
        match record {
            Some(record) => {
                folder.bring_back(&planned.trial.id)?;
                ended.push(record);
            }
            None => {
                folder.set_aside(&planned.trial.id)?;
                jobs.push(Job::new(plan, planned, &saved.datasets[planned.dataset], folder));
            }
        }
    }
    let work = Work {
        folder,
        plan: Some(&saved),
        jobs: &jobs.iter().collect::<Vec<_>>(),
        ended: &ended,
        reused: ended.len(),
        interrupt: settings.interrupt,
    };
    let Ran { left_out, unfinished, remarks } = executor.run(&work, observer)?;
    if !left_out.is_empty() {
        plan.skipped.extend(left_out.iter().cloned());
        saved.info.skipped.extend(left_out);
        save_run(folder, &saved.info)?;
    }
    let outcome = conclude(folder, &mut saved)?;
    let interrupted = settings.interrupt.load(Ordering::SeqCst);
    Ok(Outcome { reused: ended.len(), unfinished, interrupted, remarks, ..outcome })
}

/// The records of trials that need not run again, one for each trial of the plan. `here` is the machine that all trials run
/// on, if there is one.
fn ended_before(plan: &Plan, settings: &Settings<'_>, here: Option<&Machine>) -> Vec<Option<TrialRecord>> {
    let folder = &settings.folder;
    // A failure is final under the same limits, unless its cause was external. A timing is final on the same machine.
    let timed = plan.timed();
    let like = |planned: &PlannedTrial, record: &TrialRecord| {
        here.is_none_or(|here| {
            let gpu = here.gpu.clone().filter(|_| planned.trial.device != CPU);
            record.machine.is_like(&Machine { gpu, ..here.clone() })
        })
    };
    let ended = |planned: &PlannedTrial| {
        let id = &planned.trial.id;
        let record = folder.trial(id)?;
        let again = settings.retry_failed || record.failed_in_passing() || record.limits != plan.limits;
        let final_here = record.status == Status::Ok || !again;
        let kept = !plan.experiment.keep_models || record.status != Status::Ok || is_regular(&folder.model_file(id));
        let kept = kept && (record.status != Status::Ok || saved_pictures::are_here(plan, folder, planned));
        (final_here && kept && (!timed || like(planned, &record))).then_some(record)
    };
    let mut before: Vec<Option<TrialRecord>> =
        plan.trials.iter().map(|planned| if settings.force { None } else { ended(planned) }).collect();
    // A pair runs together or not at all: its sides must have taken turns with each other.
    let attempt = |record: &TrialRecord| record.in_turn().map(|turn| turn.attempt.clone());
    let both = || plan.trials.iter().zip(&before);
    let attempts: HashMap<&str, Option<String>> =
        both().filter_map(|(planned, record)| Some((planned.trial.id.as_str(), attempt(record.as_ref()?)))).collect();
    let together = |planned: &PlannedTrial| {
        let partner = |turn: &crate::plan::TurnWith| {
            attempts.get(turn.partner.as_str()) == attempts.get(planned.trial.id.as_str())
        };
        planned.in_turn.as_ref().is_none_or(partner)
    };
    let apart: Vec<bool> = plan.trials.iter().map(|planned| !together(planned)).collect();
    before.iter_mut().zip(apart).filter(|(_, apart)| *apart).for_each(|(record, _)| *record = None);
    before
}

/// Saves the run with the rates that have been measured, and counts its trials. Without the facts of all datasets there is
/// no run yet.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn conclude(folder: &RunFolder, saved: &mut SavedPlan) -> Result<Outcome, RecordError> {
    let before = folder.run_file().exists().then(|| saved.info.clone());
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

pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
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
fn save_run(folder: &RunFolder, info: &RunInfo) -> Result<(), RecordError> {
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
