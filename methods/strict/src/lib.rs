//! Reads plain data strictly: a key that is unknown, missing, ill-typed or out of range is an error that names the key
//! and what would be right. Everything comes from the schema of the type, so that each range is written once.

mod contain;
mod error;
pub mod lists;
mod range;

pub use contain::contained;
pub use error::ParamError;
pub use range::check_ranges;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Schema of a type, with all schemas it refers to inlined.
pub fn schema_of<T: JsonSchema>() -> Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .with(|s| s.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
}

/// [`schema_of`], generated once per type and process: a sweep reads and checks one type thousands of times.
pub(crate) fn schema_once<T: JsonSchema + 'static>() -> Arc<Schema> {
    static SCHEMAS: Mutex<BTreeMap<TypeId, Arc<Schema>>> = Mutex::new(BTreeMap::new());
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    schemas.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(schema_of::<T>())).clone()
}

/// Reads `T` from a JSON value.
///
/// # Errors
/// Names the wrong key (as a `/`-separated path below the value), what is wrong and what would be right.
pub fn from_value<T: DeserializeOwned + JsonSchema + 'static>(value: Value) -> Result<T, ParamError> {
    let schema = schema_once::<T>();
    check_keys(&value, &schema)?;
    let value = lists::wrap(value, schema.as_value());
    let properties = schema.get("properties").and_then(Value::as_object);
    let read = serde_path_to_error::deserialize::<_, T>(value.clone()).map_err(|error| {
        let segments = error.path().iter().map(|s| s.to_string().trim_matches(['[', ']']).to_owned());
        let path: Vec<String> = segments.filter(|segment| segment != ".").collect();
        explain(&path, &error.inner().to_string(), properties)
    })?;
    // Ranges are checked after types: a string instead of a number is reported as such.
    range::check(&value, schema.as_value())?;
    Ok(read)
}

/// Checks that an object has no key that its schema does not know.
///
/// # Errors
/// Names the first unknown key and the nearest known one.
pub fn check_keys(value: &Value, schema: &Schema) -> Result<(), ParamError> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let (Some(object), Some(properties)) = (value.as_object(), properties) else { return Ok(()) };
    match object.keys().find(|key| !properties.contains_key(*key)) {
        Some(unknown) => Err(unknown_key(unknown, String::new(), properties.keys().map(String::as_str))),
        None => Ok(()),
    }
}

/// Turns serde's message into one that needs no knowledge of Rust.
fn explain(path: &[String], text: &str, properties: Option<&Map<String, Value>>) -> ParamError {
    let param = (!path.is_empty()).then(|| path.join("/"));
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let described = |key: &str| describe(properties, key);
    let first = path.first().map(String::as_str);
    if text.starts_with("unknown field `") {
        let names = quoted(text);
        let known = names.iter().skip(1).map(String::as_str);
        // The path ends with the unknown key itself.
        let prefix = path.split_last().map(|(_, parents)| parents.iter().map(|p| format!("{p}/")).collect());
        return unknown_key(names.first().map_or("", String::as_str), prefix.unwrap_or_default(), known);
    }
    if text.starts_with("missing field `") {
        let missing = quoted(text).into_iter().next().unwrap_or_default();
        return ParamError { param, message: format!("the key `{missing}` is missing"), help: described(&missing) };
    }
    if text.starts_with("unknown variant `") {
        let names = quoted(text);
        let wrong = names.first().map_or("", String::as_str);
        let known = || names.iter().skip(1).map(String::as_str);
        let property = properties.zip(first).and_then(|(properties, key)| properties.get(key));
        let elsewhere = property.and_then(|property| called_elsewhere(property, wrong));
        let help = Some(match elsewhere {
            Some(name) => format!("did you mean `{name}`? values: {}", known().collect::<Vec<_>>().join(", ")),
            None => nearest_name(wrong, known(), "values"),
        });
        let key = path
            .iter()
            .rev()
            .find(|s| s.parse::<usize>().is_err())
            .map(|key| format!(" for `{key}`"))
            .unwrap_or_default();
        return ParamError { param, message: format!("unknown value `{wrong}`{key}"), help };
    }
    let property = properties.zip(first).and_then(|(properties, key)| properties.get(key));
    let forms = property.map(forms).unwrap_or_default();
    if !forms.is_empty()
        && (text.contains("variant") || text.contains("string or map") || text.contains("expected unit"))
    {
        let message = format!("`{}` is not in a known form", first.unwrap_or_default());
        return ParamError { param, message, help: Some(format!("write one of: {}", forms.join("; "))) };
    }
    // An item of a list is named by the list and its position.
    let named = path.iter().rposition(|segment| segment.parse::<usize>().is_err());
    let key = named.map(|i| match path[i + 1..].first().and_then(|place| place.parse::<usize>().ok()) {
        Some(place) => format!("entry {} of `{}`", place + 1, path[i]),
        None => format!("`{}`", path[i]),
    });
    let invalid = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
    let message = match invalid.and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => {
            format!("{} must be {}, not {}", key.as_deref().unwrap_or("this"), needed(expected), found_words(found))
        }
        None => key.map_or_else(|| text.to_owned(), |key| format!("{key}: {text}")),
    };
    ParamError { param, message, help: first.and_then(described) }
}

