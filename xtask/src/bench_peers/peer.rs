//! The peer as a child process; each request and each answer is one line of JSON. A peer that dies, hangs or answers
//! nonsense is an error with its last output. No request waits longer than its time limit.

use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Maximum length of an answer: a hundred neighbours of ten thousand queries.
const LONGEST_ANSWER: u64 = 16 << 20;

/// How often a wait checks for an interrupt.
const GLANCE: Duration = Duration::from_millis(50);

/// Number of lines of standard error that are kept.
const LAST_LINES: usize = 5;

/// Why there is no answer.
#[derive(Debug, Error, PartialEq)]
pub enum PeerError {
    /// Its process could not be started.
    #[error("the peer could not be started: {0}")]
    Start(String),
    /// Its process ended.
    #[error("the peer ended before it answered{0}")]
    Ended(String),
    /// It took too long.
    #[error("the peer did not answer within {0} s")]
    Silent(f64),
    /// Its answer violates the protocol.
    #[error("the peer sent an answer that cannot be read: {0}")]
    Garbage(String),
    /// It reported a failure.
    #[error("the peer failed: {0}")]
    Failed(String),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl PeerError {
    /// Whether the process can still answer.
    pub fn leaves_it_alive(&self) -> bool {
        matches!(self, PeerError::Failed(_))
    }
}

/// A running peer; killed when dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<std::io::Result<String>>,
    words: Arc<Mutex<VecDeque<String>>>,
    listener: Option<JoinHandle<()>>,
    limit: Duration,
}

