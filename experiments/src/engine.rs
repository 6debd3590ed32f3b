//! Runs a plan: prepares the datasets, runs every trial that has not ended yet in a child process, and saves each
//! record as soon as its trial ends.

mod budget;
mod prepare;
mod saved_pictures;
mod unit;

pub use crate::child::Launcher;

use crate::Document;
use crate::child::{Child, ChildEnd};
use crate::document::to_yaml;
use crate::fault::Fault;
use crate::machine;
use crate::plan::{Plan, PlannedTrial};
use crate::queue::Queue;
use crate::recipe;
use crate::surroundings::Surroundings;
use crate::trial::{Failure, Request};
use crate::turns::{Seat, TurnTable};
use budget::Budget;
use prepare::{Prepared, Unprepared, prepare_datasets};
use record::{
    Cause, FOUND, InTurn, Machine, PAIRED, Preparation, RecordError, RunFolder, RunInfo, SCHEMA, Side, Status,
    TrialLog, TrialRecord, id_of, is_regular, write_atomically,
};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};
use thiserror::Error;
use unit::{Unit, units};

/// Told what happens, for progress. Calls come one at a time.
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
    /// Trials are about to run; `reused` of them had ended before.
    fn begin(&mut self, to_run: usize, reused: usize, estimated_seconds: f64);
    /// A trial has reached a phase.
    fn phase(&mut self, trial: &PlannedTrial, phase: &str);
    /// A trial has ended.
    fn ended(&mut self, trial: &PlannedTrial, record: &TrialRecord, remaining_seconds: f64);
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Whether it was interrupted.
    pub interrupted: bool,
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
    let _lock = folder.prepare()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(plan.most_threads().max(cores)).build();
    let prepared = match pool {
        Ok(pool) => pool.install(|| prepare_datasets(plan, document, settings, observer)),
        Err(error) => Err(EngineError::Threads(error.to_string()).into()),
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(unprepared) => {
            folder.withdraw();
            let left = plan.trials.len();
            return match unprepared {
                Unprepared::Failed(error) => Err(error),
                Unprepared::Interrupted => {
                    Ok(Outcome { ok: 0, failed: 0, passing: 0, reused: 0, left, interrupted: true })
                }
            };
        }
    };
    let all: Vec<record::Trial> = plan.trials.iter().map(|t| t.trial.clone()).collect();
    let machine = Machine {
        gpu: plan.gpu.clone(),
        ..machine::describe(&settings.source_tree, settings.surroundings.devices.isa)
    };
    save_plan(plan, folder, &prepared, machine.clone(), &all)?;
    if let Some(text) = &settings.filter {
        plan.filter(text);
    }

    // A failure is final under the same limits, unless its cause was external. A timing is final on the same machine.
    let timed = plan.timed();
    let ended = |planned: &PlannedTrial| {
        let id = &planned.trial.id;
        let record = folder.trial(id)?;
        let again = settings.retry_failed || record.failed_in_passing() || record.limits != plan.limits;
        let final_here = record.status == Status::Ok || !again;
        let kept = !plan.experiment.keep_models || record.status != Status::Ok || is_regular(&folder.model_file(id));
        let kept = kept && (record.status != Status::Ok || saved_pictures::are_here(plan, folder, planned));
        (final_here && kept && (!timed || record.machine.is_like(&machine))).then_some(record)
    };
    let mut before: Vec<(&PlannedTrial, Option<TrialRecord>)> =
        plan.trials.iter().map(|t| (t, if settings.force { None } else { ended(t) })).collect();
    // A pair runs together or not at all: its sides must have taken turns with each other.
    let attempt = |record: &TrialRecord| record.in_turn().map(|turn| turn.attempt.clone());
    let attempts: HashMap<&str, Option<String>> =
        before.iter().filter_map(|(t, record)| Some((t.trial.id.as_str(), attempt(record.as_ref()?)))).collect();
    for (planned, record) in &mut before {
        if planned
            .in_turn
            .as_ref()
            .is_some_and(|turn| attempts.get(turn.partner.as_str()) != attempts.get(planned.trial.id.as_str()))
        {
            *record = None;
        }
    }
    let reused = before.iter().filter(|(_, record)| record.is_some()).count();
    let to_run: Vec<&PlannedTrial> = before.iter().filter(|(_, record)| record.is_none()).map(|(t, _)| *t).collect();
    // Timed trials run alone; others run side by side as far as threads and memory allow.
    let threads = plan.most_threads();
    let lanes = if timed { 1 } else { (cores / threads).max(1) };
    let budget = plan.experiment.budget.zip(plan.experiment.seeds.first()).map(|(budget, first_seed)| {
        let ended = before.iter().filter_map(|(_, record)| record.as_ref());
        Budget::new(budget, *first_seed, ended, lanes)
    });
    let estimate: f64 = to_run.iter().map(|t| t.estimated_seconds).sum();
    observer.begin(to_run.len(), reused, budget.as_ref().map_or(estimate, |budget| estimate.min(budget.left())));
    let units = units(&to_run);
    let session = Session {
        plan,
        settings,
        prepared: &prepared,
        machine: &machine,
        to_run: &to_run,
        queue: Queue::new(units.iter().map(|unit| unit.needs(plan)).collect(), machine::available_memory_bytes()),
        units: &units,
        budget: budget.map(Mutex::new),
        starved: Mutex::default(),
        progress: Mutex::new(RunProgress { observer, done_estimate: 0.0, started: Instant::now(), error: None }),
    };
    session.with_budget(|budget| session.order(budget));
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| session.lane());
        }
    });
    let interrupted = settings.interrupt.load(Ordering::SeqCst);
    let left: Vec<&PlannedTrial> =
        session.queue.left().into_iter().flat_map(|number| units[number].trials.clone()).collect();
    let left_out = match plan.experiment.budget.filter(|_| !interrupted) {
        Some(budget) => budget::left_out(budget, &left),
        None => Vec::new(),
    };
    if let Some(error) = session.progress.into_inner().unwrap_or_else(|e| e.into_inner()).error {
        return Err(error.into());
    }
    // The rate of an outside program is known when it has been measured.
    let known: Vec<record::Trial> = all.iter().map(|trial| with_known_rate(trial, folder)).collect();
    if !left_out.is_empty() || known != all {
        plan.skipped.extend(left_out);
        save_plan(plan, folder, &prepared, machine, &known)?;
    }

    folder.save_model_index(&all)?;
    let records: Vec<TrialRecord> = all.iter().filter_map(|t| folder.trial(&t.id)).collect();
    let ok = records.iter().filter(|r| r.status == Status::Ok).count();
    Ok(Outcome {
        ok,
        failed: records.len() - ok,
        passing: records.iter().filter(|r| r.failed_in_passing()).count(),
        reused,
        left: all.len() - records.len(),
        interrupted,
    })
}

