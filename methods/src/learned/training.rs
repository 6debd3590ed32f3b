//! The training loop of every learned bottleneck: batches, gradients, Adam, and what is followed from epoch to epoch.

use super::adam::Adam;
use super::encoder::{Encoder, LatentWidth, Spread};
use super::quantizer::LearnedQuantizer;
use super::schedule::learning_rate_share;
use crate::lloyd::check_scale;
use crate::moments::{mean, variance};
use crate::{Context, Curve, MethodError, ParamError, Quantizer, check_train};
use gradients::{Matrix, Parameter, gradients};
use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How encoder, bottleneck and decoder are trained together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Training {
    /// Passes over the training rows, each in a new order.
    #[schemars(range(min = 1, max = 10000))]
    pub epochs: usize,
    /// Rows per step. Gradients are taken of 64 rows at a time and averaged.
    #[schemars(range(min = 1, max = 1000000))]
    pub batch: usize,
    /// Largest step of Adam; it rises to that over the first twentieth of all steps and falls as a cosine.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub learning_rate: f64,
}

impl Default for Training {
    fn default() -> Training {
        Training { epochs: 20, batch: 256, learning_rate: 0.005 }
    }
}

impl Training {
    pub(crate) fn check(&self) -> Result<(), ParamError> {
        ParamError::in_range("training/epochs", self.epochs, 1, 10_000)?;
        ParamError::in_range("training/batch", self.batch, 1, 1_000_000)?;
        ParamError::in_range("training/learning-rate", self.learning_rate, 0.0, 1000.0)
    }
}

impl Training {
    /// Rough multiply-adds of training on `n` rows: there and back, and twice as much for gradients.
    pub(crate) fn cost(&self, n: usize, encode_cost: f64) -> f64 {
        6.0 * (self.epochs * n) as f64 * encode_cost
    }
}

/// Rows that one gradient is taken of. A constant, so that no result depends on the number of threads.
const SHARD: usize = 64;

/// Shards whose gradients are held at a time.
const WAVE: usize = 16;

/// Share of the steps in which the learning rate rises.
const WARMUP: f64 = 0.05;

