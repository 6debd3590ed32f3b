//! Comma-separated and tab-separated text: a column for each component, or one column of lists such as `[0.5, -1]`.
//!
//! The first line is a header if none of its fields is a number or a list, or if its numbers are 0, 1, 2, …, which is how
//! pandas names columns without a name. If a column holds lists, these are the vectors; if there are several, `#` and a
//! name choose one (without a header, its number, counted from 1). Otherwise every column whose first value is a number is
//! a component, in the order of the file; `#x*` takes those whose names begin with `x`. Columns of text are ignored, and so is a column of numbers with an empty name,
//! which is the index that pandas writes.

use super::columns::{Holds, TableColumn, Vectors, choose};
use super::input::Input;
use super::quote::{self, shown};
use super::text::{Records, count, list, number, start};
use super::{Format, OpenFile, RowReader, number::BUFFER_BYTES, row_names};
use std::borrow::Cow;
use std::io::{BufReader, Seek};

/// A line end between quotes belongs to the record.
const QUOTES: bool = true;

pub struct Csv {
    name: &'static str,
    extensions: &'static [&'static str],
    separator: char,
}

pub const CSV: Csv = Csv { name: "CSV", extensions: &["csv"], separator: ',' };
pub const TSV: Csv = Csv { name: "TSV", extensions: &["tsv"], separator: '\t' };

/// The fields of a record. A field in quotes may contain separators, line ends, and doubled quotes.
pub(super) fn fields(text: &str, separator: char) -> Result<Vec<Cow<'_, str>>, String> {
    if !text.contains('"') {
        return Ok(text.split(separator).map(Cow::Borrowed).collect());
    }
    let (mut fields, mut rest) = (Vec::new(), text);
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, more) = rest.split_once(separator).map_or((rest, None), |(field, more)| (field, Some(more)));
            if field.contains('"') {
                return Err(format!("column {} is {}, with a quote in its middle", fields.len() + 1, shown(field)));
            }
            fields.push(Cow::Borrowed(field));
            match more {
                Some(more) => rest = more,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut inner = quoted;
        loop {
            let column = fields.len() + 1;
            let (part, after) =
                inner.split_once('"').ok_or_else(|| format!("the quote in column {column} does not end"))?;
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    inner = more;
                }
                None if after.is_empty() => {
                    fields.push(Cow::Owned(field));
                    return Ok(fields);
                }
                None => {
                    let more = after.strip_prefix(separator);
                    rest = more.ok_or_else(|| format!("column {column} goes on behind its closing quote"))?;
                    fields.push(Cow::Owned(field));
                    break;
                }
            }
        }
    }
}

fn is_list(field: &str) -> bool {
    field.trim_ascii_start().starts_with('[')
}

/// Whether the fields of the first line are names of columns.
fn are_names(fields: &[Cow<str>]) -> bool {
    let numbers: Vec<&str> = fields.iter().filter(|field| number(field).is_some()).map(|field| field.trim()).collect();
    let counted = numbers.len() > 1 && numbers.iter().enumerate().all(|(i, number)| *number == i.to_string());
    counted || numbers.is_empty() && !fields.iter().any(|field| is_list(field))
}

/// The structure of the file, from its first lines.
struct Layout {
    /// Names of all columns.
    names: Vec<String>,
    /// Whether the first line is a header.
    named: bool,
    vectors: Vectors,
    dim: usize,
}

impl Csv {
    fn layout(&self, file: &mut OpenFile) -> Result<Layout, String> {
        let part = file.place.part.clone();
        let mut records = start(file, QUOTES)?;
        if !records.next()? {
            return Err("it holds no lines".to_owned());
        }
        let first = fields(records.text()?, self.separator).map_err(|what| records.wrong(&what))?;
        let named = are_names(&first);
        let names: Vec<String> =
            (0..first.len()).map(|i| if named { first[i].trim().to_owned() } else { (i + 1).to_string() }).collect();
        if named && !records.next()? {
            return Err("it holds names of columns and no rows".to_owned());
        }
        let row = fields(records.text()?, self.separator).map_err(|what| records.wrong(&what))?;
        if row.len() != names.len() {
            return Err(records.wrong(&uneven(row.len(), names.len())));
        }
        let column = |(name, field): (&String, &Cow<str>)| {
            let numeric = number(field).is_some() || field.trim().is_empty();
            let (kind, holds) = if is_list(field) {
                ("lists", Holds::Vectors)
            } else if numeric && !name.is_empty() {
                ("numbers", Holds::Numbers)
            } else {
                (if numeric { "numbers" } else { "text" }, Holds::Other)
            };
            TableColumn { name: name.clone(), kind: kind.to_owned(), holds }
        };
        let columns: Vec<TableColumn> = names.iter().zip(&row).map(column).collect();
        let components: Vec<usize> = (0..columns.len()).filter(|&i| columns[i].holds == Holds::Numbers).collect();
        let lists = columns.iter().any(|column| column.holds == Holds::Vectors);
        let vectors = if part.is_none() && !lists && !components.is_empty() {
            Vectors::Components(components)
        } else {
            choose(&columns, part.as_deref())?
        };
        let dim = match &vectors {
            Vectors::Components(columns) => columns.len(),
            Vectors::Lists(at) => {
                list(&row[*at], &mut Vec::new()).map_err(|what| records.wrong(&in_column(*at, &names, &what)))?
            }
        };
        Ok(Layout { names, named, vectors, dim })
    }
}

