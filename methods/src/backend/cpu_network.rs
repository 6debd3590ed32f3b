//! Products and small networks on the CPU, on plain rows.

use super::cpu_backend::{place, view};
use super::{AffineMap, BranchLayer, DeviceMatrix, MatrixRoom, RowMap};
use crate::MethodError;
use crate::algorithms::rotation::{PackedMatrix, multiply_packed, multiply_packed_into};
use cpu::Isa;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// Rows that one task passes through all layers.
const ROWS: usize = 256;

/// `x·A`.
pub(super) struct Product {
    matrix: Array2<f32>,
    packed: PackedMatrix,
}

impl Product {
    pub(super) fn new(isa: Isa, matrix: ArrayView2<'_, f32>) -> Product {
        Product { packed: PackedMatrix::new(isa, matrix), matrix: matrix.to_owned() }
    }
}

impl RowMap for Product {
    fn outputs(&self) -> usize {
        self.matrix.ncols()
    }

    fn apply(&self, rows: &DeviceMatrix<'_>, images: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        multiply_packed_into(view(rows), self.matrix.view(), &self.packed, place(images));
        Ok(())
    }
}

/// `x·weights + bias`.
struct Affine {
    weights: Array2<f32>,
    bias: Array2<f32>,
    packed: PackedMatrix,
}

impl Affine {
    fn new(isa: Isa, map: &AffineMap<'_>) -> Affine {
        let (weights, bias) = (map.weights.to_owned(), map.bias.to_owned());
        Affine { packed: PackedMatrix::new(isa, weights.view()), weights, bias }
    }

    fn apply(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        multiply_packed(rows, self.weights.view(), &self.packed) + &self.bias
    }
}

enum Layer {
    Affine(Affine),
    Windows(Vec<u32>, Affine),
    Rectifier,
}

/// `x·A + b + branch(x)`.
pub(crate) struct Network {
    straight: Affine,
    branch: Vec<Layer>,
}

impl Network {
    pub(crate) fn new(isa: Isa, straight: AffineMap<'_>, branch: &[BranchLayer<'_>]) -> Network {
        let layer = |layer: &BranchLayer<'_>| match layer {
            BranchLayer::Affine(map) => Layer::Affine(Affine::new(isa, map)),
            BranchLayer::Windows { inputs, map } => Layer::Windows(inputs.to_vec(), Affine::new(isa, map)),
            BranchLayer::Rectifier => Layer::Rectifier,
        };
        Network { straight: Affine::new(isa, &straight), branch: branch.iter().map(layer).collect() }
    }

    /// The contiguous outputs of the rows. The output of a row does not depend on other rows.
    pub(crate) fn images(&self, rows: ArrayView2<'_, f32>, images: &mut [f32]) {
        let outputs = self.straight.bias.len();
        images.par_chunks_mut((ROWS * outputs).max(1)).enumerate().for_each(|(task, images)| {
            let n = images.len() / outputs;
            let found = self.of_block(rows.slice(s![task * ROWS..task * ROWS + n, ..]));
            images.iter_mut().zip(&found).for_each(|(to, from)| *to = *from);
        });
    }

    fn of_block(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let straight = self.straight.apply(rows);
        let mut x: Option<Array2<f32>> = None;
        for layer in &self.branch {
            let input = x.as_ref().map_or(rows, |x| x.view());
            x = Some(match layer {
                Layer::Affine(affine) => affine.apply(input),
                Layer::Rectifier => input.mapv(|v| v.max(0.0)),
                Layer::Windows(inputs, affine) => convolve(input, inputs, affine),
            });
        }
        match x {
            Some(correction) => straight + correction,
            None => straight,
        }
    }
}

impl RowMap for Network {
    fn outputs(&self) -> usize {
        self.straight.bias.len()
    }

    fn apply(&self, rows: &DeviceMatrix<'_>, images: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        self.images(view(rows), place(images));
        Ok(())
    }
}

fn convolve(rows: ArrayView2<'_, f32>, inputs: &[u32], affine: &Affine) -> Array2<f32> {
    let taps = affine.weights.nrows();
    let windows = inputs.len() / taps;
    let mut seen = Array2::zeros((rows.nrows() * windows, taps));
    for (i, row) in rows.outer_iter().enumerate() {
        let mut of_row = seen.slice_mut(s![i * windows..(i + 1) * windows, ..]);
        for (to, &from) in of_row.iter_mut().zip(inputs) {
            *to = row.get(from as usize).copied().unwrap_or(0.0);
        }
    }
    let out = affine.apply(seen.view());
    let shape = (rows.nrows(), windows * affine.bias.len());
    match out.into_shape_with_order(shape) {
        Ok(out) => out,
        Err(error) => unreachable!("the windows of a row lie one after the other: {error}"),
    }
}
