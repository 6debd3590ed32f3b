//! What can be measured of a trained quantizer, one file per question. To add one: its file, its `mod` line, its line
//! in [`MEASURES`].

mod distortion;
mod error_anatomy;
mod inner_products;
pub mod knn;
mod linear_probe;
mod memory;
pub mod pass;
mod rate;
mod recall;
mod retention;
mod retrieval;
mod signal;
mod throughput;
mod training;
mod utilization;

use crate::facts::Truth;
use crate::in_turn::Turns;
use crate::machine;
use crate::memory::{TIMED_VALUES, codes_of_search, decoded_bytes};
use crate::pictures;
use crate::search;
use cpu::Neighbor;
use datasets::{DatasetError, Opened, Summary};
use methods::contract::usage::Usage;
use methods::registry::params_of;
use methods::search::codes::{CodeSearch, HELD_BYTES};
use methods::{Backend, Method, MethodError, ParamError, Quantizer};
use pass::{Accumulate, Outline, Pass};
use rayon::prelude::*;
use record::{DatasetFacts, Measured};
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt::Debug;
use std::sync::OnceLock;
use strict::nearest_name;

/// Every measurement, in the order they are taken.
pub static MEASURES: &[MeasureEntry] = &[
    rate::ENTRY,
    distortion::ENTRY,
    error_anatomy::ENTRY,
    utilization::ENTRY,
    recall::ENTRY,
    knn::ENTRY,
    retrieval::ENTRY,
    linear_probe::ENTRY,
    signal::ENTRY,
    training::ENTRY,
    throughput::ENTRY,
    memory::ENTRY,
];

/// Measurements that are taken only if they are named, because they take long.
const ON_REQUEST: [&str; 1] = ["linear_probe"];

/// A measurement with its settings.
pub trait Measure: Debug + Send + Sync {
    /// The settings with every default filled in.
    fn params(&self) -> Value;

    /// Number of exact neighbours per query that it needs.
    fn truth_depth(&self) -> usize {
        0
    }

    /// Number of neighbours per query that it needs from search over codes.
    fn search_depth(&self) -> usize {
        0
    }

    /// What it needs of the quantizer. Of an outside program that cannot do it, the measurement is not taken.
    fn needs(&self) -> &'static [Ability] {
        &[]
    }

    /// Whether it needs class labels.
    fn needs_labels(&self) -> bool {
        false
    }

    /// Whether it needs judgments of relevance.
    fn needs_judgments(&self) -> bool {
        false
    }

    /// Whether it needs rows that are pieces of images or sound.
    fn needs_signal(&self) -> bool {
        false
    }

    /// Which images a trial saves in the run folder.
    fn pictures(&self) -> Option<pictures::CropSettings> {
        None
    }

    /// Seconds of timing per trial; 0 when it measures no speed.
    fn seconds(&self) -> f64 {
        0.0
    }

    /// Bytes that it keeps for every base row until the trial ends. Beyond these and the codes, the memory of a trial does
    /// not grow with the number of base rows.
    fn bytes_per_row(&self) -> usize {
        0
    }

    /// Asks for what it adds up over the base rows and their decoded form. By default nothing.
    fn watch(&self, outline: &Outline<'_>, pass: &mut Pass) {
        let _ = (outline, pass);
    }

    /// Takes the measurement, after the pass over the base rows.
    ///
    /// # Errors
    /// Errors of the method.
    fn measure(&self, subject: &Subject<'_>) -> Result<Vec<Measured>, MethodError>;
}

/// What a measurement needs of a quantizer. Only outside programs may lack it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Codes of rows, and rows of codes.
    Decode,
    /// Search, over codes or in its own way.
    Search,
}

