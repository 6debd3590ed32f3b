//! An encoder and a decoder around a quantizer of latents, on plain rows and on a backend.

use super::network::{LayerWeights, NetworkWeights};
use super::passes::PackedNetwork;
use crate::algorithms::moments::mean;
use crate::backend::{Backend, DeviceCodes, DeviceMatrix, MatrixRoom, RowMap, RowScale};
use crate::contract::state::State;
use crate::search::mapped::{LatentMap, LatentWeights};
use crate::{MethodError, Quantizer};
use cpu::Isa;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

/// Encoder and decoder as a backend computes them, and the mean and the scale before and behind them.
pub(crate) struct CodersOnBackend {
    scale: Box<dyn RowScale>,
    /// There and back; none where latents are the standardized vectors.
    networks: Option<[Box<dyn RowMap>; 2]>,
}

impl CodersOnBackend {
    /// Bytes of a device's memory that a row takes on its way through one of them.
    pub(crate) fn bytes_per_row(&self) -> usize {
        self.networks.iter().flatten().map(|map| map.bytes_per_row()).max().unwrap_or(0)
    }

    /// [`Autoencoder::encode`].
    pub(crate) fn encode(
        &self,
        rows: &DeviceMatrix<'_>,
        backend: &dyn Backend,
    ) -> Result<DeviceMatrix<'static>, MethodError> {
        let standard = self.scale.forward(rows)?;
        let Some([encoder, _]) = &self.networks else { return Ok(standard) };
        let mut latents = backend.room(rows.nrows(), encoder.outputs())?;
        encoder.apply(&standard, &mut latents)?;
        Ok(latents.into_matrix())
    }

    /// Rows from codes of latents.
    pub(crate) fn decode(
        &self,
        codes: &DeviceCodes<'_>,
        quantizer: &dyn Quantizer,
        rows: &mut MatrixRoom<'_>,
    ) -> Result<(), MethodError> {
        match &self.networks {
            Some([_, decoder]) => {
                let mut latents = quantizer.backend().room(rows.nrows(), quantizer.dim())?;
                quantizer.decode(codes, &mut latents)?;
                decoder.apply(&latents.into_matrix(), rows)?;
            }
            None => quantizer.decode(codes, rows)?,
        }
        self.scale.back(rows)
    }
}

/// An encoder and a decoder, with the mean and scale that standardize vectors before encoding and are undone after
/// decoding.
#[derive(Clone, Debug)]
pub(crate) struct Autoencoder {
    pub(super) mean: Vec<f32>,
    pub(super) scale: f32,
    /// Encoder and decoder networks; None if latents are the standardized vectors.
    pub(crate) networks: Option<[NetworkWeights; 2]>,
}

impl Autoencoder {
    /// Moves latents to `centre`, and fits the decoder to the quantized latents: each component gets the gain and
    /// offset that map its quantized values to it by least squares. A bottleneck that changes the scale of latents then
    /// starts as good as principal axes.
    pub(crate) fn fit_start(
        &mut self,
        rows: ArrayView2<'_, f32>,
        isa: Isa,
        quantizer: &dyn Quantizer,
        centre: &[f32],
    ) -> Result<(), MethodError> {
        let Some([encoder, _]) = &mut self.networks else { return Ok(()) };
        let [_, bias] = encoder.straight.arrays_mut();
        *bias += &ArrayView1::from(centre).insert_axis(Axis(0));
        let latents = self.encode(isa, rows);
        let mut codes = vec![0u8; latents.nrows() * quantizer.code_size()];
        quantizer.encode_into(latents.view(), &mut codes)?;
        let mut quantized = Array2::zeros(latents.dim());
        quantizer.decode_into(&codes, quantized.view_mut())?;
        let (means, quantized_means) = (mean(latents.view()), mean(quantized.view()));
        let n = latents.nrows().max(1) as f64;
        let Some([_, decoder]) = &mut self.networks else { return Ok(()) };
        let [weights, bias] = decoder.straight.arrays_mut();
        let mut offset = vec![0f64; self.mean.len()];
        let mut power = 0.0;
        for j in 0..latents.ncols() {
            let pairs = latents.column(j).into_iter().zip(quantized.column(j));
            let (mut shared, mut own) = (0.0, 0.0);
            for (&z, &q) in pairs {
                let q = f64::from(q) - quantized_means[j];
                shared += (f64::from(z) - means[j]) * q;
                own += q * q;
            }
            let gain = if own > 0.0 { shared / own } else { 0.0 };
            let rest = means[j] - f64::from(centre[j]) - gain * quantized_means[j];
            let mut row = weights.row_mut(j);
            offset.iter_mut().zip(&row).for_each(|(o, w)| *o += rest * f64::from(*w));
            row.mapv_inplace(|w| w * gain as f32);
            power += (own / n + quantized_means[j].powi(2)) / latents.ncols() as f64;
        }
        bias.iter_mut().zip(&offset).for_each(|(b, o)| *b += *o as f32);
        // The branch was initialized for latents of power 1.
        if power > 0.0
            && let Some(LayerWeights::Affine(first)) = decoder.branch.first_mut()
        {
            first.arrays_mut()[0].mapv_inplace(|w| w / power.sqrt() as f32);
        }
        Ok(())
    }

