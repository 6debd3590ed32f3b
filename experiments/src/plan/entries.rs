//! The methods of an experiment: parameters, sweeps, and the names that figures and tables show.

use super::MAX_TRIALS;
use super::checks::Checker;
use crate::document::escape;
use crate::experiment::Experiment;
use crate::fault::Fault;
use methods::strict::nearest_name;
use methods::{METHODS, Method, ParamError};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// A method with its names.
pub(super) struct LabelledMethod {
    pub(super) method: Box<dyn Method>,
    pub(super) label: String,
    pub(super) series: String,
}

/// Reads the methods, one for each combination of swept values, with the place where it is written.
pub(super) fn resolve_methods(experiment: &Experiment, checker: &mut Checker<'_>) -> Vec<(LabelledMethod, Place)> {
    let mut methods = Vec::new();
    // What each label stands for.
    let mut meanings: HashMap<String, (&'static str, Value)> = HashMap::new();
    for (i, entry) in experiment.methods.iter().enumerate() {
        let pointer = format!("/methods/{i}");
        let names: Vec<&String> = entry.keys().filter(|key| !["sweep", "label"].contains(&key.as_str())).collect();
        let [name] = names[..] else {
            let found = names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
            let message = if found.is_empty() {
                "no method is named here".into()
            } else {
                format!("this entry names several methods: {found}")
            };
            let known = METHODS.iter().map(|m| m.name).collect::<Vec<_>>().join(", ");
            checker.fault(
                &pointer,
                message,
                Some(format!(
                    "each entry is one method ({known}) with its parameters, and optionally `sweep` and `label`"
                )),
            );
            continue;
        };
        let below = format!("{pointer}/{}", escape(name));
        if let Err(error) = methods::spec::find(name) {
            let range = checker.document.locate_key(&below);
            checker.faults.push(Fault::at_bytes(checker.document, range, error.message, error.help));
            continue;
        }
        let Some(combinations) = sweep(entry.get("sweep"), &format!("{pointer}/sweep"), checker) else { continue };
        let fixed = |key: &String| entry[name].get(key).is_some();
        let twice = entry.get("sweep").and_then(Value::as_object).and_then(|sweep| sweep.keys().find(|key| fixed(key)));
        if let Some(key) = twice {
            let range = checker.document.locate_key(&format!("{pointer}/sweep/{}", escape(key)));
            let message = format!("`{key}` stands both in the parameters and in the sweep");
            checker.faults.push(Fault::at_bytes(checker.document, range, message, Some("keep one of the two".into())));
            continue;
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
                continue;
            }
        };
        for swept in combinations {
            let params = match (&entry[name], swept.is_empty()) {
                (params, true) => params.clone(),
                (Value::Null, false) => Value::Object(swept.clone()),
                (Value::Object(params), false) => {
                    let mut params = params.clone();
                    params.extend(swept.clone());
                    Value::Object(params)
                }
                (other, false) => other.clone(),
            };
            let position = |key: &str, value: &Value| {
                let list = entry.get("sweep").and_then(|sweep| sweep.get(key)).and_then(Value::as_array);
                list.and_then(|list| list.iter().position(|v| v == value)).unwrap_or(0)
            };
            let place = Place {
                entry: pointer.clone(),
                method: below.clone(),
                swept: swept.iter().map(|(key, value)| (key.clone(), position(key, value))).collect(),
            };
            match methods::parse(name, params) {
                Err(error) => {
                    place.report(&error, checker);
                    break;
                }
                Ok(method) => {
                    let params = method.params();
                    let label = match label(template, name, &params, &entry[name], &swept) {
                        Ok(label) => label,
                        Err(error) => {
                            checker.fault(&format!("{pointer}/label"), error.message, error.help);
                            break;
                        }
                    };
                    let meaning = (method.name(), params);
                    if *meanings.entry(label.clone()).or_insert_with(|| meaning.clone()) != meaning {
                        let help = "let the label say what differs, such as \"PQ m={m}\"".to_owned();
                        checker.fault(
                            &format!("{pointer}/label"),
                            format!("several methods are called `{label}`"),
                            Some(help),
                        );
                        break;
                    }
                    let series = template.map_or_else(|| plain_series(name, &entry[name]), series);
                    methods.push((LabelledMethod { method, label, series }, place));
                }
            }
        }
    }
    methods
}

