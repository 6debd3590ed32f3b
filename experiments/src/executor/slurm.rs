//! Slurm: everything that knows its commands, their options and what they print.

use super::TaskError;
use super::saved_plan::folder_of_tasks;
use super::scheduler::{Active, Activity, Array, Scheduler, Submitted};
use crate::executor_choice::SlurmSettings;
use crate::shell::quoted;
use record::RunFolder;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const SBATCH: &str = "sbatch";
const SQUEUE: &str = "squeue";
const SACCT: &str = "sacct";
const SCANCEL: &str = "scancel";
const SCONTROL: &str = "scontrol";
const SINFO: &str = "sinfo";

/// Largest array if the cluster does not tell.
const MOST_TASKS: usize = 1000;

/// What a task takes besides the memory of its trial: the task itself and the page cache of its files, in bytes.
const TASK_BYTES: u64 = 512 << 20;

/// How `sbatch` says that a limit on submitted jobs has been reached.
const FULL: [&str; 5] = [
    "MaxSubmitJob",
    "QOSMaxSubmitJobPerUserLimit",
    "AssocMaxSubmitJobLimit",
    "Job violates accounting/QOS policy",
    "Slurm temporarily unable to accept job",
];

/// Why Slurm holds a task that its node failed to start, or that it has put back into the queue too often.
const HELD: [&str; 2] = ["requeued held", "JobHoldMaxRequeue"];

/// Settings of users that change what the commands do or print.
const SETTINGS: [&str; 7] = ["SQUEUE_", "SCANCEL_", "SACCT_", "SINFO_", "SCONTROL_", "SBATCH_WAIT", "SBATCH_CLUSTERS"];
const CLUSTERS: &str = "SLURM_CLUSTERS";

/// The states in which a task has ended. In any other it may still run.
const ENDED: [&str; 10] = ["BF", "CA", "CD", "DL", "F", "NF", "OOM", "PR", "RV", "TO"];

/// How commands say that the controller does not answer.
const UNREACHABLE: [&str; 6] = [
    "Unable to contact slurm controller",
    "Socket timed out",
    "Connection refused",
    "Zero Bytes were transmitted",
    "Transport endpoint is not connected",
    "Slurm backup controller in standby mode",
];

/// A cluster with Slurm.
pub(crate) struct Slurm {
    settings: SlurmSettings,
    most_tasks: Option<usize>,
    /// Whether the cluster knows the memory of its nodes. If not, it refuses requests of memory.
    counts_memory: Option<bool>,
}

impl Slurm {
    pub(crate) fn new(settings: SlurmSettings) -> Slurm {
        Slurm { settings, most_tasks: None, counts_memory: None }
    }

