//! Signals that vectors are pieces of, images or sound: they give rates per pixel and per second, and reassembled
//! images.

use crate::format::picture::CHANNELS;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The signal that the base rows are pieces of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Whole pictures, cut into square patches.
    Images {
        /// Side of a patch in pixels.
        patch: usize,
        /// Values per pixel, interleaved.
        channels: usize,
        /// The pictures, in the order of their rows.
        pictures: Vec<Picture>,
    },
    /// Frames of sound, each a vector of log-mel energies.
    Frames {
        /// Frames per second.
        per_second: f64,
    },
}

/// A picture whose patches are consecutive base rows, line by line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Letters, digits, `-`, `_` and `.`; unique within its dataset.
    pub name: String,
    /// Pixels across, of whole patches.
    pub width: usize,
    /// Pixels down, of whole patches.
    pub height: usize,
    /// The base row of its first patch.
    pub first_row: usize,
}

impl Picture {
    /// Its base rows.
    pub fn rows(&self, patch: usize) -> Range<usize> {
        self.first_row..self.first_row + (self.width / patch) * (self.height / patch)
    }

    /// Reassembles its patches: `height×width` pixels of red, green and blue, each value rounded to 8 bits.
    pub fn pixels(&self, base: ArrayView2<'_, f32>, patch: usize) -> Vec<u8> {
        let mut pixels = vec![0; self.width * self.height * CHANNELS];
        let (across, line) = (self.width / patch, patch * CHANNELS);
        for (i, row) in self.rows(patch).enumerate() {
            let (left, top) = (i % across * patch, i / across * patch);
            for (at, &value) in base.row(row).iter().enumerate() {
                let (y, x) = (top + at / line, left * CHANNELS + at % line);
                pixels[y * self.width * CHANNELS + x] = eight_bits(value);
            }
        }
        pixels
    }
}

/// A value as an image stores it: the nearest integer from 0 to 255.
pub fn eight_bits(value: f32) -> u8 {
    // The cast is defined for every value: it saturates, and maps NaN to 0.
    value.round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn values_beyond_a_byte_stop_at_its_ends() {
        let found = [-3.0, -0.4, 0.5, 99.49, 254.6, 300.0, f32::NAN].map(eight_bits);
        assert_eq!(found, [0, 0, 1, 99, 255, 255, 0]);
    }

    #[test]
    fn patches_find_their_place_again() {
        // 4×6 pixels as 2×2 patches, after one row of another picture: value = 10·line + column, colours 0, 100, 200.
        let picture = Picture { name: "p".into(), width: 4, height: 6, first_row: 1 };
        let base = Array2::from_shape_fn((7, 12), |(row, at)| {
            if row == 0 {
                return 255.0;
            }
            let (patch, pixel, colour) = (row - 1, at / 3, at % 3);
            (10 * (patch / 2 * 2 + pixel / 2) + patch % 2 * 2 + pixel % 2 + 100 * (colour % 3)) as f32
        });
        let expected: Vec<u8> =
            (0..6).flat_map(|y| (0..4).flat_map(move |x| [0, 100, 200].map(|c| (10 * y + x + c) as u8))).collect();
        assert_eq!(picture.pixels(base.view(), 2), expected);
    }
}
