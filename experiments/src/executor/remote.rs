//! Hands the trials of a run to a scheduler, or writes their tasks for anybody to run, and follows them: by the records that
//! appear in the folder of the run, and by what the scheduler says of tasks that left none.

use super::following::Following;
use super::saved_plan::{SavedPlan, folder_of_tasks};
use super::scheduler::{Content, Scheduler, Submitted};
use super::task::{Commands, Need, Task, group, lines, write_commands};
use super::{Executor, Ran, TaskError, Work};
use crate::job::Job;
use crate::json::plain_json;
use crate::observer::Observer;
use crate::outcome::EngineError;
use crate::plan::Plan;
use crate::preparation::{NotPrepared, PreparationJob};
use crate::shell::run_command;
use crate::units::Seconds;
use record::{DatasetFacts, Machine, RunFolder, is_there, read_regular, write_atomically};
use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Largest file of submitted jobs that is read, in bytes.
const MAX_JOBS: u64 = 1 << 30;

/// Others carry out the trials.
pub(crate) struct Remote<'a> {
    /// The executable that the commands of tasks start.
    pub(crate) program: &'a Path,
    /// Estimated time of a task.
    pub(crate) task_time: Seconds,
    /// How often a trial is submitted at most if no task of it gets anywhere.
    pub(crate) tries: usize,
    /// Who runs the tasks; None if that is up to the user.
    pub(crate) scheduler: Option<Box<dyn Scheduler>>,
}

/// The plan of work that is handed to others.
pub(super) fn plan_of<'a>(work: &Work<'a>) -> &'a SavedPlan {
    match work.plan {
        Some(plan) => plan,
        None => unreachable!("only tasks have work without a plan, and they run it themselves"),
    }
}

fn jobs_file(folder: &RunFolder) -> PathBuf {
    folder_of_tasks(folder).join("jobs.json")
}

/// Its presence tells whoever follows a run that its tasks were cancelled, and are not to be submitted again.
fn cancelled_file(folder: &RunFolder) -> PathBuf {
    folder_of_tasks(folder).join("cancelled")
}

pub(super) fn is_cancelled(folder: &RunFolder) -> bool {
    is_there(&cancelled_file(folder))
}

/// Lets tasks be submitted again.
fn forget_cancelled(folder: &RunFolder) -> Result<(), TaskError> {
    let path = cancelled_file(folder);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TaskError::Write { action: "remove", path, error }),
        _ => Ok(()),
    }
}

/// What has been submitted for a run.
fn submitted(folder: &RunFolder) -> Result<Vec<Submitted>, TaskError> {
    let path = jobs_file(folder);
    // A folder that cannot be read says nothing about what was submitted.
    let bytes = match read_regular(&path, MAX_JOBS) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| TaskError::Read { path: path.clone(), error })?,
    };
    serde_json::from_slice(&bytes).map_err(|error| TaskError::Damaged { path, reason: error.to_string() })
}

/// Writes down what has been submitted for a run.
pub(super) fn save_submitted(folder: &RunFolder, arrays: &[Submitted]) -> Result<(), TaskError> {
    Ok(write_atomically(&jobs_file(folder), plain_json(&arrays).as_bytes())?)
}

impl Executor for Remote<'_> {
    fn machine(&self) -> Option<&Machine> {
        None
    }

    fn prepare(
        &mut self,
        _: &Plan,
        _: &[PreparationJob],
        _: &AtomicBool,
        _: &mut dyn Observer,
    ) -> Result<Option<Vec<DatasetFacts>>, (usize, NotPrepared)> {
        Ok(None)
    }

    fn run(&mut self, work: &Work<'_>, observer: &mut dyn Observer) -> Result<Ran, EngineError> {
        let folder = work.folder;
        plan_of(work).save(folder, work.jobs)?;
        save_submitted(folder, &[])?;
        forget_cancelled(folder)?;
        self.go_on(work, Vec::new(), observer)
    }
}

/// What is still to do, as tasks.
pub(super) struct ToDo<'w> {
    pub(super) prepare: Vec<&'w PreparationJob>,
    pub(super) trials: BTreeMap<Need, Vec<Task>>,
}

