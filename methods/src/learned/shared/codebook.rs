//! A codebook learned together with an encoder, by gradients or moving averages, with reset of unused codewords.

use super::estimator::{Estimator, gumbel_softmax, rotate};
use super::training::{Loss, TrainingStep};
use crate::algorithms::lloyd::{Stop, lloyd, random_rows};
use crate::algorithms::moments::sum;
use crate::algorithms::moving_codebook::MovingCodebook;
use crate::backend::{Backend, NearestSearch, largest};
use crate::{Context, MethodError};
use gradients::Matrix;
use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};
use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// How codewords are learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// By gradients of the codebook loss.
    Gradient,
    /// As moving averages of the latents that are assigned to them.
    Ema,
}

/// The initial codewords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodebookInit {
    /// Uniform within ±s/codewords in each component, where s is the root mean square of the latent components: close
    /// together around zero, as in the original VQ-VAE. Codebooks that start here tend to collapse.
    Uniform,
    /// Latents of training rows drawn at random.
    Rows,
    /// 10 iterations of k-means on the latents of the training rows.
    Kmeans,
}

impl CodebookInit {
    /// `codewords` codewords of the width of `latents`.
    pub(crate) fn codewords(
        self,
        latents: ArrayView2<'_, f32>,
        codewords: usize,
        cx: &Context,
        rng: &mut impl Rng,
    ) -> Result<Array2<f32>, MethodError> {
        const ITERATIONS: usize = 10;
        match self {
            CodebookInit::Rows => Ok(random_rows(latents, codewords, rng)),
            CodebookInit::Kmeans => {
                let rows = cx.backend.upload(latents)?;
                let first = random_rows(latents, codewords, rng);
                Ok(lloyd(&rows, first, Stop { max_iterations: ITERATIONS, relative_drop: 0.0 }, cx)?.codebook)
            }
            CodebookInit::Uniform => {
                let squares: Vec<f32> = latents.iter().map(|x| x * x).collect();
                let size = (sum(&squares) / squares.len().max(1) as f64).sqrt();
                let reach = size / codewords as f64;
                Ok(Array2::from_shape_fn((codewords, latents.ncols()), |_| {
                    (reach * (2.0 * rng.random::<f64>() - 1.0)) as f32
                }))
            }
        }
    }
}

/// How a codebook is learned.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) update: Update,
    pub(crate) estimator: Estimator,
    /// Decay of moving averages.
    pub(crate) decay: f64,
    /// Usage, as a fraction of even usage, below which a codeword is reset; 0 for never.
    pub(crate) reset: f64,
    /// Weight of the commitment loss.
    pub(crate) beta: f64,
    /// Whether latents and codewords are scaled to unit length.
    pub(crate) cosine: bool,
    /// Temperature of the Gumbel estimator, in mean squared distances to the nearest codeword.
    pub(crate) temperature: super::Temperature,
}

impl Rules {
    /// The losses of choices from several codebooks, each the mean over them.
    pub(crate) fn losses(&self, choices: &[Choice]) -> Vec<Loss> {
        let share = 1.0 / choices.len().max(1) as f64;
        let mean = |name, weight, values: Vec<&Matrix>| {
            let mut values = values.into_iter();
            let first = values.next()?.clone();
            let value = values.fold(first, |sum, v| sum.plus(v)).scaled(share as f32);
            Some(Loss { name, weight, value })
        };
        let codebook = choices.iter().map(|c| &c.codebook_loss).collect();
        let commitment = choices.iter().map(|c| &c.commitment_loss).collect();
        let losses = [mean("codebook_loss", 1.0, codebook), mean("commitment_loss", self.beta, commitment)];
        losses.into_iter().flatten().collect()
    }
}

/// One codebook while it is trained.
pub(crate) struct LearnedCodebook {
    rules: Rules,
    book: MovingCodebook,
    /// The codewords as they are used now; forgotten whenever they change.
    used: OnceLock<UsedCodewords>,
}

struct UsedCodewords {
    codewords: Array2<f32>,
    search: Option<Box<dyn NearestSearch>>,
}

