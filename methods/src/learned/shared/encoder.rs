//! Encoder and decoder, between vectors and latents: identity, principal axes, or principal axes plus a network that
//! corrects them.

use super::autoencoder::Autoencoder;
use super::network::{AffineLayer, LayerWeights, NetworkWeights, Windows};
use crate::algorithms::moments::{mean, variance};
use crate::algorithms::rotation::{PrincipalAxes, deal, principal_axes};
use crate::contract::state::{State, StateError};
use crate::{Context, ParamError, Stream};
use ndarray::ArrayView2;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

/// The encoder, which maps vectors to latents, and the decoder, which maps latents back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Encoder {
    /// No network. Latents are the vectors, centred and divided by one common scale.
    Identity,
    /// An affine map each way. It starts as the projection onto principal axes.
    Linear(Linear),
    /// The linear encoder plus a network with one hidden layer that learns a correction to it.
    Mlp(Mlp),
    /// The linear encoder plus two convolutions that learn a correction to it; for square image patches.
    Conv(Conv),
}

/// An affine map each way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Linear {
    /// Components of a latent. Default: the number that the bottleneck requires; if it accepts any, the smaller of 128
    /// and the dimension, rounded down to a multiple of `groups`, but at least `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192))]
    pub latent: Option<usize>,
}

/// A network of one hidden layer each way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mlp {
    /// Units of the hidden layer. More units fit better, and train and encode more slowly.
    #[schemars(range(min = 1, max = 65536))]
    pub hidden: usize,
    /// Components of a latent. Default: the number that the bottleneck requires; if it accepts any, the smaller of 128
    /// and the dimension, rounded down to a multiple of `groups`, but at least `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192))]
    pub latent: Option<usize>,
}

impl Default for Mlp {
    fn default() -> Mlp {
        Mlp { hidden: 256, latent: None }
    }
}

/// Two convolutions each way, on patches of `size×size` positions with `channels` values each; the channels of a
/// position are adjacent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conv {
    /// Height and width of the patches, in pixels; a multiple of 4.
    #[schemars(range(min = 4, max = 256))]
    pub size: usize,
    /// Values per pixel: 3 for colour, 1 for grey.
    #[schemars(range(min = 1, max = 256))]
    pub channels: usize,
    /// Channels after the first convolution; the second has twice as many.
    #[schemars(range(min = 1, max = 1024))]
    pub features: usize,
    /// Components of a latent. Default: the number that the bottleneck requires; if it accepts any, the smaller of 128
    /// and the dimension, rounded down to a multiple of `groups`, but at least `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192))]
    pub latent: Option<usize>,
}

impl Default for Conv {
    fn default() -> Conv {
        Conv { size: 8, channels: 3, features: 16, latent: None }
    }
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::Linear(Linear::default())
    }
}

/// The number of latent components that a bottleneck accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LatentWidth {
    /// This number.
    Exactly(usize),
    /// Any multiple of this number.
    MultipleOf(usize),
}

/// The initial variance of latent components.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spread {
    /// The variances of the rows along their principal axes, which are assigned to this many groups.
    Natural(usize),
    /// Every component with this standard deviation.
    Even(f64),
}

/// The default number of latent components is at most this, unless there are more groups.
const LATENT: usize = 128;

/// Maximum number of components of vectors or latents for which principal axes are computed.
const MAX_WIDTH: usize = 1 << 13;

/// Maximum number of weights of an encoder: a GiB.
const MAX_VALUES: f64 = (1u64 << 28) as f64;

impl Encoder {
    fn asked(&self) -> Option<usize> {
        match self {
            Encoder::Identity => None,
            Encoder::Linear(Linear { latent })
            | Encoder::Mlp(Mlp { latent, .. })
            | Encoder::Conv(Conv { latent, .. }) => *latent,
        }
    }

    /// Number of latent components for vectors of `dim` components.
    ///
    /// # Errors
    /// A number that the bottleneck does not accept; an encoder that does not fit the dimension.
    pub(crate) fn latent(&self, dim: usize, width: LatentWidth) -> Result<usize, ParamError> {
        if let Encoder::Conv(conv) = self {
            conv.check(dim)?;
        }
        let latent = self.width(dim, width)?;
        if *self != Encoder::Identity && dim.max(latent) > MAX_WIDTH {
            let message = format!("principal axes of {dim} components for latents of {latent} are too many");
            return Err(ParamError::new("encoder", message, format!("use at most {MAX_WIDTH} of each, or `identity`")));
        }
        if self.values(dim, latent) > MAX_VALUES {
            let message = format!("this encoder would have {:.1e} weights each way", self.values(dim, latent));
            return Err(ParamError::new("encoder", message, "use smaller `hidden`, `features` or `latent`"));
        }
        Ok(latent)
    }

