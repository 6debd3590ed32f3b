//! Prints errors, each with its place in the file and a suggested fix.

use crate::say::visible;
use experiments::Fault;
use experiments::coding::CodingError;
use experiments::engine::EngineError;
use experiments::executor::TaskError;
use invariants::InvariantError;
use methods::MethodError;
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::io::IsTerminal;

/// One or more errors in a request; the program ends with exit code 2.
pub struct Mistakes(Vec<Fault>);

impl Mistakes {
    /// An error without a location in a file. It may quote files of strangers.
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Mistakes {
        Mistakes(vec![Fault::new(visible(&message.into()), visible(&help.into()))])
    }

    /// Prints all of them to standard error.
    pub fn print(&self) {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false).without_cause_chain();
        for fault in &self.0 {
            let mut text = String::new();
            match handler.render_report(&mut text, fault) {
                Ok(()) => say_aside!("error: {}", text.trim_start().trim_start_matches(['×', ' '])),
                Err(_) => say_aside!("error: {fault}"),
            }
        }
    }
}

impl From<Fault> for Mistakes {
    fn from(fault: Fault) -> Mistakes {
        Mistakes(vec![fault])
    }
}

impl From<Vec<Fault>> for Mistakes {
    fn from(faults: Vec<Fault>) -> Mistakes {
        Mistakes(faults)
    }
}

impl From<InvariantError> for Mistakes {
    fn from(error: InvariantError) -> Mistakes {
        let help = match &error {
            InvariantError::Unreadable { .. } => "check that it exists and that you may read it",
            InvariantError::Manifest { .. } => "it must be a Cargo.toml that cargo can read",
            InvariantError::Cargo(_) => "run this through `cargo xtask`",
        };
        Mistakes::new(error.to_string(), help)
    }
}

impl From<record::RecordError> for Mistakes {
    fn from(error: record::RecordError) -> Mistakes {
        use record::RecordError::*;
        let help = match &error {
            Io { action: "lock", .. } => "mount the file system with file locks, or choose another folder with `--out`",
            Io { .. } => "choose another folder with `--out`, or make this one writable",
            NoRun { .. } => "name a folder that `cargo xtask experiments` has written, such as runs/quickstart",
            Foreign { .. } => "choose an empty or new folder with `--out`",
            NotOurs { .. } => "choose another folder with `--out`, or move the file away",
            Damaged { .. } => "delete the file; the next run makes it again",
            Newer { .. } => "use the version of vqbench that wrote it, or a later one",
            NoTables { .. } => "`cargo xtask report RUN` writes them from the records of its trials",
            NoJournal { .. } => "name a run folder with its folder `trials`",
            Busy { .. } => "wait until it has ended, end it with Ctrl-C, or choose another folder with `--out`",
        };
        Mistakes::new(error.to_string(), help)
    }
}

impl From<EngineError> for Mistakes {
    fn from(error: EngineError) -> Mistakes {
        let help = match error {
            EngineError::Record(error) | EngineError::Task(TaskError::Record(error)) => return error.into(),
            EngineError::Dataset(fault) => return fault.into(),
            EngineError::Unusable(error) => return error.into(),
            EngineError::Threads(_) => "lower `threads`, or the load of this machine".to_owned(),
            EngineError::Interrupted => "the same command continues".to_owned(),
            EngineError::Task(ref error) => error.help(),
        };
        Mistakes::new(error.to_string(), help)
    }
}

impl From<CodingError> for Mistakes {
    fn from(error: CodingError) -> Mistakes {
        let help = match &error {
            CodingError::Dataset(_) | CodingError::Record(_) => "",
            CodingError::Write { .. } => "write to another folder, or make room in this one",
            CodingError::Method { error: MethodError::Param(param), .. } => param.help.as_deref().unwrap_or_default(),
            CodingError::Method { .. } | CodingError::Interrupted { .. } => "",
            CodingError::Changed { .. } => "run this again when no program writes to it",
            CodingError::Rows { .. } => "choose a range within them, such as 0..1000",
            CodingError::Dimension { .. } => "pass vectors like those that the model was trained on",
            CodingError::CodeSize { .. } | CodingError::NotFinite { .. } => {
                "pass codes that `encode` wrote with the same model"
            }
            CodingError::NotBytes { .. } => "codes are integers from 0 to 255",
            CodingError::Budget { needed, .. } | CodingError::Exceeded { needed, .. } => {
                // A quarter more, so that blocks have room to grow, in whole steps of 16 MiB.
                let enough = (needed + needed / 4).div_ceil(1 << 20).next_multiple_of(16);
                return Mistakes::new(error.to_string(), format!("give at least `--memory {enough}MiB`"));
            }
        };
        let help = help.to_owned();
        match error {
            CodingError::Dataset(error) => error.into(),
            CodingError::Record(error) => error.into(),
            error => Mistakes::new(error.to_string(), help),
        }
    }
}

impl From<datasets::DatasetError> for Mistakes {
    fn from(error: datasets::DatasetError) -> Mistakes {
        Mistakes::new(error.to_string(), error.help().unwrap_or_default())
    }
}

impl From<adapters::AdapterError> for Mistakes {
    fn from(error: adapters::AdapterError) -> Mistakes {
        Mistakes::new(error.to_string(), error.help().unwrap_or_default())
    }
}

impl From<fetch::FetchError> for Mistakes {
    fn from(error: fetch::FetchError) -> Mistakes {
        Mistakes::new(error.to_string(), error.help().unwrap_or_default())
    }
}

impl From<methods::ParamError> for Mistakes {
    fn from(error: methods::ParamError) -> Mistakes {
        Mistakes::new(error.message, error.help.unwrap_or_default())
    }
}

impl From<reports::ReportError> for Mistakes {
    fn from(error: reports::ReportError) -> Mistakes {
        Mistakes::new(error.to_string(), "this is a bug in vqbench: please report it with the run folder")
    }
}
