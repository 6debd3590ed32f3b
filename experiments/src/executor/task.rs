//! Tasks: trials that one command runs, grouped by what they need and by how long they take.

use super::TaskError;
use super::saved_plan::folder_of_tasks;
use super::unit::{Unit, units};
use crate::job::Job;
use crate::preparation::PreparationJob;
use crate::shell::quoted;
use crate::units::Seconds;
use record::{RunFolder, write_atomically};
use std::path::{Path, PathBuf};

/// What the trials of a task need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Need {
    /// Nothing is timed: other programs may run on the same machine.
    Shared,
    /// Something is timed: the machine must run nothing else.
    Timed,
    /// A GPU.
    Gpu,
    /// A GPU, on a machine that runs nothing else.
    #[serde(rename = "timed-gpu")]
    TimedGpu,
}

impl Need {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Need::Shared => "shared",
            Need::Timed => "timed",
            Need::Gpu => "gpu",
            Need::TimedGpu => "timed-gpu",
        }
    }

    /// Whether the machine must run nothing else.
    pub(crate) fn is_timed(self) -> bool {
        matches!(self, Need::Timed | Need::TimedGpu)
    }

    pub(crate) fn has_gpu(self) -> bool {
        matches!(self, Need::Gpu | Need::TimedGpu)
    }

    /// All of them, in the order in which their tasks are written.
    pub(crate) const ALL: [Need; 4] = [Need::Timed, Need::TimedGpu, Need::Gpu, Need::Shared];

    fn of(unit: &Unit<'_>) -> Need {
        let any = |is: fn(&Job) -> bool| unit.jobs.iter().any(|job| is(job));
        match (any(Job::uses_device), any(|job| job.timed)) {
            (true, true) => Need::TimedGpu,
            (true, false) => Need::Gpu,
            (false, true) => Need::Timed,
            (false, false) => Need::Shared,
        }
    }
}

/// Most trials of a task: their ids stand on one line of a shell.
const MOST_TRIALS: usize = 1000;

/// Trials that one command runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Task {
    pub(crate) need: Need,
    /// Ids of the trials.
    pub(crate) ids: Vec<String>,
    /// Estimated time.
    pub(crate) seconds: f64,
    /// The largest estimate of the memory of a trial, in bytes.
    pub(crate) bytes: u64,
    /// Most threads of a trial.
    pub(crate) threads: usize,
}

/// Groups trials into tasks of about `task_time`, in order. Trials of a pair stay together.
pub(crate) fn group(jobs: &[&Job], task_time: Seconds) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut open = [None; Need::ALL.len()];
    for unit in units(jobs) {
        let (need, seconds) = (Need::of(&unit), unit.estimated_seconds());
        let fits =
            |task: &Task| task.seconds + seconds <= task_time.0 && task.ids.len() + unit.jobs.len() <= MOST_TRIALS;
        let at = open[need as usize].filter(|&at| fits(&tasks[at])).unwrap_or_else(|| {
            tasks.push(Task { need, ids: Vec::new(), seconds: 0.0, bytes: 0, threads: 1 });
            tasks.len() - 1
        });
        open[need as usize] = Some(at);
        let task = &mut tasks[at];
        task.seconds += seconds;
        task.bytes = task.bytes.max(unit.needs().bytes);
        task.threads = unit.jobs.iter().map(|job| job.trial().threads).fold(task.threads, usize::max);
        task.ids.extend(unit.jobs.iter().map(|job| job.id().to_owned()));
    }
    tasks
}

/// The commands of tasks, for a shell.
pub(crate) struct Commands<'a> {
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a RunFolder,
}

impl Commands<'_> {
    fn command(&self, verb: &str, only: Option<&str>) -> String {
        let root = std::path::absolute(self.folder.root()).unwrap_or_else(|_| self.folder.root().to_owned());
        let mut words = vec![quoted(&self.program.to_string_lossy()), verb.to_owned(), quoted(&root.to_string_lossy())];
        words.extend(only.map(|only| format!("--only {}", quoted(only))));
        words.join(" ")
    }

    /// Prepares a dataset.
    pub(crate) fn prepare(&self, dataset: &PreparationJob) -> String {
        self.command("prepare", Some(&dataset.name))
    }

    /// Runs trials.
    pub(crate) fn trials(&self, task: &Task) -> String {
        self.command("trials", Some(&task.ids.join(",")))
    }

    /// Makes the report.
    pub(crate) fn finish(&self) -> String {
        self.command("finish", None)
    }
}

/// Writes commands, one a line, to a file in the folder of tasks. Returns its path.
pub(crate) fn write_commands(folder: &RunFolder, name: &str, commands: &[String]) -> Result<PathBuf, TaskError> {
    let path = folder_of_tasks(folder).join(format!("{name}.txt"));
    write_atomically(&path, lines(commands).as_bytes())?;
    Ok(path)
}

/// Commands, one a line.
pub(crate) fn lines(commands: &[String]) -> String {
    commands.iter().map(|command| format!("{command}\n")).collect()
}