/// Where a method and its parameters are written.
pub(super) struct Place {
    /// The entry of the list.
    entry: String,
    /// The method's key.
    method: String,
    /// Values that come from the sweep, with their position in their list.
    swept: Vec<(String, usize)>,
}

impl Place {
    /// Reports an error of a parameter: at the swept value if it comes from the sweep, else below the method.
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

/// Combinations of a sweep, the last key varying fastest; one empty combination without a sweep.
fn sweep(written: Option<&Value>, pointer: &str, checker: &mut Checker<'_>) -> Option<Vec<Map<String, Value>>> {
    let mut combinations = vec![Map::new()];
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
    let product = map.values().map(|v| v.as_array().map_or(1, Vec::len)).try_fold(1usize, |a, b| a.checked_mul(b));
    if product.is_none_or(|product| product > MAX_TRIALS) {
        let help = format!("an experiment has at most {MAX_TRIALS} trials; shorten a list");
        checker.fault(pointer, "this sweep has too many combinations", Some(help));
        return None;
    }
    for (key, values) in map {
        let values = match values {
            Value::Array(values) if !values.is_empty() => values,
            _ => {
                let pointer = format!("{pointer}/{}", escape(key));
                checker.fault(
                    &pointer,
                    format!("`{key}` is swept over no list"),
                    Some(format!("write `{key}: [1, 2, 4]`")),
                );
                return None;
            }
        };
        combinations = combinations
            .into_iter()
            .flat_map(|combination| {
                values.iter().map(move |value| {
                    let mut combination = combination.clone();
                    combination.insert(key.clone(), value.clone());
                    combination
                })
            })
            .collect();
    }
    Some(combinations)
}

/// The name of one point: the template with `{param}` replaced, or the method with the parameters that were written.
fn label(
    template: Option<&str>,
    name: &str,
    params: &Value,
    written: &Value,
    swept: &Map<String, Value>,
) -> Result<String, ParamError> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let (None, Some(text)) = (template, written.as_str()) {
        // Parameters that are one text name themselves.
        return Ok(text.to_owned());
    }
    let Some(template) = template else {
        let written: Vec<&String> =
            written.as_object().into_iter().flatten().map(|(k, _)| k).chain(swept.keys()).collect();
        let given = params.as_object().into_iter().flatten().filter(|(key, _)| written.contains(key));
        let words: Vec<String> = given.map(|(key, value)| format!("{key}={}", plain(value))).collect();
        return Ok(if words.is_empty() { name.to_owned() } else { format!("{name} {}", words.join(" ")) });
    };
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, after) = after.split_once('}').unwrap_or((after, ""));
        let Some(value) = params.get(key) else {
            let known = params.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let help = nearest_name(key, known, "parameters");
            return Err(ParamError::new("label", format!("`{{{key}}}` in the label is no parameter of {name}"), help));
        };
        text += before;
        text += &plain(value);
        rest = after;
    }
    Ok(text + rest)
}

/// The name of a curve: the template without the words that change from point to point.
fn series(template: &str) -> String {
    let words: Vec<&str> = template.split_whitespace().filter(|word| !word.contains('{')).collect();
    if words.is_empty() { template.to_owned() } else { words.join(" ") }
}

/// The name of a curve without a template: the method and those of its written parameters that are no numbers, since
/// numbers are what changes along a curve.
fn plain_series(name: &str, written: &Value) -> String {
    if let Some(text) = written.as_str() {
        return text.to_owned();
    }
    let kinds = written.as_object().into_iter().flatten().filter(|(_, value)| !value.is_number());
    let words: Vec<String> = kinds
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    if words.is_empty() { name.to_owned() } else { format!("{name} {}", words.join(" ")) }
}
