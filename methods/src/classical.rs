//! Methods with one quantizer for every component (scalar, binary), one codebook for whole vectors (LBG, k-means, online VQ, lattices), or none (flat).

pub mod binary;
pub mod flat;
pub mod kmeans;
pub mod lattice;
pub mod lbg;
pub mod scalar;
pub mod vq;
