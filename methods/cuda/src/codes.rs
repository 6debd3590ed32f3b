//! Codes on a device.

use crate::Buffer;
use crate::device::Argument;

/// `count` codes of `size` bytes, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    bytes: &'a Buffer<u8>,
    first: usize,
    count: usize,
    size: usize,
}

impl<'a> Codes<'a> {
    /// All of a buffer.
    ///
    /// # Panics
    /// When they are not whole, or there are 2^32 or more.
    pub fn all(bytes: &'a Buffer<u8>, size: usize) -> Codes<'a> {
        assert!(size > 0 && bytes.len().is_multiple_of(size), "whole codes of {size} bytes");
        let count = bytes.len() / size;
        assert!(
            u32::try_from(count).is_ok() && u32::try_from(8 * size).is_ok(),
            "at most 2^32 codes, and bits of a code"
        );
        Codes { bytes, first: 0, count, size }
    }

    /// Codes from one on, as many of `count` as there are.
    pub fn part(&self, from: usize, count: usize) -> Codes<'a> {
        let from = from.min(self.count);
        Codes { first: self.first + from * self.size, count: count.min(self.count - from), ..*self }
    }

    /// Number of codes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of a code.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The buffer they are in.
    pub fn buffer(&self) -> &'a Buffer<u8> {
        self.bytes
    }

    pub(crate) fn start(&self) -> Argument {
        self.bytes.at(self.first)
    }

    pub(crate) fn n(&self) -> u32 {
        self.count as u32
    }
}
