//! Kills what carries out a run, at random: processes of trials, tasks, the process that follows them, the daemons of Slurm.
//! Counts what got lost, what was recorded twice, and what differs from an undisturbed run.

#![allow(dead_code)]

use super::quality::quality;
use super::slurm::{Cluster, NODES};
use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{RunFolder, Status, read_trial};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// 200 short trials, about nine to a task.
pub const EXPERIMENT: &str = "name: kills
seeds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
threads: 1
executor: { slurm: { task_time: 3s } }
datasets:
  - { synthetic: gaussian, dim: 8, n: 300, queries: 10, name: g }
  - { synthetic: ar1, dim: 8, n: 300, queries: 10, name: a }
methods:
  - pq: { bits: 4 }
    sweep: { m: [2, 4] }
  - scalar: {}
    sweep: { bits: [1, 2, 3, 4, 5, 6, 7, 8] }
measure: { rate: {}, distortion: {}, recall: { k: [10] } }
";

/// Most processes that follow one run, one after the other.
const MOST_FOLLOWERS: usize = 200;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The process of a trial.
    Trial,
    /// A task: of a dataset, of trials, or of the report.
    Task,
    /// The process that submits and follows.
    Follower,
    /// A task, through the scheduler.
    Cancelled,
    /// The daemon of a node, which comes back.
    Node,
    /// The controller, which comes back.
    Controller,
}

/// How many of [`ALL`] are no daemons.
pub const WITHOUT_DAEMONS: usize = 14;

/// All of them. Where a daemon is away, nothing happens for a while.
pub const ALL: [Victim; 16] = [
    Victim::Trial,
    Victim::Trial,
    Victim::Trial,
    Victim::Trial,
    Victim::Trial,
    Victim::Task,
    Victim::Task,
    Victim::Task,
    Victim::Task,
    Victim::Follower,
    Victim::Follower,
    Victim::Cancelled,
    Victim::Cancelled,
    Victim::Cancelled,
    Victim::Node,
    Victim::Controller,
];

/// What runs, and how it is disturbed.
pub struct Plan<'a> {
    /// The executable.
    pub program: &'a Path,
    /// Where the runs go.
    pub folder: &'a Path,
    pub experiment: &'a str,
    /// Kills in all.
    pub kills: usize,
    /// Most kills of a run.
    pub of_a_run: usize,
    pub seed: u64,
    /// What is killed; a kind that is listed twice is killed twice as often.
    pub victims: &'a [Victim],
}

/// What happened.
#[derive(Debug, Default)]
pub struct Counts {
    pub kills: BTreeMap<Victim, usize>,
    pub runs: usize,
    pub trials: usize,
    /// Processes that followed a run.
    pub followers: usize,
    /// Finished trials whose record went away.
    pub lost: Vec<String>,
    /// Finished trials whose record was replaced, or that have two.
    pub twice: Vec<String>,
    /// What else is not as in an undisturbed run.
    pub different: Vec<String>,
}