/// What stands between encoder and decoder, while it is trained.
pub(crate) trait Bottleneck: Sync {
    /// Sets whatever depends on the latents that training starts from.
    fn start(&mut self, latents: ArrayView2<'_, f32>, cx: &Context) -> Result<(), MethodError>;

    /// Whether quantized latents have a size of their own, whatever that of the latents, to which the decoder has to be brought
    /// before training.
    fn has_own_scale(&self) -> bool {
        false
    }

    /// Where component `j` of the latents should lie on average at the start, with a scale of its own.
    fn centre(&self, j: usize) -> f32 {
        let _ = j;
        0.0
    }

    /// Arrays that are trained by gradients, always in the same order.
    fn parameters(&mut self) -> Vec<&mut Array2<f32>>;

    /// Passes latents through. `parameters` are those of [`Bottleneck::parameters`].
    fn pass(
        &self,
        latents: &Matrix,
        parameters: &[Matrix],
        moment: &Moment<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Pass, MethodError>;

    /// Whatever is learned without gradients, from all latents of the batch and the codewords chosen for them.
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

    /// Numbers to follow beside the losses, e.g. a temperature.
    fn followed(&self, progress: f64) -> Vec<(&'static str, f64)> {
        let _ = progress;
        Vec::new()
    }

    /// The quantizer of latents that has been learned so far.
    fn quantizer(&self, cx: &Context) -> Result<Box<dyn Quantizer>, MethodError>;
}

/// Where training is.
pub(crate) struct Moment<'a> {
    /// Share of all steps that are done.
    pub(crate) progress: f64,
    /// The backend for what needs no gradient.
    pub(crate) cx: &'a Context,
}

/// What came of passing latents through a bottleneck.
pub(crate) struct Pass {
    /// What the decoder gets.
    pub(crate) latents: Matrix,
    /// Losses beside that of reconstruction.
    pub(crate) losses: Vec<Loss>,
    /// For each codebook the codeword chosen for each row; empty where [`Bottleneck::after_step`] does not ask.
    pub(crate) chosen: Vec<Vec<u32>>,
}

/// A loss with its weight in the sum.
pub(crate) struct Loss {
    pub(crate) name: &'static str,
    pub(crate) weight: f64,
    /// 1×1.
    pub(crate) value: Matrix,
}

/// What one shard of a batch gives.
struct Shard {
    gradients: Vec<Array2<f32>>,
    /// The loss of reconstruction, then those of the bottleneck, without their weights.
    losses: Vec<(&'static str, f64)>,
    latents: Array2<f32>,
    chosen: Vec<Vec<u32>>,
}

/// Streams of random numbers: the order of rows, what follows a step, and each shard's own.
const ORDER_STREAM: u64 = 0;
const STEP_STREAM: u64 = 1;
const SHARD_STREAM: u64 = 1 << 41;

/// Trains `bottleneck` between an encoder and its decoder, by mean squared error and the bottleneck's own losses.
///
/// # Errors
/// What every fit reports; training that diverges, or ends with one codeword for all rows.
pub(crate) fn fit(
    encoder: &Encoder,
    training: &Training,
    (width, spread): (LatentWidth, Spread),
    mut bottleneck: impl Bottleneck,
    rows: ArrayView2<'_, f32>,
    cx: &Context,
) -> Result<Box<dyn Quantizer>, MethodError> {
    check_train(rows, cx)?;
    check_scale(rows)?;
    let latent = encoder.latent(rows.ncols(), width)?;
    let mut autoencoder = encoder.start(rows, latent, spread, cx);
    let standardized = autoencoder.standardize(rows);
    bottleneck.start(autoencoder.encode(rows).view(), cx)?;
    if bottleneck.has_own_scale() {
        let centre: Vec<f32> = (0..latent).map(|j| bottleneck.centre(j)).collect();
        autoencoder.fit_start(rows, &*bottleneck.quantizer(cx)?, &centre)?;
    }
    let spread_of_rows = variance(rows, &mean(rows));
    let mut adam = Adam::default();
    let mut curves = Curves::default();
    let mut order: Vec<usize> = (0..rows.nrows()).collect();
    let (mut order_rng, mut step_rng) = (cx.rng(ORDER_STREAM), cx.rng(STEP_STREAM));
    // Where all rows are equal there is nothing to learn.
    let epochs = if spread_of_rows > 0.0 { training.epochs } else { 0 };
    let steps = epochs * rows.nrows().div_ceil(training.batch);
    let mut step = 0;
    for epoch in 0..epochs {
        order.shuffle(&mut order_rng);
        let mut losses = Means::default();
        for batch in order.chunks(training.batch) {
            cx.cancel.check()?;
            let moment = Moment { progress: step as f64 / steps as f64, cx };
            let mut arrays = autoencoder.parameters();
            arrays.extend(bottleneck.parameters());
            let parameters: Vec<Parameter> = arrays.into_iter().map(|a| Parameter::new(a.view())).collect();
            let mut sum: Vec<Array2<f32>> = Vec::new();
            let mut shards: Vec<Shard> = Vec::with_capacity(batch.len().div_ceil(SHARD));
            let first = (step * training.batch.div_ceil(SHARD)) as u64;
            for wave in batch.chunks(WAVE * SHARD) {
                cx.cancel.check()?;
                let done = shards.len();
                let of_shard = |(s, numbers): (usize, &[usize])| {
                    let rows = standardized.select(Axis(0), numbers);
                    let mut rng = cx.rng(SHARD_STREAM + first + (done + s) as u64);
                    shard(&autoencoder.networks, &bottleneck, rows.view(), &parameters, &moment, &mut rng)
                };
                let found: Vec<Shard> = wave.par_chunks(SHARD).enumerate().map(of_shard).collect::<Result<_, _>>()?;
                for mut shard in found {
                    let rows = shard.latents.nrows();
                    let gradients = std::mem::take(&mut shard.gradients);
                    if sum.is_empty() {
                        sum = gradients.iter().map(|g| Array2::zeros(g.dim())).collect();
                    }
                    let weight = rows as f32 / batch.len() as f32;
                    sum.iter_mut().zip(&gradients).for_each(|(sum, g)| sum.scaled_add(weight, g));
                    losses.add(&shard.losses, rows as f64);
                    shards.push(shard);
                }
            }
            if losses.diverged() || sum.iter().any(|g| g.iter().any(|v| !v.is_finite())) {
                let epoch = epoch + 1;
                let reason = format!("in epoch {epoch} of {epochs} a loss or a gradient was no number");
                return Err(MethodError::Diverged(reason + "; lower `learning-rate`"));
            }
            let rate = training.learning_rate * learning_rate_share(step, steps, WARMUP);
            let mut arrays = autoencoder.parameters();
            arrays.extend(bottleneck.parameters());
            adam.step(arrays, &sum, rate);
            let latents: Vec<_> = shards.iter().map(|shard| shard.latents.view()).collect();
            let latents = ndarray::concatenate(Axis(0), &latents).unwrap_or_default();
            let codebooks = shards.first().map_or(0, |shard| shard.chosen.len());
            let chosen: Vec<Vec<u32>> =
                (0..codebooks).map(|b| shards.iter().flat_map(|s| s.chosen[b].iter().copied()).collect()).collect();
            bottleneck.after_step(latents.view(), &chosen, cx, &mut step_rng)?;
            step += 1;
        }
        let quantizer = LearnedQuantizer {
            autoencoder: autoencoder.clone(),
            latents: bottleneck.quantizer(cx)?,
            curves: Vec::new(),
        };
        let progress = step as f64 / steps as f64;
        let seen = evaluate(&quantizer, rows, cx)?;
        if !seen.mse.is_finite() {
            return Err(MethodError::Diverged(format!(
                "after epoch {} of {epochs} decoded rows are no numbers; lower `learning-rate`",
                epoch + 1
            )));
        }
        if epoch + 1 == epochs && seen.largest_use <= 1 && seen.mse > 0.0 {
            return Err(MethodError::Collapsed { epochs, rows: rows.nrows() });
        }
        if epoch + 1 == epochs && seen.mse > spread_of_rows {
            let times = seen.mse / spread_of_rows;
            let reason =
                format!("the training rows have {times:.3} times the error of their mean; lower `learning-rate`");
            return Err(MethodError::Diverged(reason));
        }
        curves.push("mse", seen.mse);
        curves.push("usage", seen.usage);
        curves.push("perplexity", seen.perplexity);
        losses.means().for_each(|(name, value)| curves.push(name, value));
        bottleneck.followed(progress).into_iter().for_each(|(name, value)| curves.push(name, value));
    }
    Ok(Box::new(LearnedQuantizer { autoencoder, latents: bottleneck.quantizer(cx)?, curves: curves.0 }))
}

/// The gradients of the loss of some rows. The first parameters are those of encoder and decoder.
fn shard(
    networks: &Option<[super::Network; 2]>,
    bottleneck: &impl Bottleneck,
    rows: ArrayView2<'_, f32>,
    parameters: &[Parameter],
    moment: &Moment<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Shard, MethodError> {
    let leaves: Vec<Matrix> = parameters.iter().map(Parameter::leaf).collect();
    let counts = networks.as_ref().map_or([0; 2], |pair| [0, 1].map(|i| pair[i].parameter_count()));
    let (of_encoder, others) = leaves.split_at(counts[0]);
    let (of_decoder, of_bottleneck) = others.split_at(counts[1]);
    let x = Matrix::constant(rows);
    let latents = networks.as_ref().map_or_else(|| x.clone(), |[encoder, _]| encoder.trace(&x, of_encoder));
    let values = latents.values();
    if values.iter().any(|v| !v.is_finite()) {
        return Err(MethodError::Diverged("latents are no numbers; lower `learning-rate`".into()));
    }
    let pass = bottleneck.pass(&latents, of_bottleneck, moment, rng)?;
    let decoded =
        networks.as_ref().map_or_else(|| pass.latents.clone(), |[_, decoder]| decoder.trace(&pass.latents, of_decoder));
    let gap = decoded.minus(&x);
    let reconstruction = gap.by(&gap).mean();
    let mut losses = vec![("reconstruction_loss", f64::from(reconstruction.scalar()))];
    let mut total = reconstruction;
    for Loss { name, weight, value } in &pass.losses {
        losses.push((name, f64::from(value.scalar())));
        total = total.plus(&value.scaled(*weight as f32));
    }
    // Nothing to differentiate where no leaf has a part in the loss.
    let gradients = if leaves.is_empty() { Vec::new() } else { gradients(&total, &leaves) };
    Ok(Shard { gradients, losses, latents: values, chosen: pass.chosen })
}

/// Curves in order of their first value.
#[derive(Default)]
struct Curves(Vec<Curve>);

impl Curves {
    fn push(&mut self, name: &'static str, value: f64) {
        match self.0.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.values.push(value),
            None => self.0.push(Curve { name, values: vec![value], never_grows: false }),
        }
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

/// How well all training rows are coded at the end of an epoch.
struct Seen {
    mse: f64,
    /// Share of the codewords in use, of all positions together.
    usage: f64,
    /// Geometric mean over positions.
    perplexity: f64,
    /// Most codewords in use at any position.
    largest_use: usize,
}

fn evaluate(quantizer: &LearnedQuantizer, rows: ArrayView2<'_, f32>, cx: &Context) -> Result<Seen, MethodError> {
    const ROWS: usize = 1 << 12;
    let symbols = quantizer.symbols();
    let alphabets = symbols.map(|s| s.alphabets()).unwrap_or_default();
    let mut counts: Vec<Vec<usize>> = alphabets.iter().map(|&a| vec![0; a]).collect();
    let mut row_symbols = vec![0u16; alphabets.len()];
    let mut squared_error = 0.0;
    for rows in rows.axis_chunks_iter(Axis(0), ROWS) {
        cx.cancel.check()?;
        let mut codes = vec![0u8; rows.nrows() * quantizer.code_size()];
        quantizer.encode_into(rows, &mut codes)?;
        let mut decoded = Array2::zeros(rows.dim());
        quantizer.decode_into(&codes, decoded.view_mut())?;
        squared_error += rows.iter().zip(&decoded).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
        for code in codes.chunks_exact(quantizer.code_size().max(1)) {
            if let Some(symbols) = symbols {
                symbols.unpack(code, &mut row_symbols)?;
                counts.iter_mut().zip(&row_symbols).for_each(|(count, &symbol)| count[usize::from(symbol)] += 1);
            }
        }
    }
    let n = rows.nrows() as f64;
    let used = |count: &Vec<usize>| count.iter().filter(|&&c| c > 0).count();
    let entropy = |count: &Vec<usize>| -> f64 {
        let shares = count.iter().filter(|&&c| c > 0).map(|&c| c as f64 / n);
        shares.map(|p| -p * p.ln()).sum()
    };
    let positions = counts.len().max(1) as f64;
    Ok(Seen {
        mse: squared_error / n,
        usage: counts.iter().map(used).sum::<usize>() as f64 / alphabets.iter().sum::<usize>().max(1) as f64,
        perplexity: (counts.iter().map(entropy).sum::<f64>() / positions).exp(),
        largest_use: counts.iter().map(used).max().unwrap_or(0),
    })
}
