//! An adapter as a child process: it is sent lines and answers with lines, on a descriptor of its own; what it writes elsewhere is kept as a log.

use crate::error::AdapterError;
use crate::family::{Member, Sign, end_family, family};
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

/// Time that a process takes to end once it has closed its pipes.
const PAUSE: Duration = Duration::from_secs(2);

/// The last request.
pub(crate) const BYE: &str = "bye";

/// Time that an adapter may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// Longest request: it fits into the pipe, so that an adapter which does not read cannot block this process.
const LONGEST_REQUEST: usize = 60_000;

/// Replies that wait to be read. An adapter that sends more has to wait.
const WAITING_REPLIES: usize = 2;

/// Names of processes that an error lists.
const MOST_NAMES: usize = 5;

/// A running adapter. It and everything that it started are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    requests: Option<ChildStdin>,
    replies: Receiver<std::io::Result<Vec<u8>>>,
    log: Arc<Log>,
    listener: Option<JoinHandle<()>>,
    marker: String,
    ancestor: Option<u32>,
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

/// At most `most` characters of a text in one line, without the sequences that colour text, and without characters that change
/// what terminals show.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let mut out = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next_if(|c| (' '..='?').contains(c)).is_some() {}
                    characters.next_if(|c| ('@'..='~').contains(c));
                }
            }
            // Marks without width, and those that turn the direction of text.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {}
            _ if character.is_whitespace() || character.is_control() => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ => out.push(character),
        }
        if out.len() > 4 * most {
            break;
        }
    }
    let text = out.trim_end();
    text.chars().take(most).collect()
}

impl Process {
    /// Starts a command with its scratch folder, in the folder `root`.
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
        let (sender, replies) = mpsc::sync_channel(WAITING_REPLIES);
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
        let ancestor = host.sole.then(std::process::id);
        Ok(Process { child, requests, replies, log, listener, marker, ancestor, ended: false })
    }

    /// Sends a line and waits for the line that answers it.
    pub(crate) fn ask(
        &mut self,
        verb: &'static str,
        line: &str,
        patience: Option<Duration>,
    ) -> Result<Vec<u8>, AdapterError> {
        if line.len() > LONGEST_REQUEST {
            return Err(AdapterError::TooLong { verb, bytes: line.len(), most: LONGEST_REQUEST });
        }
        // A line that came before its request answers another one, as its number shows. A program that guesses numbers ends here,
        // because it might never read, and fill the pipe of requests.
        if let Ok(Ok(line)) = self.replies.try_recv() {
            self.kill();
            return Ok(line);
        }
        let sent = self
            .requests
            .as_mut()
            .map(|requests| requests.write_all(format!("{line}\n").as_bytes()).and_then(|()| requests.flush()));
        // An adapter that has ended says why by its status.
        if sent.is_none_or(|sent| sent.is_err()) && self.exit(PAUSE).is_none() {
            self.kill();
            let what = "it closed its standard input; requests come until `bye`".to_owned();
            return Err(AdapterError::Protocol { verb, what });
        }
        let begin = Instant::now();
        let mut gone = false;
        loop {
            let left = patience.map(|patience| patience.saturating_sub(begin.elapsed()));
            let reply = self.replies.recv_timeout(left.unwrap_or(GLANCE).min(GLANCE));
            if self.log.is_flood() {
                self.kill();
                return Err(AdapterError::Flood { limit_mib: MOST_LOG_BYTES >> 20 });
            }
            match reply {
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

    /// How it ended, waiting for it at most so long.
    fn exit(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(None) if begin.elapsed() < patience => std::thread::sleep(Duration::from_millis(2)),
                exit => return exit.ok().flatten(),
            }
        }
    }

    fn sign(&self) -> Sign<'_> {
        Sign { variable: SCRATCH_VARIABLE, value: &self.marker, ancestor: self.ancestor }
    }

    /// Its processes.
    pub(crate) fn members(&self) -> Vec<Member> {
        family(&self.sign())
    }

    /// Waits until it has ended; what it leaves behind is an error.
    pub(crate) fn close(mut self) -> Result<(), AdapterError> {
        self.requests = None;
        let Some(exit) = self.exit(FAREWELL) else {
            self.kill();
            return Err(AdapterError::Protocol {
                verb: "bye",
                what: format!("it was still running {} s later; it must end after `bye`", FAREWELL.as_secs()),
            });
        };
        // Children that end together with it need a moment.
        let begin = Instant::now();
        while !self.members().is_empty() && begin.elapsed() < Duration::from_millis(500) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = self.end_members();
        self.ended = true;
        if !left.is_empty() {
            let names = left.iter().take(MOST_NAMES).map(|member| plain(&member.name, 40)).collect();
            return Err(AdapterError::Left { count: left.len(), names });
        }
        if !exit.success() {
            return Err(AdapterError::Ended { verb: "bye", how: self.how(Some(exit)) });
        }
        Ok(())
    }

    /// How it ended, and what it said last. What it has started is ended too, unless its end was asked for: then that is an error of
    /// its own.
    fn death(&mut self, verb: &'static str) -> AdapterError {
        let exit = self.exit(PAUSE);
        if verb != BYE {
            self.kill();
        }
        AdapterError::Ended { verb, how: self.how(exit) }
    }

    fn how(&self, exit: Option<ExitStatus>) -> String {
        let begin = Instant::now();
        while self.listener.as_ref().is_some_and(|listener| !listener.is_finished())
            && begin.elapsed() < Duration::from_secs(1)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let how = exit.map_or_else(|| ": it closed its replies".to_owned(), |exit| format!(" ({})", describe(exit)));
        let said = self.log.last_line().map(|line| format!("; it said: {line}")).unwrap_or_default();
        format!("{how}{said}")
    }

    fn end_members(&self) -> Vec<Member> {
        end_family(&self.sign())
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
        Some(signal) => {
            let name = nix::sys::signal::Signal::try_from(signal).map_or("", nix::sys::signal::Signal::as_str);
            format!("signal {signal} {name}").trim_end().to_owned()
        }
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
        Ok(_) if bytes.len() as u64 == LONGEST_LINE && !bytes.ends_with(b"\n") => {
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