pub(super) fn uneven(found: usize, expected: usize) -> String {
    format!("it has {found} fields, the first line has {expected}")
}

fn in_column(at: usize, names: &[String], what: &str) -> String {
    match names.get(at).filter(|name| !name.is_empty()) {
        Some(name) => format!("column {} (`{}`): {what}", at + 1, quote::name(name)),
        None => format!("column {}: {what}", at + 1),
    }
}

/// Reads the records that are rows.
struct CsvRows {
    records: Records<BufReader<Input>>,
    separator: char,
    layout: Layout,
    rows: usize,
    longest: usize,
}

impl CsvRows {
    fn row(&mut self, out: &mut Vec<f32>) -> Result<(), String> {
        if !self.records.next()? {
            return Err("it ends early".to_owned());
        }
        let row = fields(self.records.text()?, self.separator).map_err(|what| self.records.wrong(&what))?;
        let Layout { names, vectors, dim, .. } = &self.layout;
        let wrong = |at, what: &str| self.records.wrong(&in_column(at, names, what));
        if row.len() != names.len() {
            return Err(self.records.wrong(&uneven(row.len(), names.len())));
        }
        match vectors {
            Vectors::Components(columns) => {
                for &at in columns {
                    let not = || wrong(at, &format!("{} is not a number", shown(&row[at])));
                    out.push(number(&row[at]).ok_or_else(not)?);
                }
            }
            Vectors::Lists(at) => {
                let found = list(&row[*at], out).map_err(|what| wrong(*at, &what))?;
                if found != *dim {
                    return Err(wrong(*at, &format!("it has {found} components, the first row has {dim}")));
                }
            }
        }
        Ok(())
    }
}

impl RowReader for CsvRows {
    fn shape(&self) -> (usize, usize) {
        (self.rows, self.layout.dim)
    }

    fn append(&mut self, count: usize, out: &mut Vec<f32>) -> Result<(), String> {
        (0..count).try_for_each(|_| self.row(out))
    }

    fn working_bytes(&mut self) -> Result<u64, String> {
        // The buffer, the record and copies of its quoted fields, and one string header per field.
        let fields = self.layout.names.len() * size_of::<Cow<str>>();
        Ok((BUFFER_BYTES + 3 * self.longest + fields) as u64)
    }
}

impl Format for Csv {
    fn name(&self) -> &'static str {
        self.name
    }

    fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    fn choose(&self, file: &mut OpenFile) -> Result<Option<String>, String> {
        let layout = self.layout(file)?;
        Ok(match layout.vectors {
            Vectors::Lists(at) => Some(layout.names[at].clone()),
            // As it was written; without a part, all columns of numbers.
            Vectors::Components(_) => file.place.part.clone(),
        })
    }

    fn components(&self, file: &mut OpenFile) -> Result<Option<Vec<String>>, String> {
        let Layout { names, named, vectors, .. } = self.layout(file)?;
        Ok(match vectors {
            Vectors::Components(columns) if named => Some(columns.into_iter().map(|at| names[at].clone()).collect()),
            _ => None,
        })
    }

    fn shape(&self, file: &mut OpenFile) -> Result<(usize, usize), String> {
        let layout = self.layout(file)?;
        let (records, _) = count(file, QUOTES)?;
        Ok((records - usize::from(layout.named), layout.dim))
    }

    fn rows(&self, mut file: OpenFile) -> Result<Box<dyn RowReader>, String> {
        let layout = self.layout(&mut file)?;
        let (records, longest) = count(&mut file, QUOTES)?;
        let rows = records - usize::from(layout.named);
        file.reader.rewind().map_err(|e| e.to_string())?;
        let mut records = Records::new(file.reader, QUOTES);
        if layout.named {
            records.next()?;
        }
        Ok(Box::new(CsvRows { records, separator: self.separator, layout, rows, longest }))
    }

    fn row_names(&self, file: OpenFile, each: &mut row_names::Receiver<'_>) -> Result<(), String> {
        row_names::of_csv(file, self.separator, each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_fields_together() {
        let split = |text| fields(text, ',').map(|found| found.into_iter().map(Cow::into_owned).collect::<Vec<_>>());
        let some = |found: &[&str]| Ok(found.iter().map(|&field| field.to_owned()).collect::<Vec<_>>());
        assert_eq!(split("a,,b"), some(&["a", "", "b"]));
        assert_eq!(split("\"[1, 2]\",\"a \"\"b\"\"\",c"), some(&["[1, 2]", "a \"b\"", "c"]));
        assert_eq!(split("x,\"\""), some(&["x", ""]));
        assert_eq!(split("x,\"a\nb\","), some(&["x", "a\nb", ""]));
        for (text, expected) in [
            ("a,\"b", "the quote in column 2 does not end"),
            ("\"a\"b", "column 1 goes on behind its closing quote"),
            ("a\"b\"", "column 1 is `a\"b\"`, with a quote in its middle"),
        ] {
            assert_eq!(split(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn the_first_line_is_names_or_a_row() {
        let named = |text: &'static str| are_names(&fields(text, ',').expect("splits"));
        assert!(named("x,y,z") && named(",0,1,2") && named("0,1,2") && named("word,0,1") && named("word,vector"));
        assert!(
            !named("0.5,1,2")
                && !named("word,0.5,1")
                && !named("1,2,3")
                && !named("a,\"[1, 2]\"")
                && !named("0")
                && !named("0.0,1.0")
        );
    }
}
