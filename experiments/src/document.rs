//! A YAML document as plain data that remembers where each value stands.
//!
//! Values are JSON values; a place is a JSON pointer such as `/methods/1/pq/m`. Every later check, however far from
//! parsing, can so point at line and column. What a document takes in memory is bounded before it is taken: by the
//! length of its text, by the number of its values, and by the bytes that its aliases repeat.

use crate::fault::{Fault, Located};
use crate::units::ByteSize;
use datasets::{Source, regular};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// Limits on length, nesting and number of values; no experiment needs more, a malicious file might.
const MAX_TEXT: usize = 1 << 20;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 100_000;

/// Limit on the bytes of keys and texts; the expansion of an alias counts at each use.
const MAX_BYTES: usize = 4 << 20;

/// A parsed document. It may consist of several files; positions then count the bytes of all of them.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file itself, then those it includes.
    sources: Vec<SourceText>,
    value: Value,
    places: ValueLocation,
}

/// A file of a document.
#[derive(Clone, Debug)]
struct SourceText {
    name: String,
    text: String,
    /// Position of its first byte.
    start: usize,
}

/// The location of a value and of the values below it. A tree, so that its size grows with the document and not with
/// the length of pointers.
#[derive(Clone, Debug, Default)]
struct ValueLocation {
    key: Option<Range<usize>>,
    /// Only for scalars.
    value: Option<Range<usize>>,
    start: usize,
    below: Below,
}

#[derive(Clone, Debug, Default)]
enum Below {
    #[default]
    Nothing,
    Items(Vec<ValueLocation>),
    Keys(HashMap<String, ValueLocation>),
}

impl ValueLocation {
    /// Moves all positions.
    fn shift(&mut self, by: usize) {
        let moved = |range: &Range<usize>| range.start + by..range.end + by;
        self.key = self.key.as_ref().map(moved);
        self.value = self.value.as_ref().map(moved);
        self.start += by;
        match &mut self.below {
            Below::Nothing => {}
            Below::Items(items) => items.iter_mut().for_each(|item| item.shift(by)),
            Below::Keys(keys) => keys.values_mut().for_each(|below| below.shift(by)),
        }
    }

    /// The locations of the items of a list of this length, which may be written as a single value or as an alias.
    fn into_items(self, length: usize) -> Vec<ValueLocation> {
        match self.below {
            Below::Items(items) if items.len() == length => items,
            _ => vec![self; length],
        }
    }

    /// The child that a segment of a pointer names. A single value instead of a list is the first item of that list.
    fn child(&self, segment: &str) -> Option<&ValueLocation> {
        let found = match &self.below {
            Below::Nothing => None,
            Below::Items(items) => items.get(segment.parse::<usize>().ok()?),
            Below::Keys(keys) => keys.get(&unescape(segment)),
        };
        found.or((segment == "0").then_some(self))
    }
}

impl Document {
    /// Reads and parses the file at `path`, which errors call `name`.
    ///
    /// # Errors
    /// A file that cannot be read, is not a regular file or is too long, and those of [`Document::parse`].
    pub fn read(path: &Path, name: &str) -> Result<Document, Fault> {
        let refused = |error| {
            let help = "name an experiment file, such as experiments/quickstart.yaml";
            Fault::new(format!("cannot read {}: {error}", path.display()), help)
        };
        // One byte above the limit shows that there are too many.
        let bytes = regular::read(path, MAX_TEXT as u64 + 1).map_err(refused)?;
        if bytes.len() > MAX_TEXT {
            return Err(too_long(name));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Document::parse(name, &text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                Err(Fault::new(format!("{name} is not text: byte {at} is not UTF-8"), "save it as UTF-8"))
            }
        }
    }

    /// Parses one document. `name` is shown in errors.
    ///
    /// # Errors
    /// Malformed YAML, duplicate keys, merge keys, more than one document, excessive nesting or size.
    pub fn parse(name: &str, text: &str) -> Result<Document, Fault> {
        if text.len() > MAX_TEXT {
            return Err(too_long(name));
        }
        let source = SourceText { name: name.into(), text: text.into(), start: 0 };
        let mut document = Document { sources: vec![source], value: Value::Null, places: ValueLocation::default() };
        let mut builder = Builder {
            parser: Parser::new_from_str(text),
            bytes: text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect(),
            anchors: HashMap::new(),
            nodes: 0,
            held: 0,
        };
        match builder.document() {
            Ok((value, places)) => {
                (document.value, document.places) = (value, places);
                Ok(document)
            }
            Err(stop) => Err(Fault::at_bytes(&document, stop.bytes, stop.message, stop.help)),
        }
    }

