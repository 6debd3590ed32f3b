//! The schema of run folders: experiments write it, and reports read it. Independent of all methods.

mod agreement;
pub mod anatomy;
mod atomic;
mod contain;
mod error;
mod file_facts;
pub mod frame;
mod generated;
mod in_turn;
mod journal;
mod judgments;
mod log;
mod machine;
pub mod metric;
mod models;
mod parquet;
mod pictures;
pub mod ranks;
mod recipe;
mod regular;
mod results;
mod store;
mod vectors;

pub use agreement::{CheckedTables, Disagreement};
pub use atomic::{AtomicFile, remove_leftovers, write_atomically};
pub use contain::contained;
pub use error::RecordError;
pub use file_facts::{DroppedFacts, FileTruthFacts};
pub use frame::sha256;
pub use generated::{Generated, GeneratedFolder, Unlisted, read_generated, write_generated};
pub use in_turn::{Aim, InTurn, MOST_TURNS, PAIRED, Side, Turn, TurnPair};
pub use judgments::JudgmentFacts;
pub use log::{MOST_STANDARD_ERROR, Phase, Preparation, TrialLog};
pub use machine::Machine;
pub use metric::{METRICS, Metric};
pub use pictures::{PictureFile, picture_file};
pub use recipe::{CodesDigest, Recipe, digest_of_codes};
pub use regular::{is_regular, is_there, read as read_regular};
pub use results::{Ended, Results, RunTables, VALUES, stacked, table_files};
pub use store::{RunFolder, id_of, is_id, read_trial};
pub use vectors::{LISTED, QueryFacts, VectorFacts};

use serde::{Deserialize, Serialize};

/// Version of the file format below; readers refuse newer versions.
pub const SCHEMA: u32 = 1;

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All measurements were made.
    Ok,
    /// It ended with an error, or its process died.
    Failed,
    /// It was stopped at its time limit.
    Timeout,
}

impl Status {
    /// The name in the tidy table.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Timeout => "timeout",
        }
    }

    /// Parses the output of [`Status::as_str`]; returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Status> {
        [Status::Ok, Status::Failed, Status::Timeout].into_iter().find(|status| status.as_str() == text)
    }
}

/// The cause of a failed trial, if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A file was missing, could not be read or written, or had changed.
    Files,
    /// A signal from outside killed its process, as systems do that run out of memory.
    Killed,
    /// The machine had no free memory left for it.
    Memory,
    /// Its compute device was missing or failed.
    Device,
    /// The system could not start a process or threads for it.
    Start,
    /// The trial itself (its method, parameters, data or limits): it would fail in the same way again.
    Trial,
}

impl Cause {
    /// The name in the table of trials.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Files => "files",
            Cause::Killed => "killed",
            Cause::Memory => "memory",
            Cause::Device => "device",
            Cause::Start => "start",
            Cause::Trial => "trial",
        }
    }

    /// Parses the output of [`Cause::as_str`]; returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Cause> {
        use Cause::{Device, Files, Killed, Memory, Start, Trial};
        [Files, Killed, Memory, Device, Start, Trial].into_iter().find(|cause| cause.as_str() == text)
    }

    /// Whether the trial may succeed on a retry, because the cause was outside the trial.
    pub fn passes(self) -> bool {
        self != Cause::Trial
    }
}

/// One measured value, with the columns of the tidy table that distinguish it from other values of its trial. It is
/// created from an entry of the dictionary of metrics, which determines its name and unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// Name of the metric, e.g. `nmse`.
    pub metric: String,
    /// Position in the code (such as a stage) that the value is about; None for the whole code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Number of neighbours requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// The search path: `adc`, `decode`, `rerank4`, …. For training values: `sample` if computed on a sample of the
    /// rows, `rejected` if of a rejected attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Index of the repetition, iteration or epoch, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<usize>,
    /// The value; always finite.
    pub value: f64,
    /// Its unit; `1` for plain ratios.
    pub unit: String,
}

impl Measured {
    /// A value of the whole trial. For an entry that stands for a family, use [`Measured::of_family`].
    pub fn new(metric: &'static Metric, value: f64) -> Measured {
        let (name, unit) = (metric.name.to_owned(), metric.unit.to_owned());
        Measured { metric: name, stage: None, k: None, path: None, repeat: None, value, unit }
    }

    /// A value of a member of a family, named by its suffix: `kl_loss` of [`metric::TRAINING`] is `training_kl_loss`. A
    /// member with an entry of its own has the unit of that entry.
    pub fn of_family(family: &'static Metric, member: &str, value: f64) -> Measured {
        let name = format!("{}{member}", family.family().unwrap_or(family.name));
        let unit = metric::find(&name).unwrap_or(family).unit.to_owned();
        Measured { metric: name, unit, ..Measured::new(family, value) }
    }

