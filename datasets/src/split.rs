//! Splits one file into disjoint train, base and query rows.

use crate::permutation;
use crate::row_set::{Marks, RowSet};
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
    /// With `train: base`, it is how many of the base rows are drawn. Default: half of the rows that are not queries; all that
    /// are left if `base` is a range.
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

/// A number of rows, or a range of row numbers. For images and recordings, it counts those.
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
    pub train: RowSet,
    /// Base rows, which are encoded and searched.
    pub base: RowSet,
    /// Query rows.
    pub queries: RowSet,
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

/// Row numbers have 32 bits, here and in results of searches.
const MOST_ROWS: usize = u32::MAX as usize;

const ROW: SplitUnit = SplitUnit { one: "row", all: "rows of the file", example: "0..20000" };

/// The unit of splits of whole images.
pub(crate) const IMAGE: SplitUnit = SplitUnit { one: "image", all: "images", example: "0..16" };

/// The unit of splits of whole recordings.
pub(crate) const RECORDING: SplitUnit = SplitUnit { one: "recording", all: "recordings", example: "0..16" };

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

/// Rows that are not in a part yet.
struct Pool {
    free: Marks,
    /// The free rows in random order, as soon as some of them are drawn.
    order: Option<Vec<u32>>,
    seed: u64,
    n: usize,
    unit: SplitUnit,
}

impl Pool {
    /// Draws `wanted` rows. All that are left need no order.
    fn draw(&mut self, wanted: usize, part: &str) -> Result<RowSet, String> {
        let Pool { free, order, seed, n, unit } = self;
        if wanted > free.len() {
            let left = free.len();
            return Err(format!("{wanted} {part} {}s are requested, but only {left} of {n} are left", unit.one));
        }
        if wanted == free.len() {
            return Ok(RowSet::of(std::mem::replace(free, Marks::none(0)), *n));
        }
        let order = order.get_or_insert_with(|| {
            let mut order: Vec<u32> = free.iter().map(|row| row as u32).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(*seed));
            order
        });
        let mut drawn = Marks::none(*n);
        for row in order.drain(order.len() - wanted..) {
            drawn.add(row as usize);
            free.remove(row as usize);
        }
        Ok(RowSet::of(drawn, *n))
    }
}

impl Split {
    /// `n` rows, of which none is in a part.
    fn pool(&self, n: usize, unit: SplitUnit) -> Pool {
        Pool { free: Marks::all(n), order: None, seed: self.seed, n, unit }
    }

    /// Draws `wanted` of the base rows, out of `n` rows of their file.
    fn some_of(&self, base: &RowSet, wanted: usize, n: usize, unit: SplitUnit) -> Result<RowSet, String> {
        let free = base.marks();
        let part = "training";
        if wanted > free.len() {
            return Err(format!("{wanted} {part} {}s are requested, but there are {} base rows", unit.one, free.len()));
        }
        Pool { free, ..self.pool(n, unit) }.draw(wanted, part)
    }