impl Counts {
    pub fn killed(&self) -> usize {
        self.kills.values().sum()
    }

    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.twice.is_empty() && self.different.is_empty()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> = self.kills.iter().map(|(kind, count)| format!("{count} × {kind:?}")).collect();
        writeln!(f, "{} kills: {}", self.killed(), kinds.join(", "))?;
        writeln!(f, "{} runs of {} trials, followed by {} processes", self.runs, self.trials, self.followers)?;
        let (lost, twice, different) = (self.lost.len(), self.twice.len(), self.different.len());
        writeln!(f, "{lost} lost, {twice} recorded twice, {different} different")?;
        self.lost.iter().chain(&self.twice).chain(&self.different).try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Does it all. An error is a run that does not come to its end.
pub fn disturb(plan: &Plan<'_>, cluster: &mut Cluster) -> Result<Counts, String> {
    let file = plan.folder.join("kills.yaml");
    std::fs::write(&file, plan.experiment).map_err(|error| error.to_string())?;
    let undisturbed = plan.folder.join("undisturbed");
    let mut command = Command::new(plan.program);
    command.current_dir(plan.folder).args(["experiments", "kills.yaml", "--executor", "here", "--no-report", "--out"]);
    let output = command.arg(&undisturbed).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let expected = quality(&undisturbed)?;
    let mut counts = Counts::default();
    let mut rng = Rng::with_seed(plan.seed);
    while counts.killed() < plan.kills {
        let root = plan.folder.join(format!("run{}", counts.runs));
        let disturbed = Disturbed {
            plan,
            cluster,
            root: &root,
            seen: HashMap::new(),
            log: plan.folder.join(format!("run{}.txt", counts.runs)),
            away: Vec::new(),
        };
        disturbed.run(&mut rng, &mut counts)?;
        check(&root, &expected, &mut counts);
        counts.runs += 1;
        counts.trials = RunFolder::new(&root).ended_ids().len();
        if counts.is_clean() {
            let _ = std::fs::remove_dir_all(&root);
        }
        eprintln!("{}", counts.to_string().trim_end());
    }
    Ok(counts)
}

/// Compares a run that has ended with an undisturbed one.
fn check(root: &Path, expected: &[String], counts: &mut Counts) {
    match quality(root) {
        Ok(found) if found == expected => {}
        Ok(_) => counts.different.push(format!("{}: other values", root.display())),
        Err(error) => counts.different.push(format!("{}: {error}", root.display())),
    }
    let names = std::fs::read_dir(root.join("trials")).into_iter().flatten().flatten();
    let besides = names.filter(|entry| entry.file_name().to_string_lossy().ends_with(".before.json"));
    counts.twice.extend(besides.map(|entry| format!("{} is left", entry.path().display())));
    let folder = RunFolder::new(root);
    match folder
        .refresh_tables()
        .and_then(|()| folder.checked_tables())
        .and_then(|checked| Ok((checked, folder.tables()?)))
    {
        Ok((checked, tables)) => {
            let wrong = checked.disagreements.len();
            let (rows, trials) = (tables.trials.height(), folder.ended_ids().len());
            if wrong > 0 || rows != trials {
                let root = root.display();
                counts.different.push(format!("{root}: {rows} rows for {trials} trials, {wrong} tables disagree"));
            }
        }
        Err(error) => counts.different.push(format!("{}: {error}", root.display())),
    }
}

struct Disturbed<'a> {
    plan: &'a Plan<'a>,
    cluster: &'a mut Cluster,
    root: &'a Path,
    /// The first record of each trial that succeeded.
    seen: HashMap<String, Vec<u8>>,
    /// What the followers say.
    log: PathBuf,
    /// Daemons to start again, after so many more steps.
    away: Vec<(Option<usize>, usize)>,
}

/// How a follower is started.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Submit,
    Attach,
}