    /// A value of the metric with this name; returns `None` if the dictionary has no entry for it.
    pub fn named(name: &str, value: f64) -> Option<Measured> {
        let metric = metric::find(name)?;
        Some(match metric.family() {
            Some(start) => Measured::of_family(metric, &name[start.len()..], value),
            None => Measured::new(metric, value),
        })
    }

    /// Sets the unit, for a metric that has several.
    pub fn in_unit(self, unit: &str) -> Measured {
        Measured { unit: unit.to_owned(), ..self }
    }

    /// Sets the position in the code.
    pub fn stage(self, stage: impl Into<String>) -> Measured {
        Measured { stage: Some(stage.into()), ..self }
    }

    /// Sets the number of neighbours.
    pub fn k(self, k: usize) -> Measured {
        Measured { k: Some(k), ..self }
    }

    /// Sets the search path.
    pub fn path(self, path: impl Into<String>) -> Measured {
        self.maybe_path(Some(path))
    }

    /// Sets the search path if there is one.
    pub fn maybe_path(self, path: Option<impl Into<String>>) -> Measured {
        Measured { path: path.map(Into::into), ..self }
    }

    /// Sets the index of the repetition.
    pub fn repeat(self, repeat: usize) -> Measured {
        Measured { repeat: Some(repeat), ..self }
    }
}

/// Prefix of the names of search paths that re-rank candidates.
const RERANK: &str = "rerank";

/// Name of the search path that fetches `factor` times as many candidates and sorts them by their raw vectors.
pub fn rerank_path(factor: usize) -> String {
    format!("{RERANK}{factor}")
}

/// The factor by which a search path fetches more candidates; returns `None` if it does not re-rank.
pub fn rerank_factor(path: &str) -> Option<usize> {
    path.strip_prefix(RERANK)?.parse().ok()
}

/// The identity of a trial, and the columns that all its rows share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Hash of everything that determines the results.
    pub id: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Components per vector.
    pub dim: usize,
    /// Number of base rows.
    pub n: usize,
    /// The metric: `l2`, `cosine` or `ip`.
    pub metric_space: String,
    /// Name of the method.
    pub method: String,
    /// Family of the method, such as `product`; None in records of versions that did not store it, and of programs
    /// without families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// All parameters of the method.
    pub params: serde_json::Value,
    /// Name in tables.
    pub label: String,
    /// Name shared by the points of one curve.
    pub series: String,
    /// The device: `cpu` or `cuda`.
    pub device: String,
    /// Maximum number of threads.
    pub threads: usize,
    /// Seed of the training.
    pub seed: u64,
    /// Bits stored per vector.
    pub bits_per_vector: usize,
}

/// The limits of a trial. A failure is final only under the limits that it occurred with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Time limit in seconds.
    pub timeout_seconds: f64,
    /// Limit of data memory in bytes; None if unlimited.
    pub memory_bytes: Option<u64>,
}

/// A trial that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Schema version, see [`SCHEMA`].
    pub schema: u32,
    /// The trial.
    pub trial: Trial,
    /// How it ended.
    pub status: Status,
    /// Why it did not succeed.
    pub reason: Option<String>,
    /// The cause of a failure; None in records of versions that did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The limits of the trial.
    pub limits: Limits,
    /// The machine it ran on.
    pub machine: Machine,
    /// Wall-clock seconds from start to end of its process, without those in which it waited for its turn.
    pub wall_seconds: f64,
    /// What it takes to run the trial again; None in records of versions that did not store it, and of other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// Digest of the codes of the base rows, by [`digest_of_codes`]; None if the trial did not get that far, and in
    /// records of versions that did not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes_sha256: Option<String>,
    /// How it went; None in records of versions that did not store it, and of other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<TrialLog>,
    /// All measured values.
    pub values: Vec<Measured>,
}

impl TrialRecord {
    /// Whether it failed for a cause outside the trial, and may succeed on a retry.
    pub fn failed_in_passing(&self) -> bool {
        self.status != Status::Ok && self.cause.is_some_and(Cause::passes)
    }

    /// The pair that it ran in; None if it ran in none.
    pub fn in_turn(&self) -> Option<&InTurn> {
        self.log.as_ref()?.in_turn.as_ref()
    }
}

