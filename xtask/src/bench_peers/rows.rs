//! The rows of peers/rows.toml, checked, and reduced for `--quick`.

use methods::{Method, ParamError};
use serde::Deserialize;
use serde_json::{Map, Value};

const TEXT: &str = include_str!("../../peers/rows.toml");

/// One piece of work that both sides do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Name in tables.
    pub name: String,
    /// Ours: a method's name with its parameters. Without one, the exact search of the ground truth.
    #[serde(default)]
    pub method: Map<String, Value>,
    /// Theirs.
    pub faiss: Value,
    /// What is timed.
    pub stage: Stage,
    /// Neighbours searched for.
    #[serde(default)]
    pub k: usize,
    /// Rows trained on, at most.
    pub train: usize,
    /// Rows worked on, at most.
    #[serde(default = "all_rows")]
    pub rows: usize,
    /// The dimension must be a multiple of it.
    #[serde(default = "one")]
    pub divisor: usize,
    /// Repeats, at most.
    #[serde(default = "all_rows")]
    pub repeats: usize,
    /// Operations of a dense computation.
    pub flops: Option<Polynomial>,
    /// Bytes that pass through memory.
    pub bytes: Option<Polynomial>,
    /// Our throughput over theirs, at least.
    pub aim: f64,
}

fn all_rows() -> usize {
    usize::MAX
}

fn one() -> usize {
    1
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Fitting.
    Train,
    /// Rows to codes.
    Encode,
    /// Codes to rows.
    Decode,
    /// Raw queries to neighbours.
    Search,
}

impl Stage {
    /// As the peer reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Train => "train",
            Stage::Encode => "encode",
            Stage::Decode => "decode",
            Stage::Search => "search",
        }
    }
}

/// `row + dim·d + dim2·d²`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Polynomial {
    row: f64,
    dim: f64,
    dim2: f64,
}

impl Polynomial {
    /// At dimension `d`.
    pub fn at(self, d: usize) -> f64 {
        let d = d as f64;
        self.row + self.dim * d + self.dim2 * d * d
    }
}

impl Row {
    /// Our method; none for the exact search.
    ///
    /// # Errors
    /// What the method's registry says; none for the rows shipped.
    pub fn parse_method(&self) -> Result<Option<Box<dyn Method>>, ParamError> {
        self.method.iter().next().map(|(name, params)| methods::parse(name, params.clone())).transpose()
    }

    /// Why it has no place on vectors of `d` components, if it has none.
    pub fn refusal(&self, d: usize) -> Option<String> {
        (!d.is_multiple_of(self.divisor)).then(|| format!("d={d} is not divisible by {}", self.divisor))
    }

    /// The same work on few rows, for a quick look: fewer still of what is slow.
    pub fn quick(self) -> Row {
        let most = if self.rows == all_rows() { 5000 } else { 500 };
        let repeats = self.repeats.min(2);
        Row { train: self.train.min(most), rows: self.rows.min(most), repeats, ..self }
    }
}

/// The rows whose name contains `only`.
///
/// # Errors
/// A mistake in the table; none in the one shipped.
pub fn read(only: &str) -> Result<Vec<Row>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        row: Vec<Row>,
    }
    let table: Table = toml::from_str(TEXT).map_err(|e| e.to_string())?;
    Ok(table.row.into_iter().filter(|row| row.name.contains(only)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_measured() {
        let rows = read("").expect("a good table");
        assert_eq!(rows.len(), 16);
        for row in &rows {
            let method = row.parse_method().unwrap_or_else(|e| panic!("{}: {}", row.name, e.message));
            assert!(method.is_some() || row.stage == Stage::Search, "{}", row.name);
            if let Some(method) = method {
                assert!(method.check(row.divisor * 32).is_ok(), "{}", row.name);
            }
            assert!(row.faiss["kind"].is_string(), "{}", row.name);
            assert_eq!(row.k > 0, row.stage == Stage::Search, "{}", row.name);
            assert!(row.flops.is_some() != row.bytes.is_some(), "{}: one limit", row.name);
            assert!(row.aim >= 1.0 && row.repeats >= 1, "{}", row.name);
        }
        assert_eq!(read("kmeans").expect("a good table").len(), 2);
        assert!(read("nothing of that name").expect("a good table").is_empty());
    }

    #[test]
    fn what_does_not_divide_is_left_out_with_a_reason() {
        let row = &read("pq32x4fs").expect("a good table")[0];
        assert_eq!(row.refusal(100).as_deref(), Some("d=100 is not divisible by 32"));
        assert_eq!(row.refusal(384), None);
    }

    #[test]
    fn dense_work_is_counted_as_the_textbook_does() {
        let row = &read("kmeans-256").expect("a good table")[0];
        assert_eq!(row.flops.expect("its limit").at(128), 2.0 * 256.0 * 128.0 * 10.0);
    }
}
