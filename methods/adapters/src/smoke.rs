//! Tries everything that an adapter can do on a few random vectors.

use crate::error::AdapterError;
use crate::host::Host;
use crate::protocol::{Capability, Metric};
use crate::session::{Held, Session};
use ndarray::{Array2, ArrayView2, s};
use serde_json::Value;
use std::fmt::{self, Display};

/// Components of the vectors: divisible by 12 and 16, as examples need, and as many as every library takes.
const DIM: usize = 96;

/// Rows to train on: enough for 256 codewords.
const TRAIN: usize = 1000;

/// Rows to encode and search in.
const BASE: usize = 400;

/// Rows to search for.
const QUERIES: usize = 20;

/// Neighbours of a query.
const K: usize = 10;

/// Rows that are encoded alone, to compare their codes.
const ALONE: usize = 7;

/// What an adapter did with some parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// Bytes of a code.
    pub code_bytes: Option<usize>,
    /// Distortion of decoded rows, as a part of the variance of the rows.
    pub distortion: Option<f64>,
    /// Share of the exact neighbours that the search found.
    pub recall: Option<f64>,
    /// Bytes that it saved, with the rows that it holds.
    pub saved_bytes: Option<u64>,
    /// Whether a restored model gives the same codes and the same neighbours.
    pub restored: Option<bool>,
    /// Of the rows that were encoded alone, those whose codes then differ.
    pub unsteady: usize,
    /// What it cannot do.
    pub lacks: Vec<Capability>,
}

impl Checked {
    /// What is wrong, if something is.
    pub fn fault(&self) -> Option<String> {
        if self.restored == Some(false) {
            return Some("a restored model answers otherwise".into());
        }
        let distortion = self.distortion.filter(|distortion| *distortion >= 2.0)?;
        Some(format!("decoded rows have {distortion:.2} times the variance as distortion"))
    }
}

impl Display for Checked {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = vec!["fit".to_owned()];
        let mut say = |part: Option<String>| parts.extend(part);
        say(self.code_bytes.map(|bytes| format!("encode ({bytes} bytes)")));
        say((self.unsteady > 0)
            .then(|| format!("codes of {} of {ALONE} rows depend on the rows beside them", self.unsteady)));
        say(self.distortion.map(|distortion| format!("decode (distortion {distortion:.3} of the variance)")));
        say(self.recall.map(|recall| format!("search (recall@{K} {recall:.2})")));
        say(self.saved_bytes.map(|bytes| format!("save ({bytes} bytes)")));
        say(self.restored.map(|_| "restore".to_owned()));
        if !self.lacks.is_empty() {
            let names: Vec<&str> = self.lacks.iter().map(|capability| capability.name()).collect();
            parts.push(format!("not: {}", names.join(", ")));
        }
        write!(to, "{}", parts.join(", "))
    }
}

/// Says hello with parameters, and uses everything that the adapter then says it can do, on rows of unit length.
///
/// # Errors
/// Everything that a trial would end with.
pub fn check(host: &Host, command: &[String], params: &Value) -> Result<Checked, AdapterError> {
    let rows = rows();
    let (train, rest) = rows.view().split_at(ndarray::Axis(0), TRAIN);
    let (base, queries) = (rest.slice(s![..BASE, ..]), rest.slice(s![BASE.., ..]));
    let mut session = Session::start(host, command, 1)?;
    let hello = session.hello(params, Some(DIM))?;
    session.fit(train, 1, Metric::L2)?;
    let mut checked = Checked::default();
    let mut codes = None;
    if hello.can(Capability::Encode) {
        let (all, size, _) = session.encode(base, None)?;
        let (few, _, _) = session.encode(base.slice(s![..ALONE, ..]), None)?;
        let pairs = all.chunks_exact(size).zip(few.chunks_exact(size));
        checked.unsteady = pairs.filter(|(one, other)| one != other).count();
        checked.code_bytes = Some(size);
        if hello.can(Capability::Decode) {
            let (decoded, _) = session.decode(&all, size, None)?;
            checked.distortion = Some(relative(base, decoded.view()));
        }
        codes = Some((all, size));
    }
    let held = match &codes {
        Some((codes, size)) if hello.can(Capability::Search) => Some(Held::Codes(codes, *size)),
        _ => hello.can(Capability::SearchBase).then_some(Held::Base(base)),
    };
    let mut found = None;
    if let Some(held) = held {
        let ids = session.search(held, queries, K, None, None)?.ids;
        checked.recall = Some(recall(base, queries, &ids));
        found = Some(ids);
    }
    if hello.can(Capability::Save) {
        checked.saved_bytes = Some(session.saved_bytes()?);
        if hello.can(Capability::Restore) {
            let folder = tempfile::tempdir().map_err(|error| AdapterError::Scratch(error.to_string()))?;
            let model = folder.path().join("model");
            session.save_to(&model)?;
            let mut other = Session::start(host, command, 1)?;
            other.hello(params, Some(DIM))?;
            other.restore(&model, DIM, Metric::L2)?;
            let mut same = true;
            if let Some((codes, _)) = &codes {
                same &= other.encode(base, None)?.0 == *codes;
            }
            if let (Some(held), Some(found)) = (held, &found) {
                let again = other.search(held, queries, K, None, None)?.ids;
                // A program that stores the rows anew, and draws random numbers without a seed, finds others of the near ones.
                let chance = !hello.seedable && matches!(held, Held::Base(_));
                same &= again == *found || chance && overlap(&again, found) >= 0.25;
            }
            checked.restored = Some(same);
            other.bye()?;
        }
    }
    let needed = |capability: &Capability| *capability != Capability::Search || !hello.can(Capability::SearchBase);
    let wanted = [Capability::Encode, Capability::Decode, Capability::Search, Capability::Save, Capability::Restore];
    checked.lacks = wanted.into_iter().filter(needed).filter(|capability| !hello.can(*capability)).collect();
    session.bye()?;
    Ok(checked)
}