impl Remote<'_> {
    /// Refuses to go on where tasks of the run wait or run.
    pub(crate) fn refuse_living(&mut self, folder: &RunFolder) -> Result<(), TaskError> {
        let Some(scheduler) = &mut self.scheduler else { return Ok(()) };
        let arrays = submitted(folder)?;
        let mut tasks = arrays.iter().flat_map(|array| &array.tasks);
        let all_ended = tasks.all(|task| task.ending.is_some() || task.content == Content::Finish);
        let jobs = match scheduler.strays(folder, &[]) {
            // The folder was copied to a machine without the scheduler.
            Err(TaskError::NoScheduler { .. }) if all_ended => return Ok(()),
            asked => asked?,
        };
        if jobs.is_empty() { Ok(()) } else { Err(TaskError::Alive { folder: folder.root().to_owned(), jobs }) }
    }

    /// Follows a run that an earlier process has submitted, and submits what is missing.
    pub(crate) fn attach(&mut self, work: &Work<'_>, observer: &mut dyn Observer) -> Result<Ran, EngineError> {
        let earlier = submitted(work.folder)?;
        forget_cancelled(work.folder)?;
        if let Some(scheduler) = &mut self.scheduler {
            // What they do is not known, and is submitted again.
            let strays = scheduler.strays(work.folder, &earlier)?;
            scheduler.cancel(work.folder, &strays.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        self.go_on(work, earlier, observer)
    }

    /// Cancels all tasks of a run. Returns the ids of the scheduler; None if there is none.
    pub(crate) fn cancel(&mut self, folder: &RunFolder) -> Result<Option<Vec<String>>, TaskError> {
        let Some(scheduler) = &mut self.scheduler else { return Ok(None) };
        write_atomically(&cancelled_file(folder), b"")?;
        let alive = scheduler.strays(folder, &[])?;
        scheduler.cancel(folder, &alive.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(Some(alive))
    }

    fn go_on(
        &mut self,
        work: &Work<'_>,
        earlier: Vec<Submitted>,
        observer: &mut dyn Observer,
    ) -> Result<Ran, EngineError> {
        observer.begin(work.jobs.len(), work.reused, work.estimated_seconds());
        let commands = Commands { program: self.program, folder: work.folder };
        let Some(scheduler) = self.scheduler.as_deref_mut() else {
            let todo = ToDo::new(work, work.jobs, self.task_time);
            return Ok(Ran { remarks: todo.write(work.folder, &commands)?, ..Ran::default() });
        };
        let mut following = Following::new(work, commands, scheduler, self.task_time, self.tries, earlier);
        let remarks = following.follow(observer)?;
        Ok(Ran { unfinished: following.unfinished(), remarks, ..Ran::default() })
    }
}

impl<'w> ToDo<'w> {
    /// What the given trials need.
    pub(super) fn new(work: &Work<'w>, jobs: &[&Job], task_time: Seconds) -> ToDo<'w> {
        let datasets: HashSet<&Path> = jobs.iter().map(|job| job.request.facts.as_path()).collect();
        // A run without a trial to run may still lack the facts of a dataset.
        let needed = |job: &&PreparationJob| jobs.is_empty() || datasets.contains(job.facts_file.as_path());
        let mut trials: BTreeMap<Need, Vec<Task>> = BTreeMap::new();
        for task in group(jobs, task_time) {
            trials.entry(task.need).or_default().push(task);
        }
        ToDo {
            prepare: plan_of(work).datasets.iter().filter(needed).filter(|job| job.kept().is_none()).collect(),
            trials,
        }
    }

    pub(super) fn prepare_commands(&self, commands: &Commands<'_>) -> Vec<String> {
        self.prepare.iter().map(|job| commands.prepare(job)).collect()
    }

    /// Writes all tasks, for whoever runs them. Returns what the user should do.
    pub(super) fn write(&self, folder: &RunFolder, commands: &Commands<'_>) -> Result<Vec<String>, TaskError> {
        let root = folder.root().display();
        let attach = format!("{} collects what has run", run_command("attach", folder.root()));
        let mut all = self.prepare_commands(commands);
        let mut stages = Vec::new();
        let mut stage = |name: &str, lines: &[String]| -> Result<(), TaskError> {
            write_commands(folder, name, lines)?;
            if !lines.is_empty() {
                stages.push(format!("{name}.txt ({})", lines.len()));
            }
            Ok(())
        };
        stage("prepare", &all)?;
        for need in Need::ALL {
            let lines: Vec<String> =
                self.trials.get(&need).into_iter().flatten().map(|task| commands.trials(task)).collect();
            stage(&format!("trials-{}", need.name()), &lines)?;
            all.extend(lines);
        }
        let finish = [commands.finish()];
        stage("finish", &finish)?;
        all.extend(finish);
        write_atomically(&folder.root().join("tasks.txt"), lines(&all).as_bytes())?;
        if self.prepare.is_empty() && self.trials.is_empty() {
            return Ok(Vec::new());
        }
        let place = folder_of_tasks(folder);
        Ok(vec![
            format!("{root}/tasks.txt has {} commands, in the order of their stages; {attach}", all.len()),
            format!(
                "each stage, to start when the one before has ended, is in {}: {}",
                place.display(),
                stages.join(", ")
            ),
        ])
    }
}
