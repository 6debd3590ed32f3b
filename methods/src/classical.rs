//! Methods with one quantizer for every component (scalar, binary) or one codebook for whole vectors (LBG, k-means, online VQ, lattices).

pub mod binary;
pub mod kmeans;
pub mod lattice;
pub mod lbg;
pub mod scalar;
pub mod vq;
