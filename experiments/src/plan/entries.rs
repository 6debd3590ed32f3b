//! The methods of an experiment: parameters, sweeps, rates, and the names that figures and tables show.

use super::PlannedDataset;
use super::checks::Checker;
use super::defaults;
use super::labels::{self, WrittenParams};
use super::overrides::{self, Variation};
use super::rates::{self, AtBits, SearchFault};
use super::sweeps::{self, Combination, Source, Swept};
use crate::document::escape;
use crate::experiment::Experiment;
use methods::{Method, MethodEntry, ParamError};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use strict::nearest_name;

/// The keys of an entry besides the name of its method.
const KEYS: [&str; 4] = ["sweep", "zip", "at_bits", "label"];

/// A method with its names.
pub(super) struct LabelledMethod {
    pub(super) method: Box<dyn Method>,
    pub(super) label: String,
    pub(super) series: String,
    scope: Scope,
}

/// What a method is for.
#[derive(Clone, Debug, Default)]
struct Scope {
    /// Datasets, by index; None for all.
    datasets: Option<BTreeSet<usize>>,
    /// Dimensions; None for all.
    dims: Option<BTreeSet<usize>>,
}

impl Scope {
    /// Whether two methods meet on a dataset. Dimensions do not count: one method is one entry for all of them.
    fn meets(&self, other: &Scope) -> bool {
        match (&self.datasets, &other.datasets) {
            (Some(mine), Some(theirs)) => !mine.is_disjoint(theirs),
            _ => true,
        }
    }
}

impl LabelledMethod {
    /// Whether it is for a dataset, of vectors of `dim` components.
    pub(super) fn is_for(&self, dataset: usize, dim: usize) -> bool {
        let has = |set: &Option<BTreeSet<usize>>, value| set.as_ref().is_none_or(|set| set.contains(&value));
        has(&self.scope.datasets, dataset) && has(&self.scope.dims, dim)
    }
}

/// The methods of an experiment.
#[derive(Default)]
pub(super) struct Methods {
    /// Each with its location in the file.
    pub(super) list: Vec<(LabelledMethod, MethodLocation)>,
    /// What `at_bits` found, one line each.
    pub(super) found: Vec<String>,
    /// The rates that a method cannot have, each with the reason.
    pub(super) missed: Vec<String>,
}

/// An entry with a known method and valid lists.
struct Entry<'e> {
    pointer: String,
    method: &'static MethodEntry,
    params: &'e Value,
    template: Option<&'e str>,
    combinations: Vec<Combination<'e>>,
    at_bits: Option<Vec<usize>>,
}

/// Parameters as if they had been written.
struct Candidate {
    place: MethodLocation,
    given: Value,
    /// The datasets, by index; None for all.
    datasets: Option<BTreeSet<usize>>,
    /// What `at_bits` found: it is part of `given`.
    at_bits: Option<(AtBits, Value)>,
}

