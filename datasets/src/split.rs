//! Splits one file into disjoint train, base and query rows.

use crate::permutation;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Divides rows into training, base and query rows. Each part is a number of rows, drawn at random with `seed`, or a
/// range of row numbers. No row is in two parts, except with `train: base`. A part that has a file of its own takes its
/// rows from that file, by default all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// Training rows: a number of rows, or a range of row numbers such as "0..20000". Fewer rows shorten training.
    /// Default: half of the rows that are not queries; all that are left if `base` is a range.
    pub train: Option<RowSelection>,
    /// Base rows, which are encoded and searched: a number of rows, or a range. Default: all remaining rows.
    pub base: Option<RowSelection>,
    /// Query rows: a number of rows, or a range. Default: a tenth of the rows, at most 1000.
    pub queries: Option<RowSelection>,
    /// Seed of the random draw, for parts that are a number of rows. Change it to draw other rows.
    pub seed: u64,
    /// Reorders the rows of `path` by `numpy.random.RandomState(numpy_seed).permutation(n)` before they are divided.
    /// Set it to reproduce a published split made in this way. The parts keep that order, and files of other parts are
    /// not reordered. Default: rows stay in file order.
    pub numpy_seed: Option<u32>,
}

/// A number of rows, or a range of row numbers. For images, it counts images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "write a number of rows, or a range such as 0..20000")]
pub enum RowSelection {
    /// This many rows, drawn at random.
    Count(usize),
    /// "start..end", counted from 0 and without the end: rows in file order, or in the order that `numpy_seed` gives.
    Range(String),
}

/// Row numbers of each part, in `path`, or in the part's own file if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Training rows.
    pub train: Vec<usize>,
    /// Base rows, which are encoded and searched.
    pub base: Vec<usize>,
    /// Query rows.
    pub queries: Vec<usize>,
}

/// How many rows the files hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holdings {
    /// Rows of the file that base rows come from.
    pub base: usize,
    /// Rows of the file of training rows, if there is one.
    pub train: Option<usize>,
    /// Rows of the file of query rows, if there is one.
    pub queries: Option<usize>,
    /// Whether methods are trained on the base rows.
    pub train_on_base: bool,
}

/// The unit that messages count.
#[derive(Clone, Copy)]
pub(crate) struct SplitUnit {
    /// Singular.
    one: &'static str,
    /// The total that a number is compared with.
    all: &'static str,
    /// An example of a range.
    example: &'static str,
}

const ROW: SplitUnit = SplitUnit { one: "row", all: "rows of the file", example: "0..20000" };

/// The unit of splits of whole images.
pub(crate) const IMAGE: SplitUnit = SplitUnit { one: "image", all: "images", example: "0..16" };

fn parse_range(text: &str, n: usize, unit: SplitUnit) -> Result<Range<usize>, String> {
    let no_range = || format!("`{text}` is not a {} range; write it like {}", unit.one, unit.example);
    let (start, end) = text.split_once("..").ok_or_else(no_range)?;
    let number = |s: &str| s.trim().parse::<usize>().map_err(|_| no_range());
    let (start, end) = (number(start)?, number(end)?);
    if start >= end || end > n {
        return Err(format!("{} range {text} does not lie within the {n} {}", unit.one, unit.all));
    }
    Ok(start..end)
}

/// Draws `wanted` of the rows `free`, in ascending order, and removes them from it.
fn draw(free: &mut Vec<usize>, wanted: usize, part: &str, n: usize, unit: SplitUnit) -> Result<Vec<usize>, String> {
    if wanted > free.len() {
        return Err(format!("{wanted} {part} {}s are requested, but only {} of {n} are left", unit.one, free.len()));
    }
    let mut rows = free.split_off(free.len() - wanted);
    rows.sort_unstable();
    Ok(rows)
}

impl Split {
    fn shuffled(&self, mut rows: Vec<usize>) -> Vec<usize> {
        rows.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        rows
    }

