//! What methods are called in figures and tables.
//!
//! Without a `label`, a method is called by its name and by what its author wrote that differs between the entries of that
//! method: `pq m=8`. Defaults that nobody wrote are not part of it, and nested parameters are dotted paths:
//! `fsq training.epochs=2`.

use methods::ParamError;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use strict::nearest_name;

/// Maximum number of characters of a label: names appear in tables, legends and file names.
pub(super) const MAX_LABEL: usize = 200;

/// A parameter as it was written: the path to it, and its value.
type Leaf = (String, Value);

/// The written parameters of each method, to find out which differ.
#[derive(Default)]
pub(super) struct WrittenParams {
    /// The values seen, by method and path.
    seen: HashMap<(String, String), HashSet<String>>,
    /// For each method, the number of entries, and how many of them wrote each path.
    counts: HashMap<String, usize>,
    paths: HashMap<(String, String), usize>,
}

impl WrittenParams {
    /// Records one method with its parameters, including swept ones.
    pub(super) fn note(&mut self, name: &str, params: &Value) {
        *self.counts.entry(name.to_owned()).or_default() += 1;
        for (path, value) in leaves(params) {
            let key = (name.to_owned(), path);
            *self.paths.entry(key.clone()).or_default() += 1;
            self.seen.entry(key).or_default().insert(value.to_string());
        }
    }

    /// Whether entries of this method differ in the value at a path, or in whether there is one.
    fn differs(&self, name: &str, path: &str) -> bool {
        let key = (name.to_owned(), path.to_owned());
        let values = self.seen.get(&key).map_or(0, HashSet::len);
        values > 1 || self.paths.get(&key) != self.counts.get(name)
    }

    /// The label of a method without a template.
    pub(super) fn label(&self, name: &str, params: &Value) -> String {
        self.name(name, params, |_| true)
    }

    /// The name of a method's curve without a template. Numbers change along a curve, so they are left out.
    pub(super) fn series(&self, name: &str, params: &Value) -> String {
        self.name(name, params, |value| !value.is_number())
    }

    fn name(&self, name: &str, params: &Value, wanted: impl Fn(&Value) -> bool) -> String {
        // A parameter that is a single string is its own name.
        if let Some(text) = params.as_str() {
            return cut(text.to_owned());
        }
        let chosen = leaves(params).into_iter().filter(|(path, value)| wanted(value) && self.differs(name, path));
        let words: Vec<String> = chosen.map(|(path, value)| format!("{path}={}", words(&value))).collect();
        cut(if words.is_empty() { name.to_owned() } else { format!("{name} {}", words.join(" ")) })
    }
}

/// A label as shown; characters that cannot be displayed are removed.
fn cut(label: String) -> String {
    match label.char_indices().nth(MAX_LABEL) {
        None => label,
        Some(_) => label.chars().take(MAX_LABEL - 1).chain(['…']).collect(),
    }
}

/// Every parameter that is not a mapping, by path.
fn leaves(params: &Value) -> Vec<Leaf> {
    fn walk(value: &Value, path: &str, found: &mut Vec<Leaf>) {
        match value.as_object().filter(|map| !map.is_empty()) {
            Some(map) => {
                for (key, value) in map {
                    let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(value, &below, found);
                }
            }
            None if path.is_empty() => {}
            None => found.push((path.to_owned(), value.clone())),
        }
    }
    let mut found = Vec::new();
    walk(params, "", &mut found);
    found
}

/// A value as YAML on one line.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(words).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", words(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// The parameters of an outside program with those that it reads itself beside the others, as they may be written.
pub(super) fn spread(params: Value) -> Value {
    let Value::Object(mut all) = params else { return params };
    if let Some(Value::Object(own)) = all.get("params").cloned() {
        for (key, value) in own {
            all.entry(key).or_insert(value);
        }
    }
    Value::Object(all)
}