/// The share of neighbours that two searches have in common.
fn overlap(again: &[Vec<u32>], found: &[Vec<u32>]) -> f64 {
    let common = |(again, found): (&Vec<u32>, &Vec<u32>)| found.iter().filter(|id| again.contains(id)).count();
    let all: usize = found.iter().map(Vec::len).sum();
    again.iter().zip(found).map(common).sum::<usize>() as f64 / all.max(1) as f64
}

/// Rows of unit length with falling variances, always the same.
fn rows() -> Array2<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        // xorshift64* (Vigna 2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut rows =
        Array2::from_shape_simple_fn((TRAIN + BASE + QUERIES, DIM), || (0..6).map(|_| uniform()).sum::<f32>() - 3.0);
    for mut row in rows.rows_mut() {
        row.iter_mut().enumerate().for_each(|(j, value)| *value *= (-(j as f32) / 24.0).exp());
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.mapv_inplace(|value| value / length);
    }
    rows
}

/// The squared distance of rows from their decoded form, over that from their mean.
fn relative(rows: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>) -> f64 {
    let squares = |values: Array2<f32>| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    let Some(mean) = rows.mean_axis(ndarray::Axis(0)) else { return 0.0 };
    squares(&rows - &decoded) / squares(&rows - &mean)
}

/// Share of the exact neighbours that were found.
fn recall(base: ArrayView2<'_, f32>, queries: ArrayView2<'_, f32>, found: &[Vec<u32>]) -> f64 {
    let mut hits = 0;
    for (query, found) in queries.rows().into_iter().zip(found) {
        let distance = |row: usize| base.row(row).iter().zip(query).map(|(x, q)| (x - q).powi(2)).sum::<f32>();
        let mut order: Vec<(f32, usize)> = (0..base.nrows()).map(|row| (distance(row), row)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        hits += order[..K].iter().filter(|(_, row)| found.contains(&(*row as u32))).count();
    }
    hits as f64 / (K * queries.nrows()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_unit_length_and_exact_answers_count_as_such() {
        let rows = rows();
        assert_eq!(rows.dim(), (TRAIN + BASE + QUERIES, DIM));
        assert!(rows.rows().into_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-5));
        assert_eq!(relative(rows.view(), rows.view()), 0.0);
        let base = rows.slice(s![..BASE, ..]);
        let own: Vec<Vec<u32>> = (0..3).map(|row| vec![row]).collect();
        assert_eq!(recall(base, base.slice(s![..3, ..]), &own), 1.0 / K as f64);
    }

    #[test]
    fn what_was_done_is_told_on_one_line() {
        let checked = Checked {
            code_bytes: Some(4),
            recall: Some(0.5),
            unsteady: 2,
            lacks: vec![Capability::Decode],
            ..Checked::default()
        };
        let told = "fit, encode (4 bytes), codes of 2 of 7 rows depend on the rows beside them, search (recall@10 0.50), not: decode";
        assert_eq!(checked.to_string(), told);
        assert_eq!(checked.fault(), None);
        assert!(Checked { restored: Some(false), ..Checked::default() }.fault().is_some());
    }
}