    /// Requires a decoder, for a bottleneck whose values have a scale of their own.
    pub(crate) fn needs_decoder(&self) -> Result<(), ParamError> {
        if *self != Encoder::Identity {
            return Ok(());
        }
        let message = "the values of this bottleneck have a size of their own, which only a decoder can bring back";
        Err(ParamError::new("encoder", message, "use `encoder: { linear: {} }`"))
    }

    fn width(&self, dim: usize, width: LatentWidth) -> Result<usize, ParamError> {
        match (self, width, self.asked()) {
            (Encoder::Identity, LatentWidth::Exactly(needed), _) if needed != dim => {
                let message = format!("this bottleneck has {needed} components, the vectors have {dim}");
                Err(ParamError::new("encoder", message, "use `encoder: { linear: {} }`, which maps one to the other"))
            }
            (Encoder::Identity, LatentWidth::MultipleOf(groups), _) if !dim.is_multiple_of(groups) => {
                let message = format!("d={dim} is not divisible by groups={groups}");
                Err(ParamError::new("groups", message, "use a divisor of the dimension, or an encoder"))
            }
            (Encoder::Identity, ..) => Ok(dim),
            (_, LatentWidth::Exactly(needed), Some(asked)) if asked != needed => {
                let message = format!("`latent: {asked}`, but this bottleneck has {needed} components");
                Err(ParamError::new("encoder", message, format!("leave `latent` out, or write `latent: {needed}`")))
            }
            (_, LatentWidth::Exactly(needed), _) => Ok(needed),
            (_, LatentWidth::MultipleOf(groups), Some(asked)) if !asked.is_multiple_of(groups) => {
                let message = format!("`latent: {asked}` is not divisible by groups={groups}");
                let near = asked.div_ceil(groups) * groups;
                Err(ParamError::new("encoder", message, format!("use a multiple of {groups}, e.g. `latent: {near}`")))
            }
            (_, LatentWidth::MultipleOf(_), Some(asked)) => Ok(asked),
            (_, LatentWidth::MultipleOf(groups), None) => Ok((dim.min(LATENT) / groups * groups).max(groups)),
        }
    }

    /// Networks of the right shape; none if latents are the vectors. `affine` returns the maps for given inputs and
    /// outputs: first those of the encoder, then those of the decoder, each in the order of [`NetworkWeights::save`]. Nothing
    /// is built before its maps are available, so that a file that lacks them costs no memory.
    fn build<E>(
        &self,
        dim: usize,
        latent: usize,
        mut affine: impl FnMut(Half, usize, usize) -> Result<AffineLayer, E>,
    ) -> Result<Option<[NetworkWeights; 2]>, E> {
        let mut network = |part, inputs, outputs| {
            let mut affine = |inputs, outputs| affine(part, inputs, outputs);
            let straight = affine(inputs, outputs)?;
            let branch = match self {
                Encoder::Identity | Encoder::Linear(_) => Vec::new(),
                Encoder::Mlp(mlp) => {
                    let first = affine(inputs, mlp.hidden)?;
                    vec![
                        LayerWeights::Affine(first),
                        LayerWeights::Rectifier,
                        LayerWeights::Affine(affine(mlp.hidden, outputs)?),
                    ]
                }
                Encoder::Conv(conv) => match part {
                    Half::Encoder => conv.there(outputs, affine)?,
                    Half::Decoder => conv.back(inputs, affine)?,
                },
            };
            Ok(NetworkWeights { straight, branch })
        };
        if *self == Encoder::Identity {
            return Ok(None);
        }
        Ok(Some([network(Half::Encoder, dim, latent)?, network(Half::Decoder, latent, dim)?]))
    }

