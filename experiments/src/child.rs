//! The parent's view of the process of one trial: starting it, reading its messages, enforcing its time limit, and
//! finding out why it died.

mod log;

use self::log::{OpenLog, Words};
use crate::json::plain_json;
use crate::trial::{Failure, Message, Request};
use crate::turns::Seat;
use crate::units::{ByteSize, Seconds};
use record::{Cause, Measured, TrialLog};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Time that a child may take to exit after its answer; drivers clean up on exit, and some hang.
const FAREWELL: Duration = Duration::from_secs(10);

/// Holds a text that is different for each process of a trial. Everything that it starts inherits it, and is recognized by it.
const TRIAL_VARIABLE: &str = "VQBENCH_TRIAL";

/// Name the folder for temporary files, on all systems.
const TEMPORARY_VARIABLES: [&str; 3] = ["TMPDIR", "TMP", "TEMP"];

/// A text that no other process of a trial has.
fn marker(trial: &str) -> String {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    format!("{trial}-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

/// How to start a trial's process: it must answer as [`crate::trial::run`] does.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How a child came to its end.
pub(crate) enum ChildEnd {
    /// All measurements were made.
    Values {
        /// The digest of the codes; None if the child did not say it.
        codes_sha256: Option<String>,
        /// The measured values.
        values: Vec<Measured>,
    },
    /// It failed.
    Failed(Failure),
    /// It reached its time limit.
    Timeout,
    /// The run was interrupted.
    Interrupted,
}

/// A child process to start.
pub(crate) struct Child<'a> {
    /// How to start it.
    pub(crate) launcher: &'a Launcher,
    /// Its request.
    pub(crate) request: &'a Request,
    /// Its time limit.
    pub(crate) timeout: Seconds,
    /// Set from outside to interrupt the run, or here if an interrupt reached the child first.
    pub(crate) interrupt: &'a AtomicBool,
    /// Its place in a pair. The time that it waits for its turn does not count.
    pub(crate) seat: Option<Seat<'a>>,
}

impl Child<'_> {
    /// Runs the child until it ends. `phase` is called with each phase that it reports. Returns how it ended, and its log.
    pub(crate) fn run(&self, phase: &mut dyn FnMut(&str)) -> (ChildEnd, TrialLog) {
        let launcher = self.launcher;
        let marker = marker(&self.request.trial.id);
        let not_started =
            |reason: String| (ChildEnd::Failed(Failure { reason, cause: Cause::Start }), TrialLog::default());
        // What an outside program writes to temporary files goes when its trial ends, however that happens.
        let is_program = methods::registry::find(&self.request.trial.method).is_ok_and(|method| method.is_program());
        let scratch = match is_program.then(|| tempfile::Builder::new().prefix("vqbench-trial-").tempdir()).transpose()
        {
            Ok(scratch) => scratch,
            Err(error) => return not_started(format!("there is no place for temporary files: {error}")),
        };
        let child = Command::new(&launcher.program)
            .args(&launcher.arguments)
            .env(TRIAL_VARIABLE, &marker)
            .envs(scratch.iter().flat_map(|folder| TEMPORARY_VARIABLES.map(|variable| (variable, folder.path()))))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return not_started(format!("{} could not be started: {error}", launcher.program.display())),
        };
        let request = plain_json(self.request);
        if let Some(mut stdin) = child.stdin.take() {
            // If a child dies before it has read the request, its exit status says why.
            let _ = stdin.write_all(request.as_bytes());
            if let Some(seat) = &self.seat {
                let _ = stdin.write_all(b"\n");
                seat.connect(stdin);
            }
        }
        // The clock of the trial stands while it waits for its turn.
        let now = || Instant::now() - self.waited();
        let stderr = child.stderr.take();
        let words = std::thread::spawn(move || stderr.map_or_else(Words::default, Words::read));
        let lines = lines_of(child.stdout.take());

        // A limit beyond the range of the clock is no limit.
        let mut deadline = now().checked_add(self.timeout.duration());
        let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now() >= deadline);
        let (mut answer, mut codes_sha256) = (None, None);
        let mut log = OpenLog::default();
        // Its libraries write to standard output too. Lines that are not messages decide nothing, but may explain a
        // death.
        let mut stray = None;
        let mut cut_short = loop {
            match lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(Message::Phase(name)) => {
                        log.enter(&name, now());
                        phase(&name);
                    }
                    Ok(Message::Spent(seconds)) => log.spent(seconds),
                    Ok(Message::Turn(step)) => {
                        if let Some(seat) = &self.seat {
                            seat.ask(step);
                        }
                    }
                    Ok(_) if answer.is_some() => {}
                    Ok(Message::Codes(digest)) => codes_sha256 = Some(digest),
                    Ok(Message::Values(values)) => {
                        answer = Some(ChildEnd::Values { codes_sha256: codes_sha256.take(), values });
                    }
                    Ok(Message::Failed(failure)) => answer = Some(ChildEnd::Failed(self.under_limits(failure))),
                    Err(_) => stray = stray.or(Some(line)),
                },
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if answer.is_some() {
                let farewell = now() + FAREWELL;
                deadline = Some(deadline.map_or(farewell, |deadline| deadline.min(farewell)));
            }
            if self.interrupt.load(Ordering::SeqCst) {
                break Some(ChildEnd::Interrupted);
            }
            if late(deadline) {
                break Some(ChildEnd::Timeout);
            }
        };
        // Its output has ended, so the process should end; but a driver may hang on exit.
        while cut_short.is_none() && answer.is_none() && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
            cut_short = late(deadline).then_some(ChildEnd::Timeout);
        }
        // An outside program may have started others, which do not end with their parent. While the trial is there, all of them are
        // its descendants; once it is not, those are found that have kept its variable.
        let sign = |ancestor| adapters::Sign { variable: TRIAL_VARIABLE, value: &marker, ancestor };
        if scratch.is_some() && matches!(child.try_wait(), Ok(None)) {
            adapters::end_family(&sign(Some(child.id())));
        }
        let _ = child.kill();
        let exit = child.wait();
        if scratch.is_some() {
            adapters::end_family(&sign(None));
        }
        drop(scratch);
        let words = words.join().unwrap_or_default();
        match (&answer, &cut_short, &exit) {
            (Some(_), Some(ChildEnd::Timeout), _) => {
                log.remark("Its process did not end after its answer and was killed.")
            }
            (Some(_), None, Ok(exit)) => {
                if let Some(how) = ill(*exit) {
                    log.remark(format!("After its answer, {how}."));
                }
            }
            _ => {}
        }
        let log = log.close(&words, now());
        // A terminal's Ctrl-C reaches the child too, perhaps before this process has noticed its own.
        if exit.as_ref().is_ok_and(interrupted) {
            self.interrupt.store(true, Ordering::SeqCst);
        }
        if let Some(answer) = answer {
            return (answer, log);
        }
        if self.interrupt.load(Ordering::SeqCst) {
            return (ChildEnd::Interrupted, log);
        }
        let words = words.beginning();
        let words = stray.map_or(words.clone(), |line| format!("{words}\n{line}"));
        (cut_short.unwrap_or_else(|| ChildEnd::Failed(self.death(exit.ok(), &words))), log)
    }

    /// How long it has waited for its turn.
    pub(crate) fn waited(&self) -> Duration {
        self.seat.as_ref().map(Seat::waited).unwrap_or_default()
    }

    /// The trial's own memory limit would stop it in the same way again.
    fn under_limits(&self, failure: Failure) -> Failure {
        let starved = matches!(failure.cause, Cause::Memory | Cause::Start);
        let cause = if starved && self.request.limits.memory_bytes.is_some() { Cause::Trial } else { failure.cause };
        Failure { cause, ..failure }
    }

    /// Why a process died without an answer.
    fn death(&self, exit: Option<ExitStatus>, words: &str) -> Failure {
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
        if let Some(asked) = words.lines().find(|line| line.contains("memory allocation of")) {
            let limit = self.request.limits.memory_bytes;
            let under = limit.map(|bytes| format!(" under the limit of {}", ByteSize(bytes))).unwrap_or_default();
            let reason = format!("out of memory{under}: {}", asked.trim());
            return self.under_limits(Failure { reason, cause: Cause::Memory });
        }
        let (how, cause) = match exit {
            Some(exit) => describe_exit(exit),
            None => ("its process was lost".to_owned(), Cause::Killed),
        };
        let reason = match words.lines().find(|line| line.contains("panicked at")) {
            Some(line) => format!("{how}; {} {last}", line.trim()),
            None if last.is_empty() => how,
            None => format!("{how}; it said: {last}"),
        };
        Failure { reason, cause }
    }
}

