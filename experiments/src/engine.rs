//! Carries out a plan: prepares the datasets, hands the trials that have not ended yet to an executor, and saves the run.

pub use crate::child::Launcher;
pub use crate::observer::Observer;
pub use crate::outcome::{EngineError, Outcome};

use crate::Document;
use crate::executor::local::{Allowance, Local};
use crate::executor::saved_run::{conclude, save_run};
use crate::executor::{self, Executor, Ran, SavedPlan, Work};
use crate::fault::Fault;
use crate::job::{CPU, Job};
use crate::machine;
use crate::plan::{Plan, PlannedTrial};
use crate::preparation::{NotPrepared, PreparationJob};
use crate::saved_pictures;
use crate::surroundings::Surroundings;
use record::{Machine, RunFolder, Status, TrialRecord, is_regular};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

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
        one_by_one: false,
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
    executor::refuse_living_tasks(folder, &settings.launcher.program)?;
    if choice.is_here() {
        SavedPlan::forget(folder)?;
    }
    let datasets: Vec<PreparationJob> =
        plan.datasets.iter().map(|dataset| PreparationJob::new(plan, dataset, folder)).collect();
    let facts = match executor.prepare(plan, &datasets, settings.interrupt, observer) {
        Ok(facts) => facts,
        Err((number, error)) => {
            folder.withdraw();
            return match error {
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
                other => Err(other.into()),
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