    /// Reads the content as a `T`.
    ///
    /// # Errors
    /// A key that is unknown, missing, ill-typed or out of range: the error shows where and what would be right.
    pub fn read_into<T: DeserializeOwned + JsonSchema + 'static>(&self) -> Result<T, Fault> {
        strict::from_value(self.value.clone()).map_err(|error| {
            let pointer = error.param.map(|param| format!("/{param}")).unwrap_or_default();
            Fault::at(self, &pointer, error.message, error.help)
        })
    }

    /// As shown in errors.
    pub fn name(&self) -> &str {
        &self.sources[0].name
    }

    /// The text as it was read, without that of included files.
    pub fn text(&self) -> &str {
        &self.sources[0].text
    }

    /// The name of the file that a pointer's value comes from.
    pub(crate) fn name_at(&self, pointer: &str) -> &str {
        &self.source_at(self.locate(pointer).start).name
    }

    fn source_at(&self, position: usize) -> &SourceText {
        let after = self.sources.partition_point(|source| source.start <= position);
        &self.sources[after.saturating_sub(1)]
    }

    /// The position after all texts.
    fn end(&self) -> usize {
        self.sources.last().map_or(0, |last| last.start + last.text.len())
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, key: &str) {
        if let (Value::Object(map), Below::Keys(places)) = (&mut self.value, &mut self.places.below) {
            map.shift_remove(key);
            places.remove(key);
        }
    }

    /// Takes over those keys of another document that are `wanted`. Items of `lists` stand before those that are here
    /// already, keys of `mappings` are added to those here, and everything else is taken over only where it is absent
    /// here.
    ///
    /// # Errors
    /// Both together hold too much.
    pub(crate) fn absorb(
        &mut self,
        other: Document,
        wanted: impl Fn(&str) -> bool,
        lists: &[&str],
        mappings: &[&str],
    ) -> Result<(), Fault> {
        // One byte between two texts, so that the end of one is not the start of the next.
        let shift = self.end() + 1;
        let name = other.name().to_owned();
        self.sources.extend(other.sources.into_iter().map(|s| SourceText { start: s.start + shift, ..s }));
        let (Value::Object(theirs), Below::Keys(mut their_places)) = (other.value, other.places.below) else {
            return Ok(());
        };
        if let (Value::Object(own), Below::Keys(own_places)) = (&mut self.value, &mut self.places.below) {
            for (key, value) in theirs.into_iter().filter(|(key, _)| wanted(key)) {
                let mut place = their_places.remove(&key).unwrap_or_default();
                place.shift(shift);
                let here = own_places.entry(key.clone()).or_default();
                match own.get_mut(&key) {
                    Some(mine) if lists.contains(&key.as_str()) && !mine.is_null() => {
                        let (first, second) = (as_list(value), as_list(std::mem::take(mine)));
                        let mut items = place.into_items(first.len());
                        items.extend(std::mem::take(here).into_items(second.len()));
                        *here = ValueLocation { below: Below::Items(items), ..here.clone() };
                        *mine = Value::Array(first.into_iter().chain(second).collect());
                    }
                    Some(Value::Object(mine)) if mappings.contains(&key.as_str()) && value.is_object() => {
                        let (Value::Object(value), Below::Keys(mut below)) = (value, place.below) else { continue };
                        for (inner, value) in
                            value.into_iter().filter(|(inner, _)| !mine.contains_key(inner)).collect::<Vec<_>>()
                        {
                            if let (Some(place), Below::Keys(keys)) = (below.remove(&inner), &mut here.below) {
                                keys.insert(inner.clone(), place);
                            }
                            mine.insert(inner, value);
                        }
                    }
                    Some(mine) if !mine.is_null() => {}
                    _ => {
                        *here = place;
                        own.insert(key, value);
                    }
                }
            }
        }
        let (nodes, bytes) = cost(&self.value);
        if nodes > MAX_NODES || bytes > MAX_BYTES {
            let message =
                format!("with {name}, this experiment holds more than {MAX_NODES} values or {}", size(MAX_BYTES));
            return Err(Fault::new(message, "include less, or use `sweep` instead of long lists"));
        }
        Ok(())
    }

    /// Makes the relative paths of datasets start at the folder that holds `folder`.
    pub(crate) fn rebase_datasets(&mut self, folder: &Path) {
        let datasets = self.value.get_mut("datasets");
        match datasets {
            Some(Value::Array(items)) => items.iter_mut().for_each(|item| Source::rebase(item, folder)),
            Some(item) => Source::rebase(item, folder),
            None => {}
        }
    }

    /// The content.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The location of a pointer, or of its nearest known ancestor, and whether it is the former.
    fn place(&self, pointer: &str) -> (&ValueLocation, bool) {
        let mut place = &self.places;
        for segment in pointer.split('/').skip(1) {
            match place.child(segment) {
                Some(below) => place = below,
                None => return (place, false),
            }
        }
        (place, true)
    }

    /// The location of a pointer: a scalar at its value, anything else at its key, an unknown pointer at its nearest
    /// known ancestor.
    pub fn locate(&self, pointer: &str) -> Range<usize> {
        let (place, _) = self.place(pointer);
        let start = place.start.min(self.end());
        place.value.clone().or_else(|| place.key.clone()).unwrap_or(start..start)
    }

    /// The location of the key of a pointer.
    pub fn locate_key(&self, pointer: &str) -> Range<usize> {
        let (place, exact) = self.place(pointer);
        place.key.clone().filter(|_| exact).unwrap_or_else(|| self.locate(pointer))
    }
}

