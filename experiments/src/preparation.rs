//! Prepares a dataset for the trials of a run: checks its rows, and computes its facts and exact neighbours, or finds what
//! earlier runs have kept.

use crate::clock::PhaseClock;
use crate::facts::{self, MAX_FACTS, Truth};
use crate::json::plain_json;
use crate::machine;
use crate::memory::Demand;
use crate::neighbours::KeptNeighbours;
use crate::observer::Observer;
use crate::outcome::EngineError;
use crate::plan::{Plan, PlannedDataset, SOURCES};
use crate::surroundings::{Surroundings, absolute};
use datasets::{DatasetError, Resolved, Seen, Source, format};
use record::{DatasetFacts, Phase, Preparation, RecordError, RunFolder, id_of, is_regular, read_regular};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use thiserror::Error;

/// A dataset to prepare: everything that this takes, so that it can be prepared where the plan is not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PreparationJob {
    /// Names its files in the run folder.
    pub key: String,
    /// Name of the dataset.
    pub name: String,
    /// The dataset as written.
    pub dataset: Value,
    /// Folder that relative paths start from.
    pub root: PathBuf,
    /// Its files and arrays as the plan found them.
    pub seen: Seen,
    /// Digest of its vectors.
    pub fingerprint: String,
    /// How long it took to find its files, and to read each array for the digest of its values.
    pub found: Vec<Phase>,
    /// Number of exact neighbours of each query.
    pub depth: usize,
    /// Memory limit.
    pub memory_bytes: Option<u64>,
    /// Rough estimate of the memory that this takes, in bytes.
    #[serde(default)]
    pub estimated_bytes: u64,
    /// Where its facts go.
    pub facts_file: PathBuf,
    /// Where the exact neighbours go (ivecs), if a measurement needs them.
    pub truth_file: Option<PathBuf>,
}

/// A dataset that is not prepared.
#[derive(Debug, Error)]
pub enum NotPrepared {
    /// It cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The run folder cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Threads could not be started.
    #[error("threads could not be started: {0}")]
    Threads(String),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl From<NotPrepared> for EngineError {
    fn from(error: NotPrepared) -> EngineError {
        match error {
            NotPrepared::Dataset(error) => EngineError::Unusable(error),
            NotPrepared::Record(error) => EngineError::Record(error),
            NotPrepared::Threads(error) => EngineError::Threads(error),
            NotPrepared::Interrupted => EngineError::Interrupted,
        }
    }
}

impl PreparationJob {
    /// The preparation of a dataset of a plan.
    pub(crate) fn new(plan: &Plan, dataset: &PlannedDataset, folder: &RunFolder) -> PreparationJob {
        let (summary, depth) = (&dataset.resolved.summary, plan.truth_depth());
        let key = id_of(
            &json!({ "sources": SOURCES, "name": summary.name, "fingerprint": summary.fingerprint, "depth": depth }),
        );
        PreparationJob {
            name: summary.name.clone(),
            dataset: dataset.written.clone(),
            root: absolute(&plan.root),
            seen: dataset.resolved.seen.clone(),
            fingerprint: summary.fingerprint.clone(),
            found: dataset.found.clone(),
            depth,
            memory_bytes: plan.limits.memory_bytes,
            estimated_bytes: Demand::of_facts(&dataset.resolved, depth).estimate(plan.limits.memory_bytes),
            facts_file: absolute(&folder.dataset_file(&key, "json")),
            truth_file: (depth > 0).then(|| absolute(&folder.dataset_file(&key, "ivecs"))),
            key,
        }
    }

    /// Its facts, if it has been prepared.
    pub fn kept(&self) -> Option<DatasetFacts> {
        let text = read_regular(&self.facts_file, MAX_FACTS).ok()?;
        let facts = serde_json::from_slice(&text).ok()?;
        self.truth_file.as_ref().is_none_or(|file| is_regular(file)).then_some(facts)
    }

