//! Trained codebooks, one per group of consecutive components: the quantizer of `pq`, and of `lbg` and `kmeans` (one
//! group).

use crate::algorithms::codebooks::{Codebooks, symbol_bits};
use crate::algorithms::pack::Layout;
use crate::backend::{Backend, GroupSearch, Join, prepared};
use crate::contract::batch::{decode_rows, row_major};
use crate::contract::curve::Course;
use crate::contract::state::{State, StateError};
use crate::search::lookup::LookupSearcher;
use crate::{Curve, MethodError, Metric, Quantizer, Searcher, Symbols, check_batch};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use std::sync::{Arc, OnceLock};

/// `m` codebooks of `K×dsub`, one per group of `dsub` consecutive components. A code is one symbol per group.
pub struct ProductQuantizer {
    codebooks: Codebooks,
    curves: Vec<Curve>,
    backend: Arc<dyn Backend>,
    /// The codebooks on the backend; prepared at the first encoding.
    search: OnceLock<Box<dyn GroupSearch>>,
}

impl ProductQuantizer {
    /// Creates a quantizer from codebooks of one shape, with the curves of their training.
    ///
    /// # Panics
    /// If there is no codebook, or shapes differ.
    pub fn new(codebooks: Vec<Array2<f32>>, curves: Vec<Curve>, backend: Arc<dyn Backend>) -> Self {
        let position = |p: usize, of: usize| if of == 1 { "codebook".to_owned() } else { format!("sub {p}") };
        ProductQuantizer { codebooks: Codebooks::new(codebooks, position), curves, backend, search: OnceLock::new() }
    }

    /// Creates a quantizer from codebooks trained by Lloyd's iteration, with the course of the MSE per vector.
    pub fn trained(codebooks: Vec<Array2<f32>>, mse: Course, backend: Arc<dyn Backend>) -> Self {
        ProductQuantizer::new(codebooks, vec![mse.into_curve(true)], backend)
    }

    /// How the symbols of a code are packed.
    pub(crate) fn layout(&self) -> &Layout {
        &self.codebooks.layout
    }

    /// Restores what [`Quantizer::save`] stored: `m` codebooks of `codewords×(dim/m)`.
    pub fn restore(
        state: &mut State,
        m: usize,
        codewords: usize,
        dim: usize,
        backend: Arc<dyn Backend>,
    ) -> Result<Box<dyn Quantizer>, StateError> {
        let books = Codebooks::take(state, m, codewords, dim / m)?;
        Ok(Box::new(ProductQuantizer::new(books, Vec::new(), backend)))
    }
}

impl Quantizer for ProductQuantizer {
    fn dim(&self) -> usize {
        self.codebooks.books.len() * self.codebooks.dsub()
    }

    fn code_bits(&self) -> usize {
        self.codebooks.layout.bits()
    }

    fn model_size(&self) -> usize {
        self.codebooks.model_size()
    }

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        check_batch(self.dim(), self.code_size(), rows.dim(), codes.len())?;
        let bits = symbol_bits(self.codebooks.codewords());
        prepared(&self.search, || self.backend.group_search(&self.codebooks.books))?.encode(rows, bits, codes)
    }

    fn decode_into(&self, codes: &[u8], mut rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        check_batch(self.dim(), self.code_size(), rows.dim(), codes.len())?;
        if self.codebooks.decode_on(&*self.backend, codes, Join::Beside, rows.view_mut())? {
            return Ok(());
        }
        let dsub = self.codebooks.dsub();
        if let (Some(8), 256) = (self.codebooks.layout.common_width(), self.codebooks.codewords()) {
            // One byte per symbol: nothing to unpack, and every symbol is valid.
            let books: Vec<_> = self.codebooks.books.iter().map(row_major).collect();
            let books: Vec<&[f32]> = books.iter().map(|book| &**book).collect();
            return decode_rows(
                self.dim(),
                self.code_size(),
                codes,
                rows,
                || (),
                |code, row, ()| {
                    match dsub {
                        2 => select::<2>(&books, code, row),
                        4 => select::<4>(&books, code, row),
                        6 => select::<6>(&books, code, row),
                        8 => select::<8>(&books, code, row),
                        12 => select::<12>(&books, code, row),
                        16 => select::<16>(&books, code, row),
                        24 => select::<24>(&books, code, row),
                        32 => select::<32>(&books, code, row),
                        _ => {
                            for ((part, book), &symbol) in row.chunks_exact_mut(dsub).zip(&books).zip(code) {
                                part.copy_from_slice(&book[usize::from(symbol) * dsub..][..dsub]);
                            }
                        }
                    }
                    Ok(())
                },
            );
        }
        let scratch = || vec![0u16; self.codebooks.books.len()];
        decode_rows(self.dim(), self.code_size(), codes, rows, scratch, |code, row, symbols| {
            self.codebooks.select(code, symbols)?;
            for ((part, codebook), &symbol) in
                row.chunks_exact_mut(self.codebooks.dsub()).zip(&self.codebooks.books).zip(&*symbols)
            {
                part.iter_mut().zip(codebook.row(usize::from(symbol))).for_each(|(x, &y)| *x = y);
            }
            Ok(())
        })
    }

    fn searcher(&self, metric: Metric) -> Option<Box<dyn Searcher + '_>> {
        Some(Box::new(LookupSearcher::new(&self.codebooks, metric, self.backend.isa())))
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        Some(&self.codebooks)
    }

    fn curves(&self) -> &[Curve] {
        &self.curves
    }

    fn save(&self, state: &mut State) {
        self.codebooks.save(state);
    }
}

/// Copies the codewords of whole-byte symbols side by side; their length is known at compile time.
fn select<const D: usize>(books: &[&[f32]], code: &[u8], row: &mut [f32]) {
    for ((part, book), &symbol) in row.as_chunks_mut::<D>().0.iter_mut().zip(books).zip(code) {
        *part = book.as_chunks::<D>().0[usize::from(symbol)];
    }
}
