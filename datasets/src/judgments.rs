//! Judgments of relevance: which base rows answer which queries, as TREC and BEIR publish them.

use crate::format::{self, Place};
use crate::row_set::RowSet;
use crate::seen::Digests;
use crate::split::Parts;
use crate::{DatasetError, format::row_names};
use std::collections::HashMap;
use std::path::PathBuf;

/// Judgments of the query rows of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgments {
    /// For each query row the base rows that are relevant to it, in order of row. Empty if none is known.
    pub relevant: Vec<Vec<Relevant>>,
    /// Number of relevant rows of these queries that are not among the base rows, because the split leaves them out.
    pub left_out: usize,
}

/// A base row that is relevant to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relevant {
    /// The base row.
    pub row: u32,
    /// Its grade, at least 1; larger is more relevant.
    pub grade: u32,
}

impl Judgments {
    /// Number of queries with at least one relevant base row.
    pub fn judged(&self) -> usize {
        self.relevant.iter().filter(|rows| !rows.is_empty()).count()
    }
}

/// The files of judgments, and of the names that they use.
#[derive(Clone, Debug, Default)]
pub(crate) struct JudgmentFiles {
    pub qrels: Option<PathBuf>,
    pub ids: Option<PathBuf>,
    pub query_ids: Option<PathBuf>,
}

/// A line of a file of judgments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    query: String,
    document: String,
    grade: i64,
}

impl JudgmentFiles {
    /// Checks that the files fit together. `own_queries` says whether query rows have a file of their own.
    ///
    /// # Errors
    /// Names without judgments; names of query rows that have no file of their own.
    pub(crate) fn check(&self, own_queries: bool) -> Result<(), String> {
        if self.qrels.is_none() && (self.ids.is_some() || self.query_ids.is_some()) {
            return Err(
                "`ids` and `query_ids` are the names that judgments use; give the judgments as `qrels`, or leave them out"
                    .to_owned(),
            );
        }
        if self.query_ids.is_some() && !own_queries {
            return Err("`query_ids` needs a `queries` file; split queries take their names from `ids`".to_owned());
        }
        Ok(())
    }

    /// The content of each file, for the fingerprint of a dataset.
    pub(crate) fn contents(&self, digests: &mut Digests) -> Result<Vec<(&'static str, String)>, DatasetError> {
        let files = [("qrels", &self.qrels), ("ids", &self.ids), ("query_ids", &self.query_ids)];
        let named = files.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        let content = |(key, path): (&'static str, &PathBuf)| {
            let part = Place::of(path).part.map_or_else(String::new, |part| format!("#{part}"));
            Ok((key, format!("{}{part}", digests.of(path)?)))
        };
        named.map(content).collect()
    }

    /// Reads the judgments; None if there are none. `base` and `queries` are the rows of the files that base and query rows
    /// come from; `queries` is None if both come from one file.
    ///
    /// # Errors
    /// Malformed files, names that no row has, judgments given twice, and judgments without a single relevant base row.
    pub(crate) fn load(
        &self,
        name: &str,
        base: usize,
        queries: Option<usize>,
        parts: &Parts,
    ) -> Result<Option<Judgments>, DatasetError> {
        let Some(path) = &self.qrels else { return Ok(None) };
        let lines = format::read_judgments(path)?;
        let wrong = |reason: String| DatasetError::Shape { name: name.to_owned(), reason };
        let documents = places(&self.ids, base, lines.iter().map(|line| &line.document[..]), name)?;
        let query_names = if queries.is_some() { &self.query_ids } else { &self.ids };
        let asked = places(query_names, queries.unwrap_or(base), lines.iter().map(|line| &line.query[..]), name)?;
        let unknown =
            |what: &str, found: &HashMap<String, Option<usize>>, file: &Option<PathBuf>, of: fn(&Line) -> &str| {
                let first = lines.iter().map(of).find(|name| found.get(*name).is_some_and(Option::is_none));
                let Some(first) = first else { return Ok(()) };
                let count = found.values().filter(|row| row.is_none()).count();
                let numbers = || "the row numbers (name rows with `ids` and `query_ids`)".to_owned();
                let names = file.as_ref().map_or_else(numbers, |path| path.display().to_string());
                let (of, path) = (found.len(), path.display());
                Err(wrong(format!(
                    "{count} of the {of} {what} ids in {path} are not among {names}; the first is `{}`",
                    shown(first)
                )))
            };
        unknown("query", &asked, query_names, |line| &line.query)?;
        unknown("document", &documents, &self.ids, |line| &line.document)?;
        let inverse = |rows: &RowSet, of: usize| {
            let mut places = vec![None; of];
            rows.iter().enumerate().for_each(|(place, row)| places[row] = u32::try_from(place).ok());
            places
        };
        let base_places: Vec<Option<u32>> = inverse(&parts.base, base);
        let query_places: Vec<Option<u32>> = inverse(&parts.queries, queries.unwrap_or(base));
        let mut judgments = Judgments { relevant: vec![Vec::new(); parts.queries.len()], left_out: 0 };
        for line in lines.iter().filter(|line| line.grade > 0) {
            let row = |found: &HashMap<String, Option<usize>>, name: &str| found.get(name).copied().flatten();
            let (Some(query), Some(document)) = (row(&asked, &line.query), row(&documents, &line.document)) else {
                continue;
            };
            let Some(query) = query_places[query] else { continue };
            match base_places[document] {
                Some(row) => {
                    let grade = u32::try_from(line.grade).unwrap_or(u32::MAX);
                    judgments.relevant[query as usize].push(Relevant { row, grade });
                }
                None => judgments.left_out += 1,
            }
        }
        judgments.relevant.iter_mut().for_each(|rows| rows.sort_by_key(|relevant| relevant.row));
        if judgments.judged() == 0 {
            return Err(wrong(format!(
                "by {}, no base row is relevant to any of the {} query rows; check `ids`, `query_ids` and `split`",
                path.display(),
                parts.queries.len()
            )));
        }
        Ok(Some(judgments))
    }
}

