//! An adapter as a child process: it is sent lines and answers with lines, on a descriptor of its own; what it writes elsewhere is kept as a log.

use crate::error::AdapterError;
use crate::family::{Member, end_family, family};
use crate::host::Host;
use crate::protocol::LONGEST_LINE;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Holds the number of the descriptor that replies are written to.
pub const REPLY_VARIABLE: &str = "VQBENCH_REPLY_FD";

/// Holds the scratch folder. All processes of an adapter inherit it, so they are recognized by it.
pub const SCRATCH_VARIABLE: &str = "VQBENCH_SCRATCH";

/// Variables that limit the threads of the usual libraries.
const THREAD_VARIABLES: [&str; 5] =
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS"];

/// Most that an adapter may write to standard error.
const MOST_LOG_BYTES: u64 = 16 << 20;

/// Of the log, this much of the end is kept.
const KEPT_LOG_BYTES: usize = 4096;

/// How often a wait looks whether the process is still there.
const GLANCE: Duration = Duration::from_millis(50);

/// Time that an adapter may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Longest request: it fits into the pipe, so that an adapter which does not read cannot block this process.
const LONGEST_REQUEST: usize = 60_000;

/// A running adapter. It and everything that it started are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    requests: Option<ChildStdin>,
    replies: Receiver<std::io::Result<Vec<u8>>>,
    log: Arc<Log>,
    listener: Option<JoinHandle<()>>,
    marker: String,
    ended: bool,
}

/// What an adapter writes to standard error.
#[derive(Debug, Default)]
struct Log {
    bytes: AtomicU64,
    end: Mutex<Vec<u8>>,
}

impl Log {
    /// Reads until the end, or until it is too much. A copy goes to standard error of this process if `echo` is set.
    fn follow(&self, mut stream: impl Read, echo: bool) {
        let mut block = [0u8; 8192];
        while let Ok(count @ 1..) = stream.read(&mut block) {
            let bytes = &block[..count];
            let before = self.bytes.fetch_add(count as u64, Ordering::SeqCst);
            if before > MOST_LOG_BYTES {
                return;
            }
            if echo {
                let _ = std::io::stderr().write_all(bytes);
            }
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            end.extend_from_slice(bytes);
            if end.len() > 2 * KEPT_LOG_BYTES {
                let surplus = end.len() - KEPT_LOG_BYTES;
                end.drain(..surplus);
            }
        }
    }

    fn is_flood(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) > MOST_LOG_BYTES
    }

    /// The last line that says something.
    fn last_line(&self) -> Option<String> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&end);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(plain(line, 300))
    }
}

/// At most `most` characters of a text, without control characters.
pub(crate) fn plain(text: &str, most: usize) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(most).collect()
}