/// A trial of the plan with the rate in its record.
fn with_known_rate(trial: &record::Trial, folder: &RunFolder) -> record::Trial {
    let record = folder.trial(&trial.id).filter(|record| record.status == Status::Ok);
    let bits_per_vector = record.map_or(trial.bits_per_vector, |record| record.trial.bits_per_vector);
    record::Trial { bits_per_vector, ..trial.clone() }
}

/// A trial with its rate: that of an outside program is known when it has been measured, and may stay unknown.
fn with_rate(trial: &record::Trial, values: &[record::Measured]) -> record::Trial {
    let is_program = methods::registry::find(&trial.method).is_ok_and(|method| method.is_program());
    if !is_program || values.is_empty() {
        return trial.clone();
    }
    let measured = values.iter().find(|value| value.metric == record::metric::BITS_PER_VECTOR.name);
    record::Trial { bits_per_vector: measured.map_or(0, |measured| measured.value as usize), ..trial.clone() }
}

/// A device that processes need not share.
const CPU: &str = "cpu";

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn save_plan(
    plan: &Plan,
    folder: &RunFolder,
    prepared: &[Prepared],
    machine: Machine,
    trials: &[record::Trial],
) -> Result<(), RecordError> {
    let mut experiment = json!(plan.experiment);
    if !plan.found.is_empty() {
        experiment[FOUND] = json!(plan.found);
    }
    if !plan.pairs.is_empty() {
        experiment[PAIRED] = json!(plan.pairs);
    }
    let resolved = json!({
        "experiment": experiment,
        "trials": trials.iter().map(|t| json!({ "id": t.id, "dataset": t.dataset, "method": t.method, "params": t.params, "label": t.label, "device": t.device, "threads": t.threads, "seed": t.seed, "bits_per_vector": t.bits_per_vector })).collect::<Vec<_>>(),
    });
    let text =
        format!("# The plan as it was resolved: every default filled in, every trial listed.\n{}", to_yaml(&resolved));
    folder.save_run(&RunInfo {
        schema: SCHEMA,
        name: plan.experiment.name.clone(),
        analysis: plan.experiment.analysis.trim().to_owned(),
        experiment: resolved["experiment"].clone(),
        machine,
        datasets: prepared.iter().map(|p| p.facts.clone()).collect(),
        trials: trials.to_vec(),
        skipped: plan.skipped.clone(),
    })?;
    // Written after run.json, which marks the folder as a run folder.
    write_atomically(&folder.root().join("experiment.yaml"), text.as_bytes())
}

