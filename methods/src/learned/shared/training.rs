//! The training loop of every learned method: batches, gradients, Adam, and curves over epochs.

use super::adam::Adam;
use super::encoder::{Encoder, LatentWidth, Spread};
use super::passes::{MapGradient, PackedNetwork, add_gradients};
use super::quantizer::LearnedQuantizer;
use super::schedule::learning_rate_share;
use crate::algorithms::moments::{mean, variance};
use crate::contract::usage::Usage;
use crate::{Context, Curve, MethodError, Quantizer, Stream, TrainingRows};
use gradients::{Matrix, Parameter, gradients_from};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// How encoder, bottleneck and decoder are trained together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Training {
    /// Passes over the training rows, each in a new random order. More epochs lower the distortion and take
    /// proportionally more time.
    #[schemars(range(min = 1, max = 10000))]
    pub epochs: usize,
    /// Rows per step of Adam. The gradient of a batch is the average of gradients over 64 rows each.
    #[schemars(range(min = 1, max = 1000000))]
    pub batch: usize,
    /// Peak learning rate of Adam. The rate rises linearly over the first 5% of the steps, then falls along a cosine to
    /// 1% of the peak. Lower it if training diverges.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub learning_rate: f64,
}

impl Default for Training {
    fn default() -> Training {
        Training { epochs: 20, batch: 256, learning_rate: 0.005 }
    }
}

impl Training {
    /// Rough multiply-adds of training on `n` rows: there and back, and twice as much for gradients.
    pub(crate) fn cost(&self, n: usize, encode_cost: f64) -> f64 {
        6.0 * (self.epochs * n) as f64 * encode_cost
    }
}

/// Rows per gradient. A constant, so that no result depends on the number of threads.
const SHARD: usize = 64;

/// Number of shards whose gradients are held at a time.
const WAVE: usize = 16;

/// Share of the steps in which the learning rate rises.
const WARMUP: f64 = 0.05;

