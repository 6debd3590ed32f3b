//! `overrides`: parameters that methods take for some datasets only.

use super::PlannedDataset;
use super::checks::Checker;
use super::defaults::{self, Precedence, method_of, properties};
use super::sweeps::{self, Source};
use crate::document::escape;
use crate::experiment::{DatasetOverride, Experiment};
use methods::MethodEntry;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use strict::nearest_name;

/// The key.
pub(super) const KEY: &str = "overrides";

/// The parameters of an entry for some of the datasets.
#[derive(Debug)]
pub(super) struct Variation {
    /// As if they had been written.
    pub(super) params: Value,
    /// The datasets, by index; None for all.
    pub(super) datasets: Option<BTreeSet<usize>>,
    /// Where overridden values stand: mappings of parameters, the last one wins.
    pub(super) sources: Vec<String>,
}

/// Checks what needs no values of parameters: names of datasets, methods and parameters, and lists that an override
/// cannot replace. `complete` says whether all datasets of the experiment were found.
pub(super) fn check(experiment: &Experiment, datasets: &[PlannedDataset], complete: bool, checker: &mut Checker<'_>) {
    let entries: Vec<(&MethodEntry, &Map<String, Value>)> =
        experiment.methods.iter().filter_map(|entry| Some((method_of(entry)?, entry))).collect();
    for (i, item) in experiment.overrides.iter().enumerate() {
        let pointer = format!("/{KEY}/{i}");
        for (j, name) in item.dataset.iter().enumerate() {
            let mut known = datasets.iter().map(|dataset| dataset.resolved.summary.name.as_str());
            if complete && !known.clone().any(|other| other == name) {
                let help = nearest_name(name, known.by_ref(), "datasets here");
                checker.fault(&format!("{pointer}/dataset/{j}"), format!("no dataset is called `{name}`"), Some(help));
            }
        }
        if item.parameters.is_empty() && item.methods.is_empty() {
            let help = "such as `methods: { pq: { m: 8 } }`, or `parameters: { training: { epochs: 5 } }`".to_owned();
            checker.fault(&pointer, "this override changes nothing", Some(help));
        }
        let shared = format!("{pointer}/parameters");
        for key in item.parameters.keys() {
            let with: Vec<_> = entries.iter().filter(|(method, _)| properties(method).contains_key(key)).collect();
            with.iter().for_each(|(method, entry)| check_listed(method, entry, key, &shared, checker));
            // Entries without a known method are faults already.
            if with.is_empty() && !entries.is_empty() {
                let known: BTreeSet<String> =
                    entries.iter().flat_map(|(method, _)| properties(method).into_iter().map(|(key, _)| key)).collect();
                defaults::report_unknown(key, &known, &shared, checker);
            }
        }
        for (name, params) in &item.methods {
            let below = format!("{pointer}/methods/{}", escape(name));
            let with: Vec<_> = entries.iter().filter(|(method, _)| method.name == name).collect();
            if let Err(error) = methods::registry::find(name) {
                checker.fault_at_key(&below, error.message, error.help);
            } else if with.is_empty() && !entries.is_empty() {
                let known: BTreeSet<&str> = entries.iter().map(|(method, _)| method.name).collect();
                let help = nearest_name(name, known.into_iter(), "methods here");
                checker.fault_at_key(&below, format!("no entry of `methods` is `{name}`"), Some(help));
            }
            for key in params.as_object().into_iter().flat_map(Map::keys) {
                with.iter().for_each(|(method, entry)| check_listed(method, entry, key, &below, checker));
            }
        }
    }
}

/// Reports an override of a parameter that an entry takes from a list.
fn check_listed(method: &MethodEntry, entry: &Map<String, Value>, key: &str, pointer: &str, checker: &mut Checker<'_>) {
    for source in [Source::Sweep, Source::Zip] {
        if sweeps::lists(entry, source).any(|(listed, _)| listed == key) {
            let message = format!("`{key}` of `{}` comes from its `{}`", method.name, source.key());
            let help = "an override cannot replace a list; use `exclude` to leave out some of its values".to_owned();
            checker.fault_at_key(&format!("{pointer}/{}", escape(key)), message, Some(help));
        }
    }
}

/// The parameters of an entry for each dataset; datasets with the same ones share a variation.
pub(super) fn variations(
    method: &MethodEntry,
    params: &Value,
    overrides: &[DatasetOverride],
    datasets: &[PlannedDataset],
) -> Vec<Variation> {
    let mut variations: Vec<(BTreeSet<usize>, Value, Vec<String>)> = Vec::new();
    for (index, dataset) in datasets.iter().enumerate() {
        let (changed, sources) = overridden(method, params, overrides, &dataset.resolved.summary.name);
        match variations.iter_mut().find(|(_, other, _)| *other == changed) {
            Some((same, _, _)) => {
                same.insert(index);
            }
            None => variations.push((BTreeSet::from([index]), changed, sources)),
        }
    }
    if variations.is_empty() {
        // The datasets are faults, but those of the method are reported too.
        return vec![Variation { params: params.clone(), datasets: None, sources: Vec::new() }];
    }
    let several = variations.len() > 1;
    let variation = |(datasets, params, sources)| Variation { params, datasets: several.then_some(datasets), sources };
    variations.into_iter().map(variation).collect()
}

/// The parameters for one dataset, and where the overridden ones stand.
fn overridden(
    method: &MethodEntry,
    params: &Value,
    overrides: &[DatasetOverride],
    dataset: &str,
) -> (Value, Vec<String>) {
    let (mut params, mut sources) = (params.clone(), Vec::new());
    let properties = properties(method);
    let applies = |item: &DatasetOverride| item.dataset.iter().any(|name| name == dataset);
    for (i, item) in overrides.iter().enumerate().filter(|(_, item)| applies(item)) {
        let shared = item.parameters.iter().filter(|(key, _)| properties.contains_key(*key));
        if replace(&mut params, shared, &properties) {
            sources.push(format!("/{KEY}/{i}/parameters"));
        }
        let own_place = || format!("/{KEY}/{i}/methods/{}", escape(method.name));
        match item.methods.get(method.name) {
            Some(Value::Object(own)) => {
                let replaced = replace(&mut params, own.iter(), &properties);
                sources.extend(replaced.then(own_place));
            }
            // A method whose only parameter is a text.
            Some(other) => {
                params = other.clone();
                sources.push(own_place());
            }
            None => {}
        }
    }
    (params, sources)
}

/// Replaces parameters. Returns whether there were any.
fn replace<'v>(
    params: &mut Value,
    given: impl Iterator<Item = (&'v String, &'v Value)>,
    properties: &Map<String, Value>,
) -> bool {
    let mut any = false;
    for (key, value) in given {
        if !params.is_object() {
            *params = Value::Object(Map::new());
        }
        if let Some(params) = params.as_object_mut() {
            let schema = properties.get(key).unwrap_or(&Value::Null);
            defaults::merge(params, key, value, schema, Precedence::New);
            any = true;
        }
    }
    any
}
