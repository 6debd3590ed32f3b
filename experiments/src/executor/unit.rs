//! What a lane runs at a time: one trial, or the two trials of a pair, which compute in turn.

use super::budget::Budget;
use super::queue::Needs;
use crate::job::Job;
use record::{RunFolder, TrialRecord};
use std::collections::HashMap;

/// One trial, or ours and theirs of a pair.
pub(super) struct Unit<'j> {
    pub(super) jobs: Vec<&'j Job>,
}

/// The units of some trials, in order. Of a pair, both trials are among them.
pub(super) fn units<'j>(jobs: &[&'j Job]) -> Vec<Unit<'j>> {
    let mut units: Vec<Unit<'j>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for job in jobs {
        let partner = job.in_turn.as_ref().and_then(|turn| places.get(turn.partner.as_str()));
        match partner {
            Some(&place) => units[place].jobs.push(job),
            None => {
                places.insert(job.id(), units.len());
                units.push(Unit { jobs: vec![job] });
            }
        }
    }
    for unit in &mut units {
        unit.jobs.sort_by_key(|job| job.in_turn.as_ref().map(|turn| turn.side as usize));
    }
    units
}

impl Unit<'_> {
    /// The resources that it takes while it runs; the memory limit of a trial bounds its memory.
    pub(super) fn needs(&self) -> Needs {
        let bytes = |job: &&Job| job.estimated_bytes.min(job.request.limits.memory_bytes.unwrap_or(u64::MAX));
        Needs {
            bytes: self.jobs.iter().map(bytes).fold(0, u64::saturating_add),
            device: self.jobs.iter().any(|job| job.uses_device()),
        }
    }

    /// Rough estimate of its time.
    pub(super) fn estimated_seconds(&self) -> f64 {
        self.jobs.iter().map(|job| job.estimated_seconds).sum()
    }

    /// How urgent it is: as urgent as the most urgent of its trials.
    pub(super) fn urgency(&self, budget: &Budget) -> f64 {
        self.jobs.iter().map(|job| budget.urgency(job.trial())).fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The record of a trial that need not run again: it can be read, and a trial of a pair has taken turns with its partner.
pub(super) fn ended(folder: &RunFolder, job: &Job) -> Option<TrialRecord> {
    let record = |id: &str| folder.trial(id).filter(|_| folder.has_record(id));
    let own = record(job.id())?;
    let Some(turn) = &job.in_turn else { return Some(own) };
    let partner = record(&turn.partner)?;
    let attempt = |record: &TrialRecord| record.in_turn().map(|turn| turn.attempt.clone());
    (attempt(&own).is_some() && attempt(&own) == attempt(&partner)).then_some(own)
}

/// Whether a trial has a record that cannot be read. It stands in the way of a new one.
pub(super) fn is_damaged(folder: &RunFolder, job: &Job) -> bool {
    folder.has_record(job.id()) && folder.trial(job.id()).is_none()
}
