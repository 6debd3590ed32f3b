//! Differentiable matrices for learned methods; the only place that knows the autodiff library (burn, on its portable
//! CPU backend).
//!
//! Everything is a matrix of f32, one row per vector. A [`Matrix`] records how it was computed; [`gradients`] traverses
//! this record backwards. Each expression runs on its own thread and gives the same result every time, so that a
//! training step that distributes its rows over threads is as reproducible as one that does not.

use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Int, Tensor, TensorData, activation};
use ndarray::{Array2, ArrayView2};
use std::ops::Range;

type Inner = Tensor<Flex, 2>;
type Traced = Tensor<Autodiff<Flex>, 2>;

/// The values of a parameter, ready to be a leaf of any number of expressions without being copied.
#[derive(Clone, Debug)]
pub struct Parameter(Inner);

impl Parameter {
    /// Of the present values.
    pub fn new(values: ArrayView2<'_, f32>) -> Parameter {
        Parameter(Inner::from_data(data(values), &FlexDevice))
    }

    /// A leaf for which gradients can be computed.
    pub fn leaf(&self) -> Matrix {
        Matrix(Traced::from_inner(self.0.clone()).require_grad())
    }
}

fn data(values: ArrayView2<'_, f32>) -> TensorData {
    let (rows, columns) = values.dim();
    let values = values.as_slice().map_or_else(|| values.iter().copied().collect(), <[f32]>::to_vec);
    TensorData::new(values, [rows, columns])
}

fn array(tensor: Inner) -> Array2<f32> {
    let [rows, columns] = tensor.dims();
    let values = match tensor.into_data().into_vec::<f32>() {
        Ok(values) => values,
        Err(error) => unreachable!("all tensors here are of f32: {error:?}"),
    };
    match Array2::from_shape_vec((rows, columns), values) {
        Ok(array) => array,
        Err(error) => unreachable!("a tensor has the values that its shape says: {error}"),
    }
}

/// The derivatives of `loss` (1×1) with respect to each of `leaves`; zeros if it does not depend on one.
pub fn gradients(loss: &Matrix, leaves: &[Matrix]) -> Vec<Array2<f32>> {
    let mut found = loss.0.backward();
    let of = |leaf: &Matrix| {
        let [rows, columns] = leaf.0.dims();
        leaf.0.grad_remove(&mut found).map_or_else(|| Array2::zeros((rows, columns)), array)
    };
    leaves.iter().map(of).collect()
}

/// A matrix that records how it was computed. Mismatched shapes are a bug and panic.
#[derive(Clone, Debug)]
pub struct Matrix(Traced);

impl Matrix {
    /// Values that do not depend on any parameter.
    pub fn constant(values: ArrayView2<'_, f32>) -> Matrix {
        Matrix(Traced::from_inner(Inner::from_data(data(values), &FlexDevice)))
    }

