//! What a lane runs at a time: one trial, or the two trials of a pair, which compute in turn.

use super::{CPU, budget::Budget};
use crate::plan::{Plan, PlannedTrial};
use crate::queue::Needs;
use std::collections::HashMap;

/// One trial, or ours and theirs of a pair.
pub(super) struct Unit<'p> {
    pub(super) trials: Vec<&'p PlannedTrial>,
}

/// The units of some trials, in order. Of a pair, both trials are among them.
pub(super) fn units<'p>(trials: &[&'p PlannedTrial]) -> Vec<Unit<'p>> {
    let mut units: Vec<Unit<'p>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for planned in trials {
        let partner = planned.in_turn.as_ref().and_then(|turn| places.get(turn.partner.as_str()));
        match partner {
            Some(&place) => units[place].trials.push(planned),
            None => {
                places.insert(&planned.trial.id, units.len());
                units.push(Unit { trials: vec![planned] });
            }
        }
    }
    for unit in &mut units {
        unit.trials.sort_by_key(|planned| planned.in_turn.as_ref().map(|turn| turn.side as usize));
    }
    units
}

impl Unit<'_> {
    /// The resources that it takes while it runs; the memory limit of a trial bounds its memory.
    pub(super) fn needs(&self, plan: &Plan) -> Needs {
        let bytes = |planned: &&PlannedTrial| planned.estimated_bytes.min(plan.limits.memory_bytes.unwrap_or(u64::MAX));
        Needs {
            bytes: self.trials.iter().map(bytes).fold(0, u64::saturating_add),
            device: self.trials.iter().any(|planned| planned.trial.device != CPU),
        }
    }

    /// How urgent it is: as urgent as the most urgent of its trials.
    pub(super) fn urgency(&self, budget: &Budget) -> f64 {
        self.trials.iter().map(|planned| budget.urgency(planned)).fold(f64::NEG_INFINITY, f64::max)
    }
}
