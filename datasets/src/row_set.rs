//! Sets of row numbers that take little memory: a range takes none, and a large part of a file one bit per row.

use std::ops::Range;

/// Row numbers of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowSet {
    /// Consecutive rows.
    Range(Range<usize>),
    /// Rows in ascending order.
    Marked(Marks),
    /// Rows in the order in which they are listed.
    Listed(Vec<usize>),
}

/// Marks on some of the first rows of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    words: Vec<u64>,
    count: usize,
}

const BITS: usize = u64::BITS as usize;

impl Marks {
    /// None of `n` rows is marked.
    pub fn none(n: usize) -> Marks {
        Marks { words: vec![0; n.div_ceil(BITS)], count: 0 }
    }

    /// All of `n` rows are marked.
    pub fn all(n: usize) -> Marks {
        let mut marks = Marks { words: vec![u64::MAX; n.div_ceil(BITS)], count: n };
        if let Some(last) = marks.words.last_mut() {
            *last >>= (BITS - n % BITS) % BITS;
        }
        marks
    }

    /// Number of marked rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no row is marked.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a row is marked.
    pub fn contains(&self, row: usize) -> bool {
        self.words.get(row / BITS).is_some_and(|word| word >> (row % BITS) & 1 == 1)
    }

    /// Marks a row.
    pub fn add(&mut self, row: usize) {
        let (word, bit) = (&mut self.words[row / BITS], 1 << (row % BITS));
        self.count += usize::from(*word & bit == 0);
        *word |= bit;
    }

    /// Takes a mark away.
    pub fn remove(&mut self, row: usize) {
        let (word, bit) = (&mut self.words[row / BITS], 1 << (row % BITS));
        self.count -= usize::from(*word & bit != 0);
        *word &= !bit;
    }

    /// The first marked row from `row` on.
    pub fn next(&self, row: usize) -> Option<usize> {
        let first = self.words.get(row / BITS)? & (u64::MAX << (row % BITS));
        let later = (row / BITS + 1..).zip(self.words.iter().skip(row / BITS + 1).copied());
        let (at, word) = std::iter::once((row / BITS, first)).chain(later).find(|(_, word)| *word != 0)?;
        Some(at * BITS + word.trailing_zeros() as usize)
    }

    /// The marked rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.next(0), |row| self.next(row + 1))
    }
}

impl RowSet {
    /// Marked rows of `n`, in the form that takes the least memory.
    pub fn of(marks: Marks, n: usize) -> RowSet {
        match (marks.next(0), marks.len()) {
            (None, _) => RowSet::Range(0..0),
            (Some(first), count) if (first..first + count).eq(marks.iter()) => RowSet::Range(first..first + count),
            (_, count) if count <= n / BITS => RowSet::Listed(marks.iter().collect()),
            _ => RowSet::Marked(marks),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            RowSet::Range(range) => range.len(),
            RowSet::Marked(marks) => marks.len(),
            RowSet::Listed(rows) => rows.len(),
        }
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows in order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            RowSet::Range(range) => Box::new(range.clone()),
            RowSet::Marked(marks) => Box::new(marks.iter()),
            RowSet::Listed(rows) => Box::new(rows.iter().copied()),
        }
    }

    /// The row at a position. It may take time that grows with the position.
    pub fn get(&self, at: usize) -> Option<usize> {
        match self {
            RowSet::Range(range) => range.clone().nth(at),
            RowSet::Marked(marks) => marks.iter().nth(at),
            RowSet::Listed(rows) => rows.get(at).copied(),
        }
    }

    /// Takes out the rows that are not to be kept.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        if let RowSet::Listed(rows) = self {
            rows.retain(|row| keep(*row));
            return;
        }
        let n = self.end();
        let mut kept = Marks::none(n);
        self.iter().filter(|row| keep(*row)).for_each(|row| kept.add(row));
        *self = RowSet::of(kept, n);
    }

    /// The row after the last one of the file.
    fn end(&self) -> usize {
        match self {
            RowSet::Range(range) => range.end,
            _ => self.iter().max().map_or(0, |last| last + 1),
        }
    }

    /// The rows as marks.
    pub(crate) fn marks(&self) -> Marks {
        let mut marks = Marks::none(self.end());
        self.iter().for_each(|row| marks.add(row));
        marks
    }

    /// Whether the order of the rows is that of the file.
    pub fn is_ascending(&self) -> bool {
        match self {
            RowSet::Range(_) | RowSet::Marked(_) => true,
            RowSet::Listed(rows) => rows.is_sorted(),
        }
    }

    /// The rows of `n` in the file's order, each with its position in this set.
    pub(crate) fn placed(&self) -> Box<dyn Iterator<Item = (usize, usize)> + Send + '_> {
        match self {
            RowSet::Range(range) => Box::new(range.clone().enumerate().map(|(at, row)| (row, at))),
            RowSet::Marked(marks) => Box::new(marks.iter().enumerate().map(|(at, row)| (row, at))),
            RowSet::Listed(rows) => {
                let mut placed: Vec<(usize, usize)> = rows.iter().copied().zip(0..).collect();
                placed.sort_unstable();
                Box::new(placed.into_iter())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn marks_are_a_set_of_rows(n in 1usize..400, rows in prop::collection::btree_set(0usize..400, 0..200)) {
            let rows: Vec<usize> = rows.into_iter().filter(|row| *row < n).collect();
            let (mut some, mut rest) = (Marks::none(n), Marks::all(n));
            prop_assert_eq!(rest.iter().collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
            for &row in rows.iter().chain(&rows) {
                some.add(row);
                rest.remove(row);
            }
            prop_assert_eq!((some.len(), rest.len()), (rows.len(), n - rows.len()));
            prop_assert_eq!(some.iter().collect::<Vec<_>>(), rows.clone());
            prop_assert!((0..n + 70).all(|row| some.contains(row) == rows.contains(&row)));
            let set = RowSet::of(some, n);
            prop_assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (rows.len(), rows.clone()));
            prop_assert_eq!(set.get(rows.len() / 2), rows.get(rows.len() / 2).copied());
            prop_assert_eq!(set.placed().map(|(row, _)| row).collect::<Vec<_>>(), rows.clone());
            for mut set in [set, RowSet::Listed(rows.clone())] {
                set.retain(|row| row % 3 != 0);
                let kept: Vec<usize> = rows.iter().copied().filter(|row| row % 3 != 0).collect();
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), kept);
            }
        }
    }

    #[test]
    fn the_smallest_form_is_chosen() {
        let of = |rows: &[usize], n| {
            let mut marks = Marks::none(n);
            rows.iter().for_each(|&row| marks.add(row));
            RowSet::of(marks, n)
        };
        assert_eq!(of(&[3, 4, 5], 10), RowSet::Range(3..6));
        assert_eq!(of(&[3, 5], 1000), RowSet::Listed(vec![3, 5]));
        assert!(matches!(of(&[3, 5], 10), RowSet::Marked(_)));
        assert!(of(&[], 10).is_empty());
        assert_eq!(RowSet::Listed(vec![7, 2]).placed().collect::<Vec<_>>(), [(2, 1), (7, 0)]);
        assert!(!RowSet::Listed(vec![7, 2]).is_ascending());
    }
}
