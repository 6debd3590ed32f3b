//! A YAML document as plain data that remembers where each value stands.
//!
//! Values are JSON values; a place is a JSON pointer such as `/methods/1/pq/m`. Every later check, however far from
//! parsing, can so point at line and column. What a document takes in memory is bounded before it is taken: by the
//! length of its text, by the number of its values, and by the bytes that its aliases repeat.

mod absorb;

use crate::fault::{Fault, Located};
use crate::units::ByteSize;
use datasets::regular;
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
mod tests;
