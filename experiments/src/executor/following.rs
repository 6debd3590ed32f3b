//! Follows the tasks of a run: by the records that appear in its folder, and by what the scheduler says of tasks that left
//! none. Submits again what a lost task left.

use super::remote::{ToDo, is_cancelled, plan_of, save_submitted};
use super::scheduler::{Active, Activity, Array, Content, Ending, Scheduler, Submitted, SubmittedTask, last_words};
use super::task::{Commands, Need, write_commands};
use super::{TaskError, Work};
use crate::job::Job;
use crate::observer::Observer;
use crate::outcome::EngineError;
use crate::preparation::PreparationJob;
use crate::units::Seconds;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the folder is looked at, at first and at most, and the factor between two looks in which nothing happens.
const LOOK: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
const SLOWER: f64 = 1.5;

/// How long a record may take to appear after its task has ended: file systems of networks remember what they have seen.
const GRACE: Duration = Duration::from_secs(5);

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
    done: usize,
    begun: Instant,
    /// Since when tasks are not active any more, by array and number.
    gone: HashMap<(usize, usize), Instant>,
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
        Following {
            earlier: ended,
            work,
            commands,
            scheduler,
            task_time,
            tries,
            arrays,
            waiting: work.jobs.iter().map(|job| (job.id(), *job)).collect(),
            done: 0,
            begun: Instant::now(),
            gone: HashMap::new(),
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
                return Ok(self.left_alone(&folder.root().display().to_string()));
            }
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
                Err(error @ TaskError::Refused { .. }) if self.is_busy() => self.tell(observer, error.to_string()),
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(pause);
            let before = self.done;
            self.collect(observer);
            pause = if self.done > before { LOOK[0] } else { pause.mul_f64(SLOWER).min(slowest) };
        }
    }

    /// Number of trials without a record.
    pub(super) fn unfinished(&self) -> usize {
        self.waiting.len()
    }

    /// Takes note of the records that have appeared.
    fn collect(&mut self, observer: &mut dyn Observer) {
        let folder = self.work.folder;
        for id in folder.ended_ids() {
            let Some((_, job)) = self.waiting.remove_entry(id.as_str()) else { continue };
            let Some(record) = folder.trial(&id) else {
                self.waiting.insert(job.id(), job);
                continue;
            };
            self.done += 1;
            let pace = self.begun.elapsed().as_secs_f64() / self.done as f64;
            observer.ended(&job.name, &record, pace * self.waiting.len() as f64);
        }
    }

    /// Asks the scheduler, and submits what no task is left for. Returns remarks once nothing is left to do.
    fn look(&mut self, observer: &mut dyn Observer) -> Result<Option<Vec<String>>, TaskError> {
        let ids: Vec<&str> = self.arrays.iter().map(|array| array.id.as_str()).collect();
        let active = if ids.is_empty() { Vec::new() } else { self.scheduler.active(&ids)? };
        self.settle(&active);
        if is_cancelled(self.work.folder) {
            // Those that were submitted meanwhile are cancelled too.
            let ids: HashSet<&str> = active.iter().map(|active| active.id.as_str()).collect();
            self.scheduler.cancel(&ids.into_iter().collect::<Vec<_>>())?;
            return Ok(Some(self.cancelled()));
        }
        let unprepared = |job: &&PreparationJob| job.kept().is_none();
        let facts_missing = plan_of(self.work).datasets.iter().any(|job| unprepared(&job));
        if self.waiting.is_empty() && !facts_missing {
            return Ok(Some(Vec::new()));
        }
        let open = self.open();
        let missing: Vec<&Job> = self
            .work
            .jobs
            .iter()
            .copied()
            .filter(|job| self.waiting.contains_key(job.id()) && !open.contains(job.id()))
            .collect();
        let attempts = self.attempts();
        let had = |job: &Job| attempts.get(job.id()).copied().unwrap_or(0);
        let retry: Vec<&Job> = missing.iter().copied().filter(|job| had(job) < self.tries).collect();
        let preparing = self.unsettled(|content| matches!(content, Content::Prepare(_)));
        let lacks_facts = facts_missing && !preparing && self.prepare_attempts() < self.tries;
        if !retry.is_empty() || (self.waiting.is_empty() && lacks_facts) {
            self.submit(&retry, observer)?;
            return Ok(None);
        }
        if !self.is_busy() && missing.len() == self.waiting.len() {
            return Ok(Some(self.given_up(&missing)));
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
                    Content::Prepare(name) => {
                        let job = plan_of(self.work).datasets.iter().find(|job| &job.name == name);
                        usize::from(job.is_some_and(|job| job.kept().is_none()))
                    }
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
        let todo = ToDo::new(self.work, jobs, self.task_time);
        let round =
            1 + self.arrays.iter().filter_map(|array| array.name.rsplit_once('.')?.1.parse().ok()).max().unwrap_or(0);
        todo.write(self.work.folder, &self.commands)?;
        // A dataset that an earlier array prepares is waited for.
        let needed = |task: &SubmittedTask| {
            let of = |name: &String| todo.prepare.iter().any(|job| job.name == *name);
            task.ending.is_none() && matches!(&task.content, Content::Prepare(name) if of(name))
        };
        let preparing = self.arrays.iter().filter(|array| array.tasks.iter().any(needed));
        let mut prepared: Vec<String> = preparing.map(|array| array.id.clone()).collect();
        let unprepared: Vec<&PreparationJob> = todo.prepare.iter().copied().filter(|job| !self.prepares(job)).collect();
        let lines: Vec<String> = unprepared.iter().map(|job| self.commands.prepare(job)).collect();
        if !lines.is_empty() {
            let tasks = unprepared.iter().map(|job| Content::Prepare(job.name.clone())).collect();
            let bytes = unprepared.iter().filter_map(|job| job.memory_bytes).max().unwrap_or(0);
            let threads = self.work.jobs.iter().map(|job| job.trial().threads).max().unwrap_or(1);
            let array = Array {
                name: format!("prepare.{round}"),
                need: Need::Shared,
                file: write_commands(self.work.folder, &format!("prepare.{round}"), &lines)?,
                count: lines.len(),
                bytes,
                threads,
            };
            prepared.extend(self.send(array, tasks, &[], observer)?);
        }
        let mut ran = prepared.clone();
        for (need, tasks) in &todo.trials {
            for (part, tasks) in tasks.chunks(self.scheduler.most_tasks()).enumerate() {
                let lines: Vec<String> = tasks.iter().map(|task| self.commands.trials(task)).collect();
                let part = if part == 0 { String::new() } else { format!("-part{}", part + 1) };
                let name = format!("trials-{}{part}.{round}", need.name());
                let array = Array {
                    file: write_commands(self.work.folder, &name, &lines)?,
                    name,
                    need: *need,
                    count: tasks.len(),
                    bytes: tasks.iter().map(|task| task.bytes).max().unwrap_or(0),
                    threads: tasks.iter().map(|task| task.threads).max().unwrap_or(1),
                };
                let contents = tasks.iter().map(|task| Content::Trials(task.ids.clone())).collect();
                match self.send(array, contents, &prepared, observer)? {
                    Some(id) => ran.push(id),
                    // The rest is submitted when others have ended.
                    None => return Ok(()),
                }
            }
        }
        let name = format!("finish.{round}");
        let file = write_commands(self.work.folder, &name, &[self.commands.finish()])?;
        let array = Array { name, need: Need::Shared, file, count: 1, bytes: 0, threads: 1 };
        self.send(array, vec![Content::Finish], &ran, observer)?;
        Ok(())
    }

    /// Submits one array and writes it down. Returns None if the scheduler accepts no more for now.
    fn send(
        &mut self,
        array: Array,
        contents: Vec<Content>,
        after: &[String],
        observer: &mut dyn Observer,
    ) -> Result<Option<String>, TaskError> {
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let id = match self.scheduler.submit(self.work.folder, &array, &after) {
            Ok(id) => id,
            Err(error @ TaskError::Full { .. }) if !self.arrays.is_empty() => {
                self.tell(observer, error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let tasks = contents.into_iter().map(|content| SubmittedTask { content, ending: None }).collect();
        self.tell(observer, format!("submitted {} as job {id}: {}", array.name, counted(array.count, "task")));
        self.arrays.push(Submitted { name: array.name, id: id.clone(), tasks });
        self.save()?;
        Ok(Some(id))
    }

    /// Cancels the tasks that would make the report: this process makes it now.
    fn dismiss(&mut self) {
        let open = |array: &&Submitted| array.tasks.iter().all(|task| task.content == Content::Finish);
        let ids: Vec<&str> = self.arrays.iter().filter(open).map(|array| array.id.as_str()).collect();
        // A second report is as good as the first.
        let _ = self.scheduler.cancel(&ids);
    }

    /// Says something once.
    fn tell(&mut self, observer: &mut dyn Observer, words: String) {
        if words != self.told && !words.is_empty() {
            observer.waiting(&words);
            self.told = words;
        }
    }

    /// What the user should know about a run that goes on without this process.
    fn left_alone(&self, folder: &str) -> Vec<String> {
        vec![format!(
            "its tasks go on: `cargo xtask experiments --attach {folder}` follows them, and `--cancel {folder}` cancels them"
        )]
    }

    /// What the user should know about a run whose tasks somebody has cancelled.
    fn cancelled(&self) -> Vec<String> {
        let root = self.work.folder.root().display();
        vec![format!(
            "its tasks were cancelled; `cargo xtask experiments --attach {root}` submits what is missing again"
        )]
    }

    /// Why trials have no record: for each reason, how many trials there are and what one of their tasks said.
    fn given_up(&mut self, missing: &[&Job]) -> Vec<String> {
        let unprepared: HashSet<&str> = plan_of(self.work)
            .datasets
            .iter()
            .filter(|job| job.kept().is_none())
            .map(|job| job.name.as_str())
            .collect();
        let mut reasons: BTreeMap<String, (String, Vec<&str>)> = BTreeMap::new();
        for job in missing {
            let dataset = job.trial().dataset.as_str();
            // What they say themselves is that their dataset comes first.
            let (task, before) = if unprepared.contains(dataset) {
                let of = |content: &Content| matches!(content, Content::Prepare(name) if name == dataset);
                (self.last(of), format!("{dataset} could not be prepared: "))
            } else {
                let of =
                    |content: &Content| matches!(content, Content::Trials(ids) if ids.iter().any(|id| id == job.id()));
                (self.last(of), String::new())
            };
            let Some((at, number)) = task else { continue };
            let (how, task) = self.reason(at, number);
            let (_, names) = reasons.entry(format!("{before}{how}")).or_insert_with(|| (task, Vec::new()));
            names.push(&job.name);
        }
        let line = |(reason, (task, names)): (&String, &(String, Vec<&str>))| {
            let several = if names.len() == 1 { "has" } else { "have" };
            let count = counted(names.len(), "trial");
            format!("{count} {several} no record, such as {}: {reason} ({task})", names[0])
        };
        let mut lines: Vec<String> = reasons.iter().map(line).collect();
        let root = self.work.folder.root().display();
        lines.push(format!("`cargo xtask experiments --attach {root}` submits what is missing again"));
        lines
    }

    /// The place of the last task with such content.
    fn last(&self, is: impl Fn(&Content) -> bool) -> Option<(usize, usize)> {
        places(&self.arrays).filter(|(_, task)| is(&task.content)).map(|(place, _)| place).last()
    }

    /// How a task ended and what it said last, and which task it is.
    fn reason(&mut self, at: usize, number: usize) -> (String, String) {
        let array = &self.arrays[at];
        let log = self.scheduler.log(self.work.folder, array, number);
        let id = array.id.clone();
        let fate = self.scheduler.fate(&id, number).map(|fate| format!("its task {fate}; ")).unwrap_or_default();
        let words = last_words(&log);
        let words =
            if words.is_empty() { "its task left no output".to_owned() } else { format!("its task said: {words}") };
        (format!("{fate}{words}"), format!("task {id}_{number}, {}", log.display()))
    }
}

/// All tasks, with the place of their array and their number in it.
fn places(arrays: &[Submitted]) -> impl Iterator<Item = ((usize, usize), &SubmittedTask)> {
    arrays
        .iter()
        .enumerate()
        .flat_map(|(at, array)| array.tasks.iter().enumerate().map(move |(index, task)| ((at, index + 1), task)))
}

/// What the tasks do, in one line.
fn summary(active: &[Active]) -> String {
    let (mut nodes, mut reasons): (BTreeMap<&str, usize>, BTreeMap<&str, usize>) = Default::default();
    for active in active {
        match &active.activity {
            Activity::Runs(node) => *nodes.entry(node).or_default() += 1,
            Activity::Waits(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    let mut words = Vec::new();
    if !nodes.is_empty() {
        let count = nodes.values().sum();
        let names: Vec<&str> = nodes.into_keys().collect();
        words.push(format!("{} on {}", counted_as(count, "task runs", "tasks run"), names.join(", ")));
    }
    for (reason, count) in reasons {
        words.push(format!("{}: {reason}", counted_as(count, "task waits", "tasks wait")));
    }
    words.join("; ")
}

fn counted(count: usize, what: &str) -> String {
    counted_as(count, what, &format!("{what}s"))
}

fn counted_as(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
