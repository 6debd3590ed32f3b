//! A trial that is ready to run: everything that its process and its record need, so that it can run where its plan is not.

use crate::plan::{Plan, PlannedTrial, SOURCES, TurnWith};
use crate::preparation::PreparationJob;
use crate::recipe;
use crate::saved_pictures;
use crate::surroundings::absolute;
use crate::trial::Request;
use record::{Recipe, RunFolder, Trial};
use serde::{Deserialize, Serialize};

/// The device that processes need not share, and whose memory is that of the process. Drivers of others reserve more than they use.
pub(crate) const CPU: &str = "cpu";

/// A trial that is ready to run. It is one line of `tasks/requests.jsonl` where tasks run elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// One line that names the trial within its plan.
    pub name: String,
    /// What its process is asked for.
    pub request: Request,
    /// What its record keeps so that it can run again.
    pub recipe: Recipe,
    /// Rough estimate of its time.
    pub estimated_seconds: f64,
    /// Rough estimate of its memory, in bytes.
    pub estimated_bytes: u64,
    /// Whether a measurement times something, so that it must run alone.
    pub timed: bool,
    /// The trial that it takes turns with, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_turn: Option<TurnWith>,
}

impl Job {
    /// A planned trial. `prepared` is what its dataset needs first.
    pub(crate) fn new(plan: &Plan, planned: &PlannedTrial, prepared: &PreparationJob, folder: &RunFolder) -> Job {
        let dataset = &plan.datasets[planned.dataset];
        let keep = plan.experiment.keep_models;
        let request = Request {
            trial: planned.trial.clone(),
            sources: SOURCES.to_owned(),
            dataset: dataset.written.clone(),
            root: absolute(&plan.root),
            seen: dataset.resolved.seen.clone(),
            facts: prepared.facts_file.clone(),
            truth: prepared.truth_file.clone(),
            model: keep.then(|| absolute(&folder.model_file(&planned.trial.id))),
            pictures: saved_pictures::wanted(plan, folder, planned),
            measure: plan.experiment.measure.clone().unwrap_or_default(),
            limits: plan.limits,
            instruction_set: None,
            in_turn: planned.in_turn.is_some(),
        };
        Job {
            name: planned.name.clone(),
            request,
            recipe: recipe::of(plan, planned),
            estimated_seconds: planned.estimated_seconds,
            estimated_bytes: planned.estimated_bytes,
            timed: plan.timed(),
            in_turn: planned.in_turn.clone(),
        }
    }

    /// The trial.
    pub fn trial(&self) -> &Trial {
        &self.request.trial
    }

    /// The id of the trial.
    pub fn id(&self) -> &str {
        &self.request.trial.id
    }

    /// Whether it runs on a device that serves one process at a time.
    pub fn uses_device(&self) -> bool {
        self.request.trial.device != CPU
    }
}
