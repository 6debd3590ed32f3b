//! The tables of a run as data frames: `results`, one row per measured value, and `trials`, one row per trial that has ended.
//!
//! `results` says all of a value in one row, so that it can be filtered and grouped without another table. What is said once per trial
//! and would be repeated in each of its rows (where it ran, how long it took, why it failed) stands in `trials`. Both are written as
//! Parquet, `results` also as CSV.

use crate::contain::contained;
use crate::{Cause, Ended, Limits, Machine, RecordError, Run, RunInfo, Status, Trial, TrialRecord, regular};
use polars::prelude::*;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

/// Columns of `results`, in order.
pub static RESULTS: [(&str, DataType); 22] = [
    ("experiment", DataType::String),
    ("trial", DataType::String),
    ("dataset", DataType::String),
    ("dim", DataType::Int64),
    ("n", DataType::Int64),
    ("metric_space", DataType::String),
    ("method", DataType::String),
    ("params", DataType::String),
    ("label", DataType::String),
    ("device", DataType::String),
    ("threads", DataType::Int64),
    ("seed", DataType::Int64),
    ("status", DataType::String),
    ("bits_per_vector", DataType::Int64),
    ("metric", DataType::String),
    ("stage", DataType::String),
    ("k", DataType::Int64),
    ("path", DataType::String),
    ("repeat", DataType::Int64),
    ("value", DataType::Float64),
    ("unit", DataType::String),
    ("reason", DataType::String),
];

/// Columns of `trials`, in order.
pub static TRIALS: [(&str, DataType); 29] = [
    ("experiment", DataType::String),
    ("trial", DataType::String),
    ("dataset", DataType::String),
    ("dim", DataType::Int64),
    ("n", DataType::Int64),
    ("metric_space", DataType::String),
    ("method", DataType::String),
    ("params", DataType::String),
    ("label", DataType::String),
    ("device", DataType::String),
    ("threads", DataType::Int64),
    ("seed", DataType::Int64),
    ("bits_per_vector", DataType::Int64),
    ("status", DataType::String),
    ("reason", DataType::String),
    ("cause", DataType::String),
    ("wall_seconds", DataType::Float64),
    ("timeout_seconds", DataType::Float64),
    ("limit_bytes", DataType::Int64),
    ("cpu", DataType::String),
    ("cores", DataType::Int64),
    ("simd", DataType::String),
    ("memory_bytes", DataType::Int64),
    ("gpu", DataType::String),
    ("os", DataType::String),
    ("rustc", DataType::String),
    ("version", DataType::String),
    ("git_revision", DataType::String),
    ("git_dirty", DataType::Boolean),
];

/// What the table library refuses. Frames that this program makes fit its schemas, so that this is a fault of the program.
fn fault(error: PolarsError) -> String {
    error.to_string()
}

/// As an integer of a table; what is too large for one becomes its largest.
fn integer(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// A frame of columns that are made from rows one by one.
struct Columns<'a, R> {
    rows: &'a [R],
    columns: Vec<Column>,
}

