//! Rows of a matrix on a device: every so many values one begins.

use crate::Buffer;
use crate::device::Argument;

/// `count` rows of `dim` values; row `i` begins at value `first + i·stride`.
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
    /// When the last one ends behind the buffer, or there are 2^32 or more.
    pub fn new(values: &'a Buffer<f32>, first: usize, stride: usize, count: usize, dim: usize) -> DeviceRows<'a> {
        let end = if count == 0 { 0 } else { first + (count - 1) * stride + dim };
        assert!(end <= values.len(), "{count} rows of {dim} every {stride} values, of {}", values.len());
        assert!(u32::try_from(count).is_ok() && u32::try_from(dim).is_ok(), "at most 2^32 rows and components");
        DeviceRows { values, first, stride, count, dim }
    }

    /// All of a buffer, row after row.
    ///
    /// # Panics
    /// When they are not whole.
    pub fn all(values: &'a Buffer<f32>, dim: usize) -> DeviceRows<'a> {
        assert!(dim > 0 && values.len().is_multiple_of(dim), "whole rows of {dim}");
        DeviceRows::new(values, 0, dim, values.len() / dim, dim)
    }

    /// Rows from one on, as many of `count` as there are.
    pub fn part(&self, from: usize, count: usize) -> DeviceRows<'a> {
        let from = from.min(self.count);
        DeviceRows { first: self.first + from * self.stride, count: count.min(self.count - from), ..*self }
    }

    /// Some of the components of every row.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn columns(&self, first: usize, dim: usize) -> DeviceRows<'a> {
        assert!(first + dim <= self.dim, "components {first}..{} of {}", first + dim, self.dim);
        DeviceRows { first: self.first + first, dim, ..*self }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Components of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The buffer they are in.
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
