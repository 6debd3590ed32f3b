//! Follows the tasks of a run: by the records that appear in its folder, and by what the scheduler says of tasks that left
//! none. Submits again what a lost task left.

use super::fates::{cancelled, counted, given_up, left_alone, summary};
use super::remote::{ToDo, is_cancelled, plan_of, save_submitted};
use super::scheduler::{Active, Array, Content, Ending, Scheduler, Submitted, SubmittedTask, places};
use super::task::{Commands, Need, write_commands};
use super::unit::{ended, is_damaged};
use super::{TaskError, Work};
use crate::job::Job;
use crate::observer::Observer;
use crate::outcome::EngineError;
use crate::preparation::PreparationJob;
use crate::units::Seconds;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the folder is looked at, at first and at most, and the factor between two looks in which nothing happens.
const LOOK: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
const SLOWER: f64 = 1.5;

/// How often the scheduler is asked, at first and at most: it serves a whole cluster.
const ASK: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(15)];

/// When the scheduler is asked again about tasks that it does not list any more.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How long a record may take to appear after its task has ended: file systems of networks remember what they have seen.
const GRACE: Duration = Duration::from_secs(5);

/// When a scheduler that has refused a task is asked to accept it again.
const REFUSED: Duration = Duration::from_secs(60);

/// A run that is being followed.
pub(super) struct Following<'a, 's> {
    work: &'a Work<'a>,
    commands: Commands<'a>,
    scheduler: &'s mut (dyn Scheduler + 's),
    task_time: Seconds,
    tries: usize,
    arrays: Vec<Submitted>,
    /// Tasks that had ended before: each time that a user asks for the run, trials get all their tries.
    earlier: HashSet<(usize, usize)>,
    /// Trials without a record, by id.
    waiting: HashMap<&'a str, &'a Job>,
    /// Datasets that have not been prepared.
    unprepared: Vec<&'a PreparationJob>,
    done: usize,
    begun: Instant,
    /// Since when tasks are not active any more, by array and number.
    gone: HashMap<(usize, usize), Instant>,
    /// Most tasks of an array: fewer than the cluster allows once it has refused that many.
    most_tasks: Option<usize>,
    /// Nothing is submitted before.
    submit_at: Instant,
    /// The scheduler is not asked before, and how long it is left alone then.
    ask_at: Instant,
    pause: Duration,
    /// What the user was last told of the tasks.
    told: String,
}

