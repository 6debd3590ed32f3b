//! Carrying out a plan: prepare the datasets, run what has not ended yet, one child process per trial, and save every
//! record the moment its trial ends.

use crate::Document;
use crate::document::to_yaml;
use crate::facts;
use crate::fault::Fault;
use crate::machine;
use crate::pictures;
use crate::plan::{Plan, PlannedTrial, SOURCES, hash};
use crate::trial::{Message, Request};
use datasets::format;
use record::{
    DatasetFacts, Machine, Measured, RecordError, RunFolder, RunInfo, SCHEMA, Status, TrialRecord, write_atomically,
};
use serde::Serialize;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How to start a trial's process: it must answer as [`crate::trial::run`] does.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Told what happens, for progress. Calls come one at a time.
pub trait Observer: Send {
    /// A dataset is being looked at.
    fn preparing(&mut self, dataset: &str);
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
    /// Trials that had ended before and were not run again.
    pub reused: usize,
    /// Trials left, because the run was interrupted or filtered.
    pub left: usize,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

/// A run that could not take place.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The run folder cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A dataset cannot be used.
    #[error(transparent)]
    Dataset(#[from] Fault),
    /// No threads to work on.
    #[error("threads could not be started: {0}")]
    Threads(String),
}

/// Settings of a run beside its plan.
pub struct Settings<'a> {
    /// Where results go.
    pub folder: RunFolder,
    /// How to start a trial.
    pub launcher: Launcher,
    /// Only trials whose description contains this.
    pub filter: Option<String>,
    /// Run trials that have ended again.
    pub force: bool,
    /// Set from outside to end the run.
    pub interrupt: &'a AtomicBool,
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
    let pool = rayon::ThreadPoolBuilder::new().num_threads(plan.most_threads()).build();
    let prepared = match pool {
        Ok(pool) => pool.install(|| prepare_datasets(plan, document, folder, observer)),
        Err(error) => Err(EngineError::Threads(error.to_string())),
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            folder.withdraw();
            return Err(error);
        }
    };
    let all: Vec<record::Trial> = plan.trials.iter().map(|t| t.trial.clone()).collect();
    let machine = Machine { gpu: plan.gpu.clone(), ..machine::describe(&settings.source_tree) };
    save_plan(plan, folder, &prepared, machine.clone(), &all)?;
    if let Some(text) = &settings.filter {
        plan.filter(text);
    }

    // A failure is final under its limits; a timing, on its machine.
    let timed = plan.timed();
    let ended = |planned: &PlannedTrial| {
        let id = &planned.trial.id;
        let record = folder.trial(id)?;
        let final_here = record.status == Status::Ok || record.limits == plan.limits;
        let kept = !plan.experiment.keep_models || record.status != Status::Ok || folder.model_file(id).is_file();
        let kept = kept && (record.status != Status::Ok || pictures::are_here(plan, folder, planned));
        (final_here && kept && (!timed || record.machine.is_like(&machine))).then_some(record)
    };
    let before: Vec<(&PlannedTrial, Option<TrialRecord>)> =
        plan.trials.iter().map(|t| (t, if settings.force { None } else { ended(t) })).collect();
    let reused = before.iter().filter(|(_, record)| record.is_some()).count();
    let to_run: Vec<&PlannedTrial> = before.iter().filter(|(_, record)| record.is_none()).map(|(t, _)| *t).collect();
    observer.begin(to_run.len(), reused, to_run.iter().map(|t| t.estimated_seconds).sum());

    // Timed trials run alone; the others side by side as far as their threads fit.
    let threads = plan.most_threads();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = if timed { 1 } else { (cores / threads).max(1) };
    let session = Session {
        plan,
        settings,
        prepared: &prepared,
        machine: &machine,
        to_run: &to_run,
        next: AtomicUsize::new(0),
        progress: Mutex::new(Progress { observer, done_estimate: 0.0, started: Instant::now(), error: None }),
    };
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| session.lane());
        }
    });
    if let Some(error) = session.progress.into_inner().unwrap_or_else(|e| e.into_inner()).error {
        return Err(error.into());
    }

    let records: Vec<Status> = all.iter().filter_map(|t| folder.trial(&t.id)).map(|r| r.status).collect();
    let ok = records.iter().filter(|s| **s == Status::Ok).count();
    Ok(Outcome {
        ok,
        failed: records.len() - ok,
        reused,
        left: all.len() - records.len(),
        interrupted: settings.interrupt.load(Ordering::SeqCst),
    })
}

