//! `exclude`: trials that are left out of a plan on purpose, each with the reason that the report repeats.

use super::PlannedDataset;
use super::checks::Checker;
use super::entries::{LabelledMethod, MethodLocation};
use crate::document::escape;
use crate::experiment::Exclusion;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use strict::nearest_name;

/// The properties of a trial that an exclusion may name, besides the parameters of its method.
const PROPERTIES: [&str; 6] = ["dataset", "method", "label", "device", "threads", "seed"];

/// Maximum number of lines that list the excluded trials of one exclusion.
const MAX_LINES: usize = 50;

/// Maximum number of values that an error lists.
const MAX_VALUES: usize = 8;

/// What is combined into trials.
pub(super) struct Axes<'a> {
    pub(super) datasets: &'a [PlannedDataset],
    pub(super) methods: &'a [(LabelledMethod, MethodLocation)],
    pub(super) devices: &'a [String],
    pub(super) threads: &'a [usize],
    pub(super) seeds: &'a [u64],
}

/// A trial that is not excluded; dataset and method by index.
pub(super) struct Kept {
    pub(super) dataset: usize,
    pub(super) method: usize,
    pub(super) device: String,
    pub(super) threads: usize,
    pub(super) seed: u64,
}

impl Axes<'_> {
    /// Every combination that no exclusion matches, the seed varying fastest.
    pub(super) fn combine(&self, exclusions: &mut Exclusions<'_>) -> Vec<Kept> {
        let params: Vec<Value> = self.methods.iter().map(|(method, _)| method.method.params()).collect();
        let mut kept = Vec::new();
        for (dataset, planned) in self.datasets.iter().enumerate() {
            let summary = &planned.resolved.summary;
            for (method, (labelled, _)) in
                self.methods.iter().enumerate().filter(|(_, (m, _))| m.is_for(dataset, summary.dim))
            {
                for device in self.devices {
                    for (&threads, &seed) in self.threads.iter().flat_map(|t| self.seeds.iter().map(move |s| (t, s))) {
                        let candidate = Candidate { dataset: &summary.name, method: labelled, device, threads, seed };
                        if !exclusions.excludes(&candidate, &params[method]) {
                            kept.push(Kept { dataset, method, device: device.clone(), threads, seed });
                        }
                    }
                }
            }
        }
        kept
    }
}

/// A trial that may be excluded.
struct Candidate<'a> {
    dataset: &'a str,
    method: &'a LabelledMethod,
    device: &'a str,
    threads: usize,
    seed: u64,
}

impl Candidate<'_> {
    /// The value of a property or parameter; None if the method has no such parameter. `params` are those of its method.
    fn value(&self, key: &str, params: &Value) -> Option<Value> {
        Some(match key {
            "dataset" => json!(self.dataset),
            "method" => json!(self.method.method.name()),
            "label" => json!(self.method.label),
            "device" => json!(self.device),
            "threads" => json!(self.threads),
            "seed" => json!(self.seed),
            _ => params.pointer(&format!("/{}", key.replace('.', "/")))?.clone(),
        })
    }
}

/// The exclusions of an experiment, with what they have excluded so far.
pub(super) struct Exclusions<'e> {
    list: Vec<Excluded<'e>>,
    seeds: usize,
}

struct Excluded<'e> {
    rule: &'e Exclusion,
    /// Number of trials.
    trials: usize,
    /// Each group of trials that differ only in their seeds, and those seeds.
    groups: Vec<(String, Vec<u64>)>,
    /// For each condition, whether a trial has met it, and the values that trials have.
    met: Vec<(bool, BTreeSet<String>)>,
}

impl<'e> Exclusions<'e> {
    /// Reads the exclusions; faults are reported.
    pub(super) fn new(written: &'e [Exclusion], axes: &Axes<'_>, checker: &mut Checker<'_>) -> Exclusions<'e> {
        for (i, rule) in written.iter().enumerate() {
            check(rule, &format!("/exclude/{i}"), axes, checker);
        }
        let excluded = |rule: &'e Exclusion| Excluded {
            rule,
            trials: 0,
            groups: Vec::new(),
            met: vec![(false, BTreeSet::new()); rule.when.len()],
        };
        Exclusions { list: written.iter().map(excluded).collect(), seeds: axes.seeds.len() }
    }

    /// Whether a trial is excluded. Every exclusion sees every trial, so that one that repeats another is not reported
    /// as one without effect.
    fn excludes(&mut self, trial: &Candidate<'_>, params: &Value) -> bool {
        let mut first = true;
        for excluded in &mut self.list {
            if excluded.matches(trial, params) {
                excluded.trials += 1;
                if first {
                    excluded.note(trial);
                }
                first = false;
            }
        }
        !first
    }

    /// Reports exclusions that match no trial.
    pub(super) fn report_unused(&self, checker: &mut Checker<'_>) {
        for (i, excluded) in self.list.iter().enumerate().filter(|(_, excluded)| excluded.trials == 0) {
            let conditions = excluded.rule.when.iter().zip(&excluded.met);
            let unmet = conditions.into_iter().find(|(_, (met, _))| !met);
            let (pointer, help) = match unmet {
                Some(((key, value), (_, values))) => {
                    let mut shown: Vec<&str> = values.iter().take(MAX_VALUES).map(String::as_str).collect();
                    if values.len() > MAX_VALUES {
                        shown.push("…");
                    }
                    let here = match shown[..] {
                        [] => format!("no trial has `{key}`"),
                        _ => format!("no trial has `{key}: {}`; values here: {}", words(value), shown.join(", ")),
                    };
                    (format!("/exclude/{i}/when/{}", escape(key)), here)
                }
                None => (
                    format!("/exclude/{i}/when"),
                    "each condition holds for some trials, but no trial meets all of them".to_owned(),
                ),
            };
            checker.fault(&pointer, "this exclusion matches no trial", Some(help));
        }
    }