impl Peer {
    /// Starts it. It may take `limit` for each answer.
    ///
    /// # Errors
    /// [`PeerError::Start`].
    pub fn start(mut command: Command, limit: Duration) -> Result<Peer, PeerError> {
        let start = |error: std::io::Error| PeerError::Start(error.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(start)?;
        let requests = child.stdin.take();
        let (sender, answers) = mpsc::channel();
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
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&words);
        let listener = child.stderr.take().map(|stream| {
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Ok(mut kept) = kept.lock() {
                        kept.push_back(line);
                        if kept.len() > LAST_LINES {
                            kept.pop_front();
                        }
                    }
                }
            })
        });
        Ok(Peer { child, requests, answers, words, listener, limit })
    }

    /// Sends a request and waits for the answer, or until `interrupt` is set.
    ///
    /// # Errors
    /// Any [`PeerError`] except [`PeerError::Start`]. Unless the error leaves it alive, the peer has been killed.
    pub fn ask(&mut self, request: &Value, interrupt: &AtomicBool) -> Result<Value, PeerError> {
        let answer = self.exchange(request, interrupt);
        if answer.as_ref().is_err_and(|error| !error.leaves_it_alive()) {
            self.kill();
        }
        answer
    }

    fn exchange(&mut self, request: &Value, interrupt: &AtomicBool) -> Result<Value, PeerError> {
        let line = format!("{request}\n");
        if self.requests.as_mut().is_none_or(|pipe| pipe.write_all(line.as_bytes()).is_err()) {
            return Err(self.ended());
        }
        let begin = Instant::now();
        loop {
            if interrupt.load(Ordering::Relaxed) {
                return Err(PeerError::Interrupted);
            }
            let left = self.limit.saturating_sub(begin.elapsed());
            match self.answers.recv_timeout(left.min(GLANCE)) {
                Ok(Ok(line)) => return parse_answer(&line),
                Ok(Err(error)) => return Err(PeerError::Garbage(error.to_string())),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(PeerError::Silent(self.limit.as_secs_f64()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The error that it has ended, with its status and last output.
    fn ended(&mut self) -> PeerError {
        // It may have closed its output without exiting.
        std::thread::sleep(GLANCE);
        let status = self.child.try_wait().ok().flatten();
        self.kill();
        if let Some(listener) = self.listener.take() {
            let begin = Instant::now();
            while !listener.is_finished() && begin.elapsed() < Duration::from_secs(1) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let words =
            self.words.lock().map(|words| words.iter().cloned().collect::<Vec<_>>().join("; ")).unwrap_or_default();
        let status = status.map_or_else(String::new, |status| format!(" ({status})"));
        PeerError::Ended(if words.is_empty() { status } else { format!("{status}: {words}") })
    }

    fn kill(&mut self) {
        self.requests = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The next line, of at most [`LONGEST_ANSWER`] bytes; none at the end.
fn read_line(stream: &mut impl BufRead) -> Option<std::io::Result<String>> {
    let mut bytes = Vec::new();
    match stream.by_ref().take(LONGEST_ANSWER).read_until(b'\n', &mut bytes) {
        Ok(0) => None,
        Ok(_) if bytes.len() as u64 == LONGEST_ANSWER => Some(Err(std::io::Error::other("a line without end"))),
        Ok(_) => Some(Ok(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) => Some(Err(error)),
    }
}

/// An answer is a JSON object; one with `error` is a failure.
fn parse_answer(line: &str) -> Result<Value, PeerError> {
    let garbage = || {
        let start: String = line.trim().chars().take(80).collect();
        PeerError::Garbage(if start.is_empty() { "an empty line".into() } else { format!("`{start}`") })
    };
    let answer: Value = serde_json::from_str(line).map_err(|_| garbage())?;
    match (answer.is_object(), answer.get("error")) {
        (false, _) => Err(garbage()),
        (true, Some(Value::String(error))) => Err(PeerError::Failed(error.clone())),
        (true, Some(error)) => Err(PeerError::Failed(error.to_string())),
        (true, None) => Ok(answer),
    }
}

/// A number in an answer; it must be finite and not negative.
pub fn number(answer: &Value, key: &str) -> Result<f64, PeerError> {
    let found = answer.get(key).and_then(Value::as_f64).filter(|v| v.is_finite() && *v >= 0.0);
    found.ok_or_else(|| PeerError::Garbage(format!("no number `{key}`")))
}

/// A string in an answer.
pub fn text(answer: &Value, key: &str) -> Result<String, PeerError> {
    let found = answer.get(key).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| PeerError::Garbage(format!("no text `{key}`")))
}

/// Neighbours in an answer: one list per query. The peer fills missing neighbours with -1; these are skipped.
pub fn neighbors(answer: &Value, queries: usize) -> Result<Vec<Vec<u32>>, PeerError> {
    let lists = answer.get("ids").and_then(Value::as_array).filter(|lists| lists.len() == queries);
    let lists = lists.ok_or_else(|| PeerError::Garbage(format!("no `ids` of {queries} queries")))?;
    let list = |list: &Value| {
        let ids = list.as_array()?.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>()?;
        Some(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect())
    };
    lists
        .iter()
        .map(list)
        .collect::<Option<_>>()
        .ok_or_else(|| PeerError::Garbage("`ids` holds values that are not numbers".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_objects_or_errors() {
        assert_eq!(parse_answer("{\"seconds\": 0.5}\n"), Ok(json!({ "seconds": 0.5 })));
        assert_eq!(parse_answer("{\"error\": \"no memory\"}"), Err(PeerError::Failed("no memory".into())));
        assert_eq!(parse_answer("{\"error\": 7}"), Err(PeerError::Failed("7".into())));
        for (line, shown) in
            [("", "an empty line"), ("{\"seconds\": 0.", "`{\"seconds\": 0.`"), ("[1]", "`[1]`"), ("nan", "`nan`")]
        {
            assert_eq!(parse_answer(line), Err(PeerError::Garbage(shown.into())), "{line}");
        }
        let long = parse_answer(&"x".repeat(10_000)).expect_err("no JSON").to_string();
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn values_of_answers_are_checked() {
        let answer = json!({ "seconds": 0.5, "rounds": -1, "mse": "much", "ids": [[3, 1], [2, -1]] });
        assert_eq!(number(&answer, "seconds"), Ok(0.5));
        for key in ["rounds", "mse", "nothing"] {
            assert_eq!(number(&answer, key), Err(PeerError::Garbage(format!("no number `{key}`"))));
        }
        assert_eq!(text(&answer, "mse").as_deref(), Ok("much"));
        assert!(text(&answer, "seconds").is_err());
        assert_eq!(neighbors(&answer, 2), Ok(vec![vec![3, 1], vec![2]]));
        assert!(neighbors(&answer, 3).is_err());
        assert!(neighbors(&json!({ "ids": [[0.5]] }), 1).is_err());
        assert!(neighbors(&json!({ "ids": 3 }), 1).is_err());
    }

    #[cfg(unix)]
    fn ask(script: &str, limit: Duration, interrupt: bool) -> Result<Value, PeerError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let mut peer = Peer::start(command, limit)?;
        peer.ask(&json!({ "op": "hello" }), &AtomicBool::new(interrupt))
    }

    #[test]
    #[cfg(unix)]
    fn a_peer_that_dies_hangs_or_talks_nonsense_is_an_error() {
        let long = Duration::from_secs(60);
        assert_eq!(ask("read line; echo '{\"faiss\": \"1\"}'", long, false), Ok(json!({ "faiss": "1" })));
        let died = ask("read line; echo 'out of memory' >&2; exit 3", long, false).expect_err("died").to_string();
        assert_eq!(died, "the peer ended before it answered (exit status: 3): out of memory");
        let early = ask("exit 0", long, false).expect_err("died");
        assert!(matches!(early, PeerError::Ended(_)), "{early}");
        assert_eq!(ask("read line; echo hello", long, false), Err(PeerError::Garbage("`hello`".into())));
        assert_eq!(ask("read line; printf '{\"sec'", long, false), Err(PeerError::Garbage("`{\"sec`".into())));
        assert_eq!(ask("exec sleep 60", Duration::from_millis(100), false), Err(PeerError::Silent(0.1)));
        assert_eq!(ask("exec sleep 60", long, true), Err(PeerError::Interrupted));
        let missing = Peer::start(Command::new("/nonexistent/python"), long).expect_err("no such program");
        assert!(matches!(missing, PeerError::Start(_)));
    }
}
