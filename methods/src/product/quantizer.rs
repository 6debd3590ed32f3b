//! Trained codebooks, one per group of consecutive components: the quantizer of `pq`, and of `lbg` and `kmeans` (one
//! group).

use crate::algorithms::codebooks::{Codebooks, symbol_bits};
use crate::backend::{
    Backend, CodeDecoder, CodeRoom, DeviceCodes, DeviceMatrix, Join, MatrixRoom, RowEncoder, prepared,
};
use crate::contract::curve::Course;
use crate::contract::state::{State, StateError};
use crate::search::lookup::LookupSearcher;
use crate::{Curve, MethodError, Quantizer, SearchMetric, Searcher, Symbols};
use ndarray::Array2;
use std::sync::{Arc, OnceLock};

/// `m` codebooks of `K×dsub`, one per group of `dsub` consecutive components. A code is one symbol per group.
pub struct ProductQuantizer {
    codebooks: Codebooks,
    curves: Vec<Curve>,
    backend: Arc<dyn Backend>,
    /// The codebooks as the backend searches them, once rows have been encoded.
    search: OnceLock<Box<dyn RowEncoder>>,
    /// The same as it decodes by them.
    decoder: OnceLock<Box<dyn CodeDecoder>>,
}

impl ProductQuantizer {
    /// Creates a quantizer from codebooks of one shape, with the curves of their training.
    ///
    /// # Panics
    /// If there is no codebook, or shapes differ.
    pub fn new(codebooks: Vec<Array2<f32>>, curves: Vec<Curve>, backend: Arc<dyn Backend>) -> Self {
        let position = |p: usize, of: usize| if of == 1 { "codebook".to_owned() } else { format!("sub {p}") };
        ProductQuantizer {
            codebooks: Codebooks::new(codebooks, position),
            curves,
            backend,
            search: OnceLock::new(),
            decoder: OnceLock::new(),
        }
    }

    /// Creates a quantizer from codebooks trained by Lloyd's iteration, with the course of the MSE per vector.
    pub fn trained(codebooks: Vec<Array2<f32>>, mse: Course, backend: Arc<dyn Backend>) -> Self {
        ProductQuantizer::new(codebooks, vec![mse.into_curve(true)], backend)
    }

    /// From what [`Quantizer::save`] put down: `m` codebooks of `codewords×(dim/m)`.
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

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn bytes_per_row(&self) -> usize {
        2 * self.codebooks.books.len()
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        let bits = symbol_bits(self.codebooks.codewords());
        prepared(&self.search, || self.backend.group_search(&self.codebooks.books, bits))?.encode(rows, codes)
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        let bits = symbol_bits(self.codebooks.codewords());
        let decoder = prepared(&self.decoder, || self.backend.codewords(&self.codebooks.books, bits, Join::Beside))?;
        decoder.decode(codes, rows)
    }

    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
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
