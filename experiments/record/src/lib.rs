//! What a run leaves behind: the schema that experiments write and reports read. Depends on no method.

mod atomic;
mod contain;
pub mod frame;
mod generated;
pub mod metric;
mod models;
mod pictures;
mod regular;
mod results;
mod store;

pub use atomic::{AtomicFile, remove_leftovers, write_atomically};
pub use contain::contained;
pub use generated::{Generated, Unlisted, write_generated};
pub use metric::{METRICS, Metric};
pub use pictures::{PictureFile, picture_file};
pub use regular::{is_regular, read as read_regular};
pub use results::{Ended, Results, Tables, VALUES, stacked};
pub use store::{RecordError, RunFolder, is_id};

use serde::{Deserialize, Serialize};

/// Version of the files below; a reader refuses a newer one.
pub const SCHEMA: u32 = 1;

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All measurements were made.
    Ok,
    /// It stopped with an error, or its process died.
    Failed,
    /// It was ended at its time limit.
    Timeout,
}

impl Status {
    /// As in the tidy table.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Timeout => "timeout",
        }
    }

    /// Reads what [`Status::as_str`] gives; `None` for anything else.
    pub fn parse(text: &str) -> Option<Status> {
        [Status::Ok, Status::Failed, Status::Timeout].into_iter().find(|status| status.as_str() == text)
    }
}

/// What made a trial fail, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A file was missing, could not be read or written, or had changed.
    Files,
    /// A signal from outside ended its process, as a system sends that runs out of memory.
    Killed,
    /// The machine had no memory left for it.
    Memory,
    /// The device that it computes on was not there, or failed.
    Device,
    /// The system started no process or no threads for it.
    Start,
    /// The trial itself: its method, its parameters, its data or its limits, so that it would end in the same way again.
    Trial,
}

impl Cause {
    /// As in the table of trials.
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

    /// Reads what [`Cause::as_str`] gives; `None` for anything else.
    pub fn parse(text: &str) -> Option<Cause> {
        use Cause::{Device, Files, Killed, Memory, Start, Trial};
        [Files, Killed, Memory, Device, Start, Trial].into_iter().find(|cause| cause.as_str() == text)
    }

    /// Whether the trial may succeed when it is tried again, because something outside of it was at fault.
    pub fn passes(self) -> bool {
        self != Cause::Trial
    }
}

/// One measured value, with the columns of the tidy table that tell it from its siblings. It is made from an entry of the
/// dictionary of metrics, which fixes its name and its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// Name of the metric, e.g. `nmse`.
    pub metric: String,
    /// Position of the code it belongs to; none for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Neighbours asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// How the search went: `adc`, `decode`, `rerank4`, …; of what training wrote, that it is of a `sample` of the rows or of an attempt
    /// that was `rejected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Number of the repetition, iteration or epoch, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<usize>,
    /// The value; finite.
    pub value: f64,
    /// Its unit; `1` for plain ratios.
    pub unit: String,
}

impl Measured {
    /// A value of the whole trial. Of an entry that stands for a family, [`Measured::of_family`] makes values.
    pub fn new(metric: &'static Metric, value: f64) -> Measured {
        let (name, unit) = (metric.name.to_owned(), metric.unit.to_owned());
        Measured { metric: name, stage: None, k: None, path: None, repeat: None, value, unit }
    }

    /// A value of the member of a family whose name ends so: `kl_loss` of [`metric::TRAINING`] is `training_kl_loss`. A member with an
    /// entry of its own has that one's unit.
    pub fn of_family(family: &'static Metric, member: &str, value: f64) -> Measured {
        let name = format!("{}{member}", family.family().unwrap_or(family.name));
        let unit = metric::find(&name).unwrap_or(family).unit.to_owned();
        Measured { metric: name, unit, ..Measured::new(family, value) }
    }

    /// A value of a metric by its name; `None` if the dictionary has no entry for it.
    pub fn named(name: &str, value: f64) -> Option<Measured> {
        let metric = metric::find(name)?;
        Some(match metric.family() {
            Some(start) => Measured::of_family(metric, &name[start.len()..], value),
            None => Measured::new(metric, value),
        })
    }