/// The schema keyword that lists the names of a value in other programs.
pub const ALSO_CALLED: &str = "x-also-called";

/// The value that other programs call by a name, in any spelling of case and separators.
fn called_elsewhere<'s>(property: &'s Value, name: &str) -> Option<&'s str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(name);
    let known = |value: &Value| called_elsewhere_names(value).into_iter().map(plain).any(|name| name == wanted);
    each_variant(property).find(|value| known(value)).and_then(|value| value["const"].as_str())
}

/// The names of a value in other programs.
pub fn called_elsewhere_names(value: &Value) -> Vec<&str> {
    value[ALSO_CALLED].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The alternatives of a property. An optional parameter, and one that may be a list, has them one level down.
fn each_variant(property: &Value) -> impl Iterator<Item = &Value> {
    let below = property["anyOf"].as_array().into_iter().flatten().chain([&property["items"]]);
    let alternatives = below.flat_map(|any| any["oneOf"].as_array());
    property["oneOf"].as_array().into_iter().chain(alternatives).flatten()
}

fn unknown_key<'a>(unknown: &str, prefix: String, known: impl Iterator<Item = &'a str>) -> ParamError {
    let help = Some(nearest_name(unknown, known, "keys here"));
    ParamError { param: Some(prefix + unknown), message: format!("unknown key `{unknown}`"), help }
}

/// How the values of an enumeration are written: `vector`, `{ block: N }`. Empty for other types.
fn forms(property: &Value) -> Vec<String> {
    variants_with_schemas(property).into_iter().map(|(form, _)| form).collect()
}

/// Values of an enumeration as they are written, with their schemas.
pub fn variants_with_schemas(property: &Value) -> Vec<(String, &Value)> {
    each_variant(property).map(|v| (v["const"].as_str().map_or_else(|| written(v), str::to_owned), v)).collect()
}

