//! `defaults`: parameters that all methods of an experiment share where they have them and do not give them.

use super::checks::Checker;
use super::sweeps::{self, Source};
use crate::document::escape;
use crate::experiment::Experiment;
use methods::MethodEntry;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use strict::nearest_name;

/// The key.
pub(super) const KEY: &str = "defaults";

/// Gives every method the defaults of its parameters. A parameter that no method of the experiment has is a fault.
pub(super) fn apply(experiment: &mut Experiment, checker: &mut Checker<'_>) {
    let Experiment { defaults, methods, .. } = experiment;
    if defaults.is_empty() {
        return;
    }
    let mut known = BTreeSet::new();
    let mut named = BTreeSet::new();
    for entry in methods.iter_mut() {
        let Some(method) = method_of(entry) else { continue };
        named.insert(method.name);
        let properties = properties(method);
        known.extend(properties.keys().cloned());
        let listed: Vec<String> = [Source::Sweep, Source::Zip]
            .into_iter()
            .flat_map(|s| sweeps::lists(entry, s))
            .map(|(key, _)| key.clone())
            .collect();
        let Some(params) = entry.get_mut(method.name) else { continue };
        if params.is_null() {
            *params = Value::Object(Map::new());
        }
        let Some(params) = params.as_object_mut() else { continue };
        for (key, value) in defaults.iter().filter(|(key, _)| !listed.contains(key)) {
            if let Some(property) = properties.get(key) {
                merge(params, key, value, property, Precedence::Given);
            }
        }
    }
    // Entries without a known method are faults already.
    for key in defaults.keys().filter(|key| !named.is_empty() && !known.contains(*key)) {
        report_unknown(key, &known, &format!("/{KEY}"), checker);
    }
}

/// The method that an entry names; None if it names none that is known.
pub(super) fn method_of(entry: &Map<String, Value>) -> Option<&'static MethodEntry> {
    methods::registry::entries().find(|method| entry.contains_key(method.name))
}

/// The schemas of a method's parameters, by name.
pub(super) fn properties(method: &MethodEntry) -> Map<String, Value> {
    method.params_schema().get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Reports a parameter that is given below `pointer` for all methods, and that none of them has.
pub(super) fn report_unknown(key: &str, known: &BTreeSet<String>, pointer: &str, checker: &mut Checker<'_>) {
    let help = nearest_name(key, known.iter().map(String::as_str), "parameters of the methods here");
    let message = format!("no method here has a parameter `{key}`");
    checker.fault_at_key(&format!("{pointer}/{}", escape(key)), message, Some(help));
}

/// Which of two values of a parameter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precedence {
    /// The one that is given already.
    Given,
    /// The one that is added.
    New,
}

/// Adds a parameter to others. Of a mapping with fixed keys, such as `training`, each key counts on its own; a
/// choice between alternatives, such as `encoder`, is taken as a whole.
pub(super) fn merge(params: &mut Map<String, Value>, key: &str, value: &Value, schema: &Value, precedence: Precedence) {
    match (params.get_mut(key), value) {
        (Some(Value::Object(mine)), Value::Object(theirs)) if schema.get("properties").is_some() => {
            for (key, value) in theirs {
                merge(mine, key, value, &schema["properties"][key.as_str()], precedence);
            }
        }
        (Some(_), _) if precedence == Precedence::Given => {}
        _ => {
            params.insert(key.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mappings_are_merged_by_key_and_alternatives_are_not() {
        let schema = json!({ "properties": { "epochs": {}, "batch": {} } });
        let merged = |precedence| {
            let mut params = json!({ "training": { "epochs": 2, "rate": 1 }, "encoder": { "linear": {} } });
            let Value::Object(map) = &mut params else { unreachable!("a mapping") };
            merge(map, "training", &json!({ "epochs": 9, "batch": 32 }), &schema, precedence);
            merge(map, "encoder", &json!({ "mlp": {} }), &json!({ "oneOf": [] }), precedence);
            merge(map, "beta", &json!(0.5), &json!({}), precedence);
            params
        };
        let training = json!({ "epochs": 2, "rate": 1, "batch": 32 });
        let given = json!({ "training": training, "encoder": { "linear": {} }, "beta": 0.5 });
        assert_eq!(merged(Precedence::Given), given);
        let training = json!({ "epochs": 9, "rate": 1, "batch": 32 });
        let new = json!({ "training": training, "encoder": { "mlp": {} }, "beta": 0.5 });
        assert_eq!(merged(Precedence::New), new);
    }
}