    /// In one of the units of a metric that has several.
    pub fn in_unit(self, unit: &str) -> Measured {
        Measured { unit: unit.to_owned(), ..self }
    }

    /// Of one position of the code.
    pub fn stage(self, stage: impl Into<String>) -> Measured {
        Measured { stage: Some(stage.into()), ..self }
    }

    /// For `k` neighbours.
    pub fn k(self, k: usize) -> Measured {
        Measured { k: Some(k), ..self }
    }

    /// Over a search path.
    pub fn path(self, path: impl Into<String>) -> Measured {
        self.maybe_path(Some(path))
    }

    /// Over a search path, where there is one.
    pub fn maybe_path(self, path: Option<impl Into<String>>) -> Measured {
        Measured { path: path.map(Into::into), ..self }
    }

    /// Of one repetition.
    pub fn repeat(self, repeat: usize) -> Measured {
        Measured { repeat: Some(repeat), ..self }
    }
}

/// How the name of a search path begins whose candidates are re-ranked.
const RERANK: &str = "rerank";

/// The search path that fetches `factor` times as many candidates and orders them by their raw vectors.
pub fn rerank_path(factor: usize) -> String {
    format!("{RERANK}{factor}")
}

/// How many times as many candidates a search path fetches; `None` if it does not re-rank.
pub fn rerank_factor(path: &str) -> Option<usize> {
    path.strip_prefix(RERANK)?.parse().ok()
}

/// What identifies a trial, and the columns it has in every row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Hash of everything that determines the result.
    pub id: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Components per vector.
    pub dim: usize,
    /// Base rows.
    pub n: usize,
    /// `l2`, `cosine` or `ip`.
    pub metric_space: String,
    /// Name of the method.
    pub method: String,
    /// All its parameters.
    pub params: serde_json::Value,
    /// Name in tables.
    pub label: String,
    /// Name shared by the points of one curve.
    pub series: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Threads it may use.
    pub threads: usize,
    /// Seed of the fit.
    pub seed: u64,
    /// Bits stored per vector.
    pub bits_per_vector: usize,
}

/// Limits a trial ran under; a failure is only final under the limits that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds.
    pub timeout_seconds: f64,
    /// Bytes of data memory, if limited.
    pub memory_bytes: Option<u64>,
}

/// A trial that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was tried.
    pub trial: Trial,
    /// How it ended.
    pub status: Status,
    /// Why it did not succeed.
    pub reason: Option<String>,
    /// What made it fail; none in records of versions that did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Under which limits.
    pub limits: Limits,
    /// Where it ran.
    pub machine: Machine,
    /// Seconds from start to end of its process.
    pub wall_seconds: f64,
    /// Everything measured.
    pub values: Vec<Measured>,
}

impl TrialRecord {
    /// Whether it failed for something outside of it, and may succeed when it is tried again.
    pub fn failed_in_passing(&self) -> bool {
        self.status != Status::Ok && self.cause.is_some_and(Cause::passes)
    }
}

/// Where a run took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Logical cores.
    pub cores: usize,
    /// Instruction set that the kernels used.
    pub simd: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// GPU model, if one is used.
    pub gpu: Option<String>,
    /// Operating system and version.
    pub os: String,
    /// Compiler of the program.
    pub rustc: String,
    /// Version of vqbench.
    pub version: String,
    /// Revision of the source tree, if known.
    pub git_revision: Option<String>,
    /// Whether the source tree had uncommitted changes.
    pub git_dirty: Option<bool>,
}

impl Machine {
    /// Whether speed measured on one says something about the other.
    pub fn is_like(&self, other: &Machine) -> bool {
        (&self.cpu, self.cores, &self.simd, &self.gpu) == (&other.cpu, other.cores, &other.simd, &other.gpu)
    }
}

