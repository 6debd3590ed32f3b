//! The codebooks of a quantizer and the layout of its codes, for all methods that select codewords.

use crate::algorithms::pack::SymbolLayout;
use crate::contract::state::{State, StateError};
use crate::{MethodError, Symbols};
use ndarray::{Array2, ArrayView2};
use std::sync::OnceLock;

/// One codebook per symbol of a code; all have the same shape.
pub(crate) struct Codebooks {
    /// `K×dsub` each.
    pub(crate) books: Vec<Array2<f32>>,
    /// The codebooks transposed, `dsub×K` each; computed when a search first needs them.
    columns: OnceLock<Vec<Vec<f32>>>,
    /// How their symbols are packed.
    pub(crate) layout: SymbolLayout,
    /// Names position `p` of `n`.
    position: fn(usize, usize) -> String,
}

/// Bits of a symbol that selects one of `codewords` codewords.
pub(crate) fn symbol_bits(codewords: usize) -> u8 {
    codewords.next_power_of_two().trailing_zeros().max(1) as u8
}

impl Codebooks {
    /// Codebooks of the same shape.
    ///
    /// # Panics
    /// If there is no codebook, if shapes differ, or if there are more than 2^16 codewords.
    pub(crate) fn new(books: Vec<Array2<f32>>, position: fn(usize, usize) -> String) -> Codebooks {
        assert!(!books.is_empty() && books.iter().all(|b| b.dim() == books[0].dim()), "codebooks of one shape");
        // Row-major, the layout that decoding reads.
        let books: Vec<Array2<f32>> = books.into_iter().map(|book| book.as_standard_layout().into_owned()).collect();
        let layout = SymbolLayout::uniform(books.len(), symbol_bits(books[0].nrows()));
        Codebooks { layout, books, columns: OnceLock::new(), position }
    }

    /// Adds them to the state of a quantizer.
    pub(crate) fn save(&self, state: &mut State) {
        self.books.iter().enumerate().for_each(|(j, book)| state.put_matrix(format!("codebook {j}"), book.view()));
    }

    /// Takes `count` codebooks of `codewords×dsub` out of a state.
    pub(crate) fn take(
        state: &mut State,
        count: usize,
        codewords: usize,
        dsub: usize,
    ) -> Result<Vec<Array2<f32>>, StateError> {
        (0..count).map(|j| state.take_matrix(&format!("codebook {j}"), codewords, dsub)).collect()
    }

    /// The codebooks transposed, `dsub×K` each, as query tables are computed from them.
    pub(crate) fn columns(&self) -> &[Vec<f32>] {
        self.columns.get_or_init(|| self.books.iter().map(|book| book.t().iter().copied().collect()).collect())
    }

    /// Codewords per codebook.
    pub(crate) fn codewords(&self) -> usize {
        self.books[0].nrows()
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

/// Checks that symbols are below their alphabet. Nothing to check if the alphabet is a power of two.
pub(crate) fn check_symbols(symbols: &[u16], alphabet: usize) -> Result<(), MethodError> {
    if alphabet.is_power_of_two() && alphabet > 1 {
        return Ok(());
    }
    match symbols.iter().position(|&s| usize::from(s) >= alphabet) {
        Some(position) => Err(MethodError::Symbol { symbol: symbols[position].into(), position, alphabet }),
        None => Ok(()),
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
