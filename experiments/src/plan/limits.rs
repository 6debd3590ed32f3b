//! Refuses a limit of memory that cannot be met, before any work.

use super::checks::Checker;
use super::{Plan, PlannedTrial};
use crate::machine::total_memory_bytes;
use crate::memory::Demand;
use crate::units::ByteSize;

/// Checks that every trial, and the facts of every dataset, can fit into memory: into the limit if there is one,
/// otherwise into the memory of this machine. One fault for each dataset.
pub(super) fn check(plan: &Plan, checker: &mut Checker<'_>) {
    let limit = plan.limits.memory_bytes;
    if limit.is_none() && !plan.experiment.executor.is_here() {
        // The memory of this machine says nothing about that of others.
        return;
    }
    let most = limit.unwrap_or_else(total_memory_bytes);
    let size = |bytes: u64| ByteSize(bytes.div_ceil(1 << 20) << 20);
    for (i, dataset) in plan.datasets.iter().enumerate() {
        let summary = &dataset.resolved.summary;
        let facts = (Demand::of_facts(&dataset.resolved, plan.truth_depth()).least, "computing the facts".to_owned());
        let trials = plan.trials.iter().filter(|planned| planned.dataset == i);
        let of_trial = |planned: &PlannedTrial| {
            (plan.demand(i, planned.trial.bits_per_vector).least, format!("`{}`", planned.trial.label))
        };
        let Some((needed, what)) = trials.map(of_trial).chain([facts]).max_by_key(|(bytes, _)| *bytes) else {
            continue;
        };
        if needed <= most {
            continue;
        }
        let (name, needed, train, base) = (&summary.name, size(needed), summary.train, summary.base);
        let mut help = format!(
            "in memory are the {train} training rows, the codes of the {base} base rows and blocks of these; train on fewer \
             rows, use codes of fewer bits, or leave out `error_anatomy`"
        );
        if dataset.resolved.must_be_held() {
            help = "with `numpy_seed`, all base rows must be in memory; leave it out, or use fewer rows".to_owned();
        }
        let (pointer, message) = match limit {
            Some(limit) => (
                "/memory",
                format!(
                    "a memory of {} is too little: {what} of dataset `{name}` needs at least {needed}",
                    ByteSize(limit)
                ),
            ),
            None => (
                &dataset.pointer[..],
                format!("dataset `{name}` needs at least {needed} of memory ({what}); this machine has {}", size(most)),
            ),
        };
        checker.fault(pointer, message, Some(help));
    }
}