    /// The options of `sbatch` for an array.
    fn options(&self, folder: &RunFolder, array: &Array, after: &[&str], counts_memory: bool) -> Vec<String> {
        let settings = &self.settings;
        let logs = std::path::absolute(log_folder(folder)).unwrap_or_else(|_| log_folder(folder));
        let mut options = vec![
            "--parsable".to_owned(),
            format!("--job-name={}", job_name(&array.name)),
            format!("--comment={}", comment(folder)),
            format!("--array=1-{}%{}", array.count, settings.at_most.max(1)),
            format!("--output={}/{}.%a.txt", logs.display().to_string().replace('%', "%%"), array.name),
            "--open-mode=append".to_owned(),
            "--nodes=1".to_owned(),
            "--ntasks=1".to_owned(),
        ];
        let given = [
            ("partition", &settings.partition),
            ("account", &settings.account),
            ("qos", &settings.qos),
            ("constraint", &settings.constraint),
        ];
        options.extend(given.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value.as_ref()?))));
        options.extend(settings.time.map(|time| format!("--time={}", minutes(time.0))));
        options.push(format!("--cpus-per-task={}", array.threads.max(1)));
        if array.need.has_gpu() {
            options.push(format!("--gres={}", settings.gres));
        }
        if array.need.is_timed() {
            // All memory of the node, which nobody else uses.
            options.extend(["--exclusive".to_owned(), "--mem=0".to_owned()]);
        } else {
            // A trial holds rows if they take at most half of the memory that it may have.
            let estimate = array.bytes.saturating_mul(2).saturating_add(TASK_BYTES);
            let bytes = settings.memory.map(|memory| memory.0).or(counts_memory.then_some(estimate));
            options.extend(bytes.map(|bytes| format!("--mem={}M", bytes.div_ceil(1 << 20))));
        }
        if !after.is_empty() {
            options.push(format!("--dependency=afterany:{}", after.join(":")));
        }
        options
    }

    /// What each task runs: the setup, then the line of the file that has its number.
    fn script(&self, array: &Array) -> String {
        let setup: String = self.settings.setup.iter().map(|line| format!("{line}\n")).collect();
        let file = quoted(&array.file.to_string_lossy());
        format!(
            "#!/bin/bash\n{setup}command=$(sed -n \"${{SLURM_ARRAY_TASK_ID}}p\" {file}) || exit 1\n\
             [ -n \"$command\" ] || {{ echo \"no command $SLURM_ARRAY_TASK_ID in \"{file} >&2; exit 1; }}\n\
             eval \"exec $command\"\n"
        )
    }
}

/// Marks the jobs of a run, even those that nobody has written down.
fn comment(folder: &RunFolder) -> String {
    // The same for each way to write the path.
    let root = std::fs::canonicalize(folder.root()).or_else(|_| std::path::absolute(folder.root()));
    format!("vqbench {}", root.unwrap_or_else(|_| folder.root().to_owned()).display())
}

/// The name of an array in the lists of Slurm.
fn job_name(array: &str) -> String {
    format!("vqbench-{array}")
}

fn log_folder(folder: &RunFolder) -> PathBuf {
    folder_of_tasks(folder).join("logs")
}

/// Whole minutes, which Slurm counts in.
fn minutes(seconds: f64) -> u64 {
    (seconds / 60.0).ceil().max(1.0) as u64
}

/// Runs a command, with a text as its input, and returns what it prints.
fn ask(command: &'static str, arguments: &[String], input: &str) -> Result<String, TaskError> {
    let failed = |error| TaskError::NoScheduler { command, error };
    let mut process = Command::new(command);
    // Numbers and words as they are parsed here, whatever the user prefers.
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    names.filter(|name| name == CLUSTERS || SETTINGS.iter().any(|setting| name.starts_with(setting))).for_each(
        |name| {
            process.env_remove(name);
        },
    );
    // Ctrl-C is for the process that follows: a submission comes to its end.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut process, 0);
    let mut child = process
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends before it has read its input says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let reason = if lines.is_empty() { output.status.to_string() } else { lines.join("; ") };
    if command == SBATCH && FULL.iter().any(|words| reason.contains(words)) {
        return Err(TaskError::Full { command, reason });
    }
    // Only what is submitted can be wrong: other commands fail with the controller.
    if command != SBATCH || UNREACHABLE.iter().any(|words| reason.contains(words)) {
        return Err(TaskError::NoAnswer { command, reason });
    }
    Err(TaskError::Refused { command, reason })
}

/// The tasks of a run that Slurm lists, of whatever state.
fn listed(folder: &RunFolder) -> Result<Vec<Listed>, TaskError> {
    let arguments = ["-h", "-r", "-a", "--me", "-o", FORMAT].map(str::to_owned);
    Ok(own(&ask(SQUEUE, &arguments, "")?, &comment(folder)))
}

impl Scheduler for Slurm {
    fn most_tasks(&mut self) -> usize {
        let asked = || {
            let text = ask(SCONTROL, &["show".to_owned(), "config".to_owned()], "").ok()?;
            most_tasks(&text)
        };
        *self.most_tasks.get_or_insert_with(|| asked().unwrap_or(MOST_TASKS))
    }

