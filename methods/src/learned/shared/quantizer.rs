//! The trained quantizer of a learned method: encoder, quantizer of latents, decoder.

use super::autoencoder::{Autoencoder, CodersOnBackend};
use super::encoder::Encoder;
use crate::backend::{Backend, CodeRoom, DeviceCodes, DeviceMatrix, MatrixRoom, prepared};
use crate::search::mapped::{LatentMap, MappedSearcher};
use crate::{Context, Curve, MethodError, ModelError, Quantizer, SearchMetric, Searcher, State, Symbols};
use std::sync::{Arc, OnceLock};

/// Encodes the latents of rows; codes and symbols are those of the quantizer of latents.
pub(crate) struct LearnedQuantizer {
    autoencoder: Autoencoder,
    latents: Box<dyn Quantizer>,
    curves: Vec<Curve>,
    backend: Arc<dyn Backend>,
    /// Encoder and decoder on the backend; prepared at the first use.
    on_backend: OnceLock<CodersOnBackend>,
    /// The decoder as an affine map, if it is one, once codes are searched.
    map: OnceLock<Option<LatentMap>>,
}

impl LearnedQuantizer {
    pub(crate) fn new(
        autoencoder: Autoencoder,
        latents: Box<dyn Quantizer>,
        curves: Vec<Curve>,
        cx: &Context,
    ) -> LearnedQuantizer {
        let (on_backend, map) = (OnceLock::new(), OnceLock::new());
        LearnedQuantizer { autoencoder, latents, curves, backend: cx.backend.clone(), on_backend, map }
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

    fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    fn rows_at_once(&self) -> usize {
        ROWS.min(self.latents.rows_at_once())
    }

    fn bytes_per_row(&self) -> usize {
        let network = self.on_backend.get().map_or(0, CodersOnBackend::bytes_per_row);
        4 * (self.dim() + self.latents.dim()) + network + self.latents.bytes_per_row()
    }

    fn encode(&self, rows: &DeviceMatrix<'_>, codes: &mut CodeRoom<'_>) -> Result<(), MethodError> {
        self.latents.encode(&self.coders()?.encode(rows, &*self.backend)?, codes)
    }

    fn decode(&self, codes: &DeviceCodes<'_>, rows: &mut MatrixRoom<'_>) -> Result<(), MethodError> {
        self.coders()?.decode(codes, &*self.latents, rows)
    }

    /// By tables where the decoder is an affine map.
    fn searcher(&self, metric: SearchMetric) -> Option<Box<dyn Searcher + '_>> {
        if !self.backend.scans_on_host() {
            return None;
        }
        let map = self.map.get_or_init(|| self.autoencoder.latent_map()).as_ref()?;
        Some(Box::new(MappedSearcher::new(self, &*self.latents, map, metric)?))
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