    /// Finds the files of the dataset where this process runs.
    ///
    /// # Errors
    /// Files that are missing or cannot be read; vectors other than those of the plan.
    pub fn resolve(&self, surroundings: &Surroundings) -> Result<Resolved, NotPrepared> {
        let wrong = |reason: String| DatasetError::Shape { name: self.name.clone(), reason };
        let source = Source::parse(&self.dataset).map_err(|error| wrong(error.to_string()))?;
        let resolved = source.resolve_knowing(&self.root, &surroundings.search, &self.seen)?;
        if resolved.summary.fingerprint == self.fingerprint {
            return Ok(resolved);
        }
        let found = &resolved.summary.fingerprint;
        let reason = format!(
            "its vectors here are not those of the plan: their digest is {found}, and the plan has {}",
            self.fingerprint
        );
        Err(wrong(reason).into())
    }

    /// Finds or computes the facts. `resolved` is the dataset where this process runs.
    ///
    /// # Errors
    /// Vectors that cannot be used, or that changed meanwhile; a run folder that cannot be written; an interrupt.
    pub(crate) fn prepare(
        &self,
        resolved: &Resolved,
        surroundings: &Surroundings,
        interrupt: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<DatasetFacts, NotPrepared> {
        let facts = match self.kept() {
            Some(facts) => facts,
            None => {
                observer.preparing(&self.name);
                let (facts, truth) = self.compute(resolved, surroundings, interrupt, observer)?;
                if let Some(file) = &self.truth_file {
                    record::write_atomically(file, &format::ids_to_ivecs(&truth))?;
                }
                record::write_atomically(&self.facts_file, plain_json(&facts).as_bytes())?;
                facts
            }
        };
        facts.remarks().iter().for_each(|remark| observer.remark(&self.name, remark));
        Ok(facts)
    }

    /// Reads the dataset and computes its facts. Neighbours that an earlier run has kept are used again.
    fn compute(
        &self,
        resolved: &Resolved,
        surroundings: &Surroundings,
        interrupt: &AtomicBool,
        observer: &mut dyn Observer,
    ) -> Result<(DatasetFacts, Truth), NotPrepared> {
        let (name, depth) = (&self.name, self.depth);
        let cache = surroundings.cache.as_deref().filter(|_| depth > 0);
        let kept = cache.map(|cache| KeptNeighbours::new(cache, &resolved.summary, depth));
        let known = kept.as_ref().and_then(KeptNeighbours::get);
        let kept = kept.filter(|_| known.is_none());
        let peak_before = machine::peak_rss_bytes();
        let mut clock = PhaseClock::begin("load");
        let data = resolved.open(Demand::of_facts(resolved, depth).held_bytes(self.memory_bytes))?;
        let mut progress = |done: usize, all: usize| {
            observer.prepared(name, done, all);
            if interrupt.load(Ordering::SeqCst) { Err(NotPrepared::Interrupted) } else { Ok(()) }
        };
        let isa = surroundings.devices.isa;
        let (mut facts, truth) = facts::compute(&data, resolved, depth, known, isa, &mut clock, &mut progress)?;
        let phases = self.found.iter().cloned().chain(clock.end()).collect();
        // The peak is that of the whole process: it says something of this dataset only if it has grown.
        let peak_rss_bytes = machine::peak_rss_bytes().filter(|peak| Some(*peak) > peak_before);
        let preparation = Preparation { phases, peak_rss_bytes };
        observer.has_prepared(name, &preparation);
        facts.preparation = Some(preparation);
        // What was read is that of the plan, or its neighbours would be kept for other vectors.
        if !resolved.seen.is_unchanged() {
            let again = Source::parse(&self.dataset)
                .ok()
                .map(|source| source.resolve_knowing(&self.root, &surroundings.search, &resolved.seen))
                .transpose()?;
            if again.is_none_or(|again| again.summary.fingerprint != resolved.summary.fingerprint) {
                let reason = "its files changed while they were read; start the run again".to_owned();
                return Err(DatasetError::Shape { name: name.clone(), reason }.into());
            }
        }
        if let Some(kept) = kept {
            kept.put(&truth);
        }
        Ok((facts, truth))
    }
}