/// Whether a quantizer has all that a measurement needs, on vectors that are compared by `metric`.
pub(crate) fn is_able(quantizer: &dyn Quantizer, needs: &[Ability], metric: datasets::MetricSpace) -> bool {
    let Some(program) = quantizer.program() else { return true };
    needs.iter().all(|need| match need {
        Ability::Decode => program.abilities().decode,
        // Decoded vectors can always be searched here.
        Ability::Search => program.abilities().decode || program.can_search(search::search_metric(metric)),
    })
}

/// Whether a dataset has what a measurement needs: classes, judgments, a signal.
pub(crate) fn suits(measure: &dyn Measure, summary: &Summary) -> bool {
    (summary.labelled || !measure.needs_labels())
        && (summary.judged || !measure.needs_judgments())
        && (summary.signal.is_some() || !measure.needs_signal())
}

/// The registry entry of a measurement.
pub struct MeasureEntry {
    /// Key in YAML.
    pub name: &'static str,
    /// One line for listings.
    pub summary: &'static str,
    /// Whether it is always taken, even if not named.
    pub always: bool,
    /// Schema of the settings.
    pub schema: fn() -> Schema,
    /// Reads the settings.
    pub parse: fn(Value) -> Result<Box<dyn Measure>, ParamError>,
}

/// A trained quantizer with the codes of the base rows, what was added up over their decoded form, and everything to compare with.
pub struct Subject<'a> {
    /// The vectors.
    pub data: &'a Opened,
    /// Facts of the vectors.
    pub facts: &'a DatasetFacts,
    /// Exact neighbours of the queries.
    pub truth: &'a Truth,
    /// The parameters of the quantizer.
    pub method: &'a dyn Method,
    /// The quantizer.
    pub quantizer: &'a dyn Quantizer,
    /// Codes of the base rows.
    pub codes: &'a [u8],
    /// What was added up over the base rows and their decoded form.
    pub pass: &'a Pass,
    /// The backend it was trained on.
    pub backend: &'a dyn Backend,
    /// Seconds of training.
    pub fit_seconds: f64,
    /// Neighbours per query that [`Subject::found`] holds.
    pub search_depth: usize,
    /// Shared results; empty at first.
    pub shared: SharedResults,
    /// The turns that its trial takes. A measurement gives the turn back before each repeat of a timing.
    pub turns: &'a Turns<'a>,
}

/// Results that are computed on first use and shared by the measurements of a trial.
#[derive(Default)]
pub struct SharedResults {
    found: OnceLock<Result<SearchResults, MethodError>>,
    exact: OnceLock<Result<Vec<Vec<f64>>, MethodError>>,
    histograms: OnceLock<Result<Option<Histograms>, MethodError>>,
}

/// Results of search over codes.
pub struct SearchResults {
    /// The search path, see [`CodeSearch::path`].
    pub path: &'static str,
    /// The nearest codes of each query, nearest first.
    pub neighbors: Vec<Vec<Neighbor>>,
}

/// How often each symbol occurs at each position of the codes of the base rows.
pub struct Histograms {
    /// Name of each position.
    pub names: Vec<String>,
    /// Counts by position and symbol.
    pub counts: Vec<Vec<u32>>,
    /// Bits per vector beside the symbols.
    pub side_bits: usize,
}

impl Histograms {
    /// Usage of the codewords of each position.
    pub fn usage(&self) -> Vec<Usage> {
        self.counts.iter().map(|counts| Usage::of(counts)).collect()
    }
}

impl<'a> Subject<'a> {
    /// Search results for each query, [`Subject::search_depth`] deep; computed on first use.
    ///
    /// # Errors
    /// Errors of the method.
    pub fn found(&self) -> Result<&SearchResults, MethodError> {
        let search = || {
            let (queries, metric) = (self.data.queries.view(), self.data.metric);
            if self.searches_rows() {
                let search = self.search()?;
                return Ok(SearchResults {
                    path: search.path(),
                    neighbors: search.search(queries, self.search_depth)?,
                });
            }
            let (path, neighbors) =
                search::search_in_parts(self.quantizer, self.codes, metric, queries, self.search_depth)?;
            Ok(SearchResults { path, neighbors })
        };
        self.shared.found.get_or_init(search).as_ref().map_err(Clone::clone)
    }

