//! Ranges of numbers and lengths of lists, as the schema of a type gives them: the one place where a range is written is the type.

use crate::{ParamError, schema_once};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Checks every number of `value` against the range that the schema of its type gives.
///
/// # Errors
/// Names the first number that is out of range or NaN, and the range.
///
/// # Panics
/// If `T` cannot be represented as JSON, such as a map whose keys are not strings. Such a type is a bug.
pub fn check_ranges<T: Serialize + JsonSchema + 'static>(value: &T) -> Result<(), ParamError> {
    match serde_json::to_value(value) {
        Ok(value) => check(&value, schema_once::<T>().as_value()),
        Err(error) => panic!("parameters are plain data: {error}"),
    }
}

/// The same for a JSON value.
pub(crate) fn check(value: &Value, schema: &Value) -> Result<(), ParamError> {
    walk(value, schema, &mut Vec::new())
}

fn walk<'v>(value: &'v Value, schema: &'v Value, path: &mut Vec<&'v str>) -> Result<(), ParamError> {
    within(value, schema, path)?;
    match value {
        Value::Object(map) => {
            let keyed = |key: &str| property(schema, key);
            for (key, below) in map {
                if let Some(schema) = keyed(key) {
                    path.push(key);
                    walk(below, schema, path)?;
                    path.pop();
                }
            }
        }
        Value::Array(values) => {
            if let Some(least) = schema["minItems"].as_u64().filter(|&least| (values.len() as u64) < least) {
                let name = path.join("/");
                let help = if least == 1 { "list at least one".to_owned() } else { format!("list at least {least}") };
                let message = match values.len() {
                    0 => format!("`{name}` is empty"),
                    count => format!("`{name}` has only {count} items"),
                };
                return Err(ParamError::new(&name, message, help));
            }
            for value in values {
                walk(value, &schema["items"], path)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The schema of a property, in any of the alternatives of `schema`.
fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let own = schema["properties"].get(key);
    own.or_else(|| alternatives(schema).find_map(|alternative| property(alternative, key)))
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().flat_map(|any| schema[any].as_array().into_iter().flatten())
}

fn within(value: &Value, schema: &Value, path: &[&str]) -> Result<(), ParamError> {
    let bound = |name: &str| {
        schema[name].as_f64().or_else(|| alternatives(schema).find_map(|alternative| alternative[name].as_f64()))
    };
    let (low, high) = (bound("minimum"), bound("maximum"));
    if low.is_none() && high.is_none() {
        return Ok(());
    }
    // JSON represents non-finite numbers as null; if null is a valid value here, it means that.
    let found = match value {
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::Null if !may_be_null(schema) => f64::NAN,
        _ => return Ok(()),
    };
    if low.is_none_or(|low| found >= low) && high.is_none_or(|high| found <= high) && !found.is_nan() {
        return Ok(());
    }
    let name = path.join("/");
    let shown = if found.is_nan() { "NaN".to_owned() } else { found.to_string() };
    let help = match (low, high) {
        (Some(low), Some(high)) => format!("use {low} to {high}"),
        (Some(low), None) => format!("use {low} or more"),
        (None, high) => format!("use at most {}", high.unwrap_or_default()),
    };
    let key = if name.is_empty() { shown.clone() } else { format!("{name}: {shown}") };
    Err(ParamError {
        param: (!name.is_empty()).then_some(name),
        message: format!("`{key}` is out of range"),
        help: Some(help),
    })
}

fn may_be_null(schema: &Value) -> bool {
    let null = |kind: &Value| kind == "null";
    let kind = &schema["type"];
    null(kind) || kind.as_array().is_some_and(|kinds| kinds.iter().any(null)) || alternatives(schema).any(may_be_null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_value;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[schemars(range(min = 1, max = 8))]
        bits: u8,
        #[schemars(range(min = 0.5, max = 2.0))]
        share: Option<f64>,
        #[schemars(length(min = 1), inner(range(min = 2, max = 4)))]
        list: Vec<usize>,
        scope: Scope,
        inner: Option<Inner>,
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Scope {
        Vector,
        Block(#[schemars(range(min = 1))] usize),
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Inner {
        #[schemars(range(min = 0.0, max = 1.0))]
        decay: f64,
    }

    fn sample() -> Sample {
        Sample { bits: 8, share: None, list: vec![2, 4], scope: Scope::Vector, inner: None }
    }

    #[test]
    fn every_number_is_held_to_its_range_wherever_it_stands() {
        assert_eq!(check_ranges(&sample()), Ok(()));
        for (wrong, param, message, help) in [
            (Sample { bits: 9, ..sample() }, "bits", "`bits: 9` is out of range", "use 1 to 8"),
            (Sample { share: Some(0.1), ..sample() }, "share", "`share: 0.1` is out of range", "use 0.5 to 2"),
            (Sample { list: vec![3, 5], ..sample() }, "list", "`list: 5` is out of range", "use 2 to 4"),
            (Sample { list: vec![], ..sample() }, "list", "`list` is empty", "list at least one"),
            (
                Sample { scope: Scope::Block(0), ..sample() },
                "scope/block",
                "`scope/block: 0` is out of range",
                "use 1 or more",
            ),
            (
                Sample { inner: Some(Inner { decay: f64::NAN }), ..sample() },
                "inner/decay",
                "`inner/decay: NaN` is out of range",
                "use 0 to 1",
            ),
        ] {
            let error = check_ranges(&wrong).expect_err(message);
            assert_eq!((error.param.as_deref(), error.message.as_str()), (Some(param), message));
            assert_eq!(error.help.as_deref(), Some(help));
        }
    }

    #[test]
    fn reading_holds_to_ranges_too() {
        let written = json!({ "bits": 0, "list": [2], "scope": "vector" });
        let error = from_value::<Sample>(written).expect_err("bits from 1");
        assert_eq!(error.param.as_deref(), Some("bits"));
    }
}