/// The result of quantizing latents with a codebook.
pub(crate) struct Choice {
    /// The replacement of the latents.
    pub(crate) output: Matrix,
    /// The codewords chosen, as plain values.
    pub(crate) codewords: Array2<f32>,
    pub(crate) chosen: Vec<u32>,
    /// Codebook loss (without a gradient if codewords are learned in another way) and commitment loss.
    pub(crate) codebook_loss: Matrix,
    pub(crate) commitment_loss: Matrix,
}

impl LearnedCodebook {
    pub(crate) fn new(codewords: Array2<f32>, rules: Rules) -> LearnedCodebook {
        let mut book = MovingCodebook::new(codewords, rules.decay);
        if rules.cosine {
            to_unit_length(&mut book.codewords);
        }
        LearnedCodebook { rules, book, used: OnceLock::new() }
    }

    /// The codewords, if gradients train them.
    pub(crate) fn parameter(&mut self) -> Option<&mut Array2<f32>> {
        if self.rules.update != Update::Gradient {
            return None;
        }
        self.used = OnceLock::new();
        Some(&mut self.book.codewords)
    }

    /// Prepares the codewords for [`LearnedCodebook::choose`], which otherwise does it at its first use.
    pub(crate) fn prepare(&self, cx: &Context) {
        self.used(&*cx.backend);
    }