    fn submit(&mut self, folder: &RunFolder, array: &Array, after: &[&str]) -> Result<String, TaskError> {
        let logs = log_folder(folder);
        std::fs::create_dir_all(&logs).map_err(|error| TaskError::Write { action: "create", path: logs, error })?;
        let asked = || {
            let text = ask(SINFO, &["-h", "-o", "%m"].map(str::to_owned), "").ok()?;
            Some(counts_memory(&text))
        };
        let counts_memory = *self.counts_memory.get_or_insert_with(|| asked().unwrap_or(true));
        let text = ask(SBATCH, &self.options(folder, array, after, counts_memory), &self.script(array))?;
        // With several clusters, the name of the cluster follows.
        let id = text.trim().split(';').next().unwrap_or_default().to_owned();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TaskError::Unclear { command: SBATCH, answer: text.trim().to_owned() });
        }
        Ok(id)
    }

    fn active(&mut self, folder: &RunFolder, arrays: &[Submitted]) -> Result<Vec<Active>, TaskError> {
        if arrays.is_empty() {
            return Ok(Vec::new());
        }
        let listed = listed(folder)?;
        // They wait for an administrator, and others can run instead of them.
        let held: Vec<String> = listed.iter().filter(|task| task.is_of(arrays)).filter_map(Listed::held).collect();
        if !held.is_empty() {
            let _ = ask(SCANCEL, &held, "");
        }
        Ok(listed.iter().filter(|task| task.is_of(arrays)).filter_map(Listed::active).collect())
    }

    fn strays(&mut self, folder: &RunFolder, arrays: &[Submitted]) -> Result<Vec<String>, TaskError> {
        let ids =
            listed(folder)?.into_iter().filter(|task| !task.is_of(arrays) && !task.has_ended()).map(|task| task.id);
        Ok(ids.collect::<BTreeSet<String>>().into_iter().collect())
    }

    fn fate(&mut self, id: &str, number: usize) -> Option<String> {
        let arguments = ["-n", "-X", "-P", "-o", "State,ExitCode,NodeList", "-j"].map(str::to_owned);
        let arguments: Vec<String> = arguments.into_iter().chain([format!("{id}_{number}")]).collect();
        let accounted = ask(SACCT, &arguments, "").ok().and_then(|text| fate(&text));
        // Without accounting, the controller remembers tasks for some minutes.
        accounted.or_else(|| {
            let arguments = ["show", "job", "-o"].map(str::to_owned).into_iter().chain([format!("{id}_{number}")]);
            fate(&as_accounted(&ask(SCONTROL, &arguments.collect::<Vec<_>>(), "").ok()?)?)
        })
    }

    fn log(&self, folder: &RunFolder, array: &Submitted, number: usize) -> PathBuf {
        log_folder(folder).join(format!("{}.{number}.txt", array.name))
    }

    fn cancel(&mut self, folder: &RunFolder, ids: &[&str]) -> Result<(), TaskError> {
        if ids.is_empty() {
            return Ok(());
        }
        // An id may meanwhile be that of a job that has nothing to do with the run.
        let listed = listed(folder)?.into_iter().filter(|task| !task.has_ended() && ids.contains(&task.id.as_str()));
        let ids: BTreeSet<String> = listed.map(|task| task.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        ask(SCANCEL, &ids.into_iter().collect::<Vec<_>>(), "").map(|_| ())
    }
}

/// The largest array of a cluster, from `scontrol show config`. Its largest index is one less.
fn most_tasks(config: &str) -> Option<usize> {
    let line = config.lines().find(|line| line.trim_start().starts_with("MaxArraySize"))?;
    let size: usize = line.split('=').nth(1)?.trim().parse().ok()?;
    size.checked_sub(1).filter(|most| *most > 0)
}