    /// Multiply-adds of encoding a row; decoding takes about the same. Nothing is built to compute it.
    pub(crate) fn cost(&self, dim: usize, latent: usize) -> f64 {
        let [dim, latent] = [dim, latent].map(|n| n as f64);
        match self {
            Encoder::Identity => dim,
            Encoder::Linear(_) => dim * latent,
            Encoder::Mlp(mlp) => dim * latent + mlp.hidden as f64 * (dim + latent),
            Encoder::Conv(conv) => {
                let [size, channels, features] = [conv.size, conv.channels, conv.features].map(|n| n as f64);
                let places = size * size;
                let convolutions =
                    places / 4.0 * 9.0 * channels * features + places / 16.0 * 18.0 * features * features;
                dim * latent + convolutions + places / 8.0 * features * latent
            }
        }
    }

    /// Multiply-adds that prepare a search by tables for one query: it passes the decoder backwards, and the tables of latents take
    /// `tables`. None where the decoder is more than an affine map, and decoded rows are searched.
    pub(crate) fn query_cost(&self, dim: usize, latent: usize, tables: usize) -> f64 {
        match self {
            Encoder::Identity | Encoder::Linear(_) => self.cost(dim, latent) + tables as f64,
            Encoder::Mlp(_) | Encoder::Conv(_) => 0.0,
        }
    }

    /// Number of values in an encoder or decoder, including the index tables of convolutions.
    fn values(&self, dim: usize, latent: usize) -> f64 {
        match self {
            // Every window stores its positions; the last convolution of the decoder has the most.
            Encoder::Conv(conv) => self.cost(dim, latent).min(1e18) + (9 * conv.size.pow(2) * conv.features) as f64,
            _ => self.cost(dim, latent),
        }
    }

    /// An encoder and decoder for `rows`, before training.
    pub(crate) fn start(&self, rows: ArrayView2<'_, f32>, latent: usize, spread: Spread, cx: &Context) -> Autoencoder {
        let dim = rows.ncols();
        let centre = mean(rows);
        let power = variance(rows, &centre) / dim as f64;
        let scale = if power > 0.0 { power.sqrt() as f32 } else { 1.0 };
        let centre = centre.into_iter().map(|m| m as f32).collect();
        let zeros = |_, inputs, outputs| Ok::<_, Infallible>(AffineLayer::zeros(inputs, outputs));
        let Ok(networks) = self.build(dim, latent, zeros);
        let networks = networks.map(|[mut encoder, mut decoder]| {
            let mut rng = cx.rng(Stream::Networks);
            let axes = principal_axes(cx.backend.isa(), rows);
            set_axes(&mut encoder.straight, &mut decoder.straight, &axes, f64::from(scale), spread, &mut rng);
            set_branch(&mut encoder.branch, &mut rng);
            set_branch(&mut decoder.branch, &mut rng);
            [encoder, decoder]
        });
        Autoencoder { mean: centre, scale, networks }
    }

    /// Restores what [`Autoencoder::save`] wrote.
    pub(crate) fn restore(&self, dim: usize, latent: usize, state: &mut State) -> Result<Autoencoder, StateError> {
        let mean = state.take("mean", dim)?;
        let scale = state.take("scale", 1)?[0];
        if scale <= 0.0 {
            return Err(StateError::Value("scale".into()));
        }
        let mut taken = [0; 2];
        let networks = self.build(dim, latent, |part, inputs, outputs| {
            let (name, number) = (["encoder", "decoder"][part as usize], &mut taken[part as usize]);
            *number += 1;
            AffineLayer::restore(name, *number - 1, (inputs, outputs), state)
        })?;
        Ok(Autoencoder { mean, scale, networks })
    }
}

/// One of the two networks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Half {
    Encoder,
    Decoder,
}

impl Conv {
    fn check(&self, dim: usize) -> Result<(), ParamError> {
        let Conv { size, channels, .. } = *self;
        if !size.is_multiple_of(4) {
            let message = format!("`size: {size}` is not a multiple of 4, and it is halved twice");
            return Err(ParamError::new("encoder", message, format!("use {}", size.next_multiple_of(4))));
        }
        if size * size * channels != dim {
            let message = format!(
                "patches of {size}×{size} places of {channels} values are {} components, not {dim}",
                size * size * channels
            );
            return Err(ParamError::new("encoder", message, "set `size` and `channels` to those of the patches"));
        }
        Ok(())
    }