    /// Lines that list the excluded trials, each with the reason.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Excluded { rule, groups, .. } in &self.list {
            let reason = rule.reason.trim();
            for (name, seeds) in groups.iter().take(MAX_LINES) {
                let list = seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
                let seeds = match seeds.len() {
                    all if all == self.seeds => String::new(),
                    1 => format!(" · seed {list}"),
                    _ => format!(" · seeds {list}"),
                };
                lines.push(format!("{name}{seeds}: {reason}"));
            }
            let rest: usize = groups.iter().skip(MAX_LINES).map(|(_, seeds)| seeds.len()).sum();
            if rest > 0 {
                lines.push(format!("{rest} more trials: {reason}"));
            }
        }
        lines
    }
}

impl Excluded<'_> {
    fn matches(&mut self, trial: &Candidate<'_>, params: &Value) -> bool {
        let mut all = true;
        for ((key, written), (met, values)) in self.rule.when.iter().zip(&mut self.met) {
            let found = trial.value(key, params);
            let holds = found.as_ref().is_some_and(|found| meets(found, written));
            all &= holds;
            *met |= holds;
            if let Some(found) = found.filter(|_| !*met && values.len() <= MAX_VALUES) {
                values.insert(words(&found));
            }
        }
        all
    }

    /// Adds a trial to the list of those that are excluded.
    fn note(&mut self, trial: &Candidate<'_>) {
        let Candidate { dataset, method, device, threads, seed } = trial;
        let threads = format!("{threads} thread{}", if *threads == 1 { "" } else { "s" });
        let name = format!("{dataset} · {} · {device} · {threads}", method.label);
        // Trials that differ only in their seed follow each other.
        match self.groups.last_mut().filter(|(last, _)| *last == name) {
            Some((_, seeds)) => seeds.push(*seed),
            None => self.groups.push((name, vec![*seed])),
        }
    }
}

/// Checks the reason and the keys of an exclusion.
fn check(rule: &Exclusion, pointer: &str, axes: &Axes<'_>, checker: &mut Checker<'_>) {
    if rule.reason.trim().is_empty() {
        let help = "say why; the report repeats it".to_owned();
        checker.fault(&format!("{pointer}/reason"), "an exclusion needs a reason", Some(help));
    }
    if rule.when.is_empty() {
        let help = "such as `when: { method: pq, m: 16 }`; leave `exclude` out to exclude nothing".to_owned();
        checker.fault(&format!("{pointer}/when"), "`when` is empty, which would exclude every trial", Some(help));
    }
    let named = |method: &str| rule.when.get("method").is_none_or(|written| meets(&json!(method), written));
    let methods = axes.methods.iter().map(|(method, _)| &method.method);
    let params: Vec<Value> = methods.filter(|method| named(method.name())).map(|method| method.params()).collect();
    let mut known: BTreeSet<&str> =
        params.iter().filter_map(Value::as_object).flatten().map(|(key, _)| key.as_str()).collect();
    known.extend(PROPERTIES);
    for (key, value) in &rule.when {
        let below = format!("{pointer}/when/{}", escape(key));
        if !known.contains(key.split('.').next().unwrap_or(key)) {
            // Without a method of that name, its parameters are unknown: the name is the mistake.
            if params.is_empty() && key != "method" {
                continue;
            }
            let help = nearest_name(key, known.iter().copied(), "keys here");
            checker.fault_at_key(&below, format!("unknown key `{key}`"), Some(help));
        } else if value.as_array().is_some_and(Vec::is_empty) || value.is_null() {
            let help = format!("write a value, or a list of values such as `{key}: [4, 8]`");
            checker.fault(&below, format!("`{key}` has no value"), Some(help));
        }
    }
    for name in rule.when.get("method").into_iter().flat_map(alternatives).filter_map(Value::as_str) {
        if let Err(error) = methods::registry::find(name) {
            checker.fault(&format!("{pointer}/when/method"), error.message, error.help);
        }
    }
}

/// The values that a condition accepts.
fn alternatives(written: &Value) -> impl Iterator<Item = &Value> {
    written.as_array().map_or(std::slice::from_ref(written), Vec::as_slice).iter()
}

/// Whether a value is the written one, or one of a written list.
fn meets(found: &Value, written: &Value) -> bool {
    equal(found, written) || (written.is_array() && alternatives(written).any(|one| equal(found, one)))
}

/// Equality of values as a reader understands it: 1 is 1.0, and of a mapping, the written keys count.
fn equal(found: &Value, written: &Value) -> bool {
    match (found, written) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Object(found), Value::Object(written)) => within(found, written),
        _ => found == written,
    }
}

fn within(found: &Map<String, Value>, written: &Map<String, Value>) -> bool {
    written.iter().all(|(key, value)| found.get(key).is_some_and(|found| equal(found, value)))
}

/// A value as it would be written.
fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