impl<'a, R> Columns<'a, R> {
    fn new(rows: &'a [R]) -> Columns<'a, R> {
        Columns { rows, columns: Vec::new() }
    }

    fn text(mut self, name: &str, of: impl Fn(&'a R) -> Option<&'a str>) -> Self {
        let values: StringChunked = self.rows.iter().map(of).collect();
        self.columns.push(values.with_name(name.into()).into_column());
        self
    }

    fn integers(mut self, name: &str, of: impl Fn(&R) -> Option<i64>) -> Self {
        let values: Int64Chunked = self.rows.iter().map(of).collect();
        self.columns.push(values.with_name(name.into()).into_column());
        self
    }

    fn numbers(mut self, name: &str, of: impl Fn(&R) -> Option<f64>) -> Self {
        let values: Float64Chunked = self.rows.iter().map(of).collect();
        self.columns.push(values.with_name(name.into()).into_column());
        self
    }

    fn flags(mut self, name: &str, of: impl Fn(&R) -> Option<bool>) -> Self {
        let values: BooleanChunked = self.rows.iter().map(of).collect();
        self.columns.push(values.with_name(name.into()).into_column());
        self
    }

    /// What both tables begin with; `params` are those of each trial as text.
    fn trial(self, info: &'a RunInfo, of: impl Fn(&'a R) -> (&'a Trial, &'a str) + Copy) -> Self {
        self.text("experiment", |_| Some(&info.name))
            .text("trial", move |r| Some(&of(r).0.id))
            .text("dataset", move |r| Some(&of(r).0.dataset))
            .integers_of("dim", move |r| integer(of(r).0.dim))
            .integers_of("n", move |r| integer(of(r).0.n))
            .text("metric_space", move |r| Some(&of(r).0.metric_space))
            .text("method", move |r| Some(&of(r).0.method))
            .text("params", move |r| Some(of(r).1))
            .text("label", move |r| Some(&of(r).0.label))
            .text("device", move |r| Some(&of(r).0.device))
            .integers_of("threads", move |r| integer(of(r).0.threads))
            .integers_of("seed", move |r| of(r).0.seed as i64)
    }

    fn integers_of(mut self, name: &str, of: impl Fn(&'a R) -> i64) -> Self {
        let values: Int64Chunked = self.rows.iter().map(|r| Some(of(r))).collect();
        self.columns.push(values.with_name(name.into()).into_column());
        self
    }

    fn finish(self) -> Result<DataFrame, String> {
        DataFrame::new(self.rows.len(), self.columns).map_err(fault)
    }
}

/// A row of `results` before it is one: the trial, its parameters as text, and one of its values, or none for the row that says why a
/// trial did not succeed.
type ResultRow<'a> = (&'a TrialRecord, &'a str, Option<&'a crate::Measured>);

/// The table `results`. A trial that did not succeed has one row more than its values, with its reason and no value.
///
/// # Errors
/// None in practice: the rows fit the columns.
pub fn results(run: &Run) -> Result<DataFrame, String> {
    let params: Vec<String> = run.records.iter().map(|record| record.trial.params.to_string()).collect();
    let mut rows: Vec<ResultRow<'_>> = Vec::new();
    for (record, params) in run.records.iter().zip(&params) {
        rows.extend(record.values.iter().map(|value| (record, params.as_str(), Some(value))));
        if record.status != Status::Ok {
            rows.push((record, params, None));
        }
    }
    Columns::new(&rows)
        .trial(&run.info, |(record, params, _)| (&record.trial, *params))
        .text("status", |(record, ..)| Some(record.status.as_str()))
        .integers("bits_per_vector", |(record, ..)| Some(integer(record.trial.bits_per_vector)))
        .text("metric", |(.., value)| value.map(|v| v.metric.as_str()))
        .text("stage", |(.., value)| value.and_then(|v| v.stage.as_deref()))
        .integers("k", |(.., value)| value.and_then(|v| v.k).map(integer))
        .text("path", |(.., value)| value.and_then(|v| v.path.as_deref()))
        .integers("repeat", |(.., value)| value.and_then(|v| v.repeat).map(integer))
        .numbers("value", |(.., value)| value.map(|v| v.value))
        .text("unit", |(.., value)| value.map(|v| v.unit.as_str()))
        .text("reason", |(record, _, value)| value.is_none().then_some(record.reason.as_deref()).flatten())
        .finish()
}

/// The table `trials`, in the order of the plan.
///
/// # Errors
/// None in practice: the rows fit the columns.
pub fn trials(run: &Run) -> Result<DataFrame, String> {
    let params: Vec<String> = run.records.iter().map(|record| record.trial.params.to_string()).collect();
    let rows: Vec<(&TrialRecord, &str)> = run.records.iter().zip(params.iter().map(String::as_str)).collect();
    Columns::new(&rows)
        .trial(&run.info, |(record, params)| (&record.trial, *params))
        .integers("bits_per_vector", |(r, _)| Some(integer(r.trial.bits_per_vector)))
        .text("status", |(r, _)| Some(r.status.as_str()))
        .text("reason", |(r, _)| r.reason.as_deref())
        .text("cause", |(r, _)| r.cause.map(Cause::as_str))
        .numbers("wall_seconds", |(r, _)| Some(r.wall_seconds))
        .numbers("timeout_seconds", |(r, _)| Some(r.limits.timeout_seconds))
        .integers("limit_bytes", |(r, _)| r.limits.memory_bytes.map(integer))
        .text("cpu", |(r, _)| Some(&r.machine.cpu))
        .integers("cores", |(r, _)| Some(integer(r.machine.cores)))
        .text("simd", |(r, _)| Some(&r.machine.simd))
        .integers("memory_bytes", |(r, _)| Some(integer(r.machine.memory_bytes)))
        .text("gpu", |(r, _)| r.machine.gpu.as_deref())
        .text("os", |(r, _)| Some(&r.machine.os))
        .text("rustc", |(r, _)| Some(&r.machine.rustc))
        .text("version", |(r, _)| Some(&r.machine.version))
        .text("git_revision", |(r, _)| r.machine.git_revision.as_deref())
        .flags("git_dirty", |(r, _)| r.machine.git_dirty)
        .finish()
}

/// The trials of a plan that the table `trials` says have ended, in the order of the plan.
///
/// # Errors
/// A status or a cause that there is none of.
pub(crate) fn ended(frame: &DataFrame, plan: &[Trial]) -> Result<Vec<Ended>, String> {
    let text = |name: &str| frame.column(name).and_then(|c| c.str().cloned()).map_err(fault);
    let integers = |name: &str| frame.column(name).and_then(|c| c.i64().cloned()).map_err(fault);
    let numbers = |name: &str| frame.column(name).and_then(|c| c.f64().cloned()).map_err(fault);
    let (ids, statuses, reasons, causes) = (text("trial")?, text("status")?, text("reason")?, text("cause")?);
    let (wall, timeout, limit) = (numbers("wall_seconds")?, numbers("timeout_seconds")?, integers("limit_bytes")?);
    let (cpu, cores, simd, memory) = (text("cpu")?, integers("cores")?, text("simd")?, integers("memory_bytes")?);
    let (gpu, os, rustc, version) = (text("gpu")?, text("os")?, text("rustc")?, text("version")?);
    let revision = text("git_revision")?;
    let dirty = frame.column("git_dirty").and_then(|c| c.bool().cloned()).map_err(fault)?;
    let rows: HashMap<&str, usize> = ids.iter().enumerate().filter_map(|(row, id)| Some((id?, row))).collect();
    let mut all = Vec::new();
    for trial in plan {
        let Some(&row) = rows.get(trial.id.as_str()) else { continue };
        let owned = |column: &StringChunked| column.get(row).map(str::to_owned);
        let count = |column: &Int64Chunked| column.get(row).and_then(|n| u64::try_from(n).ok());
        let status = statuses.get(row).unwrap_or_default();
        let status =
            Status::parse(status).ok_or_else(|| format!("the trial {} has the status {status:?}", trial.id))?;
        let cause = causes
            .get(row)
            .map(|cause| Cause::parse(cause).ok_or_else(|| format!("the trial {} has the cause {cause:?}", trial.id)));
        all.push(Ended {
            trial: trial.clone(),
            status,
            reason: owned(&reasons),
            cause: cause.transpose()?,
            limits: Limits { timeout_seconds: timeout.get(row).unwrap_or_default(), memory_bytes: count(&limit) },
            machine: Machine {
                cpu: owned(&cpu).unwrap_or_default(),
                cores: count(&cores).and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
                simd: owned(&simd).unwrap_or_default(),
                memory_bytes: count(&memory).unwrap_or_default(),
                gpu: owned(&gpu),
                os: owned(&os).unwrap_or_default(),
                rustc: owned(&rustc).unwrap_or_default(),
                version: owned(&version).unwrap_or_default(),
                git_revision: owned(&revision),
                git_dirty: dirty.get(row),
            },
            wall_seconds: wall.get(row).unwrap_or_default(),
        });
    }
    Ok(all)
}

/// A text as a cell of CSV. Spreadsheets take what begins with one of a few characters for a formula, and run it: such a text
/// gets an apostrophe before it, which they hide. Numbers stay as they are.
pub fn csv_text(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A frame as CSV, with a header line: texts by [`csv_text`], numbers in the shortest decimals that read back as they are, nothing
/// where there is no value.
///
/// # Errors
/// What the table library refuses, such as columns of lists.
pub fn to_csv(frame: &DataFrame) -> Result<Vec<u8>, String> {
    let mut columns = Vec::new();
    for column in frame.columns() {
        columns.push(match column.dtype() {
            DataType::String => {
                let texts = column.str().map_err(fault)?;
                // No value and an empty text look alike in CSV.
                let cells: StringChunked =
                    texts.iter().map(|text| text.filter(|text| !text.is_empty()).map(csv_text)).collect();
                cells.with_name(column.name().clone()).into_column()
            }
            DataType::Float64 => {
                let numbers = column.f64().map_err(fault)?;
                let cells: StringChunked = numbers.iter().map(|number| number.map(|v| v.to_string())).collect();
                cells.with_name(column.name().clone()).into_column()
            }
            _ => column.clone(),
        });
    }
    let mut bytes = Vec::new();
    let mut frame = DataFrame::new(frame.height(), columns).map_err(fault)?;
    CsvWriter::new(&mut bytes).include_header(true).finish(&mut frame).map_err(fault)?;
    Ok(bytes)
}

/// A frame as one Parquet file, snappy-compressed.
///
/// # Errors
/// What the table library refuses.
pub fn to_parquet(mut frame: DataFrame) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let writer = ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Snappy);
    writer.finish(&mut frame).map_err(fault)?;
    Ok(bytes)
}