    /// Codewords as they are used, without a copy if they are prepared.
    pub(crate) fn present(&self) -> CowArray<'_, f32, Ix2> {
        self.used.get().map_or_else(|| self.codewords().into(), |used| used.codewords.view().into())
    }

    /// Codewords as they are used.
    pub(crate) fn codewords(&self) -> Array2<f32> {
        let mut codewords = self.book.codewords.clone();
        if self.rules.cosine {
            to_unit_length(&mut codewords);
        }
        codewords
    }

    fn used(&self, backend: &dyn Backend) -> &UsedCodewords {
        self.used.get_or_init(|| {
            let codewords = self.codewords();
            UsedCodewords { search: backend.nearest_search(codewords.view()), codewords }
        })
    }

    /// The nearest codeword of each latent. `parameter` holds the codewords if they are trained by gradients.
    pub(crate) fn choose(
        &self,
        latents: &Matrix,
        parameter: Option<&Matrix>,
        moment: &TrainingStep<'_>,
        rng: &mut impl Rng,
    ) -> Result<Choice, MethodError> {
        let latents = if self.rules.cosine { unit_rows(latents) } else { latents.clone() };
        let values = latents.view();
        let backend = &moment.cx.backend;
        let UsedCodewords { codewords, search } = self.used(&**backend);
        let rows = backend.upload(values.view())?;
        let mut chosen = match search {
            Some(search) => search.nearest(&rows)?,
            None => backend.nearest(&rows, codewords.view())?,
        };
        let mut output = None;
        if self.rules.estimator == Estimator::Gumbel {
            let all = match parameter {
                Some(parameter) if self.rules.cosine => unit_rows(parameter),
                Some(parameter) => parameter.clone(),
                None => Matrix::constant(codewords.view()),
            };
            let weights = self.gumbel_weights(&latents, values, codewords, &chosen, moment, rng);
            chosen = largest(weights.values().view());
            output = Some(weights.times(&all, backend.isa()));
        }
        let mut q = Array2::zeros(values.dim());
        q.outer_iter_mut().zip(&chosen).for_each(|(mut q, &c)| q.assign(&codewords.row(c as usize)));
        let output = output.unwrap_or_else(|| match self.rules.estimator {
            Estimator::Rotation => rotate(&latents, q.view()),
            _ => latents.straight_through(q.view()),
        });
        let commitment_loss = latents.minus(&Matrix::constant(q.view())).mean_square();
        let codebook_loss = match parameter {
            None => commitment_loss.detached(),
            Some(parameter) => {
                let of_rows = parameter.rows(&chosen);
                let of_rows = if self.rules.cosine { unit_rows(&of_rows) } else { of_rows };
                of_rows.minus(&latents.detached()).mean_square()
            }
        };
        Ok(Choice { output, codewords: q, chosen, codebook_loss, commitment_loss })
    }

    /// One-hot in the forward pass, a softmax of `−‖z−e‖²/s` with noise in the backward pass. `s` is the mean of the
    /// smallest distance per row, so that a temperature means the same for latents of any scale.
    fn gumbel_weights(
        &self,
        latents: &Matrix,
        values: ArrayView2<'_, f32>,
        codewords: &Array2<f32>,
        nearest: &[u32],
        moment: &TrainingStep<'_>,
        rng: &mut impl Rng,
    ) -> Matrix {
        let gaps = values
            .outer_iter()
            .zip(nearest)
            .map(|(z, &c)| z.iter().zip(codewords.row(c as usize)).map(|(z, e)| f64::from(z - e).powi(2)).sum::<f64>());
        let power: f64 = values.iter().map(|z| f64::from(*z).powi(2)).sum();
        let scale = (gaps.sum::<f64>().max(1e-6 * power) / values.nrows().max(1) as f64).max(1e-12);
        let powers = codewords.map_axis(Axis(1), |e| e.dot(&e)).insert_axis(Axis(0));
        let columns = Matrix::constant(codewords.t());
        // ‖z‖² is the same for all codewords and cancels in the softmax.
        let logits = latents
            .times(&columns, moment.cx.backend.isa())
            .scaled(2.0)
            .minus(&Matrix::constant(powers.view()))
            .scaled((1.0 / scale) as f32);
        let inverse = Array2::from_elem((1, 1), (1.0 / self.rules.temperature.at(moment.progress)) as f32);
        gumbel_softmax(&logits, &Matrix::constant(inverse.view()), true, moment.cx.backend.isa(), rng)
    }

    /// Updates moving averages and resets codewords, from all latents of a batch.
    pub(crate) fn after_step(
        &mut self,
        latents: ArrayView2<'_, f32>,
        chosen: &[u32],
        cx: &Context,
        rng: &mut impl Rng,
    ) -> Result<(), MethodError> {
        self.update(latents, chosen, cx)?;
        self.reset(latents, chosen, rng);
        Ok(())
    }

    /// Updates moving averages, from all latents of a batch.
    pub(crate) fn update(
        &mut self,
        latents: ArrayView2<'_, f32>,
        chosen: &[u32],
        cx: &Context,
    ) -> Result<(), MethodError> {
        if self.rules.update == Update::Gradient && self.rules.reset == 0.0 {
            return Ok(());
        }
        self.used = OnceLock::new();
        let rows = self.as_used(latents);
        let codewords = self.book.codewords.nrows();
        let cells = cx.backend.cell_sums(&cx.backend.upload(rows.view())?, chosen, codewords)?;
        match self.rules.update {
            Update::Ema => self.book.update(&cells.counts, &cells.sums),
            Update::Gradient => self.book.count(&cells.counts),
        }
        Ok(())
    }

    /// Resets unused codewords after [`LearnedCodebook::update`], from the same latents. Codewords of moving averages that are compared by
    /// their angle get unit length again.
    pub(crate) fn reset(&mut self, latents: ArrayView2<'_, f32>, chosen: &[u32], rng: &mut impl Rng) {
        self.used = OnceLock::new();
        if self.rules.reset > 0.0 {
            let rows = self.as_used(latents);
            self.book.reset_unused(self.rules.reset, rows.view(), chosen, rng);
        }
        if self.rules.cosine && self.rules.update == Update::Ema {
            to_unit_length(&mut self.book.codewords);
        }
    }

    /// Latents as they are compared with codewords.
    fn as_used<'l>(&self, latents: ArrayView2<'l, f32>) -> CowArray<'l, f32, Ix2> {
        if !self.rules.cosine {
            return latents.into();
        }
        let mut rows = latents.to_owned();
        to_unit_length(&mut rows);
        rows.into()
    }
}

/// Keeps the quotient finite for a zero row.
const LEAST_POWER: f32 = 1e-12;

/// Each row scaled to unit length, differentiably.
pub(crate) fn unit_rows(rows: &Matrix) -> Matrix {
    rows.over(&rows.by(rows).row_sums().shifted(LEAST_POWER).sqrt())
}

/// Each row scaled to unit length.
pub(crate) fn to_unit_length(rows: &mut Array2<f32>) {
    for mut row in rows.outer_iter_mut() {
        let length = (row.dot(&row) + LEAST_POWER).sqrt();
        row.mapv_inplace(|x| x / length);
    }
}

#[cfg(test)]
mod tests;