struct RunProgress<'a> {
    observer: &'a mut dyn Observer,
    done_estimate: f64,
    started: Instant,
    error: Option<RecordError>,
}

struct Session<'a> {
    plan: &'a Plan,
    settings: &'a Settings<'a>,
    prepared: &'a [Prepared],
    machine: &'a Machine,
    to_run: &'a [&'a PlannedTrial],
    units: &'a [Unit<'a>],
    queue: Queue,
    budget: Option<Mutex<Budget>>,
    /// Numbers of units that run once more, alone.
    starved: Mutex<HashSet<usize>>,
    progress: Mutex<RunProgress<'a>>,
}

/// A remark on a trial that runs once more, alone.
const STARVED: &str =
    "This is its second attempt. The first one ran beside other trials, and was killed or ran out of memory.";

/// How a trial came to its end.
struct Attempt<'a> {
    planned: &'a PlannedTrial,
    end: ChildEnd,
    log: TrialLog,
    /// Seconds, without those in which it waited for its turn.
    seconds: f64,
}

impl<'a> Session<'a> {
    /// Takes units in order until none is left, the budget is used up, or the run is interrupted.
    fn lane(&self) {
        let stop = || {
            self.settings.interrupt.load(Ordering::SeqCst)
                || self.with_progress(|p| p.error.is_some())
                || self.with_budget(|budget| budget.left() == 0.0).unwrap_or(false)
        };
        while let Some(number) = self.queue.take(stop) {
            let attempts = self.attempt(&self.units[number]);
            let starved =
                |end: &ChildEnd| matches!(end, ChildEnd::Failed(f) if matches!(f.cause, Cause::Memory | Cause::Killed));
            // Its neighbours may have used the memory that it needed.
            let again = attempts.iter().any(|attempt| starved(&attempt.end)) && self.queue.had_company(number);
            if again {
                self.with_starved(|starved| starved.insert(number));
            }
            self.queue.end(number, again);
            if again {
                continue;
            }
            if attempts.iter().any(|attempt| matches!(attempt.end, ChildEnd::Interrupted)) {
                return;
            }
            let second = self.with_starved(|starved| starved.contains(&number));
            attempts.into_iter().for_each(|attempt| self.keep(attempt, second));
        }
    }

    /// Runs the trials of a unit: one of them, or two that compute in turn.
    fn attempt(&self, unit: &Unit<'a>) -> Vec<Attempt<'a>> {
        let [ours, theirs] = unit.trials[..] else {
            return unit.trials.iter().map(|planned| self.attempt_one(planned, None)).collect();
        };
        let turns = TurnTable::new();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let attempt = id_of(&json!({ "pair": ours.trial.id, "nanoseconds": now.as_nanos().to_string() }));
        // Both sit down before either of them starts.
        let seats = [turns.seat(Side::Ours), turns.seat(Side::Theirs)];
        let mut attempts: Vec<Attempt<'a>> = std::thread::scope(|scope| {
            let both = [ours, theirs].into_iter().zip(seats);
            let started: Vec<_> =
                both.map(|(planned, seat)| scope.spawn(|| self.attempt_one(planned, Some(seat)))).collect();
            started.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        for Attempt { planned, log, .. } in &mut attempts {
            log.in_turn = planned.in_turn.as_ref().map(|turn| InTurn {
                pair: turn.pair.clone(),
                side: turn.side,
                with: turn.with.clone(),
                attempt: attempt.clone(),
                turns: turns.had(turn.side),
            });
        }
        attempts
    }

    fn attempt_one(&self, planned: &'a PlannedTrial, seat: Option<Seat<'_>>) -> Attempt<'a> {
        let start = Instant::now();
        let request = self.request(planned, seat.is_some());
        let child = Child {
            launcher: &self.settings.launcher,
            request: &request,
            timeout: self.plan.experiment.timeout,
            interrupt: self.settings.interrupt,
            seat,
        };
        let (end, log) = child.run(&mut |phase| self.with_progress(|p| p.observer.phase(planned, phase)));
        let seconds = (start.elapsed().saturating_sub(child.waited())).as_secs_f64();
        Attempt { planned, end, log, seconds }
    }

