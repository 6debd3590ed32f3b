//! Names of rows, which judgments of relevance refer to: lines of text, or one column of a table.

use super::quote::{self, shown};
use super::text::{Records, start};
use super::{FORMATS, OpenFile, csv, input::Input, malformed, ndjson, open_file, pickle, place, several};
use crate::DatasetError;
use crate::format::Place;
use std::io::BufReader;
use std::path::Path;

/// Extensions of files that hold one name per line. A file of an unknown format does too.
const LINES: [&str; 2] = ["txt", "ids"];

/// Receives each name in the order of the rows.
pub type Receiver<'r> = dyn FnMut(&str) -> Result<(), String> + 'r;

/// Passes the name of each row to `each`, in order.
///
/// # Errors
/// A file that cannot be read, a column that is absent, and errors of `each`.
pub(crate) fn read(path: &Path, each: &mut Receiver<'_>) -> Result<(), DatasetError> {
    let place = Place::of(path);
    for file in several::files(&place.file)? {
        if let Some(refusal) = pickle::by_name(&file) {
            return Err(refusal);
        }
        let extension = place::extension(&file);
        let in_lines = LINES.contains(&extension.as_str());
        let format = FORMATS.iter().find(|format| !in_lines && format.extensions().contains(&extension.as_str()));
        let shown = file.clone();
        let mut file = open_file(Place { file, part: place.part.clone() }, &shown)?;
        let (name, read) = match format {
            Some(format) => (format.name(), format.row_names(file, each)),
            None => ("text", lines(&mut file, each)),
        };
        read.map_err(malformed(&shown, name))?;
    }
    Ok(())
}

/// One name per line. Blank lines at the end do not count.
fn lines(file: &mut OpenFile, each: &mut Receiver<'_>) -> Result<(), String> {
    if let Some(part) = &file.place.part {
        return Err(format!("it holds one name per line; leave out `#{part}`"));
    }
    let mut records = start(file, false)?;
    while records.next()? {
        let name = records.text()?.trim();
        each(name).map_err(|what| records.wrong(&what))?;
    }
    Ok(())
}

/// The column of names: the one that `part` names, or the only one.
///
/// # Errors
/// No such column, or several and none named. The message lists them.
pub(super) fn chosen<'n>(names: impl Iterator<Item = &'n str>, part: Option<&str>) -> Result<usize, String> {
    let names: Vec<&str> = names.collect();
    match part {
        None if names.len() == 1 => Ok(0),
        None => Err(format!("name the column of names after a `#`; {}", listed(&names))),
        Some(part) => names
            .iter()
            .position(|name| *name == part)
            .ok_or_else(|| format!("it has no column `{}`; {}", quote::name(part), listed(&names))),
    }
}

/// Number of columns that a message lists.
const MOST_NAMED: usize = 20;

fn listed(names: &[&str]) -> String {
    let some: Vec<String> = names.iter().take(MOST_NAMED).map(|name| format!("`{}`", quote::name(name))).collect();
    let more = names.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("its columns are {}{more}", some.join(", "))
}

/// A column of CSV or TSV. The first line is a header if the file's vectors would have one, or if it has the name that is
/// asked for.
pub(super) fn of_csv(file: OpenFile, separator: char, each: &mut Receiver<'_>) -> Result<(), String> {
    let part = file.place.part.clone();
    let mut records: Records<BufReader<Input>> = Records::new(file.reader, true);
    if !records.next()? {
        return Err("it holds no lines".to_owned());
    }
    let split = |text: &str| -> Result<Vec<String>, String> {
        csv::fields(text, separator).map(|fields| fields.iter().map(|field| field.trim().to_owned()).collect())
    };
    let first = split(records.text()?).map_err(|what| records.wrong(&what))?;
    let counted: Vec<String> = (1..=first.len()).map(|i| i.to_string()).collect();
    let asked = part.as_ref().is_some_and(|part| first.contains(part));
    let numbers = part.as_ref().is_some_and(|part| counted.contains(part));
    let named = asked || !numbers;
    let at = chosen((if named { &first } else { &counted }).iter().map(String::as_str), part.as_deref())?;
    let width = first.len();
    if !named {
        each(&first[at]).map_err(|what| records.wrong(&what))?;
    }
    while records.next()? {
        let row = split(records.text()?).map_err(|what| records.wrong(&what))?;
        if row.len() != width {
            return Err(records.wrong(&csv::uneven(row.len(), width)));
        }
        each(&row[at]).map_err(|what| records.wrong(&what))?;
    }
    Ok(())
}

/// The values of a key of NDJSON objects: text or whole numbers.
pub(super) fn of_ndjson(file: OpenFile, each: &mut Receiver<'_>) -> Result<(), String> {
    let Some(key) = file.place.part.clone() else {
        return Err("name the key of the names after a `#`, such as `corpus.jsonl#_id`".to_owned());
    };
    let mut records: Records<BufReader<Input>> = Records::new(file.reader, false);
    while records.next()? {
        let value = ndjson::under(records.text()?, &key).map_err(|what| records.wrong(&what))?;
        let name = match serde_json::from_str(value) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(serde_json::Value::Number(number)) if !number.is_f64() => number.to_string(),
            _ => return Err(records.wrong(&format!("`{key}` is {}, not text or a whole number", shown(value)))),
        };
        each(&name).map_err(|what| records.wrong(&what))?;
    }
    Ok(())
}
