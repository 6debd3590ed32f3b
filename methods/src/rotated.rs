//! Methods that start with a random rotation, so that components are alike and no codebook needs training: RaBitQ,
//! TurboQuant.

pub mod rabitq;
pub mod turboquant;
