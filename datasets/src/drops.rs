//! Rows that an entry leaves out, as its key `drop` says: which rows of an array are to be dropped, and what that leaves of
//! the parts of a dataset.

use crate::Part;
use crate::content::row_digest;
use crate::row_set::RowSet;
use crate::split::Parts;
use ndarray::ArrayView1;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Kinds of rows that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    /// Rows with a NaN or an infinity.
    NonFinite,
    /// Rows of zeros only.
    Zeros,
    /// Rows that equal an earlier row of the same part in all components. The first of them stays. Rows that differ only
    /// in length are not equal, also with the metric cosine. Query rows are never duplicates.
    Duplicates,
}

/// Rows of an array by kind, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkedRows {
    non_finite: Vec<usize>,
    zeros: Vec<usize>,
    /// Groups of equal rows, without those of the other kinds.
    equal: Vec<Vec<usize>>,
}

/// Marks rows of the requested kinds while the rows of an array pass.
pub(crate) struct Marker {
    kinds: Vec<RowKind>,
    marked: MarkedRows,
    /// A digest of every row, if equal rows are requested. Its length makes equal digests of unlike rows impossible in
    /// practice.
    digests: Vec<u128>,
    rows: usize,
}

impl Marker {
    pub fn new(kinds: &[RowKind]) -> Marker {
        Marker { kinds: kinds.to_vec(), marked: MarkedRows::default(), digests: Vec::new(), rows: 0 }
    }

    /// Takes the next rows, of `dim` components each.
    pub fn take(&mut self, rows: &[f32], dim: usize) {
        if self.kinds.is_empty() {
            return;
        }
        let wanted = |kind| self.kinds.contains(&kind);
        let [non_finite, zeros, duplicates] = [RowKind::NonFinite, RowKind::Zeros, RowKind::Duplicates].map(wanted);
        let look = |row: &[f32]| {
            let is_non_finite = non_finite && !row.iter().all(|v| v.is_finite());
            let is_zero = zeros && row.iter().all(|v| *v == 0.0);
            (is_non_finite, is_zero, duplicates.then(|| row_digest(ArrayView1::from(row))))
        };
        let found: Vec<_> = rows.par_chunks_exact(dim).map(look).collect();
        for (is_non_finite, is_zero, digest) in found {
            self.marked.non_finite.extend(is_non_finite.then_some(self.rows));
            self.marked.zeros.extend(is_zero.then_some(self.rows));
            self.digests.extend(digest);
            self.rows += 1;
        }
    }

    /// The rows of the requested kinds.
    pub fn finish(mut self) -> MarkedRows {
        let mut order: Vec<usize> = (0..self.digests.len()).collect();
        order.par_sort_unstable_by_key(|&row| (self.digests[row], row));
        let other: HashSet<usize> = self.marked.non_finite.iter().chain(&self.marked.zeros).copied().collect();
        for group in order.chunk_by(|&a, &b| self.digests[a] == self.digests[b]).filter(|group| group.len() > 1) {
            // Equal rows are all of the same other kind, or of none.
            if !other.contains(&group[0]) {
                self.marked.equal.push(group.to_vec());
            }
        }
        self.marked
    }
}

/// Rows that were left out of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedRows {
    /// The part.
    pub part: Part,
    /// Its number of rows before.
    pub of: usize,
    /// Rows with a NaN or an infinity.
    pub non_finite: usize,
    /// Rows of zeros only.
    pub zeros: usize,
    /// Rows that equal an earlier one.
    pub duplicates: usize,
}

impl DroppedRows {
    /// Number of rows of all kinds.
    pub fn count(&self) -> usize {
        self.non_finite + self.zeros + self.duplicates
    }
}

impl MarkedRows {
    /// Takes the marked rows of its array out of a part.
    fn leave_out(&self, part: Part, rows: &mut RowSet) -> DroppedRows {
        if self.non_finite.is_empty() && self.zeros.is_empty() && self.equal.is_empty() {
            return DroppedRows { part, of: rows.len(), non_finite: 0, zeros: 0, duplicates: 0 };
        }
        let set = |rows: &[usize]| rows.iter().copied().collect::<HashSet<usize>>();
        let (non_finite, zeros) = (set(&self.non_finite), set(&self.zeros));
        let groups = self.equal.iter().filter(|_| part != Part::Queries).enumerate();
        let group_of: HashMap<usize, usize> =
            groups.flat_map(|(group, rows)| rows.iter().map(move |&row| (row, group))).collect();
        let mut met = HashSet::new();
        let mut dropped = DroppedRows { part, of: rows.len(), non_finite: 0, zeros: 0, duplicates: 0 };
        rows.retain(|row| {
            let row = &row;
            let count = if non_finite.contains(row) {
                &mut dropped.non_finite
            } else if zeros.contains(row) {
                &mut dropped.zeros
            } else if group_of.get(row).is_some_and(|group| !met.insert(*group)) {
                &mut dropped.duplicates
            } else {
                return true;
            };
            *count += 1;
            false
        });
        dropped
    }
}