/// What is known of a dataset before any method sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Name in tables and figures.
    pub name: String,
    /// Components per vector.
    pub dim: usize,
    /// Training rows.
    pub train: usize,
    /// Base rows.
    pub base: usize,
    /// Query rows.
    pub queries: usize,
    /// `l2`, `cosine` or `ip`.
    pub metric_space: String,
    /// Digest of the vectors.
    pub fingerprint: String,
    /// `mean ‖x−mean‖²` of the base rows.
    pub variance: f64,
    /// Eigenvalues of the covariance of the base rows, largest first.
    pub spectrum: Vec<f64>,
    /// Gaussian rate–distortion bound for that covariance: bits per vector and normalized MSE, by ascending rate.
    pub bound: Vec<(f64, f64)>,
    /// What the base rows are pieces of, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Whether the base rows are what was trained on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub train_on_base: bool,
    /// Training rows whose norm is far from that of the others, if there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<Outliers>,
    /// What is off with the neighbours that came with the vectors, if something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_truth: Option<WrongTruth>,
}

/// Training rows that are much longer than the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outliers {
    /// How many there are.
    pub count: usize,
    /// Where the first is: `row 5 of words.npy`, counted from 0.
    pub first: String,
    /// The largest norm over the median of all.
    pub factor: f64,
    /// Norms over their median from which on a row counts.
    pub from: f64,
}

/// Neighbours that came with vectors and are not their nearest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WrongTruth {
    /// The share of the neighbours of a sample that are nearest by the dataset's metric.
    pub agreement: f64,
    /// The metric by which they are, if there is one.
    pub explained_by: Option<String>,
}

impl DatasetFacts {
    /// What a reader of the figures should know of the vectors, a sentence or two each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.train_on_base {
            remarks.push(
                "Methods are trained on the base rows, which they then encode: distortions are those of rows that were \
                 trained on."
                    .to_owned(),
            );
        }
        if let Some(Outliers { count, first, factor, from }) = &self.outliers {
            let (are, rows) = if *count == 1 { ("is", "the row") } else { ("are", "the first") };
            remarks.push(format!(
                "{count} of {} training rows {are} at least {from} times as long as the median ({rows} is {first}; the longest \
                 has {factor:.3e} times the median norm). Such rows can decide every figure.",
                self.train
            ));
        }
        if let Some(WrongTruth { agreement, explained_by }) = &self.wrong_truth {
            let but = explained_by.as_ref().map_or_else(String::new, |metric| format!("; they are those by {metric}"));
            remarks.push(format!(
                "The neighbours in the file are not the nearest by {}: {:.0}% of a sample are{but}. Figures here stand on \
                 neighbours computed anew.",
                self.metric_space,
                100.0 * agreement
            ));
        }
        remarks
    }
}

/// What base rows are pieces of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Whole pictures, cut into square patches.
    Images {
        /// Side of a patch in pixels.
        patch: usize,
        /// Values per pixel.
        channels: usize,
        /// The pictures, in the order of their rows.
        pictures: Vec<Picture>,
    },
    /// Frames of sound, each a vector of log-mel energies.
    Frames {
        /// How many make a second.
        per_second: f64,
    },
}

/// A picture whose patches are consecutive base rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Unique within its dataset.
    pub name: String,
    /// Pixels across, of whole patches.
    pub width: usize,
    /// Pixels down, of whole patches.
    pub height: usize,
    /// The base row of its first patch.
    pub first_row: usize,
}

/// A plan that was carried out: the experiment with all defaults filled in, and its trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the experiment.
    pub name: String,
    /// What to look for.
    pub analysis: String,
    /// The experiment as it was resolved.
    pub experiment: serde_json::Value,
    /// Where it ran.
    pub machine: Machine,
    /// Its datasets.
    pub datasets: Vec<DatasetFacts>,
    /// Its trials, in order.
    pub trials: Vec<Trial>,
    /// Datasets that were left out because they were not there, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// A run as it was read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The plan.
    pub info: RunInfo,
    /// Records of the plan's trials that have ended, in the plan's order.
    pub records: Vec<TrialRecord>,
    /// Pictures in the run folder, originals first within each dataset.
    pub pictures: Vec<PictureFile>,
}
