//! What the files of a dataset contain: digests, rows to leave out, and neighbours that come with them.

use super::Paths;
use crate::content::{Content, Reading};
use crate::drops::{self, DroppedRows, MarkedRows};
use crate::file_truth::{self, TruthFile};
use crate::row_set::RowSet;
use crate::seen::Digests;
use crate::split::{Holdings, Parts};
use crate::{DatasetError, format};
use std::collections::HashMap;
use std::path::Path;

impl Paths {
    /// What each part is made of, by the keys of an experiment.
    pub(super) fn contents(&self, digests: &mut Digests) -> Result<Vec<(&'static str, Content)>, DatasetError> {
        let others = [
            ("labels", self.base_labels.as_ref(), Reading::Labels),
            ("query_labels", self.query_labels.as_ref(), Reading::Labels),
            ("truth", self.truth.as_ref(), Reading::Neighbours),
        ];
        let rows = self.rows().map(|(key, path)| (key, path.as_path(), Reading::Rows));
        let others = others.into_iter().filter_map(|(key, path, reading)| Some((key, path?.as_path(), reading)));
        let all: Vec<(&str, &Path, Reading)> = rows.chain(others).collect();
        let wanted: Vec<(&Path, Reading)> = all.iter().map(|(_, path, reading)| (*path, *reading)).collect();
        let contents = digests.arrays(&wanted, &self.drop)?;
        Ok(all.into_iter().map(|(key, ..)| key).zip(contents).collect())
    }

    /// Takes the rows that the key `drop` names out of all parts.
    pub(super) fn leave_out(
        &self,
        contents: &[(&'static str, Content)],
        parts: &mut Parts,
    ) -> Result<Vec<DroppedRows>, String> {
        let none = MarkedRows::default();
        let of = |key: &str| contents.iter().find(|(part, _)| *part == key).map(|(_, content)| &content.marked);
        let base = of("base").unwrap_or(&none);
        drops::leave_out(parts, self.train_on_base, ["train", "base", "queries"].map(|key| of(key).unwrap_or(base)))
    }

    /// The neighbours in the files.
    ///
    /// # Errors
    /// No file of queries that they could belong to; other numbers of rows.
    pub(super) fn truth_file(
        &self,
        name: &str,
        holdings: Holdings,
        parts: &Parts,
    ) -> Result<Option<TruthFile>, DatasetError> {
        let wrong = |reason: String| DatasetError::Shape { name: name.to_owned(), reason };
        let Some(path) = &self.truth else { return Ok(None) };
        let Some(queries) = &self.queries else {
            return Err(wrong("`truth` needs a `queries` file, whose rows its rows belong to".into()));
        };
        let (rows, expected) = (format::shape(path)?.0, holdings.queries.unwrap_or(0));
        if rows != expected {
            let (path, queries) = (path.display(), queries.display());
            return Err(wrong(format!("{path} has {rows} rows for the {expected} rows of {queries}")));
        }
        Ok(Some(TruthFile {
            path: path.clone(),
            base: self.base.clone(),
            queries: queries.clone(),
            query_rows: parts.queries.clone(),
            renumbered: renumbered(&self.base, holdings.base, &parts.base),
        }))
    }
}

/// Checks that no part, and no file of one, is also in another part.
pub(super) fn disjoint(contents: &[(&'static str, Content)]) -> Result<(), String> {
    let mut parts = HashMap::new();
    for (key, content) in contents.iter().filter(|(key, _)| ["base", "train", "queries"].contains(key)) {
        for digest in content.pieces.iter().chain([&content.sha256]) {
            if *parts.entry(digest).or_insert(key) != key {
                return Err("two of its files are the same; train, base and query rows must be disjoint".into());
            }
        }
    }
    Ok(())
}

/// Why row numbers of `path` are not those of base rows; None if they are.
fn renumbered(path: &Path, held: usize, base: &RowSet) -> Option<String> {
    let name = file_truth::name_of(path);
    let all = *base == RowSet::Range(0..held) || base.iter().eq(0..held);
    (!all).then(|| format!("the base rows are not all rows of {name} in its order"))
}