    /// Saves the record of a trial that has ended.
    fn keep(&self, attempt: Attempt<'a>, second: bool) {
        let Attempt { planned, end, mut log, seconds } = attempt;
        if second {
            log.remarks.insert(0, STARVED.to_owned());
        }
        let mut codes = None;
        let (status, failure, values) = match end {
            ChildEnd::Values { codes_sha256, values } => {
                codes = codes_sha256;
                (Status::Ok, None, values)
            }
            ChildEnd::Failed(failure) => (Status::Failed, Some(failure), Vec::new()),
            ChildEnd::Timeout => {
                let reason = format!("it was still running after {}", self.plan.experiment.timeout);
                (Status::Timeout, Some(Failure { reason, cause: Cause::Trial }), Vec::new())
            }
            ChildEnd::Interrupted => return,
        };
        let (reason, cause) = failure.map(|failure| (failure.reason, failure.cause)).unzip();
        let record = TrialRecord {
            schema: SCHEMA,
            trial: with_rate(&planned.trial, &values),
            status,
            reason,
            cause,
            limits: self.plan.limits,
            machine: self.machine.clone(),
            wall_seconds: seconds,
            recipe: Some(recipe::of(self.plan, planned)),
            codes_sha256: codes,
            log: Some(log),
            values,
        };
        let saved = self.settings.folder.save_trial(&record);
        let left = self.with_budget(|budget| {
            budget.note(&record);
            self.order(budget);
            budget.left()
        });
        self.with_progress(|progress| {
            progress.done_estimate += planned.estimated_seconds;
            if let Err(error) = saved {
                progress.error.get_or_insert(error);
            }
            // The remaining estimate, scaled by the accuracy of estimates so far.
            let total: f64 = self.to_run.iter().map(|t| t.estimated_seconds).sum();
            let pace = progress.started.elapsed().as_secs_f64() / progress.done_estimate.max(1e-9);
            let remaining = (total - progress.done_estimate).max(0.0) * pace;
            let remaining = left.map_or(remaining, |left| remaining.min(left));
            progress.observer.ended(planned, &record, remaining);
        });
    }

    /// Lets the most urgent units run next.
    fn order(&self, budget: &Budget) {
        let urgency: Vec<f64> = self.units.iter().map(|unit| unit.urgency(budget)).collect();
        self.queue.order(|number| urgency[number]);
    }

    fn with_starved<T>(&self, act: impl FnOnce(&mut HashSet<usize>) -> T) -> T {
        act(&mut self.starved.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// None without a budget.
    fn with_budget<T>(&self, act: impl FnOnce(&mut Budget) -> T) -> Option<T> {
        self.budget.as_ref().map(|budget| act(&mut budget.lock().unwrap_or_else(|e| e.into_inner())))
    }

    fn with_progress<T>(&self, act: impl FnOnce(&mut RunProgress<'a>) -> T) -> T {
        act(&mut self.progress.lock().unwrap_or_else(|e| e.into_inner()))
    }

    fn request(&self, planned: &PlannedTrial, in_turn: bool) -> Request {
        let prepared = &self.prepared[planned.dataset];
        let keep = self.plan.experiment.keep_models;
        Request {
            trial: planned.trial.clone(),
            dataset: self.plan.datasets[planned.dataset].written.clone(),
            root: absolute(&self.plan.root),
            seen: self.plan.datasets[planned.dataset].resolved.seen.clone(),
            facts: prepared.facts_file.clone(),
            truth: prepared.truth_file.clone(),
            model: keep.then(|| absolute(&self.settings.folder.model_file(&planned.trial.id))),
            pictures: saved_pictures::wanted(self.plan, &self.settings.folder, planned),
            measure: self.plan.experiment.measure.clone().unwrap_or_default(),
            limits: self.plan.limits,
            instruction_set: Some(self.settings.surroundings.devices.isa.to_string()),
            in_turn,
        }
    }
}