/// Facts about a dataset that do not depend on any method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Name in tables and figures.
    pub name: String,
    /// Components per vector.
    pub dim: usize,
    /// Number of training rows.
    pub train: usize,
    /// Number of base rows.
    pub base: usize,
    /// Number of query rows.
    pub queries: usize,
    /// The metric: `l2`, `cosine` or `ip`.
    pub metric_space: String,
    /// Digest of the vectors.
    pub fingerprint: String,
    /// `mean ‖x−mean‖²` of the base rows.
    pub variance: f64,
    /// Eigenvalues of the covariance of the base rows, largest first.
    pub spectrum: Vec<f64>,
    /// Gaussian rate–distortion bound for that covariance: pairs of bits per vector and normalized MSE, by ascending
    /// rate.
    pub bound: Vec<(f64, f64)>,
    /// The signals that the base rows were cut from; None if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalFacts>,
    /// Whether the base rows are also the training rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub train_on_base: bool,
    /// Training rows whose norm is far from that of the others; None if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<OutlierFacts>,
    /// Rows that the dataset's entry leaves out, by part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedFacts>,
    /// The neighbours that came with the vectors; None if there were none, or they agree and no measurement needs them.
    #[serde(default, alias = "wrong_truth", skip_serializing_if = "Option::is_none")]
    pub file_truth: Option<FileTruthFacts>,
    /// What the vectors are like; None in records of versions that did not store it, and of other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<VectorFacts>,
    /// Judgments of relevance; None if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgments: Option<JudgmentFacts>,
    /// How its vectors were prepared; None in records of versions that did not store it, and of other programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
}

/// Training rows whose norm is much larger than that of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutlierFacts {
    /// Number of such rows.
    pub count: usize,
    /// The first of them, e.g. `row 5 of words.npy`, counted from 0.
    pub first: String,
    /// The largest norm, divided by the median norm of all rows.
    pub factor: f64,
    /// Minimum norm of such a row, divided by the median norm.
    pub from: f64,
}

impl DatasetFacts {
    /// Notes about the vectors for readers of the figures, a few sentences each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.train_on_base {
            let some = if self.train < self.base {
                format!("{} of the base rows", self.train)
            } else {
                "the base rows".into()
            };
            remarks.push(format!(
                "Methods are trained on {some}, which they then encode. The distortion of rows that a method was not trained on \
                 can be higher."
            ));
        }
        remarks.extend(self.outliers.as_ref().map(|far| far.remark(self.train, "training")));
        remarks.extend(self.vector_remarks());
        if !self.dropped.is_empty() {
            let parts: Vec<String> = self.dropped.iter().map(DroppedFacts::remark).collect();
            remarks.push(format!("Left out by the key drop: {}.", parts.join("; ")));
        }
        remarks.extend(self.file_truth.iter().map(|truth| truth.remark(&self.metric_space)));
        remarks.extend(self.judgments.iter().flat_map(JudgmentFacts::remarks));
        remarks
    }
}

/// The signals that base rows were cut from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignalFacts {
    /// Whole pictures, divided into square patches.
    Images {
        /// Side of a patch in pixels.
        patch: usize,
        /// Values per pixel.
        channels: usize,
        /// The pictures, in the order of their rows.
        pictures: Vec<PictureFacts>,
    },
    /// Frames of sound; each vector has log-mel energies.
    Frames {
        /// Frames per second.
        per_second: f64,
    },
}

/// A picture whose patches are consecutive base rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureFacts {
    /// Unique within its dataset.
    pub name: String,
    /// Width in pixels, a multiple of the patch size.
    pub width: usize,
    /// Height in pixels, a multiple of the patch size.
    pub height: usize,
    /// Index of the base row with its first patch.
    pub first_row: usize,
}

/// An executed plan: the experiment with all defaults filled in, and its trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Schema version, see [`SCHEMA`].
    pub schema: u32,
    /// Name of the experiment.
    pub name: String,
    /// What to look for in the results.
    pub analysis: String,
    /// The experiment with all defaults filled in, and below [`FOUND`] what `at_bits` found.
    pub experiment: serde_json::Value,
    /// The machine it ran on.
    pub machine: Machine,
    /// Its datasets.
    pub datasets: Vec<DatasetFacts>,
    /// Its trials, in order.
    pub trials: Vec<Trial>,
    /// What was left out (missing datasets, rates that a method cannot have, excluded trials, trials for which the budget
    /// of time was not enough), each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// The key of [`RunInfo::experiment`] with the parameters that `at_bits` found, one line of text each.
pub const FOUND: &str = "found";

impl RunInfo {
    /// What `at_bits` found, one line each.
    pub fn found(&self) -> impl Iterator<Item = &str> {
        self.experiment[FOUND].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str)
    }
}

/// A run that was read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The plan.
    pub info: RunInfo,
    /// Records of the plan's trials that have ended, in the order of the plan.
    pub records: Vec<TrialRecord>,
    /// Pictures in the run folder; within each dataset, the originals come first.
    pub pictures: Vec<PictureFile>,
}