/// How a value of a schema is written: `{ pca: { dim: N } }`.
fn written(schema: &Value) -> String {
    match schema["properties"].as_object() {
        Some(properties) => {
            let keys: Vec<String> =
                properties.iter().map(|(key, value)| format!("{key}: {}", written(value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        None if schema["type"] == "integer" || schema["type"] == "number" => "N".into(),
        None => "…".into(),
    }
}

fn needed(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer",
        "i8" | "i16" | "i32" | "i64" => "an integer",
        "f32" | "f64" => "a number",
        "a string" | "a borrowed string" | "path string" => "a string",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other if other.starts_with("struct") || other.starts_with("a map") => "a mapping of keys to values",
        other if other.starts_with("unit variant") || other.starts_with("enum") || other.contains("variant") => {
            "one of the known names"
        }
        other => other,
    }
}

fn found_words(found: &str) -> String {
    for (rust, plain) in
        [("string ", "the string "), ("integer ", "the number "), ("floating point ", "the number "), ("boolean ", "")]
    {
        if let Some(value) = found.strip_prefix(rust) {
            return format!("{plain}{}", value.trim_matches('`'));
        }
    }
    match found {
        "map" => "a mapping",
        "sequence" => "a list",
        "null" | "unit value" => "empty",
        other => other,
    }
    .to_owned()
}

/// The nearest of `names` to a misspelt one; None if none is near.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &str| 1 + name.chars().count() / 3;
    let (wrong, length) = (wrong.to_lowercase(), wrong.chars().count());
    names
        // A distance is at least the difference of the lengths, and takes memory for each pair of characters.
        .filter(|name| length.abs_diff(name.chars().count()) <= near(name))
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= near(name))
        .min()
        .map(|(_, name)| name)
}

/// Tells the nearest of `names` to a misspelt one, and all of them.
pub fn nearest_name<'a>(wrong: &str, names: impl Iterator<Item = &'a str>, what: &str) -> String {
    let names: Vec<&str> = names.collect();
    let all = names.join(", ");
    match nearest(wrong, names.into_iter()) {
        Some(name) => format!("did you mean `{name}`? {what}: {all}"),
        None => format!("{what}: {all}"),
    }
}

/// `key`: its description and range, from the schema.
fn describe(properties: Option<&Map<String, Value>>, key: &str) -> Option<String> {
    let property = properties?.get(key)?;
    let text = property.get("description")?.as_str()?.replace('\n', " ");
    let bound = |name: &str| property.get(name).filter(|b| b.is_number());
    let range = match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!(" From {low} to {high}."),
        _ => String::new(),
    };
    Some(format!("`{key}`: {text}{range}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn near_names_are_found_and_long_ones_take_no_memory() {
        let names = ["beam", "stages", "iterations"];
        assert_eq!(nearest("Stage", names.into_iter()), Some("stages"));
        assert_eq!(nearest("itertaion", names.into_iter()), Some("iterations"));
        assert_eq!(nearest("bits", names.into_iter()), None);
        // A table of this and a name would take gigabytes.
        assert_eq!(nearest(&"x".repeat(100 << 20), names.into_iter()), None);
    }
    use serde_json::json;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        /// Bits per component.
        #[schemars(range(min = 1, max = 8))]
        bits: u8,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        kind: Kind,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        LloydMax,
        #[schemars(extend("x-also-called" = ["linear", "even_steps"]))]
        Uniform,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Named {
        kind: Kind,
    }

    #[test]
    fn names_of_other_programs_lead_to_ours() {
        for (written, suggested) in [("linear", "uniform"), ("Even-Steps", "uniform"), ("lloydmax", "lloyd-max")] {
            let error = from_value::<Named>(json!({ "kind": written })).expect_err(written);
            let help = error.help.expect("a suggestion");
            assert!(help.starts_with(&format!("did you mean `{suggested}`? values: ")), "{help}");
        }
    }

    #[test]
    fn each_mistake_names_its_key_and_the_way_out() {
        for (value, param, message, help) in [
            (json!({"bitz": 1}), Some("bitz"), "unknown key `bitz`", "did you mean `bits`? keys here: bits, inner"),
            (json!({}), None, "the key `bits` is missing", "`bits`: Bits per component. From 1 to 8."),
            (
                json!({"bits": "eight"}),
                Some("bits"),
                "`bits` must be an integer, not the string \"eight\"",
                "`bits`: Bits per component. From 1 to 8.",
            ),
            (
                json!({"bits": 1, "inner": {"kind": "lloydmax"}}),
                Some("inner/kind"),
                "unknown value `lloydmax` for `kind`",
                "did you mean `lloyd-max`? values: lloyd-max, uniform",
            ),
            (
                json!({"bits": 1, "inner": {"kind": "uniform", "knd": 1}}),
                Some("inner/knd"),
                "unknown key `knd`",
                "did you mean `kind`? keys here: kind",
            ),
        ] {
            let error = from_value::<Sample>(value.clone()).expect_err("wrong");
            assert_eq!(error.param.as_deref(), param, "{value}");
            assert_eq!(error.message, message, "{value}");
            assert_eq!(error.help.as_deref(), Some(help), "{value}");
        }
    }
}
