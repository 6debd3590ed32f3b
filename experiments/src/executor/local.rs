//! Runs trials on this machine, each in a process of its own, and saves each record as soon as its trial ends.

use super::budget::{self, Budget};
use super::queue::Queue;
use super::unit::{Unit, ended, units};
use super::{Executor, Ran, Work};
use crate::child::{Child, ChildEnd, Launcher, Remains};
use crate::job::Job;
use crate::machine;
use crate::observer::Observer;
use crate::outcome::EngineError;
use crate::plan::Plan;
use crate::preparation::{NotPrepared, PreparationJob};
use crate::surroundings::Surroundings;
use crate::trial::{Failure, Request};
use crate::turns::{Seat, TurnTable};
use crate::units::Seconds;
use record::{
    Cause, DatasetFacts, InTurn, Machine, Measured, RecordError, RunFolder, SCHEMA, Side, Status, Trial, TrialRecord,
    id_of, metric,
};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

/// A budget of time for all trials, and the seed whose trials come first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) budget: Seconds,
    pub(crate) first_seed: u64,
}

/// This machine.
pub(crate) struct Local<'a> {
    /// How to start a trial.
    pub(crate) launcher: &'a Launcher,
    /// What facts are computed with; its instruction set is that of the trials.
    pub(crate) surroundings: &'a Surroundings,
    /// What a record says of the machine if a process dies before it has described it.
    pub(crate) machine: Machine,
    /// Time for all trials, if it is limited.
    pub(crate) allowance: Option<Allowance>,
    /// Whether trials run one after the other, as within a task: whoever runs tasks runs several side by side.
    pub(crate) one_by_one: bool,
}

impl Executor for Local<'_> {
    fn machine(&self) -> Option<&Machine> {
        Some(&self.machine)
    }

    fn prepare(
        &mut self,
        plan: &Plan,
        datasets: &[PreparationJob],
        interrupt: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<DatasetFacts>>, (usize, NotPrepared)> {
        let mut all = Vec::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(plan.most_threads().max(cores)).build();
        let pool = pool.map_err(|error| (0, NotPrepared::Threads(error.to_string())))?;
        pool.install(|| {
            for (number, (job, dataset)) in datasets.iter().zip(&plan.datasets).enumerate() {
                let facts = job.prepare(&dataset.resolved, self.surroundings, interrupt, observer);
                all.push(facts.map_err(|error| (number, error))?);
            }
            Ok(Some(all))
        })
    }

    fn run(&mut self, work: &Work<'_>, observer: &mut dyn Observer) -> Result<Ran, EngineError> {
        // Timed trials run alone; others run side by side as far as threads and memory allow.
        let threads = work.jobs.iter().map(|job| job.trial().threads).max().unwrap_or(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let alone = self.one_by_one || work.jobs.iter().any(|job| job.timed);
        let lanes = if alone { 1 } else { (cores / threads).max(1) };
        let budget = self
            .allowance
            .map(|allowance| Budget::new(allowance.budget, allowance.first_seed, work.ended.iter(), lanes));
        let estimate = work.estimated_seconds();
        let allowed = budget.as_ref().map_or(estimate, |budget| estimate.min(budget.left()));
        observer.begin(work.jobs.len(), work.reused, allowed);
        let units = units(work.jobs);
        let session = Session {
            local: self,
            work,
            queue: Queue::new(units.iter().map(Unit::needs).collect(), machine::available_memory_bytes()),
            units: &units,
            estimate,
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
        let interrupted = work.interrupt.load(Ordering::SeqCst);
        let left: Vec<&Trial> = session
            .queue
            .left()
            .into_iter()
            .flat_map(|number| units[number].jobs.iter().map(|job| job.trial()))
            .collect();
        if let Some(error) = session.progress.into_inner().unwrap_or_else(|e| e.into_inner()).error {
            return Err(error.into());
        }
        let left_out = match self.allowance.filter(|_| !interrupted) {
            Some(allowance) => budget::left_out(allowance.budget, &left),
            None => Vec::new(),
        };
        Ok(Ran { left_out, ..Ran::default() })
    }
}

struct RunProgress<'a> {
    observer: &'a mut dyn Observer,
    done_estimate: f64,
    started: Instant,
    error: Option<RecordError>,
}

struct Session<'a> {
    local: &'a Local<'a>,
    work: &'a Work<'a>,
    units: &'a [Unit<'a>],
    /// Rough estimate of the time of all trials, in seconds.
    estimate: f64,
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
    job: &'a Job,
    remains: Remains,
    /// Seconds, without those in which it waited for its turn.
    seconds: f64,
}

impl<'a> Session<'a> {
    /// Takes units in order until none is left, the budget is used up, or the run is interrupted.
    fn lane(&self) {
        let stop = || {
            self.work.interrupt.load(Ordering::SeqCst)
                || self.with_progress(|p| p.error.is_some())
                || self.with_budget(|budget| budget.left() == 0.0).unwrap_or(false)
        };
        while let Some(number) = self.queue.take(stop) {
            let attempts = self.attempt(&self.units[number]);
            let starved = |attempt: &Attempt<'_>| matches!(&attempt.remains.end, ChildEnd::Failed(f) if matches!(f.cause, Cause::Memory | Cause::Killed));
            // Its neighbours may have used the memory that it needed.
            let again = attempts.iter().any(starved) && self.queue.had_company(number);
            if again {
                self.with_starved(|starved| starved.insert(number));
            }
            self.queue.end(number, again);
            if again {
                continue;
            }
            if attempts.iter().any(|attempt| matches!(attempt.remains.end, ChildEnd::Interrupted)) {
                return;
            }
            let second = self.with_starved(|starved| starved.contains(&number));
            self.keep(attempts.into_iter().filter_map(|attempt| self.record(attempt, second)).collect());
        }
    }

