//! Additive quantization: a vector is coded as a sum of codewords, one from each codebook, and the quantizer that such methods train.

pub mod lsq;
pub(crate) mod quantizer;
pub mod rvq;
