//! `pairs`: which trials of a plan compute in turn.

use super::checks::Checker;
use super::entries::{LabelledMethod, MethodLocation};
use super::{PlannedTrial, TurnWith};
use crate::experiment::{MethodPair, PairAim};
use record::{Aim, METRICS, Side, TurnPair, id_of, metric};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use strict::nearest_name;

/// The key.
const KEY: &str = "pairs";

/// Two methods by their labels.
pub(super) struct LabelPair {
    name: String,
    labels: [String; 2],
    aims: Vec<Aim>,
    /// Where it is written.
    pointer: String,
}

/// Reads the pairs; faults are reported.
pub(super) fn resolve(
    written: &[MethodPair],
    methods: &[(LabelledMethod, MethodLocation)],
    checker: &mut Checker<'_>,
) -> Vec<LabelPair> {
    let mut pairs: Vec<LabelPair> = Vec::new();
    let mut used: HashMap<String, String> = HashMap::new();
    for (i, pair) in written.iter().enumerate() {
        let pointer = format!("/{KEY}/{i}");
        let aims: Vec<Aim> =
            pair.aims.iter().filter_map(|(name, aim)| read_aim(name, aim, &pointer, checker)).collect();
        let sides = [("ours", &pair.ours), ("theirs", &pair.theirs)].map(|(side, label)| {
            let found = labels_of(label, methods, checker);
            if found.is_empty() && !methods.is_empty() {
                let known: Vec<&str> = methods.iter().map(|(method, _)| method.label.as_str()).collect();
                let help = nearest_name(label, known.into_iter(), "labels here");
                checker.fault(&format!("{pointer}/{side}"), format!("no method is called `{label}`"), Some(help));
            }
            found
        });
        let [ours, theirs] = &sides;
        if ours.is_empty() || theirs.is_empty() {
            continue;
        }
        if ours.len() != theirs.len() {
            let message = format!(
                "`{}` stands for {} and `{}` for {}",
                pair.ours,
                counted(ours.len()),
                pair.theirs,
                counted(theirs.len())
            );
            let help = "both sides must stand for as many methods, which are paired in order".to_owned();
            checker.fault(&pointer, message, Some(help));
            continue;
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            let mut free = true;
            for (side, label) in [("ours", ours), ("theirs", theirs)] {
                if let Some(other) = used.insert(label.clone(), pointer.clone()) {
                    let place = if other == pointer { "this pair" } else { "another pair" };
                    let help = "a trial can take turns with one other only; write the method twice, with different labels and \
                                a parameter that changes nothing, or measure the other pair in an experiment of its own";
                    checker.fault(
                        &format!("{pointer}/{side}"),
                        format!("`{label}` is in {place} already"),
                        Some(help.to_owned()),
                    );
                    free = false;
                }
            }
            let name = match &pair.name {
                None => ours.clone(),
                Some(name) if sides[0].len() == 1 => name.clone(),
                Some(name) => format!("{name}, {ours}"),
            };
            if name.trim().is_empty() || name.chars().any(char::is_control) {
                let help = "such as `name: PQ16x8`".to_owned();
                checker.fault(&format!("{pointer}/name"), "a pair needs a name of one line", Some(help));
            } else if pairs.iter().any(|other| other.name == name) {
                let help = "give one of them another `name:`".to_owned();
                checker.fault(&pointer, format!("two pairs are called `{name}`"), Some(help));
            } else if free {
                let labels = [ours.clone(), theirs.clone()];
                pairs.push(LabelPair { name, labels, aims: aims.clone(), pointer: pointer.clone() });
            }
        }
    }
    pairs
}

fn counted(methods: usize) -> String {
    format!("{methods} method{}", if methods == 1 { "" } else { "s" })
}

/// The labels that a text names: one, or those of the entry that has it as its template, in order.
fn labels_of(text: &str, methods: &[(LabelledMethod, MethodLocation)], checker: &Checker<'_>) -> Vec<String> {
    if methods.iter().any(|(method, _)| method.label == text) {
        return vec![text.to_owned()];
    }
    let template = |location: &MethodLocation| {
        checker.document.value().pointer(&format!("{}/label", location.entry())).and_then(Value::as_str)
    };
    let mut seen = HashSet::new();
    let of_entry = methods.iter().filter(|(_, location)| template(location) == Some(text));
    // A method with other parameters for some datasets has one label for all of them.
    of_entry.map(|(method, _)| method.label.clone()).filter(|label| seen.insert(label.clone())).collect()
}

