//! Quantizer on a grid: each latent component takes one of a few values, and the values of a group make one symbol.

use crate::algorithms::codebooks::{check_symbols, symbol_bits};
use crate::algorithms::pack::Layout;
use crate::backend::Backend;
use crate::contract::batch::{decode_rows, encode_rows};
use crate::{MethodError, Quantizer, State, Symbols, check_batch};
use ndarray::{ArrayView2, ArrayViewMut2};
use std::sync::Arc;

/// A grid for the components of a group.
pub(crate) trait Grid: Send + Sync {
    /// Number of values of each component of a group.
    fn levels(&self) -> &[usize];

    /// Levels of the grid if it is that of finite scalar quantization, for which backends have a kernel.
    fn finite(&self) -> Option<&[usize]> {
        None
    }

    /// The index of the value that each component takes, for the latents of one group.
    fn digits(&self, latents: &[f32], digits: &mut [usize]);

    /// The value of component `j` at this index.
    fn value(&self, j: usize, digit: usize) -> f32;
}

/// Quantizer whose groups of components share one grid. The symbol of a group is `Σ_j digit_j·Π_{i<j} levels_i`.
pub(crate) struct GridQuantizer<G> {
    grid: G,
    groups: usize,
    alphabet: usize,
    layout: Layout,
    backend: Arc<dyn Backend>,
}

impl<G: Grid> GridQuantizer<G> {
    /// `groups` groups; the product of the levels is at most 2^16.
    pub(crate) fn new(grid: G, groups: usize, backend: Arc<dyn Backend>) -> GridQuantizer<G> {
        let alphabet = grid.levels().iter().product();
        GridQuantizer { layout: Layout::uniform(groups, symbol_bits(alphabet)), grid, groups, alphabet, backend }
    }

    #[cfg(test)]
    pub(crate) fn grid(&self) -> &G {
        &self.grid
    }

    fn width(&self) -> usize {
        self.grid.levels().len()
    }
}

impl<G: Grid> Quantizer for GridQuantizer<G> {
    fn dim(&self) -> usize {
        self.groups * self.width()
    }

    fn code_bits(&self) -> usize {
        self.layout.bits()
    }

    fn model_size(&self) -> usize {
        0
    }

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        check_batch(self.dim(), self.code_size(), rows.dim(), codes.len())?;
        if let Some(levels) = self.grid.finite()
            && self.backend.encode_finite(rows, levels, self.groups, codes)?
        {
            return Ok(());
        }
        let scratch = || (vec![0usize; self.width()], vec![0u16; self.groups]);
        encode_rows(self.dim(), self.code_size(), rows, codes, scratch, |row, code, (digits, symbols)| {
            for (part, symbol) in row.chunks_exact(self.width()).zip(symbols.iter_mut()) {
                self.grid.digits(part, digits);
                // Largest place first: s = (…(d_n)·L_{n−1} + d_{n−1})…)·L_1 + d_1.
                let places = digits.iter().zip(self.grid.levels()).rev();
                *symbol = places.fold(0, |sum, (digit, levels)| sum * levels + digit) as u16;
            }
            self.layout.pack(symbols, code);
        })
    }

    fn decode_into(&self, codes: &[u8], rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        let scratch = || vec![0u16; self.groups];
        decode_rows(self.dim(), self.code_size(), codes, rows, scratch, |code, row, symbols| {
            self.layout.unpack(code, symbols)?;
            check_symbols(symbols, self.alphabet)?;
            for (part, &symbol) in row.chunks_exact_mut(self.width()).zip(&*symbols) {
                let mut rest = usize::from(symbol);
                for ((j, x), levels) in part.iter_mut().enumerate().zip(self.grid.levels()) {
                    *x = self.grid.value(j, rest % levels);
                    rest /= levels;
                }
            }
            Ok(())
        })
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(self)
    }

    fn save(&self, _state: &mut State) {}
}

impl<G: Grid> Symbols for GridQuantizer<G> {
    fn alphabets(&self) -> Vec<usize> {
        vec![self.alphabet; self.groups]
    }

    fn position_name(&self, p: usize) -> String {
        if self.groups == 1 { "codebook".into() } else { format!("group {p}") }
    }

    fn unpack(&self, code: &[u8], symbols: &mut [u16]) -> Result<(), MethodError> {
        self.layout.unpack(code, symbols)
    }
}