    /// Runs the trials of a unit: one of them, or two that compute in turn.
    fn attempt(&self, unit: &Unit<'a>) -> Vec<Attempt<'a>> {
        let [ours, theirs] = unit.jobs[..] else {
            return unit.jobs.iter().map(|job| self.attempt_one(job, None)).collect();
        };
        let turns = TurnTable::new();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let attempt = id_of(&json!({
            "pair": ours.id(), "nanoseconds": now.as_nanos().to_string(), "process": std::process::id(),
        }));
        // Both sit down before either of them starts.
        let seats = [turns.seat(Side::Ours), turns.seat(Side::Theirs)];
        let mut attempts: Vec<Attempt<'a>> = std::thread::scope(|scope| {
            let both = [ours, theirs].into_iter().zip(seats);
            let started: Vec<_> = both.map(|(job, seat)| scope.spawn(|| self.attempt_one(job, Some(seat)))).collect();
            started.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        for Attempt { job, remains, .. } in &mut attempts {
            remains.log.in_turn = job.in_turn.as_ref().map(|turn| InTurn {
                pair: turn.pair.clone(),
                side: turn.side,
                with: turn.with.clone(),
                attempt: attempt.clone(),
                turns: turns.had(turn.side),
            });
        }
        attempts
    }

    fn attempt_one(&self, job: &'a Job, seat: Option<Seat<'_>>) -> Attempt<'a> {
        let start = Instant::now();
        let request = Request {
            instruction_set: Some(self.local.surroundings.devices.isa.to_string()),
            in_turn: seat.is_some(),
            ..job.request.clone()
        };
        let child = Child {
            launcher: self.local.launcher,
            request: &request,
            timeout: Seconds(request.limits.timeout_seconds),
            interrupt: self.work.interrupt,
            seat,
        };
        let remains = child.run(&mut |phase| self.with_progress(|p| p.observer.phase(&job.name, phase)));
        let seconds = (start.elapsed().saturating_sub(child.waited())).as_secs_f64();
        Attempt { job, remains, seconds }
    }

    /// The record of a trial that has ended; None if it was interrupted.
    fn record(&self, attempt: Attempt<'a>, second: bool) -> Option<(&'a Job, TrialRecord)> {
        let Attempt { job, remains: Remains { end, mut log, machine }, seconds } = attempt;
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
                let limit = Seconds(job.request.limits.timeout_seconds);
                let reason = format!("it was still running after {limit}, its `timeout`");
                (Status::Timeout, Some(Failure { reason, cause: Cause::Trial }), Vec::new())
            }
            ChildEnd::Interrupted => return None,
        };
        let (reason, cause) = failure.map(|failure| (failure.reason, failure.cause)).unzip();
        let own = &self.local.machine;
        // The revision of the sources is not known to a process that does nothing but compute.
        let machine = machine.map_or_else(
            || Machine { gpu: None, ..own.clone() },
            |said| Machine { git_revision: own.git_revision.clone(), git_dirty: own.git_dirty, ..said },
        );
        let record = TrialRecord {
            schema: SCHEMA,
            trial: with_rate(job.trial(), &values),
            status,
            reason,
            cause,
            limits: job.request.limits,
            machine,
            wall_seconds: seconds,
            recipe: Some(job.recipe.clone()),
            codes_sha256: codes,
            log: Some(log),
            values,
        };
        Some((job, record))
    }

    /// Saves the records of a unit. If another process has saved one of them meanwhile, its records stand.
    fn keep(&self, records: Vec<(&'a Job, TrialRecord)>) {
        let folder: &RunFolder = self.work.folder;
        let mut saved = Ok(true);
        // Ours of a pair comes last: where it stands, theirs stands too.
        for (_, record) in records.iter().rev() {
            saved = folder.save_first(record);
            if !matches!(saved, Ok(true)) {
                break;
            }
        }
        let stands = matches!(saved, Ok(false));
        // Another process may have saved ours between the two of this one: sides that did not take turns are no pair.
        if stands
            && let [(ours, _), (theirs, _)] = &records[..]
            && ended(folder, ours).is_none()
        {
            saved = [ours, theirs].into_iter().try_for_each(|job| folder.set_aside(job.id())).map(|()| true);
        }
        for (number, (job, record)) in records.into_iter().enumerate() {
            let record = if stands { folder.trial(job.id()).unwrap_or(record) } else { record };
            let left = self.with_budget(|budget| {
                budget.note(&record);
                self.order(budget);
                budget.left()
            });
            self.with_progress(|progress| {
                progress.done_estimate += job.estimated_seconds;
                if number == 0
                    && let Err(error) = std::mem::replace(&mut saved, Ok(true))
                {
                    progress.error.get_or_insert(error);
                }
                // The remaining estimate, scaled by the accuracy of estimates so far.
                let pace = progress.started.elapsed().as_secs_f64() / progress.done_estimate.max(1e-9);
                let remaining = (self.estimate - progress.done_estimate).max(0.0) * pace;
                let remaining = left.map_or(remaining, |left| remaining.min(left));
                progress.observer.ended(&job.name, &record, remaining);
            });
        }
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
}

/// A trial with its rate: that of an outside program is known when it has been measured, and may stay unknown.
fn with_rate(trial: &Trial, values: &[Measured]) -> Trial {
    let is_program = methods::registry::find(&trial.method).is_ok_and(|method| method.is_program());
    if !is_program || values.is_empty() {
        return trial.clone();
    }
    let measured = values.iter().find(|value| value.metric == metric::BITS_PER_VECTOR.name);
    Trial { bits_per_vector: measured.map_or(0, |measured| measured.value as usize), ..trial.clone() }
}