/// A name on one line.
fn shown(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}

/// The row of each of the names `wanted` in a file of `rows` rows; None if no row has that name.
fn places<'n>(
    names: &Option<PathBuf>,
    rows: usize,
    wanted: impl Iterator<Item = &'n str>,
    dataset: &str,
) -> Result<HashMap<String, Option<usize>>, DatasetError> {
    let mut places: HashMap<String, Option<usize>> = wanted.map(|name| (name.to_owned(), None)).collect();
    let Some(path) = names else {
        for (name, row) in &mut places {
            // Exactly as a row number is written, so that no two names are one row.
            *row = name.parse().ok().filter(|row: &usize| *row < rows && row.to_string() == *name);
        }
        return Ok(places);
    };
    let mut count = 0;
    row_names::read(path, &mut |name| {
        if let Some(place) = places.get_mut(name)
            && let Some(first) = place.replace(count)
        {
            return Err(format!("rows {first} and {count} have the same id `{}`", shown(name)));
        }
        count += 1;
        Ok(())
    })?;
    if count != rows {
        let reason = format!("{} has {count} ids for {rows} rows", path.display());
        return Err(DatasetError::Shape { name: dataset.to_owned(), reason });
    }
    Ok(places)
}

/// Reads the lines of a file of judgments: query, document and grade. With four fields a line is of TREC (`query 0 document
/// grade`), with three of BEIR (`query document grade`), whose first line may be a header.
///
/// # Errors
/// A reason in words, with the line.
pub(crate) fn parse(mut next: impl FnMut() -> Result<Option<(String, usize)>, String>) -> Result<Vec<Line>, String> {
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    let (mut lines, mut width) = (Vec::new(), None);
    while let Some((text, number)) = next()? {
        let wrong = |what: String| format!("line {number}: {what}");
        let by_tabs: Vec<&str> = text.trim().split('\t').map(str::trim).collect();
        let fields: Vec<&str> = if by_tabs.len() == 3 { by_tabs } else { text.split_whitespace().collect() };
        let expected = *width.get_or_insert(fields.len());
        if !(3..=4).contains(&fields.len()) || fields.len() != expected {
            return Err(wrong(format!(
                "it has {} fields; a judgment is `query 0 document grade` as in TREC, or `query document grade`{}",
                fields.len(),
                if fields.len() == expected { String::new() } else { format!(", and the first line has {expected}") }
            )));
        }
        let (query, document, grade) = (fields[0], fields[fields.len() - 2], fields[fields.len() - 1]);
        let Ok(grade) = grade.parse::<i64>() else {
            if lines.is_empty() && number == 1 && grade.parse::<f64>().is_err() {
                // A header.
                continue;
            }
            return Err(wrong(format!("the grade is `{}`, which is not a whole number", shown(grade))));
        };
        if i32::try_from(grade).is_err() {
            return Err(wrong(format!("the grade {grade} is beyond 2^31")));
        }
        let pair = (query.to_owned(), document.to_owned());
        if let Some(first) = seen.insert(pair.clone(), number) {
            return Err(wrong(format!(
                "document `{}` is judged for query `{}` a second time, after line {first}",
                shown(document),
                shown(query)
            )));
        }
        lines.push(Line { query: pair.0, document: pair.1, grade });
    }
    if lines.is_empty() {
        return Err("it holds no judgments".to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Line>, String> {
        let mut lines = text.lines().enumerate();
        parse(|| Ok(lines.next().map(|(i, line)| (line.to_owned(), i + 1))))
    }

    fn line(query: &str, document: &str, grade: i64) -> Line {
        Line { query: query.to_owned(), document: document.to_owned(), grade }
    }

    #[test]
    fn trec_and_beir_are_told_apart_by_their_fields() {
        let expected = vec![line("q1", "d 7", 2), line("q1", "d8", -1)];
        assert_eq!(read("query-id\tcorpus-id\tscore\nq1\td 7\t2\nq1\td8\t-1\n"), Ok(expected));
        assert_eq!(read("1 0 d7 2\n1\tQ0\td8\t0"), Ok(vec![line("1", "d7", 2), line("1", "d8", 0)]));
        assert_eq!(read("1 7 1"), Ok(vec![line("1", "7", 1)]));
    }

    #[test]
    fn what_is_no_judgment_is_refused_with_its_line() {
        for (text, expected) in [
            ("", "it holds no judgments"),
            ("query-id\tcorpus-id\tscore", "it holds no judgments"),
            ("a b", "line 1: it has 2 fields"),
            (
                "a 0 b 1\na b 1",
                "line 2: it has 3 fields; a judgment is `query 0 document grade` as in TREC, or `query document grade`, and the first line has 4",
            ),
            ("a b 1\nc d x", "line 2: the grade is `x`, which is not a whole number"),
            ("a b 0.5", "line 1: the grade is `0.5`"),
            ("a b 99999999999", "line 1: the grade 99999999999 is beyond 2^31"),
            ("a b 1\na b 1", "line 2: document `b` is judged for query `a` a second time, after line 1"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
