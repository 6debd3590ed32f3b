//! Algorithms that methods share. None of them is a method: nothing here appears in an experiment file.

pub(crate) mod codebooks;
pub(crate) mod components;
pub(crate) mod hadamard;
pub mod levels;
pub mod lloyd;
pub mod moments;
pub(crate) mod moving_codebook;
pub mod pack;
pub mod polar;
pub mod products;
pub mod rotation;
pub(crate) mod side;
pub(crate) mod utility;
