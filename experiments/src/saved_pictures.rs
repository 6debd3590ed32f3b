//! Decides which trials save crops of images, and whether they have done so.

use crate::pictures::Wanted;
use crate::plan::{Plan, PlannedTrial};
use datasets::Signal;
use record::{RunFolder, is_regular, picture_file};
use std::path::PathBuf;

/// What a trial saves: only trials of the plan's first seed save images, if a measurement requests them and the vectors
/// are image patches.
pub(crate) fn wanted(plan: &Plan, folder: &RunFolder, planned: &PlannedTrial) -> Option<Wanted> {
    let summary = &plan.datasets[planned.dataset].resolved.summary;
    let pictured = matches!(summary.signal, Some(Signal::Images { .. }));
    let first_seed = plan.experiment.seeds.first() == Some(&planned.trial.seed);
    let settings = plan.measures.iter().find_map(|measure| measure.pictures()).filter(|_| pictured && first_seed)?;
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Some(Wanted {
        settings,
        decoded: absolute(folder.pictures(&planned.trial.id)),
        originals: absolute(folder.original_pictures(&summary.name)),
    })
}

/// Whether all files that a trial should save exist; an earlier run with other settings may have saved less.
pub(crate) fn are_here(plan: &Plan, folder: &RunFolder, planned: &PlannedTrial) -> bool {
    let Some(wanted) = wanted(plan, folder, planned) else { return true };
    let Some(Signal::Images { pictures, .. }) = &plan.datasets[planned.dataset].resolved.summary.signal else {
        return true;
    };
    pictures
        .iter()
        .take(wanted.settings.count)
        .all(|p| [&wanted.decoded, &wanted.originals].iter().all(|folder| is_regular(&picture_file(folder, &p.name))))
}
