//! `defaults`: parameters that all methods of an experiment share where they have them and do not give them.

use super::checks::Checker;
use super::sweeps::{self, Source};
use crate::document::escape;
use crate::experiment::Experiment;
use methods::METHODS;
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
        let Some(method) = METHODS.iter().find(|method| entry.contains_key(method.name)) else { continue };
        named.insert(method.name);
        let schema = method.params_schema();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { continue };
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
                merge(params, key, value, property);
            }
        }
    }
    // Entries without a known method are faults already.
    for key in defaults.keys().filter(|key| !named.is_empty() && !known.contains(*key)) {
        let help = nearest_name(key, known.iter().map(String::as_str), "parameters of the methods here");
        checker.fault_at_key(
            &format!("/{KEY}/{}", escape(key)),
            format!("no method here has a parameter `{key}`"),
            Some(help),
        );
    }
}

/// Adds a default to the parameters. Of a mapping with fixed keys, such as `training`, each key has its own default; a
/// choice between alternatives, such as `encoder`, is taken as a whole.
fn merge(params: &mut Map<String, Value>, key: &str, value: &Value, schema: &Value) {
    match (params.get_mut(key), value) {
        (None, _) => {
            params.insert(key.to_owned(), value.clone());
        }
        (Some(Value::Object(mine)), Value::Object(theirs)) => {
            let Some(properties) = schema.get("properties") else { return };
            for (key, value) in theirs {
                merge(mine, key, value, &properties[key.as_str()]);
            }
        }
        (Some(_), _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mappings_are_merged_by_key_and_alternatives_are_not() {
        let schema = json!({ "properties": { "epochs": {}, "batch": {} } });
        let mut params = json!({ "training": { "epochs": 2 }, "encoder": { "linear": {} } });
        let Value::Object(map) = &mut params else { unreachable!("a mapping") };
        merge(map, "training", &json!({ "epochs": 9, "batch": 32 }), &schema);
        merge(map, "encoder", &json!({ "mlp": {} }), &json!({ "oneOf": [] }));
        merge(map, "beta", &json!(0.5), &json!({}));
        let expected = json!({ "training": { "epochs": 2, "batch": 32 }, "encoder": { "linear": {} }, "beta": 0.5 });
        assert_eq!(params, expected);
    }
}
