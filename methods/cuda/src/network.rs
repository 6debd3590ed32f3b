//! Small networks: affine maps and what is between them (`kernels/network.cu`, `kernels/products.cu`).

use crate::codes::over;
use crate::device::{Buffer, Device, launch};
use crate::products::{Terms, products};
use crate::{CudaError, DeviceRows};

/// `x·weights + bias` on a device.
#[derive(Debug)]
pub struct AffineMap {
    inputs: usize,
    /// Outputs × inputs.
    weights: Buffer<f32>,
    bias: Buffer<f32>,
}

impl AffineMap {
    /// From the weights of one output after the other, and a bias for each.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// When there is no output, or weights are not whole.
    pub fn new(device: &Device, weights: &[f32], bias: &[f32]) -> Result<AffineMap, CudaError> {
        assert!(!bias.is_empty() && weights.len().is_multiple_of(bias.len()), "weights of {} outputs", bias.len());
        let inputs = weights.len() / bias.len();
        assert!(inputs > 0, "inputs");
        Ok(AffineMap { inputs, weights: device.upload(weights)?, bias: device.upload(bias)? })
    }

    fn outputs(&self) -> usize {
        self.bias.len()
    }

    fn apply(&self, rows: DeviceRows<'_>, out: &mut Buffer<f32>) -> Result<(), CudaError> {
        assert!(rows.dim() == self.inputs, "rows of {}", self.inputs);
        products(rows, &self.weights, 1.0, Terms { bias: Some(&self.bias), ..Terms::default() }, out)
    }
}

/// Writes `(x − centre)·factor` of each row, row after row; the rows themselves where there is no centre.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// When lengths do not fit.
pub fn standardize(
    rows: DeviceRows<'_>,
    centre: Option<&Buffer<f32>>,
    factor: f32,
    out: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let (device, places) = (rows.buffer().device(), rows.count() * rows.dim());
    assert!(out.len() >= places && centre.is_none_or(|c| c.len() >= rows.dim()), "a place for each value");
    // SAFETY: all are as long as just asserted.
    unsafe {
        launch!(device, standardize_rows, over(device, places);
            rows.start(), rows.stride(), rows.n(), rows.dim() as u32, centre, factor, &*out)
    }
}

/// Its counterpart in place, of `count` rows one after the other: `x·factor + centre`.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// When lengths do not fit.
pub fn unstandardize(rows: &mut Buffer<f32>, count: usize, centre: &Buffer<f32>, factor: f32) -> Result<(), CudaError> {
    let (dim, places) = (centre.len(), count * centre.len());
    assert!(rows.len() >= places && u32::try_from(dim).is_ok(), "{count} rows of {dim}");
    let device = rows.device();
    // SAFETY: as many values are there, as just asserted.
    unsafe {
        launch!(device, unstandardize_rows, over(device, places); &*rows, places as u64, dim as u32, centre, factor)
    }
}

/// A step of a branch.
#[derive(Debug)]
pub enum Layer {
    /// An affine map of everything.
    Affine(AffineMap),
    /// The same affine map of every window; the results side by side.
    Windows {
        /// Numbers of inputs, window by window; one beyond the last input stands for 0.
        inputs: Buffer<u32>,
        /// The map of a window.
        map: AffineMap,
    },
    /// `max(x, 0)`.
    Rectifier,
}

/// `x·A + b + branch(x)`.
#[derive(Debug)]
pub struct Network {
    straight: AffineMap,
    branch: Vec<Layer>,
}

impl Network {
    /// Of maps that fit together.
    pub fn new(straight: AffineMap, branch: Vec<Layer>) -> Network {
        Network { straight, branch }
    }

    /// Inputs and outputs.
    pub fn dim(&self) -> (usize, usize) {
        (self.straight.inputs, self.straight.outputs())
    }

    /// Bytes that a row takes on its way, at most: what the branch holds at a time, beside inputs and outputs.
    pub fn bytes_per_row(&self) -> usize {
        let (mut width, mut most) = (self.straight.inputs, 0);
        for layer in &self.branch {
            let (seen, out) = match layer {
                Layer::Affine(map) => (0, map.outputs()),
                Layer::Windows { inputs, map } => (inputs.len(), inputs.len() / map.inputs * map.outputs()),
                Layer::Rectifier => (0, 0),
            };
            most = most.max(width + seen + out);
            width = if out > 0 { out } else { width };
        }
        4 * most
    }

    /// Writes the outputs of rows, one row after the other.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// When dimensions do not fit together, or there are 2^32 windows or more.
    pub fn apply(&self, rows: DeviceRows<'_>, out: &mut Buffer<f32>) -> Result<(), CudaError> {
        let n = rows.count();
        self.straight.apply(rows, out)?;
        if n == 0 || self.branch.is_empty() {
            return Ok(());
        }
        let device = rows.buffer().device();
        let mut held: Option<(Buffer<f32>, usize)> = None;
        for layer in &self.branch {
            let x = match &held {
                Some((values, width)) => DeviceRows::all(values, *width),
                None => rows,
            };
            match layer {
                Layer::Affine(map) => {
                    let mut next = device.room(n * map.outputs())?;
                    map.apply(x, &mut next)?;
                    held = Some((next, map.outputs()));
                }
                Layer::Windows { inputs, map } => {
                    assert!(inputs.len().is_multiple_of(map.inputs), "whole windows");
                    let seen = device.room::<f32>(n * inputs.len())?;
                    // SAFETY: there is room for what every row's windows see, and only inputs that there are are read.
                    unsafe {
                        launch!(device, gather_windows, over(device, n * inputs.len());
                            x.start(), x.stride(), x.n(), x.dim() as u32, inputs, inputs.len() as u32, &seen)?;
                    }
                    let width = inputs.len() / map.inputs * map.outputs();
                    let mut next = device.room(n * width)?;
                    map.apply(DeviceRows::all(&seen, map.inputs), &mut next)?;
                    held = Some((next, width));
                }
                Layer::Rectifier => {
                    let Some((values, _)) = &held else { unreachable!("a rectifier behind a map") };
                    // SAFETY: as many values are there.
                    unsafe {
                        launch!(device, rectify_values, over(device, values.len()); values, values.len() as u64)?;
                    }
                }
            }
        }
        if let Some((values, width)) = held {
            assert!(width == self.straight.outputs(), "a branch as wide as the straight map");
            // SAFETY: `out` has that many values, as the straight map has written them.
            unsafe {
                launch!(device, add_values, over(device, values.len()); &*out, &values, values.len() as u64)?;
            }
        }
        Ok(())
    }
}
