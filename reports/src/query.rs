//! SQL queries over the tables of runs, with results as text, Markdown, CSV or Parquet.

use crate::markdown::escape;
use polars::prelude::*;
use polars::sql::SQLContext;
use polars_lazy::prelude::IntoLazy;
use record::{RunTables, contained, frame, stacked};
use thiserror::Error;

/// The column with the name of a row's run.
const RUN: &str = "run";

/// A query that failed.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct QueryError {
    /// What is wrong.
    pub message: String,
    /// The existing tables and columns.
    pub help: String,
}

/// Runs a query over the tables `results` and `trials` of all runs, concatenated; the column `run` has the name of each
/// row's run.
///
/// # Errors
/// SQL that cannot be parsed or executed; the error lists the existing columns.
pub fn query(runs: Vec<(String, RunTables)>, sql: &str) -> Result<DataFrame, QueryError> {
    let names: Vec<String> = runs.iter().map(|(name, _)| name.clone()).collect();
    let (results, trials): (Vec<DataFrame>, Vec<DataFrame>) =
        runs.into_iter().map(|(_, tables)| (tables.results, tables.trials)).unzip();
    let mut help = String::new();
    let answer = contained(|| {
        let mut context = SQLContext::new();
        for (name, frames) in [("results", results), ("trials", trials)] {
            let table = stacked(frames, RUN, &names)?;
            let columns: Vec<&str> = table.get_column_names().into_iter().map(|name| name.as_str()).collect();
            help += &format!("the table `{name}` has the columns {}\n", columns.join(", "));
            context.register(name, table.lazy());
        }
        context.execute(sql).and_then(|frame| frame.collect()).map_err(|error| reason(&error))
    });
    answer.map_err(|message| QueryError { message, help: help.trim_end().to_owned() })
}

/// The message of the SQL engine, without details about its internal steps.
fn reason(error: &PolarsError) -> String {
    let mut innermost = error;
    while let PolarsError::Context { error, .. } | PolarsError::ExprContext { error, .. } = innermost {
        innermost = error;
    }
    let text = innermost.to_string();
    let first = text.lines().next().unwrap_or_default().trim();
    if matches!(innermost, PolarsError::ColumnNotFound(_)) {
        let name = first.split('"').nth(1).or(first.rsplit(": ").next()).unwrap_or(first);
        return format!("there is no column `{name}`");
    }
    first.to_owned()
}

/// Maximum number of rows in text and Markdown; a result may have a million.
pub const MOST_ROWS: usize = 1000;

/// Maximum number of characters of a cell in text; parameters are long.
const MOST_CHARACTERS: usize = 60;

/// A result as a text table with aligned columns, at most [`MOST_ROWS`] rows.
pub fn to_text(answer: &DataFrame) -> String {
    let rows = cells(answer, |text| {
        // Remove escape sequences: a run may come from a stranger, and the text goes to a terminal.
        let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match plain.chars().count() > MOST_CHARACTERS {
            true => plain.chars().take(MOST_CHARACTERS - 1).chain(['…']).collect(),
            false => plain,
        }
    });
    let right = right_aligned(answer);
    let widths: Vec<usize> =
        (0..answer.width()).map(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let padded = row.iter().zip(&widths).zip(&right).map(|((cell, &width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        out += padded.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out + &left_out(answer)
}

/// A result as a Markdown table of at most [`MOST_ROWS`] rows.
pub fn to_markdown(answer: &DataFrame) -> String {
    let rows = cells(answer, escape);
    let mut out = String::new();
    for (i, row) in rows.iter().enumerate() {
        out += &format!("| {} |\n", row.join(" | "));
        if i == 0 {
            let lines: Vec<&str> = right_aligned(answer).into_iter().map(|r| if r { "--:|" } else { "--|" }).collect();
            out += &format!("|{}\n", lines.concat());
        }
    }
    match left_out(answer) {
        line if line.is_empty() => out,
        line => format!("{out}\n{line}"),
    }
}

/// A complete result as CSV, with the protection of [`frame::csv_text`].
///
/// # Errors
/// A column that CSV cannot represent, such as lists.
pub fn to_csv(answer: &DataFrame) -> Result<Vec<u8>, String> {
    contained(|| frame::to_csv(answer))
}

/// A complete result as Parquet.
///
/// # Errors
/// An error of the table library.
pub fn to_parquet(answer: DataFrame) -> Result<Vec<u8>, String> {
    contained(|| frame::to_parquet(answer))
}

fn left_out(answer: &DataFrame) -> String {
    match answer.height().saturating_sub(MOST_ROWS) {
        0 => String::new(),
        more => format!("{more} more rows; a LIMIT, CSV or `--out` shows others\n"),
    }
}

fn right_aligned(answer: &DataFrame) -> Vec<bool> {
    answer.columns().iter().map(|column| column.dtype().is_primitive_numeric()).collect()
}

/// The column names, then the shown rows, with texts converted by `text`.
fn cells(answer: &DataFrame, text: impl Fn(&str) -> String) -> Vec<Vec<String>> {
    let head = answer.get_column_names().into_iter().map(|name| text(name)).collect();
    let cell = |column: &Column, row: usize| match column.get(row) {
        Err(_) | Ok(AnyValue::Null) => String::new(),
        Ok(AnyValue::String(value)) => text(value),
        Ok(AnyValue::StringOwned(value)) => text(&value),
        Ok(AnyValue::Float64(value)) => number(value),
        Ok(AnyValue::Float32(value)) => number(f64::from(value)),
        Ok(other) => text(&other.to_string()),
    };
    let rows = (0..answer.height().min(MOST_ROWS)).map(|row| answer.columns().iter().map(|c| cell(c, row)).collect());
    std::iter::once(head).chain(rows).collect()
}

/// Six significant digits without trailing zeros; an exponent only where decimals would be long.
fn number(value: f64) -> String {
    let rounded = format!("{value:.5e}");
    let exponent: i32 = rounded.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    match rounded.parse::<f64>() {
        Ok(rounded) if rounded == 0.0 || (-5..15).contains(&exponent) => rounded.to_string(),
        Ok(rounded) if rounded.is_finite() => format!("{rounded:e}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits_and_no_zeros_behind() {
        let shown = [0.25, 1.0 / 3.0, 123_456_789.0, 0.0, -2.5e-9, 1e20, f64::NAN, 12.0].map(number);
        assert_eq!(shown, ["0.25", "0.333333", "123457000", "0", "-2.5e-9", "1e20", "NaN", "12"]);
    }
}
