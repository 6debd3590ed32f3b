//! Rows of a matrix on a device, at a constant stride.

use crate::Buffer;
use crate::device::Argument;

/// `count` rows of `dim` values; row `i` begins at index `first + i·stride`.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRows<'a> {
    values: &'a Buffer<f32>,
    first: usize,
    stride: usize,
    count: usize,
    dim: usize,
}

impl<'a> DeviceRows<'a> {
    /// Rows of a buffer.
    ///
    /// # Panics
    /// If the last row exceeds the buffer, or there are 2^32 rows or more.
    pub fn new(values: &'a Buffer<f32>, first: usize, stride: usize, count: usize, dim: usize) -> DeviceRows<'a> {
        let end = if count == 0 { 0 } else { first + (count - 1) * stride + dim };
        assert!(end <= values.len(), "{count} rows of {dim} every {stride} values, of {}", values.len());
        assert!(u32::try_from(count).is_ok() && u32::try_from(dim).is_ok(), "at most 2^32 rows and components");
        DeviceRows { values, first, stride, count, dim }
    }

    /// The rows of a whole buffer, contiguous.
    ///
    /// # Panics
    /// If the buffer is not whole rows.
    pub fn all(values: &'a Buffer<f32>, dim: usize) -> DeviceRows<'a> {
        assert!(dim > 0 && values.len().is_multiple_of(dim), "whole rows of {dim}");
        DeviceRows::new(values, 0, dim, values.len() / dim, dim)
    }

    /// At most `count` rows, starting with row `from`.
    pub fn part(&self, from: usize, count: usize) -> DeviceRows<'a> {
        let from = from.min(self.count);
        DeviceRows { first: self.first + from * self.stride, count: count.min(self.count - from), ..*self }
    }

    /// The components `first..first + dim` of every row.
    ///
    /// # Panics
    /// If the range exceeds the components.
    pub fn columns(&self, first: usize, dim: usize) -> DeviceRows<'a> {
        assert!(first + dim <= self.dim, "components {first}..{} of {}", first + dim, self.dim);
        DeviceRows { first: self.first + first, dim, ..*self }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Components per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The buffer that contains the rows.
    pub fn buffer(&self) -> &'a Buffer<f32> {
        self.values
    }

    pub(crate) fn start(&self) -> Argument {
        self.values.at(self.first.min(self.values.len()))
    }

    pub(crate) fn stride(&self) -> u64 {
        self.stride as u64
    }

    pub(crate) fn n(&self) -> u32 {
        self.count as u32
    }
}
