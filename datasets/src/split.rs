//! Disjoint train, base and query rows out of one file.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How one file becomes three parts. Counts are drawn by a seeded shuffle; ranges are taken as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// Training rows: a count, or a range such as "0..20000". Default: half of what is not a query.
    pub train: Option<Rows>,
    /// Base rows: a count or a range. Default: all that remain.
    pub base: Option<Rows>,
    /// Query rows: a count or a range. Default: a tenth of the rows, at most 1000.
    pub queries: Option<Rows>,
    /// Seed of the shuffle for counts.
    pub seed: u64,
}

/// A number of rows, or which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "write a number of rows, or a range such as 0..20000")]
pub enum Rows {
    /// So many, drawn by the shuffle.
    Count(usize),
    /// "start..end", end exclusive, in file order.
    Range(String),
}

/// Which file rows go where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Rows to encode and search.
    pub base: Vec<usize>,
    /// Rows to search for.
    pub queries: Vec<usize>,
}

fn parse_range(text: &str, n: usize) -> Result<Range<usize>, String> {
    let (start, end) =
        text.split_once("..").ok_or_else(|| format!("`{text}` is no row range; write it like 0..20000"))?;
    let number =
        |s: &str| s.trim().parse::<usize>().map_err(|_| format!("`{text}` is no row range; write it like 0..20000"));
    let (start, end) = (number(start)?, number(end)?);
    if start >= end || end > n {
        return Err(format!("row range {text} does not lie within the {n} rows of the file"));
    }
    Ok(start..end)
}

impl Split {
    /// Divides `n` rows. With `separate_queries` the query part is empty, since it comes from elsewhere.
    ///
    /// # Errors
    /// Parts that overlap, are empty, or ask for more rows than there are.
    pub fn parts(&self, n: usize, separate_queries: bool) -> Result<Parts, String> {
        let ranges: Vec<Option<Range<usize>>> = [&self.train, &self.base, &self.queries]
            .into_iter()
            .map(|rows| match rows {
                Some(Rows::Range(text)) => parse_range(text, n).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let mut taken = vec![false; n];
        for range in ranges.iter().flatten() {
            if taken[range.clone()].contains(&true) {
                return Err(format!(
                    "rows {}..{} are in two parts; train, base and queries must be disjoint",
                    range.start, range.end
                ));
            }
            taken[range.clone()].fill(true);
        }
        let mut free: Vec<usize> = (0..n).filter(|&i| !taken[i]).collect();
        free.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let count = |rows: &Option<Rows>, default: usize| match rows {
            Some(Rows::Count(count)) => *count,
            _ => default,
        };
        let mut draw = |range: &Option<Range<usize>>, wanted: usize, part: &str| -> Result<Vec<usize>, String> {
            if let Some(range) = range {
                return Ok(range.clone().collect());
            }
            if wanted > free.len() {
                return Err(format!("{wanted} {part} rows are asked for, {} of {n} are left", free.len()));
            }
            let mut rows = free.split_off(free.len() - wanted);
            rows.sort_unstable();
            Ok(rows)
        };
        let queries = if separate_queries {
            Vec::new()
        } else {
            draw(&ranges[2], count(&self.queries, (n / 10).min(1000)), "query")?
        };
        let left = n - queries.len() - ranges[1].as_ref().map_or(0, Range::len);
        let train =
            draw(&ranges[0], count(&self.train, if ranges[1].is_some() { left } else { left / 2 }), "training")?;
        let left = n.saturating_sub(queries.len() + train.len());
        let base = draw(&ranges[1], count(&self.base, left), "base")?;
        for (part, rows) in [("train", &train), ("base", &base)] {
            if rows.is_empty() {
                return Err(format!("no rows are left for {part} out of {n}"));
            }
        }
        if queries.is_empty() && !separate_queries {
            return Err(format!("no rows are left for queries out of {n}"));
        }
        Ok(Parts { train, base, queries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(n: usize) -> Option<Rows> {
        Some(Rows::Count(n))
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_reproducible(n in 20usize..300, train in 1usize..9, queries in 1usize..9, seed in any::<u64>()) {
            let split = Split { train: count(train), queries: count(queries), seed, ..Split::default() };
            let parts = split.parts(n, false).expect("enough rows");
            let mut all: Vec<usize> = [&parts.train[..], &parts.base, &parts.queries].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
            prop_assert_eq!(split.parts(n, false), Ok(parts));
        }
    }

    #[test]
    fn ranges_are_taken_as_they_stand() {
        let range = |text: &str| Some(Rows::Range(text.to_owned()));
        let split = Split { train: range("0..4"), base: range("4..8"), queries: range("8..10"), seed: 0 };
        let parts = split.parts(10, false).expect("fits");
        assert_eq!((parts.train, parts.base, parts.queries), (vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]));
        let overlap = Split { train: range("0..4"), base: range("3..8"), ..Split::default() };
        assert!(overlap.parts(10, false).expect_err("overlap").contains("two parts"));
        for bad in ["5", "5..3", "0..11", "a..b"] {
            assert!(Split { train: range(bad), ..Split::default() }.parts(10, false).is_err(), "{bad}");
        }
        assert!(Split { train: count(11), ..Split::default() }.parts(10, true).is_err());
    }
}
