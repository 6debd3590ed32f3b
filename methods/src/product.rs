//! Product quantization: one codebook per group of components. Holds the methods, and the quantizer that they train.

pub mod opq;
pub mod pq;
pub(crate) mod quantizer;