/// Reads the methods, one for each combination of swept values, each rate and each override, with its location in the
/// file.
pub(super) fn resolve_methods(
    experiment: &Experiment,
    datasets: &[PlannedDataset],
    programs: &adapters::Host,
    checker: &mut Checker<'_>,
) -> Methods {
    let all_datasets = datasets;
    let entries: Vec<Entry<'_>> =
        experiment.methods.iter().enumerate().filter_map(|(i, entry)| read_entry(entry, i, checker)).collect();
    let mut missed = Vec::new();
    let candidates: Vec<Vec<Candidate>> =
        entries.iter().map(|entry| candidates(entry, experiment, datasets, &mut missed, checker)).collect();
    let mut written = WrittenParams::default();
    for (entry, candidates) in entries.iter().zip(&candidates) {
        candidates.iter().for_each(|candidate| written.note(entry.method.name, &candidate.given));
    }
    let missed = missed.into_iter().map(|(name, given, rate, dim, reason)| {
        format!("{} at {rate} bits per vector of {dim} components: {reason}", written.label(name, &given))
    });
    let mut methods = Methods { missed: missed.collect(), ..Methods::default() };
    // What has each label, and the labels of each method. Methods for different datasets may share both.
    let mut labelled: HashMap<String, Vec<Scope>> = HashMap::new();
    let mut names: HashMap<(&'static str, String), Vec<(String, Scope)>> = HashMap::new();
    for (Entry { pointer, method: entry, template, .. }, candidates) in entries.iter().zip(candidates) {
        let name = entry.name;
        for Candidate { place, given, datasets, at_bits } in candidates {
            let method = match methods::parse(name, given.clone()) {
                Ok(method) => method,
                Err(error) => {
                    place.report(&error, checker);
                    break;
                }
            };
            let dims = concerned_dims(all_datasets, datasets.as_ref());
            let method = match method.identify(programs, &dims) {
                Ok(identified) => identified.unwrap_or(method),
                Err(error) => {
                    place.report(&error, checker);
                    break;
                }
            };
            let filled = match template {
                None => Ok((written.label(name, &given), written.series(name, &given))),
                Some(template) => {
                    let params = if method.is_program() { labels::spread(method.params()) } else { method.params() };
                    labels::fill(template, name, &params).map(|label| (label, labels::series(template)))
                }
            };
            let (label, series) = match filled {
                Ok(filled) => filled,
                Err(error) => {
                    checker.fault(&format!("{pointer}/label"), error.message, error.help);
                    break;
                }
            };
            let dims = at_bits.as_ref().map(|(found, _)| found.dims());
            let scope = Scope { datasets, dims };
            // Otherwise the same trials would be counted twice, or one of two names would be lost.
            let same = names.entry((method.name(), method.params().to_string())).or_default();
            if let Some((other, _)) = same.iter().find(|(_, other)| other.meets(&scope)) {
                let message = format!("this is the same method as `{other}` before it");
                let help = "remove one of the two; a parameter that is not written has its default value";
                checker.fault(&place.last(), message, Some(help.to_owned()));
                break;
            }
            let others = labelled.entry(label.clone()).or_default();
            if others.iter().any(|other| other.meets(&scope)) {
                let help = "add to the label what differs, such as \"PQ m={m}\"".to_owned();
                checker.fault(&format!("{pointer}/label"), format!("several methods are called `{label}`"), Some(help));
                break;
            }
            same.push((label.clone(), scope.clone()));
            others.push(scope.clone());
            methods.found.extend(at_bits.map(|(found, open)| format!("{label}: {}", found.describe(entry, &open))));
            methods.list.push((LabelledMethod { method, label, series, scope }, place));
        }
    }
    methods
}

/// The dimensions of datasets, all or those of `only`, each once.
fn concerned_dims(datasets: &[PlannedDataset], only: Option<&BTreeSet<usize>>) -> Vec<usize> {
    let concerned = datasets.iter().enumerate().filter(|(index, _)| only.is_none_or(|only| only.contains(index)));
    let dims: BTreeSet<usize> = concerned.map(|(_, dataset)| dataset.resolved.summary.dim).collect();
    dims.into_iter().collect()
}

/// The parameters of all combinations, rates and overrides of an entry. What is wrong at every rate is reported once.
fn candidates<'e>(
    entry: &Entry<'e>,
    experiment: &Experiment,
    datasets: &[PlannedDataset],
    missed: &mut Vec<(&'static str, Value, usize, usize, String)>,
    checker: &mut Checker<'_>,
) -> Vec<Candidate> {
    let Entry { pointer, method, params, combinations, at_bits, .. } = entry;
    let mut found = Vec::new();
    let variations = overrides::variations(method, params, &experiment.overrides, datasets);
    let varied =
        variations.iter().flat_map(|variation| combinations.iter().map(move |combination| (variation, combination)));
    for (Variation { params, datasets: only, sources }, combination) in varied {
        let swept: Map<String, Value> =
            combination.iter().map(|(swept, value)| (swept.name.clone(), (*value).clone())).collect();
        let given = labels::combined(params, &swept);
        let place = MethodLocation {
            entry: pointer.clone(),
            method: format!("{pointer}/{}", escape(method.name)),
            swept: combination.iter().map(|(swept, _)| swept.clone()).collect(),
            overrides: sources.clone(),
        };
        let Some(rates) = at_bits else {
            found.push(Candidate { place, given, datasets: only.clone(), at_bits: None });
            continue;
        };
        let dims: BTreeSet<usize> = concerned_dims(datasets, only.as_ref()).into_iter().collect();
        match rates::search(method, &given, rates, &dims) {
            Ok(searched) => {
                let lost = searched.missed.into_iter();
                missed.extend(lost.map(|(rate, dim, reason)| (method.name, given.clone(), rate, dim, reason)));
                found.extend(searched.found.into_iter().map(|at| {
                    let swept = place.swept.iter().cloned().chain(at.swept(method, &given)).collect();
                    let place = MethodLocation { swept, ..place.clone() };
                    let (open, given) = (given.clone(), at.params.clone());
                    Candidate { place, given, datasets: only.clone(), at_bits: Some((at, open)) }
                }));
            }
            Err(SearchFault::NothingToFind { message, help }) => {
                checker.fault_at_key(&format!("{pointer}/at_bits"), message, Some(help));
                break;
            }
            Err(SearchFault::Param(error)) => {
                place.report(&error, checker);
                break;
            }
        }
    }
    found
}

/// Reads the keys of an entry: the name of its method, its lists and its label.
fn read_entry<'e>(entry: &'e Map<String, Value>, i: usize, checker: &mut Checker<'_>) -> Option<Entry<'e>> {
    let pointer = format!("/methods/{i}");
    let method = method_of(entry, &pointer, checker)?;
    let name = method.name;
    let combinations = sweeps::combinations(entry, &pointer, checker)?;
    let at_bits = rates::read(entry, &pointer, checker).ok()?;
    for source in [Source::Sweep, Source::Zip] {
        let fixed = |key: &String| entry[name].get(key).is_some();
        if let Some((key, _)) = sweeps::lists(entry, source).find(|(key, _)| fixed(key)) {
            let source = source.key();
            let message = format!("`{key}` is given in the parameters and in the {source}");
            let pointer = format!("{pointer}/{source}/{}", escape(key));
            checker.fault_at_key(&pointer, message, Some("keep one of the two".into()));
            return None;
        }
    }
    let template = match entry.get("label") {
        None => None,
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text.as_str()),
        Some(_) => {
            checker.fault(
                &format!("{pointer}/label"),
                "`label` must be a text that says something",
                Some("such as \"PQ m={m}\"".into()),
            );
            return None;
        }
    };
    Some(Entry { pointer, method, params: &entry[name], template, combinations, at_bits })
}

