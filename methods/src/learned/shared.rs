//! What every learned bottleneck shares: an encoder and a decoder around it, one training loop, one trained quantizer.
//!
//! ```text
//! rows ─ standardize ─ encoder ─ latents ─ bottleneck ─ latents ─ decoder ─ back to scale ─ rows
//! ```
//!
//! A bottleneck is one file of [`crate::learned`]. It implements `Bottleneck` for training, and gives an ordinary quantizer
//! of latents to encode with. Encoder and decoder count in the model's size and in the time of encoding and decoding.

mod adam;
mod autoencoder;
mod codebook;
mod doubled;
mod encoder;
pub(crate) mod estimator;
mod grid;
mod network;
mod passes;
mod quantizer;
mod schedule;
mod training;

pub(crate) use codebook::{Choice, LearnedCodebook, Rules, to_unit_length, unit_rows};
pub use codebook::{CodebookInit, Update};
pub use encoder::{Conv, Encoder, Linear, Mlp};
pub(crate) use encoder::{LatentWidth, Spread};
pub use estimator::Estimator;
pub(crate) use grid::{GridQuantizer, Steps};
pub(crate) use quantizer::restore;
pub use schedule::{Decay, Temperature};
pub use training::Training;
pub(crate) use training::{Bottleneck, ForwardPass, Loss, TrainingStep, fit};
