//! A YAML document as plain data that remembers where each value stands.
//!
//! Values are JSON values; a place is a JSON pointer such as `/methods/1/pq/m`. Every later check, however far from
//! parsing, can so point at line and column.

use crate::fault::Fault;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::ops::Range;

/// Nesting and size beyond which a document is refused: no experiment needs them, a hostile file might.
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 100_000;

/// A parsed document.
#[derive(Clone, Debug)]
pub struct Document {
    name: String,
    text: String,
    value: Value,
    places: HashMap<String, Place>,
}

#[derive(Clone, Debug)]
struct Place {
    key: Option<Range<usize>>,
    /// Only for scalars.
    value: Option<Range<usize>>,
    start: usize,
}

impl Document {
    /// Parses one document. `name` is shown in errors.
    ///
    /// # Errors
    /// Malformed YAML, duplicate keys, merge keys, more than one document, excessive nesting.
    pub fn parse(name: &str, text: &str) -> Result<Document, Fault> {
        let document = Document { name: name.into(), text: text.into(), value: Value::Null, places: HashMap::new() };
        let mut builder = Builder {
            parser: Parser::new_from_str(text),
            bytes: text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect(),
            places: HashMap::new(),
            anchors: HashMap::new(),
            nodes: 0,
        };
        match builder.document() {
            Ok(value) => Ok(Document { value, places: builder.places, ..document }),
            Err(stop) => Err(Fault::at_bytes(&document, stop.bytes, stop.message, stop.help)),
        }
    }

    /// As shown in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The content.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where a pointer stands: a scalar at its value, anything else at its key, an unknown pointer where its nearest
    /// known ancestor stands.
    pub fn locate(&self, pointer: &str) -> Range<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                let start = place.start.min(self.text.len());
                return place.value.clone().or_else(|| place.key.clone()).unwrap_or(start..start);
            }
            match pointer.rfind('/') {
                Some(cut) => pointer = &pointer[..cut],
                None => return 0..0,
            }
        }
    }

    /// Where the key of a pointer stands.
    pub fn locate_key(&self, pointer: &str) -> Range<usize> {
        self.places.get(pointer).and_then(|p| p.key.clone()).unwrap_or_else(|| self.locate(pointer))
    }
}

/// Escapes a key for use in a pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

struct Stop {
    bytes: Range<usize>,
    message: String,
    help: Option<String>,
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Byte offset of each character.
    bytes: Vec<usize>,
    places: HashMap<String, Place>,
    anchors: HashMap<usize, Value>,
    nodes: usize,
}

impl<'t> Builder<'t> {
    fn byte(&self, marker: Marker) -> usize {
        self.bytes[marker.index().min(self.bytes.len() - 1)]
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.byte(span.start)..self.byte(span.end)
    }

    fn stop<T>(&self, span: Span, message: impl Into<String>, help: &str) -> Result<T, Stop> {
        Err(Stop { bytes: self.range(span), message: message.into(), help: Some(help.into()) })
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.byte(*error.marker());
                let help = "check indentation, brackets and quotes near this place".to_owned();
                Err(Stop {
                    bytes: at..at,
                    message: format!("this is not valid YAML: {}", error.info()),
                    help: Some(help),
                })
            }
            None => Ok((Event::StreamEnd, Span::empty(Marker::default()))),
        }
    }

    fn document(&mut self) -> Result<Value, Stop> {
        let mut value = Value::Null;
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(value),
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return self.stop(span, "a second document starts here", "keep one experiment per file");
                    }
                    let (event, span) = self.next()?;
                    value = self.node(event, span, String::new(), None, 0)?;
                }
                _ => {}
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'t>,
        span: Span,
        pointer: String,
        key: Option<Range<usize>>,
        depth: usize,
    ) -> Result<Value, Stop> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return self.stop(
                span,
                "this document is nested too deeply or too large",
                "an experiment file is small and flat",
            );
        }
        let start = self.byte(span.start);
        let scalar = matches!(event, Event::Scalar(..) | Event::Alias(_)).then(|| self.range(span));
        self.places.insert(pointer.clone(), Place { key, value: scalar, start });
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar_value(&text, style), anchor),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    let pointer = format!("{pointer}/{}", items.len());
                    items.push(self.node(event, span, pointer, None, depth + 1)?);
                }
                (Value::Array(items), anchor)
            }
            Event::MappingStart(anchor, _) => (self.mapping(&pointer, depth)?, anchor),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(value) => {
                    // An alias costs what it stands for, so that nested aliases cannot multiply without bound.
                    let value = value.clone();
                    self.nodes += count(&value);
                    (value, 0)
                }
                None => {
                    return self.stop(
                        span,
                        "this alias refers to itself or to nothing",
                        "define the anchor before its use",
                    );
                }
            },
            other => return self.stop(span, format!("unexpected {other:?}"), "this should be a value"),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn mapping(&mut self, pointer: &str, depth: usize) -> Result<Value, Stop> {
        let mut map = Map::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(map)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return self.stop(span, "a key must be plain text", "write `key: value`"),
            };
            if key == "<<" {
                return self.stop(span, "merge keys (`<<`) are not supported", "repeat the keys, or use `sweep`");
            }
            if map.contains_key(&key) {
                return self.stop(
                    span,
                    format!("the key `{key}` stands here for the second time"),
                    "keep one of the two",
                );
            }
            let range = self.range(span);
            let (event, span) = self.next()?;
            let value = self.node(event, span, format!("{pointer}/{}", escape(&key)), Some(range), depth + 1)?;
            map.insert(key, value);
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// The core schema of YAML 1.2; infinities and NaN have no place in an experiment and stay text.
fn scalar_value(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.into());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Value::String(text.into());
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    let radix = |prefix: &str, radix: u32| text.strip_prefix(prefix).and_then(|d| u64::from_str_radix(d, radix).ok());
    if let Some(number) =
        plain.parse::<i64>().ok().map(Number::from).or_else(|| plain.parse::<u64>().ok().map(Number::from))
    {
        return Value::Number(number);
    }
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Value::Number(number.into());
    }
    match plain.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::String(text.into()),
    }
}

