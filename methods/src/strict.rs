//! Reading plain data strictly: an unknown, missing or ill-typed key is an error that names the key and what would
//! be right, taken from the type's own schema.

use crate::ParamError;
use crate::spec::schema_of;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads `T` from a JSON value.
///
/// # Errors
/// Names the key to blame (as a `/`-separated path below the value), what is wrong and what would be right.
pub fn from_value<T: DeserializeOwned + JsonSchema>(value: Value) -> Result<T, ParamError> {
    let schema = schema_of::<T>();
    let properties = schema.get("properties").and_then(Value::as_object);
    if let (Some(object), Some(properties)) = (value.as_object(), properties)
        && let Some(unknown) = object.keys().find(|key| !properties.contains_key(*key))
    {
        let help = nearest_name(unknown, properties.keys().map(String::as_str), "keys here");
        return Err(ParamError::new(unknown, format!("unknown key `{unknown}`"), help));
    }
    serde_path_to_error::deserialize::<_, T>(value).map_err(|error| {
        let path: Vec<String> =
            error.path().iter().map(|segment| segment.to_string().trim_matches(['[', ']']).to_owned()).collect();
        let text = error.inner().to_string();
        let key = path.first().map(String::as_str).filter(|key| *key != ".");
        let help = match text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            Some(missing) => describe(properties, missing),
            None => unknown_variant_help(&text).or_else(|| key.and_then(|key| describe(properties, key))),
        };
        ParamError { param: key.map(|_| path.join("/")), message: plain_words(key, &text), help }
    })
}

/// Tells the nearest of `names` to a misspelt one, or all of them.
pub fn nearest_name<'a>(wrong: &str, names: impl Iterator<Item = &'a str>, what: &str) -> String {
    let names: Vec<&str> = names.collect();
    let closest = names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 3)
        .min();
    let all = names.join(", ");
    match closest {
        Some((_, name)) => format!("did you mean `{name}`? {what}: {all}"),
        None => format!("{what}: {all}"),
    }
}

/// `key`: its description, range and default, from the schema.
fn describe(properties: Option<&serde_json::Map<String, Value>>, key: &str) -> Option<String> {
    let property = properties?.get(key)?;
    let mut text = format!("`{key}`: {}", property.get("description")?.as_str()?);
    if let (Some(low), Some(high)) = (property.get("minimum"), property.get("maximum")) {
        text += &format!(" From {low} to {high}.");
    }
    Some(text)
}

/// serde lists the variants in backticks after the wrong one.
fn unknown_variant_help(text: &str) -> Option<String> {
    let rest = text.strip_prefix("unknown variant `")?;
    let mut quoted = rest.split('`').step_by(2);
    let wrong = quoted.next()?;
    let names: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    Some(nearest_name(wrong, names.into_iter(), "values"))
}

/// serde's message in words that do not need Rust.
fn plain_words(key: Option<&str>, text: &str) -> String {
    let mut text = text.split(", expected one of").next().unwrap_or(text).to_owned();
    for (rust, plain) in [
        ("missing field", "missing key"),
        ("unknown variant", "unknown value"),
        ("invalid type: ", ""),
        ("invalid value: ", ""),
        ("floating point ", "the number "),
        ("integer ", "the number "),
        ("string ", "the text "),
        ("boolean ", "the flag "),
        ("map", "a mapping"),
        ("sequence", "a list"),
        ("expected a string", "a text is needed"),
        ("expected a boolean", "true or false is needed"),
        ("expected usize", "a whole number is needed"),
        ("expected u8", "a whole number from 0 to 255 is needed"),
        ("expected u32", "a whole number is needed"),
        ("expected u64", "a whole number is needed"),
        ("expected f64", "a number is needed"),
        ("expected a sequence", "a list is needed"),
        ("expected ", "needed is "),
    ] {
        text = text.replace(rust, plain);
    }
    match key {
        Some(key) => format!("`{key}`: {text}"),
        None => text,
    }
}
