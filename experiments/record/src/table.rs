//! The tidy table: one row per measured value, as CSV and as Parquet.

use crate::{Run, RunInfo, Status, TrialRecord};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::borrow::Cow;
use std::sync::Arc;

/// A cell; null where a column does not apply.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not applicable.
    Null,
    /// Text.
    Text(String),
    /// A count or a seed.
    Integer(i64),
    /// A measured value.
    Number(f64),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Integer,
    Number,
}

/// Columns in order.
const COLUMNS: [(&str, Kind); 20] = [
    ("experiment", Kind::Text),
    ("trial", Kind::Text),
    ("dataset", Kind::Text),
    ("dim", Kind::Integer),
    ("n", Kind::Integer),
    ("metric_space", Kind::Text),
    ("method", Kind::Text),
    ("params", Kind::Text),
    ("label", Kind::Text),
    ("device", Kind::Text),
    ("threads", Kind::Integer),
    ("seed", Kind::Integer),
    ("status", Kind::Text),
    ("bits_per_vector", Kind::Integer),
    ("metric", Kind::Text),
    ("stage", Kind::Text),
    ("k", Kind::Integer),
    ("path", Kind::Text),
    ("repeat", Kind::Integer),
    ("value", Kind::Number),
];

/// The last two columns: units, and the reason of a row without values.
const TAIL: [(&str, Kind); 2] = [("unit", Kind::Text), ("reason", Kind::Text)];

fn columns() -> impl Iterator<Item = (&'static str, Kind)> {
    COLUMNS.into_iter().chain(TAIL)
}

/// The rows of a run. A trial that did not succeed has one row more than its values, with its reason and no value.
pub fn rows(run: &Run) -> Vec<Vec<Cell>> {
    run.records.iter().flat_map(|record| record_rows(&run.info, record)).collect()
}

fn record_rows(info: &RunInfo, record: &TrialRecord) -> Vec<Vec<Cell>> {
    let text = |s: &str| Cell::Text(s.to_owned());
    let maybe = |s: &Option<String>| s.as_ref().map_or(Cell::Null, |s| Cell::Text(s.clone()));
    let count = |n: Option<usize>| n.map_or(Cell::Null, |n| Cell::Integer(n as i64));
    let trial = &record.trial;
    let head = vec![
        text(&info.name),
        text(&trial.id),
        text(&trial.dataset),
        Cell::Integer(trial.dim as i64),
        Cell::Integer(trial.n as i64),
        text(&trial.metric_space),
        text(&trial.method),
        text(&trial.params.to_string()),
        text(&trial.label),
        text(&trial.device),
        Cell::Integer(trial.threads as i64),
        Cell::Integer(trial.seed as i64),
        text(record.status.as_str()),
        Cell::Integer(trial.bits_per_vector as i64),
    ];
    let mut rows: Vec<Vec<Cell>> = record
        .values
        .iter()
        .map(|v| {
            let mut row = head.clone();
            row.extend([text(&v.metric), maybe(&v.stage), count(v.k), maybe(&v.path), count(v.repeat)]);
            row.extend([Cell::Number(v.value), text(&v.unit), Cell::Null]);
            row
        })
        .collect();
    if record.status != Status::Ok {
        let mut row = head;
        row.extend([Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null, Cell::Null]);
        row.push(maybe(&record.reason));
        rows.push(row);
    }
    rows
}

/// A text as a cell of CSV. Spreadsheets take what begins with one of a few characters for a formula, and run it: such a text
/// gets an apostrophe before it, which they hide. Numbers stay as they are.
pub fn csv_text(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The table as CSV, with a header line.
///
/// # Errors
/// None in practice: the target is memory.
pub fn to_csv(rows: &[Vec<Cell>]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns().map(|(name, _)| name))?;
    for row in rows {
        writer.write_record(row.iter().map(|cell| match cell {
            Cell::Null => String::new(),
            Cell::Text(text) => csv_text(text).into_owned(),
            Cell::Integer(n) => n.to_string(),
            Cell::Number(v) => v.to_string(),
        }))?;
    }
    writer.into_inner().map_err(|e| csv::Error::from(e.into_error()))
}

