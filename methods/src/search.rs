//! Search over codes without decoding them: tables per query, scans for several queries at a time, inner products with levels.

pub mod codes;
pub(crate) mod level_dot;
pub(crate) mod lookup;
pub mod scan;