    /// Whether an outside program searches rows that it stores in its own way, because it has no search over codes.
    pub(crate) fn searches_rows(&self) -> bool {
        self.quantizer.program().is_some_and(|program| {
            let (abilities, metric) = (program.abilities(), search::search_metric(self.data.metric));
            // Where decoded vectors can be searched, rows whose size is unknown say nothing.
            let is_measurable = abilities.save || !abilities.decode;
            abilities.search_base && !abilities.search && is_measurable && program.can_search(metric)
        })
    }

    /// What was added up over the base rows.
    ///
    /// # Errors
    /// The measurement has not asked for it.
    pub fn sum<A: Accumulate>(&self) -> Result<&'a A, MethodError> {
        self.pass.get()
    }

    /// The exact scores of what [`Subject::found`] found, in its order, if base rows are not held; computed on first use
    /// in one pass over them.
    ///
    /// # Errors
    /// Errors of the method; rows that cannot be read.
    pub fn exact_scores(&self) -> Result<&[Vec<f64>], MethodError> {
        let score = || {
            let found = &self.found()?.neighbors;
            let scores = search::exact_scores(&self.data.base, self.data.queries.view(), self.data.metric, found);
            scores.map_err(unread)
        };
        self.shared.exact.get_or_init(score).as_deref().map_err(Clone::clone)
    }

    /// Search over the codes. To build it may lay them out or take them to a device: [`Subject::found`] has what is shared.
    ///
    /// # Errors
    /// As [`CodeSearch::new`].
    pub fn search(&self) -> Result<CodeSearch<'a>, MethodError> {
        if self.searches_rows() {
            let rows = self.data.base.held().ok_or_else(|| {
                let message = "this program searches rows that it stores itself, so all base rows must fit into memory";
                MethodError::Param(ParamError { param: None, message: message.into(), help: None })
            })?;
            let search = CodeSearch::over_rows(self.quantizer, rows, search::search_metric(self.data.metric))?;
            return search.ok_or_else(|| MethodError::Broken("a program lost its search".into()));
        }
        let metric = search::search_metric(self.data.metric);
        CodeSearch::within(self.quantizer, self.codes, metric, self.most_decoded_bytes())
    }

    /// Bytes of decoded rows that a search may hold beside everything that this process has.
    fn most_decoded_bytes(&self) -> usize {
        let Opened { train, queries, base, .. } = self.data;
        // Rows that are too many to be held are too many decoded as well.
        let most = if base.held().is_some() { HELD_BYTES } else { 4 * TIMED_VALUES };
        let (n, bits) = (base.nrows(), 8 * self.quantizer.code_size());
        let parts = [
            4 * (train.len() + queries.len() + base.held().map_or(TIMED_VALUES, |rows| rows.len())) as u64,
            self.codes.len() as u64 + codes_of_search(n, bits),
            2 * self.quantizer.model_size() as u64,
        ];
        most.min(decoded_bytes(machine::data_limit_bytes(), &parts))
    }

    /// Symbol counts, computed on first use; None for a method without symbols.
    ///
    /// # Errors
    /// A code that its own quantizer cannot unpack.
    pub fn histograms(&self) -> Result<Option<&Histograms>, MethodError> {
        let found = self.shared.histograms.get_or_init(|| self.count_symbols());
        found.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    fn count_symbols(&self) -> Result<Option<Histograms>, MethodError> {
        let Some(symbols) = self.quantizer.symbols() else { return Ok(None) };
        let alphabets = symbols.alphabets();
        let none = || alphabets.iter().map(|&a| vec![0u32; a]).collect::<Vec<_>>();
        let count = |mut counts: Vec<Vec<u32>>, codes: &[u8]| {
            let Some(symbols) = self.quantizer.symbols() else { return Ok(counts) };
            let mut row = vec![0u16; alphabets.len()];
            for code in codes.chunks_exact(self.quantizer.code_size()) {
                symbols.unpack(code, &mut row)?;
                for (count, &symbol) in counts.iter_mut().zip(&row) {
                    count[usize::from(symbol)] += 1;
                }
            }
            Ok::<_, MethodError>(counts)
        };
        let add = |mut counts: Vec<Vec<u32>>, others: Vec<Vec<u32>>| {
            let pairs = counts.iter_mut().flatten().zip(others.iter().flatten());
            pairs.for_each(|(count, other)| *count += other);
            Ok(counts)
        };
        let size = self.quantizer.code_size();
        let at_once = counted_at_once(self.codes.len() / size, alphabets.iter().sum(), rayon::current_num_threads());
        let parts = self.codes.par_chunks(at_once * size).map(|codes| count(none(), codes));
        let counts = parts.try_reduce_with(add).unwrap_or_else(|| Ok(none()))?;
        let names = (0..alphabets.len()).map(|p| symbols.position_name(p)).collect();
        Ok(Some(Histograms { names, counts, side_bits: symbols.side_bits() }))
    }
}