fn read_aim(name: &str, aim: &PairAim, pointer: &str, checker: &mut Checker<'_>) -> Option<Aim> {
    let place = format!("{pointer}/aims/{}", crate::document::escape(name));
    let Some(metric) = metric::find(name) else {
        let known = METRICS.iter().filter(|metric| metric.larger_is_better().is_some()).map(|metric| metric.name);
        let help = nearest_name(name, known, "metrics");
        checker.fault_at_key(&place, format!("unknown metric `{name}`"), Some(help));
        return None;
    };
    if metric.larger_is_better().is_none() {
        let message = format!("neither larger nor smaller values of `{name}` are better");
        checker.fault_at_key(
            &place,
            message,
            Some("name a metric with a direction; docs/metrics.md lists them".into()),
        );
        return None;
    }
    if aim.ratio.is_some() == aim.difference.is_some() {
        let help = "write one of them, such as `{ ratio: 2 }` or `{ difference: -0.01 }`".to_owned();
        checker.fault(&place, "an aim is either a ratio or a difference", Some(help));
        return None;
    }
    if let Some(ratio) = aim.ratio.filter(|ratio| *ratio <= 0.0) {
        let help = "1 means as good as theirs, 2 twice as good".to_owned();
        checker.fault(&format!("{place}/ratio"), format!("`ratio: {ratio}` is not above 0"), Some(help));
        return None;
    }
    if aim.k == Some(0) {
        checker.fault(&format!("{place}/k"), "`k: 0` is no number of neighbours", Some("use 1 or more".into()));
        return None;
    }
    Some(Aim { metric: name.to_owned(), k: aim.k, ratio: aim.ratio, difference: aim.difference })
}

/// The id of a trial that takes turns: `alone` and `with` are the ids that it and the other side would have without a pair. A
/// timing in turn is another measurement than one without.
pub(crate) fn id_in_turn(alone: &str, with: &str) -> String {
    id_of(&json!({ "trial": alone, "in_turn_with": with }))
}

/// Joins the trials of each pair: those of equal dataset, device, threads and seed. `labels` are those of the trials, as written.
/// Returns the pairs with their trials; `complete` says whether a pair without any is a fault.
pub(super) fn join(
    pairs: Vec<LabelPair>,
    trials: &mut [PlannedTrial],
    labels: &[String],
    complete: bool,
    checker: &mut Checker<'_>,
) -> Vec<TurnPair> {
    let mut sides: HashMap<&str, (usize, Side)> = HashMap::new();
    for (number, pair) in pairs.iter().enumerate() {
        sides.insert(&pair.labels[0], (number, Side::Ours));
        sides.insert(&pair.labels[1], (number, Side::Theirs));
    }
    type Meeting = (usize, usize, String, usize, u64);
    let mut meetings: BTreeMap<Meeting, [Option<usize>; 2]> = BTreeMap::new();
    for (at, (planned, label)) in trials.iter().zip(labels).enumerate() {
        let Some(&(number, side)) = sides.get(label.as_str()) else { continue };
        let trial = &planned.trial;
        let meeting = (number, planned.dataset, trial.device.clone(), trial.threads, trial.seed);
        meetings.entry(meeting).or_default()[side as usize] = Some(at);
    }
    let mut joined: Vec<TurnPair> = pairs
        .iter()
        .map(|pair| TurnPair { name: pair.name.clone(), aims: pair.aims.clone(), trials: Vec::new() })
        .collect();
    for ((number, ..), [ours, theirs]) in meetings {
        let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
        let alone = [ours, theirs].map(|at| trials[at].trial.id.clone());
        let ids = [id_in_turn(&alone[0], &alone[1]), id_in_turn(&alone[1], &alone[0])];
        for (side, at, mine, other) in [(Side::Ours, ours, 0, 1), (Side::Theirs, theirs, 1, 0)] {
            trials[at].trial.id.clone_from(&ids[mine]);
            trials[at].in_turn = Some(TurnWith {
                pair: pairs[number].name.clone(),
                side,
                with: alone[other].clone(),
                partner: ids[other].clone(),
                label: pairs[number].labels[other].clone(),
            });
        }
        let [ours, theirs] = ids;
        joined[number].trials.push((ours, theirs));
    }
    for (pair, joined) in pairs.iter().zip(&joined).filter(|(_, joined)| complete && joined.trials.is_empty()) {
        let help = "both methods must be for the same datasets, and not excluded".to_owned();
        checker.fault(&pair.pointer, format!("no two trials of the pair `{}` meet", joined.name), Some(help));
    }
    joined.retain(|pair| !pair.trials.is_empty());
    joined
}