impl Process {
    /// Starts a command with its scratch folder. Its name is looked for in the folder `root`, then on the path.
    pub(crate) fn start(
        host: &Host,
        command: &[String],
        scratch: &Path,
        threads: usize,
    ) -> Result<Process, AdapterError> {
        let name = command.first().cloned().unwrap_or_default();
        let failed = |reason: String| AdapterError::Start { command: plain(&name, 200), reason };
        if name.is_empty() {
            return Err(failed("the command is empty".into()));
        }
        let marker = scratch.to_string_lossy().into_owned();
        let filled: Vec<String> = command.iter().map(|part| part.replace("{scratch}", &marker)).collect();
        let mut process = match &host.launcher {
            Some(launcher) => {
                let mut process = Command::new(&launcher.program);
                process.args(&launcher.arguments).arg("--").args(&filled);
                process
            }
            None => {
                let mut process = Command::new(&name);
                process.args(&filled[1..]);
                process
            }
        };
        // A path without folders has an empty parent.
        if !host.root.as_os_str().is_empty() {
            process.current_dir(&host.root);
        }
        process.env(SCRATCH_VARIABLE, &marker).env_remove(REPLY_VARIABLE);
        for variable in THREAD_VARIABLES {
            process.env(variable, threads.to_string());
        }
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process.spawn().map_err(|error| failed(error.to_string()))?;
        let requests = child.stdin.take();
        let (sender, replies) = mpsc::channel();
        if let Some(stream) = child.stdout.take() {
            let mut stream = BufReader::new(stream);
            std::thread::spawn(move || {
                while let Some(line) = read_line(&mut stream) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let log = Arc::new(Log::default());
        let (kept, echo) = (Arc::clone(&log), host.echo);
        let listener = child.stderr.take().map(|stream| std::thread::spawn(move || kept.follow(stream, echo)));
        Ok(Process { child, requests, replies, log, listener, marker, ended: false })
    }

    /// Sends a line and waits for the line that answers it.
    pub(crate) fn ask(
        &mut self,
        verb: &'static str,
        line: &str,
        patience: Option<Duration>,
    ) -> Result<Vec<u8>, AdapterError> {
        if line.len() > LONGEST_REQUEST {
            let message = format!("the request is {} bytes long; parameters may take {LONGEST_REQUEST}", line.len());
            return Err(AdapterError::Refused { verb, message, param: None });
        }
        // An adapter that has ended says why by its status.
        if let Some(requests) = &mut self.requests {
            let _ = requests.write_all(format!("{line}\n").as_bytes()).and_then(|()| requests.flush());
        }
        let begin = Instant::now();
        let mut gone = false;
        loop {
            if self.log.is_flood() {
                self.kill();
                return Err(AdapterError::Flood { limit_mib: MOST_LOG_BYTES >> 20 });
            }
            let left = patience.map(|patience| patience.saturating_sub(begin.elapsed()));
            match self.replies.recv_timeout(left.unwrap_or(GLANCE).min(GLANCE)) {
                Ok(Ok(line)) => return Ok(line),
                Ok(Err(error)) => return Err(AdapterError::Protocol { verb, what: error.to_string() }),
                Err(RecvTimeoutError::Disconnected) => return Err(self.death(verb)),
                // What it started may hold the pipe of replies open.
                Err(RecvTimeoutError::Timeout) if gone => return Err(self.death(verb)),
                Err(RecvTimeoutError::Timeout) if left.is_some_and(|left| left.is_zero()) => {
                    self.kill();
                    let seconds = patience.map_or(0, |patience| patience.as_secs());
                    return Err(AdapterError::Silent { verb, seconds });
                }
                Err(RecvTimeoutError::Timeout) => gone = matches!(self.child.try_wait(), Ok(Some(_))),
            }
        }
    }

    /// Its processes.
    pub(crate) fn members(&self) -> Vec<Member> {
        family(SCRATCH_VARIABLE, &self.marker)
    }

    /// Waits until it has ended; what it leaves behind is an error.
    pub(crate) fn close(mut self) -> Result<(), AdapterError> {
        self.requests = None;
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(2));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            return Err(AdapterError::Protocol {
                verb: "bye",
                what: format!("it was still running {} s later; it must end after `bye`", FAREWELL.as_secs()),
            });
        }
        // Children that end together with it need a moment.
        let begin = Instant::now();
        while !self.members().is_empty() && begin.elapsed() < Duration::from_millis(500) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = self.end_members();
        self.ended = true;
        if left.is_empty() {
            return Ok(());
        }
        Err(AdapterError::Left { names: left.into_iter().map(|member| plain(&member.name, 40)).collect() })
    }

    /// How it ended, and what it said last.
    fn death(&mut self, verb: &'static str) -> AdapterError {
        let begin = Instant::now();
        let mut exit = self.child.try_wait().ok().flatten();
        while exit.is_none() && begin.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(5));
            exit = self.child.try_wait().ok().flatten();
        }
        self.kill();
        let begin = Instant::now();
        while self.listener.as_ref().is_some_and(|listener| !listener.is_finished())
            && begin.elapsed() < Duration::from_secs(1)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let how = exit.map_or_else(|| ": it closed its replies".to_owned(), |exit| format!(" ({})", describe(exit)));
        let said = self.log.last_line().map(|line| format!("; it said: {line}")).unwrap_or_default();
        AdapterError::Ended { verb, how: format!("{how}{said}") }
    }

    fn end_members(&self) -> Vec<Member> {
        end_family(SCRATCH_VARIABLE, &self.marker)
    }

    pub(crate) fn kill(&mut self) {
        self.requests = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.end_members();
        self.ended = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

#[cfg(unix)]
fn describe(exit: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match exit.signal() {
        Some(signal) => format!("signal {signal}"),
        None => exit.to_string(),
    }
}

#[cfg(not(unix))]
fn describe(exit: ExitStatus) -> String {
    exit.to_string()
}

/// The next line; None at the end.
fn read_line(stream: &mut impl BufRead) -> Option<std::io::Result<Vec<u8>>> {
    let mut bytes = Vec::new();
    match stream.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
        Ok(0) => None,
        Ok(_) if bytes.len() as u64 == LONGEST_LINE => {
            Some(Err(std::io::Error::other("a reply is longer than 1 MiB; arrays travel as files")))
        }
        Ok(_) => Some(Ok(bytes)),
        Err(error) => Some(Err(error)),
    }
}

/// Turns this process into an adapter: it ends with its parent, replies go to a new descriptor that [`REPLY_VARIABLE`] names,
/// and standard output becomes standard error. Returns only on failure.
#[cfg(unix)]
pub fn become_adapter(command: &[String]) -> std::io::Error {
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::os::unix::process::CommandExt;
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    let Some((program, arguments)) = command.split_first() else {
        return std::io::Error::other("no command is given");
    };
    // A copy made like this stays open when another program takes this process over.
    let replies = match rustix::io::dup(std::io::stdout()) {
        Ok(replies) => replies,
        Err(error) => return error.into(),
    };
    if let Err(error) = rustix::stdio::dup2_stdout(std::io::stderr()) {
        return error.into();
    }
    let number = replies.as_raw_fd();
    let error = Command::new(program).args(arguments).env(REPLY_VARIABLE, number.to_string()).exec();
    let _ = replies.into_raw_fd();
    error
}
