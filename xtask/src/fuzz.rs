//! `fuzz`: mutated input for everything that reads input from outside, in processes with limited memory.

use crate::errors::Mistakes;
use clap::Args;
use experiments::machine::peak_rss_bytes;
use hostile::{Room, Target, mutated, run as try_cases, target, targets};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[derive(Args)]
pub struct Arguments {
    /// Targets, such as npy, model or experiment [default: all]
    targets: Vec<String>,
    /// List the targets, with the mutations of a bounded run
    #[arg(long)]
    list: bool,
    /// Mutations of each target [default: as `--list` says]
    #[arg(long, value_name = "N")]
    cases: Option<u64>,
    /// Go on with other seeds for so many minutes, all targets in turn
    #[arg(long, value_name = "MINUTES", conflicts_with = "cases")]
    minutes: Option<f64>,
    /// Seed of the mutations
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the inputs that something failed on
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    findings: PathBuf,
    /// Write the input that mutations start from below DIR, a folder for each target, and try nothing
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Try the inputs in these files as they are, on one target
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
    /// Try mutations in this process, and keep the number of the last one in FILE (started by `fuzz`)
    #[arg(long, value_name = "FILE", hide = true)]
    inside: Option<PathBuf>,
}

/// Data memory of a process, in bytes: far more than any input of 64 KiB justifies, even if it is packed.
const MEMORY: u64 = 384 << 20;

/// A mutation that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(20);

/// A process that has tried nothing by then hangs: fitting the models that are mutated takes seconds.
const LONGEST_SETUP: Duration = Duration::from_secs(300);

/// Exit code of a process that found something by itself.
const FOUND: u8 = 3;