/// The lines that a child writes until it closes its output. Invalid UTF-8 does not end them; empty lines are skipped.
fn lines_of(stdout: Option<ChildStdout>) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    if let Some(stdout) = stdout {
        std::thread::spawn(move || {
            let (mut stdout, mut line) = (BufReader::new(stdout), Vec::new());
            while stdout.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if !text.is_empty() && sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
    lines
}

#[cfg(unix)]
fn interrupted(exit: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    exit.signal() == Some(nix::libc::SIGINT)
}

#[cfg(not(unix))]
fn interrupted(_: &ExitStatus) -> bool {
    false
}

/// How a process ended that should have ended well; None if it did, or if it was killed from here.
#[cfg(unix)]
fn ill(exit: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match (exit.code(), exit.signal()) {
        (Some(0), _) | (_, Some(nix::libc::SIGKILL)) => None,
        (Some(code), _) => Some(format!("its process ended with exit code {code}")),
        _ => Some(describe_exit(exit).0),
    }
}

#[cfg(not(unix))]
fn ill(_: ExitStatus) -> Option<String> {
    None
}

/// How a process ended, as text, and the cause that this implies.
#[cfg(unix)]
fn describe_exit(exit: ExitStatus) -> (String, Cause) {
    use nix::libc::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSYS, SIGTRAP};
    use std::os::unix::process::ExitStatusExt;
    // Signals that a program causes itself.
    let own = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP];
    let cause = if exit.signal().is_some_and(|signal| !own.contains(&signal)) { Cause::Killed } else { Cause::Trial };
    let words = match exit.signal() {
        Some(SIGKILL) => "its process was killed (signal 9), as a system does that runs out of memory".to_owned(),
        Some(SIGABRT) => "its process aborted (signal 6)".to_owned(),
        Some(signal) => format!("its process died from signal {signal}"),
        None => format!("its process ended without an answer ({exit})"),
    };
    (words, cause)
}

#[cfg(not(unix))]
fn describe_exit(exit: ExitStatus) -> (String, Cause) {
    (format!("its process ended without an answer ({exit})"), Cause::Trial)
}