/// The method that an entry names.
fn method_of(entry: &Map<String, Value>, pointer: &str, checker: &mut Checker<'_>) -> Option<&'static MethodEntry> {
    let names: Vec<&String> = entry.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
    let known: Vec<&'static MethodEntry> = names.iter().filter_map(|name| methods::registry::find(name).ok()).collect();
    match (&names[..], &known[..]) {
        ([name], []) => {
            let error = methods::registry::find(name).err()?;
            checker.fault_at_key(&format!("{pointer}/{}", escape(name)), error.message, error.help);
            None
        }
        ([_], [method]) => Some(method),
        // One method beside misspelt keys.
        (_, [method]) => {
            for name in names.iter().filter(|name| name.as_str() != method.name) {
                let help = nearest_name(name, KEYS.into_iter(), "keys here besides the method");
                let pointer = format!("{pointer}/{}", escape(name));
                checker.fault_at_key(&pointer, format!("unknown key `{name}`"), Some(help));
            }
            None
        }
        _ => {
            let found = names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
            let message = if found.is_empty() {
                "this entry has no method".into()
            } else {
                format!("this entry names several methods: {found}")
            };
            let known = methods::registry::entries().map(|m| m.name).collect::<Vec<_>>().join(", ");
            let keys = KEYS.map(|key| format!("`{key}`")).join(", ");
            let help = format!("each entry is one method ({known}) with its parameters, and optionally {keys}");
            checker.fault(pointer, message, Some(help));
            None
        }
    }
}

/// The location of a method and its parameters.
#[derive(Clone)]
pub(super) struct MethodLocation {
    /// The entry of the list.
    entry: String,
    /// The method's key.
    method: String,
    /// Values that come from lists.
    swept: Vec<Swept>,
    /// Mappings with values that are for some datasets only; the last one counts.
    overrides: Vec<String>,
}

impl MethodLocation {
    /// The entry of the list, as a pointer.
    pub(super) fn entry(&self) -> &str {
        &self.entry
    }

    /// The location of the last swept value, or of the method.
    fn last(&self) -> String {
        self.swept.last().map_or_else(|| self.method.clone(), |swept| swept.pointer(&self.entry))
    }

    /// Reports an error of a parameter: at the swept value if it comes from a list, otherwise below the method.
    pub(super) fn report(&self, error: &ParamError, checker: &mut Checker<'_>) {
        let first = error.param.as_deref().and_then(|param| param.split('/').next()).unwrap_or("");
        match self.swept.iter().find(|swept| swept.name == first) {
            Some(swept) if error.message.starts_with("unknown key") => {
                checker.param(
                    &format!("{}/{}", self.entry, swept.source.key()),
                    &ParamError { param: Some(swept.name.clone()), ..error.clone() },
                );
            }
            Some(swept) => {
                checker.fault(&swept.pointer(&self.entry), error.message.clone(), error.help.clone());
            }
            // What an override gives counts before the entry; what neither gives may come from the defaults.
            None => {
                let param = error.param.as_deref().unwrap_or_default();
                let given = |below: &str| checker.document.value().pointer(&format!("{below}/{param}")).is_some();
                let shared = format!("/{}", defaults::KEY);
                let overridden = self.overrides.iter().rev().find(|source| given(source));
                let place = match overridden {
                    Some(source) => source,
                    None if !given(&self.method) && given(&shared) => &shared,
                    None => &self.method,
                };
                checker.param(place, error);
            }
        }
    }
}
