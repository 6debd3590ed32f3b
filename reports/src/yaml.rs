//! Values as YAML in one line, for parameters of methods and settings in texts that a reader may copy.

use serde_json::Value;

/// A value in YAML's flow style, on one line.
pub fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".into(),
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Words that YAML reads as something other than text.
const NOT_TEXT: [&str; 10] = ["true", "false", "yes", "no", "y", "n", "on", "off", "null", "nan"];

/// A text in YAML: bare if that is safe, otherwise as in JSON, whose strings are strings of YAML too.
pub fn scalar(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        && !NOT_TEXT.contains(&text.to_lowercase().as_str());
    if word { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_in_one_line() {
        for (value, expected) in [
            (json!({ "bits": 8, "init": "k-means", "off": null }), "{ bits: 8, init: k-means, \"off\": null }"),
            (json!([1, "10s", "yes", "", "a: b # c"]), "[1, \"10s\", \"yes\", \"\", \"a: b # c\"]"),
            (json!({ "mlp": { "hidden": 128 }, "none": {} }), "{ mlp: { hidden: 128 }, none: {} }"),
            (json!("line\nbreak \"q\""), "\"line\\nbreak \\\"q\\\"\""),
        ] {
            assert_eq!(flow(&value), expected);
        }
    }
}
