//! The keys of a JSON schema as text for people: name, type, range, default and meaning of each key, including nested
//! keys. `methods NAME` and the reference of experiment files are both made from it, so neither can go stale.

use serde_json::Value;
use strict::{called_elsewhere_names, variants_with_schemas};

/// A key, with the keys nested in it.
pub struct SchemaKey {
    name: String,
    /// Type and range as text.
    kind: String,
    /// `default 8`, `required` or `optional`.
    default: String,
    /// What it means.
    meaning: Vec<String>,
    /// The values of an enumeration.
    forms: Vec<Form>,
    below: Vec<SchemaKey>,
}

/// A value of an enumeration, with the keys nested in it.
struct Form {
    written: String,
    meaning: String,
    below: Vec<SchemaKey>,
}

/// The keys that a schema describes.
pub fn keys(schema: &Value) -> Vec<SchemaKey> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(name, property)| key(name, property, required.contains(&name.as_str()))).collect()
}

fn key(name: &str, property: &Value, required: bool) -> SchemaKey {
    let inner = without_null(property);
    let below = keys(inner);
    let default = match property.get("default").filter(|default| !default.is_null() && *default != "") {
        // Each nested key states its own default.
        Some(_) if !below.is_empty() => "optional".to_owned(),
        Some(default) => format!("default {}", yaml(default)),
        None if required => "required".to_owned(),
        None => "optional".to_owned(),
    };
    let form = |(written, value): (String, &Value)| {
        let others = called_elsewhere_names(value);
        let others =
            if others.is_empty() { String::new() } else { format!(" Other programs call it {}.", others.join(", ")) };
        let meaning = format!("{}{others}", sentence(&value["description"]));
        let below = value["properties"].as_object().into_iter().flatten().flat_map(|(_, inner)| keys(inner)).collect();
        Form { written, meaning, below }
    };
    let described = property.get("description").unwrap_or(&inner["description"]);
    SchemaKey {
        name: name.to_owned(),
        kind: kind(inner),
        default,
        meaning: described.as_str().unwrap_or("").lines().map(str::to_owned).collect(),
        forms: variants_with_schemas(inner).into_iter().map(form).collect(),
        below,
    }
}

/// A text on one line.
fn sentence(text: &Value) -> String {
    text.as_str().unwrap_or("").replace('\n', " ")
}

/// The schema of an optional value without its `null` case.
fn without_null(schema: &Value) -> &Value {
    let forms: Vec<&Value> =
        schema["anyOf"].as_array().into_iter().flatten().filter(|form| form["type"] != "null").collect();
    match forms[..] {
        [only] => only,
        _ => schema,
    }
}

/// Type and range as text.
fn kind(schema: &Value) -> String {
    if !variants_with_schemas(schema).is_empty() {
        return if schema["items"].is_object() { "list of the values below" } else { "one of the values below" }.into();
    }
    let forms: Vec<String> = schema["anyOf"].as_array().into_iter().flatten().map(kind).collect();
    if !forms.is_empty() {
        return forms.join(", or ");
    }
    let named = schema["type"].as_array().into_iter().flatten().chain([&schema["type"]]).filter_map(Value::as_str);
    let base = match named.into_iter().find(|name| *name != "null") {
        Some("integer") => "integer",
        Some("number") => "number",
        Some("boolean") => "true or false",
        Some("object") => "mapping",
        Some("array") if schema["items"].is_object() => return format!("list; each item: {}", kind(&schema["items"])),
        Some("array") => "list",
        Some("string") if schema["enum"].is_array() => return alternatives(&schema["enum"]),
        Some("string") => "string",
        _ => return "anything".into(),
    };
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number()).map(plain);
    match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{base}, {low} to {high}"),
        (Some(low), None) => format!("{base}, at least {low}"),
        (None, Some(high)) => format!("{base}, at most {high}"),
        (None, None) => base.into(),
    }
}

fn alternatives(values: &Value) -> String {
    values.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// Whole numbers without a decimal point.
fn plain(value: &Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |v| v.to_string())
}

/// A value as YAML on one line.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        // A variant without parameters.
        Value::Object(map) if map.len() == 1 && map.values().all(|inner| *inner == serde_json::json!({})) => {
            map.keys().cloned().collect()
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", yaml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// Keys as text for a terminal, indented by `depth` steps.
pub fn to_text(keys: &[SchemaKey], depth: usize) -> String {
    let pad = "  ".repeat(depth);
    let mut out = String::new();
    for key in keys {
        out += &format!("{pad}{} ({}; {})\n", key.name, key.kind, key.default);
        for line in &key.meaning {
            out += &format!("{pad}    {line}\n");
        }
        for form in &key.forms {
            out += &format!("{pad}    {}: {}\n", form.written, form.meaning);
            out += &to_text(&form.below, depth + 4);
        }
        out += &to_text(&key.below, depth + 2);
    }
    out
}

/// Keys as a list in Markdown, indented by `depth` steps.
pub fn to_markdown(keys: &[SchemaKey], depth: usize) -> String {
    let pad = "  ".repeat(depth);
    let mut out = String::new();
    for key in keys {
        let meaning = key.meaning.join(" ");
        out += &format!("{pad}- **`{}`** ({}; {}): {meaning}\n", key.name, key.kind, key.default);
        for form in &key.forms {
            out += &format!("{pad}  - `{}`: {}\n", form.written, form.meaning);
            out += &to_markdown(&form.below, depth + 2);
        }
        out += &to_markdown(&key.below, depth + 1);
    }
    out
}
