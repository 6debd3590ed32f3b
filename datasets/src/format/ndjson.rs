//! NDJSON, one JSON value per line: an array of numbers, or an object with such an array under a key.

use super::columns::{Holds, TableColumn, Vectors, choose};
use super::input::Input;
use super::text::{Records, count, list, start};
use super::{Format, OpenFile, RowReader, number::BUFFER_BYTES, row_names};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io::{BufReader, Seek};

/// A line end always ends the record.
const QUOTES: bool = false;

pub struct Ndjson;

/// An error of the JSON parser, with its column.
fn malformed(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("column {}: {what}", error.column())
}

/// Finds the value of a key in an object, as unparsed text.
struct Under<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Under<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Under<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "an object with the key `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Key(key)) = map.next_key()? {
            if key != self.0 {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom(format!("the key `{}` stands here twice", self.0)));
            }
        }
        Ok(found)
    }
}

/// A key; borrowed from the line if it is written without escapes.
#[derive(serde::Deserialize)]
struct Key<'k>(#[serde(borrow)] Cow<'k, str>);

/// The keys of an object with the types of their values.
struct KeyTypes;

impl<'de> Visitor<'de> for KeyTypes {
    type Value = Vec<TableColumn>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object, or an array of numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut columns = Vec::new();
        while let Some((Key(name), value)) = map.next_entry::<Key, &RawValue>()? {
            let lists = list(value.get(), &mut Vec::new()).is_ok();
            let holds = if lists { Holds::Vectors } else { Holds::Other };
            let kind = match value.get().as_bytes().first() {
                Some(b'[') => "array",
                Some(b'{') => "object",
                Some(b'"') => "text",
                Some(b't' | b'f') => "true or false",
                Some(b'n') => "null",
                _ => "number",
            };
            columns.push(TableColumn { name: name.into_owned(), kind: kind.to_owned(), holds });
        }
        Ok(columns)
    }
}

/// The text of the array in a line: the whole line, or the value of a key.
fn array<'t>(text: &'t str, key: Option<&str>) -> Result<&'t str, String> {
    let Some(key) = key else {
        let array: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        return Ok(array.get());
    };
    under(text, key)
}

/// The value of a key of an object, as text of JSON.
pub(super) fn under<'t>(text: &'t str, key: &str) -> Result<&'t str, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = Under(key).deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    found.map_err(|error| malformed(&error))?.map(RawValue::get).ok_or_else(|| format!("it has no key `{key}`"))
}

/// The chosen key, and the number of components of the first row.
fn first(file: &mut OpenFile) -> Result<(Option<String>, usize), String> {
    let part = file.place.part.clone();
    let mut records = start(file, QUOTES)?;
    if !records.next()? {
        return Err("it holds no lines".to_owned());
    }
    let text = records.text()?;
    let key = if text.trim_ascii_start().starts_with('[') {
        match part {
            None => None,
            Some(part) => return Err(format!("its lines are arrays, which have no name; leave out `#{part}`")),
        }
    } else {
        let mut json = serde_json::Deserializer::from_str(text);
        let columns = json.deserialize_map(KeyTypes).map_err(|error| records.wrong(&malformed(&error)))?;
        match choose(&columns, part.as_deref())? {
            Vectors::Lists(at) => Some(columns[at].name.clone()),
            Vectors::Components(_) => return Err("its components are not in a list".to_owned()),
        }
    };
    let dim = array(text, key.as_deref()).and_then(|array| list(array, &mut Vec::new()));
    Ok((key, dim.map_err(|what| records.wrong(&what))?))
}

/// Reads the lines in order.
struct NdjsonRows {
    records: Records<BufReader<Input>>,
    key: Option<String>,
    shape: (usize, usize),
    longest: usize,
}

impl NdjsonRows {
    fn row(&mut self, out: &mut Vec<f32>) -> Result<(), String> {
        if !self.records.next()? {
            return Err("it ends early".to_owned());
        }
        let found = array(self.records.text()?, self.key.as_deref()).and_then(|array| list(array, out));
        match found.map_err(|what| self.records.wrong(&what))? {
            found if found == self.shape.1 => Ok(()),
            found => Err(self.records.wrong(&format!("it has {found} components, the first row has {}", self.shape.1))),
        }
    }
}

impl RowReader for NdjsonRows {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        (0..count).try_for_each(|_| self.row(out))
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        Ok((BUFFER_BYTES + 3 * self.longest) as u64)
    }
}

impl Format for Ndjson {
    fn name(&self) -> &'static str {
        "NDJSON"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["ndjson", "jsonl"]
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        first(file).map(|(key, _)| key)
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        let (_, dim) = first(file)?;
        let (rows, _) = count(file, QUOTES)?;
        Ok((rows, dim))
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let (key, dim) = first(&mut file)?;
        let (rows, longest) = count(&mut file, QUOTES)?;
        file.reader.rewind().map_err(|e| e.to_string())?;
        Ok(Box::new(NdjsonRows { records: Records::new(file.reader, QUOTES), key, shape: (rows, dim), longest }))
    }

    fn row_names(&self, file: OpenFile, each: &mut row_names::Receiver<'_>) -> Result<(), String> {
        row_names::of_ndjson(file, each)
    }
}
