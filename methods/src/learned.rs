//! Methods trained by gradients: a bottleneck between an encoder and a decoder. One file per bottleneck; `shared` has what they share.

pub mod fsq;
pub mod gumbel;
pub mod lfq;
pub mod qat;
pub mod rvqvae;
pub mod shared;
pub mod simvq;
pub mod vqvae;
