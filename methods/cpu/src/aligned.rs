//! Bytes that begin at a cache line: a register of 64 bytes that crosses two lines takes two reads.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes, the first of which begins a cache line.
#[derive(Debug, Default)]
pub(crate) struct AlignedBytes {
    /// With room for alignment before them.
    bytes: Vec<u8>,
    start: usize,
}

impl AlignedBytes {
    /// As many zeros.
    pub(crate) fn zeros(count: usize) -> AlignedBytes {
        let mut bytes = vec![0; count + LINE - 1];
        // Where it cannot be aligned, it is only slower.
        let start = bytes.as_ptr().align_offset(LINE).min(LINE - 1);
        bytes.truncate(start + count);
        AlignedBytes { bytes, start }
    }
}

impl Clone for AlignedBytes {
    fn clone(&self) -> AlignedBytes {
        let mut copy = AlignedBytes::zeros(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_a_line_and_are_copied() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let mut bytes = AlignedBytes::zeros(count);
            assert_eq!(bytes.len(), count);
            bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8);
            let copy = bytes.clone();
            assert_eq!(*copy, *bytes);
            assert!(copy.as_ptr().addr().is_multiple_of(LINE) && bytes.as_ptr().addr().is_multiple_of(LINE));
        }
    }
}