/// What the trials of a dataset need.
struct Prepared {
    facts: DatasetFacts,
    facts_file: PathBuf,
    truth_file: Option<PathBuf>,
}

fn prepare_datasets(
    plan: &Plan,
    document: &Document,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<Vec<Prepared>, EngineError> {
    let depth = plan.truth_depth();
    let mut all = Vec::new();
    for dataset in &plan.datasets {
        let summary = &dataset.resolved.summary;
        let key = hash(
            &json!({ "sources": SOURCES, "name": summary.name, "fingerprint": summary.fingerprint, "depth": depth }),
        );
        let facts_file = absolute(&folder.dataset_file(&key, "json"));
        let truth_file = (depth > 0).then(|| absolute(&folder.dataset_file(&key, "ivecs")));
        let kept = std::fs::read(&facts_file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let facts = match kept.filter(|_| truth_file.as_ref().is_none_or(|file| file.is_file())) {
            Some(facts) => facts,
            None => {
                observer.preparing(&summary.name);
                let data = dataset.resolved.load().map_err(|error| {
                    EngineError::Dataset(Fault::at(document, &dataset.pointer, error.to_string(), error.help()))
                })?;
                let (facts, truth) = facts::compute(&data, &summary.fingerprint, depth);
                if let Some(file) = &truth_file {
                    write_atomically(file, &format::ids_to_ivecs(&truth))?;
                }
                write_atomically(&facts_file, plain_json(&facts).as_bytes())?;
                facts
            }
        };
        all.push(Prepared { facts, facts_file, truth_file });
    }
    Ok(all)
}

/// Plain data as JSON. An empty text in its place would be read as a damaged file, or as no request.
fn plain_json(data: &impl Serialize) -> String {
    match serde_json::to_string(data) {
        Ok(text) => text,
        Err(error) => unreachable!("structs of names and numbers are JSON: {error}"),
    }
}

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
    let resolved = json!({
        "experiment": plan.experiment,
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
    })?;
    // After run.json, which makes the folder known as a run's.
    write_atomically(&folder.root().join("experiment.yaml"), text.as_bytes())
}

struct Progress<'a> {
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
    next: AtomicUsize,
    progress: Mutex<Progress<'a>>,
}

/// Bytes kept of what a child writes to standard error.
const MAX_WORDS: u64 = 1 << 16;

/// How a child came to its end.
enum End {
    Values(Vec<Measured>),
    Failed(String),
    Timeout,
    Interrupted,
}

impl<'a> Session<'a> {
    /// Takes trials in order until none is left or the run is interrupted.
    fn lane(&self) {
        while let Some(planned) = self.to_run.get(self.next.fetch_add(1, Ordering::SeqCst)) {
            if self.settings.interrupt.load(Ordering::SeqCst) || self.with_progress(|p| p.error.is_some()) {
                return;
            }
            let start = Instant::now();
            let (status, reason, values) = match self.child(planned) {
                End::Values(values) => (Status::Ok, None, values),
                End::Failed(reason) => (Status::Failed, Some(reason), Vec::new()),
                End::Timeout => {
                    let limit = self.plan.experiment.timeout;
                    (Status::Timeout, Some(format!("it was still running after {limit}")), Vec::new())
                }
                End::Interrupted => return,
            };
            let record = TrialRecord {
                schema: SCHEMA,
                trial: planned.trial.clone(),
                status,
                reason,
                limits: self.plan.limits,
                machine: self.machine.clone(),
                wall_seconds: start.elapsed().as_secs_f64(),
                values,
            };
            let saved = self.settings.folder.save_trial(&record);
            self.with_progress(|progress| {
                progress.done_estimate += planned.estimated_seconds;
                if let Err(error) = saved {
                    progress.error.get_or_insert(error);
                }
                // What is left, scaled by how estimates have fared so far.
                let total: f64 = self.to_run.iter().map(|t| t.estimated_seconds).sum();
                let pace = progress.started.elapsed().as_secs_f64() / progress.done_estimate.max(1e-9);
                let remaining = (total - progress.done_estimate).max(0.0) * pace;
                progress.observer.ended(planned, &record, remaining);
            });
        }
    }