/// Whether any node has its memory in the configuration, from `sinfo`: without, it says 1 MB.
fn counts_memory(text: &str) -> bool {
    let megabytes = |line: &str| line.trim().trim_end_matches('+').parse::<u64>().ok();
    text.lines().filter_map(megabytes).any(|megabytes| megabytes > 1)
}

/// What `squeue` prints of a task: array, number, state, reason, nodes, name, comment.
const FORMAT: &str = "%F|%K|%t|%r|%N|%j|%k";

/// A task of a run, as `squeue` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    id: String,
    /// None if it stands for all tasks of the array that are not listed.
    number: Option<usize>,
    state: String,
    reason: String,
    nodes: String,
    name: String,
}

/// The tasks with a comment, from what `squeue` prints.
fn own(text: &str, comment: &str) -> Vec<Listed> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.splitn(7, '|').map(str::trim).collect();
        let [id, number, state, reason, nodes, name, said] = fields[..] else { return None };
        let [id, state, reason, nodes, name] = [id, state, reason, nodes, name].map(str::to_owned);
        (said == comment).then(|| Listed { id, number: number.parse().ok(), state, reason, nodes, name })
    };
    text.lines().filter_map(parse).collect()
}

impl Listed {
    /// Whether it is of one of these arrays. Ids alone do not tell: a controller that has lost its state counts anew.
    fn is_of(&self, arrays: &[Submitted]) -> bool {
        arrays.iter().any(|array| array.id == self.id && job_name(&array.name) == self.name)
    }

    fn has_ended(&self) -> bool {
        ENDED.contains(&self.state.as_str())
    }

    fn is_held(&self) -> bool {
        self.state == "PD" && HELD.iter().any(|words| self.reason.contains(words))
    }

    /// What `scancel` calls it, if Slurm holds it.
    fn held(&self) -> Option<String> {
        self.is_held().then(|| self.number.map_or(self.id.clone(), |number| format!("{}_{number}", self.id)))
    }

    /// What it does; None if it has ended, or is held.
    fn active(&self) -> Option<Active> {
        if self.has_ended() || self.is_held() {
            return None;
        }
        let activity = match self.state.as_str() {
            // A completing task may still write.
            "R" | "CG" | "SI" | "SO" | "RS" => Activity::Runs(self.nodes.clone()),
            state => Activity::Waits(in_words(state, &self.reason)),
        };
        Some(Active { id: self.id.clone(), number: self.number, activity })
    }
}

/// Why a task waits.
fn in_words(state: &str, reason: &str) -> String {
    let words = match (state, reason) {
        ("CF", _) => "the node is being made ready",
        ("S" | "ST", _) => "suspended",
        (_, "None") => "the scheduler has not looked at them yet",
        (_, "Resources") => "no node has room now",
        (_, "Priority") => "other jobs come first",
        (_, "Dependency") => "earlier tasks have not ended",
        (_, "JobArrayTaskLimit") => "as many tasks run as `at_most` allows",
        (_, "DependencyNeverSatisfied") => "an earlier task failed, so these can never start",
        (_, "PartitionDown" | "PartitionInactive") => "the partition is closed",
        (_, "PartitionTimeLimit") => "`time` is more than the partition allows",
        (_, "PartitionNodeLimit") => "the partition has no node like that",
        (_, "BadConstraints") => "no node has the features of `constraint`",
        (_, "BeginTime") => "put back into the queue, to start again in a moment",
        (_, "JobHeldUser" | "JobHeldAdmin") => "held; `scontrol release` lets them go",
        (_, reason) if reason.starts_with("ReqNodeNotAvail") || reason.starts_with("Nodes required for job are") => {
            "the nodes are down, drained or reserved"
        }
        (_, reason) if reason.starts_with("QOS") || reason.starts_with("Assoc") => {
            return format!("a limit of your account or quality of service is reached ({reason})");
        }
        (_, reason) => return format!("the scheduler says {reason}"),
    };
    words.to_owned()
}

