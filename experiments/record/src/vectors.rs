//! What the vectors of a dataset are like, and what follows from it for those who read the figures.

use crate::{DatasetFacts, OutlierFacts};
use serde::{Deserialize, Serialize};

/// What the base rows are like, and the queries beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VectorFacts {
    /// Smallest, median and largest norm.
    pub norms: [f64; 3],
    /// Rows whose norm is far from that of the others; None if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub far: Option<OutlierFacts>,
    /// Rows that are zero.
    pub zeros: usize,
    /// Rows that are copies of an earlier row.
    pub copies: usize,
    /// Whether `copies` is an estimate, because there are too many distinct rows to count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copies_estimated: bool,
    /// Norm of the mean over the root of the variance; None if all rows are equal.
    pub off_centre: Option<f64>,
    /// Smallest, median and largest variance of a component.
    pub variances: [f64; 3],
    /// Number of components that have the same value in all rows.
    pub constant: usize,
    /// The first of them, counted from 0.
    pub first_constant: Vec<usize>,
    /// Intrinsic dimension (Levina and Bickel 2004); None if it could not be estimated.
    pub intrinsic_dimension: Option<f64>,
    /// The rows that intrinsic dimension and nearness of queries were computed from.
    pub sample: usize,
    /// The queries beside the rows; None without queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<QueryFacts>,
}

/// How queries lie among the base rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueryFacts {
    /// Queries that are copies of a base row.
    pub copies: usize,
    /// Median Euclidean distance from a query to the nearest base row, over that from a base row to the nearest other
    /// one that is no copy; None if it could not be computed.
    pub ratio: Option<f64>,
    /// Share of the queries that are farther from the base rows than 95% of the base rows are from the nearest other
    /// one.
    pub far: Option<f64>,
}

/// Most constant components that are listed.
pub const LISTED: usize = 20;

/// From these values on, a remark tells readers.
const OFF_CENTRE: f64 = 1.0;
const MANY_COPIES: f64 = 0.01;
const MANY_FAR_QUERIES: f64 = 0.2;

/// `1 row is` or `3 rows are`.
fn count(n: usize, one: &str, several: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {several}") }
}

/// A share as a percentage that is not 0% or 100% by rounding.
fn percent(part: usize, whole: usize) -> String {
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    let digits = if part > 0 && part < whole && !(1.0..99.0).contains(&share) { 2 } else { 0 };
    format!("{share:.digits$}%")
}

impl DatasetFacts {
    /// Effective dimension of the spectrum: (Σλ)²/Σλ², the participation ratio. It equals the dimension if all
    /// eigenvalues λ are equal. None without a spectrum.
    pub fn effective_dimension(&self) -> Option<f64> {
        let largest = self.spectrum.iter().copied().fold(0.0, f64::max);
        let shares: Vec<f64> = self.spectrum.iter().map(|value| value / largest).collect();
        let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), s| (sum + s, squares + s * s));
        (largest > 0.0 && squares > 0.0).then(|| sum * sum / squares)
    }

    /// The number of principal components that together have at least this share of the variance. None without a
    /// spectrum.
    pub fn components_with(&self, share: f64) -> Option<usize> {
        let total: f64 = self.spectrum.iter().sum();
        let mut sum = 0.0;
        let reached = |value: &f64| {
            sum += value;
            // Rounding must not ask for a component more.
            sum >= share * total * (1.0 - 1e-12)
        };
        (total > 0.0).then(|| self.spectrum.iter().position(reached).map(|at| at + 1))?
    }

    /// Notes about what is unusual in the vectors, and what it means for methods.
    pub(crate) fn vector_remarks(&self) -> Vec<String> {
        let Some(vectors) = &self.vectors else { return Vec::new() };
        let mut remarks = Vec::new();
        // Those of training rows are named elsewhere.
        if let Some(far) = vectors.far.as_ref().filter(|_| !self.train_on_base) {
            remarks.push(far.remark(self.base, "base"));
        }
        if let Some(ratio) = vectors.off_centre.filter(|ratio| *ratio >= OFF_CENTRE) {
            remarks.push(format!(
                "The base rows are far from zero: the norm of their mean is {ratio:.3} times the root of their variance. Methods \
                 that assume a mean of zero (signs, or fixed levels after a random rotation) lose quality; `transform: center` \
                 avoids it."
            ));
        }
        if vectors.constant > 0 {
            let which: Vec<String> = vectors.first_constant.iter().map(usize::to_string).collect();
            let more = if vectors.constant > which.len() { ", …" } else { "" };
            let are = if vectors.constant == 1 { "is" } else { "are" };
            remarks.push(format!(
                "{} of {} components {are} constant in the base rows: {}{more}, counted from 0. Methods that store every component \
                 spend bits on them for nothing.",
                vectors.constant,
                self.dim,
                which.join(", ")
            ));
        }
        if vectors.zeros > 0 {
            let are = count(vectors.zeros, "base row is zero", "base rows are zero");
            remarks.push(format!(
                "{are}. A zero row has no direction, and its cosine counts as that of an orthogonal one."
            ));
        }
        if vectors.copies as f64 >= MANY_COPIES * self.base as f64 && vectors.copies > 0 {
            let about = if vectors.copies_estimated { "About " } else { "" };
            let are = count(vectors.copies, "base row is a copy", "base rows are copies");
            remarks.push(format!(
                "{about}{are} of an earlier row ({} of all). Of equally near rows, recall counts those with the lowest row \
                 numbers as true, so it can be too low; and a codebook has fewer distinct rows to learn than it seems.",
                percent(vectors.copies, self.base)
            ));
        }
        let Some(queries) = &vectors.queries else { return remarks };
        if queries.copies as f64 >= MANY_COPIES * self.queries as f64 && queries.copies > 0 {
            let are = count(queries.copies, "query is a copy", "queries are copies");
            remarks.push(format!(
                "{are} of a base row ({} of all). The nearest row of such a query is easier to find than that of a new one, so \
                 recall can be too high.",
                percent(queries.copies, self.queries)
            ));
        }
        if let Some(far) = queries.far.filter(|far| *far >= MANY_FAR_QUERIES) {
            let times = queries.ratio.map_or_else(String::new, |ratio| {
                format!(" (in the median {ratio:.3} times as far as a base row from its nearest other one)")
            });
            remarks.push(format!(
                "{:.0}% of the queries are farther from the base rows than 95% of the base rows are from their nearest other \
                 row{times}. Such queries are of another distribution than the rows that methods learn from: recall can \
                 be lower than the distortion suggests.",
                100.0 * far
            ));
        }
        remarks
    }
}

