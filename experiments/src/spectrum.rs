//! The eigenvalues of the covariance of vectors.

use cpu::Isa;
use methods::algorithms::moments;
use ndarray::ArrayView2;

/// Above this dimension, eigenvalues and the bound are not computed, because their cost grows with the cube of the
/// dimension.
pub(crate) const MAX_SPECTRUM_DIM: usize = 4096;

/// The eigenvalues of the covariance of rows, largest first; none in very high dimension.
pub(crate) fn spectrum(isa: Isa, rows: ArrayView2<'_, f32>) -> Vec<f64> {
    if rows.ncols() > MAX_SPECTRUM_DIM {
        return Vec::new();
    }
    moments::eigenvalues(isa, moments::covariance(rows, &moments::mean(rows)))
}
