//! Shrinks the codewords of a stage towards the mean of its rows, against noise where codewords have few training rows.

use crate::algorithms::lloyd::Trained;
use crate::{Context, DeviceMatrix, MethodError};
use ndarray::Array2;

/// Moves each codeword towards the mean `m` of all rows (James and Stein 1961):
///
/// ```text
/// c ← m + max(0, 1 − σ² / (n_c · ‖c − m‖²)) · (c − m)
/// ```
///
/// `σ²` is the mean squared distance of rows to their codewords, which is a little too small where cells have very few rows. A trained
/// codeword is about the mean of the rows of its cell, and the noise of a mean of `n_c` rows is `σ²/n_c`: the codeword is too far
/// from `m` by that much. With few rows of many components, most of what a late stage gains on the training rows is this noise.
///
/// `width` successive rows are the residuals of the partial codes of one training row and are much alike. A training row with `w`
/// of them in a cell therefore counts with weight `w`, and `n_c = (Σw)² / Σw²` (Kish 1965).
///
/// # Errors
/// A backend failure.
pub(crate) fn shrunk(
    rows: &DeviceMatrix<'_>,
    trained: Trained,
    width: usize,
    cx: &Context,
) -> Result<Array2<f32>, MethodError> {
    let Trained { mut codebook, nearest, mse, .. } = trained;
    let sums = cx.backend.cell_sums(rows, &nearest, codebook.nrows())?.sums;
    let mean: Vec<f64> = sums.columns().into_iter().map(|column| column.sum() / rows.nrows() as f64).collect();
    let effective_rows = effective_rows(&nearest, width, codebook.nrows());
    for (mut codeword, n) in codebook.outer_iter_mut().zip(effective_rows) {
        let distance: f64 = codeword.iter().zip(&mean).map(|(c, m)| (f64::from(*c) - m).powi(2)).sum();
        // Without noise nothing moves, not even by rounding. A codeword without rows is no mean.
        let noise = if n > 0.0 { mse / n } else { 0.0 };
        if noise > 0.0 {
            let keep = if noise < distance { 1.0 - noise / distance } else { 0.0 };
            codeword.iter_mut().zip(&mean).for_each(|(c, m)| *c = (m + keep * (f64::from(*c) - m)) as f32);
        }
    }
    Ok(codebook)
}

/// The number of independent rows of each of `k` cells: `(Σw)² / Σw²` over training rows, each of which has `width`
/// successive entries of `nearest`, `w` of them in the cell.
fn effective_rows(nearest: &[u32], width: usize, k: usize) -> Vec<f64> {
    let (mut weights, mut squares) = (vec![0.0; k], vec![0.0; k]);
    for cells in nearest.chunks(width) {
        for (at, &cell) in cells.iter().enumerate() {
            if !cells[..at].contains(&cell) {
                let weight = cells.iter().filter(|other| **other == cell).count() as f64;
                weights[cell as usize] += weight;
                squares[cell as usize] += weight * weight;
            }
        }
    }
    weights.iter().zip(&squares).map(|(sum, squares)| if *squares > 0.0 { sum * sum / squares } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::curve::Course;
    use ndarray::array;

    fn after(rows: &Array2<f32>, codebook: Array2<f32>, nearest: Vec<u32>, mse: f64, width: usize) -> Array2<f32> {
        let cx = Context::cpu(1);
        let rows = cx.backend.upload(rows.view()).expect("uploads");
        let trained = Trained { codebook, mse, course: Course::default(), nearest };
        shrunk(&rows, trained, width, &cx).expect("shrinks")
    }

    #[test]
    fn partial_codes_of_one_row_count_as_one_where_they_share_a_cell() {
        assert_eq!(effective_rows(&[0, 0, 0, 1, 0, 1], 2, 3), [16.0 / 6.0, 2.0, 0.0]);
    }

    #[test]
    fn codewords_move_by_the_noise_of_their_means() {
        // The mean is 0; the cells have two rows each at a squared distance of 1.
        let rows = array![[3.0f32, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]];
        let codebook = array![[3.0f32, 0.0], [-3.0, 0.0], [5.0, 5.0]];
        let moved = after(&rows, codebook.clone(), vec![0, 0, 1, 1], 1.0, 1);
        let keep = 1.0 - 0.5 / 9.0;
        assert_eq!(moved, array![[(3.0 * keep) as f32, 0.0], [(-3.0 * keep) as f32, 0.0], [5.0, 5.0]]);
        // One row with two partial codes for each cell: twice the noise.
        let moved = after(&rows, codebook.clone(), vec![0, 0, 1, 1], 1.0, 2);
        assert_eq!(moved[(0, 0)], (3.0 * (1.0 - 1.0 / 9.0)) as f32);
        assert_eq!(after(&rows, codebook.clone(), vec![0, 0, 1, 1], 0.0, 1), codebook, "no noise");
        let lost = after(&rows, codebook, vec![0, 0, 1, 1], 100.0, 1);
        assert_eq!(lost.row(0), lost.row(1), "nothing but noise: the mean is best");
    }
}