/// A template with `{param}` replaced by its value, and `{training.epochs}` by that of a nested one.
///
/// # Errors
/// An unknown parameter name; an invalid label.
pub(super) fn fill(template: &str, name: &str, params: &Value) -> Result<String, ParamError> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, after) = after.split_once('}').unwrap_or((after, ""));
        let Some(value) = params.pointer(&format!("/{}", key.replace('.', "/"))) else {
            let known = params.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let help = nearest_name(key, known, "parameters");
            return Err(ParamError::new(
                "label",
                format!("`{{{key}}}` in the label is not a parameter of {name}"),
                help,
            ));
        };
        text += before;
        text += &words(value);
        rest = after;
    }
    text += rest;
    let length = text.chars().count();
    if length > MAX_LABEL {
        let message = format!("this label has {length} characters, more than {MAX_LABEL}");
        return Err(ParamError::new("label", message, "use a short name; tables and legends have little room"));
    }
    if text.contains(char::is_control) {
        return Err(ParamError::new("label", "this label has line breaks", "write it without line breaks"));
    }
    Ok(text)
}

/// The name of a curve: the template without the parts that change from point to point.
pub(super) fn series(template: &str) -> String {
    let words: Vec<&str> = template.split_whitespace().filter(|word| !word.contains('{')).collect();
    if words.is_empty() { template.to_owned() } else { words.join(" ") }
}

/// The parameters of a method, including those of its sweep.
pub(super) fn combined(params: &Value, swept: &Map<String, Value>) -> Value {
    match (params, swept.is_empty()) {
        (params, true) => params.clone(),
        (Value::Null, false) => Value::Object(swept.clone()),
        (Value::Object(params), false) => {
            let mut params = params.clone();
            params.extend(swept.clone());
            Value::Object(params)
        }
        (other, false) => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(all: &[(&str, Value)]) -> Vec<(String, String)> {
        let mut written = WrittenParams::default();
        all.iter().for_each(|(name, params)| written.note(name, params));
        all.iter().map(|(name, params)| (written.label(name, params), written.series(name, params))).collect()
    }

    #[test]
    fn a_label_holds_what_was_written_and_differs() {
        let found = labels(&[
            ("pq", json!({ "m": 8, "bits": 4 })),
            ("pq", json!({ "m": 16, "bits": 4, "init": "random" })),
            ("lbg", json!({ "bits": 3 })),
            ("fsq", json!({ "levels": [5, 5, 5], "training": { "epochs": 2 } })),
            ("fsq", json!({ "levels": [7, 5], "training": { "epochs": 2, "batch": 64 } })),
            ("factory", json!("PQ16x8")),
            ("binary", Value::Null),
        ]);
        let expected = [
            ("pq m=8", "pq"),
            ("pq m=16 init=random", "pq init=random"),
            ("lbg", "lbg"),
            ("fsq levels=[5,5,5]", "fsq levels=[5,5,5]"),
            ("fsq levels=[7,5] training.batch=64", "fsq levels=[7,5]"),
            ("PQ16x8", "PQ16x8"),
            ("binary", "binary"),
        ];
        assert_eq!(found, expected.map(|(label, series)| (label.to_owned(), series.to_owned())));
    }

    #[test]
    fn templates_speak_yaml_and_are_short() {
        let params = json!({ "levels": [5, 5], "training": { "epochs": 2, "batch": 64 } });
        let fill = |template: &str| fill(template, "fsq", &params).map_err(|e| e.message);
        assert_eq!(fill("{levels}: {training.epochs} epochs").as_deref(), Ok("[5,5]: 2 epochs"));
        assert_eq!(fill("FSQ {training}").as_deref(), Ok("FSQ {epochs: 2, batch: 64}"));
        assert!(fill("{training.epoch}").expect_err("unknown").contains("is not a parameter of fsq"));
        assert!(fill(&"L".repeat(1_000_000)).expect_err("long").contains("1000000 characters, more than 200"));
        assert!(fill("two\nlines").expect_err("lines").contains("line breaks"));
        assert_eq!(cut("ö".repeat(1000)).chars().count(), MAX_LABEL);
    }
}