/// What identifies the rows that were left out: their kinds. Nothing if there were none, so that `drop` does not make
/// another dataset of the same rows.
pub(crate) fn identity(dropped: &[DroppedRows]) -> String {
    let any = |count: fn(&DroppedRows) -> usize| dropped.iter().any(|rows| count(rows) > 0);
    let kinds =
        [("non-finite", any(|r| r.non_finite)), ("zeros", any(|r| r.zeros)), ("duplicates", any(|r| r.duplicates))];
    let kinds: Vec<&str> = kinds.into_iter().filter(|(_, any)| *any).map(|(kind, _)| kind).collect();
    if kinds.is_empty() { String::new() } else { format!(" drop:{}", kinds.join(",")) }
}

/// Takes marked rows out of all parts; each part comes with the marks of its array. Returns what was left out.
///
/// # Errors
/// A part of which no row is left.
pub(crate) fn leave_out(
    parts: &mut Parts,
    train_on_base: bool,
    [train, base, queries]: [&MarkedRows; 3],
) -> Result<Vec<DroppedRows>, String> {
    let mut dropped =
        vec![base.leave_out(Part::Base, &mut parts.base), queries.leave_out(Part::Queries, &mut parts.queries)];
    if !train_on_base {
        dropped.insert(0, train.leave_out(Part::Train, &mut parts.train));
    }
    dropped.retain(|rows| rows.count() > 0);
    if train_on_base && dropped.iter().any(|rows| rows.part == Part::Base) {
        // Training rows are some of the base rows, or all of them.
        let kept = parts.base.marks();
        parts.train.retain(|row| kept.contains(row));
        if parts.train.is_empty() {
            return Err("`drop` leaves out all base rows that methods would be trained on".to_owned());
        }
    }
    match dropped.iter().find(|rows| rows.count() == rows.of) {
        Some(DroppedRows { part, of, .. }) => Err(format!("`drop` leaves out all {of} {} rows", part.adjective())),
        None => Ok(dropped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(rows: &[[f32; 2]], kinds: &[RowKind]) -> MarkedRows {
        let mut marker = Marker::new(kinds);
        // In two blocks.
        let (a, b) = rows.split_at(rows.len() / 2);
        marker.take(a.as_flattened(), 2);
        marker.take(b.as_flattened(), 2);
        marker.finish()
    }

    #[test]
    fn rows_are_dropped_by_kind_and_the_first_of_equal_ones_stays_in_the_order_of_the_part() {
        use RowKind::{Duplicates, NonFinite, Zeros};
        let nan = f32::NAN;
        let rows = [[1.0, 2.0], [0.0, -0.0], [1.0, 2.0], [nan, 0.0], [nan, 0.0], [2.0, 4.0], [0.0, 0.0], [1.0, 2.0]];
        let of = |kinds: &[RowKind], part, rows_of_part: Vec<usize>| {
            let mut rows_of_part = RowSet::Listed(rows_of_part);
            let dropped = marked(&rows, kinds).leave_out(part, &mut rows_of_part);
            (
                rows_of_part.iter().collect::<Vec<_>>(),
                (dropped.of, dropped.non_finite, dropped.zeros, dropped.duplicates),
            )
        };
        let all = || (0..8).collect::<Vec<_>>();
        assert_eq!(of(&[], Part::Base, all()), (all(), (8, 0, 0, 0)));
        assert_eq!(of(&[NonFinite, Zeros, Duplicates], Part::Base, all()), (vec![0, 5], (8, 2, 2, 2)));
        assert_eq!(of(&[NonFinite, Zeros, Duplicates], Part::Queries, all()), (vec![0, 2, 5, 7], (8, 2, 2, 0)));
        assert_eq!(of(&[Zeros], Part::Train, all()), (vec![0, 2, 3, 4, 5, 7], (8, 0, 2, 0)));
        // Without the kind of their own, equal rows are duplicates like others.
        assert_eq!(of(&[Duplicates], Part::Base, all()), (vec![0, 1, 3, 5], (8, 0, 0, 4)));
        // Only within the part, in its order.
        assert_eq!(of(&[Duplicates], Part::Base, vec![7, 5, 2]), (vec![7, 5], (3, 0, 0, 1)));
        assert_eq!(of(&[Duplicates], Part::Base, vec![2, 6]), (vec![2, 6], (2, 0, 0, 0)));
    }

    #[test]
    fn a_part_without_rows_is_an_error() {
        let marks = marked(&[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]], &[RowKind::Zeros]);
        let [train, base, queries] = [0, 1, 2].map(|row| RowSet::Range(row..row + 1));
        let mut parts = Parts { train, base, queries };
        let error = leave_out(&mut parts, false, [&marks; 3]).expect_err("nothing to train on");
        assert_eq!(error, "`drop` leaves out all 1 training rows");
    }
}
