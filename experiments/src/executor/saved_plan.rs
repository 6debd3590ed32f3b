//! The plan of a run whose trials run elsewhere, as files in the folder of the run: what a task, or a process that follows
//! the run later, needs instead of the experiment and its datasets.

use super::saved_run::info_of;
use super::{ExecutorChoice, TaskError};
use crate::job::Job;
use crate::json::plain_json;
use crate::plan::{Plan, SOURCES};
use crate::preparation::PreparationJob;
use record::{Machine, RunFolder, RunInfo, SCHEMA, read_regular, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Largest file of requests that is read, in bytes.
const MAX_REQUESTS: u64 = 1 << 32;

/// The folder of tasks within that of the run.
pub(crate) fn folder_of_tasks(folder: &RunFolder) -> PathBuf {
    folder.root().join("tasks")
}

fn plan_file(folder: &RunFolder) -> PathBuf {
    folder_of_tasks(folder).join("plan.json")
}

fn requests_file(folder: &RunFolder) -> PathBuf {
    folder_of_tasks(folder).join("requests.jsonl")
}

/// What is known of a run before its trials run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedPlan {
    /// Schema version, see [`SCHEMA`].
    pub schema: u32,
    /// Fingerprint of the sources that determine results: only a build of the same sources carries out this plan.
    pub sources: String,
    /// Version of the program that made it.
    pub version: String,
    /// The run, without the facts of its datasets as long as these have not been prepared.
    pub info: RunInfo,
    /// The datasets, in the order of the plan.
    pub datasets: Vec<PreparationJob>,
    /// Formats of the report.
    pub formats: Vec<String>,
    /// Who carries it out.
    pub executor: ExecutorChoice,
}

/// Whether the trials of a run were handed to others.
pub(super) fn is_there(folder: &RunFolder) -> bool {
    record::is_there(&plan_file(folder))
}

impl SavedPlan {
    /// Forgets that the trials of a run were handed to others: it goes on without them.
    pub(crate) fn forget(folder: &RunFolder) -> Result<(), TaskError> {
        let path = plan_file(folder);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(TaskError::Write { action: "remove", path, error })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn new(
        plan: &Plan,
        machine: Machine,
        datasets: Vec<PreparationJob>,
        executor: ExecutorChoice,
    ) -> SavedPlan {
        SavedPlan {
            schema: SCHEMA,
            sources: SOURCES.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            info: info_of(plan, machine),
            datasets,
            formats: plan.report_formats(),
            executor,
        }
    }

    /// Writes the plan and the trials that are to run.
    pub(super) fn save(&self, folder: &RunFolder, jobs: &[&Job]) -> Result<(), TaskError> {
        let place = folder_of_tasks(folder);
        std::fs::create_dir_all(&place).map_err(|error| TaskError::Write { action: "create", path: place, error })?;
        let lines: String = jobs.iter().map(|job| format!("{}\n", plain_json(job))).collect();
        write_atomically(&requests_file(folder), lines.as_bytes())?;
        Ok(write_atomically(&plan_file(folder), plain_json(self).as_bytes())?)
    }

    /// Who carries out a run, of whatever build.
    pub(super) fn executor_of(folder: &RunFolder) -> Result<ExecutorChoice, TaskError> {
        #[derive(Deserialize)]
        struct Chosen {
            executor: ExecutorChoice,
        }
        let path = plan_file(folder);
        let Chosen { executor } = serde_json::from_slice(&Self::read(folder)?)
            .map_err(|error| TaskError::Damaged { path, reason: error.to_string() })?;
        Ok(executor)
    }

    fn read(folder: &RunFolder) -> Result<Vec<u8>, TaskError> {
        let path = plan_file(folder);
        if !record::is_there(&path) {
            let there = record::is_there(&folder.run_file());
            let folder = folder.root().to_owned();
            return Err(if there { TaskError::NoTasks { folder } } else { TaskError::NoRun { folder } });
        }
        read_regular(&path, MAX_REQUESTS).map_err(|error| TaskError::Read { path, error })
    }

    /// Reads the plan of a run.
    ///
    /// # Errors
    /// A run without tasks; a damaged plan; a plan of another build.
    pub fn load(folder: &RunFolder) -> Result<SavedPlan, TaskError> {
        let path = plan_file(folder);
        let bytes = Self::read(folder)?;
        // The plan of another version may look different, which is said before it is called damaged.
        #[derive(Deserialize)]
        struct Origin {
            sources: String,
            version: String,
        }
        let damaged = |error: serde_json::Error| TaskError::Damaged { path: path.clone(), reason: error.to_string() };
        let Origin { sources, version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if sources != SOURCES {
            let (folder, here) = (folder.root().to_owned(), SOURCES.to_owned());
            return Err(TaskError::OtherBuild { folder, version, sources, here });
        }
        serde_json::from_slice(&bytes).map_err(damaged)
    }
}

/// The trials of a run that are to run, in order; of `wanted`, if it is given, all must be there.
///
/// # Errors
/// Requests that cannot be read; an id that is not among them.
pub(crate) fn jobs(folder: &RunFolder, wanted: Option<&[String]>) -> Result<Vec<Job>, TaskError> {
    let path = requests_file(folder);
    let bytes = read_regular(&path, MAX_REQUESTS).map_err(|error| TaskError::Read { path: path.clone(), error })?;
    let mut missing: Option<HashSet<&str>> = wanted.map(|ids| ids.iter().map(String::as_str).collect());
    let mut jobs = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let damaged = |error: serde_json::Error| TaskError::Damaged { path: path.clone(), reason: error.to_string() };
        // A line holds kilobytes, and most are of other tasks: only ids are read of these.
        if let Some(missing) = &mut missing {
            let Id { request } = serde_json::from_str(line).map_err(damaged)?;
            if !missing.remove(&*request.trial.id) {
                continue;
            }
        }
        jobs.push(serde_json::from_str(line).map_err(damaged)?);
    }
    match missing.and_then(|missing| missing.into_iter().min().map(str::to_owned)) {
        Some(id) => Err(TaskError::UnknownTrial { id, folder: folder.root().to_owned() }),
        None => Ok(jobs),
    }
}

#[derive(Deserialize)]
struct Id<'a> {
    #[serde(borrow)]
    request: IdOfRequest<'a>,
}

#[derive(Deserialize)]
struct IdOfRequest<'a> {
    #[serde(borrow)]
    trial: IdOfTrial<'a>,
}

#[derive(Deserialize)]
struct IdOfTrial<'a> {
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
}
