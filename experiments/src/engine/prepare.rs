//! Prepares the datasets of a run: checks their rows, and computes their facts and exact neighbours, or finds what earlier
//! runs have kept.

use super::{EngineError, Observer, Settings, absolute};
use crate::Document;
use crate::clock::PhaseClock;
use crate::facts::{self, MAX_FACTS, Truth};
use crate::fault::Fault;
use crate::json::plain_json;
use crate::machine;
use crate::memory::Demand;
use crate::neighbours::KeptNeighbours;
use crate::plan::{Plan, PlannedDataset, SOURCES};
use datasets::{DatasetError, Source, format};
use record::{DatasetFacts, Preparation, id_of, is_regular, read_regular, write_atomically};
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What the trials of a dataset need.
pub(super) struct Prepared {
    pub(super) facts: DatasetFacts,
    pub(super) facts_file: PathBuf,
    pub(super) truth_file: Option<PathBuf>,
}

/// Why datasets are not prepared.
pub(super) enum Unprepared {
    Failed(EngineError),
    Interrupted,
}

impl<E: Into<EngineError>> From<E> for Unprepared {
    fn from(error: E) -> Unprepared {
        Unprepared::Failed(error.into())
    }
}

/// Why the facts of a dataset are not known.
enum NoFacts {
    Dataset(DatasetError),
    Interrupted,
}

impl From<DatasetError> for NoFacts {
    fn from(error: DatasetError) -> NoFacts {
        NoFacts::Dataset(error)
    }
}

/// Finds or computes the facts of every dataset.
pub(super) fn prepare_datasets(
    plan: &Plan,
    document: &Document,
    settings: &Settings<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Prepared>, Unprepared> {
    let folder = &settings.folder;
    let depth = plan.truth_depth();
    let mut all = Vec::new();
    for dataset in &plan.datasets {
        let summary = &dataset.resolved.summary;
        let key = id_of(
            &json!({ "sources": SOURCES, "name": summary.name, "fingerprint": summary.fingerprint, "depth": depth }),
        );
        let facts_file = absolute(&folder.dataset_file(&key, "json"));
        let truth_file = (depth > 0).then(|| absolute(&folder.dataset_file(&key, "ivecs")));
        let kept = read_regular(&facts_file, MAX_FACTS).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let facts: DatasetFacts = match kept.filter(|_| truth_file.as_ref().is_none_or(|file| is_regular(file))) {
            Some(facts) => facts,
            None => {
                observer.preparing(&summary.name);
                let computed = facts_of(plan, dataset, settings, observer);
                let (facts, truth) = computed.map_err(|error| match error {
                    NoFacts::Dataset(error) => Unprepared::Failed(EngineError::Dataset(Fault::at(
                        document,
                        &dataset.pointer,
                        error.to_string(),
                        error.help(),
                    ))),
                    NoFacts::Interrupted => Unprepared::Interrupted,
                })?;
                if let Some(file) = &truth_file {
                    write_atomically(file, &format::ids_to_ivecs(&truth))?;
                }
                write_atomically(&facts_file, plain_json(&facts).as_bytes())?;
                facts
            }
        };
        facts.remarks().iter().for_each(|remark| observer.remark(&summary.name, remark));
        all.push(Prepared { facts, facts_file, truth_file });
    }
    Ok(all)
}

/// Reads a dataset and computes its facts. Neighbours that an earlier run has kept are used again.
fn facts_of(
    plan: &Plan,
    dataset: &PlannedDataset,
    settings: &Settings<'_>,
    observer: &mut dyn Observer,
) -> Result<(DatasetFacts, Truth), NoFacts> {
    let (resolved, name) = (&dataset.resolved, &dataset.resolved.summary.name);
    let (depth, surroundings) = (plan.truth_depth(), settings.surroundings);
    let cache = surroundings.cache.as_deref().filter(|_| depth > 0);
    let kept = cache.map(|cache| KeptNeighbours::new(cache, &resolved.summary, depth));
    let known = kept.as_ref().and_then(KeptNeighbours::get);
    let kept = kept.filter(|_| known.is_none());
    let mut clock = PhaseClock::begin("load");
    let data = resolved.open(Demand::of_facts(resolved, depth).held_bytes(plan.limits.memory_bytes))?;
    let mut progress = |done: usize, all: usize| {
        observer.prepared(name, done, all);
        if settings.interrupt.load(Ordering::SeqCst) { Err(NoFacts::Interrupted) } else { Ok(()) }
    };
    let isa = surroundings.devices.isa;
    let (mut facts, truth) = facts::compute(&data, resolved, depth, known, isa, &mut clock, &mut progress)?;
    let phases = dataset.found.iter().cloned().chain(clock.end()).collect();
    let preparation = Preparation { phases, peak_rss_bytes: machine::peak_rss_bytes() };
    observer.has_prepared(name, &preparation);
    facts.preparation = Some(preparation);
    // What was read is that of the plan, or its neighbours would be kept for other vectors.
    if !resolved.seen.is_unchanged() {
        let again = Source::parse(&dataset.written)
            .ok()
            .map(|source| source.resolve_knowing(&plan.root, &surroundings.search, &resolved.seen))
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
