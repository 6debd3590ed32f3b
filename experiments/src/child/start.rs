//! Starts the process of a trial, and ends it with everything that it has started.

use super::Launcher;
use super::log::Words;
use crate::json::plain_json;
use crate::trial::{Failure, Request};
use crate::turns::Seat;
use record::Cause;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Holds a text that is different for each process of a trial. Everything that it starts inherits it, and is recognized by it.
const TRIAL_VARIABLE: &str = "VQBENCH_TRIAL";

/// Name the folder for temporary files, on all systems.
const TEMPORARY_VARIABLES: [&str; 3] = ["TMPDIR", "TMP", "TEMP"];

/// A text that no other process of a trial has.
fn marker(trial: &str) -> String {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    format!("{trial}-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed))
}

/// A process that has got its request.
pub(super) struct Started {
    pub(super) process: Child,
    /// What it writes on standard output, line by line.
    pub(super) lines: Receiver<String>,
    words: JoinHandle<Words>,
    marker: String,
    /// The folder for temporary files of an outside program. It goes when its trial ends, however that happens.
    scratch: Option<TempDir>,
}

/// What is left of a process.
pub(super) struct Departed {
    pub(super) exit: io::Result<ExitStatus>,
    /// What it wrote on standard error.
    pub(super) words: Words,
}

impl Started {
    /// Starts a process and hands it its request.
    pub(super) fn new(launcher: &Launcher, request: &Request, seat: Option<&Seat<'_>>) -> Result<Started, Failure> {
        let marker = marker(&request.trial.id);
        let not_started = |reason: String| Failure { reason, cause: Cause::Start };
        let is_program = methods::registry::find(&request.trial.method).is_ok_and(|method| method.is_program());
        let scratch = is_program.then(|| tempfile::Builder::new().prefix("vqbench-trial-").tempdir()).transpose();
        let scratch =
            scratch.map_err(|error| not_started(format!("there is no place for temporary files: {error}")))?;
        let mut process = Command::new(&launcher.program)
            .args(&launcher.arguments)
            .env(TRIAL_VARIABLE, &marker)
            .envs(scratch.iter().flat_map(|folder| TEMPORARY_VARIABLES.map(|variable| (variable, folder.path()))))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| not_started(format!("{} could not be started: {error}", launcher.program.display())))?;
        if let Some(mut stdin) = process.stdin.take() {
            // If a child dies before it has read the request, its exit status says why.
            let _ = stdin.write_all(plain_json(request).as_bytes());
            if let Some(seat) = seat {
                let _ = stdin.write_all(b"\n");
                seat.connect(stdin);
            }
        }
        let stderr = process.stderr.take();
        let words = std::thread::spawn(move || stderr.map_or_else(Words::default, Words::read));
        let lines = lines_of(process.stdout.take());
        Ok(Started { process, lines, words, marker, scratch })
    }

    /// Whether it has not ended yet.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Kills it if it has not ended.
    pub(super) fn end(mut self) -> Departed {
        // An outside program may have started others, which do not end with their parent. While the trial is there, all of
        // them are its descendants; once it is not, those are found that have kept its variable.
        let sign = |ancestor| adapters::Sign { variable: TRIAL_VARIABLE, value: &self.marker, ancestor };
        if self.scratch.is_some() && matches!(self.process.try_wait(), Ok(None)) {
            adapters::end_family(&sign(Some(self.process.id())));
        }
        let _ = self.process.kill();
        let exit = self.process.wait();
        if self.scratch.is_some() {
            adapters::end_family(&sign(None));
        }
        drop(self.scratch);
        Departed { exit, words: self.words.join().unwrap_or_default() }
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