impl Located for Document {
    fn name(&self) -> &str {
        self.name()
    }

    fn text(&self) -> &str {
        self.text()
    }

    fn locate(&self, pointer: &str) -> Range<usize> {
        self.locate(pointer)
    }

    fn source(&self, bytes: Range<usize>) -> (&str, &str, Range<usize>) {
        let SourceText { name, text, start } = self.source_at(bytes.start);
        (name, text, bytes.start - start..bytes.end.saturating_sub(*start))
    }
}

/// A single value is a list of one.
fn as_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        value => vec![value],
    }
}

fn too_long(name: &str) -> Fault {
    let help = format!("an experiment file has at most {}; use `sweep` instead of long lists", size(MAX_TEXT));
    Fault::new(format!("{name} is too long"), help)
}

fn size(bytes: usize) -> ByteSize {
    ByteSize(bytes as u64)
}

/// Escapes a key for use in a pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

struct ParseStop {
    bytes: Range<usize>,
    message: String,
    help: Option<String>,
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Byte offset of each character.
    bytes: Vec<usize>,
    anchors: HashMap<usize, Value>,
    nodes: usize,
    /// Bytes of keys and texts so far.
    held: usize,
}

/// Values of a mapping, and where they stand.
type Mapping = (Map<String, Value>, HashMap<String, ValueLocation>);

impl<'t> Builder<'t> {
    fn byte(&self, marker: Marker) -> usize {
        self.bytes[marker.index().min(self.bytes.len() - 1)]
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.byte(span.start)..self.byte(span.end)
    }

