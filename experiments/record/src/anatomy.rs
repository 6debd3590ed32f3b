//! How the measurement `error_anatomy` divides vectors and dimensions: the index that a value carries as its `repeat`
//! stands for one of these quantiles or groups.

use std::ops::Range;

/// The quantiles of the squared error over the base rows.
pub const QUANTILES: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

/// Maximum number of groups of dimensions. The first group has the dimensions with the largest variance.
pub const DIMENSION_GROUPS: usize = 16;

/// Maximum number of groups of base rows by norm. The first group has the rows with the smallest norm.
pub const NORM_GROUPS: usize = 10;

/// The members of each group if `count` sorted members are divided into at most `most` groups that are as equal as
/// possible.
pub fn groups(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let number = count.min(most);
    (0..number).map(move |i| i * count / number..(i + 1) * count / number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_all_members_once_and_are_nearly_equal() {
        for count in [0, 1, 9, 10, 11, 384, 784] {
            for most in [1, 10, 16] {
                let all: Vec<Range<usize>> = groups(count, most).collect();
                assert_eq!(all.len(), count.min(most));
                let members: Vec<usize> = all.iter().cloned().flatten().collect();
                assert_eq!(members, (0..count).collect::<Vec<_>>());
                let sizes = || all.iter().map(Range::len);
                assert!(all.is_empty() || sizes().max() <= sizes().min().map(|least| least + 1));
            }
        }
    }
}
