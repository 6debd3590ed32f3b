//! Products and small networks on the CPU, on plain rows.

use super::cpu_backend::{place, view};
use super::{AffineMap, BranchLayer, DeviceMatrix, MatrixRoom, RowMap, Runs};
use crate::MethodError;
use crate::algorithms::products::{PackedMatrix, multiply_packed, multiply_packed_into};
use cpu::{Isa, LeftFactor, Onto, RightFactor};
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Rows that one task passes through all layers.
const ROWS: usize = 256;

/// `x·A`.
pub(super) struct Product(PackedMatrix);

impl Product {
    pub(super) fn new(isa: Isa, matrix: ArrayView2<'_, f32>) -> Product {
        Product(PackedMatrix::new(isa, matrix))
    }
}

impl RowMap for Product {
    fn outputs(&self) -> usize {
        self.0.ncols()
    }

    fn apply(&self, rows: &DeviceMatrix<'_>, images: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        multiply_packed_into(view(rows), &self.0, place(images));
        Ok(())
    }
}

/// `x·weights + bias`.
struct Affine {
    weights: PackedMatrix,
    bias: Array2<f32>,
}

impl Affine {
    fn new(isa: Isa, map: &AffineMap<'_>) -> Affine {
        Affine { weights: PackedMatrix::new(isa, map.weights), bias: map.bias.to_owned() }
    }

    fn apply(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        multiply_packed(rows, &self.weights) + &self.bias
    }
}

enum Layer {
    Affine(Affine),
    Windows(WindowMap),
    Rectifier,
}

/// `x·A + b + branch(x)`.
pub(crate) struct Network {
    straight: Affine,
    branch: Vec<Layer>,
}

impl Network {
    pub(crate) fn new(isa: Isa, straight: AffineMap<'_>, branch: &[BranchLayer<'_>]) -> Network {
        // The values that a layer is given.
        let mut of_row = straight.weights.nrows();
        let layer = |layer: &BranchLayer<'_>| match layer {
            BranchLayer::Affine(map) => {
                of_row = map.bias.len();
                Layer::Affine(Affine::new(isa, map))
            }
            BranchLayer::Windows { inputs, map } => {
                let windows = WindowMap::new(isa, inputs, of_row, map);
                of_row = windows.outputs();
                Layer::Windows(windows)
            }
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
                Layer::Windows(windows) => windows.apply(input),
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

/// The same affine map of every window of a row.
struct WindowMap {
    runs: Runs,
    windows: usize,
    bias: Vec<f32>,
    weights: RightFactor,
}

/// Values of windows that are gathered at a time: they stay in the cache.
const WINDOW_VALUES: usize = 1 << 14;

impl WindowMap {
    fn new(isa: Isa, inputs: &[u32], of_row: usize, map: &AffineMap<'_>) -> WindowMap {
        let weights: Vec<f32> = map.weights.iter().copied().collect();
        WindowMap {
            runs: Runs::new(inputs, of_row),
            windows: inputs.len() / map.weights.nrows().max(1),
            bias: map.bias.iter().copied().collect(),
            weights: RightFactor::new(isa, &weights, map.bias.len()),
        }
    }

    /// Outputs for a row.
    fn outputs(&self) -> usize {
        self.windows * self.bias.len()
    }

    fn apply(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut out = Array2::zeros((rows.nrows(), self.outputs()));
        let at_once = (WINDOW_VALUES / self.runs.seen().max(1)).max(1);
        let onto = Onto { bias: Some(&self.bias), ..Onto::default() };
        let mut seen = Vec::new();
        for (rows, mut out) in rows.axis_chunks_iter(Axis(0), at_once).zip(out.axis_chunks_iter_mut(Axis(0), at_once)) {
            let rows = rows.as_standard_layout();
            if let (Some(rows), Some(out)) = (rows.as_slice(), out.as_slice_mut()) {
                self.runs.gather(rows, &mut seen);
                self.weights.times(LeftFactor::Rows(&seen), onto, out);
            }
        }
        out
    }
}