    fn stop<T>(&self, span: Span, message: impl Into<String>, help: &str) -> Result<T, ParseStop> {
        Err(ParseStop { bytes: self.range(span), message: message.into(), help: Some(help.into()) })
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), ParseStop> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.byte(*error.marker());
                let help = "check indentation, brackets and quotes near here".to_owned();
                Err(ParseStop {
                    bytes: at..at,
                    message: format!("this is not valid YAML: {}", error.info()),
                    help: Some(help),
                })
            }
            None => Ok((Event::StreamEnd, Span::empty(Marker::default()))),
        }
    }

    fn document(&mut self) -> Result<(Value, ValueLocation), ParseStop> {
        let mut found = (Value::Null, ValueLocation::default());
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(found),
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return self.stop(span, "a second document starts here", "keep one experiment per file");
                    }
                    let (event, span) = self.next()?;
                    found = self.node(event, span, None, 0)?;
                }
                _ => {}
            }
        }
    }

    /// Counts what is about to be stored, and refuses what exceeds the limits.
    fn hold(&mut self, span: Span, nodes: usize, bytes: usize) -> Result<(), ParseStop> {
        (self.nodes, self.held) = (self.nodes + nodes, self.held + bytes);
        let aliases = "an alias counts as what it stands for; use `sweep` instead of long lists";
        if self.nodes > MAX_NODES {
            return self.stop(span, format!("this document holds more than {MAX_NODES} values"), aliases);
        }
        if self.held > MAX_BYTES {
            return self.stop(span, format!("this document holds more than {} of text", size(MAX_BYTES)), aliases);
        }
        Ok(())
    }

    fn node(
        &mut self,
        event: Event<'t>,
        span: Span,
        key: Option<Range<usize>>,
        depth: usize,
    ) -> Result<(Value, ValueLocation), ParseStop> {
        if depth > MAX_DEPTH {
            let message = format!("this document has more than {MAX_DEPTH} levels of nesting");
            return self.stop(span, message, "an experiment file needs only a few");
        }
        self.hold(span, 1, 0)?;
        let start = self.byte(span.start);
        let scalar = matches!(event, Event::Scalar(..) | Event::Alias(_)).then(|| self.range(span));
        let (value, below, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                self.hold(span, 0, text.len())?;
                (scalar_value(&text, style), Below::Nothing, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let (mut items, mut places) = (Vec::new(), Vec::new());
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    let (item, place) = self.node(event, span, None, depth + 1)?;
                    items.push(item);
                    places.push(place);
                }
                (Value::Array(items), Below::Items(places), anchor)
            }
            Event::MappingStart(anchor, _) => {
                let (map, places) = self.mapping(depth)?;
                (Value::Object(map), Below::Keys(places), anchor)
            }
            Event::Alias(anchor) => {
                // The expansion of an alias counts before it is expanded: nested aliases, and aliases of long texts,
                // would multiply without bound.
                let cost = self.anchors.get(&anchor).map(cost);
                let Some((nodes, bytes)) = cost else {
                    let help = "define the anchor before its use";
                    return self.stop(span, "this alias refers to itself or to an unknown anchor", help);
                };
                self.hold(span, nodes, bytes)?;
                (self.anchors.get(&anchor).cloned().unwrap_or_default(), Below::Nothing, 0)
            }
            other => return self.stop(span, format!("unexpected {other:?}"), "this should be a value"),
        };
        if anchor > 0 {
            // The copy that is kept for aliases counts too.
            let (nodes, bytes) = cost(&value);
            self.hold(span, nodes, bytes)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok((value, ValueLocation { key, value: scalar, start, below }))
    }

    fn mapping(&mut self, depth: usize) -> Result<Mapping, ParseStop> {
        let (mut map, mut places) = (Map::new(), HashMap::new());
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok((map, places)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return self.stop(span, "a key must be plain text", "write `key: value`"),
            };
            if key == "<<" {
                return self.stop(span, "merge keys (`<<`) are not supported", "repeat the keys, or use `sweep`");
            }
            if map.contains_key(&key) {
                return self.stop(span, format!("the key `{key}` is repeated"), "keep one of the two");
            }
            self.hold(span, 0, key.len())?;
            let range = self.range(span);
            let (event, span) = self.next()?;
            let (value, place) = self.node(event, span, Some(range), depth + 1)?;
            map.insert(key.clone(), value);
            places.insert(key, place);
        }
    }
}

/// Values, and bytes of keys and texts, in a value.
pub(crate) fn cost(value: &Value) -> (usize, usize) {
    let sum = |(nodes, bytes): (usize, usize), (more, key): (&Value, usize)| {
        let (n, b) = cost(more);
        (nodes + n, bytes + b + key)
    };
    match value {
        Value::Array(items) => items.iter().map(|item| (item, 0)).fold((1, 0), sum),
        Value::Object(map) => map.iter().map(|(key, value)| (value, key.len())).fold((1, 0), sum),
        Value::String(text) => (1, text.len()),
        _ => (1, 0),
    }
}

/// The core schema of YAML 1.2, except that infinities and NaN stay text: no experiment needs them.
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

