//! The tables of a run as data frames: `results`, one row per measured value, and `trials`, one row per trial that has ended.
//!
//! `results` has all facts about a value in one row, so that it can be filtered and grouped without a join. Facts that
//! occur once per trial (where it ran, how long it took, why it failed) are only in `trials`, because `results` would
//! repeat them in every row. Both are written as Parquet, and `results` also as CSV.

use crate::{Cause, Ended, Limits, Machine, Run, RunInfo, Status, Trial, TrialLog, TrialRecord};
use polars::prelude::*;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::HashMap;

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
pub static TRIALS: [(&str, DataType); 31] = [
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
    ("family", DataType::String),
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
    ("log", DataType::String),
];

/// An error of the table library. Frames that this program builds fit its schemas, so such an error is a bug in the
/// program.
pub(crate) fn fault(error: PolarsError) -> String {
    error.to_string()
}

/// Converts to an integer of a table; values that are too large become the maximum.
fn integer(n: impl TryInto<i64>) -> i64 {
    n.try_into().unwrap_or(i64::MAX)
}

/// Builds a frame whose columns are computed row by row.
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

    /// The columns that both tables begin with; `params` are the parameters of each trial as text.
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

/// The source of a row of `results`: the trial, its parameters as text, and one of its values; None for the row that
/// says why a trial did not succeed.
type ResultRow<'a> = (&'a TrialRecord, &'a str, Option<&'a crate::Measured>);

/// The table `results`. A trial that did not succeed has one extra row, with the reason and without a value.
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

/// The source of a row of `trials`: the record, and its parameters and log as texts.
type TrialRow<'a> = (&'a TrialRecord, (&'a str, Option<&'a str>));

/// The table `trials`, in the order of the plan.
///
/// # Errors
/// None in practice: the rows fit the columns.
pub fn trials(run: &Run) -> Result<DataFrame, String> {
    let params: Vec<String> = run.records.iter().map(|record| record.trial.params.to_string()).collect();
    let logs: Vec<Option<String>> = run.records.iter().map(|r| r.log.as_ref().map(TrialLog::to_json)).collect();
    let texts = params.iter().zip(&logs).map(|(params, log)| (params.as_str(), log.as_deref()));
    let rows: Vec<TrialRow<'_>> = run.records.iter().zip(texts).collect();
    Columns::new(&rows)
        .trial(&run.info, |(record, (params, _))| (&record.trial, *params))
        .text("family", |(r, _)| r.trial.family.as_deref())
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
        .text("log", |(_, (_, log))| *log)
        .finish()
}

/// The trials of a plan that have ended according to the table `trials`, in the order of the plan.
///
/// # Errors
/// An unknown status or cause; a log that is none.
pub(crate) fn ended(frame: &DataFrame, plan: &[Trial]) -> Result<Vec<Ended>, String> {
    let text = |name: &str| frame.column(name).and_then(|c| c.str().cloned()).map_err(fault);
    let integers = |name: &str| frame.column(name).and_then(|c| c.i64().cloned()).map_err(fault);
    let numbers = |name: &str| frame.column(name).and_then(|c| c.f64().cloned()).map_err(fault);
    let (ids, statuses, reasons, causes) = (text("trial")?, text("status")?, text("reason")?, text("cause")?);
    let (wall, timeout, limit) = (numbers("wall_seconds")?, numbers("timeout_seconds")?, integers("limit_bytes")?);
    let (cpu, cores, simd, memory) = (text("cpu")?, integers("cores")?, text("simd")?, integers("memory_bytes")?);
    let (gpu, os, rustc, version) = (text("gpu")?, text("os")?, text("rustc")?, text("version")?);
    let (revision, logs) = (text("git_revision")?, text("log")?);
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
        let log = logs.get(row).map(|log| {
            TrialLog::from_json(log)
                .map_err(|error| format!("the log of the trial {} cannot be read: {error}", trial.id))
        });
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
            log: log.transpose()?,
        });
    }
    Ok(all)
}

/// A text as a CSV cell. Spreadsheets treat text that begins with certain characters as a formula and run it, so such
/// text gets a leading apostrophe, which they hide. Numbers are not changed.
pub fn csv_text(text: &str) -> Cow<'_, str> {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    if formula { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A frame as CSV, with a header line: texts by [`csv_text`], numbers as the shortest decimals that parse to the same
/// value, and an empty cell where there is no value.
///
/// # Errors
/// An error of the table library, e.g. for columns of lists.
pub fn to_csv(frame: &DataFrame) -> Result<Vec<u8>, String> {
    let mut columns = Vec::new();
    for column in frame.columns() {
        columns.push(match column.dtype() {
            DataType::String => {
                let texts = column.str().map_err(fault)?;
                // In CSV, a missing value and an empty text look the same.
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

/// A frame as one Parquet file, compressed with Snappy.
///
/// # Errors
/// An error of the table library.
pub fn to_parquet(mut frame: DataFrame) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let writer = ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Snappy);
    writer.finish(&mut frame).map_err(fault)?;
    Ok(bytes)
}

/// The SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::parquet::read;
    use crate::store::tests::{info, record};
    use crate::{Measured, Phase, metric};

    /// A run of three trials: one has ended well, with a log; one has failed; one has not run.
    pub(crate) fn run() -> Run {
        let mut records = vec![record("a1"), record("b2")];
        records[0].values.push(Measured::new(&metric::RECALL_K_AT_K, 1.5).k(10).path("adc").repeat(3).stage("all"));
        records[0].trial.family = Some("product".into());
        let phases = vec![Phase { name: "fit".into(), seconds: 0.25, processor_seconds: None }];
        records[0].log = Some(TrialLog { phases, remarks: vec![], standard_error: "two\nlines".into(), in_turn: None });
        records[1].status = Status::Failed;
        records[1].cause = Some(Cause::Memory);
        records[1].reason = Some("no memory".into());
        records[1].values.clear();
        records[1].limits.memory_bytes = Some(1 << 30);
        records[1].machine = Machine { gpu: Some("G".into()), git_dirty: Some(true), cores: 4, ..Machine::default() };
        records[1].trial.params = serde_json::json!({ "an \"odd\"": "name, with a comma" });
        let mut info = info(&["a1", "b2", "c3"]);
        records.iter().zip(&mut info.trials).for_each(|(record, trial)| *trial = record.trial.clone());
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
            let bytes = to_parquet(frame.clone()).expect("bytes");
            std::fs::write(&path, &bytes).expect("writes");
            let digest = sha256(&bytes);
            assert!(read(&path, &digest, schema, |_| true).expect("reads").equals_missing(&frame));
            assert_eq!(read(&path, &digest, schema, |name| name == "trial").expect("reads").width(), 1);
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

    #[test]
    fn a_status_or_a_log_that_is_none_is_refused() {
        let run = run();
        let refused = |column: &str, values: [&str; 2]| {
            let mut frame = trials(&run).expect("a frame");
            frame.replace(column, Column::new(column.into(), values)).expect("a column");
            ended(&frame, &run.info.trials).expect_err(column)
        };
        assert_eq!(refused("status", ["ok", "splendid"]), "the trial b2 has the status \"splendid\"");
        let error = refused("log", [r#"{"phases":[]}"#, "[0]"]);
        assert!(error.starts_with("the log of the trial b2 cannot be read: "), "{error}");
    }
}