/// The table as one Parquet file, snappy-compressed.
///
/// # Errors
/// None in practice: the target is memory.
pub fn to_parquet(rows: &[Vec<Cell>]) -> parquet::errors::Result<Vec<u8>> {
    let fields: Vec<String> = columns()
        .map(|(name, kind)| match kind {
            Kind::Text => format!("optional binary {name} (STRING);"),
            Kind::Integer => format!("optional int64 {name};"),
            Kind::Number => format!("optional double {name};"),
        })
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message results {{ {} }}", fields.join(" ")))?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = writer.next_row_group()?;
    for (c, (_, kind)) in columns().enumerate() {
        let cells = rows.iter().map(|row| &row[c]);
        match kind {
            Kind::Text => write_column::<ByteArrayType>(&mut group, cells, |cell| match cell {
                Cell::Text(text) => Some(ByteArray::from(text.as_str())),
                _ => None,
            })?,
            Kind::Integer => write_column::<Int64Type>(&mut group, cells, |cell| match cell {
                Cell::Integer(n) => Some(*n),
                _ => None,
            })?,
            Kind::Number => write_column::<DoubleType>(&mut group, cells, |cell| match cell {
                Cell::Number(v) => Some(*v),
                _ => None,
            })?,
        }
    }
    group.close()?;
    writer.into_inner()
}

/// Writes the cells that have a value, and for each cell whether it has one.
fn write_column<'a, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    cells: impl Iterator<Item = &'a Cell>,
    value: impl Fn(&Cell) -> Option<T::T>,
) -> parquet::errors::Result<()> {
    let mut values = Vec::new();
    let present: Vec<i16> = cells
        .map(|cell| match value(cell) {
            Some(value) => {
                values.push(value);
                1
            }
            None => 0,
        })
        .collect();
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    column.typed::<T>().write_batch(&values, Some(&present), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: f64) -> Vec<Cell> {
        let mut row: Vec<Cell> = columns().map(|_| Cell::Null).collect();
        row[0] = Cell::Text("an \"odd\", name".into());
        row[3] = Cell::Integer(384);
        row[19] = Cell::Number(value);
        row
    }

    #[test]
    fn csv_quotes_what_needs_quoting() {
        let text = String::from_utf8(to_csv(&[row(0.5)]).expect("memory")).expect("utf-8");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(
                "experiment,trial,dataset,dim,n,metric_space,method,params,label,device,threads,seed,status"
            )
        );
        assert_eq!(lines[1], "\"an \"\"odd\"\", name\",,,384,,,,,,,,,,,,,,,,0.5,,");
    }

    #[test]
    fn no_text_is_a_formula_and_numbers_stay_numbers() {
        for text in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "=HYPERLINK(\"http://x\")"]
        {
            assert_eq!(csv_text(text), format!("'{text}"));
        }
        for text in ["-1.5", "+2", "-1e-7", "PQ -2", "", "a=b", "'=1"] {
            assert_eq!(csv_text(text), text);
        }
        let mut cells = row(-1.5);
        cells[1] = Cell::Text("=1+1".into());
        let text = String::from_utf8(to_csv(&[cells]).expect("memory")).expect("utf-8");
        assert!(text.contains(",'=1+1,") && text.contains(",-1.5,"), "{text}");
    }

    #[test]
    fn parquet_holds_values_and_nulls() {
        use parquet::file::reader::{FileReader, SerializedFileReader};
        use parquet::record::RowAccessor;
        let bytes = to_parquet(&[row(0.5), row(1.5)]).expect("memory");
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("t.parquet");
        std::fs::write(&path, bytes).expect("writes");
        let reader = SerializedFileReader::new(std::fs::File::open(path).expect("opens")).expect("parquet");
        let rows: Vec<_> = reader.get_row_iter(None).expect("rows").map(|r| r.expect("a row")).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[1].get_double(19).expect("value"), rows[1].get_long(3).expect("dim")), (1.5, 384));
        assert!(rows[0].get_string(1).is_err(), "null has no text");
    }
}