/// Characters that end a line in YAML 1.1 but not in YAML 1.2. The writer follows the former, the reader the latter.
const OLD_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Writes plain data as YAML that reads back as the same data.
pub fn to_yaml(value: &Value) -> String {
    let json = value.to_string();
    if json.contains(OLD_BREAKS) {
        // JSON is also YAML, and can escape them.
        let escape = |text: String, old: char| text.replace(old, &format!("\\u{:04x}", u32::from(old)));
        return OLD_BREAKS.into_iter().fold(json, escape);
    }
    match serde_yaml::to_string(value) {
        Ok(text) => text,
        Err(error) => unreachable!("JSON values are YAML: {error}"),
    }
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
        let long_alias = format!("a: &a {}\nb: [{}]\n", "s".repeat(100_000), vec!["*a"; 90_000].join(","));
        let long_text = format!("a: [{}]\n", vec!["0"; 1 << 20].join(","));
        for (text, expected) in [
            ("a: 1\na: 2\n", "is repeated"),
            ("a: [1, 2\nb: 3", "not valid YAML"),
            ("base: &b {x: 1}\nmore:\n  <<: *b\n", "merge keys"),
            ("a: 1\n---\nb: 2\n", "second document"),
            (deep.as_str(), "more than 32 levels of nesting"),
            (bomb.as_str(), "holds more than 100000 values"),
            (long_alias.as_str(), "holds more than 4MiB of text"),
            (long_text.as_str(), "is too long"),
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

    #[test]
    fn places_take_as_much_as_the_document_whatever_the_length_of_its_keys() {
        // As pointers, each of the values would hold the key: 9 GB.
        let key = "k/~".repeat(33_000);
        let text = format!("? \"{key}\"\n: [{}]\n", vec!["0"; 90_000].join(","));
        let document = Document::parse("t.yaml", &text).expect("within all bounds");
        let pointer = format!("/{}/89999", escape(&key));
        assert_eq!(&text[document.locate(&pointer)], "0");
        assert_eq!(document.locate(&pointer).end, text.trim_end().len() - 1);
    }

    /// Strings that YAML would read as something else if written without quotes.
    const HOSTILE: [&str; 47] = [
        "",
        " ",
        "~",
        "null",
        "Null",
        "no",
        "No",
        "yes",
        "on",
        "off",
        "y",
        "true",
        "False",
        "1e3",
        "1E+3",
        ".5",
        "5.",
        "+1",
        "-0",
        "007",
        "0x1F",
        "+0x1F",
        "0o17",
        "1_000",
        "18446744073709551616",
        ".inf",
        "-.Inf",
        ".nan",
        "NaN",
        "1:30",
        "2024-01-01",
        "<<",
        "=",
        "---",
        "- a",
        "a: b",
        "a #b",
        " leading",
        "trailing ",
        "two\nlines",
        "  indented\n first\n\n",
        "\n",
        "tab\t",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "a\u{2029}\nb",
    ];

    #[test]
    fn hostile_texts_read_back_as_values_and_as_keys() {
        for text in HOSTILE {
            let mut value = json!({ "a": text, "b": [text, { "c": text }] });
            if text != "<<" {
                value[text] = json!(1);
            }
            let written = to_yaml(&value);
            let back =
                Document::parse("t.yaml", &written).unwrap_or_else(|fault| panic!("{text:?}: {fault}\n{written}"));
            assert_eq!(back.value(), &value, "{text:?}:\n{written}");
        }
        // To the last bit, however long.
        for number in [f64::MIN_POSITIVE, 5e-324, f64::MAX, 0.1 + 0.2, 1e22, -0.0, 1.0 / 3.0] {
            let written = to_yaml(&json!({ "a": number }));
            let back = Document::parse("t.yaml", &written).unwrap_or_else(|fault| panic!("{number}: {fault}"));
            assert_eq!(back.value()["a"].as_f64().map(f64::to_bits), Some(number.to_bits()), "{written}");
        }
    }

    fn plain_data() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~é]{0,12}".prop_map(Value::from),
            "[-+.0-9eExo_~:#&*!|>'\"%@`,? \t\n]{0,8}".prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            prop::sample::select(&HOSTILE[..]).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z :#0-9-]{1,8}|[ -;=-~\\n]{0,6}", inner, 0..4)
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