impl Disturbed<'_> {
    fn run(mut self, rng: &mut Rng, counts: &mut Counts) -> Result<(), String> {
        let mut how = Start::Submit;
        let mut follower = self.follow(how)?;
        let mut left = self.plan.of_a_run;
        let mut followers = 1;
        loop {
            std::thread::sleep(Duration::from_millis(rng.u64(20..200)));
            self.observe(counts);
            self.bring_back(false);
            if let Ok(Some(status)) = follower.try_wait() {
                // A record of a killed trial is a failure; the same command runs the trial again.
                if status.success() && quality(self.root).is_ok() {
                    break;
                }
                how = if how == Start::Attach { Start::Submit } else { Start::Attach };
                follower = self.follow(how)?;
                followers += 1;
                if followers > MOST_FOLLOWERS {
                    let _ = follower.kill();
                    return Err(format!(
                        "{} does not come to its end, see {}",
                        self.root.display(),
                        self.log.display()
                    ));
                }
                continue;
            }
            let victim = self.plan.victims[rng.usize(..self.plan.victims.len())];
            // Most kills fall where something runs.
            let idle = of_run(&processes(), self.root).0.is_empty();
            if idle && rng.u8(..8) > 0 {
                continue;
            }
            if left == 0 || counts.killed() == self.plan.kills || !self.kill(victim, &mut follower, rng) {
                continue;
            }
            *counts.kills.entry(victim).or_default() += 1;
            left -= 1;
            if victim == Victim::Follower {
                how = if rng.u8(..4) == 0 { Start::Submit } else { Start::Attach };
                follower = self.follow(how)?;
                followers += 1;
            }
        }
        self.bring_back(true);
        self.observe(counts);
        counts.followers += followers;
        // A task of the report may still write.
        self.cluster.ask("scancel", &["--partition=main"]);
        self.cluster.wait_for(|cluster| cluster.tasks().is_empty());
        Ok(())
    }

    fn follow(&self, how: Start) -> Result<Child, String> {
        let failed = |error: std::io::Error| error.to_string();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).map_err(failed)?;
        let (name, value) = self.cluster.variable();
        let mut command = Command::new(self.plan.program);
        command
            .current_dir(self.plan.folder)
            .args(["experiments", "--no-report"])
            .env(name, value)
            .env("NO_COLOR", "1");
        match how {
            Start::Submit => command.args(["kills.yaml", "--out"]).arg(self.root),
            Start::Attach => command.arg("--attach").arg(self.root),
        };
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        command.spawn().map_err(failed)
    }

    /// Kills one. Returns whether there was one to kill.
    fn kill(&mut self, victim: Victim, follower: &mut Child, rng: &mut Rng) -> bool {
        match victim {
            Victim::Trial | Victim::Task => {
                let processes = processes();
                let (tasks, trials) = of_run(&processes, self.root);
                let candidates = if victim == Victim::Task { tasks } else { trials };
                rng.choice(candidates).is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
            }
            Victim::Follower => follower.kill().and_then(|()| follower.wait()).is_ok(),
            Victim::Cancelled => {
                let running: Vec<String> =
                    self.cluster.tasks().into_iter().filter(|(_, state)| state == "R").map(|(id, _)| id).collect();
                let chosen = rng.choice(running);
                chosen.map(|id| self.cluster.ask("scancel", &[&id])).is_some()
            }
            Victim::Node => {
                let number = rng.usize(..NODES.len());
                let there = self.away.iter().all(|(away, _)| *away != Some(number));
                if there {
                    self.cluster.kill_node(number);
                    self.away.push((Some(number), rng.usize(1..10)));
                }
                there
            }
            Victim::Controller => {
                let there = self.away.iter().all(|(away, _)| away.is_some());
                if there {
                    self.cluster.kill_controller();
                    self.away.push((None, rng.usize(1..10)));
                }
                there
            }
        }
    }

    /// Starts daemons again whose time has come, or all of them.
    fn bring_back(&mut self, all: bool) {
        if self.plan.victims.contains(&Victim::Node) {
            self.cluster.resume_nodes();
        }
        for (away, steps) in std::mem::take(&mut self.away) {
            match (away, steps) {
                (_, 1..) if !all => self.away.push((away, steps - 1)),
                (Some(number), _) => self.cluster.start_node(number),
                (None, _) => self.cluster.start_controller(),
            }
        }
    }

    /// Notes the records of trials that have succeeded, and compares those that were noted before.
    fn observe(&mut self, counts: &mut Counts) {
        let folder = self.root.join("trials");
        for id in RunFolder::new(self.root).ended_ids() {
            let path = folder.join(format!("{id}.json"));
            let Ok(bytes) = std::fs::read(&path) else { continue };
            match self.seen.get(&id) {
                Some(first) if *first == bytes => {}
                Some(_) => counts.twice.push(format!("{} was replaced", path.display())),
                None if read_trial(&path).is_ok_and(|record| record.status == Status::Ok) => {
                    self.seen.insert(id, bytes);
                }
                None => {}
            }
        }
        let there: HashSet<String> = RunFolder::new(self.root).ended_ids().into_iter().collect();
        let lost = self.seen.keys().filter(|id| !there.contains(*id));
        counts.lost.extend(lost.map(|id| format!("{} lost {id}", self.root.display())));
    }
}

/// A process of this machine.
struct Process {
    pid: i32,
    parent: i32,
    words: Vec<String>,
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |name: &str| {
        let pid: i32 = name.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        Some(Process { pid, parent, words })
    };
    entries.filter_map(|entry| process(entry.file_name().to_str()?)).collect()
}

/// The tasks of a run on this machine, and the processes of their trials.
fn of_run(processes: &[Process], root: &Path) -> (Vec<i32>, Vec<i32>) {
    const VERBS: [&str; 3] = ["prepare", "trials", "finish"];
    let root = root.to_string_lossy();
    let is_task = |process: &&Process| matches!(&process.words[..], [_, verb, run, ..] if VERBS.contains(&verb.as_str()) && *run == root);
    let tasks: Vec<i32> = processes.iter().filter(is_task).map(|process| process.pid).collect();
    let is_trial = |process: &&Process| {
        process.words.get(1).is_some_and(|verb| verb == "trial") && tasks.contains(&process.parent)
    };
    let trials = processes.iter().filter(is_trial).map(|process| process.pid).collect();
    (tasks, trials)
}
