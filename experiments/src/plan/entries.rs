//! The methods of an experiment: parameters, sweeps, and the names that figures and tables show.

use super::checks::Checker;
use super::labels::{self, WrittenParams};
use crate::document::escape;
use crate::experiment::Experiment;
use methods::{METHODS, Method, ParamError};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// A method with its names.
pub(super) struct LabelledMethod {
    pub(super) method: Box<dyn Method>,
    pub(super) label: String,
    pub(super) series: String,
}

/// An entry with a known method and a valid sweep.
struct Entry<'e> {
    pointer: String,
    name: &'e str,
    params: &'e Value,
    template: Option<&'e str>,
    combinations: Vec<Combination<'e>>,
}

/// Reads the methods, one for each combination of swept values, with its location in the file.
pub(super) fn resolve_methods(
    experiment: &Experiment,
    checker: &mut Checker<'_>,
) -> Vec<(LabelledMethod, MethodLocation)> {
    let entries: Vec<Entry<'_>> =
        experiment.methods.iter().enumerate().filter_map(|(i, entry)| read_entry(entry, i, checker)).collect();
    let mut written = WrittenParams::default();
    for entry in &entries {
        for combination in &entry.combinations {
            written.note(entry.name, &labels::combined(entry.params, &swept(combination)));
        }
    }
    let mut methods = Vec::new();
    // The method of each label, and the label of each method.
    let mut meanings: HashSet<String> = HashSet::new();
    let mut names: HashMap<(&'static str, String), String> = HashMap::new();
    for Entry { pointer, name, params, template, combinations } in &entries {
        for combination in combinations {
            let below = format!("{pointer}/{}", escape(name));
            let place = MethodLocation {
                entry: pointer.clone(),
                method: below,
                swept: combination.iter().map(|(key, position, _)| ((*key).clone(), *position)).collect(),
            };
            let given = labels::combined(params, &swept(combination));
            let method = match methods::parse(name, given.clone()) {
                Ok(method) => method,
                Err(error) => {
                    place.report(&error, checker);
                    break;
                }
            };
            let filled = match template {
                None => Ok((written.label(name, &given), written.series(name, &given))),
                Some(template) => {
                    labels::fill(template, name, &method.params()).map(|label| (label, labels::series(template)))
                }
            };
            let (label, series) = match filled {
                Ok(filled) => filled,
                Err(error) => {
                    checker.fault(&format!("{pointer}/label"), error.message, error.help);
                    break;
                }
            };
            // Otherwise the same trials would be counted twice, or one of two names would be lost.
            let meaning = (method.name(), method.params().to_string());
            if let Some(other) = names.get(&meaning) {
                let message = format!("this is the same method as `{other}` before it");
                let help = "remove one of the two; a parameter that is not written has its default value";
                checker.fault(&place.last(), message, Some(help.to_owned()));
                break;
            }
            if !meanings.insert(label.clone()) {
                let help = "add to the label what differs, such as \"PQ m={m}\"".to_owned();
                checker.fault(&format!("{pointer}/label"), format!("several methods are called `{label}`"), Some(help));
                break;
            }
            names.insert(meaning, label.clone());
            methods.push((LabelledMethod { method, label, series }, place));
        }
    }
    methods
}

/// The swept values of a combination, by parameter.
fn swept(combination: &Combination<'_>) -> Map<String, Value> {
    combination.iter().map(|(key, _, value)| ((*key).clone(), (*value).clone())).collect()
}

/// Reads the keys of an entry: the name of its method, the sweep and the label.
fn read_entry<'e>(entry: &'e Map<String, Value>, i: usize, checker: &mut Checker<'_>) -> Option<Entry<'e>> {
    let pointer = format!("/methods/{i}");
    let names: Vec<&String> = entry.keys().filter(|key| !["sweep", "label"].contains(&key.as_str())).collect();
    let [name] = names[..] else {
        let found = names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
        let message = if found.is_empty() {
            "this entry has no method".into()
        } else {
            format!("this entry names several methods: {found}")
        };
        let known = METHODS.iter().map(|m| m.name).collect::<Vec<_>>().join(", ");
        let help =
            format!("each entry is one method ({known}) with its parameters, and optionally `sweep` and `label`");
        checker.fault(&pointer, message, Some(help));
        return None;
    };
    if let Err(error) = methods::registry::find(name) {
        checker.fault_at_key(&format!("{pointer}/{}", escape(name)), error.message, error.help);
        return None;
    }
    let combinations = sweep(entry.get("sweep"), &format!("{pointer}/sweep"), checker)?;
    let fixed = |key: &String| entry[name].get(key).is_some();
    let twice = entry.get("sweep").and_then(Value::as_object).and_then(|sweep| sweep.keys().find(|key| fixed(key)));
    if let Some(key) = twice {
        let message = format!("`{key}` is given in the parameters and in the sweep");
        checker.fault_at_key(&format!("{pointer}/sweep/{}", escape(key)), message, Some("keep one of the two".into()));
        return None;
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
    Some(Entry { pointer, name, params: &entry[name], template, combinations })
}

/// The location of a method and its parameters.
pub(super) struct MethodLocation {
    /// The entry of the list.
    entry: String,
    /// The method's key.
    method: String,
    /// Values that come from the sweep, with their position in their list.
    swept: Vec<(String, usize)>,
}

impl MethodLocation {
    /// The location of the last swept value, or of the method.
    fn last(&self) -> String {
        match self.swept.last() {
            Some((name, position)) => format!("{}/sweep/{}/{position}", self.entry, escape(name)),
            None => self.method.clone(),
        }
    }

    /// Reports an error of a parameter: at the swept value if it comes from the sweep, otherwise below the method.
    pub(super) fn report(&self, error: &ParamError, checker: &mut Checker<'_>) {
        let first = error.param.as_deref().and_then(|param| param.split('/').next()).unwrap_or("");
        match self.swept.iter().find(|(name, _)| name == first) {
            Some((name, _)) if error.message.starts_with("unknown key") => {
                checker.param(
                    &format!("{}/sweep", self.entry),
                    &ParamError { param: Some(name.clone()), ..error.clone() },
                );
            }
            Some((name, index)) => {
                let pointer = format!("{}/sweep/{}/{index}", self.entry, escape(name));
                checker.fault(&pointer, error.message.clone(), error.help.clone());
            }
            None => checker.param(&self.method, error),
        }
    }
}

/// A combination of swept values: the key and the value of each, and the value's position in its list.
type Combination<'e> = Vec<(&'e String, usize, &'e Value)>;

/// Combinations of a sweep, the last key varying fastest; one empty combination without a sweep. There are not too many:
/// [`super::extent`] has seen to it.
fn sweep<'e>(written: Option<&'e Value>, pointer: &str, checker: &mut Checker<'_>) -> Option<Vec<Combination<'e>>> {
    let mut combinations = vec![Vec::new()];
    let map = match written {
        None => return Some(combinations),
        Some(Value::Object(map)) if !map.is_empty() => map,
        Some(_) => {
            checker.fault(
                pointer,
                "`sweep` is a mapping from parameters to lists of values",
                Some("such as { m: [24, 48, 96] }".into()),
            );
            return None;
        }
    };
    for (key, values) in map {
        let values = match values {
            Value::Array(values) if !values.is_empty() => &values[..],
            // A single value is a list of one, as everywhere.
            value if !value.is_null() && !value.is_array() => std::slice::from_ref(value),
            _ => {
                let pointer = format!("{pointer}/{}", escape(key));
                checker.fault(
                    &pointer,
                    format!("`{key}` is swept over an empty list or no list"),
                    Some(format!("write `{key}: [1, 2, 4]`")),
                );
                return None;
            }
        };
        let mut longer = Vec::with_capacity(combinations.len() * values.len());
        for combination in &combinations {
            for (position, value) in values.iter().enumerate() {
                let mut combination: Combination<'e> = combination.clone();
                combination.push((key, position, value));
                longer.push(combination);
            }
        }
        combinations = longer;
    }
    Some(combinations)
}