/// A bottleneck between encoder and decoder, during training.
pub(crate) trait Bottleneck: Sync {
    /// Initializes everything that depends on the initial latents.
    fn start(&mut self, latents: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError>;

    /// Whether quantized latents have a fixed scale, independent of the latents, that the decoder must be fitted to
    /// before training.
    fn has_own_scale(&self) -> bool {
        false
    }

    /// The initial mean of component `j` of the latents, for bottlenecks with a fixed scale.
    fn centre(&self, j: usize) -> f32 {
        let _ = j;
        0.0
    }

    /// Arrays that are trained by gradients, always in the same order.
    fn parameters(&mut self) -> Vec<&mut Array2<f32>>;

    /// The forward pass. `parameters` are those of [`Bottleneck::parameters`].
    fn pass(
        &self,
        latents: &Matrix,
        parameters: &[Matrix],
        moment: &TrainingStep<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<ForwardPass, MethodError>;

    /// Prepares what the passes of a step share. They do it themselves otherwise, one of them while the others wait.
    fn prepare(&self, cx: &Context) {
        let _ = cx;
    }

    /// Updates what is learned without gradients, from all latents of the batch and their codewords.
    fn after_step(
        &mut self,
        latents: ArrayView2<'_, f32>,
        chosen: &[Vec<u32>],
        cx: &Context,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), MethodError> {
        let _ = (latents, chosen, cx, rng);
        Ok(())
    }

    /// Values to record besides the losses, e.g. a temperature.
    fn followed(&self, progress: f64) -> Vec<(&'static str, f64)> {
        let _ = progress;
        Vec::new()
    }

    /// The current quantizer of latents.
    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError>;
}

/// The state of training.
pub(crate) struct TrainingStep<'a> {
    /// Fraction of all steps that are done.
    pub(crate) progress: f64,
    /// The backend for what needs no gradient.
    pub(crate) cx: &'a Context,
}

/// The result of a forward pass through a bottleneck.
pub(crate) struct ForwardPass {
    /// The input of the decoder.
    pub(crate) latents: Matrix,
    /// Losses besides the reconstruction loss.
    pub(crate) losses: Vec<Loss>,
    /// The codeword chosen for each row, per codebook; empty if [`Bottleneck::after_step`] does not need it.
    pub(crate) chosen: Vec<Vec<u32>>,
}

/// A loss with its weight in the sum.
pub(crate) struct Loss {
    pub(crate) name: &'static str,
    pub(crate) weight: f64,
    /// 1×1.
    pub(crate) value: Matrix,
}

/// The result of one shard of a batch.
struct Shard {
    /// The gradients by the maps of encoder and decoder.
    maps: Vec<MapGradient>,
    /// The gradients by the parameters of the bottleneck.
    gradients: Vec<Array2<f32>>,
    /// The reconstruction loss, then the losses of the bottleneck, without their weights.
    losses: Vec<(&'static str, f64)>,
    latents: Array2<f32>,
    chosen: Vec<Vec<u32>>,
}

/// Trains `bottleneck` between an encoder and its decoder, by mean squared error and the bottleneck's own losses.
///
/// # Errors
/// The errors of every fit; training that diverges, or ends with the same code for all rows.
pub(crate) fn fit(
    encoder: &Encoder,
    training: &Training,
    (width, spread): (LatentWidth, Spread),
    mut bottleneck: impl Bottleneck,
    train: &TrainingRows<'_>,
    cx: &Context,
) -> Result<Box<dyn Quantizer>, MethodError> {
    let rows = train.host()?;
    let latent = encoder.latent(rows.ncols(), width)?;
    let mut autoencoder = encoder.start(rows, latent, spread, cx);
    let standardized = autoencoder.standardize(rows);
    bottleneck.start(autoencoder.encode(cx.backend.isa(), rows).view(), cx)?;
    if bottleneck.has_own_scale() {
        let centre: Vec<f32> = (0..latent).map(|j| bottleneck.centre(j)).collect();
        autoencoder.fit_start(rows, cx.backend.isa(), &*bottleneck.quantizer(cx)?, &centre)?;
    }
    let spread_of_rows = variance(rows, &mean(rows));
    let mut adam = Adam::default();
    let mut curves = Curves::default();
    let mut order: Vec<usize> = (0..rows.nrows()).collect();
    let (mut order_rng, mut step_rng) = (cx.rng(Stream::Order), cx.rng(Stream::AfterStep));
    // If all rows are equal there is nothing to learn.
    let epochs = if spread_of_rows > 0.0 { training.epochs } else { 0 };
    let steps = epochs * rows.nrows().div_ceil(training.batch);
    let mut sums: Vec<Array2<f32>> = autoencoder.parameters().iter().map(|p| Array2::zeros(p.dim())).collect();
    let of_networks = sums.len();
    sums.extend(bottleneck.parameters().iter().map(|p| Array2::zeros(p.dim())));
    let mut step = 0;
    for epoch in 0..epochs {
        order.shuffle(&mut order_rng);
        let mut losses = Means::default();
        for batch in order.chunks(training.batch) {
            cx.cancel.check()?;
            let moment = TrainingStep { progress: step as f64 / steps as f64, cx };
            let parameters: Vec<Parameter> =
                bottleneck.parameters().into_iter().map(|p| Parameter::new(p.view())).collect();
            let isa = cx.backend.isa();
            let (packed, ()) = rayon::join(|| autoencoder.packed(isa), || bottleneck.prepare(cx));
            let (of_maps, of_bottleneck) = sums.split_at_mut(of_networks);
            of_bottleneck.iter_mut().for_each(|sum| sum.fill(0.0));
            let mut shards: Vec<Shard> = Vec::with_capacity(batch.len().div_ceil(SHARD));
            let first = step * training.batch.div_ceil(SHARD);
            for wave in batch.chunks(WAVE * SHARD) {
                cx.cancel.check()?;
                let done = shards.len();
                let of_shard = |(s, numbers): (usize, &[usize])| {
                    let rows = rows_of(&standardized, numbers);
                    let share = numbers.len() as f64 / batch.len() as f64;
                    let mut rng = cx.rng(Stream::Shard((first + done + s) as u32));
                    shard(&packed, &bottleneck, (numbers.len(), rows), share, &parameters, &moment, &mut rng)
                };
                let found: Vec<Shard> = wave.par_chunks(SHARD).enumerate().map(of_shard).collect::<Result<_, _>>()?;
                let maps: Vec<&[MapGradient]> = found.iter().map(|shard| &shard.maps[..]).collect();
                add_gradients(&maps, done > 0, of_maps);
                for mut shard in found {
                    of_bottleneck.iter_mut().zip(&shard.gradients).for_each(|(sum, g)| *sum += g);
                    losses.add(&shard.losses, shard.latents.nrows() as f64);
                    (shard.maps, shard.gradients) = (Vec::new(), Vec::new());
                    shards.push(shard);
                }
            }
            let rate = training.learning_rate * learning_rate_share(step, steps, WARMUP);
            let mut arrays = autoencoder.parameters();
            arrays.extend(bottleneck.parameters());
            let finite = adam.step(isa, arrays, &sums, rate);
            if losses.diverged() || !finite {
                let epoch = epoch + 1;
                let reason = format!("in epoch {epoch} of {epochs} a loss or a gradient was NaN or infinite");
                return Err(MethodError::Diverged(reason + "; lower `learning-rate`"));
            }
            let latents: Vec<f32> =
                shards.iter().flat_map(|shard| shard.latents.as_slice()).flatten().copied().collect();
            let latents = matrix_of(batch.len(), &latents);
            let codebooks = shards.first().map_or(0, |shard| shard.chosen.len());
            let chosen: Vec<Vec<u32>> =
                (0..codebooks).map(|b| shards.iter().flat_map(|s| s.chosen[b].iter().copied()).collect()).collect();
            bottleneck.after_step(latents.view(), &chosen, cx, &mut step_rng)?;
            step += 1;
        }
        let quantizer = LearnedQuantizer::new(autoencoder.clone(), bottleneck.quantizer(cx)?, Vec::new(), cx);
        let progress = step as f64 / steps as f64;
        let seen = evaluate(&quantizer, train, cx)?;
        if !seen.mse.is_finite() {
            return Err(MethodError::Diverged(format!(
                "after epoch {} of {epochs} decoded rows are NaN or infinite; lower `learning-rate`",
                epoch + 1
            )));
        }
        if epoch + 1 == epochs && seen.usage.iter().all(|usage| usage.used <= 1) && seen.mse > 0.0 {
            return Err(MethodError::Collapsed { epochs, rows: rows.nrows() });
        }
        if epoch + 1 == epochs && seen.mse > spread_of_rows {
            let times = seen.mse / spread_of_rows;
            let times = if times < 1e4 { format!("{times:.3}") } else { format!("{times:.1e}") };
            let reason = format!("the training rows have {times} times the error of their mean; lower `learning-rate`");
            return Err(MethodError::Diverged(reason));
        }
        curves.push("mse", seen.mse);
        let usage = Usage::overall(&seen.usage);
        curves.push("usage", usage.share());
        curves.push("perplexity", usage.perplexity());
        losses.means().for_each(|(name, value)| curves.push(name, value));
        bottleneck.followed(progress).into_iter().for_each(|(name, value)| curves.push(name, value));
    }
    Ok(Box::new(LearnedQuantizer::new(autoencoder, bottleneck.quantizer(cx)?, curves.done(), cx)))
}

/// The gradients of `share` times the loss of some standardized rows. Networks pass them forward and backward; the
/// bottleneck between is an expression of [`gradients`].
fn shard(
    networks: &Option<[PackedNetwork<'_>; 2]>,
    bottleneck: &impl Bottleneck,
    (n, rows): (usize, Vec<f32>),
    share: f64,
    parameters: &[Parameter],
    moment: &TrainingStep<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Shard, MethodError> {
    let x = Arc::new(rows);
    let encoded = networks.as_ref().map(|[encoder, _]| encoder.forward(&x));
    let latents = matrix_of(n, encoded.as_ref().map_or(&x[..], |encoded| &encoded.outputs));
    if latents.iter().any(|v| !v.is_finite()) {
        return Err(MethodError::Diverged("latents are NaN or infinite; lower `learning-rate`".into()));
    }
    let mut leaves = vec![Parameter::new(latents.view()).leaf()];
    leaves.extend(parameters.iter().map(Parameter::leaf));
    let pass = bottleneck.pass(&leaves[0], &leaves[1..], moment, rng)?;
    let quantized = Arc::new(pass.latents.view().iter().copied().collect::<Vec<f32>>());
    let decoded = networks.as_ref().map(|[_, decoder]| decoder.forward(&quantized));
    let outputs = decoded.as_ref().map_or(&quantized[..], |decoded| &decoded.outputs);
    let (reconstruction, gradient) = squared_error(outputs, &x, share);
    let mut losses = vec![("reconstruction_loss", reconstruction)];
    losses.extend(pass.losses.iter().map(|loss| (loss.name, f64::from(loss.value.scalar()))));
    let mut maps = Vec::new();
    let by_quantized = match (networks, &decoded) {
        (Some([_, decoder]), Some(decoded)) => {
            let found = decoder.backward(quantized, decoded, gradient);
            maps = found.maps;
            found.by_rows.unwrap_or_default()
        }
        _ => gradient,
    };
    // Nothing to differentiate if nothing is trained.
    if networks.is_none() && parameters.is_empty() {
        return Ok(Shard { maps, gradients: Vec::new(), losses, latents, chosen: pass.chosen });
    }
    // The gradient of the reconstruction loss by the quantized latents is known.
    let mut results = vec![(pass.latents, matrix_of(n, &by_quantized))];
    for Loss { weight, value, .. } in pass.losses {
        results.push((value, Array2::from_elem((1, 1), (weight * share) as f32)));
    }
    let mut gradients = gradients_from(results, &leaves);
    let by_latents = values_of(gradients.remove(0));
    if let (Some([encoder, _]), Some(encoded)) = (networks, &encoded) {
        let mut of_encoder = encoder.backward(x, encoded, by_latents).maps;
        of_encoder.append(&mut maps);
        maps = of_encoder;
    }
    Ok(Shard { maps, gradients, losses, latents, chosen: pass.chosen })
}

/// The mean squared difference, and the gradient of `share` times it by `found`.
fn squared_error(found: &[f32], wanted: &[f32], share: f64) -> (f64, Vec<f32>) {
    let scale = 1.0 / found.len().max(1) as f64;
    let factor = (2.0 * share * scale) as f32;
    let mut gaps: Vec<f32> = found.iter().zip(wanted).map(|(found, wanted)| found - wanted).collect();
    // Short sums in f32, which the compiler vectorizes, and their sum in f64.
    let of_part = |part: &[f32]| -> f32 {
        let (whole, tail) = part.as_chunks::<8>();
        let mut sums = [0f32; 8];
        for gaps in whole {
            sums.iter_mut().zip(gaps).for_each(|(sum, gap)| *sum += gap * gap);
        }
        sums.iter().sum::<f32>() + tail.iter().map(|gap| gap * gap).sum::<f32>()
    };
    let sum: f64 = gaps.chunks(256).map(|part| f64::from(of_part(part))).sum();
    gaps.iter_mut().for_each(|gap| *gap *= factor);
    (sum * scale, gaps)
}

/// The rows with these numbers, one after the other.
fn rows_of(rows: &Array2<f32>, numbers: &[usize]) -> Vec<f32> {
    let mut values = Vec::with_capacity(numbers.len() * rows.ncols());
    for &number in numbers {
        match rows.row(number).as_slice() {
            Some(row) => values.extend_from_slice(row),
            None => values.extend(rows.row(number)),
        }
    }
    values
}

/// The values of rows, one row after the other.
fn values_of(rows: Array2<f32>) -> Vec<f32> {
    if rows.is_standard_layout() { rows.into_raw_vec_and_offset().0 } else { rows.iter().copied().collect() }
}

/// `n` rows of values that lie one row after the other.
fn matrix_of(n: usize, values: &[f32]) -> Array2<f32> {
    match Array2::from_shape_vec((n, values.len() / n.max(1)), values.to_vec()) {
        Ok(rows) => rows,
        Err(error) => unreachable!("whole rows: {error}"),
    }
}

/// Curves in order of their first value.
#[derive(Default)]
struct Curves(Vec<(&'static str, Vec<f64>)>);

impl Curves {
    fn push(&mut self, name: &'static str, value: f64) {
        match self.0.iter_mut().find(|curve| curve.0 == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name, vec![value])),
        }
    }

    fn done(self) -> Vec<Curve> {
        self.0.into_iter().map(|(name, values)| Curve::of(name, values, false)).collect()
    }
}

/// Means of losses over the rows of an epoch.
#[derive(Default)]
struct Means {
    sums: Vec<(&'static str, f64, f64)>,
}

impl Means {
    fn add(&mut self, losses: &[(&'static str, f64)], rows: f64) {
        for &(name, value) in losses {
            match self.sums.iter_mut().find(|sum| sum.0 == name) {
                Some(sum) => (sum.1, sum.2) = (sum.1 + rows * value, sum.2 + rows),
                None => self.sums.push((name, rows * value, rows)),
            }
        }
    }

    fn diverged(&self) -> bool {
        self.sums.iter().any(|sum| !sum.1.is_finite())
    }

    fn means(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.sums.iter().map(|&(name, sum, rows)| (name, sum / rows))
    }
}

/// The quality of the codes of all training rows at the end of an epoch.
struct EpochQuality {
    mse: f64,
    /// Usage of the codewords of each position.
    usage: Vec<Usage>,
}

/// The sum of squared differences between rows and those of `decoded` with these numbers.
fn error_of(rows: ArrayView2<'_, f32>, decoded: ArrayView2<'_, f32>, numbers: &[usize]) -> f64 {
    let of_row = |(x, y): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| match (x.as_slice(), y.as_slice()) {
        (Some(x), Some(y)) => f64::from(cpu::squared_distance(x, y)),
        _ => x.iter().zip(&y).map(|(x, y)| f64::from(x - y).powi(2)).sum(),
    };
    rows.outer_iter().zip(numbers.iter().map(|&number| decoded.row(number))).map(of_row).sum()
}

/// The codes that occur, and the number of that of each row. Where more codes are possible than half of the rows, each row has its own.
fn distinct(codes: &[u8], size: usize, alphabets: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let rows = codes.len() / size.max(1);
    if alphabets.iter().map(|&a| a as f64).product::<f64>() > rows as f64 / 2.0 {
        return (codes.to_vec(), (0..rows).collect());
    }
    let (mut found, mut known) = (Vec::new(), HashMap::new());
    let numbers = codes.chunks_exact(size.max(1)).map(|code| {
        *known.entry(code).or_insert_with(|| {
            found.extend_from_slice(code);
            found.len() / size.max(1) - 1
        })
    });
    let numbers = numbers.collect();
    (found, numbers)
}

fn evaluate(quantizer: &LearnedQuantizer, train: &TrainingRows<'_>, cx: &Context) -> Result<EpochQuality, MethodError> {
    const ROWS: usize = 1 << 12;
    // Without symbols there would be nothing to count, and the codebook would seem to have collapsed.
    let no_symbols = || MethodError::Broken("the quantizer of latents does not show its symbols".into());
    let symbols = quantizer.symbols().ok_or_else(no_symbols)?;
    let alphabets = symbols.alphabets();
    let mut counts: Vec<Vec<u32>> = alphabets.iter().map(|&a| vec![0; a]).collect();
    let mut row_symbols = vec![0u16; alphabets.len()];
    let mut squared_error = 0.0;
    let (size, at_once) = (quantizer.code_size(), ROWS.min(quantizer.rows_at_once()));
    for (part, rows) in train.host()?.axis_chunks_iter(Axis(0), at_once).enumerate() {
        cx.cancel.check()?;
        // Rows that are on a device stay there from epoch to epoch.
        let held = train.matrix()?.part(part * at_once, at_once);
        let mut codes = vec![0u8; rows.nrows() * size];
        cx.backend.write_codes(&mut codes, size, &mut |codes| quantizer.encode(&held, codes))?;
        // What a code is decoded to does not depend on others: each is decoded once per part.
        let (to_decode, numbers) = distinct(&codes, size, &alphabets);
        let mut decoded = Array2::zeros((to_decode.len() / size.max(1), rows.ncols()));
        quantizer.decode_into(&to_decode, decoded.view_mut())?;
        // Parts of a constant size, so that the order of the sums does not depend on the number of threads.
        const PART: usize = 256;
        let parts = rows.axis_chunks_iter(Axis(0), PART).into_par_iter().zip(numbers.par_chunks(PART));
        let errors: Vec<f64> = parts.map(|(x, numbers)| error_of(x, decoded.view(), numbers)).collect();
        squared_error += errors.iter().sum::<f64>();
        for code in codes.chunks_exact(size.max(1)) {
            symbols.unpack(code, &mut row_symbols)?;
            counts.iter_mut().zip(&row_symbols).for_each(|(count, &symbol)| count[usize::from(symbol)] += 1);
        }
    }
    let usage = counts.iter().map(|counts| Usage::of(counts)).collect();
    Ok(EpochQuality { mse: squared_error / train.nrows() as f64, usage })
}

#[cfg(test)]
mod tests;