    /// Halved twice.
    fn there<E>(
        &self,
        latent: usize,
        mut affine: impl FnMut(usize, usize) -> Result<AffineLayer, E>,
    ) -> Result<Vec<LayerWeights>, E> {
        let Conv { size, channels, features, .. } = *self;
        let first = affine(9 * channels, features)?;
        let second = affine(9 * features, 2 * features)?;
        let last = affine(self.smallest(), latent)?;
        Ok(vec![
            LayerWeights::Convolution(Windows::halving(size, channels), first),
            LayerWeights::Rectifier,
            LayerWeights::Convolution(Windows::halving(size / 2, features), second),
            LayerWeights::Rectifier,
            LayerWeights::Affine(last),
        ])
    }

    /// Doubled twice.
    fn back<E>(
        &self,
        latent: usize,
        mut affine: impl FnMut(usize, usize) -> Result<AffineLayer, E>,
    ) -> Result<Vec<LayerWeights>, E> {
        let Conv { size, channels, features, .. } = *self;
        let first = affine(latent, self.smallest())?;
        let second = affine(18 * features, features)?;
        let last = affine(9 * features, channels)?;
        Ok(vec![
            LayerWeights::Affine(first),
            LayerWeights::Rectifier,
            LayerWeights::Convolution(Windows::doubling(size / 4, 2 * features), second),
            LayerWeights::Rectifier,
            LayerWeights::Convolution(Windows::doubling(size / 2, features), last),
        ])
    }

    /// Values of a patch that has been halved twice.
    fn smallest(&self) -> usize {
        self.size / 4 * self.size / 4 * 2 * self.features
    }
}

/// Random weights for every layer but the last, which stays zero: the branch starts as no correction.
fn set_branch(branch: &mut [LayerWeights], rng: &mut ChaCha8Rng) {
    let last = branch.len().saturating_sub(1);
    for layer in branch.iter_mut().take(last) {
        if let LayerWeights::Affine(affine) | LayerWeights::Convolution(_, affine) = layer {
            let (inputs, outputs) = affine.dim();
            *affine = AffineLayer::random(inputs, outputs, rng);
        }
    }
}

