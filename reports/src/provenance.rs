//! What a report was rendered from and how: a file of every report, which lets anyone render it again and compare.

use crate::FORMATS;
use crate::machines::Classes;
use record::{Machine, Results};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Path of the file in the report folder.
pub const FILE: &str = "provenance.json";

/// What a report was rendered from and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of vqbench that rendered the report.
    pub rendered_by: String,
    /// Formats of the report, in the order of [`FORMATS`].
    pub formats: Vec<String>,
    /// Its runs, in order.
    pub runs: Vec<RunProvenance>,
}

/// A run of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProvenance {
    /// Name of the experiment.
    pub experiment: String,
    /// Number of trials that have ended.
    pub ended: usize,
    /// Number of measured values.
    pub values: usize,
    /// The source revisions that its trials ran with, in the order of the trials.
    pub revisions: Vec<String>,
    /// The classes of machines that its trials ran on, in the order of the trials, with the number of trials on each.
    #[serde(default)]
    pub machines: Vec<(String, usize)>,
}

impl Provenance {
    /// The provenance of a report of these runs.
    pub fn new(runs: &[Results], formats: &[String]) -> Provenance {
        let formats = FORMATS.iter().filter(|format| formats.iter().any(|f| f == *format));
        Provenance {
            rendered_by: env!("CARGO_PKG_VERSION").to_owned(),
            formats: formats.map(|format| (*format).to_owned()).collect(),
            runs: runs.iter().map(RunProvenance::new).collect(),
        }
    }

    /// The file.
    ///
    /// # Errors
    /// None in practice; an error of the JSON library.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the file of a report, which may come from a stranger.
    ///
    /// # Errors
    /// Text that is not the provenance of a report; an unknown format.
    pub fn parse(bytes: &[u8]) -> Result<Provenance, String> {
        let found: Provenance = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match found.formats.iter().find(|format| !FORMATS.contains(&format.as_str())) {
            Some(format) => Err(format!("unknown format {format:?}; the formats are {}", FORMATS.join(", "))),
            None => Ok(found),
        }
    }

    /// The names of the experiments, as a text.
    pub fn names(&self) -> String {
        self.runs.iter().map(|run| run.experiment.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl RunProvenance {
    fn new(run: &Results) -> RunProvenance {
        let mut revisions: Vec<String> = Vec::new();
        for revision in run.machines().into_iter().map(revision) {
            if !revisions.contains(&revision) {
                revisions.push(revision);
            }
        }
        // The row that says why a trial did not succeed has no value.
        let values = run.values.column("value").map_or(0, |column| column.len() - column.null_count());
        let classes = Classes::of(std::slice::from_ref(run));
        let count = |class: &str| run.ended.iter().filter(|ended| &*classes.name(&ended.machine) == class).count();
        let machines = classes.names().iter().map(|class| (class.to_string(), count(class))).collect();
        RunProvenance { experiment: run.info.name.clone(), ended: run.ended.len(), values, revisions, machines }
    }
}

/// Trials that an origin names: every marker of a figure says where it comes from, and a thousand seeds have as many markers.
const MOST_TRIALS: usize = 12;

/// The runs, revisions and, if there are several, classes of machines of trials by id, for pages that say where a number comes
/// from.
pub(crate) struct Origins<'a>(HashMap<&'a str, Vec<Origin<'a>>>);

struct Origin<'a> {
    run: &'a str,
    revision: Arc<str>,
    machine: Option<Arc<str>>,
}

impl<'a> Origins<'a> {
    /// The origins of all trials that have ended.
    pub(crate) fn new(runs: &'a [Results], classes: &Classes) -> Origins<'a> {
        let mut origins: HashMap<&str, Vec<Origin<'a>>> = HashMap::new();
        for run in runs {
            for ended in &run.ended {
                let machine = classes.several().then(|| classes.name(&ended.machine));
                let origin = Origin { run: &run.info.name, revision: revision(&ended.machine).into(), machine };
                origins.entry(&ended.trial.id).or_default().push(origin);
            }
        }
        Origins(origins)
    }

    /// Run, trials and revision of values that these trials measured, in words.
    pub(crate) fn describe(&self, trials: &[String]) -> String {
        let found = || trials.iter().filter_map(|id| self.0.get(id.as_str())).flatten();
        let listed = |mut texts: Vec<&str>, between: &str| {
            texts.sort_unstable();
            texts.dedup();
            texts.join(between)
        };
        let runs = listed(found().map(|origin| origin.run).collect(), ", ");
        let revisions = listed(found().map(|origin| &*origin.revision).collect(), ", ");
        let machines = listed(found().filter_map(|origin| origin.machine.as_deref()).collect(), "; ");
        let machines = if machines.is_empty() { String::new() } else { format!(", on {machines}") };
        let named = trials.len().min(MOST_TRIALS);
        let more = match trials.len() - named {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("run {runs}, trials {}{more}, revision {revisions}{machines}", trials[..named].join(", "))
    }
}

/// The source revision of a program, as a text.
pub(crate) fn revision(machine: &Machine) -> String {
    let changed = if machine.git_dirty == Some(true) { " with uncommitted changes" } else { "" };
    match &machine.git_revision {
        Some(revision) => format!("{revision}{changed}"),
        None => format!("unknown; version {}", machine.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_formats_of_this_program_are_accepted() {
        let formats = ["csv".to_owned(), "html".to_owned()];
        let own = Provenance::new(&[], &formats);
        assert_eq!(own.formats, ["html", "csv"], "in the order of all formats");
        assert_eq!(Provenance::parse(&own.to_json().expect("JSON")), Ok(own.clone()));
        let odd = Provenance { formats: vec!["gif".into()], ..own };
        let error = Provenance::parse(&odd.to_json().expect("JSON")).expect_err("no format");
        assert!(error.starts_with("unknown format \"gif\"; the formats are html, svg"), "{error}");
        assert!(Provenance::parse(b"[]").is_err());
    }

    #[test]
    fn a_revision_says_what_is_known_of_it() {
        let machine = |revision: Option<&str>, dirty| Machine {
            git_revision: revision.map(str::to_owned),
            git_dirty: dirty,
            version: "0.1".into(),
            ..Machine::default()
        };
        assert_eq!(revision(&machine(Some("0123"), Some(false))), "0123");
        assert_eq!(revision(&machine(Some("0123"), Some(true))), "0123 with uncommitted changes");
        assert_eq!(revision(&machine(None, None)), "unknown; version 0.1");
    }
}
