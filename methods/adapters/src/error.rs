//! What can go wrong with an outside program; each error says what it did, and what would have been right.

use thiserror::Error;

/// Why an adapter gave no answer that counts.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum AdapterError {
    /// Its process could not be started.
    #[error("the adapter `{command}` cannot be started: {reason}")]
    Start {
        /// The program.
        command: String,
        /// The system's reason.
        reason: String,
    },
    /// Its process ended.
    #[error("the adapter ended during `{verb}`{how}")]
    Ended {
        /// The request that it did not answer.
        verb: &'static str,
        /// Its exit status and the last that it wrote to standard error.
        how: String,
    },
    /// It took too long.
    #[error("the adapter did not answer `{verb}` within {seconds} s")]
    Silent {
        /// The request.
        verb: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// Its reply violates the protocol.
    #[error("the adapter broke the protocol at `{verb}`: {what}")]
    Protocol {
        /// The request.
        verb: &'static str,
        /// What it did, and what would be right.
        what: String,
    },
    /// It refused a request.
    #[error("the adapter refused `{verb}`: {message}")]
    Refused {
        /// The request.
        verb: &'static str,
        /// Its reason.
        message: String,
        /// The parameter that it names as wrong.
        param: Option<String>,
    },
    /// It wrote too much to standard output and standard error.
    #[error("the adapter wrote more than {limit_mib} MiB to standard output and standard error and was stopped")]
    Flood {
        /// The limit.
        limit_mib: u64,
    },
    /// Processes that it started outlived it.
    #[error("the adapter left {} behind: {}{}", processes(*.count), .names.join(", "), if .count > &.names.len() { ", …" } else { "" })]
    Left {
        /// Their number.
        count: usize,
        /// Names of the first of them.
        names: Vec<String>,
    },
    /// A request does not fit into a pipe.
    #[error(
        "the request `{verb}` takes {bytes} bytes, and at most {most} are sent; put large parameters into a file and give its name"
    )]
    TooLong {
        /// The request.
        verb: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// The scratch folder cannot be used.
    #[error("the scratch folder for arrays cannot be used: {0}")]
    Scratch(String),
    /// The environment of a shipped adapter cannot be made.
    #[error("{message}")]
    Environment {
        /// What is wrong, and where.
        message: String,
        /// What would be right.
        help: String,
    },
    /// A stranger's command.
    #[error("this would start the program `{command}`, which its author chose")]
    Forbidden {
        /// The command.
        command: String,
    },
    /// It cannot do what was asked of it, as it said in `hello`.
    #[error("{name} cannot {what}; its capabilities are {known}")]
    Unable {
        /// Its name.
        name: String,
        /// What was asked for.
        what: &'static str,
        /// What it can do.
        known: String,
    },
}

impl AdapterError {
    /// What to do about it, if that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            AdapterError::Environment { help, .. } => Some(help),
            AdapterError::Forbidden { .. } => Some("read what it does; `--run-programs` allows it"),
            _ => None,
        }
    }
}

fn processes(count: usize) -> String {
    if count == 1 { "a process".to_owned() } else { format!("{count} processes") }
}
