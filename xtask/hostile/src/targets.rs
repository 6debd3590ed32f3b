//! Everything that reads input from outside. A file format needs no entry: each extension in `FORMATS` is a target.

mod documents;
mod models;
mod programs;
mod records;
mod sources;
mod vectors;

use crate::room::Room;
use datasets::format::FORMATS;
use vectors::VectorFile;

/// A function of bytes from outside.
pub struct Target {
    /// Its name.
    pub name: String,
    /// Number of mutations in a bounded run: more where one takes less time.
    pub cases: u64,
    kind: Kind,
}

enum Kind {
    Vectors(VectorFile),
    Other { seeds: fn() -> Vec<Vec<u8>>, check: fn(&Room, &[u8]) -> Result<(), String> },
}

impl Target {
    /// A target of one's own.
    #[cfg(test)]
    pub(crate) fn of(name: &str, seeds: fn() -> Vec<Vec<u8>>, check: fn(&Room, &[u8]) -> Result<(), String>) -> Target {
        Target { name: name.to_owned(), cases: 1, kind: Kind::Other { seeds, check } }
    }

    /// Real input that mutations start from.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        match &self.kind {
            Kind::Vectors(file) => file.seeds(),
            Kind::Other { seeds, .. } => seeds(),
        }
    }

    /// Reads the input. May panic, which is a finding too.
    ///
    /// # Errors
    /// What is wrong with how it was read.
    pub fn check(&self, room: &Room, input: &[u8]) -> Result<(), String> {
        match &self.kind {
            Kind::Vectors(file) => file.check(room, input),
            Kind::Other { check, .. } => check(room, input),
        }
    }
}

/// Extensions of files that are packed as a whole; other combinations are read by the same code.
const PACKED: [&str; 7] = ["npy.gz", "npy.zst", "fvecs.gz", "csv.gz", "jsonl.zst", "parquet.gz", "arrow.zst"];

/// All targets.
pub fn targets() -> Vec<Target> {
    let extensions = FORMATS.iter().flat_map(|format| format.extensions()).copied();
    // A file without an extension is recognized by its content.
    let vectors = extensions.chain(PACKED).chain([""]).map(|extension| Target {
        name: if extension.is_empty() { "unnamed".to_owned() } else { extension.to_owned() },
        cases: vectors::cases(extension),
        kind: Kind::Vectors(VectorFile::new(extension)),
    });
    let other =
        |name: &str, cases, seeds, check| Target { name: name.to_owned(), cases, kind: Kind::Other { seeds, check } };
    vectors
        .chain([
            other("wav", 20_000, sources::wav_seeds, sources::check_wav),
            other("qrels", 20_000, sources::qrels_seeds, sources::check_qrels),
            other("adapter-array", 100_000, programs::seeds, programs::check),
            other("model", 20_000, models::seeds, models::check),
            other("yaml", 100_000, documents::yaml_seeds, documents::check_yaml),
            other("experiment", 10_000, documents::experiment_seeds, documents::check_experiment),
            other("method", 100_000, documents::method_seeds, documents::check_method),
            other("message", 100_000, records::message_seeds, records::check_message),
            other("trial", 10_000, records::trial_seeds, records::check_trial),
            other("run", 10_000, records::run_seeds, records::check_run),
            other("page", 1000, records::page_seeds, records::check_page),
            other("tables", 2000, records::table_seeds, records::check_tables),
            other("submission", 10_000, records::submission_seeds, records::check_submission),
        ])
        .collect()
}

/// Fails if a text that users will see could give orders to a terminal.
fn plain(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() && *c != '\n') {
        Some(c) => Err(format!("a message holds the control character {c:?}: {text:?}")),
        None => Ok(()),
    }
}
