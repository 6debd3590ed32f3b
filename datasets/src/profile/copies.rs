//! Counts rows that are copies of earlier rows, in bounded memory.

use crate::content::row_digest;
use ndarray::ArrayView1;
use rayon::prelude::*;

/// Most hashes that are kept, with their counts: 64 MiB.
pub(super) const MOST: usize = 1 << 22;

/// 64 bits of the SHA-256 of a row; 0 and −0 are the same value. With as many hashes as are kept, the
/// probability that any two different rows have the same one is below 10⁻⁶.
pub fn hash(row: ArrayView1<'_, f32>) -> u64 {
    row_digest(row) as u64
}

/// The hashes of rows. If there are too many distinct ones, only those whose last bits are zero are kept, so that they
/// are a random part of the distinct rows with all their copies (Gibbons 2001, "distinct sampling").
pub struct Copies {
    /// Hashes and how often each occurred.
    kept: Vec<(u64, u64)>,
    /// Number of last bits that must be zero.
    level: u32,
    most: usize,
}

impl Default for Copies {
    fn default() -> Copies {
        Copies { kept: Vec::new(), level: 0, most: MOST }
    }
}

impl Copies {
    /// Adds the hash of a row.
    pub fn add(&mut self, hash: u64) {
        if !self.keeps(hash) {
            return;
        }
        if self.kept.len() == self.most {
            self.merge();
            while self.kept.len() > self.most / 2 {
                self.level += 1;
                let level = self.level;
                self.kept.retain(|(hash, _)| keeps(level, *hash));
            }
            if !self.keeps(hash) {
                return;
            }
        }
        self.kept.push((hash, 1));
    }

    fn keeps(&self, hash: u64) -> bool {
        keeps(self.level, hash)
    }

    /// Adds the counts of equal hashes.
    fn merge(&mut self) {
        self.kept.par_sort_unstable();
        self.kept.dedup_by(|next, kept| {
            let equal = next.0 == kept.0;
            kept.1 += if equal { next.1 } else { 0 };
            equal
        });
    }

    /// The number of rows that are copies of an earlier row, and whether it was counted and not estimated.
    pub fn count(mut self) -> (usize, bool) {
        self.merge();
        let copies: u64 = self.kept.iter().map(|(_, count)| count - 1).sum();
        ((copies << self.level) as usize, self.level == 0)
    }
}

fn keeps(level: u32, hash: u64) -> bool {
    hash.trailing_zeros() >= level
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    #[test]
    fn equal_rows_have_one_hash_whatever_the_sign_of_zero() {
        let rows = [arr1(&[0.0f32, 1.0]), arr1(&[-0.0, 1.0]), arr1(&[1.0, 0.0])];
        let [a, b, c] = rows.map(|row| hash(row.view()));
        assert_eq!(a, b);
        assert_ne!(a, c);
    }

    #[test]
    fn copies_are_counted_exactly_while_there_is_room_and_estimated_beyond() {
        let of = |most: usize, rows: u32, distinct: u32| {
            let mut copies = Copies { most, ..Copies::default() };
            (0..rows).for_each(|i| copies.add(hash(arr1(&[(i % distinct) as f32]).view())));
            copies.count()
        };
        assert_eq!(of(MOST, 10, 10), (0, true));
        assert_eq!(of(MOST, 10, 4), (6, true));
        // Copies take no room of their own.
        assert_eq!(of(100, 100_000, 40), (99_960, true));
        let (estimate, counted) = of(4096, 60_000, 30_000);
        assert!(!counted && (28_000..32_000).contains(&estimate), "{estimate}");
    }
}
