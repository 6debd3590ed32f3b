//! The recipe of a trial: what its record keeps so that it can run again, and the experiment that a record gives back.

use crate::metrics;
use crate::plan::{Plan, PlannedTrial};
use crate::units::{ByteSize, Seconds};
use datasets::Summary;
use record::{Recipe, TrialRecord};
use serde_json::{Map, Value, json};

/// The recipe of a planned trial.
pub(crate) fn of(plan: &Plan, planned: &PlannedTrial) -> Recipe {
    let dataset = &plan.datasets[planned.dataset];
    let names_files = datasets::SOURCE_KEYS.iter().any(|key| dataset.written.get(key).is_some());
    // The folder of a file that is named without one is the empty path.
    let root = plan.root.join(".");
    let folder = std::path::absolute(&root).unwrap_or(root);
    Recipe {
        dataset: dataset.written.clone(),
        folder: names_files.then(|| folder.display().to_string()),
        fingerprint: dataset.resolved.summary.fingerprint.clone(),
        measure: measured(plan, &dataset.resolved.summary),
    }
}

/// The measurements of an experiment that a dataset has what they need for. A record names no others: what it names is
/// asked for when it runs again.
fn measured(plan: &Plan, summary: &Summary) -> Map<String, Value> {
    let suits = |name: &str, settings: &Value| {
        metrics::parse(name, settings.clone()).is_ok_and(|measure| metrics::suits(&*measure, summary))
    };
    let all = plan.experiment.measure.iter().flatten();
    all.filter(|(name, settings)| suits(name, settings)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The experiment that consists of the trial of a record alone.
pub(crate) fn experiment_of(record: &TrialRecord, recipe: &Recipe) -> Value {
    let trial = &record.trial;
    let method: Map<String, Value> = [(trial.method.clone(), trial.params.clone())].into_iter().collect();
    let mut experiment = json!({
        "name": trial.experiment,
        "seeds": [trial.seed],
        "device": [trial.device],
        "threads": [trial.threads],
        "timeout": Seconds(record.limits.timeout_seconds),
        "datasets": [recipe.dataset],
        "methods": [method],
        "measure": recipe.measure,
    });
    if let Some(bytes) = record.limits.memory_bytes {
        experiment["memory"] = json!(ByteSize(bytes));
    }
    experiment
}
