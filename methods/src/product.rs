//! Product quantization: one codebook per group of components, and the quantizer that such methods train.

pub mod opq;
pub mod pq;
pub(crate) mod quantizer;
