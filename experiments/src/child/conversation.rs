//! What the process of a trial says until it ends, is interrupted, or reaches its time limit.

use super::log::OpenLog;
use super::start::Started;
use super::{Child, ChildEnd, post_mortem};
use crate::trial::Message;
use record::Machine;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// Time that a child may take to exit after its answer; drivers clean up on exit, and some hang.
const FAREWELL: Duration = Duration::from_secs(10);

/// How often the parent checks the interrupt and the time limit.
const LOOK: Duration = Duration::from_millis(50);

/// What was heard.
#[derive(Default)]
pub(super) struct Heard {
    /// Its answer; None if it ended without one.
    pub(super) answer: Option<ChildEnd>,
    /// Why it has to end; None if it closed its output by itself.
    pub(super) cut_short: Option<ChildEnd>,
    /// The first line that is not a message. Its libraries write to standard output too. Such lines decide nothing, but may
    /// explain a death.
    pub(super) stray: Option<String>,
    /// The machine as the process describes it.
    pub(super) machine: Option<Machine>,
    pub(super) log: OpenLog,
}

/// Listens to a process. `phase` is called with each phase that it reports.
pub(super) fn listen(child: &Child<'_>, started: &mut Started, phase: &mut dyn FnMut(&str)) -> Heard {
    let now = || child.now();
    // A limit beyond the range of the clock is no limit.
    let mut deadline = now().checked_add(child.timeout.duration());
    let late = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now() >= deadline);
    let mut heard = Heard::default();
    let mut codes_sha256 = None;
    heard.cut_short = loop {
        match started.lines.recv_timeout(LOOK) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(Message::Phase(name)) => {
                    heard.log.enter(&name, now());
                    phase(&name);
                }
                Ok(Message::Spent(seconds)) => heard.log.spent(seconds),
                Ok(Message::Turn(step)) => {
                    if let Some(seat) = &child.seat {
                        seat.ask(step);
                    }
                }
                Ok(Message::Machine(machine)) => heard.machine = Some(machine),
                Ok(_) if heard.answer.is_some() => {}
                Ok(Message::Codes(digest)) => codes_sha256 = Some(digest),
                Ok(Message::Values(values)) => {
                    heard.answer = Some(ChildEnd::Values { codes_sha256: codes_sha256.take(), values });
                }
                Ok(Message::Failed(failure)) => {
                    let failure = post_mortem::under_limits(failure, &child.request.limits);
                    heard.answer = Some(ChildEnd::Failed(failure));
                }
                Err(_) => heard.stray = heard.stray.or(Some(line)),
            },
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if heard.answer.is_some() {
            let farewell = now() + FAREWELL;
            deadline = Some(deadline.map_or(farewell, |deadline| deadline.min(farewell)));
        }
        if child.interrupt.load(Ordering::SeqCst) {
            break Some(ChildEnd::Interrupted);
        }
        if late(deadline) {
            break Some(ChildEnd::Timeout);
        }
    };
    // Its output has ended, so the process should end; but a driver may hang on exit.
    while heard.cut_short.is_none() && heard.answer.is_none() && started.is_running() {
        std::thread::sleep(Duration::from_millis(1));
        let interrupted = child.interrupt.load(Ordering::SeqCst);
        heard.cut_short =
            if interrupted { Some(ChildEnd::Interrupted) } else { late(deadline).then_some(ChildEnd::Timeout) };
    }
    heard
}
