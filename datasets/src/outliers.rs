//! Finds rows with an exceptional norm: one such training row can decide what a quantizer learns, and readers of the
//! figures should know.

use ndarray::ArrayView2;

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

/// Finds the rows whose norm is at least [`FAR`] times the median; None if the median is zero.
pub fn find(rows: ArrayView2<'_, f32>) -> Option<LongRows> {
    let norm = |row: ndarray::ArrayView1<'_, f32>| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let norms: Vec<f64> = rows.outer_iter().map(norm).collect();
    if norms.is_empty() {
        return None;
    }
    let median = *norms.clone().select_nth_unstable_by(norms.len() / 2, f64::total_cmp).1;
    let far = |norm: &f64| median > 0.0 && *norm >= FAR * median;
    let first = norms.iter().position(far)?;
    let largest = norms.iter().copied().fold(0.0, f64::max);
    Some(LongRows { count: norms.iter().filter(|norm| far(norm)).count(), first, factor: largest / median })
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
}