/// Writes plain data as block YAML that reads back as the same data.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    write_yaml(value, 0, &mut text);
    text
}

fn write_yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let nested = matches!(value, Value::Object(m) if !m.is_empty())
                    || matches!(value, Value::Array(a) if is_block(a));
                *out += &format!("{pad}{}:{}", yaml_text(key), if nested { "\n" } else { " " });
                write_yaml(value, if nested { indent + 1 } else { 0 }, out);
            }
        }
        Value::Array(items) if is_block(items) => {
            for item in items {
                let mut inner = String::new();
                write_yaml(item, indent + 1, &mut inner);
                *out += &format!("{pad}- {}", inner.trim_start());
            }
        }
        Value::String(text) => *out += &format!("{}\n", yaml_text(text)),
        other => *out += &format!("{other}\n"),
    }
}

/// Lists of scalars stay on one line (JSON is YAML); lists of mappings do not.
fn is_block(items: &[Value]) -> bool {
    items.iter().any(|item| item.is_object() || item.is_array())
}

fn yaml_text(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_/.".contains(c))
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && scalar_value(text, ScalarStyle::Plain).is_string();
    if plain { text.to_owned() } else { Value::String(text.into()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn values_follow_the_core_schema_and_places_are_bytes() {
        let text = "name: é\nseeds: [1, -2, 0x10, 1e-3]\nquoted: \"1\"\nnested:\n  - pq: { m: 16 }\nempty:\n";
        let document = Document::parse("t.yaml", text).expect("valid");
        let expected = json!({
            "name": "é", "seeds": [1, -2, 16, 0.001], "quoted": "1", "nested": [{"pq": {"m": 16}}], "empty": null
        });
        assert_eq!(document.value(), &expected);
        assert_eq!(&text[document.locate("/nested/0/pq/m")], "16");
        assert_eq!(&text[document.locate_key("/nested/0/pq/m")], "m");
        assert_eq!(&text[document.locate("/nested/0/pq")], "pq");
        assert_eq!(&text[document.locate("/nested/0/pq/absent")], "pq");
        assert_eq!(&text[document.locate("/seeds/1")], "-2");
    }

    #[test]
    fn what_yaml_allows_and_an_experiment_should_not_is_refused() {
        let deep = format!("a: {}1{}", "[".repeat(100), "]".repeat(100));
        let bomb = format!(
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n{}",
            (1..9)
                .map(|i| {
                    let previous = if i == 1 { "a".to_owned() } else { format!("b{}", i - 1) };
                    format!("b{i}: &b{i} [{}]\n", vec![format!("*{previous}"); 10].join(","))
                })
                .collect::<String>()
        );
        for (text, expected) in [
            ("a: 1\na: 2\n", "second time"),
            ("a: [1, 2\nb: 3", "not valid YAML"),
            ("base: &b {x: 1}\nmore:\n  <<: *b\n", "merge keys"),
            ("a: 1\n---\nb: 2\n", "second document"),
            (deep.as_str(), "nested too deeply"),
            (bomb.as_str(), "too large"),
            ("a: *nothing", "not valid YAML"),
            ("? [1]\n: 2\n", "a key must be plain text"),
        ] {
            let fault = Document::parse("t.yaml", text).expect_err("refused");
            assert!(fault.to_string().contains(expected), "{text:?}: {fault}");
        }
        assert_eq!(
            Document::parse("t", "a: &x [1, 2]\nb: *x").expect("aliases work").value(),
            &json!({"a": [1, 2], "b": [1, 2]})
        );
    }

    fn plain_data() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~é]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z :#0-9-]{1,8}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn written_yaml_reads_back(data in prop::collection::hash_map("[a-z]{1,6}", plain_data(), 1..4)) {
            let value = Value::Object(data.into_iter().collect());
            let text = to_yaml(&value);
            let back = Document::parse("t.yaml", &text).map_err(|f| TestCaseError::fail(format!("{f}\n{text}")))?;
            prop_assert_eq!(back.value(), &value, "{}", text);
        }

        #[test]
        fn random_text_never_panics(text in "[ -~\n\t\u{e9}&*:\\-\\[\\]{}]{0,120}") {
            let _ = Document::parse("t.yaml", &text);
        }
    }
}