    /// Rows of a file of a single part.
    fn own(&self, rows: &Option<RowSelection>, n: usize, part: &str, unit: SplitUnit) -> Result<RowSet, String> {
        match rows {
            None => Ok(RowSet::Range(0..n)),
            Some(RowSelection::Range(text)) => parse_range(text, n, unit).map(RowSet::Range),
            Some(RowSelection::Count(count)) => self.pool(n, unit).draw(*count, part),
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
        if let Some(most) = [Some(n), files.train, files.queries].into_iter().flatten().max().filter(|n| *n > MOST_ROWS)
        {
            return Err(format!("{most} {}s are too many; {MOST_ROWS} is the limit", unit.one));
        }
        let shared = |rows, own: Option<usize>| match (rows, own) {
            (&Some(RowSelection::Range(ref text)), None) => parse_range(text, n, unit).map(Some),
            _ => Ok(None),
        };
        let ranges =
            [shared(&self.train, files.train)?, shared(&self.base, None)?, shared(&self.queries, files.queries)?];
        let mut pool = self.pool(n, unit);
        for (i, range) in ranges.iter().enumerate() {
            let Some(range) = range else { continue };
            if ranges[..i].iter().flatten().any(|other| range.start < other.end && other.start < range.end) {
                return Err(format!(
                    "{}s {}..{} are in two parts; train, base and queries must be disjoint",
                    unit.one, range.start, range.end
                ));
            }
            range.clone().for_each(|row| pool.free.remove(row));
        }
        let [train_range, base_range, query_range] = ranges;
        let count = |rows: &Option<RowSelection>, default: usize| match rows {
            Some(RowSelection::Count(count)) => *count,
            _ => default,
        };
        let mut left = n - base_range.as_ref().map_or(0, Range::len);
        let mut choose = |range: Option<Range<usize>>, wanted: usize, part: &str| match range {
            Some(range) => Ok(RowSet::Range(range)),
            None => pool.draw(wanted, part),
        };
        let queries = match files.queries {
            Some(own) => self.own(&self.queries, own, "query", unit)?,
            None => {
                let rows = choose(query_range, count(&self.queries, (n / 10).min(1000)), "query")?;
                left -= rows.len();
                rows
            }
        };
        if files.train_on_base && matches!(self.train, Some(RowSelection::Range(_))) {
            return Err(format!(
                "`train: base` trains on base {}s: write how many of them, leave out `train` in `split`, or `train: base`",
                unit.one
            ));
        }
        let train = match files.train {
            _ if files.train_on_base => RowSet::Range(0..0),
            Some(own) => self.own(&self.train, own, "training", unit)?,
            None => {
                let default = if base_range.is_some() { left } else { left / 2 };
                let rows = choose(train_range, count(&self.train, default), "training")?;
                left -= rows.len();
                rows
            }
        };
        let base = choose(base_range, count(&self.base, left), "base")?;
        let train = match &self.train {
            _ if !files.train_on_base => train,
            Some(RowSelection::Count(wanted)) => self.some_of(&base, *wanted, n, unit)?,
            _ => base.clone(),
        };
        for (part, rows) in [("train", &train), ("base", &base), ("queries", &queries)] {
            if rows.is_empty() {
                return Err(format!("no {}s are left for {part} out of {n}", unit.one));
            }
        }
        let mut parts = Parts { train, base, queries };
        if let Some(seed) = self.numpy_seed {
            let order = permutation::numpy(seed, n);
            let own = [(&mut parts.train, files.train), (&mut parts.base, None), (&mut parts.queries, files.queries)];
            for (rows, _) in own.into_iter().filter(|(_, own)| own.is_none()) {
                *rows = RowSet::Listed(rows.iter().map(|row| order[row]).collect());
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

    fn lists(parts: Parts) -> [Vec<usize>; 3] {
        [parts.train, parts.base, parts.queries].map(|rows| rows.iter().collect())
    }

    fn one_file(n: usize) -> Holdings {
        Holdings { base: n, ..Holdings::default() }
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_reproducible(n in 20usize..300, train in 1usize..9, queries in 1usize..9, seed in any::<u64>()) {
            let split = Split { train: count(train), queries: count(queries), seed, ..Split::default() };
            let parts = split.parts(one_file(n)).expect("enough rows");
            let mut all: Vec<usize> = lists(parts.clone()).concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
            prop_assert_eq!(split.parts(one_file(n)), Ok(parts));
        }
    }

    #[test]
    fn ranges_are_taken_as_they_stand() {
        let split = Split { train: range("0..4"), base: range("4..8"), queries: range("8..10"), ..Split::default() };
        let parts = split.parts(one_file(10)).expect("fits");
        assert_eq!(lists(parts), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
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
        assert_eq!(lists(all), [(0..6).collect(), vec![6, 7, 8, 9], vec![0, 1, 2, 3]]);
        // The same numbers in two files are different rows.
        let some = Split { train: range("0..6"), base: range("6..8"), queries: range("1..3"), ..Split::default() };
        let parts = some.parts(files).expect("fits");
        assert_eq!(lists(parts), [(0..6).collect(), vec![6, 7], vec![1, 2]]);
        let [_, _, drawn] = lists(Split { queries: count(3), ..Split::default() }.parts(files).expect("fits"));
        assert!(drawn.len() == 3 && drawn.windows(2).all(|w| w[0] < w[1]) && drawn[2] < 4, "{drawn:?}");
        for bad in [range("1..5"), count(5), count(0)] {
            assert!(Split { queries: bad.clone(), ..Split::default() }.parts(files).is_err(), "{bad:?}");
        }
        let files = Holdings { base: 10, train: Some(5), queries: Some(4), ..Holdings::default() };
        let parts =
            Split { train: range("2..5"), base: range("8..10"), ..Split::default() }.parts(files).expect("fits");
        assert_eq!(lists(parts), [vec![2, 3, 4], vec![8, 9], vec![0, 1, 2, 3]]);
    }

    #[test]
    fn base_rows_may_be_trained_on_by_a_word() {
        let files = Holdings { train_on_base: true, ..one_file(100) };
        let parts = Split { numpy_seed: Some(1), ..Split::default() }.parts(files).expect("fits");
        assert_eq!((parts.base.len(), parts.queries.len()), (90, 10));
        assert_eq!(parts.train, parts.base);
        let some = Split { train: count(5), ..Split::default() }.parts(files).expect("fits");
        assert_eq!((some.train.len(), some.base.len()), (5, 90));
        let base: Vec<usize> = some.base.iter().collect();
        assert!(some.train.iter().all(|row| base.contains(&row)));
        assert!(
            Split { train: count(91), ..Split::default() }.parts(files).expect_err("too many").contains("90 base rows")
        );
        assert!(
            Split { train: range("0..5"), ..Split::default() }.parts(files).expect_err("both").contains("leave out")
        );
    }

    /// Draws must stay what they are: results of earlier versions are compared with new ones.
    #[test]
    fn draws_are_those_of_a_shuffle_of_all_rows() {
        let split = Split { train: count(30), queries: count(7), base: count(40), seed: 5, ..Split::default() };
        let mut all: Vec<usize> = (0..100).collect();
        all.shuffle(&mut ChaCha8Rng::seed_from_u64(5));
        let mut last = |count: usize| {
            let mut rows = all.split_off(all.len() - count);
            rows.sort_unstable();
            rows
        };
        let (queries, train, base) = (last(7), last(30), last(40));
        assert_eq!(lists(split.parts(one_file(100)).expect("fits")), [train, base, queries]);
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
        assert_eq!(lists(parts).concat(), order);
        let files = Holdings { base: 10, train: None, queries: Some(4), ..Holdings::default() };
        let split = Split { train: range("0..4"), numpy_seed, ..Split::default() };
        let [train, _, queries] = lists(split.parts(files).expect("fits"));
        assert_eq!((&train[..], &queries[..]), (&order[..4], &[0, 1, 2, 3][..]));
    }
}
