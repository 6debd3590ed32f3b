//! Finds out why the process of a trial died, from its exit status and from what it wrote last.

use crate::trial::Failure;
use crate::units::ByteSize;
use record::{Cause, Limits};
use std::process::ExitStatus;

/// The trial's own memory limit would stop it in the same way again.
pub(super) fn under_limits(failure: Failure, limits: &Limits) -> Failure {
    let starved = matches!(failure.cause, Cause::Memory | Cause::Start);
    let cause = if starved && limits.memory_bytes.is_some() { Cause::Trial } else { failure.cause };
    Failure { cause, ..failure }
}

/// Why a process died without an answer.
pub(super) fn death(exit: Option<ExitStatus>, words: &str, limits: &Limits) -> Failure {
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").trim();
    if let Some(asked) = words.lines().find(|line| line.contains("memory allocation of")) {
        let limit = limits.memory_bytes;
        let under = limit.map(|bytes| format!(" under the limit of {}", ByteSize(bytes))).unwrap_or_default();
        let reason = format!("out of memory{under}: {}", asked.trim());
        return under_limits(Failure { reason, cause: Cause::Memory }, limits);
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

#[cfg(unix)]
pub(super) fn interrupted(exit: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    exit.signal() == Some(nix::libc::SIGINT)
}

#[cfg(not(unix))]
pub(super) fn interrupted(_: &ExitStatus) -> bool {
    false
}

/// Whether it was told to end, as a scheduler does before it kills.
#[cfg(unix)]
pub(super) fn told_to_end(exit: &ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    [nix::libc::SIGTERM, nix::libc::SIGHUP].map(Some).contains(&exit.signal())
}

#[cfg(not(unix))]
pub(super) fn told_to_end(_: &ExitStatus) -> bool {
    false
}

/// How a process ended that should have ended well; None if it did, or if it was killed from here.
#[cfg(unix)]
pub(super) fn ill(exit: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match (exit.code(), exit.signal()) {
        (Some(0), _) | (_, Some(nix::libc::SIGKILL)) => None,
        (Some(code), _) => Some(format!("its process ended with exit code {code}")),
        _ => Some(describe_exit(exit).0),
    }
}

#[cfg(not(unix))]
pub(super) fn ill(_: ExitStatus) -> Option<String> {
    None
}

/// How a process ended, as text, and the cause that this implies.
#[cfg(unix)]
fn describe_exit(exit: ExitStatus) -> (String, Cause) {
    use nix::libc::{SIGABRT, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSYS, SIGTRAP};
    use std::os::unix::process::ExitStatusExt;
    // Signals that a program causes itself. SIGBUS is that of a file server that has lost the program, or of a full disk.
    let own = [SIGABRT, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP];
    let cause = if exit.signal().is_some_and(|signal| !own.contains(&signal)) { Cause::Killed } else { Cause::Trial };
    let words = match exit.signal() {
        Some(SIGKILL) => {
            "its process was killed (signal 9): a system does this when memory runs out, and a scheduler at a limit"
                .to_owned()
        }
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
