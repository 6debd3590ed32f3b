//! Small networks: affine maps and rectifiers (`kernels/network.cu`, `kernels/products.cu`).

use crate::codes::over;
use crate::device::{Buffer, Device, launch};
use crate::products::{Terms, products};
use crate::{CudaError, DeviceRows};

/// `x·weights + bias` on a device.
#[derive(Debug)]
pub struct DeviceAffineMap {
    inputs: usize,
    /// Shape: outputs × inputs.
    weights: Buffer<f32>,
    bias: Buffer<f32>,
}

impl DeviceAffineMap {
    /// Uploads the weights, output by output, and one bias per output.
    ///
    /// # Errors
    /// Out of device memory.
    ///
    /// # Panics
    /// If there is no output, or the weights are not whole.
    pub fn new(device: &Device, weights: &[f32], bias: &[f32]) -> Result<DeviceAffineMap, CudaError> {
        assert!(!bias.is_empty() && weights.len().is_multiple_of(bias.len()), "weights of {} outputs", bias.len());
        let inputs = weights.len() / bias.len();
        assert!(inputs > 0, "inputs");
        Ok(DeviceAffineMap { inputs, weights: device.upload(weights)?, bias: device.upload(bias)? })
    }

    fn outputs(&self) -> usize {
        self.bias.len()
    }

    fn apply(&self, rows: DeviceRows<'_>, out: &mut Buffer<f32>) -> Result<(), CudaError> {
        assert!(rows.dim() == self.inputs, "rows of {}", self.inputs);
        products(rows, &self.weights, 1.0, Terms { bias: Some(&self.bias), ..Terms::default() }, out)
    }
}

/// Writes `(x − centre)·factor` of each row, row by row; without a centre, copies the rows unchanged.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If lengths do not match.
pub fn standardize(
    rows: DeviceRows<'_>,
    centre: Option<&Buffer<f32>>,
    factor: f32,
    out: &mut Buffer<f32>,
) -> Result<(), CudaError> {
    let (device, places) = (rows.buffer().device(), rows.count() * rows.dim());
    assert!(out.len() >= places && centre.is_none_or(|c| c.len() >= rows.dim()), "a place for each value");
    // SAFETY: the lengths were just asserted.
    unsafe {
        launch!(device, standardize_rows, over(device, places);
            rows.start(), rows.stride(), rows.n(), rows.dim() as u32, centre, factor, &*out)
    }
}

/// The inverse step, in place, for `count` contiguous rows: `x·factor + centre`.
///
/// # Errors
/// A device failure.
///
/// # Panics
/// If lengths do not match.
pub fn unstandardize(rows: &mut Buffer<f32>, count: usize, centre: &Buffer<f32>, factor: f32) -> Result<(), CudaError> {
    let (dim, places) = (centre.len(), count * centre.len());
    assert!(rows.len() >= places && u32::try_from(dim).is_ok(), "{count} rows of {dim}");
    let device = rows.device();
    // SAFETY: the number of values was just asserted.
    unsafe {
        launch!(device, unstandardize_rows, over(device, places); &*rows, places as u64, dim as u32, centre, factor)
    }
}

/// A step in the branch of a network.
#[derive(Debug)]
pub enum DeviceLayer {
    /// An affine map of all inputs.
    Affine(DeviceAffineMap),
    /// The same affine map applied to every window; the results are concatenated.
    Windows {
        /// Indices of inputs, window by window; an index past the last input stands for the value 0.
        inputs: Buffer<u32>,
        /// The affine map of a window.
        map: DeviceAffineMap,
    },
    /// `max(x, 0)`.
    Rectifier,
}

/// `x·A + b + branch(x)`.
#[derive(Debug)]
pub struct DeviceNetwork {
    straight: DeviceAffineMap,
    branch: Vec<DeviceLayer>,
}

impl DeviceNetwork {
    /// A network of maps whose shapes match.
    pub fn new(straight: DeviceAffineMap, branch: Vec<DeviceLayer>) -> DeviceNetwork {
        DeviceNetwork { straight, branch }
    }

    /// Number of inputs and of outputs.
    pub fn dim(&self) -> (usize, usize) {
        (self.straight.inputs, self.straight.outputs())
    }

    /// Peak memory per row, in bytes, for intermediate values of the branch, without inputs and outputs.
    pub fn bytes_per_row(&self) -> usize {
        let (mut width, mut most) = (self.straight.inputs, 0);
        for layer in &self.branch {
            let (seen, out) = match layer {
                DeviceLayer::Affine(map) => (0, map.outputs()),
                DeviceLayer::Windows { inputs, map } => (inputs.len(), inputs.len() / map.inputs * map.outputs()),
                DeviceLayer::Rectifier => (0, 0),
            };
            most = most.max(width + seen + out);
            width = if out > 0 { out } else { width };
        }
        4 * most
    }

    /// Writes the outputs, row by row.
    ///
    /// # Errors
    /// A device failure.
    ///
    /// # Panics
    /// If dimensions do not match, or there are 2^32 windows or more.
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
                DeviceLayer::Affine(map) => {
                    let mut next = device.room(n * map.outputs())?;
                    map.apply(x, &mut next)?;
                    held = Some((next, map.outputs()));
                }
                DeviceLayer::Windows { inputs, map } => {
                    assert!(inputs.len().is_multiple_of(map.inputs), "whole windows");
                    let seen = device.room::<f32>(n * inputs.len())?;
                    // SAFETY: `seen` has space for the windows of every row, and only existing inputs are read.
                    unsafe {
                        launch!(device, gather_windows, over(device, n * inputs.len());
                            x.start(), x.stride(), x.n(), x.dim() as u32, inputs, inputs.len() as u32, &seen)?;
                    }
                    let width = inputs.len() / map.inputs * map.outputs();
                    let mut next = device.room(n * width)?;
                    map.apply(DeviceRows::all(&seen, map.inputs), &mut next)?;
                    held = Some((next, width));
                }
                DeviceLayer::Rectifier => {
                    let Some((values, _)) = &held else { unreachable!("a rectifier behind a map") };
                    // SAFETY: the buffer has this many values.
                    unsafe {
                        launch!(device, rectify_values, over(device, values.len()); values, values.len() as u64)?;
                    }
                }
            }
        }
        if let Some((values, width)) = held {
            assert!(width == self.straight.outputs(), "a branch as wide as the straight map");
            // SAFETY: `out` has this many values, since the straight map has written them.
            unsafe {
                launch!(device, add_values, over(device, values.len()); &*out, &values, values.len() as u64)?;
            }
        }
        Ok(())
    }
}
