//! The codebooks of a code and its layout: what quantizers that select codewords share, however they combine them.

use crate::pack::Layout;
use crate::{MethodError, Symbols};
use ndarray::{Array2, ArrayView2};

/// One codebook per symbol of a code.
pub(crate) struct Codebooks {
    /// `K×dsub` each.
    pub(crate) books: Vec<Array2<f32>>,
    /// How their symbols are packed.
    pub(crate) layout: Layout,
    /// Name of a position: of which, out of how many.
    position: fn(usize, usize) -> String,
}

impl Codebooks {
    /// Codebooks of `2^bits` codewords each.
    ///
    /// # Panics
    /// When there is none or one has another number of codewords.
    pub(crate) fn new(books: Vec<Array2<f32>>, bits: u8, position: fn(usize, usize) -> String) -> Codebooks {
        assert!(!books.is_empty() && books.iter().all(|b| b.nrows() == 1 << bits), "codebooks of 2^{bits}");
        Codebooks { layout: Layout::uniform(books.len(), bits), books, position }
    }

    /// Components of each codeword.
    pub(crate) fn dsub(&self) -> usize {
        self.books[0].ncols()
    }

    /// Bytes of all codewords.
    pub(crate) fn model_size(&self) -> usize {
        self.books.iter().map(|book| 4 * book.len()).sum()
    }
}

impl Symbols for Codebooks {
    fn alphabets(&self) -> Vec<usize> {
        self.books.iter().map(Array2::nrows).collect()
    }

    fn position_name(&self, p: usize) -> String {
        (self.position)(p, self.books.len())
    }

    fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        self.layout.unpack(code, symbols)
    }

    fn codebook(&self, p: usize) -> Option<ArrayView2<'_, f32>> {
        self.books.get(p).map(|book| book.view())
    }
}
