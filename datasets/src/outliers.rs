//! Finds rows with an exceptional norm: one such training row can decide what a quantizer learns, and readers of the
//! figures should know.

use ndarray::ArrayView2;
use std::collections::BTreeMap;

/// Rows that are much longer than the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongRows {
    /// How many there are.
    pub count: usize,
    /// The first of them.
    pub first: usize,
    /// The largest norm over the median of all.
    pub factor: f64,
}

/// From this multiple of the median on, a norm is an outlier. Embeddings and descriptors stay below 3; heavy tails
/// exceed 10 only in few dimensions.
pub const FAR: f64 = 10.0;

/// Bits of a norm below those that tell groups of norms apart: a group spans 1 part in 4096.
const WITHIN_GROUP: u32 = 40;

/// Norms of about the same size.
#[derive(Clone, Copy, Debug)]
struct Group {
    count: usize,
    /// The first row that has one of them.
    first: usize,
    least: f64,
    largest: f64,
}

/// The norms of any number of rows, in bounded memory: grouped by size.
#[derive(Clone, Debug, Default)]
pub struct Norms {
    rows: usize,
    /// By the upper bits of the norm, which are in the order of norms.
    groups: BTreeMap<u64, Group>,
}

impl Norms {
    /// Adds the norm of the next row.
    pub fn add(&mut self, norm: f64) {
        let new = Group { count: 0, first: self.rows, least: norm, largest: norm };
        let group = self.groups.entry(norm.to_bits() >> WITHIN_GROUP).or_insert(new);
        group.count += 1;
        group.least = group.least.min(norm);
        group.largest = group.largest.max(norm);
        self.rows += 1;
    }

    /// Smallest, median and largest norm; None without rows. The median is the middle of its group.
    pub fn quantiles(&self) -> Option<[f64; 3]> {
        let (least, largest) = (self.groups.values().next()?.least, self.groups.values().next_back()?.largest);
        let mut before = 0;
        let of_middle = self.groups.values().find(|group| {
            before += group.count;
            before > self.rows / 2
        })?;
        Some([least, 0.5 * (of_middle.least + of_middle.largest), largest])
    }

    /// Rows whose norm is zero.
    pub fn zeros(&self) -> usize {
        self.groups.get(&0).filter(|group| group.largest == 0.0).map_or(0, |group| group.count)
    }

    /// The rows whose norm is at least [`FAR`] times the median; None if there are none, or the median is zero.
    pub fn far(&self) -> Option<LongRows> {
        let [_, median, largest] = self.quantiles().filter(|[_, median, _]| *median > 0.0)?;
        let far = || self.groups.values().rev().take_while(|group| group.largest >= FAR * median);
        let first = far().map(|group| group.first).min()?;
        Some(LongRows { count: far().map(|group| group.count).sum(), first, factor: largest / median })
    }
}

/// Finds the rows whose norm is at least [`FAR`] times the median; None if the median is zero.
pub fn find(rows: ArrayView2<'_, f32>) -> Option<LongRows> {
    let mut norms = Norms::default();
    for row in rows.outer_iter() {
        norms.add(row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt());
    }
    norms.far()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn rows_far_longer_than_the_others_are_found() {
        let mut rows = Array2::from_shape_fn((100, 4), |(i, j)| ((i * 7 + j * 3) % 11) as f32 + 1.0);
        assert_eq!(find(rows.view()), None);
        rows.row_mut(30).fill(9e5);
        rows.row_mut(70).fill(1e4);
        let found = find(rows.view()).expect("two rows");
        assert_eq!((found.count, found.first), (2, 30));
        assert!((1e5..2e5).contains(&found.factor), "{found:?}");
        assert_eq!(find(Array2::zeros((0, 4)).view()), None);
        assert_eq!(find(Array2::zeros((5, 4)).view()), None);
    }

    #[test]
    fn the_median_of_many_norms_is_close() {
        let mut norms = Norms::default();
        (0..100_001).for_each(|i| norms.add(1.0 + f64::from(i * 7919 % 100_001) / 1e5));
        let [least, median, largest] = norms.quantiles().expect("norms");
        assert_eq!((least, largest), (1.0, 2.0));
        assert!((median / 1.5 - 1.0).abs() < 1.0 / 4096.0, "{median}");
        assert_eq!((norms.zeros(), norms.far()), (0, None));
        (0..2).for_each(|_| norms.add(0.0));
        assert_eq!((norms.zeros(), norms.quantiles().map(|[least, ..]| least)), (2, Some(0.0)));
    }
}