/// Sets two affine maps to the projection onto principal axes and its inverse. If there are more latent components than
/// axes, axes are used repeatedly, with some noise, so that training can separate the copies.
fn set_axes(
    there: &mut AffineLayer,
    back: &mut AffineLayer,
    axes: &PrincipalAxes,
    scale: f64,
    spread: Spread,
    rng: &mut ChaCha8Rng,
) {
    const NOISE: f32 = 0.05;
    const FLAT: f64 = 1e-6;
    let (dim, latent) = there.dim();
    let ([there, _], [back, _]) = (there.arrays_mut(), back.arrays_mut());
    let deviation = |axis: usize| axes.variances[axis].sqrt() / scale;
    let numbers: Vec<usize> = match spread {
        Spread::Natural(groups) if latent <= dim => deal(&axes.variances[..latent], groups),
        _ => (0..latent).map(|j| j % dim).collect(),
    };
    let copies = |axis: usize| numbers.iter().filter(|&&n| n == axis).count() as f64;
    let largest = deviation(0);
    for (j, &axis) in numbers.iter().enumerate() {
        let deviation = deviation(axis);
        let stretch = match spread {
            Spread::Natural(_) => 1.0,
            // An axis without variance is ignored.
            Spread::Even(_) if deviation <= FLAT * largest => 0.0,
            Spread::Even(wanted) => wanted / deviation,
        };
        let shrink = if stretch > 0.0 { 1.0 / (stretch * copies(axis)) } else { 0.0 };
        let again = numbers[..j].contains(&axis);
        let of_axis = axes.axes.column(axis);
        for (i, &x) in of_axis.iter().enumerate() {
            let noise = if again { NOISE * (rng.random::<f32>() - 0.5) } else { 0.0 };
            there[(i, j)] = (x + noise) * stretch as f32;
            back[(j, i)] = x * shrink as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpu::Isa;
    use ndarray::{Array2, ArrayView1};
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};

    fn stretched(n: usize, dim: usize) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        Array2::from_shape_fn((n, dim), |(_, j)| {
            let x: f32 = StandardNormal.sample(&mut rng);
            5.0 + x * (1.0 + j as f32)
        })
    }

    fn power(rows: &Array2<f32>) -> f64 {
        rows.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / rows.nrows() as f64
    }

    /// Rows of all latents.
    fn decode(coders: &Autoencoder, latents: ArrayView2<'_, f32>) -> Array2<f32> {
        let Some([_, decoder]) = &coders.networks else { panic!("a decoder") };
        decoder.apply(Isa::widest(), latents) * coders.scale + ArrayView1::from(&coders.mean)
    }

    #[test]
    fn every_encoder_begins_as_principal_axes() {
        let rows = stretched(500, 16);
        let conv = Conv { size: 4, channels: 1, features: 2, latent: None };
        let encoders =
            [Encoder::Linear(Linear::default()), Encoder::Mlp(Mlp { hidden: 7, latent: None }), Encoder::Conv(conv)];
        for encoder in encoders {
            for spread in [Spread::Natural(2), Spread::Even(0.9)] {
                let all = encoder.start(rows.view(), 16, spread, &Context::cpu(1));
                let latents = all.encode(Isa::widest(), rows.view());
                let back = decode(&all, latents.view());
                assert!(power(&(&back - &rows)) < 1e-6 * power(&rows), "{encoder:?}: all axes lose nothing");
                if let Spread::Even(wanted) = spread {
                    let deviation = (power(&latents) / 16.0).sqrt();
                    assert!((deviation - wanted).abs() < 1e-3, "{encoder:?}: {deviation}");
                }
                let few = encoder.start(rows.view(), 4, spread, &Context::cpu(1));
                let lost = power(&(decode(&few, few.encode(Isa::widest(), rows.view()).view()) - &rows));
                let expected: f64 = principal_axes(Isa::widest(), rows.view()).variances[4..].iter().sum();
                assert!((lost / expected - 1.0).abs() < 0.01, "{encoder:?}: {lost} for {expected}");
                let more = encoder.start(rows.view(), 40, spread, &Context::cpu(1));
                let lost = power(&(decode(&more, more.encode(Isa::widest(), rows.view()).view()) - &rows));
                assert!(lost < 0.02 * power(&rows), "{encoder:?}: axes used again, {lost}");
            }
        }
    }

    #[test]
    fn nothing_is_built_before_the_first_array_is_there() {
        let conv = Conv { size: 88, channels: 1, features: 170, latent: None };
        for encoder in
            [Encoder::Linear(Linear::default()), Encoder::Mlp(Mlp { hidden: 65536, latent: None }), Encoder::Conv(conv)]
        {
            for reached in 0..2 {
                let mut asked = Vec::new();
                let built = encoder.build(7744, 4, |part, inputs, outputs| {
                    asked.push((part, inputs, outputs));
                    if asked.len() > reached { Err(()) } else { Ok(AffineLayer::zeros(inputs, outputs)) }
                });
                assert!(built.is_err() && asked.len() == reached + 1, "{encoder:?}: {asked:?}");
                assert_eq!(asked[0], (Half::Encoder, 7744, 4), "{encoder:?}");
            }
        }
        let identity = Encoder::Identity.build(12, 12, |_, _, _| Err(()));
        assert!(matches!(identity, Ok(None)), "nothing to ask for");
    }

    #[test]
    fn widths_that_do_not_fit_are_told_with_those_that_do() {
        let told = |encoder: &Encoder, width| encoder.latent(12, width).expect_err("wrong").help.expect("a way out");
        let linear = |latent| Encoder::Linear(Linear { latent: Some(latent) });
        assert!(told(&Encoder::Identity, LatentWidth::Exactly(3)).contains("linear"));
        assert!(told(&Encoder::Identity, LatentWidth::MultipleOf(5)).contains("divisor"));
        assert_eq!(told(&linear(9), LatentWidth::MultipleOf(4)), "use a multiple of 4, e.g. `latent: 12`");
        assert_eq!(told(&linear(9), LatentWidth::Exactly(8)), "leave `latent` out, or write `latent: 8`");
        assert!(told(&Encoder::Conv(Conv::default()), LatentWidth::MultipleOf(1)).contains("size"));
        assert_eq!(Encoder::default().latent(12, LatentWidth::MultipleOf(5)), Ok(10));
        assert_eq!(Encoder::default().latent(500, LatentWidth::MultipleOf(5)), Ok(125));
        assert_eq!(Encoder::default().latent(2, LatentWidth::MultipleOf(5)), Ok(5));
    }
}
