//! A single value instead of a list means a list of that value: `k: 10` is the same as `k: [10]`.
//!
//! Both sides use the schema: reading turns the value into a list, and the schema for editors allows both forms.

use serde_json::{Value, json};

/// Turns every single value into a list where `schema` requires a list.
pub fn wrap(value: Value, schema: &Value) -> Value {
    if let Some(items) = items(schema)
        && !value.is_null()
        && !value.is_array()
    {
        return Value::Array(vec![wrap(value, items)]);
    }
    match value {
        Value::Array(values) => match items(schema) {
            Some(items) => values.into_iter().map(|value| wrap(value, items)).collect(),
            None => Value::Array(values),
        },
        Value::Object(map) => {
            let below = |(key, value): (String, Value)| {
                let value = match property(schema, &key) {
                    Some(schema) => wrap(value, schema),
                    None => value,
                };
                (key, value)
            };
            Value::Object(map.into_iter().map(below).collect())
        }
        other => other,
    }
}

/// The schema of the items, if `schema` allows only a list.
fn items(schema: &Value) -> Option<&Value> {
    let list = |kind: &Value| kind == "array";
    let list_or_null = |kinds: &Vec<Value>| kinds.iter().any(list) && kinds.iter().all(|k| list(k) || k == "null");
    let kind = &schema["type"];
    (list(kind) || kind.as_array().is_some_and(list_or_null)).then(|| &schema["items"])
}

/// The schema of a key, in a mapping or in one of its variants.
fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    if let Some(found) = schema["properties"].get(key) {
        return Some(found);
    }
    let forms = ["anyOf", "oneOf"].into_iter().filter_map(|forms| schema[forms].as_array());
    forms.flatten().find_map(|form| property(form, key))
}

/// Schemas larger than this many bytes are referred to instead of repeated.
const LONG: usize = 400;

/// Allows a single value instead of every list in the schema of a document.
pub fn allow_single(schema: &mut Value) {
    allow(schema, "#");
}

/// Like [`allow_single`], for the part of the schema at `pointer`.
fn allow(schema: &mut Value, pointer: &str) {
    if let Some(single) = items(schema).cloned()
        && let Some(map) = schema.as_object_mut()
    {
        // What describes the key stays with it; what describes the list moves with the list.
        let mut list = json!({});
        let nullable = map.get("type").is_some_and(Value::is_array);
        for key in ["items", "minItems", "maxItems", "uniqueItems"] {
            if let Some(found) = map.shift_remove(key) {
                list[key] = found;
            }
        }
        list["type"] = json!("array");
        map.shift_remove("type");
        let reference = json!({ "$ref": format!("{pointer}/anyOf/0/items") });
        let single = if single.to_string().len() < LONG { single } else { reference };
        let null = nullable.then(|| json!({ "type": "null" }));
        let forms: Vec<Value> = [list, single].into_iter().chain(null).collect();
        map.insert("anyOf".to_owned(), Value::Array(forms));
        // It is a list now, and must stay one.
        allow(&mut schema["anyOf"][0]["items"], &format!("{pointer}/anyOf/0/items"));
        return;
    }
    match schema {
        Value::Array(schemas) => {
            schemas.iter_mut().enumerate().for_each(|(i, schema)| allow(schema, &format!("{pointer}/{i}")));
        }
        Value::Object(map) => {
            map.iter_mut().for_each(|(key, schema)| allow(schema, &format!("{pointer}/{key}")));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_value;
    use crate::schema_of;
    use schemars::JsonSchema;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    struct Lists {
        k: Vec<usize>,
        #[serde(default)]
        levels: Option<Vec<u16>>,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        either: Option<Either>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    struct Inner {
        names: Vec<String>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Either {
        Sizes { of: Vec<usize> },
        Nothing,
    }

    #[test]
    fn one_value_is_a_list_of_one_wherever_a_list_is_meant() {
        let read = |value: Value| from_value::<Lists>(value).expect("valid");
        let alone = json!({ "k": 10, "levels": 5, "inner": { "names": "a" }, "either": { "sizes": { "of": 3 } } });
        let listed =
            json!({ "k": [10], "levels": [5], "inner": [{ "names": ["a"] }], "either": { "sizes": { "of": [3] } } });
        assert_eq!(read(alone.clone()), read(listed.clone()));
        assert_eq!(read(json!({ "k": [], "levels": null, "either": "nothing" })).levels, None);
        let error = from_value::<Lists>(json!({ "k": "ten" })).expect_err("a text").message;
        assert!(error.contains("`k` must be an integer, not the string"), "{error}");
    }

    #[test]
    fn the_schema_allows_what_is_read() {
        let mut schema = Value::from(schema_of::<Lists>());
        allow_single(&mut schema);
        let forms = |schema: &Value| schema["anyOf"].as_array().map_or(0, Vec::len);
        assert_eq!((forms(&schema["properties"]["k"]), forms(&schema["properties"]["levels"])), (2, 3));
        let inner = &schema["properties"]["inner"]["anyOf"];
        assert_eq!(forms(&inner[0]["items"]["properties"]["names"]), 2);
        let mut long =
            json!({ "properties": { "a": { "type": "array", "items": { "description": "x".repeat(LONG) } } } });
        allow_single(&mut long);
        let reference = long["properties"]["a"]["anyOf"][1]["$ref"].as_str().expect("a reference");
        assert!(long.pointer(reference.trim_start_matches('#')).is_some_and(|found| found["description"].is_string()));
    }
}