impl OutlierFacts {
    /// What it means, in words, for one of `rows` rows of a part.
    pub(crate) fn remark(&self, rows: usize, part: &str) -> String {
        let OutlierFacts { count, first, factor, from } = self;
        let (have, which) = if *count == 1 { ("has", "It is") } else { ("have", "The first is") };
        format!(
            "{count} of {rows} {part} rows {have} a norm of at least {from} times the median norm. {which} {first}, counted \
             from 0. The largest norm is {factor:.3e} times the median norm. Such rows can change all results; check \
             whether they are errors in the data."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(vectors: VectorFacts) -> DatasetFacts {
        DatasetFacts { dim: 8, base: 1000, queries: 100, vectors: Some(vectors), ..DatasetFacts::default() }
    }

    #[test]
    fn ordinary_vectors_need_no_remark() {
        let queries = QueryFacts { copies: 0, ratio: Some(1.02), far: Some(0.06) };
        let vectors =
            VectorFacts { copies: 9, off_centre: Some(0.4), queries: Some(queries), ..VectorFacts::default() };
        assert_eq!(facts(vectors).remarks(), Vec::<String>::new());
        assert_eq!(DatasetFacts::default().remarks(), Vec::<String>::new(), "records without these facts");
    }

    #[test]
    fn what_is_unusual_is_said_with_what_it_means() {
        let queries = QueryFacts { copies: 1, ratio: Some(1.75), far: Some(0.61) };
        let vectors = VectorFacts {
            far: Some(OutlierFacts { count: 2, first: "row 5 of x.npy".into(), factor: 1e6, from: 10.0 }),
            zeros: 1,
            copies: 999,
            copies_estimated: true,
            off_centre: Some(2.5),
            constant: 3,
            first_constant: vec![0, 2],
            queries: Some(queries),
            ..VectorFacts::default()
        };
        let remarks = facts(vectors).remarks();
        for (remark, start) in remarks.iter().zip([
            "2 of 1000 base rows have a norm of at least 10 times the median norm. The first is row 5 of x.npy,",
            "The base rows are far from zero: the norm of their mean is 2.500 times the root",
            "3 of 8 components are constant in the base rows: 0, 2, …, counted from 0.",
            "1 base row is zero. A zero row has no direction",
            "About 999 base rows are copies of an earlier row (99.90% of all).",
            "1 query is a copy of a base row (1% of all).",
            "61% of the queries are farther from the base rows than 95% of the base rows are from their nearest other row (in \
             the median 1.750 times as far",
        ]) {
            assert!(remark.starts_with(start), "{remark}\n{start}");
        }
        assert_eq!(remarks.len(), 7);
    }

    #[test]
    fn effective_dimension_and_shares_by_hand() {
        let of = |spectrum: &[f64]| DatasetFacts { spectrum: spectrum.to_vec(), ..DatasetFacts::default() };
        assert_eq!(of(&[2.0; 5]).effective_dimension(), Some(5.0));
        assert!(of(&[3.0, 1.0]).effective_dimension().is_some_and(|found| (found - 1.6).abs() < 1e-12));
        assert_eq!(of(&[3.0, 0.0]).effective_dimension(), Some(1.0));
        assert_eq!((of(&[]).effective_dimension(), of(&[0.0, 0.0]).effective_dimension()), (None, None));
        let spectrum = of(&[6.0, 2.0, 1.0, 1.0]);
        assert_eq!([0.5, 0.6, 0.8, 0.9, 1.0].map(|share| spectrum.components_with(share)), [1, 1, 2, 3, 4].map(Some));
        assert_eq!(of(&[0.0]).components_with(0.5), None);
    }
}