/// Fewest codes whose symbols one task counts.
const COUNTED: usize = 1 << 14;

/// Most counts of all tasks together: 64 MiB.
const MOST_COUNTS: usize = 1 << 24;

/// The number of codes whose symbols a task counts: a share of a thread, and a larger one where the counts of a task are many, since each
/// task has its own.
fn counted_at_once(codes: usize, counts: usize, threads: usize) -> usize {
    let tasks = threads.min(MOST_COUNTS / counts.max(1)).max(1);
    codes.div_ceil(tasks).max(COUNTED)
}

/// Base rows that cannot be read again.
fn unread(error: DatasetError) -> MethodError {
    MethodError::Unread(error.to_string())
}

/// Reads a measurement by name.
///
/// # Errors
/// An unknown name, with the nearest known one; unknown or ill-typed settings.
pub fn parse(name: &str, params: Value) -> Result<Box<dyn Measure>, ParamError> {
    match MEASURES.iter().find(|entry| entry.name == name) {
        Some(entry) => (entry.parse)(params),
        None => Err(ParamError {
            param: None,
            message: format!("unknown measurement `{name}`"),
            help: Some(nearest_name(name, MEASURES.iter().map(|entry| entry.name), "measurements")),
        }),
    }
}

/// Every measurement with default settings, except those that are taken only on request.
pub fn defaults() -> Map<String, Value> {
    let usual = MEASURES.iter().filter(|entry| !ON_REQUEST.contains(&entry.name));
    usual.map(|entry| (entry.name.to_owned(), Value::Null)).collect()
}

fn parse_params<T: Measure + JsonSchema + DeserializeOwned + 'static>(
    params: Value,
) -> Result<Box<dyn Measure>, ParamError> {
    let params = if params.is_null() { Value::Object(Map::new()) } else { params };
    Ok(Box::new(strict::from_value::<T>(params)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_count_symbols_share_little_memory() {
        for (codes, counts, threads) in
            [(0usize, 0, 1), (10, 3, 8), (1 << 20, 256, 4), (1 << 24, 96 << 16, 64), (1 << 24, 1 << 30, 64)]
        {
            let tasks = codes.div_ceil(counted_at_once(codes, counts, threads));
            assert!(tasks <= threads && (tasks <= 1 || tasks * counts <= MOST_COUNTS), "{tasks} tasks");
        }
        assert_eq!(counted_at_once(1 << 20, 256, 4), 1 << 18);
        // 25 MB of counts: two tasks.
        assert_eq!(counted_at_once(1 << 24, 96 << 16, 64), 1 << 23);
    }
}
