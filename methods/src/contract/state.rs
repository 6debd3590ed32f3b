//! Saved state of a trained quantizer: named arrays, from which [`crate::Method::restore`] rebuilds it.

use ndarray::{Array2, ArrayView2};
use std::collections::VecDeque;
use thiserror::Error;

/// The arrays of a trained quantizer, in the order of saving.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    arrays: VecDeque<NamedArray>,
}

/// An array of f32, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedArray {
    /// What it is, e.g. `codebook 3`.
    pub name: String,
    /// Its shape, slowest axis first.
    pub shape: Vec<usize>,
    /// Its values; their number matches the shape.
    pub values: Vec<f32>,
}

/// The arrays do not match the parameters of the quantizer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// A required array is missing.
    #[error("the array `{0}` is missing")]
    Missing(String),
    /// An array has the wrong shape.
    #[error("the array `{name}` has the shape {found:?}; the parameters require {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape that was expected.
        expected: Vec<usize>,
    },
    /// An array holds a NaN, an infinity or another impossible value.
    #[error("the array `{0}` holds values that cannot come from training")]
    Value(String),
    /// There is an array that the parameters do not need.
    #[error("the array `{0}` does not belong to a quantizer with these parameters")]
    Foreign(String),
}

impl State {
    /// From arrays as they were stored.
    pub fn from_arrays(arrays: Vec<NamedArray>) -> State {
        State { arrays: arrays.into() }
    }

    /// The arrays, in order.
    pub fn arrays(&self) -> impl Iterator<Item = &NamedArray> {
        self.arrays.iter()
    }

    /// Adds a list of values.
    pub fn put(&mut self, name: impl Into<String>, values: Vec<f32>) {
        let shape = vec![values.len()];
        self.arrays.push_back(NamedArray { name: name.into(), shape, values });
    }

    /// Adds a matrix.
    pub fn put_matrix(&mut self, name: impl Into<String>, matrix: ArrayView2<'_, f32>) {
        let (rows, columns) = matrix.dim();
        let values = matrix.iter().copied().collect();
        self.arrays.push_back(NamedArray { name: name.into(), shape: vec![rows, columns], values });
    }

    /// Takes out a list of `length` finite values.
    ///
    /// # Errors
    /// It is missing, has another shape, or holds a value that is not finite.
    pub fn take(&mut self, name: &str, length: usize) -> Result<Vec<f32>, StateError> {
        self.take_shaped(name, &[length])
    }

    /// Takes out a matrix of finite values.
    ///
    /// # Errors
    /// As [`State::take`].
    pub fn take_matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Array2<f32>, StateError> {
        let values = self.take_shaped(name, &[rows, columns])?;
        Array2::from_shape_vec((rows, columns), values).map_err(|_| StateError::Value(name.to_owned()))
    }

    fn take_shaped(&mut self, name: &str, expected: &[usize]) -> Result<Vec<f32>, StateError> {
        let missing = || StateError::Missing(name.to_owned());
        // Usually the first: arrays are taken in the order of saving.
        let at = self.arrays.iter().position(|array| array.name == name).ok_or_else(missing)?;
        let array = self.arrays.remove(at).ok_or_else(missing)?;
        if array.shape != expected {
            let (name, found) = (array.name, array.shape);
            return Err(StateError::Shape { name, found, expected: expected.to_vec() });
        }
        if array.values.iter().any(|v| !v.is_finite()) {
            return Err(StateError::Value(array.name));
        }
        Ok(array.values)
    }

    /// Checks that nothing is left over.
    ///
    /// # Errors
    /// Names an array that is left over.
    pub fn finish(self) -> Result<(), StateError> {
        self.arrays.into_iter().next().map_or(Ok(()), |array| Err(StateError::Foreign(array.name)))
    }
}