    /// The present values.
    pub fn values(&self) -> Array2<f32> {
        array(self.0.clone().inner())
    }

    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        let [rows, columns] = self.0.dims();
        (rows, columns)
    }

    /// The same values as a constant: no gradient passes.
    pub fn detached(&self) -> Matrix {
        Matrix(Traced::from_inner(self.0.clone().inner()))
    }

    /// `values` in the forward pass, this matrix in the backward pass: the straight-through estimator (Bengio, Léonard
    /// and Courville 2013).
    pub fn straight_through(&self, values: ArrayView2<'_, f32>) -> Matrix {
        // The difference is exactly zero, and the gradient passes through its first part.
        Matrix::constant(values).plus(&self.minus(&self.detached()))
    }

    /// Matrix product.
    pub fn times(&self, other: &Matrix) -> Matrix {
        Matrix(self.0.clone().matmul(other.0.clone()))
    }

    /// Transpose.
    pub fn transposed(&self) -> Matrix {
        Matrix(self.0.clone().transpose())
    }

    /// Sum; a single row or column is broadcast.
    pub fn plus(&self, other: &Matrix) -> Matrix {
        Matrix(self.0.clone() + other.0.clone())
    }

    /// Difference; a single row or column is broadcast.
    pub fn minus(&self, other: &Matrix) -> Matrix {
        Matrix(self.0.clone() - other.0.clone())
    }

    /// Product of entries; a single row or column is broadcast.
    pub fn by(&self, other: &Matrix) -> Matrix {
        Matrix(self.0.clone() * other.0.clone())
    }

    /// Quotient of entries; a single row or column is broadcast.
    pub fn over(&self, other: &Matrix) -> Matrix {
        Matrix(self.0.clone() / other.0.clone())
    }

    /// `factor·x`.
    pub fn scaled(&self, factor: f32) -> Matrix {
        Matrix(self.0.clone().mul_scalar(factor))
    }

    /// `x + term`.
    pub fn shifted(&self, term: f32) -> Matrix {
        Matrix(self.0.clone().add_scalar(term))
    }

    /// `max(x, 0)`.
    pub fn rectified(&self) -> Matrix {
        Matrix(activation::relu(self.0.clone()))
    }

    /// `tanh x`.
    pub fn tanh(&self) -> Matrix {
        Matrix(self.0.clone().tanh())
    }

    /// `1/(1+e^−x)`.
    pub fn sigmoid(&self) -> Matrix {
        Matrix(activation::sigmoid(self.0.clone()))
    }

    /// `e^x`.
    pub fn exp(&self) -> Matrix {
        Matrix(self.0.clone().exp())
    }

    /// `ln x`.
    pub fn ln(&self) -> Matrix {
        Matrix(self.0.clone().log())
    }

    /// `√x`.
    pub fn sqrt(&self) -> Matrix {
        Matrix(self.0.clone().sqrt())
    }

    /// `softmax` of each row.
    pub fn softmax(&self) -> Matrix {
        Matrix(activation::softmax(self.0.clone(), 1))
    }

    /// `ln softmax` of each row.
    pub fn log_softmax(&self) -> Matrix {
        Matrix(activation::log_softmax(self.0.clone(), 1))
    }

    /// Sums of rows, `n×1`.
    pub fn row_sums(&self) -> Matrix {
        Matrix(self.0.clone().sum_dim(1))
    }

    /// Means of columns, `1×d`.
    pub fn column_means(&self) -> Matrix {
        Matrix(self.0.clone().mean_dim(0))
    }

    /// Mean of all entries, 1×1.
    pub fn mean(&self) -> Matrix {
        Matrix(self.0.clone().mean().reshape([1, 1]))
    }

    /// Sum of all entries, 1×1.
    pub fn sum(&self) -> Matrix {
        Matrix(self.0.clone().sum().reshape([1, 1]))
    }

    /// The only entry of a 1×1 matrix; of any other the first.
    pub fn scalar(&self) -> f32 {
        self.values().first().copied().unwrap_or(f32::NAN)
    }

    /// Consecutive columns.
    pub fn columns(&self, range: Range<usize>) -> Matrix {
        Matrix(self.0.clone().slice_dim(1, range))
    }

    /// The rows with these numbers, which may repeat.
    pub fn rows(&self, numbers: &[u32]) -> Matrix {
        Matrix(self.0.clone().select(0, indices(numbers)))
    }

    /// The columns with these numbers, which may repeat; the number of columns itself stands for a column of zeros.
    pub fn gather_columns(&self, numbers: &[u32]) -> Matrix {
        let (rows, _) = self.dim();
        let zeros = Traced::zeros([rows, 1], &FlexDevice);
        Matrix(Traced::cat(vec![self.0.clone(), zeros], 1).select(1, indices(numbers)))
    }

    /// The same entries in the same order, row by row, in rows of `columns`.
    pub fn reshaped(&self, columns: usize) -> Matrix {
        let (rows, old) = self.dim();
        Matrix(self.0.clone().reshape([rows * old / columns.max(1), columns]))
    }

    /// Matrices side by side.
    pub fn beside(parts: &[Matrix]) -> Matrix {
        Matrix(Traced::cat(parts.iter().map(|part| part.0.clone()).collect(), 1))
    }
}