/// What `sacct` would say of a task, from `scontrol show job`.
fn as_accounted(text: &str) -> Option<String> {
    let field = |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name));
    let (state, code, node) = (field("JobState=")?, field("ExitCode=")?, field("NodeList=").unwrap_or_default());
    Some(format!("{state}|{code}|{}", if node == "(null)" { "" } else { node }))
}

/// How a task ended, from `sacct`.
fn fate(text: &str) -> Option<String> {
    // A task that was put back in the queue has a line for each time that it ran.
    let mut fields = text.lines().rev().find(|line| !line.trim().is_empty())?.split('|');
    let (state, code) = (fields.next()?.trim(), fields.next().unwrap_or_default());
    let node = fields.next().unwrap_or_default();
    let words = match state.split(' ').next()? {
        "COMPLETED" => "ended".to_owned(),
        "FAILED" => format!("failed with exit code {}", code.split(':').next().unwrap_or_default()),
        "CANCELLED" => "was cancelled".to_owned(),
        "TIMEOUT" => "reached its time limit".to_owned(),
        "OUT_OF_MEMORY" => "ran out of memory".to_owned(),
        "NODE_FAIL" => "was lost with its node".to_owned(),
        "PREEMPTED" => "made room for another job".to_owned(),
        "BOOT_FAIL" => "had a node that did not start".to_owned(),
        "DEADLINE" => "reached its deadline".to_owned(),
        other => format!("is {other}"),
    };
    Some(if node.is_empty() || node == "None assigned" { words } else { format!("{words} on {node}") })
}

#[cfg(test)]
mod tests {
    use super::super::task::Need;
    use super::*;
    use crate::units::{ByteSize, Seconds};

    fn array(need: Need) -> Array {
        let file = PathBuf::from("/runs/a b/tasks/trials.1.txt");
        Array { name: "trials-x.1".into(), need, file, count: 7, bytes: 1 << 30, threads: 4 }
    }

    #[test]
    fn each_need_gets_what_it_asks_for() {
        let settings = SlurmSettings {
            partition: Some("main".into()),
            time: Some(Seconds(5400.0)),
            constraint: Some("icelake".into()),
            at_most: 3,
            ..SlurmSettings::default()
        };
        let folder = RunFolder::new("/runs/a b");
        let options = |settings: &SlurmSettings, need| {
            Slurm::new(settings.clone()).options(&folder, &array(need), &["12", "13"], true)
        };
        let timed = options(&settings, Need::Timed);
        for option in [
            "--array=1-7%3",
            "--partition=main",
            "--constraint=icelake",
            "--time=90",
            "--exclusive",
            "--mem=0",
            "--dependency=afterany:12:13",
            "--output=/runs/a b/tasks/logs/trials-x.1.%a.txt",
        ] {
            assert!(timed.iter().any(|own| own == option), "{option} is not among {timed:?}");
        }
        let shared = options(&settings, Need::Shared);
        assert!(
            shared.contains(&"--cpus-per-task=4".to_owned()) && shared.contains(&"--mem=2560M".to_owned()),
            "{shared:?}"
        );
        assert!(!shared.iter().any(|option| option == "--exclusive" || option.starts_with("--gres")), "{shared:?}");
        let gpu = options(
            &SlurmSettings { memory: Some(ByteSize(2 << 30)), gres: "gpu:h100:1".into(), ..settings },
            Need::Gpu,
        );
        assert!(gpu.contains(&"--gres=gpu:h100:1".to_owned()) && gpu.contains(&"--mem=2048M".to_owned()), "{gpu:?}");
        let both = options(&SlurmSettings::default(), Need::TimedGpu);
        assert!(
            ["--gres=gpu:1", "--exclusive", "--cpus-per-task=4"].iter().all(|own| both.iter().any(|o| o == own)),
            "{both:?}"
        );
    }