impl<'a, 's> Following<'a, 's> {
    pub(super) fn new(
        work: &'a Work<'a>,
        commands: Commands<'a>,
        scheduler: &'s mut (dyn Scheduler + 's),
        task_time: Seconds,
        tries: usize,
        arrays: Vec<Submitted>,
    ) -> Following<'a, 's> {
        let ended = places(&arrays).filter(|(_, task)| task.ending.is_some()).map(|(place, _)| place).collect();
        let now = Instant::now();
        Following {
            earlier: ended,
            work,
            commands,
            scheduler,
            task_time,
            tries,
            arrays,
            waiting: work.jobs.iter().map(|job| (job.id(), *job)).collect(),
            unprepared: plan_of(work).datasets.iter().collect(),
            done: 0,
            begun: now,
            gone: HashMap::new(),
            most_tasks: None,
            submit_at: now,
            ask_at: now,
            pause: ASK[0],
            told: String::new(),
        }
    }

    /// Follows them until all trials have ended or nothing is left to try. Returns what the user should know.
    pub(super) fn follow(&mut self, observer: &mut dyn Observer) -> Result<Vec<String>, EngineError> {
        let folder = self.work.folder;
        let [mut pause, slowest] = LOOK;
        self.collect(observer);
        loop {
            if self.work.interrupt.load(Ordering::SeqCst) {
                return Ok(vec![left_alone(folder)]);
            }
            if self.is_complete() || is_cancelled(folder) || Instant::now() >= self.ask_at {
                match self.look(observer) {
                    Ok(Some(remarks)) => {
                        self.dismiss();
                        return Ok(remarks);
                    }
                    Ok(None) => {}
                    // The scheduler may be down for a while; the tasks go on.
                    Err(error @ TaskError::NoAnswer { .. }) if !self.arrays.is_empty() => {
                        self.tell(observer, format!("waiting for the scheduler: {error}"));
                    }
                    // What is running is still collected.
                    Err(error @ (TaskError::Refused { .. } | TaskError::Full { .. })) if self.is_busy() => {
                        self.submit_at = Instant::now() + REFUSED;
                        self.tell(observer, error.to_string());
                    }
                    Err(error) => return Err(error.into()),
                }
                let now = Instant::now();
                self.ask_at = now + if self.gone.is_empty() { self.pause } else { self.pause.min(ASK_AGAIN) };
                self.pause = self.pause.mul_f64(SLOWER).min(ASK[1]);
            }
            std::thread::sleep(pause);
            let before = self.done;
            self.collect(observer);
            pause = if self.done > before { LOOK[0] } else { pause.mul_f64(SLOWER).min(slowest) };
        }
    }

    /// Whether nothing is left to do.
    fn is_complete(&self) -> bool {
        self.waiting.is_empty() && self.unprepared.is_empty()
    }

    /// Number of trials without a record.
    pub(super) fn unfinished(&self) -> usize {
        self.waiting.len()
    }

    /// Takes note of the records that have appeared.
    fn collect(&mut self, observer: &mut dyn Observer) {
        let folder = self.work.folder;
        self.unprepared.retain(|job| job.kept().is_none());
        for id in folder.ended_ids() {
            let Some(&job) = self.waiting.get(id.as_str()) else { continue };
            let Some(record) = ended(folder, job) else { continue };
            self.waiting.remove(id.as_str());
            self.done += 1;
            let pace = self.begun.elapsed().as_secs_f64() / self.done as f64;
            observer.ended(&job.name, &record, pace * self.waiting.len() as f64);
        }
    }

    /// Asks the scheduler, and submits what no task is left for. Returns remarks once nothing is left to do.
    fn look(&mut self, observer: &mut dyn Observer) -> Result<Option<Vec<String>>, TaskError> {
        if self.is_complete() {
            return Ok(Some(Vec::new()));
        }
        let folder = self.work.folder;
        let active = self.scheduler.active(folder, &self.arrays)?;
        self.settle(&active);
        if is_cancelled(folder) {
            // Those that were submitted meanwhile are cancelled too.
            let ids: HashSet<&str> = active.iter().map(|active| active.id.as_str()).collect();
            self.scheduler.cancel(folder, &ids.into_iter().collect::<Vec<_>>())?;
            return Ok(Some(vec![cancelled(folder)]));
        }
        let open = self.open();
        let is_missing = |job: &&Job| self.waiting.contains_key(job.id()) && !open.contains(job.id());
        let missing: Vec<&Job> = self.work.jobs.iter().copied().filter(is_missing).collect();
        let attempts = self.attempts();
        let had = |job: &Job| attempts.get(job.id()).copied().unwrap_or(0);
        let retry: Vec<&Job> = missing.iter().copied().filter(|job| had(job) < self.tries).collect();
        let preparing = self.unsettled(|content| matches!(content, Content::Prepare(_)));
        let lacks_facts = !self.unprepared.is_empty() && !preparing && self.prepare_attempts() < self.tries;
        if !retry.is_empty() || (self.waiting.is_empty() && lacks_facts) {
            if Instant::now() >= self.submit_at {
                self.submit(&retry, observer)?;
            }
            return Ok(None);
        }
        if !self.is_busy() && missing.len() == self.waiting.len() {
            return Ok(Some(given_up(folder, &self.arrays, &self.unprepared, &missing, self.scheduler)));
        }
        self.tell(observer, summary(&active));
        Ok(None)
    }

    /// Finds out which tasks have ended, and with what.
    fn settle(&mut self, active: &[Active]) {
        let mut changed = false;
        for (at, array) in self.arrays.iter_mut().enumerate() {
            let all = active.iter().any(|active| active.id == array.id && active.number.is_none());
            let listed: HashSet<usize> =
                active.iter().filter(|active| active.id == array.id).filter_map(|active| active.number).collect();
            for (index, task) in array.tasks.iter_mut().enumerate() {
                let place = (at, index + 1);
                if task.ending.is_some() {
                    continue;
                }
                if all || listed.contains(&place.1) {
                    self.gone.remove(&place);
                    continue;
                }
                let since = *self.gone.entry(place).or_insert_with(Instant::now);
                let left = match &task.content {
                    Content::Prepare(name) => usize::from(self.unprepared.iter().any(|job| &job.name == name)),
                    Content::Trials(ids) => ids.iter().filter(|id| self.waiting.contains_key(id.as_str())).count(),
                    Content::Finish => 0,
                };
                let size = if let Content::Trials(ids) = &task.content { ids.len() } else { 1 };
                if left > 0 && since.elapsed() < GRACE {
                    continue;
                }
                let ending = match left {
                    0 => Ending::Done,
                    left if left < size => Ending::Partial,
                    _ => Ending::Nothing,
                };
                self.gone.remove(&place);
                (task.ending, changed) = (Some(ending), true);
            }
        }
        if changed {
            // What is not written is found out again.
            let _ = self.save();
        }
    }

    /// Ids of trials that a task may still run.
    fn open(&self) -> HashSet<&str> {
        let tasks = self.arrays.iter().flat_map(|array| &array.tasks).filter(|task| task.ending.is_none());
        let ids = tasks.filter_map(|task| if let Content::Trials(ids) = &task.content { Some(ids) } else { None });
        ids.flatten().map(String::as_str).collect()
    }

    /// Whether a task that may still be active has such content.
    fn unsettled(&self, is: impl Fn(&Content) -> bool) -> bool {
        self.arrays.iter().flat_map(|array| &array.tasks).any(|task| task.ending.is_none() && is(&task.content))
    }

    /// Whether a task may still do something besides the report.
    fn is_busy(&self) -> bool {
        self.unsettled(|content| !matches!(content, Content::Finish))
    }

    /// How many tasks with such content have ended, since this process follows them, with nothing done.
    fn failures(&self, is: impl Fn(&Content) -> bool) -> usize {
        let tasks = places(&self.arrays).filter(|(place, _)| !self.earlier.contains(place));
        tasks.filter(|(_, task)| task.ending == Some(Ending::Nothing) && is(&task.content)).count()
    }

    /// How many tasks of each trial have ended, since this process follows them, without a record of any of their trials.
    fn attempts(&self) -> HashMap<&str, usize> {
        let mut attempts = HashMap::new();
        for (_, task) in places(&self.arrays).filter(|(place, _)| !self.earlier.contains(place)) {
            if let (Content::Trials(ids), Some(Ending::Nothing)) = (&task.content, task.ending) {
                ids.iter().for_each(|id| *attempts.entry(id.as_str()).or_default() += 1);
            }
        }
        attempts
    }

    fn prepare_attempts(&self) -> usize {
        self.failures(|content| matches!(content, Content::Prepare(_)))
    }

    fn save(&self) -> Result<(), TaskError> {
        save_submitted(self.work.folder, &self.arrays)
    }

    /// Whether a task that may still be active prepares a dataset.
    fn prepares(&self, job: &PreparationJob) -> bool {
        self.unsettled(|content| matches!(content, Content::Prepare(name) if *name == job.name))
    }

    /// Submits tasks for trials, and first for the datasets that they need.
    fn submit(&mut self, jobs: &[&Job], observer: &mut dyn Observer) -> Result<(), TaskError> {
        let folder = self.work.folder;
        // An answer of the scheduler may have been lost: what those tasks do is not known, and is submitted again.
        let strays = self.scheduler.strays(folder, &self.arrays)?;
        self.scheduler.cancel(folder, &strays.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut damaged = jobs.iter().filter(|job| is_damaged(folder, job));
        damaged.try_for_each(|job| folder.set_aside(job.id()))?;
        let todo = ToDo::new(self.work, jobs, self.task_time);
        let round =
            1 + self.arrays.iter().filter_map(|array| array.name.rsplit_once('.')?.1.parse().ok()).max().unwrap_or(0);
        todo.write(folder, &self.commands)?;
        (self.ask_at, self.pause) = (Instant::now() + ASK[0], ASK[0]);
        // A dataset that an earlier array prepares is waited for.
        let needed = |task: &SubmittedTask| {
            let of = |name: &String| todo.prepare.iter().any(|job| job.name == *name);
            task.ending.is_none() && matches!(&task.content, Content::Prepare(name) if of(name))
        };
        let preparing = self.arrays.iter().filter(|array| array.tasks.iter().any(needed));
        let earlier: Vec<String> = preparing.map(|array| array.id.clone()).collect();
        let unprepared: Vec<&PreparationJob> = todo.prepare.iter().copied().filter(|job| !self.prepares(job)).collect();
        let threads = self.work.jobs.iter().map(|job| job.trial().threads).max().unwrap_or(1);
        let prepare = |job: &&PreparationJob| ToSend {
            command: self.commands.prepare(job),
            content: Content::Prepare(job.name.clone()),
            bytes: job.estimated_bytes,
            threads,
        };
        let tasks: Vec<ToSend> = unprepared.iter().map(prepare).collect();
        let prepared = self.send("prepare", round, Need::Shared, &tasks, &earlier, observer)?;
        let prepared: Vec<String> = earlier.into_iter().chain(prepared).collect();
        let mut ran = prepared.clone();
        for (need, tasks) in &todo.trials {
            let tasks: Vec<ToSend> = tasks
                .iter()
                .map(|task| ToSend {
                    command: self.commands.trials(task),
                    content: Content::Trials(task.ids.clone()),
                    bytes: task.bytes,
                    threads: task.threads,
                })
                .collect();
            ran.extend(self.send(&format!("trials-{}", need.name()), round, *need, &tasks, &prepared, observer)?);
        }
        let finish = ToSend { command: self.commands.finish(), content: Content::Finish, bytes: 0, threads: 1 };
        self.send("finish", round, Need::Shared, &[finish], &ran, observer)?;
        Ok(())
    }

    /// Submits tasks, in as many arrays as the cluster wants, and writes each down. Returns their ids.
    ///
    /// # Errors
    /// The scheduler refuses; for now, if its limits on what waits and runs leave no room.
    fn send(
        &mut self,
        kind: &str,
        round: usize,
        need: Need,
        tasks: &[ToSend],
        after: &[String],
        observer: &mut dyn Observer,
    ) -> Result<Vec<String>, TaskError> {
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let (mut ids, mut rest) = (Vec::new(), tasks);
        while !rest.is_empty() {
            let most = *self.most_tasks.get_or_insert_with(|| self.scheduler.most_tasks());
            let (now, later) = rest.split_at(most.clamp(1, rest.len()));
            let part = if ids.is_empty() { String::new() } else { format!("-part{}", ids.len() + 1) };
            let name = format!("{kind}{part}.{round}");
            let lines: Vec<String> = now.iter().map(|task| task.command.clone()).collect();
            let array = Array {
                file: write_commands(self.work.folder, &name, &lines)?,
                name,
                need,
                count: now.len(),
                bytes: now.iter().map(|task| task.bytes).max().unwrap_or(0),
                threads: now.iter().map(|task| task.threads).max().unwrap_or(1),
            };
            let id = match self.scheduler.submit(self.work.folder, &array, &after) {
                Ok(id) => id,
                // Each task of an array counts towards the limit: fewer of them may be accepted.
                Err(TaskError::Full { .. }) if now.len() > 1 => {
                    self.most_tasks = Some(now.len() / 2);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.tell(observer, format!("submitted {} as job {id}: {}", array.name, counted(array.count, "task")));
            let tasks = now.iter().map(|task| SubmittedTask { content: task.content.clone(), ending: None }).collect();
            self.arrays.push(Submitted { name: array.name, id: id.clone(), tasks });
            self.save()?;
            ids.push(id);
            rest = later;
        }
        Ok(ids)
    }

    /// Cancels the tasks that would make the report: this process makes it now.
    fn dismiss(&mut self) {
        let open = |array: &&Submitted| array.tasks.iter().all(|task| task.content == Content::Finish);
        let ids: Vec<&str> = self.arrays.iter().filter(open).map(|array| array.id.as_str()).collect();
        // A second report is as good as the first.
        let _ = self.scheduler.cancel(self.work.folder, &ids);
    }

    /// Says something once.
    fn tell(&mut self, observer: &mut dyn Observer, words: String) {
        if words != self.told && !words.is_empty() {
            observer.waiting(&words);
            self.told = words;
        }
    }
}

/// A task that is to be submitted.
struct ToSend {
    command: String,
    content: Content,
    /// Estimated memory.
    bytes: u64,
    threads: usize,
}
