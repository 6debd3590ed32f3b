//! The trained quantizer of a learned method: encoder, quantizer of latents, decoder.

use super::encoder::{Autoencoder, CodersOnBackend, Encoder};
use crate::backend::{Backend, prepared};
use crate::{Context, Curve, MethodError, ModelError, Quantizer, State, Symbols, check_batch};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use std::sync::{Arc, OnceLock};

/// Encodes the latents of rows; codes and symbols are those of the quantizer of latents.
pub(crate) struct LearnedQuantizer {
    autoencoder: Autoencoder,
    latents: Box<dyn Quantizer>,
    curves: Vec<Curve>,
    backend: Arc<dyn Backend>,
    /// Encoder and decoder on the backend; prepared at the first use.
    on_backend: OnceLock<CodersOnBackend>,
}

impl LearnedQuantizer {
    pub(crate) fn new(
        autoencoder: Autoencoder,
        latents: Box<dyn Quantizer>,
        curves: Vec<Curve>,
        cx: &Context,
    ) -> LearnedQuantizer {
        LearnedQuantizer { autoencoder, latents, curves, backend: cx.backend.clone(), on_backend: OnceLock::new() }
    }

    fn coders(&self) -> Result<&CodersOnBackend, MethodError> {
        prepared(&self.on_backend, || self.autoencoder.on(&*self.backend))
    }
}

/// Rows processed at a time, which bounds the memory for latents.
const ROWS: usize = 1 << 14;

/// Restores the quantizer of vectors of `dim` components; `latents` restores its quantizer of latents.
pub(crate) fn restore(
    encoder: &Encoder,
    dim: usize,
    latent: usize,
    state: &mut State,
    cx: &Context,
    latents: impl FnOnce(&mut State) -> Result<Box<dyn Quantizer>, ModelError>,
) -> Result<Box<dyn Quantizer>, ModelError> {
    let autoencoder = encoder.restore(dim, latent, state)?;
    Ok(Box::new(LearnedQuantizer::new(autoencoder, latents(state)?, Vec::new(), cx)))
}

impl Quantizer for LearnedQuantizer {
    fn dim(&self) -> usize {
        self.autoencoder.dim()
    }

    fn code_bits(&self) -> usize {
        self.latents.code_bits()
    }

    fn model_size(&self) -> usize {
        self.autoencoder.model_size() + self.latents.model_size()
    }

    fn encode_into(&self, rows: ArrayView2<'_, f32>, codes: &mut [u8]) -> Result<(), MethodError> {
        let size = self.code_size();
        check_batch(self.dim(), size, rows.dim(), codes.len())?;
        let coders = self.coders()?;
        for (rows, codes) in rows.axis_chunks_iter(Axis(0), ROWS).zip(codes.chunks_mut(ROWS * size)) {
            self.latents.encode_into(self.autoencoder.encode_on(coders, rows)?.view(), codes)?;
        }
        Ok(())
    }

    fn decode_into(&self, codes: &[u8], mut rows: ArrayViewMut2<'_, f32>) -> Result<(), MethodError> {
        let size = self.code_size();
        check_batch(self.dim(), size, rows.dim(), codes.len())?;
        let coders = self.coders()?;
        for (mut rows, codes) in rows.axis_chunks_iter_mut(Axis(0), ROWS).zip(codes.chunks(ROWS * size)) {
            let mut latents = Array2::zeros((rows.nrows(), self.latents.dim()));
            self.latents.decode_into(codes, latents.view_mut())?;
            rows.assign(&self.autoencoder.decode_on(coders, latents.view())?);
        }
        Ok(())
    }

    fn symbols(&self) -> Option<&dyn Symbols> {
        self.latents.symbols()
    }

    fn save(&self, state: &mut State) {
        self.autoencoder.save(state);
        self.latents.save(state);
    }

    fn curves(&self) -> &[Curve] {
        &self.curves
    }
}