    #[test]
    fn a_script_sets_up_and_runs_its_line() {
        let settings = SlurmSettings { setup: vec!["module load gcc".into()], ..SlurmSettings::default() };
        let script = Slurm::new(settings).script(&array(Need::Shared));
        let lines: Vec<&str> = script.lines().collect();
        assert_eq!(lines[..2], ["#!/bin/bash", "module load gcc"]);
        assert!(lines[2].contains("'/runs/a b/tasks/trials.1.txt'"), "{script}");
    }

    #[test]
    fn what_slurm_prints_is_read() {
        let run = "vqbench /runs/a|b";
        let arrays = ["12", "13"].map(|id| Submitted { name: format!("x.{id}"), id: id.to_owned(), tasks: Vec::new() });
        let own = |text: &str| own(text, run);
        let active = |text: &str| -> Vec<Active> {
            own(text).iter().filter(|task| task.is_of(&arrays)).filter_map(Listed::active).collect()
        };
        let line = |id: &str, number: &str, rest: &str| format!("{id}|{number}|{rest}|vqbench-x.{id}|{run}\n");
        let lost = line("12", "5", "PD|launch failed requeued held|");
        let held: Vec<String> = own(&lost).iter().filter_map(Listed::held).collect();
        assert_eq!((held, active(&lost)), (vec!["12_5".to_owned()], vec![]));
        let text = [
            line("12", "3", "R|None|node1"),
            line("12", "4", "PD|Resources|"),
            line("99", "1", "R|None|node2"),
            line("13", "1", "CD|None|node1"),
            "\nnonsense\n12|6|R|None|node1|vqbench-x.12|vqbench /runs/other\n".to_owned(),
            // The controller has given the id to another array of the run.
            format!("13|2|R|None|node1|vqbench-x.14|{run}\n"),
            line("12", "N/A", "PD|Dependency|"),
            line("12", "7", "XX|None|"),
        ]
        .concat();
        let waits = |words: &str| Activity::Waits(words.to_owned());
        let expected = [
            (Some(3), Activity::Runs("node1".into())),
            (Some(4), waits("no node has room now")),
            (None, waits("earlier tasks have not ended")),
            (Some(7), waits("the scheduler has not looked at them yet")),
        ];
        let expected = expected.map(|(number, activity)| Active { id: "12".into(), number, activity });
        assert_eq!(active(&text), expected, "a state that nobody knows has not ended");
        let strays: Vec<String> =
            own(&text).into_iter().filter(|task| !task.is_of(&arrays)).map(|task| task.id).collect();
        assert_eq!(strays, ["99", "13"]);
        assert_eq!(
            in_words("PD", "QOSMaxJobsPerUserLimit"),
            "a limit of your account or quality of service is reached (QOSMaxJobsPerUserLimit)"
        );
        assert_eq!(most_tasks("MailProg = /bin/mail\nMaxArraySize            = 10001\n"), Some(10000));
        assert_eq!([most_tasks(""), most_tasks("MaxArraySize = 0"), most_tasks("MaxArraySize = many")], [None; 3]);
        assert_eq!(["1\n", "1\n64000+\n", ""].map(counts_memory), [false, true, false]);
        assert_eq!(fate("FAILED|2:0|node1\n").as_deref(), Some("failed with exit code 2 on node1"));
        assert_eq!(fate("NODE_FAIL|0:0|node1\nCANCELLED by 0|0:15|None assigned\n").as_deref(), Some("was cancelled"));
        assert_eq!([fate(""), fate("\n")], [None, None]);
        let shown =
            "JobId=9 ArrayJobId=7 JobState=CANCELLED Reason=None ExitCode=0:9 ReqNodeList=(null) NodeList=node2\n";
        assert_eq!(as_accounted(shown).as_deref(), Some("CANCELLED|0:9|node2"));
        assert_eq!(as_accounted("JobState=PENDING ExitCode=0:0 NodeList=(null)").as_deref(), Some("PENDING|0:0|"));
        assert_eq!(as_accounted("slurm_load_jobs error"), None);
    }
}