/// Something went wrong.
struct Failure {
    target: String,
    seed: u64,
    case: u64,
    reason: String,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Mistakes> {
    let chosen = chosen(&arguments.targets)?;
    if arguments.list {
        chosen.iter().for_each(|target| say!("{:<14} {:>7} mutations", target.name, target.cases));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = &arguments.corpus {
        return write_corpus(&chosen, folder).map(|()| ExitCode::SUCCESS);
    }
    let unusable = |error: std::io::Error| {
        Mistakes::new(format!("cannot make a temporary folder: {error}"), "set TMPDIR to a folder that you may write")
    };
    if let Some(status) = &arguments.inside {
        let room = Room::new().map_err(unusable)?;
        return inside(&chosen, &room, &arguments, status).map_err(unusable);
    }
    if !arguments.input.is_empty() {
        return try_inputs(&chosen, &arguments.input, &Room::new().map_err(unusable)?);
    }
    let begun = Instant::now();
    let until = arguments.minutes.map(|minutes| begun + Duration::from_secs_f64(60.0 * minutes.clamp(0.0, 1e6)));
    let (mut seed, mut tried, mut failures) = (arguments.seed, 0u64, Vec::new());
    let mut open: Vec<&Target> = chosen.iter().collect();
    loop {
        let found = round(&open, seed, arguments.cases, until)?;
        tried += found.tried;
        for failure in found.failures {
            keep(&failure, &arguments.findings)?;
            open.retain(|target| target.name != failure.target);
            failures.push(failure.target);
        }
        seed += 1;
        if open.is_empty() || until.is_none_or(|until| Instant::now() >= until) {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs();
    say!("{tried} mutations of {} targets in {seconds} s: {} targets failed", chosen.len(), failures.len());
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

fn chosen(names: &[String]) -> Result<Vec<Target>, Mistakes> {
    if names.is_empty() {
        return Ok(targets());
    }
    let find = |name: &String| {
        target(name).ok_or_else(|| {
            let known: Vec<String> = targets().into_iter().map(|target| target.name).collect();
            let help = strict::nearest_name(name, known.iter().map(String::as_str), "targets");
            Mistakes::new(format!("there is no target `{name}`"), help)
        })
    };
    names.iter().map(find).collect()
}

fn write_corpus(targets: &[Target], folder: &Path) -> Result<(), Mistakes> {
    for target in targets {
        let folder = folder.join(&target.name);
        let unwritten = |error: std::io::Error| Mistakes::new(format!("{}: {error}", folder.display()), "");
        std::fs::create_dir_all(&folder).map_err(unwritten)?;
        for (i, seed) in target.seeds().iter().enumerate() {
            record::write_atomically(&folder.join(format!("{i:03}")), seed)?;
        }
    }
    Ok(())
}

/// Tries files on the first of the targets.
fn try_inputs(targets: &[Target], files: &[PathBuf], room: &Room) -> Result<ExitCode, Mistakes> {
    let [target] = targets else { return Err(Mistakes::new("`--input` needs one target", "name it before `--input`")) };
    confine();
    let mut failed = false;
    for file in files {
        let input = std::fs::read(file).map_err(|error| Mistakes::new(format!("{}: {error}", file.display()), ""))?;
        match hostile::attempt(target, room, &input) {
            Ok(()) => say_foreign!("{}: nothing is wrong", file.display()),
            Err(reason) => {
                failed = true;
                say_foreign!("{}: {reason}", file.display());
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Limits the data memory of this process, so that an allocation beyond what an input justifies ends it.
fn confine() {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{Resource, setrlimit};
        let _ = setrlimit(Resource::RLIMIT_DATA, MEMORY, MEMORY);
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Tries the mutations of one target in this process.
fn inside(targets: &[Target], room: &Room, arguments: &Arguments, status: &Path) -> std::io::Result<ExitCode> {
    let Some(target) = targets.first() else { return Ok(ExitCode::SUCCESS) };
    confine();
    let mut file = File::create(status)?;
    let begin = |case: u64| {
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&case.to_le_bytes()));
    };
    let cases = arguments.cases.unwrap_or(target.cases);
    let found = try_cases(target, room, arguments.seed, 0..cases, begin);
    file.seek(SeekFrom::Start(8)).and_then(|_| file.write_all(&peak_rss_bytes().unwrap_or(0).to_le_bytes()))?;
    match found {
        None => Ok(ExitCode::SUCCESS),
        Some(finding) => {
            say_foreign_aside!("{}", finding.reason);
            Ok(ExitCode::from(FOUND))
        }
    }
}

/// What one round over the targets gave.
struct Round {
    tried: u64,
    failures: Vec<Failure>,
}

/// Tries mutations of every target, each in a process of its own, as many at a time as there are cores.
fn round(targets: &[&Target], seed: u64, cases: Option<u64>, until: Option<Instant>) -> Result<Round, Mistakes> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Round { tried: 0, failures: Vec::new() }));
    let room = Room::new().map_err(|error| {
        Mistakes::new(format!("cannot make a temporary folder: {error}"), "set TMPDIR to a folder that you may write")
    })?;
    let work = || {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::SeqCst)) {
            if until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let cases = cases.unwrap_or(target.cases);
            let begun = Instant::now();
            let (tried, failure) = supervise(target, seed, cases, room.path());
            let outcome = match &failure {
                None => {
                    let peak = number_in(&status_file(room.path(), target), 8).unwrap_or(0) >> 20;
                    format!("{tried} mutations in {:.1} s, at most {peak} MiB", begun.elapsed().as_secs_f64())
                }
                Some(failure) => format!("failed on mutation {} of seed {seed}: {}", failure.case, failure.reason),
            };
            say_foreign_aside!("{:<14} {outcome}", target.name);
            if let Ok(mut done) = done.lock() {
                done.tried += tried;
                done.failures.extend(failure);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().map_err(|_| Mistakes::new("a thread of this program panicked", ""))
}

/// Runs the process of a target, and finds out what ended it. Returns the number of mutations that were tried.
fn supervise(target: &Target, seed: u64, cases: u64, folder: &Path) -> (u64, Option<Failure>) {
    let status = status_file(folder, target);
    let failure = |case: u64, reason: String| Failure { target: target.name.clone(), seed, case, reason };
    let mut child = match start(target, seed, cases, &status, folder) {
        Ok(child) => child,
        Err(error) => return (0, Some(failure(0, format!("its process could not be started: {error}")))),
    };
    let at = || number_in(&status, 0);
    let (mut last, mut since) = (None, Instant::now());
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) => {}
            Err(error) => break Err(error.to_string()),
        }
        let now = at();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let (longest, what) = match last {
            Some(_) => (LONGEST, "it takes"),
            None => (LONGEST_SETUP, "before the first mutation, its process takes"),
        };
        if since.elapsed() >= longest {
            let _ = child.kill();
            let _ = child.wait();
            break Err(format!("{what} longer than {} s", longest.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let case = at().unwrap_or(0);
    let words = std::fs::read_to_string(words_file(folder, target)).unwrap_or_default();
    let words: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    let last_words = words[words.len().saturating_sub(3)..].join("; ");
    match ended {
        Ok(status) if status.success() => (cases, None),
        Ok(status) if status.code() == Some(FOUND.into()) => (case + 1, Some(failure(case, last_words))),
        Ok(status) => (case + 1, Some(failure(case, format!("its process ended ({status}): {last_words}")))),
        Err(reason) => (case + 1, Some(failure(case, reason))),
    }
}

/// The file with the number of the mutation that the process of a target tries, and the memory that it took.
fn status_file(folder: &Path, target: &Target) -> PathBuf {
    folder.join(format!("{}.status", target.name))
}

/// A number at a place of such a file.
fn number_in(status: &Path, place: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    let mut file = File::open(status).ok()?;
    file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(&mut bytes)).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The file with what the process of a target writes on standard error.
fn words_file(folder: &Path, target: &Target) -> PathBuf {
    folder.join(format!("{}.words", target.name))
}

fn start(target: &Target, seed: u64, cases: u64, status: &Path, folder: &Path) -> std::io::Result<Child> {
    let words = File::create(words_file(folder, target))?;
    Command::new(std::env::current_exe()?)
        .args(["fuzz", &target.name, "--seed", &seed.to_string(), "--cases", &cases.to_string(), "--inside"])
        .arg(status)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words)
        .spawn()
}

/// Keeps the input of a failure.
fn keep(failure: &Failure, folder: &Path) -> Result<(), Mistakes> {
    let Some(target) = target(&failure.target) else { return Ok(()) };
    let path = folder.join(format!("{}-{}-{}", failure.target, failure.seed, failure.case));
    let unwritten = |error: std::io::Error| Mistakes::new(format!("{}: {error}", folder.display()), "");
    std::fs::create_dir_all(folder).map_err(unwritten)?;
    record::write_atomically(&path, &mutated(&target.seeds(), failure.seed, failure.case))?;
    say_foreign!("{}: {}", failure.target, failure.reason);
    say_foreign!("  again: cargo xtask fuzz {} --input {}", failure.target, path.display());
    Ok(())
}