    pub(crate) fn dim(&self) -> usize {
        self.mean.len()
    }

    /// `(x − mean)/scale`: components have power 1 on average.
    pub(crate) fn standardize(&self, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let inverse = 1.0 / self.scale;
        let mut out = &rows - &ArrayView1::from(&self.mean).insert_axis(Axis(0));
        out.mapv_inplace(|v| v * inverse);
        out
    }

    /// Latents of raw rows.
    pub(crate) fn encode(&self, isa: Isa, rows: ArrayView2<'_, f32>) -> Array2<f32> {
        let rows = self.standardize(rows);
        match &self.networks {
            Some([encoder, _]) => encoder.apply(isa, rows.view()),
            None => rows,
        }
    }

    /// As `backend` computes it.
    pub(crate) fn on(&self, backend: &dyn Backend) -> Result<CodersOnBackend, MethodError> {
        let networks = match &self.networks {
            Some([encoder, decoder]) => Some([encoder.on(backend)?, decoder.on(backend)?]),
            None => None,
        };
        Ok(CodersOnBackend { scale: backend.scale(&self.mean, 1.0 / self.scale, self.scale)?, networks })
    }

    /// Encoder and decoder for one step of training. Nothing needs the gradient by what is encoded.
    pub(super) fn packed(&self, isa: Isa) -> Option<[PackedNetwork<'_>; 2]> {
        let [encoder, decoder] = self.networks.as_ref()?;
        let (encoder, decoder) =
            rayon::join(|| PackedNetwork::new(isa, encoder, false), || PackedNetwork::new(isa, decoder, true));
        Some([encoder, decoder])
    }

    /// Decoder and scale as one affine map of latents; None if the decoder is more than that.
    pub(crate) fn latent_map(&self) -> Option<LatentMap> {
        let (weights, offset) = match &self.networks {
            None => (LatentWeights::Factor(self.scale), self.mean.clone()),
            Some([_, decoder]) => {
                let (weights, bias) = decoder.affine()?;
                let offset = bias.iter().zip(&self.mean).map(|(b, m)| b * self.scale + m).collect();
                (LatentWeights::Matrix(weights * self.scale), offset)
            }
        };
        Some(LatentMap { weights, offset })
    }

    pub(crate) fn parameters(&mut self) -> Vec<&mut Array2<f32>> {
        self.networks.iter_mut().flatten().flat_map(NetworkWeights::parameters).collect()
    }

    pub(crate) fn model_size(&self) -> usize {
        4 * (self.mean.len() + 1) + self.networks.iter().flatten().map(NetworkWeights::model_size).sum::<usize>()
    }

    pub(crate) fn save(&self, state: &mut State) {
        state.put("mean", self.mean.clone());
        state.put("scale", vec![self.scale]);
        if let Some([encoder, decoder]) = &self.networks {
            encoder.save("encoder", state);
            decoder.save("decoder", state);
        }
    }
}
