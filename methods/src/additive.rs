//! Additive quantization: a vector is coded as a sum of codewords, one from each codebook. Holds the methods, and the
//! quantizer that they train.

pub mod lsq;
pub(crate) mod quantizer;
pub mod rvq;
mod shrinkage;