    /// Rows of a file of a single part.
    fn own(&self, rows: &Option<RowSelection>, n: usize, part: &str, unit: SplitUnit) -> Result<Vec<usize>, String> {
        match rows {
            None => Ok((0..n).collect()),
            Some(RowSelection::Range(text)) => parse_range(text, n, unit).map(Range::collect),
            Some(RowSelection::Count(count)) => draw(&mut self.shuffled((0..n).collect()), *count, part, n, unit),
        }
    }

    /// Divides the rows of the files.
    ///
    /// # Errors
    /// Parts that overlap, are empty, or request more rows than there are.
    pub fn parts(&self, files: Holdings) -> Result<Parts, String> {
        self.parts_of(files, ROW)
    }

    /// Like [`Split::parts`], for any unit.
    pub(crate) fn parts_of(&self, files: Holdings, unit: SplitUnit) -> Result<Parts, String> {
        let n = files.base;
        let shared = |rows, own: Option<usize>| match (rows, own) {
            (&Some(RowSelection::Range(ref text)), None) => parse_range(text, n, unit).map(Some),
            _ => Ok(None),
        };
        let ranges =
            [shared(&self.train, files.train)?, shared(&self.base, None)?, shared(&self.queries, files.queries)?];
        let mut taken = vec![false; n];
        for range in ranges.iter().flatten() {
            if taken[range.clone()].contains(&true) {
                return Err(format!(
                    "{}s {}..{} are in two parts; train, base and queries must be disjoint",
                    unit.one, range.start, range.end
                ));
            }
            taken[range.clone()].fill(true);
        }
        let [train_range, base_range, query_range] = ranges;
        let mut free = self.shuffled((0..n).filter(|&i| !taken[i]).collect());
        let count = |rows: &Option<RowSelection>, default: usize| match rows {
            Some(RowSelection::Count(count)) => *count,
            _ => default,
        };
        let mut left = n - base_range.as_ref().map_or(0, Range::len);
        let mut choose = |range: Option<Range<usize>>, wanted: usize, part: &str| match range {
            Some(range) => Ok(range.collect()),
            None => draw(&mut free, wanted, part, n, unit),
        };
        let queries = match files.queries {
            Some(own) => self.own(&self.queries, own, "query", unit)?,
            None => {
                let rows: Vec<usize> = choose(query_range, count(&self.queries, (n / 10).min(1000)), "query")?;
                left -= rows.len();
                rows
            }
        };
        if files.train_on_base && self.train.is_some() {
            return Err(format!(
                "`train: base` trains on all base {}s; leave out `train` in `split`, or `train: base`",
                unit.one
            ));
        }
        let train = match files.train {
            _ if files.train_on_base => Vec::new(),
            Some(own) => self.own(&self.train, own, "training", unit)?,
            None => {
                let default = if base_range.is_some() { left } else { left / 2 };
                let rows: Vec<usize> = choose(train_range, count(&self.train, default), "training")?;
                left -= rows.len();
                rows
            }
        };
        let base = choose(base_range, count(&self.base, left), "base")?;
        let train = if files.train_on_base { base.clone() } else { train };
        for (part, rows) in [("train", &train), ("base", &base), ("queries", &queries)] {
            if rows.is_empty() {
                return Err(format!("no {}s are left for {part} out of {n}", unit.one));
            }
        }
        let mut parts = Parts { train, base, queries };
        if let Some(seed) = self.numpy_seed {
            let order = permutation::numpy(seed, n);
            let own = [(&mut parts.train, files.train), (&mut parts.base, None), (&mut parts.queries, files.queries)];
            for rows in own.into_iter().filter(|(_, own)| own.is_none()).flat_map(|(rows, _)| rows) {
                *rows = order[*rows];
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(n: usize) -> Option<RowSelection> {
        Some(RowSelection::Count(n))
    }

    fn range(text: &str) -> Option<RowSelection> {
        Some(RowSelection::Range(text.to_owned()))
    }

    fn one_file(n: usize) -> Holdings {
        Holdings { base: n, ..Holdings::default() }
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_reproducible(n in 20usize..300, train in 1usize..9, queries in 1usize..9, seed in any::<u64>()) {
            let split = Split { train: count(train), queries: count(queries), seed, ..Split::default() };
            let parts = split.parts(one_file(n)).expect("enough rows");
            let mut all: Vec<usize> = [&parts.train[..], &parts.base, &parts.queries].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
            prop_assert_eq!(split.parts(one_file(n)), Ok(parts));
        }
    }

    #[test]
    fn ranges_are_taken_as_they_stand() {
        let split = Split { train: range("0..4"), base: range("4..8"), queries: range("8..10"), ..Split::default() };
        let parts = split.parts(one_file(10)).expect("fits");
        assert_eq!((parts.train, parts.base, parts.queries), (vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]));
        let overlap = Split { train: range("0..4"), base: range("3..8"), ..Split::default() };
        assert!(overlap.parts(one_file(10)).expect_err("overlap").contains("two parts"));
        for bad in ["5", "5..3", "0..11", "a..b"] {
            assert!(Split { train: range(bad), ..Split::default() }.parts(one_file(10)).is_err(), "{bad}");
        }
        let queries_apart = Holdings { base: 10, train: None, queries: Some(4), ..Holdings::default() };
        assert!(Split { train: count(11), ..Split::default() }.parts(queries_apart).is_err());
    }

    #[test]
    fn a_part_with_its_own_file_takes_its_rows_from_there() {
        let files = Holdings { base: 10, train: None, queries: Some(4), ..Holdings::default() };
        let all = Split { train: range("0..6"), ..Split::default() }.parts(files).expect("fits");
        assert_eq!((all.train, all.base, all.queries), ((0..6).collect(), vec![6, 7, 8, 9], vec![0, 1, 2, 3]));
        // The same numbers in two files are different rows.
        let some = Split { train: range("0..6"), base: range("6..8"), queries: range("1..3"), ..Split::default() };
        let parts = some.parts(files).expect("fits");
        assert_eq!((parts.train, parts.base, parts.queries), ((0..6).collect(), vec![6, 7], vec![1, 2]));
        let drawn = Split { queries: count(3), ..Split::default() }.parts(files).expect("fits").queries;
        assert!(drawn.len() == 3 && drawn.windows(2).all(|w| w[0] < w[1]) && drawn[2] < 4, "{drawn:?}");
        for bad in [range("1..5"), count(5), count(0)] {
            assert!(Split { queries: bad.clone(), ..Split::default() }.parts(files).is_err(), "{bad:?}");
        }
        let files = Holdings { base: 10, train: Some(5), queries: Some(4), ..Holdings::default() };
        let parts =
            Split { train: range("2..5"), base: range("8..10"), ..Split::default() }.parts(files).expect("fits");
        assert_eq!((parts.train, parts.base, parts.queries), (vec![2, 3, 4], vec![8, 9], vec![0, 1, 2, 3]));
    }

    #[test]
    fn base_rows_may_be_trained_on_by_a_word() {
        let files = Holdings { train_on_base: true, ..one_file(100) };
        let parts = Split { numpy_seed: Some(1), ..Split::default() }.parts(files).expect("fits");
        assert_eq!((parts.base.len(), parts.queries.len()), (90, 10));
        assert_eq!(parts.train, parts.base);
        assert!(Split { train: count(5), ..Split::default() }.parts(files).expect_err("both").contains("leave out"));
    }

    #[test]
    fn ranges_may_refer_to_the_order_numpy_gives() {
        // numpy.random.RandomState(1).permutation(10)
        let order = [2, 9, 6, 4, 0, 3, 1, 7, 8, 5];
        let numpy_seed = Some(1);
        let split = Split {
            train: range("0..4"),
            base: range("4..8"),
            queries: range("8..10"),
            numpy_seed,
            ..Split::default()
        };
        let parts = split.parts(one_file(10)).expect("fits");
        assert_eq!([parts.train, parts.base, parts.queries].concat(), order);
        let files = Holdings { base: 10, train: None, queries: Some(4), ..Holdings::default() };
        let split = Split { train: range("0..4"), numpy_seed, ..Split::default() };
        let parts = split.parts(files).expect("fits");
        assert_eq!((&parts.train[..], &parts.queries[..]), (&order[..4], &[0, 1, 2, 3][..]));
    }
}
