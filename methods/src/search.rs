//! Search over codes without decoding them: tables per query, scans for several queries at a time, inner products with levels.

pub(crate) mod additive;
pub mod codes;
mod distinct;
pub(crate) mod grid;
pub(crate) mod level_dot;
pub(crate) mod lookup;
pub(crate) mod mapped;
pub mod scan;
pub(crate) mod tables;
pub mod wide;
