//! CPU kernels: the few inner loops that every quantizer, metric and ground truth of the workspace spends its time in.
//!
//! A kernel is one generic body over registers of f32, instantiated once per instruction set ([`Isa`]) and entered
//! through one run-time dispatch per batch of rows. AVX-512 and AVX2 perform the same
//! operations in the same order and so agree to the last bit; the portable build rounds twice where they fuse.

mod additive;
mod dispatch;
mod hamming;
mod isa;
mod lanes;
mod lookup;
mod panels;
mod topk;

pub use additive::{BeamScratch, MAX_DESCENT, SumTables, least_few};
pub use hamming::hamming;
pub use isa::Isa;
pub use lookup::{scan_byte_tables, scan_tables};
pub use panels::{Panels, Score, squared_distance};
pub use topk::{Neighbor, TopK};
