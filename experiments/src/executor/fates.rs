//! What a user is told of the tasks of a run: what they do, and why trials have no record.

use super::scheduler::{Active, Activity, Content, Place, Scheduler, Submitted, last_words, places};
use crate::job::Job;
use crate::preparation::PreparationJob;
use crate::shell::run_command;
use record::RunFolder;
use std::collections::{BTreeMap, HashMap};

/// A run that goes on without the process that has followed it.
pub(super) fn left_alone(folder: &RunFolder) -> String {
    format!(
        "its tasks go on: {} follows them, and {} ends them",
        run_command("attach", folder.root()),
        run_command("cancel", folder.root())
    )
}

/// A run whose tasks somebody has cancelled.
pub(super) fn cancelled(folder: &RunFolder) -> String {
    format!("its tasks were cancelled; {} submits what is missing again", run_command("attach", folder.root()))
}

/// Why trials have no record: for each dataset that could not be prepared, and for each reason, how many trials there are, and
/// what one of their tasks said.
pub(super) fn given_up(
    folder: &RunFolder,
    arrays: &[Submitted],
    unprepared: &[&PreparationJob],
    missing: &[&Job],
    scheduler: &mut dyn Scheduler,
) -> Vec<String> {
    let (mut of_dataset, mut of_trial): (HashMap<&str, Place>, HashMap<&str, Place>) = Default::default();
    for (place, task) in places(arrays) {
        match &task.content {
            Content::Prepare(name) => drop(of_dataset.insert(name, place)),
            Content::Trials(ids) => of_trial.extend(ids.iter().map(|id| (id.as_str(), place))),
            Content::Finish => {}
        }
    }
    let unprepared: Vec<&str> = unprepared.iter().map(|job| job.name.as_str()).collect();
    // A scheduler is asked once for each task, however many trials it had.
    let mut fates: HashMap<Place, (String, String)> = HashMap::new();
    let mut fate_of =
        |place: Place| fates.entry(place).or_insert_with(|| fate(folder, arrays, place, scheduler)).clone();
    let mut lines = Vec::new();
    for name in &unprepared {
        let Some(&place) = of_dataset.get(name) else { continue };
        let (how, task) = fate_of(place);
        let count = missing.iter().filter(|job| job.trial().dataset == *name).count();
        let trials = if count > 0 { format!("; {} of it cannot run", counted(count, "trial")) } else { String::new() };
        lines.push(format!("{name} could not be prepared: {how} ({task}){trials}"));
    }
    let mut reasons: BTreeMap<String, (String, Vec<&str>)> = BTreeMap::new();
    // What the others say themselves is that their dataset comes first.
    for job in missing.iter().filter(|job| !unprepared.contains(&job.trial().dataset.as_str())) {
        let Some(&place) = of_trial.get(job.id()) else { continue };
        let (how, task) = fate_of(place);
        reasons.entry(how).or_insert_with(|| (task, Vec::new())).1.push(&job.name);
    }
    lines.extend(reasons.iter().map(|(reason, (task, names))| {
        let has = counted_as(names.len(), "trial has", "trials have");
        format!("{has} no record, such as {}: {reason} ({task})", names[0])
    }));
    lines.push(format!("{} submits what is missing again", run_command("attach", folder.root())));
    lines
}

/// How a task ended and what it said last, and which task it is.
fn fate(
    folder: &RunFolder,
    arrays: &[Submitted],
    (at, number): Place,
    scheduler: &mut dyn Scheduler,
) -> (String, String) {
    let array = &arrays[at];
    let log = scheduler.log(folder, array, number);
    let fate = scheduler.fate(&array.id, number).map(|fate| format!("the last task {fate}; ")).unwrap_or_default();
    let words = last_words(&log);
    let words = if words.is_empty() { "it left no output".to_owned() } else { format!("it said: {words}") };
    (format!("{fate}{words}"), format!("task {}_{number}, {}", array.id, log.display()))
}

/// What the tasks do, in one line.
pub(super) fn summary(active: &[Active]) -> String {
    let (mut nodes, mut reasons): (BTreeMap<&str, usize>, BTreeMap<&str, usize>) = Default::default();
    for active in active {
        match &active.activity {
            Activity::Runs(node) => *nodes.entry(node).or_default() += 1,
            Activity::Waits(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    let mut words = Vec::new();
    if !nodes.is_empty() {
        let count = nodes.values().sum();
        let names: Vec<&str> = nodes.into_keys().collect();
        words.push(format!("{} on {}", counted_as(count, "task runs", "tasks run"), names.join(", ")));
    }
    for (reason, count) in reasons {
        words.push(format!("{}: {reason}", counted_as(count, "task waits", "tasks wait")));
    }
    words.join("; ")
}

pub(super) fn counted(count: usize, what: &str) -> String {
    counted_as(count, what, &format!("{what}s"))
}

fn counted_as(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