    fn with_progress<T>(&self, act: impl FnOnce(&mut Progress<'a>) -> T) -> T {
        act(&mut self.progress.lock().unwrap_or_else(|e| e.into_inner()))
    }

    fn request(&self, planned: &PlannedTrial) -> Request {
        let prepared = &self.prepared[planned.dataset];
        let keep = self.plan.experiment.keep_models;
        Request {
            trial: planned.trial.clone(),
            dataset: self.plan.datasets[planned.dataset].written.clone(),
            root: absolute(&self.plan.root),
            facts: prepared.facts_file.clone(),
            truth: prepared.truth_file.clone(),
            model: keep.then(|| absolute(&self.settings.folder.model_file(&planned.trial.id))),
            pictures: pictures::wanted(self.plan, &self.settings.folder, planned),
            measure: self.plan.experiment.measure.clone().unwrap_or_default(),
            limits: self.plan.limits,
        }
    }

    fn child(&self, planned: &PlannedTrial) -> End {
        let launcher = &self.settings.launcher;
        let child = Command::new(&launcher.program)
            .args(&launcher.arguments)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return End::Failed(format!("{} could not be started: {error}", launcher.program.display())),
        };
        let request = plain_json(&self.request(planned));
        if let Some(mut stdin) = child.stdin.take() {
            // A child that dies before it has read this tells why by its exit.
            let _ = stdin.write_all(request.as_bytes());
        }
        let stderr = child.stderr.take();
        let words = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                // The first words say why; what follows a flood is read, so that the child can go on, and dropped.
                let _ = stderr.by_ref().take(MAX_WORDS).read_to_end(&mut text);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }

        // A limit beyond what the clock can hold is none.
        let deadline = Instant::now().checked_add(self.plan.experiment.timeout.duration());
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut answer = None;
        let cut_short = loop {
            match lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(Message::Phase(phase)) => self.with_progress(|p| p.observer.phase(planned, &phase)),
                    Ok(Message::Values(values)) => answer = Some(End::Values(values)),
                    Ok(Message::Failed(reason)) => answer = Some(End::Failed(reason)),
                    Err(_) => answer = Some(End::Failed(format!("its process wrote something unexpected: {line}"))),
                },
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.settings.interrupt.load(Ordering::SeqCst) {
                break Some(End::Interrupted);
            }
            if late() {
                break Some(End::Timeout);
            }
        };
        // Its output has ended, so its process should: but a driver may hang on the way out.
        let mut cut_short = cut_short;
        while cut_short.is_none() && answer.is_none() && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
            cut_short = late().then_some(End::Timeout);
        }
        let _ = child.kill();
        let exit = child.wait();
        let words = words.join().unwrap_or_default();
        // A terminal's Ctrl-C reaches the child too, perhaps before this process has noticed its own.
        if exit.as_ref().is_ok_and(interrupted) {
            self.settings.interrupt.store(true, Ordering::SeqCst);
        }
        if let Some(answer) = answer {
            return answer;
        }
        if self.settings.interrupt.load(Ordering::SeqCst) {
            return End::Interrupted;
        }
        cut_short.unwrap_or_else(|| End::Failed(death(exit.ok(), &words, self.plan.limits.memory_bytes)))
    }
}

#[cfg(unix)]
fn interrupted(exit: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    exit.signal() == Some(2)
}

#[cfg(not(unix))]
fn interrupted(_: &ExitStatus) -> bool {
    false
}

/// Why a process died without an answer, in words.
fn death(exit: Option<ExitStatus>, stderr: &str, memory_limit: Option<u64>) -> String {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    if stderr.contains("memory allocation of") {
        let asked = stderr.lines().find(|line| line.contains("memory allocation of")).unwrap_or(last).trim();
        return match memory_limit {
            Some(bytes) => format!("out of memory under the limit of {}: {asked}", crate::units::ByteSize(bytes)),
            None => format!("out of memory: {asked}"),
        };
    }
    let how = match exit {
        Some(exit) => describe_exit(exit),
        None => "its process was lost".to_owned(),
    };
    match stderr.lines().find(|line| line.contains("panicked at")) {
        Some(line) => format!("{how}; {} {last}", line.trim()),
        None if last.is_empty() => how,
        None => format!("{how}; it said: {last}"),
    }
}

#[cfg(unix)]
fn describe_exit(exit: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match exit.signal() {
        Some(9) => "its process was killed (signal 9), as a system does that runs out of memory".to_owned(),
        Some(6) => "its process aborted (signal 6)".to_owned(),
        Some(signal) => format!("its process died from signal {signal}"),
        None => format!("its process ended without an answer ({exit})"),
    }
}

#[cfg(not(unix))]
fn describe_exit(exit: ExitStatus) -> String {
    format!("its process ended without an answer ({exit})")
}