/// Largest Parquet file that is read, in bytes.
const MAX_PARQUET: u64 = 1 << 32;

/// The most rows that a byte of a Parquet file is believed to hold. Tables of this program have less than one in ten bytes; a header
/// that promises more is refused before memory is taken for it.
const MAX_ROWS_PER_BYTE: usize = 16;

/// Reads some columns of a Parquet file, all of those in `schema` that `wanted` holds for. The file may have further columns, and may
/// come from a stranger: it is refused with a reason if it is not a table of such columns. Damage within a page could make the library
/// ask for more memory than there is, which ends the process. So the file must have the SHA-256 `digest` that was noted when it was
/// written, if one was.
///
/// # Errors
/// The system's refusal; no regular file; a file that is damaged or has other columns.
pub(crate) fn read(
    path: &Path,
    digest: Option<&str>,
    schema: &[(&str, DataType)],
    wanted: impl Fn(&str) -> bool,
) -> Result<DataFrame, RecordError> {
    let bytes = regular::read(path, MAX_PARQUET).map_err(RecordError::io("read", path))?;
    if let Some(digest) = digest.filter(|digest| *digest != sha256(&bytes)) {
        let reason = format!("its SHA-256 is not {digest}, which was noted when it was written");
        return Err(RecordError::Damaged { path: path.to_owned(), reason });
    }
    let schema: Vec<&(&str, DataType)> = schema.iter().filter(|(name, _)| wanted(name)).collect();
    contained(|| read_bytes(bytes, &schema)).map_err(|reason| RecordError::Damaged { path: path.to_owned(), reason })
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_bytes(bytes: Vec<u8>, schema: &[&(&str, DataType)]) -> Result<DataFrame, String> {
    let most = bytes.len().saturating_mul(MAX_ROWS_PER_BYTE);
    let length = bytes.len();
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let found = reader.schema().map_err(fault)?;
    for (name, kind) in schema {
        let field = found.get(name).ok_or_else(|| format!("it has no column `{name}`"))?;
        let stored = DataType::from_arrow_field(field);
        if stored != *kind {
            return Err(format!("its column `{name}` holds {stored}, not {kind}"));
        }
    }
    let rows = reader.num_rows().map_err(fault)?;
    if rows > most {
        return Err(format!("it promises {rows} rows; a file of {length} bytes can hold {most} at most"));
    }
    let names = schema.iter().map(|(name, _)| (*name).to_owned()).collect();
    // On this thread alone, so that a panic is contained.
    let frame = reader.with_columns(Some(names)).read_parallel(ParallelStrategy::None).finish().map_err(fault)?;
    if frame.height() != rows {
        return Err(format!("it promises {rows} rows and has {}", frame.height()));
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{info, record};
    use crate::{Measured, metric};

    fn run() -> Run {
        let mut records = vec![record("a1"), record("b2")];
        records[0].values.push(Measured::new(&metric::RECALL_K_AT_K, 1.5).k(10).path("adc").repeat(3).stage("all"));
        records[1].status = Status::Failed;
        records[1].cause = Some(Cause::Memory);
        records[1].reason = Some("no memory".into());
        records[1].values.clear();
        records[1].limits.memory_bytes = Some(1 << 30);
        records[1].machine = Machine { gpu: Some("G".into()), git_dirty: Some(true), cores: 4, ..Machine::default() };
        records[1].trial.params = serde_json::json!({ "an \"odd\"": "name, with a comma" });
        let mut info = info(&["a1", "b2", "c3"]);
        info.trials[1] = records[1].trial.clone();
        Run { info, records, pictures: vec![] }
    }

    #[test]
    fn tables_have_their_columns_and_come_back_as_they_were_written() {
        let run = run();
        let folder = tempfile::tempdir().expect("a folder");
        for (frame, schema) in [(results(&run), &RESULTS[..]), (trials(&run), &TRIALS[..])] {
            let frame = frame.expect("a frame");
            let columns: Vec<(&str, DataType)> =
                frame.columns().iter().map(|c| (c.name().as_str(), c.dtype().clone())).collect();
            assert_eq!(columns, schema);
            let path = folder.path().join("t.parquet");
            std::fs::write(&path, to_parquet(frame.clone()).expect("bytes")).expect("writes");
            assert!(read(&path, None, schema, |_| true).expect("reads").equals_missing(&frame));
            assert_eq!(read(&path, None, schema, |name| name == "trial").expect("reads").width(), 1);
        }
        let found = ended(&trials(&run).expect("a frame"), &run.info.trials).expect("trials");
        let expected = crate::Results::of(&run).expect("frames").ended;
        assert_eq!(found, expected);
    }

    #[test]
    fn csv_quotes_what_needs_quoting() {
        let text = String::from_utf8(to_csv(&results(&run()).expect("a frame")).expect("memory")).expect("utf-8");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "experiment,trial,dataset,dim,n,metric_space,method,params,label,device,threads,seed,status,bits_per_vector,metric,\
             stage,k,path,repeat,value,unit,reason"
        );
        assert_eq!(lines[1], "e,a1,d,2,3,l2,m,{},l,cpu,1,1,ok,8,nmse,,,,,0.25,1,");
        assert_eq!(lines[2], "e,a1,d,2,3,l2,m,{},l,cpu,1,1,ok,8,recall_k_at_k,all,10,adc,3,1.5,1,");
        assert_eq!(
            lines[3],
            "e,b2,d,2,3,l2,m,\"{\"\"an \\\"\"odd\\\"\"\"\":\"\"name, with a comma\"\"}\",l,cpu,1,1,failed,8,,,,,,,,no memory"
        );
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
        let mut run = run();
        run.records[0].trial.label = "=1+1".into();
        run.records[0].values[0].value = -1e-7;
        let text = String::from_utf8(to_csv(&results(&run).expect("a frame")).expect("memory")).expect("utf-8");
        assert!(text.contains(",'=1+1,") && text.contains(",-0.0000001,"), "{text}");
    }

    /// A run folder may come from a stranger.
    #[test]
    fn no_file_is_too_odd_to_be_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.parquet");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("writes");
            read(&path, None, &RESULTS, |_| true).map(|frame| frame.height())
        };
        let whole = to_parquet(results(&run()).expect("a frame")).expect("bytes");
        assert_eq!(refused(&whole).expect("reads"), 3);
        for length in (0..whole.len()).step_by(101) {
            assert!(refused(&whole[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(refused(b"PAR1PAR1").is_err() && refused(&[0xff; 4096]).is_err() && refused(&whole[4..]).is_err());
        // Any byte of the footer changed, by a plain congruential sequence: an error or another table, and never a panic.
        let length =
            u32::from_le_bytes(whole[whole.len() - 8..whole.len() - 4].try_into().expect("four bytes")) as usize;
        let mut state = 1u32;
        for at in (whole.len() - 8 - length..whole.len()).step_by(17) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (state >> 29);
            let _ = refused(&bytes);
        }
        // Other columns, other types, other orders.
        let write = |frame: DataFrame| to_parquet(frame).expect("bytes");
        let frame = results(&run()).expect("a frame");
        let error = refused(&write(frame.drop("value").expect("a column"))).expect_err("no values").to_string();
        assert!(error.contains("it has no column `value`"), "{error}");
        let mut texts = frame.clone();
        texts.replace("value", Column::new("value".into(), ["0.5", "x", ""])).expect("a column");
        let error = refused(&write(texts)).expect_err("texts").to_string();
        assert!(error.contains("its column `value` holds str, not f64"), "{error}");
        let odd = [Some(f64::NAN), None, Some(f64::INFINITY)];
        let mut numbers = frame.clone();
        numbers.replace("value", Column::new("value".into(), odd)).expect("a column");
        assert_eq!(refused(&write(numbers)).expect("numbers all the same"), 3);
    }

    #[test]
    fn a_status_that_there_is_none_of_is_refused() {
        let run = run();
        let mut frame = trials(&run).expect("a frame");
        frame.replace("status", Column::new("status".into(), ["ok", "splendid"])).expect("a column");
        let error = ended(&frame, &run.info.trials).expect_err("no status");
        assert_eq!(error, "the trial b2 has the status \"splendid\"");
    }
}