fn indices(numbers: &[u32]) -> Tensor<Autodiff<Flex>, 1, Int> {
    let numbers: Vec<i32> = numbers.iter().map(|&n| n as i32).collect();
    let count = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [count]), &FlexDevice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    /// Derivatives by central differences of step `h`.
    fn differences(f: impl Fn(&Array2<f32>) -> f32, at: &Array2<f32>, h: f32) -> Array2<f32> {
        let moved = |(i, j): (usize, usize), by: f32| {
            let mut x = at.clone();
            x[(i, j)] += by;
            f(&x)
        };
        Array2::from_shape_fn(at.dim(), |ij| (moved(ij, h) - moved(ij, -h)) / (2.0 * h))
    }

    #[test]
    fn every_operation_has_the_derivative_that_differences_show() {
        let at = arr2(&[[0.3f32, -0.7, 1.1], [0.9, 0.2, -0.4]]);
        let other = Matrix::constant(arr2(&[[0.5f32, 1.5, -0.8], [0.7, -1.2, 0.6]]).view());
        let weights = Matrix::constant(arr2(&[[1.0f32, -2.0], [0.5, 0.3], [0.8, 1.2]]).view());
        let positive = |x: &Matrix| x.by(x).shifted(0.5);
        type Expression<'a> = Box<dyn Fn(&Matrix) -> Matrix + 'a>;
        let expressions: Vec<(&str, Expression<'_>)> = vec![
            ("times", Box::new(|x| x.times(&weights))),
            ("transposed", Box::new(|x| x.transposed().times(x))),
            ("plus", Box::new(|x| x.plus(&other).by(x))),
            ("minus", Box::new(|x| other.minus(x).by(x))),
            ("over", Box::new(|x| other.over(&positive(x)))),
            ("scaled, shifted", Box::new(|x| x.scaled(3.0).shifted(1.0).by(x))),
            ("rectified", Box::new(|x| x.rectified().by(x))),
            ("tanh", Box::new(|x| x.tanh())),
            ("sigmoid", Box::new(|x| x.sigmoid())),
            ("exp", Box::new(|x| x.exp())),
            ("ln", Box::new(|x| positive(x).ln())),
            ("sqrt", Box::new(|x| positive(x).sqrt())),
            ("softmax", Box::new(|x| x.softmax().by(&other))),
            ("log_softmax", Box::new(|x| x.log_softmax().by(&other))),
            ("row_sums", Box::new(|x| x.row_sums().by(x))),
            ("column_means", Box::new(|x| x.column_means().by(x))),
            ("mean", Box::new(|x| x.mean().by(x))),
            ("sum", Box::new(|x| x.sum().by(x))),
            ("columns", Box::new(|x| x.columns(1..3).by(&x.columns(0..2)))),
            ("rows", Box::new(|x| x.rows(&[1, 0, 1]).by(&x.rows(&[0, 0, 1])))),
            ("gather_columns", Box::new(|x| x.gather_columns(&[2, 3, 0, 2]).by(&x.gather_columns(&[0, 1, 2, 2])))),
            ("reshaped", Box::new(|x| x.reshaped(2).times(&weights.transposed()))),
            ("beside", Box::new(|x| Matrix::beside(&[x.clone(), x.by(x)]))),
        ];
        for (name, expression) in expressions {
            let loss = |x: &Matrix| {
                let y = expression(x);
                // A different weight for each entry, so that no mistake cancels.
                let (rows, columns) = y.dim();
                let weight = Array2::from_shape_fn((rows, columns), |(i, j)| 1.0 + 0.37 * i as f32 - 0.21 * j as f32);
                y.by(&Matrix::constant(weight.view())).mean()
            };
            let leaf = Parameter::new(at.view()).leaf();
            let found = gradients(&loss(&leaf), std::slice::from_ref(&leaf)).remove(0);
            let expected = differences(|x| loss(&Matrix::constant(x.view())).scalar(), &at, 5e-3);
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 2e-3 * (1.0 + e.abs()), "{name}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn straight_through_gives_the_values_and_passes_the_gradient() {
        let leaf = Parameter::new(arr2(&[[0.4f32, 1.6]]).view()).leaf();
        let rounded = leaf.straight_through(arr2(&[[0.0f32, 2.0]]).view());
        assert_eq!(rounded.values(), arr2(&[[0.0f32, 2.0]]));
        let loss = rounded.by(&rounded).mean();
        // d/dy of (y₁² + y₂²)/2 at y = (0, 2).
        assert_eq!(gradients(&loss, &[leaf]), [arr2(&[[0.0f32, 2.0]])]);
    }

    #[test]
    fn what_is_detached_or_not_used_has_no_gradient() {
        let (used, unused) =
            (Parameter::new(arr2(&[[3.0f32]]).view()).leaf(), Parameter::new(arr2(&[[1.0f32, 2.0]]).view()));
        let unused = unused.leaf();
        let loss = used.by(&used.detached()).mean();
        assert_eq!(gradients(&loss, &[used, unused]), [arr2(&[[3.0f32]]), arr2(&[[0.0f32, 0.0]])]);
    }
}
